"""``make demo``: a business day through the real scheduler, every integration of the catalogue, and the proof of it.

Each demo takes the business day after the last one's. Everything stays in one state folder; Ctrl-C stops every process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from sandbox import processes
from sandbox.day import FIRST_BUSINESS_DAY, Day, Script, last_played, next_business_day, partners
from sandbox.full import PERSONS, full
from sandbox.player import Player
from sandbox.postgres import Server
from sandbox.proof import Key, compare, ended
from sandbox.stack import Stack
from sandbox.told import told
from slussen import settings
from slussen.catalogue import Row, rows
from slussen.cli import COLOURS, interchange_dict
from slussen.ledger import Interchange

PEOPLE, PUPILS = 10_000, 6_000  # at SCALE=1
FULL = "full"  # the scale of ``full.py``, and its home below the demo's


def demo(home: Path, *, scale: float, once: bool, console: Console) -> int:
    """Play the next business day; 0 when every interchange ended as the scenario says."""
    began = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    last = last_played(home)
    on = next_business_day(last)
    if on + timedelta(days=2) > datetime.now(UTC).date():
        console.print(f"{on} lies ahead of this machine's clock: `make clean` begins again at {FIRST_BUSINESS_DAY}")
        return 2

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", markup=False, highlight=False)

    people, pupils = int(PEOPLE * scale), int(PUPILS * scale)
    with Stack(home, say, people=people, pupils=pupils, first=FIRST_BUSINESS_DAY) as stack:
        desks = partners(stack)
        day = Script(stack, on, desks, first=last is None).write()
        before = started_at(stack, on)
        say(f"playing {on:%A} {on}, and the night after it")
        player = Player(stack, console, lambda: desks.work(on))
        player.play(day.groups)
        player.play(day.last)
        (home / "played").write_text(f"{on}")
        mine, wrong = ended(stack, {key: state for key, (state, _) in day.expected.items()}, before)
        files, different = compare(stack)
        mails = told(stack, day, mine, before)
        chain = stack.ledger.verify()
        took = time.monotonic() - began
        console.print(table(day, mine))
        if not different:
            console.print(f"{files} files at partners are byte for byte what the ledger says", highlight=False)
        if not mails.wrong:
            console.print(f"{mails}", highlight=False)
        whole = "whole" if chain.ok else "BROKEN"
        console.print(f"the ledger is {whole}: {chain.events} events; {took:.0f} s", highlight=False)
        wrong += different + mails.wrong + ([] if chain.ok else [f"ledger: {chain.reason}"])
        (home / "demo.json").write_text(
            json.dumps(
                {
                    "day": f"{on}",
                    "ok": not wrong,
                    "wrong": wrong,
                    "seconds": round(took, 1),
                    "interchanges": [interchange_dict(i) for i in mine.values()],
                },
                ensure_ascii=False,
                indent=2,
            )
        )
        for line in wrong:
            console.print(f"[red]not as the scenario says:[/] {line}", highlight=False)
        if not once:
            stack.stay(
                console,
                f"`slussen today --at {on}T16:00`, `slussen why f30 {on}`, `slussen obligations`, `slussen ledger` and "
                "`slussen show ID` tell more.",
            )
    return 1 if wrong else 0


def started_at(stack: Stack, on: date) -> int:
    """The last event of the ledger before this day was played: kept, so that a demo that was killed goes on with it."""
    kept = stack.home / f"began-{on}"
    if not kept.exists():
        kept.write_text(str(stack.ledger.verify().events))
    return int(kept.read_text())


def table(day: Day, mine: dict[Key, Interchange]) -> Table:
    """A row for every integration of the catalogue, with its interchanges of the day."""
    found = Table(
        "integration", "from → to", "file", "records", "bytes", "state", "", title=f"{day.date:%A} {day.date}"
    )
    for column in (3, 4):
        found.columns[column].justify = "right"
    by_integration: dict[str, list[tuple[Interchange, str]]] = {}
    for key, i in mine.items():
        by_integration.setdefault(i.integration, []).append((i, day.expected[key][1]))
    for row in rows():
        ends = f"{row.integration.sender} → {row.integration.receiver}"
        here = [one for member in row.integration.members for one in by_integration.get(member.key, [])]
        for n, (i, why) in enumerate(here):
            colour = COLOURS.get(i.state, "")
            found.add_row(
                "" if n else row.key,
                "" if n else ends,
                i.name,
                f"{i.records:,}" if i.records is not None else "",
                f"{i.bytes:,}" if i.bytes is not None else "",
                f"[{colour}]{i.state}[/]" if colour else i.state,
                why,
            )
        if not here:
            found.add_row(row.key, ends, "", "", "", "[dim]not due[/]", _when(row, day.date))
    return found


def _when(row: Row, on: date) -> str:
    """The next run after this day."""
    from slussen.timetables import STOCKHOLM, at

    if row.timetable is None:
        return "by hand"
    after = at(on + timedelta(days=1), "05:00")
    following = next(row.timetable.between(after, after.add(days=400)), None)
    return f"next {following.start.astimezone(STOCKHOLM):%a %d %b %H:%M}" if following is not None else ""


def clean(home: Path) -> None:
    """Stop what a demo left, and remove its database; also that of a full one, whose home is in this one's."""
    for place in (home / FULL, home):
        processes.clean_up(place / "pids")
        shutil.rmtree(Server(place).place, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="stop everything afterwards; the exit code says how it went"
    )
    parser.add_argument("--scale", default="1", help=f"so many times the people and pupils; {FULL}: the register alone")
    parser.add_argument("--persons", type=int, default=PERSONS, help=f"how many people, with --scale {FULL}")
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
        if options.scale == FULL:
            clean(settings.home() / FULL)
            code = full(settings.home() / FULL, persons=options.persons, once=options.once, console=console)
        else:
            code = demo(settings.home(), scale=float(options.scale), once=options.once, console=console)
    except (RuntimeError, TimeoutError) as error:
        console.print(f"[red]{error}[/]", highlight=False)
        code = 1
    raise SystemExit(code)


if __name__ == "__main__":
    main()
