"""The watchdog: what never came is written down and told of once, what is owed is overdue, sums must agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any, Literal

import pytest

from sandbox.postgres import Server
from slussen import settings
from slussen.alerts import Alert, alert, recovered
from slussen.database import migrate
from slussen.errors import TransportError, TransportRefused
from slussen.integration import Integration, Times
from slussen.ledger import Ledger
from slussen.ledger.intervals import names
from slussen.ledger.states import fold
from slussen.notifications import Note, proof, tell
from slussen.obligations import control, kronor, obligations
from slussen.operators.watch import Channels
from slussen.retelling import retell
from slussen.watchdog import look
from tests.answering import A02, ANSWER, ASK, F30, LOOKS, ROWS, TWICE, at, row

NAMES = count(1)
MORNING = Times(expected="04:25", amber="05:15", red="06:00", cutoff="07:30")
STAGED = ("staged", {"table": "t", "records": 3})
DELIVERED = ("delivered", {"name": "n", "bytes": 9, "sha256": "s"})


class Phone:
    """A channel that keeps what it was told."""

    connection = "on_call"
    kind: Literal["mail", "sms"] = "sms"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.texts: list[str] = []
        self.breaks = False
        self.refuses: TransportError | TransportRefused | None = None

    def send(self, note: Note) -> None:
        if self.breaks:
            raise KeyboardInterrupt  # the process is stopped here
        if self.refuses is not None:
            raise self.refuses
        self.told.append(note.subject)
        self.texts.append(note.text)


@pytest.fixture
def ledger(postgres: Server) -> Ledger:
    dsn = postgres.dsn(f"watchdog{next(NAMES)}")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return Ledger(f"{dsn} user=slussen")


@pytest.fixture
def phone() -> Phone:
    return Phone()


def write(ledger: Ledger, stream: str, integration: str, *events: tuple[str, Mapping[str, Any]]) -> None:
    for kind, data in events:
        ledger.append(stream, kind, data, integration=integration)


def looks(ledger: Ledger, phone: Phone, *times: str) -> None:
    for time in times:
        look([F30, TWICE, ASK, ANSWER, A02], ledger, at(time), Channels(ledger, [phone]))


def missed(ledger: Ledger, key: str) -> list[str]:
    return [i.id for i in ledger.interchanges(key) if i.state == "missed"]


def about(phone: Phone, word: str) -> list[str]:
    return [t for t in phone.told if word in t]


def test_what_doesnt_come_is_told_of_when_it_is_late_and_when_it_is_red_and_when_it_comes(
    ledger: Ledger, phone: Phone
) -> None:
    tonight = names(F30.integration, at("12 20:00"))[0]
    looks(ledger, phone, "12 19:50", "13 05:50")
    assert about(phone, "f30") == []
    looks(ledger, phone, "13 06:00", "13 06:10", "13 06:20")
    assert about(phone, "f30") == ["Slussen: f30 late, amber: nothing has come at 06:00"]
    looks(ledger, phone, "13 07:00", "13 07:10")
    assert len(about(phone, "f30")) == 2
    write(ledger, tonight, "f30", STAGED, DELIVERED)
    looks(ledger, phone, "13 07:20", "13 07:30")
    assert sorted(t for t in about(phone, tonight) if "works again" in t) == [
        f"Slussen: late/{tonight} works again after 80 minutes",
        f"Slussen: red/{tonight} works again after 20 minutes",
    ]
    assert missed(ledger, "f30") == []


def test_what_still_stands_failed_the_day_after_is_not_said_to_work_again(ledger: Ledger, phone: Phone) -> None:
    tonight = names(F30.integration, at("12 20:00"))[0]
    looks(ledger, phone, "12 19:50")
    write(ledger, tonight, "f30", STAGED)
    looks(ledger, phone, "13 06:00", "13 07:00", "13 12:00", "13 20:10", "14 05:00", "14 14:00", "15 14:00")
    assert not about(phone, f"{tonight} works again")
    write(ledger, tonight, "f30", DELIVERED)
    looks(ledger, phone, "15 14:10")
    assert len(about(phone, f"{tonight} works again")) == 2


def test_a_window_that_is_over_without_a_trace_is_missed_once(ledger: Ledger, phone: Phone) -> None:
    tonight = names(F30.integration, at("12 20:00"))[0]
    looks(ledger, phone, "12 19:50", "13 07:30", "13 07:40", "13 16:00")
    assert missed(ledger, "f30") == [tonight]
    assert [e.kind for e in ledger.events(tonight)] == ["missed"]
    assert [t for t in about(phone, "f30") if "missed" in t] == [
        "Slussen: f30 missed: the run of 2026-01-12 20:00 left nothing, and its time is over"
    ]


def test_after_an_outage_every_window_that_went_by_is_missed_and_the_open_one_is_not(
    ledger: Ledger, phone: Phone
) -> None:
    looks(ledger, phone, "12 19:50", "15 21:00")
    assert missed(ledger, "f30") == [names(F30.integration, at(f"{d} 20:00"))[0] for d in (12, 13, 14)]
    assert missed(ledger, "f103") == [
        names(TWICE.integration, at(f"{d} {t}"))[0] for d in (13, 14) for t in ("04:25", "04:55")
    ]  # of the 15th they may still be made up, till midnight
    assert missed(ledger, "ask") == [], "a file that may be missing is not missed"
    assert len(missed(ledger, "a02")) == 2


def test_what_an_outage_has_made_miss_is_told_of_once_and_what_was_not_due_is_skipped(
    ledger: Ledger, phone: Phone
) -> None:
    def idle(integration: Integration, start: datetime) -> str:
        return "no debiting night" if integration.key == "f30" and start == at("13 20:00") else ""

    for now in ("12 19:50", "15 21:00", "15 21:10"):
        look([F30, TWICE, A02], ledger, at(now), Channels(ledger, [phone]), idle)
    assert len(missed(ledger, "f30")) == 2
    assert fold(ledger.events(names(F30.integration, at("13 20:00"))[0])).state == "skipped"
    told = [t for t in phone.told if "missed" in t]
    assert told == ["Slussen: f30 missed: 8 runs left nothing, and their time is over: a02 2, f103 4, f30 2"]
    assert not about(phone, "works again")


def test_a_moment_without_a_trace_is_missed_at_its_cut_off(ledger: Ledger, phone: Phone) -> None:
    row = replace(TWICE, integration=replace(TWICE.integration, times=MORNING))
    for now in ("12 19:50", "13 05:20", "13 07:20", "13 07:30", "13 12:00"):
        look([row], ledger, at(now), Channels(ledger, [phone]))
    assert missed(ledger, "f103") == [names(TWICE.integration, at(f"13 {t}"))[0] for t in ("04:25", "04:55")]
    assert len(about(phone, "f103 missed")) == 2


def test_what_is_looked_for_all_day_is_late_when_it_is_held_and_never_missed(ledger: Ledger, phone: Phone) -> None:
    row = replace(LOOKS, integration=replace(LOOKS.integration, times=MORNING))

    def looks(*times: str) -> None:
        for now in times:
            look([row], ledger, at(now), Channels(ledger, [phone]))

    looks("12 08:00", "12 10:00")
    held = {"at": "gate", "findings": []}
    collected = {"name": "a.txt", "bytes": 1, "sha256": "a", "interval": at("12 10:15").isoformat()}
    write(ledger, "looks-a", "looks", ("collected", collected), STAGED, ("held", held))
    looks("12 23:50", "13 00:10")
    assert phone.told == []
    looks("13 05:20", "13 06:10", "13 06:20")
    assert phone.told == ["Slussen: looks late, amber: held at 05:20", "Slussen: looks late, red: held at 06:10"]
    assert "looks-a" in phone.texts[0]
    write(ledger, "looks-a", "looks", ("refused", {"by": "x", "at": "y"}))
    looks("13 06:30")
    assert len(about(phone, "works again")) == 2
    assert missed(ledger, "looks") == []


def test_what_a_row_before_it_has_stopped_is_told_of_as_that_one_alone(ledger: Ledger, phone: Phone) -> None:
    first = row("f102", TWICE.timetable, times=MORNING)
    second = replace(TWICE, integration=replace(TWICE.integration, times=MORNING), after=(first.integration,))
    name = names(first.integration, at("13 04:25"))[0]
    write(ledger, name, "f102", STAGED, ("quarantined", {"at": "gate", "findings": []}))
    write(ledger, names(first.integration, at("13 04:55"))[0], "f102", ("skipped", {"reason": "nothing since"}))
    for now in ("12 19:50", "13 05:20", "13 06:10", "13 07:40", "13 08:00"):
        look([first, second], ledger, at(now), Channels(ledger, [phone]))
    of_the_first, of_the_second = (names(second.integration, at(f"13 {t}"))[0] for t in ("04:25", "04:55"))
    assert missed(ledger, "f103") == [of_the_first, of_the_second]
    assert "f102, which comes before it, is quarantined" in ledger.events(of_the_first)[0].data["reason"]
    assert about(phone, "f103") == [
        "Slussen: f103 late, amber: nothing has come at 05:20", "Slussen: f103 late, red: nothing has come at 06:10",
        "Slussen: f103 missed: the run of 2026-01-13 04:55 left nothing, and its time is over",
    ], "of the other, and what never came doesn't work again"  # fmt: skip


def test_before_its_first_look_nothing_is_missed(ledger: Ledger, phone: Phone) -> None:
    looks(ledger, phone, "15 03:00", "15 12:00", "16 03:00")
    assert missed(ledger, "f30") == []
    assert about(phone, "f30") == [], "what began before is not ours"


def test_a_look_that_is_cut_off_is_repeated_to_no_harm(ledger: Ledger, phone: Phone) -> None:
    looks(ledger, phone, "12 19:50")
    phone.breaks = True
    with pytest.raises(KeyboardInterrupt):
        looks(ledger, phone, "13 07:30")
    phone.breaks = False
    looks(ledger, phone, "13 07:40")
    assert len(missed(ledger, "f30")) == 1


def test_a_receipt_that_doesnt_come_is_overdue_once_and_over_when_it_comes(ledger: Ledger, phone: Phone) -> None:
    receipts = [
        {"kind": k, "due": at(due).isoformat()} for k, due in (("delivery", "13 11:00"), ("answer", "16 09:00"))
    ]
    write(ledger, "ask-a", "ask", STAGED, DELIVERED, ("awaiting", {"receipts": receipts}))
    looks(ledger, phone, "13 10:00", "13 11:00", "13 11:10")
    assert [dict(e.data) for e in ledger.events("ask-a") if e.kind == "overdue"] == [receipts[0]]
    assert about(phone, "ask") == ["Slussen: ask overdue: its delivery receipt"]
    owed = [o for o in obligations(ROWS, ledger, at("13 12:00")) if o.integration == "ask"]
    assert [(o.kind, o.overdue(at("13 12:00"))) for o in owed] == [("receipt", True), ("answer", False)]
    # An answer proves that the question arrived.
    write(ledger, "ask-a", "ask", ("receipt", {"kind": "answer", "outcome": "accepted", "reference": "r"}))
    looks(ledger, phone, "13 11:20", "16 10:00")
    assert obligations(ROWS, ledger, at("16 10:00")) == []
    assert len(about(phone, "owed/receipt/ask-a works again")) == 1


def test_questions_answers_lost_replies_and_stray_receipts_are_owed(ledger: Ledger) -> None:
    write(ledger, "ask-b", "ask", STAGED, DELIVERED)
    write(ledger, "ask-c", "ask", STAGED, ("unknown", {"attempt": 1, "message": "m"}))
    write(ledger, "answer-x", "answer", ("answers", {"of": "ask", "question": ""}))
    write(ledger, "answer-y", "answer", ("answers", {"of": "ask", "question": ""}), ("answers", {"question": "ask-z"}))
    write(ledger, "receipts/unmatched", "", ("receipt", {"kind": "delivery", "outcome": "accepted", "reference": "r9"}))
    now = ledger.events("answer-x")[0].at
    found = {(o.kind, o.interchange) for o in obligations(ROWS, ledger, now)}
    assert found == {("answer", "ask-b"), ("fate", "ask-c"), ("question", "answer-x"), ("unmatched", "r9")}
    assert all(o.as_dict(now)["next"] for o in obligations(ROWS, ledger, now))


def test_a_question_that_was_refused_owes_no_answer(ledger: Ledger) -> None:
    awaited = {"receipts": [{"kind": k, "due": at("12 11:00").isoformat()} for k in ("delivery", "answer")]}
    refused = ("receipt", {"kind": "delivery", "outcome": "rejected", "reference": "r"})
    write(ledger, "ask-1", "ask", DELIVERED, ("awaiting", awaited), refused)
    write(ledger, "ask-2", "ask", DELIVERED, refused)
    assert obligations(ROWS, ledger, at("12 12:00")) == []


# --- the control F30 and F103/F104 against A02


def send(ledger: Ledger, row: Any, start: str, ore: int, *, delivered: bool = True) -> None:
    name = names(row.integration, at(start))[0]
    write(ledger, name, row.key, ("content", {"name": "n", "sha256": "s", "totals": {"sum.amount": ore}}))
    if delivered:
        write(ledger, name, row.key, DELIVERED)


def report(ledger: Ledger, start: str, reported: int, outstanding: int) -> None:
    interval = at(start).isoformat()
    counts = {"reported_ore": reported, "outstanding_ore": outstanding}
    write(
        ledger,
        f"a02-{start}",
        "a02",
        ("collected", {"name": "n", "interval": interval}),
        ("merged", {"counts": counts}),
    )


@pytest.mark.parametrize(
    ("reported", "outstanding", "holds", "difference"),
    [
        (100_00, 50_00, True, 20_00),  # this morning's may not be in it yet
        (100_00, 70_00, True, 0),
        (100_00, 69_99, False, 1),  # to the öre
        (0, 100_00, True, 70_00),  # nor yesterday evening's: its window closes after the report
        (0, 120_00, False, 50_00),  # but not this morning's without yesterday evening's
        (0, 0, False, 170_00),  # and what was sent days ago must be
        (100_00, 70_01, False, -1),
        (-10_00, 180_00, True, 0),  # credited
    ],
)
def test_what_was_sent_is_what_agresso_reports_to_the_ore(
    ledger: Ledger, reported: int, outstanding: int, holds: bool, difference: int
) -> None:
    assert control(ledger) is None
    send(ledger, F30, "10 20:00", 100_00)
    send(ledger, F30, "12 20:00", 50_00)
    send(ledger, TWICE, "13 04:25", 20_00)
    send(ledger, TWICE, "13 04:55", 7_00, delivered=False)  # quarantined: Agresso never got it
    send(ledger, F30, "13 20:00", 99_00)  # after the report
    report(ledger, "13 06:30", reported, outstanding)
    sums = control(ledger)
    assert sums is not None
    assert (sums.sent, sums.holds, sums.difference) == (170_00, holds, difference)
    owed = [o for o in obligations(ROWS, ledger, datetime.now(sums.at.tzinfo)) if o.kind == "control"]
    assert len(owed) == (0 if holds else 1)
    if owed:
        assert f"sent 170.00 kr, reported {kronor(reported)} + outstanding {kronor(outstanding)}" in owed[0].what


def test_sums_that_never_agree_are_overdue_a_day_after_the_first_report_however_many_come(ledger: Ledger) -> None:
    send(ledger, F30, "7 20:00", 100_00)
    for n, outstanding in enumerate((100_00, 99_00, 98_00, 97_00)):
        report(ledger, f"{n + 9} 06:30", 0, outstanding)
    (owed,) = [o for o in obligations(ROWS, ledger, at("12 07:00")) if o.kind == "control"]
    assert owed.since == at("10 06:30"), "the clock of the runs, not the machine's"
    assert not owed.overdue(at("11 06:20"))
    assert owed.overdue(at("11 06:40"))
    assert owed.interchange == "a02-12 06:30"


def test_what_was_sent_days_ago_must_be_in_the_report(ledger: Ledger) -> None:
    send(ledger, F30, "9 20:00", 100_00)
    send(ledger, F30, "10 20:00", 50_00)
    report(ledger, "13 06:30", 100_00, 0)
    sums = control(ledger)
    assert sums is not None
    assert not sums.holds
    assert sums.difference == 50_00


def test_what_could_not_be_told_is_told_by_the_next_look_once_and_with_the_slack_of_then(
    ledger: Ledger, phone: Phone
) -> None:
    phone.refuses = TransportError("the gateway is away")
    looks(ledger, phone, "12 19:50", "13 06:00")
    assert about(phone, "f30") == []
    phone.refuses = None
    looks(ledger, phone, "13 06:10", "13 06:20")
    assert len(about(phone, "f30 late, amber")) == 1
    assert "cut-off Tue 07:30, 1 h 20 min left" in phone.texts[0]


def test_a_failure_of_a_task_that_nobody_could_be_told_of_is_told_by_the_watchdog(ledger: Ledger, phone: Phone) -> None:
    fault = Alert(
        cause="transport/agresso", integration="f30", state="transport failed", what="no answer", next_step="probe it",
        cutoff=at("13 07:30"), at=at("12 23:00"),
    )  # fmt: skip
    phone.refuses = TransportError("the gateway is away")
    alert(ledger, [phone], fault)
    phone.refuses = None
    looks(ledger, phone, "13 01:00", "13 01:10")
    assert about(phone, "transport failed") == ["Slussen: f30 transport failed: no answer"]
    assert "6 h 30 min left" in phone.texts[0]
    phone.refuses = TransportError("away again")
    recovered(ledger, [phone], "transport/agresso", at("13 01:15"))
    phone.refuses = None
    looks(ledger, phone, "13 01:20", "13 01:30")
    assert len(about(phone, "works again")) == 1


def test_a_refusal_for_good_is_not_tried_again_and_an_alarm_that_nobody_got_to_tell_of_is_told(
    ledger: Ledger, phone: Phone
) -> None:
    phone.refuses = TransportRefused("no such number")
    alert(ledger, [phone], Alert(cause="c", integration="f30", state="s", what="w", next_step="n", at=at("13 01:00")))
    phone.refuses = None
    data = {"integration": "f30", "interchange": "", "state": "killed here", "what": "w", "next": "n", "cutoff": ""}
    ledger.append("watch/silent", "alarm", data, integration="f30")
    looks(ledger, phone, "12 12:00", "12 12:10")
    assert phone.told == ["Slussen: f30 killed here: w"]


def test_a_proof_that_could_not_be_sent_is_sent_later_and_the_alert_of_it_is_over(ledger: Ledger, phone: Phone) -> None:
    integration = replace(F30.integration, proof=("on_call",))
    write(ledger, "f30-1", "f30", ("content", {"records": 3}), DELIVERED)
    note = proof(integration, "f30-1", ledger.events("f30-1"))
    assert note is not None
    phone.refuses = TransportError("the gateway is away")
    with pytest.raises(TransportError):
        tell(ledger, "f30-1", "f30", "proof", note, phone)
    alert(
        ledger, [], Alert(cause="notify/f30", integration="f30", state="s", what="w", next_step="n", at=at("13 01:00"))
    )
    retell(ledger, [], [integration], lambda connection: phone, at("13 01:00"))
    assert [e.kind for e in ledger.events("watch/notify/f30")] == ["alarm"], "it failed again"
    phone.refuses = None
    for _ in range(2):
        retell(ledger, [], [integration], lambda connection: phone, at("13 01:10"))
    assert about(phone, "f30: n delivered") == [note.subject]
    assert [e.kind for e in ledger.events("watch/notify/f30")] == ["alarm", "recovered"]


def test_what_was_answered_owes_no_delivery_receipt_that_was_lost(ledger: Ledger, phone: Phone) -> None:
    awaited = {"receipts": [{"kind": k, "due": at("12 11:00").isoformat()} for k in ("delivery", "read", "answer")]}
    write(ledger, "ask-1", "ask", ("content", {}), DELIVERED, ("awaiting", awaited))
    assert {o.what for o in obligations(ROWS, ledger, at("12 12:00"))} == {
        "its delivery receipt", "its read receipt", "an answer"
    }  # fmt: skip
    looks(ledger, phone, "12 12:00")
    write(ledger, "ask-1", "ask", ("receipt", {"kind": "answer", "outcome": "accepted", "reference": "answer-1"}))
    assert obligations(ROWS, ledger, at("12 12:10")) == []
    looks(ledger, phone, "12 12:10")
    assert fold(ledger.events("ask-1")).state == "acknowledged"
    assert {t for t in phone.told if "works again" in t}, "and the alarms of it are over"
