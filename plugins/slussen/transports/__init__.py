"""Ways to move a file: one small interface, and what each protocol makes of it.

Names are plain names in the endpoint's one folder (or dataset names): nothing leads out of it. A name that is no UTF-8
is a ``str`` with surrogate escapes, as Python's own file functions make them. Every network step is bounded by
``TIMEOUT``. A fault that passes is a ``TransportError``, one that doesn't a ``TransportRefused``: by errno, or by
the reply's code.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from typing import BinaryIO, Literal, Protocol, Self

from slussen.errors import CallError, TransportError, TransportRefused

LONGEST = 255  # bytes of a file's name
TIMEOUT = 30  # seconds that one network step may take
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MOMENT = re.compile(r"\d{14}(\.\d+)?")  # a time as FTP's MDTM tells it
UNTEXTUAL = re.compile("[\ud800-\udfff\ufffe\uffff]")  # bytes that were no letters, and what XML forbids
FOREIGN = ("cp1252", "cp850")  # what partners' machines write names in, where it isn't UTF-8


class Missing(TransportError):
    """There is no such file: for a delivery, somebody else has moved it. Never said on a mere refusal."""


class Exists(TransportRefused):
    """There is a file of this name already, and it may not be replaced."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file at an endpoint: ``size`` in bytes; ``modified`` is whatever the server says, compared with itself only.

    ``answers`` is the id of the message that the message which brought the file says it answers.
    """

    name: str
    size: int
    modified: str
    answers: str = ""


class Sink(Protocol):
    """Where fetched bytes go. It keeps none that it is handed: their memory is used again."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...


class Source(Protocol):
    """An open way to where files come from; a context manager. Every protocol has this half."""

    def entries(self, pattern: str) -> list[Entry]:
        """The files whose names match (``*``, ``?``), without hidden ones. A name that can't be used comes last, and
        is refused when it is fetched: the others go on, and it isn't passed over in silence."""
        ...

    def stat(self, name: str) -> Entry | None:
        """The file as ``entries`` would show it, or None."""
        ...

    def fetch(self, name: str, sink: Sink) -> Entry:
        """Copy a file into the sink, and check that it is as long as it was said to be; the file as it was then.

        Raises Missing.
        """
        ...

    def shelf(self, name: str, taken: Collection[str] = ()) -> str:
        """A place in the archive at the source that is free for a file of this name, none of those found taken.

        Empty where files are messages: they are known by more than their names, and archived where they should be.
        """
        ...

    def archive(self, seen: Entry, place: str) -> str:
        """Move what has this name to its place, over nothing that is there; where it is now. Of messages, the very one
        that was seen. ``slussen.archiving`` looks before and afterwards.

        Raises:
            Missing: there is none.
            Exists: the place is taken.
        """
        ...

    def shelved(self, place: str) -> Entry | None:
        """What stands at a place in the archive."""
        ...

    def shelved_digest(self, place: str) -> str:
        """The SHA-256 of what stands at a place in the archive. Raises Missing."""
        ...

    def put_back(self, place: str, name: str) -> None:
        """Give what stands at a place in the archive its name again. Raises Missing, Exists."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Transport(Source, Protocol):
    """A protocol that can rename: what the fenced delivery is built on."""

    replaces: bool  # does a rename onto an existing name replace it?

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        """Write a file of this (temporary) name and size, replacing a stump of it; durable where we can make it so."""
        ...

    def exists(self, name: str) -> bool: ...

    def digest(self, name: str) -> str:
        """The SHA-256 of what stands there, by the server or read back. Raises Missing."""
        ...

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """Is what stands there what was sent? As sure as the protocol allows at the price of a glance."""
        ...

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        """Give a file its other name, in one step. Raises Missing, Exists."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; it is no fault when there is none."""
        ...

    def cut_short(self, names: Collection[str]) -> list[str]:
        """What stands there under the mere beginning of one of these names.

        Where commands are lines, one that was cut off with its connection may have been carried out all the same.
        """
        ...

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        """The name under which this attempt uploads: its own, and one that no consumer takes."""
        ...

    def aside(self, name: str, interchange: str) -> str:
        """Where the content of this earlier interchange is kept while a later one takes its name."""
        ...


class Unknown(TransportError):
    """A message was handed over, and the reply was lost: nobody knows whether it goes on. Never resent blindly."""


class Doubtful(TransportRefused):
    """A message was handed over, and what answered isn't who it should be: final, and nobody knows either."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a message protocol sends: ``id`` is deterministic, the same for every attempt of an interchange."""

    id: str
    name: str
    sha256: str
    bytes: int
    records: int = 0
    answers: str = ""  # the id of the message that this one answers


@dataclass(frozen=True, slots=True)
class Notice:
    """A receipt as a message protocol brings it, matched by the id of the message that it is about.

    ``kind`` and ``outcome`` are the ledger's words, ``delayed`` that the receipt is still to come; ``reference`` names
    the notice itself, at the endpoint; ``detail`` is a code of the protocol, never text that somebody wrote. A notice
    that can't be read, or isn't from who it should be, is ``about`` nothing.
    """

    reference: str
    about: str
    kind: Literal["delivery", "read"]
    outcome: Literal["accepted", "with errors", "rejected", "delayed"]
    detail: str = ""


class ByMessage:
    """What a source of messages says of its archive: a message goes where it should, and is never mistaken."""

    def shelf(self, name: str, taken: Collection[str] = ()) -> str:
        return ""

    def shelved(self, place: str) -> Entry | None:
        return None

    def shelved_digest(self, place: str) -> str:
        raise Missing(f"{place}: a message is known by its id")

    def put_back(self, place: str, name: str) -> None:
        raise Missing(f"{name}: a message that was archived stays there")


class Messenger(Source, Protocol):
    """A protocol without a rename: a message with a deterministic id, and receipts that come back."""

    resends: bool  # does the other end know a message id again, so that sending it twice is one message?

    def message_id(self, interchange: str) -> str:
        """The id of this interchange's message, in the protocol's form."""
        ...

    def send(self, message: Message, source: BinaryIO) -> str:
        """Hand the message over; what the other end says it is (a queue or transaction id).

        Raises:
            TransportError: it was certainly not taken.
            TransportRefused: it was refused for good.
            Unknown, Doubtful: it may have been taken.
        """
        ...

    def notices(self) -> list[Notice]:
        """The receipts that wait at the endpoint."""
        ...

    def settle(self, notice: Notice) -> None:
        """Take a receipt that is in the ledger out of the way."""
        ...


def plain(name: str) -> str:
    """The name, if it is a plain one.

    Raises:
        CallError: it is empty, leads elsewhere, or holds control characters.
    """
    if not is_plain(name):
        raise CallError(f"{name!r} is no plain file name")
    return name


def is_plain(name: str) -> bool:
    """Does this name stay in its folder, on its line, and in its command?"""
    return not (name in ("", ".", "..") or "/" in name or "\\" in name or CONTROL.search(name))


def carried(name: str) -> str:
    """The name, if a message can carry it: headers and labels hold text, not bytes.

    Raises:
        TransportRefused: it is no plain name, or no text.
    """
    if is_plain(name) and not UNTEXTUAL.search(name):
        return name
    raise TransportRefused(
        f"{name!r} is no name that a message can carry; nothing was sent. Next: mend the target's name"
    )


def matches(name: str, pattern: str) -> bool:
    """Does a listed name match, however its letters are composed or encoded? Hidden names never do."""
    if name.startswith("."):
        return False
    spellings = [name]
    raw = name.encode("utf-8", "surrogateescape")
    if not name.isascii() and raw != name.encode("utf-8", "replace"):
        spellings += [raw.decode(encoding, "replace") for encoding in FOREIGN]
    pattern = unicodedata.normalize("NFC", pattern)
    return any(fnmatchcase(unicodedata.normalize("NFC", spelling), pattern) for spelling in spellings)


def no_file(name: str) -> Entry:
    """How a link, a pipe or a device is listed: not passed over, and refused when it is fetched."""
    return Entry(f"{name}, which is no regular file/", 0, "")


def is_made_up(name: str) -> bool:
    """Does this name stand for something that has none that could be used, and say what is wrong with it?"""
    return name.endswith("/") and ", which " in name


def unusable(name: str) -> TransportRefused:
    """Why a file with such a name is not fetched."""
    if is_made_up(name):
        shown = CONTROL.sub("?", name[:-1])
        return TransportRefused(f"{shown}: it is left where it is. Next: look at it there, and have it taken away")
    return TransportRefused(f"{name!r} is no plain file name: it is left where it is. Next: have it renamed")


def differs(entry: Entry, seen: Entry) -> bool:
    """Is this another file than the one that was seen? A time that a server doesn't tell says nothing."""
    times = {e.modified for e in (entry, seen)}
    comparable = "" not in times and len({MOMENT.fullmatch(t) is None for t in times}) == 1  # FTP's LIST has others
    return entry.size != seen.size or (comparable and len(times) > 1)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """By name, those that can't be used last."""
    return sorted(entries, key=lambda e: (not is_plain(e.name), e.name))


def versions(name: str) -> Iterable[str]:
    """Names for the archive, until one is free: ``a.txt``, ``a.txt.2``, ``a.txt.3`` …"""
    yield name
    for n in count(2):
        yield f"{_fitting(name, LONGEST - len(f'.{n}'))}.{n}"


def temporary_name(name: str, interchange: str, attempt: int) -> str:
    """``.<final>.<interchange>.<attempt>.tmp``: hidden, and matched by no consumer's pattern."""
    return _hidden(name, f"{interchange}.{attempt}.tmp")


def aside_name(name: str, interchange: str) -> str:
    """``.<final>.<interchange>.old``: hidden, and one for each interchange that stood under the name."""
    return _hidden(name, f"{interchange}.old")


def _hidden(name: str, rest: str) -> str:
    """Beside the name."""
    return f".{_fitting(name, LONGEST - len(rest) - 2)}.{rest}"


def _fitting(name: str, room: int) -> str:
    """The name; what stands for one that has no room, in bytes, is a hash of it."""
    raw = name.encode("utf-8", "surrogateescape")
    return name if len(raw) <= room else hashlib.sha256(raw).hexdigest()[:32]
