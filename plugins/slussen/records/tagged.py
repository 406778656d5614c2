"""Navet's tagged files to Arrow batches: all lines of a block at once.

A file is a head (``#INFO_START`` … ``#DATA_START``), data, and a tail (``#DATA_SLUT`` … ``#FIL_SLUT``). Data are posts
of ``#UP`` lines with groups in them, or single lines (``#PNR``). A block is cut after a whole post, so that memory
doesn't grow with the file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records import identities
from slussen.records.codepages import UNDEFINED, codepage
from slussen.records.layout import FieldSpec, Layout
from slussen.records.letters import Bools, Ints, spread, strings
from slussen.records.source import CHUNK, Source

LONGEST_POST = 4 << 20  # bytes: a post that hasn't ended by then never will
AGAIN = "correct it at the sender, and have the file sent again"
ENDLESS = "the file is cut off or two posts run together: have it sent again"


class TaggedReader:
    """Reads a file of tagged lines, ended by LF or CRLF whatever the frame says."""

    def __init__(self, source: Source, layout: Layout, encoding: str, frame: str, findings: Findings) -> None:
        self.source, self.layout, self.findings = source, layout, findings
        self.encoding, self.page = encoding, codepage(encoding)
        self.records = 0
        self.totals: dict[str, int] = {}
        self.header: dict[str, str] = {}
        main = layout.records[layout.count]
        self._opens = (main.opens or main.line).encode()
        self._closes = main.closes.encode()
        self._at = 0  # offset of the data in hand

    def batches(self) -> Iterator[pa.RecordBatch]:
        data = self._head(self.source.read())
        ended = False
        while not ended:
            end = data.find(b"#DATA_SLUT")
            ended = end >= 0
            cut = end if ended else self._cut(data)
            if cut:
                yield from self._block(data[:cut])
                self._at += cut
                data = data[cut:]
            if ended:
                break
            more = self.source.read()
            if not more or len(data) > LONGEST_POST + CHUNK:
                if data.strip():
                    yield from self._block(data)
                    self._at += len(data)
                    data = b""
                while more:
                    more = self.source.read()
                self._find("truncated_file", "the file ends without #DATA_SLUT", "have it sent again", offset=self._at)
                break
            data += more
        self._tail(data)

    def _cut(self, data: bytes) -> int:
        """Where the last whole post ends."""
        if not self._closes:
            return data.rfind(b"\n") + 1
        last = data.rfind(self._closes)
        return data.find(b"\n", last) + 1 if last >= 0 else 0

    # --- head and tail: a few lines, read one by one

    def _head(self, data: bytes) -> bytes:
        while b"#DATA_START" not in data and (more := self.source.read()):
            data += more
        start = data.find(b"#DATA_START")
        if start < 0:
            self._find("unexpected_line", "no #DATA_START: this is no Navet file", AGAIN, offset=0)
            return data
        self._undefined(np.frombuffer(data, np.uint8, start), 0)
        for line in data[:start].splitlines():
            key, _, value = self._text(line).partition(" ")
            if value and key.startswith("#"):
                self.header[_plain(key)] = value.strip()
        after = data.find(b"\n", start) + 1 or len(data)
        self._at = after
        return data[after:]

    def _tail(self, data: bytes) -> None:
        while more := self.source.read():
            data += more
        self.totals["records"] = self.records
        declared = None
        for line in data.splitlines():
            key, _, value = self._text(line).partition(" ")
            if key == "#ANTAL_POSTER" and value.strip().isdigit():
                declared = int(value)
        if declared is None:
            self._find("record_count", "the file doesn't say how many posts it has (#ANTAL_POSTER)", AGAIN)
            return
        self.totals["declared"] = declared
        if declared != self.records:
            self._find(
                "record_count",
                f"#ANTAL_POSTER says {declared} posts, the file has {self.records}",
                "ask the sender for the whole file",
                offset=self._at + max(data.find(b"#ANTAL_POSTER"), 0),
            )
        if b"#FIL_SLUT" not in data:
            self._find(
                "truncated_file", "the file ends without #FIL_SLUT", "have it sent again", offset=self.source.bytes
            )

    # --- data: whole blocks of lines

    def _block(self, data: bytes) -> Iterator[pa.RecordBatch]:
        raw = np.frombuffer(data, np.uint8)
        feeds = np.flatnonzero(raw == 0x0A)
        starts = np.concatenate(([0], feeds + 1)).astype(np.int64)
        ends = np.concatenate((feeds, [len(raw)])).astype(np.int64)
        if starts[-1] == len(raw):
            starts, ends = starts[:-1], ends[:-1]
        ends = ends - (raw[np.maximum(ends - 1, 0)] == 0x0D) * (ends > starts)
        lines = _Lines(raw, starts, ends)
        opens = lines.are(self._opens) if self._closes else lines.begin(self._opens + b" ")
        post: Ints = np.cumsum(opens, dtype=np.int64)  # 1 for the first post's lines; 0 before it
        total = int(post[-1]) if len(post) else 0
        self._undefined(raw, self._at, lines, post)
        if self._closes:
            yield from self._posts(lines, opens, post, total)
        else:
            self._strangers(lines, ~opens & (lines.lengths > 0))
            at = np.flatnonzero(opens)
            yield self._batch(
                self.layout.count, lines, total, {"": (at, post[at] - 1)}, lines.starts[at], len(self._opens)
            )
        self.records += total

    def _posts(self, lines: _Lines, opens: Bools, post: Ints, total: int) -> Iterator[pa.RecordBatch]:
        closes = lines.are(self._closes)
        self._unclosed(lines, opens, closes, post)
        terms = lines.begin(b"#UP ") & (lines.lengths >= 9)
        code = lines.codes(terms)
        known = terms | opens | closes | (lines.lengths == 0)
        for keyword in self.layout.keywords:
            known |= lines.begin(keyword.encode())
        self._strangers(lines, ~known)
        at = lines.starts[opens]
        inside = np.zeros(len(post), np.int64)  # the group type that a line stands in, 0 for none
        groups = {n: s for n, s in self.layout.records.items() if n != self.layout.count}
        spans = [(s.opens, s.closes) for s in groups.values()] + list(self.layout.skipped.items())
        for number, (first, last) in enumerate(spans, 1):
            depth = np.cumsum(code == int(first)) - np.cumsum(code == int(last))
            inside[(depth > 0) | (code == int(last))] = number
        # The lines of each term, found by one sort instead of a look at all lines for every term.
        order = np.argsort(code, kind="stable")
        in_order = code[order]

        def of_term(term: int | str, group: int) -> Ints:
            first, last = np.searchsorted(in_order, (int(term), int(term) + 1))
            where: Ints = order[first:last]
            found: Ints = where[(inside[where] == group) & (post[where] > 0)]
            return found

        rows = {f.at: of_term(f.at, 0) for f in self.layout.of(self.layout.count)}
        self._unknown(code, inside, terms)
        main = {str(term): (where, post[where] - 1) for term, where in rows.items()}
        yield self._batch(self.layout.count, lines, total, main, at, 9)
        for number, (name, spec) in enumerate(groups.items(), 1):
            begins = (code == int(spec.opens)) & (post > 0)
            heads = np.flatnonzero(begins)
            if not len(heads):
                continue
            owner = post[heads] - 1
            row = np.cumsum(begins) - 1
            cells = {}
            for f in self.layout.of(name):
                where = of_term(f.at, number)
                where = where[row[where] >= 0]
                cells[str(f.at)] = (where, row[where])
            first_of_post = np.concatenate(([True], owner[1:] != owner[:-1]))
            begin = np.maximum.accumulate(np.where(first_of_post, np.arange(len(heads)), 0))
            yield self._batch(name, lines, len(heads), cells, lines.starts[heads], 9,
                              owner=owner, group=np.arange(len(heads)) - begin + 1)  # fmt: skip

    def _batch(
        self,
        kind: str,
        lines: _Lines,
        n: int,
        cells: dict[str, tuple[Ints, Ints]],
        at: Ints,
        key: int,
        *,
        owner: Ints | None = None,
        group: Ints | None = None,
    ) -> pa.RecordBatch:
        """The rows of one record type. ``cells``: by term, its lines and the row that each belongs to."""
        numbers = self.records + 1 + (owner if owner is not None else np.arange(n))
        columns: dict[str, pa.Array] = {
            "record_no": pa.array(numbers, pa.int64()),
            "byte_offset": pa.array(self._at + at, pa.int64()),
            "record_type": pa.repeat(pa.scalar(kind), n),
            "group_no": pa.array(group if group is not None else np.zeros(n, np.int64), pa.int64()),
        }
        for f in self.layout.of(kind):
            where, row = cells.get(str(f.at), cells.get("", (np.empty(0, np.int64), np.empty(0, np.int64))))
            columns[f.name] = self._column(f, kind, lines, n, where, row, key, numbers)
        schema = self.layout.schema
        arrays = [columns.get(x.name) for x in schema]
        arrays = [pa.nulls(n, x.type) if a is None else a for a, x in zip(arrays, schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _column(
        self, f: FieldSpec, kind: str, lines: _Lines, n: int, where: Ints, row: Ints, key: int, numbers: Ints
    ) -> pa.Array:
        start = np.minimum(lines.starts[where] + key + 1, lines.ends[where])
        length = lines.ends[where] - start
        empty = (length == 0) | ((length == 1) & (lines.raw[np.minimum(start, len(lines.raw) - 1)] == ord("$")))
        if len(row) and (twice := row[1:][row[1:] == row[:-1]]).size:
            for r in np.unique(twice):
                self._find("twice", "a term stands twice in its post", AGAIN, record=int(numbers[r]), field=f.name)
            keep = np.concatenate((row[1:] != row[:-1], [True]))
            start, length, row, empty = start[keep], length[keep], row[keep], empty[keep]
        start, length, row = start[~empty], length[~empty], row[~empty]

        def find(rule: str, message: str, which: Ints, within: Ints, size: int | None = None) -> None:
            for i in which:
                offset = int(start[i] + within[i])
                byte = f"{lines.raw[offset]:02x}" if size == 1 else None
                self._find(rule, message, AGAIN, record=int(numbers[row[i]]), record_type=kind, field=f.name,
                           column=key + 2 + int(within[i]), length=size or int(length[i]),
                           offset=self._at + offset, byte=byte)  # fmt: skip

        none = np.zeros(len(row), np.int64)
        flat = lines.raw[spread(start, length)]
        if (long := length > f.length).any():
            find("too_long", f"more than the term's {f.length} characters", np.flatnonzero(long), none)
        if f.type == "digits":
            other = (flat < 0x30) | (flat > 0x39)
            if f.check:  # an interim number has a letter
                other &= ~np.isin(flat, identities.INTERIM)
            if other.any():
                first = np.unique(np.repeat(np.arange(len(row)), length)[other], return_index=True)
                place = np.flatnonzero(other)[first[1]]
                within = none.copy()
                within[first[0]] = place - (np.cumsum(length) - length)[first[0]]
                find("not_a_number", "a term of digits holds something else", first[0], within, 1)
        if f.check == "personnummer":
            twelve = np.flatnonzero(length == 12)
            if len(twelve):
                matrix = lines.raw[start[twelve][:, None] + np.arange(12)]
                wrong = twelve[~identities.valid(matrix)]
                find("check_digit", "no valid personal number: wrong date, serial or check digit", wrong, none + 11, 1)
            if (short := np.flatnonzero(length < 12)).size:
                find("not_a_number", "a personal number has twelve digits", short, none)
        sizes = np.zeros(n, np.int64)
        sizes[row] = length
        valid = np.zeros(n, np.bool_)
        valid[row] = True
        if f.required and not valid.all():
            for r in np.flatnonzero(~valid):
                self._find("required", "a required term is missing", AGAIN, record=int(numbers[r]), field=f.name)
        points = self.page.letters[flat]
        column = strings(np.where(points == UNDEFINED, 0xFFFD, points), sizes, valid)
        if f.values:
            import pyarrow.compute as pc

            known = np.asarray(pc.fill_null(pc.is_in(column, pa.array(f.values, pa.string())), False))[row]
            find("not_in_code_list", f"not one of {', '.join(f.values)}", np.flatnonzero(~known), none)
        return column

    # --- what is wrong with the structure

    def _unclosed(self, lines: _Lines, opens: Bools, closes: Bools, post: Ints) -> None:
        """A post that another begins in, or that the data end in, never ended."""
        marks = np.flatnonzero(opens | closes)
        is_open = opens[marks]
        following = np.concatenate((is_open[1:], [True]))
        for mark in marks[is_open & following]:
            self._find("unclosed_record", "the post has no #POST_SLUT", ENDLESS, record=self.records + int(post[mark]),
                       column=1, offset=self._at + int(lines.starts[mark]))  # fmt: skip
        before = np.concatenate(([False], is_open[:-1]))
        for mark in marks[~is_open & ~before]:
            at = self._at + int(lines.starts[mark])
            self._find("unexpected_line", "a #POST_SLUT without its #POST_START", AGAIN,
                       record=self.records + int(post[mark]), column=1, offset=at)  # fmt: skip

    def _strangers(self, lines: _Lines, which: Bools) -> None:
        for line in np.flatnonzero(which):
            self._find("unexpected_line", "a line that the format doesn't have", AGAIN, record=self.records + 1,
                       column=1, offset=self._at + int(lines.starts[line]))  # fmt: skip

    def _unknown(self, code: Ints, inside: Ints, terms: Bools) -> None:
        """Terms that the layout doesn't name are passed over, and counted."""
        named = {int(f.at) for f in self.layout.fields}
        for spec in self.layout.records.values():
            if spec.opens.isdigit():
                named |= {int(spec.opens), int(spec.closes)}
        groups = sum(1 for s in self.layout.records.values() if s.opens.isdigit())
        n = int((terms & (~np.isin(code, list(named)) | (inside > groups))).sum())
        if n:
            self.totals["unknown"] = self.totals.get("unknown", 0) + n

    def _undefined(
        self, raw: NDArray[np.uint8], at: int, lines: _Lines | None = None, post: Ints | None = None
    ) -> None:
        missing = np.flatnonzero(self.page.letters == UNDEFINED).astype(np.uint8)
        if not len(missing):
            return
        for place in np.flatnonzero(np.isin(raw, missing)):
            where: dict[str, object] = {}
            if lines is not None and post is not None:
                line = int(np.searchsorted(lines.starts, place, "right")) - 1
                start = int(lines.starts[line])
                term = raw[start : start + 9].tobytes().decode("latin-1")
                f = next((f for f in self.layout.fields if f"#UP {f.at}" == term), None)
                where = {"record": self.records + int(post[line]), "column": int(place) - start + 1,
                         "field": f.name if f else ""}  # fmt: skip
            byte = f"{int(raw[place]):02x}"
            self._find("undefined_byte", f"byte {byte} does not exist in {self.encoding}",
                       "ask the sender which encoding the file is in",
                       offset=at + int(place), byte=byte, length=1, **where)  # fmt: skip

    def _find(self, rule: str, message: str, next_step: str, **where: object) -> None:
        self.findings.add(Finding(rule, message, next_step, **where))  # type: ignore[arg-type]

    def _text(self, line: bytes) -> str:
        points = self.page.letters[np.frombuffer(line, np.uint8)]
        return "".join(chr(p) if p != UNDEFINED else "\ufffd" for p in points)


class _Lines:
    """The lines of a block: where each starts and ends (without its line end)."""

    def __init__(self, raw: NDArray[np.uint8], starts: Ints, ends: Ints) -> None:
        self.raw, self.starts, self.ends = raw, starts, ends
        self.lengths = ends - starts

    def begin(self, word: bytes) -> Bools:
        """Which lines begin with this?"""
        found = np.zeros(len(self.starts), np.bool_)
        candidates = np.flatnonzero(self.lengths >= len(word))
        for k, byte in enumerate(word):
            candidates = candidates[self.raw[self.starts[candidates] + k] == byte]
        found[candidates] = True
        return found

    def are(self, word: bytes) -> Bools:
        """Which lines are this, but for blanks after it?"""
        found = self.begin(word)
        for line in np.flatnonzero(found & (self.lengths > len(word))):
            found[line] = not self.raw[self.starts[line] + len(word) : self.ends[line]].tobytes().strip()
        return found

    def codes(self, terms: Bools) -> Ints:
        """The five digits after ``#UP `` as a number, -1 elsewhere."""
        code = np.full(len(self.starts), -1, np.int64)
        which = np.flatnonzero(terms)
        digits = self.raw[self.starts[which][:, None] + np.arange(4, 9)].astype(np.int64) - 0x30
        sound = ((digits >= 0) & (digits <= 9)).all(axis=1)
        code[which[sound]] = (digits @ np.array([10000, 1000, 100, 10, 1]))[sound]
        return code


def _plain(key: str) -> str:
    """``#BESTÄLLNINGSID`` as ``bestallningsid``."""
    letters = unicodedata.normalize("NFKD", key.lstrip("#").lower())
    return "".join(c for c in letters if c.isascii())
