"""One field of many records, from an Arrow column to bytes: the way back from ``cells``, and as strict.

Cells are plain bytes (see ``codepages``); a whole block is translated to its encoding at the end. What doesn't fit is a
``Fault``; nothing is cut unless the layout says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.records import forms
from slussen.records.alike import Alike
from slussen.records.amounts import MINUS, PLUS, ZERO, zones
from slussen.records.cells import known, no_identities, other_than_digits, unlike
from slussen.records.codepages import UNDEFINED, Codepage
from slussen.records.columns import Fault
from slussen.records.letters import (
    Bools,
    Bytes,
    Ints,
    array,
    digits_of,
    flat_of,
    latin,
    of_cells,
    offsets_of,
    owners,
    spread,
    tidy,
    to_plain,
    unscaled,
)
from slussen.records.moments import calendar
from slussen.records.notation import LONGEST, NUMBERS, FieldSpec, arrow_type

WIDER = "shorten it at the source, or widen the field in the layout"
SOURCE = "correct it at the source"
FIRST, LAST = np.datetime64("1900-01-01"), np.datetime64("2100-01-01")  # days that are looked up
EARLIEST, LATEST = (int(np.datetime64(d).astype(np.int64)) for d in ("0001-01-01", "9999-12-31"))  # that can be said
READ_AS_NOTHING = "the value is what the layout writes for nothing"
READ_AS_CODE = "nothing, and the layout writes that as one of its codes"
SAID = {"ss": 1, "mm": 60, "hh": 3600}  # seconds of the smallest part that a form has


@dataclass
class Written:
    """Each field's cells ``(n, length)``; by rows of the whole column, what was wrong, cut, replaced (how often), or is
    negative.
    """

    cells: list[Bytes]
    faults: list[Fault] = field(default_factory=list)
    cut: Bools | None = None
    replaced: Ints | None = None
    negative: Bools | None = None


def write(fields: Alike, column: pa.Array, page: Codepage, replace: dict[str, str]) -> Written:
    """The column of fields that are written alike, each field's values after the other's, as cells."""
    f, n = fields[0], len(column) // len(fields)
    if len(column) and column.null_count == len(column) and f.type != "boolean":
        return Written([np.broadcast_to(_nothing(f, page), (n, f.length)) for f in fields])
    missing = np.asarray(column.is_null()) if column.null_count else None
    match f.type:
        case "integer" | "decimal":
            cells, faults, negative = _number(f, column, page)
            written = Written(_split(cells, n), faults, negative=negative)
        case "date" | "time" | "timestamp":
            cells, faults = moments(f, column)
            written = Written(_split(_moment_cells(f, cells), n), faults)
        case "boolean":
            written = _texts(fields, pc.if_else(column.cast(pa.bool_()), f.codes[0], f.codes[1]), page, {})
        case _:
            written = _texts(fields, column, page, replace)
    if missing is not None:
        _blank(fields, written, missing, page)
        if f.type == "boolean" and f.bare(_nothing(f, page).tobytes().decode()) in map(f.bare, f.codes):
            written.faults.append(Fault("nothing", READ_AS_CODE, np.flatnonzero(missing)))
    return written


def _split(cells: Bytes, n: int) -> list[Bytes]:
    return [cells[first : first + n] for first in range(0, len(cells), n)] if n else [cells]


def _blank(fields: Alike, written: Written, missing: Bools, page: Codepage) -> None:
    """Where there is nothing, nothing can be wrong, and it is written as the field says."""
    for fault in written.faults:
        kept = fault.pick(~missing[fault.rows])
        fault.rows, fault.within, fault.said = kept.rows, kept.within, kept.said
    if fields[0].type in ("text", "digits") and not fields[0].zeros:
        return  # an empty text is that already
    n = len(missing) // len(fields)
    for k, f in enumerate(fields):
        which = missing[k * n : (k + 1) * n]
        if which.any():
            written.cells[k] = np.where(which[:, None], _nothing(f, page), written.cells[k])


def _nothing(f: FieldSpec, page: Codepage) -> Bytes:
    """How nothing is written, in plain bytes: a number as its zero is, unless it is blank."""
    if f.type in NUMBERS and (f.zeros or f.usage != "display"):
        zero: Bytes = _number(f, pa.array([0], arrow_type(f)), page)[0][0]
        return zero
    fill = "0" if f.zeros else " " if f.type in NUMBERS else f.pad
    return np.full(f.length, ord(fill), np.uint8)


# --- text


def checked(f: FieldSpec, column: pa.Array, replace: dict[str, str]) -> tuple[pa.Array, list[Fault], Ints | None]:
    """Text that may be written: (the column with its replacements, what is wrong, how many letters were replaced)."""
    column = tidy(column)
    flat = flat_of(column)
    faults: list[Fault] = []
    replaced = None
    highest = flat.max(initial=0)
    if replace and highest >= 0x80:
        for letter, instead in replace.items():
            found: Ints = pc.count_substring(column, letter).to_numpy()
            if found.any():
                column, replaced = pc.replace_substring(column, letter, instead), found + (
                    0 if replaced is None else replaced)  # fmt: skip
        flat = flat_of(column)
    if flat.min(initial=0xFF) < 0x20 or (highest >= 0x7F and (flat == 0x7F).any()):
        _place(faults, "control_character", "a control character in a text", column, (flat < 0x20) | (flat == 0x7F))
    if highest >= 0x80 and (second := _c1(flat)).any():
        _place(faults, "control_character", "a control character in a text", column, second)
    if f.type == "digits" or f.check:  # a letter a byte, whatever the letter
        plain = pc.replace_substring_regex(column, r"[^\x00-\x7f]", "?") if highest >= 0x80 else column
        letters, offsets = flat_of(plain), offsets_of(plain)
        if f.type == "digits":
            other_than_digits(f, letters, offsets, faults)
        if f.check:
            empty = np.asarray(pc.equal(pc.ascii_trim(plain, "0") if f.zeros else plain, ""))
            no_identities(f, letters, offsets, empty, faults)
    if f.zeros and (rows := np.flatnonzero(np.asarray(pc.match_substring_regex(column, "^0+$").fill_null(False)))).size:
        faults.append(Fault("nothing", READ_AS_NOTHING, rows))
    if f.codes and f.type != "boolean":
        unknown = ~known(f, column, flat)
        if unknown.any():
            faults.append(Fault("not_in_code_list", f"not one of {', '.join(f.codes)}", np.flatnonzero(unknown)))
    if f.like and (other := unlike(f, column)).any():
        faults.append(Fault("shape", f"not of the form {f.like}", np.flatnonzero(other)))
    return column, faults, replaced


def _c1(flat: Bytes) -> Bools:
    found: Bools = np.zeros(len(flat), np.bool_)
    found[:-1] = (flat[:-1] == 0xC2) & (flat[1:] < 0xA0)
    return found


def _place(faults: list[Fault], rule: str, message: str, column: pa.Array, wrong: Bools) -> None:
    offsets = offsets_of(column)
    places = np.flatnonzero(wrong)
    rows, first = np.unique(owners(offsets, places), return_index=True)
    faults.append(Fault(rule, message, rows, places[first] - offsets[rows]))


def to_page(column: pa.Array, page: Codepage) -> tuple[Bytes, NDArray[np.int32], list[Fault]]:
    """A text column's letters as plain bytes one after the other, where each value begins, and which are lacking."""
    if page.wide:
        return flat_of(column), offsets_of(column), []
    found = latin(column)
    if found is not None and (page.latin or not page.lacking[found[0]].any()):
        return *found, []
    flat, offsets = flat_of(column), offsets_of(column)
    coded, starts = to_plain(flat, offsets, page)
    if not (coded == UNDEFINED).any():
        return coded.astype(np.uint8), starts, []
    lost = np.flatnonzero(coded == UNDEFINED)
    rows = owners(starts, lost)
    letters = np.frombuffer(str(flat.data, "utf-8").encode("utf-32-le"), np.uint32)[lost]
    message = f"character U+{{:04X}} does not exist in {page.name}"
    fault = Fault("unmappable", message, rows, lost - starts[rows], said=letters)
    return np.where(coded == UNDEFINED, ord("?"), coded).astype(np.uint8), starts, [fault]


def _texts(fields: Alike, column: pa.Array, page: Codepage, replace: dict[str, str]) -> Written:
    f, n = fields[0], len(column) // len(fields)
    column, faults, replaced = checked(f, column, replace)
    letters, starts, lacking = to_page(column, page)
    lengths = np.diff(starts)
    room = np.repeat(np.array([f.length for f in fields], np.int32), n)
    cut = None
    if (long := lengths > room).any():
        lacking = [x.pick(x.within < room[x.rows]) for x in lacking if x.within is not None]
        if f.truncate:
            cut = long
        else:
            for size in np.unique(room[long]).tolist():
                rows = np.flatnonzero(long & (room == size))
                message = f"{{}} {'bytes' if page.wide else 'characters'} in a field of {size}"
                faults.append(Fault("too_long", message, rows, said=lengths[rows]))
        lengths = np.minimum(lengths, room)
        if page.wide:
            lengths = _whole_letters(letters, starts, lengths)
        letters = letters[spread(starts[:-1].astype(np.int64), lengths.astype(np.int64))]
        starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    if f.pad != " " and not f.codes:
        edge = pc.starts_with(column, f.pad) if f.right else pc.ends_with(column, f.pad)
        if (rows := np.flatnonzero(edge.fill_null(False).to_numpy(zero_copy_only=False))).size:
            side = "begins" if f.right else "ends"
            faults.append(
                Fault("fill", f"the value {side} with {f.pad}, which fills the field up and isn't read", rows)
            )
    cells = []
    for k, mine in enumerate(fields):
        first, last = k * n, (k + 1) * n
        there = letters[starts[first] : starts[last]]
        if not (lengths[first:last] == mine.length).all():
            pad = pc.ascii_lpad if f.right else pc.ascii_rpad
            there = flat_of(pad(array(starts[first : last + 1], letters), mine.length, f.pad))
        cells.append(there.reshape(n, mine.length))
    return Written(cells, faults + lacking, cut, replaced)


def _whole_letters(flat: Bytes, starts: NDArray[np.int32], kept: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lengths that cut no letter of UTF-8 in two."""
    kept = kept.copy()
    for row in np.flatnonzero(kept < np.diff(starts)).tolist():
        while kept[row] and (flat[starts[row] + kept[row]] & 0xC0) == 0x80:
            kept[row] -= 1
    return kept


# --- numbers


def whole(f: FieldSpec, column: pa.Array) -> tuple[Ints, list[Fault]]:
    """A column of numbers as integers of the field's smallest unit, and those that are no such numbers."""
    if f.type == "integer":
        return column.cast(pa.int64()).to_numpy(), []
    if column.type == pa.decimal128(LONGEST, f.decimals):
        return unscaled(column), []
    try:
        return unscaled(column.cast(pa.decimal128(LONGEST, f.decimals))), []
    except pa.ArrowInvalid:
        values, wrong = np.zeros(len(column), np.int64), []
        for row, value in enumerate(column.to_pylist()):
            scaled = value.scaleb(f.decimals) if hasattr(value, "scaleb") else value * 10**f.decimals
            if scaled != int(scaled) or abs(scaled) >= 10**LONGEST:
                wrong.append(row)
            else:
                values[row] = int(scaled)
        message = f"the number has more than {f.decimals} decimals, or more than {LONGEST} digits"
        return values, [Fault("too_long", message, np.array(wrong, np.int64))]


def _number(f: FieldSpec, column: pa.Array, page: Codepage) -> tuple[Bytes, list[Fault], Bools]:
    """Numbers as cells of the field's length, what is wrong, and which are negative; nothing as 0."""
    values, faults = whole(f, pc.fill_null(column, pa.scalar(0, column.type)) if column.null_count else column)
    negative = values < 0
    size = np.abs(values)
    size[size < 0] = np.iinfo(np.int64).max  # the one number that has no positive
    any_negative = bool(negative.any())
    if f.sign == "none" and any_negative:
        faults += _unsigned(negative)
    if f.usage == "binary":
        return _binary(f, values, faults, page), faults, negative
    signed = f.usage == "display" and (f.sign == "trailing" or (f.sign == "leading" and (any_negative or f.plus)))
    if not _fits(size, f.digits - signed).all():
        room = np.full(len(values), f.digits)
        if f.usage == "display" and f.sign in ("leading", "trailing"):
            room -= negative | f.plus | (f.sign == "trailing")
        fits = np.where(room == f.digits, _fits(size, f.digits), _fits(size, f.digits - 1))
        if not fits.all():
            message = f"the number has more digits than the field's {f.digits}"
            faults.append(Fault("too_long", message, np.flatnonzero(~fits)))
    if f.usage == "packed":
        return _packed(f, size, negative, page), faults, negative
    width = f.length
    if f.sign == "trailing":
        cells = np.empty((len(values), width), np.uint8)
        cells[:, :-1] = digits_of(size, width - 1)
        cells[:, -1] = np.where(negative, MINUS, PLUS if f.plus else 32)
    else:
        cells = digits_of(size, width)
        if f.sign == "leading" and (f.plus or any_negative):
            cells = np.ascontiguousarray(cells)
            cells[negative, 0] = MINUS
            if f.plus:
                cells[~negative, 0] = PLUS
    if f.sign in ("overpunched", "zoned"):
        _, _, (plus, minus) = zones(f.sign, page.ebcdic)
        last = cells[:, -1] - np.uint8(ZERO)
        signed = np.where(negative, np.frombuffer(minus, np.uint8)[last], np.frombuffer(plus, np.uint8)[last])
        cells = np.ascontiguousarray(cells)
        cells[:, -1] = _own(signed, page)
    if f.pad != "0" or not f.right:
        cells = _unfilled(f, np.ascontiguousarray(cells), negative)
    return cells, faults, negative


def _unsigned(negative: Bools) -> list[Fault]:
    """A fault for negative numbers of a field that has no sign."""
    rows = np.flatnonzero(negative)
    return [Fault("sign", "negative in an unsigned field", rows)] if len(rows) else []


def _fits(size: Ints, digits: int) -> Bools:
    """Which have at most so many digits."""
    fits: Bools = size < 10**digits
    return fits


def _unfilled(f: FieldSpec, cells: Bytes, negative: Bools) -> Bytes:
    """Leading zeros as blanks, the minus before the first digit; or all of it to the left."""
    body = cells[:, :-1] if f.sign == "trailing" else cells
    shown = (body != ZERO) & (body != MINUS) & (body != PLUS)
    shown[:, -1] = True  # a zero is a digit too
    first = shown.argmax(axis=1)
    places = np.arange(body.shape[1])
    body[places < first[:, None]] = ord(f.pad)
    if f.sign == "leading":
        rows = np.flatnonzero(negative | f.plus)
        body[rows, np.maximum(first[rows] - 1, 0)] = np.where(negative[rows], MINUS, PLUS)
        first = np.where(negative | f.plus, np.maximum(first - 1, 0), first)
    if not f.right:
        for shift in np.unique(first[first > 0]).tolist():
            rows = np.flatnonzero(first == shift)
            body[rows, :-shift] = body[rows, shift:]
            body[rows, -shift:] = ord(f.pad)
    return cells


def _packed(f: FieldSpec, size: Ints, negative: Bools, page: Codepage) -> Bytes:
    digits = digits_of(size, f.digits) - np.uint8(ZERO)
    halves = np.empty((len(size), f.length * 2), np.uint8)
    halves[:, :-1] = digits
    halves[:, -1] = 0xF if f.sign == "none" else np.where(negative, 0xD, 0xC)
    return _own(halves[:, ::2] << 4 | halves[:, 1::2], page)


def _binary(f: FieldSpec, values: Ints, faults: list[Fault], page: Codepage) -> Bytes:
    kind = np.dtype(f">{'u' if f.sign == 'none' else 'i'}{f.length}")
    room = np.iinfo(kind)
    wrong = values > room.max
    if f.sign != "none":  # (there it is told already)
        wrong |= values < room.min
    if wrong.any():
        faults.append(Fault("too_long", f"the number needs more than the field's {f.length} bytes",
                            np.flatnonzero(wrong)))  # fmt: skip
    return _own(np.where(wrong, 0, values).astype(kind).view(np.uint8).reshape(len(values), f.length), page)


def _own(raw: NDArray[Any], page: Codepage) -> Bytes:
    """Bytes that are no letters, as the plain bytes that the block's translation makes them of."""
    cells: Bytes = np.frombuffer(page.home, np.uint8)[raw]
    return cells


# --- dates and times


def moments(f: FieldSpec, column: pa.Array) -> tuple[Bytes, list[Fault]]:
    """Dates or times in the field's form, ``(n, len(form))``; nothing as any of them."""
    faults: list[Fault] = []
    if f.type == "timestamp":
        seconds = _counted(column, pa.timestamp("s"), pa.int64())
        days, within = seconds // 86400, seconds % 86400
    elif f.type == "date":
        days = _counted(column, pa.date32(), pa.int32())
        within = np.zeros(len(column), np.int64)
    else:
        within = _counted(column, pa.time32("s"), pa.int32())
        days = np.zeros(len(column), np.int64)
    first, last = (int(d.astype(np.int64)) for d in (FIRST, LAST))
    if (
        f.type == "date"
        and "YY" not in forms.parts(f.shape)
        and days.size
        and days.min() >= first
        and days.max() < last
    ):
        return _dates(f.shape)[days - first].view(np.uint8).reshape(len(days), len(f.shape)), faults
    cells = np.empty((len(column), len(f.shape)), np.uint8)
    for place, letter in forms.literals(f.shape):
        cells[:, place] = ord(letter)
    parts = _parts(days, within)
    spans = forms.parts(f.shape)
    if f.type == "time" and f.zeros and (rows := np.flatnonzero((within == 0) & np.asarray(column.is_valid()))).size:
        faults.append(Fault("nothing", READ_AS_NOTHING, rows))
    outside = (days < EARLIEST) | (days > LATEST) | (within < 0) | (within >= 86400)
    said = next((seconds for part, seconds in SAID.items() if part in spans), 86400)
    outside |= within % said != 0
    if outside.any():
        faults.append(Fault("not_a_date", f"a {f.type} that {f.shape} cannot say", np.flatnonzero(outside)))
    if "YY" in spans:
        outside = parts["YYYY"] != parts["YY"] + np.where(parts["YY"] < f.century, 2000, 1900)
        if outside.any():
            message = f"a year that {f.shape} with century rule {f.century} cannot say"
            faults.append(Fault("not_a_date", message, np.flatnonzero(outside)))
    for name, (start, end) in spans.items():
        cells[:, start:end] = digits_of(parts[name], end - start)
    return cells, faults


def _counted(column: pa.Array, kind: pa.DataType, number: pa.DataType) -> Ints:
    """Days or seconds, nothing as 0."""
    counted = column.cast(kind).cast(number)
    found: NDArray[Any] = (counted.fill_null(0) if counted.null_count else counted).to_numpy()
    return found.astype(np.int64)


def _parts(days: Ints, within: Ints) -> dict[str, Ints]:
    starts, _ = calendar()
    month = np.searchsorted(starts, days, "right") - 1
    year = month // 12
    return {
        "YYYY": year, "YY": year % 100, "MM": month % 12 + 1, "DD": days - starts[month] + 1,
        "DDD": days - starts[year * 12] + 1, "hh": within // 3600, "mm": within // 60 % 60, "ss": within % 60,
    }  # fmt: skip


@cache
def _dates(form: str) -> NDArray[Any]:
    """The days of two centuries, written: an item each."""
    days = np.arange(FIRST, LAST).astype(np.int64)
    cells = np.empty((len(days), len(form)), np.uint8)
    for place, letter in forms.literals(form):
        cells[:, place] = ord(letter)
    parts = _parts(days, np.zeros(len(days), np.int64))
    for name, (start, end) in forms.parts(form).items():
        cells[:, start:end] = digits_of(parts[name], end - start)
    return cells.view(f"V{len(form)}").ravel()


def _moment_cells(f: FieldSpec, text: Bytes) -> Bytes:
    """In a wider field at the side where it is aligned."""
    if text.shape[1] == f.length:
        return text
    cells = np.full((len(text), f.length), ord(f.pad), np.uint8)
    if f.right:
        cells[:, f.length - text.shape[1] :] = text
    else:
        cells[:, : text.shape[1]] = text
    return cells


# --- values of any length (tagged and delimited formats)


def as_text(f: FieldSpec, column: pa.Array, replace: dict[str, str]) -> tuple[pa.Array, list[Fault], int, int]:
    """A column as text of its own length, "" where it is null: (text, what is wrong, values cut, letters replaced)."""
    missing = np.asarray(column.is_null())
    unsaid = [Fault("nothing", READ_AS_CODE, np.flatnonzero(missing))] if f.type == "boolean" and "" in f.codes else []
    if missing.all():
        return pa.array([""] * len(column), pa.string()), unsaid, 0, 0
    cut = replaced = 0
    if f.type in ("integer", "decimal"):
        numbers, faults = whole(f, column.drop_null())
        if f.sign == "none":
            faults += _unsigned(numbers < 0)
        width, plus = f.length if f.right and f.pad == "0" and f.zeros else 1, "+" if f.plus else ""
        if f.sign == "trailing":
            written = [f"{abs(v):0{max(width - 1, 1)}d}{'-' if v < 0 else plus}" for v in numbers.tolist()]
        else:
            written = [f"{(s := '-' if v < 0 else plus)}{abs(v):0{width - len(s)}d}" for v in numbers.tolist()]
        there = pa.array(written, pa.string())
        if long := [k for k, w in enumerate(written) if len(w) > f.length]:
            faults.append(Fault("too_long", f"the number has more digits than the field's {f.length}", np.array(long)))
    elif f.type in ("date", "time", "timestamp"):
        cells, faults = moments(f, column.drop_null())
        there = of_cells(np.ascontiguousarray(cells))
    elif f.type == "boolean":
        there, faults = pc.if_else(column.drop_null(), f.codes[0], f.codes[1]), []
    else:
        there, faults, letters = checked(f, column.drop_null(), replace)
        replaced = int(letters.sum()) if letters is not None else 0
        lengths = np.asarray(pc.utf8_length(there))
        if len(over := np.flatnonzero(lengths > f.length)):
            if f.truncate:
                there, cut = pc.utf8_slice_codeunits(there, 0, f.length), len(over)
            else:
                message = f"{{}} characters in a field of {f.length}"
                faults.append(Fault("too_long", message, over, said=lengths[over]))
    if not missing.any():
        return there, faults, cut, replaced
    rows = np.flatnonzero(~missing)
    place = np.zeros(len(column), np.int64)
    place[rows] = np.arange(len(rows))
    for fault in faults:
        fault.rows = rows[fault.rows]
    return pc.if_else(pa.array(~missing), there.take(pa.array(place)), ""), faults + unsaid, cut, replaced
