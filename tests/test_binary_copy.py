"""Rows for PostgreSQL's binary COPY, read again: its layout as the documentation has it, its values by psycopg."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.pq import Format

from slussen.records.binary_copy import HEADER, TRAILER, encode
from tests.staging import ROW, batch

TYPES = {"int64": "int8", "string": "text", "bool": "bool", "time32[s]": "time", "timestamp[s]": "timestamp"}


def loaded(data: bytes, kind: pa.DataType) -> Any:
    """A value, as psycopg reads it."""
    name = "numeric" if pa.types.is_decimal(kind) else "date" if pa.types.is_date(kind) else TYPES[str(kind)]
    oid = psycopg.adapters.types[name].oid
    loader = psycopg.adapters.get_loader(oid, Format.BINARY)
    assert loader is not None
    return loader(oid).load(data)


def read(data: bytes, schema: pa.Schema) -> list[tuple[Any, ...]]:
    """The rows of a file of PostgreSQL's binary COPY format, value by value."""
    stream = io.BytesIO(data)

    def number(size: int) -> int:
        return int.from_bytes(stream.read(size), "big", signed=True)

    assert stream.read(11) == b"PGCOPY\n\xff\r\n\0"
    assert (number(4), number(4)) == (0, 0), "flags, and the length of what more the header has"
    rows = []
    while (count := number(2)) != -1:
        assert count == len(schema)
        sizes_and_values = ((f.type, number(4)) for f in schema)
        rows.append(tuple(None if size == -1 else loaded(stream.read(size), kind) for kind, size in sizes_and_values))
    assert not stream.read()
    return rows


def written(rows: pa.RecordBatch) -> list[tuple[Any, ...]]:
    return read(b"".join((HEADER, encode(rows), TRAILER)), rows.schema)


def wanted(rows: pa.RecordBatch) -> list[tuple[Any, ...]]:
    return list(zip(*(c.to_pylist() for c in rows.columns), strict=True))


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=9), st.booleans())
def test_rows_of_every_type_are_what_postgresql_reads(rows: list[tuple[Any, ...]], sliced: bool) -> None:
    # A slice has an offset into its buffers: the encoder must mind it.
    made = batch([rows[0], *rows]).slice(1) if sliced else batch(rows)
    assert written(made) == rows


@pytest.mark.parametrize("scale", range(10))
def test_a_number_has_its_sign_and_every_digit_at_any_scale_that_a_layout_may_have(scale: int) -> None:
    whole = [0, 1, -1, 9, 9999, 10_000, -10_001, 99_999_999, 10**8, 10**17, -(10**18) + 1, 10**18 - 1, None]
    column = pa.array([None if n is None else Decimal(n).scaleb(-scale) for n in whole], pa.decimal128(18, scale))
    rows = pa.RecordBatch.from_arrays([column, column], ["a", "b"])
    assert written(rows) == wanted(rows)
    assert {-v.as_tuple().exponent for row in written(rows) for v in row if v is not None} == {scale}


@pytest.mark.parametrize(
    "texts",
    [
        ["åäö", "abc", "x\ny"],
        ["", "", ""],
        ["ab", "cd", None],
        [None, None, None],
        ["", None, "x"],
        ["abcd", "ab", ""],
        ["abcd", "ab", "abcdef"],
        ["å", "ab", "cd"],
    ],
)
def test_text_of_one_length_or_of_many_and_none_at_all_is_staged_alike(texts: list[str | None]) -> None:
    text, number = pa.array(texts, pa.string()), pa.array([1, None, 3])
    for columns in ([text], [text, text], [number, text], [text, number], [number, text, number, text, text, number]):
        rows = pa.RecordBatch.from_arrays(columns, [f"c{k}" for k in range(len(columns))])
        assert written(rows) == wanted(rows)


def test_bytes_behind_a_null_are_not_staged() -> None:
    text = pa.array(["abc", "ö", "de"])
    hidden = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\5"), *text.buffers()[1:]])  # the second is null
    rows = pa.RecordBatch.from_pydict({"text": text, "hidden": hidden})
    assert written(rows) == [("abc", "abc"), ("ö", None), ("de", "de")]


def test_rows_without_text_and_nulls_are_one_piece_of_memory() -> None:
    rows = batch([(n, None, *(None,) * 7) for n in range(3)]).select(["record_no"])
    assert encode(rows).nbytes == 3 * (2 + 4 + 8)
    assert written(rows) == [(0,), (1,), (2,)]
