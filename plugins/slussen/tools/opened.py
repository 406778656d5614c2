"""A file on the command line: its layout, and the encoding and frame that it is read by."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slussen.errors import CallError
from slussen.records import layout as layouts
from slussen.records.codepages import codepage
from slussen.records.frames import ENDS
from slussen.records.layout import Layout


@dataclass(frozen=True)
class Opened:
    """How a file is to be read."""

    path: Path
    layout: Layout
    encoding: str
    frame: str

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        with reading(self.path) as stream:
            yield stream


def opened(path: Path, layout: str, encoding: str = "", frame: str = "") -> Opened:
    """The file by this layout; encoding and frame are the format's usual ones unless said.

    Raises:
        CallError: there is no such file, layout, encoding or frame.
    """
    path = readable(path)
    found = layouts.load(layout)
    frame = frame or found.file.usual.frame
    if frame not in ENDS:
        raise CallError(f"unknown frame {frame!r}: one of {', '.join(ENDS)}")
    return Opened(path, found, codepage(encoding or found.file.usual.encoding).name, frame)


_spooled: list[BinaryIO] = []  # what came by a pipe


def readable(path: Path) -> Path:
    """A file that can be read more than once; what comes by a pipe, or as ``-``, goes into one without a name.

    Raises:
        CallError: there is none, or it is a directory.
    """
    if path.is_file():
        return path
    if path.is_dir():
        raise CallError(f"{path} is a directory: name a file in it")
    if str(path) != "-" and not path.exists():
        raise CallError(f"there is no file {path}")
    spooled = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process is, and then nothing is left
    try:
        if str(path) == "-":
            shutil.copyfileobj(sys.stdin.buffer, spooled)
        else:
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, spooled)
        spooled.flush()
    except OSError as error:
        raise CallError(f"{path}: {error.strerror}") from None
    _spooled.append(spooled)
    return Path(f"/proc/self/fd/{spooled.fileno()}")


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes; what the system says against it is the caller's to mend."""
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise CallError(f"{path}: {error.strerror}") from None
