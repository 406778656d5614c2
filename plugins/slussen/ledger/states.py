"""The state of an interchange: a fold of its events, never a column that somebody may set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
    "unsent": "delivering",
    "unknown": "unknown",
    "delivered": "delivered",
    "merged": "merged",
    "skipped": "skipped",
    "missed": "missed",
    "superseded": "superseded",
}
# Once there, an interchange stays there whatever is repeated afterwards: what was sent was sent.
SETTLED = frozenset({"delivered", "delivered (inferred)", "merged"})
# What a receipt says besides itself: what was read was delivered, and what was answered was read.
IMPLIES = {"delivery": ("delivery",), "read": ("read", "delivery"), "answer": ("answer", "read", "delivery")}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the ledger; ``at`` is UTC."""

    seq: int
    at: datetime
    stream: str
    integration: str
    kind: str
    data: Mapping[str, Any]


@dataclass(slots=True)
class Interchange:
    """One interchange as its events make it. ``seq`` is its first event's number; ``first``, ``last``: when, UTC.

    ``awaited`` are the receipts that are still to come, each with the time (ISO, UTC) when it is due; ``overdue`` are
    those of them that were said to be late; ``receipts`` what has come: by kind, the worst outcome of it.
    """

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
    awaited: dict[str, str] = field(default_factory=dict)
    overdue: tuple[str, ...] = ()
    receipts: dict[str, str] = field(default_factory=dict)
    _settled: bool = field(default=False, repr=False)

    def late(self, now: datetime) -> list[str]:
        """The kinds of receipts that should be here by now."""
        return [kind for kind, due in self.awaited.items() if datetime.fromisoformat(due) <= now]


def fold(events: Sequence[Event]) -> Interchange:
    """The interchange that these events, in order, make. Receipts count whenever they came: early, late, or twice."""
    made = Interchange(events[0].stream, events[0].integration, events[0].seq, events[0].at, events[-1].at)
    expected, late = dict[str, str](), dict[str, None]()
    for event in events:
        made.events += 1
        data = event.data
        if not made._settled:
            made.state = _state(event.kind, data, made.state)
            made._settled = made.state in SETTLED
        match event.kind:
            case "gated":
                made.verdict = data["verdict"]
            case "collected" | "content" | "staged":
                _take(made, data)
            case "repeated" if made.state == "waiting":  # it was never collected: the same content had come before
                made.state = "skipped"
                _take(made, data)
            case "awaiting":
                expected |= {r["kind"]: r["due"] for r in data["receipts"]}
            case "overdue":
                late[data["kind"]] = None
            case "receipt":
                made.receipts[data["kind"]] = _worse(made.receipts.get(data["kind"], ""), data["outcome"])
    _acknowledge(made, expected, late)
    return made


def _acknowledge(made: Interchange, expected: dict[str, str], late: dict[str, None]) -> None:
    here = {proved for kind in made.receipts for proved in IMPLIES.get(kind, (kind,))}
    made.awaited = {kind: due for kind, due in expected.items() if kind not in here}
    made.overdue = tuple(kind for kind in late if kind in made.awaited)
    if made.state not in ("delivered", "delivered (inferred)", "unknown", "delivering"):
        return
    if "rejected" in made.receipts.values():
        made.state = "rejected"
    elif expected and not made.awaited and made.state.startswith("delivered"):
        made.state = "acknowledged"


def _worse(one: str, other: str) -> str:
    """Of two receipts of a kind the worse counts: a rejection is not undone by a copy of something else."""
    order = ("accepted", "with errors", "rejected")
    return max(one, other, key=lambda outcome: order.index(outcome) if outcome in order else -1)


def _state(kind: str, data: Any, state: str) -> str:
    if kind == "delivered" and data.get("inferred"):
        return "delivered (inferred)"
    return STATES.get(kind, state)


def _take(made: Interchange, data: Any) -> None:
    made.name = data.get("name", made.name)
    made.records = data.get("records", made.records)
    made.bytes = data.get("bytes", made.bytes)
    made.sha256 = data.get("sha256", made.sha256)
