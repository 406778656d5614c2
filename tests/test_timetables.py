"""Timetables against an oracle that shares nothing with them: the EU's clock rule, Easter's algorithm, hour by hour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.base import DataInterval, TimeRestriction

from slussen import clock
from slussen.timetables import (
    TIMETABLES,
    At,
    Every,
    FirstWeekday,
    MonthDays,
    Schedule,
    WeekdayOrNext,
    Window,
    day,
    holiday_names,
)

STOCKHOLM = ZoneInfo("Europe/Stockholm")
YEARS = range(2020, 2041)
NIGHT = Window("20:00", "07:30", days="mon-sat")
NINE = At("09:00", days="mon-fri", holidays=False)
TWICE = At("04:25", "04:55", days="tue-sat")
MONDAY = At("05:00", days="mon")
MONTH = FirstWeekday("09:00")
WEEK = WeekdayOrNext("09:00", day="mon")
QUARTER = Every(15)


# --- the oracle


def easter(year: int) -> date:
    """Easter Sunday (Gauss, as Meeus gives it)."""
    a, b, c = year % 19, *divmod(year, 100)
    d, e, f = *divmod(b, 4), (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, dom = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, dom + 1)


@cache
def red_days(year: int) -> frozenset[date]:
    """Lag (1989:253) om allmänna helgdagar."""
    sunday = easter(year)
    midsummer = next(d for n in range(20, 27) if (d := date(year, 6, n)).weekday() == 5)
    saints = next(d for n in range(7) if (d := date(year, 10, 31) + timedelta(n)).weekday() == 5)
    fixed = [date(year, *d) for d in ((1, 1), (1, 6), (5, 1), (6, 6), (12, 25), (12, 26))]
    return frozenset({*fixed, midsummer, saints, *(sunday + timedelta(n) for n in (-2, 0, 1, 39, 49))})


def is_weekday(on: date) -> bool:
    return on.weekday() < 5 and on not in red_days(on.year)


def last_sunday(year: int, month: int) -> date:
    return next(d for n in range(31, 24, -1) if (d := date(year, month, n)).weekday() == 6)


@cache
def hours(first: int = YEARS[0], last: int = YEARS[-1]) -> list[tuple[datetime, datetime]]:
    """Every hour of these years: UTC, and what the clock in Stockholm shows (directive 2000/84/EC)."""
    moment, found = datetime(first - 1, 12, 31, 23, tzinfo=UTC), []
    while moment < datetime(last, 12, 31, 23, tzinfo=UTC):
        y = moment.year
        summer = (datetime(y, 3, last_sunday(y, 3).day, 1, tzinfo=UTC) if moment.month == 3 else None,
                  datetime(y, 10, last_sunday(y, 10).day, 1, tzinfo=UTC) if moment.month == 10 else None)  # fmt: skip
        ahead = 2 if 3 < moment.month < 10 else 1
        if summer[0] is not None and moment >= summer[0]:
            ahead = 2
        if summer[1] is not None and moment < summer[1]:
            ahead = 2
        found.append((moment, moment.replace(tzinfo=None) + timedelta(hours=ahead)))
        moment += timedelta(hours=1)
    return found


def moments(runs_on: Callable[[date], bool], *times: tuple[int, int]) -> list[datetime]:
    """The moments at which the clock in Stockholm shows one of these times on one of these days."""
    return [
        utc + timedelta(minutes=minute)
        for utc, wall in hours()
        for hour, minute in times
        if wall.hour == hour and runs_on(wall.date())
    ]


def first_weekday(on: date) -> bool:
    return next(d for n in range(1, 20) if is_weekday(d := on.replace(day=n))) == on


def monday_or_next(on: date) -> bool:
    return is_weekday(on) and not any(is_weekday(on - timedelta(n)) for n in range(1, on.weekday() + 1))


def in_week(*days: int) -> Callable[[date], bool]:
    return lambda on: on.weekday() in days


# Every timetable of the catalogue: (the timetable, on which days by the oracle, at which times, its interval's end)
CATALOGUE: dict[str, tuple[Schedule, Callable[[date], bool], tuple[tuple[int, int], ...], str]] = {
    "f29 f30": (NIGHT, in_week(0, 1, 2, 3, 4, 5), ((20, 0),), "07:30"),
    "f102 f103 f104": (TWICE, in_week(1, 2, 3, 4, 5), ((4, 25), (4, 55)), ""),
    "skv statistics csn_inack csn_report": (NINE, is_weekday, ((9, 0),), ""),
    "h45": (At("19:00", days="mon-fri", holidays=False), is_weekday, ((19, 0),), ""),
    "kir": (MONDAY, in_week(0), ((5, 0),), ""),
    "ergo": (At("06:00", days="mon,wed"), in_week(0, 2), ((6, 0),), ""),
    "a02": (At("06:30"), lambda on: True, ((6, 30),), ""),
    "volvo": (At("05:30"), lambda on: True, ((5, 30),), ""),
    "fronter": (At("05:00"), lambda on: True, ((5, 0),), ""),
    "lis": (MonthDays("03:00", days=(1, 15)), lambda on: on.day in (1, 15), ((3, 0),), ""),
    "profdoc_bosko": (MonthDays("03:30", days=(1, 15)), lambda on: on.day in (1, 15), ((3, 30),), ""),
    "profdoc_hanna": (MonthDays("04:00", days=(1, 15)), lambda on: on.day in (1, 15), ((4, 0),), ""),
    "usk": (MonthDays("04:30", days=(1,)), lambda on: on.day == 1, ((4, 30),), ""),
    "csn_month": (MONTH, first_weekday, ((9, 0),), "next"),
    "csn_komvux": (WEEK, monday_or_next, ((9, 0),), "next"),
}
ALL = [schedule for schedule, *_ in CATALOGUE.values()] + [QUARTER]


@pytest.mark.parametrize("key", CATALOGUE)
def test_21_years_agree_with_the_oracle(key: str) -> None:
    schedule, runs_on, times, ends = CATALOGUE[key]
    expected = moments(runs_on, *times)
    found = list(schedule.between(day(YEARS[0], 1, 1), day(YEARS[-1] + 1, 1, 1)))
    assert [i.start for i in found] == expected
    if not ends:
        assert all(i.start == i.end for i in found)
    elif ends == "next":
        assert [i.end for i in found[:-1]] == expected[1:]
    else:
        closings = iter(moments(in_week(1, 2, 3, 4, 5, 6), (7, 30)))
        inside = [end for end in closings if end > expected[0]]
        assert [i.end for i in found[: len(inside)]] == inside


def test_the_oracle_is_asked_of_more_than_30000_dates_and_knows_the_leap_days() -> None:
    days = {wall.date() for _, wall in hours()}
    assert len(days) * len(CATALOGUE) > 30_000
    assert date(2040, 2, 29) in days
    assert date(2039, 2, 28) + timedelta(1) == date(2039, 3, 1)


@pytest.mark.parametrize("year", YEARS)
def test_the_holidays_are_those_of_the_law(year: int) -> None:
    assert set(holiday_names(year)) == red_days(year)


def test_every_quarter_of_an_hour_once_through_both_clock_changes() -> None:
    for year in YEARS:
        for month, length in ((3, 23), (10, 25)):
            sunday = last_sunday(year, month)
            start = day(year, month, sunday.day)
            found = [i.start for i in QUARTER.between(start, start.add(days=1))]
            assert len(found) == length * 4
            assert {(b - a).total_seconds() for a, b in pairwise(found)} == {900}
            names = {f"{m.astimezone(UTC):%Y%m%dT%H%M%SZ}" for m in found}
            assert len(names) == len(found), "no name collides in the doubled hour"
            walls = [m.astimezone(STOCKHOLM) for m in found]
            assert sum(w.hour == 2 for w in walls) == (0 if month == 3 else 8)


# --- catching up


def plays(
    schedule: Schedule, wakes: Iterator[datetime], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[datetime, DataInterval]]:
    """What a scheduler starts that is awake at these moments, and when."""
    last, started = None, []
    for now in wakes:
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        while True:
            info = schedule.next_dagrun_info(
                last_automated_data_interval=last,
                restriction=TimeRestriction(day(2026, 1, 1), None, catchup=False),
            )
            assert info is not None
            if info.run_after > now:
                break
            last = info.data_interval
            started.append((now, last))
    return started


def stockholm(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=STOCKHOLM)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("schedule", "up_again", "made_up"),
    [
        # Down from Monday 12 January 2026 at 21:00, that is after Monday's window was started.
        (NIGHT, stockholm(2026, 1, 15, 12, 0), []),  # two windows are over, none is sent late
        (NIGHT, stockholm(2026, 1, 15, 22, 0), [stockholm(2026, 1, 15, 20, 0)]),  # Thursday's is open
        (NIGHT, stockholm(2026, 1, 16, 7, 29), [stockholm(2026, 1, 15, 20, 0)]),  # still
        (NIGHT, stockholm(2026, 1, 16, 7, 30), []),  # over
        (TWICE, stockholm(2026, 1, 15, 6, 0), [stockholm(2026, 1, 15, 4, 25), stockholm(2026, 1, 15, 4, 55)]),
        (TWICE, stockholm(2026, 1, 15, 23, 59), [stockholm(2026, 1, 15, 4, 25), stockholm(2026, 1, 15, 4, 55)]),
        (TWICE, stockholm(2026, 1, 15, 0, 0), [stockholm(2026, 1, 14, 4, 55)]),  # until the next one comes
        (TWICE, stockholm(2026, 1, 15, 4, 25), [stockholm(2026, 1, 15, 4, 25)]),
        (NINE, stockholm(2026, 1, 14, 11, 0), [stockholm(2026, 1, 14, 9, 0)]),
        (QUARTER, stockholm(2026, 1, 13, 3, 7), [stockholm(2026, 1, 13, 3, 0)]),  # one look sees it all
        (MONTH, stockholm(2026, 2, 10, 8, 0), [stockholm(2026, 2, 2, 9, 0)]),  # the month is open until 2 March
        (
            WEEK,
            stockholm(2026, 1, 28, 8, 0),
            [stockholm(2026, 1, 26, 9, 0)],
        ),  # the last week's is open
    ],
)
def test_an_outage_of_several_windows_is_made_up_as_far_as_it_makes_sense(
    schedule: Schedule, up_again: datetime, made_up: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    down = stockholm(2026, 1, 12, 21, 0)
    started = plays(schedule, iter([down, up_again]), monkeypatch)
    assert [i.start for now, i in started if now == up_again] == made_up


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: schedule.description)
def test_whatever_the_outages_nothing_runs_twice_or_too_late_and_what_was_open_runs(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    chance = random.Random(7)
    wakes, now = [], datetime(2026, 3, 1, 0, 3, tzinfo=UTC)
    while now < datetime(2026, 4, 20, tzinfo=UTC):
        wakes.append(now)
        now += timedelta(minutes=chance.choice((10, 30, 60, 600, 3000)))
    started = plays(schedule, iter(wakes), monkeypatch)
    ran = {i.start for _, i in started}
    assert len(ran) == len(started)
    assert all(i.start <= now < schedule.closes(i) for now, i in started)
    for interval in schedule.between(wakes[0], wakes[-1]):
        awake = any(interval.start <= w < schedule.closes(interval) for w in wakes)
        assert (interval.start in ran) == awake


def test_catchup_makes_up_windows_that_are_over() -> None:
    info = NIGHT.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(day(2026, 1, 1), None, catchup=True)
    )
    assert info is not None
    assert info.data_interval is not None
    assert info.data_interval.start == stockholm(2026, 1, 1, 20, 0)
    assert info.run_after == info.data_interval.start, "a run waits inside its window"


def test_without_a_start_date_or_with_schedules_off_nothing_is_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    restriction = TimeRestriction(None, None, catchup=True)
    assert NIGHT.next_dagrun_info(last_automated_data_interval=None, restriction=restriction) is None
    monkeypatch.setenv("SLUSSEN_SCHEDULES", "off")
    restriction = TimeRestriction(day(2026, 1, 1), None, catchup=True)
    assert NIGHT.next_dagrun_info(last_automated_data_interval=None, restriction=restriction) is None


def test_nothing_is_scheduled_after_the_dags_end() -> None:
    restriction = TimeRestriction(day(2026, 1, 1), day(2026, 1, 2), catchup=True)
    last = next(NIGHT.between(day(2026, 1, 1), day(2026, 2, 1)))
    assert NIGHT.next_dagrun_info(last_automated_data_interval=last, restriction=restriction) is None


# --- by hand, in the database, in words


@pytest.mark.parametrize(
    ("schedule", "by_hand", "stands_for"),
    [
        (NIGHT, stockholm(2026, 1, 13, 2, 0), stockholm(2026, 1, 12, 20, 0)),
        (NIGHT, stockholm(2026, 1, 12, 12, 0), stockholm(2026, 1, 10, 20, 0)),
        (NINE, stockholm(2026, 1, 6, 12, 0), stockholm(2026, 1, 5, 9, 0)),
        (QUARTER, datetime(2026, 10, 25, 1, 20, tzinfo=UTC), datetime(2026, 10, 25, 1, 15, tzinfo=UTC)),
        (MONTH, stockholm(2026, 1, 1, 12, 0), stockholm(2025, 12, 1, 9, 0)),
        (MONTH, stockholm(2026, 1, 31, 12, 0), stockholm(2026, 1, 2, 9, 0)),
    ],
)
def test_a_run_by_hand_stands_for_the_latest_that_has_begun(
    schedule: Schedule, by_hand: datetime, stands_for: datetime
) -> None:
    assert schedule.infer_manual_data_interval(run_after=pendulum.instance(by_hand)).start == stands_for


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: schedule.description)
def test_a_timetable_survives_the_database(schedule: Schedule) -> None:
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    again = decode_timetable(encode_timetable(schedule))
    assert type(again) is type(schedule)
    assert again.serialize() == schedule.serialize()
    assert again.summary == schedule.summary
    assert type(schedule) in TIMETABLES


def test_each_says_itself_in_words() -> None:
    assert [s.summary for s in ALL] == [
        "Mon–Sat 20:00–07:30",
        "Tue–Sat 04:25, 04:55",
        "weekdays 09:00",
        "weekdays 19:00",
        "Mon 05:00",
        "Mon and Wed 06:00",
        "daily 06:30",
        "daily 05:30",
        "daily 05:00",
        "1st and 15th of the month 03:00",
        "1st and 15th of the month 03:30",
        "1st and 15th of the month 04:00",
        "1st of the month 04:30",
        "first weekday of the month 09:00, until the next",
        "Mon (when a holiday, the next weekday) 09:00, until the next",
        "every 15 minutes",
    ]


def test_a_day_says_why_it_has_no_run() -> None:
    assert NINE.why_not(date(2026, 1, 6)) == "Tuesday, Epiphany"
    assert NIGHT.why_not(date(2026, 1, 4)) == "Sunday"


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (lambda: Window("20:00", "07:30", days="monday"), "mon-sat"),
        (lambda: At("9:00"), "07:30"),
        (lambda: At("25:00"), "07:30"),
        (lambda: MonthDays("03:00", days=(31,)), "1 to 28"),
        (lambda: Every(7), "divides 60"),
    ],
)
def test_a_timetable_written_wrongly_says_how_to_write_it(wrong: Callable[[], Schedule], advice: str) -> None:
    with pytest.raises(AirflowTimetableInvalid, match=advice):
        wrong()


def test_a_time_in_the_doubled_hour_is_the_first_and_one_in_the_skipped_hour_an_hour_later() -> None:
    half_past_two = At("02:30")
    autumn, spring = date(2026, 10, 25), date(2026, 3, 29)
    assert half_past_two.runs(autumn)[0].start == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert half_past_two.runs(spring)[0].start == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
