"""When an interchange is late: an integration's four times against its interval, in Stockholm. Knows no Airflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from statistics import median
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from slussen.errors import CallError

if TYPE_CHECKING:
    from airflow.timetables.base import DataInterval

    from slussen.integration import Times
    from slussen.timetables import Schedule

STOCKHOLM = ZoneInfo("Europe/Stockholm")
WRITTEN = re.compile(r"(?:\+(\d+)d )?([01]\d|2[0-3]):([0-5]\d)")
Colour = Literal["green", "amber", "red"]


@dataclass(frozen=True, slots=True)
class Due:
    """The four times of one interval, in UTC."""

    expected: datetime
    amber: datetime
    red: datetime
    cutoff: datetime

    def colour(self, now: datetime) -> Colour:
        """How late something is that hasn't come yet."""
        return "green" if now < self.amber else "amber" if now < self.red else "red"

    def passed(self, now: datetime) -> str:
        """The last of the four that is over: nothing, ``expected``, ``amber``, ``red`` or ``cutoff``."""
        over = [name for name in ("expected", "amber", "red", "cutoff") if getattr(self, name) <= now]
        return over[-1] if over else ""


def resolve(times: Times, start: datetime) -> Due:
    """The times of the interval that begins at ``start``.

    One that the run has passed when it begins (its next would come after the following one of the four) is its start:
    what is expected at 04:25 is expected at once of a second run at 04:55.

    Raises:
        CallError: a time is not written as 06:30 or +1d 06:30.
    """
    start = start.astimezone(UTC)
    found = [_moment(times.cutoff, start)]
    for clock in (times.red, times.amber, times.expected):
        moment = _moment(clock, start)
        found.append(moment if moment <= found[-1] else start)
    cutoff, red, amber, expected = found
    return Due(expected, amber, red, cutoff)


def closes(schedule: Schedule, times: Times | None, interval: DataInterval) -> datetime:
    """From when on it is too late to begin with an interval, in UTC: its window's end, a moment's cut-off.

    What is looked for all day long has its next look, and a moment without times what its schedule says.
    """
    if times is not None and interval.end <= interval.start and not schedule.often:
        return resolve(times, interval.start).cutoff
    return datetime.fromtimestamp(schedule.closes(interval).timestamp(), UTC)


def eta(start: datetime, ended: Sequence[timedelta]) -> datetime | None:
    """When it should be done, by how long after their intervals' starts the last ones were: the median."""
    if not ended:
        return None
    return start + timedelta(seconds=median(lag.total_seconds() for lag in ended))


def _moment(written: str, start: datetime) -> datetime:
    """The first such clock time at or after ``start``, or so many days after it, in UTC.

    A time that the spring skips is an hour later, of a doubled one the first counts.
    """
    match = WRITTEN.fullmatch(written)
    if match is None:
        raise CallError(f"{written!r}: write a time as 06:30, or +1d 06:30")
    days, clock = int(match[1] or 0), time(int(match[2]), int(match[3]))
    day = start.astimezone(STOCKHOLM).date()
    first = day if datetime.combine(day, clock, STOCKHOLM).astimezone(UTC) >= start else day + timedelta(days=1)
    return datetime.combine(first + timedelta(days=days), clock, STOCKHOLM).astimezone(UTC)
