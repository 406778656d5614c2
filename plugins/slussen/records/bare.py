"""What stands in a record where its type has no field: fillers, and the places of other types' fields.

It should be blank, and nothing of it is read. Anything else there is written otherwise (``parse`` counts it), and what
is no letter at all is a fault: bytes that nobody looks at are how a shifted or damaged record goes by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slussen.records.cells import read_text
from slussen.records.codepages import Codepage
from slussen.records.columns import Fault
from slussen.records.layout import Layout
from slussen.records.letters import Bytes, Ints, array
from slussen.records.notation import FieldSpec

BLANK = ord(" ")
Span = tuple[int, int]


def bare(layout: Layout, kind: str) -> list[FieldSpec]:
    """The fields in whose places a record of this type has nothing to say."""
    own = any(spec.fields for spec in layout.records.values())  # other types' fields lie across this one's
    return [
        f for f in layout.fields
        if (f.type == "filler" if not f.only or kind in f.only else not own)
    ]  # fmt: skip


class Bare:
    """Looks at those places in blocks of records: quickly, and closely where something stands."""

    def __init__(self, layout: Layout, page: Codepage) -> None:
        self.page = page
        self.fields = [bare(layout, kind) for kind in layout.records]
        self._spans = [_together(fields) for fields in self.fields]

    def faults(self, plain: Bytes, raw: Bytes, kinds: NDArray[np.int64]) -> Iterator[tuple[FieldSpec, Fault]]:
        """What is no letter there, in a block's plain bytes and its own."""
        for number, spans in enumerate(self._spans):
            if not spans:
                continue
            rows = np.flatnonzero(kinds == number)
            if len(rows) and not _blank(plain, rows, spans):
                for f in self.fields[number]:
                    for fault in self._closely(f, plain, raw, rows):
                        yield f, fault

    def _closely(self, f: FieldSpec, plain: Bytes, raw: Bytes, rows: Ints) -> list[Fault]:
        first, last = int(f.at) - 1, int(f.at) - 1 + f.length
        rows = rows[(plain[rows, first:last] != BLANK).any(axis=1)]
        flat = np.ascontiguousarray(plain[rows, first:last]).ravel()
        column: pa.Array = array(np.arange(0, len(flat) + 1, f.length, dtype=np.int32), flat)
        text = FieldSpec(name=f.name, at=f.at, length=f.length, type="text")
        faults = read_text(text, column, self.page, lambda row: raw[rows[row], first:last].tobytes()).faults
        return [replace(x, rows=rows[x.rows]) for x in faults]


def _together(fields: list[FieldSpec]) -> list[Span]:
    """Their places, those that adjoin as one."""
    spans: list[Span] = []
    for f in sorted(fields, key=lambda f: int(f.at)):
        first, last = int(f.at) - 1, int(f.at) - 1 + f.length
        if spans and spans[-1][1] == first:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans


def _blank(plain: Bytes, rows: Ints, spans: list[Span]) -> bool:
    """Is there nothing in all these rows? Those that follow each other are looked at where they are."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    which = slice(start, stop) if stop - start == len(rows) else rows
    return all(bool((plain[which, first:last] == BLANK).all()) for first, last in spans)
