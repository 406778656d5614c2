"""Every schedule there is: each state is looked at once, and from each one everything is killed and cleared.

``python -m tests.model.walk`` walks them all, three attempts at once too, and prints how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from slussen.delivery import Delivery
from tests.model.world import NAME, Move, Setting, World, sha


def _delivery(interchange: str, content: bytes, **more: str) -> tuple[Delivery, bytes]:
    what = {"interchange": interchange, "integration": "f29", "name": NAME, "sha256": sha(content), **more}
    return Delivery(bytes=len(content), **what), content  # type: ignore[arg-type]


NEW = _delivery("f29-2", b"new")
REPLACING = _delivery("f29-2", b"new", existing="replace_ours")
NEWER = _delivery("f29-3", b"newer", existing="replace_ours")
BEFORE = (("f29-0", b"older"), ("f29-1", b"old"))

DIRECTORY = Setting(deliveries=(NEW, NEW), receiver=True, lossy=True)
MAINFRAME = Setting(deliveries=(REPLACING, REPLACING), replaces=False, before=BEFORE, receiver=True, lossy=True)
SETTINGS = {
    "a shared directory": DIRECTORY,
    "nobody takes it": replace(DIRECTORY, receiver=False),
    "a stranger on the name": replace(DIRECTORY, receiver=False, stranger=True),
    "replacing what is ours": replace(DIRECTORY, deliveries=(REPLACING, REPLACING), before=BEFORE),
    "a mainframe": MAINFRAME,
    "a mainframe, first time": replace(MAINFRAME, before=()),
    "a mainframe, nobody takes it": replace(MAINFRAME, receiver=False),
    "two interchanges of one dataset": replace(MAINFRAME, deliveries=(REPLACING, NEWER), receiver=False),
    "two interchanges, taken": replace(MAINFRAME, deliveries=(REPLACING, NEWER)),
}
THREE = {
    "a shared directory": replace(DIRECTORY, deliveries=(NEW,) * 3),
    "replacing what is ours": replace(SETTINGS["replacing what is ours"], deliveries=(REPLACING,) * 3, receiver=False),
    "a mainframe": replace(MAINFRAME, deliveries=(REPLACING,) * 3, receiver=False, lossy=False),
    "two interchanges, the first twice": replace(
        MAINFRAME, deliveries=(REPLACING, REPLACING, NEWER), receiver=False, lossy=False
    ),
    "two interchanges, the second twice": replace(
        MAINFRAME, deliveries=(REPLACING, NEWER, NEWER), receiver=False, lossy=False
    ),
}


@dataclass(frozen=True)
class Walked:
    """``states`` that differ, and the whole ``schedules`` that lead through them."""

    states: int
    schedules: int

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.schedules:,} schedules, a kill and a clear in each state"


def walk(setting: Setting, limit: int = 10_000_000) -> Walked:
    """Look at every state that a setting can come to.

    Raises:
        AssertionError: one is bad; the message holds the moves that lead there.
    """
    ways: dict[object, int] = {}  # state → whole schedules from there

    def visit(path: tuple[Move, ...], world: World) -> int:
        mark = world.mark()
        if mark in ways:
            return ways[mark]
        assert len(ways) < limit, "more states than there should be"
        _assert(path, world.check)
        moves = world.moves()
        ways[mark] = 0  # moves only go forward: this is never met on the way down
        count = 0
        for n, move in enumerate(moves):
            following = setting.begin().play(path) if n < len(moves) - 1 else world
            following.move(move)
            count += visit((*path, move), following)
        ways[mark] = max(count, 1)
        _assert(path, setting.begin().play(path).settle)
        return ways[mark]

    schedules = visit((), setting.begin())
    return Walked(len(ways), schedules)


def _assert(path: tuple[Move, ...], check: Callable[[], None]) -> None:
    try:
        check()
    except Exception as error:
        raise AssertionError(f"{error} after {' '.join(f'{what}:{n}' for what, n in path)}") from error


if __name__ == "__main__":
    import time

    from tests.model.together import THREE_TOGETHER, TOGETHER

    two: dict[str, Setting] = {**SETTINGS, **TOGETHER}
    for what, settings in (("two attempts", two), ("three attempts", {**THREE, **THREE_TOGETHER})):
        for name, setting in settings.items():
            began = time.monotonic()
            print(f"{what}, {name}: {walk(setting)}; {time.monotonic() - began:.0f} s", flush=True)
