"""`slussen schedule`: the runs of a time from the DAG files alone, for people and for machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, datetime, timedelta

import pytest

from slussen.catalogue import only, planned, rows
from slussen.errors import CallError

ROWS = rows()


def schedule(*arguments: str) -> subprocess.CompletedProcess[str]:
    # No database of anybody's, and schedules switched off: what is planned is planned all the same.
    environment = os.environ | {"SLUSSEN_DATABASE": "host=/nowhere", "SLUSSEN_SCHEDULES": "off"}
    cli = [sys.executable, "-m", "slussen.cli", "schedule", *arguments]
    return subprocess.run(cli, capture_output=True, text=True, env=environment, check=False)


def test_json_has_each_run_with_stockholms_offset_and_the_last_day_is_not_in_it() -> None:
    found = json.loads(schedule("f30", "--from", "2026-03-28", "--to", "2026-03-31", "--json").stdout)
    assert found == [
        {
            "key": "f30", "dag_id": "agresso_kund_nightly", "start": "2026-03-28T20:00:00+01:00",
            "end": "2026-03-29T07:30:00+02:00", "run_after": "2026-03-28T20:00:00+01:00",
        },
        {
            "key": "f30", "dag_id": "agresso_kund_nightly", "start": "2026-03-30T20:00:00+02:00",
            "end": "2026-03-31T07:30:00+02:00", "run_after": "2026-03-30T20:00:00+02:00",
        },
    ]  # fmt: skip


def test_the_table_is_by_day_with_what_runs_all_day_on_one_line() -> None:
    shown = schedule("--from", "2026-03-03", "--to", "2026-03-04").stdout
    assert "Tue 2026-03-03" in shown
    assert "2026-03-04" not in shown
    assert shown.count("every 15 minutes") == 2
    assert "f102, f103, f104" in shown
    assert "by hand: novaschema" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["f3"], "did you mean f30"),
        (["--from", "2026-3-1"], "write it as 2026-03-27"),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "lies before"),
    ],
)
def test_a_wrong_call_says_what_is_right(arguments: list[str], said: str) -> None:
    found = schedule(*arguments)
    assert found.returncode == 2
    assert said in found.stderr.replace("\n", " ")


def test_a_moment_has_no_length_and_a_run_starts_with_its_interval() -> None:
    for run in planned(ROWS, date(2026, 3, 2), date(2026, 3, 9)):
        assert run.run_after == run.start <= run.end
        if run.row.key in ("f102", "h45", "kir", "lis", "skv", "infodata"):
            assert run.start == run.end


def test_every_day_of_a_year_is_the_sum_of_its_days() -> None:
    some = [row for row in ROWS if not row.key.startswith("infodata")]
    start, end = date(2028, 1, 1), date(2029, 1, 1)
    days = [start + timedelta(days=n) for n in range((end - start).days)]
    each = [run for day in days for run in planned(some, day, day + timedelta(days=1))]
    key = lambda run: (run.start, run.row.key)  # noqa: E731 (an order, used twice)
    assert sorted(map(key, each)) == sorted(map(key, planned(some, start, end)))
    assert all(isinstance(run.start, datetime) and run.start.utcoffset() == timedelta(0) for run in each)


def test_the_28_rows_of_the_catalogue_are_there() -> None:
    assert len(ROWS) == 28
    assert only(ROWS, "f30").schedule == "Mon–Sat 20:00–07:30"
    with pytest.raises(CallError, match="there is no integration"):
        only(ROWS, "nothing")
