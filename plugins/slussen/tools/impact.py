"""What a changed layout changes: who uses it, and what becomes of the last payloads that it wrote or read."""

from __future__ import annotations

import io
import subprocess
from collections import Counter
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
from slussen.records.parse import Parsed
from slussen.records.render import Rendered


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
    findings: Counter[str] = field(default_factory=Counter)

    @property
    def changes(self) -> bool:
        return bool(self.records_changed or self.findings or self.bytes_before != self.bytes_after)

    def as_dict(self) -> dict[str, Any]:
        return vars(self) | {"fields": dict(self.fields), "findings": dict(self.findings), "changes": self.changes}


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
    """Read a payload by the old layout, write it by the new one, and count what differs."""
    with data.open("rb") as stream:
        batches = list(Parsed(stream, old, encoding, frame, Findings(), in_order=True))
    found.bytes_before = data.stat().st_size
    findings = Findings()
    if new.kind == "fixed":
        written = b"".join(Rendered((_as(b, new) for b in batches), new, encoding, frame, findings))
        found.bytes_after = len(written)
        found.findings.update(findings.counts)
        _differences(old, new, batches, data.read_bytes(), written, encoding, frame, found)
        return
    written = b"".join(Rendered((_as(b, new) for b in batches), new, encoding, frame, findings))
    found.bytes_after = len(written)
    found.findings.update(findings.counts)
    again = Parsed(io.BytesIO(written), new, encoding, frame, Findings(), in_order=True)
    left = [r for b in batches for r in b.to_pylist()]
    right = [r for b in again for r in b.to_pylist()]
    found.records = len(left)
    place = ("record_no", "byte_offset", "group_no")
    nothing: dict[str, Any] = {}
    for one, other in zip_longest(left, right, fillvalue=nothing):
        found.fields.update(n for n in {**one, **other} if n not in place and one.get(n) != other.get(n))
    found.records_changed = sum(a != b for a, b in zip_longest(_lines(data.read_bytes()), _lines(written)))


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


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


def _differences(
    old: Layout, new: Layout, batches: list[pa.RecordBatch], was: bytes, made: bytes, encoding: str, frame: str,
    found: Impact,
) -> None:  # fmt: skip
    """Record by record: which differ, and in which of the new layout's fields."""
    from slussen.records.frames import ENDS

    end = len(ENDS[frame])
    rows = [(at, kind) for b in batches for at, kind in zip(
        b.column("byte_offset").to_pylist(), b.column("record_type").to_pylist(), strict=True)]  # fmt: skip
    found.records = len(rows)
    place = 0
    for at, kind in rows:
        size = new.length_of(kind)
        one, other = was[at : at + old.length_of(kind)], made[place : place + size]
        place += size + end
        if one == other:
            continue
        found.records_changed += 1
        for f in new.of(kind):
            first = int(f.at) - 1
            before = old.field(f.name, kind) if kind in old.records else None
            there = one[int(before.at) - 1 : int(before.at) - 1 + before.length] if before else b""
            if there != other[first : first + f.length]:
                found.fields[f.name] += 1


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
        found.why_not = f"not known: {error}"
        return found
    except Exception as error:
        from slussen.errors import describe

        found.why_not = f"the ledger cannot be read: {describe(error)}"
        return found
    found.why_not = "nothing was carried yet"
    return found
