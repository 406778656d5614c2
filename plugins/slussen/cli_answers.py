"""The command line's answers: what is planned, how today goes, why something is as it is, what is owed to us."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from slussen.errors import CallError

if TYPE_CHECKING:
    from slussen.catalogue import Planned

Json = Annotated[bool, typer.Option("--json", help="Plain JSON for machines.")]
Key = Annotated[str, typer.Argument(metavar="[KEY]", help="Only this integration.")]
OFTEN = 4  # runs a day of one integration: more are one line


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(schedule)


def schedule(
    key: Key = "",
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First day; today, if not said.")] = "",
    last: Annotated[
        str, typer.Option("--to", metavar="DATE", help="The day after the last; a week, if not said.")
    ] = "",
    as_json: Json = False,
) -> None:
    """The runs whose intervals begin in a time, from the DAG files alone.

    Example: slussen schedule f30 --from 2026-03-27 --to 2026-03-31
    """
    from slussen import catalogue

    start = _day(first) if first else _today()
    end = _day(last) if last else start + timedelta(days=7)
    if end < start:
        raise CallError(f"--to {end} lies before --from {start}")
    rows = catalogue.rows()
    runs = catalogue.planned([catalogue.only(rows, key)] if key else rows, start, end)
    if as_json:
        _print_json([planned_dict(run) for run in runs])
        return
    table = Table("day", "from", "to", "integration", "DAG")
    previous = None
    for day, line in _lines(runs):
        table.add_row("" if day == previous else f"{day:%a %Y-%m-%d}", *line, end_section=False)
        previous = day
    _console().print(table)
    by_hand = [r.key for r in rows if r.timetable is None and key in ("", r.key)]
    if by_hand:
        _console().print(f"by hand: {', '.join(by_hand)}", highlight=False)


def planned_dict(run: Planned) -> dict[str, str]:
    """A planned run as plain data: the ``--json`` form, in Stockholm's time with its offset."""
    return {
        "key": run.row.key,
        "dag_id": run.row.dag_id,
        "start": local(run.start).isoformat(),
        "end": local(run.end).isoformat(),
        "run_after": local(run.run_after).isoformat(),
    }


def _lines(runs: list[Planned]) -> list[tuple[date, tuple[str, str, str, str]]]:
    """The table's lines: the integrations of a DAG that begin together are one, and so is what runs all day."""
    lines: list[tuple[date, tuple[str, str, str, str]]] = []
    for day, of_day in groupby(runs, key=lambda run: local(run.start).date()):
        todays = list(of_day)
        often = {dag for dag in {r.row.dag_id for r in todays} if _a_day(todays, dag) > OFTEN}
        for dag in sorted(often):
            mine = [run for run in todays if run.row.dag_id == dag]
            keys = ", ".join(dict.fromkeys(run.row.key for run in mine))
            lines.append((day, (f"{local(mine[0].start):%H:%M}", mine[0].row.schedule, keys, dag)))
        rest = [run for run in todays if run.row.dag_id not in often]
        for (start, dag), together in groupby(rest, key=lambda run: (run.start, run.row.dag_id)):
            of_dag = list(together)
            end = _until(start, of_dag[0].end)
            lines.append((day, (f"{local(start):%H:%M}", end, ", ".join(r.row.key for r in of_dag), dag)))
    return lines


def _a_day(runs: list[Planned], dag: str) -> int:
    return len({run.start for run in runs if run.row.dag_id == dag})


def _until(start: datetime, end: datetime) -> str:
    if end == start:
        return ""
    return f"{local(end):%H:%M}" if end - start < timedelta(days=1) else f"{local(end):%a %Y-%m-%d %H:%M}"


def local(moment: datetime) -> datetime:
    """The moment in Stockholm."""
    from slussen.lateness import STOCKHOLM

    return moment.astimezone(STOCKHOLM)


def _today() -> date:
    from datetime import UTC

    return local(datetime.now(UTC)).date()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CallError(f"{text!r} is no day: write it as 2026-03-27") from None


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=200)


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))
