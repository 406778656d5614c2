"""A partner and a ledger in memory, and attempts of the real delivery code that are moved by hand, step by step.

A world is a state: its moves lead to others, and the same moves from the beginning lead to the same state again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any, BinaryIO

from slussen.delivery import Delivery, Outcome, Steps, deliver, drive
from slussen.errors import NameTaken, TransportError, TransportRefused
from slussen.ledger import Conflict, Event, written
from slussen.transports import Exists, Missing

NAME = "F"
HALF, STRANGER = b"half", b"a stranger's"
EPOCH = datetime(2026, 1, 12, tzinfo=UTC)
Move = tuple[str, int]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Book:
    """The ledger's promises, in memory. ``before`` runs once, right before an append is compared; ``at`` is the time of
    whatever happens."""

    def __init__(self, at: datetime = EPOCH) -> None:
        self.at = at
        self.all: list[Event] = []
        self.before: Callable[[], object] | None = None

    def append(
        self, stream: str, kind: str, data: Mapping[str, Any] | None = None, *, integration: str = "",
        after: int | None = None,
    ) -> Event:  # fmt: skip
        before, self.before = self.before, None
        if before is not None:
            before()
        if after is not None and after != max((e.seq for e in self.all if e.stream == stream), default=0):
            raise Conflict("something happened")
        event = Event(len(self.all) + 1, self.at, stream, integration, kind, _as_written(dict(data or {})))
        self.all.append(event)
        return event

    def events(self, stream: str) -> list[Event]:
        return [e for e in self.all if e.stream == stream]

    def kind(self, kind: str, *, integration: str) -> Iterator[Event]:
        return iter([e for e in self.all if e.kind == kind and e.integration == integration])

    def collected(self, integration: str, sha256: str) -> list[Event]:
        return [e for e in self.kind("collected", integration=integration) if e.data["sha256"] == sha256]

    def unarchived(self, integration: str) -> list[Event]:
        done = {e.data["noted"] for e in self.all if "noted" in e.data}
        return [e for e in self.kind("archiving", integration=integration) if e.seq not in done]

    def moves_to(self, place: str) -> list[Event]:
        return [e for e in self.all if e.kind == "archiving" and e.data["place"] == written(place)]


def _as_written(value: Any) -> Any:
    """Names that are no UTF-8 as the ledger has them."""
    if isinstance(value, dict):
        return {key: _as_written(item) for key, item in value.items()}
    return written(value) if isinstance(value, str) else value


class Lost(TransportError):
    """The effect took place, its reply didn't come."""


class Partner:
    """A partner's folder in memory. ``arrived`` is what was delivered under its final name, in order."""

    def __init__(self, *, replaces: bool) -> None:
        self.replaces = replaces
        self.files: dict[str, bytes] = {}
        self.taken: list[bytes] = []
        self.arrived: list[bytes] = []
        self.stale = False  # something was put back that isn't the newest
        self.fault = ""  # what goes wrong with the next effect: see ``World.moves``

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        self._refuse()
        self.files[name] = HALF if self.fault in ("short", "cut") else source.read()
        self._reply()

    def exists(self, name: str) -> bool:
        return name in self.files

    def digest(self, name: str) -> str:
        if name not in self.files:
            raise Missing("none")
        return sha(self.files[name])

    def verify(self, name: str, size: int, sha256: str) -> bool:
        return self.digest(name) == sha256

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        self._refuse()
        if old not in self.files:
            raise Missing("none")
        if new in self.files and not (replace and self.replaces):
            raise Exists("taken")
        if self.fault == "midway":  # a link and no unlink yet
            self.files[new] = self.files[old]
        else:
            self.files[new] = self.files.pop(old)
        if not new.startswith(".") and not old.endswith(".old"):
            self.arrived.append(self.files[new])
        elif new == NAME and self.files[new] != self.arrived[-1]:
            self.stale = True
        self._reply()

    def remove(self, name: str) -> None:
        self.files.pop(name, None)
        self._reply()

    def take(self, name: str = NAME) -> None:
        """The receiver takes what stands under the final name."""
        self.taken.append(self.files.pop(name))

    def cut_short(self, names: Sequence[str]) -> list[str]:
        return []

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return f".{name}.{interchange}.{attempt}"

    def aside(self, name: str, interchange: str) -> str:
        return f".{name}.{interchange}.old"

    def _refuse(self) -> None:
        if self.fault == "refused":
            raise TransportRefused("no")

    def _reply(self) -> None:
        fault, self.fault = self.fault, ""
        if fault not in ("", "short"):
            raise Lost(fault)


@dataclass
class Attempt:
    """One attempt: the step that it is about to do, and how it ended."""

    steps: Any  # a generator of steps, whose frame is looked at
    pending: str = "start"
    ended: Outcome | Exception | None = None
    half: bool = False  # half of its upload is to be seen

    def go(self) -> None:
        try:
            self.pending = next(self.steps)
        except StopIteration as end:
            self.ended = end.value
        except Exception as error:
            self.ended = error

    def mark(self) -> tuple[object, ...]:
        """Where it is: enough to tell whether two attempts will do the same from here."""
        if self.ended is not None:
            return (type(self.ended).__name__, getattr(self.ended, "state", ""))
        frames, steps = [], self.steps
        while steps is not None and (frame := getattr(steps, "gi_frame", None)) is not None:
            own = {k: _plain(v) for k, v in frame.f_locals.items()}
            frames.append((frame.f_lasti, tuple(sorted((k, v) for k, v in own.items() if v is not ...))))
            steps = steps.gi_yieldfrom
        own = self.steps.gi_frame.f_locals if self.steps.gi_frame is not None else {}
        attempts = own.get("attempts", [own["attempt"]] if "attempt" in own else [])
        return (*frames, self.half, *((a.number, a.uploaded_by, a.previous and a.previous.stream) for a in attempts))

    def uploading(self) -> Any:
        """The attempt of the delivery's own that stands before its upload."""
        steps = self.steps
        while steps.gi_yieldfrom is not None:
            steps = steps.gi_yieldfrom
        return steps.gi_frame.f_locals["self"]


def _plain(value: object) -> object:
    """What a variable adds to where an attempt is; ``...`` for things that have a state of their own."""
    if isinstance(value, list):
        return tuple(map(_plain, value))
    if isinstance(value, Event):
        return value.seq
    return value if isinstance(value, str | int | None) else ...


EFFECTS = {
    "upload", "set aside", "put back", "make marker", "place marker", "withdraw", "take over", "rename", "sweep",
    "empty",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is delivered, to whom, and what goes wrong."""

    deliveries: tuple[tuple[Delivery, bytes], ...]  # one for each attempt
    replaces: bool = True
    receiver: bool = False  # takes what it sees, at any moment
    lossy: bool = False  # replies are lost, uploads are cut or shortened, requests are refused
    stranger: bool = False  # puts a file of his own under the name, once, where it is free
    linking: bool = False  # a rename is a link and an unlink
    before: tuple[tuple[str, bytes], ...] = ()  # what was delivered under the name earlier: (interchange, content)
    protocol: Callable[..., Steps] = deliver

    def begin(self) -> World:
        """A fresh state."""
        return World(self)


@dataclass
class World:
    """A fresh state of a setting."""

    setting: Setting
    partner: Any = field(init=False)
    book: Any = field(init=False)
    attempts: list[Attempt] = field(init=False)
    strange: str = ""  # has the stranger come: "there", "gone"

    def __post_init__(self) -> None:
        s = self.setting
        self.partner = Partner(replaces=s.replaces)
        self.book = Book()
        for interchange, content in s.before:
            data = {"name": NAME, "sha256": sha(content), "attempt": 1}
            self.book.append(interchange, "delivered", data, integration="f29")
            self.partner.files[NAME] = content
            self.partner.arrived = [content]
        for d in dict.fromkeys(d for d, _ in s.deliveries):
            self.book.append(d.interchange, "content", integration="f29")
        self.attempts = [Attempt(self.fresh(*what)) for what in s.deliveries]
        for attempt in self.attempts:
            attempt.go()  # to before its first step

    def fresh(self, d: Delivery, content: bytes) -> Steps:
        store: Any = SimpleNamespace(open=lambda digest: BytesIO(content))
        return self.setting.protocol(d, store, self.partner, self.book)

    def moves(self) -> list[Move]:
        """Everything that may happen next. That an attempt is killed needs no move: it is never moved again."""
        s, found = self.setting, []
        for n, attempt in enumerate(self.attempts):
            if attempt.ended is not None:
                continue
            found.append(("go", n))
            if attempt.pending == "upload" and not attempt.half:
                found.append(("half", n))
            if s.lossy and attempt.pending in EFFECTS:
                found += [("lost", n), ("refused", n)]
            if s.lossy and attempt.pending == "upload":
                found += [("cut", n), ("short", n)]  # the connection ends; or the server says it has it all
            if s.linking and attempt.pending == "rename":
                found.append(("midway", n))
        if s.receiver and NAME in self.partner.files:
            found.append(("take", -1))
        if s.stranger and not self.strange and NAME not in self.partner.files:
            found.append(("strange", -1))
        return found

    def move(self, move: Move) -> None:
        what, n = move
        if what == "take":
            self.partner.take()
            return
        if what == "strange":
            self.strange = "there"
            self.partner.files[NAME] = STRANGER
            return
        attempt = self.attempts[n]
        if what == "half":
            attempt.half = True
            local = attempt.uploading()
            self.partner.files[local.temporary(local.number)] = HALF
            return
        self.partner.fault = "" if what == "go" else what
        attempt.go()
        self.partner.fault = ""

    def play(self, moves: Sequence[Move]) -> World:
        for move in moves:
            self.move(move)
        return self

    def mark(self) -> tuple[object, ...]:
        p = self.partner
        book = [(e.stream, e.kind, e.data.get("attempt"), e.data.get("inferred")) for e in self.book.all[self._known :]]
        seen = (*p.taken, b"", *p.arrived)
        return (
            tuple(sorted(p.files.items())),
            seen,
            p.stale,
            self.strange,
            tuple(book),
            *(a.mark() for a in self.attempts),
        )

    @property
    def _known(self) -> int:
        return len(self.setting.before)

    def check(self) -> None:
        """What must hold in every state."""
        p, new = self.partner, [content for _, content in dict.fromkeys(self.setting.deliveries)]
        old = [content for _, content in self.setting.before]
        for content in p.arrived[len(old[-1:]) :]:
            assert content in new, "something was to be seen that is not what was sent"
            assert p.arrived.count(content) == 1, "the receiver could take it twice"
        assert not p.stale, "the old content came back after the new"
        assert self.strange != "there" or p.files[NAME] == STRANGER, "a stranger's file was touched"
        for attempt in self.attempts:
            if isinstance(attempt.ended, Exception) and not isinstance(
                attempt.ended, TransportError | TransportRefused
            ):
                self.excuse(attempt.ended)
            if isinstance(attempt.ended, Outcome) and attempt.ended.state != "fenced":
                assert any(
                    e.kind == "delivered" and e.stream not in dict(self.setting.before) for e in self.book.all
                ), "success was reported, and the ledger doesn't say so"

    def excuse(self, error: Exception) -> None:
        """An attempt may be held only by a stranger, or by a newer interchange."""
        streams = {d.interchange for d, _ in self.setting.deliveries}
        assert isinstance(error, NameTaken), f"an attempt failed: {error!r}"
        assert self.strange or len(streams) > 1, f"held without a reason: {error}"

    def settle(self) -> None:
        """Everything that was going on has been killed; on-call clears the tasks, twice."""
        todo = list(dict.fromkeys(self.setting.deliveries))
        open_ = {d.interchange for d, _ in todo if not self._says_delivered(d.interchange)}
        held: set[str] = set()
        for d, content in todo * 2:
            with suppress_held(held, d.interchange):
                drive(self.fresh(d, content))
        self.check()
        p = self.partner
        if held and self.strange == "there":  # somebody has it moved away, and the tasks are cleared again
            self.strange = "gone"
            del p.files[NAME]
            self.settle()
            return
        for d, content in todo:
            if d.interchange in held and any(self._says_delivered(o.interchange) for o, _ in todo if o != d):
                continue  # an older one that a newer one has overtaken
            assert d.interchange not in held, "held without a reason"
            assert content in p.arrived, "it was lost"
            events = [e for e in self.book.events(d.interchange) if e.kind == "delivered"]
            assert len(events) == 1, "the ledger says it once"
        if open_ and len(todo) == 1:
            left = [n for n in p.files if n != NAME and not n.endswith(".old")]
            assert not left, "temporary files are left"
        delivered = [e.data["sha256"] for e in self.book.all if e.kind == "delivered"]
        if not self.setting.receiver and self.strange != "there":
            assert sha(p.files.get(NAME, b"")) == delivered[-1], "what was delivered last doesn't stand there"
        if not self.setting.replaces and delivered[1:]:
            assert delivered[-2] in map(sha, (*p.files.values(), *p.taken)), "the backup was lost"

    def _says_delivered(self, interchange: str) -> bool:
        return any(e.kind == "delivered" for e in self.book.events(interchange))


class suppress_held(suppress):
    """Notes that an interchange is held."""

    def __init__(self, held: set[str], interchange: str) -> None:
        super().__init__(NameTaken)
        self._held, self._interchange = held, interchange

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        suppressed = bool(super().__exit__(kind, error, trace))
        if suppressed:
            self._held.add(self._interchange)
        return suppressed
