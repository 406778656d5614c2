"""X.400 and SHS through servers that nobody here wrote: Postfix, Dovecot, nginx."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from sandbox import shs_node
from sandbox.x400_gateway import Partners
from slussen.archiving import archive
from slussen.certificates import certificate, own
from slussen.errors import TransportRefused
from slussen.probing import Partner, Probe, probe
from slussen.transports import Notice
from slussen.transports.shs import Actor, Shs
from slussen.transports.x400 import X400, Account
from tests.interop.mail import GATEWAY, dovecot, nginx, postfix
from tests.interop.servers import free_port
from tests.transports.messages import CSN, PRODUCT, SKV, hand_over

CONTENT = random.Random(1809).randbytes(3_000_001)
NOBODY = "/O=Ingen/PRMD=X/C=SE/"


class Refuses:
    """A server behind Postfix that takes nobody's mail."""

    async def handle_RCPT(self, *what: Any) -> str:
        return "550 5.1.1 no such user"


@pytest.fixture(scope="module")
def mail() -> Iterator[Account]:
    """An account at Postfix and Dovecot; the partner's mails are in the Maildir ``partner``."""
    refusing = free_port()
    mailboxes = Path(tempfile.mkdtemp(prefix="slussen-mail-"))
    mailboxes.chmod(0o777)
    controller = Controller(Refuses(), hostname="127.0.0.1", port=refusing)
    controller.start()
    try:
        with postfix(mailboxes, refusing) as smtp, dovecot(mailboxes) as imap:
            owner = smtp.owner
            for name in ("city", "partner"):
                (mailboxes / name).mkdir(exist_ok=True)
                os.chown(mailboxes / name, owner.pw_uid, owner.pw_gid)
            ca = mailboxes / "ca.pem"
            ca.write_bytes(smtp.ca.read_bytes() + imap.ca.read_bytes())
            yield Account(
                host="127.0.0.1", port=smtp.port, imap_host="127.0.0.1", imap_port=imap.port, user="city",
                password="sandbox",
                originator=f"stockholm@{GATEWAY}", recipient=CSN, gateway=GATEWAY, ca=str(ca), mailbox="INBOX",
            )  # fmt: skip
    finally:
        controller.stop()
        shutil.rmtree(mailboxes)


def eventually(look: Any) -> Any:
    for _ in range(100):
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_postfix_takes_a_message_and_its_delivery_report_is_matched(mail: Account) -> None:
    with X400(mail) as partner:
        assert hand_over(partner, CONTENT, interchange="csn_inack-1")
        notice: Notice
        (notice,) = eventually(partner.notices)
        assert notice.about == partner.message_id("csn_inack-1")
        assert (notice.kind, notice.outcome, notice.detail) == ("delivery", "accepted", "delivered 2.0.0")
        partner.settle(notice)
        assert partner.notices() == []


def test_a_bounce_of_postfixs_is_a_rejection(mail: Account) -> None:
    account = replace(mail, gateway="refusing.example.org")
    with X400(account) as partner:
        hand_over(partner, b"x", interchange="csn_inack-2")
        (notice,) = eventually(partner.notices)
        assert (notice.about, notice.outcome) == (partner.message_id("csn_inack-2"), "rejected")
        assert notice.detail == "failed 5.1.1"
        partner.settle(notice)


def test_a_recipient_that_postfix_does_not_know_is_refused(mail: Account) -> None:
    account = replace(mail, recipient=NOBODY)
    with X400(account) as partner, pytest.raises(TransportRefused, match=r"refused with 550 5\.1\.1"):
        hand_over(partner, b"x")


def test_dovecot_shows_fetches_and_archives_a_file(mail: Account, tmp_path: Path) -> None:
    made = Partners(tmp_path)
    names = {"SVÅR 1.TXT": CONTENT, "litet.txt": b"x"}
    for name, content in names.items():
        made.send(name, content, sender=CSN, answers="<fraga@x>")
    folder = Path(mail.ca).parent / "city" / "new"
    folder.mkdir(parents=True, exist_ok=True)
    for number in made.mailboxes.numbers("INBOX"):
        raw = made.mailboxes.path("INBOX", number).read_bytes()
        (folder / f"{number}.slussen").write_bytes(raw)
        (folder / f"{number}.slussen").chmod(0o666)
    for place in (folder.parent, folder, folder.parent.parent):
        place.chmod(0o777)
    with X400(mail) as partner:
        entries = eventually(lambda: partner.entries("*"))
        assert {e.name: e.size for e in entries} == {n: len(c) for n, c in names.items()}
        assert {e.answers for e in entries} == {"<fraga@x>"}
        for entry in entries:
            sink = BytesIO()
            partner.fetch(entry.name, sink)
            assert sink.getvalue() == names[entry.name]
            archive(partner, entry)
        assert partner.entries("*") == []
    with X400(replace(mail, mailbox="Archive")) as partner:
        assert {e.name for e in partner.entries("*")} == set(names)


def test_a_probe_logs_in_to_both_and_names_what_is_wrong(mail: Account) -> None:
    def tried(account: Account) -> Probe:
        at = partial(certificate, "127.0.0.1", account.port, "smtp", account.ca)
        return probe(Partner(connection="p", transport="x400", open=lambda: X400(account), pattern="*", certificate=at))

    ready = tried(mail)
    assert ready.verdict == "fine", ready.as_dict()
    assert [s.name for s in ready.steps] == ["certificate", "connect and log in", "clock", "list"]
    for wrong, word in (({"recipient": NOBODY}, "refused with 550 5.1.1"), ({"password": "fel"}, "logging in")):
        refused = tried(replace(mail, **wrong))
        assert refused.verdict == "failed"
        assert word in refused.steps[-1].detail


@pytest.fixture
def front(tmp_path: Path) -> Iterator[tuple[str, shs_node.Served]]:
    with shs_node.running(tmp_path, tls=False) as served:
        served.authority.issue("front", hosts=("127.0.0.1",))
        tmp_path.chmod(0o755)
        with nginx(served.port, served.authority.folder) as url:
            yield url, served


def test_shs_goes_through_nginx_there_and_back(front: tuple[str, shs_node.Served]) -> None:
    url, served = front
    actor = Actor(url=url, own=shs_node.CITY, partner=SKV, product=PRODUCT, ca=str(served.authority.ca),
                  cert=str(served.certificate(shs_node.CITY)))  # fmt: skip
    with Shs(actor) as partner:
        first, again = hand_over(partner, CONTENT), hand_over(partner, CONTENT)
        assert again == f"{first} duplicate"
        (arrived,) = served.node.arrived(SKV)
        assert arrived.read() == CONTENT
        (notice,) = partner.notices()
        assert (notice.about, notice.outcome) == (partner.message_id("skv-1"), "accepted")
        partner.settle(notice)
        served.node.send("SVÅR.TXT", CONTENT, sender=SKV, product=PRODUCT)
        (entry,) = partner.entries("*")
        sink = BytesIO()
        partner.fetch(entry.name, sink)
        assert sink.getvalue() == CONTENT
        archive(partner, entry)
        assert partner.entries("*") == []


def test_nginx_lets_nobody_in_without_a_certificate(front: tuple[str, shs_node.Served]) -> None:
    url, served = front
    actor = Actor(url=url, own=shs_node.CITY, partner=SKV, product=PRODUCT, ca=str(served.authority.ca))
    with Shs(actor) as partner, pytest.raises(TransportRefused):
        partner.entries("*")
    assert served.node.arrived() == []


def test_a_probe_through_nginx_reads_its_clock_and_both_certificates(front: tuple[str, shs_node.Served]) -> None:
    url, served = front
    ours, ca = str(served.certificate(shs_node.CITY)), str(served.authority.ca)
    actor = Actor(url=url, own=shs_node.CITY, partner=SKV, product=PRODUCT, ca=ca, cert=ours)
    port = int(url.rpartition(":")[2])
    done = probe(Partner(
        connection="p", transport="shs", open=lambda: Shs(actor), pattern="*",
        certificate=partial(certificate, "127.0.0.1", port, "tls", ca, ours), own=partial(own, ours),
    ))  # fmt: skip
    assert {s.name: s.result for s in done.steps} == dict.fromkeys(
        ["certificate", "our certificate", "connect and log in", "clock", "list"], "fine"
    )
