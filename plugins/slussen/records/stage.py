"""Arrow batches into PostgreSQL and back: binary COPY made straight from Arrow's buffers, typed batches out of a query.

The stage's tables are unlogged and without constraints: a value that could make COPY fail would be quoted in the
database's error. Only here do the records meet the database.
"""

from __future__ import annotations

import io
import select
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from slussen.errors import redacted
from slussen.records.binary_copy import HEADER, TRAILER, encode
from slussen.records.letters import flat_of
from slussen.records.parallel import Hash, ordered

if TYPE_CHECKING:
    from slussen.database import Connection

SCHEMA = "stage"
STATISTICS = 10  # a sample of 3,000 rows tells the planner enough of a stage, in a tenth of the time
BATCH = 2 << 20  # bytes of CSV to a batch: Arrow reads up to 32 of them ahead
PIECE = 2 << 20  # bytes of a batch that are encoded at a time
CHUNK = 1 << 18  # bytes of rows that are taken at a time
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
    """Copy batches into the stage's table.

    The server's own work on a row takes longer than ours and must never wait: rows are encoded and hashed beside it.
    """
    rows, digest = 0, Hash()
    into = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier(SCHEMA, table))
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        copy.write(HEADER)
        for n, encoded in ordered(_encoded, _pieces(batches)):
            digest.update(encoded)
            copy.write(encoded)
            rows += n
        copy.write(TRAILER)
    with connection.transaction():
        connection.execute(sql.SQL("set local default_statistics_target = {}").format(STATISTICS))
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
        self._answers = select.poll()
        self._answers.register(self._pq.socket, select.POLLIN)
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
        rows: list[bytes | memoryview] = []
        take, keep, size = self._pq.get_copy_data, rows.append, 0  # each once a row, and there are millions
        while size < CHUNK and not self._ended:
            n, row = take(1)
            if n > 0:
                keep(row)
                size += n
            elif n == 0:  # libpq's own waiting would keep the interpreter's lock, and all of our threads wait too
                self._answers.poll()
                self._pq.consume_input()
            else:
                self._end()
        return b"".join(rows)

    def _end(self) -> None:
        self._ended = True
        results = list(iter(self._pq.get_result, None))
        if wrong := [r for r in results if r.status != ExecStatus.COMMAND_OK]:
            raise error_from_result(wrong[0])

    def close(self) -> None:
        """The rows that nobody wants any more are not sent."""
        if not self._ended and not self.closed:
            self._connection.cancel()
            with suppress(psycopg.Error):
                while self._pq.get_copy_data(0)[0] >= 0:
                    pass
            with suppress(psycopg.Error):
                self._end()
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


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches' rows, so few at a time that encoding them takes little memory."""
    for batch in batches:
        rows = max(1, batch.num_rows * PIECE // max(1, batch.nbytes))
        for first in range(0, batch.num_rows, rows):
            yield batch.slice(first, rows)


def _encoded(batch: pa.RecordBatch) -> tuple[int, memoryview]:
    return batch.num_rows, encode(_storable(batch))


def _storable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """PostgreSQL's text has no NUL: where there is one the cell couldn't be read, as its finding says, and is null."""
    for k, column in enumerate(batch.columns):
        if pa.types.is_string(column.type) and not flat_of(column).min(initial=1):
            clean = pc.if_else(pc.match_substring(column, "\0"), None, column)
            batch = batch.set_column(k, batch.schema.field(k), clean)
    return batch
