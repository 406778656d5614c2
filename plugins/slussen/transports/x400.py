"""An X.400 user behind a MIXER gateway (RFC 2156): files as body parts, out over SMTP, in over IMAP, both over TLS.

Out: one message with one file, as RFC 2045's base64, written as it is read from the disk. Its Message-ID is made of the
interchange and a keyed hash: the same for every attempt, and not to be guessed, so that a report that names it comes
from somebody who has had the message. A delivery report (RFC 3461) and a receipt notification (RFC 8098) are asked for.
Until the last line's dot is sent the gateway hasn't got the message; from there to its reply nobody knows:
``Unknown`` (``submission.py``).

In: the partner's messages with one file each. X.400's body parts often have no file name: such a file is called by its
message's id, and is shown whatever is looked for, since nobody could say which it should be. Of several with files of
one name the oldest is shown, the others when that one has been archived. Mails of others, or with several files, are
refused by name, and stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import Header
from email.utils import formatdate, parseaddr
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Literal, Self
from urllib.parse import quote

from slussen.errors import TransportError, TransportRefused
from slussen.keys import keyed
from slussen.transports import (
    ByMessage,
    Entry,
    Message,
    Missing,
    Notice,
    Sink,
    carried,
    in_order,
    is_plain,
    matches,
    plain,
    tls,
    unusable,
)
from slussen.transports.imap_answers import Leaf, Mail
from slussen.transports.mime import Decoder, base64_lines, base64_size, filename, parse_headers
from slussen.transports.oraddress import same, to_smtp
from slussen.transports.reports import Report, delivery_report, read_report, receipt_notification
from slussen.transports.submission import Submission

if TYPE_CHECKING:
    from slussen.transports.imap import Mailbox

SMALL = 1 << 16  # bytes of a report's parts
COUNTED = 1 << 20  # encoded bytes up to which a part is decoded to know its size
TAIL = 1 << 14  # encoded bytes at its end that are looked at, where it isn't
UNNAMED = re.compile(r"[^A-Za-z0-9._-]+")
UNQUOTED = re.compile(r'[\x00-\x1f"\\]')
MDN_SENT = "$MDNSent"  # RFC 3503
NOTHING = Leaf("1", "", {}, "", 0, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who we are at the gateway, and whom we write to; addresses in X.400 form, or SMTP's.

    ``ca`` is a file of certificates to trust instead of the system's; ``confirms``: do we send receipt notifications
    to the partner who asks for them?
    """

    host: str
    port: int = 587
    user: str = ""
    password: str = ""
    imap_host: str
    imap_port: int = 993
    mailbox: str = "INBOX"
    archive: str = "Archive"
    originator: str
    recipient: str
    gateway: str
    ca: str = ""
    confirms: bool = True


@dataclass(frozen=True, slots=True)
class _File:
    mail: Mail
    leaf: Leaf
    refused: str
    ours: bool
    nameless: bool

    def hides(self, other: _File) -> bool:
        """Is it shown rather than an older one of its name?"""
        return (self.ours, not self.refused) > (other.ours, not other.refused)


class X400(ByMessage):
    """Messages to and from one partner through one gateway. It connects when it has to."""

    resends = False

    def __init__(self, account: Account) -> None:
        self._account = account
        self._from = to_smtp(account.originator, account.gateway)
        self._to = to_smtp(account.recipient, account.gateway)
        self._gateway = Submission(
            account.host, account.port, account.user, account.password, account.ca, self._from, self._to
        )
        self._opened: Mailbox | None = None
        self._files: dict[str, _File] = {}
        self._sizes: dict[tuple[int, str], int] = {}
        self._reports: dict[str, list[int]] = {}
        self._closed = False

    # out

    def message_id(self, interchange: str) -> str:
        secret = next(iter(keyed([f"message {interchange}"])))[:24]
        plain = re.sub(r"[^A-Za-z0-9._-]", "-", interchange)[:200]
        return f"<{plain}.{secret}@{self._from.rpartition('@')[2]}>"

    def send(self, message: Message, source: BinaryIO) -> str:
        boundary = f"=_{message.sha256[:48]}"
        head = self._headers(message, boundary).encode("ascii")
        size = len(head) + base64_size(message.bytes) + len(boundary) + 8
        body = chain([head], _counted(source, message), [f"--{boundary}--\r\n".encode()])
        return self._gateway.hand_over(body, size, message.id)

    def _headers(self, message: Message, boundary: str) -> str:
        name = carried(message.name)
        answers = f"In-Reply-To: {message.answers}\r\nReferences: {message.answers}\r\n" if message.answers else ""
        return (
            f"Message-ID: {message.id}\r\n"
            f"Date: {formatdate()}\r\n"
            f"From: {self._from}\r\n"
            f"To: {self._to}\r\n"
            f"Subject: {Header(name, 'utf-8', maxlinelen=200).encode(linesep=chr(13) + chr(10))}\r\n"
            f"{answers}"
            f"Disposition-Notification-To: {self._from}\r\n"
            "MIME-Version: 1.0\r\n"
            f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
            f"--{boundary}\r\n"
            "Content-Type: application/octet-stream\r\n"
            f"Content-Disposition: attachment; size={message.bytes};\r\n filename*=utf-8''{quote(name, safe='')}\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n"
        )

    def connect(self) -> None:
        """Log in to both servers, and see that the gateway takes the partner's address; nothing is sent."""
        self._gateway.ask()
        _ = self._mailbox

    # in

    @property
    def _mailbox(self) -> Mailbox:
        from slussen.transports.imap import Mailbox

        if self._closed:
            raise TransportError(f"the connection to {self._account.imap_host} has been closed")
        if self._opened is None:
            a = self._account
            self._opened = Mailbox(
                a.imap_host, a.imap_port, a.user, a.password, tls.context(a.ca), a.mailbox, a.archive
            )  # fmt: skip
        return self._opened

    def entries(self, pattern: str) -> list[Entry]:
        return in_order(self._entry(n, f) for n, f in self._listed().items() if f.nameless or matches(n, pattern))

    def stat(self, name: str) -> Entry | None:
        file = self._listed().get(plain(name))
        return self._entry(name, file) if file else None

    def _entry(self, name: str, file: _File) -> Entry:
        size = 0 if file.refused else self._size(file)
        answers = re.search(r"<[^<>\s]+>", str(file.mail.headers.get("In-Reply-To", "")))
        return Entry(name, size, f"{self._mailbox.validity}.{file.mail.uid}", answers[0] if answers else "")

    def _listed(self) -> dict[str, _File]:
        """The oldest file of each name; the partner's before anybody's."""
        found: dict[str, _File] = {}
        for mail in self._mailbox.mails():
            for name, file in self._in(mail):
                if name not in found or file.hides(found[name]):
                    found[name] = file
        self._files = found
        return found

    def _in(self, mail: Mail) -> Iterator[tuple[str, _File]]:
        if mail.report:
            return
        files, refused = _files(mail), ""
        if not (ours := same(_sender(mail), self._to)):
            refused = "is of another sender than the partner"
        elif mail.wrong:
            refused = mail.wrong
        elif len(files) > 1:
            refused = "has several files, and no more than one may come in a message"
        for name, leaf in files:
            called = name or UNNAMED.sub("-", self._reference(mail)).strip("-.")[:100] or str(mail.uid)
            yield called, _File(mail, leaf, refused, ours, nameless=ours and not name)

    def _size(self, file: _File) -> int:
        """The decoded size, found once: a message never changes under its number. 0 where it can't be decoded."""
        part = (file.mail.uid, file.leaf.number)
        if part not in self._sizes:
            try:
                size = self._measured(file)
            except TransportRefused:  # fetching it says so
                size = 0
            self._sizes[part] = size
        return self._sizes[part]

    def _measured(self, file: _File) -> int:
        """What no server tells, by how its lines lie, or by decoding it."""
        leaf, encoding = file.leaf, file.leaf.encoding.lower()
        if encoding in ("7bit", "8bit", "binary", ""):
            return leaf.size
        if encoding == "base64" and leaf.size > COUNTED and (size := self._by_its_lines(file)) is not None:
            return size
        return sum(map(len, self._decoded(file)))

    def _by_its_lines(self, file: _File) -> int | None:
        """The size of base64 in lines of one length, looked at in five places and at its end; None when they differ."""
        line = self._piece(file, 0, 1024).find(b"\r\n")
        if line <= 0 or line % 4:
            return None
        every, size = line + 2, file.leaf.size
        for n in range(1, 5):
            if self._piece(file, size * n // 5 // every * every + line, 2) != b"\r\n":
                return None
        start = max(0, size - TAIL) // every * every
        *lines, last = self._piece(file, start, size).rstrip(b"\r\n").split(b"\r\n")  # blank lines may follow
        if not last or len(last) % 4 or len(last) > line or any(len(x) != line or b"=" in x for x in lines):
            return None
        return (start // every + len(lines)) * line // 4 * 3 + len(last) // 4 * 3 - last.count(b"=")

    def _piece(self, file: _File, start: int, size: int) -> bytes:
        return b"".join(self._mailbox.pieces(file.mail.uid, file.leaf.number, start, size))

    def _decoded(self, file: _File) -> Iterator[bytes]:
        decoder = Decoder(file.leaf.encoding)
        for piece in self._mailbox.pieces(file.mail.uid, file.leaf.number):
            yield decoder.decode(piece)
        yield decoder.finish()

    def fetch(self, name: str, sink: Sink) -> Entry:
        file = self._file(name)
        if not is_plain(name):
            raise unusable(name)
        if file.refused:
            raise TransportRefused(
                f"{name}: the mail that brings it {file.refused}. Next: look at it in the mailbox, and move it away"
            )
        said, got = self._size(file), 0
        for piece in self._decoded(file):
            sink.write(piece)
            got += len(piece)
        if got == said:
            return self._entry(name, file)
        if got == sum(map(len, self._decoded(file))):
            raise TransportRefused(
                f"{name}: {said} bytes by the mailbox's word and the length of its lines, {got} come, each time. Next: "
                "have it sent again as RFC 2045 has it, in lines of one length"
            )
        raise TransportError(f"{name}: {said} bytes announced, {got} came")

    def _file(self, name: str) -> _File:
        files = self._files if name in self._files else self._listed()
        if name not in files:
            raise Missing(f"{name}: no message in the mailbox brings it")
        return files[name]

    def archive(self, seen: Entry, place: str) -> str:
        """The partner who has asked for a receipt notification gets it first."""
        uid = int(seen.modified.rpartition(".")[2])
        if seen.modified != f"{self._mailbox.validity}.{uid}":
            raise TransportError(f"{seen.name}: the mailbox has been made anew; the next look finds the message")
        self._confirm(self._mailbox.mail(uid))
        self._mailbox.move(uid)
        self._files.pop(seen.name, None)
        return f"{self._account.archive}/{seen.name}"

    def _confirm(self, mail: Mail) -> None:
        """The receipt notification that the partner has asked for: to himself, whatever the request says (RFC 8098)."""
        wanted = parseaddr(str(mail.headers.get("Disposition-Notification-To", "")))[1]
        about = str(mail.headers.get("Message-ID", "")).strip()
        if not (self._account.confirms and wanted and about) or MDN_SENT.lower() in mail.flags:
            return
        if same(wanted, self._to):
            body = receipt_notification(about, self.message_id(f"read {about}"), self._from, self._to)
            self._gateway.hand_over([body], len(body))
        self._mailbox.flag(mail.uid, MDN_SENT)

    # receipts

    def notices(self) -> list[Notice]:
        """Reports on messages to other partners, whose mailbox this may be too, are left to them."""
        found = (self._notice(mail) for mail in self._reporting())
        return [notice for notice in found if notice is not None]

    def _reporting(self) -> list[Mail]:
        mails = [mail for mail in self._mailbox.mails() if mail.report]
        self._reports = {}
        for mail in mails:
            self._reports.setdefault(self._reference(mail), []).append(mail.uid)
        return mails

    def _notice(self, mail: Mail) -> Notice | None:
        reference, report = self._reference(mail), self._report(mail)
        kind: Literal["delivery", "read"] = "read" if mail.report == "disposition-notification" else "delivery"
        if report is None:
            return Notice(reference, "", kind, "rejected", "unparsable")
        if report.recipient and not same(report.recipient, self._to):
            return None
        if kind == "read" and not same(_sender(mail), self._to):
            return Notice(reference, "", kind, "rejected", "from a stranger")
        return Notice(reference, report.about, report.kind, report.outcome, report.detail)

    def _reference(self, mail: Mail) -> str:
        identity = str(mail.headers.get("Message-ID", "")).strip()
        return identity[:990] if identity else f"{self._mailbox.validity}.{mail.uid}"

    def _report(self, mail: Mail) -> Report | None:
        by_type = {leaf.type: leaf for leaf in mail.leaves}
        try:
            match mail.report:
                case "delivery-status":
                    status = self._small(mail, by_type.get("message/delivery-status"))
                    back = by_type.get("text/rfc822-headers") or by_type.get("message/rfc822")
                    return delivery_report(status, self._small(mail, back))
                case "disposition-notification":
                    return read_report(self._small(mail, by_type.get("message/disposition-notification")))
        except TransportRefused:  # what isn't in its own encoding
            pass
        return None

    def _small(self, mail: Mail, leaf: Leaf | None) -> bytes:
        """The first bytes of a part: what is looked for stands there."""
        if leaf is None:
            return b""
        decoder = Decoder(leaf.encoding)
        raw = b"".join(self._mailbox.pieces(mail.uid, leaf.number, 0, SMALL))
        return decoder.decode(raw) + (b"" if leaf.size > SMALL else decoder.finish())

    def settle(self, notice: Notice) -> None:
        if notice.reference not in self._reports:
            self._reporting()
        for uid in self._reports.pop(notice.reference, []):
            self._mailbox.move(uid)

    def close(self) -> None:
        self._closed = True
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _counted(source: BinaryIO, message: Message) -> Iterator[bytes]:
    """The file as base64; what is no longer, or not yet, as long as it was announced never gets its last line."""
    counted = _Counted(source)
    yield from base64_lines(counted)  # type: ignore[arg-type]
    if counted.bytes != message.bytes:
        raise TransportError(f"the payload has {counted.bytes} bytes, not {message.bytes}; nothing was sent")


class _Counted:
    def __init__(self, source: BinaryIO) -> None:
        self._source, self.bytes = source, 0

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.bytes += len(data)
        return data


def _files(mail: Mail) -> list[tuple[str, Leaf]]:
    """The parts that are files, and their names: those that have one, or are no text; a text where there is nothing
    else. What stands beside a file in words, without a name, is a covering note."""
    named = [(_name(leaf), leaf) for leaf in mail.leaves]
    files = [(name, leaf) for name, leaf in named if name or not leaf.type.startswith("text/")]
    return files or named or [("", NOTHING)]


def _name(leaf: Leaf) -> str:
    """The name of a part's file, put together again from a structure's parameters."""
    for kind, parameters in (("attachment", leaf.disposition), ("", leaf.parameters)):
        wanted = {k: v for k, v in parameters.items() if k.startswith(("filename", "name"))}
        if wanted:
            listed = "".join(f'; {k}="{UNQUOTED.sub("?", v)}"' for k, v in wanted.items())
            header = "Content-Disposition: attachment" if kind else "Content-Type: application/octet-stream"
            return filename(parse_headers(f"{header}{listed}\r\n\r\n".encode()))
    return ""


def _sender(mail: Mail) -> str:
    value = str(mail.headers.get("From", ""))
    quoted = re.search(r'<?("(?:[^"\\]|\\.)*"@[A-Za-z0-9.-]+)>?\s*$', value)
    return quoted[1] if quoted else parseaddr(value)[1]
