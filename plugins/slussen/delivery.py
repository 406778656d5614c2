"""Delivery, once and whole: the fenced protocol, written as a generator of steps.

Every attempt appends a claim to the ledger by compare-and-set and uploads under a temporary name of its own. It says
``uploaded`` only while its claim is the last. A later attempt doesn't upload again: it takes the uploaded file over by
*renaming* it to its own temporary name, which fences every earlier attempt: their rename to the final name finds no
file. Temporary names only ever move forward, so a forward scan can't miss the file; when all are gone, the file stands
under the final name or was taken from there, and the attempt says ``delivered (inferred)``, again only while its claim
is the last.

``deliver`` yields the name of each step before it does it, so that tests can stop, kill and interleave attempts at
every one. What remains: a receiver that deletes our temporary files makes an inferred delivery false, which is why it
is marked; on plain FTP a foreign writer can slip in between the look and the rename; on z/OS, an attempt that sets the
old content aside while a later one has already delivered puts it back, and the name is missing for that moment.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from slussen.errors import NameTaken, TransportError
from slussen.ledger import Conflict, Event, Ledger
from slussen.payloads import PayloadStore
from slussen.transports import Exists, Missing, Transport

State = Literal["delivered", "inferred", "already", "fenced"]
Steps = Generator[str, None, "Outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is to stand at the partner, and what may be replaced there: nothing, or what we delivered ourselves."""

    interchange: str
    integration: str
    name: str
    sha256: str
    bytes: int
    existing: Literal["hold", "replace_ours"] = "hold"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. ``fenced``: another one has taken over; only the ledger says whether it got through."""

    state: State
    attempt: int
    name: str


def drive(steps: Steps) -> Outcome:
    """Do all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def deliver(d: Delivery, store: PayloadStore, to: Transport, ledger: Ledger) -> Steps:
    """One attempt to deliver.

    Raises:
        NameTaken: another file stands under the final name.
        TransportError: the partner failed in a way that passes; the next attempt goes on from here.
    """
    attempt = _Attempt(d, store, to, ledger)
    yield "claim"
    if not attempt.claim():
        yield "tidy"
        attempt.tidy()
        return attempt.end("already")
    if attempt.uploaded_by is None:
        yield "look"
        if attempt.stands_there():
            return (yield from attempt.infer())
        yield "upload"
        attempt.upload()
        yield "verify"
        if not attempt.verify():
            return attempt.end("fenced")
        if attempt.previous and not to.replaces:
            yield "set aside"
            if not attempt.set_aside():
                return attempt.end("fenced")
        yield "uploaded"
        if not attempt.say_uploaded():
            return attempt.end("fenced")
    else:
        for earlier in range(attempt.uploaded_by, attempt.number):
            yield "take over"
            if attempt.take_over(earlier):
                break
        else:
            return (yield from attempt.infer())
    yield "rename"
    if not attempt.rename():
        return attempt.end("fenced")
    yield "delivered"
    state = attempt.say_delivered(inferred=False, only_last=False)
    yield "tidy"
    attempt.tidy()
    return attempt.end(state)


class _Attempt:
    def __init__(self, d: Delivery, store: PayloadStore, to: Transport, ledger: Ledger) -> None:
        self.d, self.store, self.to, self.ledger = d, store, to, ledger
        self.number = 0
        self.uploaded_by: int | None = None
        self.previous = ""  # the interchange whose content may be replaced

    def end(self, state: State) -> Outcome:
        return Outcome(state, self.number, self.d.name)

    def temporary(self, attempt: int) -> str:
        return self.to.temporary(self.d.name, self.d.interchange, attempt)

    def claim(self) -> bool:
        """Become the last claimant; False when it has been delivered."""
        while True:
            events = self.ledger.events(self.d.interchange)
            if any(e.kind == "delivered" for e in events):
                return False
            self.number = _last_claim(events) + 1
            uploaded = [e.data["attempt"] for e in events if e.kind == "uploaded"]
            self.uploaded_by = uploaded[-1] if uploaded else None
            if self._append("claim", events, attempt=self.number):
                return True

    def stands_there(self) -> bool:
        """Does our content stand under the final name already?

        Raises:
            NameTaken: something else does, and it isn't ours to replace.
        """
        if not self.to.exists(self.d.name):
            return False
        found = self.to.digest(self.d.name)
        if self.d.existing == "replace_ours":
            ours = [e for e in self.ledger.kind("delivered", integration=self.d.integration)
                    if e.data["name"] == self.d.name and e.stream != self.d.interchange]  # fmt: skip
            if ours and ours[-1].data["sha256"] == found:
                self.previous = ours[-1].stream
                return False
        if found == self.d.sha256:
            return True
        raise NameTaken(
            f"{self.d.interchange}: a different file stands under {self.d.name} at the partner; nothing was "
            "overwritten. Next: find out whose it is, have it moved away, then clear deliver"
        )

    def upload(self) -> None:
        with self.store.open(self.d.sha256) as payload:
            self.to.put(self.temporary(self.number), payload)

    def verify(self) -> bool:
        """Is the upload whole? False when it was tidied away by an attempt that has delivered since."""
        mine = self.temporary(self.number)
        try:
            whole = self.to.verify(mine, self.d.bytes, self.d.sha256)
        except Missing:
            return False
        if not whole:
            self.to.remove(mine)
            raise TransportError(f"{self.d.interchange}: what arrived for {self.d.name} is not whole")
        return True

    def set_aside(self) -> bool:
        """Clear the name of the previous content, which keeps until the next delivery; False when I was fenced."""
        aside = self.to.aside(self.d.name, self.previous)
        try:
            self.to.rename(self.d.name, aside, replace=False)
        except Missing:  # taken by the receiver
            return True
        except Exists:
            # Another attempt has set it aside: what stands there now is that attempt's, or a stranger's.
            return self._still_last()
        if self._still_last():
            return True
        self.to.rename(aside, self.d.name, replace=False)
        return False

    def say_uploaded(self) -> bool:
        while True:
            events = self.ledger.events(self.d.interchange)
            if _last_claim(events) != self.number or any(e.kind in ("uploaded", "delivered") for e in events):
                self.to.remove(self.temporary(self.number))
                return False
            if self._append("uploaded", events, attempt=self.number, temporary=self.temporary(self.number)):
                return True

    def take_over(self, earlier: int) -> bool:
        try:
            self.to.rename(self.temporary(earlier), self.temporary(self.number), replace=False)
        except Missing:
            return False
        return True

    def rename(self) -> bool:
        try:
            self.to.rename(
                self.temporary(self.number), self.d.name, replace=self.d.existing == "replace_ours" and self.to.replaces
            )
        except Missing:
            return False
        except Exists:
            raise NameTaken(
                f"{self.d.interchange}: a file has appeared under {self.d.name} at the partner; ours waits under a "
                "temporary name. Next: have it moved away, then clear deliver"
            ) from None
        return True

    def say_delivered(self, *, inferred: bool, only_last: bool) -> State:
        """Write that it is delivered, unless it is written; an inference only while my claim is the last."""
        while True:
            events = self.ledger.events(self.d.interchange)
            if any(e.kind == "delivered" for e in events):
                return "already"
            if only_last and _last_claim(events) != self.number:
                return "fenced"
            if self._append(
                "delivered", events, attempt=self.number, name=self.d.name, inferred=inferred,
                sha256=self.d.sha256, bytes=self.d.bytes,
            ):  # fmt: skip
                return "inferred" if inferred else "delivered"

    def infer(self) -> Steps:
        """Say that it was delivered, though nobody here saw it."""
        yield "infer"
        state = self.say_delivered(inferred=True, only_last=True)
        if state != "fenced":
            yield "tidy"
            self.tidy()
        return self.end(state)

    def tidy(self) -> None:
        """Remove what attempts that were cut off left, now that it is delivered; and the generation before the last."""
        for attempt in range(1, _last_claim(self.ledger.events(self.d.interchange)) + 1):
            self.to.remove(self.temporary(attempt))
        if self.to.replaces:
            return
        delivered = [e for e in self.ledger.kind("delivered", integration=self.d.integration)
                     if e.data["name"] == self.d.name and e.stream != self.d.interchange]  # fmt: skip
        if len(delivered) > 1:
            self.to.remove(self.to.aside(self.d.name, delivered[-2].stream))

    def _still_last(self) -> bool:
        events = self.ledger.events(self.d.interchange)
        return _last_claim(events) == self.number and not any(e.kind == "delivered" for e in events)

    def _append(self, kind: str, events: list[Event], **data: object) -> bool:
        try:
            self.ledger.append(
                self.d.interchange, kind, data, integration=self.d.integration, after=events[-1].seq if events else 0
            )
        except Conflict:
            return False
        return True


def _last_claim(events: list[Event]) -> int:
    return max((int(e.data["attempt"]) for e in events if e.kind == "claim"), default=0)
