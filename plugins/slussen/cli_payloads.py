"""The command line's payloads part: an interchange's content, as a file."""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slussen import settings
from slussen.errors import CallError


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(payload)


def payload(
    interchange: Annotated[str, typer.Argument(metavar="ID", help="The interchange, as `slussen ledger` lists it.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to; standard output, if not said.")
    ] = None,
) -> None:
    """Take an interchange's content: what was rendered, or else what was collected. The ledger says who took it.

    Example: slussen payload novaschema-3f2a90c1b7de -o group.txt
    """
    from slussen.downloads import fetch
    from slussen.ledger import Ledger
    from slussen.payloads import PayloadStore

    if output is not None and output.exists():
        raise CallError(f"{output} is there already; nothing is overwritten")
    found = fetch(
        Ledger(settings.database()), PayloadStore(settings.payloads()), interchange,
        by=f"{getpass.getuser()}, on the command line",
    )  # fmt: skip
    with found.payload as source:
        if output is None:
            shutil.copyfileobj(source, sys.stdout.buffer)
            return
        with output.open("xb") as target:
            shutil.copyfileobj(source, target)
    Console(stderr=True).print(f"{found.name}: {found.bytes:,} bytes, to {output}", highlight=False, markup=False)
