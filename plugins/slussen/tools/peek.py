"""One record as a person reads it: ruler, letters, hex, fields by name, and what is wrong where.

Personal data is masked (a letter becomes x, a digit 9) unless it is asked for: on-call needs the shape, not the person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import pyarrow as pa
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from slussen.errors import CallError, Finding, Findings
from slussen.records.codepages import codepage
from slussen.records.layout import Layout
from slussen.records.lines import first_line
from slussen.records.notation import FieldSpec
from slussen.records.parse import Parsed
from slussen.records.posts import word
from slussen.tools.opened import Opened
from slussen.tools.ruler import drawn, hidden, masked, secret

MOST = 1 << 16  # bytes that are shown of a record without end
SHOWN = 20  # findings that are listed
IN_PLACE = ("undefined_byte", "control_character", "check_digit", "control_total", "record_count")
Row = dict[str, Any]


@dataclass
class Record:
    """A record to be shown: its bytes, its rows (a tagged record has one for each group), what is wrong with it."""

    number: int
    kind: str
    offset: int
    data: bytes
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.findings

    @property
    def moved(self) -> bool:
        """May its values stand in each other's places? A wrong byte or total says nothing of that."""
        return any(f.rule not in IN_PLACE for f in self.findings)

    @property
    def wrong(self) -> set[int]:
        """The places of its bytes at fault."""
        return {
            k for f in self.findings if f.column and f.offset is not None
            for k in range(f.offset - self.offset, f.offset - self.offset + (f.length or 1))
        }  # fmt: skip


@dataclass
class Peeked:
    """What was looked at: a record, and all that is wrong with the file."""

    file: Opened
    record: Record | None
    findings: Findings
    records: int


def peek(file: Opened, number: int = 0) -> Peeked:
    """Record ``number`` of the file; 0 is the first that something is wrong with, or the first of all.

    The whole file is read: what is wrong anywhere is told.

    Raises:
        CallError: the file has no such record.
    """
    findings = Findings(limit=10_000)
    rows: dict[int, list[Row]] = {}
    wanted = {number} if number else {1}
    with file.stream() as stream:
        parsed = Parsed(stream, file.layout, file.encoding, file.frame, findings, in_order=True)
        for batch in parsed:
            rows |= _rows(batch, wanted - set(rows))
        total = parsed.records
    if not number:
        number = min((f.record for f in findings if f.record), default=1)
        if number not in rows:
            with file.stream() as stream:
                for batch in Parsed(stream, file.layout, file.encoding, file.frame, Findings(), in_order=True):
                    rows |= _rows(batch, {number} - set(rows))
                    if number in rows:
                        break
    mine = [f for f in findings if f.record == number]
    if number not in rows and not mine:
        if number > max(total, 1):
            raise CallError(f"{file.path.name} has {total:,} records, none of number {number:,}")
        return Peeked(file, None, findings, total)
    with file.stream() as stream:
        record = _record(stream, file, number, rows.get(number, []), mine)
    return Peeked(file, record, findings, total)


def _rows(batch: pa.RecordBatch, wanted: set[int]) -> dict[int, list[Row]]:
    """The rows of these records."""
    found: dict[int, list[Row]] = {}
    if not wanted or not batch.num_rows:
        return found
    import pyarrow.compute as pc

    for n in wanted:
        chosen = batch.filter(pc.equal(batch.column("record_no"), n))
        if chosen.num_rows:
            found[n] = chosen.to_pylist()
    return found


def _record(stream: BinaryIO, file: Opened, number: int, rows: list[Row], findings: list[Finding]) -> Record:
    layout = file.layout
    row = rows[0] if rows else {}
    offset = int(row["byte_offset"]) if row else next((f.offset - (f.column or 1) + 1 for f in findings if f.offset), 0)
    stream.seek(offset)
    kind = row.get("record_type") or ""
    if any(f.rule == "quote" for f in findings):
        kind = ""  # where its fields begin and end is anybody's guess
    data = stream.read(MOST)
    if layout.kind == "fixed" and row:
        data = data[: layout.length_of(kind) if kind else layout.longest]
    elif layout.kind == "tagged" and kind and layout.records[kind].closes:
        data = _until(data, word(codepage(file.encoding), layout.records[kind].closes))
    elif layout.kind == "delimited":
        data = first_line(data, codepage(file.encoding), layout.file.quote)
    else:
        feed = bytes([codepage(file.encoding).byte("\n")]) if file.frame in ("lf", "crlf") else b""
        data = data[: layout.longest] if not feed else data.partition(feed)[0].removesuffix(b"\r")
    return Record(number, kind, offset, data, rows, findings)


def _until(data: bytes, word: bytes) -> bytes:
    at = data.find(word)
    return data[: at + len(word)] if at >= 0 else data


# --- shown


def value(found: Any, *, hide: bool) -> str:
    """A value as it is shown."""
    text = "" if found is None else str(found)
    return masked(text) if hide else text


def _hides(layout: Layout, kind: str, f: FieldSpec, record: Record, reveal: bool) -> bool:
    return not reveal and secret(layout, kind, f, sound=record.sound, moved=record.moved)


def as_dict(peeked: Peeked, *, reveal: bool = False) -> dict[str, Any]:
    """Plain data for ``--json``."""
    file, record = peeked.file, peeked.record
    found: dict[str, Any] = {
        "file": file.path.name, "layout": file.layout.name, "encoding": file.encoding, "frame": file.frame,
        "records": peeked.records, "findings": [f.as_dict() for f in peeked.findings],
        "total_findings": peeked.findings.total, "counts": dict(peeked.findings.counts),
    }  # fmt: skip
    if record is None:
        return found | {"record": None}
    secret = _secret(file, record, reveal)
    return found | {
        "record": record.number, "record_type": record.kind, "offset": record.offset, "length": len(record.data),
        "hex": "".join(".." if h else f"{b:02x}" for b, h in zip(record.data, secret, strict=True)),
        "fields": _told(file.layout, record.kind, record.rows[0] if record.rows else {}, record, reveal),
        "groups": [
            {"record_type": kind, "fields": _told(file.layout, kind, row, record, reveal)}
            for kind, row in _groups(record)
        ],
    }  # fmt: skip


def _told(layout: Layout, kind: str, row: Row, record: Record, reveal: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": f.name, "at": f.at, "length": f.length, "type": f.type,
            "masked": (hide := _hides(layout, kind, f, record, reveal)),
            "value": value(row.get(f.name), hide=hide) if row.get(f.name) is not None else None,
            "findings": [x.as_dict() for x in record.findings if x.field == f.name],
        }
        for f in layout.of(kind) if kind
    ]  # fmt: skip


def _groups(record: Record) -> Iterator[tuple[str, Row]]:
    """The groups in a tagged record."""
    yield from ((row["record_type"], row) for row in record.rows[1:])


def _secret(file: Opened, record: Record, reveal: bool) -> list[bool]:
    if reveal:
        return [False] * len(record.data)
    return hidden(file.layout, record.kind, record.data, file.encoding, sound=record.sound, moved=record.moved)


def shown(peeked: Peeked, *, reveal: bool = False) -> RenderableType:
    """What a person reads."""
    file, record = peeked.file, peeked.record
    parts: list[RenderableType] = []
    if record is not None:
        parts.append(
            Text.assemble(
                (f"record {record.number:,}", "bold"),
                f" of {peeked.records:,}, {record.kind or 'of no known type'}, offset {record.offset:,} "
                f"(0x{record.offset:x}), {len(record.data):,} bytes, {file.layout.name} v{file.layout.version}, "
                f"{file.encoding}, {file.frame}",
            )
        )
        parts.append(drawn(file.layout, record.data, file.encoding, _secret(file, record, reveal), record.wrong))
        if record.kind:
            parts.append(_fields(file.layout, record.kind, record.rows[0], record, reveal))
        elif not reveal:
            parts.append(Text("its fields are unknown, so its bytes are masked; --reveal shows them", style="dim"))
        for kind, row in _groups(record):
            parts += [Text(f"{kind} {row['group_no']}", style="bold"),
                      _fields(file.layout, kind, row, record, reveal)]  # fmt: skip
    parts.append(_findings(peeked))
    return Group(*parts)


def _fields(layout: Layout, kind: str, row: Row, record: Record, reveal: bool) -> Table:
    table = Table("at", "len", "type", "field", "value", "", box=None, padding=(0, 1), header_style="cyan")
    table.columns[0].justify = table.columns[1].justify = "right"
    for f in layout.of(kind):
        mine = [x for x in record.findings if x.field == f.name]
        found = row.get(f.name)
        if (f.type == "filler" and not mine) or (found is None and f.staged and not mine and not f.required):
            continue
        told = f.constant(kind) if f.type == "const" else value(found, hide=_hides(layout, kind, f, record, reveal))
        notes = "; ".join(x.message + (f" (byte {x.byte} in column {x.column})" if x.byte else "") for x in mine)
        style = "red" if mine else "dim" if f.type == "const" else ""
        end = int(f.at) + f.length - 1 if layout.kind == "fixed" else None
        at = f"{f.at}-{end}" if end is not None and f.length > 1 else str(f.at)
        table.add_row(at, str(f.length), f.type, f.name, Text(told), Text(f"◀ {notes}" if notes else ""), style=style)
    return table


def _findings(peeked: Peeked) -> Text:
    findings = peeked.findings
    if not findings:
        return Text(f"nothing is wrong in {peeked.records:,} records", style="green")
    out = Text(f"{findings} in {peeked.records:,} records: ", style="red")
    out.append(", ".join(f"{rule} {n:,}" for rule, n in findings.counts.most_common()) + "\n")
    for f in findings.kept[:SHOWN]:
        out.append(f"  {replace(f, file='')}\n", style="")
    if findings.total > SHOWN:
        out.append(f"  … and {findings.total - SHOWN:,} more (--json lists them)\n")
    return out


__all__ = ["Peeked", "as_dict", "peek", "shown", "value"]
