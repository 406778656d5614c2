"""Asking an FTP server what stands there, whatever it has for that: MLSD, SIZE and MDTM, NLST, LIST.

Paths are as they stand in a command. What the server refuses comes as ftplib's own error: only its words tell whether
it says that there is no such file.
"""

from __future__ import annotations

import ftplib
import re
from collections.abc import Iterator

from slussen.transports import Entry, is_plain, matches, no_file
from slussen.transports.ftp_client import Client
from slussen.transports.ftp_listing import files
from slussen.transports.remote import Remote

ABSENT = "550"
FOLDERS = ("dir", "cdir", "pdir")  # among MLSD's types
UNKNOWN = ("500", "502", "504")  # the server doesn't know the command
MODIFIED = re.compile(r"(?i)\bmodify=([^;]*);")
NONE = re.compile(
    r"no such|not found|can(?:not|'t) find|does(?: not|n't) exist|no [\w ]*(?:files|sets|members|entries)|is empty",
    re.IGNORECASE,
)
REFUSED = re.compile(r"denied|permission|not permitted|authori|access|fail|unable", re.IGNORECASE)
MANY = 1000  # files from which one listing is better than a question for each


class Looking(Remote):
    """What can be asked over a connection."""

    _ftp: Client
    _features: dict[str, str]  # what the server says of itself, by command

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

    def _wire(self, name: str) -> str:
        return self._bytes(name).decode("latin-1")

    def _unwire(self, wire: str) -> str:
        return self._name(wire.encode("latin-1"))


def code(error: ftplib.Error) -> str:
    """The three digits of a reply."""
    return str(error)[:3]


def says_none(error: ftplib.Error, path: str) -> bool:
    """Does the server say that there is no such file, or nothing to list? The code alone may be a refusal."""
    text = str(error).replace(path, "") if path else str(error)
    return code(error) in (ABSENT, "450") and bool(NONE.search(text)) and not REFUSED.search(text)


def unreadable(line: int) -> Entry:
    return Entry(f"line {line} of the server's listing, which can't be read/", 0, "")
