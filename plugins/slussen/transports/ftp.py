"""A folder on an FTP server, by Python's ftplib, with our own timeouts, checks and reading of replies.

A rename on most servers replaces what stands under the new name. We look first; against a foreign writer in between
no FTP server gives protection, which is why a name that is ours alone carries date and number.
"""

from __future__ import annotations

import ftplib
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import BinaryIO, Self

from slussen.errors import TransportError, TransportRefused
from slussen.transports import TIMEOUT, Entry, Exists, Missing, Sink, plain, temporary_name

CHUNK = 1 << 18
ARCHIVE = "archive"


class Ftp:
    """Files in one folder of a server; collected ones go to ``archive`` in it."""

    replaces = True

    def __init__(
        self, host: str, port: int | None = None, user: str = "", password: str = "", folder: str = "",
        encoding: str = "utf-8",
    ) -> None:  # fmt: skip
        with _said(f"connecting to {host}"):
            self._ftp = ftplib.FTP(timeout=TIMEOUT, encoding=encoding)
            self._ftp.connect(host, port or ftplib.FTP_PORT)
            self._ftp.login(user, password)
            self._ftp.voidcmd("TYPE I")
            if folder:
                self._ftp.cwd(folder)

    def entries(self, pattern: str) -> list[Entry]:
        with _said("listing"):
            try:
                names = [(n, facts) for n, facts in self._ftp.mlsd(facts=["type", "size", "modify"])]
            except ftplib.error_perm as error:
                if not str(error).startswith("50"):
                    raise
                return self._list_by_name(plain(pattern))
        return sorted(
            (Entry(n, int(facts["size"]), facts.get("modify", "")) for n, facts in names
             if facts.get("type") == "file" and not n.startswith(".") and fnmatchcase(n, plain(pattern))),
            key=lambda e: e.name,
        )  # fmt: skip

    def _list_by_name(self, pattern: str) -> list[Entry]:
        """For servers without MLSD: names, then size and time of each."""
        found = []
        for path in sorted(self._ftp.nlst()):
            name = path.rpartition("/")[2]
            if not name.startswith(".") and fnmatchcase(name, pattern):
                found.append(Entry(name, self._size(name), self._ftp.voidcmd(f"MDTM {name}")))
        return found

    def _size(self, name: str) -> int:
        """In bytes; a listing has left the connection in ASCII mode, in which many servers refuse SIZE."""
        self._ftp.voidcmd("TYPE I")
        return int(self._ftp.voidcmd(f"SIZE {plain(name)}").split()[1])

    def fetch(self, name: str, sink: Sink) -> None:
        got = 0

        def take(data: bytes) -> None:
            nonlocal got
            sink.write(data)
            got += len(data)

        with _said(f"fetching {name}"):
            size = self._size(name)
            self._ftp.retrbinary(f"RETR {name}", take, CHUNK)
        if got != size:
            raise TransportError(f"fetching {name}: {got} bytes came, the server says {size}")

    def put(self, name: str, source: BinaryIO) -> None:
        with _said(f"sending {name}"):
            self._ftp.storbinary(f"STOR {plain(name)}", source, CHUNK)

    def exists(self, name: str) -> bool:
        with _said(f"looking for {name}"):
            try:
                self._size(name)
            except ftplib.error_perm as error:
                if str(error).startswith("550"):
                    return False
                raise
            return True

    def digest(self, name: str) -> str:
        digest = hashlib.sha256()
        with _said(f"reading back {name}"):
            self._ftp.retrbinary(f"RETR {plain(name)}", digest.update, CHUNK)
        return digest.hexdigest()

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By size: a server that lies about it is found by its receipt."""
        with _said(f"verifying {name}"):
            return self._size(name) == size

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        if not replace and self.exists(new):
            if not self.exists(old):
                raise Missing(f"renaming to {new}: there is nothing to rename")
            raise Exists(f"renaming to {new}: the name is taken")
        with _said(f"renaming to {new}"):
            self._ftp.rename(plain(old), plain(new))

    def remove(self, name: str) -> None:
        with _said(f"removing {name}"):
            try:
                self._ftp.delete(plain(name))
            except ftplib.error_perm as error:
                if not str(error).startswith("550"):
                    raise

    def archive(self, name: str) -> str:
        with _said(f"archiving {name}"):
            try:
                self._ftp.mkd(ARCHIVE)
            except ftplib.error_perm as error:
                if not str(error).startswith("5"):
                    raise
            archived, n = f"{ARCHIVE}/{plain(name)}", 1
            taken = {path.rpartition("/")[2] for path in self._names(ARCHIVE)}
            while archived.rpartition("/")[2] in taken:
                n += 1
                archived = f"{ARCHIVE}/{name}.{n}"
            self._ftp.rename(name, archived)
        return archived

    def _names(self, folder: str) -> list[str]:
        try:
            return self._ftp.nlst(folder)
        except ftplib.error_perm as error:  # an empty folder is 550 on some servers
            if str(error).startswith("550"):
                return []
            raise

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return temporary_name(name, interchange, attempt)

    def aside(self, name: str, interchange: str) -> str:
        return f".{name}.{interchange}.old"

    def close(self) -> None:
        try:
            self._ftp.quit()
        except (OSError, EOFError, ftplib.Error):
            self._ftp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@contextmanager
def _said(doing: str) -> Iterator[None]:
    """ftplib's errors as ours, by the reply code: 4xx passes, 5xx doesn't, 550 is a file that isn't there.

    The server's own words are left out: they may quote a name or a line of what was sent.
    """
    try:
        yield
    except ftplib.error_temp as error:
        raise TransportError(f"{doing}: the server says {str(error)[:3]}") from None
    except ftplib.error_perm as error:
        code = str(error)[:3]
        if code == "550":
            raise Missing(f"{doing}: there is none (550)") from None
        kind = TransportError if code in ("552",) else TransportRefused
        raise kind(f"{doing}: the server refuses ({code})") from None
    except (ftplib.Error, EOFError, OSError) as error:
        raise TransportError(f"{doing}: {type(error).__name__}: the connection failed") from None
