"""Whole columns of text at once: Arrow's UTF-8 to code points and back, and values in and out of byte blocks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Points = NDArray[np.uint32]


def points(array: pa.Array) -> tuple[Points, Ints]:
    """A text column as (the code points of all values one after the other, the number of letters of each).

    Null is no letters.
    """
    array = array.cast(pa.string())
    n = len(array)
    if n == 0 or array.null_count == n:
        return np.empty(0, np.uint32), np.zeros(n, np.int64)
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[array.offset : array.offset + n + 1].astype(np.int64)
    if data is None or offsets[-1] == offsets[0]:
        return np.empty(0, np.uint32), np.zeros(n, np.int64)
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.diff(offsets)
    if array.null_count:
        # Bytes behind a null are nobody's: leave them out.
        valid = np.asarray(array.is_valid())
        if (lengths[~valid] != 0).any():
            raw = raw[np.repeat(valid, lengths)]
            lengths = np.where(valid, lengths, 0)
    if raw.size == 0 or raw.max() < 0x80:
        return raw.astype(np.uint32), lengths
    flat = np.frombuffer(raw.tobytes().decode("utf-8").encode("utf-32-le"), np.uint32)
    heads = np.concatenate(([0], np.cumsum((raw & 0xC0) != 0x80)))
    ends = np.cumsum(lengths)
    return flat, heads[ends] - heads[ends - lengths]


def strings(flat: NDArray[np.unsignedinteger], lengths: Ints, valid: Bools | None = None) -> pa.Array:
    """A text column from the code points of all values one after the other, and the letters of each."""
    n = len(lengths)
    if flat.size == 0 or flat.max() < 0x80:
        data, sizes = flat.astype(np.uint8).tobytes(), lengths
    else:
        data = flat.astype(np.uint32).tobytes().decode("utf-32-le").encode("utf-8")
        widths = 1 + (flat >= 0x80).astype(np.int64) + (flat >= 0x800) + (flat >= 0x10000)
        reached = np.concatenate(([0], np.cumsum(widths)))
        ends = np.cumsum(lengths)
        sizes = reached[ends] - reached[ends - lengths]
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    mask = None
    if valid is not None and not valid.all():
        mask = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.string(), n, [mask, pa.py_buffer(offsets), pa.py_buffer(data)])


def spread(starts: Ints, lengths: Ints) -> Ints:
    """The indices of the runs that begin at ``starts`` and are ``lengths`` long, one after the other."""
    total = int(lengths.sum())
    if total == 0:
        return np.empty(0, np.int64)
    before = np.cumsum(lengths) - lengths
    found: Ints = np.arange(total) + np.repeat(starts - before, lengths)
    return found


def digits_of(values: Ints, width: int) -> NDArray[np.uint8]:
    """Non-negative integers as ``(n, width)`` digits 0 to 9."""
    out = np.empty((len(values), width), np.uint8)
    rest = values.copy()
    for column in range(width - 1, -1, -1):
        rest, out[:, column] = np.divmod(rest, 10)
    return out


def unscaled(array: pa.Array) -> Ints:
    """A decimal128 column of at most 18 digits as integers, null as 0."""
    import pyarrow.compute as pc

    filled = pc.fill_null(array, pa.scalar(0, array.type)) if array.null_count else array
    words: Ints = np.frombuffer(filled.buffers()[1], np.int64)
    found: Ints = words[2 * filled.offset : 2 * (filled.offset + len(filled)) : 2]
    return found


def decimals(values: Ints, valid: Bools, scale: int) -> pa.Array:
    """Integers as a decimal128(18, scale) column."""
    words = np.empty((len(values), 2), np.int64)
    words[:, 0] = values
    words[:, 1] = np.where(values < 0, -1, 0)
    mask = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(values), [mask, pa.py_buffer(words)])
