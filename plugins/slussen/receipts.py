"""Receipts: what is expected for a delivery, what has come, and which question an answering file answers.

A receipt is matched by the id of the message that it is about, and only where it comes over the connection by which
that message went out. It is appended to the interchange once, under its own reference, whenever it comes: early (before
we have written ``delivered`` ourselves), late, or again. A positive one proves that the message arrived, and so settles
an unknown one. What matches nothing goes to the stream ``receipts/unmatched`` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from slussen.ledger import Conflict
from slussen.ledger.states import Interchange, fold
from slussen.messaging import is_delivered, say_delivered

if TYPE_CHECKING:
    from slussen.integration import Receipt
    from slussen.ledger import Event, Ledger
    from slussen.transports import Messenger, Notice

UNMATCHED = "receipts/unmatched"
IN_ORDER = timedelta(days=31)  # how old a question may be whose answer says nothing about which it answers
Outcome = Literal["accepted", "with errors", "rejected"]

# By the layout of an answer: its header's field, and the one of the question's header that says the same
# (FORMATS 2.1: #BESTÄLLNINGSID; #INFIL_TILL_GRUND names the question's file).
BY_HEADER: Mapping[str, tuple[tuple[str, str], ...]] = {
    "navet_utfil": (("bestallningsid", "bestallningsid"), ("infil_till_grund", "namn_infil")),
    "csn_receipt": (("reported", "lopnummer"),),  # of its records: see ``csn_receipt``
    "csn_inack_reply": (("lopnummer", "lopnummer"),),  # decision: an answer repeats the question's number
    "infodata_reply": (("lopnummer", "lopnummer"),),
}


def expect(ledger: Ledger, interchange: str, receipts: Sequence[Receipt], now: datetime) -> None:
    """Write which receipts are expected for a delivery, and when each is due; once, however often it is asked."""
    while True:
        events = ledger.events(interchange)
        if any(e.kind == "awaiting" for e in events):
            return
        due = [{"kind": r.kind, "due": (now + r.within).isoformat(timespec="seconds")} for r in receipts]
        if _append(ledger, events, "awaiting", {"receipts": due}):
            return


def standing(ledger: Ledger, interchange: str) -> Interchange:
    """What has come, and what is still awaited."""
    return fold(ledger.events(interchange))


def news(ledger: Ledger, interchanges: Sequence[str]) -> dict[str, int]:
    """The number of the last event of each interchange that a wait for receipts may end with."""
    query = (
        "select stream, max(seq) from ledger.event where stream = any(%(streams)s)"
        " and kind in ('receipt', 'answered', 'superseded') group by stream"
    )
    return {str(stream): int(seq) for stream, seq in ledger.rows(query, {"streams": list(interchanges)})}


def say_overdue(ledger: Ledger, interchange: str, now: datetime) -> list[str]:
    """Write, once for each, that a receipt should have come by now; the kinds that are late."""
    while True:
        events = ledger.events(interchange)
        here = fold(events)
        late = here.late(now)
        new = [kind for kind in late if kind not in here.overdue]
        if not new:
            return late
        _append(ledger, events, "overdue", {"kind": new[0], "due": here.awaited[new[0]]})


def sweep(messenger: Messenger, connection: str, ledger: Ledger) -> list[str]:
    """Take the receipts that wait at an endpoint into the ledger; the interchanges that they are about.

    Each is put away at the endpoint only when it is in the ledger: a sweep that is cut off is done again. One about a
    message of another connection, which shares the mailbox or the queue, is left to that connection's sweep.
    """
    found = []
    for notice in messenger.notices():
        if (interchange := take(ledger, connection, notice)) is not None:
            messenger.settle(notice)
            found.append(interchange)
    return [interchange for interchange in found if interchange]


def take(ledger: Ledger, connection: str, notice: Notice) -> str | None:
    """Append a receipt to the interchange that it is about; that interchange's id, or nothing when there is none.

    None when it is about a message that went out over another connection: it changes nothing then.
    """
    sending = ledger.sending(notice.about) if notice.about else None
    data = {"kind": notice.kind, "outcome": notice.outcome, "reference": notice.reference, "detail": notice.detail}
    if sending is None:
        if not ledger.has_receipt(UNMATCHED, notice.reference):
            why = "of no message of ours" if notice.about else notice.detail
            ledger.append(UNMATCHED, "receipt", {**data, "connection": connection, "why": why})
        return ""
    if sending.data.get("connection") != connection:
        return None
    interchange = sending.stream
    if notice.outcome == "delayed":
        if not ledger.has_receipt(interchange, notice.reference):
            ledger.append(interchange, "delayed", data, integration=sending.integration)
        return interchange
    _record(ledger, interchange, data)
    if notice.outcome != "rejected":
        say_delivered(ledger, interchange, receipt=notice.reference)
    return interchange


def _record(ledger: Ledger, interchange: str, data: Mapping[str, Any]) -> None:
    """Append a receipt, unless it is there already."""
    while True:
        events = ledger.events(interchange)
        if any(e.kind == "receipt" and e.data["reference"] == data["reference"] for e in events):
            return
        if _append(ledger, events, "receipt", data):
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answering file that has passed its gate: what it says about which question it answers.

    ``of`` is the integration that asked; ``message`` the id of the message that the answer's own message says it
    answers; ``header`` what stands in the file's header.
    """

    interchange: str
    integration: str
    of: str
    layout: str
    header: Mapping[str, str]
    message: str = ""
    outcome: Outcome = "accepted"
    detail: str = ""


def match_answer(ledger: Ledger, answer: Answer, now: datetime) -> str:
    """Find the question that a file answers and tie both together; the question's interchange, or nothing.

    By the message that it says it answers; else by what its header repeats of the question's; else, where it repeats
    nothing, the only question of the last 31 days that has no answer yet. Where two could be meant,
    none is: the answer is written as one to no known question, and what obligations there are stay open. The answer
    to a question that isn't in the ledger yet is tied to it when the question has been sent (``adopt``). A second
    answer to a question is one more answer; of their outcomes the worse counts. How old a question is that an answer
    names makes no difference.
    """
    done = next((e for e in ledger.events(answer.interchange) if e.kind == "answers" and e.data["question"]), None)
    if done is not None:
        question = str(done.data["question"])  # cut off after it: the question's side may be missing
    else:
        question = _question(ledger, answer, now)
        _say_answers(ledger, answer, question)
    if question:
        _tie(ledger, question, answer)
    return question


def csn_receipt(answer: Answer, database: str, table: str) -> Answer:
    """What CSN's receipt says of the file that it is about (FORMATS P2): its running number, and how many records were
    accepted with a warning (V) or not at all (A); record 0 is the whole file."""
    from psycopg import sql

    from slussen.database import connect

    query = sql.SQL(
        "select min(lopnummer), count(distinct lopnummer), count(*) filter (where status = 'A'),"
        " count(*) filter (where status = 'V'), coalesce(bool_or(status = 'A' and postnummer = 0), false) from {}"
    ).format(sql.Identifier("stage", table))
    with connect(database) as stage:
        row = stage.execute(query).fetchone()
    number, files, refused, warned, whole = row or (None, 0, 0, 0, False)
    if files != 1:
        return replace(answer, detail=f"about {files} files")
    outcome: Outcome = "rejected" if whole else "with errors" if refused or warned else "accepted"
    detail = f"{refused} refused, {warned} with a warning" if refused or warned else ""
    return replace(answer, header={**answer.header, "reported": str(number)}, outcome=outcome, detail=detail)


def adopt(ledger: Ledger, question: str, integration: str) -> list[str]:
    """Tie answers that came before their question was in the ledger to it; their interchanges."""
    sent = ledger.events(question)
    matched = {e.stream for e in ledger.answers(integration) if e.data["question"]}
    found = []
    for event in ledger.answers(integration):
        answer = _from_event(event)
        if event.stream not in matched and _names(answer, sent):
            _say_answers(ledger, answer, question)
            _tie(ledger, question, answer)
            found.append(event.stream)
    return found


def _question(ledger: Ledger, answer: Answer, now: datetime) -> str:
    if answer.message and (sending := ledger.sending(answer.message)) is not None:
        return sending.stream if sending.integration == answer.of else ""
    asked = {e.stream: e for kind in ("sending", "delivered") for e in ledger.kind(kind, integration=answer.of)}
    if any(answer.header.get(mine) for mine, _ in BY_HEADER.get(answer.layout, ())):
        named = [s for s in asked if _names(answer, ledger.events(s))]
        return max(named, key=lambda s: asked[s].seq, default="")  # numbers come round: the last that had it
    recent = [s for s, e in asked.items() if e.at > now - IN_ORDER]
    still_open = [s for s in recent if not any(e.kind == "answered" for e in ledger.events(s))]
    return still_open[0] if len(still_open) == 1 and not answer.message else ""


def _names(answer: Answer, events: Sequence[Event]) -> bool:
    """Does the answer name the question of these events?"""
    if answer.message and any(e.kind == "sending" and e.data["message"] == answer.message for e in events):
        return True
    header = next((e.data.get("header") or {} for e in reversed(events) if e.kind == "staged"), {})
    for mine, theirs in BY_HEADER.get(answer.layout, ()):
        if answer.header.get(mine):
            return _plain(answer.header[mine]) == _plain(header.get(theirs, ""))
    return False


def _plain(value: str) -> str:
    """Running numbers are the same with and without their zeros."""
    return str(int(value)) if value.isascii() and value.isdigit() else value.strip()


def _say_answers(ledger: Ledger, answer: Answer, question: str) -> None:
    """Once for each question, or for none."""
    fields = {mine for mine, _ in BY_HEADER.get(answer.layout, ())}
    data = {
        "of": answer.of, "question": question, "layout": answer.layout, "message": answer.message,
        "header": {k: v for k, v in answer.header.items() if k in fields}, "outcome": answer.outcome,
        "detail": answer.detail,
    }  # fmt: skip
    while True:
        events = ledger.events(answer.interchange)
        if any(e.kind == "answers" and e.data["question"] == question for e in events):
            return
        if _append(ledger, events, "answers", data, answer.integration):
            return


def _from_event(event: Event) -> Answer:
    d = event.data
    return Answer(
        interchange=event.stream, integration=event.integration, of=d["of"], layout=d["layout"], header=d["header"],
        message=d["message"], outcome=d["outcome"], detail=d["detail"],
    )  # fmt: skip


def _tie(ledger: Ledger, question: str, answer: Answer) -> None:
    """On the question's side: it is answered, which is a receipt, and proves that it arrived."""
    while True:
        events = ledger.events(question)
        if any(e.kind == "answered" and e.data["by"] == answer.interchange for e in events):
            break
        if _append(ledger, events, "answered", {"by": answer.interchange}):
            break
    reference = answer.interchange
    _record(ledger, question, {
        "kind": "answer", "outcome": answer.outcome, "reference": reference, "detail": answer.detail, "by": reference,
    })  # fmt: skip
    events = ledger.events(question)
    if not is_delivered(events) and any(e.kind == "sending" for e in events):
        say_delivered(ledger, question, receipt=reference)


def _append(ledger: Ledger, events: Sequence[Event], kind: str, data: Mapping[str, Any], integration: str = "") -> bool:
    try:
        ledger.append(events[0].stream, kind, data, integration=integration or events[0].integration,
                      after=events[-1].seq)  # fmt: skip
    except Conflict:
        return False
    return True
