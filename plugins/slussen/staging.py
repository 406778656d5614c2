"""Where an interchange's stage lives: a table of each attempt's own, published in the ledger by compare-and-set."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slussen.ledger import Ledger
    from slussen.manifest import Manifest


def new_table(interchange: str) -> str:
    """A name that no other attempt uses, even one that runs at this very moment."""
    return f"{interchange}_{token_hex(4)}".lower().replace("-", "_")


def publish(ledger: Ledger, manifest: Manifest, after: int, **more: Any) -> None:
    """Say in the ledger which table is the interchange's stage.

    Raises:
        Conflict: something happened to the interchange since event ``after``: another attempt published its own.
    """
    data = {"table": manifest.stage, "records": manifest.records, "totals": manifest.totals, **more}
    ledger.append(manifest.interchange, "staged", data, integration=manifest.integration, after=after)
