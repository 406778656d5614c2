"""Tagged files (Navet's) to Arrow batches.

A file is a head (``#INFO_START`` … ``#DATA_START``), data, and a tail (``#DATA_SLUT`` … ``#FIL_SLUT``). Data are posts
of ``#UP`` lines with groups in them, or single lines (``#PNR``). They are cut into blocks after a whole post
(``posts``), so that memory doesn't grow with the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.errors import Finding, Findings
from slussen.records.codepages import BOM
from slussen.records.detect import SWEDISH
from slussen.records.fixed import header_of
from slussen.records.layout import Layout
from slussen.records.lines import MARKED, ONE_KIND, crlf, ended, lines_of, marks, odd_ends, spoken
from slussen.records.parallel import ordered
from slussen.records.posts import Posts, Read, Terms, word
from slussen.records.ragged import AGAIN, Located, Pieces
from slussen.records.source import CHUNK, Source
from slussen.records.structure import Structure

KEYWORD = frozenset("#_-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") | SWEDISH
LONGEST_POST = 4 << 20  # bytes: a post that hasn't ended by then never will


class TaggedReader:
    """Reads a file of tagged lines, ended by LF or CRLF whatever the frame says."""

    def __init__(self, source: Source, layout: Layout, encoding: str, frame: str, findings: Findings) -> None:
        self.source, self.layout, self.findings = source, layout, findings
        self.page = spoken(layout, encoding)
        self.records = 0
        self.structure = Structure(layout)
        self.unknown = 0
        self.declared: int | None = None
        self.header: dict[str, str] = {}
        self.main = layout.records[layout.counted]
        self._at = 0  # offset of the data in hand
        self._crlf = False  # does the file's first line end so?
        self.terms = Terms(layout, self.page)
        self._keywords = [str(f.at) for f in layout.fields if str(f.at).startswith("#")]
        self._begins, self._ends = (self._bytes(w) for w in layout.file.data)

    @property
    def totals(self) -> dict[str, int]:
        found = dict(self.structure.totals) | {"records": self.records}
        if self.declared is not None:
            found["declared"] = self.declared
        return found | ({"unknown": self.unknown} if self.unknown else {})

    def _bytes(self, text: str) -> bytes:
        return word(self.page, text)

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self._nothing():
            return
        yield from self._head()
        for done in ordered(self._read, self._blocks()):
            yield from self._take(done)
        yield from self._tail()
        if not self.findings and self.records == 0 and not self.layout.file.may_be_empty:
            self._find("empty_file", "the file has no records", "ask the sender whether that is right", offset=0)

    def _nothing(self) -> bool:
        """Is the file empty? Then nothing else is wrong with it."""
        self._data = self.source.read()
        if not self._data and not self.layout.file.may_be_empty:
            self._find("empty_file", "the file is empty", "ask the sender whether that is right", offset=0)
        return not self._data

    def _take(self, done: Read) -> Iterator[pa.RecordBatch]:
        """A block's batches, with the numbers that its records have in the file."""
        # What stands before the file's first post is told as that one's.
        self.findings.merge(
            done.findings,
            lambda f: f if f.record is None else replace(f, record=max(f.record + self.records, 1)),
        )
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
        data = self._data
        while (
            _line_of(data, self._begins, whole=False) < 0 and len(data) < LONGEST_POST and (more := self.source.read())
        ):
            data += more
        start = _line_of(data, self._begins)
        self._crlf = crlf(data)
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
        begins = len(BOM) if data.startswith(BOM) else 0
        yield from self._outer(data[begins:start], self.layout.header, begins)
        self._everywhere(data[begins:after], begins)
        self._at = after

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        data, more = self._data, self.source.read()
        while True:
            end = _line_of(data, self._ends, whole=not more)
            cut = end if end >= 0 else self._cut(data)
            if cut:
                yield data[:cut], self._at
                self._at += cut
                data = data[cut:]
            if end >= 0:
                data += more
                break
            if not more or len(data) > LONGEST_POST + CHUNK:
                message, at = f"the file ends without {self.layout.file.data[1]}", -1
                if more:
                    message, at = f"a post of more than {LONGEST_POST:,} bytes: what follows is not read", self._at
                if data.strip():
                    yield data, self._at
                    self._at += len(data)
                    data = b""
                while more:
                    more = self.source.read()
                self._late = (message, at if at >= 0 else self.source.bytes)
                break
            data += more
            more = self.source.read()
        self._data = data

    _late: tuple[str, int] | None = None  # why the data have no end, and where that shows

    def _cut(self, data: bytes) -> int:
        """Where the last whole post ends."""
        closes = self._bytes(self.main.closes)
        if not closes:
            return data.rfind(b"\n") + 1
        last = data.rfind(b"\n" + closes, 0, data.rfind(b"\n"))
        while last >= 0:
            end = data.find(b"\n", last + 1)
            if not data[last + 1 + len(closes) : end].strip():
                return end + 1
            last = data.rfind(b"\n" + closes, 0, last)
        return 0

    def _tail(self) -> Iterator[pa.RecordBatch]:
        """Everything after the data."""
        data = self._data
        while more := self.source.read():
            data += more
            data = data[: LONGEST_POST + CHUNK]
        data = self._whole(data)
        self._everywhere(data, self._at)
        if self._late is not None:
            message, at = self._late
            self._find("truncated_file", message, "have it sent again", offset=at)
        trailer = self.layout.trailer
        found = list(self._outer(data, trailer, self._at))
        totals = [f for f in self.layout.of(trailer) if f"{trailer}.{f.name}" in self.layout.file.totals]
        for f in totals:
            value = found[0].column(f.name)[0].as_py() if found else None
            if value is None:
                self._find("record_count", f"the file doesn't say how many posts it has ({f.at})", AGAIN,
                           offset=self._at)  # fmt: skip
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
        self._examine(data[after:], self._at + after, ())
        return data[:after]

    def _examine(self, data: bytes, at: int, words: tuple[str, ...]) -> None:
        """Lines outside the data: those of these words, once; unknown ones are counted, others don't belong there."""
        layout, here = self.layout, [self._bytes(w) for w in words if w]
        file = (*layout.file.data, layout.file.end, layout.file.prefix.strip())
        known = [w for spec in layout.records.values() for w in (spec.opens, spec.closes, spec.line)]
        elsewhere = {self._bytes(w) for w in (*file, *known) if w.startswith("#")} - set(here)
        seen: set[bytes] = set()
        starts, ends = lines_of(data)
        there = ends > starts
        for start, stop in zip(starts[there].tolist(), ends[there].tolist(), strict=True):
            first = data[start:stop].split(b" ", 1)[0].strip(b"\t\0\x1a")
            if first in here and first not in seen:
                seen.add(first)
            elif first in here:
                self._find("twice", "a line that stands there twice", AGAIN, column=1, offset=at + start)
            elif first in elsewhere:
                message = "a line that doesn't belong here: is a part lost, or did two files run together?"
                self._find("unexpected_line", message, "have it sent again, whole", column=1, offset=at + start)
                return
            elif first.startswith(self._bytes("#")):
                self._stranger(first, at + start)
            elif first:
                self._find("unexpected_line", "a line that the format doesn't have", AGAIN, column=1, offset=at + start)

    def _stranger(self, word: bytes, at: int) -> None:
        """A keyword that the layout doesn't have is counted, unless letters of it are lost: it may be one of ours."""
        text = word.decode("utf-8", "replace") if self.page.wide else "".join(map(chr, self.page.letters[[*word]]))
        ours = [k for k in self._keywords if _bare(k) == _bare(text)]
        if not ours and all(c in KEYWORD for c in text):
            self.unknown += 1
            return
        known = f"{ours[0]} but for its letters beyond A to Z" if ours else "a keyword with characters that none has"
        step = "ask the sender which encoding the file is in, and declare it"
        self._find("keyword", f"{known}: it is not read", step, column=1, offset=at)

    def _outer(self, data: bytes, kind: str, at: int) -> Iterator[pa.RecordBatch]:
        """Head or tail: a few keyword lines, one record."""
        if not kind:
            return
        if self._bytes(self.layout.records[kind].opens) not in data:
            if kind == self.layout.header:
                word = self.layout.records[kind].opens
                self._find(
                    "missing_header", f"the file begins without its {word}", "have it sent again, whole", offset=at
                )
                self.structure.records += 1  # so that it doesn't miss it again
            return
        spec, file = self.layout.records[kind], self.layout.file
        starts, ends = lines_of(data)
        if _begins_line(data, self._bytes(spec.closes)) < 0:
            self._find("truncated_file", f"no {spec.closes}: a part is lost", "have it sent again, whole",
                       offset=at + len(data))  # fmt: skip
        number = self.records + (1 if kind == self.layout.trailer else 0)
        values, which = [], []
        fields = [f for f in self.layout.of(kind) if f.staged]
        for f in fields:
            key = self._bytes(str(f.at)) + b" "
            begin = _begins_line(data, key)
            line = int(np.searchsorted(starts, begin)) if begin >= 0 else -1
            values.append(int(starts[line]) + len(key) if line != -1 else 0)
            which.append(line)
        order = np.argsort([ends[w] if w != -1 else 0 for w in which], kind="stable")
        there = [k for k in order.tolist() if which[k] != -1]
        pieces = Pieces(data, self.page, np.array([values[k] for k in there], np.int64),
                        np.array([ends[which[k]] for k in there], np.int64))  # fmt: skip
        located = Located(pieces, at, self.findings)
        columns: dict[str, pa.Array] = {}
        for k, f in enumerate(fields):
            place = np.array([there.index(k)] if k in there else [-1])
            line_start = np.array([starts[which[k]] if k in there else 0])
            columns[f.name] = located.column(f, kind, place, np.array([number]), line_start.__getitem__)
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
        own = (file.data[1], file.end) if kind == self.layout.trailer else ()
        self._examine(data, at, (spec.opens, spec.closes, *own, *(str(f.at) for f in fields)))
        yield batch

    # --- a block of posts

    def _read(self, block: tuple[bytes, int]) -> Read:
        data, at = block
        return Posts(self.layout, self.page, self.terms, data, at, self.findings.limit, crlf=self._crlf).read()

    def _everywhere(self, data: bytes, at: int) -> None:
        """Other line ends than the file's first, and byte order marks, in its head or tail."""
        starts, ends = lines_of(data)
        for line in self.findings.some("line_end", odd_ends(data, starts, ends, crlf=self._crlf)):
            end = int(ends[line])
            self._find("line_end", ended(crlf=self._crlf), ONE_KIND, column=end - int(starts[line]) + 1,
                       offset=at + end, byte=f"{data[end]:02x}")  # fmt: skip
        for place in self.findings.some("bom", marks(data, self.page)):
            column = place - int(starts[np.searchsorted(starts, place, "right") - 1]) + 1
            self._find("bom", MARKED, AGAIN, column=column, length=3, offset=at + place, byte="ef")

    def _find(self, rule: str, message: str, next_step: str, **where: object) -> None:
        if self.findings.full:
            self.findings.count(rule, 1)
        else:
            self.findings.add(Finding(rule, message, next_step, **where))  # type: ignore[arg-type]


def _bare(keyword: str) -> str:
    """A keyword without the letters in which encodings differ."""
    return re.sub(r"[^#_\-0-9A-Za-z]+", "?", keyword)


def _begins_line(data: bytes, word: bytes) -> int:
    """Where the first line begins that begins so; -1 when there is none."""
    return 0 if data.startswith(word) else data.find(b"\n" + word) + 1 or -1


def _line_of(data: bytes, word: bytes, *, whole: bool = True) -> int:
    """Where the first line begins that is known by this word; -1 when there is none. Within a value it is none.

    Of what isn't the ``whole`` of a file the last line may go on.
    """
    data = data if whole else data[: data.rfind(b"\n") + 1]
    first = len(BOM) if data.startswith(BOM) else 0
    if data.startswith(word, first) and _ends_there(data, first + len(word)):
        return first
    at = data.find(b"\n" + word)
    while at >= 0 and not _ends_there(data, at + 1 + len(word)):
        at = data.find(b"\n" + word, at + 1)
    return at + 1 if at >= 0 else -1


def _ends_there(data: bytes, at: int) -> bool:
    return data[at : at + 1] in (b"", b"\n", b"\r", b" ", b"\t")
