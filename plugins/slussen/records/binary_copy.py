"""Arrow batches as rows of PostgreSQL's binary COPY format, made straight from Arrow's buffers.

A row is a count of columns, then length and bytes of each. What has the same length in every row stands in one matrix;
a batch's rows are pieces of that matrix and texts, taken in turns by Arrow in one call.

Source: PostgreSQL's documentation of COPY, "Binary Format", and its receiving functions (``numeric_recv`` and others).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slussen.records.letters import Bools, Ints, flat_of, offsets_of, tidy, unscaled

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"  # a length of -1
EPOCH = 10_957  # days from 1970 to PostgreSQL's 2000-01-01
WHOLE = 5  # digits of base 10,000 before the decimal point: a number has eighteen of base 10
Items = NDArray[np.void]  # one of a column's for each row, as PostgreSQL has them


def encode(batch: pa.RecordBatch) -> memoryview:
    """A batch's rows; it must have some."""
    rows = _Rows(batch.num_rows)
    rows.constant(batch.num_columns.to_bytes(2, "big"))
    numbers = _numbers(batch)
    for k, column in enumerate(batch.columns):
        missing: Bools | None = np.asarray(column.is_null()) if column.null_count else None
        if k in numbers:
            rows.fixed(numbers[k], missing)
        else:
            rows.text(column, missing)
    return rows.joined()


class _Rows:
    """Rows in the making: the matrix with its pieces, and the texts, in turns."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.pattern = bytearray()  # a row of the matrix, with what is the same in all rows
        self.cells: list[tuple[int, Items]] = []  # where in a row
        self.cuts = [0]  # where in a row the matrix's pieces begin, and the last one ends
        self.turns: list[int] = []  # of a row: a piece of the matrix, or ``~`` a text
        self.texts: list[pa.Array] = []
        self.missing: dict[int, Bools] = {}  # by turn: in which rows there is a null instead

    def constant(self, same: bytes) -> None:
        self.pattern += same

    def items(self, items: Items) -> None:
        self.cells.append((len(self.pattern), items))
        self.pattern += bytes(items.itemsize)

    def cut(self) -> None:
        """What comes next is another piece."""
        if len(self.pattern) > self.cuts[-1]:
            self.turns.append(len(self.cuts) - 1)
            self.cuts.append(len(self.pattern))

    def fixed(self, items: Items, missing: Bools | None) -> None:
        if missing is not None:
            self.cut()
        self.constant(items.itemsize.to_bytes(4, "big"))
        self.items(items)
        if missing is not None:
            self.missing[len(self.turns)] = missing
            self.cut()

    def text(self, column: pa.Array, missing: Bools | None) -> None:
        column = tidy(column)  # (behind a null there are no bytes)
        offsets = offsets_of(column)
        lengths = np.diff(offsets)
        size = int(lengths[0])
        if missing is None and size and offsets[-1] == size * self.n and (lengths == size).all():
            self.fixed(flat_of(column).view(f"V{size}"), None)
            return
        self.items(_items((lengths if missing is None else np.where(missing, -1, lengths)).astype(">i4")))
        self.cut()
        self.turns.append(~len(self.texts))
        self.texts.append(_binary(offsets, flat_of(column)))

    def joined(self) -> memoryview:
        self.cut()
        n, width, pieces = self.n, len(self.pattern), len(self.cuts) - 1
        matrix = np.empty(n, f"V{width}")
        matrix[:] = np.frombuffer(self.pattern, matrix.dtype)
        for at, items in self.cells:
            np.ndarray(n, items.dtype, matrix.data, at, (width,))[:] = items
        if len(self.turns) == 1 and not self.missing:
            return matrix.view(np.uint8).data
        offsets = np.empty(n * pieces + 1, np.int32)
        np.add(np.arange(0, n * width, width)[:, None], self.cuts[:-1], out=offsets[:-1].reshape(n, pieces))
        offsets[-1] = n * width
        null = _binary(np.array([0, len(NULL)]), np.frombuffer(NULL, np.uint8))
        every = pa.concat_arrays([_binary(offsets, matrix), *self.texts, null])
        del matrix
        row = np.arange(n, dtype=np.int32)
        order = np.empty((n, len(self.turns)), np.int32)
        for turn, piece in enumerate(self.turns):
            order[:, turn] = row * pieces + piece if piece >= 0 else row + n * (pieces + ~piece)
        for turn, missing in self.missing.items():
            order[missing, turn] = len(every) - 1
        return flat_of(every.take(pa.array(order.ravel()))).data


def _binary(offsets: NDArray[Any], data: NDArray[Any]) -> pa.Array:
    """Bytes and where each value begins, as a column."""
    places = pa.py_buffer(np.ascontiguousarray(offsets, dtype=np.int32))
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, places, pa.py_buffer(data)])


def _items(numbers: NDArray[Any]) -> Items:
    return numbers.view(f"V{numbers.itemsize}")


def _numbers(batch: pa.RecordBatch) -> dict[int, Items]:
    """The columns of fixed length, by their place; those of one type are worked on as one. A null's item is any."""
    alike: dict[pa.DataType, list[int]] = {}
    for k, f in enumerate(batch.schema):
        if not pa.types.is_string(f.type):
            alike.setdefault(f.type, []).append(k)
    found: dict[int, Items] = {}
    for kind, places in alike.items():
        found.update(zip(places, _fixed(kind, [batch.column(k) for k in places]), strict=True))
    return found


def _fixed(kind: pa.DataType, columns: list[pa.Array]) -> Iterator[Items]:
    """Columns of this type as PostgreSQL has them."""
    if pa.types.is_decimal(kind):
        yield from _numeric(np.stack([unscaled(c) for c in columns]), kind.scale)
    elif pa.types.is_date32(kind):
        yield from _items((_raw(columns, np.int32) - np.int32(EPOCH)).astype(">i4"))
    elif pa.types.is_boolean(kind):
        for column in columns:
            yield _items(column.fill_null(False).to_numpy(zero_copy_only=False))
    elif pa.types.is_time(kind):  # microseconds
        yield from _items((_raw(columns, np.int32).astype(np.int64) * 1_000_000).astype(">i8"))
    elif pa.types.is_timestamp(kind):  # microseconds since 2000
        yield from _items(((_raw(columns, np.int64) - EPOCH * 86400) * 1_000_000).astype(">i8"))
    else:
        yield from _items(_raw(columns, np.int64).astype(">i8"))


def _raw(columns: list[pa.Array], kind: type[np.integer[Any]]) -> NDArray[Any]:
    """``(columns, n)`` integers out of Arrow's buffers."""
    return np.stack([np.frombuffer(c.buffers()[1], kind)[c.offset : c.offset + len(c)] for c in columns])


def _numeric(values: Ints, scale: int) -> Items:
    """Scaled integers as PostgreSQL's numeric: digits of base 10,000, exact; leading zeros are the server's to drop."""
    places = -(-scale // 4)
    magnitude = np.abs(values)
    whole = magnitude // 10**scale
    part = (magnitude - whole * 10**scale) * 10 ** (4 * places - scale)
    words = np.empty((*values.shape, 4 + WHOLE + places), ">u2")
    words[:] = (WHOLE + places, WHOLE - 1, 0, scale, *[0] * (WHOLE + places))
    words[values < 0, 2] = 0x4000
    for k, word in enumerate(_base_10000(part)):
        words[..., 3 + WHOLE + places - k] = word
    for k, word in enumerate(_base_10000(whole)):
        words[..., 3 + WHOLE - k] = word
    return words.view(f"V{2 * words.shape[-1]}")[..., 0]


def _base_10000(numbers: Ints) -> Iterator[Ints]:
    """The numbers' digits of base 10,000, the lowest first, as long as there are any."""
    while numbers.any():
        higher = numbers // 10_000
        yield numbers - higher * 10_000
        numbers = higher
