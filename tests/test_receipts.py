"""Receipts: early, late, lost, twice, forged, of nobody, negative; answers and their questions; a real ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from sandbox import x400_gateway
from sandbox.faults import Fault
from sandbox.postgres import Server
from slussen import Integration, directory, relay, settings, x400
from slussen.database import connect, migrate
from slussen.integration import Receipt
from slussen.ledger import Ledger
from slussen.ledger.states import Interchange
from slussen.manifest import Manifest
from slussen.messaging import say_delivered
from slussen.operators import AcknowledgeOperator, DeliverOperator
from slussen.payloads import PayloadStore
from slussen.receipt_trigger import Lookout, ReceiptsTrigger
from slussen.receipts import UNMATCHED, Answer, adopt, csn_receipt, expect, match_answer, say_overdue, standing, take
from slussen.transports import Notice
from tests.transports.messages import CSN, OTHER

NOW = datetime(2026, 1, 12, 9, tzinfo=UTC)
DELIVERY = Receipt(kind="delivery", within=timedelta(hours=4))
READ = Receipt(kind="read", within=timedelta(hours=24))
ANSWER = Receipt(kind="answer", within=timedelta(days=5))
NAMES = count(1)


@pytest.fixture(scope="module")
def database(postgres: Server) -> str:
    dsn = postgres.dsn("receipts")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return f"{dsn} user=slussen"


@pytest.fixture
def ledger(database: str) -> Ledger:
    return Ledger(database)


def sent(ledger: Ledger, *, delivered: bool = True, key: str = "skv", header: dict[str, str] | None = None) -> str:
    """A message that was handed over; its interchange. Its message's id is ``<interchange>``."""
    interchange = f"{key}-{next(NAMES):04d}"
    ledger.append(interchange, "staged", {"header": header or {}, "table": "t", "records": 1}, integration=key)
    data = {"attempt": 1, "message": f"<{interchange}>", "connection": "csn", "name": "F", "sha256": "", "bytes": 1}
    ledger.append(interchange, "claim", {"attempt": 1}, integration=key)
    ledger.append(interchange, "sending", data, integration=key)
    if delivered:
        say_delivered(ledger, interchange)
    return interchange


def notice(interchange: str, **more: Any) -> Notice:
    made = Notice(f"r{next(NAMES)}", f"<{interchange}>", "delivery", "accepted", "delivered 2.0.0")
    return replace(made, **more)


def of(ledger: Ledger, interchange: str, kind: str) -> list[dict[str, Any]]:
    return [dict(e.data) for e in ledger.events(interchange) if e.kind == kind]


# receipts


def test_what_is_expected_is_written_once_and_due_from_then(ledger: Ledger) -> None:
    one = sent(ledger)
    for later in (0, 3):
        expect(ledger, one, [DELIVERY, READ], NOW + timedelta(hours=later))
    (awaiting,) = of(ledger, one, "awaiting")
    assert awaiting["receipts"][0] == {"kind": "delivery", "due": "2026-01-12T13:00:00+00:00"}
    here = standing(ledger, one)
    assert (here.state, list(here.awaited)) == ("delivered", ["delivery", "read"])
    assert here.late(NOW + timedelta(hours=5)) == ["delivery"]


def test_all_receipts_make_it_acknowledged(ledger: Ledger) -> None:
    one = sent(ledger)
    expect(ledger, one, [DELIVERY, READ], NOW)
    assert take(ledger, "csn", notice(one)) == one
    assert standing(ledger, one).state == "delivered"
    take(ledger, "csn", notice(one, kind="read", outcome="with errors", detail="processed error"))
    here = standing(ledger, one)
    assert (here.state, here.awaited) == ("acknowledged", {})
    assert here.receipts == {"delivery": "accepted", "read": "with errors"}


def test_an_early_receipt_counts_once_delivered_is_written_and_it_is_proof_of_that(ledger: Ledger) -> None:
    one = sent(ledger, delivered=False)
    early = notice(one)
    take(ledger, "csn", early)
    assert not say_delivered(ledger, one), "the receipt has said so"
    expect(ledger, one, [DELIVERY], NOW)
    assert standing(ledger, one).state == "acknowledged"
    assert [d["receipt"] for d in of(ledger, one, "delivered")] == [early.reference]


def test_a_late_receipt_still_counts(ledger: Ledger) -> None:
    one = sent(ledger)
    expect(ledger, one, [DELIVERY], NOW)
    for _ in range(2):
        assert say_overdue(ledger, one, NOW + timedelta(hours=4)) == ["delivery"]
    assert of(ledger, one, "overdue") == [{"kind": "delivery", "due": "2026-01-12T13:00:00+00:00"}]
    assert standing(ledger, one).overdue == ("delivery",)
    take(ledger, "csn", notice(one))
    here = standing(ledger, one)
    assert (here.state, here.overdue) == ("acknowledged", ())


def test_a_lost_delivery_report_is_made_up_for_by_what_proves_more(ledger: Ledger) -> None:
    one = sent(ledger)
    expect(ledger, one, [DELIVERY, READ], NOW)
    take(ledger, "csn", notice(one, kind="read"))
    assert standing(ledger, one).state == "acknowledged"


def test_a_duplicate_receipt_is_one(ledger: Ledger) -> None:
    one = sent(ledger)
    twice = notice(one)
    for _ in range(3):
        take(ledger, "csn", twice)
    take(ledger, "csn", notice(one))  # the same said again, under a reference of its own
    assert len(of(ledger, one, "receipt")) == 2
    assert len(of(ledger, one, "delivered")) == 1


def test_a_negative_receipt_rejects_whatever_comes_after_it(ledger: Ledger) -> None:
    one = sent(ledger)
    expect(ledger, one, [DELIVERY], NOW)
    take(ledger, "csn", notice(one, outcome="rejected", detail="failed 5.1.1"))
    assert standing(ledger, one).state == "rejected"
    take(ledger, "csn", notice(one))
    assert standing(ledger, one).state == "rejected"


def test_a_receipt_after_a_lost_reply_settles_it(ledger: Ledger) -> None:
    for outcome, state in (("accepted", "delivered"), ("rejected", "rejected")):
        one = sent(ledger, delivered=False)
        ledger.append(one, "unknown", {"attempt": 1, "message": f"<{one}>"}, integration="skv")
        assert standing(ledger, one).state == "unknown"
        take(ledger, "csn", notice(one, outcome=outcome))
        assert standing(ledger, one).state == state


def test_a_delay_is_remembered_and_changes_nothing(ledger: Ledger) -> None:
    one = sent(ledger, delivered=False)
    late = notice(one, outcome="delayed", detail="delayed 4.4.1")
    for _ in range(2):
        take(ledger, "csn", late)
    assert len(of(ledger, one, "delayed")) == 1
    assert standing(ledger, one).state == "delivering"


def test_a_receipt_forged_by_another_partner_or_of_a_sibling_changes_nothing_and_is_left(ledger: Ledger) -> None:
    """Two connections may share a mailbox: each takes what is about its own messages."""
    one = sent(ledger)
    before, unmatched = len(ledger.events(one)), len(ledger.events(UNMATCHED))
    assert take(ledger, "annan", notice(one, outcome="rejected")) is None
    assert (len(ledger.events(one)), len(ledger.events(UNMATCHED))) == (before, unmatched)


@pytest.mark.parametrize("how", ["unknown id", "unparsable"])
def test_a_receipt_of_nobody_is_kept_aside_once_and_changes_nothing(ledger: Ledger, how: str) -> None:
    one = sent(ledger)
    before = len(ledger.events(one))
    bad = {
        "unknown id": notice("csn-9999"),
        "unparsable": notice(one, about="", detail="unparsable"),
    }[how]
    for _ in range(2):
        assert take(ledger, "csn", bad) == ""
    assert len(ledger.events(one)) == before
    assert [e.data["reference"] for e in ledger.events(UNMATCHED)].count(bad.reference) == 1
    assert UNMATCHED not in [i.id for i in ledger.interchanges()]


def test_the_list_of_interchanges_says_the_same_as_the_interchange(ledger: Ledger) -> None:
    one = sent(ledger, key="lista")
    expect(ledger, one, [DELIVERY, READ], NOW)
    take(ledger, "csn", notice(one))
    say_overdue(ledger, one, NOW + timedelta(days=2))
    (listed,) = ledger.interchanges("lista")
    whole: Interchange = standing(ledger, one)
    assert (listed.state, listed.awaited, listed.overdue) == (whole.state, whole.awaited, whole.overdue)
    assert listed.overdue == ("read",)


# answers


def answer(ledger: Ledger, layout: str, key: str, of_: str, **more: Any) -> Answer:
    interchange = f"{key}-{next(NAMES):04d}"
    ledger.append(interchange, "collected", {"name": "S", "run": "r"}, integration=key)
    return Answer(
        interchange=interchange, integration=key, of=of_, layout=layout, header=more.pop("header", {}), **more
    )


@pytest.mark.parametrize(
    ("layout", "asked", "said"),
    [
        ("navet_utfil", {"bestallningsid": "00000704-01AA-0001"}, {"bestallningsid": "00000704-01AA-0001"}),
        ("navet_utfil", {"namn_infil": "SKV-INFIL1.TXT"}, {"infil_till_grund": "SKV-INFIL1.TXT"}),
        ("csn_receipt", {"lopnummer": "000123"}, {"reported": "123"}),
        ("csn_inack_reply", {"lopnummer": "000123"}, {"lopnummer": "123"}),
        ("infodata_reply", {"lopnummer": "000123"}, {"lopnummer": "000123"}),
    ],
)
def test_an_answer_is_matched_by_what_it_repeats_of_the_question(
    ledger: Ledger, layout: str, asked: dict[str, str], said: dict[str, str]
) -> None:
    key = f"by{next(NAMES)}"
    one, other = sent(ledger, key=key, header=asked), sent(ledger, key=key, header={"lopnummer": "000124"})
    a = answer(ledger, layout, f"{key}_reply", key, header=said)
    for _ in range(2):
        assert match_answer(ledger, a, NOW) == one
    assert of(ledger, one, "answered") == [{"by": a.interchange}]
    assert [(r["kind"], r["by"]) for r in of(ledger, one, "receipt")] == [("answer", a.interchange)]
    assert [e["question"] for e in of(ledger, a.interchange, "answers")] == [one]
    assert of(ledger, other, "answered") == []


@pytest.mark.parametrize("layout", ["csn_inack_reply", "infodata_reply"])
def test_an_answer_by_mail_is_matched_by_the_message_that_it_answers(ledger: Ledger, layout: str) -> None:
    key = f"mail{next(NAMES)}"
    one, _ = sent(ledger, key=key), sent(ledger, key=key)
    expect(ledger, one, [DELIVERY, ANSWER], NOW)
    a = answer(ledger, layout, f"{key}_reply", key, message=f"<{one}>")
    assert match_answer(ledger, a, NOW) == one
    assert standing(ledger, one).state == "acknowledged", "an answer proves the delivery"


def test_an_answer_that_repeats_nothing_is_matched_only_when_one_question_can_be_meant(ledger: Ledger) -> None:
    key = f"alone{next(NAMES)}"
    now = datetime.now(UTC)
    one = sent(ledger, key=key)
    first = answer(ledger, "infodata_reply", f"{key}_reply", key)
    assert match_answer(ledger, first, now) == one
    sent(ledger, key=key), sent(ledger, key=key)
    second = answer(ledger, "infodata_reply", f"{key}_reply", key)
    assert match_answer(ledger, second, now) == "", "two could be meant: none is"
    key = f"old{next(NAMES)}"
    sent(ledger, key=key)
    late = answer(ledger, "infodata_reply", f"{key}_reply", key)
    assert match_answer(ledger, late, now + timedelta(days=40)) == ""


def test_an_answer_to_a_question_of_last_year_is_matched_when_it_names_it(ledger: Ledger) -> None:
    key = f"year{next(NAMES)}"
    one = sent(ledger, key=key)
    a = answer(ledger, "infodata_reply", f"{key}_reply", key, message=f"<{one}>")
    assert match_answer(ledger, a, datetime.now(UTC) + timedelta(days=400)) == one


def test_an_answer_to_another_integrations_message_answers_nothing(ledger: Ledger) -> None:
    one = sent(ledger)
    a = answer(ledger, "infodata_reply", "infodata_reply", "infodata", message=f"<{one}>")
    assert match_answer(ledger, a, NOW) == ""


def test_two_answers_to_a_question_are_two_and_the_worse_counts(ledger: Ledger) -> None:
    key = f"two{next(NAMES)}"
    one = sent(ledger, key=key, header={"lopnummer": "000007"})
    expect(ledger, one, [ANSWER], NOW)
    good = answer(ledger, "csn_receipt", f"{key}_r", key, header={"reported": "7"})
    bad = answer(ledger, "csn_receipt", f"{key}_r", key, header={"reported": "7"}, outcome="rejected")
    for a in (good, bad, good):
        assert match_answer(ledger, a, NOW) == one
    assert [e["by"] for e in of(ledger, one, "answered")] == [good.interchange, bad.interchange]
    assert standing(ledger, one).state == "rejected"


def test_an_answer_before_its_question_is_tied_to_it_when_that_is_sent(ledger: Ledger) -> None:
    key = f"early{next(NAMES)}"
    a = answer(ledger, "navet_utfil", f"{key}_reply", key, header={"bestallningsid": "00000704-01AA-0009"})
    for _ in range(2):
        assert match_answer(ledger, a, NOW) == ""
    one = sent(ledger, key=key, header={"bestallningsid": "00000704-01AA-0009"})
    assert adopt(ledger, one, key) == [a.interchange]
    assert adopt(ledger, one, key) == []
    assert of(ledger, one, "answered") == [{"by": a.interchange}]
    assert [e["question"] for e in of(ledger, a.interchange, "answers")] == ["", one]


def test_an_answer_to_a_message_whose_reply_was_lost_settles_it(ledger: Ledger) -> None:
    one = sent(ledger, key="inack", delivered=False)
    ledger.append(one, "unknown", {"attempt": 1, "message": f"<{one}>"}, integration="inack")
    a = answer(ledger, "csn_inack_reply", "inack_reply", "inack", message=f"<{one}>")
    match_answer(ledger, a, NOW)
    assert standing(ledger, one).state == "delivered"


def test_a_question_cut_off_between_both_sides_is_tied_again(ledger: Ledger) -> None:
    key = f"cut{next(NAMES)}"
    one = sent(ledger, key=key)
    a = answer(ledger, "infodata_reply", f"{key}_reply", key, message=f"<{one}>")
    data = {"of": key, "question": one, "layout": a.layout, "message": a.message, "header": {}, "outcome": "accepted",
            "detail": ""}  # fmt: skip
    ledger.append(a.interchange, "answers", data, integration=a.integration)
    assert match_answer(ledger, a, NOW) == one
    assert of(ledger, one, "answered") == [{"by": a.interchange}]


@pytest.mark.parametrize(
    ("rows", "outcome", "detail"),
    [
        ([(7, 0, "G")], "accepted", ""),
        ([(7, 1, "G"), (7, 2, "V")], "with errors", "0 refused, 1 with a warning"),
        ([(7, 1, "A"), (7, 2, "G")], "with errors", "1 refused, 0 with a warning"),
        ([(7, 0, "A")], "rejected", "1 refused, 0 with a warning"),
        ([(7, 0, "G"), (8, 0, "G")], "accepted", "about 2 files"),
    ],
)
def test_csns_receipt_says_what_became_of_the_file(
    ledger: Ledger, database: str, rows: list[tuple[int, int, str]], outcome: str, detail: str
) -> None:
    table = f"csn_{next(NAMES)}"
    with connect(database) as stage:
        stage.execute(f"create table stage.{table} (lopnummer int, postnummer int, status text)".encode())
        for row in rows:
            stage.execute(f"insert into stage.{table} values (%s, %s, %s)".encode(), row)
    read = csn_receipt(answer(ledger, "csn_receipt", "r", "csn_report"), database, table)
    assert (read.outcome, read.detail) == (outcome, detail)
    assert read.header == ({"reported": "7"} if len({r[0] for r in rows}) == 1 else {})


# the steps, with a real gateway


@pytest.fixture
def gateway(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[x400_gateway.Gateway]:
    from psycopg.conninfo import conninfo_to_dict

    monkeypatch.setenv("SLUSSEN_HOME", str(tmp_path / "home"))
    d = conninfo_to_dict(database)
    slussen = {"conn_type": "postgres", "host": d["host"], "schema": d["dbname"], "login": "slussen"}
    if d.get("port"):
        slussen["port"] = int(d["port"])  # type: ignore[arg-type]
    monkeypatch.setenv("AIRFLOW_CONN_SLUSSEN", json.dumps(slussen))
    with x400_gateway.running(tmp_path / "gateway") as made:
        extra = {
            "imap_host": "127.0.0.1", "imap_port": made.imap_port, "originator": x400_gateway.CITY, "recipient": CSN,
            "gateway": x400_gateway.GATEWAY, "ca": str(made.ca), "receipts_seconds": 0.2,
        }  # fmt: skip
        monkeypatch.setenv("AIRFLOW_CONN_CSN", json.dumps({
            "conn_type": "smtp", "host": "127.0.0.1", "port": made.smtp_port, "login": x400_gateway.USER,
            "password": x400_gateway.PASSWORD, "extra": extra,
        }))  # fmt: skip
        yield made


def declared(*receipts: Receipt) -> Integration:
    return Integration(
        key="csn_inack", title="Inack", sender="HANNA", receiver="CSN", source=directory("hanna", "*"),
        target=x400("csn", "INACK.TXT"), layout="csn_inack_question", persons="none", receipts=receipts,
    )  # fmt: skip


def steps(ledger: Ledger, integration: Integration) -> tuple[DeliverOperator, AcknowledgeOperator, str]:
    interchange = f"csn_inack-{next(NAMES):04d}"
    with PayloadStore(settings.payloads()).writer() as sink:
        sink.write(b"10 fraga")
    ledger.append(interchange, "content", {"sha256": sink.sha256}, integration="csn_inack")
    manifest = Manifest(
        integration="csn_inack", interchange=interchange, name="INACK.TXT", sha256=sink.sha256, bytes=sink.bytes
    ).as_dict()  # fmt: skip
    return (
        DeliverOperator(task_id="deliver", integration=integration, manifest=manifest),
        AcknowledgeOperator(task_id="acknowledge", integration=integration, manifest=manifest),
        interchange,
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slussen.triggers.SETTLED", 0.0)
    monkeypatch.setattr("slussen.operators.acknowledge.NAPS", 0)


CONTEXT: Any = {"run_id": "r", "data_interval_start": None, "data_interval_end": None}


def woken(deferred: TaskDeferred, soon: bool = False) -> dict[str, Any]:
    """What the trigger says, run as a triggerer runs it: from what it was serialized to."""
    path, kwargs = deferred.trigger.serialize()
    assert path == "slussen.receipt_trigger.ReceiptsTrigger"
    kwargs = json.loads(json.dumps(kwargs))
    if soon:
        kwargs["until"] = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()

    async def run() -> Any:
        return await anext(aiter(ReceiptsTrigger(**kwargs).run()))

    return dict(asyncio.run(run()).payload)


def test_a_lost_reply_is_awaited_deferred_and_settled_by_the_receipt(
    gateway: x400_gateway.Gateway, ledger: Ledger
) -> None:
    deliver, acknowledge, interchange = steps(ledger, declared(DELIVERY, READ))
    gateway.partners.play(x400_gateway.Scenario(delivery="none"))
    gateway.faults.set(Fault(kind="swallow", on="send", times=1))
    deliver.execute(CONTEXT)
    assert standing(ledger, interchange).state == "unknown"
    with pytest.raises(TaskDeferred) as waiting:
        acknowledge.execute(CONTEXT)
    assert woken(waiting.value, soon=True)["came"] is False
    (arrived,) = gateway.partners.arrived(CSN)
    gateway.partners.report(arrived.id, recipient=CSN)
    assert woken(waiting.value)["came"] is True
    with pytest.raises(TaskDeferred) as waiting:
        acknowledge.look(CONTEXT, {})
    assert standing(ledger, interchange).state == "delivered"
    gateway.partners.notify(arrived.id, recipient=CSN)
    assert woken(waiting.value)["came"] is True
    assert acknowledge.look(CONTEXT, {})["interchange"] == interchange
    assert standing(ledger, interchange).state == "acknowledged"
    assert gateway.partners.mailboxes.numbers("INBOX") == []
    deliver.execute(CONTEXT)
    assert len(gateway.partners.arrived(CSN)) == 1


def test_a_rejection_fails_the_task_with_its_code_and_what_to_do(gateway: x400_gateway.Gateway, ledger: Ledger) -> None:
    deliver, acknowledge, interchange = steps(ledger, declared(DELIVERY))
    gateway.partners.play(x400_gateway.Scenario(delivery="failed", code="5.2.2", copies=2))
    deliver.execute(CONTEXT)
    with pytest.raises(AirflowFailException, match=r"CSN refused it: delivery failed 5\.2\.2\. Next: find out why"):
        acknowledge.execute(CONTEXT)
    assert standing(ledger, interchange).state == "rejected"


def test_an_overdue_receipt_fails_the_task_and_clearing_it_after_the_receipt_ends_well(
    gateway: x400_gateway.Gateway, ledger: Ledger
) -> None:
    deliver, acknowledge, interchange = steps(ledger, declared(Receipt(kind="delivery", within=timedelta())))
    gateway.partners.play(x400_gateway.Scenario(delivery="none"))
    deliver.execute(CONTEXT)
    with pytest.raises(AirflowFailException, match=r"overdue: delivery\. Next: ask CSN"):
        acknowledge.execute(CONTEXT)
    assert len(of(ledger, interchange, "overdue")) == 1
    (arrived,) = gateway.partners.arrived(CSN)
    gateway.partners.report(arrived.id, recipient=CSN)
    acknowledge.execute(CONTEXT)
    assert standing(ledger, interchange).state == "acknowledged"


def test_a_lost_reply_without_any_receipt_to_wait_for_fails_and_says_whom_to_ask(
    gateway: x400_gateway.Gateway, ledger: Ledger
) -> None:
    deliver, _, _ = steps(ledger, declared())
    gateway.faults.set(Fault(kind="swallow", on="send", times=1))
    with pytest.raises(AirflowFailException, match="Next: ask CSN, then say so: slussen arrived"):
        deliver.execute(CONTEXT)


def test_forged_notifications_and_reports_on_guessed_ids_change_nothing(
    gateway: x400_gateway.Gateway, ledger: Ledger
) -> None:
    deliver, acknowledge, interchange = steps(ledger, declared(DELIVERY, READ))
    gateway.partners.play(x400_gateway.Scenario(delivery="none"))
    deliver.execute(CONTEXT)
    (arrived,) = gateway.partners.arrived(CSN)
    gateway.partners.report(f"<{interchange}@{x400_gateway.GATEWAY}>", recipient=CSN, delivery="failed")
    gateway.partners.notify(arrived.id, recipient=CSN, sender=OTHER, read="deleted")
    with pytest.raises(TaskDeferred):
        acknowledge.execute(CONTEXT)
    assert standing(ledger, interchange).state == "delivered"


def test_two_hundred_waits_share_one_look(ledger: Ledger) -> None:
    looks, asked = [], []

    def news(interchanges: list[str]) -> dict[str, int]:
        asked.append(len(interchanges))
        return dict.fromkeys(interchanges, 2) if len(looks) > 3 else {}

    async def wait() -> list[bool]:
        lookout = Lookout(lambda: looks.append(1), news, 0.05)
        waits = [lookout.wait(f"i{n}", 1 if n else 2, 10 if n else 0.5) for n in range(200)]
        return await asyncio.gather(*waits)

    came = asyncio.run(wait())
    assert came == [False, *[True] * 199]
    assert max(asked) >= 199  # (the first one waits half a second, which a busy machine may take to begin)
    assert len(looks) < 25


def test_acknowledge_stands_in_the_shapes_only_where_receipts_are_expected() -> None:
    from airflow.sdk import DAG

    for receipts, expected in (((), 0), ((DELIVERY,), 1)):
        with DAG(f"d{expected}") as dag:
            relay(declared(*receipts))
        assert sum(t.endswith("acknowledge") for t in dag.task_ids) == expected


def test_the_command_line_settles_what_a_person_has_found_out(
    ledger: Ledger, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from slussen.cli import app

    monkeypatch.setenv("SLUSSEN_DATABASE", database)
    one = sent(ledger, delivered=False)
    ledger.append(one, "unknown", {"attempt": 1, "message": f"<{one}>"}, integration="skv")
    said = CliRunner().invoke(app, ["arrived", one, "--yes", "--by", "Jour 3"])
    assert (said.exit_code, said.output) == (0, f"{one}: delivered, says Jour 3\n")
    assert standing(ledger, one).state == "delivered"
    assert of(ledger, one, "delivered")[0]["by"] == "Jour 3"
    assert CliRunner().invoke(app, ["arrived", one, "--yes", "--by", "Jour 3"]).exit_code != 0
