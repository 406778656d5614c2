"""One field of many records, from bytes to an Arrow column: text, numbers, dates, booleans.

A block of cells is ``(n, width)`` plain bytes (see ``codepages``). What cannot be read is null in the column and a
``Fault``: which rows, and where within the cell. Readers know where a cell stands in the file; this module doesn't.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.records import forms, identities
from slussen.records.codepages import UNDEFINED, Codepage
from slussen.records.layout import MOMENTS, NUMBERS, FieldSpec, arrow_type
from slussen.records.letters import (
    Bools,
    Bytes,
    Ints,
    bitmap,
    decimals,
    flat_of,
    number_of,
    of_cells,
    offsets_of,
    owners,
    pairs_of,
    plain_numbers,
    to_utf8,
)

BLANK, ZERO, PLUS, MINUS = ord(" "), ord("0"), ord("+"), ord("-")
LARGEST = 10**18 - 1


@dataclass
class Fault:
    """What is wrong in some rows: ``within`` is the place in the cell; ``exact`` says that it is one byte's."""

    rule: str
    message: str
    rows: Ints
    within: Ints | None = None
    exact: bool = False


@dataclass
class Column:
    """A field's column, which of its cells were empty (none, if it doesn't say), and what was wrong."""

    values: pa.Array
    empty: Bools | None = None
    faults: list[Fault] = field(default_factory=list)


def read(
    f: FieldSpec,
    cells: Bytes,
    page: Codepage,
    raw: Callable[[int], bytes],
    *,
    negative: Bools | None = None,
    printable: bool = False,
) -> Column:
    """A block of cells as a column.

    ``raw`` gives a cell's own bytes, ``negative`` is what a sign field says; ``printable`` that the whole block is
    known to be ASCII without control characters.
    """
    if f.usage == "packed":
        return _packed(f, cells)
    if f.usage == "binary":
        return _binary(f, cells)
    match f.type:
        case "integer" | "decimal":
            return _number(f, cells, page, raw, negative)
        case "date" | "time" | "timestamp":
            return _moment(f, cells)
        case _:
            column = of_cells(cells)
            edge = cells[:, 0] if f.right else cells[:, -1]
            if (edge == ord(f.pad)).any():
                column = pc.ascii_ltrim(column, f.pad) if f.right else pc.ascii_rtrim(column, f.pad)
            read_column = read_text(f, column, page, raw, printable=printable)
            if f.right and read_column.faults:
                left_out = f.length - np.diff(offsets_of(column))
                for fault in read_column.faults:
                    if fault.within is not None and fault.rule != "undefined_byte":  # that is found in the whole cell
                        fault.within = fault.within + left_out[fault.rows]
            return read_column


# --- text


def read_text(
    f: FieldSpec, column: pa.Array, page: Codepage, raw: Callable[[int], bytes], *, printable: bool = False
) -> Column:
    """A column of plain bytes, already trimmed, as text, digits or booleans."""
    offsets, flat = offsets_of(column), flat_of(column)
    faults: list[Fault] = []
    highest = int(flat.max(initial=0)) if not printable else 0
    if page.wide:
        column = _utf8(column, flat, offsets, faults)
    elif highest >= 0x80:
        column = _beyond_ascii(f, column, flat, offsets, page, raw, faults)
    if not printable and (flat.min(initial=BLANK) < BLANK or (highest >= 0x7F and (flat == 0x7F).any())):
        _faults_at(faults, "control_character", "a control character where there should be text", offsets,
                   np.flatnonzero((flat < BLANK) | (flat == 0x7F)))  # fmt: skip
    lengths = np.diff(offsets)
    empty = lengths == 0
    if f.zeros:
        empty |= np.asarray(pc.equal(pc.ascii_ltrim(column, "0"), ""))
    if f.type == "digits":
        _digits(f, flat, offsets, faults)
    if f.check:
        _identities(f, flat, offsets, lengths, empty, faults)
    valid = None
    if empty.any():
        valid = ~empty
        column = pa.Array.from_buffers(pa.string(), len(column), [bitmap(valid), *column.buffers()[1:]])
    if f.type == "boolean":
        return _boolean(f, column, valid, faults)
    if f.codes:
        known = _known(f, column, flat)
        unknown = ~known if valid is None else ~known & valid
        if unknown.any():
            message = f"not one of {', '.join(f.codes)}"
            faults.append(Fault("not_in_code_list", message, np.flatnonzero(unknown)))
    return Column(column, empty if valid is not None else None, faults)


def _known(f: FieldSpec, column: pa.Array, flat: Bytes) -> Bools:
    """Which values are of the code list?"""
    if len(flat) == len(column) and all(len(c) == 1 and c.isascii() for c in f.codes):
        known: Bools = np.isin(np.arange(256), [ord(c) for c in f.codes])[flat]
        return known
    return np.asarray(pc.is_in(column, pa.array(f.codes, pa.string())))


def _faults_at(faults: list[Fault], rule: str, message: str, offsets: np.ndarray, places: Ints) -> None:
    """A fault for each of these places in the flat bytes."""
    if len(places):
        rows = owners(offsets, places)
        faults.append(Fault(rule, message, rows, places - offsets[rows], exact=True))


def _beyond_ascii(
    f: FieldSpec, column: pa.Array, flat: Bytes, offsets: np.ndarray, page: Codepage, raw: Callable[[int], bytes],
    faults: list[Fault],
) -> pa.Array:  # fmt: skip
    """Plain bytes to UTF-8; letters beyond Latin-1 are looked up in the cell's own bytes."""
    high = np.flatnonzero(flat >= 0x80)
    there = flat[high]
    special = high[there == page.special]
    controls = high[(there < 0xA0) & (there != page.special)]
    _faults_at(faults, "control_character", "a control character where there should be text", offsets, controls)
    column = to_utf8(column, high)
    if not len(special):
        return column
    rows = np.unique(owners(offsets, special))
    values = []
    for row in rows.tolist():
        points = page.letters[np.frombuffer(raw(row), np.uint8)]
        for place in np.flatnonzero(points == UNDEFINED).tolist():
            message = f"byte {raw(row)[place]:02x} does not exist in {page.name}"
            faults.append(Fault("undefined_byte", message, np.array([row]), np.array([place]), exact=True))
        letters = "".join("\ufffd" if p == UNDEFINED else chr(p) for p in points.tolist())
        values.append(letters.lstrip(f.pad) if f.right else letters.rstrip(f.pad))
    mask = np.zeros(len(column), np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(column, mask, pa.array(values, pa.string()))


def _utf8(column: pa.Array, flat: Bytes, offsets: np.ndarray, faults: list[Fault]) -> pa.Array:
    """Is it UTF-8, value by value, without a byte order mark in it?"""
    if not flat.size or flat.max() < 0x80:
        return column
    text = flat.tobytes()
    starts = offsets[:-1][np.diff(offsets) > 0]
    sound = not ((flat[starts] & 0xC0) == 0x80).any()
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        sound = False
    at = text.find(b"\xef\xbb\xbf")
    while at >= 0:
        _faults_at(faults, "bom", "a byte order mark in the middle of the text", offsets, np.array([at]))
        at = text.find(b"\xef\xbb\xbf", at + 1)
    _faults_at(faults, "control_character", "a control character where there should be text", offsets,
               np.flatnonzero((flat[:-1] == 0xC2) & (flat[1:] < 0xA0) & (flat[1:] >= 0x80)))  # fmt: skip
    if sound:
        return column
    rows = np.unique(owners(offsets, np.flatnonzero(flat >= 0x80)))
    values = []
    for row in rows.tolist():
        cell = text[offsets[row] : offsets[row + 1]]
        try:
            values.append(cell.decode("utf-8"))
        except UnicodeDecodeError as error:
            message = f"byte {cell[error.start]:02x} begins no letter of UTF-8"
            faults.append(Fault("undefined_byte", message, np.array([row]), np.array([error.start]), exact=True))
            values.append(cell.decode("utf-8", "replace"))
    mask = np.zeros(len(column), np.bool_)
    mask[rows] = True
    whole = pc.if_else(mask, "", column)
    return pc.replace_with_mask(whole, mask, pa.array(values, pa.string()))


def _digits(f: FieldSpec, flat: Bytes, offsets: np.ndarray, faults: list[Fault]) -> None:
    other = (flat - np.uint8(ZERO)) > 9
    if not other.any():
        return
    places = np.flatnonzero(other)
    rows = owners(offsets, places)
    if f.check:  # an interim number has a letter after the date
        within = places - offsets[rows]
        keep = ~((within == 8) & np.isin(flat[places], identities.INTERIM))
        places, rows = places[keep], rows[keep]
    rows, first = np.unique(rows, return_index=True)
    if len(rows):
        faults.append(
            Fault("not_a_number", "a field of digits holds something else", rows, places[first] - offsets[rows], True)
        )


def _identities(
    f: FieldSpec, flat: Bytes, offsets: np.ndarray, lengths: np.ndarray, empty: Bools, faults: list[Fault]
) -> None:
    twelve = np.flatnonzero(lengths == 12)
    matrix = flat.reshape(-1, 12) if len(twelve) == len(lengths) else flat[offsets[twelve][:, None] + np.arange(12)]
    right = identities.valid(matrix)
    if f.check == "identity":
        right |= identities.reserve(matrix)
    wrong = twelve[~right]
    wrong = wrong[~empty[wrong]]
    if len(wrong):
        message = "no valid personal number: wrong date, serial or check digit"
        faults.append(Fault("check_digit", message, wrong, np.full(len(wrong), 11), True))
    if f.type == "digits" and len(short := np.flatnonzero((lengths != 12) & ~empty)):
        faults.append(Fault("not_a_number", "a personal number has twelve digits", short))


def _boolean(f: FieldSpec, column: pa.Array, valid: Bools | None, faults: list[Fault]) -> Column:
    true, false = (np.asarray(pc.fill_null(pc.equal(column, code), False)) for code in f.codes)
    there = np.ones(len(column), np.bool_) if valid is None else valid
    if (unknown := there & ~true & ~false).any():
        faults.append(Fault("not_in_code_list", f"not one of {', '.join(f.codes)}", np.flatnonzero(unknown)))
    return Column(pa.array(true, pa.bool_(), mask=~(true | false)), ~there, faults)


# --- numbers


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
    if f.sign == "leading" and (minus := digits[:, 0] == np.uint8(MINUS - ZERO + 256)).any():
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
    values = np.ascontiguousarray(cells).view(kind).reshape(-1)
    limit = LARGEST if f.type == "decimal" or f.sign == "none" else 2**63 - 1
    large = (values > limit) if f.sign == "none" else ((values > limit) | (values < -limit - 1))
    faults = [Fault("overflow", "the number has more than 18 digits", np.flatnonzero(large))] if large.any() else []
    return Column(_column(f, np.where(large, 0, values).astype(np.int64), ~large), None, faults)


# --- dates and times


@cache
def calendar() -> tuple[np.ndarray, np.ndarray]:
    """By month since year 0: the first day (from 1970-01-01), and how many days it has."""
    months = np.arange("0000-01", "10000-01", dtype="datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int32)
    following = (months + 1).astype("datetime64[D]").astype(np.int32)
    return first, (following - first).astype(np.uint8)


def _moment(f: FieldSpec, cells: Bytes) -> Column:
    if f.length == len(f.shape) and not f.accepts:
        return _exactly(f, f.shape, cells)
    return read_moment(f, pc.ascii_trim(of_cells(cells), " "))


def read_moment(f: FieldSpec, column: pa.Array) -> Column:
    """A column of plain bytes without blanks around them as dates or times, by the form that has their length."""
    lengths = np.diff(offsets_of(column))
    n = len(column)
    values, valid, empty = np.zeros(n, np.int64), np.zeros(n, np.bool_), lengths == 0
    faults: list[Fault] = []
    zeros = np.asarray(pc.equal(pc.ascii_ltrim(column, "0"), "")) & ~empty if f.type != "time" else empty & False
    rest = ~empty & ~zeros
    for form in (f.shape, *f.accepts):
        rows = np.flatnonzero(rest & (lengths == len(form)))
        if not len(rows):
            continue
        chosen = column.take(pa.array(rows)) if len(rows) < n else column
        found = _exactly(f, form, flat_of(chosen).reshape(-1, len(form)))
        values[rows] = found.values.cast(_integer(f)).fill_null(0).to_numpy()
        valid[rows] = np.asarray(found.values.is_valid())
        for fault in found.faults:
            faults.append(Fault(fault.rule, fault.message, rows[fault.rows], fault.within, fault.exact))
        rest[rows] = False
    if rest.any():
        faults.append(Fault("not_a_date", f"no {f.type} of the form {f.shape}", np.flatnonzero(rest)))
    return Column(_moments(f, values, valid), empty | zeros, faults)


def _integer(f: FieldSpec) -> pa.DataType:
    return pa.int64() if f.type == "timestamp" else pa.int32()


def _moments(f: FieldSpec, values: NDArray[Any], valid: Bools | None) -> pa.Array:
    kind = np.int64 if f.type == "timestamp" else np.int32
    return plain_numbers(values.astype(kind, copy=False), valid, arrow_type(f))


@cache
def _weights(form: str) -> np.ndarray:
    """What each place of a form counts in each of its parts: ``(length, parts)``."""
    spans = forms.parts(form)
    weights = np.zeros((len(form), len(spans)), np.float32)
    for k, (first, last) in enumerate(spans.values()):
        weights[first:last, k] = 10.0 ** np.arange(last - first - 1, -1, -1)
    return weights


def _exactly(f: FieldSpec, form: str, cells: Bytes) -> Column:
    """Cells of exactly this form; blanks, or zeros where there is no such date, are none."""
    digits = cells - np.uint8(ZERO)
    sound = np.ones(len(cells), np.bool_)
    spans = forms.parts(form)
    for place, letter in forms.literals(form):
        sound &= cells[:, place] == ord(letter)
    if digits.size and digits.max() > 9:
        there = [k for first, last in spans.values() for k in range(first, last)]
        sound &= (digits[:, there] <= 9).all(axis=1)
    if form == "YYYYMMDD":
        century, year, month, day = pairs_of(digits).astype(np.int32).T
        part = {"YYYY": century * 100 + year, "MM": month, "DD": day}
    else:
        products = (digits.astype(np.float32) @ _weights(form)).astype(np.int32)
        part = {name: np.ascontiguousarray(products[:, k]) for k, name in enumerate(spans)}
    blank = (cells == BLANK).all(axis=1) if not sound.all() else np.zeros(len(cells), np.bool_)
    zeros = np.zeros(len(cells), np.bool_)
    if f.type != "time" or f.empty == "zeros":
        zeros = (cells == ZERO).all(axis=1)
    values: NDArray[Any] = np.zeros(0, np.int32)
    if "hh" in spans:
        minute, second = part.get("mm", 0), part.get("ss", 0)
        sound &= (part["hh"] < 24) & (minute < 60) & (second < 60)
        values = part["hh"] * 3600 + minute * 60 + second
    if f.type != "time":
        days, right = _days(f, part)
        sound &= right
        values = days.astype(np.int64) * 86400 + values if f.type == "timestamp" else days
    empty = blank | zeros
    bad = ~sound & ~empty
    faults = []
    if bad.any():
        faults.append(Fault("not_a_date", f"no {f.type} of the form {form}", np.flatnonzero(bad)))
    valid = sound & ~empty
    whole = bool(valid.all())
    return Column(
        _moments(f, values if whole else np.where(valid, values, 0), None if whole else valid),
        empty if empty.any() else None,
        faults,
    )


def _days(f: FieldSpec, part: dict[str, NDArray[np.int32]]) -> tuple[NDArray[np.int32], Bools]:
    """Days since 1970-01-01, and which of them there are."""
    starts, lengths = calendar()
    if "YYYY" in part:
        year = np.minimum(part["YYYY"], 9999)
    else:
        short = np.minimum(part["YY"], 99)
        year = short + np.where(short < f.century, 2000, 1900)
    if "DDD" in part:
        day = part["DDD"]
        first = starts[year * 12]
        longest = np.where(year == 9999, 365, starts[np.minimum(year + 1, 9999) * 12] - first)
        return first + day - 1, (day >= 1) & (day <= longest) & (year >= 1)
    month, day = part["MM"] - 1, part["DD"] - 1
    sound = month.view(np.uint32) < 12
    index = year * 12 + month
    if not (whole := sound.all()):
        index[~sound] = 0
    # Unsigned, so that day 00, which is -1 here, is too large.
    right: Bools = day.view(np.uint32) < lengths[index]
    if not whole:
        right &= sound
    if year.size and year.min() < 1:
        right &= year >= 1
    return starts[index] + day, right


# --- values of any length (tagged and delimited formats)


def read_values(f: FieldSpec, column: pa.Array, page: Codepage, raw: Callable[[int], bytes]) -> Column:
    """A column of plain bytes as the field's type; what is longer than the field is a fault."""
    lengths = pc.utf8_length(column) if page.wide and f.type == "text" else np.diff(offsets_of(column))
    long = np.flatnonzero(np.asarray(lengths) > f.length)
    faults = [Fault("too_long", f"more than the field's {f.length} characters", long)] if len(long) else []
    if f.type in MOMENTS:
        found = read_moment(f, column)
    elif f.type in NUMBERS:
        if len(long):
            keep = np.ones(len(column), np.bool_)
            keep[long] = False
            column = pc.if_else(keep, column, "")
        padded = pc.ascii_lpad(column, f.length, " ")
        found = _number(f, flat_of(padded).reshape(-1, f.length), page, raw, None)
    else:
        found = read_text(f, column, page, raw)
    found.faults += faults
    return found
