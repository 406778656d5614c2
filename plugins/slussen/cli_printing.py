"""What the commands have in common: how they print, and where what they make goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console

from slussen.errors import CallError

Json = Annotated[bool, typer.Option("--json", help="Plain JSON for machines.")]
Out = Annotated[Path | None, typer.Option("-o", "--output", help="Where to; standard output, if not said.")]


def terminal() -> Console:
    """The terminal; where there is none, wide enough that tables stay whole."""
    found = Console()
    return found if found.is_terminal else Console(width=200)


def print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2, default=str))


@contextmanager
def sink(output: Path | None) -> Iterator[BinaryIO]:
    """A file, or standard output."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("wb") as out:
            yield out
    except OSError as error:
        raise CallError(f"{output}: {error.strerror}") from None
