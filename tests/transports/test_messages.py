"""X.400 and SHS against the sandbox's gateway and node: the same behaviours of both, then what is each one's own."""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from sandbox import imap_server, shs_node, x400_gateway
from sandbox.certificates import Authority
from sandbox.faults import Fault
from sandbox.proxy import Cut, Proxy
from slussen.archiving import archive
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.transports import Missing, Unknown, imap, oraddress, shs_label
from slussen.transports.mime import Decoder, base64_lines, base64_size, filename, parse_headers, parts
from slussen.transports.reports import delivery_report, read_report
from tests.transports.messages import CSN, OTHER, RIGS, SKV, STRANGER, Rig, hand_over, message

NAME, CONTENT = "SVÅR 1.TXT", random.Random(1809).randbytes(300_007)


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Rig]:
    with RIGS["x400"](tmp_path) as made:
        yield made


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Rig]:
    with RIGS["shs"](tmp_path) as made:
        yield made


def fetched(partner: Any, name: str = NAME) -> bytes:
    sink = BytesIO()
    partner.fetch(name, sink)
    return sink.getvalue()


# the same of both


def test_a_message_has_the_same_id_in_every_attempt_and_nobody_guesses_it(rig: Rig) -> None:
    with rig.open() as one, rig.open() as other:
        assert one.message_id("skv-1") == other.message_id("skv-1") != one.message_id("skv-2")
        assert len(one.message_id("skv-1")) > 30


def test_a_reply_that_is_lost_is_unknown_and_the_message_is_there(rig: Rig) -> None:
    rig.faults.set(Fault(kind="swallow", on="send", times=1))
    with rig.open() as partner, pytest.raises(Unknown):
        hand_over(partner, CONTENT)
    assert len(rig.arrived()) == 1


@pytest.mark.parametrize("name", ["AVL\udcc4SNING.TXT", "a/b.txt", "a\x07.txt", "a\uffff.txt"])
def test_a_name_that_no_message_can_carry_is_refused_before_anything_is_sent(rig: Rig, name: str) -> None:
    with rig.open() as partner, pytest.raises(TransportRefused, match="no name that a message can carry"):
        hand_over(partner, CONTENT, name=name)
    assert rig.arrived() == []


def test_authorities_that_cannot_be_read_are_the_connections_fault(rig: Rig, tmp_path: Path) -> None:
    def used(act: Any) -> None:
        with rig.open(ca=str(tmp_path / "none.pem")) as partner:
            act(partner)

    for act in (lambda partner: hand_over(partner, CONTENT), lambda partner: partner.entries("*")):
        with pytest.raises(CallError, match="can't be read as PEM"):
            used(act)


def test_a_payload_that_is_not_as_long_as_announced_is_not_sent(rig: Rig) -> None:
    with rig.open() as partner:
        for short in (CONTENT[:-1], CONTENT + b"x"):
            with pytest.raises(TransportError, match="nothing was sent"):
                partner.send(message(partner, CONTENT), BytesIO(short))
    assert rig.arrived() == []


def test_of_files_with_one_name_the_oldest_comes_first_and_the_others_after_it(rig: Rig) -> None:
    contents = [b"first", b"second, longer", b"third"]
    for content in contents:
        rig.send(NAME, content)
    with rig.open() as partner:
        for content in contents:
            (entry,) = partner.entries("*")
            assert fetched(partner) == content
            archive(partner, entry)
        assert partner.entries("*") == []


def test_what_was_seen_is_archived_and_not_what_has_its_name_now(rig: Rig) -> None:
    rig.send(NAME, b"first")
    rig.send(NAME, b"second")
    with rig.open() as partner:
        (first,) = partner.entries("*")
        archive(partner, first)
        (second,) = partner.entries("*")
        if rig.kind == "x400":
            with pytest.raises(Missing):
                archive(partner, first)
        else:
            archive(partner, first)  # acknowledged already
        assert partner.entries("*") == [second]


def test_an_answer_says_which_message_it_answers(rig: Rig) -> None:
    with rig.open() as partner:
        hand_over(partner, CONTENT)
        asked = partner.message_id("skv-1")
        rig.send(NAME, b"svar", answers=asked)
        rig.send("annat.txt", b"inget svar")
        assert {e.name: e.answers for e in partner.entries("*")} == {NAME: asked, "annat.txt": ""}


def test_a_file_from_a_stranger_is_refused_by_name_and_never_hides_the_partners(rig: Rig) -> None:
    rig.send(NAME, b"forged", stranger=True)
    rig.send("forged.txt", b"forged", stranger=True)
    rig.send(NAME, b"real")
    with rig.open() as partner:
        assert fetched(partner) == b"real"
        with pytest.raises(TransportRefused, match="another sender"):
            fetched(partner, "forged.txt")
        assert len(partner.entries("*")) == 2, "it stays where it is"


def test_a_name_that_leads_elsewhere_comes_last_and_is_refused(rig: Rig) -> None:
    for name in ("a/../../b.txt", "a.txt"):
        rig.send(name, b"x")
    with rig.open() as partner:
        good, bad = partner.entries("*")
        assert (good.name, bad.name) == ("a.txt", "a/../../b.txt")
        with pytest.raises(TransportRefused, match="no plain file name"):
            fetched(partner, bad.name)


def test_receipts_are_read_matched_and_put_away(rig: Rig) -> None:
    rig.play("none")
    with rig.open() as partner:
        hand_over(partner, CONTENT)
        identity = partner.message_id("skv-1")
        assert partner.notices() == []
        rig.receipt(identity)
        rig.receipt(identity, "rejected")
        good, bad = partner.notices()
        assert (good.about, good.kind, good.outcome) == (identity, "delivery", "accepted")
        assert (bad.about, bad.outcome) == (identity, "rejected")
        assert bad.detail in ("failed 5.1.1", "IllegalDatapartContent")
        partner.settle(good)
        assert partner.notices() == [bad]
        partner.settle(bad)
        partner.settle(bad)
        assert partner.notices() == []


@pytest.mark.parametrize("expired", [True, False])
def test_a_certificate_that_is_not_good_is_refused_before_anything_is_sent(
    rig: Rig, expired: bool, tmp_path: Path
) -> None:
    ours = Authority(tmp_path / "certificates")
    authority = ours if expired else Authority(tmp_path / "others")
    bad = authority.issue("bad", hosts=("127.0.0.1",), expired=expired)
    running = x400_gateway.running if rig.kind == "x400" else shs_node.running
    with running(tmp_path / "bad", bad) as server:  # type: ignore[operator]
        where = {"url": server.url} if rig.kind == "shs" else {"port": server.smtp_port, "imap_port": server.imap_port}
        with rig.open(**where) as partner:
            with pytest.raises(TransportRefused, match="certificate"):
                hand_over(partner, CONTENT)
            with pytest.raises(TransportRefused, match="certificate"):
                partner.entries("*")
    assert rig.arrived() == []


# X.400


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("/G=Andy/S=Wharol/O=MMNY/ADMD=ATT/C=US/", {"G": "Andy", "S": "Wharol", "O": "MMNY", "ADMD": "ATT", "C": "US"}),
        ("/S=A$/B$=C$$D$*/C=SE/", {"S": "A/B=C$D*", "C": "SE", "ADMD": " "}),
        ("G=Anna; S=Ek; O=CSN; OU=Syd; P=CSN; A= ; C=SE",
         {"G": "Anna", "S": "Ek", "O": "CSN", "OU1": "Syd", "PRMD": "CSN", "ADMD": " ", "C": "SE"}),
        ("/dd.fax=08 123/o=Stockholms  stad/prmd=x/c=se/",
         {"DD.fax": "08 123", "O": "Stockholms stad", "PRMD": "x", "ADMD": " ", "C": "se"}),
    ],
)  # fmt: skip
def test_an_address_is_read_in_both_forms_and_written_back(text: str, attributes: dict[str, str]) -> None:
    assert oraddress.parse(text) == attributes
    assert oraddress.parse(oraddress.slashed(attributes)) == attributes
    assert oraddress.parse(oraddress.labelled(attributes)) == attributes
    smtp = oraddress.to_smtp(text, "gw.example.org")
    assert smtp.startswith('"/')
    assert oraddress.same(smtp, text)


@pytest.mark.parametrize("text", ["", "/", "CSN", "/O=CSN", "/X=1/", "/O=a/O=b/", "/O=å/C=SE/", "/O=a$", "x@y@z", "/="])
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    if text == "/O=CSN":  # its last slash may be missing
        assert oraddress.parse(text) == {"O": "CSN"}
        return
    with pytest.raises(CallError) as caught:
        oraddress.to_smtp(text, "gw.example.org")
    assert "CSN" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 114, 57 * 16 * 1024, 57 * 16 * 1024 + 1])
def test_base64_lines_are_what_every_mail_reader_reads(size: int) -> None:
    content = CONTENT[: min(size, len(CONTENT))] * (size // len(CONTENT) + 1)
    content = content[:size]
    made = b"".join(base64_lines(BytesIO(content)))
    assert base64.b64decode(made) == content
    assert len(made) == base64_size(size)
    assert all(len(line) <= 76 for line in made.split(b"\r\n"))
    decoder = Decoder("base64")
    got = b"".join(decoder.decode(made[i : i + 1013]) for i in range(0, len(made), 1013)) + decoder.finish()
    assert got == content


@pytest.mark.parametrize("body", [b"QUJD!", b"QUI=QUI=", b"QU", "Åäö=".encode()])
def test_what_is_no_base64_is_refused(body: bytes) -> None:
    decoder = Decoder("base64")
    with pytest.raises(TransportRefused):
        (decoder.decode(body), decoder.decode(b"QUJD"), decoder.finish())


def test_a_mail_in_any_encoding_is_fetched(gateway: Rig) -> None:
    body = {"7bit": b"plain", "quoted-printable": b"=C5l=\r\n and", "base64": base64.b64encode(b"based")}
    for encoding, encoded in body.items():
        raw(gateway, f'Content-Type: text/plain; name="{encoding}"\r\nContent-Transfer-Encoding: {encoding}', encoded)
    with gateway.open() as partner:
        assert {e.name: e.size for e in partner.entries("*")} == {"7bit": 5, "quoted-printable": 6, "base64": 5}
        got = {name: fetched(partner, name) for name in body}
    assert got == {"7bit": b"plain", "quoted-printable": b"\xc5l and", "base64": b"based"}


def raw(gateway: Rig, headers: str, body: bytes, sender: str = CSN) -> None:
    head = f'From: "{sender}"@{x400_gateway.GATEWAY}\r\nMessage-ID: <{len(body)}.{headers[-9:]}@x>\r\n{headers}\r\n\r\n'
    gateway.server.partners.mailboxes.add("INBOX", head.encode() + body)


def test_base64_in_lines_of_any_length_has_its_size(gateway: Rig) -> None:
    big = CONTENT * 5
    for length in (60, 76, 4):
        encoded = base64.b64encode(big)
        lines = b"\r\n".join(encoded[i : i + length] for i in range(0, len(encoded), length))
        raw(gateway, f'Content-Type: text/plain; name="{length}"\r\nContent-Transfer-Encoding: base64', lines)
    half = len(encoded) // 8 * 4
    uneven = b"\r\n".join((encoded[:half], *(encoded[i : i + 100] for i in range(half, len(encoded), 100))))
    raw(gateway, 'Content-Type: text/plain; name="uneven"\r\nContent-Transfer-Encoding: base64', uneven)
    with gateway.open() as partner:
        for entry in partner.entries("*"):
            assert entry.size == len(big), entry.name
            assert fetched(partner, entry.name) == big


@pytest.mark.parametrize(
    "name",
    ["filename*=idna''a%2Eb", 'filename="=?ü?Q?abc?="', "filename*=utf-8''a; filename*0=b", "filename*=undefined''a"],
)
def test_a_name_that_cannot_be_decoded_hides_no_other_file(gateway: Rig, name: str) -> None:
    part = f"--b\r\nContent-Disposition: attachment; {name}\r\n\r\nx\r\n--b--\r\n".encode("iso-8859-1")
    raw(gateway, "Content-Type: multipart/mixed; boundary=b", part, sender=OTHER)
    gateway.send(NAME, CONTENT)
    with gateway.open() as partner:
        assert len(partner.entries("*")) == 2, "it is shown as it is written"
        assert fetched(partner) == CONTENT
    assert filename(parse_headers(f"Content-Disposition: attachment; {name}\r\n\r\n".encode()))


def test_a_body_that_cannot_be_decoded_hides_no_other_file(gateway: Rig) -> None:
    for encoding, body in (("x-uuencode", b"x"), ("base64", b"QUJD!")):
        head = f'Content-Type: text/plain; name="{encoding}"\r\nContent-Transfer-Encoding: {encoding}'
        raw(gateway, head, body)
    gateway.send(NAME, CONTENT)
    with gateway.open() as partner:
        assert {e.name for e in partner.entries("*")} == {NAME, "x-uuencode", "base64"}
        assert fetched(partner) == CONTENT
        for bad in ("x-uuencode", "base64"):
            with pytest.raises(TransportRefused, match="a part"):
                fetched(partner, bad)


def test_a_size_that_has_to_be_counted_is_counted_once(gateway: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, body in (("quoted-printable", b"=C5l=\r\n and"), ("base64", b"QUJD!")):
        raw(gateway, f'Content-Type: text/plain; name="{encoding}"\r\nContent-Transfer-Encoding: {encoding}', body)
    with gateway.open() as partner:
        seen = partner.entries("*")
        monkeypatch.setattr(imap.Mailbox, "pieces", None)
        assert partner.entries("*") == seen


def test_several_files_in_one_mail_are_refused_and_stay(gateway: Rig) -> None:
    part = b"--b\r\nContent-Disposition: attachment; filename=%s\r\n\r\nx\r\n"
    raw(gateway, "Content-Type: multipart/mixed; boundary=b", part % b"a.txt" + part % b"b.txt" + b"--b--\r\n")
    with gateway.open() as partner:
        assert [e.name for e in partner.entries("*.txt")] == ["a.txt", "b.txt"]
        with pytest.raises(TransportRefused, match="several files"):
            fetched(partner, "a.txt")


NAMELESS = b"--b\r\nContent-Type: %s\r\n\r\n%s\r\n"
NOTE, DATA = NAMELESS % (b"text/plain", b"A file."), NAMELESS % (b"application/octet-stream", b"1234")


@pytest.mark.parametrize("parts", [NOTE + DATA, DATA, NAMELESS % (b"text/plain", b"1234"), b""])
def test_a_file_without_a_name_is_called_by_its_message_and_shown_whatever_is_looked_for(
    gateway: Rig, parts: bytes
) -> None:
    if parts:
        raw(gateway, "Content-Type: multipart/mixed; boundary=b", parts + b"--b--\r\n")
    else:
        raw(gateway, "Content-Type: text/plain", b"1234")
    with gateway.open() as partner:
        (entry,) = partner.entries("IFD-SVAR*")
        assert (entry.name.endswith("-x"), entry.size) == (True, 4)
        assert fetched(partner, entry.name) == b"1234"
        archive(partner, entry)
        assert partner.entries("*") == []


def test_a_file_without_a_name_beside_another_is_not_passed_over(gateway: Rig) -> None:
    named = DATA.replace(b"stream", b'stream; name="a.txt"')
    raw(gateway, "Content-Type: multipart/mixed; boundary=b", NOTE + named + DATA + b"--b--\r\n")
    with gateway.open() as partner:
        assert len(partner.entries("*.txt")) == 2
        with pytest.raises(TransportRefused, match="several files"):
            fetched(partner, "a.txt")


def test_a_strangers_mail_without_a_file_is_shown_to_who_looks_for_everything(gateway: Rig) -> None:
    raw(gateway, "Content-Type: text/plain", b"Undeliverable", sender=OTHER)
    with gateway.open() as partner:
        assert partner.entries("*.txt") == []
        (entry,) = partner.entries("*")
        with pytest.raises(TransportRefused, match="another sender"):
            fetched(partner, entry.name)


def test_a_mail_of_more_parts_than_any_needs_keeps_nobody_from_the_others(gateway: Rig) -> None:
    named = b"--b\r\nContent-Disposition: attachment; filename=%s%d\r\n\r\nx\r\n"
    parts = b"".join(named % (b"n" * 900, n) for n in range(3000))
    for sender in (OTHER, CSN):
        raw(gateway, "Content-Type: multipart/mixed; boundary=b", parts + b"--b--\r\n", sender=sender)
    gateway.send(NAME, CONTENT)
    with gateway.open() as partner:
        good, bad = sorted(partner.entries("*.TXT"), key=lambda e: e.name != NAME)
        assert (good.name, fetched(partner)) == (NAME, CONTENT)
        with pytest.raises(TransportRefused, match=r"more parts than its server can tell of. Next: look at it"):
            fetched(partner, bad.name)
        assert partner.notices() == []


@pytest.mark.parametrize("times", [1, 100])
def test_a_mail_that_the_server_falls_over_keeps_nobody_from_the_others(
    gateway: Rig, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Once may have been the network; every time is the mail."""
    raw(gateway, 'Content-Type: application/x-evil; name="evil.txt"', b"x")
    for n in range(5):
        gateway.send(f"{n}.txt", CONTENT)
    structure, fallen = imap_server.structure, []

    def falls(node: Any) -> str:
        if node.headers.get_content_type() == "application/x-evil" and len(fallen) < times:
            fallen.append(node)
            raise ConnectionResetError
        return structure(node)

    monkeypatch.setattr(imap_server, "structure", falls)
    with gateway.open() as partner:
        names = {e.name for e in partner.entries("*.txt")}
        assert len(names) == 6
        assert names > {f"{n}.txt" for n in range(5)}
        assert ("evil.txt" in names) == (times == 1)
        assert fetched(partner, "4.txt") == CONTENT


def test_parts_in_parts_are_found_and_too_many_of_them_refused(gateway: Rig) -> None:
    for depth in (3, 15):
        body = b"Content-Disposition: attachment; filename=%d.txt\r\n\r\nx" % depth
        for n in range(depth):
            body = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s\r\n--b%d--\r\n" % (n, n, body, n)
        head, _, rest = body.partition(b"\r\n\r\n")
        raw(gateway, head.decode(), rest)
    with gateway.open() as partner:
        assert fetched(partner, "3.txt") == b"x"
        with pytest.raises(TransportRefused, match="too deep"):
            fetched(partner, "15.txt")


def test_the_partner_who_asks_for_it_is_told_that_his_file_was_received_once(gateway: Rig) -> None:
    identity = gateway.send(NAME, CONTENT, wants_receipt=True)
    gateway.send("utan.txt", CONTENT)
    with gateway.open() as partner:
        for entry in partner.entries("*"):
            archive(partner, entry)
    (told,) = gateway.server.partners.arrived()
    assert told.answers == identity
    assert b"Original-Message-ID: " + identity.encode() in told.file.read_bytes()


def test_a_mailbox_that_keeps_no_marks_of_ours_still_archives_and_the_partner_is_told_once(
    gateway: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keeps_none(*what: Any) -> None:
        raise ValueError

    monkeypatch.setattr(imap_server.Store, "flag", keeps_none)
    gateway.send(NAME, CONTENT, wants_receipt=True)
    with gateway.open() as partner:
        (entry,) = partner.entries("*")
        archive(partner, entry)
        assert partner.entries("*") == []
    assert len(gateway.server.partners.arrived()) == 1
    assert gateway.archived() == [CONTENT]


def test_a_receipt_is_sent_to_the_partner_only_whatever_the_request_says(gateway: Rig) -> None:
    raw(gateway, f'Disposition-Notification-To: spy@example.org\r\nContent-Type: text/plain; name="{NAME}"', b"x")
    with gateway.open() as partner:
        (entry,) = partner.entries("*")
        archive(partner, entry)
    assert gateway.server.partners.arrived() == []


def test_a_mail_moved_whose_reply_was_lost_is_not_lost(gateway: Rig) -> None:
    gateway.send(NAME, CONTENT)
    gateway.faults.set(Fault(kind="swallow", on="remove", times=1))
    with gateway.open() as partner:
        (entry,) = partner.entries("*")
        with pytest.raises(TransportError):
            archive(partner, entry)
    with gateway.open() as partner:
        assert partner.entries("*") == []
    assert gateway.server.partners.mailboxes.numbers("Archive") == [1]


def test_reports_that_cannot_be_read_are_about_nothing(gateway: Rig) -> None:
    for kind in ("delivery-status", "disposition-notification"):
        raw(
            gateway,
            f"Content-Type: multipart/report; report-type={kind}; boundary=b",
            b"--b\r\n\r\n<html>\r\n--b--\r\n",
        )
    with gateway.open() as partner:
        assert {(n.about, n.kind, n.detail) for n in partner.notices()} == {
            ("", "delivery", "unparsable"), ("", "read", "unparsable"),
        }  # fmt: skip


def test_a_notification_from_a_stranger_is_about_nothing_and_reports_on_others_stay(gateway: Rig) -> None:
    partners = gateway.server.partners
    with gateway.open() as partner:
        identity = partner.message_id("skv-1")
        partners.notify(identity, recipient=CSN, sender=OTHER)
        partners.report(identity, recipient=OTHER)
        (forged,) = partner.notices()
        assert (forged.about, forged.detail) == ("", "from a stranger")


def test_a_report_by_its_returned_headers_alone_is_matched(gateway: Rig) -> None:
    with gateway.open() as partner:
        identity = partner.message_id("skv-1")
        gateway.server.partners.report(identity, recipient=CSN, envelope=False)
        assert [n.about for n in partner.notices()] == [identity]


@pytest.mark.parametrize(
    ("action", "outcome"),
    [("delivered", "accepted"), ("relayed", "accepted"), ("failed", "rejected"), ("delayed", "delayed")],
)
def test_what_a_delivery_report_says_is_read(action: str, outcome: str) -> None:
    status = (
        f"Reporting-MTA: x400; x\r\nOriginal-Envelope-Id: <a+2Bb@c>\r\n\r\nAction: {action} (ordet)\r\nStatus: 5.1.1"
    )
    report = delivery_report(status.encode(), b"")
    assert report is not None
    assert (report.about, report.outcome, report.detail) == ("<a+b@c>", outcome, f"{action} 5.1.1")


@pytest.mark.parametrize("status", [b"", b"\xff\xfe", b"Reporting-MTA: x", b"A: b\r\n\r\nAction: eaten", b"<html>"])
def test_what_is_no_delivery_report_says_nothing(status: bytes) -> None:
    assert delivery_report(status, b"Message-ID: <a@b>\r\n") is None


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("manual-action/MDN-sent-manually; displayed", "accepted"),
        ("automatic-action/MDN-sent-automatically; processed/error", "with errors"),
        ("automatic-action / MDN-sent-automatically ; deleted", "rejected"),
        ("read it with pleasure", None),
    ],
)
def test_what_a_notification_says_is_read(said: str, outcome: str | None) -> None:
    report = read_report(f"Original-Message-ID: <a@b>\r\nDisposition: {said}\r\n".encode())
    assert (report.outcome if report else None) == outcome


def test_wrong_password_is_final_and_says_what_to_check(gateway: Rig) -> None:
    with gateway.open(password="fel") as partner:
        with pytest.raises(TransportRefused):
            hand_over(partner, CONTENT)
        with pytest.raises(TransportRefused, match="Next: check user"):
            partner.entries("*")


@pytest.mark.parametrize("plain", [True, False])
def test_a_password_with_letters_beyond_ascii_lets_in_or_is_refused(
    gateway: Rig, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """Where no login can carry it, that is said, and nothing of it."""
    monkeypatch.setattr(x400_gateway, "PASSWORD", "sändlåda€")
    if not plain:
        monkeypatch.setattr(imap_server, "CAPABILITY", "IMAP4rev1 MOVE")
        monkeypatch.delattr(x400_gateway.SMTP, "auth_PLAIN")
    with gateway.open(password="sändlåda€") as partner:
        if plain:
            hand_over(partner, CONTENT)
            assert partner.entries("*") == []
            return
        for act in (lambda: hand_over(partner, CONTENT), lambda: partner.entries("*")):
            with pytest.raises(TransportRefused, match=r"logging in .* ASCII only") as caught:
                act()
            assert "xe4" not in str(caught.value)
    assert gateway.arrived() == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [("251 elsewhere", ""), ("200", ""), ("OK queued", Unknown), ("", Unknown), ("354 go on", Unknown),
     ("99 x", Unknown), ("452 full", TransportError), ("554 no", TransportRefused)],
)  # fmt: skip
def test_only_a_no_after_the_last_dot_says_that_the_message_was_not_taken(
    gateway: Rig, monkeypatch: pytest.MonkeyPatch, reply: str, said: Any
) -> None:
    push = x400_gateway.Front.push

    async def replying(front: Any, status: Any) -> None:
        await push(front, reply if "queued as" in str(status) else status)

    monkeypatch.setattr(x400_gateway.Front, "push", replying)
    with gateway.open() as partner:
        if not said:
            assert hand_over(partner, CONTENT) == ""
        else:
            with pytest.raises(said) as caught:
                hand_over(partner, CONTENT)
            assert caught.type is said
    assert len(gateway.arrived()) == 1


# SHS


def test_a_message_sent_again_is_a_duplicate_and_stored_once(node: Rig) -> None:
    with node.open() as partner:
        first, again = hand_over(partner, CONTENT), hand_over(partner, CONTENT)
    assert again == f"{first} duplicate"
    assert len(node.arrived()) == 1


def test_the_label_is_what_the_dtd_says(node: Rig) -> None:
    with node.open(agreement="avtal-1", name="Stockholms stad & co") as partner:
        hand_over(partner, CONTENT)
    (arrived,) = node.arrived()
    raw_message = (arrived.folder / "message").read_bytes()
    xml = raw_message[raw_message.index(b"<?xml") : raw_message.index(b"</shs.label>") + 12]
    assert xml.startswith(b'<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\n<!DOCTYPE shs.label SYSTEM ')
    assert "FRÅGA 1.TXT".encode("iso-8859-1") in xml
    from defusedxml.ElementTree import fromstring

    root = fromstring(xml)
    assert [e.tag for e in root] == ["from", "to", "product", "datetime", "content"]
    assert root.find("content/data").attrib == {
        "datapartType": "txt", "filename": "FRÅGA 1.TXT", "no-of-bytes": str(len(CONTENT)), "no-of-records": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("page", "words"),
    [("login", "no node"), ("empty", "no node"), ("other", "no node"), ("gzip", "compressed"),
     ("elsewhere", "not followed")],
)  # fmt: skip
def test_what_no_node_would_answer_is_refused_and_the_message_keeps_its_id(node: Rig, page: str, words: str) -> None:
    node.play(page=page)
    with node.open() as partner:
        with pytest.raises(TransportRefused, match=words):
            hand_over(partner, CONTENT)
        node.play()
        assert hand_over(partner, CONTENT).endswith("duplicate")
    assert len(node.arrived()) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "", "https://", "ftp://a"])
def test_an_address_that_is_not_https_is_no_address(node: Rig, url: str) -> None:
    with pytest.raises(CallError, match="nothing is sent in the clear"):
        node.open(url=url)


@pytest.mark.parametrize("page", ["login", "gzip", "elsewhere"])
def test_a_page_where_a_receipt_or_a_file_should_be_is_refused(node: Rig, page: str) -> None:
    node.send(NAME, CONTENT)
    node.play(page=page)
    with node.open() as partner:
        for look in (lambda: partner.entries("*"), partner.notices):
            with pytest.raises(TransportRefused):
                look()
        node.play()
        assert fetched(partner) == CONTENT


BOMB = b'<!DOCTYPE shs.label [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]><shs.label>&b;</shs.label>'
FILE = b'<!DOCTYPE shs.label [<!ENTITY a SYSTEM "file:///etc/hostname">]><shs.label>&a;</shs.label>'


@pytest.mark.parametrize(
    "xml", [BOMB, FILE, b"", b"<html/>", b"<shs.label/>", b"\xff\xfe<", b'<?xml version="1.0" encoding="nix"?><a/>']
)
def test_xml_that_is_no_label_or_a_bomb_is_refused(xml: bytes) -> None:
    for read in (shs_label.parse, shs_label.messages, shs_label.management):
        with pytest.raises(TransportRefused):
            read(xml)


@pytest.mark.parametrize("identity", ["../../etc", "a b", "", "å", "x" * 200, ".."])
def test_an_id_that_leads_elsewhere_is_none(identity: str) -> None:
    with pytest.raises(TransportRefused):
        shs_label.token(identity)


def test_a_receipt_that_cannot_be_read_is_about_nothing_and_others_are_left_alone(node: Rig) -> None:
    with node.open() as partner:
        hand_over(partner, CONTENT)
        good = partner.notices()
        node.server.node.send("confirm.xml", b"<html>", sender=SKV, product=shs_label.CONFIRM, sequence="adm")
        node.server.node.send("confirm.xml", BOMB, sender=STRANGER, product=shs_label.CONFIRM, sequence="adm")
        (known, unread) = partner.notices()
    assert [known] == good
    assert (unread.about, unread.detail) == ("", "unparsable")


@pytest.mark.parametrize("page", ["login", "gzip", "elsewhere", "refuse", "busy"])
def test_a_receipt_that_does_not_come_whole_waits_until_it_does(
    node: Rig, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    with node.open() as partner:
        hand_over(partner, CONTENT)
        (good,) = partner.notices()
        if page in ("refuse", "busy"):
            node.faults.set(Fault(kind=page, on="get", times=1))  # type: ignore[arg-type]
        else:
            monkeypatch.setattr(shs_node.Handler, "_message", lambda handler, _: handler._page(page))
        with pytest.raises((TransportError, TransportRefused)):
            partner.notices()
        monkeypatch.undo()
        assert partner.notices() == [good]


@pytest.mark.parametrize(
    "wrong", [{"tx_id": "x" * 101}, {"tx_id": "a/b"}, {"tx_id": "å1"}, {"sequence": "weird"}, {"status": "weird"}]
)
def test_a_row_that_cannot_be_used_is_refused_by_name_and_the_others_come(
    node: Rig, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    node.send(NAME, CONTENT)
    render = shs_node.render_messages

    def rendered(labels: list[Any]) -> bytes:
        bad = [replace(x, data=(shs_label.Data("bad.txt", 1),), **wrong) for x in labels]
        return render(bad + labels)

    monkeypatch.setattr(shs_node, "render_messages", rendered)
    with node.open() as partner:
        assert [e.name for e in partner.entries("*.TXT")] == [NAME]
        assert fetched(partner) == CONTENT
        assert [e.name for e in partner.entries("bad*")] == ["bad.txt"]
        with pytest.raises(TransportRefused, match=r"bad\.txt: the message .* has an? (id|word)"):
            fetched(partner, "bad.txt")


def test_a_receipt_whose_id_is_none_is_about_nothing_and_the_others_come(
    node: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = shs_node.render_messages
    monkeypatch.setattr(
        shs_node, "render_messages", lambda labels: render([replace(x, tx_id="a/b") for x in labels] + labels)
    )
    with node.open() as partner:
        hand_over(partner, CONTENT)
        bad, good = partner.notices()
        assert (bad.about, bad.detail, good.about) == ("", "unparsable", partner.message_id("skv-1"))
        partner.settle(bad)
        assert partner.notices()[0] == bad, "the same every time: the ledger has it once"


def test_a_size_that_the_label_does_not_say_is_counted(node: Rig) -> None:
    node.send(NAME, CONTENT, sizes=False)
    with node.open() as partner:
        (entry,) = partner.entries("*")
        assert entry.size == len(CONTENT)
        assert fetched(partner) == CONTENT


def test_a_broken_message_that_does_not_say_its_size_hides_no_other(node: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = node.send("broken.txt", b"x", sizes=False)
    node.send(NAME, CONTENT)
    file = node.server.node.find(broken).folder / "message"
    file.write_bytes(file.read_bytes()[:-10])
    with node.open() as partner:
        assert [e.name for e in partner.entries("*")] == [NAME, "broken.txt"]
        assert fetched(partner) == CONTENT
        with pytest.raises(TransportRefused, match="ends before its last boundary"):
            fetched(partner, "broken.txt")


def test_a_message_without_a_files_name_is_told_of_where_no_pattern_takes_it(node: Rig) -> None:
    identity = node.send("", CONTENT)
    with node.open() as partner:
        assert fetched(partner, partner.entries("*")[0].name) == CONTENT
        [entry] = partner.entries("*.TXT")
        with pytest.raises(TransportRefused, match=f"{identity}.*names no file.*Next: look at it"):
            fetched(partner, entry.name)


@pytest.mark.parametrize("filters", [True, False])
def test_others_messages_that_fill_the_list_hide_nothing_in_silence(
    node: Rig, monkeypatch: pytest.MonkeyPatch, filters: bool
) -> None:
    monkeypatch.setattr("slussen.transports.shs.MOST", 3)
    if not filters:  # a node that knows no such filter
        listed = shs_node.Handler._list
        monkeypatch.setattr(
            shs_node.Handler, "_list",
            lambda h, who, query: listed(h, who, {k: v for k, v in query.items() if k != "originator"}),
        )  # fmt: skip
    with node.open() as partner:
        hand_over(partner, CONTENT)
        for n in range(3):
            node.send(f"{n}.TXT", b"x", stranger=True)
        node.send(NAME, CONTENT)
        if not filters:
            with pytest.raises(TransportRefused, match=r"messages of others.*Next: have"):
                partner.entries("*")
            return
        assert NAME in [e.name for e in partner.entries("*")]
        assert fetched(partner) == CONTENT


def test_what_is_collected_is_confirmed_to_its_sender_once(node: Rig) -> None:
    identity = node.send(NAME, CONTENT)
    with node.open() as partner:
        (entry,) = partner.entries("*")
        archive(partner, entry)
        archive(partner, entry)
    (confirm,) = node.server.node.arrived(SKV, shs_label.CONFIRM)
    assert shs_label.management(confirm.read()).content_id == identity


def test_a_client_that_the_node_does_not_know_is_refused(node: Rig, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other").issue(shs_node.CITY)
    with (
        node.open(cert=str(stranger)) as partner,
        pytest.raises(TransportRefused, match="doesn't take our certificate"),
    ):
        hand_over(partner, CONTENT)
    somebody = node.server.certificate(STRANGER)
    with node.open(cert=str(somebody)) as partner, pytest.raises(TransportRefused, match="IllegalSender"):
        hand_over(partner, CONTENT)
    assert node.arrived() == []


def test_a_message_cut_at_any_place_is_never_a_file() -> None:
    whole = b"--b\r\n\r\nlabel\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n\r\n--a\r\n\r\n--b--\r\n"
    assert [part.read(100) for part in parts("b", [whole])] == [b"label", b"\r\n--a\r\n"]
    for end in range(len(whole) - 4):
        with pytest.raises(TransportRefused):
            for part in parts("b", (whole[i : i + 1] for i in range(end))):
                part.read(100)


# faults of the network, anywhere


@pytest.mark.parametrize("kind", RIGS)
@pytest.mark.parametrize("what", ["drop", "reset", "swallow"])
def test_cut_anywhere_it_is_sent_or_not_and_nobody_says_the_wrong_one(kind: str, what: Any, tmp_path: Path) -> None:
    """After a cut: a plain error means that it isn't there, success that it is, and only Unknown may be either."""
    lot = random.Random(f"{kind} {what}")
    with RIGS[kind](tmp_path) as rig:
        server = rig.server.smtp_port if kind == "x400" else rig.server.port
        with Proxy(("127.0.0.1", server)) as proxy:
            where = {"port": proxy.port} if kind == "x400" else {"url": f"https://127.0.0.1:{proxy.port}"}
            proxy.arm(None)
            with rig.open(**where) as partner:
                hand_over(partner, CONTENT, interchange="whole")
            ways: list[Any] = ["up", "down"]
            whole = {way: proxy.carried["control", way] for way in ways}
            for n in range(14):
                way = ways[n % 2]
                near_the_end = n % 4 > 1
                after = whole[way] - lot.randrange(400) if near_the_end else lot.randrange(whole[way])
                proxy.arm(Cut(what, way=way, after=max(0, after)))
                with rig.open(**where) as partner:
                    identity = partner.message_id(f"cut-{n}")
                    try:
                        hand_over(partner, CONTENT, interchange=f"cut-{n}")
                        said = "sent"
                    except Unknown:
                        said = "unknown"
                    except (TransportError, TransportRefused):
                        said = "not sent"
                time.sleep(0.05)  # what was on its way arrives
                there = [a.read() for a in rig.arrived() if a.id == identity]
                assert there in ([], [CONTENT]), f"{way} {after}: not what was sent"
                assert said == "unknown" or (said == "sent") == bool(there), f"{way} {after}: {said}"


def test_a_file_that_trickles_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("imap", "shs", "shs_http"):
        monkeypatch.setattr(f"slussen.transports.{module}.TIMEOUT", 1.5)
    rig.send(NAME, CONTENT)
    with rig.open() as partner:
        assert [e.name for e in partner.entries("*")] == [NAME]
        rig.faults.set(Fault(kind="trickle", on="get", bytes=1))
        began = time.monotonic()
        with pytest.raises(TransportError):
            fetched(partner)
        rig.faults.set()
    assert time.monotonic() - began < 8
    with rig.open() as partner:
        assert fetched(partner) == CONTENT


def test_a_partner_that_hangs_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("submission", "shs", "shs_http"):
        monkeypatch.setattr(f"slussen.transports.{module}.TIMEOUT", 0.5)
    rig.faults.set(Fault(kind="delay", on="send", seconds=3, times=1))
    began = time.monotonic()
    with rig.open() as partner, pytest.raises(TransportError):
        hand_over(partner, b"x")
    assert time.monotonic() - began < 2.5
