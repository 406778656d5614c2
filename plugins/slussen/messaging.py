"""Delivery over a message protocol: a message with a deterministic id, handed over once, as a generator of steps.

A message protocol has no rename, so nothing there can fence a late attempt; the ledger does it. An attempt appends its
claim, and ``sending`` only while its claim is the last and no other attempt's message may be out: both by
compare-and-set. What is known after the sending is appended: ``delivered``, ``unsent`` (it was certainly not taken:
another attempt may send), or ``unknown``. An attempt that finds a ``sending`` with nothing after it (that attempt was
killed, or is at it) doesn't know either.

Where the other end knows a message's id again (SHS), an unknown message is sent again under the same id: it is stored
once, whoever else is sending it at that moment. Where it doesn't (X.400), an unknown message is never sent again: its
receipt settles it (``receipts.py``), or a person who has asked the partner (``settle``).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slussen.errors import CallError, SlussenError
from slussen.ledger import Conflict
from slussen.ledger.states import fold
from slussen.transports import Doubtful, Message, Unknown

if TYPE_CHECKING:
    from slussen.ledger import Event, Ledger
    from slussen.payloads import PayloadStore
    from slussen.transports import Messenger

State = Literal["delivered", "already", "unknown", "fenced"]
Steps = Generator[str, None, "Outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """What is sent, and over which connection; ``answers`` is the id of the message that it answers."""

    interchange: str
    integration: str
    connection: str
    name: str
    sha256: str
    bytes: int
    records: int = 0
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: ``delivered`` by this one, ``already`` by another or by its receipt; ``unknown``: the
    receipt will tell; ``fenced``: another attempt is at it, and the caller must not report success."""

    state: State
    attempt: int
    message: str


def drive(steps: Steps) -> Outcome:
    """Do all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def dispatch(d: Dispatch, store: PayloadStore, to: Messenger, ledger: Ledger) -> Steps:
    """One attempt to send.

    Raises:
        TransportError: it failed in a way that passes; the next attempt sends.
        TransportRefused: the other end said no for good; Doubtful: somebody else did, and it may have arrived.
        TechnicalError: the payload or the ledger failed.
    """
    attempt = _Attempt(d, store, to, ledger)
    yield "claim"
    if (known := attempt.claim()) != "go":
        return attempt.end(known)
    yield "sending"
    match attempt.say_sending():
        case "fenced":
            return attempt.end("fenced")
        case "already":
            return attempt.end("already")
        case "in doubt":
            yield "unknown"
            attempt.say_unknown()
            return attempt.end("unknown")
    yield "send"
    try:
        reference = attempt.send()
    except (Unknown, Doubtful) as error:
        yield "unknown"
        attempt.say_unknown()
        if to.resends or isinstance(error, Doubtful):
            raise
        return attempt.end("unknown")
    except SlussenError:  # the payload's faults too: it was certainly not taken
        yield "unsent"
        attempt.say_unsent()
        raise
    yield "delivered"
    attempt.say_delivered(reference)
    return attempt.end("delivered")


def settle(ledger: Ledger, interchange: str, *, arrived: bool, by: str) -> None:
    """A person who has asked the partner says whether an unknown message has arrived: it counts, or may be sent again.

    Raises:
        CallError: it isn't unknown.
    """
    events = ledger.events(interchange)
    if is_delivered(events) or not in_doubt(events):
        raise CallError(f"{interchange}: nothing about it is unknown")
    last = in_doubt(events)[-1]
    if arrived:
        say_delivered(ledger, interchange, by=by)
        return
    for sending in in_doubt(events):
        data = {"attempt": sending.data["attempt"], "message": last.data["message"], "by": by}
        ledger.append(interchange, "unsent", data, integration=last.integration)


def say_delivered(ledger: Ledger, interchange: str, **why: object) -> bool:
    """Write that a message which was handed over is delivered, with why we know, unless it is written; False then."""
    while True:
        events = ledger.events(interchange)
        if is_delivered(events):
            return False
        last = next(e for e in reversed(events) if e.kind == "sending")
        data = {k: last.data[k] for k in ("attempt", "message", "name", "sha256", "bytes")}
        try:
            ledger.append(interchange, "delivered", {**data, "inferred": False, **why},
                          integration=last.integration, after=events[-1].seq)  # fmt: skip
        except Conflict:
            continue
        return True


def in_doubt(events: Sequence[Event]) -> list[Event]:
    """The ``sending`` of attempts whose message may be out: nothing says that it isn't."""
    unsent = {e.data["attempt"] for e in events if e.kind == "unsent"}
    return [e for e in events if e.kind == "sending" and e.data["attempt"] not in unsent]


def is_delivered(events: Sequence[Event]) -> bool:
    return any(e.kind == "delivered" for e in events)


class _Attempt:
    def __init__(self, d: Dispatch, store: PayloadStore, to: Messenger, ledger: Ledger) -> None:
        self.d, self.store, self.to, self.ledger = d, store, to, ledger
        self.number, self.message = 0, ""

    def end(self, state: State) -> Outcome:
        if state in ("fenced", "unknown") and is_delivered(self._events()):
            state = "already"
        return Outcome(state, self.number, self.message)

    def claim(self) -> Literal["go", "already", "unknown"]:
        """Become the last claimant, unless it has been delivered, or may have been and only its receipt can tell."""
        while True:
            events = self._events()
            # A message has the id of the first attempt, whatever key makes ids now.
            known = next((str(e.data["message"]) for e in events if e.kind == "sending"), "")
            self.message = known or self.to.message_id(self.d.interchange)
            if is_delivered(events):
                return "already"
            if events and not self.to.resends and fold(events).state == "unknown":
                return "unknown"
            self.number = _last_claim(events) + 1
            if self._append("claim", events, attempt=self.number):
                return "go"

    def say_sending(self) -> Literal["go", "fenced", "already", "in doubt"]:
        while True:
            events = self._events()
            if is_delivered(events):
                return "already"
            if _last_claim(events) != self.number:
                return "fenced"
            if in_doubt(events) and not self.to.resends:
                return "in doubt"
            if self._append(
                "sending", events, attempt=self.number, message=self.message, connection=self.d.connection,
                name=self.d.name, sha256=self.d.sha256, bytes=self.d.bytes,
            ):  # fmt: skip
                return "go"

    def send(self) -> str:
        d = self.d
        message = Message(self.message, d.name, d.sha256, d.bytes, d.records, d.answers)
        with self.store.open(d.sha256) as payload:
            return self.to.send(message, payload)

    def say_unknown(self) -> None:
        """Once for each attempt in doubt, and not when it has been settled meanwhile."""
        while True:
            events = self._events()
            said = {e.data["attempt"] for e in events if e.kind == "unknown"}
            doubts = [e for e in in_doubt(events) if e.data["attempt"] not in said]
            if is_delivered(events) or not doubts:
                return
            self._append("unknown", events, attempt=doubts[0].data["attempt"], message=self.message)

    def say_unsent(self) -> None:
        self.ledger.append(
            self.d.interchange, "unsent", {"attempt": self.number, "message": self.message},
            integration=self.d.integration,
        )  # fmt: skip

    def say_delivered(self, reference: str) -> None:
        more = {"reference": reference} if reference else {}
        say_delivered(self.ledger, self.d.interchange, **more)

    def _events(self) -> list[Event]:
        return self.ledger.events(self.d.interchange)

    def _append(self, kind: str, events: Sequence[Event], **data: object) -> bool:
        try:
            self.ledger.append(
                self.d.interchange, kind, data, integration=self.d.integration, after=events[-1].seq if events else 0
            )
        except Conflict:
            return False
        return True


def _last_claim(events: Sequence[Event]) -> int:
    return max((int(e.data["attempt"]) for e in events if e.kind == "claim"), default=0)
