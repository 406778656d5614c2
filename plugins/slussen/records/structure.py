"""What records are in relation to each other: header first, trailer last, parts after their whole, control totals.

Seen in order, batch by batch; the same arithmetic checks totals on reading and computes them on writing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records.layout import Layout
from slussen.records.letters import Bools, Ints, unscaled
from slussen.records.notation import LONGEST, FieldSpec, Total

Kinds = NDArray[np.int64]
AGAIN = "have the file sent again, whole"


def kinds_of(batch: pa.RecordBatch, layout: Layout) -> Kinds:
    """The record types of a batch as numbers: the layout's order, -1 for one that it doesn't have."""
    found = pc.index_in(batch.column("record_type"), pa.array(list(layout.records), pa.string()))
    kinds: Kinds = np.asarray(pc.fill_null(found, -1)).astype(np.int64)
    return kinds


@dataclass
class _Running:
    """One control total as it grows: since the file began, or since the group did."""

    record_type: str
    name: str
    spec: FieldSpec
    total: Total
    opener: str
    value: int = 0
    counted: tuple[str, ...] = ()
    summed: tuple[tuple[str, str], ...] = field(default=())


class Structure:
    """Follows a file's records; ``totals`` counts them by type (``records.H``)."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.totals: dict[str, int] = {}
        self.records = 0
        self._types = list(layout.records)
        self._parents: dict[str, int] = {}
        self._ended = self._followed = False
        self._in_post = False
        self._writing = False  # then nothing has a place in a file yet
        self._running = [self._total(name, total) for name, total in layout.file.totals.items()]

    def _total(self, dotted: str, total: Total) -> _Running:
        record_type, _, name = dotted.partition(".")
        spec = self.layout.field(name, record_type)
        assert spec is not None  # the layout has checked it
        count = (total.count,) if isinstance(total.count, str) and total.count else tuple(total.count)
        sums = [total.sum, total.hash]
        summed = tuple(
            (t, n) for s in sums for t, _, n in [x.partition(".") for x in ((s,) if isinstance(s, str) else s) if x]
        )
        opener = self.layout.records[record_type].closes if self.layout.kind == "fixed" else ""
        return _Running(record_type, name, spec, total, opener, 0, count or (), summed)

    # --- on reading

    def see(self, batch: pa.RecordBatch, findings: Findings, kinds: Kinds | None = None) -> None:
        """The next records of the file: are they where they belong, and do the totals agree?"""
        if batch.num_rows == 0:
            return
        kinds = kinds_of(batch, self.layout) if kinds is None else kinds
        self._relations(batch, kinds, findings)
        for running in self._running:
            self._agree(running, batch, kinds, findings)
        self.records += batch.num_rows

    def end(self, findings: Findings, offset: int) -> None:
        """The file has ended: did it end as it should?"""
        layout = self.layout
        if self.records == 0:
            if not layout.file.may_be_empty and not findings:
                findings.add(Finding("empty_file", "the file has no records", "ask the sender whether that is right",
                                     offset=0))  # fmt: skip
            return
        for name, spec in layout.records.items():
            whole = spec.under
            if whole and name == self._closer(whole) and self._parents.get(name) == self._types.index(whole):
                findings.add(
                    Finding("missing_trailer", f"the file ends within a group, without its trailer ({name})", AGAIN,
                            record=self.records + 1, offset=offset)
                )  # fmt: skip
        if layout.trailer and not self._ended:
            findings.add(
                Finding("missing_trailer", f"the file ends without its trailer ({layout.trailer})", AGAIN,
                        record=self.records + 1, offset=offset)
            )  # fmt: skip

    def _relations(self, batch: pa.RecordBatch, kinds: Kinds, findings: Findings) -> None:
        self._count(kinds)
        if self.layout.header or self.layout.trailer:
            self._places(batch, kinds, findings)
        if any(spec.under for spec in self.layout.records.values()):
            self._under(batch, kinds, findings)

    def _count(self, kinds: Kinds) -> None:
        counts = np.bincount(kinds + 1, minlength=len(self._types) + 1)[1:]
        for name, n in zip(self._types, counts.tolist(), strict=True):
            if n:
                self.totals[f"records.{name}"] = self.totals.get(f"records.{name}", 0) + n

    def _places(self, batch: pa.RecordBatch, kinds: Kinds, findings: Findings) -> None:
        layout = self.layout
        if layout.header:
            header = self._types.index(layout.header)
            heads = np.flatnonzero(kinds == header)
            if self.records == 0 and kinds[0] != header:
                self._find(
                    batch, 0, findings, "missing_header", f"the file begins without its header ({layout.header})"
                )
            for row in findings.some("second_header", heads[heads > 0] if self.records == 0 else heads):
                self._find(batch, row, findings, "second_header", "another header: two files run together")
        if layout.trailer:
            last = self._types.index(layout.trailer)
            tails = np.flatnonzero(kinds == last).tolist()
            after = 0 if self._ended else tails[0] + 1 if tails else len(kinds)
            if after < len(kinds) and not self._followed:
                self._followed = True
                self._find(batch, after, findings, "after_trailer", "a record after the trailer, the first of them")
            self._ended |= bool(tails)

    def _under(self, batch: pa.RecordBatch, kinds: Kinds, findings: Findings) -> None:
        """A part comes after its whole, with nothing but other parts of the same in between, and before its trailer."""
        for name, spec in self.layout.records.items():
            if not spec.under:
                continue
            # Its own parts, and parts of the same whole with theirs, may stand between.
            beside = [t for t in self._types if self.layout.records[t].under == spec.under]
            trailer = self._closer(spec.under)
            between = [k for k, t in enumerate(self._types) if t != trailer and any(self._within(t, s) for s in beside)]
            whole, mine = self._types.index(spec.under), kinds == self._types.index(name)
            inside = np.isin(kinds, between)
            reached = np.maximum.accumulate(np.where(inside, -1, np.arange(len(kinds))))
            before = self._parents.get(name, -1)
            parent = np.where(reached >= 0, kinds[np.maximum(reached, 0)], before)
            if name == trailer:
                parent_before = np.concatenate(([before], parent[:-1]))
                for row in findings.some("missing_trailer", np.flatnonzero((parent_before == whole) & ~inside & ~mine)):
                    self._find(batch, row, findings, "missing_trailer", f"the group before has no trailer ({name})")
            else:
                parent_before = parent
            for row in findings.some("out_of_order", np.flatnonzero(mine & (parent_before != whole))):
                self._find(batch, row, findings, "out_of_order", f"a record {name} that comes after no {spec.under}")
            self._parents[name] = int(parent[-1])

    def _closer(self, whole: str) -> str:
        """The record type that ends the groups of this one."""
        if self.layout.kind != "fixed":
            return ""
        return next((t for t, spec in self.layout.records.items() if spec.closes == whole), "")

    def _in_posts(self, batch: pa.RecordBatch, kinds: Kinds, findings: Findings) -> None:
        """The groups of a post come after it: on writing, where rows may be in any order."""
        records, counted = self.layout.records, self.layout.counted
        groups = [k for k, t in enumerate(self._types) if t != counted and not (records[t].place or records[t].line)]
        begun = np.logical_or.accumulate(kinds == self._types.index(counted)) | self._in_post
        for row in findings.some("out_of_order", np.flatnonzero(np.isin(kinds, groups) & ~begun)):
            self._find(batch, row, findings, "out_of_order", f"a record that comes after no {counted}")
        self._in_post = bool(begun[-1])

    def _within(self, inner: str, outer: str) -> bool:
        while inner and inner != outer:
            inner = self.layout.records[inner].under
        return inner == outer

    def _agree(self, running: _Running, batch: pa.RecordBatch, kinds: Kinds, findings: Findings) -> None:
        rows, values = self._values(running, batch, kinds)
        if not len(rows):
            return
        column, told = batch.column(running.name), _told_of(running.name, findings)
        for row, value in zip(rows, values, strict=True):
            self._holds(running, batch, row, _whole(column, row, running.spec), value, findings, told)

    def _holds(
        self, running: _Running, batch: pa.RecordBatch, row: int, declared: int | None, value: int, findings: Findings,
        told: set[int | None],
    ) -> None:  # fmt: skip
        """Is the total that a record says what it must be? One that says nothing says zero."""
        if running.total.hash:
            value %= 10**running.spec.digits
        if declared is None and self.layout.kind == "tagged":
            return  # left out
        if declared is None and "record_no" in batch.schema.names and batch.column("record_no")[row].as_py() in told:
            return  # not to be read
        if (declared or 0) != value and findings.full:
            findings.count("control_total", 1)
        elif (declared or 0) != value:
            self._find(batch, row, findings, "control_total", self._told(running, declared, value), running.spec)

    def _told(self, running: _Running, declared: int | None, value: int) -> str:
        """What a total that doesn't agree says, and what it must be: unless a person's data may be in either.

        (A record that is taken for a trailer may have them where a total is.)
        """
        layout, name = self.layout, running.name
        parts = [layout.field(n, record_type) for record_type, n in running.summed]
        has = "" if any(f and layout.tells(f) for f in parts) else f"the file has {_shown(value, running.spec)}"
        if declared is not None and layout.tells(running.spec):
            return f"{name} doesn't agree" + (f": {has}" if has else " with the file")
        says = "is blank" if declared is None else f"says {_shown(declared, running.spec)}"
        return f"{name} {says}, {has or 'the file has another'}"

    def _values(self, running: _Running, batch: pa.RecordBatch, kinds: Kinds) -> tuple[list[int], list[int]]:
        """The rows that bear the total, and what it is there; goes on counting."""
        amounts = self._amounts(running, batch, kinds)
        here = self._types.index(running.record_type)
        openers = self._types.index(running.opener) if running.opener else None
        stops = np.flatnonzero((kinds == here) | (kinds == openers if openers is not None else False))
        reached = np.concatenate(([0], np.cumsum(amounts)))
        rows, values, start = [], [], 0
        for row in stops.tolist():
            if kinds[row] == openers:
                running.value, start = 0, row
            else:
                rows.append(row)
                values.append(running.value + int(reached[row + 1] - reached[start]))
        running.value += int(reached[-1] - reached[start])
        return rows, values

    def _amounts(self, running: _Running, batch: pa.RecordBatch, kinds: Kinds) -> Any:
        if running.counted:
            if running.counted == ("*",):
                return np.ones(len(kinds), np.int64)
            return np.isin(kinds, [self._types.index(t) for t in running.counted]).astype(np.int64)
        amounts = np.zeros(len(kinds), np.int64)
        for record_type, name in running.summed:
            spec = self.layout.field(name, record_type)
            assert spec is not None
            rows = kinds == self._types.index(record_type)
            amounts += np.where(rows, _numbers(batch.column(name), spec), 0)
        # Eighteen digits each: a batch's sum may need more than 64 bits.
        return amounts.astype(object) if np.abs(amounts).max(initial=0) > 2**62 // max(len(amounts), 1) else amounts

    def _find(
        self, batch: pa.RecordBatch, row: int, findings: Findings, rule: str, message: str, f: FieldSpec | None = None
    ) -> None:
        place = int(f.at) - 1 if f is not None and self.layout.kind == "fixed" else 0

        def number(batch: pa.RecordBatch, name: str, first: int) -> int:
            """What the batch says of its row; a batch to be written may not."""
            value = batch.column(name)[row].as_py() if name in batch.schema.names else None
            return int(value) if value is not None else first + row

        offset = None if self._writing else number(batch, "byte_offset", 0) + place
        findings.add(
            Finding(
                rule, message, AGAIN,
                record=number(batch, "record_no", self.records + 1),
                record_type=batch.column("record_type")[row].as_py() or "",
                field=f.name if f else "",
                column=place + 1,
                length=f.length if f else None,
                offset=offset,
            )
        )  # fmt: skip

    # --- on writing

    def fill(
        self, batch: pa.RecordBatch, findings: Findings, kinds: Kinds, kept: Bools | None = None
    ) -> pa.RecordBatch:
        """The same records, with the totals that are now known; one that its field has no room for is a finding.

        Rows that are ``kept`` as they were read keep their totals too: one that doesn't hold is a finding.
        """
        self._writing = True
        if batch.num_rows == 0:
            return batch
        self._relations(batch, kinds, findings)
        if self.layout.kind == "tagged":
            self._in_posts(batch, kinds, findings)
        for running in self._running:
            rows, values = self._values(running, batch, kinds)
            if kept is not None:
                told = _told_of(running.name, findings)
                for row, value in zip(rows, values, strict=True):
                    if kept[row]:
                        declared = _whole(batch.column(running.name), row, running.spec)
                        self._holds(running, batch, row, declared, value, findings, told)
                values = [v for r, v in zip(rows, values, strict=True) if not kept[r]]
                rows = [r for r in rows if not kept[r]]
            if rows:
                room = min(running.spec.digits, LONGEST)
                known = [v % 10**running.spec.digits if running.total.hash else v for v in values]
                for row in [r for r, v in zip(rows, known, strict=True) if abs(v) >= 10**room]:
                    what = f"the total {running.name} has more digits than the field's {room}"
                    self._find(batch, row, findings, "overflow", what, running.spec)
                batch = _with(batch, running.spec, rows, [v if abs(v) < 10**room else None for v in known])
        self.records += batch.num_rows
        return batch

    @property
    def needs_trailer(self) -> bool:
        """Is the trailer still to be written?"""
        return bool(self.layout.trailer) and not self._ended

    def trailer(self) -> pa.RecordBatch:
        """A trailer of its own: what it is known by, constants and totals."""
        schema = self.layout.schema
        kind = self.layout.trailer
        values: dict[str, Any] = {"record_no": self.records + 1, "byte_offset": 0, "record_type": kind}
        for name, code in self.layout.records[kind].when.items():
            spec = self.layout.field(name, kind)
            values[name] = int(code) if spec is not None and spec.type == "integer" else code
        return pa.RecordBatch.from_arrays([pa.array([values.get(c.name)], c.type) for c in schema], schema=schema)


def _told_of(name: str, findings: Findings) -> set[int | None]:
    """The records with a finding in this field."""
    return {f.record for f in findings if f.field == name}


def _numbers(column: pa.Array, spec: FieldSpec) -> Ints:
    """A column's values as whole numbers of its smallest unit; nothing is 0."""
    if spec.type == "decimal":
        return unscaled(column)
    if spec.type == "integer":
        found: Ints = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        return found
    clean: Bools = np.asarray(pc.fill_null(pc.match_substring_regex(column, "^[0-9]{1,18}$"), False))
    numbers: Ints = pc.if_else(clean, column, "0").cast(pa.int64()).to_numpy()
    return numbers


def _whole(column: pa.Array, row: int, spec: FieldSpec) -> int | None:
    value = column[row].as_py()
    if value is None:
        return None
    if spec.type == "decimal":
        return int(value.scaleb(spec.decimals))
    return int(value) if str(value).lstrip("-").isdigit() else None


def _shown(value: int, spec: FieldSpec) -> str:
    return f"{Decimal(value).scaleb(-spec.decimals):,f}" if spec.type == "decimal" else f"{value:,}"


def _with(batch: pa.RecordBatch, spec: FieldSpec, rows: list[int], values: list[int | None]) -> pa.RecordBatch:
    """The batch with these values in a field."""
    index = batch.schema.get_field_index(spec.name)
    column = batch.column(index).to_pylist()
    for row, value in zip(rows, values, strict=True):
        if value is None:
            column[row] = None
        elif spec.type == "decimal":
            column[row] = Decimal(value).scaleb(-spec.decimals)
        else:
            column[row] = value if spec.type == "integer" else str(value).zfill(spec.length)
    return batch.set_column(index, batch.schema.field(index), pa.array(column, batch.schema.field(index).type))
