"""Numbers from bytes to an Arrow column: digits with their sign, packed (COMP-3), binary (COMP)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa

from slussen.records.codepages import Codepage
from slussen.records.columns import Column, Fault
from slussen.records.letters import Bools, Bytes, Ints, decimals, number_of, plain_numbers
from slussen.records.notation import FieldSpec

BLANK, ZERO, PLUS, MINUS = ord(" "), ord("0"), ord("+"), ord("-")
LARGEST = 10**18 - 1


def read_number(
    f: FieldSpec, cells: Bytes, page: Codepage, raw: Callable[[int], bytes], negative: Bools | None
) -> Column:
    """Cells of bytes as numbers; ``negative`` is what a sign field says, ``raw`` gives a cell's own bytes."""
    if f.usage == "packed":
        return _packed(f, cells)
    return _binary(f, cells) if f.usage == "binary" else _number(f, cells, page, raw, negative)


def _column(f: FieldSpec, values: Ints, valid: Bools | None) -> pa.Array:
    if f.type == "decimal":
        return decimals(values, valid, f.decimals)
    return plain_numbers(values, valid, pa.int64())


def _number(f: FieldSpec, cells: Bytes, page: Codepage, raw: Callable[[int], bytes], negative: Bools | None) -> Column:
    """Digits with their sign; blanks and zeros before them, or blanks after them, are nothing."""
    if f.sign in ("overpunched", "zoned"):
        cells, negative, faults = _overpunched(f, cells, page, raw)
    else:
        faults = []
    digits = cells - np.uint8(ZERO)
    n, width = cells.shape
    if f.sign == "leading" and width > 1 and (minus := digits[:, 0] == np.uint8(MINUS - ZERO + 256)).any():
        # As it is written, a minus in the first place: no reason to look at single rows.
        digits[minus, 0] = 0
        negative = minus
    if digits.size == 0 or digits.max() <= 9:
        values, valid, empty = number_of(digits), None, None
        _overflow(digits, values, faults)
    else:
        if f.sign == "leading":
            digits, negative = cells - np.uint8(ZERO), None
        odd = np.unique(np.flatnonzero(digits > 9) // width)
        even = digits.copy()
        even[odd] = 0
        values = number_of(even)
        _overflow(even, values, faults)
        valid, empty = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        found, sound, blank = _signed(f, cells[odd], digits[odd], faults, odd)
        values[odd], valid[odd], empty[odd] = found, sound, blank
    if negative is not None:
        values = np.where(negative, -values, values)
    for fault in faults:
        valid = np.ones(n, np.bool_) if valid is None else valid
        valid[fault.rows] = False
    return Column(_column(f, values, valid), empty, faults)


def _overflow(digits: Bytes, values: Ints, faults: list[Fault]) -> None:
    if digits.shape[1] > 18 and (large := digits[:, :-18].any(axis=1)).any():
        faults.append(Fault("overflow", "the number has more than 18 digits", np.flatnonzero(large)))
        values[large] = 0


def _signed(f: FieldSpec, cells: Bytes, digits: Bytes, faults: list[Fault], rows: Ints) -> tuple[Ints, Bools, Bools]:
    """Numbers that aren't digits alone: (values, which are sound, which are blank)."""
    width = cells.shape[1]
    is_digit = digits <= 9
    blank = (cells == BLANK) | (cells == ord(f.pad) if f.pad != "0" else False)
    minus, plus = cells == MINUS, cells == PLUS
    empty = blank.all(axis=1)
    first = is_digit.argmax(axis=1)
    after = is_digit[:, ::-1].argmax(axis=1)  # how much stands after the last digit
    last = width - 1 - after
    lines = np.arange(len(cells))
    signs = minus | plus
    one_run = last - first + 1 == is_digit.sum(axis=1)
    sound = one_run & is_digit.any(axis=1) & (is_digit | blank | signs).all(axis=1)
    count = signs.sum(axis=1)
    if f.sign == "leading":
        place = np.where(signs[:, 0], 0, first - 1)
        at_sign = (place >= 0) & (place < first) & signs[lines, np.maximum(place, 0)]
    elif f.sign == "trailing":
        place = np.where(signs[:, -1], width - 1, np.minimum(last + 1, width - 1))
        at_sign = (place > last) & signs[lines, place]
    else:
        at_sign = np.zeros(len(cells), np.bool_)
    sound &= (count == 0) | ((count == 1) & at_sign)
    shown = np.where(is_digit, digits, 0).astype(np.uint8)
    if (far := after > 0).any():  # left-aligned: move them to the right
        for shift in np.unique(after[far & sound]).tolist():
            which = np.flatnonzero(far & sound & (after == shift))
            shown[which, shift:] = shown[which, :-shift]
            shown[which, :shift] = 0
    values = np.where(minus.any(axis=1), -number_of(shown), number_of(shown))
    wide = sound & shown[:, :-18].any(axis=1)
    for rule, message, which in (
        ("overflow", "the number has more than 18 digits", wide),
        ("not_a_number", "a number field holds something else", ~sound & ~empty),
    ):
        if which.any():
            faults.append(Fault(rule, message, rows[which]))
    return np.where(wide, 0, values), sound & ~wide, empty


@cache
def zones(sign: str, ebcdic: bool) -> tuple[Bytes, Bools, tuple[bytes, bytes]]:
    """The last digit that bears the sign: (digit by byte, 99 for none; negative by byte; the bytes of +0-9, -0-9).

    In EBCDIC the zone tells: C positive, D negative, F none, by byte, whatever letters the code page has there. In
    ASCII, ``overpunched`` has EBCDIC's letters ({A-I, }J-R); ``zoned`` has p-y for negative.
    """
    digit, negative = np.full(256, 99, np.uint8), np.zeros(256, np.bool_)
    if ebcdic:
        plus, minus = bytes(range(0xC0, 0xCA)), bytes(range(0xD0, 0xDA))
        unsigned = bytes(range(0xF0, 0xFA))
    else:
        unsigned = b"0123456789"
        plus, minus = (b"{ABCDEFGHI", b"}JKLMNOPQR") if sign == "overpunched" else (unsigned, b"pqrstuvwxy")
    for letters in (unsigned, plus, minus):
        for value, byte in enumerate(letters):
            digit[byte], negative[byte] = value, letters is minus
    return digit, negative, (plus, minus)


def _overpunched(
    f: FieldSpec, cells: Bytes, page: Codepage, raw: Callable[[int], bytes]
) -> tuple[Bytes, Bools, list[Fault]]:
    digit, negative, _ = zones(f.sign, page.ebcdic)
    cells = cells.copy()
    last = np.frombuffer(page.back, np.uint8)[cells[:, -1]]  # the file's own byte, whatever letter it is
    blank = (cells == BLANK).all(axis=1)
    values = digit[last]
    unknown = (values == 99) & ~blank
    cells[:, -1] = np.where(blank, BLANK, np.where(unknown, ZERO, values + ZERO))
    faults = []
    if unknown.any():
        rows = np.flatnonzero(unknown)
        message = "the last place holds neither a digit nor a digit with its sign"
        faults.append(Fault("not_a_number", message, rows, np.full(len(rows), f.length - 1), exact=True))
    return cells, negative[last], faults


def _packed(f: FieldSpec, cells: Bytes) -> Column:
    """COMP-3: two digits a byte, the last half-byte the sign (A, C, E, F positive; B, D negative)."""
    n, width = cells.shape
    halves = np.empty((n, width * 2), np.uint8)
    halves[:, ::2], halves[:, 1::2] = cells >> 4, cells & 15
    digits, sign = halves[:, :-1], halves[:, -1]
    wrong = (digits > 9).any(axis=1) | (sign < 10)
    faults = []
    if wrong.any():
        rows = np.flatnonzero(wrong)
        places = np.where((digits[rows] > 9).any(axis=1), (digits[rows] > 9).argmax(axis=1) // 2, width - 1)
        message = "no packed number: a half-byte that is no digit, or no sign at the end"
        faults.append(Fault("not_a_number", message, rows, places, exact=True))
        digits = digits.copy()
        digits[wrong] = 0
    values = number_of(digits)
    _overflow(digits, values, faults)
    negative = (sign == 0xB) | (sign == 0xD)
    if f.sign == "none" and (negative & ~wrong).any():
        faults.append(Fault("sign", "negative in an unsigned field", np.flatnonzero(negative & ~wrong)))
    valid = np.ones(n, np.bool_)
    for fault in faults:
        valid[fault.rows] = False
    return Column(_column(f, np.where(negative, -values, values), valid), None, faults)


def _binary(f: FieldSpec, cells: Bytes) -> Column:
    """COMP: big-endian, in two's complement if it has a sign."""
    kind = f">{'u' if f.sign == 'none' else 'i'}{f.length}"
    values = np.ascontiguousarray(cells).view(kind).ravel()
    if f.type == "decimal" or f.sign == "none":
        large = (values > LARGEST) | (values < -LARGEST)
    else:
        large = np.zeros(len(values), np.bool_)  # 64 bits are as many as its column has
    faults = [Fault("overflow", "the number has more than 18 digits", np.flatnonzero(large))] if large.any() else []
    return Column(_column(f, np.where(large, 0, values).astype(np.int64), ~large), None, faults)
