"""What the protocols that reach a server have in common: transfers that go on where they were cut off.

Only a *large* transfer whose connection has failed is gone on with, over a new connection and within the same call, and
only while that gets further; everything else is left to the next attempt.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import BinaryIO, Self

from slussen.errors import CallError, TransportError
from slussen.transports import TIMEOUT, Entry, Sink, aside_name, is_plain, temporary_name, unusable, versions

ARCHIVE = "archive"
SLOWEST = 1 << 13  # bytes a second: what trickles slower hangs
HASHED = 10_000_000  # bytes a second that a server's disk reads at the least, to hash a file
LARGE = 8 << 20  # bytes
RESUMES = 10
OVERLAP = 1 << 16  # bytes that are compared again where a fetch goes on


def hashing(size: int) -> float:
    """How many seconds a server may take to tell the hash of so many bytes: it says nothing meanwhile."""
    return TIMEOUT + size / HASHED


def free_place(name: str, taken: Collection[str], listed: Collection[str]) -> str:
    """The first place for this name in the archive that is neither listed there nor was found taken."""
    return next(p for v in versions(name) if v not in listed and (p := f"{ARCHIVE}/{v}") not in taken)


class TooMuch(TimeoutError):
    """More came than there should be."""


class Pace:
    """Counts a transfer's bytes; one that trickles, or brings more than there should be, is given up.

    ``seconds`` is how slow it may be at first. Raises TimeoutError.
    """

    def __init__(self, seconds: float, most: int | None = None, so_far: int = 0) -> None:
        self.seconds, self.most = seconds, most
        self.bytes, self._first, self._began = so_far, so_far, time.monotonic()

    def passed(self, size: int) -> None:
        """So many bytes more have gone through."""
        self.bytes += size
        took = time.monotonic() - self._began
        if self.most is not None and self.bytes > self.most:
            raise TooMuch
        if took > self.seconds and self.bytes - self._first < took * SLOWEST:
            raise TimeoutError


class Got:
    """What has come of a file: handed on, counted, its end kept; and what file it was, when it began.

    ``hashing`` keeps a hash too, for servers that can tell theirs of a file's beginning.
    """

    def __init__(self, sink: Sink, *, hashing: bool) -> None:
        self._sink = sink
        self.seen: Entry | None = None
        self.bytes = 0
        self.sha256 = hashlib.sha256() if hashing else None
        self.last = b""

    def take(self, data: bytes | memoryview) -> None:
        self._sink.write(data)
        if self.sha256 is not None:
            self.sha256.update(data)
        self.bytes += len(data)
        self.last = bytes(data[-OVERLAP:]) if len(data) >= OVERLAP else (self.last + data)[-OVERLAP:]


class Remote(ABC):
    """Files on a server; ``encoding`` is that of their names."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def fetch(self, name: str, sink: Sink) -> Entry:
        """A large file that is cut off is gone on with, when it is still the same: by its size and time, and by the
        server's hash of what has come or, where it has none, by the last of it."""
        if not is_plain(name):
            raise unusable(name)
        got = Got(sink, hashing=self._tells_hashes)
        for again in range(RESUMES + 1):
            before = got.bytes
            try:
                return self._fetch_on(name, got)
            except TransportError:
                too_much = got.seen is not None and got.bytes > got.seen.size
                if self._connected or too_much or got.bytes < LARGE or got.bytes == before or again == RESUMES:
                    raise
            self._connect()
        raise AssertionError("unreachable")

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        """A large one that is cut off is gone on with, when what has arrived has the hash of what was sent."""
        start = source.tell() if source.seekable() else None
        place = 0
        for again in range(RESUMES + 1):
            try:
                return self._put_on(name, source, place)
            except TransportError:
                if self._connected or size < LARGE or start is None or again == RESUMES:
                    raise
            self._connect()
            arrived = self._arrived(name, source, start)
            if arrived <= place:
                raise TransportError(f"sending {name}: the connection failed, and nothing more of it had arrived")
            place = arrived
            source.seek(start + place)
        raise AssertionError("unreachable")

    def _arrived(self, name: str, source: BinaryIO, start: int) -> int:
        """How much of the source stands there, whole from its start; 0 when it is anything else."""
        size = self._size_there(name)
        source.seek(start)
        ours, left = hashlib.sha256(), size
        while left and (data := source.read(min(left, OVERLAP))):
            ours.update(data)
            left -= len(data)
        return size if size and not left and self._start_digest(name, size) == ours.hexdigest() else 0

    @property
    @abstractmethod
    def _connected(self) -> bool:
        """Is the connection sound? One that has failed is closed at once."""

    @property
    @abstractmethod
    def _tells_hashes(self) -> bool:
        """Does the server offer the SHA-256 of a file's beginning?"""

    @abstractmethod
    def _connect(self) -> None: ...

    @abstractmethod
    def _fetch_on(self, name: str, got: Got) -> Entry:
        """Fetch what hasn't come yet; refuses to go on with another file than the one that was begun with."""

    @abstractmethod
    def _put_on(self, name: str, source: BinaryIO, place: int) -> None:
        """Write the rest of the source from this place on; 0 is a new file."""

    @abstractmethod
    def _size_there(self, name: str) -> int:
        """0 when there is none."""

    @abstractmethod
    def _start_digest(self, name: str, size: int) -> str:
        """The SHA-256 of a file's first so many bytes."""

    @abstractmethod
    def close(self) -> None: ...

    def cut_short(self, names: Collection[str]) -> list[str]:
        return []  # a name comes whole, or not at all

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return temporary_name(name, interchange, attempt)

    def aside(self, name: str, interchange: str) -> str:
        return aside_name(name, interchange)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _bytes(self, name: str) -> bytes:
        """A name as it stands on the server."""
        try:
            return name.encode(self._encoding, "surrogateescape")
        except UnicodeEncodeError:
            raise CallError(f"{name!r} can't be written in the server's {self._encoding}") from None

    def _name(self, raw: bytes) -> str:
        return raw.decode(self._encoding, "surrogateescape")
