"""Delivery over a message protocol and its receipts, as a model: what is handed over stays handed over.

An attempt writes ``sending`` by compare-and-set before it hands the message over. Whoever finds an open ``sending`` of
another attempt can't know what became of it. Where the other end knows an id again (SHS) it sends the same id; where it
doesn't (X.400) the interchange is *unknown* until its receipt settles it or a person decides. Receipts come early,
late, twice, or not at all; a watchdog says once that one is overdue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MISTAKES = (
    "resent blindly",
    "sent before it is written",
    "sending without being the last",
    "a lost reply is taken for a refusal",
    "a lost reply is taken for delivered",
    "a refusal is not written down",
    "an id of its own for every attempt",
    "a receipt counts each time it comes",
    "an early receipt is dropped",
    "a rejection is taken for a receipt",
    "a receipt settles nothing",
    "overdue is said each time",
    "overdue although it has come",
)
RECEIPTS = ("accepted", "rejected")


class Attempt(NamedTuple):
    at: str = "claim"
    number: int = 0


class State(NamedTuple):
    """Attempts; the ledger (last claim, the open ``sending``, what it says); the other end (messages taken, messages
    stored); receipts under way and those in the ledger."""

    attempts: tuple[Attempt, ...]
    last: int = 0
    sending: int = 0
    says: str = ""  # "", "unknown", "delivered"
    accepted: int = 0  # times that the other end took a message
    stored: int = 0  # messages that it has, after those whose id it knew
    fate: str = ""  # what the receiver makes of it: it says the same each time it is asked
    under_way: int = 0  # receipts that wait at the endpoint
    sent_back: int = 0  # receipts that were ever made
    receipt: str = ""  # in the ledger
    written: int = 0
    overdue: int = 0
    due: bool = False
    refused: int = 0  # the attempt that knows that it was refused
    wrong: str = ""


class Messages:
    """``attempts`` overlapping ones; ``resends``: the other end knows an id again."""

    def __init__(self, attempts: int, *, resends: bool, broken: str = "") -> None:
        self.count, self.resends, self.broken = attempts, resends, broken
        self.name = (
            f"messages, {attempts} attempts, {'an id is known again' if resends else 'an id is not known again'}"
        )

    def initial(self) -> State:
        return State((Attempt(),) * self.count)

    def moves(self, s: State) -> Iterator[tuple[str, State]]:
        for n, a in enumerate(s.attempts):
            if n and a.at == "claim" and s.attempts[n - 1].at == "claim":
                continue
            if a.at != "end":
                for label, new, then in self._steps(s, a):
                    yield f"{n}:{label}", new._replace(attempts=(*s.attempts[:n], then, *s.attempts[n + 1 :]))
        yield from self._surroundings(s)

    def _surroundings(self, s: State) -> Iterator[tuple[str, State]]:
        if s.stored and s.sent_back < 2:  # twice is enough to be a duplicate
            for fate in RECEIPTS if not s.fate else (s.fate,):
                yield f"receipt {fate}", s._replace(fate=fate, under_way=s.under_way + 1, sent_back=s.sent_back + 1)
        if s.under_way:
            yield "read the receipt", self._read(s)
            yield "read the receipt, killed before it is put away", self._read(s)._replace(under_way=s.under_way)
        if not s.due:
            yield "the term ends", s._replace(due=True)
        if s.due:
            yield "watchdog", self._watch(s)

    def _steps(self, s: State, a: Attempt) -> Iterator[tuple[str, State, Attempt]]:
        end = a._replace(at="end")
        match a.at:
            case "claim":
                if s.says == "delivered" or (s.says == "unknown" and not self.resends):
                    yield "already", s, end
                else:
                    yield "claim", s._replace(last=s.last + 1), Attempt("sending", s.last + 1)
            case "sending":
                yield from self._sending(s, a)
            case "send":
                yield from self._send(s, a)
            case "write sending":  # the mistake: only now
                yield "sending", s._replace(sending=a.number), a._replace(at="delivered")
            case "refused":
                written = self.broken != "a refusal is not written down" and s.sending == a.number
                yield "not taken", (self._not_sent(s) if written else s)._replace(refused=a.number), end
            case "unknown":
                if self.broken == "a lost reply is taken for delivered":
                    yield "delivered", s._replace(says="delivered"), end
                elif self.broken == "a lost reply is taken for a refusal":
                    yield "not taken", self._not_sent(s), end
                else:
                    yield "unknown", self._unknown(s), end
            case "delivered":
                yield "delivered", s._replace(says="delivered"), end

    def _sending(self, s: State, a: Attempt) -> Iterator[tuple[str, State, Attempt]]:
        end = a._replace(at="end")
        if s.says == "delivered" or (s.last != a.number and self.broken != "sending without being the last"):
            yield "fenced", s, end
        elif self.broken == "sent before it is written":
            yield "send first", s, a._replace(at="send")
        elif s.sending and not self.resends and self.broken not in (
            "resent blindly", "sending without being the last",
        ):  # fmt: skip
            yield "who knows", self._unknown(s), end
        else:
            yield "sending", s._replace(sending=a.number), a._replace(at="send")

    def _send(self, s: State, a: Attempt) -> Iterator[tuple[str, State, Attempt]]:
        known = s.stored > 0 and self.resends and self.broken != "an id of its own for every attempt"
        taken = s._replace(accepted=s.accepted + 1, stored=s.stored if known else s.stored + 1)
        after = "write sending" if self.broken == "sent before it is written" else "delivered"
        yield "taken", taken, a._replace(at=after)
        yield "taken, reply lost", taken, a._replace(at="unknown")
        yield "not taken, reply lost", s, a._replace(at="unknown")
        yield "refused", s, a._replace(at="refused")

    def _unknown(self, s: State) -> State:
        """Unless the ledger knows better by now: its receipt may have been faster."""
        if s.says:
            return s
        settled = s.receipt and self.broken != "an early receipt is dropped"
        return s._replace(says="delivered" if settled else "unknown")

    def _not_sent(self, s: State) -> State:
        """It is certain now: what another attempt had to call unknown may be sent after all."""
        return s._replace(sending=0, says="" if s.says == "unknown" else s.says)

    def _read(self, s: State) -> State:
        """Written to the ledger by compare-and-set under its own reference, then put away."""
        s = s._replace(under_way=s.under_way - 1)
        if s.receipt and self.broken != "a receipt counts each time it comes":
            return s
        if not s.says and self.broken == "an early receipt is dropped":
            return s
        outcome = "accepted" if self.broken == "a rejection is taken for a receipt" else s.fate
        settled = s._replace(receipt=outcome, written=s.written + 1)
        return settled if self.broken == "a receipt settles nothing" else settled._replace(says="delivered")

    def _watch(self, s: State) -> State:
        if s.receipt:
            return s._replace(wrong="overdue although it has come") if self.broken == MISTAKES[-1] else s
        if s.overdue and self.broken != "overdue is said each time":
            return s
        return s._replace(overdue=min(s.overdue + 1, 2)) if s.says else s

    def bad(self, s: State) -> str:
        if s.stored > 1:
            return "the other end has it twice"
        if s.says == "delivered" and not s.stored:
            return "the ledger says delivered, and nothing was"
        if s.written > 1:
            return "a receipt was written twice"
        if s.receipt and s.receipt != s.fate:
            return "the ledger says something else than the receipt"
        return "overdue was said twice" if s.overdue > 1 else s.wrong

    def settle(self, s: State) -> str:
        """All receipts that were made are read, the task is cleared, and the receiver answers what it has."""
        for _ in range(3):
            while s.under_way:
                s = self._read(s)
            s = self._watch(self._alone(s))
            if s.stored and not s.sent_back:
                s = s._replace(fate="accepted", under_way=1, sent_back=1)
        if wrong := self.bad(s):
            return f"later: {wrong}"
        if s.receipt and s.says != "delivered":
            return "later: its receipt is here, and it isn't settled"
        if s.fate and not s.receipt:
            return "later: a receipt was lost"
        if not s.stored and s.says != "unknown":
            return "later: it was lost, and nobody is told"
        if not s.stored and s.says == "unknown" and s.sending in (0, s.refused):
            return "later: unknown, although it is certain that nothing was sent"
        return ""

    def _alone(self, s: State) -> State:
        a = Attempt()
        while a.at != "end":
            _, s, a = next(iter(self._steps(s, a)))
        return s
