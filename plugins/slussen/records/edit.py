"""Some records of a file left out, or blanked in place; every other byte as it was.

The file is read once: a reader finds where its records are, and of what they say; the same bytes then go on, piece by
piece. In a fixed record what is blanked keeps its length; a delimited one gets shorter. Control totals that are no
longer right are written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slussen.errors import CallError, Findings
from slussen.records import writing
from slussen.records.codepages import codepage
from slussen.records.frames import ENDS
from slussen.records.layout import Layout
from slussen.records.letters import Bools, Ints
from slussen.records.notation import FieldSpec
from slussen.records.parse import Parsed
from slussen.records.structure import Structure, kinds_of

Choose = Callable[[pa.RecordBatch], Bools]


def blanked(batch: pa.RecordBatch, layout: Layout, rows: pa.Array) -> pa.RecordBatch:
    """The batch with what the layout marks ``protected`` emptied, or replaced by its own value, in these rows."""
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        spec = layout.field(field.name)
        if spec is not None and spec.protected is not None:
            value = None if spec.protected == "blank" else spec.protected
            column = pc.if_else(rows, pa.scalar(value, field.type), column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


class Edited:
    """An iterator of the file's pieces, with the records that ``choose`` names left out (``drop``) or blanked.

    Headers and trailers are never chosen. Afterwards: ``records`` that went on, ``totals`` that were written anew, each
    with what it was and what it is.

    Raises:
        CallError: the layout's records can't be told apart in the bytes: tags, RDWs, section lines.
    """

    def __init__(
        self, stream: BinaryIO, layout: Layout, encoding: str, frame: str, findings: Findings, choose: Choose, *,
        drop: bool,
    ) -> None:  # fmt: skip
        if layout.kind == "tagged" or frame not in ENDS or frame in ("rdw", "vb"):
            raise CallError(f"{layout.name}: records of this kind are passed on as they are, or not at all")
        if any(spec.section for spec in layout.records.values()):
            raise CallError(f"{layout.name}: its records are known by the lines between them, and can't be left out")
        self.layout, self.findings, self.choose, self.drop = layout, findings, choose, drop
        self.records = 0
        self.totals: dict[str, tuple[str, str]] = {}
        self._page = codepage(encoding)
        self._tee = _Tee(stream)
        self._parsed = Parsed(cast(BinaryIO, self._tee), layout, encoding, frame, findings, hashed=False)
        self._structure = Structure(layout)
        self._blanks = {
            (kind, f.name): self._filled(f)
            for kind in layout.records
            for f in layout.of(kind)
            if f.protected is not None
        }

    def __iter__(self) -> Iterator[bytes]:
        held: pa.RecordBatch | None = None
        for batch in self._parsed:
            if not batch.num_rows:
                continue
            start = int(batch.column("byte_offset")[0].as_py())
            yield self._piece(held, start) if held is not None else self._tee.take(start)
            held = batch
        yield self._piece(held, None) if held is not None else self._tee.take(None)

    def _piece(self, batch: pa.RecordBatch, end: int | None) -> bytes:
        """The bytes of a batch, up to where the next one begins (None: to the end of the file)."""
        base = self._tee.at
        data = self._tee.take(end)
        starts = np.asarray(batch.column("byte_offset")) - base
        chosen = self.choose(batch)
        if self.layout.header or self.layout.trailer:
            chosen &= np.asarray(pc.is_in(batch.column("record_type"), pa.array(self.layout.data_types, pa.string())))
        changed = self._anew(batch, chosen)
        self.records += batch.num_rows - (int(chosen.sum()) if self.drop else 0)
        if not chosen.any() and not changed:
            return data
        stops = np.append(starts[1:], len(data))
        if self.layout.kind == "fixed" and not self.drop:
            return self._in_place(batch, data, starts, chosen, changed)
        kinds = batch.column("record_type")
        pieces, done = [], 0
        for row in sorted({*np.flatnonzero(chosen).tolist(), *changed}):
            pieces.append(data[done : starts[row]])
            done = int(stops[row])
            if not (self.drop and chosen[row]):
                values = dict(changed.get(row, {}))
                if chosen[row]:
                    values |= {n: v for (kind, n), v in self._blanks.items() if kind == kinds[row].as_py()}
                pieces.append(self._with(data[starts[row] : done], kinds[row].as_py(), values))
        return b"".join([*pieces, data[done:]])

    def _in_place(
        self, batch: pa.RecordBatch, data: bytes, starts: Ints, chosen: Bools, changed: dict[int, dict[str, bytes]]
    ) -> bytes:
        """Fixed records with some fields overwritten."""
        out = np.frombuffer(bytearray(data), np.uint8)
        kinds = batch.column("record_type")
        for (kind, name), value in self._blanks.items():
            f = self.layout.field(name, kind)
            assert f is not None
            first = starts[chosen & np.asarray(pc.fill_null(pc.equal(kinds, kind), False))] + int(f.at) - 1
            out[first[:, None] + np.arange(f.length)] = np.frombuffer(value, np.uint8)
        for row, values in changed.items():
            for name, value in values.items():
                f = self.layout.field(name, kinds[row].as_py())
                assert f is not None
                place = int(starts[row]) + int(f.at) - 1
                out[place : place + f.length] = np.frombuffer(value, np.uint8)
        return out.tobytes()

    def _with(self, record: bytes, kind: str, values: dict[str, bytes]) -> bytes:
        """A record with these values in its fields."""
        if self.layout.kind == "fixed":
            out = bytearray(record)
            for name, value in values.items():
                f = self.layout.field(name, kind)
                assert f is not None
                out[int(f.at) - 1 : int(f.at) - 1 + f.length] = value
            return bytes(out)
        body = record.rstrip(b"\r\n")
        fields = self._split(body)
        for f in self.layout.of(kind):
            if f.name in values:
                fields[int(f.at) - 1] = values[f.name]
        return bytes([self._page.byte(self.layout.file.separator)]).join(fields) + record[len(body) :]

    def _split(self, record: bytes) -> list[bytes]:
        """The fields of a delimited record as they stand, quotes and all."""
        separator = bytes([self._page.byte(self.layout.file.separator)])
        quote = bytes([self._page.byte(self.layout.file.quote)]) if self.layout.file.quote else b""
        fields: list[bytes] = []
        whole = True  # is the last field closed?
        for piece in record.split(separator):
            if whole:
                fields.append(piece)
            else:
                fields[-1] += separator + piece
            whole = not quote or fields[-1].count(quote) % 2 == 0
        return fields

    def _filled(self, f: FieldSpec) -> bytes:
        """What stands in a protected field, in the file's own bytes."""
        value = "" if f.protected in (None, "blank") else str(f.protected)
        if self.layout.kind == "delimited":
            return self._letters(value or self.layout.file.nothing)
        if not value:
            return self._letters(("0" if f.zeros else " ") * f.length)
        return self._letters(value.rjust(f.length, f.pad) if f.right else value.ljust(f.length, f.pad))

    def _letters(self, text: str) -> bytes:
        return text.encode() if self._page.wide else bytes(int(self._page.bytes[ord(c)]) for c in text)

    # --- totals

    def _anew(self, batch: pa.RecordBatch, chosen: Bools) -> dict[int, dict[str, bytes]]:
        """The totals that are no longer right: by row of the batch, the field's new bytes."""
        if not self.layout.file.totals:
            return {}
        stays = ~chosen if self.drop else np.ones(len(chosen), np.bool_)
        kept = batch.filter(pa.array(stays)) if self.drop else blanked(batch, self.layout, pa.array(chosen))
        filled = self._structure.fill(kept, Findings(), kinds_of(kept, self.layout))
        rows = np.flatnonzero(stays)
        found: dict[int, dict[str, bytes]] = {}
        for dotted in self.layout.file.totals:
            kind, _, name = dotted.partition(".")
            f = self.layout.field(name, kind)
            assert f is not None
            for place in np.flatnonzero(
                np.asarray(pc.equal(kept.column("record_type"), kind).fill_null(False))
            ).tolist():
                was, is_ = kept.column(name)[place].as_py(), filled.column(name)[place].as_py()
                if was is not None and was != is_:
                    found.setdefault(int(rows[place]), {})[name] = self._total(f, filled.column(name).slice(place, 1))
                    self.totals[dotted] = (str(was), str(is_))
        return found

    def _total(self, f: FieldSpec, value: pa.Array) -> bytes:
        if self.layout.kind == "delimited":
            return self._letters(str(value[0].as_py()))
        return writing.write((f,), value, self._page, {}).cells[0].tobytes().translate(self._page.back)


class _Tee:
    """A stream that keeps what has been read of it until it is taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._kept = bytearray()
        self.at = 0  # where what is kept begins in the file

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._kept += data
        return data

    def take(self, end: int | None) -> bytes:
        """What was read up to this offset of the file; None: all of it."""
        size = len(self._kept) if end is None else end - self.at
        data = bytes(self._kept[:size])
        del self._kept[:size]
        self.at += size
        return data
