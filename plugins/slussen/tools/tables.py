"""Files of records as tables: CSV, JSON lines and Parquet, with exact numbers. (``rows`` is the way back.)

A table has a column ``record_type`` and the layout's fields; nothing is empty (CSV), left out (JSON) or null. Decimals
and dates are text in JSON, so that no reader rounds them. ``raw`` is a record's own bytes, in hex.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice, product
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.errors import CallError, Findings
from slussen.records.bare import bare
from slussen.records.codepages import codepage
from slussen.records.delimited import LONGEST
from slussen.records.lines import first_line
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from slussen.records.source import CHUNK
from slussen.records.structure import kinds_of
from slussen.records.writers import RAW
from slussen.records.writers_fixed import as_written
from slussen.tools.opened import Opened

KINDS = ("csv", "jsonl", "parquet")
AHEAD = 8  # lines, in which those that two files have in common are looked for
SKIPS = sorted(product(range(AHEAD), repeat=2), key=sum)  # how many are passed over in each, the fewest first
PLAIN = 6  # decimals: Arrow writes numbers with more of them as 1E-7
PLACES = ("record_no", "byte_offset")  # where a record stood: told, and not read back


class Table:
    """A file's records as batches in the file's order; afterwards ``parsed`` and ``uncanonical`` (by field).

    What isn't written as the layout would write it (another padding, an older form of a date) is counted: it reads
    well, and would be written otherwise.
    """

    def __init__(self, file: Opened, findings: Findings, *, raw: bool = False) -> None:
        self.file, self.findings, self.raw = file, findings, raw
        self.uncanonical: Counter[str] = Counter()
        self.parsed: Parsed | None = None

    @property
    def schema(self) -> pa.Schema:
        schema = self.file.layout.schema
        return schema.append(pa.field(RAW, pa.string())) if self.raw else schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with self.file.stream() as stream, self.file.stream() as source:
            self.parsed = Parsed(
                stream, self.file.layout, self.file.encoding, self.file.frame, self.findings, in_order=True
            )
            for batch in self.parsed:
                if self.raw or self.file.layout.kind == "fixed":
                    own = list(self._own(batch, source))
                    if self.file.layout.kind == "fixed":  # the others are compared line by line
                        self._compare(batch, own)
                    if self.raw:
                        batch = batch.append_column(RAW, pa.array([o.hex() for o in own], pa.string()))
                yield batch

    def _own(self, batch: pa.RecordBatch, source: BinaryIO) -> Iterator[bytes]:
        """Each record's own bytes, without line ends."""
        layout = self.file.layout
        kinds = batch.column("record_type").to_pylist()
        places = batch.column("byte_offset").to_pylist()
        page = codepage(self.file.encoding)
        for at, kind, following in zip(places, kinds, [*places[1:], None], strict=True):
            source.seek(at)
            if layout.kind == "fixed":
                yield source.read(layout.length_of(kind) if kind else layout.longest)
            else:
                there = source.read(LONGEST if following is None else following - at)
                yield first_line(there, page, layout.file.quote)

    def _compare(self, batch: pa.RecordBatch, own: list[bytes]) -> None:
        layout = self.file.layout
        kinds = kinds_of(batch, layout)
        if (kinds < 0).any():  # of no type that could be written
            known = np.flatnonzero(kinds >= 0)
            batch, kinds, own = batch.take(pa.array(known)), kinds[known], [own[k] for k in known.tolist()]
        if not own or self.findings.total > len(self.findings.kept):  # no longer known which values are wrong
            return
        there = np.frombuffer(b"".join(o.ljust(layout.longest, b"\0") for o in own), np.uint8)
        differ = there.reshape(-1, layout.longest) != as_written(batch, layout, self.file.encoding)
        if not differ.any():
            return
        wrong = self._wrong(batch)
        for number, kind in enumerate(layout.records):
            rows = np.flatnonzero((kinds == number) & differ.any(axis=1))
            if not len(rows):
                continue
            mine = differ[rows]
            others = [f for f in bare(layout, kind) if f.only and kind not in f.only]
            named = [(f.name, f) for f in layout.of(kind)] + [(f"{f.name} (not on {kind})", f) for f in others]
            for name, f in named:
                odd = mine[:, int(f.at) - 1 : int(f.at) - 1 + f.length].any(axis=1)
                told = [g.name for g in layout.of(kind) if g.sign == f.name] if f.type == "sign" else [f.name]
                odd[np.isin(rows, [row for n in told for row in wrong.get(n, [])])] = False
                if n := int(odd.sum()):
                    self.uncanonical[name] += n

    def _wrong(self, batch: pa.RecordBatch) -> dict[str, list[int]]:
        """Rows with findings, by field: what cannot be read is not written in any way."""
        rows = {number: row for row, number in enumerate(batch.column("record_no").to_pylist())}
        found: dict[str, list[int]] = {}
        for f in self.findings:
            if f.record in rows:
                found.setdefault(f.field, []).append(rows[f.record])
        return found


# --- out


def write(table: Table, kind: str, out: BinaryIO) -> int:
    """The table in this form; how many records."""
    names = [n for n in table.schema.names if n not in PLACES]
    match kind:
        case "jsonl":
            return _write_jsonl(table, names, out)
        case "csv":
            from pyarrow import csv

            schema = pa.schema([_flat(table.schema.field(n)) for n in names])
            n = 0
            with csv.CSVWriter(out, schema, write_options=csv.WriteOptions(quoting_style="needed")) as writer:
                for batch in table:
                    writer.write_batch(_cast(batch.select(names), schema))
                    n += batch.num_rows
            return n
        case "parquet":
            from pyarrow import parquet

            schema = pa.schema([table.schema.field(n) for n in names])
            n = 0
            with parquet.ParquetWriter(out, schema) as writer:
                for batch in table:
                    writer.write_batch(batch.select(names))
                    n += batch.num_rows
            return n
    raise CallError(f"unknown form {kind!r}: one of {', '.join(KINDS)}")


def _flat(column: pa.Field) -> pa.Field:
    """As CSV has it: dates and times as ISO 8601 tells, small decimals with all their zeros."""
    text = pa.types.is_temporal(column.type) or (pa.types.is_decimal(column.type) and column.type.scale > PLAIN)
    return pa.field(column.name, pa.string()) if text else column


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [c if c.type == f.type else _told(c) for c, f in zip(batch.columns, schema, strict=True)], schema=schema
    )


def _told(column: pa.Array) -> pa.Array:
    if pa.types.is_decimal(column.type) and column.type.scale > PLAIN:
        return pa.array([None if v is None else f"{v:f}" for v in column.to_pylist()], pa.string())
    if pa.types.is_decimal(column.type):
        return column.cast(pa.string())
    return pc.replace_substring(column.cast(pa.string()), " ", "T")


def _write_jsonl(table: Table, names: list[str], out: BinaryIO) -> int:
    n = 0
    for batch in table:
        chosen = batch.select(names)
        columns = [
            _told(c) if pa.types.is_temporal(c.type) or pa.types.is_decimal(c.type) else c for c in chosen.columns
        ]
        rows = pa.RecordBatch.from_arrays(columns, names=names).to_pylist()
        lines = [json.dumps({k: v for k, v in r.items() if v is not None}, ensure_ascii=False) for r in rows]
        out.write("".join(f"{line}\n" for line in lines).encode())
        n += len(rows)
    return n


def written_otherwise(file: Opened) -> Counter[str]:
    """What of a sound file would be written otherwise: lines of text, or how fixed records are divided."""
    with file.stream() as stream, file.stream() as source:
        parsed = Parsed(stream, file.layout, file.encoding, file.frame, Findings(), in_order=True)
        written = Rendered(parsed, file.layout, file.encoding, file.frame, Findings())
        if file.layout.kind == "fixed":
            for _ in written:
                pass
            return Counter({"(line ends or blocks)": 1} if written.sha256 != parsed.sha256 else {})
        feed = b"\n" if file.layout.kind == "tagged" else bytes([codepage(file.encoding).byte("\n")])
        lines = _otherwise(_lines(iter(lambda: source.read(CHUNK), b""), feed), _lines(written, feed))
        return Counter({"(lines)": lines} if lines else {})


def _otherwise(there: Iterator[bytes], written: Iterator[bytes]) -> int:
    """How many lines differ; a few that only one of them has don't make all that follow differ."""
    one: list[bytes] = []
    other: list[bytes] = []
    n = 0
    while True:
        one += islice(there, AHEAD - len(one))
        other += islice(written, AHEAD - len(other))
        if not one or not other:
            return n + len(one) + len(other) + sum(1 for _ in chain(there, written))
        alike = ((i, j) for i, j in SKIPS if i < len(one) and j < len(other) and one[i] == other[j])
        i, j = next(alike, (1, 1))
        n += max(i, j)
        del one[: i or not j], other[: j or not i]  # the two that are the same, if they come next


def _lines(chunks: Iterable[bytes], feed: bytes) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(feed)
        yield from (line + feed for line in lines)
    if rest:
        yield rest
