"""What a layout may say just yet, and what it may not: both sides of each rule of the notation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slussen.errors import CallError
from slussen.records import layout as layouts
from tests.formats import make, parse

TAGGED: dict[str, Any] = {"kind": "tagged", "count": "r", "data": ["#A", "#B"], "records": {"r": {"line": "#R"}}}
PARTED: dict[str, Any] = {"kind": "delimited", "separator": ";"}


def one(*line: Any, **top: Any) -> dict[str, Any]:
    """A layout of one field."""
    return {"length": line[1], "fields": {"f": list(line)}, **top}


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        (one(1, 2, "integer", {"sign": "trailing"}), one(1, 1, "integer", {"sign": "trailing"}), "no room for a digit"),
        (one(1, 8, "integer", {"usage": "binary"}), one(1, 9, "integer", {"usage": "binary"}), "must be 1, 2, 4 or 8"),
        (one(1, 1, "integer", {"usage": "binary"}), one(1, 3, "integer", {"usage": "binary"}), "must be 1, 2, 4 or 8"),
        (one(1, 8, "date"), one(1, 7, "date", {"form": "YYYYMMDD"}), "has no room for YYYYMMDD"),
        (one(1, 8, "date", {"accepts": ["YYMMDD"]}), one(1, 8, "date", {"accepts": ["YYYY-MM-DD"]}), "has no room for"),
        (one(1, 3, "const", {"value": "abc"}), one(1, 2, "const", {"value": "abc"}), "has no room for abc"),
        (
            one(1, 1, "const", {"value": "ÿ"}),
            one(1, 1, "const", {"value": "Ā"}),
            "a letter in Ā that is not in Latin-1",
        ),
        (one(1, 2, "text", {"values": ["AB"]}), one(1, 2, "text", {"values": ["ABC"]}), "has no room for ABC"),
        (one(1, 1, "boolean", {"values": ["J", "N"]}), one(1, 1, "boolean", {"values": ["J", "N", "X"]}), "two values"),
        (one(1, 4, "text", {"fill": "9"}), one(1, 4, "digits", {"fill": "9"}), "filled up with 9, which would be part"),
        (one(1, 4, "integer", {"fill": "0"}), one(1, 4, "integer", {"fill": "1"}), "filled up with 1, which would be"),
        (
            one(1, 5, "integer", {"fill": "0"}),
            one(1, 5, "integer", {"fill": "0", "align": "left"}),
            "filled up with 0, which would be",
        ),
        (
            one(1, 6, "integer", {"sign": "zoned", "fill": " "}),
            one(1, 6, "integer", {"sign": "zoned", "align": "left"}),
            "not the field's last when it is to the left",
        ),
        (one(1, 9, "date", {"align": "right"}), one(1, 8, "date", {"fill": "0"}), "where only blanks are passed over"),
        (one(1, 9, "time", {"fill": " ", "form": "hhmm"}), one(1, 6, "time", {"fill": "*"}), "only blanks are passed"),
        (
            one(1, 2, "boolean", {"values": ["J", " J"]}),
            one(1, 2, "boolean", {"values": ["J", "J "]}),
            "two that read alike",
        ),
        (
            one(1, 2, "boolean", {"values": ["1", "01"], "fill": "0"}),
            one(1, 2, "boolean", {"values": ["1", "01"], "fill": "0", "align": "right"}),
            "two that read alike",
        ),
        (
            {**PARTED, "fields": {"f": [1, 2, "boolean", {"values": ["J", "J "]}]}},
            {**PARTED, "fields": {"f": [1, 2, "boolean", {"values": ["J", "J"]}]}},
            "two that read alike",
        ),
        (
            one(1, 4, "digits", {"fill": "0", "values": ["01", "02"]}),
            one(1, 4, "digits", {"fill": "0", "align": "right", "values": ["10", "02"]}),
            "filled up with '0', with which '02' begins",
        ),
        (
            one(1, 4, "text", {"values": [" A"]}),
            one(1, 4, "text", {"values": ["B", "A "]}),
            "filled up with ' ', with which 'A ' ends",
        ),
        (one(1, 6, "text", {"like": " dd dd"}), one(1, 6, "text", {"like": "dd dd "}), "with which 'dd dd ' ends"),
        (
            {**PARTED, "fields": {"f": [1, 4, "text", {"values": ["A "]}]}},
            one(1, 4, "text", {"values": ["A "]}),
            "with which 'A ' ends",
        ),
        (one(1, 4, "text", {"fill": "~"}), one(1, 4, "text", {"fill": "é"}), "a letter that not every encoding has"),
        (one(1, 4, "text", {"like": "AA-d"}), one(1, 3, "text", {"like": "AA-d"}), "which never looks like AA-d"),
        (one(1, 4, "digits", {"like": "dddd"}), one(1, 4, "integer", {"like": "dddd"}), "never looks like dddd"),
        (one(1, 4, "integer", {"plus": True}), one(1, 4, "integer", {"plus": True, "sign": "none"}), "has a plus"),
        (one(1, 4, "text", {"times": 1}), one(1, 4, "text", {"times": 2}), "the fields end at 8, the record at 4"),
        (one(1, 4, "text"), one(1, 4, "text", length=5), "the fields end at 4, the record at 5"),
        (one(1, 4, "text"), one(2, 4, "text"), "f starts at 2, but 1 is next"),
        (
            one(1, 2, "text", records={"r": {"when": {"f": "AB"}}}),
            one(1, 2, "text", records={"r": {"when": {"f": "ABC"}}}),
            "known by ABC, which f has no room for",
        ),
        (
            one(1, 1, "text", records={"r": {"when": {"f": "ÿ"}}}),
            one(1, 1, "text", records={"r": {"when": {"f": "Ā"}}}),
            "a letter of it is not in Latin-1",
        ),
        (
            one(1, 1, "text", records={"r": {"when": {"f": "A"}}, "s": {}}),
            one(1, 1, "text", records={"s": {}, "r": {"when": {"f": "A"}}}),
            "takes every record, so that r is never read",
        ),
        (
            one(1, 1, "text", records={"r": {"when": {"f": "A"}}, "s": {"when": {"f": "B"}}}),
            one(1, 1, "text", records={"r": {"when": {"f": "A"}}, "s": {"when": {"f": "A"}}}),
            "is known by the same as r",
        ),
        (
            one(
                1,
                1,
                "text",
                records={"r": {"when": {"f": "A"}, "place": "first"}, "s": {"when": {"f": "B"}, "place": "last"}},
            ),
            one(
                1,
                1,
                "text",
                records={"r": {"when": {"f": "A"}, "place": "last"}, "s": {"when": {"f": "B"}, "place": "last"}},
            ),
            "only one record type can be last",
        ),
        (
            one(1, 9, "integer", totals={"r.f": {"count": "*"}}),
            one(1, 9, "text", totals={"r.f": {"count": "*"}}),
            "r.f is text, which holds no total",
        ),
        (
            one(1, 9, "digits", totals={"r.f": {"hash": "r.f"}}),
            one(1, 19, "digits", totals={"r.f": {"hash": "r.f"}}),
            "more than the 18 digits",
        ),
        (
            one(1, 18, "digits", totals={"r.f": {"hash": "r.f"}}),
            one(1, 9, "digits", totals={"r.f": {"hash": "s.f"}}),
            "there is no field s.f",
        ),
        (
            {
                "length": 4,
                "fields": {"a": [1, 2, "integer"], "b": [3, 2, "decimal"]},
                "totals": {"r.a": {"sum": "r.b"}},
            },
            {
                "length": 4,
                "fields": {"a": [1, 2, "integer"], "b": [3, 2, "decimal", {"decimals": 1}]},
                "totals": {"r.a": {"sum": "r.b"}},
            },
            "r.b is no number with r.a's 0 decimals",
        ),
        (
            {"length": 4, "fields": {"a_3": [1, 2, "text"], "a": [3, 1, "text", {"times": 2}]}},
            {"length": 4, "fields": {"a_2": [1, 2, "text"], "a": [3, 1, "text", {"times": 2}]}},
            "there are two fields a_2",
        ),
        (
            {**TAGGED, "fields": {"f": ["01001", 5, "text"]}},
            {**TAGGED, "fields": {"f": ["0100", 5, "text"]}},
            "no code of five",
        ),
        (
            {**TAGGED, "fields": {"f": ["#R", 5, "text"]}},
            {**TAGGED, "fields": {"f": ["010011", 5, "text"]}},
            "no code of five",
        ),
        (
            {**TAGGED, "fields": {"f": ["00000", 5, "text"]}},
            {**TAGGED, "fields": {"f": ["0100X", 5, "text"]}},
            "no code of five",
        ),
        (
            {**TAGGED, "fields": {"f": ["01001", 5, "text", {"times": 1}]}},
            {**TAGGED, "fields": {"f": ["01001", 5, "filler"]}},
            "is filler, which no term of a tagged layout is",
        ),
        (
            {**TAGGED, "fields": {"f": ["01001", 5, "digits"]}},
            {**TAGGED, "fields": {"f": ["01001", 5, "const", {"value": "x"}]}},
            "is const, which no term of a tagged layout is",
        ),
        (TAGGED, {**TAGGED, "count": ""}, "which record type counts"),
        (TAGGED, {**TAGGED, "count": "s"}, "which record type counts"),
        (TAGGED, {**TAGGED, "data": ["#A", "#B", "#C"]}, "between which two lines"),
        (
            {**PARTED, "records": {"r": {"section": "A"}, "s": {"section": "B"}}},
            {**PARTED, "records": {"r": {"section": "A"}, "s": {"section": "B"}, "t": {}}},
            "each has one of its own",
        ),
        (
            {**PARTED, "header_row": True},
            {**PARTED, "header_row": True, "records": {"r": {"section": "A"}, "s": {"section": "B"}}},
            "cannot name the fields of several",
        ),
        ({**PARTED, "nothing": "NULL"}, {**PARTED, "nothing": "a\nb"}, "on one line"),
        (
            {**PARTED, "fields": {"f": [1, 5, "text", {"quoted": True}]}},
            {**PARTED, "quote": "", "fields": {"f": [1, 5, "text", {"quoted": True}]}},
            "of which the layout has none",
        ),
        (
            {**PARTED, "fields": {"f": [1, 5, "integer", {"sign": "trailing"}]}},
            {**PARTED, "fields": {"f": [1, 5, "integer", {"usage": "packed"}]}},
            "only numbers of fixed records are",
        ),
    ],
)
def test_a_rule_of_the_notation_has_two_sides(right: dict[str, Any], wrong: dict[str, Any], complaint: str) -> None:
    make(**right)
    with pytest.raises(Exception, match=complaint):
        make(**wrong)


def test_what_is_said_once_has_no_number_and_what_is_repeated_has() -> None:
    layout = make(length=8, fields={"a": [1, 2, "text", {"times": 1}], "b": [3, 2, "text", {"times": 3}]})
    assert [(f.name, f.at) for f in layout.fields] == [("a", 1), ("b_1", 3), ("b_2", 5), ("b_3", 7)]


def test_a_person_may_stand_where_another_record_type_has_one_and_not_beside_it() -> None:
    layout = make(
        length=9,
        records={
            "a": {
                "when": {"k": "A"},
                "fields": {
                    "k": [1, 1, "text"],
                    "x": [2, 2, "text"],
                    "who": [4, 3, "text", {"personal": True}],
                    "y": [7, 3, "text"],
                },
            },
            "b": {
                "when": {"k": "B"},
                "fields": {
                    "k": [1, 1, "text"],
                    "u": [2, 2, "text"],
                    "v": [4, 1, "text"],
                    "w": [5, 2, "text"],
                    "z": [7, 3, "text"],
                },
            },
        },
    )
    assert {f.name for f in layout.fields if layout.tells(f)} == {"who", "v", "w"}
    wider = make(
        length=4,
        records={
            "a": {
                "when": {"k": "A"},
                "fields": {"k": [1, 1, "text"], "who": [2, 2, "text", {"personal": True}], "y": [4, 1, "text"]},
            },
            "b": {"when": {"k": "B"}, "fields": {"k": [1, 1, "text"], "u": [2, 1, "text"], "v": [3, 2, "text"]}},
        },
    )
    assert {f.name for f in wider.fields if wider.tells(f)} == {"who", "y", "u", "v"} - {"y"}


def test_columns_of_a_delimited_layout_stand_apart_however_long_they_are() -> None:
    layout = make(
        **PARTED,
        records={
            "a": {
                "when": {"k": "A"},
                "fields": {"k": [1, 1, "text"], "who": [2, 9, "text", {"personal": True}], "x": [3, 9, "text"]},
            },
            "b": {"when": {"k": "B"}, "fields": {"k": [1, 1, "text"], "u": [2, 1, "text"], "v": [3, 1, "text"]}},
        },
    )
    assert {f.name for f in layout.fields if layout.tells(f)} == {"who", "u"}


@pytest.mark.parametrize("line", [1, 2, 5])
def test_a_layout_that_is_no_utf_8_is_told_with_its_line_and_byte(tmp_path: Path, line: int) -> None:
    file = tmp_path / "small.yaml"
    lines = [b"# a", b"# b", b"# c", b"# d", b"# e"]
    lines[line - 1] += b" \xe5"
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(CallError, match=f"small.yaml:{line}: byte e5 is no UTF-8"):
        layouts.load(str(file))


def test_the_longest_record_type_is_what_a_file_is_as_wide_as() -> None:
    records = {
        k: {"when": {"k": k}, "length": n, "fields": {"k": [1, 1, "text"], "x": [2, n - 1, "text"]}}
        for k, n in (("A", 3), ("B", 5), ("C", 4))
    }
    layout = make(length=5, records=records)
    assert (layout.longest, layout.varies, layout.length_of("A")) == (5, True, 3)
    rows, findings, _ = parse(layout, b"Axx\nBxxxx\nCxxx\n", "cp1252")
    assert ([r["x"] for r in rows], list(findings)) == (["xx", "xxxx", "xxx"], [])
    assert not make(length=3, records={"A": records["A"]}).varies
