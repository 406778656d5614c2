"""``make faults``: the promises of delivery, collection and receipts, tried in three ways, with what was counted.

L0  the protocols as models: every state, and every deliberate mistake
L1  the real delivery code, step by step: every schedule of two and three attempts, others by lot; its mutants
L2  the real code against real servers, with a fault after any byte

A seed plays the same again: ``python -m tests.injection --level 1 --setting "a mainframe" --seed 17``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SEED = 1809
console = Console(width=None if sys.stdout.isatty() else 130)


def models(*, quick: bool) -> list[str]:
    """L0. What is wrong, a line each."""
    from tests.model.explore import explore
    from tests.test_models import MISTAKES, QUICK, WHOLE, caught

    table = Table("model", "states", "bad", title="L0: the protocols, every state")
    wrong, states = [], 0
    for model in QUICK if quick else WHOLE:
        found = explore(model)
        states += found.states
        wrong += [f"{model.name}: {found.wrong}"] if found.wrong else []
        table.add_row(model.name, f"{found.states:,}", found.wrong or "0")
    survived = [m for m, build in MISTAKES if caught(m, build) is None]
    table.add_section()
    table.add_row("all", f"{states:,}", f"{len(wrong)}")
    table.add_row("deliberate mistakes", f"{len(MISTAKES)}", f"{len(MISTAKES) - len(survived)} of them come out")
    console.print(table)
    return wrong + [f"L0: a mistake stays hidden: {m}" for m in survived]


def schedules(*, quick: bool, samples: int, seed: int) -> list[str]:
    """L1."""
    from dataclasses import replace

    from slussen import delivery, messaging
    from tests import test_delivery, test_messaging, test_sets
    from tests.model.mutants import survives
    from tests.model.sample import schedule
    from tests.model.together import TOGETHER
    from tests.model.walk import SETTINGS, THREE, walk

    table = Table("the real code", "states", "schedules", "bad", title="L1: every interleaving, a fault at every step")
    wrong: list[str] = []

    def row(name: str, work: Callable[[], tuple[int, int]]) -> None:
        try:
            states, ways = work()
            table.add_row(name, f"{states:,}" if states else "–", f"{ways:,}", "0")
        except AssertionError as error:
            wrong.append(f"L1, {name}: {error}")
            table.add_row(name, "", "", f"{error}")

    def walked(setting: Any) -> tuple[int, int]:
        found = walk(setting)
        return found.states, found.schedules

    for name, setting in SETTINGS.items():
        row(f"two attempts, {name}", lambda s=setting: walked(s))  # type: ignore[misc]
    for name, setting in (("X.400", test_messaging.X400), ("SHS", test_messaging.SHS)):
        row(f"two attempts to send a message, {name}", lambda s=setting: walked(s))  # type: ignore[misc]
    for name, setting in {} if quick else TOGETHER.items():
        row(f"two attempts, {name}", lambda s=setting: walked(s))  # type: ignore[misc]
    for name, setting in {} if quick else THREE.items():
        row(f"three attempts, {name}", lambda s=setting: walked(s))  # type: ignore[misc]
    for name, setting in THREE.items():
        hard = replace(setting, receiver=True, lossy=True)

        def drawn(hard: Any = hard) -> tuple[int, int]:
            ways = {tuple(schedule(hard, seed + n)) for n in range(samples // len(THREE))}
            return 0, len(ways)

        row(f"three attempts, {name}, taken, lossy: by lot from seed {seed}", drawn)
    mutants = [(delivery._Attempt, name, m, setting) for m, (name, setting) in test_delivery.MUTANTS.items()]
    mutants += [(messaging._Attempt, name, m, setting) for m, (name, setting) in test_messaging.MUTANTS.items()]
    mutants += [(delivery._Attempt, name, m, setting) for m, name, setting in test_sets.MUTANTS]
    survivors = [m[2].__name__ for m in mutants if survives(*m)]
    table.add_section()
    table.add_row("mutants of the code", "", f"{len(mutants)}", f"{len(mutants) - len(survivors)} of them come out")
    console.print(table)
    return wrong + [f"L1: a mutant lives: {m}" for m in survivors]


def injections(protocols: list[str], count: int, seed: int) -> list[str]:
    """L2: so many injections in all. They wait more than they work, messages most: those begin."""
    from sandbox.postgres import Server
    from tests.injection.play import begin, inject

    title = "L2: real servers, a fault after any byte"
    table = Table("protocol", "scenario", *WHATS, "by hand", "all", "s", title=title)
    wrong: list[str] = []
    total = 0
    with (
        tempfile.TemporaryDirectory(prefix="slussen-faults-") as scratch,
        Server(Path(scratch) / "home") as server,
        ProcessPoolExecutor(PROCESSES, get_context("spawn"), begin, (f"{scratch}/home",)) as pool,
    ):
        each = -(-count // (2 * len(protocols)))
        jobs = {
                pool.submit(inject, protocol, scenario, each, seed, server.dsn(f"{protocol}_{scenario}"), scratch): (
                    protocol, scenario,
                )
                for protocol in reversed(protocols)
                for scenario in ("deliver", "collect")
            }  # fmt: skip
        for job in as_completed(jobs):
            protocol, scenario = jobs[job]
            piece = job.result()
            if piece.skipped:
                table.add_row(protocol, scenario, *[""] * len(WHATS), f"skipped: {piece.skipped}", "", "")
                continue
            wrong += piece.wrong
            all_ = piece.played.total()
            total += all_
            console.print(f"{protocol} {scenario}: {all_:,} injections, {len(piece.wrong)} bad, {piece.seconds:.0f} s")
            for line in piece.wrong:
                console.print(f"  {line}", highlight=False)
            cells = [f"{n:,}" if n else "–" for n in (*(piece.played[what] for what in WHATS), piece.by_hand)]
            table.add_row(protocol, scenario, *cells, f"{all_:,}", f"{piece.seconds:.0f}")
    table.add_section()
    table.add_row("all", "", *[""] * (len(WHATS) + 1), f"{total:,}", f"{len(wrong)} bad")
    console.print(table)
    return wrong


PROCESSES = 6
WHATS = ("drop", "reset", "swallow", "half", "delay", "flip", "kill", "full")


def main() -> None:
    from tests.injection.rigs import RIGS
    from tests.transports import messages

    protocols = [*RIGS, *messages.RIGS]
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--level", type=int, choices=(0, 1, 2), action="append", help="only these (default: all)")
    parser.add_argument("--quick", action="store_true", help="the models and settings that take seconds")
    parser.add_argument("--samples", type=int, default=50_000, help="schedules by lot (L1)")
    parser.add_argument("--injections", type=int, default=10_000, help="faults against real servers (L2)")
    parser.add_argument("--protocol", choices=protocols, action="append", help="only these (L2)")
    parser.add_argument("--setting", help="replay one schedule of this setting (L1)")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    if options.setting:
        replay(options.setting, options.seed)
        return
    began, levels, wrong = time.monotonic(), options.level or [0, 1, 2], list[str]()
    if 0 in levels:
        wrong += models(quick=options.quick)
    if 1 in levels:
        wrong += schedules(quick=options.quick, samples=options.samples, seed=options.seed)
    if 2 in levels:
        wrong += injections(options.protocol or protocols, options.injections, options.seed)
    for line in wrong[:50]:
        console.print(f"[red]bad:[/] {line}", highlight=False)
    console.print(f"{len(wrong)} bad; {time.monotonic() - began:.0f} s", highlight=False)
    sys.exit(1 if wrong else 0)


def replay(setting: str, seed: int) -> None:
    """The schedule of a seed, move by move."""
    from dataclasses import replace

    from tests.model.sample import schedule
    from tests.model.walk import THREE

    moves = schedule(replace(THREE[setting], receiver=True, lossy=True), seed)
    console.print(" ".join(f"{what}:{n}" for what, n in moves), highlight=False)


if __name__ == "__main__":
    main()
