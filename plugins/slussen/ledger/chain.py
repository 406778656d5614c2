"""The hash chain, rebuilt outside the database: what was written is what stands there, or the first break is named.

An event's hash is SHA-256 over the hash before it (32 bytes) and the event's canonical text: its parts in the order of
``Link``, each as ``<length in bytes>:<part>``, joined by commas, in UTF-8. The first hash before is SHA-256 of
``slussen``. Nothing but this page is needed to prove an exported ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from slussen.database import Connection

GENESIS = sha256(b"slussen").digest()
BATCH = 10_000
LINKS = """
    select seq::text, id::text, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), stream, nth::text,
           integration, kind, body, prev, hash, data = body::jsonb
    from ledger.event order by event.seq
"""


class Link(NamedTuple):
    """An event as its hash covers it: every part is text."""

    seq: str
    id: str
    at: str
    stream: str
    nth: str
    integration: str
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What the walk found: the number of sound events, and the first that is not.

    ``head`` is the last sound event's hash in hex: kept elsewhere, it proves later that no end was cut off.
    """

    ok: bool
    events: int
    first_bad_seq: int | None = None
    reason: str = ""
    head: str = GENESIS.hex()


def digest(before: bytes, link: Link) -> bytes:
    """The hash of an event whose predecessor has the hash ``before``."""
    return sha256(before + ",".join([f"{len(part.encode())}:{part}" for part in link]).encode()).digest()


def walk(links: Iterable[tuple[Link, bytes, bytes, bool]], end: tuple[int, bytes] | None = None) -> Verification:
    """Follow a chain of (event, hash before, hash, is the queried copy the same); ``end`` is its recorded end."""
    seen, before = 0, GENESIS
    streams: Counter[str] = Counter()

    def broken(seq: int, reason: str) -> Verification:
        return Verification(False, seen, seq, reason, before.hex())

    for link, previous, own, same in links:
        seq = int(link.seq)
        if seq != seen + 1:
            return broken(seen + 1, f"event {seen + 1} is missing")
        if previous != before:
            return broken(seq, "it doesn't hold the hash of the event before it")
        if own != digest(before, link) or not same:
            return broken(seq, "its content is not what its hash covers")
        streams[link.stream] += 1
        if int(link.nth) != streams[link.stream]:
            return broken(seq, "its place in its stream is wrong")
        seen, before = seq, own
    if end is not None and end != (seen, before):
        return broken(seen + 1, "events are missing at the end of the chain")
    return Verification(True, seen, head=before.hex())


def verify(connection: Connection) -> Verification:
    """Walk the ledger from its beginning to its recorded end, as it is at this moment.

    Works on a fresh connection: one snapshot must show both the end and the events before it.
    """
    connection.execute("set transaction isolation level repeatable read, read only")
    end = connection.execute("select seq, hash from ledger.head").fetchone()
    with connection.cursor(name="chain") as cursor:
        cursor.itersize = BATCH
        rows = cursor.execute(LINKS)
        links = ((Link(*row[:8]), bytes(row[8]), bytes(row[9]), row[10]) for row in rows)
        return walk(links, (end[0], bytes(end[1])) if end is not None else (-1, b""))
