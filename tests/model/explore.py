"""Every state of a protocol written as a model: each is looked at once, and from each everything is killed and cleared.

A model is small on purpose: its states are tuples, its moves are what one atomic step makes of them. That an attempt is
killed needs no move of its own: it is simply never moved again, and ``settle`` begins from there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


class Model(Protocol[State]):
    """A protocol and its surroundings."""

    name: str

    def initial(self) -> State: ...

    def moves(self, state: State) -> Iterable[tuple[str, State]]:
        """What may happen next, and what comes of it."""
        ...

    def bad(self, state: State) -> str:
        """What must never be so, in words; empty when all is well."""
        ...

    def settle(self, state: State) -> str:
        """All attempts are killed here, and the task is cleared until nothing changes: what is then wrong?"""
        ...


@dataclass(frozen=True, slots=True)
class Explored:
    """``states`` that differ; ``wrong`` in words with the moves that lead there, empty when no state is bad."""

    name: str
    states: int
    wrong: str = ""


def explore(model: Model[State], limit: int = 20_000_000) -> Explored:
    """Look at every state, breadth first, so that the way to a bad one is a shortest one.

    Raises:
        RuntimeError: there are more states than the limit.
    """
    first = model.initial()
    came: dict[State, tuple[State, str] | None] = {first: None}
    edge = [first]
    while edge:
        following: list[State] = []
        for state in edge:
            if wrong := model.bad(state) or model.settle(state):
                return Explored(model.name, len(came), f"{wrong} after {' '.join(_way(came, state))}")
            for label, new in model.moves(state):
                if new not in came:
                    came[new] = (state, label)
                    following.append(new)
        if len(came) > limit:
            raise RuntimeError(f"{model.name}: more than {limit:,} states")
        edge = following
    return Explored(model.name, len(came))


def _way(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    labels = []
    while (step := came[state]) is not None:
        state, label = step
        labels.append(label)
    return labels[::-1]
