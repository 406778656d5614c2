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
    is_plain,
    matches,
    no_file,
    plain,
    tls,
    versions,
)
from slussen.transports.ftp_client import Client
from slussen.transports.ftp_listing import files
from slussen.transports.remote import Got, Pace, Remote, TooMuch, hashing

ARCHIVE = "archive"
ABSENT, QUOTA, NOT_IN, CLOSING, CUT_OFF = "550", "552", "530", "421", "426"
MEANINGS = {
    ABSENT: "no such file, or no permission", QUOTA: "no room, or a quota", NOT_IN: "not logged in, or not allowed",
    "553": "the name, or writing it, is not allowed", "425": "no data connection", "426": "the transfer was cut off",
    "450": "busy, or not permitted", "451": "a fault there, often a full disk", "452": "no room",
}  # fmt: skip
FOLDERS = ("dir", "cdir", "pdir")  # among MLSD's types
UNKNOWN = ("500", "502", "504")  # the server doesn't know the command
DIGEST = re.compile(r"\b[0-9a-fA-F]{64}\b")
MODIFIED = re.compile(r"(?i)\bmodify=([^;]*);")
IN_USE = re.compile(r"in use|being used|used exclusively|allocated to another|busy|locked", re.IGNORECASE)
NONE = re.compile(
    r"no such|not found|can(?:not|'t) find|does(?: not|n't) exist|no [\w ]*(?:files|sets|members|entries)|is empty",
    re.IGNORECASE,
)
REFUSED = re.compile(r"denied|permission|not permitted|authori|access|fail|unable", re.IGNORECASE)
DENIED = re.compile(r"45[01].*(?:denied|not permitted)", re.IGNORECASE | re.DOTALL)
TOO_MANY = re.compile(r"too many|maximum number|try again|temporar", re.IGNORECASE)
MANY = 1000  # files from which one listing is better than a question for each


class Ftp(Remote):
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

    def _facts(self) -> list[str] | None:
        """The lines of MLSD (RFC 3659, 7); None where the server hasn't got it, whatever it says of itself."""
        lines: list[str] = []
        if "MLST" not in self._features:
            return None
        try:
            self._ftp.retrlines("MLSD", lines.append)
        except ftplib.error_perm as error:
            if code(error) not in UNKNOWN:
                raise
            del self._features["MLST"]
            return None
        return lines

    def _listed(self, lines: list[str], pattern: str) -> Iterator[Entry]:
        """By MLSD. A line that can't be read comes as a name that can't be used."""
        for number, line in enumerate(lines, 1):
            told, _, wire = line.partition(" ")
            facts = {key.lower(): value for key, _, value in (fact.partition("=") for fact in told.split(";"))}
            name = self._unwire(wire)
            if not name or not facts.get("type"):
                yield unreadable(number)
            elif facts["type"].lower() in FOLDERS or not matches(name, pattern):
                continue
            elif facts["type"].lower() != "file":  # OS.unix=symlink
                yield no_file(name)
            else:
                size = facts.get("size", "")
                if size.isdigit() or not is_plain(name):
                    yield Entry(name, int(size) if size.isdigit() else 0, facts.get("modify", ""))
                elif (entry := self._shown(name, wire)) is not None:
                    yield entry

    def _looked_up(self, pattern: str) -> Iterator[Entry]:
        """For servers without MLSD: names, then size and time of each; LIST tells of what isn't told so whether it is a
        file, a folder, or gone. What can't be put into a command isn't asked about."""
        names = {name: wire for wire in self._names("") if matches(name := self._unwire(wire), pattern)}
        yield from (Entry(name, 0, "") for name in names if not is_plain(name))
        wanted = {name: wire for name, wire in names.items() if is_plain(name)}
        if len(wanted) > MANY or (wanted and not self._tells_sizes(next(iter(wanted.values())))):
            yield from self._read_listing(pattern)
            return
        unsure = set()
        for name, wire in wanted.items():
            try:
                yield Entry(name, self._size(wire), self._modified(wire))
            except ftplib.error_perm:
                unsure.add(name)
        if unsure:
            unsure |= {no_file(name).name for name in unsure}
            yield from (entry for entry in self._read_listing(pattern) if entry.name in unsure)

    def _shown(self, name: str, path: str) -> Entry | None:
        """A listed file; one of which the server says no more is listed all the same: fetching it says why."""
        try:
            return self._entry(name, path)
        except ftplib.error_perm:
            return Entry(name, 0, "")

    def _tells_sizes(self, path: str) -> bool:
        try:
            self._size(path)
        except ftplib.error_perm as error:
            return code(error) not in UNKNOWN
        return True

    def _read_listing(self, pattern: str = "*", folder: str = "") -> Iterator[Entry]:
        """By LIST, whose times are in any form. A line that can't be read comes as a name that can't be used."""
        lines: list[str] = []
        self._ftp.retrlines(f"LIST {folder}".rstrip(), lines.append)
        for found in files(lines):
            if isinstance(found, int):
                yield unreadable(found)
            elif matches(name := self._unwire(found[0]), pattern):
                yield no_file(name) if found[1] is None else Entry(name, found[1], found[2])

    def stat(self, name: str) -> Entry | None:
        path = self._path(name)
        with self._said(f"looking for {name}"):
            entry = self._entry(name, path)
            if entry is None:
                self._there(path)  # or is it only not shown?
            return entry

    def _entry(self, name: str, path: str) -> Entry | None:
        try:
            size = self._size(path)
        except ftplib.error_perm as error:
            if says_none(error, path):
                return None
            if code(error) in (ABSENT, *UNKNOWN):
                folder = path.rpartition("/")[0]
                listed = (e for e in self._read_listing(folder=folder) if e.name == name.rpartition("/")[2])
                return next((Entry(name, e.size, e.modified) for e in listed), None)
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
        told = self._ftp.sendcmd(f"SIZE {path}")[4:].split()[0]
        if not told.isdigit():
            raise ftplib.error_proto
        return int(told)

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
        parts: list[bytes | bytearray] = []

        def take(data: bytearray) -> None:
            parts.append(data)
            if sum(map(len, parts)) >= size:
                raise _Enough

        try:
            self._ftp.receive(path, take, Pace(TIMEOUT), place)
        except _Enough:
            self._ftp.close()
            self._connect()
        return b"".join(parts)[:size]

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

    def _there(self, path: str) -> bool:
        if (found := self._look(path)) is None:
            raise ftplib.error_perm(ABSENT)
        return found

    def _gone(self, path: str) -> bool:
        """Is it certain that there is no such file?"""
        return self._look(path) is False

    def _look(self, path: str) -> bool | None:
        """Is there such a file? None when the server doesn't tell: a refusal is no answer, whatever its code.

        That there is none has to be said, of the file or by a listing that lacks it; for a hidden name that listing
        must show hidden ones, as Unix's does with ``.``.
        """
        listed = ("MLST",) if "MLST" in self._features else ()
        for ask in ("SIZE", *listed, "NLST"):
            try:
                match ask:
                    case "SIZE":
                        self._size(path)
                        return True
                    case "MLST":
                        self._ftp.sendcmd(f"MLST {path}")
                        return True
                    case "NLST" if path.rpartition("/")[2] in self._lines(path):
                        return True
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if says_none(error, path):
                    return False if self._folder_stands() else None
                if code(error) not in (ABSENT, *UNKNOWN):
                    raise
        return self._look_in_folder(path)

    def _look_in_folder(self, path: str) -> bool | None:
        folder, _, name = path.rpartition("/")
        hidden = name.startswith(".")
        try:
            names = self._lines(" ".join(filter(None, ("-a" if hidden else "", folder))))
        except ftplib.error_perm as error:
            return False if not hidden and says_none(error, path) else None
        except ftplib.error_temp as error:
            if not says_none(error, path):
                raise
            return None if hidden else False
        if name in names:
            return True
        return None if hidden and not any(name.startswith(".") for name in names) else False

    def _folder_stands(self) -> bool:
        """Where the folder has gone too, or can't be looked into, nothing is known of its files."""
        try:
            self._ftp.voidcmd("CWD .")
        except ftplib.error_perm as error:
            return code(error) in UNKNOWN
        return True

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
                self._ftp.rename(source, target)
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

    def _taken_already(self, path: str) -> bool:
        """A hidden name is ours alone: where the server doesn't tell, it is free."""
        return self._look(path) is True if path.startswith(".") else self._there(path)

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

    def shelf(self, name: str, taken: Collection[str] = ()) -> str:
        path = self._path(name)
        with self._said(f"archiving {name}"):
            with suppress(ftplib.error_perm):  # it is there; if it can't be made, the rename says so
                self._ftp.mkd(ARCHIVE)
            if not taken and self._look(f"{ARCHIVE}/{path}") is False:
                return f"{ARCHIVE}/{name}"
            listed = set(self._names(ARCHIVE))
            free = (v for v in versions(name) if f"{ARCHIVE}/{v}" not in taken and self._wire(v) not in listed)
            return f"{ARCHIVE}/{next(free)}"

    def archive(self, seen: Entry, place: str) -> str:
        """A collector at the same moment could take the free place first: the folder is one collector's."""
        path, target, doing = self._path(seen.name), self._shelved(place), f"archiving {seen.name}"
        with self._said(doing, path):
            if self._look(target):
                raise Exists(f"{doing}: {place} is taken")
            self._ftp.rename(path, target)
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
            self._ftp.rename(path, target)

    def _shelved(self, place: str) -> str:
        return f"{ARCHIVE}/{self._path(place.removeprefix(f'{ARCHIVE}/'))}"

    def _names(self, folder: str) -> list[str]:
        """The names in a folder, as they are on the wire, without what leads there; none when the server says so.

        Raises:
            ftplib.Error: it doesn't tell.
        """
        try:
            return self._lines(folder)
        except (ftplib.error_perm, ftplib.error_temp) as error:  # an empty folder is 550 or 450 on some servers
            if says_none(error, folder):
                return []
            raise

    def _lines(self, what: str) -> list[str]:
        lines: list[str] = []
        reply = self._ftp.retrlines(f"NLST {what}".rstrip(), lines.append)
        if not lines and REFUSED.search(reply):  # vsftpd: 226 Transfer done (but failed to open directory).
            raise ftplib.error_perm(ABSENT)
        return [line.rpartition("/")[2] for line in lines]

    def close(self) -> None:
        if self._ftp.sock is None:
            return
        try:
            self._ftp.quit()
        except (OSError, EOFError, ftplib.Error):
            self._ftp.close()

    def _path(self, name: str) -> str:
        """A name as it stands in a command."""
        return self._wire(plain(name))

    def _wire(self, name: str) -> str:
        return self._bytes(name).decode("latin-1")

    def _unwire(self, wire: str) -> str:
        return self._name(wire.encode("latin-1"))

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


def code(error: ftplib.Error) -> str:
    """The three digits of a reply."""
    return str(error)[:3]


def says_none(error: ftplib.Error, path: str) -> bool:
    """Does the server say that there is no such file, or nothing to list? The code alone may be a refusal."""
    text = str(error).replace(path, "") if path else str(error)
    return code(error) in (ABSENT, "450") and bool(NONE.search(text)) and not REFUSED.search(text)


def unreadable(line: int) -> Entry:
    return Entry(f"line {line} of the server's listing, which can't be read/", 0, "")
