"""Where an interchange's stage lives: a table of each attempt's own, published in the ledger by compare-and-set."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.ledger import Ledger
    from slussen.manifest import Manifest
    from slussen.payloads import PayloadStore


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


def stage_payload(
    integration: Integration, manifest: Manifest, ledger: Ledger, store: PayloadStore, database: str, **said: Any
) -> Manifest:
    """Parse the interchange's payload into a new stage and publish it, with what could not be read as findings.

    ``said`` is what the ledger is to know besides: the seal or the signature that the payload came with.
    """
    from slussen.database import connect
    from slussen.errors import Findings
    from slussen.records import layout as layouts
    from slussen.records import stage
    from slussen.records.parse import Parsed
    from slussen.records.zipped import Zipped

    layout, source = layouts.load(integration.layout), integration.source
    events = ledger.events(manifest.interchange)
    table, findings = new_table(manifest.interchange), Findings()
    with store.open(manifest.sha256) as payload, connect(database) as slussen:
        parsed: Parsed | Zipped
        if layout.kind == "zip":
            parsed = Zipped(payload, layout, findings)
        else:
            parsed = Parsed(payload, layout, source.encoding, source.frame, findings)
        stage.create(slussen, table, layout.data_schema)
        copied = stage.copy_in(slussen, table, map(layout.data_of, parsed))
        slussen.commit()
    header = {name: value for name, value in parsed.header.items() if "\0" not in value}  # as in the stage: unread
    outer = {f"records.{layout.header}", f"records.{layout.trailer}"}  # checked here, and not staged
    staged = manifest.but(
        records=parsed.records,
        layout=layout.name,
        layout_version=layout.version,
        encoding=source.encoding,
        stage=table,
        stage_sha256=copied.sha256,
        totals={k: n for k, n in parsed.totals.items() if k not in outer} | {"rows": copied.rows},
        header=header,
        made_from=(manifest.sha256,),
    )
    located = [f.at(integration=integration.key, file=manifest.name).as_dict() for f in findings]
    publish(
        ledger,
        staged,
        events[-1].seq if events else 0,
        header=header,
        findings=located[:100],
        counts=dict(findings.counts),
        **said,
    )
    return staged
