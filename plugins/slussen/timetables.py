"""When things run: timetables in Europe/Stockholm, right across both clock changes.

A *window* is one run with one data interval (20:00 to 07:30 is 11.5 hours, 10.5 or 12.5 when the clock changes); the
run starts when it opens and waits inside. A *moment* is a run whose interval has no length. What was missed gets its
run while it may still make sense (``Schedule.closes``), never afterwards, unless the DAG says ``catchup=True``; whether
it does is for each integration's cut-off to say (``lateness.closes``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

import pendulum
from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from pendulum import DateTime

from slussen import clock, settings

STOCKHOLM = ZoneInfo("Europe/Stockholm")
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = 400  # days looked ahead and back: more than a year, so that a yearly schedule is found
INSTANT = timedelta(microseconds=1)


def day(year: int, month: int, day_: int) -> DateTime:
    """Midnight in Stockholm: the start date of a DAG."""
    return pendulum.datetime(year, month, day_, tz=STOCKHOLM.key)


def at(on: date, clock: str) -> DateTime:
    """This time of this Stockholm day, in UTC: the first of the two in autumn's doubled hour.

    A time that the spring skips is an hour later.
    """
    return pendulum.instance(datetime.combine(on, time.fromisoformat(clock), STOCKHOLM).astimezone(UTC))


def plain(moment: datetime) -> datetime:
    """The same moment in UTC as one of the standard library's, whose differences are its own too."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)


def local_day(moment: datetime) -> date:
    """The Stockholm day that a moment belongs to."""
    return moment.astimezone(STOCKHOLM).date()


@lru_cache(maxsize=64)
def holiday_names(year: int) -> dict[date, str]:
    """Sweden's public holidays. Eves are weekdays (decision), and a Sunday is no holiday for being one."""
    from holidays import country_holidays

    return dict(country_holidays("SE", years=year, include_sundays=False, language="en_US"))


def is_holiday(on: date) -> bool:
    return on in holiday_names(on.year)


def is_weekday(on: date) -> bool:
    """Monday to Friday that is no public holiday."""
    return on.weekday() < 5 and not is_holiday(on)


class Schedule(Timetable):
    """What all our timetables share: a day has runs, and the next one is looked for day by day.

    ``description`` says it in words. ``lookback`` is, in days, more than the longest interval. ``often``: it is looked
    for all day long.
    """

    lookback: ClassVar[int] = 2
    often: ClassVar[bool] = False

    @abstractmethod
    def runs_on(self, on: date) -> bool:
        """Does an interval begin on this Stockholm day?"""

    @abstractmethod
    def runs(self, on: date) -> list[DataInterval]:
        """The intervals that begin on this day, which is one with runs, in order; their ends in UTC."""

    @abstractmethod
    def closes(self, interval: DataInterval) -> DateTime:
        """From when on it is too late to start this run."""

    @abstractmethod
    def serialize(self) -> dict[str, Any]:
        """The arguments it was made with, the times without a name of their own as ``times``."""

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        make: Any = cls
        made: Self = make(*data.get("times", ()), **{k: v for k, v in data.items() if k != "times"})
        return made

    @property
    def summary(self) -> str:
        return self.description

    def why_not(self, on: date) -> str:
        """Why no interval begins on this day: its name."""
        name = holiday_names(on.year).get(on)
        return f"{on:%A}" + (f", {name}" if name else "")

    def between(self, start: datetime, end: datetime) -> Iterator[DataInterval]:
        """The intervals that begin from ``start`` up to, not including, ``end``."""
        on, last = local_day(start), local_day(end)
        while on <= last:
            if self.runs_on(on):
                yield from (i for i in self.runs(on) if start <= i.start < end)
            on += timedelta(days=1)

    def latest(self, moment: datetime) -> DataInterval | None:
        """The last interval that has begun."""
        today = local_day(moment)
        for on in (today - timedelta(days=n) for n in range(HORIZON)):
            if self.runs_on(on) and (begun := [i for i in self.runs(on) if i.start <= moment]):
                return begun[-1]
        return None

    def following(self, moment: datetime) -> DataInterval | None:
        """The first interval that begins after this moment."""
        return next(self.between(moment + INSTANT, moment + timedelta(days=HORIZON)), None)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        if restriction.earliest is None or not settings.schedules_on():
            return None
        after = restriction.earliest
        if last_automated_data_interval is not None:
            after = max(after, last_automated_data_interval.start + INSTANT)
        now = pendulum.instance(clock.now())
        if not restriction.catchup:
            after = max(after, now.subtract(days=self.lookback))
        for interval in self.between(after, after + timedelta(days=HORIZON)):
            if not restriction.catchup and self.closes(interval) <= now:
                continue
            if restriction.latest is not None and interval.start > restriction.latest:
                return None
            return DagRunInfo(run_after=interval.start, data_interval=interval)
        return None

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """A run started by hand stands for the latest interval that has begun."""
        return self.latest(run_after) or DataInterval.exact(run_after)


class OnDays(Schedule):
    """On the days of a week, public holidays among them or not."""

    def __init__(self, days: str, holidays: bool) -> None:
        self.days, self.holidays = days, holidays
        self._days = weekdays(days)

    def runs_on(self, on: date) -> bool:
        return on.weekday() in self._days and (self.holidays or not is_holiday(on))

    def _words(self) -> str:
        if self.days == "mon-sun" and self.holidays:
            return "daily"
        if self.days == "mon-fri" and not self.holidays:
            return "weekdays"
        words = self.days.title().replace("-", "–").replace(",", " and ")
        return words if self.holidays else f"{words}, not on public holidays"


class Window(OnDays):
    """From ``opens`` to ``closes`` (the next day, when that is earlier) on the given days: one run a window."""

    def __init__(self, opens: str, closes: str, *, days: str, holidays: bool = True) -> None:
        super().__init__(days, holidays)
        self._opens, self._closes = clock_time(opens), clock_time(closes)
        self.description = f"{self._words()} {opens}–{closes}"

    def runs(self, on: date) -> list[DataInterval]:
        until = on if self._closes > self._opens else on + timedelta(days=1)
        return [DataInterval(at(on, self._opens), at(until, self._closes))]

    def closes(self, interval: DataInterval) -> DateTime:
        return interval.end

    def serialize(self) -> dict[str, Any]:
        return {"opens": self._opens, "closes": self._closes, "days": self.days, "holidays": self.holidays}


class Moments(Schedule):
    """Times of a day. A missed moment is made up within its own day, or for two days when no other comes sooner."""

    def __init__(self, *times: str) -> None:
        self.times = tuple(sorted(map(clock_time, times)))

    def runs(self, on: date) -> list[DataInterval]:
        return [DataInterval.exact(at(on, t)) for t in self.times]

    def closes(self, interval: DataInterval) -> DateTime:
        midnight = at(local_day(interval.start) + timedelta(days=1), "00:00")
        last = interval.start.add(days=self.lookback)
        following = self.following(interval.start)
        return max(midnight, min(last, following.start) if following is not None else last)


class At(Moments, OnDays):
    """At one or more times of the given days: ``At("04:25", "04:55", days="tue-sat")``, ``At("05:00")`` for daily."""

    def __init__(self, *times: str, days: str = "mon-sun", holidays: bool = True) -> None:
        Moments.__init__(self, *times)
        OnDays.__init__(self, days, holidays)
        self.description = f"{self._words()} {', '.join(self.times)}"

    def serialize(self) -> dict[str, Any]:
        return {"times": list(self.times), "days": self.days, "holidays": self.holidays}


class MonthDays(Moments):
    """At one or more times of the given days of the month: ``MonthDays("03:00", days=(1, 15))``."""

    def __init__(self, *times: str, days: tuple[int, ...]) -> None:
        super().__init__(*times)
        self.days = tuple(sorted(days))
        if not self.days or self.days[0] < 1 or self.days[-1] > 28:
            raise AirflowTimetableInvalid(f"days={days!r}: write days that every month has, 1 to 28")
        self.description = f"{' and '.join(map(_ordinal, self.days))} of the month {', '.join(self.times)}"

    def runs_on(self, on: date) -> bool:
        return on.day in self.days

    def serialize(self) -> dict[str, Any]:
        return {"times": list(self.times), "days": list(self.days)}


class UntilTheNext(Schedule):
    """A moment that opens a window until the next one: the run waits inside, deferred, for what may come any day."""

    lookback = 40

    def __init__(self, clock: str) -> None:
        self.clock = clock_time(clock)

    def runs(self, on: date) -> list[DataInterval]:
        days = (on + timedelta(days=n) for n in range(1, HORIZON))
        return [DataInterval(at(on, self.clock), at(next(filter(self.runs_on, days)), self.clock))]

    def closes(self, interval: DataInterval) -> DateTime:
        return interval.end


class FirstWeekday(UntilTheNext):
    """From the first weekday of the month that is no public holiday until the next month's."""

    def __init__(self, clock: str) -> None:
        super().__init__(clock)
        self.description = f"first weekday of the month {clock}, until the next"

    def runs_on(self, on: date) -> bool:
        return is_weekday(on) and not any(is_weekday(on.replace(day=d)) for d in range(1, on.day))

    def serialize(self) -> dict[str, Any]:
        return {"clock": self.clock}


class WeekdayOrNext(UntilTheNext):
    """From a day of the week, or the next weekday when that is a public holiday, until the next week's."""

    def __init__(self, clock: str, *, day: str) -> None:
        super().__init__(clock)
        self.day = day
        (self._day,) = weekdays(day)
        self.description = f"{day.title()} (when a holiday, the next weekday) {clock}, until the next"

    def runs_on(self, on: date) -> bool:
        meant = on - timedelta(days=(on.weekday() - self._day) % 7)
        days = (meant + timedelta(days=n) for n in range(7))
        return next(filter(is_weekday, days), meant) == on

    def serialize(self) -> dict[str, Any]:
        return {"clock": self.clock, "day": self.day}


class Every(Schedule):
    """Every so many minutes of UTC's clock, so that the doubled hour has its moments twice and the skipped one none.

    A missed look is not made up: the next one sees what it would have seen.
    """

    often = True

    def __init__(self, minutes: int) -> None:
        if minutes < 1 or 60 % minutes:
            raise AirflowTimetableInvalid(f"minutes={minutes!r}: write a number that divides 60")
        self.minutes = minutes
        self.description = f"every {minutes} minutes"

    def runs_on(self, on: date) -> bool:
        return True

    def runs(self, on: date) -> list[DataInterval]:
        start, end = at(on, "00:00"), at(on + timedelta(days=1), "00:00")
        n = int((end - start).total_seconds()) // (60 * self.minutes)
        return [DataInterval.exact(start.add(minutes=self.minutes * i)) for i in range(n)]

    def closes(self, interval: DataInterval) -> DateTime:
        return interval.start.add(minutes=self.minutes)

    def serialize(self) -> dict[str, Any]:
        return {"minutes": self.minutes}


TIMETABLES: list[type[Schedule]] = [At, Every, FirstWeekday, MonthDays, WeekdayOrNext, Window]


def weekdays(days: str) -> frozenset[int]:
    """``mon-sat`` or ``mon,wed`` as day numbers, Monday is 0."""
    numbers: set[int] = set()
    for part in days.split(","):
        first, _, last = part.strip().partition("-")
        if first not in WEEK or (last and last not in WEEK):
            raise AirflowTimetableInvalid(f"days={days!r}: write days as mon-sat or mon,wed")
        numbers.update(range(WEEK.index(first), WEEK.index(last or first) + 1))
    return frozenset(numbers)


def clock_time(text: str) -> str:
    """The time as it was written.

    Raises:
        AirflowTimetableInvalid: it isn't written as 07:30.
    """
    try:
        if f"{time.fromisoformat(text):%H:%M}" == text:
            return text
    except ValueError:
        pass
    raise AirflowTimetableInvalid(f"{text!r}: write a time as 07:30") from None


def _ordinal(n: int) -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
