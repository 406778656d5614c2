"""The protocols of delivery, collection and receipts as models: every state, and every deliberate mistake comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.model import collecting, fenced, messages
from tests.model.collecting import Collecting
from tests.model.explore import Explored, explore
from tests.model.fenced import Fenced
from tests.model.messages import Messages
from tests.model.sample import schedule
from tests.model.walk import THREE

SAME, REPLACED, BOTH = ((0, 1), (1, 1)), ((0, 1), (0, 2)), ((0, 1), (1, 2), (0, 3))
THRICE = ((0, 1), (0, 2), (0, 3))
QUICK: tuple[Any, ...] = (
    Fenced(3), Fenced(3, stranger=True), Fenced(4), Fenced(4, stranger=True),
    Messages(3, resends=False), Messages(3, resends=True),
    Collecting(2, 2, SAME), Collecting(2, 1, REPLACED), Collecting(2, 1, THRICE, outages=0),
)  # fmt: skip
WHOLE: tuple[Any, ...] = (
    *QUICK, Fenced(5), Fenced(5, stranger=True), Messages(4, resends=False), Messages(4, resends=True),
    Collecting(2, 2, BOTH), Collecting(2, 1, THRICE), Collecting(3, 2, SAME, outages=0), Collecting(3, 1, REPLACED),
)  # fmt: skip


def delivering(mistake: str) -> list[Any]:
    return [Fenced(n, stranger=s, broken=mistake) for n in (2, 3) for s in (False, True)]


def sending(mistake: str) -> list[Any]:
    return [Messages(n, resends=r, broken=mistake) for n in (2, 3) for r in (False, True)]


def fetching(mistake: str) -> list[Any]:
    with_outage = [Collecting(2, n, files, broken=mistake) for n, files in ((2, SAME), (1, REPLACED))]
    return [*with_outage, *(Collecting(r, 1, f, outages=0, broken=mistake) for r, f in ((2, THRICE), (3, REPLACED)))]


MISTAKES: list[tuple[str, Callable[[str], list[Any]]]] = [
    *((m, delivering) for m in fenced.MISTAKES),
    *((m, sending) for m in messages.MISTAKES),
    *((m, fetching) for m in collecting.MISTAKES),
]


@pytest.mark.parametrize("model", QUICK, ids=lambda m: m.name)
def test_no_state_is_bad_and_from_each_one_on_call_ends_well(model: Any) -> None:
    found = explore(model)
    assert not found.wrong
    assert found.states > 500


def caught(mistake: str, models: Callable[[str], list[Any]]) -> Explored | None:
    """The first model in which this mistake leads to a bad state."""
    return next((found for model in models(mistake) if (found := explore(model)).wrong), None)


@pytest.mark.parametrize(("mistake", "models"), MISTAKES, ids=[m for m, _ in MISTAKES])
def test_a_mistake_in_a_protocol_leads_to_a_bad_state(mistake: str, models: Callable[[str], list[Any]]) -> None:
    assert caught(mistake, models) is not None


def test_a_seed_plays_the_same_schedule_again() -> None:
    setting = THREE["two interchanges, the first twice"]
    assert schedule(setting, 1809) == schedule(setting, 1809) != schedule(setting, 1810)
