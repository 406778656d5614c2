"""Arrow batches into PostgreSQL and back: binary COPY made straight from Arrow's buffers, typed batches out of a query.

The stage's tables are unlogged and without constraints: a value that could make COPY fail would be quoted in the
database's error. Only here do the records meet the database.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from slussen.errors import redacted
from slussen.records.letters import Ints, flat_of, offsets_of, tidy, unscaled
from slussen.records.parallel import ordered

if TYPE_CHECKING:
    from slussen.database import Connection

SCHEMA = "stage"
BATCH = 4 << 20  # bytes of CSV to a batch
CHUNK = 1 << 18  # bytes of rows that are taken at a time
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
WHOLE = 5  # digits of base 10,000 before the decimal point: a number has eighteen of base 10


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
    with closing(_CopyOut(connection, query)) as rows:
        stream = io.BufferedReader(rows, BATCH)
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


class _CopyOut(io.RawIOBase):
    """A query's rows as a stream of CSV, by libpq's own calls: psycopg's a row cost more than all that follows."""

    def __init__(self, connection: Connection, query: str) -> None:
        self._connection, self._pq = connection, connection.pgconn
        self._rest = memoryview(b"")
        self._ended = True
        result = self._pq.exec_(f"copy ({query}) to stdout (format csv)".encode())
        if result.status != ExecStatus.COPY_OUT:
            raise error_from_result(result)
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._rows())
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n

    def _rows(self) -> bytes:
        """Some rows; nothing at the end."""
        rows, size = [], 0
        while not self._ended and size < CHUNK:
            n, row = self._pq.get_copy_data(0)
            if n < 0:
                self._end()
            else:
                rows.append(row)
                size += n
        return b"".join(rows)

    def _end(self) -> None:
        self._ended = True
        while (result := self._pq.get_result()) is not None:
            if result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result)

    def close(self) -> None:
        """The rows that nobody wants any more are not sent."""
        if not self._ended and not self.closed:
            self._connection.cancel()
            with suppress(psycopg.Error):
                while self._pq.get_copy_data(0)[0] >= 0:
                    pass
                self._end()
            self._ended = True
        super().close()


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


def _encoded(batch: pa.RecordBatch) -> tuple[int, memoryview]:
    return batch.num_rows, encode(batch) if batch.num_rows else memoryview(b"")


def encode(batch: pa.RecordBatch) -> memoryview:
    """A batch's rows in PostgreSQL's binary COPY format: a count of columns, then length and bytes of each.

    Made of pieces, a column of them each: Arrow joins a row's pieces. Neighbours of fixed length without a null
    (numbers, dates, text that is equally long in all rows), and the length of the text after them, are one piece.
    """
    n = batch.num_rows
    pieces: list[pa.Array] = []
    block: list[NDArray[np.uint8]] = [_repeated(batch.num_columns, ">i2", n)]

    def flush() -> None:
        if block:
            rows = np.empty((n, sum(cells.shape[1] for cells in block)), np.uint8)
            at = 0
            for cells in block:
                width = cells.shape[1]
                rows[:, at : at + width].view(f"V{width}")[:] = cells.view(f"V{width}")
                at += width
            pieces.append(_ragged(np.arange(0, n * at + 1, at), rows))
            block.clear()

    for column in batch.columns:
        missing: NDArray[np.bool_] | None = np.asarray(column.is_null()) if column.null_count else None
        if pa.types.is_string(column.type):
            text = tidy(column)
            lengths = np.diff(offsets_of(text))
            size = int(lengths[0])
            if missing is None and size and (lengths == size).all():
                block += [_repeated(size, ">i4", n), flat_of(text).reshape(n, size)]
                continue
            block.append(_bytes_of((lengths if missing is None else np.where(missing, -1, lengths)).astype(">i4")))
            flush()
            pieces.append(_ragged(offsets_of(text), flat_of(text)))
            continue
        cells = _fixed(column)
        size = cells.shape[1]
        if missing is None:
            block += [_repeated(size, ">i4", n), cells]
            continue
        flush()
        whole = np.concatenate([_bytes_of(np.where(missing, -1, size).astype(">i4")), cells], axis=1)
        kept = np.ones(whole.shape, np.bool_)
        kept[missing, 4:] = False
        pieces.append(_ragged(np.concatenate(([0], np.cumsum(np.where(missing, 4, 4 + size)))), whole[kept]))
    flush()
    joined = pc.binary_join_element_wise(*pieces, b"") if len(pieces) > 1 else pieces[0]
    return flat_of(joined).data


def _repeated(number: int, kind: str, n: int) -> NDArray[np.uint8]:
    return _bytes_of(np.full(n, number, kind))


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
    whole, part = np.divmod(np.abs(values), 10**scale)
    words = np.zeros((len(values), 4 + WHOLE + places), ">u2")
    words[:, 0] = WHOLE + places
    words[:, 1] = WHOLE - 1
    words[:, 2] = np.where(values < 0, 0x4000, 0)
    words[:, 3] = scale
    part *= 10 ** (4 * places - scale)
    for k, word in enumerate(_base_10000(part)):
        words[:, 3 + WHOLE + places - k] = word
    for k, word in enumerate(_base_10000(whole)):
        words[:, 3 + WHOLE - k] = word
    return words.view(np.uint8).reshape(len(values), -1)


def _base_10000(numbers: Ints) -> Iterator[Ints]:
    """The numbers' digits of base 10,000, the lowest first, as long as there are any."""
    while numbers.any():
        higher = numbers // 10_000
        yield numbers - higher * 10_000
        numbers = higher
