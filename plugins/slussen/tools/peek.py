"""One record as a person reads it: ruler, letters, hex, fields by name, and what is wrong where.

Personal data is masked (a letter becomes x, a digit 9) unless it is asked for: on-call needs the shape, not the person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import pyarrow as pa
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from slussen.errors import CallError, Finding, Findings
from slussen.records.codepages import UNDEFINED, codepage
from slussen.records.frames import ENDS
from slussen.records.layout import FieldSpec, Layout
from slussen.records.parse import Parsed
from slussen.tools.opened import Opened

WIDTH = 100  # columns of a record to a line
MOST = 1 << 16  # bytes that are shown of a line that is no record
SHOWN = 20  # findings that are listed


@dataclass
class Record:
    """A record to be shown: its bytes, its fields' values, and what is wrong with it."""

    number: int
    kind: str
    offset: int
    data: bytes
    values: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)


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
    rows: dict[int, list[dict[str, Any]]] = {}
    wanted = {number} if number else {1}
    with file.stream() as stream:
        parsed = Parsed(stream, file.layout, file.encoding, file.frame, findings)
        for batch in parsed:
            rows |= _rows(batch, wanted - set(rows))
        total = parsed.records
    if not number:
        number = next((f.record for f in findings if f.record), 1)
        if number not in rows:
            with file.stream() as stream:
                for batch in Parsed(stream, file.layout, file.encoding, file.frame, Findings()):
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


def _rows(batch: pa.RecordBatch, wanted: set[int]) -> dict[int, list[dict[str, Any]]]:
    """The rows of these records (a tagged one has several)."""
    found: dict[int, list[dict[str, Any]]] = {}
    if not wanted or not batch.num_rows:
        return found
    import pyarrow.compute as pc

    for n in wanted:
        chosen = batch.filter(pc.equal(batch.column("record_no"), n))
        if chosen.num_rows:
            found[n] = chosen.to_pylist()
    return found


def _record(stream: BinaryIO, file: Opened, number: int, rows: list[dict[str, Any]], findings: list[Finding]) -> Record:
    layout = file.layout
    row = rows[0] if rows else {}
    offset = int(row["byte_offset"]) if row else next((f.offset - (f.column or 1) + 1 for f in findings if f.offset), 0)
    stream.seek(offset)
    kind = row.get("record_type") or ""
    if layout.kind == "fixed" and row:
        data = stream.read(layout.length_of(kind) if kind else layout.longest)
    elif layout.kind == "tagged" and kind and layout.records[kind].closes:
        data = _until(stream.read(MOST), layout.records[kind].closes.encode())
    else:
        feed = bytes([codepage(file.encoding).byte("\n")]) if file.frame in ("lf", "crlf") else b""
        data = stream.read(MOST)
        data = data[: layout.longest] if not feed else data.partition(feed)[0].removesuffix(b"\r")
    return Record(number, kind, offset, data, row, findings)


def _until(data: bytes, word: bytes) -> bytes:
    at = data.find(word)
    return data[: at + len(word)] if at >= 0 else data


# --- masking


def masked(text: str) -> str:
    """The shape of a text: letters as x, digits as 9."""
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", text))


def value(f: FieldSpec, found: Any, reveal: bool) -> str:
    """A value as it is shown."""
    text = "" if found is None else str(found)
    return text if reveal or not f.private else masked(text)


def letters(data: bytes, encoding: str) -> str:
    """A record's bytes as letters, one for each byte; what is none is a dot."""
    if encoding.startswith("utf-8"):
        return "".join(chr(b) if 0x20 <= b < 0x7F else "·" for b in data)
    page = codepage(encoding)
    points = [int(page.letters[b]) for b in data]
    return "".join("·" if p == UNDEFINED or not chr(p).isprintable() else chr(p) for p in points)


def _private(layout: Layout, record: Record) -> list[bool]:
    """Which of a record's bytes are personal data."""
    hidden = [layout.kind != "fixed" or not record.kind] * len(record.data)
    if layout.kind == "fixed" and record.kind:
        for f in layout.of(record.kind):
            if f.private:
                for k in range(int(f.at) - 1, min(int(f.at) - 1 + f.length, len(hidden))):
                    hidden[k] = True
    return hidden


# --- shown


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
    hidden = [False] * len(record.data) if reveal else _private(file.layout, record)
    return found | {
        "record": record.number, "record_type": record.kind, "offset": record.offset, "length": len(record.data),
        "hex": "".join(".." if h else f"{b:02x}" for b, h in zip(record.data, hidden, strict=True)),
        "fields": [
            {
                "name": f.name, "at": f.at, "length": f.length, "type": f.type, "masked": f.private and not reveal,
                "value": value(f, record.values.get(f.name), reveal) if record.values.get(f.name) is not None else None,
                "findings": [x.as_dict() for x in record.findings if x.field == f.name],
            }
            for f in file.layout.of(record.kind) if record.kind
        ],
    }  # fmt: skip


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
        if file.layout.kind == "fixed":
            parts.append(_ruled(file, record, reveal))
        if record.kind:
            parts.append(_fields(file, record, reveal))
        elif not reveal:
            parts.append(Text("its fields are unknown, so its bytes are masked; --reveal shows them", style="dim"))
    parts.append(_findings(peeked))
    return Group(*parts)


def _ruled(file: Opened, record: Record, reveal: bool) -> Text:
    """Columns under a ruler: letters, then each byte's two hex digits below each other, then what is wrong."""
    hidden = [False] * len(record.data) if reveal else _private(file.layout, record)
    line = letters(record.data, file.encoding)
    text = "".join(masked(c) if h else c for c, h in zip(line, hidden, strict=True))
    blank = codepage(file.encoding).byte(" ")
    out = Text()
    skipped = 0
    wrong = {k: f for f in record.findings for k in _columns(f)}
    for first in range(0, len(text), WIDTH):
        piece = record.data[first : first + WIDTH]
        here = range(first, first + len(piece))
        if not piece.strip(bytes([blank])) and not any(k in wrong for k in here):
            skipped += len(piece)
            continue
        if skipped:
            out.append(f"        … {skipped:,} blank columns\n", style="dim")
            skipped = 0
        high = "".join("·" if hidden[k] else f"{record.data[k] >> 4:x}" for k in here)
        low = "".join("·" if hidden[k] else f"{record.data[k] & 15:x}" for k in here)
        out.append(f"{first + 1:>7} {_ruler(first, len(piece))}\n", style="cyan")
        out.append(f"        {text[first : first + WIDTH]}\n", style="bold")
        out.append(f"        {high}\n        {low}\n", style="dim")
        if any(k in wrong for k in here):
            out.append("        " + "".join("^" if k in wrong else " " for k in here).rstrip() + "\n", style="bold red")
    if skipped:
        out.append(f"        … {skipped:,} blank columns\n", style="dim")
    return out


def _columns(f: Finding) -> range:
    return range(f.column - 1, f.column - 1 + (f.length or 1)) if f.column else range(0)


def _ruler(first: int, length: int) -> str:
    """A mark every five columns, the tens' number every ten."""
    ruler = ["·"] * length
    for k in range(length):
        column = first + k + 1
        if column % 10 == 0:
            for back, digit in enumerate(reversed(str(column))):
                if k - back >= 0:
                    ruler[k - back] = digit
        elif column % 5 == 0:
            ruler[k] = "+"
    return "".join(ruler)


def _fields(file: Opened, record: Record, reveal: bool) -> Table:
    table = Table("at", "len", "type", "field", "value", "", box=None, padding=(0, 1), header_style="cyan")
    table.columns[0].justify = table.columns[1].justify = "right"
    for f in file.layout.of(record.kind):
        mine = [x for x in record.findings if x.field == f.name]
        found = record.values.get(f.name)
        if (f.type == "filler" and not mine) or (found is None and f.staged and not mine and not f.required):
            continue
        told = f.constant(record.kind) if f.type == "const" else value(f, found, reveal)
        notes = "; ".join(x.message + (f" (byte {x.byte} in column {x.column})" if x.byte else "") for x in mine)
        style = "red" if mine else "dim" if f.type == "const" else ""
        end = int(f.at) + f.length - 1 if file.layout.kind == "fixed" else None
        at = f"{f.at}-{end}" if end is not None and f.length > 1 else str(f.at)
        table.add_row(at, str(f.length), f.type, f.name, Text(told), Text(f"◀ {notes}" if notes else ""), style=style)
    return table


def _findings(peeked: Peeked) -> Text:
    findings = peeked.findings
    if not findings:
        return Text(f"nothing is wrong in {peeked.records:,} records", style="green")
    out = Text(f"{findings.total:,} findings in {peeked.records:,} records: ", style="red")
    out.append(", ".join(f"{rule} {n:,}" for rule, n in findings.counts.most_common()) + "\n")
    for f in findings.kept[:SHOWN]:
        out.append(f"  {replace(f, file='')}\n", style="")
    if findings.total > SHOWN:
        out.append(f"  … and {findings.total - SHOWN:,} more (--json lists them)\n")
    return out


__all__ = ["ENDS", "Peeked", "as_dict", "masked", "peek", "shown", "value"]
