"""What earlier interchanges of an integration left behind, read from the ledger."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slussen.ledger import Ledger

# An interchange in one of these states sent nothing and never will: its keys may go in another one.
DEAD = frozenset({"quarantined", "superseded", "missed", "skipped"})
INTERVAL = re.compile(r"-\d{8}T\d{6}Z(-|$)")
DELIVERED = frozenset({"delivered", "delivered (inferred)", "acknowledged"})
# In one of these it was sent, may have been, or is in our own database.
SENT = DELIVERED | {"delivering", "unknown", "merged"}


def last_delivered(ledger: Ledger, integration: str, before: str) -> str:
    """The id of the interchange that was delivered last before this one, or nothing.

    Extracts go by their intervals, which their ids end with; collected files by when they were collected.
    """
    known = ledger.interchanges(integration=integration)
    done = [i for i in known if i.state in DELIVERED and i.id != before]
    if INTERVAL.search(before):
        return max((i.id for i in done if i.id < before), default="")
    came = next((i.seq for i in known if i.id == before), None)
    earlier = [i for i in done if came is None or i.seq < came]
    return earlier[-1].id if earlier else ""


def delivered(ledger: Ledger, *integrations: str) -> list[str]:
    """The ids of everything that these integrations have delivered."""
    return [i.id for key in integrations for i in ledger.interchanges(integration=key) if i.state in DELIVERED]


def sent(ledger: Ledger, integration: str) -> list[str]:
    """The ids of everything of this integration that was sent or merged, or may have been."""
    return [i.id for i in ledger.interchanges(integration=integration) if i.state in SENT]


def last(ledger: Ledger, interchange: str, kind: str) -> dict[str, Any] | None:
    """The data of the interchange's last event of a kind."""
    events = [e for e in ledger.events(interchange) if e.kind == kind] if interchange else []
    return dict(events[-1].data) if events else None
