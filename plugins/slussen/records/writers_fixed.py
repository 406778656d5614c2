"""Records of known lengths, written: a batch is a matrix of bytes, a field a slice of its columns."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.errors import Findings
from slussen.records import writing
from slussen.records.alike import Alike, alike, apart
from slussen.records.codepages import codepage
from slussen.records.columns import Fault
from slussen.records.frames import ENDS
from slussen.records.known import Known, bytes_of, otherwise
from slussen.records.layout import Layout
from slussen.records.letters import Bools, Bytes, Ints, translated
from slussen.records.notation import FieldSpec
from slussen.records.structure import kinds_of
from slussen.records.writers import RAW, Done, Faults, Target, Task, Writer, kept_in

BIGGEST = 32_756  # bytes of records in a block of the mainframe's, after its descriptor


class FixedWriter(Writer):
    """Records of known lengths."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._block: list[bytes] = []  # of the mainframe's: filled up across batches
        self._size = 0
        self._groups = alike(self.layout.fields)
        self._known = Known(self.layout, self.page)

    def write(self, task: Task) -> Done:
        cells, findings, counts = self.cells(task)
        kept = kept_in(task.batch)
        if not kept.any() and not self.layout.varies and self.frame not in ("rdw", "vb"):
            return Done(cells.tobytes(), findings, counts)
        sizes = np.array([self.layout.length_of(r) for r in self.names])[task.kinds]
        records = [cells[k, :size].tobytes() for k, size in enumerate(sizes.tolist())]
        for row in np.flatnonzero(kept).tolist():
            records[row] = bytes.fromhex(task.batch.column(RAW)[row].as_py())
        return Done(self._framed(records), findings, counts)

    def cells(self, task: Task) -> tuple[Bytes, Findings, Counter[str]]:
        """A batch's records in the encoding, ``(n, longest and line end)``; what was wrong; what was cut or replaced.

        Shorter records are filled up with blanks.
        """
        batch, n, width = task.batch, task.batch.num_rows, self.layout.longest
        end = ENDS[self.frame]
        out = np.full((n, width + len(end)), ord(" "), np.uint8)
        for k, byte in enumerate(end):
            out[:, width + k] = byte
        kinds = task.kinds
        faults, counts = Faults(self, task), Counter[str]()
        columns = {name: batch.column(k) for k, name in enumerate(batch.schema.names)}
        rows_of = {name: np.flatnonzero(kinds == k) for k, name in enumerate(self.names)}
        for fields in self._groups:
            for kind, rows in self._rows(fields[0], rows_of, n):
                if rows is None or len(rows):
                    self._fields(fields, kind, rows, columns, out, faults, counts)
        if self._known.places:
            for f, fault in otherwise(self.layout, kinds, self._known.kinds(out)):
                faults.add(f, fault, None)
        if self.page.back != bytes(range(256)) and not self.page.wide:
            out = translated(out, self.page.back)
        return out, faults.done, counts

    def _rows(self, f: FieldSpec, rows_of: dict[str, Ints], n: int) -> list[tuple[str, Ints | None]]:
        """The rows that have the field (None for all); apart by record type only where a constant differs."""
        if f.type == "const" and isinstance(f.value, dict):
            return [(kind, rows) for kind, rows in rows_of.items() if kind in f.value]
        kinds = f.only or tuple(rows_of)
        count = sum(len(rows_of[k]) for k in kinds)
        if count == n:
            return [(kinds[0], None)]
        return [(kinds[0], np.sort(np.concatenate([rows_of[k] for k in kinds])))] if count else []

    def _fields(
        self, fields: Alike, kind: str, rows: Ints | None, columns: dict[str, pa.Array], out: Bytes,
        findings: Faults, counts: Counter[str],
    ) -> None:  # fmt: skip
        """Write fields that are written alike into these rows (None: all)."""
        f, n = fields[0], len(out) if rows is None else len(rows)
        if f.type in ("filler", "sign"):
            return
        if f.type == "const":
            constant = np.frombuffer(bytes_of(f, f.constant(kind), self.page), np.uint8)
            _put(out, rows, int(f.at) - 1, np.broadcast_to(constant, (n, f.length)))
            return
        there = [columns[f.name] if f.name in columns else pa.nulls(len(out), pa.string()) for f in fields]
        if len({column.type for column in there}) > 1:
            for field in fields:
                self._fields((field,), kind, rows, columns, out, findings, counts)
            return
        there = there if rows is None else [column.take(pa.array(rows)) for column in there]
        column = there[0] if len(there) == 1 else pa.concat_arrays(there)
        written = writing.write(fields, column, self.page, self.replace)
        if f.required and (empty := _empty(column)).any():
            written.faults.append(Fault("required", "a required field is empty", np.flatnonzero(empty)))
        for fault in written.faults:
            for k, mine in apart(fault, n):
                findings.add(fields[k], mine, rows)
        for what, count in (("truncated", written.cut), ("replaced", written.replaced)):
            if count is not None:
                for field, found in zip(fields, count.reshape(len(fields), n).sum(axis=1).tolist(), strict=True):
                    counts[f"{what}.{field.name}"] += found
        for k, field in enumerate(fields):
            _put(out, rows, int(field.at) - 1, written.cells[k])
        if written.negative is not None and (sign := self.layout.field(f.sign, kind)) is not None:
            minus = np.where(written.negative, ord("-"), ord(" ")).astype(np.uint8)[:, None]
            _put(out, rows, int(sign.at) - 1, minus)

    def _framed(self, records: list[bytes]) -> bytes:
        """Records of any length with their line ends or descriptors."""
        if self.frame not in ("rdw", "vb"):
            end = self.letters(ENDS[self.frame].decode())
            return b"".join(r + end for r in records)
        described = [(len(r) + 4).to_bytes(2, "big") + b"\0\0" + r for r in records]
        if self.frame == "rdw":
            return b"".join(described)
        blocks: list[bytes] = []
        for record in described:
            if self._size + len(record) > BIGGEST:
                blocks.append(self.end())
            self._block.append(record)
            self._size += len(record)
        return b"".join(blocks)

    def end(self) -> bytes:
        """The block that is being filled, with its descriptor."""
        if not self._block:
            return b""
        done = (self._size + 4).to_bytes(2, "big") + b"\0\0" + b"".join(self._block)
        self._block, self._size = [], 0
        return done


def _empty(column: pa.Array) -> Bools:
    """Which values are nothing?"""
    found: Bools = np.asarray(column.is_null())
    if pa.types.is_string(column.type):
        found = found | np.asarray(pc.fill_null(pc.equal(column, ""), False))
    return found


def _put(out: Bytes, rows: Ints | None, first: int, cells: Bytes) -> None:
    width = cells.shape[1]
    if rows is None:
        if cells.strides[1] == 1:
            out[:, first : first + width].view(f"V{width}")[:] = np.ascontiguousarray(cells).view(f"V{width}")
        else:
            out[:, first : first + width] = cells
    else:
        out[rows, first : first + width] = cells


def as_written(batch: pa.RecordBatch, layout: Layout, encoding: str) -> Bytes:
    """A batch's records as the layout writes them, totals as they are: ``(n, longest)``, zeros after shorter ones."""
    kinds = kinds_of(batch, layout)
    cells, _, _ = FixedWriter(Target(layout, codepage(encoding), "fixed")).cells(Task(batch, kinds))
    if layout.varies:
        sizes = np.array([layout.length_of(r) for r in layout.records])[kinds]
        cells = np.where(np.arange(layout.longest) < sizes[:, None], cells, 0).astype(np.uint8)
    return cells
