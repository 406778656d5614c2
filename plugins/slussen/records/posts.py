"""A block of a tagged file's posts to Arrow batches: all of its lines at once.

Lines are known by their first bytes, eight at a time as numbers of 64 bits; of a term's code, place and record type are
looked up by a hash that the layout's codes have to themselves. One sort then brings each term's lines together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records.codepages import Codepage
from slussen.records.layout import Layout
from slussen.records.letters import Bools, Ints
from slussen.records.lines import MARKED, ONE_KIND, ended, lines_of, marks, odd_ends
from slussen.records.notation import FieldSpec
from slussen.records.ragged import AGAIN, Located, Offsets, Pieces
from slussen.records.table import Table

ENDLESS = "the file is cut off or two posts run together: have it sent again"
CODE = 5  # bytes of a term's code
# Of the codes' hash: how many bits it has, what codes are multiplied with, and what is tried next. The factor is odd.
BITS = 12  # tuning
FACTOR = 0x9E37_79B9_7F4A_7C15  # tuning
STEP = 2  # tuning
OUTSIDE, ANYWHERE = np.int16(-2), np.int16(-3)
Places = NDArray[np.int16]


@dataclass
class Read:
    """What a block held: batches whose records count from 1, how many posts, what was wrong, what nobody knows."""

    batches: list[pa.RecordBatch]
    posts: int
    findings: Findings
    unknown: int = 0


class Terms:
    """The layout's terms: each has a place, its field's in ``fields``; groups' openers and closers come after them."""

    def __init__(self, layout: Layout, page: Codepage) -> None:
        data = set(layout.data_types)
        self.fields = tuple(f for f in layout.fields if set(f.only or data) & data)
        self.of: dict[str, list[tuple[int, FieldSpec]]] = {
            r: [(k, f) for k, f in enumerate(self.fields) if not f.only or r in f.only] for r in layout.data_types
        }
        self.openers: dict[int, str] = {}  # place -> record type, or the opener of what is passed over
        self.closers: dict[int, str] = {}
        codes = {str(f.at): k for k, f in enumerate(self.fields) if str(f.at).isdigit()}
        spans = [(s.opens, s.closes, r) for r, s in layout.records.items() if not s.place and r != layout.counted]
        place = len(self.fields)
        for first, last, name in [*spans, *((a, b, a) for a, b in layout.file.skipped.items())]:
            codes[first], codes[last] = place, place + 1
            self.openers[place], self.closers[place + 1] = name, name
            place += 2
        self.count = place
        # The group that a term stands in, by its opener's place, -1 for none.
        groups = {name: opener for opener, name in self.openers.items()} | {layout.counted: -1}
        self.homes = np.full(place + 1, ANYWHERE, np.int16)
        for k, f in enumerate(self.fields):
            of = f.only or layout.data_types
            self.homes[k] = groups.get(of[0], ANYWHERE) if len(of) == 1 else ANYWHERE
        # As many of the prefix' bytes as fill up eight with the code are looked up with it; ``head`` are the others.
        self.prefix = word(page, layout.file.prefix)
        self.head, tail = self.prefix[: CODE - 8], self.prefix[CODE - 8 :]
        self._mask = np.uint64((1 << 8 * (len(tail) + CODE)) - 1)
        self._hashed({int.from_bytes(tail + word(page, c), "little"): k for c, k in codes.items() if len(c) == CODE})

    def _hashed(self, codes: Mapping[int, int]) -> None:
        """A table in which each code has a slot of its own, found by multiplying."""
        keys = np.fromiter(codes, np.uint64, len(codes))
        factor = np.uint64(FACTOR)
        while len(set(self._slots(keys, factor).tolist())) < len(keys):
            factor += np.uint64(STEP)
        self._factor = factor
        self._keys, self._places = np.zeros(1 << BITS, np.uint64), np.full(1 << BITS, -1, np.int16)
        slots = self._slots(keys, factor)
        self._keys[slots], self._places[slots] = keys, np.fromiter(codes.values(), np.int16, len(codes))

    @staticmethod
    def _slots(keys: NDArray[np.uint64], factor: np.uint64) -> Ints:
        found: Ints = ((keys * factor) >> np.uint64(64 - BITS)).view(np.int64)
        return found

    def places(self, words: NDArray[np.uint64]) -> Places:
        """The place of each prefix and code (eight bytes from after ``head``), -1 for what the layout doesn't have."""
        keys = words & self._mask
        slots = self._slots(keys, self._factor)
        return np.where(self._keys.take(slots) == keys, self._places.take(slots), np.int16(-1))


def word(page: Codepage, text: str) -> bytes:
    """A keyword in the file's encoding."""
    return text.encode() if page.wide else bytes(page.byte(c) for c in text)


class Posts:
    """One block's work: runs beside others', touches nothing that they share."""

    def __init__(
        self, layout: Layout, page: Codepage, terms: Terms, data: bytes, at: int, limit: int, *, crlf: bool
    ) -> None:
        self.layout, self.page, self.terms, self.data, self.at, self.crlf = layout, page, terms, data, at, crlf
        self.main = layout.records[layout.counted]
        self.findings = Findings(limit)
        self.blank = page.byte(" ")
        self.run_together: Ints = np.zeros(0, np.int64)  # lines of terms whose value begins at once after the code
        self.starts, self.ends = lines_of(data)
        padded = data + bytes(15)
        self.bytes = np.frombuffer(padded, np.uint8)
        self.words = np.ndarray((len(data) + 8,), "<u8", padded, strides=(1,))  # eight bytes from any place

    def read(self) -> Read:
        if not self.main.opens:
            return self._single()
        layout, terms, main = self.layout, self.terms, self.main
        place, is_term, unknown = self._places()
        others = np.flatnonzero(~is_term)
        opens, closes = others[self._are(main.opens, others)], others[self._are(main.closes, others)]
        opened = np.zeros(len(place), np.int32)
        opened[opens] = 1
        post: NDArray[np.int32] = np.cumsum(opened, dtype=np.int32)  # 1 for the first post's lines; 0 before it
        total = len(opens)
        self._everywhere(post)
        self._unclosed(opens, closes, post)
        self._strangers(others, opens, closes, post)
        state = self._groups(place, opens, closes, post)
        self._unexpected(np.flatnonzero(is_term & (state == OUTSIDE)), post)
        self._misplaced(place, state, post)
        values = np.minimum(self.starts + np.int32(len(terms.prefix) + CODE + 1), self.ends)
        located = Located(Pieces(self.data, self.page, values, self.ends), self.at, self.findings)
        # The lines of each term, found by one sort instead of a look at all lines for every term.
        key = place if total and opens[0] == 0 else np.where(post > 0, place, np.int16(-1))
        order = np.argsort(key, kind="stable")
        counts = np.bincount(key + 1, minlength=terms.count + 1)
        bounds = np.cumsum(counts)
        passed_over = [k for k, name in terms.openers.items() if name not in layout.records and counts[k + 1]]
        if passed_over:
            unknown += int(((place >= 0) & np.isin(state, passed_over)).sum())
        table = Table(self, located, order, bounds)
        heads = self.starts[opens]
        batches = [table.batch(layout.counted, heads, np.arange(1, total + 1), None, post - 1, state == -1)]
        for opener, name in terms.openers.items():
            if name not in layout.records:
                continue
            which = order[bounds[opener] : bounds[opener + 1]]
            which = which[state[which] == opener]
            if not len(which):
                continue
            begins = np.zeros(len(place), np.int32)
            begins[which] = 1
            owner = post[which]
            first = np.concatenate(([True], owner[1:] != owner[:-1]))
            begin = np.maximum.accumulate(np.where(first, np.arange(len(which)), 0))
            row = np.cumsum(begins, dtype=np.int32) - 1
            group = np.arange(len(which)) - begin + 1
            batches.append(table.batch(name, self.starts[which], owner.astype(np.int64), group, row, state == opener))
        self.findings.kept.sort(key=lambda f: f.offset or 0)
        return Read(batches, total, self.findings, unknown)

    def _places(self) -> tuple[Places, Bools, int]:
        """Each line's place, -1 if it has none; which lines are terms; how many of them the layout doesn't have."""
        terms, prefix = self.terms, self.terms.prefix
        place = terms.places(self.words[self.starts + len(terms.head)])
        for k, byte in enumerate(terms.head):
            other = self.bytes[self.starts + k] != byte
            if other.any():
                place[other] = -1
        # A term's code ends with its line, or a blank comes next.
        after = self.starts + np.int32(len(prefix) + CODE)
        odd = (self.bytes.take(after, mode="clip") != self.blank) & (after < self.ends)
        rest = np.flatnonzero((place < 0) | odd)
        coded = rest[self._begin(prefix, rest) & (self.ends[rest] >= after[rest])]
        self.run_together, unknown = coded[odd[coded]], self._numbered(coded[~odd[coded]])
        place[self.run_together] = -1
        is_term = place >= 0
        is_term[unknown] = True
        return place, is_term, len(unknown)

    def _numbered(self, lines: Ints) -> Ints:
        """Those of these lines whose code is one: nothing but digits."""
        at = self.starts[lines] + np.int32(len(self.terms.prefix))
        codes = self.bytes[at[:, None] + np.arange(CODE, dtype=np.int32)]
        found: Ints = lines[((codes >= ord("0")) & (codes <= ord("9"))).all(axis=1)]
        return found

    def _single(self) -> Read:
        """Posts of one line each."""
        begins = word(self.page, self.main.line + " ")
        opens = self._begin(begins, np.arange(len(self.starts)))
        post: NDArray[np.int32] = np.cumsum(opens, dtype=np.int32)
        self._everywhere(post)
        self._unexpected(np.flatnonzero(~opens & (self.ends > self.starts)), post)
        which = np.flatnonzero(opens)
        starts, ends = self.starts[which], self.ends[which]
        located = Located(Pieces(self.data, self.page, starts + len(begins), ends), self.at, self.findings)
        rows = np.arange(len(which))
        columns = {
            f.name: located.column(f, self.layout.counted, rows, rows + 1, starts.__getitem__)
            for f in self.layout.of(self.layout.counted)
        }
        return Read([self.assembled(self.layout.counted, columns, starts, rows + 1, None)], len(which), self.findings)

    def assembled(
        self, kind: str, columns: dict[str, pa.Array], heads: Offsets, numbers: Ints, group: Ints | None
    ) -> pa.RecordBatch:
        n = len(heads)
        columns["record_no"] = pa.array(numbers, pa.int64())
        columns["byte_offset"] = pa.array(heads + np.int64(self.at), pa.int64())
        columns["record_type"] = pa.repeat(pa.scalar(kind), n)
        columns["group_no"] = pa.array(group if group is not None else np.zeros(n, np.int64), pa.int64())
        schema = self.layout.schema
        nulls = {t: pa.nulls(n, t) for t in {c.type for c in schema if c.name not in columns}}
        return pa.RecordBatch.from_arrays([columns.get(c.name, nulls.get(c.type)) for c in schema], schema=schema)

    # --- lines

    def _begin(self, wanted: bytes, lines: Ints) -> Bools:
        """Which of these lines begin with this?"""
        starts = self.starts[lines] if len(lines) < len(self.starts) else self.starts
        ends = self.ends[lines] if len(lines) < len(self.ends) else self.ends
        found: Bools = ends - starts >= len(wanted)
        for first in range(0, len(wanted), 8):
            piece = wanted[first : first + 8]
            mask = np.uint64((1 << 8 * len(piece)) - 1)
            there = self.words[np.minimum(starts + first, len(self.words) - 1) if first else starts]
            found &= (there & mask) == np.uint64(int.from_bytes(piece, "little"))
        return found

    def _are(self, text: str, lines: Ints) -> Bools:
        """Which of these lines are this, but for blanks after it?"""
        wanted = word(self.page, text)
        found = self._begin(wanted, lines)
        longer = found & (self.ends[lines] - self.starts[lines] > len(wanted))
        for k in np.flatnonzero(longer).tolist():
            line = lines[k]
            found[k] = not self.data[self.starts[line] + len(wanted) : self.ends[line]].strip()
        return found

    def _groups(self, place: Places, opens: Ints, closes: Ints, post: NDArray[np.int32]) -> Places:
        """The group that each line stands in, by its opener's place; -1 for none, ``OUTSIDE`` for no post."""
        first = len(self.terms.fields)  # an opener's place; its closer comes next, then the next opener
        marks = place >= first
        posts = np.zeros(len(place), np.int8)
        posts[opens], posts[closes] = 1, -1
        which = np.flatnonzero(marks | (posts != 0))
        mark = place[which]
        opening = (mark >= first) & ((mark - first) % 2 == 0)
        closing = (mark >= first) & ~opening
        opened, closed = posts[which] > 0, posts[which] < 0
        last = np.maximum.accumulate(np.where(opened | closed, np.arange(len(which)), -1))
        inside = (last >= 0) & opened[np.maximum(last, 0)] if len(which) else opened
        states = np.where(inside, np.where(opening, mark, np.int16(-1)), OUTSIDE)
        before = np.concatenate((np.array([OUTSIDE], np.int16), states[:-1]))
        grouped = before >= first
        wrong = inside & ((opening & grouped) | (closing & (before != mark - 1)))
        wrong |= (opened | closed) & grouped
        for line in self.findings.some("unclosed_group", which[wrong]):
            self.find("unclosed_group", "a group that isn't closed, or is closed and was not opened", AGAIN,
                      record=int(post[line]), column=1, offset=self.at + int(self.starts[line]))  # fmt: skip
        runs = np.diff(np.concatenate(([0], which, [len(place)])))
        found: Places = np.repeat(np.concatenate((np.array([OUTSIDE], np.int16), states)), runs)
        found[which[closing]] = before[closing]  # a closer belongs to its group
        return found

    # --- what is wrong with the structure

    def _everywhere(self, post: NDArray[np.int32]) -> None:
        """Other line ends than the file's first, and byte order marks: wherever they stand."""
        for line in self.findings.some("line_end", odd_ends(self.data, self.starts, self.ends, crlf=self.crlf)):
            end = int(self.ends[line])
            self.find("line_end", ended(crlf=self.crlf), ONE_KIND, record=int(post[line]),
                      column=end - int(self.starts[line]) + 1, offset=self.at + end,
                      byte=f"{self.data[end]:02x}")  # fmt: skip
        for place in self.findings.some("bom", marks(self.data, self.page)):
            line = int(np.searchsorted(self.starts, place, "right")) - 1
            self.find("bom", MARKED, AGAIN, record=int(post[line]), column=place - int(self.starts[line]) + 1,
                      length=3, offset=self.at + place, byte="ef")  # fmt: skip

    def _unclosed(self, opens: Ints, closes: Ints, post: NDArray[np.int32]) -> None:
        """A post that another begins in, or that the data end in, never ended."""
        edges = np.zeros(len(post), np.int8)
        edges[opens], edges[closes] = 1, -1
        marks = np.flatnonzero(edges)
        is_open = edges[marks] == 1
        following = np.concatenate((is_open[1:], [True]))
        for mark in self.findings.some("unclosed_record", marks[is_open & following]):
            self.find("unclosed_record", f"the post has no {self.main.closes}", ENDLESS, record=int(post[mark]),
                      column=1, offset=self.at + int(self.starts[mark]))  # fmt: skip
        before = np.concatenate(([False], is_open[:-1]))
        for mark in self.findings.some("unexpected_line", marks[~is_open & ~before]):
            self.find("unexpected_line", f"a {self.main.closes} without its {self.main.opens}", AGAIN,
                      record=int(post[mark]), column=1, offset=self.at + int(self.starts[mark]))  # fmt: skip

    def _strangers(self, others: Ints, opens: Ints, closes: Ints, post: NDArray[np.int32]) -> None:
        """Lines that are neither terms nor open or close a post."""
        if len(others) == len(opens) + len(closes):
            return
        left = np.setdiff1d(others, np.concatenate((opens, closes, self.run_together)), assume_unique=True)
        after = len(self.terms.prefix) + CODE
        for line in self.findings.some("unexpected_line", self.run_together):
            self.find("unexpected_line", "no blank between the term's code and its value", AGAIN,
                      record=int(post[line]), column=after + 1,
                      offset=self.at + int(self.starts[line]) + after)  # fmt: skip
        left = left[self.ends[left] > self.starts[left]]
        for keyword in self.layout.file.keywords:
            left = left[~self._begin(word(self.page, keyword), left)]
        self._unexpected(left, post)

    def _misplaced(self, place: Places, state: Places, post: NDArray[np.int32]) -> None:
        """Terms in a group that they don't belong in, or outside of theirs: nobody would read them."""
        homes = self.terms.homes.take(place)  # (place -1 is the last, which is anywhere)
        lines = np.flatnonzero(homes != state)
        lines = lines[(homes[lines] != ANYWHERE) & (state[lines] != OUTSIDE)]
        passed_over = [k for k, name in self.terms.openers.items() if name not in self.layout.records]
        for line in self.findings.some("unexpected_line", lines[~np.isin(state[lines], passed_over)]):
            f = self.terms.fields[place[line]]
            self.find("unexpected_line", f"{f.name} stands in a group that it is no term of",
                      AGAIN, record=int(post[line]), field=f.name, column=1,
                      offset=self.at + int(self.starts[line]))  # fmt: skip

    def _unexpected(self, lines: Ints, post: NDArray[np.int32]) -> None:
        for line in self.findings.some("unexpected_line", lines):
            self.find("unexpected_line", "a line that doesn't belong here", AGAIN, record=int(post[line]),
                      column=1, offset=self.at + int(self.starts[line]))  # fmt: skip

    def find(self, rule: str, message: str, next_step: str, **where: object) -> None:
        self.findings.add(Finding(rule, message, next_step, **where))  # type: ignore[arg-type]
