"""``slussen probe``: is a partner ready?"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from slussen import settings
from slussen.cli_printing import Json, print_json, terminal

if TYPE_CHECKING:
    from slussen.probing import Probe

COLOURS = {"fine": "green", "warning": "yellow", "failed": "red", "not told": "dim"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(probe)


def probe(
    partner: Annotated[str, typer.Argument(metavar="PARTNER", help="A connection, or a system of the catalogue.")],
    as_json: Json = False,
) -> None:
    """Try all that a delivery needs at a partner: log in, write, verify, rename, delete; certificate, clock, room.

    What is written is an empty hidden file, and is removed. The result is kept in the ledger. Exit codes: 0 ready,
    1 the partner isn't, 2 the call is wrong.

    Example: slussen probe agresso_kund
    """
    from slussen.ledger import Ledger
    from slussen.probing import keep
    from slussen.probing import probe as try_all

    settings.use_connections()
    with redirect_stdout(sys.stderr):  # where Airflow, once it is imported, has its own warnings go
        from slussen.catalogue import rows
        from slussen.operators.probe import find, version

        done = [try_all(one) for one in find(partner, rows())]
    if as_json:
        print_json([d.as_dict() for d in done])
    else:
        for d in done:
            terminal().print(_table(d))
    ledger = Ledger(settings.database())
    for d in done:
        keep(ledger, d, version())
    raise typer.Exit(1 if any(d.verdict == "failed" for d in done) else 0)


def _table(d: Probe) -> Table:
    title = f"{d.connection} ({d.transport}): [{COLOURS[d.verdict]}]{d.verdict}[/]"
    table = Table("step", "result", "took", "detail", title=title, title_justify="left")
    for s in d.steps:
        table.add_row(s.name, f"[{COLOURS[s.result]}]{s.result}[/]", f"{s.seconds * 1000:.0f} ms", escape(s.detail))
    return table
