"""Content that is fetched by whoever has ordered it, and who has fetched it. Knows no Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from slussen.errors import CallError
from slussen.ledger import Conflict

if TYPE_CHECKING:
    from slussen.ledger import Ledger
    from slussen.manifest import Manifest
    from slussen.payloads import PayloadStore


@dataclass(frozen=True, slots=True)
class Download:
    """An open payload, and the name that it is saved under. ``bytes`` is a count."""

    name: str
    bytes: int
    payload: BinaryIO


def offer(manifest: Manifest, ledger: Ledger, dag: str) -> bool:
    """Record that the content is there for whoever may start runs of this DAG; False when it was before."""
    while True:
        events = ledger.events(manifest.interchange)
        if any(e.kind == "delivered" for e in events):
            return False
        data = {"name": manifest.name, "sha256": manifest.sha256, "bytes": manifest.bytes, "inferred": False,
                "offered": dag}  # fmt: skip
        try:
            ledger.append(
                manifest.interchange, "delivered", data, integration=manifest.integration,
                after=events[-1].seq if events else 0,
            )  # fmt: skip
        except Conflict:
            continue
        return True


def fetch(ledger: Ledger, store: PayloadStore, interchange: str, *, by: str, dag: str | None = None) -> Download:
    """Open the interchange's content and record who takes it, before the first byte is handed out.

    ``dag`` demands that it was offered by this DAG's run; without it, any interchange's content is taken.

    Raises:
        CallError: the ledger knows no such interchange, it has no content, or it wasn't offered there.
        TechnicalError: the payload is gone, or has changed on the disk.
    """
    events = ledger.events(interchange)
    kind = "content" if dag is None else "delivered"
    found = next((e for e in events if e.kind == kind), None)
    if found is None and dag is None:
        found = next((e for e in events if e.kind == "collected"), None)
    if found is None or (dag is not None and found.data.get("offered") != dag):
        raise CallError(f"there is nothing to fetch of {interchange}; `slussen ledger` lists what there is")
    payload = store.open(found.data["sha256"])
    try:
        ledger.append(interchange, "downloaded", {"by": by}, integration=found.integration)
    except BaseException:
        payload.close()
        raise
    return Download(str(found.data["name"]), int(found.data["bytes"]), payload)
