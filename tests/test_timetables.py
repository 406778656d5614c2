"""Schedules in Stockholm time, against dates written out by hand and an oracle that steps minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.base import DataInterval, TimeRestriction

from slussen.timetables import At, Schedule, Window, day, public_holidays

NIGHT = Window("20:00", "07:30", days="mon-sat")
NINE = At("09:00", days="mon-fri", holidays=False)
MONDAY = At("05:00", days="mon")
STOCKHOLM = ZoneInfo("Europe/Stockholm")


def following(schedule: Schedule, start: pendulum.DateTime, n: int) -> list[DataInterval]:
    """The next n intervals as the scheduler asks for them, one after the other."""
    last, found = None, []
    for _ in range(n):
        info = schedule.next_dagrun_info(
            last_automated_data_interval=last, restriction=TimeRestriction(start, None, catchup=True)
        )
        assert info is not None
        assert info.data_interval is not None
        assert info.run_after == info.data_interval.start, "a run waits inside its window"
        last = info.data_interval
        found.append(last)
    return found


def hours(interval: DataInterval) -> float:
    return (interval.end - interval.start).total_seconds() / 3600


def test_a_night_is_one_interval_that_knows_both_clock_changes() -> None:
    assert [hours(i) for i in following(NIGHT, day(2026, 3, 27), 3)] == [11.5, 10.5, 11.5]
    assert [hours(i) for i in following(NIGHT, day(2026, 10, 23), 3)] == [11.5, 12.5, 11.5]


def test_no_night_begins_on_a_sunday() -> None:
    starts = [i.start.astimezone(STOCKHOLM) for i in following(NIGHT, day(2026, 1, 1), 60)]
    assert {s.weekday() for s in starts} == {0, 1, 2, 3, 4, 5}
    assert {(s.hour, s.minute) for s in starts} == {(20, 0)}


def test_a_moment_has_no_length_and_skips_public_holidays_where_it_says_so() -> None:
    found = following(NINE, day(2026, 4, 30), 3)
    assert [i.start.astimezone(STOCKHOLM).date() for i in found] == [
        date(2026, 4, 30),
        date(2026, 5, 4),
        date(2026, 5, 5),
    ]
    assert all(i.start == i.end for i in found)


def test_kir_runs_on_easter_monday_too() -> None:
    assert following(MONDAY, day(2026, 4, 6), 1)[0].start.astimezone(STOCKHOLM) == datetime(
        2026, 4, 6, 5, tzinfo=STOCKHOLM
    )


def test_eves_and_sundays_are_no_public_holidays() -> None:
    assert date(2026, 12, 24) not in public_holidays(2026)
    assert date(2026, 6, 19) not in public_holidays(2026)
    assert date(2026, 6, 20) in public_holidays(2026)
    assert date(2026, 1, 4) not in public_holidays(2026)


@pytest.mark.parametrize("schedule", [NIGHT, NINE, MONDAY], ids=str)
def test_six_years_agree_with_an_oracle_that_walks_the_clock(schedule: Schedule) -> None:
    opens = {NIGHT: (20, 0), NINE: (9, 0), MONDAY: (5, 0)}[schedule]
    days = {NIGHT: range(6), NINE: range(5), MONDAY: range(1)}[schedule]
    moment, expected = datetime(2024, 12, 31, 23, tzinfo=UTC), []
    while moment < datetime(2030, 12, 31, 23, tzinfo=UTC):
        local = moment.astimezone(STOCKHOLM)
        closed = not schedule.holidays and local.date() in public_holidays(local.year)
        if (local.hour, local.minute) == opens and local.weekday() in days and not closed:
            expected.append(moment)
        moment += timedelta(minutes=30)
    start, end = pendulum.datetime(2025, 1, 1, tz=STOCKHOLM.key), pendulum.datetime(2031, 1, 1, tz=STOCKHOLM.key)
    assert [i.start for i in schedule.between(start, end)] == expected


def test_without_catchup_a_window_that_is_over_is_not_made_up() -> None:
    info = NIGHT.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(day(2026, 1, 1), None, catchup=False)
    )
    assert info is not None
    assert info.data_interval is not None
    assert info.data_interval.end > pendulum.now("UTC")


def test_without_a_start_date_or_with_schedules_off_nothing_is_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    restriction = TimeRestriction(None, None, catchup=True)
    assert NIGHT.next_dagrun_info(last_automated_data_interval=None, restriction=restriction) is None
    monkeypatch.setenv("SLUSSEN_SCHEDULES", "off")
    restriction = TimeRestriction(day(2026, 1, 1), None, catchup=True)
    assert NIGHT.next_dagrun_info(last_automated_data_interval=None, restriction=restriction) is None


def test_a_run_by_hand_stands_for_the_window_that_has_begun() -> None:
    interval = NIGHT.infer_manual_data_interval(run_after=pendulum.datetime(2026, 1, 13, 2, tz=STOCKHOLM.key))
    assert interval.start.astimezone(STOCKHOLM) == datetime(2026, 1, 12, 20, tzinfo=STOCKHOLM)


@pytest.mark.parametrize("schedule", [NIGHT, NINE, MONDAY], ids=str)
def test_a_timetable_survives_the_database(schedule: Schedule) -> None:
    again = type(schedule).deserialize(schedule.serialize())
    assert again.serialize() == schedule.serialize()
    assert again.summary == schedule.summary


def test_words_and_wrong_days() -> None:
    assert [s.summary for s in (NIGHT, NINE, MONDAY)] == ["Mon–Sat 20:00–07:30", "weekdays 09:00", "Mon 05:00"]
    with pytest.raises(AirflowTimetableInvalid, match="mon-sat"):
        Window("20:00", "07:30", days="monday")
