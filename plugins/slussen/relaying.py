"""A relayed file's bytes on their way through: less what its policy for protected persons takes away, then converted.

``pass`` and ``hold`` change nothing, and between two ends of one encoding no byte is looked at. ``mask`` empties fields
in place, ``block`` leaves records out; nothing else changes but the totals that no longer hold. Knows no Airflow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from slussen import persons
from slussen.errors import CallError, Findings

if TYPE_CHECKING:
    import pyarrow as pa

    from slussen.integration import Integration
    from slussen.records.layout import Layout
    from slussen.records.letters import Bools

CHUNK = 1 << 20


class Relayed:
    """An iterator of the outgoing bytes; afterwards ``persons`` (what became of the protected ones), ``records`` (that
    went on; None: all), ``totals`` that were written anew, and ``replaced`` letters.

    ``reopen`` opens the payload from its beginning; ``protected`` are the numbers of those whom the population register
    protects, which ``mask`` and ``block`` can't do without.

    Raises:
        CallError: they are missing, or the policy can't be kept with this layout.
    """

    def __init__(
        self,
        integration: Integration,
        reopen: Callable[[], BinaryIO],
        findings: Findings,
        protected: Iterable[str] | None = None,
    ) -> None:
        self.integration, self.reopen, self.findings = integration, reopen, findings
        self.persons = persons.Counts()
        self.records: int | None = None
        self.totals: dict[str, tuple[str, str]] = {}
        self.replaced: dict[str, int] = {}
        self._taken = integration.persons in ("mask", "block")
        if self._taken and protected is None:
            raise CallError(f"{integration.key}: {integration.persons} needs to know whom the register protects")
        self._protected = protected or ()

    def __iter__(self) -> Iterator[bytes | bytearray]:
        with self.reopen() as payload:
            if not self._taken:
                yield from self._converted(payload)
                return
            yield from self._converted(_stream(self._edited(payload)))

    def _converted(self, stream: BinaryIO) -> Iterator[bytes | bytearray]:
        source, target = self.integration.source, self.integration.target
        if source.encoding == target.encoding:
            while chunk := stream.read(CHUNK):
                yield chunk
            return
        from slussen.records.codepages import replacements
        from slussen.records.convert import Converted

        table = replacements(target.replace)
        converted = Converted(stream, source.encoding, target.encoding, self.findings, replacements=table, hashed=False)
        yield from converted
        self.replaced = dict(converted.replaced)

    def _edited(self, payload: BinaryIO) -> Iterator[bytes]:
        from slussen.records import layout as layouts
        from slussen.records.edit import Edited

        layout, source = layouts.load(self.integration.layout), self.integration.source
        persons.check(layout, self.integration.persons)
        protected = persons.Protected(layout, self._protected)
        self._whom_it_flags(layout, protected)
        drop = self.integration.persons == "block"

        def choose(batch: pa.RecordBatch) -> Bools:
            rows = protected.rows(batch)
            n = int(rows.sum())
            self.persons.add(persons.Counts(protected=n, blocked=n if drop else 0, masked=0 if drop else n))
            return rows

        edited = Edited(payload, layout, source.encoding, source.frame, self.findings, choose, drop=drop)
        yield from edited
        self.records, self.totals = edited.records, edited.totals

    def _whom_it_flags(self, layout: Layout, protected: persons.Protected) -> None:
        """A person whom one record flags is protected in all of them: the file is read once before."""
        if not layout.flag_fields:
            return
        from slussen.records.parse import Parsed

        with self.reopen() as payload:
            source = self.integration.source
            for batch in Parsed(payload, layout, source.encoding, source.frame, Findings(), hashed=False):
                protected.see(batch)


class _Chunks(io.RawIOBase):
    """Chunks as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n


def _stream(chunks: Iterator[bytes]) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Chunks(chunks), CHUNK))
