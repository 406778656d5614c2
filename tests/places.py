"""Does each finding say where it is? Its byte, line, column and record, counted in the file itself, slowly."""

from __future__ import annotations

from collections.abc import Iterable

from slussen.errors import Finding
from slussen.records.codepages import BOM, EBCDIC
from slussen.records.layout import Layout


def check(findings: Iterable[Finding], data: bytes, layout: Layout, encoding: str, frame: str) -> None:
    """Count again where each finding stands; what a finding doesn't say is not asked."""
    for f in findings:
        if f.offset is None:
            continue
        assert 0 <= f.offset <= len(data), f
        if f.byte:
            there = bytes.fromhex(f.byte)
            assert data[f.offset : f.offset + len(there)] == there, f
        if f.length is not None and f.column is not None:
            assert 1 <= f.length <= max(len(data) - f.offset, 1), f
        lines = layout.kind != "fixed" or frame in ("lf", "crlf")
        if frame == "fixed" and layout.kind == "fixed" and f.record is not None:
            record, within = divmod(f.offset - len(BOM) * data.startswith(BOM), layout.length)
            assert (f.record, f.column or within + 1) == (record + 1, within + 1), f
        if not lines or encoding in EBCDIC or (layout.kind == "delimited" and b'"' in data):
            continue
        start = data.rfind(b"\n", 0, f.offset) + 1
        if not start and data.startswith(BOM) and f.offset:
            start = len(BOM)
        if f.column is not None:
            assert f.column == f.offset - start + 1, (f, start)
        if f.record is not None and (f.column is not None or layout.kind == "fixed"):
            assert f.record == record_of(layout, data, start, f.record_type), f


def record_of(layout: Layout, data: bytes, start: int, kind: str = "") -> int:
    """The record that a line belongs to; a tagged file's head is 0, its tail comes after the last."""
    before = data.count(b"\n", 0, start)
    if layout.kind != "tagged":
        return before + (not layout.file.header_row)
    spec = layout.records[layout.counted]
    word = (spec.opens or spec.line).encode()
    found = [line.rstrip() == word if spec.opens else line.startswith(word + b" ") for line in data.split(b"\n")]
    if kind in (layout.header, layout.trailer) and kind:
        return 0 if kind == layout.header else sum(found) + 1
    return max(sum(found[: before + 1]), 1)
