"""What every transport does, against a real server each: collecting, then delivering.

The same behaviours are asked of servers that nobody here wrote in ``tests/interop``.
"""

from __future__ import annotations

import io
import os
from hashlib import sha256

import pytest

from slussen.errors import CallError, TransportError
from slussen.transports import Exists, Missing
from tests.transports.places import CONTENT, Place

EVERY_BYTE = bytes(range(256)) * 5
SIZES = [0, 160, 1280, 32_800, 327_680, 1_048_640]  # none, less and more than what goes in one request, whole records


def content(size: int) -> bytes:
    return (EVERY_BYTE * (size // len(EVERY_BYTE) + 1))[:size]


# --- collecting


def test_nothing_there_is_an_empty_list(source: Place) -> None:
    with source.open() as at:
        assert at.entries(source.names[0][:3] + "*") == []
        assert at.stat(source.names[0]) is None


def test_the_list_knows_wildcards_and_whole_names(source: Place) -> None:
    for name in source.names:
        source.bring(name)
    first = source.names[0]
    with source.open() as at:
        for pattern in (first, first[:-4] + "*", first[:-1] + "?"):
            assert [(e.name, e.size) for e in at.entries(pattern)] == [(first, len(CONTENT))]
        assert at.entries("NOTHING.LIKE*") == []


def test_a_file_looked_at_is_the_file_that_was_listed(source: Place) -> None:
    source.bring(source.names[0])
    with source.open() as at:
        [entry] = at.entries(source.names[0])
        assert at.stat(source.names[0]) == entry
    with source.open() as again:
        assert again.entries(source.names[0]) == [entry], "and stays so, for a file that nobody touches"


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_fetched_byte_for_byte(source: Place, size: int) -> None:
    source.bring(source.names[0], content(size))
    with source.open() as at:
        at.fetch(source.names[0], sink := io.BytesIO())
        assert sink.getvalue() == content(size)
        assert at.stat(source.names[0]) is not None, "fetching takes nothing away"


def test_fetching_what_is_not_there_is_a_passing_fault(source: Place) -> None:
    with source.open() as at, pytest.raises(TransportError):
        at.fetch(source.names[0], io.BytesIO())


def test_a_collected_file_is_archived_over_nothing_that_is_there(source: Place) -> None:
    name, archived = source.names[0], []
    with source.open() as at:
        for n in range(3):
            source.bring(name, CONTENT * (n + 1))
            [entry] = at.entries(name)
            archived.append(at.archive(name, entry))
            assert at.stat(name) is None
            assert at.entries(name) == []
    assert len(set(archived)) == 3
    assert [(source.folder / a).stat().st_size for a in archived] == [160, 320, 480]


def test_a_file_that_took_the_name_since_it_was_collected_is_not_archived(source: Place) -> None:
    """It would be in the archive, and nobody would ever have read it."""
    name = source.names[0]
    source.bring(name)
    with source.open() as at:
        [seen] = at.entries(name)
        source.bring(name, CONTENT * 2)
        with pytest.raises(TransportError, match="has taken the name since"):
            at.archive(name, seen)
        assert [e.size for e in at.entries(name)] == [320]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\nb", "a\0b", "a\\b", "x\r\nDELE a"])
def test_no_name_leads_anywhere_else(source: Place, name: str) -> None:
    with source.open() as at, pytest.raises(CallError):
        at.stat(name)


# --- delivering


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


def test_a_stale_connection_is_a_passing_fault(place: Place) -> None:
    to = place.open()
    to.close()
    with pytest.raises(TransportError):
        to.exists(place.names[0])


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
