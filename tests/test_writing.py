"""What is written, and what is refused: each with its record, field and column, nothing cut that may not be."""

from __future__ import annotations

from datetime import datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from slussen.errors import CallError, Findings
from slussen.records.codepages import Replacements
from slussen.records.render import Rendered
from tests import formats


def one(line: list[Any], value: Any, *, kind: str = "fixed", encoding: str = "iso8859-1", **more: Any) -> Any:
    """A field's value written by its layout: (its bytes, its findings, what was cut or replaced)."""
    given: dict[str, Any] = {"fixed": {"length": line[1]}, "delimited": {"separator": ";"}}[kind]
    layout = formats.make(kind=kind, fields={"f": line}, **given)
    findings = Findings()
    rendered = Rendered([formats.batch(layout, [{"record_type": "r", "f": value}])], layout, encoding, "lf", findings,
                        **more)  # fmt: skip
    return b"".join(rendered).removesuffix(b"\n"), [f.rule for f in findings], rendered.totals


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_text_too_long_is_refused_or_cut_and_counted_as_the_layout_says(kind: str) -> None:
    assert one([1, 4, "text"], "Ångström", kind=kind)[1] == ["too_long"]
    data, rules, totals = one([1, 4, "text", {"truncate": True}], "Ångström", kind=kind)
    assert (data, rules, totals["truncated.f"]) == ("Ångs".encode("latin-1"), [], 1)


def test_a_letter_of_utf_8_is_not_cut_in_two() -> None:
    data, rules, totals = one([1, 4, "text", {"truncate": True}], "abcåd", encoding="utf-8")
    assert (data, rules, totals["truncated.f"]) == (b"abc ", [], 1)


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
@pytest.mark.parametrize(
    ("line", "value", "rule"),
    [
        ([1, 8, "text"], "a\x07b", "control_character"),
        ([1, 8, "text"], "a\x85b", "control_character"),
        ([1, 8, "text"], "a\x7fb", "control_character"),
        ([1, 8, "digits"], "12x", "not_a_number"),
        ([1, 12, "text", {"check": "personnummer"}], "198911222398", "check_digit"),
        ([1, 12, "digits", {"check": "personnummer"}], "198911222398", "check_digit"),
        ([1, 12, "digits", {"check": "personnummer"}], "8911222399", "not_a_number"),
        ([1, 8, "text", {"values": ["A", "B"]}], "C", "not_in_code_list"),
        ([1, 8, "text"], "50 €", "unmappable"),
        ([1, 2, "integer"], 100, "too_long"),
        ([1, 2, "integer"], -10, "too_long"),
        ([1, 8, "text", {"required": True}], None, "required"),
        ([1, 6, "date"], "2070-01-01", "not_a_date"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, line: list[Any], value: Any, rule: str) -> None:
    if line[2] == "date":
        value = __import__("datetime").date.fromisoformat(value)
    assert one(line, value, kind=kind)[1] == [rule]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ([1, 4, "text", {"fill": "A"}], "BA"),
        ([1, 4, "digits", {"fill": "0", "align": "left"}], "10"),
        ([1, 4, "text", {"fill": "0", "align": "right"}], "01"),
    ],
)
def test_a_value_that_ends_in_what_fills_the_field_up_is_refused(line: list[Any], value: str) -> None:
    """It would be read again without its end."""
    assert one(line, value)[1] == ["fill"]
    assert one(line, "B7" if line[2] == "text" else "17")[1] == []


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ([1, 4, "time"], time(12, 34, 56)),
        ([1, 12, "timestamp", {"form": "YYYYMMDDhhmm"}], datetime.fromisoformat("2026-01-12T12:34:56")),
        ([1, 10, "timestamp", {"form": "YYYYMMDDhh"}], datetime.fromisoformat("2026-01-12T12:34")),
    ],
)
def test_a_moment_finer_than_its_form_is_refused(kind: str, line: list[Any], value: Any) -> None:
    assert one(line, value, kind=kind)[1] == ["not_a_date"]
    assert one(line, value.replace(minute=0, second=0), kind=kind)[1] == []


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_an_interim_numbers_letter_may_be_written(kind: str) -> None:
    assert one([1, 12, "digits", {"check": "personnummer"}], "19891122T391", kind=kind)[1] == []


def test_a_column_of_another_number_type_is_written_when_it_is_exact() -> None:
    layout = formats.make(length=6, fields={"n": [1, 6, "decimal", {"decimals": 2}]})
    for values, wanted, rules in (
        (pa.array([Decimal("1.5"), Decimal("-2.25")], pa.decimal128(20, 4)), b"000150\n-00225\n", []),
        (pa.array([Decimal("1.555"), Decimal("2.25")], pa.decimal128(20, 4)), None, ["too_long"]),
        (pa.array([3, 4]), b"000300\n000400\n", []),
    ):
        batch = pa.RecordBatch.from_arrays([pa.array(["r", "r"]), values], names=["record_type", "n"])
        findings = Findings()
        data = b"".join(Rendered([batch], layout, "iso8859-1", "lf", findings))
        assert [f.rule for f in findings] == rules
        assert wanted is None or data == wanted


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_a_replacement_is_counted_and_what_the_encoding_has_is_not_replaced(kind: str) -> None:
    table = Replacements("t", {"ﬁ": "fi", "å": "a"})
    data, rules, totals = one([1, 8, "text"], "ﬁn å", kind=kind, replacements=table)
    assert (data.rstrip(), rules, totals["replaced.f"]) == ("fin å".encode("latin-1"), [], 1)


@pytest.mark.parametrize(
    ("kind", "count"),
    [("date", 2932897), ("date", -719163), ("time", 86400), ("timestamp", 2932897 * 86400), ("time", -1)],
)
def test_a_moment_that_its_form_cannot_say_is_refused(kind: str, count: int) -> None:
    arrow = {"date": pa.date32(), "time": pa.time32("s"), "timestamp": pa.timestamp("s")}[kind]
    length = {"date": 8, "time": 6, "timestamp": 14}[kind]
    layout = formats.make(length=length, fields={"f": [1, length, kind]})
    findings = Findings()
    number = pa.array([count], pa.int64() if kind == "timestamp" else pa.int32())
    batch = pa.RecordBatch.from_arrays([pa.array(["r"]), number.cast(arrow)], names=["record_type", "f"])
    assert b"".join(Rendered([batch], layout, "iso8859-1", "lf", findings))
    assert [f.rule for f in findings] == ["not_a_date"]


@pytest.mark.parametrize(
    ("kind", "count", "text"),
    [("date", 2932896, b"99991231"), ("date", -719162, b"00010101"), ("time", 86399, b"235959"), ("time", 0, b"000000"),
     ("timestamp", 2932897 * 86400 - 1, b"99991231235959"), ("timestamp", -719162 * 86400, b"00010101000000")],
)  # fmt: skip
def test_the_first_and_the_last_moment_of_a_form_are_written(kind: str, count: int, text: bytes) -> None:
    arrow = {"date": pa.date32(), "time": pa.time32("s"), "timestamp": pa.timestamp("s")}[kind]
    layout = formats.make(length=len(text), fields={"f": [1, len(text), kind, {"empty": "spaces"}]})
    number = pa.array([count], pa.int64() if kind == "timestamp" else pa.int32())
    batch = pa.RecordBatch.from_arrays([pa.array(["r"]), number.cast(arrow)], names=["record_type", "f"])
    findings = Findings()
    assert b"".join(Rendered([batch], layout, "iso8859-1", "lf", findings)) == text + b"\n"
    assert not findings


@pytest.mark.parametrize("encoding", ["iso8859-1", "cp278"])
@pytest.mark.parametrize(
    "rules",
    [{"sign": "trailing"}, {"sign": "trailing", "plus": True}, {"sign": "overpunched"}, {"sign": "zoned"},
     {"plus": True}, {"fill": " "}, {"align": "left", "empty": "zeros"}, {"empty": "spaces"}, {"usage": "packed"}],
)  # fmt: skip
def test_no_number_is_written_as_it_is_written_again_when_it_was_read(rules: dict[str, Any], encoding: str) -> None:
    layout = formats.make(length=5, fields={"n": [1, 5, "integer", rules]})
    rows = [{"record_type": "r", "n": n} for n in (None, 7, None)]
    data, findings = formats.render(layout, rows, encoding, "fixed")
    read, wrong, _ = formats.parse(layout, data, encoding, "fixed")
    assert not findings
    assert not [
        f for f in wrong if f.rule != "wrong_encoding"
    ]  # what stands for a sign looks like another one's letters
    assert formats.render(layout, read, encoding, "fixed")[0] == data


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ([1, 2, "boolean", {"values": {"X": "ja", " ": "nej"}}], b"X   "),
        ([1, 2, "boolean", {"values": ["", "N"], "align": "right"}], b"   N"),
        ([1, 2, "boolean", {"values": ["J ", "N "]}], b"J N "),
        ([1, 2, "boolean", {"values": ["1", "0"], "empty": "zeros"}], b"1 0 "),
    ],
)
def test_a_code_that_looks_like_nothing_says_what_it_says(line: list[Any], cells: bytes) -> None:
    layout = formats.make(length=2, fields={"f": line})
    read, findings, _ = formats.parse(layout, cells, "iso8859-1", "fixed")
    assert [row["f"] for row in read] == [True, False]
    assert not findings
    assert formats.render(layout, read, "iso8859-1", "fixed")[0] == cells


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
@pytest.mark.parametrize("rows", [[True, None, False, None], [None], [True]])
def test_nothing_is_refused_where_it_would_be_read_as_a_code(kind: str, rows: list[bool | None]) -> None:
    for rules in ({"values": ["J", ""]}, {"values": ["N", "J"]}):
        more = {"length": 1} if kind == "fixed" else {"separator": ";"}
        layout = formats.make(kind=kind, fields={"f": [1, 1, "boolean", rules]}, **more)
        data, refused = formats.render(layout, [{"record_type": "r", "f": v} for v in rows], "iso8859-1")
        missing = [n for n, v in enumerate(rows, 1) if v is None] if "" in rules["values"] else []
        assert [(f.rule, f.record) for f in refused] == [("nothing", n) for n in missing]
        if not refused:
            assert [row["f"] for row in formats.parse(layout, data, "iso8859-1")[0]] == rows


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_what_is_wrong_is_told_record_by_record(kind: str) -> None:
    more = {"length": 4} if kind == "fixed" else {"separator": ";"}
    layout = formats.make(kind=kind, fields={"a": [1, 2, "text"], "b": [3 if more.get("length") else 2, 2, "text"]},
                          **more)  # fmt: skip
    rows = [{"record_type": "r", "a": a, "b": b} for a, b in (("x", "long"), ("y", "z"), ("long", "long"))]
    _, refused = formats.render(layout, rows, "iso8859-1")
    assert [(f.record, f.field) for f in refused] == [(1, "b"), (3, "a"), (3, "b")]


def test_a_sign_where_the_layout_has_it() -> None:
    for rules, minus, plus in (
        ({"sign": "trailing"}, b"0012-", b"0012 "),
        ({"sign": "trailing", "plus": True}, b"0012-", b"0012+"),
        ({"plus": True}, b"-0012", b"+0012"),
        ({"fill": " "}, b"  -12", b"   12"),
        ({"fill": " ", "plus": True}, b"  -12", b"  +12"),
        ({"align": "left"}, b"-12  ", b"12   "),
        ({"sign": "overpunched"}, b"0001K", b"0001B"),
        ({"sign": "zoned"}, b"0001r", b"00012"),
    ):
        line = [1, 5, "integer", rules]
        assert (one(line, -12)[0], one(line, 12)[0]) == (minus, plus), rules


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
@pytest.mark.parametrize("encoding", ["iso8859-1", "utf-8"])
def test_a_control_character_is_refused_at_its_place_and_every_letter_is_written(kind: str, encoding: str) -> None:
    layout = formats.make(kind=kind, fields={"a": [1, 8, "text"], "f": [9 if kind == "fixed" else 2, 8, "text"]},
                          **({"length": 16} if kind == "fixed" else {"separator": ";"}))  # fmt: skip
    for point in range(0x100):
        text = f"ab{chr(point)}c"
        data, refused = formats.render(layout, [{"record_type": "r", "a": "x", "f": text}], encoding)
        if point < 0x20 or 0x7F <= point < 0xA0:
            if kind == "delimited" and text == "ab\nc":
                continue  # in quotes it may be
            assert [(f.rule, f.record, f.field) for f in refused] == [("control_character", 1, "f")], hex(point)
            assert kind == "delimited" or [f.column for f in refused] == [11]
        else:
            assert not refused, hex(point)
            assert (
                kind == "delimited"
                or data.decode(encoding) == "x       " + text.ljust(8 - (encoding == "utf-8" and point > 127)) + "\n"
            )


# --- what is written is read as what it was


@pytest.mark.parametrize(
    ("field", "when"),
    [
        (["n", [1, 2, "text"]], "B"),
        (["n", [1, 2, "text", {"align": "right"}]], "B"),
        (["n", [1, 2, "text", {"fill": "*"}]], "B"),
        (["n", [1, 2, "integer"]], "5"),
        (["n", [1, 2, "integer", {"align": "left", "fill": " "}]], "5"),
        (["n", [1, 3, "digits"]], "007"),
        (["n", [1, 2, "text"]], "é"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["iso8859-1", "cp278", "utf-8"])
def test_a_record_is_known_by_its_field_as_the_field_is_written(field: Any, when: str, encoding: str) -> None:
    name, line = field
    layout = formats.make(
        length=line[1] + 5, records={"x": {"when": {name: when}}, "rest": {}},
        fields={name: line, "v": [line[1] + 1, 5, "text"]},
    )  # fmt: skip
    value: Any = int(when) if line[2] == "integer" else when
    other: Any = 1 if line[2] == "integer" else "1"
    rows = [{"record_type": "x", name: value, "v": "a"}, {"record_type": "rest", name: other, "v": "b"}]
    data, refused = formats.render(layout, rows, encoding)
    assert not refused
    back, findings, _ = formats.parse(layout, data, encoding)
    assert (formats.values(back), list(findings)) == (rows, [])


def test_a_row_whose_fields_say_that_it_is_of_another_type_is_refused() -> None:
    layout = formats.make(
        length=3,
        records={
            "d": {"when": {"n": "A"}, "fields": {"n": [1, 1, "text"], "v": [2, 2, "text"]}},
            "e": {"when": {"n": "B"}, "fields": {"n": [1, 1, "text"], "w": [2, 2, "text"]}},
        },
    )
    kinds = [("d", "A"), ("d", "B"), ("e", "B"), ("e", None), ("e", "C")]
    _, refused = formats.render(layout, [{"record_type": k, "n": n} for k, n in kinds], "cp278")
    told = sorted((f.record or 0, f.rule, f.field, f.message.rsplit(" as ", 1)[1]) for f in refused)
    assert told == [
        (2, "record_type", "n", "a record e"),
        (4, "record_type", "n", "of no type"),
        (5, "record_type", "n", "of no type"),
    ]


def test_a_constant_is_written_in_the_encoding_or_not_at_all() -> None:
    layout = formats.make(length=4, fields={"c": [1, 2, "const", {"value": "é"}], "v": [3, 2, "text"]})
    row = {"record_type": "r", "v": "x"}
    for encoding, data in (("utf-8", b"\xc3\xa9x \n"), ("iso8859-1", b"\xe9 x \n"), ("cp437", b"\x82 x \n")):
        assert formats.render(layout, [row], encoding)[0] == data
        back, findings, _ = formats.parse(layout, data, encoding)
        assert (formats.values(back), list(findings)) == ([row], [])
    with pytest.raises(CallError, match="sen850200b has no byte for 'é'"):
        formats.render(layout, [row], "sen850200b")
    with pytest.raises(CallError, match="sen850200b has no byte for 'é'"):
        formats.parse(layout, b"e x \n", "sen850200b")
    tight = formats.make(length=1, fields={"c": [1, 1, "const", {"value": "é"}]})
    with pytest.raises(CallError, match="no room"):
        formats.render(tight, [row], "utf-8")
