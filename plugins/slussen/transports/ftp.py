"""A folder on an FTP server, by Python's ftplib, with our own timeouts, checks and reading of replies.

A rename on most servers replaces what stands under the new name. We look first; against a foreign writer in between
no FTP server gives protection, which is why a name that is ours alone carries date and number.

Data connections go to the control connection's peer, whatever address the server names (ftplib's default). Names are
sent and read as bytes in the endpoint's own encoding, so that a name in another one in the same folder does no harm.
"""

from __future__ import annotations

import ftplib
import hashlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Self

from slussen.errors import CallError, TransportError, TransportRefused
from slussen.transports import (
    TIMEOUT,
    Entry,
    Exists,
    Missing,
    Sink,
    aside_name,
    in_order,
    is_plain,
    matches,
    plain,
    temporary_name,
    versions,
)

CHUNK = 1 << 18
SLOWEST = 1 << 13  # bytes a second: what trickles slower hangs
ARCHIVE = "archive"
ABSENT, QUOTA = "550", "552"
DIGEST = re.compile(r"\b[0-9a-fA-F]{64}\b")
MODIFIED = re.compile(r"(?i)\bmodify=([^;]*);")
IN_USE = re.compile(r"in use|being used|busy|locked", re.IGNORECASE)


class Ftp:
    """Files in one folder of a server; collected ones go to ``archive`` in it.

    ``encoding`` is that of names; ``read_back`` fetches what was sent, where the server gives no hash of it.
    """

    replaces = True

    def __init__(
        self, host: str, port: int | None = None, user: str = "", password: str = "", folder: str = "",
        encoding: str = "utf-8", read_back: bool = False,
    ) -> None:  # fmt: skip
        self._encoding, self._read_back = encoding, read_back
        self._ftp = ftplib.FTP(timeout=TIMEOUT, encoding="latin-1")  # one letter, one byte
        try:
            with self._said(f"connecting to {host}", connecting=True):
                self._ftp.connect(host, port or ftplib.FTP_PORT)
                if self._ftp.sock is not None:
                    self._ftp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._ftp.login(user, password)
                self._features = self._ask_features()
                if folder:
                    self._ftp.cwd(self._wire(folder))
        except Exception:
            self._ftp.close()
            raise

    def entries(self, pattern: str) -> list[Entry]:
        with self._said("listing"):
            found = self._listed(pattern) if "MLST" in self._features else self._looked_up(pattern)
            return in_order(found)

    def _listed(self, pattern: str) -> Iterator[Entry]:
        for wire, facts in list(self._ftp.mlsd(facts=["type", "size", "modify"])):
            name = self._unwire(wire)
            if facts.get("type", "").lower() == "file" and matches(name, pattern):
                size = facts.get("size", "")
                yield Entry(name, int(size) if size.isdigit() else self._size(wire), facts.get("modify", ""))

    def _looked_up(self, pattern: str) -> Iterator[Entry]:
        """For servers without MLSD: names, then size and time of each; a folder has none, nor what has gone since."""
        for wire in self._names(""):
            name = self._unwire(wire)
            if matches(name, pattern) and (entry := self._entry(name, wire)) is not None:
                yield entry

    def stat(self, name: str) -> Entry | None:
        with self._said(f"looking for {name}"):
            return self._entry(name, self._path(name))

    def _entry(self, name: str, path: str) -> Entry | None:
        try:
            size = self._size(path)
        except ftplib.error_perm as error:
            if code(error) == ABSENT:
                return None
            raise
        return Entry(name, size, self._modified(path))

    def _modified(self, path: str) -> str:
        """As the listing says it, else by MDTM; a server that tells neither is no fault."""
        try:
            if "MLST" in self._features:
                found = MODIFIED.search(self._ftp.sendcmd(f"MLST {path}"))
                return found[1] if found else ""
            return self._ftp.sendcmd(f"MDTM {path}")[4:].strip()
        except ftplib.error_perm:
            return ""

    def _size(self, path: str) -> int:
        """In bytes; a listing has left the connection in ASCII mode, in which many servers refuse SIZE."""
        self._ftp.voidcmd("TYPE I")
        return int(self._ftp.sendcmd(f"SIZE {path}")[4:].split()[0])

    def fetch(self, name: str, sink: Sink) -> None:
        if not is_plain(name):
            raise TransportRefused(f"{name!r} is no plain file name: have it renamed")
        path = self._path(name)
        with self._said(f"fetching {name}", path):
            size = self._size(path)
            got = self._receive(path, sink.write, size)
        if got != size:
            raise TransportError(f"fetching {name}: {got} bytes came, the server says {size}")

    def _receive(self, path: str, take: Callable[[bytes], object], size: int | None = None) -> int:
        """Take a file's bytes, and count them; a trickle, or more than there should be, is given up."""
        began, got = time.monotonic(), 0

        def counted(data: bytes) -> None:
            nonlocal got
            got += len(data)
            take(data)
            took = time.monotonic() - began
            if (took > TIMEOUT and got < took * SLOWEST) or (size is not None and got > size):
                raise TimeoutError

        self._ftp.retrbinary(f"RETR {path}", counted, CHUNK)
        return got

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        path = self._path(name)
        with self._said(f"sending {name}"):
            self._ftp.storbinary(f"STOR {path}", source, CHUNK)

    def exists(self, name: str) -> bool:
        path = self._path(name)
        with self._said(f"looking for {name}"):
            return self._there(path)

    def _there(self, path: str) -> bool:
        try:
            self._size(path)
        except ftplib.error_perm as error:
            if code(error) == ABSENT:
                return False
            raise
        return True

    def _gone(self, path: str) -> bool:
        """Is it certain that there is no such file? 550 alone may be a refusal; two ways to look must agree."""
        return not self._there(path) and path not in self._names("")

    def digest(self, name: str) -> str:
        path = self._path(name)
        with self._said(f"reading back {name}", path):
            if told := self._told_digest(path):
                return told
            digest = hashlib.sha256()
            self._receive(path, digest.update)
            return digest.hexdigest()

    def _told_digest(self, path: str) -> str:
        """The server's own SHA-256 of a file, where it offers one (HASH, XSHA256); else nothing."""
        try:
            if any(f.startswith("HASH") and "SHA-256" in f for f in self._features.values()):
                self._ftp.sendcmd("OPTS HASH SHA-256")
                reply = self._ftp.sendcmd(f"HASH {path}")
            elif "XSHA256" in self._features:
                reply = self._ftp.sendcmd(f"XSHA256 {path}")
            else:
                return ""
        except ftplib.error_perm:
            return ""
        found = DIGEST.search(reply)
        return found[0].lower() if found else ""

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By size, and by the server's hash where it offers one; reading it back is the endpoint's choice."""
        path = self._path(name)
        with self._said(f"verifying {name}", path):
            told = self._size(path) == size and self._told_digest(path)
        if told == "" and self._read_back:
            told = self.digest(name)
        return told in ("", sha256)

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        source, target = self._path(old), self._path(new)
        with self._said(f"renaming to {new}"):
            if not replace and self.replaces and self._there(target):
                raise self._taken(new) if self._there(source) else self._nothing(new)
            try:
                self._ftp.rename(source, target)
            except ftplib.error_perm as error:
                # The code says no more than no. Missing tells a delivery that another attempt has moved the file on,
                # so it must be certain.
                if code(error) != ABSENT:
                    raise
                if self._gone(source):
                    raise self._nothing(new) from None
                if self._there(target):
                    raise self._taken(new) from None
                raise self._refusal(f"renaming to {new}", error) from None

    def _nothing(self, new: str) -> Missing:
        return Missing(f"renaming to {new}: there is nothing to rename")

    def _taken(self, new: str) -> Exists:
        return Exists(f"renaming to {new}: the name is taken")

    def remove(self, name: str) -> None:
        path = self._path(name)
        with self._said(f"removing {name}"):
            try:
                self._ftp.delete(path)
            except ftplib.error_perm as error:
                if code(error) != ABSENT or self._there(path):
                    raise

    def archive(self, name: str, seen: Entry | None = None) -> str:
        """A collector at the same moment could take the free name first: the folder is one collector's."""
        path = self._path(name)
        with self._said(f"archiving {name}", path):
            with suppress(ftplib.error_perm):  # it is there; if it can't be made, the rename says so
                self._ftp.mkd(ARCHIVE)
            taken = set(self._names(ARCHIVE))
            archived = next(f"{ARCHIVE}/{v}" for v in versions(path) if v not in taken)
            self._ftp.rename(path, archived)
            moved = self._entry(name, archived)
            if seen is not None and (moved is None or differs(moved, seen)):
                self._ftp.rename(archived, path)
                raise TransportError(f"archiving {name}: another file has taken the name since it was collected")
        return self._unwire(archived)

    def _names(self, folder: str) -> list[str]:
        """The names in a folder, as they are on the wire, without what leads there."""
        try:
            return [line.rpartition("/")[2] for line in self._ftp.nlst(*([folder] if folder else []))]
        except (ftplib.error_perm, ftplib.error_temp) as error:  # an empty folder is 550 or 450 on some servers
            if code(error) in (ABSENT, "450"):
                return []
            raise

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return temporary_name(name, interchange, attempt)

    def aside(self, name: str, interchange: str) -> str:
        return aside_name(name, interchange)

    def close(self) -> None:
        if self._ftp.sock is None:
            return
        try:
            self._ftp.quit()
        except (OSError, EOFError, ftplib.Error):
            self._ftp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _path(self, name: str) -> str:
        """A name as it stands in a command."""
        return self._wire(plain(name))

    def _wire(self, name: str) -> str:
        try:
            return name.encode(self._encoding, "surrogateescape").decode("latin-1")
        except UnicodeEncodeError:
            raise CallError(f"{name!r} can't be written in the server's {self._encoding}") from None

    def _unwire(self, wire: str) -> str:
        return wire.encode("latin-1").decode(self._encoding, "surrogateescape")

    def _ask_features(self) -> dict[str, str]:
        try:
            lines = self._ftp.sendcmd("FEAT").upper().splitlines()[1:-1]
        except (ftplib.error_perm, ftplib.error_temp):
            return {}
        return {line.split()[0]: line.strip() for line in lines if line.strip()}

    @contextmanager
    def _said(self, doing: str, path: str = "", *, connecting: bool = False) -> Iterator[None]:
        """ftplib's errors as ours, by the reply code: 4xx passes, 5xx doesn't; 550 may be a file that isn't there.

        The server's own words are left out: they may quote a line of what was sent. When a reply may still be under
        way the connection is closed, so that it isn't taken for the next one's.
        """
        if self._ftp.sock is None and not connecting:
            raise TransportError(f"{doing}: the connection is closed")
        try:
            yield
        except ftplib.error_temp as error:
            raise TransportError(f"{doing}: the server says {code(error)}") from None
        except ftplib.error_perm as error:
            if code(error) == ABSENT and path and self._gone(path):
                raise Missing(f"{doing}: there is none (550)") from None
            raise self._refusal(doing, error) from None
        except (ftplib.Error, EOFError, OSError, ValueError, IndexError) as error:
            self._ftp.close()
            raise TransportError(f"{doing}: {type(error).__name__}: the connection failed") from None

    def _refusal(self, doing: str, error: ftplib.error_perm) -> TransportError | TransportRefused:
        passing = code(error) == QUOTA or (code(error) == ABSENT and IN_USE.search(str(error)))
        return (TransportError if passing else TransportRefused)(f"{doing}: the server refuses ({code(error)})")


def code(error: ftplib.Error) -> str:
    """The three digits of a reply."""
    return str(error)[:3]


def differs(entry: Entry, seen: Entry) -> bool:
    """Is this another file than the one that was seen? A time that a server doesn't tell says nothing."""
    return entry.size != seen.size or bool(entry.modified and seen.modified and entry.modified != seen.modified)
