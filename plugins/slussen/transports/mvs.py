"""A z/OS dataset over FTP: quoted names, fixed-block records, binary.

A dataset's name has qualifiers of at most 8 characters, 44 in all. A broken STOR leaves a catalogued stump unless the
server is told CONDDISP=DELETE. A rename onto an existing dataset is refused: what stands under the name is first set
aside under a name that belongs to the interchange that brought it, so that only one attempt can do so.
"""

from __future__ import annotations

import ftplib
import re
from hashlib import sha256
from typing import BinaryIO

from slussen.errors import CallError
from slussen.transports import Exists, Missing
from slussen.transports.ftp import CHUNK, Ftp, _said

DATASET = re.compile(r"[A-Z#@$][A-Z0-9#@$-]{0,7}(\.[A-Z#@$][A-Z0-9#@$-]{0,7})*")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Mvs(Ftp):
    """Datasets of fixed-block records of ``record_length`` bytes."""

    replaces = False

    def __init__(
        self, host: str, port: int | None = None, user: str = "", password: str = "", record_length: int = 80
    ) -> None:
        super().__init__(host, port, user, password)
        self._record_length = record_length

    def put(self, name: str, source: BinaryIO) -> None:
        with _said(f"sending {name}"):
            self._ftp.voidcmd(f"SITE RECFM=FB LRECL={self._record_length}")
            self._ftp.voidcmd("SITE CONDDISP=DELETE")
            self._ftp.storbinary(f"STOR {quoted(name)}", source, CHUNK)

    def exists(self, name: str) -> bool:
        with _said(f"looking for {name}"):
            return bool(self._names(quoted(name)))

    def fetch(self, name: str, sink: object) -> None:
        with _said(f"fetching {name}"):
            self._ftp.retrbinary(f"RETR {quoted(name)}", sink.write, CHUNK)  # type: ignore[attr-defined]

    def digest(self, name: str) -> str:
        digest = sha256()
        with _said(f"reading back {name}"):
            self._ftp.retrbinary(f"RETR {quoted(name)}", digest.update, CHUNK)
        return digest.hexdigest()

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By reading it back: z/OS tells tracks, not bytes."""
        return self.digest(name) == sha256

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        with _said(f"renaming to {new}"):
            try:
                self._ftp.rename(quoted(old), quoted(new))
            except ftplib.error_perm:
                if self._names(quoted(new)):
                    if not self._names(quoted(old)):
                        raise Missing(f"renaming to {new}: there is nothing to rename") from None
                    raise Exists(f"renaming to {new}: the dataset is there already") from None
                raise

    def remove(self, name: str) -> None:
        super().remove(quoted(name))

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return _sibling(name, "T", f"{interchange}.{attempt}")

    def aside(self, name: str, interchange: str) -> str:
        return _sibling(name, "R", interchange)


def quoted(name: str) -> str:
    """The name in quotes: a full dataset name, not one below the user's own prefix.

    Raises:
        CallError: it is no dataset name.
    """
    if len(name) > 44 or not DATASET.fullmatch(name):
        raise CallError(f"{name!r} is no dataset name: qualifiers of at most 8 characters, 44 in all")
    return f"'{name}'"


def _sibling(name: str, kind: str, key: str) -> str:
    """A dataset beside this one: the last qualifier is a letter and 7 characters of a hash."""
    number = int.from_bytes(sha256(f"{name} {key}".encode()).digest()[:8])
    letters = "".join(ALPHABET[number >> 5 * k & 31] for k in range(7))
    return f"{name.rpartition('.')[0]}.{kind}{letters}"
