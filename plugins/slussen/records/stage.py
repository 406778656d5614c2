"""Arrow batches into PostgreSQL and back: binary COPY made straight from Arrow's buffers, typed batches out of a query.

The stage's tables are unlogged and without constraints: a value that could make COPY fail would be quoted in the
database's error. Only here do the records meet the database.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from psycopg import sql

from slussen.errors import redacted
from slussen.records.letters import Ints, flat_of, offsets_of, tidy, unscaled
from slussen.records.parallel import ordered

if TYPE_CHECKING:
    from psycopg import Copy

    from slussen.database import Connection

SCHEMA = "stage"
BATCH = 4 << 20  # bytes of CSV to a batch
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH = 10_957  # days from 1970 to PostgreSQL's 2000-01-01
TYPES = {
    pa.string(): "text", pa.int64(): "bigint", pa.date32(): "date", pa.bool_(): "boolean", pa.time32("s"): "time",
    pa.timestamp("s"): "timestamp",
}  # fmt: skip
OIDS = {
    16: pa.bool_(), 20: pa.int64(), 21: pa.int64(), 23: pa.int64(), 1082: pa.date32(), 1083: pa.time32("s"),
    1114: pa.timestamp("s"),
}  # fmt: skip
NUMERIC = 1700


def create(connection: Connection, table: str, schema: pa.Schema) -> None:
    """Make the stage's table for batches of this schema."""
    columns = [sql.SQL("{} {}").format(sql.Identifier(f.name), sql.SQL(_type(f.type))) for f in schema]
    statement = sql.SQL("create unlogged table {} ({})").format(
        sql.Identifier(SCHEMA, table), sql.SQL(", ").join(columns)
    )
    with redacted("making the stage"):
        connection.execute(statement)


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied into a stage: how many rows, and the hash of them all."""

    rows: int
    sha256: str


def copy_in(connection: Connection, table: str, batches: Iterable[pa.RecordBatch]) -> Copied:
    """Copy batches into the stage's table."""
    rows, digest = 0, hashlib.sha256()
    into = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier(SCHEMA, table))
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        copy.write(HEADER)
        for n, encoded in ordered(_encoded, batches):
            digest.update(encoded)
            copy.write(encoded)
            rows += n
        copy.write(TRAILER)
    connection.execute(sql.SQL("analyze {}").format(sql.Identifier(SCHEMA, table)))
    return Copied(rows, digest.hexdigest())


def read(connection: Connection, query: str) -> Iterator[pa.RecordBatch]:
    """A query's rows as batches, typed by what PostgreSQL says of its columns; null and the empty text stay apart.

    A ``numeric`` without a scale has ten decimals.
    """
    from pyarrow import csv

    schema = _schema(connection, query)
    options = csv.ConvertOptions(
        column_types=schema,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    with connection.cursor() as cursor, cursor.copy(f"copy ({query}) to stdout (format csv)".encode()) as copy:
        stream = io.BufferedReader(_Chunks(copy), BATCH)
        if not stream.peek(1):
            return
        with csv.open_csv(
            stream,
            read_options=csv.ReadOptions(column_names=schema.names, block_size=BATCH, use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        ) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield batch


class _Chunks(io.RawIOBase):
    """psycopg's COPY as a stream."""

    def __init__(self, copy: Copy) -> None:
        self._copy, self._rest = copy, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(bytes(self._copy.read()))
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n


def _schema(connection: Connection, query: str) -> pa.Schema:
    described = connection.execute(f"select * from ({query}) as described limit 0".encode()).description or ()  # noqa: S608
    fields = []
    for column in described:
        if column.type_code == NUMERIC:
            kind = pa.decimal128(column.precision or 38, column.scale if column.precision else 10)
        else:
            kind = OIDS.get(column.type_code, pa.string())
        fields.append(pa.field(column.name, kind))
    return pa.schema(fields)


def _type(kind: pa.DataType) -> str:
    return f"numeric({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else TYPES[kind]


def _encoded(batch: pa.RecordBatch) -> tuple[int, bytes]:
    return batch.num_rows, encode(batch) if batch.num_rows else b""


def encode(batch: pa.RecordBatch) -> bytes:
    """A batch's rows in PostgreSQL's binary COPY format: a count of columns, then length and bytes of each.

    Made of pieces, a column of them each: Arrow joins a row's pieces. Neighbours of fixed length without a null, and
    the length of the text that follows them, are one piece.
    """
    n = batch.num_rows
    pieces: list[pa.Array] = []
    block: list[NDArray[np.uint8]] = [_bytes_of(np.full(n, batch.num_columns, ">i2"))]

    def flush() -> None:
        if block:
            rows = np.ascontiguousarray(np.concatenate(block, axis=1))
            pieces.append(_ragged(np.arange(n + 1) * rows.shape[1], rows))
            block.clear()

    for column in batch.columns:
        missing: NDArray[np.bool_] = np.asarray(column.is_null())
        if pa.types.is_string(column.type):
            text = tidy(column)
            lengths = np.diff(offsets_of(text))
            block.append(_bytes_of(np.where(missing, -1, lengths).astype(">i4")))
            flush()
            pieces.append(_ragged(offsets_of(text), flat_of(text)))
            continue
        cells = _fixed(column)
        size = cells.shape[1]
        whole = np.concatenate([_bytes_of(np.where(missing, -1, size).astype(">i4")), cells], axis=1)
        if not column.null_count:
            block.append(whole)
            continue
        flush()
        kept = np.ones(whole.shape, np.bool_)
        kept[missing, 4:] = False
        pieces.append(_ragged(np.concatenate(([0], np.cumsum(np.where(missing, 4, 4 + size)))), whole[kept]))
    flush()
    joined = pc.binary_join_element_wise(*pieces, b"") if len(pieces) > 1 else pieces[0]
    return flat_of(joined).tobytes()


def _bytes_of(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    return numbers.view(np.uint8).reshape(len(numbers), numbers.dtype.itemsize)


def _ragged(offsets: NDArray[Any], data: NDArray[np.uint8]) -> pa.Array:
    """Bytes and where each value begins, as a column."""
    places = pa.py_buffer(np.ascontiguousarray(offsets, dtype=np.int32))
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, places, pa.py_buffer(data)])


def _fixed(column: pa.Array) -> NDArray[np.uint8]:
    """A column of fixed length as PostgreSQL has it, ``(n, bytes)``."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return _numeric(unscaled(column), kind.scale)
    if pa.types.is_date32(kind):
        return _bytes_of((column.cast(pa.int32()).fill_null(0).to_numpy() - EPOCH).astype(">i4"))
    if pa.types.is_boolean(kind):
        return _bytes_of(column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8))
    if pa.types.is_time(kind):  # microseconds
        return _bytes_of((column.cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64) * 1_000_000).astype(">i8"))
    if pa.types.is_timestamp(kind):  # microseconds since 2000
        seconds = column.cast(pa.int64()).fill_null(0).to_numpy() - EPOCH * 86400
        return _bytes_of((seconds * 1_000_000).astype(">i8"))
    return _bytes_of(column.fill_null(0).to_numpy().astype(">i8"))


def _numeric(values: Ints, scale: int) -> NDArray[np.uint8]:
    """Scaled integers as PostgreSQL's numeric: digits of base 10,000, exact; leading zeros are the server's to drop."""
    places = -(-scale // 4)
    size = np.abs(values)
    whole, part = np.divmod(size, 10**scale)
    part = part * 10 ** (4 * places - scale)
    words = np.zeros((len(values), 4 + 5 + places), ">u2")
    words[:, 0] = 5 + places
    words[:, 1] = 4
    words[:, 2] = np.where(values < 0, 0x4000, 0)
    words[:, 3] = scale
    for k in range(5):
        words[:, 8 - k] = whole // 10 ** (4 * k) % 10000
    for k in range(places):
        words[:, 8 + places - k] = part // 10 ** (4 * k) % 10000
    return words.view(np.uint8).reshape(len(values), -1)
