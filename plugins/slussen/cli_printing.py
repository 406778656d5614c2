"""What the commands have in common: how they print, and where what they make goes."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sized
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
    """A file, or standard output (also as ``-``)."""
    if output is None or str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole(output) as out:
        yield out


@contextmanager
def whole(output: Path, unless: Sized = ()) -> Iterator[BinaryIO]:
    """A file that appears when it is whole, and ``unless`` is empty: what it is made from may have its name.

    A pipe or a device gets all of it at once.
    """
    special = str(output) == "-" or (output.exists() and not output.is_file())
    try:
        if special:
            with tempfile.TemporaryFile() as out:
                yield out
                out.seek(0)
                if not unless and str(output) == "-":
                    shutil.copyfileobj(out, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                elif not unless:
                    with output.open("wb") as there:
                        shutil.copyfileobj(out, there)
            return
        output = output.resolve()  # a link stays one
        part = output.with_name(f".{output.name}.part")
        try:
            with part.open("wb") as made:
                yield made
            if not unless:
                part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CallError(f"{output}: {error.strerror}") from None
