"""Where each integration stands at a moment: its state, how late it is, how long until its cut-off. Knows no Airflow
but through the timetables of the rows that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slussen.lateness import Colour, Due, eta, resolve
from slussen.ledger.intervals import Wanted, ended, interval_of, newest, of_intervals, wanted
from slussen.ledger.states import Interchange, fold

if TYPE_CHECKING:
    from slussen.catalogue import Row
    from slussen.ledger import Event, Ledger

DAY = timedelta(days=1)
OFTEN = timedelta(hours=1)  # what is looked for more often than this is not expected at every look
BAD = ("quarantined", "rejected", "missed")
DOUBTFUL = ("held", "unknown")
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
    named = {row.key: row.integration.members[-1].key for row in rows}
    lags = ended(ledger, list(named.values()))
    made = [
        _standing(row, asked.get(row.key), found.get(row.key, []), lags.get(named[row.key], []), now) for row in rows
    ]
    return sorted(made, key=_worst)


def expects(row: Row) -> bool:
    """Must every interval have an interchange, or may there be nothing?"""
    return row.integration.source.transport == "database" or row.integration.missing != "skip"


def is_often(row: Row) -> bool:
    """Is it looked for all day long?"""
    from slussen.timetables import Every

    return isinstance(row.timetable, Every)


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


def _standing(
    row: Row, asked: Wanted | None, found: list[list[Event]], lags: list[timedelta], now: datetime
) -> Standing:
    if row.timetable is None or asked is None or not asked.starts:
        return _by_hand(row, found)
    start = asked.starts[-1]
    latest = row.timetable.latest(now)
    following = row.timetable.following(now)
    assert latest is not None
    times = row.integration.times
    due = resolve(times, start) if times is not None else None
    closes = datetime.fromtimestamp(row.timetable.closes(latest).timestamp(), UTC)
    cutoff = due.cutoff if due is not None else closes
    common: dict[str, Any] = {
        "row": row,
        "start": start,
        "end": datetime.fromtimestamp(latest.end.timestamp(), UTC),
        "due": due,
        "cutoff": cutoff,
        "next": following.start if following is not None else None,
    }
    folded = [fold(events) for events in found]
    missing = not any((interval_of(events) or start) == start for events in found)
    if missing and not is_often(row) and expects(row):
        over = now >= closes
        colour: Colour = "red" if now >= min(cutoff, closes) else due.colour(now) if due is not None else "green"
        return Standing(
            **common,
            state="missed" if over else "waiting",
            colour=colour,
            slack=cutoff - now,
            eta=eta(start, lags) if not over else None,
            note="nothing has come" if colour != "green" else "",
            interchanges=tuple(folded),
        )
    if not found:
        waits = not is_often(row) and now < common["end"]
        return Standing(
            **common,
            state="waiting" if waits else "nothing came",
            colour="green",
            slack=cutoff - now if waits else None,
        )
    return _of_interchanges(common, found, folded, lags, now)


def _of_interchanges(
    common: dict[str, Any], found: list[list[Event]], folded: list[Interchange], lags: list[timedelta], now: datetime
) -> Standing:
    """The worst of the interval's interchanges is what the integration stands at."""
    due, cutoff = common["due"], common["cutoff"]
    judged = [(_judge(i, events, due, now), i) for i, events in zip(folded, found, strict=True)]
    (colour, note), worst = min(judged, key=lambda pair: (RANK[pair[0][0]], pair[1].seq))
    unfinished = any(i.state in (*BAD, *DOUBTFUL, *UNDER_WAY) or failure(e) for i, e in zip(folded, found, strict=True))
    late = any(i.state in UNDER_WAY for i in folded)
    return Standing(
        **common,
        state=worst.state,
        colour=colour,
        slack=cutoff - now if unfinished else None,
        eta=eta(common["start"], lags) if late else None,
        note=note,
        interchanges=tuple(folded),
    )


def _judge(i: Interchange, events: Sequence[Event], due: Due | None, now: datetime) -> tuple[Colour, str]:
    """An interchange's colour, and why it isn't green."""
    failed = failure(events)
    if failed is not None:
        final = failed.data.get("class") == "refused" or (due is not None and due.colour(now) == "red")
        return "red" if final else "amber", f"failed at {failed.data.get('at')}"
    if i.state in BAD:
        last = next((e for e in reversed(events) if e.kind == i.state), events[-1])
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
