"""Attempts of the real message delivery, moved by hand step by step, with the real handling of receipts beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any, BinaryIO

from slussen import receipts
from slussen.errors import TransportError
from slussen.ledger import Event
from slussen.messaging import Dispatch, Outcome, Steps, dispatch, drive, in_doubt
from slussen.transports import Message, Notice, Unknown
from tests.model.world import Book, Move, sha

CONTENT = b"content"
DISPATCH = Dispatch(
    interchange="skv-1", integration="skv", connection="skv_shs", name="F", sha256=sha(CONTENT), bytes=len(CONTENT)
)


class Posts(Book):
    """The ledger, with what is asked of it about messages."""

    def sending(self, message: str) -> Event | None:
        found = [e for e in self.all if e.kind == "sending" and e.data["message"] == message]
        return found[-1] if found else None

    def has_receipt(self, stream: str, reference: str) -> bool:
        return any(e.stream == stream and e.data.get("reference") == reference for e in self.all)


class Gateway:
    """The other end in memory: ``taken`` counts what it took, ``stored`` are the ids that it has."""

    def __init__(self, *, resends: bool) -> None:
        self.resends, self.fault = resends, ""
        self.stored: list[str] = []
        self.ids = 0

    def message_id(self, interchange: str) -> str:
        return f"<{interchange}>"

    def send(self, message: Message, source: BinaryIO) -> str:
        fault, self.fault = self.fault, ""
        if fault == "refused":
            raise TransportError("put off")
        if fault != "nowhere" and not (self.resends and message.id in self.stored):
            self.stored.append(message.id)
        if fault in ("lost", "nowhere"):
            raise Unknown("its reply was lost")
        return "queued"


@dataclass
class Attempt:
    steps: Any
    pending: str = "start"
    ended: Outcome | Exception | None = None

    def go(self) -> None:
        try:
            self.pending = next(self.steps)
        except StopIteration as end:
            self.ended = end.value
        except Exception as error:
            self.ended = error

    def mark(self) -> tuple[object, ...]:
        if self.ended is not None:
            return (type(self.ended).__name__, getattr(self.ended, "state", ""))
        frame = self.steps.gi_frame
        attempt = frame.f_locals.get("attempt")
        return (frame.f_lasti, attempt and attempt.number)


@dataclass(frozen=True, kw_only=True)
class Posting:
    """So many overlapping attempts; ``resends``: the other end knows a message's id again."""

    attempts: int
    resends: bool
    protocol: Callable[..., Steps] = dispatch

    def begin(self) -> Office:
        return Office(self)


@dataclass
class Office:
    """A fresh state of a setting."""

    setting: Posting
    book: Any = field(default_factory=Posts)
    under_way: int = 0  # receipts that were made and not yet read
    made: int = 0
    refused: set[int] = field(default_factory=set)  # attempts that know that theirs was not taken

    def __post_init__(self) -> None:
        self.partner: Any = Gateway(resends=self.setting.resends)
        self.book.append("skv-1", "content", integration="skv")
        self.attempts = [Attempt(self.fresh()) for _ in range(self.setting.attempts)]
        for attempt in self.attempts:
            attempt.go()

    def fresh(self) -> Steps:
        store: Any = SimpleNamespace(open=lambda digest: BytesIO(CONTENT))
        return self.setting.protocol(DISPATCH, store, self.partner, self.book)

    def moves(self) -> list[Move]:
        found: list[Move] = []
        for n, attempt in enumerate(self.attempts):
            if attempt.ended is None:
                found.append(("go", n))
                if attempt.pending == "send":
                    found += [("lost", n), ("nowhere", n), ("refused", n)]
        if self.partner.stored and self.made < 2:
            found.append(("receipt", -1))
        if self.under_way:
            found += [("read", -1), ("read, not put away", -1)]
        return found

    def move(self, move: Move) -> None:
        what, n = move
        if what == "receipt":
            self.made += 1
            self.under_way += 1
        elif what.startswith("read"):
            self.read()
            self.under_way -= what == "read"
        else:
            self.partner.fault = "" if what == "go" else what
            attempt = self.attempts[n]
            said = attempt.pending
            number = attempt.steps.gi_frame.f_locals["attempt"].number
            attempt.go()
            self.partner.fault = ""
            if said == "unsent":
                self.refused.add(number)

    def read(self) -> None:
        notice = Notice("r1", self.partner.stored[0], "delivery", "accepted")
        receipts.take(self.book, "skv_shs", notice)

    def play(self, moves: Sequence[Move]) -> Office:
        for move in moves:
            self.move(move)
        return self

    def mark(self) -> tuple[object, ...]:
        book = tuple((e.kind, e.data.get("attempt"), e.data.get("receipt")) for e in self.book.all)
        return (book, tuple(self.partner.stored), self.made, min(self.under_way, 2), *(a.mark() for a in self.attempts))

    def says(self, kind: str) -> list[Event]:
        return [e for e in self.book.events("skv-1") if e.kind == kind]

    def check(self) -> None:
        """What must hold in every state."""
        assert len(self.partner.stored) <= 1, "the partner has it twice"
        delivered = self.says("delivered")
        assert len(delivered) <= 1, "the ledger says it twice"
        assert not delivered or self.partner.stored, "the ledger says delivered, and nothing was"
        assert len(self.says("receipt")) <= 1, "a receipt counts twice"
        for attempt in self.attempts:
            if isinstance(attempt.ended, Outcome) and attempt.ended.state in ("delivered", "already"):
                assert delivered, "success was reported, and the ledger doesn't say so"
            if isinstance(attempt.ended, Exception):
                assert isinstance(attempt.ended, TransportError), f"an attempt failed: {attempt.ended!r}"

    def settle(self) -> None:
        """All attempts are killed, the task is cleared until nothing changes; then the receipts are read."""
        outcome = None
        for _ in range(2):
            outcome = drive(self.fresh())
        self.check()
        if self.setting.resends:
            assert self.says("delivered"), "it wasn't sent"
        elif not self.says("delivered"):
            assert outcome is not None
            assert outcome.state == "unknown", "it is neither delivered nor unknown"
            assert self.says("unknown"), "unknown, and the ledger doesn't say so"
            doubts = {e.data["attempt"] for e in in_doubt(self.book.events("skv-1"))}
            assert doubts - self.refused, "unknown, although it is certain that nothing was sent"
        if self.partner.stored:
            self.read()
            assert self.says("delivered"), "its receipt is here, and doesn't settle it"
            assert drive(self.fresh()).state == "already"
        self.check()
