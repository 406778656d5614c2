"""The SFTP protocol as we need it, on paramiko's client: names as bytes, status codes without the server's words,
reads and writes that are sent ahead, and the extensions that a server offers.

Protocol version 3 (draft-ietf-secsh-filexfer-02), which is what OpenSSH and paramiko speak; extensions of OpenSSH's
PROTOCOL file (``posix-rename``, ``fsync``) and ``check-file`` of draft-ietf-secsh-filexfer-extensions-00, 3.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from paramiko import Message, SFTPAttributes, SFTPClient
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_FSTAT,
    CMD_HANDLE,
    CMD_INIT,
    CMD_LSTAT,
    CMD_MKDIR,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_REMOVE,
    CMD_RENAME,
    CMD_STATUS,
    CMD_VERSION,
    CMD_WRITE,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_EXCL,
    SFTP_FLAG_READ,
    SFTP_FLAG_WRITE,
    SFTPError,
    int64,
)

from slussen.transports.remote import Pace, hashing

BLOCK = 32_768  # what every server takes in one request
LARGEST = 261_120  # what we ask for where a server says that it takes more: OpenSSH's own limit
AHEAD = 2 << 20  # bytes on the way at once, as many as OpenSSH's own client has
OK, EOF, NO_SUCH_FILE = 0, 1, 2
VERSION = 3


class Status(Exception):
    """The server's answer is a code that is not OK."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Line(socket.socket):
    """A connection on which nothing is sent without end: paramiko tries again for as long as nobody reads.

    ``patience`` is how many seconds sending may be slow.
    """

    _waited: Pace | None = None

    def __init__(self, connection: socket.socket, patience: float) -> None:
        super().__init__(fileno=connection.detach())
        self._patience = patience

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Raises TimeoutError, after which paramiko tries again, and ConnectionAbortedError, after which it doesn't."""
        sent, whole = 0, memoryview(data).nbytes
        with suppress(TimeoutError):
            sent = super().send(data, flags)
        self._waited = (self._waited or Pace(self._patience)) if sent < whole else None
        if self._waited is not None:
            try:
                self._waited.passed(sent)
            except TimeoutError:
                raise ConnectionAbortedError from None
        if whole and not sent:
            raise TimeoutError
        return sent


class _Answers:
    """The answers to requests that were sent ahead, by number; paramiko puts them in as they come."""

    def __init__(self) -> None:
        self.got: dict[int, tuple[int, Message]] = {}

    def _async_response(self, kind: int, message: Message, number: int) -> None:
        self.got[number] = kind, message


class Client(SFTPClient):
    """Paramiko's client, its requests made here; paths and handles are bytes, a failed one raises Status."""

    extensions: dict[str, bytes]
    largest_read = largest_write = BLOCK

    def _send_version(self) -> int:
        """Paramiko reads past the extensions."""
        hello = Message()
        hello.add_int(VERSION)
        self._send_packet(CMD_INIT, hello)  # type: ignore[attr-defined]
        kind, data = self._read_packet()  # type: ignore[attr-defined]
        if kind != CMD_VERSION:
            raise SFTPError("no SFTP")
        message = Message(data[4:])
        self.extensions = {}
        while message.get_remainder():
            name = message.get_string().decode("latin-1")
            self.extensions[name] = message.get_string()
        return int(struct.unpack(">I", data[:4])[0])

    def ask_limits(self) -> None:
        """How much goes in one request, where the server tells it."""
        if "limits@openssh.com" in self.extensions:
            message = self.ask(CMD_EXTENDED, "limits@openssh.com", answer=CMD_EXTENDED_REPLY)
            _, read, write = (message.get_int64() for _ in range(3))
            self.largest_read, self.largest_write = (min(max(n, BLOCK), LARGEST) for n in (read, write))

    def _convert_status(self, message: Message) -> None:
        """By the code alone: the text may be in any encoding, and may quote anything."""
        if (code := message.get_int()) != OK:
            raise Status(code)

    def ask(self, kind: int, *arguments: object, answer: int = CMD_STATUS) -> Message:
        """Send a request and wait for its answer."""
        number = self._async_request(type(None), kind, *arguments)  # type: ignore[attr-defined]
        got, message = self._read_response(number)  # type: ignore[attr-defined]
        if got != answer:
            raise SFTPError("an answer to something else")
        assert isinstance(message, Message)
        return message

    def names(self, folder: bytes) -> Iterator[tuple[bytes, SFTPAttributes]]:
        """Every name in a folder with its attributes, those of a link itself."""
        handle = self.ask(CMD_OPENDIR, folder, answer=CMD_HANDLE).get_string()
        while True:
            try:
                message = self.ask(CMD_READDIR, handle, answer=CMD_NAME)
            except Status as status:
                if status.code != EOF:
                    raise
                break
            for _ in range(message.get_int()):
                name = message.get_string()
                message.get_string()  # a line for people
                yield name, SFTPAttributes._from_msg(message)  # type: ignore[attr-defined]
        self.ask(CMD_CLOSE, handle)

    def space(self, folder: bytes) -> int | None:
        """Free bytes for us, where the server has OpenSSH's ``statvfs``: 11 numbers, of which the 2nd and 5th count."""
        if "statvfs@openssh.com" not in self.extensions:
            return None
        answer = self.ask(CMD_EXTENDED, b"statvfs@openssh.com", folder, answer=CMD_EXTENDED_REPLY)
        numbers = [answer.get_int64() for _ in range(5)]
        return numbers[1] * numbers[4]

    def attributes(self, path: bytes) -> SFTPAttributes:
        """Of the file, or of the link itself."""
        return SFTPAttributes._from_msg(self.ask(CMD_LSTAT, path, answer=CMD_ATTRS))  # type: ignore[attr-defined, no-any-return]

    def attributes_of(self, handle: bytes) -> SFTPAttributes:
        """Of an open file."""
        return SFTPAttributes._from_msg(self.ask(CMD_FSTAT, handle, answer=CMD_ATTRS))  # type: ignore[attr-defined, no-any-return]

    def open_to_read(self, path: bytes) -> bytes:
        return self.ask(CMD_OPEN, path, SFTP_FLAG_READ, SFTPAttributes(), answer=CMD_HANDLE).get_string()

    def create(self, path: bytes) -> bytes:
        """A new file; an existing name, a link too, is refused."""
        flags = SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_EXCL
        return self.ask(CMD_OPEN, path, flags, SFTPAttributes(), answer=CMD_HANDLE).get_string()

    def open_to_go_on(self, path: bytes) -> bytes:
        """An existing file, to write at any place of it."""
        return self.ask(CMD_OPEN, path, SFTP_FLAG_WRITE, SFTPAttributes(), answer=CMD_HANDLE).get_string()

    def close_file(self, handle: bytes) -> None:
        """Some servers say only here that the disk is full; paramiko's own files swallow that."""
        self.ask(CMD_CLOSE, handle)

    def delete(self, path: bytes) -> None:
        self.ask(CMD_REMOVE, path)

    def make_folder(self, path: bytes) -> None:
        self.ask(CMD_MKDIR, path, SFTPAttributes())

    def rename_new(self, old: bytes, new: bytes) -> None:
        """The protocol's own rename, which refuses a name that is taken."""
        self.ask(CMD_RENAME, old, new)

    def rename_over(self, old: bytes, new: bytes) -> None:
        """``rename(2)``: in one step, over what is there."""
        self.ask(CMD_EXTENDED, "posix-rename@openssh.com", old, new)

    def sync(self, handle: bytes) -> None:
        """Make what was written durable, where the server offers it."""
        if "fsync@openssh.com" in self.extensions:
            self.ask(CMD_EXTENDED, "fsync@openssh.com", handle)

    @property
    def tells_hashes(self) -> bool:
        return bool({"check-file", "check-file-name"} & set(self.extensions))

    def told_digest(self, path: bytes, size: int = 0) -> str:
        """The server's own SHA-256 of a file, or of its first ``size`` bytes; else nothing."""
        if not self.tells_hashes:
            return ""
        usual = self.sock.gettimeout()
        try:
            self.sock.settimeout(hashing(size or self.attributes(path).st_size or 0))
            message = self.ask(
                CMD_EXTENDED, "check-file-name", path, "sha256", int64(0), int64(size), 0, answer=CMD_EXTENDED_REPLY
            )
        except Status as status:
            if status.code == NO_SUCH_FILE:
                raise
            return ""
        finally:
            self.sock.settimeout(usual)
        used = message.get_string()
        if used == b"check-file":  # some say the extension's name first, as the draft has it
            used = message.get_string()
        digest = message.get_remainder()
        return digest.hex() if used == b"sha256" and len(digest) == 32 else ""

    def read_ahead(self, handle: bytes, start: int, end: int) -> Iterator[bytes]:
        """An open file's bytes from one place to another, in order; fewer when it ends before."""
        answers, asked = _Answers(), deque[tuple[int, int, int]]()
        place = start
        while asked or place < end:
            while place < end and len(asked) * self.largest_read < AHEAD:
                size = min(self.largest_read, end - place)
                asked.append((self._read_request(answers, handle, place, size), place, size))
                place += size
            number, at, size = asked.popleft()
            kind, message = self._answer(answers, number)
            if kind != CMD_DATA:
                try:
                    self._convert_status(message)
                except Status as status:
                    if status.code == EOF:
                        return
                    raise
            data = message.get_string()
            if not data:
                return
            yield data
            if rest := size - len(data):
                at += len(data)
                asked.appendleft((self._read_request(answers, handle, at, rest), at, rest))

    def write_behind(self, handle: bytes, source: BinaryIO, place: int, pace: Pace) -> None:
        """Write what the source still has, from this place on; the last answers are waited for too."""
        answers, asked = _Answers(), deque[int]()
        while data := source.read(self.largest_write):
            request = self._async_request(answers, CMD_WRITE, handle, int64(place), data)  # type: ignore[attr-defined]
            asked.append(request)
            place += len(data)
            if len(asked) * self.largest_write >= AHEAD:
                self._written(answers, asked.popleft())
            pace.passed(len(data))
        while asked:
            self._written(answers, asked.popleft())

    def _read_request(self, answers: _Answers, handle: bytes, place: int, size: int) -> int:
        return int(self._async_request(answers, CMD_READ, handle, int64(place), size))  # type: ignore[attr-defined]

    def _written(self, answers: _Answers, number: int) -> None:
        kind, message = self._answer(answers, number)
        if kind != CMD_STATUS:
            raise SFTPError("an answer to something else")
        self._convert_status(message)

    def _answer(self, answers: _Answers, number: int) -> tuple[int, Message]:
        while number not in answers.got:
            self._read_response()  # type: ignore[attr-defined]
        return answers.got.pop(number)
