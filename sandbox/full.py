"""``make demo SCALE=full``: kir and kir_mvs at two million persons through the real scheduler, against their budget.

Each begins from nothing, in a state folder of its own: BoSko knows the canaries and nobody else, so the file is its
first load of all, every person an insert. That leaves the gates nothing to hold for: there is no earlier file whose
volume this one differs from, and nobody's flag to be lost. The file comes in the mail, as each week's does.

A task's seconds are Airflow's own, from its start to its end, so that the start of its process is in them; its memory
is the highest that its process has had (``VmHWM``), with what it shares with others. On a busy machine its seconds are
more than its work: so its CPU seconds stand beside them (without PostgreSQL's), and the load below.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

import psutil
from rich.console import Console
from rich.table import Table

from sandbox import multitude, processes
from sandbox.player import Player
from sandbox.scenario import Run, moment
from sandbox.stack import SEED, Stack
from slussen.ledger import Event
from slussen.records import layout as layouts

PERSONS, MONDAY = 2_000_000, date(2026, 1, 12)
# What each task may take at two million persons, in seconds; 180 in all, of the 240 that there are.
BUDGET = {
    "kir.file.stage": 30, "kir.file.gate": 20, "kir.file.merge": 60,
    "kir_mvs.extract": 25, "kir_mvs.gate": 15, "kir_mvs.render": 12, "kir_mvs.deliver": 18,
}  # fmt: skip
WHOLE, STRETCH = 240, 180  # seconds, from the durable payload to the delivered file
MEMORY = 600  # MB, each task
COLLECT = "kir.collect"
DAG, RUN = "kir_weekly", f"{MONDAY}"
LONGEST = 1800  # seconds for the whole run: on a busy machine it shall end too, and say by how much it was too slow
TITLE = "airflow worker -- "  # of the process of a task; the task instance's id follows


@dataclass(frozen=True)
class Took:
    """What a task took: seconds from start to end, its process's CPU seconds and highest memory in MB; its records."""

    task: str
    state: str
    seconds: float
    cpu: float
    peak: float
    records: int
    budget: float | None


class Watch:
    """What each task's process below this one has used, by task instance, while it is open: CPU seconds, highest MB."""

    def __init__(self, above: int) -> None:
        self.of: dict[str, tuple[float, float]] = {}
        self._above, self._done = psutil.Process(above), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.3):
            for process in self._above.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    title = " ".join(process.cmdline()).strip()
                    if title.startswith(TITLE) and " " not in (task := title.removeprefix(TITLE)):
                        cpu, before = process.cpu_times(), self.of.get(task, (0.0, 0.0))
                        now = (cpu.user + cpu.system, processes.memory(process.pid, "VmHWM"))
                        self.of[task] = (max(before[0], now[0]), max(before[1], now[1]))


def full(home: Path, *, persons: int, once: bool, console: Console) -> int:
    """Play it from nothing; 0 when all went well, the receiver has what the ledger says, and no limit was broken."""
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", markup=False, highlight=False)

    with Stack(home, say, people=0, first=MONDAY) as stack:
        say("BoSko knows the canaries and nobody else: this is its first load of all")
        five = moment(MONDAY, "05:00")
        run = Run(DAG, RUN, five, five, before=lambda: _arrives(stack, persons, say), answer="Refuse")
        assert stack.airflow is not None
        with Watch(stack.airflow.scheduler) as watch:
            Player(stack, console, limit=LONGEST).play([[run]])
        told = {e.kind: e for i in stack.ledger.interchanges() for e in stack.ledger.events(i.id)
                if e.kind in ("collected", "merged", "delivered")}  # fmt: skip
        took = _took(stack, watch.of, persons)
        whole = (told["delivered"].at - told["collected"].at).total_seconds() if "delivered" in told else None
        wrong = [*_wrong(took, whole), *_compared(stack, told.get("delivered"), persons)]
        console.print(table(took, whole, persons))
        load = os.getloadavg()[1]
        console.print(f"the machine: {os.cpu_count()} cores, a load of {load:.1f} in these minutes", highlight=False)
        if "merged" in told:
            counts = ", ".join(f"{n:,} {name}" for name, n in told["merged"].data["counts"].items() if n)
            console.print(f"merged: {counts}", highlight=False)
        _keep(home / "full.json", took, whole, persons, wrong)
        for line in wrong:
            console.print(f"[red]not as it should be:[/] {line}", highlight=False)
        if not wrong:
            name = told["delivered"].data["name"]
            console.print(
                f"{name} at HANNA is byte for byte what the ledger says: {persons:,} records", highlight=False
            )
        if not once:
            stack.stay(console, "The figures are in full.json beside the logs; `make clean` removes it all.")
    return 1 if wrong else 0


def _arrives(stack: Stack, persons: int, say: Any) -> None:
    """The population file, written to the disk as it is made, and then sent."""
    draft = stack.home / "population.txt"
    with draft.open("wb") as out:
        for block in multitude.file(persons, MONDAY, SEED):
            out.write(block)
    say(f"the population file: {persons:,} persons, {draft.stat().st_size:,} bytes")
    stack.servers.population(f"KIR-{MONDAY:%Y%m%d}.txt", draft)
    draft.unlink()
    say("it is in the mail")


def _took(stack: Stack, used: Mapping[str, tuple[float, float]], persons: int) -> list[Took]:
    """The tasks of the run in their order."""
    assert stack.airflow is not None
    records = {i.integration: i.records or 0 for i in stack.ledger.interchanges()}
    found = {t["task_id"]: t for t in stack.airflow.tasks(DAG, RUN)}
    made = []
    for task in (COLLECT, *BUDGET):
        t = found.get(task, {"state": "not there"})
        seconds = 0.0
        if t.get("start_date") and t.get("end_date"):
            start, end = (datetime.fromisoformat(t[when]) for when in ("start_date", "end_date"))
            seconds = (end - start).total_seconds()
        budget = BUDGET[task] * persons / PERSONS if task in BUDGET else None
        n = records.get(task.partition(".")[0], 0)
        cpu, peak = used.get(str(t.get("id")), (0.0, 0.0))
        made.append(Took(task, t["state"] or "?", seconds, cpu, peak, n, budget))
    return made


def _wrong(took: list[Took], whole: float | None) -> list[str]:
    """The tasks that failed, and the limits that were broken."""
    wrong = [f"{t.task}: {t.state}" for t in took if t.state != "success"]
    wrong += [f"{t.task}: {t.peak:.0f} MB, the limit is {MEMORY}" for t in took if t.peak > MEMORY]
    wrong += [f"{t.task}: its memory was not seen" for t in took if t.state == "success" and not t.peak]
    if whole is None:
        wrong.append("nothing was delivered")
    elif whole > WHOLE:
        wrong.append(f"{whole:.0f} s from the durable payload to the delivered file, the limit is {WHOLE}")
    return wrong


def _compared(stack: Stack, delivered: Event | None, persons: int) -> list[str]:
    """In what the receiver's file is not the one that the ledger says was delivered: read in pieces, it is large."""
    if delivered is None:
        return []
    said, name = delivered.data, delivered.data["name"]
    file = stack.servers.place("mvs", "hanna_mvs") / name
    if not file.exists():
        return [f"{name} is not at HANNA"]
    with file.open("rb") as got:
        digest = hashlib.file_digest(got, "sha256").hexdigest()
    wrong = []
    if (digest, file.stat().st_size) != (said["sha256"], said["bytes"]):
        wrong.append(f"{name} at HANNA is not what the ledger says was sent")
    n, rest = divmod(file.stat().st_size, layouts.load("pknod").length)
    if (n, rest) != (persons, 0):
        wrong.append(f"{name} at HANNA has {n:,} records and {rest} bytes, of {persons:,} persons")
    return wrong


def table(took: list[Took], whole: float | None, persons: int) -> Table:
    """Task by task, and the whole."""
    share = persons / PERSONS
    made = Table("task", "records", "seconds", "budget s", "CPU s", "peak MB", "state", title=f"{persons:,} persons")
    for column in made.columns[1:6]:
        column.justify = "right"
    for t in took:
        over = t.budget is not None and t.seconds > t.budget
        made.add_row(
            t.task, f"{t.records:,}", f"[yellow]{t.seconds:.1f}[/]" if over else f"{t.seconds:.1f}",
            f"{t.budget:.1f}" if t.budget is not None else "", f"{t.cpu:.1f}", f"{t.peak:.0f}", t.state,
        )  # fmt: skip
    made.add_section()
    tasks = sum(t.seconds for t in took if t.budget is not None)
    made.add_row("all but collect", "", f"{tasks:.1f}", f"{sum(BUDGET.values()) * share:.1f}", "", "", "")
    if whole is not None:
        made.add_row("between them: the scheduler", "", f"{whole - tasks:.1f}", "", "", "", "")
        made.add_row("payload → delivered", "", f"{whole:.1f}", f"{WHOLE}, better {STRETCH}", "", "", "")
    return made


def _keep(file: Path, took: list[Took], whole: float | None, persons: int, wrong: list[str]) -> None:
    told = {"persons": persons, "whole": whole, "tasks": [asdict(t) for t in took], "wrong": wrong,
            "at": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
    file.write_text(json.dumps(told, indent=2))
