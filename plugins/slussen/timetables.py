"""When things run: timetables in Europe/Stockholm, right across both clock changes.

A *window* is one run with one data interval (20:00 to 07:30 is 11.5 hours, 10.5 or 12.5 when the clock changes);
the run starts when it opens and waits inside. A *moment* is a run whose interval has no length.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from datetime import date, time, timedelta
from functools import lru_cache
from typing import Any, Self

import pendulum
from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from pendulum import DateTime

from slussen import settings

STOCKHOLM = pendulum.timezone("Europe/Stockholm")
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = 400  # days looked ahead: more than a year, so that a yearly schedule is found


def day(year: int, month: int, day_: int) -> DateTime:
    """Midnight in Stockholm: the start date of a DAG."""
    return pendulum.datetime(year, month, day_, tz=STOCKHOLM)


def weekdays(days: str) -> frozenset[int]:
    """``mon-sat`` or ``mon,wed`` as day numbers, Monday is 0."""
    numbers: set[int] = set()
    for part in days.split(","):
        first, _, last = part.strip().partition("-")
        if first not in WEEK or (last and last not in WEEK):
            raise AirflowTimetableInvalid(f"days={days!r}: write days as mon-sat or mon,wed")
        numbers.update(range(WEEK.index(first), WEEK.index(last or first) + 1))
    return frozenset(numbers)


@lru_cache(maxsize=64)
def public_holidays(year: int) -> frozenset[date]:
    """Sweden's public holidays. Eves are weekdays (decision), and a Sunday is no holiday for being one."""
    from holidays import country_holidays

    return frozenset(country_holidays("SE", years=year, include_sundays=False))


class Schedule(Timetable):
    """What all our timetables share: a day has runs, and the next one is looked for day by day."""

    def __init__(self, days: str, *, holidays: bool = True) -> None:
        self.days, self.holidays = days, holidays
        self._days = weekdays(days)

    @abstractmethod
    def runs(self, on: date) -> list[DataInterval]:
        """The data intervals that begin on this Stockholm day, in order."""

    @abstractmethod
    def over(self, interval: DataInterval, now: DateTime) -> bool:
        """Is it too late to start this run?"""

    def runs_on(self, on: date) -> bool:
        return on.weekday() in self._days and (self.holidays or on not in public_holidays(on.year))

    def between(self, start: DateTime, end: DateTime) -> Iterator[DataInterval]:
        """The intervals that begin from ``start`` up to, not including, ``end``."""
        on = start.in_timezone(STOCKHOLM).date()
        while on <= end.in_timezone(STOCKHOLM).date():
            if self.runs_on(on):
                yield from (i for i in self.runs(on) if start <= i.start < end)
            on += timedelta(days=1)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        if restriction.earliest is None or not settings.schedules_on():
            return None
        after = restriction.earliest
        if last_automated_data_interval is not None:
            after = max(after, last_automated_data_interval.start + timedelta(microseconds=1))
        now = pendulum.now("UTC")
        if not restriction.catchup:
            after = max(after, now.subtract(days=2))
        for interval in self.between(after, after.add(days=HORIZON)):
            if not restriction.catchup and self.over(interval, now):
                continue
            if restriction.latest is not None and interval.start > restriction.latest:
                return None
            return DagRunInfo(run_after=interval.start, data_interval=interval)
        return None

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """A run started by hand stands for the latest interval that has begun."""
        begun = list(self.between(run_after.subtract(days=32), run_after.add(microseconds=1)))
        return begun[-1] if begun else DataInterval.exact(run_after)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        return cls(**data)

    @property
    def summary(self) -> str:
        return self.description

    def _words(self) -> str:
        if not self.holidays and self.days == "mon-fri":
            return "weekdays"
        words = self.days.title().replace("-", "–").replace(",", " and ")
        return words if self.holidays else f"{words}, not on public holidays"


class Window(Schedule):
    """From ``opens`` to ``closes`` (the next day, when that is earlier) on the given days: one run a window."""

    def __init__(self, opens: str, closes: str, *, days: str, holidays: bool = True) -> None:
        super().__init__(days, holidays=holidays)
        self.opens, self.closes = opens, closes
        self.description = f"{self._words()} {opens}–{closes}"

    def runs(self, on: date) -> list[DataInterval]:
        until = on if self.closes > self.opens else on + timedelta(days=1)
        return [DataInterval(at(on, self.opens), at(until, self.closes))]

    def over(self, interval: DataInterval, now: DateTime) -> bool:
        return interval.end <= now

    def serialize(self) -> dict[str, Any]:
        return {"opens": self.opens, "closes": self.closes, "days": self.days, "holidays": self.holidays}


class At(Schedule):
    """At one or more times of the given days. A missed moment is made up within its own day, not later."""

    def __init__(self, *times: str, days: str, holidays: bool = True) -> None:
        super().__init__(days, holidays=holidays)
        self.times = tuple(sorted(times))
        self.description = f"{self._words()} {', '.join(self.times)}"

    def runs(self, on: date) -> list[DataInterval]:
        return [DataInterval.exact(at(on, t)) for t in self.times]

    def over(self, interval: DataInterval, now: DateTime) -> bool:
        return interval.start.in_timezone(STOCKHOLM).date() < now.in_timezone(STOCKHOLM).date()

    def serialize(self) -> dict[str, Any]:
        return {"times": list(self.times), "days": self.days, "holidays": self.holidays}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        return cls(*data["times"], days=data["days"], holidays=data["holidays"])


def at(on: date, clock: str) -> DateTime:
    """This time of this Stockholm day, in UTC. A time that the spring skips is an hour later."""
    t = time.fromisoformat(clock)
    return pendulum.datetime(on.year, on.month, on.day, t.hour, t.minute, tz=STOCKHOLM).in_timezone("UTC")
