"""Proofs and alerts, over a real mail server with TLS and a real SMS gateway: each is told once."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from sandbox.airflow import free_port
from sandbox.postgres import Server
from slussen import settings
from slussen.alerts import Alert, alert, recovered
from slussen.database import migrate
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.integration import Integration, directory
from slussen.lateness import STOCKHOLM
from slussen.ledger import Ledger
from slussen.notifications import BASIC, GRACE, SMS, Note, proof, sms, tell
from slussen.operators.channels import channel

NOTE = Note("x-1", "x: levererad till Agresso", "Flow: x\nFile: ÄNGSVIK.TXT\n", "Slussen x: ÄNGSVIK.TXT to Agresso")


class Mailbox:
    """A mail server that keeps what it is given, and answers as it is told."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.replies: list[str] = []  # what it says after the data, before it says 250
        self.unknown: dict[str, str] = {}  # what it says of a recipient

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.unknown:
            return self.unknown[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = cast("bytes", envelope.content)
        self.mails.append(cast("EmailMessage", message_from_bytes(content, policy=policy.default)))
        self.recipients += envelope.rcpt_tos
        return self.replies.pop(0) if self.replies else "250 OK"


class Gateway(ThreadingHTTPServer):
    """An SMS gateway that keeps what it is given, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.got: list[dict[str, Any]] = []
        self.replies: list[int] = []
        self.page: tuple[str, bytes] = ("text/plain", b"")


class _Request(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast("Gateway", self.server)
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        server.got.append({**{k: v[0] for k, v in form.items()}, "headers": dict(self.headers)})
        status = server.replies.pop(0) if server.replies else 200
        if status == 0:  # the reply is lost
            self.connection.close()
            return
        self.send_response(status)
        kind, body = server.page
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def mailbox(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mailbox]:
    """A mail server behind STARTTLS and a login; the connection ``post`` leads to it, ``handy`` is mail-to-SMS."""
    ca = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    box = Mailbox()

    def login(*given: Any) -> AuthResult:
        data = given[-1]
        return AuthResult(success=(data.login, data.password) == (b"slussen", b"hemligt"), handled=False)

    port = free_port(0)
    controller = Controller(
        box, hostname="localhost", port=port, tls_context=context, require_starttls=True, auth_required=True,
        authenticator=login,
    )  # fmt: skip
    controller.start()
    for name, extra in (
        ("POST", {"to": "drift@example.org"}),
        ("HANDY", {"to": "46700000000@sms.example.org", "sms": True}),
    ):
        connect(monkeypatch, name, conn_type="smtp", host="localhost", port=port, login="slussen", password="hemligt",
                extra={"from_email": "slussen@example.org", "disable_ssl": True, "retry_limit": 0,
                       **extra})  # fmt: skip
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """An SMS gateway; the connection ``mobile`` leads to it."""
    with Gateway() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connect(monkeypatch, "MOBILE", conn_type="http", host="http://127.0.0.1", port=server.server_port,
                login="api", password="hemligt", extra={"sms": {"to": "+46700000000"}})  # fmt: skip
        yield server
        server.shutdown()


def connect(monkeypatch: pytest.MonkeyPatch, name: str, **said: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(said))


@pytest.fixture
def ledger(postgres: Server) -> Ledger:
    dsn = postgres.dsn("notified")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return Ledger(f"{dsn} user=slussen")


def kinds(ledger: Ledger, stream: str) -> list[str]:
    return [e.kind for e in ledger.events(stream)]


# --- mail and SMS


def test_mail_goes_by_tls_and_login_as_plain_text(mailbox: Mailbox) -> None:
    channel("post").send(NOTE)
    [mail] = mailbox.mails
    assert mail["To"] == "drift@example.org"
    assert mail["Subject"] == NOTE.subject
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == NOTE.text


def test_the_same_note_has_the_same_message_id_and_another_one_another(mailbox: Mailbox) -> None:
    for note in (NOTE, NOTE, Note("x-2", "x", "x", "x")):
        channel("post").send(note)
    first, again, other = (m["Message-ID"] for m in mailbox.mails)
    assert first == again != other
    assert first.endswith("@example.org>")


def test_nothing_in_a_name_becomes_a_header_or_a_recipient(mailbox: Mailbox) -> None:
    evil = "a.txt\r\nBcc: thief@example.org\r\n\r\nbody\x00\u2028\udce5"
    channel("post").send(Note("x-3", f"x: {evil}", "text", "short"))
    [mail] = mailbox.mails
    assert mail["Bcc"] is None
    assert mailbox.recipients == ["drift@example.org"]
    assert "thief" in mail["Subject"]


def test_mail_to_sms_carries_the_short_text(mailbox: Mailbox) -> None:
    channel("handy").send(NOTE)
    assert mailbox.recipients == ["46700000000@sms.example.org"]
    assert mailbox.mails[0].get_content().strip() == NOTE.short


@pytest.mark.parametrize(("reply", "error"), [("451 later", TransportError), ("554 hemligt", TransportRefused)])
def test_a_mail_servers_no_is_passing_or_final_by_its_code_and_its_words_are_left_out(
    mailbox: Mailbox, reply: str, error: type[Exception]
) -> None:
    mailbox.replies = [reply]
    with pytest.raises(error, match=reply[:3]) as refused:
        channel("post").send(NOTE)
    assert "hemligt" not in str(refused.value)


@pytest.mark.parametrize(("reply", "error"), [("450 later", TransportError), ("550 no", TransportRefused)])
def test_one_of_two_who_is_not_told_is_told_of(
    mailbox: Mailbox, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, reply: str, error: type[Exception]
) -> None:
    said = json.loads(os.environ["AIRFLOW_CONN_POST"])
    said["extra"]["to"] = "a@example.org, b@example.org"
    connect(monkeypatch, "POST", **said)
    mailbox.unknown = {"a@example.org": reply}
    with pytest.raises(error, match=rf"post: the mail server says {reply[:3]} to 1 of"):
        tell(ledger, f"x-two-{reply[:3]}", "x", "proof", NOTE, channel("post"))
    assert mailbox.recipients == ["b@example.org"]
    assert kinds(ledger, f"x-two-{reply[:3]}") == ["notifying", "unnotified"]


def test_a_mail_server_that_says_nothing_is_given_up_after_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connect(monkeypatch, "POST", conn_type="smtp", host="127.0.0.1", port=mute.getsockname()[1],
                extra={"from_email": "a@example.org", "to": "b@example.org", "disable_ssl": True,
                       "timeout": 1})  # fmt: skip
        began = time.monotonic()
        with pytest.raises(TransportError):
            channel("post").send(NOTE)
    assert time.monotonic() - began < 2


def test_a_mail_server_without_a_trusted_certificate_or_a_right_login_gets_nothing(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.loads(os.environ["AIRFLOW_CONN_POST"])
    connect(monkeypatch, "POST", **{**said, "password": "fel"})
    with pytest.raises(TransportRefused, match="535"):
        channel("post").send(NOTE)
    connect(monkeypatch, "POST", **said)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(TransportRefused, match="certificate"):
        channel("post").send(NOTE)
    assert mailbox.mails == []


def test_an_sms_goes_to_the_gateway_with_its_login_and_a_key_that_is_the_same_each_time(gateway: Gateway) -> None:
    for _ in range(2):
        channel("mobile").send(NOTE)
    first, again = gateway.got
    assert first["to"] == "+46700000000"
    assert first["message"] == NOTE.short
    assert first["headers"]["Authorization"].startswith("Basic ")
    assert first["headers"]["Idempotency-Key"] == again["headers"]["Idempotency-Key"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, TransportError),
        (429, TransportError),
        (0, TransportError),
        (403, TransportRefused),
        (302, TransportRefused),
    ],
)
def test_a_gateways_no_is_passing_or_final_by_its_status(gateway: Gateway, status: int, error: type[Exception]) -> None:
    gateway.replies = [status]
    with pytest.raises(error):
        channel("mobile").send(NOTE)


PAGE = b"\r\n<!DOCTYPE html><html><form>Logga in</form></html>"


@pytest.mark.parametrize(("page", "told"), [(PAGE, False), (b"OK: 123", True), (b"", True)])
def test_a_login_page_is_no_gateways_answer(gateway: Gateway, ledger: Ledger, page: bytes, told: bool) -> None:
    gateway.page = ("text/html; charset=utf-8", page)
    stream = f"x-page-{len(page)}"
    if told:
        assert tell(ledger, stream, "x", "proof", NOTE, channel("mobile")) == "sent"
        return
    with pytest.raises(TransportRefused, match="a page for people"):
        tell(ledger, stream, "x", "proof", NOTE, channel("mobile"))
    assert kinds(ledger, stream) == ["notifying", "unnotified"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "https://x:y", "extra": {"sms": {"to": "+46700000000"}}},
        {"host": "ftp://x", "extra": {"sms": {"to": "+46700000000"}}},
        {"host": "x", "extra": {"sms": {"to": "+46700000000"}, "ca": "/none.pem"}},
        {"conn_type": "smtp", "host": "127.0.0.1", "port": 1,
         "extra": {"from_email": "a@x.se", "to": "b@x.se", "ssl_context": "maybe", "disable_ssl": "x"}},
        {"conn_type": "smtp", "host": "x", "extra": {"from_email": "a@x.se", "to": "b@x.se", "timeout": "soon"}},
        {"conn_type": "smtp", "host": "x", "extra": {"from_email": "a@x.se", "to": "b\n@x.se"}},
    ],
)  # fmt: skip
def test_a_mistake_in_a_connection_is_one_of_those_who_were_not_told(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    connect(monkeypatch, "WRONG", **{"conn_type": "http", **wrong})
    stream = f"x-wrong-{request.node.callspec.id}"
    with pytest.raises((TransportError, TransportRefused), match="wrong: "):
        tell(ledger, stream, "x", "proof", NOTE, channel("wrong"))
    assert kinds(ledger, stream) == ["notifying", "unnotified"]


def test_a_connection_that_tells_nobody_is_the_callers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "FOLDER", conn_type="fs")
    connect(monkeypatch, "WEB", conn_type="http", host="x")
    connect(monkeypatch, "NOBODY", conn_type="smtp", host="x")
    for name in ("folder", "web", "nobody", "none_such"):
        with pytest.raises(CallError, match=name):
            channel(name)


def test_an_sms_is_one_message_of_basic_letters_whatever_the_name_is() -> None:
    for name in ("A" * 300, "Ängsvik {€} [x] ~^|\\.txt", "\udce5\n" * 50, ""):
        text = sms("Slussen f29: ", name, " to Agresso-Kund 2026-01-12 20:03, 132 records, sha256 0123456789ab")
        assert len(text) <= SMS
        assert set(text) <= BASIC
        assert text.startswith("Slussen f29: ")
        assert text.endswith("0123456789ab")


# --- told once


def test_a_note_is_sent_once_however_often_and_by_however_many_it_is_tried(gateway: Gateway, ledger: Ledger) -> None:
    def attempt(_: int) -> str:
        return tell(ledger, "x-many", "x", "proof", NOTE, channel("mobile"))

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(attempt, range(8)))
    assert told.count("sent") == 1
    assert tell(ledger, "x-many", "x", "proof", NOTE, channel("mobile")) == "before"
    assert len(gateway.got) == 1
    assert kinds(ledger, "x-many") == ["notifying", "notified"]


def test_what_failed_is_tried_again_and_the_ledger_shows_both(gateway: Gateway, ledger: Ledger) -> None:
    gateway.replies = [503]
    with pytest.raises(TransportError):
        tell(ledger, "x-again", "x", "proof", NOTE, channel("mobile"))
    assert tell(ledger, "x-again", "x", "proof", NOTE, channel("mobile")) == "sent"
    assert kinds(ledger, "x-again") == ["notifying", "unnotified", "notifying", "notified"]
    failed = ledger.events("x-again")[1].data
    assert failed["reason"] == "mobile: the SMS gateway says 503"
    assert failed["connection"] == "mobile"


def test_an_attempt_that_died_in_between_is_left_alone_for_a_while_and_then_sent_again(
    gateway: Gateway, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = {"about": "proof", "channel": "sms", "connection": "mobile"}
    ledger.append("x-died", "notifying", what, integration="x")
    assert tell(ledger, "x-died", "x", "proof", NOTE, channel("mobile")) == "busy"
    assert gateway.got == []
    monkeypatch.setattr("slussen.notifications.GRACE", timedelta(0))
    assert tell(ledger, "x-died", "x", "proof", NOTE, channel("mobile")) == "sent"
    assert timedelta(seconds=60) < GRACE


# --- the proof's text


def integration(**more: Any) -> Integration:
    return Integration(
        key="f29", teis="110", title="Customers", sender="BoSko", receiver="Agresso-Kund", source=directory("a", "*"),
        target=directory("agresso_kund", "x"), layout="agresso_cs15", persons="none", **more,
    )  # fmt: skip


def test_a_proof_has_flow_file_figures_and_time_and_there_is_none_before_the_delivery(ledger: Ledger) -> None:
    digest = "ab" * 32
    ledger.append("f29-p", "content", {"records": 132, "sha256": digest}, integration="f29")
    assert proof(integration(), "f29-p", ledger.events("f29-p")) is None
    data = {"name": "FD-F29-0001.txt", "bytes": 25344, "sha256": digest, "inferred": False}
    delivered = ledger.append("f29-p", "delivered", data, integration="f29")
    note = proof(integration(), "f29-p", ledger.events("f29-p"))
    assert note is not None
    for said in ("f29 (TEIS 110): Customers", "FD-F29-0001.txt", "25344", "132", digest, "f29-p", "Europe/Stockholm"):
        assert said in note.text
    assert f"{delivered.at.astimezone(STOCKHOLM):%Y-%m-%d %H:%M}" in note.text
    assert note.subject == "f29: FD-F29-0001.txt delivered to Agresso-Kund"
    assert "FD-F29-0001.txt" in note.short
    assert len(note.short) <= SMS
    assert "Seal" not in note.text


# --- alerts


def fault(n: int, cause: str = "transport/agresso_kund") -> Alert:
    return Alert(
        cause=cause, integration=f"f{n}", state="transport failed", what="connecting: the connection failed",
        next_step="slussen probe agresso_kund", cutoff=datetime.now(UTC) + timedelta(minutes=95),
        at=datetime.now(UTC),
    )  # fmt: skip


def over(ledger: Ledger) -> bool:
    now = datetime.now(UTC) + timedelta(minutes=7)
    return recovered(ledger, [channel("post")], "transport/agresso_kund", now)


def test_a_hundred_faults_of_one_cause_are_one_alert_and_one_recovery(mailbox: Mailbox, ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda n: alert(ledger, [channel("post")], fault(n)), range(100)))
    assert first.count(True) == 1
    assert len(mailbox.mails) == 1
    text = mailbox.mails[0].get_content()
    for said in ("transport failed", "the connection failed", "slussen probe agresso_kund", "1 h 3", "left"):
        assert said in text
    assert [over(ledger) for _ in range(100)].count(True) == 1
    assert len(mailbox.mails) == 2
    assert "works again after 7 minutes" in mailbox.mails[1]["Subject"]
    assert alert(ledger, [channel("post")], fault(1))
    assert len(mailbox.mails) == 3


def test_an_alert_that_could_not_be_sent_is_tried_again_at_the_next_fault_and_raises_nothing(
    gateway: Gateway, ledger: Ledger
) -> None:
    gateway.replies = [503, 200]
    assert alert(ledger, [channel("mobile")], fault(1, "transport/again"))
    assert not alert(ledger, [channel("mobile")], fault(2, "transport/again"))
    assert not alert(ledger, [channel("mobile")], fault(3, "transport/again"))
    assert len(gateway.got) == 2
    assert kinds(ledger, "watch/transport/again") == ["alarm", "notifying", "unnotified", "notifying", "notified"]


def test_watches_are_no_interchanges(ledger: Ledger) -> None:
    alert(ledger, [], fault(1, "transport/none"))
    assert not any("/" in i.id for i in ledger.interchanges())
