"""The demo at two million persons: what it measures, and what it calls too much."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from uuid import uuid4

import pytest
from rich.console import Console

from dags.kir_weekly import dag
from sandbox.full import BUDGET, COLLECT, MEMORY, PERSONS, STRETCH, WHOLE, Took, Watch, _wrong, table


def took(**different: object) -> list[Took]:
    made = []
    for task in (COLLECT, *BUDGET):
        values = {"task": task, "state": "success", "seconds": 9.0, "cpu": 5.0, "peak": 300.0, "records": 7}
        values |= different if task == "kir.file.merge" else {}
        made.append(Took(**values, budget=BUDGET.get(task)))  # type: ignore[arg-type]
    return made


def test_the_budget_is_of_tasks_that_the_dag_has_and_fits_the_stretch() -> None:
    there = {task.task_id for task in dag.tasks}
    assert {COLLECT, *BUDGET} == there - {"all_loaded"}
    assert sum(BUDGET.values()) <= STRETCH < WHOLE


@pytest.mark.parametrize(
    ("different", "whole", "complaint"),
    [
        ({"peak": MEMORY + 1.0}, 100.0, f"kir.file.merge: {MEMORY + 1} MB, the limit is {MEMORY}"),
        ({"peak": 0.0}, 100.0, "kir.file.merge: its memory was not seen"),
        ({"state": "failed"}, 100.0, "kir.file.merge: failed"),
        ({}, WHOLE + 1.0, f"{WHOLE + 1} s from the durable payload to the delivered file, the limit is {WHOLE}"),
        ({}, None, "nothing was delivered"),
    ],
)
def test_a_limit_that_is_broken_is_told(different: dict[str, object], whole: float | None, complaint: str) -> None:
    assert _wrong(took(**different), whole) == [complaint]


def test_a_task_over_its_budget_is_shown_and_breaks_no_limit() -> None:
    slow = took(seconds=BUDGET["kir.file.merge"] + 1.0)
    assert _wrong(slow, float(WHOLE)) == []
    console = Console(width=120, force_terminal=True, color_system="standard")
    with console.capture() as said:
        console.print(table(slow, float(WHOLE), PERSONS))
    assert f"\x1b[33m{BUDGET['kir.file.merge'] + 1:.1f}" in said.get()


def test_the_highest_memory_of_a_tasks_process_is_seen_when_it_has_given_it_back() -> None:
    task = str(uuid4())
    program = (
        "import setproctitle, time; b = bytearray(b'x') * (120 << 20); del b;"
        f" setproctitle.setproctitle('airflow worker -- {task}'); print(flush=True); time.sleep(60)"
    )
    with (
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process,
        Watch(os.getpid()) as watch,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        until = time.monotonic() + 30
        while task not in watch.of and time.monotonic() < until:
            time.sleep(0.1)
        process.kill()
    cpu, peak = watch.of[task]
    assert cpu > 0
    assert 120 < peak < 200
