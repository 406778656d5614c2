"""What every transport does when its partner, or the network, does wrong: files and messages alike."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from sandbox.faults import Fault
from slussen.errors import TransportError, TransportRefused
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.transports import Unknown
from tests.transports.places import CONTENT, End
from tests.transports.test_conformance import attempt, content, is_delivered, promise

LARGE = 6_000_000  # more than what buffers on the way hold


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
