"""Rows of every type that is staged, made up by Hypothesis."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
from hypothesis import strategies as st

SCHEMA = pa.schema(
    [
        ("record_no", pa.int64()),
        ("namn", pa.string()),
        ("belopp", pa.decimal128(18, 2)),
        ("kurs", pa.decimal128(18, 5)),
        ("antal", pa.decimal128(18, 0)),
        ("datum", pa.date32()),
        ("skyddad", pa.bool_()),
        ("klockslag", pa.time32("s")),
        ("framstalld", pa.timestamp("s")),
    ]
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ROW = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | TEXT,
    st.none() | st.integers(-(10**18) + 1, 10**18 - 1).map(lambda n: Decimal(n).scaleb(-2)),
    st.none() | st.integers(-(10**18) + 1, 10**18 - 1).map(lambda n: Decimal(n).scaleb(-5)),
    st.none() | st.integers(-(10**18) + 1, 10**18 - 1).map(Decimal),
    st.none() | st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    st.none() | st.booleans(),
    st.none() | st.times().map(lambda t: t.replace(microsecond=0)),
    st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2262, 1, 1)).map(lambda t: t.replace(microsecond=0)),  # noqa: DTZ001
)


def batch(rows: list[tuple[object, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[] for _ in SCHEMA]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )
