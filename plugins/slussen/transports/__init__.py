"""Ways to move a file: one small interface, and what each protocol makes of it.

Names are plain names in the endpoint's one folder (or dataset names): nothing leads out of it. Every network step is
bounded by ``TIMEOUT``. A fault that passes is a ``TransportError``, one that doesn't a ``TransportRefused``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO, Protocol, Self

from slussen.errors import CallError, TransportError, TransportRefused

TIMEOUT = 30  # seconds that one network step may take
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Missing(TransportError):
    """There is no such file: for a delivery, somebody else has moved it."""


class Exists(TransportRefused):
    """There is a file of this name already, and it may not be replaced."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file at an endpoint; ``modified`` is whatever the server says, to be compared with itself only."""

    name: str
    size: int
    modified: str


class Sink(Protocol):
    """Where fetched bytes go."""

    def write(self, data: bytes, /) -> int: ...


class Transport(Protocol):
    """An open way to an endpoint."""

    replaces: bool  # does a rename onto an existing name replace it?

    def entries(self, pattern: str) -> list[Entry]:
        """The files whose names match (``*``, ``?``), without temporary ones."""
        ...

    def fetch(self, name: str, sink: Sink) -> None:
        """Copy a file into the sink. Raises Missing."""
        ...

    def put(self, name: str, source: BinaryIO) -> None:
        """Write a file of this (temporary) name, replacing a stump of it; durable where we can make it so."""
        ...

    def exists(self, name: str) -> bool: ...

    def digest(self, name: str) -> str:
        """The SHA-256 of what stands there, read back. Raises Missing."""
        ...

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """Is what stands there what was sent? As sure as the protocol allows at the price of a glance."""
        ...

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        """Give a file its other name, at once. Raises Missing, Exists."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; it is no fault when there is none."""
        ...

    def archive(self, name: str) -> str:
        """Move a collected file to the archive at its source; where it is now."""
        ...

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        """The name under which this attempt uploads: its own, and one that no consumer takes."""
        ...

    def aside(self, name: str, interchange: str) -> str:
        """Where the content of this earlier interchange is kept while a later one takes its name."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def plain(name: str) -> str:
    """The name, if it is a plain one.

    Raises:
        CallError: it is empty, leads elsewhere, or holds control characters.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or CONTROL.search(name):
        raise CallError(f"{name!r} is no plain file name")
    return name


def temporary_name(name: str, interchange: str, attempt: int) -> str:
    """``.<final>.<interchange>.<attempt>.tmp``: hidden, and matched by no consumer's pattern."""
    return f".{name}.{interchange}.{attempt}.tmp"
