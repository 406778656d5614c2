"""Values of any length in a block of bytes, by their first and last place: columns without a look at single bytes.

Arrow keeps text as offsets into bytes. A block's values and what stands between them are such a column; taking every
other of it is one copy of each value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records import cells
from slussen.records.codepages import Codepage
from slussen.records.columns import Fault
from slussen.records.letters import Bools, Ints, array
from slussen.records.notation import FieldSpec

Offsets = NDArray[np.int32] | Ints  # in a block
LineStart = Callable[[int], int]  # by row
AGAIN = "correct it at the sender, and have the file sent again"


class Pieces:
    """``starts`` and ``ends`` of a block's values, in their order, none within another.

    Of ``doubled`` two in a value stand for one.
    """

    def __init__(self, raw: bytes, page: Codepage, starts: Offsets, ends: Offsets, doubled: bytes = b"") -> None:
        self.raw, self.page, self.doubled = raw, page, doubled
        self.starts, self.ends = starts, ends
        offsets = np.empty(2 * len(starts) + 3, np.int32)
        offsets[:-3:2], offsets[1:-3:2] = starts, ends
        offsets[-3:] = len(raw)  # one that is always empty, for rows that have no value
        self._column = array(offsets, raw if _is_plain(raw, page) else bytearray(raw).translate(page.plain))
        self._none = 2 * len(starts)

    def column(self, which: Ints) -> pa.Array:
        """These values, one after the other; -1 is none."""
        places = which.astype(np.int32) * np.int32(2)
        places[which < 0] = self._none
        return self._column.take(pa.array(places))

    def own(self, which: int) -> bytes:
        """A value's own bytes."""
        if which < 0:
            return b""
        found = self.raw[self.starts[which] : self.ends[which]]
        return found.replace(self.doubled * 2, self.doubled) if self.doubled else found

    def place(self, which: int, within: int) -> int:
        """Where in the block this place in a value stands."""
        start = int(self.starts[which])
        if self.doubled:
            start += self.own(which)[:within].count(self.doubled)
        return min(start + within, max(int(self.ends[which]) - 1, start))  # (a quote that isn't doubled is a fault)


def _is_plain(raw: bytes, page: Codepage) -> bool:
    """Are these bytes plain as they are? Windows-1252 differs from Latin-1 in 80 to 9F alone, which are rare."""
    other = [byte for byte, plain in enumerate(page.plain) if byte != plain]
    if other and other[0] >= 0x80:
        return bool(np.frombuffer(raw, np.int8).min(initial=0) > other[-1] - 256)  # of signed bytes 80 is the lowest
    return not other


class Located:
    """A block's findings: where its values stand in the file."""

    def __init__(self, pieces: Pieces, at: int, findings: Findings, *, breaks: bool = False) -> None:
        self.pieces, self.at, self.findings = pieces, at, findings
        self.breaks = breaks  # may a value have line breaks in it?

    def column(
        self, f: FieldSpec, kind: str, which: Ints, numbers: Ints, line_start: LineStart, column: pa.Array | None = None
    ) -> pa.Array:
        """A field's column: ``which`` values, the record that each row belongs to, and where a row's line begins."""
        pieces = self.pieces
        taken = pieces.column(which) if column is None else column
        found = cells.read_values(f, taken, pieces.page, lambda row: pieces.own(int(which[row])))
        for fault in found.faults:
            self.fault(f, kind, fault, which, numbers, line_start)
        if f.required and found.empty is not None and found.empty.any():
            empty = Fault("required", "a required field is empty", np.flatnonzero(found.empty))
            self.fault(f, kind, empty, which, numbers, line_start)
        return found.values

    def fault(self, f: FieldSpec, kind: str, fault: Fault, which: Ints, numbers: Ints, line_start: LineStart) -> None:
        if self.breaks and fault.rule == "control_character":
            fault = fault.pick(~self._breaks(fault, which))
        for k, row in enumerate(self.findings.some(fault.rule, fault.rows)):
            place = int(fault.within[k]) if fault.within is not None else 0
            piece = int(which[row])
            line = int(line_start(row))
            start = self.pieces.place(piece, place) if piece >= 0 else line
            length = 1 if fault.exact else int(self.pieces.ends[piece]) - start if piece >= 0 else None
            self.findings.add(
                Finding(
                    fault.rule, fault.text(k), AGAIN,
                    record=int(numbers[row]), record_type=kind, field=f.name,
                    column=start - line + 1,
                    length=length or None,
                    offset=self.at + start,
                    byte=f"{self.pieces.raw[start]:02x}" if fault.exact else None,
                )
            )  # fmt: skip

    def _breaks(self, fault: Fault, which: Ints) -> Bools:
        """Which of these places in values are a line break's, LF or CRLF?"""
        returned, feed = (self.pieces.page.byte(end) for end in "\r\n")
        begin = np.flatnonzero(np.diff(fault.rows, prepend=-1))  # one value's places follow each other
        values = [self.pieces.own(piece) + b"\0" for piece in which[fault.rows[begin]].tolist()]
        starts = np.cumsum([0, *map(len, values)])[:-1]
        at = np.repeat(starts, np.diff(begin, append=len(fault.rows))) + (0 if fault.within is None else fault.within)
        flat = np.frombuffer(b"".join(values), np.uint8)
        found: Bools = flat[at + ((flat[at] == returned) & (flat[at + 1] == feed))] == feed
        return found
