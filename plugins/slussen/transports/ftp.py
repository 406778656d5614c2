"""A folder on an FTP server, by Python's ftplib, with our own timeouts, checks and reading of replies.

A rename on most servers replaces what stands under the new name. We look first; against a foreign writer in between
no FTP server gives protection, which is why a name that is ours alone carries date and number.

Names are sent and read as bytes in the endpoint's own encoding, so that a name in another one in the same folder does
no harm.
"""

from __future__ import annotations

import ftplib
import hashlib
import re
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from slussen.errors import TransportError, TransportRefused
from slussen.transports import (
    TIMEOUT,
    Entry,
    Exists,
    Missing,
    differs,
    in_order,
    plain,
    tls,
)
from slussen.transports.ftp_client import Client
from slussen.transports.ftp_looking import ABSENT, Looking, code
from slussen.transports.remote import ARCHIVE, Got, Pace, TooMuch, free_place, hashing

GARBLED = ("500", "501")  # what a server may say of a command that came in part
QUOTA, NOT_IN, CLOSING, CUT_OFF = "552", "530", "421", "426"
MEANINGS = {
    ABSENT: "no such file, or no permission", QUOTA: "no room, or a quota", NOT_IN: "not logged in, or not allowed",
    "553": "the name, or writing it, is not allowed", "425": "no data connection", "426": "the transfer was cut off",
    "450": "busy, or not permitted", "451": "a fault there, often a full disk", "452": "no room",
}  # fmt: skip
DIGEST = re.compile(r"\b[0-9a-fA-F]{64}\b")
IN_USE = re.compile(r"in use|being used|used exclusively|allocated to another|busy|locked", re.IGNORECASE)
DENIED = re.compile(r"45[01].*(?:denied|not permitted)", re.IGNORECASE | re.DOTALL)
TOO_MANY = re.compile(r"too many|maximum number|try again|temporar", re.IGNORECASE)


class Ftp(Looking):
    """Files in one folder of a server; collected ones go to ``archive`` in it.

    ``tls`` encrypts both connections (explicit, AUTH TLS and PROT P), trusting ``ca`` (a file, or PEM; else the
    system's authorities). ``passive`` says who opens the data connection: we. ``encoding`` is that of names;
    ``read_back`` fetches what was sent, where the server gives no hash of it.
    """

    replaces = True

    def __init__(
        self, host: str, port: int | None = None, user: str = "", password: str = "", folder: str = "", *,
        tls: bool = False, ca: str = "", passive: bool = True, encoding: str = "utf-8", read_back: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(encoding)
        self._host, self._port, self._user, self._password = host, port or ftplib.FTP_PORT, user, password
        self._folder, self._tls, self._ca, self._passive = folder, tls, ca, passive
        self._read_back = read_back
        self._connect()

    @property
    def _connected(self) -> bool:
        return self._ftp.sock is not None

    def _connect(self) -> None:
        doing = f"connecting to {self._host}"
        self._ftp = Client(tls.context(self._ca) if self._tls else None, passive=self._passive, timeout=TIMEOUT)
        try:
            with self._said(doing, connecting=True):
                self._ftp.connect(self._host, self._port)
                if self._ftp.sock is not None:
                    self._ftp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._enter(doing)
                self._features = self._ask_features()
                if "UTF8" in self._features and self._encoding == "utf-8":
                    with suppress(ftplib.error_perm):
                        self._ftp.sendcmd("OPTS UTF8 ON")
                if self._folder:
                    self._change(doing)
        except Exception:
            self._ftp.close()
            raise

    def _enter(self, doing: str) -> None:
        try:
            self._ftp.enter(self._user, self._password)
        except ssl.SSLCertVerificationError as error:
            raise tls.refusal(doing, error) from None
        except ftplib.error_perm as error:
            if code(error) == NOT_IN and TOO_MANY.search(str(error)):
                raise TransportError(f"{doing}: the server has too many clients ({NOT_IN})") from None
            if self._tls and not isinstance(self._ftp.sock, ssl.SSLSocket):
                if self._ftp.ended():
                    raise TransportError(f"{doing}: the connection failed ({code(error)})") from None
                raise TransportRefused(
                    f"{doing}: the server speaks no TLS ({code(error)}). Nothing was sent. Next: ask the partner"
                ) from None
            if code(error) == NOT_IN:
                raise TransportRefused(
                    f"{doing}: the server doesn't let {self._user} in ({NOT_IN}). Next: check the connection's login "
                    "and password with the partner"
                ) from None
            raise

    def _change(self, doing: str) -> None:
        try:
            self._ftp.cwd(self._wire(self._folder))
        except ftplib.error_perm as error:
            raise TransportRefused(
                f"{doing}: the folder {self._folder} can't be entered ({code(error)}). Next: check the connection's "
                "folder, and what our user may do there, with the partner"
            ) from None

    def entries(self, pattern: str) -> list[Entry]:
        with self._said("listing"):
            facts = self._facts()
            found = self._looked_up(pattern) if facts is None else self._listed(facts, pattern)
            return in_order({entry.name: entry for entry in found}.values())

    def stat(self, name: str) -> Entry | None:
        path = self._path(name)
        with self._said(f"looking for {name}"):
            entry = self._entry(name, path)
            if entry is None:
                self._there(path)  # or is it only not shown?
            return entry

    @property
    def _tells_hashes(self) -> bool:
        return "XSHA256" in self._features

    def _fetch_on(self, name: str, got: Got) -> Entry:
        path, doing = self._path(name), f"fetching {name}"
        with self._said(doing, path):
            entry = self._entry(name, path)
            if entry is None:
                raise ftplib.error_perm(ABSENT)
            if got.seen is not None and (differs(entry, got.seen) or not self._same_so_far(path, got)):
                raise TransportError(f"{doing}: it was replaced while it was read")
            got.seen = entry
            self._ftp.receive(path, got.take, Pace(TIMEOUT, entry.size, got.bytes), got.bytes)
            after = self._entry(name, path)
        if got.bytes != entry.size:
            raise TransportError(f"{doing}: {got.bytes} bytes came, the server says {entry.size}")
        if after is not None and differs(after, entry):  # none: another run has put away what we both have read
            raise TransportError(f"{doing}: it was written or replaced while it was read")
        return entry

    def _same_so_far(self, path: str, got: Got) -> bool:
        if got.sha256 is not None and (told := self._told_digest(path, got.bytes)):
            return told == got.sha256.hexdigest()
        if got.seen is None or not got.seen.modified:  # nothing tells it from another one of the same size
            return False
        return self._part(path, got.bytes - len(got.last), len(got.last)) == got.last

    def _part(self, path: str, place: int, size: int) -> bytes:
        """Bytes from the middle of a file; the transfer is broken off after them, and the connection made anew."""
        part = bytearray()

        def take(data: memoryview) -> None:
            part.extend(data)
            if len(part) >= size:
                raise _Enough

        try:
            self._ftp.receive(path, take, Pace(TIMEOUT), place)
        except _Enough:
            self._ftp.close()
            self._connect()
        return bytes(part[:size])

    def _put_on(self, name: str, source: BinaryIO, place: int) -> None:
        path = self._path(name)
        with self._said(f"sending {name}"):
            self._ftp.send(path, source, Pace(TIMEOUT), place)

    def _size_there(self, name: str) -> int:
        entry = self.stat(name)
        return 0 if entry is None else entry.size

    def _start_digest(self, name: str, size: int) -> str:
        """What has been cut off is as long as it is said to be: the whole of it."""
        path = self._path(name)
        with self._said(f"comparing {name}", path):
            return self._told_digest(path) or self._read_digest(path, size)

    def _read_digest(self, path: str, most: int | None = None) -> str:
        digest = hashlib.sha256()
        self._ftp.receive(path, digest.update, Pace(TIMEOUT, most))
        return digest.hexdigest()

    def exists(self, name: str) -> bool:
        path = self._path(name)
        with self._said(f"looking for {name}"):
            return self._there(path)

    def digest(self, name: str) -> str:
        path = self._path(name)
        with self._said(f"reading back {name}", path):
            return self._told_digest(path) or self._read_digest(path)

    def _told_digest(self, path: str, size: int = 0) -> str:
        """The server's own SHA-256 of a file, or of its first ``size`` bytes, where it offers one (HASH, XSHA256)."""
        asks = []
        if not size and any(f.startswith("HASH") and "SHA-256" in f for f in self._features.values()):
            asks = ["OPTS HASH SHA-256", f"HASH {path}"]
        elif "XSHA256" in self._features:
            asks = [f"XSHA256 {path} 0 {size}" if size else f"XSHA256 {path}"]
        reply = ""
        try:
            with self._ftp.patient(hashing(size or self._size(path)) if asks else 0):
                for ask in asks:
                    reply = self._ftp.sendcmd(ask)
        except ftplib.error_perm:
            return ""
        found = DIGEST.search(reply)
        return found[0].lower() if found else ""

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By size, and by the server's hash where it offers one; reading it back is the endpoint's choice."""
        path = self._path(name)
        with self._said(f"verifying {name}", path):
            entry = self._entry(name, path)
            if entry is None:
                raise ftplib.error_perm(ABSENT)
            if entry.size != size:
                return False
            told = self._told_digest(path) or (self._read_digest(path) if self._read_back else "")
        return told in ("", sha256)

    def space(self) -> int | None:
        """Free bytes, where the server tells (AVBL, draft-peterson-streamlined-ftp-command-extensions)."""
        if "AVBL" not in self._features:
            return None
        with self._said("asking for room"):
            return int(self._ftp.sendcmd("AVBL")[4:].split()[0])

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        source, target = self._path(old), self._path(new)
        with self._said(f"renaming to {new}"):
            if not replace and self.replaces and self._taken_already(target):
                raise self._nothing(new) if self._gone(source) else self._taken(new)
            try:
                self._move(source, target)
            except ftplib.error_perm as error:
                # The code says no more than no. Missing tells a delivery that another attempt has moved the file on,
                # so it must be certain.
                if code(error) != ABSENT:
                    raise
                if self._gone(source):
                    raise self._nothing(new) from None
                if self._look(target):
                    raise self._taken(new) from None
                raise self._refusal(f"renaming to {new}", error) from None

    def _move(self, source: str, target: str) -> None:
        self._ftp.rename(source, target)
        if not self._tls:  # a command of which only a part came is the last one of its connection
            self._ftp.voidcmd("NOOP")

    def _taken_already(self, path: str) -> bool:
        """A hidden name is ours alone: where the server doesn't tell, it is free."""
        return self._look(path) is True if path.startswith(".") else self._there(path)

    def _nothing(self, new: str) -> Missing:
        return Missing(f"renaming to {new}: there is nothing to rename")

    def _taken(self, new: str) -> Exists:
        return Exists(f"renaming to {new}: the name is taken")

    def cut_short(self, names: Collection[str]) -> list[str]:
        """ProFTPD carries out what has come of a command when its connection ends; TLS brings it whole, or not."""
        if self._tls:
            return []
        with self._said("looking for names that were cut short"):
            there = set(self._names(""))
            with suppress(ftplib.error_perm):  # not every server shows hidden ones
                there |= set(self._names("-a"))
        paths = [self._path(name) for name in names]
        cut = [n for n in there if n not in paths and n.strip(".") and any(path.startswith(n) for path in paths)]
        return sorted(map(self._unwire, cut))

    def remove(self, name: str) -> None:
        path = self._path(name)
        with self._said(f"removing {name}"):
            try:
                self._ftp.delete(path)
            except ftplib.error_perm as error:
                if code(error) != ABSENT or self._there(path):
                    raise

    def shelf(self, name: str, taken: Collection[str] = ()) -> str:
        path = self._path(name)
        with self._said(f"archiving {name}"):
            with suppress(ftplib.error_perm):  # it is there; if it can't be made, the rename says so
                self._ftp.mkd(ARCHIVE)
            if not taken and self._look(f"{ARCHIVE}/{path}") is False:
                return f"{ARCHIVE}/{name}"
            return free_place(name, taken, set(map(self._unwire, self._names(ARCHIVE))))

    def archive(self, seen: Entry, place: str) -> str:
        """A collector at the same moment could take the free place first: the folder is one collector's."""
        path, target, doing = self._path(seen.name), self._shelved(place), f"archiving {seen.name}"
        with self._said(doing, path):
            if self._look(target):
                raise Exists(f"{doing}: {place} is taken")
            self._move(path, target)
        return place

    def shelved(self, place: str) -> Entry | None:
        with self._said(f"looking for {place}"):
            return self._entry(place, self._shelved(place))

    def shelved_digest(self, place: str) -> str:
        path = self._shelved(place)
        with self._said(f"reading {place}", path):
            return self._told_digest(path) or self._read_digest(path)

    def put_back(self, place: str, name: str) -> None:
        path, target, doing = self._shelved(place), self._path(name), f"putting {place} back"
        with self._said(doing, path):
            if (there := self._look(target)) is None:
                raise TransportError(f"{doing}: the server doesn't tell whether the name is free")
            if there:
                raise Exists(f"{doing}: the name is taken")
            self._move(path, target)

    def _shelved(self, place: str) -> str:
        return f"{ARCHIVE}/{self._path(place.removeprefix(f'{ARCHIVE}/'))}"

    def close(self) -> None:
        if self._ftp.sock is None:
            return
        try:
            self._ftp.quit()
        except (OSError, EOFError, ftplib.Error):
            self._ftp.close()

    def _path(self, name: str) -> str:
        """A name as it stands in a command."""
        wired = self._wire(plain(name))
        if "\xff" in wired:  # Telnet's escape (RFC 959, RFC 854): some servers take two of them for one, others don't
            raise TransportRefused(
                f"{name!r} has the byte ff in it, which no two FTP servers read alike. Next: have it renamed"
            )
        return wired

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
            if code(error) in (CLOSING, CUT_OFF):
                self._ftp.close()
            raise self._refusal(doing, error) from None
        except ftplib.error_perm as error:
            if code(error) in GARBLED and self._ftp.ended():
                self._ftp.close()
                raise TransportError(f"{doing}: the connection failed while the command was sent") from None
            raise self._meaning(doing, error, path) from None
        except (ftplib.Error, EOFError, OSError, ValueError, IndexError) as error:
            self._ftp.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise tls.refusal(doing, error) from None
            if isinstance(error, TooMuch):
                raise TransportError(f"{doing}: more came than there should be, and was broken off") from None
            raise TransportError(f"{doing}: {type(error).__name__}: the connection failed") from None

    def _meaning(self, doing: str, error: ftplib.error_perm, path: str) -> TransportError | TransportRefused:
        if code(error) == ABSENT and path:
            with self._said(doing):
                if self._gone(path):
                    return Missing(f"{doing}: there is none (550)")
        return self._refusal(doing, error)

    def _refusal(self, doing: str, error: ftplib.error_perm | ftplib.error_temp) -> TransportError | TransportRefused:
        in_use = bool(IN_USE.search(str(error)))
        if isinstance(error, ftplib.error_temp):  # ProFTPD says so of what may not be read, too
            passing = in_use or not DENIED.search(str(error))
        else:
            passing = code(error) == QUOTA or (code(error) == ABSENT and in_use)
        words = f": {MEANINGS[code(error)]}" if code(error) in MEANINGS else ""
        return (TransportError if passing else TransportRefused)(f"{doing}: the server refuses ({code(error)}{words})")


class _Enough(Exception):
    """No more of this transfer."""
