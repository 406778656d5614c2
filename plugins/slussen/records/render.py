"""Arrow batches to fixed-length records, whole columns at a time.

What does not fit is found, located and refused; nothing is cut unless the layout says ``truncate``, and then counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.errors import CallError, Finding, Findings
from slussen.records.codepages import UNDEFINED, codepage
from slussen.records.layout import FieldSpec, Layout
from slussen.records.letters import Ints, digits_of, points, spread, unscaled

ENDS = {"lf": b"\n", "crlf": b"\r\n", "fixed": b""}
LARGEST = 18  # digits of a 64-bit integer


class Rendered:
    """An iterator of byte blocks, a block a batch; afterwards ``records``, ``bytes``, ``sha256`` and ``totals``.

    ``totals`` counts records by type (``records.H``) and values that were cut (``truncated.adress``).
    """

    def __init__(
        self, batches: Iterable[pa.RecordBatch], layout: Layout, encoding: str, frame: str, findings: Findings
    ) -> None:
        if layout.kind != "fixed":
            raise CallError(f"{layout.name}: a tagged format is relayed, never written anew")
        self.layout, self.findings = layout, findings
        self.page = codepage(encoding)
        self.encoding = encoding
        self.end = b"" if frame == "fixed" else bytes(self.page.byte(chr(c)) for c in ENDS[frame])
        self.records = self.bytes = 0
        self.totals: dict[str, int] = {}
        self._batches = batches
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        for batch in self._batches:
            block = self._block(batch)
            self._hash.update(block)
            self.bytes += len(block)
            yield block

    def _block(self, batch: pa.RecordBatch) -> bytes:
        n = batch.num_rows
        stride = self.layout.length + len(self.end)
        out = np.full((n, stride), self.page.byte(" "), np.uint8)
        for k, byte in enumerate(self.end):
            out[:, self.layout.length + k] = byte
        numbers = (
            batch.column("record_no").to_numpy()
            if "record_no" in batch.schema.names
            else np.arange(self.records + 1, self.records + n + 1)
        )
        kinds = batch.column("record_type")
        rows_of = {}
        for kind in self.layout.records:
            rows_of[kind] = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(kinds, kind), False)))
            if len(rows_of[kind]):
                self._count(f"records.{kind}", len(rows_of[kind]))
        if sum(map(len, rows_of.values())) != n:
            raise CallError(f"{self.layout.name}: a row has a record type that the layout doesn't have")
        for f in self.layout.fields:
            for kinds_of_field, rows in self._groups(f, rows_of, n):
                if len(rows):
                    _Cells(self, out, f, kinds_of_field, rows, numbers, batch).write()
        self.records += n
        return out.tobytes()

    def _groups(self, f: FieldSpec, rows_of: dict[str, Ints], n: int) -> list[tuple[str, Ints]]:
        """The rows that have the field; apart by record type only where a constant differs."""
        if f.type == "const" and isinstance(f.value, dict):
            return [(kind, rows) for kind, rows in rows_of.items() if kind in f.value]
        kinds = f.only or tuple(rows_of)
        if len(kinds) == len(rows_of):
            return [("", np.arange(n))]
        return [("".join(kinds), np.sort(np.concatenate([rows_of[k] for k in kinds])))]

    def _count(self, what: str, n: int) -> None:
        self.totals[what] = self.totals.get(what, 0) + n


class _Cells:
    """One field of one batch: writes its column into the block, and says what did not fit."""

    def __init__(
        self,
        job: Rendered,
        out: NDArray[np.uint8],
        f: FieldSpec,
        kind: str,
        rows: Ints,
        numbers: Ints,
        batch: pa.RecordBatch,
    ) -> None:
        self.job, self.out, self.f, self.kind, self.rows, self.numbers = job, out, f, kind, rows, numbers
        self.batch = batch
        self.start = int(f.at) - 1

    def write(self) -> None:
        f = self.f
        if f.type == "filler":
            return
        if f.type == "const":
            constant = f.constant(self.kind).ljust(f.length)
            for k, letter in enumerate(constant):
                self.out[self.rows, self.start + k] = self.job.page.byte(letter)
            return
        if f.name not in self.batch.schema.names:
            column = pa.nulls(len(self.rows), pa.string())
        else:
            column = self.batch.column(f.name)
            if len(self.rows) != len(column):
                column = column.take(pa.array(self.rows))
        missing = np.asarray(column.is_null())
        if f.required and missing.any():
            self._find(np.flatnonzero(missing), "required", "a required field is empty", "fill it at the source")
        if f.zeros and missing.any():
            self.out[np.ix_(self.rows[missing], np.arange(self.start, self.start + f.length))] = self.job.page.byte("0")
        if missing.all():
            return
        present = np.flatnonzero(~missing)
        if len(present) != len(column):
            column = column.take(pa.array(present))
        match f.type:
            case "integer":
                self._number(present, column.cast(pa.int64()).to_numpy())
            case "decimal":
                self._number(present, unscaled(column))
            case "date":
                self._date(present, column)
            case _:
                self._text(present, column)

    def _number(self, which: Ints, values: Ints) -> None:
        """Right-aligned and zero-filled, a minus in the first place."""
        width = self.f.length
        negative = values < 0
        size = np.abs(values)
        room = np.where(negative, width - 1, width)
        fits = (room >= LARGEST) | (size < np.int64(10) ** np.minimum(room, LARGEST))
        if not fits.all():
            self._find(which[~fits], "too_long", f"the number has more digits than the field's {width}",
                       "correct it at the source, or widen the field in the layout")  # fmt: skip
        digits = digits_of(size, width) + np.uint8(ord("0"))
        digits[negative, 0] = ord("-")
        table = self.job.page.bytes
        self.out[np.ix_(self.rows[which], np.arange(self.start, self.start + width))] = table[digits].astype(np.uint8)

    def _date(self, which: Ints, column: pa.Array) -> None:
        """YYYYMMDD, in the last eight places of a wider field."""
        days = column.cast(pa.date32()).cast(pa.int32()).to_numpy().astype("datetime64[D]")
        year = days.astype("datetime64[Y]").astype(np.int64) + 1970
        month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
        day = (days - days.astype("datetime64[M]")).astype(np.int64) + 1
        digits = digits_of(year * 10000 + month * 100 + day, 8) + np.uint8(ord("0"))
        first = self.start + (self.f.length - 8 if self.f.align == "right" else 0)
        self.out[np.ix_(self.rows[which], np.arange(first, first + 8))] = self.job.page.bytes[digits].astype(np.uint8)

    def _text(self, which: Ints, column: pa.Array) -> None:
        f = self.f
        flat, lengths = points(column)
        coded = np.where(flat < 65536, self.job.page.bytes[np.minimum(flat, 65535)], UNDEFINED)
        if (lost := coded == UNDEFINED).any():
            self._unmappable(which, flat, lengths, lost)
        if f.type == "digits" and ((flat < 48) | (flat > 57)).any():
            wrong = np.unique(np.repeat(which, lengths)[(flat < 48) | (flat > 57)])
            self._find(wrong, "not_a_number", "a field of digits holds something else", "correct it at the source")
        if f.values:
            unknown = ~np.asarray(pc.is_in(column, pa.array(f.values, pa.string())))
            if unknown.any():
                self._find(which[unknown], "not_in_code_list", f"not one of {', '.join(f.values)}",
                           "correct it at the source, or add the code to the layout")  # fmt: skip
        if (long := lengths > f.length).any():
            if f.truncate:
                self.job._count(f"truncated.{f.name}", int(long.sum()))
            else:
                for row, length in zip(which[long], lengths[long], strict=True):
                    self._find([row], "too_long", f"{length} characters in a field of {f.length}",
                               "shorten it at the source, or widen the field in the layout")  # fmt: skip
        kept = np.minimum(lengths, f.length)
        source = spread(np.cumsum(lengths) - lengths, kept)
        first = self.start + (f.length - kept if f.align == "right" else 0)
        target = spread(self.rows[which] * self.out.shape[1] + first, kept)
        self.out.reshape(-1)[target] = coded[source].astype(np.uint8)

    def _unmappable(self, which: Ints, flat: NDArray[np.uint32], lengths: Ints, lost: NDArray[np.bool_]) -> None:
        places = np.flatnonzero(lost)
        owner = np.repeat(np.arange(len(lengths)), lengths)[places]
        within = places - (np.cumsum(lengths) - lengths)[owner]
        for row, column, point in zip(which[owner], within, flat[places], strict=True):
            self._find(
                [row],
                "unmappable",
                f"character U+{point:04X} does not exist in {self.job.encoding}",
                "replace it at the source, or declare a replacement for this endpoint",
                column=int(self.f.at) + int(column),
                length=1,
                byte=chr(point).encode("utf-8", "replace").hex(" "),
            )

    def _find(
        self, which: NDArray[np.integer] | list[int], rule: str, message: str, next_step: str,
        column: int | None = None, length: int | None = None, byte: str | None = None,
    ) -> None:  # fmt: skip
        kinds = self.batch.column("record_type")
        for position in which:
            row = int(self.rows[position])
            if self.job.findings.full:
                self.job.findings.count(rule, 1)
                continue
            self.job.findings.add(
                Finding(
                    rule, message, next_step,
                    record=int(self.numbers[row]),
                    record_type=kinds[row].as_py(),
                    field=self.f.name,
                    column=column or int(self.f.at),
                    length=length or self.f.length,
                    byte=byte,
                    offset=(self.job.records + row) * self.out.shape[1] + (column or int(self.f.at)) - 1,
                )
            )  # fmt: skip
