"""Arrow batches to files: records of fixed length, delimited or tagged, whole columns at a time.

What does not fit is found, located and refused; nothing is cut unless the layout says ``truncate``, and then counted;
nothing is replaced unless a table is declared, and then counted. Control totals are computed, and a trailer that the
batches don't have is added. A column ``raw`` (hex) stands for whole records as they were read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.errors import CallError, Finding, Findings
from slussen.records import writing
from slussen.records.cells import Fault
from slussen.records.codepages import BOM, NOTHING, Replacements, codepage
from slussen.records.frames import ENDS, check
from slussen.records.layout import NUMBERS, FieldSpec, Layout
from slussen.records.letters import Bytes, Ints
from slussen.records.parallel import Hash, ordered
from slussen.records.structure import Structure, kinds_of

RAW = "raw"
BIGGEST = 32_756  # bytes of records in a block of the mainframe's, after its descriptor
NEXT = {
    "too_long": writing.WIDER,
    "unmappable": "replace it at the source, or declare a replacement for this endpoint",
    "not_in_code_list": "correct it at the source, or add the code to the layout",
    "required": "fill it at the source",
}


@dataclass
class Task:
    """A batch to be written: where it comes in the file."""

    batch: pa.RecordBatch
    first: int  # its first record, from 0
    last: bool = False


@dataclass
class Done:
    data: bytes
    findings: Findings
    counts: Counter[str] = field(default_factory=Counter)


class Rendered:
    """An iterator of byte blocks, a block a batch; afterwards ``records``, ``bytes``, ``sha256`` and ``totals``.

    ``totals`` counts records by type (``records.H``), values that were cut (``truncated.adress``) and letters that were
    replaced (``replaced.namn``).
    """

    def __init__(
        self,
        batches: Iterable[pa.RecordBatch],
        layout: Layout,
        encoding: str,
        frame: str,
        findings: Findings,
        *,
        replacements: Replacements = NOTHING,
        hashed: bool = True,
    ) -> None:
        self.layout, self.findings, self.frame = layout, findings, frame or "fixed"
        if layout.kind == "fixed":
            check(layout, self.frame)
        self.page = codepage(encoding)
        self.replace = replacements.needed(self.page)
        self.records = self.bytes = 0
        self.structure = Structure(layout)
        self._counts: Counter[str] = Counter()
        self._batches = batches
        self._hash = Hash() if hashed else None
        self._writer = _writer(self)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest() if self._hash is not None else ""

    @property
    def totals(self) -> dict[str, int]:
        return {**self.structure.totals, **self._counts}

    def __iter__(self) -> Iterator[bytes]:
        if self.page.name == "utf-8-sig":
            yield self._out(BOM)
        if start := self._writer.start():
            yield self._out(start)
        # Fixed records are written side by side; the others depend on what came before.
        run = ordered if self.layout.kind == "fixed" and self.frame != "vb" else map
        for done in run(self._writer.write, self._tasks()):
            self.findings.merge(done.findings)
            self._counts += done.counts
            yield self._out(done.data)
        if end := self._writer.end():
            yield self._out(end)

    def _out(self, data: bytes) -> bytes:
        if self._hash is not None:
            self._hash.update(data)
        self.bytes += len(data)
        return data

    def _tasks(self) -> Iterator[Task]:
        held: pa.RecordBatch | None = None
        for batch in self._batches:
            if batch.num_rows == 0:
                continue
            if held is not None:
                yield self._task(held)
            held = batch
        if held is not None:
            yield self._task(held)
        if self.structure.needs_trailer and (self.records or self.layout.file.may_be_empty):
            yield self._task(self.structure.trailer())

    def _task(self, batch: pa.RecordBatch) -> Task:
        if (kinds_of(batch, self.layout) < 0).any():
            raise CallError(f"{self.layout.name}: a row has a record type that the layout doesn't have")
        first = self.records
        batch = self.structure.fill(batch, self.findings)
        self.records += batch.num_rows
        return Task(batch, first)


class Writer:
    """What writes one kind of layout."""

    def __init__(self, job: Rendered) -> None:
        self.layout, self.page, self.replace = job.layout, job.page, job.replace
        self.frame, self.limit = job.frame, job.findings.limit
        self.names = list(job.layout.records)

    def start(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    def write(self, task: Task) -> Done:
        raise NotImplementedError

    def letters(self, text: str) -> bytes:
        """The layout's own words in the encoding."""
        return text.encode() if self.page.wide else bytes(self.page.byte(c) for c in text)


def _writer(job: Rendered) -> Writer:
    match job.layout.kind:
        case "fixed":
            return FixedWriter(job)
        case "delimited":
            return DelimitedWriter(job)
        case _:
            return TaggedWriter(job)


class _Findings:
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

    def add(self, f: FieldSpec, fault: Fault, rows: Ints | None) -> None:
        fixed = self.writer.layout.kind == "fixed"
        width = self.writer.layout.longest + len(ENDS[self.writer.frame]) if fixed else 0
        within = fault.within if fault.within is not None else [None] * len(fault.rows)
        for row, place in zip(fault.rows.tolist(), within, strict=True):
            if self.done.full:
                self.done.count(fault.rule, 1)
                continue
            row = int(rows[row]) if rows is not None else row
            column = (int(f.at) if fixed else 1) + (int(place) if place is not None else 0)
            self.done.add(
                Finding(
                    fault.rule, fault.message, NEXT.get(fault.rule, writing.SOURCE),
                    record=int(self.numbers[row]),
                    record_type=self.kinds[row].as_py(),
                    field=f.name,
                    column=column,
                    length=1 if place is not None else f.length,
                    offset=(self.task.first + row) * width + column - 1 if fixed else None,
                )
            )  # fmt: skip


class FixedWriter(Writer):
    """Records of known lengths."""

    def __init__(self, job: Rendered) -> None:
        super().__init__(job)
        self._block: list[bytes] = []  # of the mainframe's: filled up across batches
        self._size = 0

    def write(self, task: Task) -> Done:
        batch, n, width = task.batch, task.batch.num_rows, self.layout.longest
        end = ENDS[self.frame]
        out = np.full((n, width + len(end)), ord(" "), np.uint8)
        for k, byte in enumerate(end):
            out[:, width + k] = byte
        kinds = kinds_of(batch, self.layout)
        findings, counts = _Findings(self, task), Counter[str]()
        columns = {name: batch.column(k) for k, name in enumerate(batch.schema.names)}
        rows_of = {name: np.flatnonzero(kinds == k) for k, name in enumerate(self.names)}
        for f in self.layout.fields:
            for kind, rows in self._groups(f, rows_of, n):
                if rows is None or len(rows):
                    self._field(f, kind, rows, columns, out, findings, counts)
        data = out.tobytes()
        if self.page.back != bytes(range(256)) and not self.page.wide:
            data = data.translate(self.page.back)
        if self.layout.varies or self.frame in ("rdw", "vb"):
            data = self._ragged(np.frombuffer(data, np.uint8).reshape(out.shape), kinds)
        if RAW in columns:
            data = self._as_read(data, columns[RAW], out.shape[1])
        return Done(data, findings.done, counts)

    def _groups(self, f: FieldSpec, rows_of: dict[str, Ints], n: int) -> list[tuple[str, Ints | None]]:
        """The rows that have the field (None for all); apart by record type only where a constant differs."""
        if f.type == "const" and isinstance(f.value, dict):
            return [(kind, rows) for kind, rows in rows_of.items() if kind in f.value]
        kinds = f.only or tuple(rows_of)
        count = sum(len(rows_of[k]) for k in kinds)
        if count == n:
            return [(kinds[0], None)]
        return [(kinds[0], np.sort(np.concatenate([rows_of[k] for k in kinds])))] if count else []

    def _field(
        self, f: FieldSpec, kind: str, rows: Ints | None, columns: dict[str, pa.Array], out: Bytes,
        findings: _Findings, counts: Counter[str],
    ) -> None:  # fmt: skip
        if f.type in ("filler", "sign"):
            return
        first = int(f.at) - 1
        if f.type == "const":
            constant = np.frombuffer(f.constant(kind).encode("latin-1").ljust(f.length), np.uint8)
            _put(out, rows, first, np.broadcast_to(constant, (len(out) if rows is None else len(rows), f.length)))
            return
        column = columns.get(f.name)
        if column is None:
            column = pa.nulls(len(out) if rows is None else len(rows), pa.string())
        elif rows is not None:
            column = column.take(pa.array(rows))
        which = rows
        text = f.type in ("text", "digits") and not f.zeros and not f.codes  # of which nothing is the empty text
        if (column.null_count and not text) or (f.required and (column.null_count or text)):
            missing = np.asarray(column.is_null())
            if f.required:
                empty = missing | np.asarray(pc.fill_null(pc.equal(column, ""), False)) if pa.types.is_string(
                    column.type) else missing  # fmt: skip
                if empty.any():
                    findings.add(f, Fault("required", "a required field is empty", np.flatnonzero(empty)), rows)
            if missing.any():
                there = np.flatnonzero(~missing)
                where = np.flatnonzero(missing) if rows is None else rows[missing]
                _put(out, where, first, np.broadcast_to(self._nothing(f), (len(where), f.length)))
                if not len(there):
                    return
                column = column.take(pa.array(there))
                which = there if rows is None else rows[there]
        written = writing.write(f, column, self.page, self.replace)
        for fault in written.faults:
            findings.add(f, fault, which)
        for what, count in (("truncated", written.cut), ("replaced", written.replaced)):
            if count:
                counts[f"{what}.{f.name}"] += count
        _put(out, which, first, written.cells)
        if written.negative is not None and (sign := self.layout.field(f.sign, kind)) is not None:
            minus = np.where(written.negative, ord("-"), ord(" ")).astype(np.uint8)[:, None]
            _put(out, which, int(sign.at) - 1, minus)

    def _nothing(self, f: FieldSpec) -> Bytes:
        """How nothing is written, in plain bytes."""
        home = np.frombuffer(self.page.home, np.uint8)
        if f.usage == "packed":
            return home[np.frombuffer(bytes(f.length - 1) + (b"\x0f" if f.sign == "none" else b"\x0c"), np.uint8)]
        if f.usage == "binary":
            return home[np.zeros(f.length, np.uint8)]
        fill = "0" if f.zeros else " " if f.type in NUMBERS else f.pad
        return np.full(f.length, ord(fill), np.uint8)

    def _ragged(self, out: Bytes, kinds: Ints) -> bytes:
        """Records of several lengths, or with their descriptors."""
        sizes = np.array([self.layout.length_of(r) for r in self.names])[kinds]
        end = out[:, self.layout.longest :].tobytes()[: len(ENDS[self.frame])]
        records = [out[k, :size].tobytes() for k, size in enumerate(sizes.tolist())]
        if self.frame not in ("rdw", "vb"):
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

    def _as_read(self, data: bytes, raw: pa.Array, width: int) -> bytes:
        """Records whose own bytes were kept, with these."""
        if raw.null_count == len(raw):
            return data
        end = ENDS[self.frame] if not self.page.ebcdic else self.letters(ENDS[self.frame].decode())
        return b"".join(
            bytes.fromhex(kept) + end if kept else data[k * width : (k + 1) * width]
            for k, kept in enumerate(raw.to_pylist())
        )


def _put(out: Bytes, rows: Ints | None, first: int, cells: Bytes) -> None:
    width = cells.shape[1]
    if rows is None:
        if cells.strides[1] == 1:
            out[:, first : first + width].view(f"V{width}")[:] = np.ascontiguousarray(cells).view(f"V{width}")
        else:
            out[:, first : first + width] = cells
    else:
        out[rows, first : first + width] = cells


class _TextWriter(Writer):
    """What delimited and tagged formats have in common: values of any length, joined line by line."""

    def text(
        self, f: FieldSpec, column: pa.Array, findings: _Findings, counts: Counter[str], rows: Ints | None = None
    ) -> pa.Array:
        """A column as text, "" where it is null; what the encoding lacks is found here."""
        if f.required and (missing := np.asarray(column.is_null())).any():
            findings.add(f, Fault("required", "a required field is empty", np.flatnonzero(missing)), rows)
        written, faults, replaced = writing.as_text(f, column, self.replace)
        _, _, lacking = writing.to_page(written, self.page)
        for fault in faults + lacking:
            findings.add(f, fault, rows)
        if replaced:
            counts[f"replaced.{f.name}"] += replaced
        return written

    def coded(self, lines: pa.Array) -> bytes:
        """Lines in the encoding, one after the other. What it lacks is a finding already."""
        letters, _, _ = writing.to_page(lines, self.page)
        return letters.tobytes() if self.page.wide else letters.tobytes().translate(self.page.back)


class DelimitedWriter(_TextWriter):
    """Fields between separators; in quotes only where they must be, or the layout says always."""

    def __init__(self, job: Rendered) -> None:
        super().__init__(job)
        self.end_of_line = ENDS[self.frame].decode() or "\n"
        self._section = ""

    def start(self) -> bytes:
        if not self.layout.file.header_row:
            return b""
        names = self.layout.file.separator.join(f.name for f in self.layout.fields)
        return self.letters(names + self.end_of_line)

    def write(self, task: Task) -> Done:
        findings, counts = _Findings(self, task), Counter[str]()
        batch = task.batch
        kinds = kinds_of(batch, self.layout)
        lines = [""] * batch.num_rows
        for number, name in enumerate(self.names):
            rows = np.flatnonzero(kinds == number)
            if not len(rows):
                continue
            every = len(rows) == batch.num_rows
            values = []
            for f in self.layout.of(name):
                column = _column(batch, f, rows if not every else None)
                values.append(self._quoted(f, self.text(f, column, findings, counts, None if every else rows)))
            joined = pc.binary_join_element_wise(*values, self.layout.file.separator)
            if every and not self.layout.records[name].section:
                return Done(
                    self.coded(pc.binary_join_element_wise(joined, self.end_of_line, "")), findings.done, counts
                )
            for row, line in zip(rows.tolist(), joined.to_pylist(), strict=True):
                lines[row] = line
        return Done(self.coded(pa.array(self._sections(lines, kinds), pa.string())), findings.done, counts)

    def _sections(self, lines: list[str], kinds: Ints) -> list[str]:
        """Lines with their ends; where another section begins, its name before it."""
        written = []
        for line, kind in zip(lines, kinds.tolist(), strict=True):
            section = self.layout.records[self.names[kind]].section
            if section and section != self._section:
                written.append(section + self.end_of_line)
                self._section = section
            written.append(line + self.end_of_line)
        return written

    def _quoted(self, f: FieldSpec, text: pa.Array) -> pa.Array:
        file = self.layout.file
        if file.nothing:
            text = pc.if_else(pc.equal(text, ""), file.nothing, text)
        if not file.quote:
            return text
        if f.quoted:
            return pc.binary_join_element_wise(
                file.quote, pc.replace_substring(text, file.quote, file.quote * 2), file.quote, ""
            )
        needed = pc.or_(pc.match_substring(text, file.separator), pc.match_substring(text, file.quote))
        if not pc.any(needed).as_py():
            return text
        inner = pc.replace_substring(text, file.quote, file.quote * 2)
        return pc.if_else(needed, pc.binary_join_element_wise(file.quote, inner, file.quote, ""), text)


class TaggedWriter(_TextWriter):
    """Lines of terms between the lines that open and close a record."""

    def __init__(self, job: Rendered) -> None:
        super().__init__(job)
        self.line_end = ENDS[self.frame].decode() or "\n"
        self._open = False  # a post waits for its closing line
        self._began = False

    def write(self, task: Task) -> Done:
        findings, counts = _Findings(self, task), Counter[str]()
        batch = task.batch
        kinds = kinds_of(batch, self.layout)
        texts: list[str] = [""] * batch.num_rows
        for number, name in enumerate(self.names):
            rows = np.flatnonzero(kinds == number)
            if len(rows):
                for row, text in zip(rows.tolist(), self._lines(name, batch, rows, findings, counts), strict=True):
                    texts[row] = text
        texts = [self._around(self.names[k], t) for k, t in zip(kinds.tolist(), texts, strict=True)]
        return Done(self.coded(pa.array(texts, pa.string())), findings.done, counts)

    def _lines(
        self, name: str, batch: pa.RecordBatch, rows: Ints, findings: _Findings, counts: Counter[str]
    ) -> list[str]:
        """The term lines of each row."""
        spec = self.layout.records[name]
        lines = []
        for f in sorted(self.layout.of(name), key=lambda f: not spec.place and str(f.at)):
            text = self.text(f, _column(batch, f, rows), findings, counts, rows)
            prefix = "" if str(f.at).startswith("#") else self.layout.file.prefix
            line = pc.binary_join_element_wise(f"{prefix}{f.at} ", text, self.line_end, "")
            lines.append(pc.if_else(pc.equal(text, ""), "", line))
        found: list[str] = pc.binary_join_element_wise(*lines, "").to_pylist()
        return found

    def _around(self, name: str, text: str) -> str:
        """A row's lines with what opens and closes it."""
        file, spec, end = self.layout.file, self.layout.records[name], self.line_end
        if spec.place == "first":
            self._began = True
            return f"{spec.opens}{end}{text}{spec.closes}{end}{file.data[0]}{end}"
        if spec.place == "last":
            begun = "" if self._began else file.data[0] + end
            return (f"{begun}{self._close()}{file.data[1]}{end}{spec.opens}{end}{text}{spec.closes}{end}"
                    f"{file.end}{end}")  # fmt: skip
        if spec.line:
            return text
        if name == self.layout.counted:
            closed, self._open = self._close(), True
            return f"{closed}{spec.opens}{end}{text}"
        return f"{file.prefix}{spec.opens}{end}{text}{file.prefix}{spec.closes}{end}"

    def _close(self) -> str:
        closed = self.layout.records[self.layout.counted].closes + self.line_end if self._open else ""
        self._open = False
        return closed

    def end(self) -> bytes:
        return self.letters(self._close())


def _column(batch: pa.RecordBatch, f: FieldSpec, rows: Ints | None) -> pa.Array:
    if f.type in ("const", "filler"):
        n = batch.num_rows if rows is None else len(rows)
        return pa.array([f.constant(f.only[0] if f.only else "")] * n, pa.string())
    if f.name not in batch.schema.names:
        return pa.nulls(batch.num_rows if rows is None else len(rows), pa.string())
    column = batch.column(f.name)
    return column if rows is None else column.take(pa.array(rows))
