"""X.400's mailbox at Dovecot: mails that nobody sends by accident, and as many as come over the years."""

from __future__ import annotations

import base64
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from slussen.archiving import archive
from slussen.errors import TransportRefused
from slussen.transports import imap
from slussen.transports.oraddress import to_smtp
from slussen.transports.x400 import X400, Account
from tests.interop.mail import GATEWAY, dovecot
from tests.transports.messages import CSN

CONTENT = random.Random(1809).randbytes(57 * 20_000)
Put = Callable[..., None]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Account, Path]]:
    mailboxes = Path(tempfile.mkdtemp(prefix="slussen-mail-"))
    mailboxes.chmod(0o777)
    try:
        with dovecot(mailboxes) as imap:
            owned(mailboxes / "city", imap.owner.pw_uid, imap.owner.pw_gid)
            account = Account(
                host="127.0.0.1", port=1, imap_host="127.0.0.1", imap_port=imap.port, user="city",
                password="sandbox", originator=f"stockholm@{GATEWAY}", recipient=CSN, gateway=GATEWAY, ca=str(imap.ca),
            )  # fmt: skip
            yield account, mailboxes / "city"
    finally:
        shutil.rmtree(mailboxes)


def owned(folder: Path, user: int, group: int) -> None:
    folder.mkdir(exist_ok=True)
    os.chown(folder, user, group)


@pytest.fixture
def mailbox(server: tuple[Account, Path], request: pytest.FixtureRequest) -> Iterator[tuple[Account, Put]]:
    """A folder of its own, with letters beyond ASCII in its name, and a way to put mails into it."""
    account, root = server
    folder = root / f".{imap._quoted(f'Från CSN & {request.node.name[-40:]}').strip(chr(34)).replace('.', '')}"
    owner = root.stat()
    owned(folder, owner.st_uid, owner.st_gid)
    for name in ("cur", "new", "tmp"):
        owned(folder / name, owner.st_uid, owner.st_gid)

    def put(mail: bytes | list[bytes], times: int = 1) -> None:
        for _ in range(times):
            file = folder / "tmp" / f"{time.time_ns()}.M{random.random()}.host"
            with file.open("wb") as out:
                out.writelines([mail] if isinstance(mail, bytes) else mail)
            os.chown(file, owner.st_uid, owner.st_gid)
            file.rename(folder / "new" / file.name)

    name = f"Från CSN & {request.node.name[-40:].replace('.', '')}"
    yield replace(account, mailbox=name, archive="Arkiv å"), put
    shutil.rmtree(folder)


def mail(headers: str, body: bytes = b"", sender: str = to_smtp(CSN, GATEWAY), identity: str = "<good@x>") -> bytes:
    head = f"From: {sender}\r\nMessage-ID: {identity}\r\nMIME-Version: 1.0\r\n{headers}\r\n\r\n"
    return head.encode() + body


def attached(name: str, body: bytes, encoding: str = "base64") -> bytes:
    headers = (
        f"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename={name}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return mail('Content-Type: multipart/mixed; boundary="b"', b"--b\r\n" + headers.encode() + body + b"\r\n--b--\r\n")


def fetched(partner: X400, name: str) -> bytes:
    sink = BytesIO()
    partner.fetch(name, sink)
    return sink.getvalue()


def grown(act: Callable[[], object]) -> int:
    """The megabytes by which this process has been larger than ever before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    act()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10


@pytest.mark.parametrize("letters", [200, 2000])
def test_a_strangers_mail_of_thousands_of_parts_keeps_nobody_from_the_partners(
    mailbox: tuple[Account, Put], letters: int
) -> None:
    account, put = mailbox
    part = b"--b\r\nContent-Type: application/octet-stream; name=%s\r\n\r\nx\r\n"
    parts = b"".join(part % (b"n%05d" % n + b"x" * letters) for n in range(9000))
    put(attached("a.txt", b"aGVq"), 3)
    put(mail('Content-Type: multipart/mixed; boundary="b"', parts + b"--b--\r\n", "evil@example.com", "<evil@x>"))
    put(attached("b.txt", b"aGVq"))
    with X400(account) as partner:
        assert {e.name for e in partner.entries("?.txt")} == {"a.txt", "b.txt"}
        assert fetched(partner, "b.txt") == b"hej"
        assert partner.notices() == []
        (bad, *_) = (e for e in partner.entries("*") if not e.name.endswith(".txt"))
        with pytest.raises(TransportRefused, match="another sender"):
            fetched(partner, bad.name)


def test_the_partners_mail_of_thousands_of_parts_is_refused_whatever_is_looked_for(
    mailbox: tuple[Account, Put],
) -> None:
    account, put = mailbox
    part = b"--b\r\nContent-Type: application/octet-stream; name=%s\r\n\r\nx\r\n"
    parts = b"".join(part % (b"n%05d" % n + b"x" * 2000) for n in range(3000))
    put(mail('Content-Type: multipart/mixed; boundary="b"', parts + b"--b--\r\n", identity="<many@x>"))
    with X400(account) as partner:
        (entry,) = partner.entries("SVAR*")
        with pytest.raises(TransportRefused, match=r"many-x: .* more parts than its server can tell"):
            fetched(partner, entry.name)


def test_headers_of_any_size_are_looked_at_in_their_beginning(mailbox: tuple[Account, Put]) -> None:
    account, put = mailbox
    put(attached("a.txt", b"aGVq"))
    put([b"From: evil@example.com\r\nIn-Reply-To: ", *[b"<x@y>\r\n " * (1 << 16)] * 150, b"\r\n\r\nx\r\n"])
    with X400(account) as partner:
        assert grown(lambda: partner.entries("*")) < 40
        assert fetched(partner, "a.txt") == b"hej"


def test_a_line_of_quoted_printable_without_an_end_is_refused_at_a_megabyte(mailbox: tuple[Account, Put]) -> None:
    account, put = mailbox
    head, tail = attached("a.txt", b"|", "quoted-printable").split(b"|")
    put([head, *[b"x" * (1 << 20)] * 100, tail])
    with X400(account) as partner:
        assert grown(lambda: partner.entries("*")) < 40
        with pytest.raises(TransportRefused, match="line of more than"):
            fetched(partner, "a.txt")


@pytest.mark.parametrize(
    ("over", "blank"), [(0, 0), (0, 9), (55, 0), (55, 2), (56, 1), (56, 2), (30, 60), (30, 20_000)]
)
def test_base64_that_ends_in_blank_lines_has_its_size(mailbox: tuple[Account, Put], over: int, blank: int) -> None:
    account, put = mailbox
    content = CONTENT + CONTENT[:over]
    put(attached("a.txt", base64.encodebytes(content).replace(b"\n", b"\r\n") + b"\r\n" * blank))
    with X400(account) as partner:
        (entry,) = partner.entries("*")
        assert entry.size == len(content)
        assert fetched(partner, "a.txt") == content


def test_base64_that_only_looks_regular_is_refused_and_says_why(mailbox: tuple[Account, Put]) -> None:
    account, put = mailbox
    lines = base64.encodebytes(CONTENT).splitlines(keepends=True)
    blank = [b"\n"] * 39  # as long as a line
    put(attached("a.txt", b"".join(x.replace(b"\n", b"\r\n") for x in (*lines[:6000], *blank, *lines[6000:]))))
    with X400(account) as partner:
        assert len(partner.entries("*")) == 1
        with pytest.raises(TransportRefused, match="lines of one length"):
            fetched(partner, "a.txt")


def test_what_is_archived_does_not_have_all_the_others_looked_at_again(
    mailbox: tuple[Account, Put], monkeypatch: pytest.MonkeyPatch
) -> None:
    account, put = mailbox
    for n in range(20):
        put(attached(f"{n}.txt", b"aGVq"))
    looks: list[int] = []
    look = imap.Mailbox.mails
    monkeypatch.setattr(imap.Mailbox, "mails", lambda box: looks.append(1) or look(box))
    with X400(account) as partner:
        for entry in partner.entries("*"):
            fetched(partner, entry.name)
            assert archive(partner, entry) == f"Arkiv å/{entry.name}"
        assert len(looks) == 1
        assert partner.entries("*") == []
    with X400(replace(account, mailbox="Arkiv å")) as partner:
        assert len(partner.entries("*.txt")) == 20
