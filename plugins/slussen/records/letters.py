"""Whole columns of text at once: Arrow's buffers, plain bytes to UTF-8 and back, values in and out of byte blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.records.codepages import UNDEFINED, Codepage

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Points = NDArray[np.uint32]


def array(offsets: NDArray[np.int32], data: Any, valid: Bools | None = None) -> pa.Array:
    """A text column of these buffers; nothing is copied and nothing is checked."""
    mask = None if valid is None or valid.all() else bitmap(valid)
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [mask, pa.py_buffer(offsets), pa.py_buffer(data)])


def bitmap(valid: Bools) -> pa.Buffer:
    """Arrow's validity bits."""
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def of_cells(cells: Bytes) -> pa.Array:
    """An ``(n, width)`` block as a text column of n values, all of this width."""
    n, width = cells.shape
    return array(np.arange(0, n * width + 1, width, dtype=np.int32) if width else np.zeros(n + 1, np.int32), cells)


def offsets_of(column: pa.Array) -> NDArray[np.int32]:
    """Where each value begins in ``flat_of``'s bytes, and where the last one ends."""
    n = len(column)
    if n == 0 or column.buffers()[1] is None:
        return np.zeros(n + 1, np.int32)
    found: NDArray[np.int32] = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + n + 1]
    return found - found[0] if found[0] else found


def flat_of(column: pa.Array) -> Bytes:
    """The bytes of all values one after the other. (Nulls must have none: ``tidy``.)"""
    if len(column) == 0 or column.buffers()[2] is None:
        return np.empty(0, np.uint8)
    found = np.frombuffer(column.buffers()[1], np.int32)
    return np.frombuffer(column.buffers()[2], np.uint8)[found[column.offset] : found[column.offset + len(column)]]


def tidy(column: pa.Array) -> pa.Array:
    """The same text column, its nulls as empty text."""
    column = column if pa.types.is_string(column.type) else column.cast(pa.string())
    if not column.null_count:
        return column
    if not np.diff(offsets_of(column))[np.asarray(column.is_null())].any():  # as our parsers make them: nothing there
        return pa.Array.from_buffers(pa.string(), len(column), [None, *column.buffers()[1:]], offset=column.offset)
    return pc.fill_null(column, "")


def owners(offsets: NDArray[np.int32], places: Ints) -> Ints:
    """Which values these places in the flat bytes belong to."""
    found: Ints = np.searchsorted(offsets, places, "right").astype(np.int64) - 1
    return found


def before(offsets: NDArray[np.int32], places: Ints) -> NDArray[np.int32]:
    """How many of these places in the flat bytes stand before each offset."""
    if len(places) > len(offsets):
        return np.searchsorted(places, offsets).astype(np.int32)
    found = np.zeros(len(offsets), np.int32)
    np.cumsum(np.bincount(owners(offsets, places), minlength=len(offsets) - 1), out=found[1:])
    return found


def to_utf8(column: pa.Array, high: Ints) -> pa.Array:
    """Plain bytes (Latin-1) as UTF-8; ``high`` are the places of those from 80."""
    if not len(high):
        return column
    offsets = offsets_of(column)
    return array(offsets + before(offsets, high), str(flat_of(column).data, "latin-1").encode())


def latin(column: pa.Array) -> tuple[Bytes, NDArray[np.int32]] | None:
    """UTF-8 as Latin-1's bytes, and where each value begins; None, when a letter is beyond Latin-1."""
    flat, offsets = flat_of(column), offsets_of(column)
    try:
        plain = str(flat.data, "utf-8").encode("latin-1")
    except UnicodeEncodeError:
        return None
    if len(plain) == len(flat):
        return flat, offsets
    twice = np.flatnonzero(flat >= 0xC0)  # each of them begins a letter of two bytes
    return np.frombuffer(plain, np.uint8), offsets - before(offsets, twice)


def to_plain(flat: Bytes, offsets: NDArray[np.int32], page: Codepage) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """UTF-8 as plain bytes of an encoding (``UNDEFINED`` where it lacks the letter), and where each value begins."""
    heads = (flat & 0xC0) != 0x80
    points = np.frombuffer(str(flat.data, "utf-8").encode("utf-32-le"), np.uint32)
    coded = page.coded[np.minimum(points, 0xFFFF)]
    coded[points > 0xFFFE] = UNDEFINED
    return coded, np.concatenate(([0], np.cumsum(heads)))[offsets].astype(np.int32)


def spread(starts: Ints, lengths: Ints) -> Ints:
    """The indices of the runs that begin at ``starts`` and are ``lengths`` long, one after the other."""
    total = int(lengths.sum())
    if total == 0:
        return np.empty(0, np.int64)
    before = np.cumsum(lengths) - lengths
    found: Ints = np.arange(total) + np.repeat(starts - before, lengths)
    return found


def translated(cells: Bytes, table: bytes) -> Bytes:
    """The same block by this table. (Of a bytearray that is twice as fast as of bytes.)"""
    return np.frombuffer(bytearray(np.ascontiguousarray(cells).data).translate(table), np.uint8).reshape(cells.shape)


# --- numbers


FOUR = np.array([int.from_bytes(b"%04d" % n, "little") for n in range(10_000)], np.uint32)


def digits_of(values: Ints, width: int) -> Bytes:
    """Non-negative integers as ``(n, width)`` ASCII digits, zero-filled; higher digits are left out."""
    words = -(-width // 4)
    out = np.empty((len(values), words), np.uint32)
    rest = values.astype(np.uint64)
    for word in range(words - 1, 0, -1):
        higher = rest // np.uint64(10_000)
        out[:, word] = FOUR[(rest - higher * np.uint64(10_000)).astype(np.intp)]
        rest = higher
    out[:, 0] = FOUR[(rest % np.uint64(10_000)).astype(np.intp)]
    return out.view(np.uint8)[:, words * 4 - width :]


STEPS = (  # how two digits, then two of two, then two of four become one number: factor, shift, what is kept
    (np.uint64(10), np.uint64(8), np.uint64(0x00FF00FF_00FF00FF)),
    (np.uint64(100), np.uint64(16), np.uint64(0x0000FFFF_0000FFFF)),
    (np.uint64(10_000), np.uint64(32), np.uint64(0xFFFFFFFF)),
)


def number_of(digits: Bytes) -> Ints:
    """``(n, width)`` digits 0 to 9 as integers; of more than 18 digits, those before them must be 0.

    Eight digits are one word of 64 bits, in which neighbours are added up side by side.
    """
    n, width = digits.shape
    count = -(-width // 8)
    if width % 8:
        filled = np.zeros((n, count * 8), np.uint8)
        filled[:, count * 8 - width :] = digits
        digits = filled
    words = np.array(np.ascontiguousarray(digits).view("<u8").reshape(n, count), order="F")
    for factor, shift, kept in STEPS:
        neighbours = words >> shift
        words *= factor
        words += neighbours
        words &= kept
    found: Ints = words[:, 0].view(np.int64)
    for k in range(1, count):
        found = found * np.int64(10**8) + words[:, k].view(np.int64)
    return found


def pairs_of(digits: Bytes) -> NDArray[np.uint16]:
    """``(n, 8)`` digits as ``(n, 4)`` numbers of two digits: all of a row's at once, as one number of 64 bits."""
    words: NDArray[np.uint64] = np.ascontiguousarray(digits).view("<u8").ravel()
    pairs = (words * np.uint64(10) + (words >> np.uint64(8))) & np.uint64(0x00FF00FF_00FF00FF)
    return pairs.view(np.uint16).reshape(len(words), 4)


def unscaled(column: pa.Array) -> Ints:
    """A decimal128 column of at most 18 digits as integers, null as 0."""
    filled = pc.fill_null(column, pa.scalar(0, column.type)) if column.null_count else column
    words: Ints = np.frombuffer(filled.buffers()[1], np.int64)
    found: Ints = words[2 * filled.offset : 2 * (filled.offset + len(filled)) : 2]
    return found


def decimals(values: Ints, valid: Bools | None, scale: int) -> pa.Array:
    """Integers as a decimal128(18, scale) column."""
    words = np.empty((len(values), 2), np.int64)
    words[:, 0] = values
    words[:, 1] = values >> 63
    mask = None if valid is None or valid.all() else bitmap(valid)
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(values), [mask, pa.py_buffer(words)])


def plain_numbers(values: NDArray[Any], valid: Bools | None, kind: pa.DataType) -> pa.Array:
    """Integers (of the type's own size) as a column of numbers, dates or times."""
    mask = None if valid is None or valid.all() else bitmap(valid)
    return pa.Array.from_buffers(kind, len(values), [mask, pa.py_buffer(np.ascontiguousarray(values))])
