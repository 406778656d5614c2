"""A mailbox over IMAP: its messages' structure, pieces of their parts, moving them; by Python's imaplib, over TLS.

Nothing is fetched whole: a part comes in pieces (RFC 3501, 6.4.5, ``BODY.PEEK[…]<…>``), of headers their beginning, and
what an answer may hold is bounded: a message that more is told of than that is described without its parts.
"""

from __future__ import annotations

import base64
import imaplib
import io
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from slussen.errors import TransportError, TransportRefused
from slussen.transports import TIMEOUT, Missing, tls
from slussen.transports.imap_answers import Mail, message, responses
from slussen.transports.remote import Pace

PIECE = 1 << 22  # bytes of a part that one command asks for
STEP = 1 << 16  # bytes of it that are waited for at a time
WORDS, LITERALS = 2 << 20, 8 << 20  # bytes that an answer may have of either
HEAD = 1 << 16  # bytes of a message's headers that are looked at
AT_ONCE = 100  # messages that one command asks about
HEADERS = "FROM MESSAGE-ID IN-REPLY-TO DISPOSITION-NOTIFICATION-TO"


class Mailbox:
    """One mailbox of a server, selected; ``archive`` is where messages are moved, made when it isn't there."""

    def __init__(
        self, host: str, port: int, user: str, password: str, context: ssl.SSLContext,
        mailbox: str = "INBOX", archive: str = "Archive",
    ) -> None:  # fmt: skip
        self._archive, self._mailbox = archive, mailbox
        self._server, self._login = (host, port, context), (user, password)
        self.validity = ""
        self._connect()

    def _connect(self) -> None:
        host, port, context = self._server
        with said(f"connecting to {host}", connecting=True):
            self._imap = _Paced(host, port, ssl_context=context, timeout=TIMEOUT)
        try:
            with said(f"logging in to {host}", final=True):
                self._log_in(*self._login)
            with said("opening the mailbox", final=True):
                self._ok(self._imap.select(_quoted(self._mailbox)))
            validity = self._number("UIDVALIDITY")
            if self.validity not in ("", validity):
                raise TransportError("the mailbox has been made anew; the next look finds its messages")
            self.validity = validity
            self._can_move = "MOVE" in self._imap.capabilities
        except BaseException:
            self.close()
            raise

    def _log_in(self, user: str, password: str) -> None:
        """By RFC 4616, whose words are UTF-8, where the server offers it; LOGIN takes ASCII alone."""
        if "AUTH=PLAIN" in self._imap.capabilities:
            self._imap.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
        else:
            self._imap.login(user, password)

    def _number(self, what: str) -> str:
        _, values = self._imap.response(what)
        return values[0].decode() if values and isinstance(values[0], bytes) else "0"

    def mails(self) -> list[Mail]:
        """All messages that are there, in the order of their coming."""
        with said("listing the mailbox"):
            self._imap.noop()  # what has come since
            found = self._ok(self._imap.uid("SEARCH", "UNDELETED"))
            uids = sorted(int(n) for line in found if line for n in line.split())
            mails: list[Mail] = []
            for start in range(0, len(uids), AT_ONCE):
                mails += self._described(uids[start : start + AT_ONCE])
        return sorted(mails, key=lambda m: m.uid)

    def mail(self, uid: int) -> Mail:
        """One message.

        Raises:
            Missing: it isn't there any more.
        """
        with said("looking at a message"):
            found = next(iter(self._described([uid])), None)
        if found is None or r"\deleted" in found.flags:
            raise Missing("the message is not in the mailbox any more")
        return found

    def _described(self, uids: list[int], again: bool = False) -> list[Mail]:
        """Where too much is told, or the server falls over it, halves of them, until it is known over which: that one
        comes without its parts."""
        try:
            return self._told(uids, "BODYSTRUCTURE")
        except (_TooMuch, imaplib.IMAP4.abort) as error:
            broken = not isinstance(error, _TooMuch)
        with suppress(OSError):
            self._imap.shutdown()  # the rest of it may be on its way
        self._connect()
        if len(uids) > 1:
            half = len(uids) // 2
            return self._described(uids[:half]) + self._described(uids[half:])
        if broken and not again:  # it may have been the network
            return self._described(uids, again=True)
        return self._told(uids, "")

    def _told(self, uids: list[int], structure: str) -> list[Mail]:
        wanted = f"(UID FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})]<0.{HEAD}> {structure}".rstrip() + ")"
        answer = self._ok(self._imap.uid("FETCH", ",".join(map(str, uids)), wanted))
        return [message(items) for items in responses(answer) if {"UID", *structure.split()} <= items.keys()]

    def pieces(self, uid: int, number: str, start: int = 0, size: int | None = None) -> Iterator[bytes]:
        """The bytes of a part, as it is encoded, from ``start``: all, or so many at most.

        Raises:
            Missing: the message isn't there any more.
        """
        end = None if size is None else start + size
        while end is None or start < end:
            length = PIECE if end is None else min(PIECE, end - start)
            with said("fetching a part of a message"):
                answer = self._ok(self._imap.uid("FETCH", str(uid), f"(BODY.PEEK[{number}]<{start}.{length}>)"))
            piece = next((v for i in responses(answer) for k, v in i.items() if k.startswith("BODY[")), None)
            if piece is None:
                raise Missing("the message is not in the mailbox any more")
            if len(piece) > length:
                raise TransportError("the mailbox's server sent more than it was asked for")
            if not piece:
                return
            yield piece
            start += len(piece)
            if len(piece) < length:
                return

    def flag(self, uid: int, flag: str) -> None:
        """Mark a message, where the server keeps such marks: it may say no (RFC 3501, 7.1, PERMANENTFLAGS)."""
        with said("marking a message"):
            self._imap.uid("STORE", str(uid), "+FLAGS.SILENT", f"({flag})")

    def move(self, uid: int) -> None:
        """Move a message to the archive."""
        with said("moving a message to the archive"):
            self._imap.create(_quoted(self._archive))  # "NO" when it is there
            if self._can_move:
                self._ok(self._imap.uid("MOVE", str(uid), _quoted(self._archive)))
                return
            self._ok(self._imap.uid("COPY", str(uid), _quoted(self._archive)))
            self._ok(self._imap.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Deleted)"))
            if "UIDPLUS" in self._imap.capabilities:  # without it, others' deleted messages would go with it
                self._ok(self._imap.uid("EXPUNGE", str(uid)))

    def close(self) -> None:
        """Say goodbye, whatever the server thinks of it."""
        try:
            self._imap.logout()
        except (imaplib.IMAP4.error, OSError):
            with suppress(OSError):
                self._imap.shutdown()

    def _ok(self, answer: tuple[str, list[Any]]) -> list[Any]:
        if answer[0] != "OK":
            raise imaplib.IMAP4.error("refused")
        return answer[1]


class _TooMuch(Exception):
    """An answer is longer than any should be; what is left of it has not been read."""


class _Paced(imaplib.IMAP4_SSL):
    """What trickles is given up: imaplib's timeout is one for each byte. So is what doesn't end."""

    _words, _literals = WORDS, LITERALS  # what the answer may still have
    _pace: Pace | None = None  # of the whole answer

    def send(self, data: Any) -> None:
        self._words, self._literals, self._pace = WORDS, LITERALS, None
        super().send(data)

    def read(self, size: int) -> bytes:
        self._literals -= size
        if self._literals < 0:
            raise _TooMuch
        made, got = memoryview(bytearray(size)), 0
        while got < size and (more := self._file.readinto1(made[got : got + STEP])):
            got += more
            self._passed(more)
        return bytes(made[:got])

    def readline(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n") and (ahead := self._file.peek()):
            more = self._file.read(ahead.find(b"\n") + 1 or len(ahead))
            line += more
            self._words -= len(more)
            if self._words < 0:
                raise _TooMuch
            self._passed(len(more))
        return bytes(line)

    @property
    def _file(self) -> io.BufferedReader:
        return self.file  # type: ignore[return-value]

    def _passed(self, size: int) -> None:
        self._pace = self._pace or Pace(TIMEOUT)
        try:
            self._pace.passed(size)
        except TimeoutError:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)  # nobody waits for the rest
            raise


@contextmanager
def said(doing: str, *, connecting: bool = False, final: bool = False) -> Iterator[None]:
    """Faults of the mailbox as ours, without its server's words. ``final``: its "no" is one for good."""
    try:
        yield
    except (TransportError, TransportRefused):
        raise
    except ssl.SSLCertVerificationError as error:
        raise tls.refusal(doing, error) from None
    except _TooMuch:
        raise TransportError(f"{doing}: the server sent more than it was asked for") from None
    except UnicodeEncodeError:
        raise TransportRefused(f"{doing}: the server takes ASCII only. Next: have another password given") from None
    except imaplib.IMAP4.abort:
        raise TransportError(f"{doing}: the connection ended") from None
    except imaplib.IMAP4.error:
        if final:
            raise TransportRefused(f"{doing}: refused. Next: check user, password and mailbox") from None
        raise TransportError(f"{doing}: refused") from None
    except (OSError, EOFError, ValueError) as error:
        what = "no connection" if connecting else "the connection broke"
        number = getattr(error, "errno", None)
        raise TransportError(f"{doing}: {what}{f' (errno {number})' if number else ''}") from None


def _quoted(name: str) -> str:
    """The name of a mailbox as it stands in a command: what isn't ASCII in modified UTF-7 (RFC 3501, 5.1.3)."""

    def shifted(other: re.Match[str]) -> str:
        word = base64.b64encode(other[0].encode("utf-16-be"), b"+,").decode().rstrip("=")
        return f"&{word}-"

    name = re.sub(r"[^ -~]+", shifted, name.replace("&", "&-"))
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
