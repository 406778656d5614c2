"""Worlds in which two files are delivered as one, by the real code."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from slussen.delivery import Delivery, Outcome, drive
from slussen.errors import NameTaken, TransportError, TransportRefused
from slussen.sets import deliver_set
from tests.model.world import STRANGER, Move, Setting, World, sha

NAMES = ("F", "G")
CONTENTS = (b"first", b"second")
PARTS = [
    Delivery(interchange=f"lis-1-{name}", integration="lis", name=name, sha256=sha(content), bytes=len(content))
    for name, content in zip(NAMES, CONTENTS, strict=True)
]


@dataclass(frozen=True, kw_only=True)
class Together(Setting):
    """``attempts`` at a delivery of two files; a stranger may put a file of his own under the second name."""

    deliveries: tuple[tuple[Delivery, bytes], ...] = ()
    attempts: int = 2
    together: Any = deliver_set

    def begin(self) -> World:
        return Pair(replace(self, deliveries=((PARTS[0], CONTENTS[0]),) * self.attempts))


class Pair(World):
    """The state of such a world."""

    def fresh(self, *_: object) -> Any:
        contents = dict(zip((d.sha256 for d in PARTS), CONTENTS, strict=True))
        store: Any = SimpleNamespace(open=lambda digest: BytesIO(contents[digest]))
        setting: Any = self.setting
        return setting.together(PARTS, store, self.partner, self.book)

    def moves(self) -> list[Move]:
        found = [m for m in super().moves() if m[0] not in ("take", "strange")]
        if self.setting.receiver:
            found += [("take", n) for n, name in enumerate(NAMES) if name in self.partner.files]
        if self.setting.stranger and not self.strange and NAMES[1] not in self.partner.files:
            found.append(("strange", 1))
        return found

    def move(self, move: Move) -> None:
        what, n = move
        if what == "take":
            self.partner.take(NAMES[n])
        elif what == "strange":
            self.strange = "there"
            self.partner.files[NAMES[n]] = STRANGER
        else:
            super().move(move)

    def check(self) -> None:
        p = self.partner
        assert p.arrived == list(CONTENTS[: len(p.arrived)]), "not these files, each once, one after the other"
        if len(p.arrived) == 1:
            assert any(c == CONTENTS[1] and n.startswith(".") for n, c in p.files.items()), "the second isn't there yet"
        assert self.strange != "there" or p.files[NAMES[1]] == STRANGER, "a stranger's file was touched"
        said = [e.stream for e in self.book.all if e.kind == "delivered"]
        assert len(said) == len(set(said)), "the ledger says it twice"
        assert len([e for e in self.book.all if e.kind == "completed"]) <= 1
        for attempt in self.attempts:
            if isinstance(attempt.ended, NameTaken):
                assert self.strange, "held without a reason"
            elif isinstance(attempt.ended, Exception):
                assert isinstance(attempt.ended, TransportError | TransportRefused), f"failed: {attempt.ended!r}"
            elif attempt.ended is not None:
                outcomes: tuple[Outcome, ...] = attempt.ended  # type: ignore[assignment]
                for d, outcome in zip(PARTS, outcomes, strict=True):
                    assert outcome.state == "fenced" or d.interchange in said, "said delivered, and the ledger doesn't"

    def settle(self) -> None:
        untouched = not self.partner.arrived
        fresh = not any(e.kind == "delivered" for e in self.book.all)
        held = False
        for _ in range(2):
            try:
                drive(self.fresh())
            except NameTaken:
                held = True
        self.check()
        p = self.partner
        if self.strange == "there":
            assert held, "a taken name holds"
            assert not untouched or not p.arrived, "half a set was begun though a name was taken"
            self.strange = "gone"
            del p.files[NAMES[1]]
            with suppress(NameTaken):
                drive(self.fresh())
            self.check()
        assert p.arrived == list(CONTENTS), "it was lost"
        for d in PARTS:
            assert [e.kind for e in self.book.events(d.interchange)].count("delivered") == 1
        assert self.book.events(PARTS[1].interchange)[-1].kind == "completed"
        assert not fresh or self.strange or not [n for n in p.files if n.startswith(".")], "temporary files are left"


TOGETHER = {
    "two files": Together(receiver=True, lossy=True),
    "two files, a stranger on the second name": Together(stranger=True),
}
THREE_TOGETHER = {"two files": Together(attempts=3)}
