"""The four times of an integration against its interval, across both clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from slussen.catalogue import rows
from slussen.errors import CallError
from slussen.integration import Times
from slussen.lateness import eta, resolve
from tests.answering import F30, TWICE, at

STOCKHOLM = ZoneInfo("Europe/Stockholm")
NIGHT = Times(expected="20:30", amber="06:00", red="07:00", cutoff="07:30")


def stockholm(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=STOCKHOLM)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        (stockholm(2026, 1, 12, 20), (0.5, 10, 11, 11.5)),
        (stockholm(2026, 3, 28, 20), (0.5, 9, 10, 10.5)),  # the night that is an hour short
        (stockholm(2026, 10, 24, 20), (0.5, 11, 12, 12.5)),
    ],
)
def test_a_nights_times_are_the_clocks(start: datetime, hours: tuple[float, ...]) -> None:
    due = resolve(NIGHT, start)
    found = [due.expected, due.amber, due.red, due.cutoff]
    assert [(m - start.astimezone(UTC)).total_seconds() / 3600 for m in found] == list(hours)


def test_a_time_is_the_first_at_or_after_the_start_or_days_after_that_one() -> None:
    due = resolve(
        Times(expected="09:00", amber="08:59", red="+1d 08:59", cutoff="+9d 09:00"), stockholm(2026, 2, 27, 9)
    )
    assert [m.astimezone(STOCKHOLM) for m in (due.expected, due.amber, due.red, due.cutoff)] == [
        stockholm(2026, 2, 27, 9),
        stockholm(2026, 2, 28, 8, 59),
        stockholm(2026, 3, 1, 8, 59),
        stockholm(2026, 3, 8, 9),
    ]


def test_times_in_the_skipped_and_in_the_doubled_hour() -> None:
    times = Times(expected="02:30", amber="02:30", red="04:00", cutoff="04:00")
    assert resolve(times, stockholm(2026, 3, 29, 0)).expected == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert resolve(times, stockholm(2026, 10, 25, 0)).expected == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # 02:45, the first one: its 02:30 has passed
    times = Times(expected="02:30", amber="02:30", red="02:30", cutoff="02:30")
    assert resolve(times, between).expected == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_how_late_it_is() -> None:
    due = resolve(NIGHT, stockholm(2026, 1, 12, 20))
    seen = [(due.colour(at), due.passed(at)) for at in (
        stockholm(2026, 1, 12, 20), stockholm(2026, 1, 12, 20, 30), stockholm(2026, 1, 13, 6),
        stockholm(2026, 1, 13, 7), stockholm(2026, 1, 13, 7, 30),
    )]  # fmt: skip
    assert seen == [("green", ""), ("green", "expected"), ("amber", "amber"), ("red", "red"), ("red", "cutoff")]


def test_the_eta_is_the_median_of_the_last_ones() -> None:
    start = stockholm(2026, 1, 12, 20)
    assert eta(start, [timedelta(minutes=m) for m in (3, 90, 5)]) == start + timedelta(minutes=5)
    assert eta(start, []) is None


@pytest.mark.parametrize("wrong", ["7:30", "25:00", "07:30 +1d", "+1 07:30", ""])
def test_a_time_written_wrongly_says_how_to_write_it(wrong: str) -> None:
    with pytest.raises(CallError, match="06:30"):
        resolve(Times(expected=wrong, amber="08:00", red="09:00", cutoff="10:00"), stockholm(2026, 1, 12, 5))


def test_what_a_second_run_of_a_morning_has_passed_is_its_start() -> None:
    times = Times(expected="04:25", amber="05:15", red="06:00", cutoff="07:30")
    second = stockholm(2026, 1, 13, 4, 55)
    due = resolve(times, second)
    assert (due.expected, due.amber) == (second, stockholm(2026, 1, 13, 5, 15))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.key)
def test_every_rows_times_are_in_order_and_none_is_long_after_its_interval(row: object) -> None:
    from slussen.catalogue import Row
    from slussen.timetables import Every, day

    assert isinstance(row, Row)
    if row.timetable is None or row.integration.times is None:
        pytest.skip("started by hand, or without times of its own")
    days = 7 if isinstance(row.timetable, Every) else 366
    for interval in row.timetable.between(day(2026, 3, 1), day(2026, 3, 1).add(days=days)):
        due = resolve(row.integration.times, interval.start)
        assert interval.start <= due.expected <= due.amber <= due.red <= due.cutoff
        assert due.cutoff < row.timetable.closes(interval).add(days=2)


def test_a_held_file_may_wait_until_the_cut_off_of_its_row() -> None:
    from slussen.operators.base import Run
    from slussen.operators.gate import PATIENCE, time_left

    def left(start: str, now: str, end: str = "") -> timedelta:
        return time_left(F30.integration, Run("r", at(start), at(end or start), at(now)))

    assert left("12 20:00", "13 03:10") == timedelta(hours=4, minutes=20)
    assert left("12 20:00", "12 20:05", "13 07:30") == timedelta(hours=11, minutes=25), "its window ends with it"
    assert left("12 20:00", "13 09:00") == PATIENCE, "by hand, after it"
    assert time_left(TWICE.integration, Run("r", at("12 09:00"), at("12 15:00"), at("12 09:10"))) == timedelta(
        hours=5, minutes=50
    ), "a row without times has its window"
    assert time_left(TWICE.integration, Run("r", None, None, at("12 09:10"))) == PATIENCE
