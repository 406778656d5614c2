"""Files to Arrow batches: one door for all kinds of layout.

An iterator of batches with the layout's schema; when it has ended, ``records``, ``bytes``, ``sha256``, ``totals``
(records by type, control totals) and ``header`` (what the file says of itself). What cannot be read is null in
its batch and a located finding; all of a file's findings are found in one pass, up to the limit of ``findings``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa

from slussen.errors import CallError, Finding, Findings
from slussen.records.frames import ENDS
from slussen.records.layout import Layout
from slussen.records.letters import Bools
from slussen.records.source import Source


class Reader(Protocol):
    """What reads one kind of layout."""

    header: dict[str, str]

    @property
    def records(self) -> int: ...

    @property
    def totals(self) -> dict[str, int]: ...

    def batches(self) -> Iterator[pa.RecordBatch]: ...


class Parsed:
    """The batches of a file, by its layout, in this encoding and frame (``frames.ENDS``).

    Raises:
        CallError: the layout's records cannot be in this frame or encoding, or it is of an archive (``zipped``).
    """

    def __init__(
        self, stream: BinaryIO, layout: Layout, encoding: str, frame: str, findings: Findings, *,
        hashed: bool = True, in_order: bool = False,
    ) -> None:  # fmt: skip
        self._source = Source(stream, encoding, hashed=hashed, numbers=_numbers(layout, frame or "fixed"),
                              signs=_signs(layout))  # fmt: skip
        self._findings, self._layout = findings, layout
        self._reader = _reader(self._source, layout, encoding, frame, findings)
        self._in_order = in_order and layout.kind == "tagged"

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        before = len(self._findings.kept)
        yield from _in_order(self._reader.batches(), self._layout) if self._in_order else self._reader.batches()
        # They were found record by record, type by type, total by total: they are told in the file's order.
        mine = self._findings.kept[before:]
        self._findings.kept[before:] = sorted(mine, key=lambda f: -1 if f.offset is None else f.offset)
        verdict = self._source.sample.verdict()
        if verdict is not None:
            self._findings.first(
                Finding("wrong_encoding", str(verdict), "ask the sender which encoding the file is in, and declare it")
            )

    @property
    def records(self) -> int:
        return self._reader.records

    @property
    def totals(self) -> dict[str, int]:
        return self._reader.totals

    @property
    def header(self) -> dict[str, str]:
        return self._reader.header

    @property
    def bytes(self) -> int:
        return self._source.bytes

    @property
    def sha256(self) -> str:
        return self._source.sha256


def _numbers(layout: Layout, frame: str) -> Bools | None:
    """Which places of a record have bytes that are no letters: packed, binary, or a digit with its sign."""
    if layout.kind != "fixed" or layout.varies or frame not in ("fixed", "lf", "crlf"):
        return None
    places = np.zeros(layout.longest + len(ENDS[frame]), np.bool_)
    for f in layout.fields:
        first, last = int(f.at) - 1, int(f.at) - 1 + f.length
        if f.usage != "display" or f.sign in ("overpunched", "zoned"):
            places[first if f.usage != "display" else last - 1 : last] = True
    return places if places.any() else None


def _signs(layout: Layout) -> str:
    """What stands between values and around them."""
    return "".join(s for s in (layout.file.separator, layout.file.quote) if s and s.isprintable() and s.isascii())


def _in_order(batches: Iterator[pa.RecordBatch], layout: Layout) -> Iterator[pa.RecordBatch]:
    """A tagged file's rows as they stand in it: its reader gives a batch for each record type of a block."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        kind = batch.column("record_type")[0].as_py() if batch.num_rows else ""
        if waiting and kind in (layout.counted, layout.trailer):
            yield _sorted(waiting)
            waiting = []
        waiting.append(batch)
    if waiting:
        yield _sorted(waiting)


def _sorted(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).combine_chunks().sort_by("byte_offset")
    return table.combine_chunks().to_batches()[0] if table.num_rows else batches[0]


def _reader(source: Source, layout: Layout, encoding: str, frame: str, findings: Findings) -> Reader:
    if layout.kind == "fixed":
        from slussen.records.fixed import FixedReader

        return FixedReader(source, layout, encoding, frame, findings)
    if layout.kind == "tagged":
        from slussen.records.tagged import TaggedReader

        return TaggedReader(source, layout, encoding, frame, findings)
    if layout.kind == "zip":
        raise CallError(f"{layout.name} is a zip archive, no file of records: look at its members")
    from slussen.records.delimited import DelimitedReader

    return DelimitedReader(source, layout, encoding, frame, findings)
