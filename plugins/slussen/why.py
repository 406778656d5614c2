"""Why an integration's day is as it is: its schedule and its ledger, told in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slussen.lateness import STOCKHOLM, closes, resolve
from slussen.ledger.intervals import interval_of, newest, of_intervals, wanted
from slussen.ledger.states import fold
from slussen.sentences import RUNBOOK, clock, ending, story
from slussen.standing import expects, failure, stopped_before

if TYPE_CHECKING:
    from slussen.catalogue import Row
    from slussen.ledger import Event, Ledger


@dataclass
class Chapter:
    """One interval, or one interchange of a day: its state and its sentences. ``interchange`` is empty for none."""

    state: str
    sentences: list[str]
    interchange: str = ""
    start: datetime | None = None


@dataclass
class Answer:
    """What is to be said of an integration's day."""

    key: str
    day: date
    chapters: list[Chapter] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "date": f"{self.day}",
            "chapters": [
                {
                    "interchange": c.interchange or None,
                    "start": c.start.astimezone(STOCKHOLM).isoformat() if c.start else None,
                    "state": c.state,
                    "sentences": c.sentences,
                }
                for c in self.chapters
            ],
        }


def why(row: Row, ledger: Ledger, now: datetime, on: date | None = None) -> Answer:
    """The chain of the intervals that began on this Stockholm day; without a day, on that of the latest one."""
    from slussen.timetables import at

    if on is None:
        latest = row.timetable.latest(now) if row.timetable is not None else None
        on = (latest.start if latest is not None else now).astimezone(STOCKHOLM).date()
    answer = Answer(row.key, on)
    if row.timetable is None:
        found = newest(ledger, [row.key]).get(row.key, [])
        answer.chapters += [_told(events, on) for events in found]
        if not found:
            answer.chapters.append(Chapter("by hand", [f"{row.key} is started by hand, and hasn't been"]))
        return answer
    midnight, end = at(on, "00:00"), at(on + timedelta(days=1), "00:00")
    starts = [
        datetime.fromtimestamp(i.start.timestamp(), UTC)
        for i in (row.timetable.runs(on) if row.timetable.runs_on(on) else [])
    ]
    asked = [wanted(i, starts or [midnight], end, since=midnight) for i in (row.integration, *row.after)]
    all_ = of_intervals(ledger, asked)
    found = all_.get(row.key, [])
    for start in [] if row.timetable.often else starts:
        mine = [events for events in found if (interval_of(events) or start) == start]
        found = [events for events in found if events not in mine]
        answer.chapters += [_told(events, on) for events in mine] or [
            _nothing(row, start, stopped_before(row, start, all_), now, on)
        ]
    if row.timetable.often:
        found = [events for events in found if fold(events).state != "skipped"]
    answer.chapters += [_told(events, on) for events in found]
    if not answer.chapters:
        answer.chapters.append(_no_run(row, on, now))
    return answer


def _told(events: list[Event], on: date) -> Chapter:
    made, failed = fold(events), failure(events) is not None
    sentences = [*story(events, on), ending(events, failed)]
    return Chapter("failed" if failed else made.state, sentences, made.id, interval_of(events))


def _no_run(row: Row, on: date, now: datetime) -> Chapter:
    """No interval begins on this day, or nothing came at any of its many looks."""
    assert row.timetable is not None
    if row.timetable.runs_on(on):
        looks = f"{row.key} is looked for {row.schedule}: "
        today = now.astimezone(STOCKHOLM).date()
        if on > today:
            return Chapter("waiting", [f"{looks}{on} is still to come"])
        if on == today:
            return Chapter("waiting", [f"{looks}nothing has come yet on {on}"])
        return Chapter("nothing came", [f"{looks}nothing came on {on}"])
    following = row.timetable.following(datetime.combine(on, datetime.min.time(), STOCKHOLM))
    then = f"; the next run is {following.start.astimezone(STOCKHOLM):%A %Y-%m-%d %H:%M}" if following else ""
    reason = f"{row.key} is not scheduled on {on}, a {row.timetable.why_not(on)}: it runs {row.schedule}{then}"
    return Chapter("not scheduled", [reason])


def _nothing(row: Row, start: datetime, stopped: str, now: datetime, on: date) -> Chapter:
    """An interval of which the ledger has nothing."""
    assert row.timetable is not None
    if row.since is not None and start < row.since:
        return Chapter("not ours", [f"{row.key} is ours from {row.since.astimezone(STOCKHOLM):%Y-%m-%d %H:%M} on"])
    interval = next(iter(row.timetable.between(start, start + timedelta(seconds=1))))
    times = row.integration.times
    source = row.integration.source
    closed = closes(row.timetable, times, interval)
    what = "nothing" if source.transport == "database" else f"no file {source.name} at {source.connection}"
    opens = f"its window opens {clock(start, on)}" if interval.end > start else f"it runs {clock(start, on)}"
    if now < start:
        return Chapter("waiting", [f"{opens}: that is still to come"], start=start)
    if now < closed:
        sentences = [f"{opens}, and is open until {clock(closed, on)}: {what} has come yet"]
        if times is not None:
            cutoff = resolve(times, start).cutoff
            sentences.append(f"its cut-off {'is' if now < cutoff else 'was'} {clock(cutoff, on)}")
        return Chapter("waiting", [*sentences, *([stopped] if stopped else [])], start=start)
    over = f"its window closed {clock(closed, on)} with {what}"
    if interval.end <= start:
        over = f"its run of {clock(start, on)} left nothing in the ledger: {what}"
    if not expects(row):
        return Chapter("nothing came", [over, "that is fine: a missing file is passed over"], start=start)
    if stopped:
        return Chapter("missed", [over, f"{stopped} (slussen why says more of that one)"], start=start)
    return Chapter(
        "missed",
        [
            over,
            "it never ran, or was stopped before it wrote anything: the scheduler was down, its DAG was paused, or "
            f"a task before it failed. It is not made up ({RUNBOOK}#missed)",
        ],
        start=start,
    )
