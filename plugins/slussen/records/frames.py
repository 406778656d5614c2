"""How a stream of bytes is divided into records: by length, by LF or CRLF, or by the mainframe's RDW.

Sound input goes by in whole blocks without a look at single records. Where something doesn't fit, the records that do
are still read, and the others are findings. No line, however long, is kept in memory.

RDW: two bytes of length (big-endian, its own four bytes included) and two of zeros before each record; ``vb`` has the
same before each block of them (BDW). Source: IBM z/OS DFSMS Using Data Sets, "Variable-Length Record Formats".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from slussen.errors import CallError, Finding, Findings
from slussen.records.codepages import BOM, Codepage
from slussen.records.layout import Layout
from slussen.records.letters import Bytes, Ints
from slussen.records.lines import MARKED, marks
from slussen.records.source import Source

BLOCK = 3 << 20  # tuning: bytes that are read at a time
ENDS = {"lf": b"\n", "crlf": b"\r\n", "fixed": b"", "rdw": b"", "vb": b""}
SLACK = 1 << 16  # tuning: bytes more than the longest record, after which a line isn't kept
AGAIN = "have the file sent again; if all records are like this, the layout or the frame is another"
EOF = 0x1A  # what old PC programs end a file with


def check(layout: Layout, frame: str) -> None:
    """Can the layout's records be divided so?

    Raises:
        CallError: they cannot: a packed number may have a line end's byte in it, and lengths must be known.
    """
    if frame not in ENDS:
        raise CallError(f"unknown frame {frame!r}: one of {', '.join(ENDS)}")
    if frame in ("lf", "crlf") and any(f.usage != "display" for f in layout.fields):
        raise CallError(f"{layout.name} has packed or binary numbers: its records cannot be divided by line ends")
    if frame == "fixed" and layout.varies:
        raise CallError(f"{layout.name} has records of several lengths: divide them by line ends or by RDW")


@dataclass
class Block:
    """Records as ``(n, width)`` bytes, where each begins in the file, its number from 1, and its own length."""

    cells: Bytes
    offsets: Ints
    numbers: Ints
    lengths: Ints


class Frames:
    """The blocks of a file, and what is wrong with its division."""

    def __init__(self, source: Source, layout: Layout, page: Codepage, frame: str, findings: Findings) -> None:
        self.source, self.layout, self.page, self.frame, self.findings = source, layout, page, frame, findings
        check(layout, frame)
        self.records = 0
        self.end = ENDS[frame] if not page.ebcdic else bytes(page.byte(chr(c)) for c in ENDS[frame])
        self._at = 0
        self._raw = any(f.usage != "display" for f in layout.fields)
        self._marked = -1  # the last byte order mark that was told of
        self._allowed = sorted({layout.length_of(r) for r in layout.records})

    def __iter__(self) -> Iterator[Block]:
        if self.frame in ("rdw", "vb"):
            yield from self._counted()
            return
        stride = self.layout.longest + len(self.end)
        size = max(1, BLOCK // stride) * stride
        data = self._without_mark(self.source.read(size))
        while data:
            whole = len(data) // stride * stride
            cells = np.frombuffer(data, np.uint8, whole).reshape(whole // stride, stride)
            if self.end and not self._sound(data, cells):
                yield from self._lines(data)
                return
            self._marks(data, self._at, lambda place: self.records + 1 + place // stride)
            if whole:
                yield self._block(cells[:, : self.layout.longest], self._at + np.arange(len(cells)) * stride)
            self._at += whole
            rest = data[whole:]
            if len(data) < size:
                yield from self._last(rest)
                return
            data = rest + self.source.read(size - len(rest))

    def _without_mark(self, data: bytes) -> bytes:
        """UTF-8 may begin with a byte order mark, if declared to; nothing else may. (A number may look like one.)"""
        number = any(f.usage != "display" and f.at == 1 for f in self.layout.fields)
        if not data.startswith(BOM) or self.page.ebcdic or (number and self.page.name != "utf-8-sig"):
            return data
        if self.page.name != "utf-8-sig":
            self.findings.add(
                Finding("bom", f"the file begins with a UTF-8 byte order mark, which {self.page.name} has not",
                        "ask the sender which encoding the file is in", record=1, column=1, length=3, offset=0,
                        byte="ef")
            )  # fmt: skip
        self._at = len(BOM)
        return data[len(BOM) :] + self.source.read(len(BOM))

    def _marks(self, data: bytes, at: int, record: Callable[[int], int]) -> None:
        """A byte order mark in the middle of the file."""
        if self._raw or not len(places := marks(data, self.page)):
            return
        for place in self.findings.some("bom", places[at + places > self._marked]):
            self.findings.add(
                Finding("bom", MARKED, AGAIN, record=record(place), offset=at + place, length=3, byte="ef")
            )
        self._marked = at + int(places[-1])

    def _block(self, cells: Bytes, offsets: Ints, lengths: Ints | None = None, numbers: Ints | None = None) -> Block:
        n = len(cells)
        if numbers is None:
            numbers = np.arange(self.records + 1, self.records + n + 1)
            self.records += n
        return Block(cells, offsets, numbers, np.full(n, self.layout.longest) if lengths is None else lengths)

    def _sound(self, data: bytes, cells: Bytes) -> bool:
        """Does every line end stand where it belongs, and none elsewhere?"""
        if len(self._allowed) > 1 or len(data) % (self.layout.longest + len(self.end)):
            return False
        tail = np.frombuffer(self.end, np.uint8)
        if not (cells[:, self.layout.longest :] == tail).all():
            return False
        # Nothing so low within the records, or, if there is, no more line ends than records.
        return bool(cells[:, : self.layout.longest].min() > tail.max()) or data.count(self.end[-1:]) == len(cells)

    def _last(self, rest: bytes) -> Iterator[Block]:
        """What the last whole record is followed by: nothing, an end-of-file mark, or a piece of a record."""
        if not rest.strip(b"" if self.page.ebcdic or self._raw else bytes([EOF])):
            return
        self._wrong_length(self.records + 1, len(rest), self._at, last=True)
        self.records += 1
        return
        yield

    # --- lines

    def _lines(self, data: bytes) -> Iterator[Block]:
        """Lines of any length: those that are whole are read, the others are findings."""
        feed = self.end[-1]
        more = self.source.read(BLOCK)  # one ahead: only the file's last line may lack its end, or be a mark
        while data or more:
            cut = data.rfind(self.end[-1:]) + 1 if more else len(data)
            if cut:
                block = np.frombuffer(data, np.uint8, cut)
                feeds = np.flatnonzero(block == feed)
                starts = np.concatenate(([0], feeds + 1))
                stops = np.concatenate((feeds, [cut]))
                if starts[-1] == cut:
                    starts, stops = starts[:-1], stops[:-1]
                self._marks(data[:cut], self._at, partial(_record_at, starts, self.records))
                yield from self._of_lines(block, starts, stops, not more)
                self._at += cut
                data = data[cut:] + more
            elif len(data) > self.layout.longest + SLACK:
                data = self._endless(data, more)
            else:
                data += more
            more = self.source.read(BLOCK)

    def _endless(self, line: bytes, more: bytes) -> bytes:
        """A line that is longer than any record already: passed over to its end, not kept. What comes after it."""
        feed, length = self.end[-1:], 0
        while more and feed not in more:
            length += len(line)
            line, more = more, self.source.read(BLOCK)
        rest, ended, after = more.partition(feed)
        length += len(line) + len(rest)
        returned = (rest or line).endswith(bytes([self.page.byte("\r")]))
        self._wrong_length(self.records + 1, length - returned, self._at, last=not ended)
        self.records += 1
        self._at += length + len(ended)
        return after

    def _of_lines(self, block: Bytes, starts: Ints, stops: Ints, last: bool) -> Iterator[Block]:
        returning = self.page.byte("\r")
        if last and block[starts[-1] : stops[-1]].tobytes() in (bytes([EOF]), bytes([EOF, returning])):
            starts, stops = starts[:-1], stops[:-1]
        numbers = np.arange(self.records + 1, self.records + len(starts) + 1)
        self.records += len(starts)
        returned = (stops > starts) & (block[np.maximum(stops - 1, 0)] == returning)
        lengths = stops - starts - returned
        unended = stops == len(block)
        right = np.isin(lengths, self._allowed)
        for row in [*self.findings.some("record_length", np.flatnonzero(~right & ~unended)),
                    *np.flatnonzero(~right & unended).tolist()]:  # fmt: skip
            self._wrong_length(int(numbers[row]), int(lengths[row]), self._at + int(starts[row]),
                               last=bool(unended[row]))  # fmt: skip
        wrong_end = (returned != (len(self.end) == 2)) & ~unended & right
        if wrong_end.any():
            said, found = ("CRLF", "LF") if len(self.end) == 2 else ("LF", "CRLF")
            for row in self.findings.some("line_end", np.flatnonzero(wrong_end)):
                self.findings.add(
                    Finding("line_end", f"the record ends with {found} where the frame says {said}",
                            "have it sent with one kind of line end, or declare the other frame",
                            record=int(numbers[row]), column=int(lengths[row]) + 1,
                            offset=self._at + int(starts[row] + lengths[row]),
                            byte=f"{int(block[starts[row] + lengths[row]]):02x}")
                )  # fmt: skip
        rows = np.flatnonzero(right)
        if len(rows):
            yield self._padded(block, starts[rows], lengths[rows], numbers[rows])

    def _padded(self, block: Bytes, starts: Ints, lengths: Ints, numbers: Ints) -> Block:
        """Records of several lengths, filled up with blanks to the longest."""
        width = self.layout.longest
        cells = np.full((len(starts), width), self.page.byte(" "), np.uint8)
        for length in np.unique(lengths).tolist():
            which = np.flatnonzero(lengths == length)
            cells[which, :length] = block[starts[which][:, None] + np.arange(length)]
        return self._block(cells, self._at + starts, lengths, numbers)

    def _wrong_length(self, number: int, length: int, at: int, *, last: bool) -> None:
        allowed = " or ".join(map(str, self._allowed))
        cut = last and length < self._allowed[-1]
        self.findings.add(
            Finding(
                "truncated_file" if cut else "record_length",
                f"{length:,} bytes where a record has {allowed}" + (", and there the file ends" if cut else ""),
                AGAIN,
                record=number,
                offset=at,
            )
        )

    # --- RDW

    def _counted(self) -> Iterator[Block]:
        """Records that say themselves how long they are."""
        data, ended, within = b"", False, 0  # within: what is left of a BDW's block
        while True:
            more = b"" if ended else self.source.read(BLOCK)
            ended = ended or not more
            data += more
            starts: list[int] = []
            lengths: list[int] = []
            at = 0
            while at + 4 <= len(data):
                if self.frame == "vb" and within == 0:
                    within = int.from_bytes(data[at : at + 2], "big") - 4
                    if within < 4 or data[at + 2 : at + 4] != b"\0\0":
                        yield from self._descriptor(data, starts, lengths, at, "BDW")
                        return
                    at += 4
                    continue
                length = int.from_bytes(data[at : at + 2], "big")
                if length < 4 or data[at + 2 : at + 4] != b"\0\0" or (self.frame == "vb" and length > within):
                    yield from self._descriptor(data, starts, lengths, at, "RDW")
                    return
                if at + length > len(data):
                    break
                starts.append(at + 4)
                lengths.append(length - 4)
                at += length
                within -= length
            yield from self._of_rdw(data, starts, lengths)
            self._at += at
            data = data[at:]
            if ended:
                if data or within > 0:
                    self._wrong_length(self.records + 1, max(len(data) - 4, 0), self._at, last=True)
                return

    def _of_rdw(self, data: bytes, starts: list[int], lengths: list[int]) -> Iterator[Block]:
        if not starts:
            return
        first, sizes = np.array(starts), np.array(lengths)
        numbers = np.arange(self.records + 1, self.records + len(first) + 1)
        self.records += len(first)
        right = np.isin(sizes, self._allowed)
        for row in self.findings.some("record_length", np.flatnonzero(~right)):
            self._wrong_length(int(numbers[row]), int(sizes[row]), self._at + int(first[row]), last=False)
        if right.any():
            yield self._padded(np.frombuffer(data, np.uint8), first[right], sizes[right], numbers[right])

    def _descriptor(self, data: bytes, starts: list[int], lengths: list[int], at: int, kind: str) -> Iterator[Block]:
        """Where a length makes no sense nothing after it can be found."""
        yield from self._of_rdw(data, starts, lengths)
        self.findings.add(
            Finding("record_descriptor", f"no {kind} here: a length of 4 or more, then two zero bytes; what follows "
                    "cannot be read", "have the file transferred again, binary and with its RDWs",
                    record=self.records + 1, offset=self._at + at, byte=data[at : at + 4].hex(" "))
        )  # fmt: skip
        while self.source.read(BLOCK):
            pass


def _record_at(starts: Ints, before: int, place: int) -> int:
    """The number of the record that a place in a block of lines is in."""
    return before + int(np.searchsorted(starts, place, "right"))
