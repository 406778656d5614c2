"""Delivery over message protocols: the real code in every interleaving, killed at every step; against real servers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import shs_node
from sandbox.faults import Fault
from sandbox.postgres import Server
from slussen import messaging, receipts, settings
from slussen.archiving import recover, said
from slussen.collection import collect, collecting
from slussen.database import migrate
from slussen.errors import CallError, TechnicalError, TransportError, TransportRefused
from slussen.ledger import Ledger
from slussen.messaging import Dispatch, Outcome, _Attempt, dispatch, drive, settle
from slussen.payloads import PayloadStore
from slussen.transports import Doubtful, Entry, Unknown
from tests.model.mutants import survives
from tests.model.posting import DISPATCH, Posting
from tests.model.walk import walk
from tests.transports.messages import RIGS, Rig

X400, SHS = Posting(attempts=2, resends=False), Posting(attempts=2, resends=True)


@pytest.mark.parametrize("setting", [X400, SHS], ids=["x400", "shs"])
def test_two_attempts_in_every_order_with_every_fault_are_one_message(
    setting: Posting, capsys: pytest.CaptureFixture[str]
) -> None:
    walked = walk(setting)  # type: ignore[arg-type]
    with capsys.disabled():
        print(f"\n  {'shs' if setting.resends else 'x400'}: {walked}")
    assert walked.states > 400


@pytest.mark.parametrize("resends", [False, True])
def test_three_attempts_drawn_by_lot_too(resends: bool) -> None:
    setting = Posting(attempts=3, resends=resends)
    for seed in range(400):
        lot, office, moves = random.Random(seed), setting.begin(), []  # noqa: RUF100
        try:
            while (possible := office.moves()) and lot.random() > 0.03:
                moves.append(lot.choice(possible))
                office.move(moves[-1])
                office.check()
            office.settle()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error} after {moves}") from error


def resent_blindly(self: _Attempt, original: Any = _Attempt.say_sending) -> Any:
    said = original(self)
    return "go" if said == "in doubt" else said


def sent_without_being_the_last(self: _Attempt) -> Any:
    self.ledger.append(
        self.d.interchange, "sending", {"attempt": self.number, "message": self.message, "connection": "skv_shs",
                                        "name": "F", "sha256": "", "bytes": 0}, integration="skv",
    )  # fmt: skip
    return "go"


def sent_before_it_is_written(self: _Attempt) -> Any:
    self.send()
    return sent_without_being_the_last(self)


def unsent_whatever_happened(self: _Attempt) -> None:
    self.say_unsent()


def not_said_that_it_is_unknown(self: _Attempt) -> None:
    return


def a_refusal_not_written_down(self: _Attempt) -> None:
    return


def delivered_without_looking(self: _Attempt, reference: str) -> None:
    self.ledger.append(self.d.interchange, "delivered", {"message": self.message}, integration="skv")


def an_id_for_every_attempt(self: _Attempt, original: Any = _Attempt.claim) -> Any:
    claimed = original(self)
    self.message = f"{self.message}{self.number}"
    return claimed


MUTANTS: dict[Callable[..., Any], tuple[str, Posting]] = {
    resent_blindly: ("say_sending", X400),
    sent_without_being_the_last: ("say_sending", X400),
    sent_before_it_is_written: ("say_sending", X400),
    unsent_whatever_happened: ("say_unknown", X400),
    not_said_that_it_is_unknown: ("say_unknown", X400),
    a_refusal_not_written_down: ("say_unsent", X400),
    delivered_without_looking: ("say_delivered", SHS),
    an_id_for_every_attempt: ("claim", SHS),
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_broken_protocol_is_caught(mutant: Callable[..., Any]) -> None:
    name, setting = MUTANTS[mutant]
    assert not survives(_Attempt, name, mutant, setting)


def test_a_receipt_that_settles_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "say_delivered", lambda *what, **more: False)
    with pytest.raises(AssertionError, match="doesn't settle it"):
        walk(X400)  # type: ignore[arg-type]


def test_a_receipt_counted_each_time_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(ledger: Any, interchange: str, data: Any) -> None:
        ledger.append(interchange, "receipt", data)

    monkeypatch.setattr(receipts, "_record", counted)
    with pytest.raises(AssertionError, match="counts twice"):
        walk(X400)  # type: ignore[arg-type]


# a real ledger, real servers


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path / "partner") as made:
        yield made


@pytest.fixture
def ledger(postgres: Server, tmp_path: Path) -> Ledger:
    dsn = postgres.dsn(f"messaging_{tmp_path.name.replace('-', '_')[:40]}")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return Ledger(f"{dsn} user=slussen")


@pytest.fixture
def store(tmp_path: Path) -> PayloadStore:
    return PayloadStore(tmp_path / "payloads")


@pytest.fixture
def what(store: PayloadStore, ledger: Ledger) -> Dispatch:
    with store.writer() as sink:
        sink.write(b"content" * 10_000)
    ledger.append("skv-1", "content", {"name": "F"}, integration="skv")
    return replace(DISPATCH, sha256=sink.sha256, bytes=sink.bytes)


def kinds(ledger: Ledger, interchange: str = "skv-1") -> list[str]:
    return [e.kind for e in ledger.events(interchange)][1:]


def test_a_message_is_delivered_and_not_again(rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch) -> None:
    with rig.open() as partner:
        assert drive(dispatch(what, store, partner, ledger)).state == "delivered"
        assert drive(dispatch(what, store, partner, ledger)).state == "already"
    assert kinds(ledger) == ["claim", "sending", "delivered"]
    delivered = ledger.events("skv-1")[-1].data
    assert (delivered["sha256"], delivered["bytes"], delivered["inferred"]) == (what.sha256, what.bytes, False)
    assert len(rig.arrived()) == 1


def test_an_interchange_of_which_nothing_is_known_yet_is_sent(
    rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch
) -> None:
    with rig.open() as partner:
        assert drive(dispatch(replace(what, interchange="skv-2"), store, partner, ledger)).state == "delivered"
    assert [e.kind for e in ledger.events("skv-2")] == ["claim", "sending", "delivered"]


def test_a_lost_reply_is_settled_without_a_second_message(
    rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch
) -> None:
    """On X.400 by the receipt, on SHS by sending the same id again."""
    rig.faults.set(Fault(kind="swallow", on="send", times=1))
    with rig.open() as partner:
        if partner.resends:
            with pytest.raises(Unknown):
                drive(dispatch(what, store, partner, ledger))
            assert receipts.standing(ledger, "skv-1").state == "unknown"
            assert drive(dispatch(what, store, partner, ledger)).state == "delivered"
            assert ledger.events("skv-1")[-1].data["reference"].endswith("duplicate")
        else:
            assert drive(dispatch(what, store, partner, ledger)).state == "unknown"
            assert drive(dispatch(what, store, partner, ledger)).state == "unknown"
            assert receipts.standing(ledger, "skv-1").state == "unknown"
            assert receipts.sweep(partner, what.connection, ledger) == ["skv-1"]
            assert drive(dispatch(what, store, partner, ledger)).state == "already"
    assert receipts.standing(ledger, "skv-1").state == "delivered"
    assert len(rig.arrived()) == 1


def test_a_kill_at_every_step_is_at_most_one_message(
    rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch
) -> None:
    for at in range(6):
        interchange = f"skv-kill-{at}"
        ledger.append(interchange, "content", integration="skv")
        d = replace(what, interchange=interchange)
        with rig.open() as partner:
            steps = dispatch(d, store, partner, ledger)
            for _ in range(at):
                next(steps, None)
            steps.close()
            ended = drive(dispatch(d, store, partner, ledger))
            assert ended.state in ("delivered", "already", "unknown")
            receipts.sweep(partner, d.connection, ledger)
            assert [a for a in rig.arrived() if a.id == ended.message][1:] == []
            if any(a.id == ended.message for a in rig.arrived()):
                assert receipts.standing(ledger, interchange).state == "delivered"
            else:
                assert receipts.standing(ledger, interchange).state == "unknown"


def test_what_certainly_was_not_taken_is_sent_by_the_next_attempt(
    rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch
) -> None:
    rig.faults.set(Fault(kind="busy", on="send", times=2), Fault(kind="refuse", on="send", times=1))
    with rig.open() as partner:
        for error in (TransportError, TransportError, TransportRefused):
            with pytest.raises(error):
                drive(dispatch(what, store, partner, ledger))
        assert drive(dispatch(what, store, partner, ledger)).state == "delivered"
    assert kinds(ledger).count("unsent") == 3
    assert len(rig.arrived()) == 1


def test_what_the_connection_or_the_name_makes_impossible_is_unsent(
    rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch
) -> None:
    with rig.open() as partner, pytest.raises(TransportRefused):
        drive(dispatch(replace(what, name="AVL\udcc4SNING.TXT"), store, partner, ledger))
    assert kinds(ledger) == ["claim", "sending", "unsent"]


@pytest.mark.parametrize(
    ("status", "error", "passing"),
    [(502, Unknown, True), (504, Unknown, True), (408, Unknown, True), (200, Doubtful, False), (302, Doubtful, False)],
)
def test_what_somebody_before_the_node_says_leaves_a_message_unknown(
    ledger: Ledger, store: PayloadStore, what: Dispatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    status: int, error: type[Exception], passing: bool,
) -> None:  # fmt: skip
    """A front whose node has taken the message, and whose answer it lost."""
    with RIGS["shs"](tmp_path / "partner") as rig, rig.open() as partner:
        monkeypatch.setattr(shs_node.Handler, "_taken", lambda node, *what, **more: node._say(status))
        with pytest.raises(error):
            drive(dispatch(what, store, partner, ledger))
        assert issubclass(error, TransportError) == passing
        monkeypatch.undo()
        assert kinds(ledger) == ["claim", "sending", "unknown"]
        assert drive(dispatch(what, store, partner, ledger)).state == "delivered"
        assert len(rig.arrived()) == 1


def test_a_payload_that_is_gone_leaves_nothing_in_doubt(
    rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch
) -> None:
    store.path(what.sha256).unlink()
    with rig.open() as partner, pytest.raises(TechnicalError):
        drive(dispatch(what, store, partner, ledger))
    assert messaging.in_doubt(ledger.events("skv-1")) == []


def test_a_person_who_has_asked_the_partner_settles_what_is_unknown(
    ledger: Ledger, store: PayloadStore, what: Dispatch, tmp_path: Path
) -> None:
    with RIGS["x400"](tmp_path / "partner") as rig, rig.open() as partner:
        for arrived in (True, False):
            interchange = f"csn-{arrived}"
            d = replace(what, interchange=interchange)
            ledger.append(interchange, "content", integration="skv")
            with pytest.raises(CallError, match="nothing about it is unknown"):
                settle(ledger, interchange, arrived=arrived, by="jour")
            steps = dispatch(d, store, partner, ledger)
            assert [next(steps) for _ in range(3)][-1] == "send"  # killed before it
            assert drive(dispatch(d, store, partner, ledger)).state == "unknown"
            settle(ledger, interchange, arrived=arrived, by="jour")
            ended: Outcome = drive(dispatch(d, store, partner, ledger))
            assert ended.state == ("already" if arrived else "delivered")
        assert len(rig.arrived()) == 1


# collected by message


def test_a_message_that_comes_twice_is_collected_once_and_another_with_its_id_too(
    ledger: Ledger, store: PayloadStore, tmp_path: Path
) -> None:
    """A gateway that resends, and a sender whose ids aren't: neither doubles a file, neither loses one."""
    with RIGS["x400"](tmp_path / "partner") as rig, rig.open() as partner:
        for content in (b"first", b"first", b"second"):
            rig.send("SVAR.TXT", content, identity="<samma@x>")
        got = []
        while entries := partner.entries("*"):
            got.append(collect("csn_inack_reply", entries[0], partner, store, ledger, "run"))
        assert [bool(c.repeat_of) for c in got] == [False, True, False]
        assert {e.kind for e in ledger.events(got[0].interchange)} == {"collected", "archiving", "archived", "repeated"}


def test_what_an_answer_answers_is_kept_when_it_is_collected(
    rig: Rig, ledger: Ledger, store: PayloadStore, what: Dispatch
) -> None:
    with rig.open() as partner:
        sent = drive(dispatch(what, store, partner, ledger))
        rig.send("SVAR.TXT", b"svar", answers=sent.message)
        (entry,) = partner.entries("*")
        collected = collect("skv_reply", entry, partner, store, ledger, "run")
    assert ledger.events(collected.interchange)[0].data["answers"] == sent.message
    assert ledger.sending(sent.message).stream == "skv-1"  # type: ignore[union-attr]


def cut_off(rig: Rig, partner: Any, store: PayloadStore, ledger: Ledger, at: str) -> Entry:
    """A file that comes, and a collection of it that is killed at this step."""
    rig.send("SVAR.TXT", b"svar")
    entry: Entry
    (entry,) = partner.entries("*")
    steps = collecting("skv_reply", entry, partner, store, ledger, "run")
    for step in steps:
        if step == at:
            break
    steps.close()
    return entry


def test_a_collection_that_is_cut_off_before_the_archive_is_picked_up(
    rig: Rig, ledger: Ledger, store: PayloadStore
) -> None:
    with rig.open() as partner:
        entry = cut_off(rig, partner, store, ledger, "archive")
        assert partner.entries("*") == [entry]
        again = collect("skv_reply", entry, partner, store, ledger, "run")
        assert partner.entries("*") == []
    assert not again.repeat_of
    assert kinds(ledger, again.interchange) == ["archiving", "archiving", "archived"]


def test_a_collection_that_is_cut_off_after_the_archive_is_said_to_be_archived_by_the_next_look(
    rig: Rig, ledger: Ledger, store: PayloadStore
) -> None:
    with rig.open() as partner:
        cut_off(rig, partner, store, ledger, "archived")
        [(note, place)] = recover(partner, ledger, "skv_reply", print)
        said(ledger, note, place)
        assert not recover(partner, ledger, "skv_reply", print)
    assert kinds(ledger, note.stream) == ["archiving", "archived"]
