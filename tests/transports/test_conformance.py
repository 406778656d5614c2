"""What every transport does, against a real server each: files and messages alike, first collecting, then delivering.

The same behaviours are asked of servers that nobody here wrote in ``tests/interop``. How many are asked of whom is
counted in ``test_counts.py``, with those of ``test_disturbed.py`` and ``test_renaming.py``.
"""

from __future__ import annotations

import io
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

import pytest

from slussen.archiving import archive
from slussen.collection import collect, collecting
from slussen.delivery import Delivery
from slussen.errors import CallError, TechnicalError, TransportError, TransportRefused
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.transports import Unknown
from tests.transports.places import CONTENT, End

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
            archive(at, entry)
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
            archive(at, seen)
        assert [e.size for e in at.entries(name)] == [320]
    assert 320 not in map(len, end.archived())


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\nb", "a\0b", "a\\b", "x\r\nDELE a"])
def test_no_name_leads_anywhere_else(end: End, name: str) -> None:
    with end.open() as at, pytest.raises(CallError):
        at.stat(name)


def test_a_download_that_breaks_is_no_file_or_is_gone_on_with(end: End) -> None:
    name, whole = end.names[0], content(2_097_280)
    end.bring(name, whole)
    with end.breaking(name) as sink, suppress(TransportError, TransportRefused), end.open() as at:
        at.fetch(name, sink)
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
        archive(one, entry)
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
