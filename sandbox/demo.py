"""``make demo``: a business week through the real scheduler, and the proof of what came of it.

Each demo takes the week after the last one's. Everything stays in one state folder; Ctrl-C stops every process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sandbox import processes
from sandbox.postgres import Server
from sandbox.scenario import Run, Week, week
from sandbox.stack import FIRST_DAY, Stack
from slussen import settings
from slussen.cli import interchange_dict, interchange_table
from slussen.ledger import Interchange

RUN_LIMIT = 300  # seconds that one run may take
DONE = ("success", "failed")
COLOURS = {"success": "green", "failed": "red", "running": "cyan", "skipped": "dim", "awaiting_input": "yellow",
           "upstream_failed": "red", "deferred": "magenta"}  # fmt: skip


class Player:
    """Plays weeks on a stack, showing what happens."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack, self.console = stack, console
        assert stack.airflow is not None
        self.airflow = stack.airflow

    def play(self, w: Week) -> None:
        """Run the week's runs, group after group; those that a demo that was killed had started are not started again.

        Raises:
            TimeoutError: a run didn't end in five minutes.
        """
        processes.wait_until(self._known, seconds=60, what="Airflow's reading of the DAG files", every=0.5)
        for group in w.groups:
            for run in group:
                if not self.airflow.has(run.dag, run.run_id):
                    run.before()
                    self.airflow.trigger(run.dag, run.run_id, run.start, run.end)
            self._watch(group)
            for run in group:
                run.after()

    def _known(self) -> bool:
        if broken := self.airflow.import_errors():
            raise RuntimeError(f"Airflow can't read {', '.join(broken)}: see {self.stack.home / 'logs'}")
        files = {f.stem for f in (settings.ROOT / "dags").glob("*.py")}
        return files <= self.airflow.dags()

    def _watch(self, group: list[Run]) -> None:
        began = time.monotonic()
        open_ = list(group)
        with self._display() as show:
            while open_:
                tasks = {run: self.airflow.tasks(run.dag, run.run_id) for run in group}
                show(tasks, time.monotonic() - began)
                for run in open_:
                    for question in self.airflow.waiting(run.dag, run.run_id) if run.answer else ():
                        self.airflow.answer(question, run.answer)
                        self.console.print(f"  {question['task_instance']['task_id']} asked: answered {run.answer}")
                open_ = [run for run in open_ if self.airflow.state(run.dag, run.run_id) not in DONE]
                if time.monotonic() - began > RUN_LIMIT:
                    stuck = [t["task_id"] for r in open_ for t in tasks[r] if t["state"] in ("running", "queued")]
                    raise TimeoutError(
                        f"{open_[0].dag} {open_[0].run_id} has not ended in {RUN_LIMIT} s, "
                        f"at {', '.join(stuck) or '?'}: see {self.stack.home / 'logs'}"
                    )
                time.sleep(0.7)
            show({run: self.airflow.tasks(run.dag, run.run_id) for run in group}, time.monotonic() - began)

    @contextmanager
    def _display(self) -> Iterator[Any]:
        if self.console.is_terminal:
            with Live(console=self.console, refresh_per_second=4) as live:
                yield lambda tasks, seconds: live.update(progress(tasks, seconds))
            return
        seen: dict[tuple[str, str, int], str] = {}

        def lines(tasks: dict[Run, list[dict[str, Any]]], seconds: float) -> None:
            for run, found in tasks.items():
                for t in found:
                    key = (run.dag, t["task_id"], t["map_index"])
                    if t["state"] != seen.get(key) and t["state"] in COLOURS:
                        seen[key] = t["state"]
                        which = f" [{t['rendered_map_index'] or t['map_index']}]" if t["map_index"] >= 0 else ""
                        self.console.print(
                            f"{seconds:6.1f} s  {run.dag} {run.run_id}  {t['task_id']}{which}: {t['state']}",
                            markup=False, highlight=False,
                        )  # fmt: skip

        yield lines


def progress(tasks: dict[Run, list[dict[str, Any]]], seconds: float) -> Table:
    """Which integration is at which task."""
    table = Table("run", "integration", "tasks", title=f"{seconds:.0f} s", title_justify="right")
    for run, found in tasks.items():
        groups: dict[str, dict[str, Counter[str]]] = {}
        for t in found:
            key, _, verb = t["task_id"].partition(".")
            groups.setdefault(key, {}).setdefault(verb.rpartition(".")[2] or key, Counter())[
                t["state"] or "waiting"
            ] += 1
        for key, verbs in groups.items():
            steps = "  ".join(
                f"[{COLOURS.get(s, '')}]{verb}{f' ×{n}' if n > 1 else ''}[/]" if s in COLOURS else f"[dim]{verb}[/]"
                for verb, states in verbs.items()
                for s, n in states.items()
            )
            table.add_row(f"{run.dag} {run.run_id}", key, steps)
    return table


def ended(stack: Stack, w: Week) -> tuple[list[Interchange], list[str]]:
    """The week's interchanges, and in what they are not as the scenario says."""
    found = stack.ledger.interchanges()
    mine, wrong = [], []
    for key, state in w.expected.items():
        match = [i for i in found if i.id == key or (i.integration, source_name(stack, i)) == key]
        mine += match
        if len(match) != 1:
            wrong.append(f"{key}: {len(match)} interchanges, expected one")
        elif match[0].state != state:
            wrong.append(f"{match[0].id} ({match[0].name}): {match[0].state}, expected {state}")
    return mine, wrong


def source_name(stack: Stack, i: Interchange) -> str:
    """The name of the file that an interchange was collected from."""
    collected = [e for e in stack.ledger.events(i.id) if e.kind == "collected"]
    return str(collected[0].data["name"]) if collected else ""


def compare(stack: Stack) -> tuple[int, list[str]]:
    """What partners have, byte for byte, against what the ledger says they got. (files compared, differences)"""
    import hashlib

    wrong: list[str] = []
    last: dict[tuple[str, str], Any] = {}
    for i in stack.ledger.interchanges():
        for event in stack.ledger.events(i.id):
            if event.kind == "delivered":
                last[(i.integration, event.data["name"])] = event
    for (integration, name), event in last.items():
        got = stack.received(integration, name)
        if got is None:
            wrong.append(f"{event.stream}: {name} is not at the partner")
            continue
        with stack.payloads.open(event.data["sha256"]) as payload:
            sent = payload.read()
        if got != sent or hashlib.sha256(got).hexdigest() != event.data["sha256"] or len(got) != event.data["bytes"]:
            wrong.append(f"{event.stream}: {name} at the partner is not what was sent")
    known = {name for _, name in last}
    set_aside = {n for n in stack.standing() if n.startswith("ADS.N99.KIR.R")}
    wrong += [
        f"{name} is at a partner, and the ledger doesn't know it" for name in stack.standing() - known - set_aside
    ]
    return len(last), wrong


def next_monday(home: Path) -> date:
    """The Monday after the last demo's; the same one when that was cut off."""
    if (played := home / "played").exists():
        return date.fromisoformat(played.read_text()) + timedelta(days=7)
    return FIRST_DAY


def demo(home: Path, *, once: bool, console: Console) -> int:
    """Play the next week; 0 when every interchange ended as the scenario says."""
    began = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    monday = next_monday(home)
    if monday + timedelta(days=5) > datetime.now(UTC).date():
        console.print(
            f"The week of {monday} lies ahead of this machine's clock: `make clean` begins again at {FIRST_DAY}"
        )
        return 2

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", markup=False, highlight=False)

    with Stack(home, say) as stack:
        w = week(stack, monday)
        say(f"playing the week of {monday}")
        Player(stack, console).play(w)
        (home / "played").write_text(f"{monday}")
        mine, wrong = ended(stack, w)
        files, different = compare(stack)
        chain = stack.ledger.verify()
        took = time.monotonic() - began
        console.print(interchange_table(mine))
        if not different:
            console.print(f"{files} files at partners are byte for byte what the ledger says", highlight=False)
        whole = "whole" if chain.ok else "BROKEN"
        console.print(f"the ledger is {whole}: {chain.events} events; {took:.0f} s", highlight=False)
        wrong += different + ([] if chain.ok else [f"ledger: {chain.reason}"])
        (home / "demo.json").write_text(
            json.dumps(
                {
                    "week": f"{monday}",
                    "ok": not wrong,
                    "wrong": wrong,
                    "seconds": round(took, 1),
                    "interchanges": [interchange_dict(i) for i in mine],
                },
                ensure_ascii=False,
                indent=2,
            )
        )
        for line in wrong:
            console.print(f"[red]not as the scenario says:[/] {line}", highlight=False)
        if not once:
            assert stack.airflow is not None
            url, password = stack.airflow.url, stack.airflow.password
            console.print(
                f"\nAirflow: [bold]{url}[/]  user [bold]admin[/]  password [bold]{password}[/]\n"
                "`slussen ledger` and `slussen show ID` tell more. Ctrl-C stops everything.",
                highlight=False,
            )
            signal.pause()
    return 1 if wrong else 0


def clean(home: Path) -> None:
    """Stop what a demo left, and remove its database."""
    processes.clean_up(home / "pids")
    shutil.rmtree(Server(home).place, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="stop everything afterwards; the exit code says how it went"
    )
    parser.add_argument("--clean", action="store_true", help="stop what is left, and remove the state")
    options = parser.parse_args()

    def stop(number: int, frame: FrameType | None) -> None:
        # Once is enough: what is being stopped is stopped to the end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    os.environ["TZ"] = "UTC"
    time.tzset()
    if options.clean:
        clean(settings.home())
        return
    console = Console() if sys.stdout.isatty() else Console(width=160)
    try:
        code = demo(settings.home(), once=options.once, console=console)
    except (RuntimeError, TimeoutError) as error:
        console.print(f"[red]{error}[/]", highlight=False)
        code = 1
    raise SystemExit(code)


if __name__ == "__main__":
    main()
