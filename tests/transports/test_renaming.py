"""What every transport does that can rename, against a real server each."""

from __future__ import annotations

import io
import os
from hashlib import sha256

import pytest

from slussen.archiving import archive, archiving
from slussen.errors import TransportError
from slussen.transports import Exists, Missing
from tests.transports.places import CONTENT, Place
from tests.transports.test_conformance import SIZES, content


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_stands_there_whole_once_it_is_renamed(place: Place, size: int) -> None:
    name, data = place.names[0], content(size)
    with place.open() as to:
        temporary = to.temporary(name, "f29-1", 1)
        to.put(temporary, io.BytesIO(data), size)
        assert to.verify(temporary, size, sha256(data).hexdigest())
        assert to.exists(temporary)
        assert not to.exists(name)
        to.rename(temporary, name, replace=False)
        assert to.digest(name) == sha256(data).hexdigest()
    assert place.standing() == {name: data}


def test_the_longest_name_is_delivered_too(place: Place) -> None:
    name = place.names[0] if place.unit > 1 else "å" * 125 + ".txt"
    with place.open() as to:
        assert to.temporary(name, "f29-1", 1) != to.temporary(name, "f29-1", 2) != to.aside(name, "f29-1")
        to.put(temporary := to.temporary(name, "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        to.rename(temporary, name, replace=False)
        to.rename(name, aside := to.aside(name, "f29-1"), replace=False)
        assert to.exists(aside)


def test_files_of_the_longest_name_are_archived_one_after_the_other(place: Place) -> None:
    name = place.names[0] if place.unit > 1 else "å" * 125 + "1.txt"
    kept = set()
    with place.open() as at:
        for n in (1, 2, 3):
            place.bring(name, CONTENT * n)
            kept.add(archive(at, at.fetch(name, io.BytesIO())))
    assert len(kept) == 3


def test_a_temporary_name_is_not_collected_by_a_consumer(place: Place) -> None:
    with place.open() as to:
        to.put(to.temporary(place.names[0], "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        assert to.entries(place.names[0][:-1] + "?") == []


def test_half_a_file_does_not_pass_for_a_whole_one(place: Place) -> None:
    with place.open() as to:
        temporary = to.temporary(place.names[0], "f29-1", 1)
        to.put(temporary, io.BytesIO(CONTENT[:80]), 80)
        assert not to.verify(temporary, len(CONTENT), sha256(CONTENT).hexdigest())


def test_a_stump_of_the_same_attempt_is_written_over(place: Place) -> None:
    with place.open() as to:
        temporary = to.temporary(place.names[0], "f29-1", 1)
        to.put(temporary, io.BytesIO(CONTENT * 2), 320)
        to.put(temporary, io.BytesIO(CONTENT), len(CONTENT))
        assert to.digest(temporary) == sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("third", [False, True])
def test_a_file_that_takes_the_name_at_the_moment_of_archiving_is_put_back_over_nothing(
    place: Place, third: bool
) -> None:
    """Between the last look and the move; and a third one before it can be put back."""
    name = place.names[0]
    place.bring(name)
    with place.open() as at:
        seen = at.stat(name)
        assert seen is not None
        comes = {"archive": CONTENT * 2, **({"put back": CONTENT * 3} if third else {})}
        with pytest.raises(TransportError, match="has taken the name"):
            for step in archiving(at, seen, lambda _: None):
                if step in comes:
                    place.bring(name, comes.pop(step))
    assert not comes
    assert place.standing()[name] == CONTENT * (3 if third else 2), "and nothing is written over"
    assert CONTENT * 2 in [place.standing()[name], *place.archived()], "nor lost"


def test_a_rename_of_nothing_says_missing_whether_the_name_is_free_or_not(place: Place) -> None:
    with place.open() as to:
        for _ in range(2):
            with pytest.raises(Missing):
                to.rename(to.temporary(place.names[0], "f29-1", 1), place.names[0], replace=False)
            place.bring(place.names[0])
    assert place.standing() == {place.names[0]: CONTENT}


def test_a_rename_never_replaces_unasked(place: Place) -> None:
    first, second = place.names
    place.bring(first)
    place.bring(second, CONTENT * 2)
    with place.open() as to, pytest.raises(Exists):
        to.rename(first, second, replace=False)
    assert place.standing() == {first: CONTENT, second: CONTENT * 2}


def test_a_rename_that_may_replace_does_where_the_server_can(place: Place) -> None:
    first, second = place.names
    place.bring(first)
    place.bring(second, CONTENT * 2)
    with place.open() as to:
        if not to.replaces:
            with pytest.raises(Exists):
                to.rename(first, second, replace=True)
            return
        to.rename(first, second, replace=True)
    assert place.standing() == {second: CONTENT}


def test_from_one_temporary_name_to_the_next_only_one_attempt_gets_through(place: Place) -> None:
    """The fence: whoever renames first has the file, and the other is told that there is none."""
    with place.open() as one, place.open() as other:
        names = [one.temporary(place.names[0], "f29-1", n) for n in (1, 2, 3)]
        one.put(names[0], io.BytesIO(CONTENT), len(CONTENT))
        one.rename(names[0], names[1], replace=False)
        with pytest.raises(Missing):
            other.rename(names[0], names[2], replace=False)
        assert other.exists(names[1])


def test_removing_what_is_not_there_is_no_fault(place: Place) -> None:
    place.bring(place.names[0])
    with place.open() as to:
        to.remove(place.names[0])
        to.remove(place.names[0])
        assert not to.exists(place.names[0])


def test_reading_back_what_is_not_there_says_missing(place: Place) -> None:
    with place.open() as to, pytest.raises(Missing):
        to.digest(place.names[1])


def test_every_attempt_and_interchange_has_names_of_its_own(place: Place) -> None:
    with place.open() as to:
        names = {to.temporary(place.names[0], i, n) for i in ("f29-1", "f29-2") for n in (1, 2, 11)}
        names |= {to.aside(place.names[0], i) for i in ("f29-1", "f29-2")}
    assert len(names) == 8
    assert place.names[0] not in names


def test_what_one_connection_writes_another_sees_at_once(place: Place) -> None:
    name = place.names[0]
    with place.open() as writer, place.open() as reader:
        assert not reader.exists(name)
        writer.put(temporary := writer.temporary(name, "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        writer.rename(temporary, name, replace=False)
        assert reader.digest(name) == sha256(CONTENT).hexdigest()


def test_no_more_descriptors_are_open_afterwards(place: Place) -> None:
    with place.open() as to:
        to.exists(place.names[0])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with place.open() as to:
            to.put(temporary := to.temporary(place.names[0], "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
            to.fetch(temporary, io.BytesIO())
    assert len(os.listdir("/proc/self/fd")) <= before + 1
