"""What the writers of all kinds of layout have in common: a batch in, its bytes and what is wrong with it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from slussen.errors import Finding, Findings
from slussen.records import writing
from slussen.records.codepages import Codepage
from slussen.records.columns import Fault
from slussen.records.frames import ENDS
from slussen.records.layout import Layout
from slussen.records.letters import Bools, Bytes, Ints
from slussen.records.notation import FieldSpec

RAW = "raw"  # a column of records as they were read, in hex
NEXT = {
    "too_long": writing.WIDER,
    "unmappable": "replace it at the source, or declare a replacement for this endpoint",
    "not_in_code_list": "correct it at the source, or add the code to the layout",
    "required": "fill it at the source",
}


@dataclass(frozen=True)
class Target:
    """How a file is to be written; ``replace`` has only what its encoding lacks, ``limit`` is of findings."""

    layout: Layout
    page: Codepage
    frame: str
    replace: dict[str, str] = field(default_factory=dict)
    limit: int = 1000


@dataclass
class Task:
    """A batch to be written, its record types by number, and which of the file's records is its first, from 0."""

    batch: pa.RecordBatch
    kinds: Ints
    first: int = 0


@dataclass
class Done:
    data: bytes
    findings: Findings
    counts: Counter[str] = field(default_factory=Counter)


def kept_in(batch: pa.RecordBatch) -> Bools:
    """Which rows have their record as it was read?"""
    there = batch.column(RAW).is_valid() if RAW in batch.schema.names else np.zeros(batch.num_rows, np.bool_)
    return np.asarray(there)


def astray(batch: pa.RecordBatch, kinds: Ints, layout: Layout) -> Iterator[tuple[FieldSpec, Ints]]:
    """Fields, and the rows that have a value there though their type has no such field."""
    names, columns = list(layout.records), dict(zip(batch.schema.names, batch.columns, strict=True))
    fields = [f for f in layout.fields if f.only and f.name in columns]
    homes: dict[str, set[str]] = {}
    for f in fields:
        homes.setdefault(f.name, set()).update(f.only)
    strangers: dict[frozenset[str], tuple[Bools, Bytes]] = {}  # rows of other types, and as Arrow's bits
    for f in {f.name: f for f in fields}.values():
        column = columns[f.name]
        if column.null_count == len(column):
            continue
        home = frozenset(homes[f.name])
        if home not in strangers:
            others = ~np.isin(kinds, [names.index(k) for k in home])
            strangers[home] = others, np.packbits(others, bitorder="little")
        others, bits = strangers[home]
        valid = column.buffers()[0]
        if valid is not None and column.offset % 8 == 0:  # bit by bit: eight rows at a time
            there = np.frombuffer(valid, np.uint8)[column.offset // 8 :][: len(bits)]
            if not (there & bits).any():
                continue
        if len(rows := np.flatnonzero(others & np.asarray(column.is_valid()))):
            yield f, rows


class Writer:
    """What writes one kind of layout."""

    def __init__(self, target: Target) -> None:
        self.layout, self.page, self.frame, self.replace = target.layout, target.page, target.frame, target.replace
        self.limit = target.limit
        self.names = list(target.layout.records)

    def start(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    def write(self, task: Task) -> Done:
        raise NotImplementedError

    def letters(self, text: str) -> bytes:
        """The layout's own words in the encoding."""
        return text.encode() if self.page.wide else bytes(self.page.byte(c) for c in text)


class Faults:
    """Faults of one batch as findings."""

    def __init__(self, writer: Writer, task: Task) -> None:
        self.writer, self.task = writer, task
        self.done = Findings(writer.limit)
        names = task.batch.schema.names
        first = task.first
        self.numbers: Ints = (
            np.asarray(task.batch.column("record_no").fill_null(0))
            if "record_no" in names
            else np.arange(first + 1, first + task.batch.num_rows + 1)
        )
        self.kinds = task.batch.column("record_type")
        self.fixed = writer.layout.kind == "fixed"
        self.kept = kept_in(task.batch)  # those are not written from their fields

    def add(self, f: FieldSpec, fault: Fault, rows: Ints | None) -> None:
        fixed = self.fixed
        width = self.writer.layout.longest + len(ENDS[self.writer.frame]) if fixed else 0
        if rows is not None:
            fault = replace(fault, rows=rows[fault.rows])
        fault = fault.pick(~self.kept[fault.rows])
        for k, row in enumerate(self.done.some(fault.rule, fault.rows)):
            place = fault.within[k] if fault.within is not None else None
            column = (int(f.at) if fixed else 1) + (int(place) if place is not None else 0)
            self.done.add(
                Finding(
                    fault.rule, fault.text(k), NEXT.get(fault.rule, writing.SOURCE),
                    record=int(self.numbers[row]),
                    record_type=self.kinds[row].as_py(),
                    field=f.name,
                    column=column,
                    length=1 if place is not None else f.length,
                    offset=(self.task.first + row) * width + column - 1 if fixed else None,
                )
            )  # fmt: skip
