"""From a partner's file to a durable payload: collected once, archived at the source only when it is safe with us.

The order of the steps is the promise: fetch, fsync, ledger, archive. A crash between any two of them is picked up by
the next attempt, which finds the file still there and the ledger saying what has been done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from slussen.errors import TransportError
from slussen.manifest import Manifest

if TYPE_CHECKING:
    from slussen.ledger import Event, Ledger
    from slussen.payloads import PayloadStore
    from slussen.transports import Entry, Transport


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of one file at the source."""

    interchange: str
    name: str
    bytes: int
    sha256: str
    repeat_of: str = ""

    def __str__(self) -> str:
        what = f"a repeat of {self.repeat_of}, not sent on" if self.repeat_of else "collected"
        return f"{self.interchange}: {self.name}, {self.bytes} bytes, sha256 {self.sha256[:12]}: {what}"


def identity(integration: str, name: str, size: int, digest: str) -> str:
    """The interchange that this file is: the same file is the same interchange, however often it is looked at."""
    key = "\0".join((name, str(size), digest)).encode("utf-8", "surrogateescape")  # a name may be any bytes
    return f"{integration}-{sha256(key).hexdigest()[:12]}"


def collect(
    integration: str, entry: Entry, source: Transport, store: PayloadStore, ledger: Ledger, run_id: str
) -> Collected:
    """Fetch one file, make it durable, write it to the ledger, then move it to the source's archive.

    The same content again (under this or another name) is recorded as a repeat and archived, not sent on.

    Raises:
        TransportError: the file changed while it was fetched, or the partner failed.
    """
    with store.writer() as sink:
        source.fetch(entry.name, sink)
    if sink.bytes != entry.size:
        raise TransportError(
            f"{integration}: {entry.name}: {entry.size} bytes listed, {sink.bytes} fetched: it changes"
        )
    interchange = identity(integration, entry.name, sink.bytes, sink.sha256)
    events = ledger.events(interchange)
    done = {e.kind for e in events}
    repeat_of = "" if "collected" in done else _twin(ledger, integration, sink.sha256)
    if "archived" in done:
        repeat_of = interchange
    if repeat_of:
        data = {"name": entry.name, "bytes": sink.bytes, "sha256": sink.sha256, "repeat_of": repeat_of, "run": run_id}
        ledger.append(interchange, "repeated", data, integration=integration)
        source.archive(entry.name, entry)
        return Collected(interchange, entry.name, sink.bytes, sink.sha256, repeat_of)
    if "collected" not in done:
        ledger.append(
            interchange,
            "collected",
            {"name": entry.name, "bytes": sink.bytes, "sha256": sink.sha256, "run": run_id},
            integration=integration,
            after=events[-1].seq if events else 0,
        )
    archived = source.archive(entry.name, entry)
    ledger.append(interchange, "archived", {"name": archived}, integration=integration)
    return Collected(interchange, entry.name, sink.bytes, sink.sha256)


def collected_by(ledger: Ledger, integration: str, run_id: str) -> Iterator[Manifest]:
    """The interchanges that this run collected, in the order of their collection."""
    for event in ledger.kind("collected", integration=integration):
        if event.data["run"] == run_id:
            yield _manifest(event)


def _twin(ledger: Ledger, integration: str, digest: str) -> str:
    for event in ledger.kind("collected", integration=integration):
        if event.data["sha256"] == digest:
            return event.stream
    return ""


def _manifest(event: Event) -> Manifest:
    data = event.data
    return Manifest(
        integration=event.integration,
        interchange=event.stream,
        name=data["name"],
        sha256=data["sha256"],
        bytes=data["bytes"],
    )
