"""A mailbox over IMAP: its messages' structure, pieces of their parts, moving them; by Python's imaplib, over TLS.

Nothing is fetched whole: a part comes in pieces (RFC 3501, 6.4.5, ``BODY.PEEK[…]<…>``), headers and structures bounded.
"""

from __future__ import annotations

import imaplib
import io
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message as Headers
from typing import Any

from slussen.errors import TransportError, TransportRefused
from slussen.transports import TIMEOUT, Missing, tls
from slussen.transports.mime import parse_headers
from slussen.transports.remote import Pace

PIECE = 1 << 22  # bytes of a part that one command asks for
STEP = 1 << 16  # bytes of it that are waited for at a time
LINE = 1_000_001  # bytes that imaplib wants of a line: one more than it allows
DEEPEST = 10  # how far parts may stand in parts
NESTED = 100  # parentheses in parentheses that are followed
HEADERS = "FROM TO SUBJECT DATE MESSAGE-ID IN-REPLY-TO REFERENCES DISPOSITION-NOTIFICATION-TO RETURN-PATH"
LITERAL = re.compile(rb"\{(\d+)\}$")
TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|([^\s()"]+))')


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part that holds no parts: its number for ``BODY[…]``, type, encoding and encoded size in bytes."""

    number: str
    type: str
    parameters: dict[str, str]
    encoding: str
    size: int
    disposition: dict[str, str]


@dataclass(frozen=True, slots=True)
class Mail:
    """A message: ``headers`` those of ``HEADERS``; ``report`` is the type of a multipart/report; ``flags`` as told."""

    uid: int
    headers: Headers
    report: str
    leaves: tuple[Leaf, ...]
    flags: frozenset[str]
    too_deep: bool = False


class Mailbox:
    """One mailbox of a server, selected; ``archive`` is where messages are moved, made when it isn't there."""

    def __init__(
        self, host: str, port: int, user: str, password: str, context: ssl.SSLContext,
        mailbox: str = "INBOX", archive: str = "Archive",
    ) -> None:  # fmt: skip
        self._archive, self._mailbox = archive, mailbox
        with said(f"connecting to {host}", connecting=True):
            self._imap = _Paced(host, port, ssl_context=context, timeout=TIMEOUT)
        try:
            with said(f"logging in to {host}", final=True):
                self._log_in(user, password)
            with said("opening the mailbox", final=True):
                self._ok(self._imap.select(_quoted(mailbox)))
            self.validity = self._number("UIDVALIDITY")
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
            for start in range(0, len(uids), 100):
                mails += self._described(uids[start : start + 100])
        return sorted(mails, key=lambda m: m.uid)

    def _described(self, uids: list[int]) -> Iterator[Mail]:
        wanted = f"(UID FLAGS BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS ({HEADERS})])"
        for items in _responses(self._ok(self._imap.uid("FETCH", ",".join(map(str, uids)), wanted))):
            if "UID" in items and "BODYSTRUCTURE" in items:
                head = next((v for k, v in items.items() if k.startswith("BODY[HEADER")), b"")
                leaves: list[Leaf] = []
                fits = _leaves(items["BODYSTRUCTURE"], "", leaves, 0)
                yield Mail(
                    int(items["UID"]), parse_headers(head if isinstance(head, bytes) else b""),
                    _report(items["BODYSTRUCTURE"]), tuple(leaves),
                    frozenset(f.decode("ascii", "replace").lower() for f in items.get("FLAGS", [])), not fits,
                )  # fmt: skip

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
            piece = next((v for i in _responses(answer) for k, v in i.items() if k.startswith("BODY[")), None)
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
        with said("marking a message"):
            self._ok(self._imap.uid("STORE", str(uid), "+FLAGS.SILENT", f"({flag})"))

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


class _Paced(imaplib.IMAP4_SSL):
    """What trickles is given up: imaplib's timeout is one for each byte."""

    def read(self, size: int) -> bytes:
        made, got, pace = memoryview(bytearray(size)), 0, Pace(TIMEOUT)
        while got < size and (more := self._file.readinto1(made[got : got + STEP])):
            got += more
            self._passed(pace, more)
        return bytes(made[:got])

    def readline(self) -> bytes:
        line, pace = bytearray(), Pace(TIMEOUT)
        while len(line) < LINE and not line.endswith(b"\n") and (ahead := self._file.peek()):
            line += self._file.read(ahead.find(b"\n") + 1 or len(ahead))
            self._passed(pace, len(ahead))
        if len(line) >= LINE:
            raise self.error("a line without an end")
        return bytes(line)

    @property
    def _file(self) -> io.BufferedReader:
        return self.file  # type: ignore[return-value]

    def _passed(self, pace: Pace, size: int) -> None:
        try:
            pace.passed(size)
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
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _responses(answer: list[Any]) -> Iterator[dict[str, Any]]:
    """The items of each FETCH response; imaplib leaves them in pieces, split at their literals."""
    tokens: list[Any] = []
    for piece in answer:
        line, literal = piece if isinstance(piece, tuple) else (piece, None)
        if not isinstance(line, bytes):
            continue
        tokens += _tokens(LITERAL.sub(b"", line) if literal is not None else line)
        if literal is not None:
            tokens.append(bytes(literal))
        elif (parsed := _parsed(tokens)) is not None:
            yield parsed
            tokens = []


class _Mark(bytes):
    """A parenthesis, or a word that stood in no quotes."""


def _tokens(line: bytes) -> Iterator[bytes]:
    for opened, closed, quoted, atom in TOKEN.findall(line):
        if opened or closed or atom:
            yield _Mark(opened or closed or atom)
        else:
            yield re.sub(rb"\\(.)", rb"\1", quoted)


def _parsed(tokens: list[Any]) -> dict[str, Any] | None:
    """``n (KEY value …)`` as a dict; None when the rest hasn't come."""
    stack: list[list[Any]] = [[]]
    flat = 0  # parentheses beyond what any mail needs: what is in them is not put any deeper
    for token in tokens:
        if isinstance(token, _Mark) and token == b"(":
            if len(stack) > NESTED:
                flat += 1
            else:
                stack.append([])
        elif isinstance(token, _Mark) and token == b")":
            if flat:
                flat -= 1
            elif len(stack) > 1:
                done = stack.pop()
                stack[-1].append(done)
        else:
            stack[-1].append(None if isinstance(token, _Mark) and token.upper() == b"NIL" else token)
    if len(stack) > 1:
        return None
    items = next((x for x in stack[0] if isinstance(x, list)), [])
    return _paired(items)


def _paired(items: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    words = iter(items)
    for word in words:
        if not isinstance(word, bytes):
            continue
        key = word.decode("ascii", "replace").upper()
        if key.startswith("BODY[HEADER.FIELDS"):  # its list of fields was read as a list: BODY[HEADER.FIELDS (…)]
            for skipped in words:
                if isinstance(skipped, bytes) and skipped.endswith(b"]"):
                    break
        made[key] = next(words, None)
    return made


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _dict(values: Any) -> dict[str, str]:
    if not isinstance(values, list):
        return {}
    words = [_text(v) for v in values]
    return {k.lower(): v for k, v in zip(words[::2], words[1::2], strict=False)}


def _report(structure: Any) -> str:
    """The report-type of a multipart/report, in small letters."""
    if not (isinstance(structure, list) and structure and isinstance(structure[0], list)):
        return ""
    words = [x for x in structure if not isinstance(x, list)]
    lists = structure[len(list(_while_lists(structure))) :]
    parameters = next((_dict(x) for x in lists if isinstance(x, list)), {})
    if words and _text(words[0]).lower() == "report":
        return parameters.get("report-type", "?").lower()
    return ""


def _while_lists(structure: list[Any]) -> Iterator[list[Any]]:
    for part in structure:
        if not isinstance(part, list):
            return
        yield part


def _leaves(structure: Any, number: str, found: list[Leaf], depth: int) -> bool:
    """Gather the parts that hold no parts; False when they stand too deep. A message in a message is one part."""
    if not isinstance(structure, list) or not structure:
        return False
    if isinstance(structure[0], list):
        numbered = enumerate(_while_lists(structure), 1)
        fits = [_leaves(part, f"{number}.{n}" if number else str(n), found, depth + 1) for n, part in numbered]
        return all(fits) and depth < DEEPEST
    kind = f"{_text(structure[0])}/{_text(structure[1])}".lower() if len(structure) > 6 else ""
    size = _text(structure[6]) if len(structure) > 6 else ""
    disposition: dict[str, str] = {}
    for extension in structure[7:]:  # (… md5 disposition language location)
        if (
            isinstance(extension, list)
            and len(extension) == 2
            and isinstance(extension[0], bytes)
            and _text(extension[0]).lower() in ("attachment", "inline")
        ):
            disposition = {"": _text(extension[0]).lower(), **_dict(extension[1])}
    found.append(
        Leaf(number or "1", kind, _dict(structure[2]) if len(structure) > 2 else {},
             _text(structure[5]) if len(structure) > 5 else "", int(size) if size.isdigit() else 0, disposition)
    )  # fmt: skip
    return True
