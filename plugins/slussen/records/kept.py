"""Rows of a table that have their record's own bytes (``raw``, in hex): written as they were read, byte by byte.

What such a row says is what its bytes say: they are read as ``parse`` would read them, so that control totals count
them, faults in them are findings, and a row whose columns were changed beside its bytes is not written in silence.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.errors import Finding, Findings
from slussen.records.codepages import Codepage
from slussen.records.delimited import DelimitedReader
from slussen.records.fixed import FixedReader, Read
from slussen.records.frames import ENDS, Block
from slussen.records.layout import Layout
from slussen.records.letters import Ints
from slussen.records.lines import first_line
from slussen.records.posts import word
from slussen.records.source import Source
from slussen.records.structure import Kinds
from slussen.records.writers import RAW, kept_in

ANEW = "take the row's raw away to have it written anew from its fields, or leave both as they were read"
PLACES = ("record_no", "byte_offset")


def as_kept(
    batch: pa.RecordBatch, kinds: Kinds, layout: Layout, page: Codepage, frame: str, findings: Findings, first: int
) -> pa.RecordBatch:
    """The batch, its rows with own bytes as these say; ``first`` is which of the file's records is its first, from 0.

    ``raw`` is null where there is none, or none that could be written (a finding).
    """
    numbers = np.arange(first + 1, first + batch.num_rows + 1)
    own: list[bytes | None] = []
    feed = bytes([page.byte("\n")])
    for row, text in enumerate(batch.column(RAW).cast(pa.string()).to_pylist()):
        record = _bytes(text)
        wrong = ("raw", "raw is no hex") if text and record is None else None
        if record is not None and layout.kind == "fixed":
            length = layout.length_of(list(layout.records)[kinds[row]])
            if len(record) != length:
                wrong = ("record_length", f"raw has {len(record):,} bytes where the record has {length:,}")
        elif record is not None and first_line(record + feed, page, layout.file.quote) != record:
            wrong = ("raw", "raw is more than one line, or ends with its end")
        if wrong:
            findings.add(Finding(*wrong, ANEW, record=int(numbers[row]), field=RAW))
        own.append(None if wrong else record)
    place = batch.schema.get_field_index(RAW)
    batch = batch.set_column(place, RAW, pa.array([o.hex() if o else None for o in own], pa.string()))
    rows = np.flatnonzero(kept_in(batch))
    if layout.kind == "tagged" or not len(rows):
        return batch
    return _read(batch, rows, own, layout, page, frame, findings, numbers)


def _bytes(text: str | None) -> bytes | None:
    try:
        return bytes.fromhex(text) if text else None
    except ValueError:
        return None


def _read(
    batch: pa.RecordBatch, rows: Ints, own: list[bytes | None], layout: Layout, page: Codepage, frame: str,
    findings: Findings, numbers: Ints,
) -> pa.RecordBatch:  # fmt: skip
    """Records read again from their bytes."""
    records = [own[row] or b"" for row in rows.tolist()]
    if layout.kind == "fixed":
        read = _fixed(records, rows, layout, page, frame, findings, numbers)
    else:
        read = _delimited(batch, records, rows, layout, page, frame, findings, numbers)
    there = batch.take(pa.array(rows))
    _compare(there, read.batch, read.kinds, layout, findings)
    order = np.arange(batch.num_rows)
    known = read.kinds >= 0
    order[rows[known]] = batch.num_rows + np.flatnonzero(known)
    columns = [
        column if name in (*PLACES, RAW) else pa.concat_arrays([column, read.batch.column(name)]).take(pa.array(order))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _fixed(
    records: list[bytes], rows: Ints, layout: Layout, page: Codepage, frame: str, findings: Findings, numbers: Ints
) -> Read:
    blank = bytes([page.byte(" ")])
    block = Block(
        np.frombuffer(b"".join(r.ljust(layout.longest, blank) for r in records), np.uint8).reshape(
            len(rows), layout.longest
        ),
        (numbers[rows] - 1) * (layout.longest + len(ENDS[frame])),
        numbers[rows],
        np.array([len(r) for r in records]),
    )
    done = FixedReader(Source(io.BytesIO(), page.name, hashed=False), layout, page.name, frame, findings).read(block)
    findings.merge(done.findings)
    return done


def _delimited(
    batch: pa.RecordBatch, records: list[bytes], rows: Ints, layout: Layout, page: Codepage, frame: str,
    findings: Findings, numbers: Ints,
) -> Read:  # fmt: skip
    """Lines, each after its section's if it has one."""
    found = Findings(findings.limit)
    reader = DelimitedReader(Source(io.BytesIO(), page.name, hashed=False), layout, page.name, frame, found)
    kinds = batch.column("record_type").take(pa.array(rows)).to_pylist()
    sections = [layout.records[k].section for k in kinds]
    lines = [word(page, s) + reader.end_of_line if s else b"" for s in sections]
    data = b"".join(s + r + reader.end_of_line for s, r in zip(lines, records, strict=True))
    read, types = next(reader.read(data))
    findings.merge(
        found, lambda f: replace(f, record=int(numbers[rows[f.record - 1]]) if f.record else None, offset=None)
    )
    read = read.set_column(0, read.schema.field(0), pa.array(numbers[rows], pa.int64()))
    return Read(read, types, findings)


def _compare(said: pa.RecordBatch, read: pa.RecordBatch, kinds: Kinds, layout: Layout, findings: Findings) -> None:
    """A finding for each field that says something else than its record's bytes, on rows that say anything at all."""
    names = [n for n in layout.schema.names if n not in PLACES]
    speaks = np.any([np.asarray(said.column(n).is_valid()) for n in names if n != "record_type"], axis=0)
    for name in names:
        one, other = said.column(name), read.column(name)
        if one.equals(other):
            continue
        same = np.asarray(pc.fill_null(pc.equal(one, other), False))
        same |= np.asarray(one.is_null()) & np.asarray(other.is_null())
        for row in findings.some("raw", np.flatnonzero(~same & (kinds >= 0) & (speaks | (name == "record_type")))):
            findings.add(
                Finding("raw", "the field says something else than the bytes in raw", ANEW,
                        record=read.column("record_no")[row].as_py(),
                        record_type=said.column("record_type")[row].as_py() or "", field=name)
            )  # fmt: skip
