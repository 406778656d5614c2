"""The watchdog: what should have happened against what the ledger says has. Knows no Airflow.

What never came has no run that could tell of it. A look compares the schedule with the ledger: an interval that is over
without a trace is written down as ``missed``; what is late, owed or doesn't add up is an alarm, raised once for its
cause and ended when it is over (``alerts.py``). A look may be cut off and repeated at any point: each of its events is
appended once, by compare-and-set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from slussen.alerts import Alert
from slussen.lateness import STOCKHOLM, Due, closes, resolve
from slussen.ledger import Conflict
from slussen.ledger.intervals import interval_of, names, of_intervals, unsettled, wanted
from slussen.ledger.states import fold
from slussen.obligations import Obligation, obligations
from slussen.receipts import say_overdue
from slussen.standing import DOUBTFUL, MOMENT, STANDS, UNDER_WAY, expects, stopped_before

if TYPE_CHECKING:
    from slussen.catalogue import Row
    from slussen.integration import Integration
    from slussen.ledger import Event, Ledger

# Why an integration has nothing to do in the interval that begins then, or nothing: what left no trace is then skipped.
Idle = Callable[["Integration", datetime], str]
STREAM = "watch/slussen"
FEW = 3  # intervals that are each told of when they are missed at one look: more are one alarm, of one outage
MISSED = "see docs/runbook.md#missed"
REMEMBERED = timedelta(hours=6)  # how often a look is written down: what lies between is looked at again, to no harm
# Alarms of ours that are not over.
OPEN = """
    select distinct on (stream) stream, kind
    from ledger.event
    where kind in ('alarm', 'recovered') and stream ~ '^watch/(late|red|owed)/'
    order by stream, nth desc
"""


class Alarms(Protocol):
    """Whoever tells people: see ``operators/watch.py``."""

    def alert(self, alert: Alert) -> None:
        """Tell of a cause, unless it was told of."""

    def recovered(self, cause: str, now: datetime) -> None:
        """Tell that a cause is over, if it was told of."""

    def again(self, rows: Sequence[Row], now: datetime) -> list[str]:
        """Tell those who couldn't be told; of which streams."""


@dataclass
class Look:
    """What a look has found: the alarms that stand, those that are over, what was written down as missed, and what was
    tried to be told again. ``gone`` are the intervals that were missed, by name; ``outages`` whose together.
    """

    alarms: dict[str, Alert] = field(default_factory=dict)
    over: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    outages: dict[str, list[str]] = field(default_factory=dict)
    retold: list[str] = field(default_factory=list)

    def raise_(self, alert: Alert) -> None:
        self.alarms[alert.cause] = alert


def look(
    rows: Sequence[Row],
    ledger: Ledger,
    now: datetime,
    alarms: Alarms,
    idle: Idle = lambda integration, start: "",
) -> Look:
    """Compare schedule and ledger as of ``now`` (UTC); raise and end alarms."""
    found = Look()
    first, last = _looks(ledger, now)
    standing = _standing_alarms(ledger)
    asked = {row.key: _intervals(row, first, min(last or now, now), now, standing) for row in rows}
    events = of_intervals(ledger, [wanted(row.integration, asked[row.key], now) for row in rows])
    often = [row for row in rows if row.timetable is not None and row.timetable.often]
    events |= unsettled(ledger, [row.integration for row in often], max(first, now - STANDS))
    for row in often:
        asked[row.key] = sorted({_start(of_stream) for of_stream in events.get(row.key, [])})
    _say_missed(found, rows, asked, events, ledger, now, idle)
    for row in rows:
        for start in asked[row.key]:
            _interval(found, row, start, events, now, idle)
    _of_outages(found, rows, now)
    _owed(found, rows, ledger, now)
    for alert in found.alarms.values():
        alarms.alert(alert)
    for cause in standing:
        name = cause.partition("/")[2]
        worse = cause.replace("late/", "red/", 1) in found.alarms or name in found.gone
        if cause not in found.alarms and not worse:
            alarms.recovered(cause, now)
            found.over.append(cause)
    found.retold = alarms.again(rows, now)
    if last is None or now - last > REMEMBERED:
        ledger.append(STREAM, "looked", {"until": now.isoformat()})
    return found


def _looks(ledger: Ledger, now: datetime) -> tuple[datetime, datetime | None]:
    """When the first look was, and until when all has been seen."""
    looked = [datetime.fromisoformat(e.data["until"]) for e in ledger.events(STREAM) if e.kind == "looked"]
    return (looked[0], looked[-1]) if looked else (now, None)


def _intervals(row: Row, first: datetime, since: datetime, now: datetime, standing: Sequence[str]) -> list[datetime]:
    """The starts of the intervals that were not over at the last look, or of which an alarm stands: only what has been
    looked at can be over. What began before the first look isn't ours.
    """
    if row.timetable is None or row.timetable.often:
        return []  # what is looked for all day long isn't expected at every look
    told = {cause.partition("/")[2] for cause in standing}
    back = max(timedelta(days=row.timetable.lookback), STANDS if told else timedelta(0))
    begin = max(first, since - back, row.since or first)
    starts = []
    for i in row.timetable.between(begin, now):
        start = datetime.fromtimestamp(i.start.timestamp(), UTC)
        if closes(row.timetable, row.integration.times, i) > since or names(row.integration, start)[0] in told:
            starts.append(start)
    return starts


def _start(events: Sequence[Event]) -> datetime:
    """Of which interval it is; what was collected by hand, as if of its own."""
    return interval_of(events) or events[0].at


def _say_missed(
    found: Look,
    rows: Sequence[Row],
    asked: Mapping[str, Sequence[datetime]],
    events: dict[str, list[list[Event]]],
    ledger: Ledger,
    now: datetime,
    idle: Idle,
) -> None:
    """Write down what is over without a trace, unless something has come at this very moment."""
    over = []
    for row in rows:
        came = {_start(of_stream) for of_stream in events.get(row.key, [])}
        for start in asked[row.key]:
            if row.timetable is None or start in came or not expects(row):
                continue
            interval = next(row.timetable.between(start, start + MOMENT))
            if closes(row.timetable, row.integration.times, interval) <= now:
                over.append((row, start, idle(row.integration, start), stopped_before(row, start, events)))
    alone = sum(not nothing and not stopped for _, _, nothing, stopped in over) <= FEW
    for row, start, nothing, stopped in over:
        name = names(row.integration, start)[0]
        local = f"{start.astimezone(STOCKHOLM):%Y-%m-%d %H:%M}"
        reason = f"the run of {local} left nothing, and its time is over" + (f": {stopped}" if stopped else "")
        data = {"reason": nothing or reason} | ({} if alone or nothing or stopped else {"outage": now.isoformat()})
        with suppress(Conflict):
            ledger.append(name, "skipped" if nothing else "missed", data, integration=row.key, after=0)
            found.missed += [] if nothing else [name]
        events.setdefault(row.key, []).append(ledger.events(name))


def _interval(
    found: Look, row: Row, start: datetime, events: Mapping[str, list[list[Event]]], now: datetime, idle: Idle
) -> None:
    mine = [of_stream for of_stream in events.get(row.key, []) if _start(of_stream) == start]
    times = row.integration.times
    due = resolve(times, start) if times is not None else None
    name = names(row.integration, start)[0]
    if not mine and not expects(row):
        return
    stopped = stopped_before(row, start, events)
    folded = [fold(of_stream) for of_stream in mine]
    states = [i.state for i in folded]
    if stopped and set(states) <= {"missed"}:
        return  # people are told of that one
    if "missed" in states:
        said = next(e.data for of_stream in mine for e in of_stream if e.kind == "missed")
        found.gone.add(name)
        if "outage" in said:
            found.outages.setdefault(said["outage"], []).append(row.key)
        else:
            found.raise_(_alert(row, f"missed/{name}", "missed", said["reason"], due, MISSED, name, now))
    waiting, which = next(
        ((i.state, i.id) for i in folded if i.state in (*UNDER_WAY, *DOUBTFUL)), ("" if mine else "waiting", name)
    )
    if due is None or not waiting:
        return
    what = f"{'nothing has come' if waiting == 'waiting' else waiting} at {now.astimezone(STOCKHOLM):%H:%M}"
    level = due.colour(now)
    if level != "green" and (mine or not idle(row.integration, start)):
        cause = {"amber": "late", "red": "red"}[level]  # red is told of anew, whether or not amber was
        step = f"slussen why {row.key} {start.astimezone(STOCKHOLM):%Y-%m-%d}"
        found.raise_(_alert(row, f"{cause}/{name}", f"late, {level}", what, due, step, which, now))


def _of_outages(found: Look, rows: Sequence[Row], now: datetime) -> None:
    """What was missed together is one alarm."""
    by_key = {row.key: row for row in rows}
    for outage, keys in found.outages.items():
        counts = ", ".join(f"{key} {n}" for key, n in sorted(Counter(keys).items()))
        what = f"{len(keys)} runs left nothing, and their time is over: {counts}"
        found.raise_(_alert(by_key[keys[0]], f"missed/{outage}", "missed", what, None, MISSED, "", now))


def _owed(found: Look, rows: Sequence[Row], ledger: Ledger, now: datetime) -> None:
    """Raise what is over its term; receipts and answers are said to be overdue, once each."""
    by_key = {row.key: row for row in rows}
    for owed in obligations(rows, ledger, now):
        row = by_key.get(owed.integration)
        if row is None or not owed.overdue(now):
            continue
        if owed.kind in ("receipt", "answer"):
            say_overdue(ledger, owed.interchange, now)
        found.raise_(_alert(row, _cause(owed), "overdue", owed.what, None, owed.next_step, owed.interchange, now))


def _cause(owed: Obligation) -> str:
    return "owed/control" if owed.kind == "control" else f"owed/{owed.kind}/{owed.interchange}"


def _standing_alarms(ledger: Ledger) -> list[str]:
    return [stream.removeprefix("watch/") for stream, kind in ledger.rows(OPEN) if kind == "alarm"]


def _alert(
    row: Row, cause: str, state: str, what: str, due: Due | None, next_step: str, interchange: str, now: datetime
) -> Alert:
    return Alert(
        cause=cause, integration=row.key, state=state, what=what, next_step=next_step, interchange=interchange,
        cutoff=due.cutoff if due is not None else None, at=now,
    )  # fmt: skip
