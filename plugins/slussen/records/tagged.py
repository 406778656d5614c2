"""Tagged files (Navet's) to Arrow batches: all lines of a block at once.

A file is a head (``#INFO_START`` … ``#DATA_START``), data, and a tail (``#DATA_SLUT`` … ``#FIL_SLUT``). Data are posts
of ``#UP`` lines with groups in them, or single lines (``#PNR``). A block is cut after a whole post, so that memory
doesn't grow with the file; a block yields a batch for each record type in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records.codepages import BOM, Codepage, codepage
from slussen.records.fixed import header_of
from slussen.records.layout import FieldSpec, Layout
from slussen.records.letters import Bools, Ints
from slussen.records.parallel import ordered
from slussen.records.ragged import AGAIN, Located, Pieces
from slussen.records.source import CHUNK, Source
from slussen.records.structure import Structure

LONGEST_POST = 4 << 20  # bytes: a post that hasn't ended by then never will
ENDLESS = "the file is cut off or two posts run together: have it sent again"
CODES = 100_000  # a term's code has five digits


@dataclass
class _Read:
    """What a block held: batches whose records count from 1, how many posts, what was wrong."""

    batches: list[pa.RecordBatch]
    posts: int
    findings: Findings
    unknown: int = 0


@dataclass(frozen=True)
class _Terms:
    """The layout's terms by code: which place each has in ``fields``; groups' openers and closers after them."""

    fields: tuple[FieldSpec, ...]
    of: dict[str, list[tuple[int, FieldSpec]]]  # by record type
    index: NDArray[np.int16]
    openers: dict[int, str] = field(default_factory=dict)  # place -> record type, or the opener that is skipped
    closers: dict[int, str] = field(default_factory=dict)


class TaggedReader:
    """Reads a file of tagged lines, ended by LF or CRLF whatever the frame says."""

    def __init__(self, source: Source, layout: Layout, encoding: str, frame: str, findings: Findings) -> None:
        self.source, self.layout, self.findings = source, layout, findings
        self.page: Codepage = codepage(encoding)
        self.records = 0
        self.structure = Structure(layout)
        self.unknown = 0
        self.declared: int | None = None
        self.header: dict[str, str] = {}
        self.main = layout.records[layout.counted]
        self._at = 0  # offset of the data in hand
        self._begins, self._ends = (self._bytes(w) for w in layout.file.data)

    @property
    def totals(self) -> dict[str, int]:
        found = dict(self.structure.totals) | {"records": self.records}
        if self.declared is not None:
            found["declared"] = self.declared
        return found | ({"unknown": self.unknown} if self.unknown else {})

    def _bytes(self, word: str) -> bytes:
        """A keyword in the file's encoding."""
        return word.encode() if self.page.wide else bytes(self.page.byte(c) for c in word)

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self._head()
        for done in ordered(self._read, self._blocks()):
            yield from self._take(done)
        yield from self._tail()
        if not self.findings and self.records == 0 and not self.layout.file.may_be_empty:
            self._find("empty_file", "the file has no records", "ask the sender whether that is right", offset=0)

    def _take(self, done: _Read) -> Iterator[pa.RecordBatch]:
        """A block's batches, with the numbers that its records have in the file."""
        for finding in done.findings.kept:
            if finding.record is not None:
                finding = replace(finding, record=finding.record + self.records)
            if not self.findings.full:
                self.findings.add(finding)
            else:
                self.findings.count(finding.rule, 1)
        kept = {f.rule for f in done.findings.kept}
        for rule in done.findings.counts:
            beyond = done.findings.counts[rule] - sum(f.rule == rule for f in done.findings.kept if rule in kept)
            if beyond:
                self.findings.count(rule, beyond)
        for batch in done.batches:
            numbers = pc.add(batch.column("record_no"), self.records)
            batch = batch.set_column(0, batch.schema.field(0), numbers)
            self.structure.see(batch, self.findings)
            yield batch
        self.records += done.posts
        self.unknown += done.unknown

    # --- cutting

    def _head(self) -> Iterator[pa.RecordBatch]:
        """Everything before the data."""
        data = self.source.read()
        while self._begins not in data and len(data) < LONGEST_POST and (more := self.source.read()):
            data += more
        start = data.find(self._begins)
        if data.startswith(BOM) and self.page.name != "utf-8-sig":
            self._find("bom", f"the file begins with a UTF-8 byte order mark, which {self.page.name} has not",
                       "ask the sender which encoding the file is in", offset=0, length=3, byte="ef")  # fmt: skip
        if start < 0:
            word = self.layout.file.data[0]
            self._find("unexpected_line", f"no {word}: this is no file of {self.layout.title}", AGAIN, offset=0)
            self._data = data
            return
        after = data.find(b"\n", start) + 1 or len(data)
        self._data = data[after:]
        yield from self._outer(data[:start], self.layout.header, 0)
        self._at = after

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        data, ended = self._data, False
        while not ended:
            end = data.find(self._ends)
            ended = end >= 0
            cut = end if ended else self._cut(data)
            if cut:
                yield data[:cut], self._at
                self._at += cut
                data = data[cut:]
            if ended:
                break
            more = self.source.read()
            if not more or len(data) > LONGEST_POST + CHUNK:
                if data.strip():
                    yield data, self._at
                    self._at += len(data)
                    data = b""
                while more:
                    more = self.source.read()
                word = self.layout.file.data[1]
                self._late = ("truncated_file", f"the file ends without {word}", "have it sent again", self._at)
                break
            data += more
        self._data = data

    _late: tuple[str, str, str, int] | None = None

    def _cut(self, data: bytes) -> int:
        """Where the last whole post ends."""
        closes = self._bytes(self.main.closes)
        if not closes:
            return data.rfind(b"\n") + 1
        last = data.rfind(closes)
        return data.find(b"\n", last) + 1 if last >= 0 else 0

    def _tail(self) -> Iterator[pa.RecordBatch]:
        """Everything after the data."""
        data = self._data
        while more := self.source.read():
            data += more
            data = data[: LONGEST_POST + CHUNK]
        data = self._whole(data)
        if self._late is not None:
            rule, message, step, at = self._late
            self._find(rule, message, step, offset=at)
        trailer = self.layout.trailer
        found = list(self._outer(data, trailer, self._at))
        totals = [f for f in self.layout.of(trailer) if f"{trailer}.{f.name}" in self.layout.file.totals]
        for f in totals:
            value = found[0].column(f.name)[0].as_py() if found else None
            if value is None:
                self._find("record_count", f"the file doesn't say how many posts it has ({f.at})", AGAIN)
            else:
                self.declared = int(value)
        place = self._at + max(data.find(self._bytes(str(totals[0].at))), 0) if totals else self._at
        for batch in found:
            wrong = Findings()
            self.structure.see(batch, wrong)
            for finding in wrong:
                self._find("record_count", finding.message, "ask the sender for the whole file", field=finding.field,
                           offset=place)  # fmt: skip
        yield from found
        if self.layout.file.end and self._bytes(self.layout.file.end) not in data:
            self._find("truncated_file", f"the file ends without {self.layout.file.end}", "have it sent again",
                       offset=self.source.bytes)  # fmt: skip

    def _whole(self, data: bytes) -> bytes:
        """The tail without what follows the file's last line: lines that other systems add, or another file."""
        end = self._bytes(self.layout.file.end)
        if not end or (last := data.find(end)) < 0:
            return data
        after = data.find(b"\n", last) + 1 or len(data)
        starts, ends = _lines(np.frombuffer(data, np.uint8, offset=after))
        ours = [self._bytes(w) for spec in self.layout.records.values() for w in (spec.opens, spec.closes, spec.line)]
        ours = [w for w in (*ours, self._bytes(self.layout.file.data[0])) if w.startswith(b"#")]
        for start, stop in zip((starts + after).tolist(), (ends + after).tolist(), strict=True):
            line = data[start:stop]
            if any(line.startswith(w) for w in ours):
                word = self.layout.file.end
                self._find("after_trailer", f"another file begins after {word}: two files run together", AGAIN,
                           column=1, offset=self._at + start)  # fmt: skip
                break
            if line.startswith(b"#"):
                self.unknown += 1
            elif line.strip(b" \t\0\x1a"):
                self._find("unexpected_line", "a line that the format doesn't have", AGAIN, column=1,
                           offset=self._at + start)  # fmt: skip
        return data[:after]

    def _outer(self, data: bytes, kind: str, at: int) -> Iterator[pa.RecordBatch]:
        """Head or tail: a few keyword lines, one record."""
        if not kind or self._bytes(self.layout.records[kind].opens) not in data:
            return
        raw = np.frombuffer(data, np.uint8)
        starts, ends = _lines(raw)
        number = self.records + (1 if kind == self.layout.trailer else 0)
        values, which = [], []
        fields = [f for f in self.layout.of(kind) if f.staged]
        for f in fields:
            key = self._bytes(str(f.at)) + b" "
            line = next((k for k in range(len(starts)) if data[starts[k] : ends[k]].startswith(key)), -1)
            values.append(int(starts[line]) + len(key) if line >= 0 else 0)
            which.append(line)
        order = np.argsort([ends[w] if w >= 0 else 0 for w in which], kind="stable")
        there = [k for k in order.tolist() if which[k] >= 0]
        pieces = Pieces(data, self.page, np.array([values[k] for k in there], np.int64),
                        np.array([ends[which[k]] for k in there], np.int64))  # fmt: skip
        located = Located(pieces, at, self.findings)
        columns: dict[str, pa.Array] = {}
        for k, f in enumerate(fields):
            place = np.array([there.index(k)] if k in there else [-1])
            line_start = np.array([starts[which[k]] if k in there else 0])
            columns[f.name] = located.column(f, kind, place, np.array([number]), line_start)
        fixed = {"record_no": number, "byte_offset": at, "record_type": kind, "group_no": 0}
        schema = self.layout.schema
        batch = pa.RecordBatch.from_arrays(
            [
                columns[c.name] if c.name in columns else pa.array([fixed.get(c.name)], c.type)
                for c in schema
            ],
            schema=schema,
        )  # fmt: skip
        if kind == self.layout.header:
            self.header = header_of(batch, self.layout)
            self.structure.see(batch, self.findings)
        self.unknown += sum(
            1
            for s, e in zip(starts.tolist(), ends.tolist(), strict=True)
            if e > s and not self._ours(data[s:e], kind, fields)
        )
        yield batch

    def _ours(self, line: bytes, kind: str, fields: list[FieldSpec]) -> bool:
        spec = self.layout.records[kind]
        words = [spec.opens, spec.closes, *self.layout.file.data, self.layout.file.end, *(str(f.at) for f in fields)]
        return line.split(b" ")[0] in [self._bytes(w) for w in words if w]

    # --- a block of posts

    def _read(self, block: tuple[bytes, int]) -> _Read:
        return _Block(self, *block).read()

    @cached_property
    def terms(self) -> _Terms:
        """The terms of the data, each with its place."""
        layout = self.layout
        inner = {r: s for r, s in layout.records.items() if not s.place and r != layout.counted}
        fields = tuple(f for f in layout.fields if set(f.only or layout.data_types) & set(layout.data_types))
        index = np.full(CODES, -1, np.int16)
        for place, f in enumerate(fields):
            if str(f.at).isdigit():
                index[int(f.at)] = place
        openers: dict[int, str] = {}
        closers: dict[int, str] = {}
        place = len(fields)
        spans = [(s.opens, s.closes, r) for r, s in inner.items()] + [(a, b, a) for a, b in layout.file.skipped.items()]
        for first, last, name in spans:
            index[int(first)], index[int(last)] = place, place + 1
            openers[place], closers[place + 1] = name, name
            place += 2
        of = {
            r: [(k, f) for k, f in enumerate(fields) if not f.only or r in f.only] for r in layout.data_types
        }  # fmt: skip
        return _Terms(fields, of, index, openers, closers)

    def _find(self, rule: str, message: str, next_step: str, **where: object) -> None:
        self.findings.add(Finding(rule, message, next_step, **where))  # type: ignore[arg-type]


def _lines(raw: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Where each line starts and ends, without its line end."""
    feeds = np.flatnonzero(raw == 0x0A)
    starts = np.concatenate(([0], feeds + 1))
    ends = np.concatenate((feeds, [len(raw)]))
    if starts[-1] == len(raw):
        starts, ends = starts[:-1], ends[:-1]
    return starts, ends - ((ends > starts) & (raw[np.maximum(ends - 1, 0)] == 0x0D))


class _Block:
    """One block's work: runs beside others'."""

    def __init__(self, reader: TaggedReader, data: bytes, at: int) -> None:
        self.reader, self.layout, self.page = reader, reader.layout, reader.page
        self.data, self.at = data, at
        self.findings = Findings(reader.findings.limit)
        self.raw = np.frombuffer(data, np.uint8)
        self.starts, self.ends = _lines(self.raw)
        self.lengths = self.ends - self.starts
        padded = data + bytes(16)
        self.words = np.ndarray((len(data) + 8,), "<u8", padded, strides=(1,))  # eight bytes from any place

    def read(self) -> _Read:
        main = self.reader.main
        opens = self.are(main.opens) if main.opens else self.begin(main.line + " ")
        post: NDArray[np.int32] = np.cumsum(opens, dtype=np.int32)  # 1 for the first post's lines; 0 before it
        total = int(post[-1]) if len(post) else 0
        if not main.opens:
            return self._single(opens, total)
        closes = self.are(main.closes)
        self._unclosed(opens, closes, post)
        prefix = self.layout.file.prefix
        terms = self.begin(prefix) & (self.lengths >= len(prefix) + 5)
        known = terms | opens | closes | (self.lengths == 0)
        if not known.all():
            for keyword in self.layout.file.keywords:
                known |= self.begin(keyword)
            self._strangers(~known, post)
        place = self._places(terms, len(prefix))
        state = self._groups(place, opens, closes, post)
        values = np.minimum(self.starts + len(prefix) + 6, self.ends)
        values = np.where(terms, values, self.ends)
        pieces = Pieces(self.data, self.page, values, self.ends)
        located = Located(pieces, self.at, self.findings)
        spans = self.reader.terms
        skipped = [k for k, name in spans.openers.items() if name not in self.layout.records]
        unknown = int((terms & ((place < 0) | np.isin(state, skipped))).sum())
        # The lines of each term, found by one sort instead of a look at all lines for every term.
        key = np.where(post > 0, place, -1).astype(np.int16)
        order = np.argsort(key, kind="stable")
        bounds = np.searchsorted(key[order], np.arange(len(spans.fields) + 2 * len(spans.openers) + 1))
        batches = []
        heads = self.starts[opens]
        batches.append(self._batch(located, self.layout.counted, heads, np.arange(1, total + 1), None,
                                   order, bounds, post - 1, state == -1))  # fmt: skip
        for opener, name in spans.openers.items():
            if name not in self.layout.records:
                continue
            begins = (place == opener) & (post > 0)
            which = np.flatnonzero(begins)
            if not len(which):
                continue
            owner = post[which]
            first = np.concatenate(([True], owner[1:] != owner[:-1]))
            begin = np.maximum.accumulate(np.where(first, np.arange(len(which)), 0))
            row = np.cumsum(begins, dtype=np.int32) - 1
            group = np.arange(len(which)) - begin + 1
            batches.append(self._batch(located, name, self.starts[which], owner.astype(np.int64), group, order, bounds,
                                       row, state == opener))  # fmt: skip
        self.findings.kept.sort(key=lambda f: f.offset or 0)
        return _Read(batches, total, self.findings, unknown)

    def _single(self, opens: Bools, total: int) -> _Read:
        """Posts of one line each."""
        self._strangers(~opens & (self.lengths > 0), np.cumsum(opens, dtype=np.int32))
        which = np.flatnonzero(opens)
        key = len(self.reader.main.line) + 1
        pieces = Pieces(self.data, self.page, np.minimum(self.starts[which] + key, self.ends[which]), self.ends[which])
        located = Located(pieces, self.at, self.findings)
        rows = np.arange(total)
        columns = {
            f.name: located.column(f, self.layout.counted, rows, rows + 1, self.starts[which])
            for f in self.layout.of(self.layout.counted)
        }
        batch = self._assembled(self.layout.counted, columns, self.starts[which], rows + 1, None)
        return _Read([batch], total, self.findings)

    def _batch(
        self, located: Located, kind: str, heads: Ints, numbers: Ints, group: Ints | None, order: Ints, bounds: Ints,
        row: NDArray[np.int32], here: Bools,
    ) -> pa.RecordBatch:  # fmt: skip
        """The rows of one record type: of each term its line, of each line the row that it belongs to."""
        n = len(heads)
        columns = {}
        all_here = bool(here.all())
        for place, f in self.reader.terms.of[kind]:
            lines = order[bounds[place] : bounds[place + 1]]
            if not all_here:
                lines = lines[here[lines]]
            if not len(lines) and not f.required:
                continue
            rows = row[lines]
            which = np.full(n, -1, np.int64)
            which[rows] = lines
            if len(rows) > 1 and (rows[1:] == rows[:-1]).any():
                for r in np.unique(rows[1:][rows[1:] == rows[:-1]]).tolist():
                    self._find("twice", "a term stands twice in its post", AGAIN, record=int(numbers[r]),
                               record_type=kind, field=f.name, offset=self.at + int(self.starts[which[r]]))  # fmt: skip
            starts = np.where(which >= 0, self.starts[which], heads)
            taken = located.pieces.column(which)
            if (nothing := np.asarray(pc.equal(taken, "$"))).any():
                taken = pc.if_else(nothing, "", taken)
            columns[f.name] = located.column(f, kind, which, numbers, starts, taken)
        return self._assembled(kind, columns, heads, numbers, group)

    def _assembled(
        self, kind: str, columns: dict[str, pa.Array], heads: Ints, numbers: Ints, group: Ints | None
    ) -> pa.RecordBatch:
        n = len(heads)
        columns["record_no"] = pa.array(numbers, pa.int64())
        columns["byte_offset"] = pa.array(self.at + heads, pa.int64())
        columns["record_type"] = pa.repeat(pa.scalar(kind), n)
        columns["group_no"] = pa.array(group if group is not None else np.zeros(n, np.int64), pa.int64())
        schema = self.layout.schema
        return pa.RecordBatch.from_arrays(
            [columns[c.name] if c.name in columns else pa.nulls(n, c.type) for c in schema], schema=schema
        )

    # --- lines

    def begin(self, word: str) -> Bools:
        """Which lines begin with this?"""
        wanted = self.reader._bytes(word)
        found: Bools = self.lengths >= len(wanted)
        for first in range(0, len(wanted), 8):
            piece = wanted[first : first + 8]
            mask = np.uint64((1 << 8 * len(piece)) - 1)
            if first == 0:
                found &= (self.words[self.starts] & mask) == np.uint64(int.from_bytes(piece, "little"))
            elif found.any():
                which = np.flatnonzero(found)
                there = self.words[np.minimum(self.starts[which] + first, len(self.words) - 1)]
                found[which] = (there & mask) == np.uint64(int.from_bytes(piece, "little"))
        return found

    def are(self, word: str) -> Bools:
        """Which lines are this, but for blanks after it?"""
        found = self.begin(word)
        length = len(self.reader._bytes(word))
        for line in np.flatnonzero(found & (self.lengths > length)).tolist():
            found[line] = not self.data[self.starts[line] + length : self.ends[line]].strip()
        return found

    def _places(self, terms: Bools, prefix: int) -> NDArray[np.int16]:
        """Each line's term by its place in the layout, -1 for none: five digits at once, as one number of 64 bits."""
        which = np.flatnonzero(terms)
        five = self.words[self.starts[which] + prefix] & np.uint64(0xFF_FFFF_FFFF)
        five ^= np.uint64(0x30_3030_3030)
        sound = ((five + np.uint64(0x76_7676_7676)) | five) & np.uint64(0x80_8080_8080) == 0
        five <<= np.uint64(24)
        five = (five * np.uint64(10) + (five >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
        five = (five * np.uint64(100) + (five >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
        five = (five * np.uint64(10000) + (five >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
        code = np.where(sound, five, 0).astype(np.intp)
        places = np.full(len(terms), -1, np.int16)
        places[which] = np.where(sound, self.reader.terms.index[np.minimum(code, CODES - 1)], -1)
        return places

    def _groups(
        self, place: NDArray[np.int16], opens: Bools, closes: Bools, post: NDArray[np.int32]
    ) -> NDArray[np.int16]:
        """The group that each line stands in, by its opener's place; -1 for none."""
        spans = self.reader.terms
        marks = (place >= len(spans.fields)) | opens | closes
        which = np.flatnonzero(marks)
        mark = place[which]
        opening = np.isin(mark, list(spans.openers))
        closing = np.isin(mark, list(spans.closers))
        states = np.where(opening, mark, -1)
        before = np.concatenate(([-1], states[:-1]))
        wrong = (opening & (before >= 0)) | (closing & (before != mark - 1)) | (~opening & ~closing & (before >= 0))
        for k in np.flatnonzero(wrong).tolist():
            line = int(which[k])
            self._find("unclosed_group", "a group that isn't closed, or is closed and was not opened", AGAIN,
                       record=int(post[line]), column=1, offset=self.at + int(self.starts[line]))  # fmt: skip
        # A closer belongs to its group.
        found: NDArray[np.int16] = np.concatenate(([-1], states))[np.cumsum(marks)].astype(np.int16)
        found[which[closing]] = before[closing]
        return found

    # --- what is wrong with the structure

    def _unclosed(self, opens: Bools, closes: Bools, post: NDArray[np.int32]) -> None:
        """A post that another begins in, or that the data end in, never ended."""
        marks = np.flatnonzero(opens | closes)
        is_open = opens[marks]
        main = self.reader.main
        following = np.concatenate((is_open[1:], [True]))
        for mark in marks[is_open & following].tolist():
            self._find("unclosed_record", f"the post has no {main.closes}", ENDLESS, record=int(post[mark]), column=1,
                       offset=self.at + int(self.starts[mark]))  # fmt: skip
        before = np.concatenate(([False], is_open[:-1]))
        for mark in marks[~is_open & ~before].tolist():
            self._find("unexpected_line", f"a {main.closes} without its {main.opens}", AGAIN, record=int(post[mark]),
                       column=1, offset=self.at + int(self.starts[mark]))  # fmt: skip

    def _strangers(self, which: Bools, post: NDArray[np.int32]) -> None:
        for line in np.flatnonzero(which).tolist():
            self._find("unexpected_line", "a line that the format doesn't have", AGAIN, record=max(int(post[line]), 1),
                       column=1, offset=self.at + int(self.starts[line]))  # fmt: skip

    def _find(self, rule: str, message: str, next_step: str, **where: object) -> None:
        if self.findings.full:
            self.findings.count(rule, 1)
        else:
            self.findings.add(Finding(rule, message, next_step, **where))  # type: ignore[arg-type]
