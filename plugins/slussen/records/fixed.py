"""Fixed-length records to Arrow batches: a block is a matrix of bytes, a field a slice of its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records import cells
from slussen.records.alike import Alike, Cells, alike, apart
from slussen.records.amounts import MINUS, PLUS
from slussen.records.bare import BLANK, Bare
from slussen.records.codepages import Codepage, codepage
from slussen.records.columns import Fault
from slussen.records.frames import Block, Frames
from slussen.records.known import Known, bytes_of
from slussen.records.layout import Layout
from slussen.records.letters import Bools, Bytes, Ints, translated
from slussen.records.notation import FieldSpec, arrow_type
from slussen.records.parallel import ordered
from slussen.records.source import Source
from slussen.records.structure import Structure

AGAIN = "correct it at the sender, and have the file sent again"


@dataclass
class Read:
    """What a block's records say."""

    batch: pa.RecordBatch
    kinds: NDArray[np.int64]
    findings: Findings


class FixedReader:
    """Reads records of known lengths, divided as the frame says."""

    def __init__(self, source: Source, layout: Layout, encoding: str, frame: str, findings: Findings) -> None:
        self.source, self.layout, self.findings = source, layout, findings
        self.page: Codepage = codepage(encoding)
        self.frames = Frames(source, layout, self.page, frame or "fixed", findings)
        self.structure = Structure(layout)
        self.header: dict[str, str] = {}
        self.bare = Bare(layout, self.page)
        self.known = Known(layout, self.page)
        self.groups = [
            (only, alike(sorted((f for f in layout.fields if f.only == only), key=lambda f: f.type != "sign")))
            for only in dict.fromkeys(f.only for f in layout.fields)
        ]

    @property
    def records(self) -> int:
        return self.frames.records

    @property
    def totals(self) -> dict[str, int]:
        return self.structure.totals

    def batches(self) -> Iterator[pa.RecordBatch]:
        for done in ordered(self.read, self.frames):
            self.findings.merge(done.findings)
            self.structure.see(done.batch, self.findings, done.kinds)
            if self.layout.header and not self.header:
                self.header = header_of(done.batch, self.layout)
            yield done.batch
        self.structure.end(self.findings, self.source.bytes)

    def read(self, block: Block) -> Read:
        """One block's records, their types and what is wrong in them; not what they are to other records."""
        return _Block(self, block).read()


class _Block:
    """One block's work: runs beside others', touches nothing that they share."""

    def __init__(self, reader: FixedReader, block: Block) -> None:
        self.layout, self.page, self.block, self.groups = reader.layout, reader.page, block, reader.groups
        self.bare, self.known = reader.bare, reader.known
        self.findings = Findings(reader.findings.limit)
        self.faults: list[tuple[FieldSpec | None, Fault]] = []
        table = self.page.plain
        self.plain = block.cells if table == bytes(range(256)) else translated(block.cells, table)
        self.printable = bool(self.plain.min() >= BLANK and self.plain.max() < 0x7F)

    def read(self) -> Read:
        layout, block = self.layout, self.block
        n = len(block.cells)
        kinds = self._kinds()
        names = pa.array([*layout.records, None], pa.string())
        columns: dict[str, pa.Array] = {
            "record_no": pa.array(block.numbers, pa.int64()),
            "byte_offset": pa.array(block.offsets, pa.int64()),
            "record_type": names.take(pa.array(np.where(kinds < 0, len(layout.records), kinds))),
        }
        for only, groups in self.groups:
            rows = self._rows(only, kinds)
            if rows is not None and len(rows) == 0:
                continue
            plain = self.plain if rows is None else self.plain[rows]
            raw = block.cells if rows is None else block.cells[rows]
            back = None if rows is None else self._back(rows, n)
            signs: dict[str, Bools] = {}
            for fields in groups:
                for f, column in self._fields(fields, plain, raw, rows, kinds, signs):
                    values = column if back is None else column.take(back)
                    there = columns.get(f.name)
                    columns[f.name] = values if there is None else pc.coalesce(there, values)
        self.faults += self.bare.faults(self.plain, block.cells, kinds)
        self._locate()
        arrays = [columns[c.name] if c.name in columns else pa.nulls(n, c.type) for c in layout.schema]
        return Read(pa.RecordBatch.from_arrays(arrays, schema=layout.schema), kinds, self.findings)

    def _rows(self, only: tuple[str, ...], kinds: NDArray[np.int64]) -> Ints | None:
        """The rows of these record types; None for all."""
        names = list(self.layout.records)
        has = np.isin(kinds, [names.index(t) for t in only]) if only else kinds >= 0
        return None if has.all() else np.flatnonzero(has)

    def _back(self, rows: Ints, n: int) -> pa.Array:
        """Where each of the block's rows is among these; null where it isn't."""
        place = np.zeros(n, np.int64)
        missing = np.ones(n, np.bool_)
        place[rows] = np.arange(len(rows))
        missing[rows] = False
        return pa.array(place, mask=missing)

    # --- which record type

    def _kinds(self) -> NDArray[np.int64]:
        kinds = self.known.kinds(self.plain)
        if (unknown := kinds < 0).any():
            fault = Fault("record_type", "a record of no type that the layout has", np.flatnonzero(unknown), exact=True)
            self.faults.append((self.known.places[0] if self.known.places else None, fault))
        lengths = np.array([self.layout.length_of(r) for r in self.layout.records])
        if self.layout.varies and (other := (kinds >= 0) & (lengths[kinds] != self.block.lengths)).any():
            for kind, length in enumerate(lengths.tolist()):
                rows = np.flatnonzero(other & (kinds == kind))
                message = f"{{}} bytes where this record type has {length}"
                self.faults.append((None, Fault("record_length", message, rows, said=self.block.lengths[rows])))
            kinds[other] = -1
        return kinds

    # --- fields

    def _fields(
        self, fields: Alike, plain: Bytes, raw: Bytes, rows: Ints | None, kinds: NDArray[np.int64],
        signs: dict[str, Bools],
    ) -> Iterator[tuple[FieldSpec, pa.Array]]:  # fmt: skip
        """The columns of fields that are read alike."""
        f, n = fields[0], len(plain)
        first = int(f.at) - 1
        if f.type == "filler":
            return
        if f.type == "const":
            self._constant(f, plain[:, first : first + f.length], rows, kinds)
            return
        if f.type == "sign":
            signs[f.name] = self._sign(f, plain[:, first], rows)
            return
        there = Cells.of(fields, plain if f.usage == "display" else raw)

        def own(cell: int) -> bytes:
            """A cell's own bytes."""
            field, row = fields[cell // n], cell % n
            return raw[row, int(field.at) - 1 : int(field.at) - 1 + field.length].tobytes()

        column = cells.read(there, self.page, own, negative=signs.get(f.sign), printable=self.printable)
        if f.required and column.empty is not None and column.empty.any():
            column.faults.append(Fault("required", "a required field is empty", np.flatnonzero(column.empty)))
        for fault in column.faults:
            for k, mine in apart(fault, n):
                self._fault(fields[k], mine, rows)
        for k, field in enumerate(fields):
            yield field, column.values.slice(k * n, n)

    def _constant(self, f: FieldSpec, there: Bytes, rows: Ints | None, kinds: NDArray[np.int64]) -> None:
        mine = kinds if rows is None else kinds[rows]
        for number, kind in enumerate(self.layout.records):
            which = mine == number
            if (f.only and kind not in f.only) or not which.any():
                continue
            wanted = np.frombuffer(bytes_of(f, f.constant(kind), self.page), np.uint8)
            wrong = which & (there != wanted).any(axis=1)
            if wrong.any():
                found = np.flatnonzero(wrong)
                within = (there[found] != wanted).argmax(axis=1)
                self._fault(f, Fault("constant", "not the layout's constant", found, within, exact=True), rows)

    def _sign(self, f: FieldSpec, there: Bytes, rows: Ints | None) -> Bools:
        negative: Bools = there == MINUS
        wrong = ~negative & (there != BLANK) & (there != PLUS)
        if wrong.any():
            message = "a sign is a blank, a plus or a minus"
            found = np.flatnonzero(wrong)
            self._fault(f, Fault("sign", message, found, np.zeros(len(found), np.int64), exact=True), rows)
        return negative

    def _fault(self, f: FieldSpec, fault: Fault, rows: Ints | None) -> None:
        self.faults.append((f, fault if rows is None else replace(fault, rows=rows[fault.rows])))

    # --- where

    def _locate(self) -> None:
        """Faults as findings, in the file's order."""
        if not self.faults:
            return
        width, limit = self.plain.shape[1], self.findings.limit
        places = np.concatenate([
            fault.rows * width + (int(f.at) - 1 if f else 0) + (0 if fault.within is None else fault.within)
            for f, fault in self.faults
        ])  # fmt: skip
        first = np.arange(len(places))
        if len(places) > limit:  # those that are kept are sorted, the others only counted
            first = np.flatnonzero(places <= np.partition(places, limit)[limit])
        first = first[np.argsort(places[first], kind="stable")][:limit]
        ends = np.cumsum([len(fault.rows) for _, fault in self.faults])  # (rows are told from a fault's last)
        owner = np.searchsorted(ends, first, "right")
        for k, which in zip(first.tolist(), owner.tolist(), strict=True):
            f, fault = self.faults[which]
            row, place = divmod(int(places[k]), width)
            exact = fault.exact and fault.rule != "record_type"
            self.findings.add(
                Finding(
                    fault.rule, fault.text(k - int(ends[which])), AGAIN,
                    record=int(self.block.numbers[row]),
                    field=f.name if f else "",
                    column=place + 1,
                    length=1 if exact or f is None else f.length,
                    offset=int(self.block.offsets[row]) + place,
                    byte=f"{int(self.block.cells[row, place]):02x}" if fault.exact else None,
                )
            )  # fmt: skip
        for (_, fault), told in zip(self.faults, np.bincount(owner, minlength=len(ends)).tolist(), strict=True):
            self.findings.count(fault.rule, len(fault.rows) - told)


def header_of(batch: pa.RecordBatch, layout: Layout) -> dict[str, str]:
    """What the file's header says of the file: its fields by name, as text. Never about a person."""
    kinds = batch.column("record_type")
    if batch.num_rows == 0 or kinds[0].as_py() != layout.header:
        return {}
    found = {}
    for f in layout.of(layout.header):
        if f.staged and not f.private and (value := batch.column(f.name)[0].as_py()) is not None:
            found[f.name] = f"{value:%Y%m%d}" if f.type == "date" else str(value)
    return found


__all__ = ["FixedReader", "arrow_type", "header_of"]
