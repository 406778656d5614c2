"""Fields that are read or written alike, taken together: their cells one above the other, as one taller column.

A step over fifty thousand cells costs little more than one over ten thousand, and each step lets the other thread in
between: taken one by one, thirty fields kept two threads busy with waiting for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from slussen.records.columns import Fault
from slussen.records.letters import Bytes, array
from slussen.records.notation import SIGNS, FieldSpec

Alike = tuple[FieldSpec, ...]
OWN = {"name", "at", "person", "relative", "personal", "flag", "protected"}  # says nothing of how a field is read
TEXTS = ("text", "digits")


def alike(fields: Iterable[FieldSpec]) -> tuple[Alike, ...]:
    """The fields in groups: those of one differ in name and place only, and left-aligned text in its length too."""
    groups: dict[str, list[FieldSpec]] = {}
    for f in fields:
        groups.setdefault(_how(f), []).append(f)
    return tuple(map(tuple, groups.values()))


def _how(f: FieldSpec) -> str:
    """What there is to know of a field to read or write it."""
    if f.type in ("const", "filler", "sign") or f.sign not in SIGNS:
        return f"{f.name} {f.only} {f.at}"  # it stands for itself, or depends on another
    return repr(f.model_dump(exclude=OWN | {"length"} if f.type in TEXTS and not f.right else OWN))


@dataclass(frozen=True)
class Cells:
    """The cells of fields that are alike: the first's ``n``, then the second's, all their bytes one after the other."""

    fields: Alike
    n: int
    flat: Bytes

    @classmethod
    def of(cls, fields: Alike, block: Bytes) -> Cells:
        """These fields of a block of records."""
        n = len(block)
        flat = np.empty(n * sum(f.length for f in fields), np.uint8)
        start = 0
        for f in fields:
            first, item = int(f.at) - 1, f"V{f.length}"  # as items: twice as fast as byte by byte
            flat[start : start + n * f.length].view(item)[:] = block[:, first : first + f.length].view(item)[:, 0]
            start += n * f.length
        return cls(fields, n, flat)

    @property
    def matrix(self) -> Bytes:
        """All cells as ``(fields x n, length)``, if they are equally long."""
        return self.flat.reshape(self.n * len(self.fields), self.fields[0].length)

    @property
    def column(self) -> pa.Array:
        """All cells as one text column."""
        sizes = [f.length for f in self.fields]
        starts = self.n * np.concatenate(([0], np.cumsum(sizes)))
        offsets = np.empty(len(sizes) * self.n + 1, np.int32)
        for k, size in enumerate(sizes):
            offsets[k * self.n : (k + 1) * self.n] = np.arange(starts[k], starts[k + 1], size)
        offsets[-1] = starts[-1]
        return array(offsets, self.flat)

    def edges(self, last: bool) -> Iterator[Bytes]:
        """The last byte of each cell, or the first, field by field."""
        start = 0
        for f in self.fields:
            stop = start + self.n * f.length
            yield self.flat[start + (f.length - 1 if last else 0) : stop : f.length]
            start = stop


def apart(fault: Fault, n: int) -> Iterator[tuple[int, Fault]]:
    """A fault of a tall column as each field's own, by the field's number; each has ``n`` rows."""
    owner = fault.rows // n
    for k in np.unique(owner).tolist():
        mine = fault.pick(owner == k)
        mine.rows = mine.rows - k * n
        yield k, mine
