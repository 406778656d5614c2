"""One field of many records, from bytes to an Arrow column: text here, ``amounts`` and ``moments`` beside it.

Cells are plain bytes (see ``codepages``). What cannot be read is null in the column and a
``Fault``: which rows, and where within the cell. Readers know where a cell stands in the file; this module doesn't.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.records import amounts, identities, moments
from slussen.records.alike import Cells
from slussen.records.amounts import BLANK, ZERO
from slussen.records.codepages import UNDEFINED, Codepage
from slussen.records.columns import Column, Fault
from slussen.records.letters import Bools, Bytes, Ints, array, flat_of, offsets_of, owners, to_utf8
from slussen.records.notation import MOMENTS, NUMBERS, FieldSpec

UNKNOWN = np.uint16(0xFFFD)  # Unicode's letter for one that isn't known


def read(
    cells: Cells,
    page: Codepage,
    raw: Callable[[int], bytes],
    *,
    negative: Bools | None = None,
    printable: bool = False,
) -> Column:
    """The cells of fields that are read alike, as one column.

    ``raw`` gives a cell's own bytes, ``negative`` is what a sign field says; ``printable`` that the whole block is
    known to be ASCII without control characters.
    """
    f = cells.fields[0]
    match f.type:
        case "integer" | "decimal":
            return amounts.read_number(f, cells.matrix, page, raw, negative)
        case "date" | "time" | "timestamp":
            return moments.read_cells(f, cells.matrix)
        case _:
            column = cells.column
            if any((edge == ord(f.pad)).any() for edge in cells.edges(last=not f.right)):
                column = pc.ascii_ltrim(column, f.pad) if f.right else pc.ascii_rtrim(column, f.pad)
            read_column = read_text(f, column, page, raw, printable=printable, codes=[f.bare(c) for c in f.codes])
            if f.right and read_column.faults:
                left_out = f.length - np.diff(offsets_of(column))
                for fault in read_column.faults:
                    if fault.within is not None:
                        fault.within = fault.within + left_out[fault.rows]
            return read_column


# --- text


def read_text(
    f: FieldSpec, column: pa.Array, page: Codepage, raw: Callable[[int], bytes], *, printable: bool = False,
    codes: Sequence[str] = (),
) -> Column:  # fmt: skip
    """A column of plain bytes, already trimmed, as text, digits or booleans; ``codes`` as these are when trimmed."""
    offsets, flat = offsets_of(column), flat_of(column)
    faults: list[Fault] = []
    lowest, highest = (BLANK, BLANK) if printable or not len(flat) else (int(flat.min()), int(flat.max()))
    if page.wide:
        column = _utf8(column, flat, offsets, faults)
    elif highest >= 0x80:
        column = _beyond_ascii(f, column, flat, offsets, page, raw, faults)
    if lowest < BLANK or (highest >= 0x7F and (flat == 0x7F).any()):
        _faults_at(faults, "control_character", "a control character where there should be text", offsets,
                   np.flatnonzero((flat < BLANK) | (flat == 0x7F)))  # fmt: skip
    lengths = np.diff(offsets)
    empty = lengths == 0
    if f.zeros:
        empty |= np.asarray(pc.equal(pc.ascii_ltrim(column, "0"), ""))
    if f.type == "digits":
        other_than_digits(f, flat, offsets, faults)
    if f.check:
        no_identities(f, flat, offsets, empty, faults)
    if f.type == "boolean":
        return _boolean(f, column, empty, codes or f.codes, faults)
    valid = None
    if empty.any():
        valid = ~empty
        column = array(offsets_of(column), flat_of(column), valid)  # (it may be a slice of many fields' values)
    if f.codes:
        unknown = ~known(f, column, flat)
        if valid is not None:
            unknown &= valid
        if unknown.any():
            message = f"not one of {', '.join(f.codes)}"
            faults.append(Fault("not_in_code_list", message, np.flatnonzero(unknown)))
    if f.like and (other := unlike(f, column)).any():
        faults.append(Fault("shape", f"not of the form {f.like}", np.flatnonzero(other)))
    if lowest == 0:  # no database takes a NUL within a text
        sound = np.ones(len(column), np.bool_)
        sound[owners(offsets, np.flatnonzero(flat == 0))] = False
        column = pc.if_else(pa.array(sound), column, None)
    return Column(column, empty if valid is not None else None, faults)


def known(f: FieldSpec, column: pa.Array, flat: Bytes) -> Bools:
    """Which values are of the code list?"""
    if len(flat) == len(column) and all(len(c) == 1 and c.isascii() for c in f.codes):
        found: Bools = np.isin(flat, [ord(c) for c in f.codes])
        return found
    return np.asarray(pc.is_in(column, pa.array(f.codes, pa.string())))


def unlike(f: FieldSpec, column: pa.Array) -> Bools:
    """Which values, but for those that are nothing, don't look as the field says?"""
    return ~np.asarray(pc.match_substring_regex(column, f"^({f.pattern})?$").fill_null(True))


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
    lengths = np.diff(offsets)[rows]  # without what filled the field up, which the cell's own bytes have
    own = b"".join(
        raw(row)[-n:] if f.right else raw(row)[:n] for row, n in zip(rows.tolist(), lengths.tolist(), strict=True)
    )
    cells, starts = np.frombuffer(own, np.uint8), np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    points = page.letters[cells]
    _undefined(faults, f"does not exist in {page.name}", rows, starts, np.flatnonzero(points == UNDEFINED), cells)
    points = np.where(points == UNDEFINED, UNKNOWN, points)
    sizes = np.concatenate(([0], np.cumsum(1 + (points >= 0x80) + (points >= 0x800)))).astype(np.int32)
    mask = np.zeros(len(column), np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(column, mask, array(sizes[starts], points.tobytes().decode("utf-16-le").encode()))


def _undefined(
    faults: list[Fault], why: str, rows: Ints, starts: NDArray[np.int32], places: Ints, cells: Bytes
) -> None:
    """One fault for the bytes at these places of these rows' cells that are no letters."""
    if len(places):
        mine = owners(starts, places)
        within = places - starts[mine]
        faults.append(
            Fault("undefined_byte", f"byte {{:02x}} {why}", rows[mine], within, exact=True, said=cells[places])
        )


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
    marks = np.array([m.start() for m in re.finditer(b"\xef\xbb\xbf", text)], np.int64)
    _faults_at(faults, "bom", "a byte order mark in the middle of the text", offsets, marks)
    _faults_at(faults, "control_character", "a control character where there should be text", offsets,
               np.flatnonzero((flat[:-1] == 0xC2) & (flat[1:] < 0xA0) & (flat[1:] >= 0x80)))  # fmt: skip
    if sound:
        return column
    rows = np.unique(owners(offsets, np.flatnonzero(flat >= 0x80)))
    values, places = [], []
    for start, stop in zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True):
        cell = text[start:stop]
        try:
            values.append(cell.decode("utf-8"))
        except UnicodeDecodeError as error:
            places.append(start + error.start)
            values.append(cell.decode("utf-8", "replace"))
    _undefined(faults, "begins no letter of UTF-8", np.arange(len(column)), offsets, np.array(places, np.int64), flat)
    mask = np.zeros(len(column), np.bool_)
    mask[rows] = True
    whole = pc.if_else(mask, "", column)
    return pc.replace_with_mask(whole, mask, pa.array(values, pa.string()))


def other_than_digits(f: FieldSpec, flat: Bytes, offsets: np.ndarray, faults: list[Fault]) -> None:
    """Faults for values of a field of digits that hold something else."""
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


def no_identities(f: FieldSpec, flat: Bytes, offsets: np.ndarray, empty: Bools, faults: list[Fault]) -> None:
    """Faults for values of a checked field that are no personal numbers."""
    lengths = np.diff(offsets)
    twelve = np.flatnonzero(lengths == 12)
    every = len(twelve) == len(lengths)
    matrix = flat.reshape(len(twelve), 12) if every else flat[offsets[twelve][:, None] + np.arange(12)]
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


def _boolean(f: FieldSpec, column: pa.Array, empty: Bools, codes: Sequence[str], faults: list[Fault]) -> Column:
    """A code may look like nothing (a blank for no): then it is never nothing."""
    true, false = (np.asarray(pc.equal(column, code)) for code in codes)
    either = true | false
    if (unknown := ~either & ~empty).any():
        faults.append(Fault("not_in_code_list", f"not one of {', '.join(f.codes)}", np.flatnonzero(unknown)))
    return Column(pa.array(true, pa.bool_(), mask=~either), empty & ~either, faults)


# --- values of any length (tagged and delimited formats)


def read_values(f: FieldSpec, column: pa.Array, page: Codepage, raw: Callable[[int], bytes]) -> Column:
    """A column of plain bytes as the field's type; what is longer than the field is a fault."""
    lengths = pc.utf8_length(column) if page.wide and f.type == "text" else np.diff(offsets_of(column))
    long = np.flatnonzero(np.asarray(lengths) > f.length)
    faults = [Fault("too_long", f"more than the field's {f.length} characters", long)] if len(long) else []
    if f.type in MOMENTS:
        found = moments.read_moment(f, column)
    elif f.type in NUMBERS:
        if len(long):
            keep = np.ones(len(column), np.bool_)
            keep[long] = False
            column = pc.if_else(keep, column, "")
        padded = pc.ascii_lpad(column, f.length, " ")
        found = amounts.read_number(f, flat_of(padded).reshape(len(padded), f.length), page, raw, None)
    else:
        found = read_text(f, column, page, raw)
    found.faults += faults
    return found
