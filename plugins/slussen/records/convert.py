"""Bytes to bytes, from one encoding to another: by table, in chunks, hashed on both sides beside the work.

What the target lacks is a finding with its line, column and offset, or replaced by a declared table and counted;
never silently. From and to UTF-8 (with or without its byte order mark) likewise.
"""

from __future__ import annotations

import codecs
import threading
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records.codepages import BOM, NOTHING, UNDEFINED, Replacements, codepage
from slussen.records.detect import Sample
from slussen.records.letters import Ints, Points
from slussen.records.parallel import Hash

CHUNK = 15 << 16  # tuning: at a whole megabyte the allocator fetches each chunk anew: half as fast
Chunk = bytes | bytearray
ASK = "ask the sender which encoding the file is in"
REPLACE = "declare a replacement for this endpoint, or have it changed at the source"


NOTED = "slussen.noted"  # an error handler: what cannot be decoded becomes a question mark, and its place is kept
_noted = threading.local()


def _note(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    _noted.places.append((error.start, error.end))
    return "?", error.end


codecs.register_error(NOTED, _note)


class Converted:
    """An iterator of converted chunks; afterwards ``bytes``, ``sha256``, ``source_sha256``, and ``replaced`` by letter.

    ``bytes`` counts what was read, ``written`` what was made of it.
    """

    def __init__(
        self,
        stream: BinaryIO,
        source: str,
        target: str,
        findings: Findings,
        *,
        replacements: Replacements = NOTHING,
        hashed: bool = True,
    ) -> None:
        self.source, self.target, self.findings = codepage(source), codepage(target), findings
        self.bytes = self.written = 0
        self.replaced: Counter[str] = Counter()
        self._stream = stream
        self._replace = replacements.needed(self.target)
        self._hash = Hash() if hashed else None
        self._source_hash = Hash() if hashed else None
        self._sample = Sample(self.source.name)
        self._line, self._line_start = 1, 0
        self._feed = self.source.byte("\n")
        self._wrong: list[tuple[int, int]] = []  # of the chunk in hand: what is no UTF-8
        self._merged = self._no_way_back()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest() if self._hash is not None else ""

    @property
    def source_sha256(self) -> str:
        return self._source_hash.hexdigest() if self._source_hash is not None else ""

    def __iter__(self) -> Iterator[Chunk]:
        wide = self.source.wide or self.target.wide
        if self.target.name == "utf-8-sig":
            yield self._out(BOM)
        for chunk in self._through_text() if wide else self._by_table():
            yield self._out(chunk)
        if (verdict := self._sample.verdict()) is not None:
            self.findings.first(Finding("wrong_encoding", str(verdict), f"{ASK}, and declare it"))

    def _out(self, chunk: Chunk) -> Chunk:
        if self._hash is not None:
            self._hash.update(chunk)
        self.written += len(chunk)
        return chunk

    def _read(self) -> bytes:
        chunk = self._stream.read(CHUNK)
        if self._source_hash is not None:
            self._source_hash.update(chunk)
        self._sample.feed(chunk)
        for byte in self._merged:
            if byte in chunk:  # to count what isn't there takes ten times as long
                self.replaced[f"byte {byte:02x}"] += chunk.count(byte)
        return chunk

    def _no_way_back(self) -> list[int]:
        """Bytes that become another's of the same letter (EBCDIC's 15, a line end as 25 is): counted."""
        letters = self.source.letters
        there = np.flatnonzero(letters != UNDEFINED)
        other = there[self.source.bytes[letters[there]] != there]
        return [b for b in other.tolist() if self.target.wide or letters[b] != self.target.letters[b]]

    # --- one byte for one

    def _by_table(self) -> Iterator[Chunk]:
        table, lost, sentinel = self._table()
        while chunk := self._read():
            # bytearray's translate is twice as fast as bytes'.
            made: Chunk = bytearray(chunk).translate(table)
            if lost and sentinel in made:
                made = self._repaired(chunk, made, lost)
            self._advance(chunk)
            yield made

    def _table(self) -> tuple[bytes, bytes, bytes]:
        """The table, the bytes that have no place in the target, and the one byte that the table makes of them.

        Where one is lost at least one byte of the target is nobody's: it marks them, and one search finds them.
        """
        points = self.source.letters
        mapped = np.where(points == UNDEFINED, UNDEFINED, self.target.bytes[points])
        # Of two bytes with one letter (EBCDIC's line ends) each stays itself where the target has it too.
        mapped = np.where((points != UNDEFINED) & (points == self.target.letters), np.arange(256), mapped)
        lost = np.flatnonzero(mapped == UNDEFINED).astype(np.uint8)
        if not len(lost):
            return mapped.astype(np.uint8).tobytes(), b"", b""
        free = sorted(set(range(256)) - set(mapped[mapped != UNDEFINED].tolist()))
        return (
            np.where(mapped == UNDEFINED, free[-1], mapped).astype(np.uint8).tobytes(),
            lost.tobytes(),
            bytes(free[-1:]),
        )

    def _repaired(self, chunk: bytes, made: bytearray | bytes, lost: bytes) -> bytes:
        """The chunk with what is replaced; what isn't is a finding, and stays as a question mark."""
        data = np.frombuffer(chunk, np.uint8)
        places = np.flatnonzero(np.isin(data, np.frombuffer(lost, np.uint8)))
        pieces, done = [], 0
        for place in places.tolist():
            point = int(self.source.letters[data[place]])
            instead = self._replace.get(chr(point)) if point != UNDEFINED else None
            if instead is not None:
                self.replaced[chr(point)] += 1
            else:
                self._find(chunk, place, point)
                instead = "?"
            pieces += [made[done:place], bytes(self.target.byte(c) for c in instead)]
            done = place + 1
        return b"".join([*pieces, made[done:]])

    # --- by way of text: UTF-8 on one side

    def _through_text(self) -> Iterator[bytes]:
        rest, first = b"", True
        while True:
            chunk = self._read()
            while first and len(chunk) < len(BOM) and (more := self._read()):
                chunk += more
            data = rest + chunk
            if first and data.startswith(BOM) and self.source.wide:
                if self.source.name == "utf-8":
                    self._add("bom", "the file begins with a byte order mark, which utf-8 here has not", 0, "ef", ASK)
                self.bytes += len(BOM)
                self._line_start = len(BOM)
                data = data[len(BOM) :]
            first = False
            text, cut = self._decoded(data, ended=not chunk)
            if cut:
                yield self._encoded(data[:cut], text)
                self._advance(data[:cut])
            rest = data[cut:]
            if not chunk:
                return

    def _decoded(self, data: bytes, *, ended: bool) -> tuple[str, int]:
        """The text, and how many bytes it is of: a letter of UTF-8 that is cut off waits for the next chunk."""
        if not self.source.wide:
            points = self.source.letters[np.frombuffer(data, np.uint8)]
            if (points == UNDEFINED).any():
                for place in self.findings.some("undefined_byte", np.flatnonzero(points == UNDEFINED)):
                    self._find(data, place, UNDEFINED)
                points = np.where(points == UNDEFINED, ord("?"), points)
            return points.astype(np.uint16).tobytes().decode("utf-16-le"), len(data)
        _noted.places = self._wrong = []
        text, cut = codecs.utf_8_decode(data, NOTED, ended)
        for start, _ in self._wrong:
            self._find(data, start, UNDEFINED)
        if "\ufeff" in text:
            self._add("bom", "a byte order mark in the middle of the text", data.find(BOM), "ef", ASK, data)
        return text, cut

    def _encoded(self, data: bytes, text: str) -> bytes:
        if self.target.wide:
            return text.encode("utf-8")
        points, coded = self._coded(text)
        if (lost := coded == UNDEFINED).any():
            replaced = np.isin(points, [ord(letter) for letter in self._replace])
            if (lacking := lost & ~replaced).any():
                self._lacking(data, points, np.flatnonzero(lacking))
            if replaced.any():
                for letter, instead in self._replace.items():
                    if letter in text:
                        self.replaced[letter] += text.count(letter)
                        text = text.replace(letter, instead)
                points, coded = self._coded(text)
            coded = np.where(coded == UNDEFINED, self.target.byte("?"), coded)
        return coded.astype(np.uint8).tobytes()

    def _coded(self, text: str) -> tuple[Points, NDArray[np.uint16]]:
        """A text's letters, and the target's byte for each."""
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        coded = self.target.bytes[np.minimum(points, 0xFFFF)]
        return points, np.where(points > 0xFFFE, np.uint16(UNDEFINED), coded)

    def _lacking(self, data: bytes, points: Points, which: Ints) -> None:
        """Findings for these of the letters, where they stand in the source's own bytes."""
        block = np.frombuffer(data, np.uint8).copy()
        for start, end in self._wrong:  # each has become one letter
            block[start], block[start + 1 : end] = ord("?"), 0x80
        starts = np.flatnonzero((block & 0xC0) != 0x80)
        for k in self.findings.some("unmappable", which):
            self._find(data, int(starts[k]), int(points[k]))

    # --- where

    def _advance(self, chunk: bytes) -> None:
        # (NumPy counts bytes eight times as fast as bytes do.)
        if lines := int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == self._feed)):
            self._line += lines
            self._line_start = self.bytes + chunk.rindex(bytes([self._feed])) + 1
        self.bytes += len(chunk)

    def _find(self, chunk: bytes, place: int, point: int) -> None:
        if self.findings.full:
            self.findings.count("undefined_byte" if point == UNDEFINED else "unmappable", 1)
        elif point == UNDEFINED:
            byte = f"{chunk[place]:02x}"
            self._add("undefined_byte", f"byte {byte} does not exist in {self.source.name}", place, byte, ASK, chunk)
        else:
            byte = chr(point).encode("utf-8").hex(" ") if self.source.wide else f"{chunk[place]:02x}"
            message = f"character U+{point:04X} does not exist in {self.target.name}"
            self._add("unmappable", message, place, byte, REPLACE, chunk)

    def _add(self, rule: str, message: str, place: int, byte: str, step: str, chunk: bytes = b"") -> None:
        feed = bytes([self._feed])
        lines = chunk.count(feed, 0, place)
        start = chunk.rfind(feed, 0, place) + 1 + self.bytes if lines else self._line_start
        self.findings.add(
            Finding(rule, f"line {self._line + lines}: {message}", step, column=self.bytes + place - start + 1,
                    offset=self.bytes + place, byte=byte)
        )  # fmt: skip
