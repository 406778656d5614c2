"""What the ledger holds of an integration's intervals, at a cost that doesn't grow with the ledger."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from slussen.ledger.states import Event

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.ledger.book import Ledger

STAMP = "%Y%m%dT%H%M%SZ"
NAMED = re.compile(r"-(\d{8}T\d{6}Z)(?:-|$)")
ENDS = ("delivered", "merged")
FINAL = (*ENDS, "skipped", "quarantined", "refused", "missed", "superseded")
# Of each integration: its interchanges that are named after an interval, the files that its runs collected, and what
# was collected by a run without an interval (by hand), in the time. `offset 0` keeps PostgreSQL, which can't know how
# few they are, at the indexes.
FOUND = """
    with wanted (integration, first, last, since, until) as (
        select * from unnest(
            %(integrations)s::text[], %(firsts)s::text[], %(lasts)s::text[], %(sinces)s::timestamptz[],
            %(untils)s::timestamptz[]
        )
    ),
    found (integration, stream) as (
        select own.integration, e.stream
        from unnest(%(owners)s::text[], %(ids)s::text[]) as own (integration, id)
        join ledger.event e on e.stream = own.id and e.nth = 1
        union
        select w.integration, e.stream
        from wanted w
        cross join lateral (
            select stream from ledger.event
            where kind = 'collected' and integration = w.integration
                and coalesce(data ->> 'interval', '') between w.first and w.last
            offset 0
        ) e
        union
        select w.integration, e.stream
        from wanted w
        cross join lateral (
            select stream from ledger.event
            where kind = 'collected' and integration = w.integration and coalesce(data ->> 'interval', '') = ''
                and at >= w.since and at < w.until
            offset 0
        ) e
    )
    select e.seq, e.at, e.stream, f.integration, e.kind, e.data - '{totals,header}'::text[]
    from found f
    cross join lateral (select * from ledger.event where stream = f.stream offset 0) e
    order by f.integration, e.stream, e.nth
"""
# When the last ones of each integration were done, and of which interval.
DONE = """
    select w.integration, e.stream, e.interval, done.at
    from unnest(%(integrations)s::text[]) as w (integration)
    cross join lateral (
        select stream, data ->> 'interval' as interval from ledger.event
        where integration = w.integration and nth = 1 and position('/' in stream) = 0
        order by seq desc limit %(limit)s
    ) e
    cross join lateral (
        select max(at) as at from ledger.event where stream = e.stream and kind = any(%(ends)s)
    ) done
    where done.at is not null
"""
# What was begun since a time and has come to no end, whatever its interval.
UNSETTLED = """
    select e.seq, e.at, e.stream, w.row, e.kind, e.data - '{totals,header}'::text[]
    from unnest(%(integrations)s::text[], %(rows)s::text[]) as w (integration, row)
    join ledger.event first on first.integration = w.integration and first.nth = 1 and first.at >= %(since)s
    cross join lateral (select * from ledger.event where stream = first.stream offset 0) e
    where position('/' in first.stream) = 0
        and not exists (select from ledger.event t where t.stream = first.stream and t.kind = any(%(final)s))
    order by w.row, e.stream, e.nth
"""
NEWEST = """
    select e.seq, e.at, e.stream, e.integration, e.kind, e.data - '{totals,header}'::text[]
    from unnest(%(integrations)s::text[]) as w (integration)
    cross join lateral (
        select stream from ledger.event
        where integration = w.integration and nth = 1 and position('/' in stream) = 0
        order by seq desc limit 1
    ) newest
    join ledger.event e on e.stream = newest.stream
    order by e.integration, e.stream, e.nth
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Intervals of an integration by their starts, and since and until when what was collected by hand is theirs (UTC).

    ``ids`` are the interchanges that are named after these intervals.
    """

    integration: str
    starts: Sequence[datetime]
    since: datetime
    until: datetime
    ids: Sequence[str]


def wanted(
    integration: Integration, starts: Sequence[datetime], until: datetime, since: datetime | None = None
) -> Wanted:
    """``since`` is, if it isn't given, the first of the starts."""
    ids = [name for start in starts for name in names(integration, start)]
    return Wanted(integration.key, starts, since or min(starts, default=until), until, ids)


def names(integration: Integration, start: datetime) -> list[str]:
    """What the interchanges of an interval are called: one, or one for each part of a set."""
    return [member.interchange(start.astimezone(UTC).strftime(STAMP)) for member in integration.members]


def interval_of(events: Sequence[Event]) -> datetime | None:
    """The start of the interval that an interchange belongs to: as its file was collected, or by its name."""
    first = events[0]
    return _start(first.stream, str(first.data.get("interval") or ""))


def of_intervals(ledger: Ledger, asked: Sequence[Wanted]) -> dict[str, list[list[Event]]]:
    """The interchanges of these intervals, each as its events, by integration."""
    some = [w for w in asked if w.starts]
    values = {
        "integrations": [w.integration for w in some],
        "firsts": [min(w.starts).astimezone(UTC).isoformat() for w in some],
        "lasts": [max(w.starts).astimezone(UTC).isoformat() for w in some],
        "sinces": [w.since for w in some],
        "untils": [w.until for w in some],
        "owners": [w.integration for w in some for _ in w.ids],
        "ids": [name for w in some for name in w.ids],
    }
    return _by_integration(ledger.rows(FOUND, values))


def newest(ledger: Ledger, integrations: Sequence[str]) -> dict[str, list[list[Event]]]:
    """The newest interchange of each integration, for those that have no intervals."""
    return _by_integration(ledger.rows(NEWEST, {"integrations": list(integrations)}))


def unsettled(ledger: Ledger, rows: Sequence[Integration], since: datetime) -> dict[str, list[list[Event]]]:
    """The interchanges that were begun since and have come to no end: they wait, are held, unknown, or have failed."""
    keys = {member.key: i.key for i in rows for member in i.members}
    values = {"integrations": list(keys), "rows": list(keys.values()), "since": since, "final": list(FINAL)}
    return _by_integration(ledger.rows(UNSETTLED, values))


def ended(ledger: Ledger, integrations: Sequence[str], *, limit: int = 15) -> dict[str, list[timedelta]]:
    """How long after their intervals' starts the last interchanges of each integration were done.

    What was done before its interval began, or days after it, says nothing: a simulated day, or a rerun.
    """
    values = {"integrations": list(integrations), "limit": limit, "ends": list(ENDS)}
    found: dict[str, list[timedelta]] = {}
    for integration, stream, interval, at in ledger.rows(DONE, values):
        start = _start(stream, interval or "")
        if start is not None and timedelta(0) <= at - start <= timedelta(days=2):
            found.setdefault(integration, []).append(at - start)
    return found


def _start(stream: str, interval: str) -> datetime | None:
    if interval:
        return datetime.fromisoformat(interval).astimezone(UTC)
    stamp = NAMED.search(stream)
    return datetime.strptime(stamp[1], STAMP).replace(tzinfo=UTC) if stamp else None


def _by_integration(rows: list[tuple[Any, ...]]) -> dict[str, list[list[Event]]]:
    events = [Event(seq, at.astimezone(UTC), *rest) for seq, at, *rest in rows]
    found: dict[str, list[list[Event]]] = {}
    for (integration, _), of_stream in groupby(events, key=lambda e: (e.integration, e.stream)):
        found.setdefault(integration, []).append(list(of_stream))
    return found
