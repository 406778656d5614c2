"""A z/OS dataset over FTP: quoted names, fixed-block records, binary or text.

A dataset's name has qualifiers of at most 8 characters, 44 in all; ``A.B(C)`` is a member of a library. A broken STOR
leaves a catalogued stump unless the server is told CONDDISP=DELETE. A rename onto an existing dataset is refused: what
stands under the name is first set aside under a name that belongs to the interchange that brought it, so that only one
attempt can do so.

Generations: ``A.B(+1)`` is the next one of a group, ``A.B(0)`` the newest, ``A.B(-1)`` the one before. They are looked
up and called by their own names (``A.B.G0007V00``), so that a new one, too, is uploaded under another name and then
renamed; only that keeps it from being made twice. (Assumed: that HANNA rolls a dataset of such a name into its group.)

z/OS tells a dataset's size in tracks, not bytes: to know the size is to read it, here as in what is verified. It has no
restart for what isn't a block: a transfer that is cut off begins anew.
(IBM, z/OS Communications Server: IP User's Guide and Commands, SC27-3662.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from contextlib import suppress
from hashlib import sha256
from typing import Any, BinaryIO, cast

from slussen.errors import CallError
from slussen.transports import TIMEOUT, Entry, Exists, Missing, Sink, in_order
from slussen.transports.ftp import Ftp
from slussen.transports.remote import Pace

QUALIFIER = r"[A-Z#@$][A-Z0-9#@$-]{0,7}"
MEMBER = r"[A-Z#@$][A-Z0-9#@$]{0,7}"
DATASET = re.compile(rf"({QUALIFIER}(?:\.{QUALIFIER})*)(?:\(({MEMBER})\))?")
RELATIVE = re.compile(r"(.+)\((0|[+-]\d{1,3})\)")
GENERATION = re.compile(r"G(\d{4})V\d\d")
PATTERN = re.compile(r"[A-Z0-9#@$.*?-]+(?:\([A-Z0-9#@$*?]+\))?")
LONGEST = 44
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
CYLINDER = 700_000  # bytes of data on a cylinder of a 3390, at an ordinary blocking
ARCHIVED = re.compile(r"A(\d{7})")


class Mvs(Ftp):
    """Datasets of fixed-block records of ``record_length`` bytes; the length matters to deliveries and to text.

    ``text`` sends lines (CRLF), which the server makes records of in its own code page, and reads records as lines.
    The trailing blanks of a line don't survive that: one that has any is refused, as is one that is too long.
    """

    replaces = False

    def __init__(
        self, host: str, port: int | None = None, user: str = "", password: str = "", record_length: int = 80, *,
        text: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        self._record_length, self._text = record_length, text
        super().__init__(host, port, user, password, **more, encoding="ascii")

    def entries(self, pattern: str) -> list[Entry]:
        """Without what has been archived, which stands beside what is to be collected, in its library too."""
        if RELATIVE.fullmatch(pattern):
            entry = self.stat(pattern)
            return [] if entry is None else [entry]
        if not PATTERN.fullmatch(pattern):
            raise CallError(f"{pattern!r} is no pattern of dataset names")
        with self._said("listing"):
            found = []
            for name in self._names(f"'{pattern.replace('?', '%')}'"):
                if _archived(name):
                    continue
                with suppress(Missing):  # taken since it was listed
                    found.append(self._measured(name))
            return in_order(found)

    def stat(self, name: str) -> Entry | None:
        try:
            return self._measured(self._actual(name))
        except Missing:
            return None

    def _measured(self, name: str) -> Entry:
        """Size and hash, by reading: the hash is the best mark that a dataset has stood still."""
        digest, pace = sha256(), Pace(TIMEOUT)
        with self._said(f"reading {name}", quoted(name)):
            self._receive(name, digest.update, pace)
        return Entry(name, pace.bytes, digest.hexdigest())

    def _receive(self, name: str, take: Any, pace: Pace) -> None:
        if self._text:
            self._ftp.voidcmd(f"SITE LRECL={self._record_length} RECFM=FB")
        self._ftp.receive(quoted(name), take, pace, kind=self._kind)

    @property
    def _kind(self) -> str:
        return "A" if self._text else "I"

    def fetch(self, name: str, sink: Sink) -> Entry:
        actual, pace, digest = self._actual(name), Pace(TIMEOUT), sha256()

        def take(data: bytearray) -> None:
            sink.write(data)
            digest.update(data)

        with self._said(f"fetching {name}", quoted(actual)):
            self._receive(actual, take, pace)
        return Entry(actual, pace.bytes, digest.hexdigest())

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        if not self._text and size % (self._record_length or 1):
            raise CallError(f"{name}: {size} bytes are no whole records of {self._record_length}")
        cylinders = size // CYLINDER + 1
        path = self._path(name)
        with self._said(f"sending {name}"):
            if "(" not in name:  # a member has its library's attributes
                self._ftp.voidcmd(f"SITE FILETYPE=SEQ RECFM=FB LRECL={self._record_length} BLKSIZE=0")
                self._ftp.voidcmd(f"SITE CYLINDERS PRIMARY={cylinders} SECONDARY={cylinders // 10 + 1}")
            self._ftp.voidcmd("SITE CONDDISP=DELETE")
            lines = cast(BinaryIO, _Lines(name, source, self._record_length)) if self._text else source
            self._ftp.send(path, lines, Pace(TIMEOUT), kind=self._kind)

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By reading it back."""
        found = self._measured(self._actual(name))
        return (found.size, found.modified) == (size, sha256)

    def digest(self, name: str) -> str:
        return self._measured(self._actual(name)).modified

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        relative = RELATIVE.fullmatch(new)
        while True:
            try:
                return super().rename(old, new, replace=replace)
            except Exists:  # a next generation is always free: somebody else has made this one meanwhile
                if relative is None or int(relative[2]) < 1:
                    raise

    def shelf(self, name: str, taken: Collection[str] = ()) -> str:
        """``<name>.A0000001`` and on: the server itself refuses a name that is taken."""
        actual = self._actual(name)
        library, member = _parts(actual)
        base = _base(actual, actual)
        with self._said(f"archiving {name}"):
            listed = self._names(f"'{library}(A*)'" if member else f"'{base}.A*'")
        number = max(map(_archived, (*listed, *taken)), default=0) + 1
        return f"{library}(A{number:07d})" if member else f"{base}.A{number:07d}"

    def archive(self, seen: Entry, place: str) -> str:
        self.rename(seen.name, place, replace=False)
        return place

    def shelved(self, place: str) -> Entry | None:
        return self.stat(place)

    def shelved_digest(self, place: str) -> str:
        return self.digest(place)

    def put_back(self, place: str, name: str) -> None:
        self.rename(place, name, replace=False)

    def _look(self, path: str) -> bool:
        return bool(self._names(path))  # the catalogue knows

    def _names(self, folder: str) -> list[str]:
        """Of a library's members only the names are told."""
        library, _, member = folder.strip("'").partition("(")
        names = [name.strip("'") for name in super()._names(folder)]
        return [n if "(" in n or not member else f"{library}({n})" for n in names]

    def _path(self, name: str) -> str:
        return quoted(self._actual(name))

    def _actual(self, name: str) -> str:
        """The generation that a relative name means now; any other name as it is."""
        relative = RELATIVE.fullmatch(name)
        if relative is None:
            return name
        base, number = _parts(relative[1])[0], int(relative[2])
        with self._said(f"looking for {name}"):
            found = sorted(n for n in self._names(f"'{base}.G*'") if GENERATION.fullmatch(n.rpartition(".")[2]))
        if number > 0:
            newest = int(found[-1][-7:-3]) if found else 0
            return f"{base}.G{(newest + number - 1) % 9999 + 1:04d}V00"
        if len(found) < 1 - number:
            raise Missing(f"{name}: there is no such generation")
        return found[number - 1]

    def cut_short(self, names: Collection[str]) -> list[str]:
        return []  # a name stands in quotes

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return _sibling(name, "T", f"{interchange}.{attempt}")

    def aside(self, name: str, interchange: str) -> str:
        return _sibling(name, "R", interchange)


class _Lines:
    """A text's lines, checked as they are read. Raises CallError, which names a line by its number."""

    def __init__(self, name: str, source: BinaryIO, length: int) -> None:
        self.name, self.source, self.length, self.number = name, source, length, 0

    def read(self, size: int) -> bytes:
        lines = self.source.readlines(size)
        for line in lines:
            self.number += 1
            text = line.removesuffix(b"\r\n")
            if len(text) == len(line) or len(text) > self.length or text.endswith(b" "):
                raise CallError(
                    f"{self.name}: line {self.number} has no CRLF, more than {self.length} characters or trailing "
                    "blanks, which text doesn't keep. Next: deliver it binary"
                )
        return b"".join(lines)


def quoted(name: str) -> str:
    """The name in quotes: a full dataset name, not one below the user's own prefix.

    Raises:
        CallError: it is no dataset name.
    """
    _parts(name)
    return f"'{name}'"


def _parts(name: str) -> tuple[str, str]:
    """Dataset and member; the member is empty where there is none."""
    match = DATASET.fullmatch(name)
    if match is None or len(match[1]) > LONGEST:
        raise CallError(f"{name!r} is no dataset name: qualifiers of at most 8 characters, {LONGEST} in all")
    return match[1], match[2] or ""


def _archived(name: str) -> int:
    """The number that the archive gave this name; 0: it is no name in the archive."""
    match = ARCHIVED.fullmatch(name.rstrip(")").replace("(", ".").rpartition(".")[2])
    return int(match[1]) if match else 0


def _sibling(name: str, kind: str, key: str) -> str:
    """A dataset beside this one: the last qualifier, or the member, is a letter and 7 characters of a hash."""
    number = int.from_bytes(hashlib.sha256(f"{name} {key}".encode()).digest()[:8])
    unique = kind + "".join(ALPHABET[number >> 5 * k & 31] for k in range(7))
    if relative := RELATIVE.fullmatch(name):
        return f"{_base(name, relative[1])}.{unique}"
    library, member = _parts(name)
    return f"{library}({unique})" if member else f"{_base(name, name.rpartition('.')[0])}.{unique}"


def _base(name: str, base: str) -> str:
    """What an eight-letter qualifier is put after: as much of the name as leaves room, the first one always."""
    while len(base) + 9 > LONGEST:
        base = base.rpartition(".")[0]
    return base or _parts(name)[0].partition(".")[0]
