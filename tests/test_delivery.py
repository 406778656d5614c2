"""The fenced protocol: the real code, every interleaving of its attempts, and a fault at every step.

The ledger and the partner are kept in memory here, so that every state is looked at (``tests/model``); the same code
runs against real servers in transports/test_deliveries.py and under Airflow in test_week.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from types import MappingProxyType
from typing import Any

import pytest

from slussen.delivery import Delivery, Outcome, Steps, _Attempt, drive
from slussen.errors import NameTaken, TransportError, TransportRefused
from slussen.transports import Missing
from tests.model.mutants import survives
from tests.model.walk import SETTINGS, THREE, walk
from tests.model.world import HALF, NAME, STRANGER, Setting, World, sha

HOLDING, REPLACING, MAINFRAME = (SETTINGS[k] for k in ("a shared directory", "replacing what is ours", "a mainframe"))
NEW = HOLDING.deliveries[0][1]
OLD = MAINFRAME.before[-1][1]


@pytest.mark.parametrize("name", SETTINGS)
def test_attempts_in_every_order_with_a_fault_at_every_step_deliver_once(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    walked = walk(SETTINGS[name])
    with capsys.disabled():
        print(f"\n  {name}: {walked}")
    assert walked.states > 500


def test_three_attempts_too(capsys: pytest.CaptureFixture[str]) -> None:
    walked = walk(QUIET_THREE)
    with capsys.disabled():
        print(f"\n  three attempts: {walked}")


def straight(d: Delivery, store: Any, to: Any, ledger: Any) -> Steps:
    """What a plain upload does: it is to be seen while it comes."""
    yield "claim"
    if any(e.kind == "delivered" for e in ledger.events(d.interchange)):
        return Outcome("already", 1, d.name)
    yield "upload"
    to.put(".x", BytesIO(HALF), 4)
    to.rename(".x", d.name, replace=True)
    yield "rest"
    to.put(".x", store.open(d.sha256), d.bytes)
    to.rename(".x", d.name, replace=True)
    yield "delivered"
    ledger.append(d.interchange, "delivered", {"name": d.name, "sha256": d.sha256})
    return Outcome("delivered", 1, d.name)


def fixed_temporary_name(self: _Attempt, attempt: int) -> str:
    return ".F.tmp"


def inferred_without_comparing(self: _Attempt, *, inferred: bool, only_last: bool) -> str:
    data = {"attempt": self.number, "name": NAME, "sha256": self.d.sha256, "inferred": inferred}
    self.ledger.append(self.d.interchange, "delivered", data, integration="f29")
    return "inferred"


def inferred_without_being_the_last(
    self: _Attempt, *, inferred: bool, only_last: bool, original: Any = _Attempt.say_delivered
) -> Any:
    return original(self, inferred=inferred, only_last=False)


def uploaded_without_being_the_last(self: _Attempt) -> bool:
    data = {"attempt": self.number}
    return bool(self.ledger.append(self.d.interchange, "uploaded", data, integration="f29"))


def nothing_taken_over(self: _Attempt, earlier: int) -> bool:
    return False


def taken_over_from_the_last_only(self: _Attempt, earlier: int, original: Any = _Attempt.take_over) -> Any:
    return earlier == self.number - 1 and original(self, earlier)


def taken_over_backwards(self: _Attempt, earlier: int, original: Any = _Attempt.take_over) -> Any:
    assert self.uploaded_by is not None
    return original(self, self.number - 1 - (earlier - self.uploaded_by))


def refusal_taken_for_missing(self: _Attempt, earlier: int, original: Any = _Attempt.take_over) -> Any:
    try:
        return original(self, earlier)
    except TransportRefused:
        return False


def not_verified(self: _Attempt) -> None:
    return


def missing_taken_for_renamed(self: _Attempt, original: Any = _Attempt.rename) -> Any:
    original(self)
    return True


def said_before_it_is_done(self: _Attempt, original: Any = _Attempt.rename) -> Any:
    self.say_delivered(inferred=False, only_last=False)
    return original(self)


def renamed_over_anything(self: _Attempt) -> bool:
    try:
        self.to.rename(self.temporary(self.number), self.d.name, replace=True)
    except Missing:
        return False
    return True


def swept_at_the_claim(self: _Attempt, original: Any = _Attempt.claim) -> Any:
    claimed = original(self)
    for earlier in range(1, self.number):
        self.sweep(self.temporary(earlier))
    return claimed


def set_aside_under_a_name_of_the_attempt(self: _Attempt, previous: Any) -> str:
    return f".F.{self.number}.old"


def no_marker(self: _Attempt, previous: Any) -> None:
    return


def not_checked_what_was_set_aside(self: _Attempt, previous: Any) -> bool:
    return True


def put_back_whenever_it_is_not_the_last(self: _Attempt, previous: Any) -> bool:
    return self._events()[-1].data.get("attempt") == self.number


def backup_removed(self: _Attempt, name: str) -> None:
    self.to.remove(name)


QUIET_THREE = replace(THREE["a shared directory"], receiver=False, lossy=False)
MUTANTS: MappingProxyType[Any, tuple[str, Setting]] = MappingProxyType({
    fixed_temporary_name: ("temporary", HOLDING),
    inferred_without_comparing: ("say_delivered", HOLDING),
    inferred_without_being_the_last: ("say_delivered", QUIET_THREE),
    uploaded_without_being_the_last: ("say_uploaded", HOLDING),
    nothing_taken_over: ("take_over", HOLDING),
    taken_over_from_the_last_only: ("take_over", QUIET_THREE),
    taken_over_backwards: ("take_over", QUIET_THREE),
    refusal_taken_for_missing: ("take_over", HOLDING),
    not_verified: ("verify", HOLDING),
    missing_taken_for_renamed: ("rename", HOLDING),
    said_before_it_is_done: ("rename", HOLDING),
    renamed_over_anything: ("rename", SETTINGS["a stranger on the name"]),
    swept_at_the_claim: ("claim", HOLDING),
    set_aside_under_a_name_of_the_attempt: ("aside", MAINFRAME),
    no_marker: ("place_marker", MAINFRAME),
    put_back_whenever_it_is_not_the_last: ("is_previous", MAINFRAME),
    backup_removed: ("empty", THREE["two interchanges, the first twice"]),
})  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_broken_protocol_is_caught(mutant: Callable[..., Any]) -> None:
    name, setting = MUTANTS[mutant]
    assert not survives(_Attempt, name, mutant, setting)


def test_not_looking_at_what_was_set_aside_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Attempt, "is_previous", not_checked_what_was_set_aside)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_what_is_not_ours_is_not_replaced_either(MAINFRAME, "set aside")


def test_an_upload_straight_to_the_final_name_is_caught() -> None:
    with pytest.raises(AssertionError, match="not what was sent"):
        walk(replace(HOLDING, protocol=straight))


def test_a_rename_that_is_a_link_and_an_unlink_is_caught() -> None:
    """Why the directory transport, where the system can't rename without replacing, looks first instead."""
    with pytest.raises(AssertionError, match="twice"):
        walk(replace(HOLDING, linking=True))


@pytest.mark.parametrize("setting", [HOLDING, REPLACING, MAINFRAME], ids=["hold", "replace", "mainframe"])
@pytest.mark.parametrize("nth", range(1, 4))
def test_an_append_that_another_attempt_came_before_is_decided_anew(setting: Setting, nth: int) -> None:
    """The whole of another attempt, between what an attempt has read and its comparing append."""
    world = World(replace(setting, receiver=False))
    appends = 0

    def rival() -> None:
        nonlocal appends
        appends += 1
        if appends == nth:
            drive(world.fresh(*setting.deliveries[0]))
        else:
            world.book.before = rival

    world.book.before = rival
    drive(world.fresh(*setting.deliveries[0]))
    world.book.before = None
    world.settle()
    assert appends >= nth


def only(setting: Setting) -> World:
    return World(replace(setting, deliveries=setting.deliveries[:1]))


def test_a_different_file_under_the_name_holds_and_is_not_touched() -> None:
    world = only(HOLDING)
    world.partner.files[NAME] = STRANGER
    with pytest.raises(NameTaken, match="Next: find out whose it is"):
        drive(world.fresh(*HOLDING.deliveries[0]))
    assert world.partner.files == {NAME: STRANGER}
    world.partner.files.clear()
    world.settle()


@pytest.mark.parametrize(
    ("setting", "step"),
    [
        (REPLACING, "look"),
        (REPLACING, "look again"),
        (MAINFRAME, "look"),
        (MAINFRAME, "set aside"),
        (MAINFRAME, "rename"),
    ],
)
def test_what_is_not_ours_is_not_replaced_either(setting: Setting, step: str) -> None:
    """Whenever it came, save between the last look and the rename on plain FTP and in directories."""
    world = only(setting)
    attempt = world.fresh(*setting.deliveries[0])
    for pending in attempt:
        if pending == step:
            world.partner.files[NAME] = STRANGER
            break
    with pytest.raises(NameTaken):
        drive(attempt)
    assert world.partner.files[NAME] == STRANGER


@pytest.mark.parametrize("error", [TransportError, TransportRefused])
def test_what_could_not_be_verified_is_not_left_at_the_partner(error: type[Exception]) -> None:
    world = only(HOLDING)

    def verify(*asked: object) -> bool:
        raise error("verifying")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(error):
        patch.setattr(world.partner, "verify", verify)
        drive(world.fresh(*HOLDING.deliveries[0]))
    assert world.partner.files == {}
    world.settle()


def test_our_own_content_under_the_name_is_delivered() -> None:
    world = only(HOLDING)
    world.partner.files[NAME] = NEW
    assert drive(world.fresh(*HOLDING.deliveries[0])).state == "inferred"
    assert world.partner.files == {NAME: NEW}


@pytest.mark.parametrize("there", [True, False])
def test_a_lost_reply_to_the_last_rename_is_inferred_only_when_the_file_is_not_to_be_seen(there: bool) -> None:
    world = only(HOLDING)
    attempt = world.attempts[0]
    while attempt.pending != "rename":
        world.move(("go", 0))
    world.move(("lost", 0))
    assert isinstance(attempt.ended, TransportError)
    if not there:
        world.partner.take()
    assert drive(world.fresh(*HOLDING.deliveries[0])).state == ("delivered" if there else "inferred")
    assert world.book.all[-1].data["inferred"] is not there


def test_an_older_interchange_never_replaces_a_newer_one() -> None:
    world = World(SETTINGS["two interchanges of one dataset"])
    older, newer = world.setting.deliveries
    drive(world.fresh(*newer))
    with pytest.raises(NameTaken, match="newer"):
        drive(world.fresh(*older))
    assert world.partner.files[NAME] == newer[1]


def test_who_is_fenced_does_not_say_it_was_delivered() -> None:
    world = World(replace(HOLDING, receiver=False, lossy=False))
    for _ in range(4):
        world.move(("go", 0))
    assert world.attempts[0].pending == "uploaded"
    world.move(("go", 1))  # claims
    world.move(("go", 0))
    world.move(("go", 0))
    assert world.attempts[0].ended == Outcome("fenced", 1, NAME)


def test_stumps_of_killed_attempts_are_swept_up() -> None:
    world = only(HOLDING)
    for step in (killed := world.fresh(*HOLDING.deliveries[0])):
        if step == "verify":
            killed.close()
    assert len(world.partner.files) == 1
    drive(world.fresh(*HOLDING.deliveries[0]))
    assert world.partner.files == {NAME: NEW}


def test_the_mainframes_last_generation_is_kept_until_the_next_and_its_name_for_eight_more() -> None:
    world = World(replace(MAINFRAME, before=()))
    d = MAINFRAME.deliveries[0][0]
    for n in range(13):
        content = b"%d" % n
        world.book.append(f"f29-{n:02d}", "content", integration="f29")
        drive(world.fresh(replace(d, interchange=f"f29-{n:02d}", sha256=sha(content), bytes=len(content)), content))
    aside = {f".F.f29-{n:02d}.old": b"" for n in range(3, 11)}
    assert world.partner.files == {NAME: b"12", ".F.f29-11.old": b"11", **aside}
    assert OLD not in world.partner.files.values()
