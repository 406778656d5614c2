"""Delimited records: what stands between separators and in quotes, read and written as strictly as the layout says."""

from __future__ import annotations

from typing import Any

from slussen.records.layout import Layout
from tests.formats import make, parse, render, values


def parted(*, records: Any = None, **top: Any) -> Layout:
    """A delimited layout, its fields in the order of their columns."""
    return make(kind="delimited", separator=";", records=records or {"r": {}}, **top)


def columns(*fields: Any) -> dict[str, Any]:
    """Fields a, b, c … in columns 1, 2, 3 …"""
    return {chr(97 + k): [k + 1, *field] for k, field in enumerate(fields)}


def test_a_repeated_field_is_a_column_each_and_a_repeated_group_as_many_as_it_has() -> None:
    layout = parted(
        fields={
            "a": [1, 20, "text"],
            "b": [2, 5, "text", {"times": 3}],
            "c": [5, 2, "group", {"times": 2, "fields": {"x": [1, 9, "text"], "n": [2, 4, "integer"]}}],
        }
    )
    assert [(f.name, f.at) for f in layout.fields] == [
        ("a", 1), ("b_1", 2), ("b_2", 3), ("b_3", 4), ("c_1_x", 5), ("c_1_n", 6), ("c_2_x", 7), ("c_2_n", 8)
    ]  # fmt: skip
    data = b"A;b1;b2;b3;x1;0001;x2;0002\n"
    rows, findings, _ = parse(layout, data, "cp1252")
    assert not findings
    assert (rows[0]["b_3"], rows[0]["c_2_x"], rows[0]["c_2_n"]) == ("b3", "x2", 2)
    assert render(layout, values(rows), "cp1252")[0] == data
