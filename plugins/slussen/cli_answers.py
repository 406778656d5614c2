"""The command line's answers: what is planned, how today goes, why something is as it is, what is owed to us."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from slussen.cli_printing import Json, print_json, terminal
from slussen.errors import CallError

if TYPE_CHECKING:
    from slussen.catalogue import Planned
    from slussen.ledger import Ledger

Key = Annotated[str, typer.Argument(metavar="[KEY]", help="Only this integration.")]
At = Annotated[str, typer.Option("--at", metavar="TIME", help="As of this Stockholm time; now, if not said.")]
COLOURS = {"red": "red", "amber": "yellow", "green": "green"}
OFTEN = 4  # runs a day of one integration: more are one line


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (schedule, today, why, obligations, docs):
        app.command()(command)


def schedule(
    key: Key = "",
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First day; today, if not said.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="The day after the last; a week on.")] = "",
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
        print_json([planned_dict(run) for run in runs])
        return
    table = Table("day", "from", "to", "integration", "DAG")
    previous = None
    for day, line in _lines(runs):
        table.add_row("" if day == previous else f"{day:%a %Y-%m-%d}", *line, end_section=False)
        previous = day
    terminal().print(table)
    by_hand = [r.key for r in rows if r.timetable is None and key in ("", r.key)]
    if by_hand:
        terminal().print(f"by hand: {', '.join(by_hand)}", highlight=False)


def today(
    at: At = "",
    only_open: Annotated[bool, typer.Option("--open", help="Only what has still to happen, or should have.")] = False,
    as_json: Json = False,
) -> None:
    """Where each integration stands, and how long it has until its cut-off, worst first.

    Example: slussen today --open --at 2026-01-12T21:30
    """
    from slussen import catalogue
    from slussen.standing import standings

    now = _moment(at)
    found = [s for s in standings(catalogue.rows(), _ledger(), now) if s.open or not only_open]
    if as_json:
        print_json([s.as_dict() for s in found])
        return
    title = f"{local(now):%A %Y-%m-%d %H:%M}"
    table = Table("integration", "state", "since", "slack", "expected", "next", "why", title=title)
    for s in found:
        table.add_row(
            s.row.key,
            f"[{COLOURS[s.colour]}]{s.state}[/]",
            _short(s.start, now),
            _slack(s.slack),
            _short(s.eta or (s.due.expected if s.due and s.open else None), now),
            _short(s.next, now) if s.next else s.row.schedule,
            s.note,
        )
    terminal().print(table)
    counts = {c: sum(s.colour == c for s in found) for c in COLOURS}
    terminal().print(", ".join(f"[{COLOURS[c]}]{n} {c}[/]" for c, n in counts.items()), highlight=False)


def why(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The integration.")],
    on: Annotated[str, typer.Argument(metavar="[DATE]", help="The day its interval begins; the latest.")] = "",
    at: At = "",
    as_json: Json = False,
) -> None:
    """Why an integration's day is as it is, in sentences.

    Example: slussen why f30 2026-01-12
    """
    from slussen import catalogue
    from slussen.why import why as answer_to

    row = catalogue.only(catalogue.rows(), key)
    answer = answer_to(row, _ledger(), _moment(at), _day(on) if on else None)
    if as_json:
        print_json(answer.as_dict())
        return
    console = terminal()
    console.print(f"[bold]{key}[/] {answer.day:%A %Y-%m-%d}: {row.integration.title}", highlight=False)
    for chapter in answer.chapters:
        name = chapter.interchange or (f"{local(chapter.start):%H:%M}" if chapter.start else key)
        console.print(f"\n[bold]{chapter.state}[/]  {name}", highlight=False)
        for sentence in chapter.sentences:
            console.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)


def obligations(at: At = "", as_json: Json = False) -> None:
    """What is owed to us: receipts, answers, and the sum that Agresso reports; worst first.

    Example: slussen obligations --json
    """
    from slussen import catalogue
    from slussen.obligations import obligations as owed

    now = _moment(at)
    found = owed(catalogue.rows(), _ledger(), now)
    if as_json:
        print_json([o.as_dict(now) for o in found])
        return
    table = Table("integration", "interchange", "what", "age", "due", "next")
    for o in found:
        colour = "red" if o.overdue(now) else "green"
        due = f"[{colour}]{local(o.due):%Y-%m-%d %H:%M}[/]" if o.due else ""
        table.add_row(o.integration, o.interchange, o.what, _span(now - o.since), due, o.next_step)
    terminal().print(table)
    late = sum(o.overdue(now) for o in found)
    terminal().print(f"{len(found)} owed, {late} over their term", highlight=False)


def docs(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 when a page is not current.")
    ] = False,
) -> None:
    """Make docs/CATALOGUE.md and docs/SCHEDULE.md from the DAG files.

    Example: slussen docs --check
    """
    from slussen import catalogue
    from slussen.documents import pages

    stale = {
        file: text
        for file, text in pages(catalogue.rows()).items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    }
    for file, text in stale.items():
        if not check:
            file.write_text(text, encoding="utf-8")
        terminal().print(
            f"docs/{file.name}: {'not current, see `make docs`' if check else 'made anew'}", highlight=False
        )
    raise typer.Exit(1 if stale and check else 0)


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
    return local(datetime.now(UTC)).date()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CallError(f"{text!r} is no day: write it as 2026-03-27") from None


def _moment(text: str) -> datetime:
    """A Stockholm time, or today's when only the clock is said; now, when nothing is. In UTC."""
    from slussen.lateness import STOCKHOLM

    if not text:
        return datetime.now(UTC)
    try:
        if len(text) <= 5:
            return datetime.combine(_today(), time.fromisoformat(text), STOCKHOLM).astimezone(UTC)
        said = datetime.fromisoformat(text)
    except ValueError:
        raise CallError(f"{text!r} is no time: write it as 2026-01-12T21:30, or 21:30 for today's") from None
    return (said if said.tzinfo else said.replace(tzinfo=STOCKHOLM)).astimezone(UTC)


def _short(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    there, here = local(moment), local(now)
    return f"{there:%H:%M}" if there.date() == here.date() else f"{there:%a %d %b %H:%M}"


def _slack(slack: timedelta | None) -> str:
    if slack is None:
        return ""
    return f"[red]{_span(-slack)} over[/]" if slack < timedelta(0) else _span(slack)


def _span(span: timedelta) -> str:
    """``4 h 18 min``, ``3 d 2 h``."""
    minutes = int(span.total_seconds()) // 60
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours} h" if days else f"{hours} h {rest} min" if hours else f"{rest} min"


def _ledger() -> Ledger:
    from slussen import settings
    from slussen.ledger import Ledger

    return Ledger(settings.database())
