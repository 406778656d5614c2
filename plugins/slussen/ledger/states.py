"""The state of an interchange: a fold of its events, never a column that somebody may set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slussen.ledger.book import Event

# What an event makes of its interchange. Not listed: events that change no state (numbered, archived, repeated …).
STATES = {
    "collected": "collected",
    "staged": "staged",
    "gated": "gated",
    "released": "gated",
    "held": "held",
    "refused": "quarantined",
    "quarantined": "quarantined",
    "content": "gated",
    "claim": "delivering",
    "uploaded": "delivering",
    "sending": "delivering",
    "unknown": "unknown",
    "delivered": "delivered",
    "merged": "merged",
    "skipped": "skipped",
    "missed": "missed",
    "superseded": "superseded",
}
# Once there, an interchange stays there whatever is repeated afterwards: what was sent was sent.
SETTLED = frozenset({"delivered", "delivered (inferred)", "merged", "acknowledged"})


@dataclass(slots=True)
class Interchange:
    """One interchange as its events make it. ``seq`` is its first event's number; ``first``, ``last``: when, UTC."""

    id: str
    integration: str
    seq: int
    first: datetime
    last: datetime
    state: str = "waiting"
    name: str = ""
    records: int | None = None
    bytes: int | None = None
    sha256: str = ""
    verdict: str = ""
    events: int = 0
    _settled: bool = field(default=False, repr=False)


def fold(events: Sequence[Event]) -> Interchange:
    """The interchange that these events, in order, make."""
    made = Interchange(events[0].stream, events[0].integration, events[0].seq, events[0].at, events[-1].at)
    for event in events:
        made.events += 1
        data = event.data
        if not made._settled:
            made.state = _state(event.kind, data, made.state)
            made._settled = made.state in SETTLED
        if event.kind == "gated":
            made.verdict = data["verdict"]
        if event.kind in ("collected", "content", "staged"):
            _take(made, data)
    return made


def _state(kind: str, data: Any, state: str) -> str:
    if kind == "delivered" and data.get("inferred"):
        return "delivered (inferred)"
    return STATES.get(kind, state)


def _take(made: Interchange, data: Any) -> None:
    made.name = data.get("name", made.name)
    made.records = data.get("records", made.records)
    made.bytes = data.get("bytes", made.bytes)
    made.sha256 = data.get("sha256", made.sha256)
