"""What every transport does, against a real server each: collecting and delivering by any protocol, then by renaming.

The same behaviours are asked of servers that nobody here wrote in ``tests/interop``. How many are asked of whom is
counted in ``test_counts.py``.
"""

from __future__ import annotations

import io
import os
from contextlib import nullcontext, suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

import pytest

from sandbox.faults import Fault
from slussen.collection import collect, collecting
from slussen.delivery import Delivery
from slussen.errors import CallError, TechnicalError, TransportError, TransportRefused
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.transports import Exists, Missing, Unknown
from tests.transports.places import CONTENT, End, Place

EVERY_BYTE = bytes(range(256)) * 5
SIZES = [0, 160, 1280, 32_800, 327_680, 1_048_640]  # none, less and more than what goes in one request, whole records
LARGE = 6_000_000  # more than what buffers on the way hold
ODD = b"\r\n.\r\n--=_b--\r\n\0\x1a\xff\xfb".ljust(80, b".")  # ends of messages, of files, and of lines


def content(size: int) -> bytes:
    return (EVERY_BYTE * (size // len(EVERY_BYTE) + 1))[:size]


# --- collecting, by any protocol


def test_nothing_there_is_an_empty_list(end: End) -> None:
    with end.open() as at:
        assert at.entries(end.names[0][:3] + "*") == []
        assert at.stat(end.names[0]) is None


def test_the_list_knows_wildcards_and_whole_names(end: End) -> None:
    for name in end.names:
        end.bring(name)
    first = end.names[0]
    with end.open() as at:
        for pattern in (first, first[:-4] + "*", first[:-1] + "?"):
            assert [(e.name, e.size) for e in at.entries(pattern)] == [(first, len(CONTENT))]
        assert at.entries("NOTHING.LIKE*") == []


def test_a_file_looked_at_is_the_file_that_was_listed(end: End) -> None:
    end.bring(end.names[0])
    with end.open() as at:
        [entry] = at.entries(end.names[0])
        assert at.stat(end.names[0]) == entry
    with end.open() as again:
        assert again.entries(end.names[0]) == [entry], "and stays so, for a file that nobody touches"


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_fetched_byte_for_byte(end: End, size: int) -> None:
    end.bring(end.names[0], content(size))
    with end.open() as at:
        at.fetch(end.names[0], sink := io.BytesIO())
        assert sink.getvalue() == content(size)
        assert at.stat(end.names[0]) is not None, "fetching takes nothing away"


def test_fetching_what_is_not_there_is_a_passing_fault(end: End) -> None:
    with end.open() as at, pytest.raises(TransportError):
        at.fetch(end.names[0], io.BytesIO())


def test_a_collected_file_is_archived_over_nothing_that_is_there(end: End) -> None:
    name = end.names[0]
    with end.open() as at:
        for n in range(3):
            end.bring(name, CONTENT * (n + 1))
            [entry] = at.entries(name)
            at.archive(name, entry)
            assert at.stat(name) is None
            assert at.entries(name) == []
    assert sorted(map(len, end.archived())) == [160, 320, 480]


def test_a_file_that_took_the_name_since_it_was_collected_is_not_archived(end: End) -> None:
    """It would be in the archive, and nobody would ever have read it."""
    name = end.names[0]
    end.bring(name)
    with end.open() as at:
        [seen] = at.entries(name)
        end.bring(name, CONTENT * 2)
        with pytest.raises(TransportError, match="has taken the name since") if end.renames else nullcontext():
            at.archive(name, seen)
        assert [e.size for e in at.entries(name)] == [320]
    assert 320 not in map(len, end.archived())


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\nb", "a\0b", "a\\b", "x\r\nDELE a"])
def test_no_name_leads_anywhere_else(end: End, name: str) -> None:
    with end.open() as at, pytest.raises(CallError):
        at.stat(name)


def test_a_download_that_breaks_is_no_file_or_is_gone_on_with(end: End) -> None:
    name, whole = end.names[0], content(2_097_280)
    end.bring(name, whole)
    with end.breaking(name) as sink:
        try:
            with end.open() as at:
                at.fetch(name, sink)
        except (TransportError, TransportRefused):
            assert sink.getvalue() != whole
        else:
            assert sink.getvalue() == whole


def test_a_connection_that_was_closed_is_a_passing_fault(end: End) -> None:
    at = end.open()
    at.stat(end.names[0])
    at.close()
    with pytest.raises(TransportError):
        at.stat(end.names[0])


def test_what_comes_is_seen_by_every_connection_and_what_is_collected_by_none(end: End) -> None:
    name = end.names[0]
    with end.open() as one, end.open() as other:
        assert one.entries(name) == other.entries(name) == []
        end.bring(name)
        [entry] = one.entries(name)
        assert other.entries(name) == [entry]
        one.archive(name, entry)
        assert other.entries(name) == []
        with pytest.raises(TransportError):
            other.fetch(name, io.BytesIO())


def test_no_more_descriptors_are_open_after_collecting(end: End) -> None:
    end.bring(end.names[0])
    with end.open() as at:
        at.stat(end.names[0])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with end.open() as at:
            at.entries(end.names[0])
            at.fetch(end.names[0], io.BytesIO())
        with suppress(TransportError), end.open() as at:
            at.fetch(end.names[1], io.BytesIO())
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_a_collection_that_is_cut_off_at_any_step_is_picked_up_and_not_repeated(
    end: End, book: Ledger, store: PayloadStore
) -> None:
    name, key = end.names[0], f"c{token_hex(4)}"
    with end.open() as at:
        for n in range(6):
            end.bring(name, CONTENT * (n + 1))
            [entry] = at.entries(name)
            steps = collecting(key, entry, at, store, book, "one")
            for _ in range(n):
                next(steps, None)
            steps.close()
            for entry in at.entries(name):
                collect(key, entry, at, store, book, "two")
            assert at.entries(name) == []
    found = [e.data["bytes"] for e in book.kind("collected", integration=key)]
    assert found == [len(CONTENT) * (n + 1) for n in range(6)]
    assert sorted(map(len, end.archived())) == found


def test_the_same_content_again_is_a_repeat_and_is_put_away_too(end: End, book: Ledger, store: PayloadStore) -> None:
    key, got = f"c{token_hex(4)}", []
    with end.open() as at:
        for name in (*end.names, end.names[0]):
            end.bring(name)
            [entry] = at.entries(name)
            got.append(collect(key, entry, at, store, book, f"run {len(got)}"))
        assert [e for name in end.names for e in at.entries(name)] == []
    assert [bool(c.repeat_of) for c in got] == [False, True, True]
    assert end.archived() == [CONTENT] * 3


# --- delivering, by any protocol: a rename, or a message


def promise(book: Ledger, store: PayloadStore, name: str, content: bytes) -> Delivery:
    """An interchange of its own with this content."""
    with store.writer() as sink:
        sink.write(content)
    interchange = f"f29-{token_hex(6)}"
    book.append(interchange, "content", {"name": name}, integration="f29")
    return Delivery(interchange=interchange, integration="f29", name=name, sha256=sink.sha256, bytes=sink.bytes)


def attempt(end: End, d: Delivery, store: PayloadStore, book: Ledger, *, until: int | None = None) -> str:
    """One attempt in a connection of its own, and how it ended; killed after ``until`` steps; then answers are read."""
    with end.open() as to:
        steps = end.steps(d, store, to, book)
        ended = ""
        try:
            for _ in range(100 if until is None else until):
                next(steps)
        except StopIteration as end_of_it:
            ended = end_of_it.value.state
        steps.close()
        end.answers(to, book)
    return ended


def is_delivered(book: Ledger, d: Delivery) -> bool:
    kinds = [e.kind for e in book.events(d.interchange)]
    assert kinds.count("delivered") <= 1
    return "delivered" in kinds


@pytest.mark.parametrize("content", [*map(content, SIZES), ODD], ids=[*map(str, SIZES), "odd"])
def test_what_is_delivered_arrives_byte_for_byte(end: End, book: Ledger, store: PayloadStore, content: bytes) -> None:
    d = promise(book, store, end.names[0], content)
    assert attempt(end, d, store, book) == "delivered"
    assert is_delivered(book, d)
    assert end.received() == [content]


def test_what_was_delivered_is_not_delivered_again(end: End, book: Ledger, store: PayloadStore) -> None:
    d = promise(book, store, end.names[0], CONTENT)
    assert [attempt(end, d, store, book) for _ in range(3)] == ["delivered", "already", "already"]
    assert end.received() == [CONTENT]
    assert attempt(end, d, store, book) == "already"
    assert end.received() == [], "nor when the partner has taken it"


def test_the_same_content_of_two_interchanges_is_delivered_twice(end: End, book: Ledger, store: PayloadStore) -> None:
    for name in end.names:
        assert attempt(end, promise(book, store, name, CONTENT), store, book) == "delivered"
    assert end.received() == [CONTENT] * 2


def test_cut_off_at_any_step_it_is_delivered_once_by_the_next_attempt(
    end: End, book: Ledger, store: PayloadStore
) -> None:
    """What was cut off right before its sending is unknown where only a receipt can tell, and is never sent again."""
    for until in range(10):
        d = promise(book, store, end.names[0], CONTENT)
        attempt(end, d, store, book, until=until)
        state = attempt(end, d, store, book)
        received = end.received()
        if state == "unknown":
            assert not end.renames
            assert received == []
        else:
            assert received == [CONTENT]
        assert is_delivered(book, d) == bool(received)


def test_an_attempt_that_slept_while_another_delivered_does_no_harm(
    end: End, book: Ledger, store: PayloadStore
) -> None:
    for until in range(1, 8):
        d = promise(book, store, end.names[0], CONTENT)
        with end.open() as to:
            late = end.steps(d, store, to, book)
            for _ in range(until):
                next(late, None)
            attempt(end, d, store, book)
            received = end.received()
            with suppress(TransportError):
                for _ in late:
                    pass
            end.answers(to, book)
        received += end.received()
        assert received == [CONTENT]
        assert is_delivered(book, d)


class Halving(PayloadStore):
    """A store out of which half of what was promised comes."""

    def open(self, digest: str) -> BinaryIO:
        with super().open(digest) as whole:
            return io.BytesIO(whole.read()[: len(CONTENT) // 2])


def test_half_a_payload_does_not_pass_for_a_whole_one(end: End, book: Ledger, store: PayloadStore) -> None:
    d = promise(book, store, end.names[0], CONTENT)
    with pytest.raises(TransportError) as caught:
        attempt(end, d, Halving(store.root), book)
    assert not isinstance(caught.value, Unknown)
    assert not is_delivered(book, d)
    assert end.received() == []
    assert attempt(end, d, store, book) == "delivered"
    assert end.received() == [CONTENT]


def test_a_payload_that_is_not_what_the_ledger_says_never_leaves(end: End, book: Ledger, store: PayloadStore) -> None:
    d = promise(book, store, end.names[0], CONTENT)
    path: Path = store.path(d.sha256)
    path.unlink()
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(TechnicalError, match="has changed on the disk"):
        attempt(end, d, store, book)
    assert end.received() == []
    path.write_bytes(CONTENT)
    assert attempt(end, d, store, book) == "delivered"
    assert end.received() == [CONTENT]


def test_every_interchange_has_an_identity_of_its_own_there_and_every_attempt_the_same(end: End) -> None:
    def identities() -> set[Any]:
        with end.open() as to:
            known = ("f29-1", "f29-2", "f29-11")
            return {(to.temporary(end.names[0], i, 1) if end.renames else to.message_id(i)) for i in known}

    assert identities() == identities()
    assert len(identities()) == 3


# --- faults of a network, by any protocol that has one


def told(remote: End, *faults: Fault) -> None:
    """The partner does these things wrong from now on, and no others."""
    assert remote.switches is not None
    remote.switches.set(*faults)


def test_a_lost_reply_is_found_out_about_and_nothing_is_there_twice(
    remote: End, book: Ledger, store: PayloadStore
) -> None:
    """By looking, by sending the same id again, or by the receipt."""
    for on in ("put", "rename") if remote.renames else ("send",):
        d = promise(book, store, remote.names[0], CONTENT)
        told(remote, Fault(kind="swallow", on=on, times=1))
        for _ in range(3):
            with suppress(TransportError):
                attempt(remote, d, store, book)
        assert is_delivered(book, d)
        assert remote.received() == [CONTENT]


@pytest.mark.parametrize("after", [1, 100, 100_000])
def test_a_connection_that_breaks_midway_has_certainly_not_delivered(
    remote: End, book: Ledger, store: PayloadStore, after: int
) -> None:
    d = promise(book, store, remote.names[0], content(LARGE))
    told(remote, Fault(kind="drop", on=remote.sends, bytes=after, times=1))
    with pytest.raises(TransportError) as caught:
        attempt(remote, d, store, book)
    assert not isinstance(caught.value, Unknown)
    assert remote.received() == []
    assert attempt(remote, d, store, book) == "delivered"
    assert remote.received() == [content(LARGE)]


@pytest.mark.parametrize("kind", ["busy", "full"])
def test_what_is_put_off_is_delivered_by_the_next_attempt(
    remote: End, book: Ledger, store: PayloadStore, kind: Any
) -> None:
    d = promise(book, store, remote.names[0], content(32_800))
    told(remote, Fault(kind=kind, on=remote.sends, bytes=1000))
    with pytest.raises(TransportError) as caught:
        attempt(remote, d, store, book)
    assert not isinstance(caught.value, Unknown)
    assert remote.received() == []
    told(remote)
    assert attempt(remote, d, store, book) == "delivered"
    assert remote.received() == [content(32_800)]


def test_what_is_refused_for_good_is_final(remote: End, book: Ledger, store: PayloadStore) -> None:
    d = promise(book, store, remote.names[0], CONTENT)
    told(remote, Fault(kind="refuse", on=remote.sends))
    with pytest.raises(TransportRefused):
        attempt(remote, d, store, book)
    assert not is_delivered(book, d)
    assert remote.received() == []


def test_a_partner_that_is_not_there_passes(remote: End, book: Ledger, store: PayloadStore) -> None:
    d = promise(book, store, remote.names[0], CONTENT)
    told(remote, Fault(kind="drop", on="connect"))
    with pytest.raises(TransportError):
        attempt(remote, d, store, book)
    told(remote)
    assert attempt(remote, d, store, book) == "delivered"


def test_a_list_that_breaks_is_a_passing_fault_and_no_empty_one(remote: End) -> None:
    remote.bring(remote.names[0])
    with remote.open() as at:
        told(remote, Fault(kind="drop", on="list", times=1))
        with pytest.raises(TransportError):
            at.entries(remote.names[0])
    with remote.open() as at:
        assert [e.name for e in at.entries(remote.names[0])] == [remote.names[0]]


# --- delivering by renaming


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
