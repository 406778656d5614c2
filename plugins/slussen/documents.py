"""Pages made from the declarations: a DAG's documentation, the catalogue, the week."""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from slussen import settings
from slussen.integration import Endpoint, Integration
from slussen.lateness import STOCKHOLM

if TYPE_CHECKING:
    from slussen.catalogue import Row
    from slussen.timetables import Schedule

RUNBOOK = "docs/runbook.md"
WEEK = date(2026, 2, 9)  # a Monday whose week has neither a holiday nor a change of the clock
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MISSING = {
    "skip": "is passed over",
    "warn": "is passed over, and warned of",
    "fail": "fails the run",
}


# --- a DAG's documentation


def document(*integrations: Integration, schedule: Schedule | None = None) -> str:
    """A DAG's documentation, made from its declarations and, where it has one, its timetable."""
    return "\n\n".join(_document(i, schedule) for i in integrations)


def _document(i: Integration, schedule: Schedule | None) -> str:
    rows = [
        ("TEIS", i.teis or "–"),
        ("Schedule", schedule.description if schedule is not None else ""),
        ("From", f"{i.sender} {', '.join(dict.fromkeys(_end(m.source) for m in i.members))}"),
        ("To", f"{i.receiver} {', '.join(dict.fromkeys(_end(m.target) for m in i.members))}"),
        ("Layout", ", ".join(f"`{m.layout}` (include/formats/{m.layout}.yaml)" for m in i.members)),
        ("Gate", ", ".join(f"include/expectations/{m.key}.yaml" for m in i.members)),
        *((f"Without {duty}", reason) for duty, reason in i.without.items()),
        ("Protected persons", i.persons + (f": {i.persons_reason}" if i.persons_reason else "")),
        ("Expected, amber, red, cut-off", _times(i)),
        ("A missing file", "" if i.source.transport == "database" else MISSING[i.missing]),
        ("The same content again", "is sent on" if i.repeats == "fine" else "is not sent on"),
        ("Receipts", _receipts(i)),
        ("Answers", f"the questions of `{i.answers}`" if i.answers else ""),
        ("Told of each delivery", ", ".join(f"`{name}`" for name in i.proof)),
        ("Envelope", ", ".join(i.envelope)),
        ("Decides", i.owner),
        ("Contact at night", i.contact),
        ("When it goes wrong", f"`slussen why {i.key}`, {RUNBOOK}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows if value)
    notes = "".join(f"\n- *decision:* {d}" for d in i.decisions)
    return f"### {i.key}: {i.title}\n\n| | |\n|---|---|\n{table}\n{notes}".rstrip()


def _end(e: Endpoint) -> str:
    if e.transport == "database":
        return f"database `{e.connection}`, include/sql/{e.sql}"
    return f"{e.transport} `{e.connection}` `{e.name}`, {e.encoding}, {e.frame}"


def _times(i: Integration) -> str:
    t = i.times
    return f"{t.expected}, {t.amber}, {t.red}, {t.cutoff}" if t is not None else ""


def _receipts(i: Integration) -> str:
    return ", ".join(f"{r.kind} within {_span(r.within)}" for r in i.receipts)


def _span(span: timedelta) -> str:
    days, hours = span.days, span.seconds // 3600
    return f"{days} d" if days and not hours else f"{24 * days + hours} h" if hours else f"{span.seconds // 60} min"


# --- the pages


def pages(rows: Sequence[Row]) -> Mapping[Path, str]:
    """The generated pages by their files."""
    docs = settings.ROOT / "docs"
    return {docs / "CATALOGUE.md": catalogue(rows), docs / "SCHEDULE.md": week(rows)}


def catalogue(rows: Sequence[Row]) -> str:
    """The catalogue: one line an integration, linking what it is made of."""
    names = ("integration", "TEIS", "what", "schedule", "from", "to", "layout", "gate", "persons", "missing",
             "receipts", "expected · amber · red · cut-off")  # fmt: skip
    lines = [
        "# The integrations",
        "",
        "Made by `make docs` from the DAG files. Integrations link their DAG, databases their SQL.",
        "",
        _line(names),
        _line(["---"] * len(names)),
        *(_line(_cells(row)) for row in rows),
        "",
        f"{len(rows)} integrations in {len({row.dag_id for row in rows})} DAGs. What to do when one goes wrong: "
        "[runbook](runbook.md). When they run: [the week](SCHEDULE.md).",
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    i = row.integration
    return [
        _link(i.key, row.file),
        i.teis or "–",
        i.title,
        row.schedule,
        f"{i.sender}: {_ends([m.source for m in i.members])}",
        f"{i.receiver}: {_ends([m.target for m in i.members])}",
        ", ".join(_link(m.layout, settings.FORMATS / f"{m.layout}.yaml") for m in i.members),
        ", ".join(_link(m.key, settings.EXPECTATIONS / f"{m.key}.yaml") for m in i.members),
        i.persons,
        "–" if i.source.transport == "database" else i.missing,
        _receipts(i) or "–",
        _times(i).replace(", ", " · ") or "–",
    ]


def _ends(ends: Sequence[Endpoint]) -> str:
    if ends[0].transport == "database":
        return ", ".join(_link(e.sql, settings.SQL / e.sql) for e in dict.fromkeys(ends))
    spoken = " ".join(part for part in (ends[0].encoding, ends[0].frame) if part)
    names = ", ".join(f"`{e.name}`" for e in dict.fromkeys(ends))
    return f"{ends[0].transport} {names}" + (f", {spoken}" if spoken else "")


def _link(text: str, file: Path) -> str:
    return f"[{text}]({os.path.relpath(file, settings.ROOT / 'docs')})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def week(rows: Sequence[Row]) -> str:
    """The week hour by hour, then what runs by the month, all day and by hand. Stockholm's time."""
    from slussen.timetables import Every, OnDays, WeekdayOrNext

    weekly = [row for row in rows if isinstance(row.timetable, OnDays | WeekdayOrNext)]
    other = [row for row in rows if row not in weekly]
    often = [row for row in other if isinstance(row.timetable, Every)]
    monthly = [row for row in other if row.timetable is not None and row not in often]
    by_hand = [row for row in other if row.timetable is None]
    lines = [
        "# The week",
        "",
        "Made by `make docs` from the DAG files; Europe/Stockholm. A window is written with its end. `*`: not on "
        "public holidays; `slussen schedule --from 2026-04-01 --to 2026-04-08` has the days themselves.",
        "",
        _line(["hour", *DAYS]),
        _line(["---"] * 8),
        *_grid(weekly),
        "",
        "**By the month:** " + "; ".join(f"{words} {keys}" for words, keys in _grouped(monthly)),
        "",
        "**All day:** " + "; ".join(f"{words} {keys}" for words, keys in _grouped(often)),
        "",
        "**By hand:** " + ", ".join(row.key for row in by_hand),
    ]
    return "\n".join(lines) + "\n"


def _grid(rows: Sequence[Row]) -> list[str]:
    from slussen.catalogue import planned

    cells: dict[tuple[int, int], dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for run in planned(rows, WEEK, WEEK + timedelta(days=7)):
        start, end = run.start.astimezone(STOCKHOLM), run.end.astimezone(STOCKHOLM)
        short = end - start < timedelta(days=1)
        when = f"{start:%H:%M}" + (f"–{end:%H:%M}" if start < end and short else "")
        cells[start.hour, start.weekday()][when][run.row.key + ("*" if _heeds(run.row.timetable) else "")] = None
    return [
        _line([f"{hour:02}", *(_moments(cells.get((hour, day), {})) for day in range(7))])
        for hour in sorted({hour for hour, _ in cells})
    ]


def _heeds(timetable: Schedule | None) -> bool:
    """Does it look at public holidays?"""
    from slussen.timetables import OnDays, WeekdayOrNext

    return isinstance(timetable, WeekdayOrNext) or (isinstance(timetable, OnDays) and not timetable.holidays)


def _moments(cell: Mapping[str, Mapping[str, None]]) -> str:
    """``04:25, 04:55 f102 f103``: the moments of the same integrations together."""
    together: dict[str, list[str]] = {}
    for when, keys in cell.items():
        together.setdefault(" ".join(keys), []).append(when)
    return "<br>".join(f"{', '.join(when)} {keys}" for keys, when in together.items())


def _grouped(rows: Sequence[Row]) -> list[tuple[str, str]]:
    words: dict[str, list[str]] = {}
    for row in rows:
        words.setdefault(row.schedule, []).append(row.key)
    return [(schedule, ", ".join(keys)) for schedule, keys in words.items()]
