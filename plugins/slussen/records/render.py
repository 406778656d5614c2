"""Arrow batches to files: records of fixed length, delimited or tagged, whole columns at a time.

What does not fit is found, located and refused; nothing is cut unless the layout says ``truncate``, and then counted;
nothing is replaced unless a table is declared, and then counted. Control totals are computed, and a trailer that the
batches don't have is added. A column ``raw`` (hex) stands for whole records as they were read; a total in one of them
must hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from slussen.errors import Finding, Findings
from slussen.records.codepages import BOM, NOTHING, Replacements, codepage
from slussen.records.frames import check
from slussen.records.kept import as_kept
from slussen.records.layout import Layout
from slussen.records.lines import spoken
from slussen.records.parallel import Hash, ordered
from slussen.records.structure import Structure, kinds_of
from slussen.records.writers import RAW, Target, Task, Writer, astray, kept_in
from slussen.records.writing import SOURCE


class Rendered:
    """An iterator of byte blocks, a block a batch; afterwards ``records``, ``bytes``, ``sha256`` and ``totals``.

    ``totals`` counts records by type (``records.H``), values that were cut (``truncated.adress``) and letters that were
    replaced (``replaced.namn``).
    """

    def __init__(
        self,
        batches: Iterable[pa.RecordBatch],
        layout: Layout,
        encoding: str,
        frame: str,
        findings: Findings,
        *,
        replacements: Replacements = NOTHING,
        hashed: bool = True,
    ) -> None:
        self.layout, self.findings, self.frame = layout, findings, frame or "fixed"
        if layout.kind == "fixed":
            check(layout, self.frame)
        self.page = codepage(encoding) if layout.kind == "fixed" else spoken(layout, encoding)
        self.records = self.bytes = 0
        self.structure = Structure(layout)
        self._counts: Counter[str] = Counter()
        self._batches = batches
        self._hash = Hash() if hashed else None
        self._writer = _writer(Target(layout, self.page, self.frame, replacements.needed(self.page), findings.limit))

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest() if self._hash is not None else ""

    @property
    def totals(self) -> dict[str, int]:
        return {**self.structure.totals, **self._counts}

    def __iter__(self) -> Iterator[bytes]:
        before = len(self.findings.kept)
        if self.page.name == "utf-8-sig":
            yield self._out(BOM)
        if start := self._writer.start():
            yield self._out(start)
        # Fixed records are written side by side; the others depend on what came before.
        run = ordered if self.layout.kind == "fixed" and self.frame != "vb" else map
        for done in run(self._writer.write, self._tasks()):
            self.findings.merge(done.findings)
            self._counts += done.counts
            yield self._out(done.data)
        if end := self._writer.end():
            yield self._out(end)
        # They were found field by field: they are told record by record.
        mine = self.findings.kept[before:]
        self.findings.kept[before:] = sorted(mine, key=lambda f: (f.record or 0, f.column or 0))

    def _out(self, data: bytes) -> bytes:
        if self._hash is not None:
            self._hash.update(data)
        self.bytes += len(data)
        return data

    def _tasks(self) -> Iterator[Task]:
        for batch in self._batches:
            if (task := self._task(batch)).batch.num_rows:
                yield task
        if self.structure.needs_trailer and (self.records or self.layout.file.may_be_empty):
            yield self._task(self.structure.trailer())

    def _task(self, batch: pa.RecordBatch) -> Task:
        kinds = kinds_of(batch, self.layout)
        if (unknown := kinds < 0).any():
            for row in self.findings.some("record_type", np.flatnonzero(unknown)):
                self.findings.add(
                    Finding("record_type", "a record of no type that the layout has", SOURCE,
                            record=self.records + row + 1, column=1)
                )  # fmt: skip
            batch, kinds = batch.take(pa.array(np.flatnonzero(~unknown))), kinds[~unknown]
        first = self.records
        if RAW in batch.schema.names:
            batch = as_kept(batch, kinds, self.layout, self.page, self.frame, self.findings, first)
        for f, rows in astray(batch, kinds, self.layout):
            for row in self.findings.some("no_field", rows):
                kind = batch.column("record_type")[row].as_py()
                message = f"a value in a field that a record {kind} doesn't have"
                self.findings.add(
                    Finding("no_field", message, SOURCE, record=first + row + 1, record_type=kind, field=f.name)
                )
        batch = self.structure.fill(batch, self.findings, kinds, kept_in(batch))
        self.records += batch.num_rows
        return Task(batch, kinds, first)


def _writer(target: Target) -> Writer:
    if target.layout.kind == "fixed":
        from slussen.records.writers_fixed import FixedWriter

        return FixedWriter(target)
    from slussen.records.writers_ragged import DelimitedWriter, TaggedWriter

    return DelimitedWriter(target) if target.layout.kind == "delimited" else TaggedWriter(target)
