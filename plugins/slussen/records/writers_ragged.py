"""Delimited and tagged records, written: values of any length, joined line by line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.records import writing
from slussen.records.columns import Fault
from slussen.records.frames import ENDS
from slussen.records.known import marks_of, otherwise, text_of
from slussen.records.letters import Ints
from slussen.records.notation import FieldSpec
from slussen.records.writers import RAW, Done, Faults, Target, Task, Writer

CONTROL = "control_character"
NOTHING = "$"  # how Navet says that a term has lost its value
UNBROKEN = re.compile(r"\r(?!\n)|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # control characters but line breaks


class _Ragged(Writer):
    """What delimited and tagged formats have in common: values of any length, joined line by line."""

    def text(
        self, f: FieldSpec, column: pa.Array, findings: Faults, counts: Counter[str], rows: Ints | None = None
    ) -> pa.Array:
        """A column as text, "" where it is null; what the encoding lacks is found here."""
        if f.required and (missing := np.asarray(column.is_null())).any():
            findings.add(f, Fault("required", "a required field is empty", np.flatnonzero(missing)), rows)
        written, faults, cut, replaced = writing.as_text(f, column, self.replace)
        _, _, lacking = writing.to_page(written, self.page)
        for fault in [*self.meant(faults, written), *lacking]:
            findings.add(f, fault, rows)
        for what, count in (("truncated", cut), ("replaced", replaced)):
            if count:
                counts[f"{what}.{f.name}"] += count
        return written

    def meant(self, faults: list[Fault], column: pa.Array) -> list[Fault]:
        """These faults without what the format has a way to write."""
        return faults

    def coded(self, lines: pa.Array) -> bytes:
        """Lines in the encoding, one after the other. What it lacks is a finding already."""
        letters, _, _ = writing.to_page(lines, self.page)
        return letters.tobytes() if self.page.wide else letters.tobytes().translate(self.page.back)


class DelimitedWriter(_Ragged):
    """Fields between separators; in quotes only where they must be, or the layout says always."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.end_of_line = ENDS[self.frame].decode() or "\n"
        self._section = ""
        sections = [spec.section for spec in self.layout.records.values() if spec.section]
        self._section_names = pa.array(sections, pa.string()) if sections else None
        self._marks = [
            [(int(f.at) - 1, text_of(f, value)) for f, value in marks_of(self.layout, name)] for name in self.names
        ]
        self.letters(self.layout.file.separator + self.layout.file.quote)  # are they in the encoding?

    def start(self) -> bytes:
        if not self.layout.file.header_row:
            return b""
        names = self.layout.file.separator.join(f.name for f in self.layout.fields)
        return self.letters(names + self.end_of_line)

    def write(self, task: Task) -> Done:
        findings, counts = Faults(self, task), Counter[str]()
        batch = task.batch
        kinds = task.kinds
        lines = [""] * batch.num_rows
        for number, name in enumerate(self.names):
            rows = np.flatnonzero(kinds == number)
            if not len(rows):
                continue
            every = len(rows) == batch.num_rows
            mine = None if every else rows
            fields = self.layout.of(name)
            texts = [self.text(f, _column(batch, f, name, mine), findings, counts, mine) for f in fields]
            for f, fault in self._mistaken(number, fields, texts):
                findings.add(f, fault, mine)
            values = [self._quoted(f, text) for f, text in zip(fields, texts, strict=True)]
            joined = pc.binary_join_element_wise(*values, self.layout.file.separator)
            if every and not self.layout.records[name].section and RAW not in batch.schema.names:
                return Done(
                    self.coded(pc.binary_join_element_wise(joined, self.end_of_line, "")), findings.done, counts
                )
            for row, line in zip(rows.tolist(), joined.to_pylist(), strict=True):
                lines[row] = line
        written = [self.coded(pa.array([line], pa.string())) for line in lines]
        if RAW in batch.schema.names:
            kept = batch.column(RAW).to_pylist()
            written = [bytes.fromhex(k) if k else w for k, w in zip(kept, written, strict=True)]
        return Done(self._sections(written, kinds), findings.done, counts)

    def _mistaken(
        self, kind: int, fields: tuple[FieldSpec, ...], texts: list[pa.Array]
    ) -> Iterator[tuple[FieldSpec, Fault]]:
        """What would be read as something else: values as more of them or as nothing, lines as those of other types."""
        file = self.layout.file
        for f, text in zip(fields, texts, strict=True):
            if file.nothing and len(rows := _rows(pc.equal(text, file.nothing))):
                yield f, Fault("nothing", writing.READ_AS_NOTHING, rows)
            bare = not file.quote and file.separator.isprintable()  # another is a control character, and found as one
            if bare and len(rows := _rows(pc.match_substring(text, file.separator))):
                yield f, Fault("separator", "a separator within the value, and the layout has no quotes", rows)
        if self._section_names is not None:
            if len(fields) == 1 and len(rows := _rows(pc.is_in(texts[0], self._section_names))):
                yield fields[0], Fault("section", "the line would be read as the beginning of a section", rows)
            return
        read: Ints = np.full(len(texts[0]), -1, np.int64)
        for number, marks in enumerate(self._marks):
            match = read < 0
            for place, wanted in marks:
                match &= np.asarray(pc.equal(texts[place], wanted)) if place < len(texts) else wanted == ""
            read[match] = number
        yield from otherwise(self.layout, np.full(len(read), kind), read)

    def _sections(self, lines: list[bytes], kinds: Ints) -> bytes:
        """Lines with their ends; where another section begins, its name before it."""
        written = []
        end = self.letters(self.end_of_line)
        for line, kind in zip(lines, kinds.tolist(), strict=True):
            section = self.layout.records[self.names[kind]].section
            if section and section != self._section:
                written.append(self.letters(section) + end)
                self._section = section
            written.append(line + end)
        return b"".join(written)

    def meant(self, faults: list[Fault], column: pa.Array) -> list[Fault]:
        """In quotes a value may have line breaks."""
        if not self.layout.file.quote:
            return faults
        return [f for fault in faults for f in (_but_breaks(fault, column) if fault.rule == CONTROL else [fault])]

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
        needed = pc.or_(needed, pc.match_substring(text, "\n"))
        if not pc.any(needed).as_py():
            return text
        inner = pc.replace_substring(text, file.quote, file.quote * 2)
        return pc.if_else(needed, pc.binary_join_element_wise(file.quote, inner, file.quote, ""), text)


def _but_breaks(fault: Fault, column: pa.Array) -> list[Fault]:
    """A fault of control characters without the rows that have line breaks only."""
    values = {row: column[row].as_py() for row in fault.rows.tolist()}
    found = {row: match.start() for row, value in values.items() if (match := UNBROKEN.search(value))}
    if not found:
        return []
    within = [len(values[row][:at].encode()) for row, at in found.items()]
    return [Fault(fault.rule, fault.message, np.array([*found]), np.array(within), fault.exact)]


class TaggedWriter(_Ragged):
    """Lines of terms between the lines that open and close a record."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.line_end = ENDS[self.frame].decode() or "\n"
        self._open = False  # a post waits for its closing line
        self._began = False

    def write(self, task: Task) -> Done:
        findings, counts = Faults(self, task), Counter[str]()
        batch = task.batch
        kinds = task.kinds
        texts: list[str] = [""] * batch.num_rows
        for number, name in enumerate(self.names):
            rows = np.flatnonzero(kinds == number)
            if len(rows):
                for row, text in zip(rows.tolist(), self._lines(name, batch, rows, findings, counts), strict=True):
                    texts[row] = text
        texts = [self._around(self.names[k], t) for k, t in zip(kinds.tolist(), texts, strict=True)]
        return Done(self.coded(pa.array(texts, pa.string())), findings.done, counts)

    def _lines(self, name: str, batch: pa.RecordBatch, rows: Ints, findings: Faults, counts: Counter[str]) -> list[str]:
        """The term lines of each row."""
        spec = self.layout.records[name]
        lines = []
        for f in sorted(self.layout.of(name), key=lambda f: not spec.place and str(f.at)):
            text = self.text(f, _column(batch, f, name, rows), findings, counts, rows)
            if len(nothing := _rows(pc.equal(text, NOTHING))):
                findings.add(f, Fault("nothing", writing.READ_AS_NOTHING, nothing), rows)
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


def _rows(which: pa.Array) -> Ints:
    return np.flatnonzero(np.asarray(which))


def _column(batch: pa.RecordBatch, f: FieldSpec, kind: str, rows: Ints | None) -> pa.Array:
    if f.type in ("const", "filler"):
        n = batch.num_rows if rows is None else len(rows)
        return pa.array([f.constant(kind)] * n, pa.string())
    if f.name not in batch.schema.names:
        return pa.nulls(batch.num_rows if rows is None else len(rows), pa.string())
    column = batch.column(f.name)
    return column if rows is None else column.take(pa.array(rows))
