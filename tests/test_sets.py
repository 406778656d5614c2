"""Several files as one delivery: every order of its attempts, and a fault at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from slussen import sets
from slussen.delivery import _Attempt, deliver, drive
from slussen.errors import CallError, NameTaken
from tests.model.mutants import survives
from tests.model.together import CONTENTS, NAMES, PARTS, TOGETHER, Together
from tests.model.walk import walk
from tests.model.world import STRANGER


@pytest.mark.parametrize("name", TOGETHER)
def test_two_files_are_both_delivered_or_neither(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    walked = walk(TOGETHER[name])
    with capsys.disabled():
        print(f"\n  {name}: {walked}")
    assert walked.states > 500


def one_by_one(parts: Any, store: Any, to: Any, ledger: Any) -> sets.SetSteps:
    """Each as if it were alone: the first is to be seen before the second is there."""
    outcomes = []
    for d in parts:
        outcomes.append((yield from deliver(d, store, to, ledger)))
    return tuple(outcomes)


def names_not_looked_at(self: _Attempt) -> None:
    return


def goes_on_when_fenced(self: _Attempt, original: Any = _Attempt.rename) -> Any:
    original(self)
    return True


def brought_without_a_check(self: _Attempt) -> None:
    return


def nothing_taken_over(self: _Attempt, earlier: int) -> bool:
    return False


STRANGE = TOGETHER["two files, a stranger on the second name"]
MUTANTS: list[tuple[Callable[..., Any], str, Together]] = [
    (names_not_looked_at, "may_replace", STRANGE),
    (goes_on_when_fenced, "rename", replace(TOGETHER["two files"], receiver=False)),
    (brought_without_a_check, "verify", TOGETHER["two files"]),
    (nothing_taken_over, "take_over", TOGETHER["two files"]),
]


@pytest.mark.parametrize(("mutant", "name", "setting"), MUTANTS, ids=lambda m: getattr(m, "__name__", None))
def test_a_broken_protocol_is_caught(mutant: Callable[..., Any], name: str, setting: Together) -> None:
    assert not survives(_Attempt, name, mutant, setting)


def test_delivering_one_after_the_other_is_caught() -> None:
    with pytest.raises(AssertionError, match="the second isn't there yet"):
        walk(replace(TOGETHER["two files"], together=one_by_one))


@pytest.mark.parametrize("name", NAMES)
def test_a_taken_name_holds_them_all(name: str) -> None:
    world = TOGETHER["two files"].begin()
    world.partner.files[name] = STRANGER
    with pytest.raises(NameTaken, match=f"under {name} "):
        drive(world.fresh())
    assert [n for n in world.partner.files if not n.startswith(".")] == [name]
    del world.partner.files[name]
    drive(world.fresh())
    assert world.partner.files == dict(zip(NAMES, CONTENTS, strict=True))


def test_what_was_killed_between_two_renames_is_completed_and_the_gap_is_written_down() -> None:
    world = TOGETHER["two files"].begin()
    renames = 0
    for step in world.fresh():
        renames += step == "rename"
        if renames == 2:
            break
    assert sorted(n for n in world.partner.files if not n.startswith(".")) == ["F"]
    outcomes = drive(world.fresh())
    assert [o.state for o in outcomes] == ["already", "delivered"]
    assert world.partner.files == dict(zip(NAMES, CONTENTS, strict=True))
    completed = world.book.events(PARTS[1].interchange)[-1]
    assert (completed.kind, completed.data["measured"]) == ("completed", False)


def test_a_delivery_in_one_go_measures_its_gap() -> None:
    world = TOGETHER["two files"].begin()
    drive(world.fresh())
    data = dict(world.book.events(PARTS[1].interchange)[-1].data)
    assert data.pop("gap") < 1
    assert data == {"parts": [d.interchange for d in PARTS], "measured": True}


@pytest.mark.parametrize("change", [{"name": "F"}, {"existing": "replace_ours"}])
def test_a_set_with_one_name_twice_or_that_may_replace_is_refused(change: Any) -> None:
    world = TOGETHER["two files"].begin()
    with pytest.raises(CallError):
        drive(sets.deliver_set([PARTS[0], replace(PARTS[1], **change)], None, world.partner, world.book))  # type: ignore[arg-type]
    assert not world.book.events(PARTS[0].interchange)[1:]
