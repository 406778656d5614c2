"""Files to Arrow batches: one door for both kinds of layout.

An iterator of batches with the layout's schema; when it has ended, ``records``, ``bytes``, ``sha256``, ``totals``
(control totals, counted and declared) and ``header`` (what the file says of itself). What cannot be read is null in
its batch and a located finding; all of a file's findings are found in one pass, up to the limit of ``findings``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

import pyarrow as pa

from slussen.errors import Findings
from slussen.records.fixed import FixedReader
from slussen.records.layout import Layout
from slussen.records.source import Source
from slussen.records.tagged import TaggedReader


class Reader(Protocol):
    """What reads one kind of layout."""

    records: int
    totals: dict[str, int]
    header: dict[str, str]

    def batches(self) -> Iterator[pa.RecordBatch]: ...


class Parsed:
    """The batches of a file, by its layout, in this encoding and frame (``lf``, ``crlf``, ``fixed``)."""

    def __init__(self, stream: BinaryIO, layout: Layout, encoding: str, frame: str, findings: Findings) -> None:
        self._source = Source(stream)
        kind = FixedReader if layout.kind == "fixed" else TaggedReader
        self._reader: Reader = kind(self._source, layout, encoding, frame, findings)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._reader.batches()

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
