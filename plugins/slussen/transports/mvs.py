"""A z/OS dataset over FTP: quoted names, fixed-block records, binary.

A dataset's name has qualifiers of at most 8 characters, 44 in all. A broken STOR leaves a catalogued stump unless the
server is told CONDDISP=DELETE. A rename onto an existing dataset is refused: what stands under the name is first set
aside under a name that belongs to the interchange that brought it, so that only one attempt can do so.

z/OS tells a dataset's size in tracks, not bytes: to know the size is to read it, here as in what is verified.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from hashlib import sha256
from typing import BinaryIO

from slussen.errors import CallError
from slussen.transports import Entry, Exists, Missing, Sink, in_order
from slussen.transports.ftp import CHUNK, Ftp

QUALIFIER = r"[A-Z#@$][A-Z0-9#@$-]{0,7}"
DATASET = re.compile(rf"{QUALIFIER}(\.{QUALIFIER})*")
PATTERN = re.compile(r"[A-Z0-9#@$.*?-]+")
LONGEST = 44
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
CYLINDER = 700_000  # bytes of data on a cylinder of a 3390, at an ordinary blocking
ARCHIVED = re.compile(r"A(\d{7})")


class Mvs(Ftp):
    """Datasets of fixed-block records of ``record_length`` bytes; the length matters to deliveries only."""

    replaces = False

    def __init__(
        self, host: str, port: int | None = None, user: str = "", password: str = "", record_length: int = 80
    ) -> None:
        super().__init__(host, port, user, password, encoding="ascii")
        self._record_length = record_length

    def entries(self, pattern: str) -> list[Entry]:
        if not PATTERN.fullmatch(pattern):
            raise CallError(f"{pattern!r} is no pattern of dataset names")
        with self._said("listing"):
            found = []
            for name in self._names(f"'{pattern.replace('?', '%')}'"):
                with suppress(Missing):  # taken since it was listed
                    found.append(self._measured(name))
            return in_order(found)

    def stat(self, name: str) -> Entry | None:
        try:
            return self._measured(name)
        except Missing:
            return None

    def _measured(self, name: str) -> Entry:
        """Size and hash, by reading: the hash is the best mark that a dataset has stood still."""
        path, digest = quoted(name), sha256()
        with self._said(f"reading {name}", path):
            size = self._receive(path, digest.update)
        return Entry(name, size, digest.hexdigest())

    def fetch(self, name: str, sink: Sink) -> None:
        path = quoted(name)
        with self._said(f"fetching {name}", path):
            self._receive(path, sink.write)

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        if size % (self._record_length or 1):
            raise CallError(f"{name}: {size} bytes are no whole records of {self._record_length}")
        cylinders = size // CYLINDER + 1
        path = quoted(name)
        with self._said(f"sending {name}"):
            self._ftp.voidcmd(f"SITE FILETYPE=SEQ RECFM=FB LRECL={self._record_length} BLKSIZE=0")
            self._ftp.voidcmd(f"SITE CYLINDERS PRIMARY={cylinders} SECONDARY={cylinders // 10 + 1}")
            self._ftp.voidcmd("SITE CONDDISP=DELETE")
            self._ftp.storbinary(f"STOR {path}", source, CHUNK)

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By reading it back."""
        found = self._measured(name)
        return (found.size, found.modified) == (size, sha256)

    def digest(self, name: str) -> str:
        return self._measured(name).modified

    def archive(self, name: str, seen: Entry | None = None) -> str:
        """``<name>.A0000001`` and on: the server itself refuses a name that is taken."""
        if seen is not None and self.stat(name) != seen:
            raise Missing(f"archiving {name}: another dataset has taken the name since it was collected")
        base = _base(name, name)
        with self._said(f"archiving {name}"):
            taken = (ARCHIVED.fullmatch(n.rpartition(".")[2]) for n in self._names(f"'{base}.A*'"))
            number = max((int(m[1]) for m in taken if m), default=0)
        while True:
            number += 1
            archived = f"{base}.A{number:07d}"
            with suppress(Exists):
                self.rename(name, archived, replace=False)
                return archived

    def _there(self, path: str) -> bool:
        return bool(self._names(path))

    def _gone(self, path: str) -> bool:
        return not self._there(path)  # the catalogue knows

    def _names(self, folder: str) -> list[str]:
        return [name.strip("'") for name in super()._names(folder)]

    def _path(self, name: str) -> str:
        return quoted(name)

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return _sibling(name, "T", f"{interchange}.{attempt}")

    def aside(self, name: str, interchange: str) -> str:
        return _sibling(name, "R", interchange)


def quoted(name: str) -> str:
    """The name in quotes: a full dataset name, not one below the user's own prefix.

    Raises:
        CallError: it is no dataset name.
    """
    if len(name) > LONGEST or not DATASET.fullmatch(name):
        raise CallError(f"{name!r} is no dataset name: qualifiers of at most 8 characters, {LONGEST} in all")
    return f"'{name}'"


def _sibling(name: str, kind: str, key: str) -> str:
    """A dataset beside this one: the last qualifier is a letter and 7 characters of a hash."""
    number = int.from_bytes(hashlib.sha256(f"{name} {key}".encode()).digest()[:8])
    letters = "".join(ALPHABET[number >> 5 * k & 31] for k in range(7))
    return f"{_base(name, name.rpartition('.')[0])}.{kind}{letters}"


def _base(name: str, base: str) -> str:
    """What an eight-letter qualifier is put after: as much of the name as leaves room, the first one always."""
    while len(base) + 9 > LONGEST:
        base = base.rpartition(".")[0]
    return base or quoted(name)[1:-1].partition(".")[0]
