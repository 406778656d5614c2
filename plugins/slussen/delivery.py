"""Delivery, once and whole: the fenced protocol, written as a generator of steps.

Every attempt appends a claim to the ledger by compare-and-set and uploads under a temporary name of its own. It says
``uploaded`` only while its claim is the last. A later attempt doesn't upload again: it takes the uploaded file over by
*renaming* it to its own temporary name, which fences every earlier attempt: their rename to the final name finds no
file. Temporary names only ever move forward, so a forward scan can't miss the file; when all are gone, the file stands
under the final name or was taken from there, and the attempt says so, again only while its claim is the last:
``delivered``, or ``delivered (inferred)`` when it isn't to be seen.

Where a rename refuses an existing name (z/OS) and the content there may be replaced, it is first set aside, under a
name that belongs to the *interchange that brought it*. That name is never free again once an attempt has passed: the
old content stands there, or an empty marker does. So an attempt that wakes too late can't set the new content aside.
What was set aside stays as a backup until the next interchange has been delivered, its name for eight more.

``deliver`` yields the name of each step before it does it, one effect a step, so that tests can stop, kill and
interleave attempts at every one.

What remains: a receiver that deletes our temporary files makes an inferred delivery false, which is why it is marked.
On plain FTP, and in a directory whose file system can't refuse a taken name, a foreign writer can slip in between the
look and the rename. On z/OS the name is empty between the setting aside and the rename, and stays so if the interchange
is given up just there; an attempt that slept through ten interchanges moves the content away for as long as it takes to
read it and put it back. Two interchanges of one name must not be under way at once (``shapes.py``): one that
was overtaken is held when it is tried again, but when it sleeps right before its rename, that comes after the newer
one's: on z/OS only if the newer was taken meanwhile, in a directory and on FTP in any case.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, TypeVar

from slussen.errors import NameTaken, TransportError, TransportRefused
from slussen.ledger import Conflict, Event, Ledger
from slussen.payloads import PayloadStore
from slussen.transports import Exists, Missing, Transport

MARKERS = 8  # interchanges for which a name that content was set aside under stays taken
State = Literal["delivered", "inferred", "already", "fenced"]
Steps = Generator[str, None, "Outcome"]
T = TypeVar("T")


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
    """How an attempt ended.

    ``delivered`` and ``inferred`` by this attempt, ``already`` by another: the ledger says so. ``fenced``: another one
    has taken over, and nobody knows yet whether it will get through; the caller must not report success.
    """

    state: State
    attempt: int
    name: str


def drive(steps: Generator[str, None, T]) -> T:
    """Do all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: T = end.value
            return outcome


def deliver(d: Delivery, store: PayloadStore, to: Transport, ledger: Ledger) -> Steps:
    """One attempt to deliver.

    Raises:
        NameTaken: another file stands under the final name, or a newer one of ours was delivered there.
        TransportError: the partner failed in a way that passes; the next attempt goes on from here.
        TransportRefused: the partner said no for good.
        TechnicalError: the payload or the ledger failed.
    """
    attempt = _Attempt(d, store, to, ledger)
    state = (yield from attempt.bring()) or (yield from attempt.place())
    return (yield from attempt.finish(state))


class _Attempt:
    """One attempt: ``bring`` the content, ``place`` it under its name, ``finish``; each is a part of the steps."""

    def __init__(self, d: Delivery, store: PayloadStore, to: Transport, ledger: Ledger) -> None:
        self.d, self.store, self.to, self.ledger = d, store, to, ledger
        self.number = 0
        self.uploaded_by: int | None = None
        self.previous: Event | None = None  # the delivery whose content may be replaced

    def bring(self) -> Generator[str, None, State | None]:
        """Have the whole content at the partner under a temporary name of ours: None, and it can be placed.

        Else how the attempt ends here: it has been delivered, or another attempt has taken over.
        """
        yield "claim"
        if not self.claim():
            return "already"
        if self.uploaded_by is None:
            yield "look"
            if self.stands_there():
                yield "infer"
                return self.say_delivered(inferred=True, only_last=True)
            yield "upload"
            self.upload()
            yield "verify"
            self.verify()
            if self.previous is not None and not self.to.replaces:
                yield from self.clear_the_name(self.previous)
            yield "uploaded"
            if not self.say_uploaded():
                yield "withdraw"
                self.withdraw()
                return "fenced"
            return None
        for earlier in range(self.uploaded_by, self.number):
            yield "take over"
            if self.take_over(earlier):
                return None
        yield "look where it went"
        inferred = not self.is_seen()
        if inferred and self.d.bytes:
            for name in self.cut_short():
                yield "give it its whole name"
                if self.mend(name):
                    return None
        yield "infer"
        return self.say_delivered(inferred=inferred, only_last=True)

    def place(self) -> Generator[str, None, State]:
        """Give what was brought its final name, and say so."""
        if self.d.existing == "replace_ours" and self.to.replaces:
            yield "look again"
            self.may_replace()
        yield "rename"
        if not self.rename():
            return "fenced"
        yield "delivered"
        return self.say_delivered(inferred=False, only_last=False)

    def end(self, state: State) -> Outcome:
        if state == "fenced" and _delivered(self._events()):
            state = "already"
        return Outcome(state, self.number, self.d.name)

    def temporary(self, attempt: int) -> str:
        return self.to.temporary(self.d.name, self.d.interchange, attempt)

    def marker(self, attempt: int) -> str:
        return self.to.temporary(self.d.name, f"{self.d.interchange}.marker", attempt)

    def aside(self, previous: Event) -> str:
        return self.to.aside(self.d.name, previous.stream)

    def claim(self) -> bool:
        """Become the last claimant; False when it has been delivered."""
        while True:
            events = self._events()
            if _delivered(events):
                return False
            if self.d.existing == "replace_ours":
                self.previous = self._previous(events)
            self.number = _last_claim(events) + 1
            self.uploaded_by = next((int(e.data["attempt"]) for e in events if e.kind == "uploaded"), None)
            if self._append("claim", events, attempt=self.number):
                return True

    def stands_there(self) -> bool:
        """Does our content stand under the final name already?

        Raises:
            NameTaken: something else does, and it isn't ours to replace.
        """
        match self._found():
            case None:
                return False
            case found if self.previous is not None and found == self.previous.data["sha256"]:
                return False
            case self.d.sha256:
                return True
        raise self._taken()

    def may_replace(self) -> None:
        """Raises NameTaken when what stands under the final name is not ours."""
        found = self._found()
        # This content there already: another attempt was faster, and the rename will find that.
        if found not in (None, self.d.sha256, self.previous and self.previous.data["sha256"]):
            raise self._taken()

    def upload(self) -> None:
        with self.store.open(self.d.sha256) as payload, self.withdrawing():
            self.to.put(self.temporary(self.number), payload, self.d.bytes)

    def verify(self) -> None:
        with self.withdrawing():
            if not self.to.verify(self.temporary(self.number), self.d.bytes, self.d.sha256):
                raise TransportError(
                    f"{self.d.interchange}: what arrived under {self.d.name}'s temporary name is not whole"
                )

    @contextmanager
    def withdrawing(self) -> Iterator[None]:
        """What fails here leaves nothing of this attempt at the partner, if they let us."""
        try:
            yield
        except (TransportError, TransportRefused):
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Remove what this attempt has uploaded, if the partner lets us: whoever delivers sweeps it up otherwise."""
        with suppress(TransportError, TransportRefused):
            self.to.remove(self.temporary(self.number))

    def clear_the_name(self, previous: Event) -> Generator[str, None, None]:
        """Set the previous content aside; see to it that its name there is taken for good."""
        yield "set aside"
        match self.set_aside(previous):
            case "moved":
                yield "check what was set aside"
                if not self.is_previous(previous):
                    yield "put back"
                    self.put_back(previous)
                    raise self._taken()
            case "nothing there":
                yield "make marker"
                self.make_marker()
                yield "place marker"
                self.place_marker(previous)

    def set_aside(self, previous: Event) -> Literal["moved", "nothing there", "done before"]:
        try:
            self.to.rename(self.d.name, self.aside(previous), replace=False)
        except Missing:  # taken by the receiver, or set aside by another attempt
            return "done before" if self.to.exists(self.aside(previous)) else "nothing there"
        except Exists:
            return "done before"
        return "moved"

    def is_previous(self, previous: Event) -> bool:
        """By its content: whatever else has taken the name since it was looked at is not ours to move."""
        return self.to.digest(self.aside(previous)) == str(previous.data["sha256"])

    def put_back(self, previous: Event) -> None:
        with suppress(Missing, Exists):
            self.to.rename(self.aside(previous), self.d.name, replace=False)

    def make_marker(self) -> None:
        self.to.put(self.marker(self.number), BytesIO(), 0)

    def place_marker(self, previous: Event) -> None:
        try:
            self.to.rename(self.marker(self.number), self.aside(previous), replace=False)
        except Exists:
            self.to.remove(self.marker(self.number))

    def say_uploaded(self) -> bool:
        while True:
            events = self._events()
            if _last_claim(events) != self.number or any(e.kind in ("uploaded", "delivered") for e in events):
                return False
            if self._append("uploaded", events, attempt=self.number, temporary=self.temporary(self.number)):
                return True

    def take_over(self, earlier: int) -> bool:
        try:
            self.to.rename(self.temporary(earlier), self.temporary(self.number), replace=False)
        except Missing:
            return False
        return True

    def cut_short(self) -> list[str]:
        return self.to.cut_short([self.d.name, *(self.temporary(n) for n in range(1, self.number + 1))])

    def mend(self, name: str) -> bool:
        """Take back what got only the beginning of its name; by its content, since it may be somebody else's."""
        entry = self.to.stat(name)
        if entry is None or entry.size != self.d.bytes:
            return False
        try:
            if self.to.digest(name) != self.d.sha256:
                return False
            self.to.rename(name, self.temporary(self.number), replace=False)
        except Missing:
            return False
        return True

    def is_seen(self) -> bool:
        """Is it certain that our content stands under the final name? Not when the previous one was the same."""
        if self.previous is not None and self.previous.data["sha256"] == self.d.sha256:
            return False
        return self._found() == self.d.sha256

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
        """Write that it is delivered, unless it is written; what wasn't done here only while my claim is the last."""
        while True:
            events = self._events()
            if _delivered(events):
                return "already"
            if only_last and _last_claim(events) != self.number:
                return "fenced"
            if self._append(
                "delivered", events, attempt=self.number, name=self.d.name, inferred=inferred,
                sha256=self.d.sha256, bytes=self.d.bytes,
            ):  # fmt: skip
                return "inferred" if inferred else "delivered"

    def finish(self, state: State) -> Steps:
        """Who has delivered sweeps up after those that were killed, and gives up the backup before the last."""
        if state in ("delivered", "inferred"):
            for name in self.stumps():
                yield "sweep"
                self.sweep(name)
            if self.d.existing == "replace_ours" and not self.to.replaces:
                older = self._deliveries()[:-1]
                for delivery in older[-1:]:
                    yield "empty"
                    self.empty(self.aside(delivery))
                for delivery in older[-MARKERS - 1 : -MARKERS]:
                    yield "sweep"
                    self.sweep(self.aside(delivery))
        return self.end(state)

    def stumps(self) -> list[str]:
        """What attempts that were killed may have left."""
        left = [self.temporary(n) for n in range(1, self.number)]
        if self.previous is not None and not self.to.replaces:
            left += [self.marker(n) for n in range(1, self.number)]
        return left

    def empty(self, name: str) -> None:
        """Written over, not removed: the name stays taken."""
        with suppress(TransportError, TransportRefused):
            self.to.put(name, BytesIO(), 0)

    def sweep(self, name: str) -> None:
        with suppress(TransportError, TransportRefused):
            self.to.remove(name)

    def _found(self) -> str | None:
        """The hash of what stands under the final name."""
        if not self.to.exists(self.d.name):
            return None
        try:
            return self.to.digest(self.d.name)
        except Missing:
            return None

    def _previous(self, events: Sequence[Event]) -> Event | None:
        """The last delivery under this name.

        Raises:
            NameTaken: it is of an interchange that began after this one.
        """
        deliveries = self._deliveries()
        if not deliveries:
            return None
        last = deliveries[-1]
        if events and self.ledger.events(last.stream)[0].seq > events[0].seq:
            raise NameTaken(
                f"{self.d.interchange}: the newer {last.stream} was delivered as {self.d.name}; it is not replaced "
                "by an older one. Next: nothing, or send this one's content as a correction"
            )
        return last

    def _deliveries(self) -> list[Event]:
        return [
            e for e in self.ledger.kind("delivered", integration=self.d.integration)
            if e.data["name"] == self.d.name and e.stream != self.d.interchange
        ]  # fmt: skip

    def _taken(self) -> NameTaken:
        return NameTaken(
            f"{self.d.interchange}: a different file stands under {self.d.name} at the partner; nothing was "
            "overwritten. Next: find out whose it is, have it moved away, then clear deliver"
        )

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


def _delivered(events: Sequence[Event]) -> bool:
    return any(e.kind == "delivered" for e in events)


def _last_claim(events: Sequence[Event]) -> int:
    return max((int(e.data["attempt"]) for e in events if e.kind == "claim"), default=0)
