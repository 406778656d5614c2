"""By what a record's type is known: the values of its fields (``when``), as these fields are written.

The reader tells record types by them; the writer looks whether what it wrote will be told the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from slussen.errors import CallError
from slussen.records import writing
from slussen.records.codepages import Codepage
from slussen.records.columns import Fault
from slussen.records.layout import Layout
from slussen.records.letters import Bytes, Ints
from slussen.records.notation import FieldSpec

BLANK = ord(" ")


def text_of(f: FieldSpec, value: str) -> str:
    """The value in a field of any length."""
    if f.type != "integer":
        return value
    written, *_ = writing.as_text(f, pa.array([int(value)], pa.int64()), {})
    return str(written[0])


def bytes_of(f: FieldSpec, value: str, page: Codepage) -> bytes:
    """The value in a field of fixed records, in plain bytes.

    Raises:
        CallError: the encoding lacks a letter of it, or needs more bytes than the field has.
    """
    spelled = page.spelled(value)
    if len(spelled) > f.length:
        raise CallError(f"{f.name} has no room for {value!r} in {page.name}: widen it, or declare another encoding")
    if f.type == "const":
        return spelled.ljust(f.length)
    column = pa.array([int(value)], pa.int64()) if f.type == "integer" else pa.array([value], pa.string())
    return bytes(writing.write((f,), column, page, {}).cells[0][0])


class Known:
    """Tells fixed records' types by their bytes."""

    def __init__(self, layout: Layout, page: Codepage) -> None:
        self._marks = [
            [
                (f, None if value == "*" else np.frombuffer(bytes_of(f, value, page), np.uint8))
                for f, value in marks_of(layout, name)
            ]
            for name in layout.records
        ]
        self.places = [f for marks in self._marks for f, _ in marks]  # the fields that are looked at

    def kinds(self, plain: Bytes) -> Ints:
        """Each record's type by number, -1 for none; of plain bytes ``(n, longest)``."""
        kinds = np.full(len(plain), -1, np.int64)
        for number, marks in enumerate(self._marks):
            match = kinds < 0
            for f, wanted in marks:
                there = plain[:, int(f.at) - 1 : int(f.at) - 1 + f.length]
                match &= (there != BLANK).any(axis=1) if wanted is None else (there == wanted).all(axis=1)
            kinds[match] = number
        return kinds


def marks_of(layout: Layout, record_type: str) -> list[tuple[FieldSpec, str]]:
    """The fields by which records of this type are known, and their values."""
    found = [(layout.field(name, record_type), value) for name, value in layout.records[record_type].when.items()]
    return [(f, value) for f, value in found if f is not None]


def otherwise(layout: Layout, meant: Ints, read: Ints) -> Iterator[tuple[FieldSpec, Fault]]:
    """A fault for rows of one type that will be read as another, or as none."""
    names = list(layout.records)
    for kind, other in np.unique(np.stack([meant, read])[:, meant != read], axis=1).T.tolist():
        marks = marks_of(layout, names[kind]) or marks_of(layout, names[other])
        what = f"a record {names[other]}" if other >= 0 else "of no type"
        message = f"as its fields say, the record would be read as {what}"
        yield marks[0][0], Fault("record_type", message, np.flatnonzero((meant == kind) & (read == other)))
