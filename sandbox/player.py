"""Plays DAG runs through Airflow's REST API as a scheduler and a person would, and shows what happens."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sandbox import processes
from sandbox.scenario import Run
from sandbox.stack import Stack
from slussen import settings

RUN_LIMIT = 600  # seconds that a group of runs may take
DONE = ("success", "failed")
ENDED = (*DONE, "skipped", "upstream_failed", "removed")
COLOURS = {"success": "green", "failed": "red", "running": "cyan", "skipped": "dim", "awaiting_input": "yellow",
           "upstream_failed": "red", "deferred": "magenta"}  # fmt: skip


class Player:
    """Plays groups of runs on a stack, showing what happens. ``tick`` is what the partners do meanwhile."""

    def __init__(
        self, stack: Stack, console: Console, tick: Callable[[], object] = lambda: None, limit: int = RUN_LIMIT
    ) -> None:
        self.stack, self.console, self.tick, self.limit = stack, console, tick, limit
        assert stack.airflow is not None
        self.airflow = stack.airflow

    def play(self, groups: Sequence[Sequence[Run]]) -> None:
        """Group after group; runs that a demo that was killed had started are not started again.

        A *lasting* run goes on beside the groups after its own; at the end all are waited for.

        Raises:
            TimeoutError: a run didn't end in ``limit`` seconds.
        """
        processes.wait_until(self._known, seconds=60, what="Airflow's reading of the DAG files", every=0.5)
        lasting: list[Run] = []
        for group in groups:
            for run in group:
                if not self.airflow.has(run.dag, run.run_id):
                    run.before()
                    self.airflow.trigger(run.dag, run.run_id, run.start, run.end, dict(run.form))
            lasting += [run for run in group if run.lasting]
            self._watch([*lasting, *(run for run in group if not run.lasting)], lasting)
            for run in group:
                run.after()
        if lasting:
            self._watch(lasting, [])

    def _known(self) -> bool:
        if broken := self.airflow.import_errors():
            raise RuntimeError(f"Airflow can't read {', '.join(broken)}: see {self.stack.home / 'logs'}")
        files = {f.stem for f in (settings.ROOT / "dags").glob("*.py")}
        return files <= self.airflow.dags()

    def _watch(self, group: list[Run], lasting: Sequence[Run]) -> None:
        """Until all but those that last have ended."""
        began = time.monotonic()
        open_ = list(group)
        with self._display() as show:
            while any(run not in lasting for run in open_):
                self.tick()
                tasks = {run: self.airflow.tasks(run.dag, run.run_id) for run in group}
                show(tasks, time.monotonic() - began)
                for run in open_:
                    if run.answer:
                        self._answer(run, tasks[run])
                open_ = [run for run in open_ if self.airflow.state(run.dag, run.run_id) not in DONE]
                if time.monotonic() - began > self.limit:
                    late = next(run for run in open_ if run not in lasting)
                    stuck = [
                        f"{t['task_id']} ({t['state'] or 'waiting'})" for t in tasks[late] if t["state"] not in ENDED
                    ]
                    raise TimeoutError(
                        f"{late.dag} {late.run_id} has not ended in {self.limit} s, "
                        f"at {', '.join(stuck) or '?'}: see {self.stack.home / 'logs'}"
                    )
                time.sleep(0.7)
            show({run: self.airflow.tasks(run.dag, run.run_id) for run in group}, time.monotonic() - began)

    def _answer(self, run: Run, tasks: Sequence[dict[str, Any]]) -> None:
        """Answer for a person, once the task waits: Airflow 3.3 can lose an answer that comes while it lies down."""
        parked = {(t["task_id"], t["map_index"]) for t in tasks if t["state"] == "awaiting_input"}
        for question in self.airflow.waiting(run.dag, run.run_id):
            task = question["task_instance"]
            if (task["task_id"], task["map_index"]) in parked:
                self.airflow.answer(question, run.answer)
                self.console.print(f"  {task['task_id']} asked: answered {run.answer}")

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
