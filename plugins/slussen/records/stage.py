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
from numpy.typing import NDArray
from psycopg import sql

from slussen.errors import redacted
from slussen.records.letters import Ints, spread, unscaled

if TYPE_CHECKING:
    from psycopg import Copy

    from slussen.database import Connection

SCHEMA = "stage"
BATCH = 4 << 20  # bytes of CSV to a batch
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH = 10_957  # days from 1970 to PostgreSQL's 2000-01-01
TYPES = {pa.string(): "text", pa.int64(): "bigint", pa.date32(): "date", pa.bool_(): "boolean"}
OIDS = {16: pa.bool_(), 20: pa.int64(), 21: pa.int64(), 23: pa.int64(), 1082: pa.date32()}
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
        for batch in batches:
            if batch.num_rows:
                encoded = encode(batch)
                digest.update(encoded)
                copy.write(encoded)
                rows += batch.num_rows
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


def encode(batch: pa.RecordBatch) -> bytes:
    """A batch's rows in PostgreSQL's binary COPY format: a count of columns, then length and bytes of each."""
    n = batch.num_rows
    cells = [_Cells(column) for column in batch.columns]
    sizes = np.full(n, 2, np.int64)
    for cell in cells:
        sizes += 4 + cell.lengths
    out = np.empty(int(sizes.sum()), np.uint8)
    at = np.cumsum(sizes) - sizes
    _put(out, at, np.full(n, batch.num_columns, ">i2"))
    at = at + 2
    for cell in cells:
        _put(out, at, np.where(cell.missing, -1, cell.lengths).astype(">i4"))
        at = at + 4
        cell.write(out, at)
        at = at + cell.lengths
    return out.tobytes()


class _Cells:
    """One column, ready to be written: its lengths, which are missing, and its bytes."""

    def __init__(self, column: pa.Array) -> None:
        n, kind = len(column), column.type
        self.missing: NDArray[np.bool_] = np.asarray(column.is_null())
        self.fixed: NDArray[Any] | None = None
        if self.missing.all():
            self.lengths: Ints = np.zeros(n, np.int64)
            self.flat = np.empty(0, np.uint8)
            return
        if pa.types.is_string(kind):
            offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + n + 1].astype(
                np.int64
            )
            self.lengths = np.where(self.missing, 0, np.diff(offsets))
            data = column.buffers()[2]
            raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
            self.flat = raw[spread(offsets[:-1], self.lengths)]
            return
        if pa.types.is_decimal(kind):
            self.fixed = _numeric(unscaled(column), kind.scale)
        elif pa.types.is_date32(kind):
            days = column.cast(pa.int32()).fill_null(0).to_numpy() - EPOCH
            self.fixed = days.astype(">i4").view(np.uint8).reshape(n, 4)
        elif pa.types.is_boolean(kind):
            self.fixed = column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8).reshape(n, 1)
        else:
            self.fixed = column.fill_null(0).to_numpy().astype(">i8").view(np.uint8).reshape(n, 8)
        self.lengths = np.where(self.missing, 0, self.fixed.shape[1])

    def write(self, out: NDArray[np.uint8], at: Ints) -> None:
        if self.fixed is None:
            out[spread(at, self.lengths)] = self.flat
        else:
            there = ~self.missing
            out[at[there][:, None] + np.arange(self.fixed.shape[1])] = self.fixed[there]


def _put(out: NDArray[np.uint8], at: Ints, numbers: NDArray[Any]) -> None:
    width = numbers.dtype.itemsize
    out[at[:, None] + np.arange(width)] = numbers.view(np.uint8).reshape(-1, width)


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
