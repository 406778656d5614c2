"""What a changed layout changes: who uses it, and what becomes of the last payloads that it wrote or read."""

from __future__ import annotations

import io
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from slussen import settings
from slussen.errors import CallError, Findings, SlussenError
from slussen.integration import Integration
from slussen.records import layout as layouts
from slussen.records.layout import Layout
from slussen.records.notation import PLACE
from slussen.records.parse import Parsed
from slussen.records.render import Rendered

Record = tuple[bytes, dict[str, Any]]  # its bytes, its fields


@dataclass
class Impact:
    """One integration: its last payload by the old layout and by the new one."""

    integration: str
    interchange: str = ""
    why_not: str = ""
    records: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    records_changed: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)  # what the new layout refuses and the old one doesn't
    unread: Counter[str] = field(default_factory=Counter)  # what the old layout cannot read: it is in no comparison
    unreachable: bool = False  # nobody knows what the last payload is

    @property
    def changes(self) -> bool:
        return bool(self.records_changed or self.findings or self.bytes_before != self.bytes_after)

    def as_dict(self) -> dict[str, Any]:
        counts = {"fields": dict(self.fields), "findings": dict(self.findings), "unread": dict(self.unread)}
        return vars(self) | counts | {"changes": self.changes}


def before(name: str, old: Path | None) -> Layout:
    """The layout as it was: this file, or what the repository's last commit has.

    Raises:
        CallError: there is no such file, and no commit that has it.
    """
    if old is not None:
        if not old.is_file():
            raise CallError(f"there is no file {old}")
        return layouts.of_text(old.read_text(encoding="utf-8"), old.name)
    path = (settings.FORMATS / f"{name}.yaml").relative_to(settings.ROOT)
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{path.as_posix()}"], cwd=settings.ROOT, capture_output=True, check=False
    )
    if shown.returncode:
        raise CallError(f"no commit here has {path}; say the old layout with --old FILE")
    return layouts.of_text(shown.stdout.decode("utf-8"), f"{name}.yaml (as committed)")


def compare(old: Layout, new: Layout, data: Path, encoding: str, frame: str, found: Impact) -> None:
    """Read a payload by the old layout, write it by both, and count in what the two differ."""
    unread = Findings()
    with data.open("rb") as stream:
        batches = list(Parsed(stream, old, encoding, frame, unread, in_order=True))
    found.records = sum(b.num_rows for b in batches)
    found.unread.update(unread.counts)
    refused_before, refused = Findings(), Findings()
    was = b"".join(Rendered(batches, old, encoding, frame, refused_before))
    made = b"".join(Rendered((_as(b, new) for b in batches), new, encoding, frame, refused))
    found.bytes_before, found.bytes_after = len(was), len(made)
    found.findings.update(refused.counts - refused_before.counts)
    if was == made:
        return
    nothing: Record = (b"", {})
    pairs = zip_longest(_records(old, was, encoding, frame), _records(new, made, encoding, frame), fillvalue=nothing)
    for (one, before), (other, after) in pairs:
        if one != other:
            found.records_changed += 1
            found.fields.update(n for n in {**before, **after} if before.get(n) != after.get(n))


def _records(layout: Layout, data: bytes, encoding: str, frame: str) -> Iterator[Record]:
    """Each record's bytes, and its fields: a fixed record's as bytes too, the others' as values."""
    parsed = Parsed(io.BytesIO(data), layout, encoding, frame, Findings(), in_order=True)
    rows = [row for batch in parsed for row in batch.to_pylist()]
    ends = [*(row["byte_offset"] for row in rows[1:]), len(data)]
    for row, end in zip(rows, ends, strict=True):
        piece = data[row["byte_offset"] : end]
        if layout.kind == "fixed":
            fields = layout.of(row["record_type"])
            yield piece, {f.name: piece[int(f.at) - 1 : int(f.at) - 1 + f.length] for f in fields}
        else:
            yield piece, {n: v for n, v in row.items() if n not in PLACE}


def _as(batch: pa.RecordBatch, layout: Layout) -> pa.RecordBatch:
    """The rows with the new layout's columns; what can't be made one of them stays out."""
    columns = []
    for column in layout.schema:
        if column.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, column.type))
            continue
        values = batch.column(column.name)
        try:
            columns.append(values.cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            columns.append(pa.nulls(batch.num_rows, column.type))
    return pa.RecordBatch.from_arrays(columns, schema=layout.schema)


def of(integration: Integration, old: Layout, new: Layout) -> Impact:
    """What the change does to an integration's last payload, by the ledger and the payload store."""
    from slussen.ledger import Ledger
    from slussen.payloads import PayloadStore

    found = Impact(integration.key)
    try:
        ledger = Ledger(settings.database())
        for interchange in reversed(ledger.interchanges(integration=integration.key)):
            events = ledger.events(interchange.id)
            content = next((e for e in reversed(events) if e.kind == "content"), None)
            collected = next((e for e in events if "sha256" in e.data), None)
            event = content or collected
            if event is None:
                continue
            found.interchange = interchange.id
            end = integration.target if content is not None else integration.source
            path = PayloadStore(settings.payloads()).path(str(event.data["sha256"]))
            if not path.exists():
                found.why_not = "its payload is no longer kept"
                return found
            compare(old, new, path, end.encoding, end.frame or new.file.usual.frame, found)
            return found
    except SlussenError as error:
        found.why_not, found.unreachable = f"not known: {error}", True
        return found
    except Exception as error:
        from slussen.errors import describe

        found.why_not, found.unreachable = f"the ledger cannot be read: {describe(error)}", True
        return found
    found.why_not = "nothing was carried yet"
    return found
