"""The fenced protocol: the real code, every interleaving of two attempts, a crash at every step.

The ledger and the partner are kept in memory here, so that the whole tree of schedules is walked; the same code runs
against real servers in test_transports.py and under Airflow in test_faults.py.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from slussen import delivery
from slussen.delivery import Delivery, Outcome, Steps, deliver, drive
from slussen.errors import NameTaken
from slussen.ledger import Conflict, Event
from slussen.transports import Exists, Missing

CONTENT = "Åkes faktura".encode()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OLD = b"last week's"
D = Delivery(interchange="f29-2", integration="f29", name="F", sha256=DIGEST, bytes=len(CONTENT))
REPLACING = Delivery(
    interchange="f29-2", integration="f29", name="F", sha256=DIGEST, bytes=len(CONTENT), existing="replace_ours"
)


class Book:
    """The ledger's promises, in memory."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def append(
        self,
        stream: str,
        kind: str,
        data: Mapping[str, Any] | None = None,
        *,
        integration: str = "",
        after: int | None = None,
    ) -> Event:
        last = max((e.seq for e in self.all if e.stream == stream), default=0)
        if after is not None and after != last:
            raise Conflict("something happened")
        event = Event(len(self.all) + 1, datetime.now(UTC), stream, integration, kind, dict(data or {}))
        self.all.append(event)
        return event

    def events(self, stream: str) -> list[Event]:
        return [e for e in self.all if e.stream == stream]

    def kind(self, kind: str, *, integration: str) -> Iterator[Event]:
        return (e for e in self.all if e.kind == kind and e.integration == integration)


class Partner:
    """A partner's folder in memory; an eager one takes what appears under the final name at once."""

    def __init__(self, *, replaces: bool, eager: bool) -> None:
        self.replaces, self.eager = replaces, eager
        self.files: dict[str, bytes] = {}
        self.taken: list[bytes] = []

    def put(self, name: str, source: io.BytesIO) -> None:
        self.files[name] = source.read()

    def exists(self, name: str) -> bool:
        return name in self.files

    def digest(self, name: str) -> str:
        if name not in self.files:
            raise Missing("none")
        return hashlib.sha256(self.files[name]).hexdigest()

    def verify(self, name: str, size: int, sha256: str) -> bool:
        return self.digest(name) == sha256

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        if old not in self.files:
            raise Missing("none")
        if new in self.files and not replace:
            raise Exists("taken")
        self.files[new] = self.files.pop(old)
        if new == "F" and self.eager:
            self.taken.append(self.files.pop("F"))

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return f".{name}.{interchange}.{attempt}"

    def aside(self, name: str, interchange: str) -> str:
        return f".{name}.{interchange}.old"

    @property
    def received(self) -> list[bytes]:
        return [*self.taken, *([self.files["F"]] if "F" in self.files else [])]


STORE: Any = SimpleNamespace(open=lambda digest: io.BytesIO(CONTENT))


class World:
    """A fresh partner and ledger, and two attempts to be moved by hand."""

    def __init__(self, d: Delivery, *, replaces: bool, eager: bool, protocol: Callable[..., Steps] = deliver) -> None:
        self.d, self.protocol = d, protocol
        self.partner: Any = Partner(replaces=replaces, eager=eager)
        self.book: Any = Book()
        if d.existing == "replace_ours" and not eager:
            self.partner.files["F"] = OLD
            old = hashlib.sha256(OLD).hexdigest()
            self.book.append("f29-1", "delivered", {"name": "F", "sha256": old, "attempt": 1}, integration="f29")
        self.attempts = [self.fresh(), self.fresh()]
        self.ended: list[Outcome | Exception | None] = [None, None]

    def fresh(self) -> Steps:
        return self.protocol(self.d, STORE, self.partner, self.book)

    def move(self, who: int) -> None:
        try:
            next(self.attempts[who])
        except StopIteration as end:
            self.ended[who] = end.value
        except Exception as error:
            self.ended[who] = error

    def settle(self) -> None:
        """Whatever was going on has crashed; on-call clears the task, twice."""
        for _ in range(2):
            drive(self.fresh())

    def check(self) -> None:
        received = [r for r in self.partner.received if r != OLD]
        assert received == [CONTENT], f"received {len(received)} times"
        delivered = [e for e in self.book.events(self.d.interchange) if e.kind == "delivered"]
        assert len(delivered) == 1, "the ledger says it once"
        assert set(self.partner.files) <= {"F", ".F.f29-1.old"}, "nothing temporary is left"


def schedules(make: Callable[[], World]) -> tuple[int, int]:
    """Walk every interleaving of two attempts; at every node both crash. (nodes, whole schedules)"""
    nodes = whole = 0
    todo: list[tuple[int, ...]] = [()]
    while todo:
        path = todo.pop()
        world = make()
        for who in path:
            world.move(who)
        nodes += 1
        open_ = [who for who in (0, 1) if world.ended[who] is None]
        for who, end in enumerate(world.ended):
            if isinstance(end, Exception):
                raise AssertionError(f"attempt {who} failed in {path}: {end}")
        if not open_:
            whole += 1
        todo += [(*path, who) for who in open_]
        try:
            world.settle()
            world.check()
        except Exception as error:
            raise AssertionError(f"schedule {''.join(map(str, path))}: {error}") from None
    return nodes, whole


KINDS = {
    "a shared directory": (D, True, False),
    "a receiver that takes it at once": (D, True, True),
    "replacing what is ours": (REPLACING, True, False),
    "a mainframe": (REPLACING, False, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_attempts_in_every_order_with_a_crash_at_every_step_deliver_once(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    d, replaces, eager = KINDS[kind]
    nodes, whole = schedules(lambda: World(d, replaces=replaces, eager=eager))
    with capsys.disabled():
        print(f"\n  {kind}: {nodes:,} crash points in {whole:,} whole schedules")
    assert whole > 100


def straight(d: Delivery, store: Any, to: Any, ledger: Any) -> Steps:
    """What a plain upload does."""
    yield "upload"
    if any(e.kind == "delivered" for e in ledger.events(d.interchange)):
        return Outcome("already", 1, d.name)
    to.put(d.name, io.BytesIO(CONTENT[:3]))
    yield "rest"
    to.put(d.name, store.open(d.sha256))
    if to.eager:
        to.taken.append(to.files.pop(d.name))
    yield "delivered"
    ledger.append(d.interchange, "delivered", {"name": d.name, "sha256": d.sha256})
    return Outcome("delivered", 1, d.name)


MUTANTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "one temporary name for all attempts": ("temporary", lambda self, attempt: ".F.tmp"),
    "no compare-and-set for an inference": (
        "say_delivered",
        lambda self, *, inferred, only_last: (
            self.ledger.append(self.d.interchange, "delivered", {"attempt": 0, "name": "F"}, integration="f29"),
            "inferred",
        )[1],
    ),
    "uploaded without being the last": (
        "say_uploaded",
        lambda self: bool(
            self.ledger.append(self.d.interchange, "uploaded", {"attempt": self.number}, integration="f29")
        ),
    ),
    "nothing is taken over": ("take_over", lambda self, earlier: False),
    "taken over only from the last": (
        "take_over",
        lambda self, earlier, original=delivery._Attempt.take_over: (
            earlier == self.number - 1 and original(self, earlier)
        ),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_protocol_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, broken = MUTANTS[mutant]
    monkeypatch.setattr(delivery._Attempt, name, broken)
    with pytest.raises(AssertionError):
        for d, replaces, eager in KINDS.values():
            schedules(lambda d=d, r=replaces, e=eager: World(d, replaces=r, eager=e))


def test_an_upload_straight_to_the_final_name_is_caught() -> None:
    with pytest.raises(AssertionError, match="received"):
        schedules(lambda: World(D, replaces=True, eager=True, protocol=straight))


def test_a_different_file_under_the_name_holds_and_is_not_touched() -> None:
    world = World(D, replaces=True, eager=False)
    world.partner.files["F"] = b"a stranger's"
    with pytest.raises(NameTaken, match="Next: find out whose it is"):
        drive(world.fresh())
    assert world.partner.files == {"F": b"a stranger's"}
    world.partner.files.clear()
    world.settle()
    world.check()


def test_a_file_that_appears_after_the_upload_holds_and_the_next_attempt_goes_on() -> None:
    world = World(D, replaces=True, eager=False)
    for step in (attempt := world.fresh()):
        if step == "rename":
            world.partner.files["F"] = b"a stranger's"
            with pytest.raises(NameTaken):
                next(attempt)
            break
    assert world.partner.files.pop("F") == b"a stranger's"
    world.settle()
    world.check()


def test_what_is_not_ours_is_not_replaced_either() -> None:
    world = World(REPLACING, replaces=False, eager=False)
    world.partner.files["F"] = b"a stranger's"
    with pytest.raises(NameTaken):
        drive(world.fresh())
    assert world.partner.files["F"] == b"a stranger's"


def test_the_mainframes_last_generation_is_kept_until_the_next() -> None:
    world = World(REPLACING, replaces=False, eager=False)
    world.settle()
    assert world.partner.files == {"F": CONTENT, ".F.f29-1.old": OLD}
