"""Reading and appending. The chain itself is made in the database (``include/sql/migrations/slussen``)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

import psycopg

from slussen.database import Connection, connect
from slussen.errors import TechnicalError, describe, redacted
from slussen.ledger.chain import Verification, verify
from slussen.ledger.states import Event, Interchange, fold

COLUMNS = "seq, at, stream, integration, kind, data"
PAUSES = (0.2, 1.0, 3.0)  # seconds before an append whose connection broke is tried again
PATIENCE = 60  # seconds for one append: they stand in line, each takes a millisecond
BATCH = 20_000
# What a state is made of: findings and totals are long, and stay where they are.
LISTED = """
    select seq, at, stream, integration, kind,
        case when kind in
            ('collected', 'repeated', 'staged', 'gated', 'content', 'delivered', 'unsent', 'awaiting', 'receipt',
             'overdue')
        then data - '{{findings,counts,totals,header,report}}'::text[] else '{{}}' end
    from ledger.event where stream in (select stream from ledger.event where {where} {newest})
    order by stream, nth
"""
UNARCHIVED = f"""
    select {COLUMNS} from ledger.event noted
    where kind = 'archiving' and integration = %(integration)s
        and not exists (
            select from ledger.event done
            where done.integration = %(integration)s and done.data ? 'noted'
                and done.data -> 'noted' = to_jsonb(noted.seq)
        )
    order by seq
"""  # noqa: S608 (constants)
# What a name that is no UTF-8 leaves in a str. PostgreSQL takes no such letter: it is written as its byte.
SURROGATE = re.compile("[\ud800-\udfff]")


WRITTEN = re.compile(r"\\x([0-9a-f]{2})")


class Conflict(TechnicalError):
    """Something else happened to the interchange first: read its events again and decide anew."""


class Ledger:
    """The ledger behind a libpq connection string. Every call is a transaction of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def append(
        self,
        stream: str,
        kind: str,
        data: Mapping[str, Any] | None = None,
        *,
        integration: str = "",
        after: int | None = None,
    ) -> Event:
        """Append an event to an interchange's stream, by compare-and-set.

        ``after`` is the number of the stream's last event that the caller has seen, 0 for none; without it the event
        is appended whatever is there.

        Raises:
            Conflict: another event was appended since ``after``.
            TechnicalError: the database can't be reached.
        """
        identity = uuid4()
        body = json.dumps(data or {}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        body = SURROGATE.sub(lambda letter: f"\\{_byte(letter)}", body)
        for pause in (*PAUSES, None):
            try:
                row = self._append(identity, stream, integration, kind, body, after)
            except (psycopg.OperationalError, psycopg.InterfaceError, TechnicalError):
                # It may have been committed all the same: the same id finds it, and is never doubled.
                if pause is None:
                    raise TechnicalError(f"{stream}: the ledger can't be reached to append {kind}") from None
                time.sleep(pause)
                continue
            except psycopg.Error as error:
                raise TechnicalError(f"{stream}: {kind} not appended: {describe(error)}") from None
            if row is None:
                raise Conflict(f"{stream}: {kind} not appended, something happened since event {after}")
            return _event(row)
        raise AssertionError("unreachable")

    def _append(
        self, identity: UUID, stream: str, integration: str, kind: str, body: str, after: int | None
    ) -> tuple[Any, ...] | None:
        # One statement is the whole transaction: a worker stopped at any point never holds the line up.
        with connect(self._dsn, autocommit=True, statement_timeout=PATIENCE) as connection:
            return connection.execute(
                f"select {COLUMNS} from ledger.append(%s, %s, %s, %s, %s, %s)",  # noqa: S608 (a constant)
                (identity, stream, integration, kind, body, after),
            ).fetchone()

    def events(self, stream: str) -> list[Event]:
        """Everything that happened to one interchange, in order."""
        return list(self._read("stream = %s", stream))

    def kind(self, kind: str, *, integration: str) -> Iterator[Event]:
        """All events of a kind of an integration, in order."""
        return self._read("integration = %s and kind = %s", integration, kind)

    def collected(self, integration: str, sha256: str) -> list[Event]:
        """The collected files of this content, in order."""
        where = "kind = 'collected' and integration = %s and data ->> 'sha256' = %s"
        return list(self._read(where, integration, sha256))

    def unarchived(self, integration: str) -> list[Event]:
        """Moves to a source's archive that were noted and not said to be done: a run was cut off, or is just there."""
        with self._connection() as connection:
            return [_event(row) for row in connection.execute(UNARCHIVED, {"integration": integration})]

    def moves_to(self, place: str) -> list[Event]:
        """Moves that were noted to a place in an archive, by whichever integration."""
        return list(self._read("kind = 'archiving' and data ->> 'place' = %s", written(place)))

    def interchanges(
        self, integration: str = "", *, limit: int | None = None, before: int | None = None
    ) -> list[Interchange]:
        """Interchanges with their states, in the order of their first events: all, or an integration's.

        ``limit`` gives only the newest so many, ``before`` only those whose first event (``Interchange.seq``) is
        earlier: together they turn pages, at a cost that doesn't grow with the ledger.
        """
        where = ["nth = 1", "stream not like '%%/%%'"]  # sequences, watches, probes are no interchanges
        where += ["integration = %(integration)s"] if integration else []
        where += ["seq < %(before)s"] if before is not None else []
        query = LISTED.format(
            where=" and ".join(where), newest="order by seq desc limit %(limit)s" if limit is not None else ""
        )
        values = {"integration": integration, "before": before, "limit": limit}
        with self._connection() as connection, connection.cursor(name="interchanges") as cursor:
            cursor.itersize = BATCH
            events = map(_event, cursor.execute(query.encode(), values))
            found = [fold(list(stream)) for _, stream in groupby(events, key=attrgetter("stream"))]
        return sorted(found, key=attrgetter("seq"))

    def number(self, integration: str, interchange: str) -> int:
        """The interchange's number in its integration's sequence, from 1; the same one however often it is asked."""
        stream = f"sequence/{integration}"
        while True:
            # The end is read before the search: what comes after it makes the append a conflict.
            last = next(self._read("stream = %s order by nth desc limit 1", stream), None)
            for event in self._read("stream = %s and data ->> 'interchange' = %s", stream, interchange):
                return int(event.data["number"])
            number = int(last.data["number"]) + 1 if last else 1
            try:
                self.append(
                    stream,
                    "numbered",
                    {"interchange": interchange, "number": number},
                    integration=integration,
                    after=last.seq if last else 0,
                )
            except Conflict:
                continue
            return number

    def rows(self, query: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query of ours, which changes nothing."""
        with self._connection() as connection:
            connection.read_only = True
            return connection.execute(query.encode(), values).fetchall()

    def sending(self, message: str) -> Event | None:
        """The last attempt to send the message of this id, of whatever interchange."""
        where = "kind = 'sending' and data ->> 'message' = %s order by seq desc limit 1"
        return next(self._read(where, message), None)

    def has_receipt(self, stream: str, reference: str) -> bool:
        """Is the receipt of this reference in the stream?"""
        where = "stream = %s and kind in ('receipt', 'delayed') and data ->> 'reference' = %s order by seq limit 1"
        return any(self._read(where, stream, reference))

    def answers(self, integration: str) -> list[Event]:
        """The answers to questions of this integration, in the order in which they came."""
        return list(self._read("kind = 'answers' and data ->> 'of' = %s", integration))

    def verify(self) -> Verification:
        """Walk the chain from its beginning."""
        with self._connection() as connection:
            return verify(connection)

    def _read(self, where: str, *values: object) -> Iterator[Event]:
        with self._connection() as connection:
            order = "" if "order by" in where else "order by seq"
            query = f"select {COLUMNS} from ledger.event where {where} {order}"  # noqa: S608 (constants)
            rows = connection.execute(query.encode(), values).fetchall()
        return map(_event, rows)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with connect(self._dsn) as connection, redacted("reading the ledger"):
            yield connection


def _byte(letter: re.Match[str]) -> str:
    return f"\\x{ord(letter[0]) & 0xFF:02x}"


def written(name: str) -> str:
    """A file's name as the ledger has it."""
    return SURROGATE.sub(_byte, name)


def as_named(text: str) -> str:
    """A file's name as it was before it was written to the ledger. No plain name has a backslash of its own."""
    return WRITTEN.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), text)


def _event(row: tuple[Any, ...]) -> Event:
    seq, at, stream, integration, kind, data = row
    return Event(seq, at.astimezone(UTC), stream, integration, kind, data)
