"""Delimited records: what stands between separators and in quotes, read and written as strictly as the layout says."""

from __future__ import annotations

from typing import Any

import pytest

from slussen.errors import CallError
from slussen.records import layout as layouts
from slussen.records.codepages import EBCDIC
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


@pytest.mark.parametrize("encoding", EBCDIC)
@pytest.mark.parametrize("name", ["ergo", "navet_utfil", "navet_infil"])
def test_lines_of_text_are_not_read_or_written_in_ebcdic(name: str, encoding: str) -> None:
    for do in (lambda: parse(layouts.load(name), b"", encoding), lambda: render(layouts.load(name), [], encoding)):
        with pytest.raises(CallError, match=f"not read or written in {encoding}"):
            do()


def test_an_encoding_that_lacks_what_parts_or_names_the_fields_is_refused() -> None:
    fields = columns((5, "text"), (5, "text"))
    for layout in (
        make(kind="delimited", separator="|", fields=fields),
        parted(quote="|", fields=fields),
        parted(nothing="|", fields=fields),
        parted(records={"r": {"section": "Lärare|", "fields": fields}, "s": {"section": "Klass", "fields": fields}}),
    ):
        for do in (lambda: parse(layout, b"", "sen850200b"), lambda: render(layout, [], "sen850200b")):  # noqa: B023
            with pytest.raises(CallError, match=r"sen850200b lacks \|"):
                do()
        assert not render(layout, [], "cp437")[1]
    with pytest.raises(CallError, match="iso8859-1 lacks €"):
        parse(make(kind="delimited", separator=";", header_row=True, fields={"€": [1, 5, "text"]}), b"", "iso8859-1")
