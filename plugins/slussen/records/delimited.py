"""Delimited records to Arrow batches: fields between separators, in quotes where they have to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.errors import CallError, Finding, Findings
from slussen.records.codepages import BOM
from slussen.records.columns import Fault
from slussen.records.frames import AGAIN, ENDS, EOF
from slussen.records.known import marks_of, text_of
from slussen.records.layout import Layout
from slussen.records.letters import Bools, Bytes, Ints, array
from slussen.records.lines import MARKED, marks, spoken
from slussen.records.posts import word
from slussen.records.ragged import Located, Pieces
from slussen.records.source import CHUNK, Source
from slussen.records.structure import Kinds, Structure

LONGEST = 1 << 20  # bytes of a record, after which a quote will never be closed
QUOTE = "a quote that is opened and not closed, or stands in the middle of a field"


@dataclass
class _Cut:
    """A block of whole lines: its bytes, where it begins, and where its separators, line ends and quotes are."""

    data: bytes
    at: int


class DelimitedReader:
    """Reads records of fields between separators, ended by LF or CRLF as the frame says.

    Raises:
        CallError: another frame than these, or an encoding in which its words cannot be said (``lines.spoken``).
    """

    def __init__(self, source: Source, layout: Layout, encoding: str, frame: str, findings: Findings) -> None:
        if frame not in ("", "lf", "crlf"):
            raise CallError(f"{layout.name} has records of any length, ended by lf or crlf: not {frame}")
        self.source, self.layout, self.findings = source, layout, findings
        self.page = spoken(layout, encoding)
        self.end = ENDS[frame or "lf"]
        self.end_of_line = word(self.page, self.end.decode())
        self.feed = self.page.byte("\n") if not self.page.wide else 10
        self.structure = Structure(layout)
        self.header: dict[str, str] = {}
        self.records = 0
        self._quote = self._byte(layout.file.quote)
        self._separator = self._byte(layout.file.separator)
        self._section = ""
        self._named = not layout.file.header_row

    def _byte(self, letter: str) -> int:
        return self.page.byte(letter) if letter else -1

    @property
    def totals(self) -> dict[str, int]:
        return self.structure.totals

    def batches(self) -> Iterator[pa.RecordBatch]:
        for cut in self._cuts():
            for batch, kinds in self._block(cut):
                self.structure.see(batch, self.findings, kinds)
                yield batch
        self.structure.end(self.findings, self.source.bytes)

    def read(self, lines: bytes) -> Iterator[tuple[pa.RecordBatch, Kinds]]:
        """Lines of records alone: their types and what is wrong in them, not what they are to other records."""
        self._named = True
        return self._block(_Cut(lines, 0))

    def _cuts(self) -> Iterator[_Cut]:
        """The file in blocks of whole records."""
        data, at = self.source.read(), 0
        if data.startswith(BOM) and not self.page.ebcdic:
            if self.page.name != "utf-8-sig":
                self._find("bom", f"the file begins with a UTF-8 byte order mark, which {self.page.name} has not",
                           record=1, column=1, offset=0, length=3, byte="ef")  # fmt: skip
            data, at = data[len(BOM) :], len(BOM)
        ended = False
        while data:
            more = self.source.read()
            ended = not more
            cut = len(data) if ended else self._last_end(data)
            if cut:
                yield _Cut(data[:cut], at)
                at += cut
                data = data[cut:]
            elif len(data) > LONGEST + CHUNK:
                self._find("record_length", f"a record of more than {LONGEST:,} bytes, or a quote that is never closed",
                           record=self.records + 1, offset=at)  # fmt: skip
                while self.source.read():
                    pass
                return
            data += more

    def _last_end(self, data: bytes) -> int:
        """After the last line end that isn't within quotes."""
        feed = bytes([self.feed])
        if self._quote < 0 or self._quote not in data:
            return data.rfind(feed) + 1
        block = np.frombuffer(data, np.uint8)
        outside = ~_inside(block == self._quote)
        found = np.flatnonzero((block == self.feed) & outside)
        return int(found[-1]) + 1 if len(found) else 0

    def _block(self, cut: _Cut) -> Iterator[tuple[pa.RecordBatch, Kinds]]:
        block = np.frombuffer(cut.data, np.uint8)
        edges = (block == self._separator) | (block == self.feed)
        quotes = block == self._quote if self._quote >= 0 else np.zeros(len(block), np.bool_)
        quoting = bool(quotes.any())
        if quoting:
            edges &= ~_inside(quotes)
        ends = np.flatnonzero(edges)
        if not len(ends) or ends[-1] != len(block) - 1 or block[-1] != self.feed:
            ends = np.append(ends, len(block))  # the last record without its line end
        starts = np.concatenate(([0], ends[:-1] + 1))
        last = np.flatnonzero((ends == len(block)) | (block[np.minimum(ends, len(block) - 1)] == self.feed))
        first = np.concatenate(([0], last[:-1] + 1))
        returned = (ends[last] > starts[last]) & (block[np.maximum(ends[last] - 1, 0)] == self.page.byte("\r"))
        stops = ends.copy()
        stops[last] -= returned
        if quoting:
            starts, stops, odd = self._unquoted(block, starts, stops, quotes)
        rows = _Rows(cut, block, starts, stops, first, last, ends, returned)
        rows = self._named_fields(rows)
        rows = self._sections(rows)
        if quoting:
            self._quotes(rows, odd)
        yield from self._read(rows, quoting)

    def _unquoted(self, block: Bytes, starts: Ints, stops: Ints, quotes: Bools) -> tuple[Ints, Ints, Ints]:
        """Fields in quotes without them, and which of them have a quote elsewhere."""
        opened = (stops > starts) & (block[np.minimum(starts, len(block) - 1)] == self._quote)
        closed = opened & (stops - starts >= 2) & (block[np.maximum(stops - 1, 0)] == self._quote)
        reached = np.concatenate(([0], np.cumsum(quotes)))
        within = reached[stops] - reached[starts]
        odd = (opened & (~closed | (within % 2 == 1))) | (~opened & (within > 0))
        # After every other quote a field is at its end, or one more stands for a quote in it.
        after = np.flatnonzero(quotes)[1::2] + 1
        ended = np.zeros(len(block) + 1, np.bool_)
        ended[stops] = True
        single = after[~ended[after]]
        single = single[block[single] != self._quote]
        odd[np.searchsorted(starts, single, "right") - 1] = True
        return starts + closed, stops - closed, np.flatnonzero(odd)

    def _quotes(self, rows: _Rows, odd: Ints) -> None:
        """Findings for these pieces of records; what names the fields is none."""
        line_starts = np.append(rows.line_starts, 0)
        for piece in self.findings.some("quote", odd):
            line = int(np.searchsorted(rows.first, piece, "right")) - 1
            start = int(rows.ends[piece - 1]) + 1 if piece else 0
            column = start - int(line_starts[line]) + 1
            self._find(
                "quote", QUOTE, record=self.records + max(line, 0) + 1, column=column, offset=rows.cut.at + start
            )

    def _named_fields(self, rows: _Rows) -> _Rows:
        """The first line, if it names the fields."""
        if self._named or not len(rows.first):
            return rows
        self._named = True
        there = range(int(rows.first[0]), int(rows.last[0]) + 1)
        wanted = [f.name for f in self.layout.fields]
        if len(there) != len(wanted) or [self._text(rows.piece(k)) for k in there] != wanted:
            self._find("header_row", f"the first line doesn't name the fields {', '.join(wanted)}", record=1, offset=rows.cut.at)  # fmt: skip  # noqa: E501
        return rows.but(slice(1, None))

    def _sections(self, rows: _Rows) -> _Rows:
        """Which record type each line is of, when lines of their own say it."""
        records = self.layout.records.items()
        named = {word(self.page, spec.section): name for name, spec in records if spec.section}
        if not named:
            return rows
        sizes = rows.stops[rows.first] - rows.starts[rows.first]
        lines, kinds = [0], [self._number(self._section)]
        for line in np.flatnonzero((rows.first == rows.last) & np.isin(sizes, [*map(len, named)])).tolist():
            if name := named.get(rows.piece(int(rows.first[line]))):
                self._section = name
                lines.append(line)
                kinds.append(self._number(name))
        rows.kinds = np.repeat(kinds, np.diff(lines, append=len(rows.first)))
        keep = np.ones(len(rows.first), np.bool_)
        keep[lines[1:]] = False
        return rows.but(keep)

    def _number(self, record_type: str) -> int:
        return list(self.layout.records).index(record_type) if record_type else -1

    def _read(self, rows: _Rows, quoting: bool) -> Iterator[tuple[pa.RecordBatch, Kinds]]:
        n = len(rows.first)
        if n and rows.cut.at + len(rows.cut.data) == self.source.bytes and rows.only(n - 1, bytes([EOF])):
            rows, n = rows.but(slice(0, n - 1)), n - 1
        if not n:
            return
        if rows.ends[rows.last[-1]] == len(rows.block):
            self.structure.totals["unended"] = 1  # sound, or cut off within its last field: the gate asks
        numbers = np.arange(self.records + 1, self.records + n + 1)
        self.records += n
        findings = Findings(self.findings.limit)
        doubled = bytes([self._quote]) if quoting else b""
        pieces = Pieces(rows.cut.data, self.page, rows.starts, rows.stops, doubled)
        located = Located(pieces, rows.cut.at, findings, breaks=quoting)
        kinds = self._kinds(rows, pieces, numbers, findings)
        self._marks(rows, numbers, findings)
        self._line_ends(rows, numbers, findings)
        line_starts = rows.line_starts
        names = pa.array([*self.layout.records, None], pa.string())
        columns: dict[str, pa.Array] = {}
        for kind, record_type in enumerate(self.layout.records):
            which = np.flatnonzero(kinds == kind)
            if not len(which):
                continue
            back = None if len(which) == n else np.full(n, -1, np.int64)
            if back is not None:
                back[which] = np.arange(len(which))
            for f in self.layout.of(record_type):
                piece = rows.first[which] + int(f.at) - 1
                taken = pieces.column(piece)
                if quoting and self.layout.file.quote:
                    taken = pc.replace_substring(taken, self.layout.file.quote * 2, self.layout.file.quote)
                if self.layout.file.nothing:
                    taken = pc.if_else(pc.equal(taken, self.layout.file.nothing), "", taken)
                line_start = line_starts[which].__getitem__
                if f.type == "const":
                    other = pc.not_equal(taken, _scalar(self.page.spelled(f.constant(record_type))))
                    fault = Fault("constant", "not the layout's constant", np.flatnonzero(np.asarray(other)))
                    located.fault(f, record_type, fault, piece, numbers[which], line_start)
                    continue
                values = located.column(f, record_type, piece, numbers[which], line_start, taken)
                if not f.staged:
                    continue
                if back is not None:
                    values = values.take(pa.array(back, mask=back < 0))
                    there = columns.get(f.name)
                    values = values if there is None else pc.coalesce(there, values)
                columns[f.name] = values
        columns["record_no"] = pa.array(numbers, pa.int64())
        columns["byte_offset"] = pa.array(rows.cut.at + line_starts, pa.int64())
        columns["record_type"] = names.take(pa.array(np.where(kinds < 0, len(self.layout.records), kinds)))
        schema = self.layout.schema
        batch = pa.RecordBatch.from_arrays(
            [columns[c.name] if c.name in columns else pa.nulls(n, c.type) for c in schema], schema=schema
        )
        findings.kept.sort(key=lambda f: f.offset or 0)
        self.findings.merge(findings)
        yield batch, kinds

    def _kinds(self, rows: _Rows, pieces: Pieces, numbers: Ints, findings: Findings) -> Kinds:
        """The record type of each line, -1 for one that is none: of no type, or with another number of fields."""
        n = len(rows.first)
        count = rows.last - rows.first + 1
        kinds: Kinds = np.full(n, -1, np.int64) if rows.kinds is None else rows.kinds
        if rows.kinds is None:
            for kind, name in enumerate(self.layout.records):
                match = kinds < 0
                for f, value in marks_of(self.layout, name):
                    piece = np.where(count >= int(f.at), rows.first + int(f.at) - 1, -1)
                    match &= np.asarray(pc.equal(pieces.column(piece), _scalar(self.page.spelled(text_of(f, value)))))
                kinds[match] = kind
        sizes = np.array([len(self.layout.of(r)) for r in self.layout.records])
        unknown = kinds < 0
        wrong = ~unknown & (count != sizes[kinds])
        starts, faulty = rows.line_starts, np.flatnonzero(unknown | wrong)
        for done, row in enumerate(faulty.tolist()):
            if findings.full:
                rest = unknown[faulty[done:]]
                findings.count("record_type", int(rest.sum()))
                findings.count("field_count", int((~rest).sum()))
                break
            if unknown[row]:
                rule, message = "record_type", "a record of no type that the layout has"
            else:
                rule, message = "field_count", f"{count[row]} fields where a record has {sizes[kinds[row]]}"
            findings.add(
                Finding(rule, message, AGAIN, record=int(numbers[row]), column=1,
                        offset=rows.cut.at + int(starts[row]))
            )  # fmt: skip
        kinds = kinds.copy()
        kinds[wrong] = -1
        return kinds

    def _marks(self, rows: _Rows, numbers: Ints, findings: Findings) -> None:
        """Byte order marks in the middle."""
        line_starts = rows.line_starts
        for place in findings.some("bom", marks(rows.cut.data, self.page)):
            row = max(int(np.searchsorted(line_starts, place, "right")) - 1, 0)
            findings.add(
                Finding("bom", MARKED, AGAIN, record=int(numbers[row]), column=place - int(line_starts[row]) + 1,
                        length=3, offset=rows.cut.at + place, byte="ef")
            )  # fmt: skip

    def _line_ends(self, rows: _Rows, numbers: Ints, findings: Findings) -> None:
        crlf = len(self.end) == 2
        ended = rows.ends[rows.last] < len(rows.block)
        for row in findings.some("line_end", np.flatnonzero((rows.returned != crlf) & ended)):
            said, found = ("CRLF", "LF") if crlf else ("LF", "CRLF")
            findings.add(
                Finding("line_end", f"the record ends with {found} where the frame says {said}",
                        "have it sent with one kind of line end, or declare the other frame",
                        record=int(numbers[row]),
                        offset=rows.cut.at + int(rows.ends[rows.last[row]] - rows.returned[row]))
            )  # fmt: skip

    def _text(self, data: bytes) -> str:
        if self.page.wide:
            return data.decode("utf-8", "replace")
        return "".join(map(chr, self.page.letters[np.frombuffer(data, np.uint8)].tolist()))

    def _find(self, rule: str, message: str, **where: object) -> None:
        self.findings.add(Finding(rule, message, AGAIN, **where))  # type: ignore[arg-type]


class _Rows:
    """The lines of a block: pieces (``starts``, ``stops``), and of each line its first and last piece."""

    def __init__(
        self, cut: _Cut, block: Bytes, starts: Ints, stops: Ints, first: Ints, last: Ints, ends: Ints, returned: Bools,
        kinds: Kinds | None = None,
    ) -> None:  # fmt: skip
        self.cut, self.block, self.starts, self.stops = cut, block, starts, stops
        self.first, self.last, self.ends, self.returned, self.kinds = first, last, ends, returned, kinds

    @property
    def line_starts(self) -> Ints:
        found: Ints = np.where(self.first > 0, self.ends[np.maximum(self.first - 1, 0)] + 1, 0)
        return found

    def piece(self, which: int) -> bytes:
        return self.cut.data[self.starts[which] : self.stops[which]]

    def only(self, line: int, data: bytes) -> bool:
        """Is the line this and nothing else?"""
        return bool(self.first[line] == self.last[line]) and self.piece(int(self.first[line])) == data

    def but(self, keep: slice | Bools) -> _Rows:
        """Only these lines."""
        kinds = None if self.kinds is None else self.kinds[keep]
        return _Rows(self.cut, self.block, self.starts, self.stops, self.first[keep], self.last[keep], self.ends,
                     self.returned[keep], kinds)  # fmt: skip


def _scalar(plain: bytes) -> pa.Scalar:
    """Plain bytes as a value to compare a column with: of Latin-1 they are no UTF-8."""
    return array(np.array([0, len(plain)], np.int32), plain)[0]


def _inside(quotes: Bools) -> Bools:
    """Which places are within quotes: after an odd number of them."""
    found: Bools = np.bitwise_xor.accumulate(quotes)
    return found
