"""A zip archive as rows: its directory, a row a member, and every personal number that is found inside.

What is passed on is the archive itself, unchanged; the rows are for the gate: who is in it, and is anybody protected.
Nothing is unpacked; every member is streamed once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from slussen import zips
from slussen.errors import Finding
from slussen.records import identities
from slussen.records.xml_text import XmlText

if TYPE_CHECKING:
    import pyarrow as pa

    from slussen.errors import Findings
    from slussen.records.layout import Layout

MEMBER, PERSON = "member", "person"
# Ten or twelve characters with or without a sign or a blank between, as people and systems write them; not within more
# digits.
NUMBER = re.compile(
    rb"(?<![0-9])((?:1[89]|2[01])?[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01]|[6-8][0-9]|9[01]))"
    rb"[-+ ]?([0-9JKLMNRSTUWX][0-9]{3})(?![0-9])"
)
LONGEST = 13  # bytes of a number
CENTURIES = (b"18", b"19", b"20")
BATCH = 20_000  # tuning: rows


class Numbers:
    """Looks for personal numbers in what goes by: in ASCII, in UTF-16 (whose other bytes are zeros), across chunks.

    A number without its century may be of any: all that are right are found.
    """

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self._rest, self._cut = b"", False

    def __call__(self, chunk: bytes) -> None:
        self._search(self._rest + chunk.replace(b"\0", b""), last=False)

    def end(self) -> None:
        """Nothing more comes: what was cut by the end counts."""
        self._search(self._rest, last=True)

    def _search(self, data: bytes, *, last: bool) -> None:
        # What touches the end may go on in the next chunk, and one byte before it is what it must not follow.
        limit = len(data) if last else max(0, len(data) - LONGEST - 1)
        candidates: list[bytes] = []
        for match in NUMBER.finditer(data):
            if match.start() >= limit:
                break
            if self._cut and match.start() == 0:  # seen before, with the byte before it
                continue
            date, serial = match.groups()
            candidates += [date + serial] if len(date) == 8 else [c + date + serial for c in CENTURIES]
        self._rest, self._cut = data[max(0, limit - 1) :], self._cut or limit > 1
        if candidates:
            numbers = np.frombuffer(b"".join(candidates), np.uint8).reshape(len(candidates), 12)
            right = identities.valid(numbers)
            self.found.update(dict.fromkeys(c.decode() for c, ok in zip(candidates, right, strict=True) if ok))


class Searched:
    """A member that goes by: every personal number in its name, in its bytes, and in what an XML reader reads in it."""

    def __init__(self, name: str) -> None:
        self._plain, self._text, self._aside = Numbers(), Numbers(), Numbers()
        self._plain(name.encode("utf-8", "surrogateescape") + b"\n")
        self._xml = XmlText(name, self._text, self._aside)
        self.wrong = ""

    def __call__(self, chunk: bytes) -> None:
        self._plain(chunk)
        self._xml(chunk)

    def end(self) -> dict[str, None]:
        """Nothing more comes: the numbers that were found. ``wrong`` is why it couldn't be read as XML."""
        self.wrong = self._xml.end()
        for numbers in (self._plain, self._text, self._aside):
            numbers.end()
        return self._plain.found | self._text.found | self._aside.found


class Zipped:
    """The batches of an archive, as ``Parsed`` has them of a file. ``records`` are its members."""

    def __init__(self, stream: BinaryIO, layout: Layout, findings: Findings) -> None:
        self._stream, self._layout, self._findings = stream, layout, findings
        self.header: dict[str, str] = {}
        self._counts = {MEMBER: 0, PERSON: 0}

    @property
    def records(self) -> int:
        return self._counts[MEMBER]

    @property
    def totals(self) -> dict[str, int]:
        return {"records": self.records} | {f"records.{kind}": n for kind, n in self._counts.items() if n}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        searched = Searched("")

        def watch(number: int, name: str) -> Searched:
            nonlocal searched
            searched = Searched(name)
            return searched

        row = 0
        for member in zips.members(self._stream, self._findings, watch):
            found = searched.end()
            if searched.wrong:
                self._findings.add(
                    Finding("no_xml", searched.wrong, "ask the sender for plain XML: the gate must be able to read it",
                            record=member.number, record_type="member", offset=member.offset)
                )  # fmt: skip
            rows: list[tuple[str, str | None]] = [(MEMBER, None), *((PERSON, n) for n in found)]
            for first in range(0, len(rows), BATCH):
                piece = rows[first : first + BATCH]
                yield self._batch(member, piece, row)
                row += len(piece)

    def _batch(self, member: zips.Member, rows: list[tuple[str, str | None]], before: int) -> pa.RecordBatch:
        import pyarrow as pa

        n = len(rows)
        kinds = [kind for kind, _ in rows]
        for kind in (MEMBER, PERSON):
            self._counts[kind] += kinds.count(kind)
        columns = {
            "record_no": range(before + 1, before + n + 1),
            "byte_offset": [member.offset] * n,
            "record_type": kinds,
            "member": [member.number] * n,
            "name": [member.name if kind == MEMBER else None for kind in kinds],
            "bytes": [member.bytes if kind == MEMBER else None for kind in kinds],
            "sha256": [member.sha256 if kind == MEMBER else None for kind in kinds],
            "number": [number for _, number in rows],
        }
        schema = self._layout.schema
        return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in schema], schema=schema)
