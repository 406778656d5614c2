"""From the stage, or from a relayed payload, to the content: the bytes that the partner gets. Knows no Airflow.

The first content of an interchange is its content. A repeat makes it again and must get the same bytes; if it
doesn't, the interchange is held: a changed content is a correction, and that is a new interchange. What OpenPGP made of
a content can't be made again: a repeat of the same plain bytes finds it in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from slussen.errors import ContentError, Finding, Findings, NameTaken, StageGone, TechnicalError, redacted

if TYPE_CHECKING:
    import pyarrow as pa

    from slussen.canaries import Scan
    from slussen.integration import Endpoint, Integration
    from slussen.ledger import Ledger
    from slussen.manifest import Manifest
    from slussen.payloads import PayloadStore, Writer
    from slussen.persons import Counts
    from slussen.records.layout import Layout
    from slussen.wrapping import Keys


def render(
    integration: Integration,
    manifest: Manifest,
    ledger: Ledger,
    store: PayloadStore,
    database: str,
    *,
    day: date,
    form: Mapping[str, str] | None = None,
    keys: Keys | None = None,
) -> Manifest:
    """Mask, render and scan the stage in one pass; fix the result as the interchange's content.

    Raises:
        ContentError: a value doesn't fit its field, or a canary would leave.
        TechnicalError: the stage is not what the manifest says (a database crash empties it): stage again.
    """
    from slussen import persons
    from slussen.database import connect
    from slussen.records import layout as layouts
    from slussen.records import stage
    from slussen.records.codepages import replacements
    from slussen.records.render import Rendered

    layout = layouts.load(integration.layout)
    target = integration.target
    number = ledger.number(integration.key, manifest.interchange)
    name = target.name.format(day=day, number=number, source=manifest.name, **(form or {}))
    findings = Findings()
    tally = persons.Counts()
    with connect(database) as slussen, redacted(f"{integration.key}: render"):
        rows = stage.read(slussen, f'select * from stage."{manifest.stage}" order by record_no')  # noqa: S608
        remembered = _Remembered(integration, layout)
        masked = _masked(rows, layout, integration, tally, remembered)
        rendered = Rendered(
            masked, layout, target.encoding, target.frame, findings, replacements=replacements(target.replace)
        )
        with store.writer() as sink:
            scan = _pour(integration, rendered, sink)
        slussen.rollback()
        _refuse(integration, name, findings, scan, layout)
        written = sum(rendered.totals.get(f"records.{kind}", 0) for kind in layout.data_types)
        if written + tally.blocked != manifest.records:
            raise StageGone(
                f"{manifest.interchange}: the stage holds {written + tally.blocked} records, the manifest says "
                f"{manifest.records}. Next: clear extract, the stage is made again"
            )
        remembered.save(slussen, manifest.interchange)
        slussen.commit()
    done = manifest.but(
        name=name, sha256=sink.sha256, bytes=sink.bytes, records=rendered.records, encoding=target.encoding
    )
    made = {k: n for k, n in rendered.totals.items() if k.startswith(("replaced.", "truncated."))}
    return _fix(ledger, store, target, keys, done, number, persons=tally.as_dict(), changed=made)


def convert(
    integration: Integration,
    manifest: Manifest,
    ledger: Ledger,
    store: PayloadStore,
    *,
    day: date,
    protected: Iterable[str] | None = None,
    keys: Keys | None = None,
) -> Manifest:
    """Take away what the policy for protected persons does, convert the relayed payload's bytes to the target's
    encoding; fix the result as the interchange's content.

    ``protected`` are the numbers of those whom the population register protects: ``mask`` and ``block`` need them.

    Raises:
        ContentError: a character that the target's encoding lacks, or a canary would leave.
        TechnicalError: fewer records are about protected persons than the gate has counted.
    """
    from slussen.records import layout as layouts
    from slussen.relaying import Relayed

    target = integration.target
    number = ledger.number(integration.key, manifest.interchange)
    name = target.name.format(day=day, number=number, source=manifest.name)
    findings = Findings()
    with store.writer() as sink:
        relayed = Relayed(integration, lambda: store.open(manifest.sha256), findings, protected)
        scan = _pour(integration, relayed, sink)
    _refuse(integration, manifest.name, findings, scan, layouts.load(integration.layout) if scan else None)
    done = manifest.but(
        name=name, sha256=sink.sha256, bytes=sink.bytes, encoding=target.encoding, made_from=(manifest.sha256,)
    )
    more: dict[str, Any] = {"source": manifest.sha256, "replaced": relayed.replaced}
    if relayed.records is not None:
        _conserved(ledger, manifest, relayed.persons)
        done = done.but(records=relayed.records)
        more |= {"persons": relayed.persons.as_dict(), "anew": relayed.totals}
    return _fix(ledger, store, target, keys, done, number, **more)


def _conserved(ledger: Ledger, manifest: Manifest, taken: Counts) -> None:
    """Nobody whom the gate counted as protected has stopped being so since."""
    gated = next((e for e in reversed(ledger.events(manifest.interchange)) if e.kind == "gated"), None)
    counted = int((gated.data.get("protected") or {}).get("in", 0)) if gated is not None else 0
    if taken.protected < counted or not taken.conserved:
        raise TechnicalError(
            f"{manifest.interchange}: {counted} records about protected persons at the gate, {taken.protected} now. "
            "Next: clear the gate, and let it count again"
        )


def _pour(integration: Integration, chunks: Iterable[bytes | bytearray], sink: Writer) -> Scan | None:
    """Write the chunks, looking for canaries in the same pass where the policy keeps protected persons in."""
    from slussen.canaries import Canaries

    scan = Canaries.load().scan(integration.persons, integration.target.encoding)
    for chunk in chunks:
        sink.write(chunk)
        if scan is not None:
            scan.feed(chunk)
    return scan


def _refuse(integration: Integration, name: str, findings: Findings, scan: Scan | None, layout: Layout | None) -> None:
    """Stop what has findings, or holds a canary."""
    for hit in scan.hits if scan is not None else ():
        record, column, field = layout.place(hit.offset, integration.target.frame) if layout else (None, None, "")
        findings.add(
            Finding(
                "canary",
                f"the {hit.form} of a canary, a protected person who never leaves, is in the outgoing bytes",
                "see in the source whose record this is: it shares its place with a protected person",
                record=record,
                field=field,
                column=column,
                offset=hit.offset,
                byte=hit.byte,
            )
        )
    if findings:
        raise ContentError([f.at(integration=integration.key, file=name) for f in findings])


def _fix(
    ledger: Ledger, store: PayloadStore, target: Endpoint, keys: Keys | None, plain: Manifest, number: int, **more: Any
) -> Manifest:
    """Seal or encrypt the content, and record it by compare-and-set; or find that it was recorded before."""
    from slussen.ledger import Conflict
    from slussen.wrapping import Keys, sealed_or_encrypted

    done: Manifest | None = None
    while True:
        events = ledger.events(plain.interchange)
        fixed = next((e for e in events if e.kind == "content"), None)
        if fixed is not None:
            first = fixed.data.get("plain", fixed.data["sha256"])
            if first == plain.sha256:
                made_from = (*plain.made_from, first) if "plain" in fixed.data else plain.made_from
                return plain.but(sha256=fixed.data["sha256"], bytes=fixed.data["bytes"], made_from=made_from)
            raise NameTaken(
                f"{plain.interchange}: rendered again, the content is not the one recorded at event {fixed.seq} "
                f"({first[:12]}, now {plain.sha256[:12]}): the source has changed since. Next: leave "
                "it; what is new goes with the next interchange, or is sent as a correction"
            )
        if done is None:
            done, said = sealed_or_encrypted(plain, target, keys or Keys(), store, number)
        try:
            ledger.append(
                done.interchange,
                "content",
                {
                    "sha256": done.sha256,
                    "name": done.name,
                    "number": number,
                    "bytes": done.bytes,
                    "records": done.records,
                    "encoding": done.encoding,
                    "layout": done.layout,
                    "layout_version": done.layout_version,
                    "totals": done.totals,
                    **said,
                    **more,
                },
                integration=done.integration,
                after=events[-1].seq if events else 0,
            )
        except Conflict:
            continue
        return done


def _masked(
    rows: Iterator[pa.RecordBatch], layout: Layout, integration: Integration, tally: Counts, remembered: _Remembered
) -> Iterator[pa.RecordBatch]:
    from slussen import persons

    for batch in rows:
        kept, counts = persons.apply(batch, layout, integration.persons)
        tally.add(counts)
        remembered.add(kept)
        yield kept


class _Remembered:
    """What a delivery leaves to be looked at by later ones: delta keys, or keyed hashes of its customers."""

    def __init__(self, integration: Integration, layout: Layout) -> None:
        self.integration, self.layout = integration, layout
        self.keys: set[str] = set()

    def add(self, batch: pa.RecordBatch) -> None:
        match self.integration.remembers:
            case "key":
                self.keys.update(k for k in batch.column("key").to_pylist() if k is not None)
            case "customers":
                from slussen.keys import keyed

                self.keys.update(keyed(p for p in batch.column("person").to_pylist() if p is not None))

    def save(self, slussen: Any, interchange: str) -> None:
        kind = {"key": "key", "customers": "customer"}.get(self.integration.remembers)
        if kind is None:
            return
        slussen.execute("create temporary table fresh (key text) on commit drop")
        with slussen.cursor() as cursor, cursor.copy("copy fresh from stdin") as copy:
            for key in self.keys:
                copy.write_row((key,))
        slussen.execute(
            "insert into sent.key (integration, interchange, kind, key) select %s, %s, %s, key from fresh"
            " on conflict do nothing",
            (self.integration.key, interchange, kind),
        )
