"""The hash chain, rebuilt outside the database: what was written is what stands there, or the first break is named."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slussen.database import Connection

GENESIS = sha256(b"slussen").digest()
BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Verification:
    """What the walk found: the number of sound events, and the first that is not."""

    ok: bool
    events: int
    first_bad_seq: int | None = None
    reason: str = ""


def canonical(seq: int, identity: Any, at: Any, stream: str, integration: str, kind: str, body: str) -> bytes:
    """The text that an event's hash covers: its parts, each with its length in bytes before it."""
    moment = f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
    parts = (str(seq), str(identity), moment, stream, integration, kind, body)
    return ",".join(f"{len(p.encode())}:{p}" for p in parts).encode()


def verify(connection: Connection) -> Verification:
    """Walk the chain from its beginning to its recorded end."""
    head = connection.execute("select seq, hash from ledger.head").fetchone()
    expected, before = 0, GENESIS
    with connection.cursor(name="chain") as cursor:
        cursor.itersize = BATCH
        cursor.execute(
            "select seq, id, at at time zone 'UTC', stream, integration, kind, body, data = body::jsonb, prev, hash"
            " from ledger.event order by seq"
        )
        for seq, identity, at, stream, integration, kind, body, same, prev, digest in cursor:
            expected += 1
            if seq != expected:
                return Verification(False, expected - 1, expected, f"event {expected} is missing")
            if bytes(prev) != before:
                return Verification(False, expected - 1, seq, "it doesn't hold the hash of the event before it")
            text = canonical(seq, identity, at, stream, integration, kind, body)
            if bytes(digest) != sha256(before + text).digest() or not same:
                return Verification(False, expected - 1, seq, "its content is not what its hash covers")
            before = bytes(digest)
    if head is None or head[0] != expected or bytes(head[1]) != before:
        return Verification(False, expected, expected + 1, "events are missing at the end of the chain")
    return Verification(True, expected)
