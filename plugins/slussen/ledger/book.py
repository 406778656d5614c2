"""Reading and appending. The chain itself is made in the database (``include/sql/migrations/slussen``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

from slussen.database import Connection, connect
from slussen.errors import TechnicalError, describe, redacted
from slussen.ledger.chain import Verification, verify
from slussen.ledger.states import Interchange, fold

COLUMNS = "seq, at, stream, integration, kind, data"
TRIES = 3  # an append whose connection broke is tried again under the same id: it can't be doubled


class Conflict(TechnicalError):
    """Something else happened to the interchange first: read its events again and decide anew."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the ledger; ``at`` is UTC."""

    seq: int
    at: datetime
    stream: str
    integration: str
    kind: str
    data: Mapping[str, Any]


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
        for attempt in range(1, TRIES + 1):
            try:
                row = self._append(identity, stream, integration, kind, body, after)
            except psycopg.OperationalError:
                # The commit may have happened: the same id finds it.
                if attempt == TRIES:
                    raise TechnicalError(f"{stream}: the ledger can't be reached to append {kind}") from None
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
        with psycopg.connect(self._dsn, connect_timeout=10, application_name="slussen") as connection:
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

    def interchanges(self, integration: str = "") -> list[Interchange]:
        """Every interchange with its state, in the order of their first events."""
        where, values = ("integration = %s", (integration,)) if integration else ("true", ())
        streams: dict[str, list[Event]] = {}
        for event in self._read(where, *values):
            if not event.stream.startswith("sequence/"):
                streams.setdefault(event.stream, []).append(event)
        return [fold(events) for events in streams.values()]

    def number(self, integration: str, interchange: str) -> int:
        """The interchange's number in its integration's sequence, from 1; the same one however often it is asked."""
        stream = f"sequence/{integration}"
        while True:
            taken = self.events(stream)
            for event in taken:
                if event.data["interchange"] == interchange:
                    return int(event.data["number"])
            number = len(taken) + 1
            try:
                self.append(
                    stream,
                    "numbered",
                    {"interchange": interchange, "number": number},
                    integration=integration,
                    after=taken[-1].seq if taken else 0,
                )
            except Conflict:
                continue
            return number

    def verify(self) -> Verification:
        """Walk the chain from its beginning."""
        with self._connection() as connection:
            return verify(connection)

    def _read(self, where: str, *values: object) -> Iterator[Event]:
        with self._connection() as connection:
            query = f"select {COLUMNS} from ledger.event where {where} order by seq"  # noqa: S608 (constants)
            rows = connection.execute(query.encode(), values).fetchall()
        return map(_event, rows)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with connect(self._dsn) as connection, redacted("reading the ledger"):
            yield connection


def _event(row: tuple[Any, ...]) -> Event:
    seq, at, stream, integration, kind, data = row
    return Event(seq, at.astimezone(UTC), stream, integration, kind, data)
