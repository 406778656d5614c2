"""A block's terms to columns: sorted by term, so that what is asked of each value is asked of many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.records import cells
from slussen.records.codepages import Codepage
from slussen.records.letters import Bools, Bytes, Ints, flat_of, offsets_of, to_utf8
from slussen.records.notation import MOMENTS, NUMBERS, FieldSpec
from slussen.records.ragged import AGAIN, LineStart, Located, Offsets

if TYPE_CHECKING:
    from slussen.records.posts import Posts


class Table:
    """A block's terms, sorted: ``order`` are the lines, term by term; ``bounds`` where each term's begin.

    A term with which nothing is wrong becomes a column in few steps; any other is looked at closely.
    """

    def __init__(self, posts: Posts, located: Located, order: Ints, bounds: Ints) -> None:
        self.posts, self.located = posts, located
        self.bounds = (bounds - bounds[0])[: len(posts.terms.fields) + 1]
        self.order = order[bounds[0] :][: self.bounds[-1]]
        self.values = located.pieces.column(self.order)  # all terms' values, one after the other
        self.offsets, flat = offsets_of(self.values), flat_of(self.values)
        self.dollars = b"$" in posts.data
        self.sound = _is_sound(flat, posts.page)
        self.high = np.flatnonzero(flat >= 0x80) if self.sound else np.empty(0, np.int64)
        self.longest = np.zeros(len(self.bounds) - 1, np.int32)  # by term
        some = np.flatnonzero(np.diff(self.bounds))
        if len(some):
            self.longest[some] = np.maximum.reduceat(np.diff(self.offsets), self.bounds[some])

    def batch(
        self, kind: str, heads: Offsets, numbers: Ints, group: Ints | None, row: NDArray[np.int32], here: Bools
    ) -> pa.RecordBatch:
        """The rows of one record type: of each term its lines, of each line the row that it belongs to."""
        columns = {}
        for place, f in self.posts.terms.of[kind]:
            lines = self.order[self.bounds[place] : self.bounds[place + 1]]
            inside = here[lines]
            whole = bool(inside.all())
            if not whole:
                lines = lines[inside]
            if not len(lines) and not f.required:
                continue
            rows = row[lines]
            column = self._quickly(place, f, rows, len(heads)) if whole else None
            columns[f.name] = self._closely(f, kind, lines, rows, heads, numbers) if column is None else column
        return self.posts.assembled(kind, columns, heads, numbers, group)

    def _quickly(self, place: int, f: FieldSpec, rows: NDArray[np.int32], n: int) -> pa.Array | None:
        """A term's column, if nothing is wrong with it."""
        if not self.sound or self.longest[place] > f.length or f.type in (*MOMENTS, *NUMBERS):
            return None
        if (rows[1:] == rows[:-1]).any() or (f.required and len(rows) < n):
            return None
        start, stop = self.offsets[self.bounds[place : place + 2]]
        first, last = np.searchsorted(self.high, (start, stop))
        plain = self._spread(place, rows, n)
        if self.dollars and pc.any(pc.equal(plain, "$")).as_py():
            return None
        column = to_utf8(plain, self.high[first:last] - start)
        found = cells.read_text(f, column, self.posts.page, lambda _: b"", printable=True)
        return None if found.faults or (f.required and found.empty is not None) else found.values

    def _spread(self, place: int, rows: NDArray[np.int32], n: int) -> pa.Array:
        """A term's values in their rows, "" in the others: nothing is copied, those have no bytes."""
        first = int(self.bounds[place])
        if len(rows) == n:
            return self.values.slice(first, n)
        there = np.zeros(n + 1, np.int32)
        there[rows + 1] = 1
        offsets = self.offsets[np.cumsum(there) + first]
        return pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), self.values.buffers()[2]])

    def _closely(
        self, f: FieldSpec, kind: str, lines: Ints, rows: NDArray[np.int32], heads: Offsets, numbers: Ints
    ) -> pa.Array:
        which = self._by_row(f, kind, lines, rows, numbers)
        taken = self.located.pieces.column(which)
        if self.dollars:
            taken = pc.if_else(pc.equal(taken, "$"), "", taken)
        return self.located.column(f, kind, which, numbers, self._line_start(which, heads), taken)

    def _line_start(self, which: Ints, heads: Offsets) -> LineStart:
        """Where a row's line begins; its record's first, if it has none."""
        return lambda row: int(self.posts.starts[which[row]] if which[row] != -1 else heads[row])

    def _by_row(self, f: FieldSpec, kind: str, lines: Ints, rows: NDArray[np.int32], numbers: Ints) -> Ints:
        """The line of each row, -1 where it has none; of two the last, and that is a finding."""
        which = np.full(len(numbers), -1, np.int64)
        which[rows] = lines
        posts = self.posts
        for r in posts.findings.some("twice", np.unique(rows[1:][rows[1:] == rows[:-1]])):
            posts.find("twice", "a term stands twice in its post", AGAIN, record=int(numbers[r]), record_type=kind,
                       field=f.name, offset=posts.at + int(posts.starts[which[r]]))  # fmt: skip
        return which


def _is_sound(flat: Bytes, page: Codepage) -> bool:
    """Are plain bytes all letters of Latin-1, and none a control character?"""
    if not len(flat) or flat.min() < 0x20:
        return not len(flat)
    signed = flat.view(np.int8)  # of which 80 to 9F are the lowest, and 7F is the highest
    if page.wide:
        return bool(signed.min() >= 0 and signed.max() < 0x7F)
    return bool(signed.min() >= 0xA0 - 256 and signed.max() < 0x7F and not (flat == page.special).any())
