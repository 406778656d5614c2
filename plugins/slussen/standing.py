"""Where each integration stands at a moment: its state, how late it is, how long until its cut-off. Knows no Airflow
but through the timetables of the rows that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slussen.lateness import Colour, Due, closes, eta, resolve
from slussen.ledger.intervals import Wanted, ended, interval_of, newest, of_intervals, unsettled, wanted
from slussen.ledger.states import SETTLED, Interchange, fold

if TYPE_CHECKING:
    from slussen.catalogue import Row
    from slussen.ledger import Event, Ledger

DAY = timedelta(days=1)
MOMENT = timedelta(seconds=1)
STANDS = timedelta(days=40)  # what isn't settled is looked at for so long
BAD = ("quarantined", "rejected", "missed")
DOUBTFUL = ("held", "unknown")
GONE = frozenset({*SETTLED, "acknowledged", "skipped"})
UNDER_WAY = ("waiting", "collected", "staged", "gated", "delivering")
RANK: dict[Colour, int] = {"red": 0, "amber": 1, "green": 2}


@dataclass(frozen=True, slots=True)
class Standing:
    """An integration at a moment. Times are UTC.

    ``slack`` is the time left until the cut-off, negative when that is over, nothing when all is done; ``note`` is why,
    in a few words.
    """

    row: Row
    state: str
    colour: Colour
    start: datetime | None = None
    end: datetime | None = None
    due: Due | None = None
    cutoff: datetime | None = None
    slack: timedelta | None = None
    eta: datetime | None = None
    next: datetime | None = None
    note: str = ""
    interchanges: tuple[Interchange, ...] = ()

    @property
    def open(self) -> bool:
        """Is there something that has still to happen, or should have?"""
        return self.slack is not None

    def as_dict(self) -> dict[str, Any]:
        def moment(m: datetime | None) -> str | None:
            from slussen.lateness import STOCKHOLM

            return m.astimezone(STOCKHOLM).isoformat(timespec="seconds") if m is not None else None

        return {
            "key": self.row.key,
            "dag_id": self.row.dag_id,
            "state": self.state,
            "colour": self.colour,
            "open": self.open,
            "start": moment(self.start),
            "end": moment(self.end),
            "expected": moment(self.due.expected if self.due else None),
            "cutoff": moment(self.cutoff),
            "slack_seconds": int(self.slack.total_seconds()) if self.slack is not None else None,
            "eta": moment(self.eta),
            "next": moment(self.next),
            "note": self.note,
            "interchanges": [{"id": i.id, "state": i.state} for i in self.interchanges],
        }


def standings(rows: Sequence[Row], ledger: Ledger, now: datetime) -> list[Standing]:
    """Each integration's standing at this moment, worst first."""
    asked = {row.key: _wanted(row, now) for row in rows if row.timetable is not None}
    found = of_intervals(ledger, list(asked.values()))
    found |= newest(ledger, [row.key for row in rows if row.timetable is None])
    older = unsettled(ledger, [row.integration for row in rows if row.timetable is not None], now - STANDS)
    named = {row.key: row.integration.members[-1].key for row in rows}
    lags = ended(ledger, list(named.values()))
    made = []
    for row in rows:
        own = found.get(row.key, [])
        if row.timetable is None or not asked[row.key].starts:
            made.append(_by_hand(row, own))
            continue
        known = {events[0].stream for events in own}
        own += [events for events in older.get(row.key, []) if events[0].stream not in known]
        made.append(_standing(row, asked[row.key].starts, own, lags.get(named[row.key], []), found, now))
    return sorted(made, key=_worst)


def expects(row: Row) -> bool:
    """Must every interval have an interchange, or may there be nothing?"""
    return row.integration.source.transport == "database" or row.integration.missing != "skip"


def stopped_before(row: Row, start: datetime, found: Mapping[str, Sequence[list[Event]]]) -> str:
    """What has stopped an interval of which nothing has come, when it is a row that must have gone before it."""
    for integration in row.after:
        mine = [events for events in found.get(integration.key, ()) if interval_of(events) == start]
        states = ["failed" if failure(events) else fold(events).state for events in mine]
        if not GONE.intersection(states) and (bad := [s for s in states if s in (*BAD, *DOUBTFUL, "failed")]):
            return f"{integration.key}, which comes before it, is {bad[0]}"
    return ""


def failure(events: Sequence[Event]) -> Event | None:
    """The failure that an interchange has stopped at, when nothing has happened since."""
    last = next((e for e in reversed(events) if "notif" not in e.kind), None)
    return last if last is not None and last.kind == "failed" else None


def _wanted(row: Row, now: datetime) -> Wanted:
    """The intervals of the last day, the latest one at least: of what runs twice a morning, both."""
    assert row.timetable is not None
    latest = row.timetable.latest(now)
    if latest is None:
        return wanted(row.integration, (), now)
    since = latest.start.in_timezone("Europe/Stockholm").start_of("day")
    starts = [datetime.fromtimestamp(i.start.timestamp(), UTC) for i in row.timetable.between(since, latest.start)]
    starts.append(datetime.fromtimestamp(latest.start.timestamp(), UTC))
    return wanted(row.integration, starts, now + DAY)


@dataclass(frozen=True, slots=True)
class _Judged:
    """An interchange, or an interval without one (``start`` tells which), as it stands."""

    colour: Colour
    state: str
    note: str
    start: datetime
    open: bool
    interchange: Interchange | None = None


def _standing(
    row: Row,
    starts: Sequence[datetime],
    own: list[list[Event]],
    lags: list[timedelta],
    found: Mapping[str, Sequence[list[Event]]],
    now: datetime,
) -> Standing:
    """The worst of its intervals without an interchange and of its interchanges is what the integration stands at."""
    from slussen.timetables import plain

    assert row.timetable is not None
    latest, times = starts[-1], row.integration.times
    intervals = {plain(i.start): i for i in row.timetable.between(starts[0], latest + MOMENT)}
    came = {interval_of(events) or latest for events in own}
    judged = []
    for start, interval in intervals.items():
        if start not in came and not row.timetable.often:
            stopped = stopped_before(row, start, found)
            judged.append(_nothing(row, start, closes(row.timetable, times, interval), stopped, now))
    for events in own:
        made, start = fold(events), interval_of(events) or latest
        due = resolve(times, start) if times is not None else None
        colour, note = _judge(made, events, due, now)
        unfinished = made.state in (*BAD, *DOUBTFUL, *UNDER_WAY) or failure(events) is not None
        judged.append(_Judged(colour, made.state, note, start, unfinished, made))
    if not judged:
        judged.append(_Judged("green", "nothing came", "", latest, False))
    worst = min(judged, key=lambda j: (RANK[j.colour], not j.open, j.start))
    interval = next(row.timetable.between(worst.start, worst.start + MOMENT), intervals[latest])
    due = resolve(times, worst.start) if times is not None else None
    cutoff = due.cutoff if due is not None else closes(row.timetable, times, interval)
    following = row.timetable.following(now)
    running = worst.state in (*UNDER_WAY, "waiting") and worst.open
    return Standing(
        row=row,
        state=worst.state,
        colour=worst.colour,
        start=worst.start,
        end=plain(interval.end),
        due=due,
        cutoff=cutoff,
        slack=cutoff - now if worst.open else None,
        eta=eta(worst.start, lags) if running else None,
        next=following.start if following is not None else None,
        note=worst.note,
        interchanges=tuple(j.interchange for j in judged if j.interchange is not None),
    )


def _nothing(row: Row, start: datetime, closed: datetime, stopped: str, now: datetime) -> _Judged:
    """An interval that has no interchange: it waits, or is missed, or nothing came and that is fine."""
    if not expects(row):
        waits = now < closed
        return _Judged("green", "waiting" if waits else "nothing came", "", start, waits)
    times = row.integration.times
    colour: Colour = "red" if now >= closed else resolve(times, start).colour(now) if times is not None else "green"
    state = "missed" if now >= closed else "waiting"
    return _Judged(colour, state, stopped or ("nothing has come" if colour != "green" else ""), start, True)


def _judge(i: Interchange, events: Sequence[Event], due: Due | None, now: datetime) -> tuple[Colour, str]:
    """An interchange's colour, and why it isn't green."""
    failed = failure(events)
    if failed is not None:
        final = failed.data.get("class") == "refused" or (due is not None and due.colour(now) == "red")
        return "red" if final else "amber", f"failed at {failed.data.get('at')}"
    if i.state in BAD:
        last = next((e for e in reversed(events) if e.kind in (i.state, "refused")), events[-1])
        if last.kind == "refused":
            return "red", f"refused by {last.data.get('by')}"
        return "red", str(last.data.get("reason") or (f"at {last.data['at']}" if last.data.get("at") else ""))
    if i.state in DOUBTFUL:
        too_late = due is not None and due.colour(now) == "red"
        return "red" if too_late else "amber", "waits for a person" if i.state == "held" else "the reply was lost"
    if i.state in UNDER_WAY:
        colour = due.colour(now) if due is not None else "green"
        return colour, "late" if colour != "green" else ""
    if i.overdue:
        return "amber", f"overdue: {', '.join(i.overdue)}"
    return "green", ""


def _by_hand(row: Row, found: list[list[Event]]) -> Standing:
    if not found:
        return Standing(row, "by hand", "green")
    events = found[-1]
    made = fold(events)
    colour, note = _judge(made, events, None, events[-1].at)
    return Standing(row, made.state, colour, note=note, interchanges=(made,))


def _worst(s: Standing) -> tuple[int, bool, timedelta, str]:
    return RANK[s.colour], not s.open, s.slack if s.slack is not None else timedelta.max, s.row.key
