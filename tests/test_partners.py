"""The partners at work: questions sent for real are answered once, and the answers come back readable."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest

from sandbox import hanna_datasets, partners, shs_node, x400_gateway
from sandbox.answering import CSN, INFODATA, QUESTIONS, REPORTS, Partners
from sandbox.hanna import question_file
from sandbox.partners import Outcome
from sandbox.pupils import Pupils, as_registered
from slussen.errors import Findings
from slussen.records import layout as layouts
from slussen.records.parse import Parsed
from slussen.transports import Message
from slussen.transports.shs import Actor, Shs
from slussen.transports.x400 import X400, Account

TODAY = date(2026, 1, 12)
PUPILS = Pupils.of(5, 300, TODAY)
COUNTRY = as_registered(PUPILS.all)


def rows(layout: str, data: bytes, encoding: str = "cp278", frame: str = "fixed") -> list[dict[str, object]]:
    """The data records of a file that has nothing wrong."""
    findings, spec = Findings(), layouts.load(layout)
    parsed = Parsed(BytesIO(data), spec, encoding, frame, findings)
    found = [row for batch in map(spec.data_of, parsed) for row in batch.to_pylist()]
    assert not findings, [str(f) for f in findings]
    return found


def message(identity: str, name: str, data: bytes) -> Message:
    return Message(id=identity, name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def test_infodata_answers_each_question_by_the_register_and_tells_nothing_of_protected_persons() -> None:
    asked = PUPILS.young[:120]
    answers = rows(
        "infodata_reply", partners.infodata_answer(hanna_datasets.infodata_questions(asked, TODAY, 4), COUNTRY, TODAY)
    )
    assert [a["fragat_personnr"] for a in answers] == [p.personnr for p in asked]
    assert [a["egen_referens"] for a in answers] == [f"HANNA-0004-{n:06}" for n in range(1, 121)]
    for pupil, answer in zip(asked, answers, strict=True):
        person = COUNTRY.get(pupil.personnr)
        code = "1" if person is None else "2" if person.protected else "3" if person.avregistreringsorsak else "0"
        assert answer["svarskod"] == code
        if code != "0" and code != "3":
            told = {k for k, v in answer.items() if v is not None}
            assert told <= {"record_no", "byte_offset", "record_type", "fragat_personnr", "egen_referens", "svarskod",
                            "aktuellt_personnr", "sekretessmarkering", "skyddad_folkbokforing"}  # fmt: skip
    assert {"0", "1", "2", "3"} <= {str(a["svarskod"]) for a in answers}


def test_the_tax_agency_answers_those_whom_it_knows_and_hides_the_home_of_protected_ones() -> None:
    asked = [p.personnr for p in PUPILS.all[:100]]
    answer = partners.skv_answer(question_file(asked, 8).decode("cp437").encode("cp1252"), COUNTRY, TODAY)
    people = [r for r in rows("navet_utfil", answer, "cp1252", "lf") if r["record_type"] == "person"]
    assert [p["personnummer"] for p in people] == [n for n in asked if n in COUNTRY]
    protected = [p for p in people if p["sekretessmarkering"] == "J"]
    assert protected
    assert all(p["fb_adress2"] is None and p["sp_adress2"] is not None for p in protected)


def test_csn_gives_the_same_answer_to_the_same_question() -> None:
    questions = hanna_datasets.inack_questions(PUPILS.young[:80], TODAY, 2)
    once, again = (rows("csn_inack_reply", partners.inack_answer(questions, TODAY)) for _ in range(2))
    assert once == again
    assert Counter(str(r["svarskod"]) for r in once).keys() >= {"0", "1", "2", "9"}


@pytest.mark.parametrize(("outcome", "statuses"), [("accepted", "G"), ("with errors", "VAAAV"), ("rejected", "A")])
def test_csns_receipt_is_for_the_report_and_names_its_records(outcome: Outcome, statuses: str) -> None:
    report = hanna_datasets.csn_report(PUPILS.young, "GYM", TODAY, 31, 1)
    posts = rows("csn_receipt", partners.csn_receipt(report, TODAY, outcome))
    assert "".join(str(p["status"]) for p in posts) == statuses
    assert {p["lopnummer"] for p in posts} == {31}
    assert posts[0]["postnummer"] == 0
    reported = {r["postnummer"]: r["personnr"] for r in rows("csn_report", report)}
    assert all(reported[p["postnummer"]] == p["personnr"] for p in posts[1:])


def test_partners_answer_what_has_arrived_once_and_late_ones_when_they_are_let(tmp_path: Path) -> None:
    with x400_gateway.running(tmp_path / "x400") as gateway, shs_node.running(tmp_path / "shs") as node:
        account = Account(
            host="127.0.0.1", port=gateway.smtp_port, user=x400_gateway.USER, password=x400_gateway.PASSWORD,
            imap_host="127.0.0.1", imap_port=gateway.imap_port, originator=x400_gateway.CITY, recipient=CSN,
            gateway=x400_gateway.GATEWAY, ca=str(gateway.ca), mailbox="CSN",
        )  # fmt: skip
        actor = Actor(url=node.url, own=shs_node.CITY, partner="2021001819", product=REPORTS,
                      ca=str(node.authority.ca), cert=str(node.certificate(shs_node.CITY)))  # fmt: skip
        files = {
            "inack": hanna_datasets.inack_questions(PUPILS.young[:30], TODAY, 6),
            "infodata": hanna_datasets.infodata_questions(PUPILS.young[:30], TODAY, 7),
            "report": hanna_datasets.csn_report(PUPILS.young, "GYM", TODAY, 8, 1),
            "skv": question_file([p.personnr for p in PUPILS.young[:30]], 9).decode("cp437").encode("cp1252"),
        }
        csn, infodata = X400(account), X400(replace(account, recipient=INFODATA, mailbox="INFODATA"))
        reports, questions = Shs(actor), Shs(replace(actor, partner="2021005448", product=QUESTIONS))
        for messenger, key, name in ((csn, "inack", "CSN-INACK-20260112-0001.DAT"),
                                     (infodata, "infodata", "IFD-FRAGA-20260112-0001.DAT"),
                                     (reports, "report", "CSN-RAPPORT-20260112-0001.DAT"),
                                     (questions, "skv", "SKV-INFIL-20260112.TXT")):  # fmt: skip
            identity = messenger.message_id(f"{key}-1")
            messenger.send(message(identity, name, files[key]), BytesIO(files[key]))
        made = Partners(gateway.partners, node.node, tmp_path / "csn", tmp_path / "skv", tmp_path / "answered.json",
                        COUNTRY, late={"csn_inack"}, outcomes=["rejected"])  # fmt: skip
        first = made.work(TODAY)
        assert sorted(first) == ["IFD-SVAR-000007.DAT", "KVITTENS-000008-rejected.DAT", "SKV-UTFIL-20260112.TXT"]
        assert made.work(TODAY) == []
        made.late.clear()
        assert made.work(TODAY) == ["INACK-SVAR-000006.DAT"]
        for messenger, pattern, layout in ((csn, "INACK-SVAR*", "csn_inack_reply"),
                                           (infodata, "IFD-SVAR*", "infodata_reply")):  # fmt: skip
            (entry,) = messenger.entries(pattern)
            fetched = BytesIO()
            messenger.fetch(entry.name, fetched)
            assert len(rows(layout, fetched.getvalue())) == 30
        assert rows("csn_receipt", (tmp_path / "csn" / "KVITTENS-000008-rejected.DAT").read_bytes())[0]["status"] == "A"
        assert rows("navet_utfil", (tmp_path / "skv" / "SKV-UTFIL-20260112.TXT").read_bytes(), "cp1252", "lf")
        for messenger in (csn, infodata, reports, questions):
            messenger.close()
