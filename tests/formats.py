"""Layouts and rows made up for tests: by Hypothesis for any layout, by a seed for the partners' own."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from sandbox.identities import number
from slussen.errors import Findings
from slussen.records.codepages import UNDEFINED, codepage
from slussen.records.layout import Layout
from slussen.records.notation import FieldSpec, LayoutFile
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import places

Row = dict[str, Any]


def make(**top: Any) -> Layout:
    """A layout from the notation, as Python has it."""
    base = {
        "format": "made", "title": "Made up", "version": 1, "status": "assumed", "source": "made up for a test",
        "kind": "fixed", "usual": {"encoding": "iso8859-1", "frame": "lf"}, "records": {"r": {}},
    }  # fmt: skip
    return Layout(LayoutFile.model_validate({**base, **top}))


def batch(layout: Layout, rows: Iterable[Row]) -> pa.RecordBatch:
    """Rows as a batch of the layout's schema, numbered from 1."""
    filled = [{"record_no": n, "byte_offset": 0, **row} for n, row in enumerate(rows, 1)]
    columns = [pa.array([r.get(c.name) for r in filled], c.type) for c in layout.schema]
    return pa.RecordBatch.from_arrays(columns, schema=layout.schema)


def render(layout: Layout, rows: Iterable[Row], encoding: str, frame: str = "lf") -> tuple[bytes, Findings]:
    findings = Findings()
    out = b"".join(Rendered([batch(layout, rows)], layout, encoding, frame, findings))
    return out, findings


def parse(layout: Layout, data: bytes, encoding: str, frame: str = "lf") -> tuple[list[Row], Findings, Parsed]:
    findings = Findings()
    parsed = Parsed(io.BytesIO(data), layout, encoding, frame, findings)
    rows = [row for b in parsed for row in b.to_pylist()]
    places.check(findings, data, layout, encoding, frame)
    return rows, findings, parsed


def values(rows: Iterable[Row]) -> list[Row]:
    """What the rows say, without where they stand and what they don't have."""
    meta = ("record_no", "byte_offset", "group_no")
    return [{k: v for k, v in row.items() if v is not None and k not in meta} for row in rows]


# --- any layout


def letters_of(encoding: str) -> str:
    page = codepage(encoding)
    if page.wide:
        return "abcXYZåäöÅÄÖéÉüÜ–€ 0129.,"
    return "".join(chr(p) for p in page.letters if p != UNDEFINED and chr(p).isprintable())


TYPES = ["text", "digits", "integer", "decimal", "date", "time", "timestamp", "boolean", "const", "filler"]
TEXTS: list[dict[str, Any]] = [{}, {"align": "right"}, {"fill": "*"}]
NUMBERS: list[dict[str, Any]] = [
    {}, {"sign": "trailing"}, {"sign": "none"}, {"sign": "overpunched"}, {"sign": "zoned"}, {"fill": " "},
    {"align": "left", "empty": "spaces"}, {"usage": "packed"}, {"usage": "packed", "sign": "none"}, {"usage": "binary"},
]  # fmt: skip


@st.composite
def fields(draw: st.DrawFn, kind: str, raw: bool) -> tuple[int, str, dict[str, Any]]:
    """A field: length, type and rules."""
    chosen = draw(st.sampled_from(TYPES))
    length = draw(st.integers(1, 14))
    match chosen:
        case "text":
            return length, chosen, draw(st.sampled_from(TEXTS if kind == "fixed" else [{}]))
        case "digits":
            return length, chosen, draw(st.sampled_from([{}, {"empty": "zeros"}]) if kind == "fixed" else st.just({}))
        case "integer" | "decimal":
            rules = draw(st.sampled_from([n for n in NUMBERS if raw or "usage" not in n])) if kind == "fixed" else {}
            length = draw(st.sampled_from([1, 2, 4, 8])) if rules.get("usage") == "binary" else length
            length += rules.get("sign") == "trailing"
            return length, chosen, rules | ({"decimals": draw(st.integers(0, 3))} if chosen == "decimal" else {})
        case "date":
            length = draw(st.sampled_from([8, 6, 7, 10]))
            return length, chosen, {}
        case "time":
            return 6, chosen, {}
        case "timestamp":
            return 14, chosen, {}
        case "boolean":
            return 1, chosen, {"values": ["J", "N"]}
        case "const":
            return length, chosen, {"value": draw(st.text("ABC1", min_size=1, max_size=length))}
    return length, "filler", {}


@st.composite
def fixed_layouts(draw: st.DrawFn, frame: str) -> Layout:
    """One to three record types, known by a letter anywhere in the record; header and trailer with totals, or not."""
    raw = frame in ("fixed", "rdw", "vb")
    own_lengths = frame != "fixed" and draw(st.booleans())
    kinds = draw(st.integers(1, 3))
    place = draw(st.integers(0, 9))
    framed = draw(st.booleans())
    records: dict[str, Any] = {}
    lengths: list[int] = []
    for n in range(kinds):
        made = draw(st.lists(fields("fixed", raw), min_size=1, max_size=5))
        lines: dict[str, Any] = {"before": [1, place, "filler"]} if place else {}
        lines["kind"] = [place + 1, 1, "text", {"required": True}]
        at = place + 2
        for k, (length, kind, rules) in enumerate(made):
            lines[f"f{n}_{k}"] = [at, length, kind, rules]
            at += length
        records[f"r{n}"] = {"when": {"kind": chr(65 + n)}, "fields": lines}
        lengths.append(at - 1)
    totals: dict[str, Any] = {}
    if framed:
        common = {"before": [1, place, "filler"]} if place else {}
        key = {"kind": [place + 1, 1, "text", {"required": True}]}
        records = {
            "head": {"when": {"kind": "H"}, "place": "first",
                     "fields": {**common, **key, "day": [place + 2, 8, "date", {"required": True}]}},
            **records,
            "tail": {"when": {"kind": "T"}, "place": "last",
                     "fields": {**common, **key, "count": [place + 2, 6, "integer"], "all": [place + 8, 6, "integer"]}},
        }  # fmt: skip
        lengths = [place + 9, *lengths, place + 13]
        totals = {"tail.count": {"count": ["r0"]}, "tail.all": {"count": "*"}}
    longest = max(lengths)
    for record, length in zip(records.values(), lengths, strict=True):
        if own_lengths:
            record["length"] = length
        elif length < longest:
            record["fields"]["after"] = [length + 1, longest - length, "filler"]
    return make(length=longest, records=records, totals=totals)


def field_values(f: FieldSpec, encoding: str, kind: str) -> st.SearchStrategy[Any]:
    """Values that fit the field and come back as they are."""
    match f.type:
        case "integer" | "decimal":
            bits = 8 * f.length - (1 if f.sign != "none" else 0)
            top = 2 ** min(bits, 59) - 1 if f.usage == "binary" else 10 ** min(f.digits, 17) - 1
            if f.usage == "display" and f.sign in ("leading", "trailing") and f.length > 1:
                top = 10 ** min(f.length - 1, 17) - 1
            low = 0 if f.sign == "none" or (f.length == 1 and f.usage == "display") else -top
            if f.sign in ("overpunched", "zoned"):
                top, low = 10**f.length - 1, -(10**f.length) + 1
            whole = st.integers(low, top)
            return whole.map(lambda n: Decimal(n).scaleb(-f.decimals)) if f.type == "decimal" else whole
        case "date":
            return st.dates(dt.date(1950, 1, 1), dt.date(2049, 12, 31)) if f.length == 6 else st.dates()
        case "time":
            return st.times().map(lambda t: t.replace(microsecond=0))
        case "timestamp":
            return st.datetimes().map(lambda t: t.replace(microsecond=0))
        case "boolean":
            return st.booleans()
        case "digits":
            return st.text("0123456789", min_size=1, max_size=f.length).filter(lambda t: bool(t.strip("0")))
    text = st.text(letters_of(encoding), min_size=1, max_size=f.length)
    if kind == "fixed":
        text = text.map(lambda t: t.lstrip(f.pad) if f.right else t.rstrip(f.pad))
    return text.filter(bool)


@st.composite
def rows_of(draw: st.DrawFn, layout: Layout, encoding: str, most: int = 6) -> list[Row]:
    """Rows of the layout's data types, after a header if it has one. (The trailer is the engine's to add.)"""
    kinds = draw(st.lists(st.sampled_from(layout.data_types), min_size=1, max_size=most))
    rows = []
    for kind in [layout.header, *kinds] if layout.header else kinds:
        row: Row = {"record_type": kind, **layout.records[kind].when}
        for f in layout.of(kind):
            if not f.staged or f.name in row:
                continue
            must = f.required or (f.type in ("integer", "decimal") and f.zeros)
            value = draw(field_values(f, encoding, layout.kind) if must else st.none() | field_values(f, encoding, layout.kind))  # fmt: skip  # noqa: E501
            if value is not None:
                row[f.name] = value
        rows.append(row)
    return rows


@st.composite
def delimited_layouts(draw: st.DrawFn) -> Layout:
    made = draw(st.lists(fields("delimited", False), min_size=2, max_size=6))
    lines = {f"f{k}": [k + 1, length, kind, rules] for k, (length, kind, rules) in enumerate(made)}
    return make(
        kind="delimited", fields=lines, separator=draw(st.sampled_from([";", ",", "\t"])),
        nothing=draw(st.sampled_from(["", "NULL"])), header_row=draw(st.booleans()),
    )  # fmt: skip


# --- the partners' own


def realistic(layout: Layout, random: Random, n: int, encoding: str) -> list[Row]:
    """About ``n`` rows of the layout, parts after their wholes, header first."""
    letters = [c for c in letters_of(encoding) if c.isalpha()] + [" "]
    rows = [_row(layout, layout.header, random, letters)] if layout.header else []
    before = ""
    while len(rows) < n:
        choices = [t for t in layout.data_types if _may_follow(layout, t, before)]
        before = random.choice(choices)
        rows.append(_row(layout, before, random, letters))
    return rows


def _may_follow(layout: Layout, kind: str, before: str) -> bool:
    under = layout.records[kind].under
    if not under:
        return layout.kind != "tagged" or kind == layout.counted
    while before:
        if before == under:
            return True
        before = layout.records[before].under
    return False


def _row(layout: Layout, kind: str, random: Random, letters: list[str]) -> Row:
    row: Row = {"record_type": kind}
    when = layout.records[kind].when
    for f in layout.of(kind):
        if not f.staged:
            continue
        if f.name in when:
            row[f.name] = int(when[f.name]) if f.type == "integer" else when[f.name]
            continue
        if f.required or f.zeros or random.random() < 0.6:
            row[f.name] = _value(f, random, letters)
        if kind == "T" and f.name == "sequence_no":
            row[f.name] = random.randrange(1, 99)
        if layout.name == "agresso_lg04_wide" and f.name == "line_no" and kind != "H":
            row[f.name] = random.randrange(1, 9999)
    return row


def _value(f: FieldSpec, random: Random, letters: list[str]) -> Any:
    match f.type:
        case "integer" | "decimal":
            whole = random.randrange(10 ** min(f.digits, 12) - 1) // random.choice((1, 10, 1000)) % 10**f.digits
            if f.type == "decimal" and f.sign != "none" and random.random() < 0.2 and f.length > 1:
                whole = -(whole % 10 ** (f.length - 1))
            return Decimal(whole).scaleb(-f.decimals) if f.type == "decimal" else whole
        case "date":
            return dt.date(2013, 1, 1) + dt.timedelta(days=random.randrange(5000))
        case "time":
            return dt.time(random.randrange(24), random.randrange(60), random.randrange(60))
        case "timestamp":
            return dt.datetime(2026, 1, 12, random.randrange(24), random.randrange(60), random.randrange(60))  # noqa: DTZ001
        case "boolean":
            return random.random() < 0.5
    if f.codes:
        return random.choice(f.codes)
    if f.like:
        return "".join({"d": "7", "A": "K"}.get(c, c) for c in f.like)
    if f.check or (f.person and f.length >= 12):
        return number(dt.date(1950, 1, 1) + dt.timedelta(days=random.randrange(25_000)), random.randrange(980, 1000))
    if f.type == "digits":
        return "".join(random.choice("123456789") for _ in range(f.length))
    text = "".join(random.choice(letters) for _ in range(random.randrange(1, min(f.length, 24) + 1))).strip()
    return text or "x"
