"""Delimited records: what stands between separators and in quotes, read and written as strictly as the layout says."""

from __future__ import annotations

from typing import Any

import pytest

from slussen.errors import CallError
from slussen.records.codepages import codepage
from slussen.records.layout import Layout
from slussen.records.lines import first_line
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


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b'"a""b";c', None),
        (b'"a"";""b";c', None),
        (b'"";""""', None),
        (b'"a;b\nc";"d"', None),
        (b'"a"b"c";d', 1),
        (b'"a;"b";c";y', 1),
        (b'a;"b"c', 3),
        (b'a;"b"c"d"', 3),
        (b'a"b";c', 1),
        (b'a;b""', 3),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "not ended"])
def test_a_quote_within_a_field_is_doubled_or_a_fault(line: bytes, wrong: int | None, end: bytes) -> None:
    layout = parted(fields=columns([20, "text"], [20, "text"]))
    _, findings, _ = parse(layout, b"x;y\n" + line + end, "cp1252")
    told = [(f.rule, f.record, f.column) for f in findings if f.rule == "quote"]
    assert (told, bool(findings)) == ([("quote", 2, wrong)] if wrong else [], bool(wrong))


def test_a_quote_alone_is_a_value_of_one_letter_and_a_fault() -> None:
    layout = parted(fields=columns([20, "text"], [20, "text"]))
    for data, number in ((b'x;"', 1), (b'x;y\nx;"', 2), (b'abc;def\nx;"\n', 2)):
        rows, findings, _ = parse(layout, data, "cp1252")
        assert [(f.rule, f.record, f.column) for f in findings if f.rule == "quote"] == [("quote", number, 3)]
        assert (rows[-1]["a"], (rows[-1]["b"] or "").strip()) == ("x", '"')


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "cp278", "cp437"])
def test_constants_are_looked_at_and_written_by_record_type(encoding: str) -> None:
    layout = parted(
        records={"h": {"when": {"a": "é"}}, "d": {"when": {"a": "ö"}}},
        fields=columns([1, "const", {"value": {"h": "é", "d": "ö"}}], [3, "const", {"value": "HEJ"}], [5, "text"]),
    )
    rows = [{"record_type": "h", "c": "x"}, {"record_type": "d", "c": "y"}]
    data, refused = render(layout, rows, encoding)
    assert not refused
    assert data == "é;HEJ;x\nö;HEJ;y\n".encode(encoding).replace(b"\x15", b"\x25")
    back, findings, _ = parse(layout, data, encoding)
    assert not findings
    assert values(back) == rows
    _, findings, _ = parse(layout, data.replace("HEJ".encode(encoding), "NEJ".encode(encoding), 1), encoding)
    told = [(f.rule, f.record, f.field, f.column) for f in findings if f.rule != "wrong_encoding"]
    assert told == [("constant", 1, "b", 4 if encoding == "utf-8" else 3)]


def test_what_stands_in_a_filler_is_letters_at_least() -> None:
    layout = parted(fields=columns([5, "text"], [3, "filler"]))
    assert not parse(layout, b"a;abc\nb;\n", "cp1252")[1]
    _, findings, _ = parse(layout, b"a;a\x00c\nb;\x81\nc;abcd\n", "cp1252")
    told = [(f.rule, f.record, f.field) for f in findings if f.rule != "wrong_encoding"]
    assert told == [("control_character", 1, "b"), ("undefined_byte", 2, "b"), ("too_long", 3, "b")]


def test_an_encoding_that_lacks_a_letter_of_a_constant_is_refused() -> None:
    layout = parted(fields=columns([5, "text"], [1, "const", {"value": "["}]))
    with pytest.raises(CallError, match="sen850200b has no byte for '\\['"):
        parse(layout, b"a;[\n", "sen850200b")


@pytest.mark.parametrize(
    ("rules", "value", "written"),
    [
        ({}, -5, b"-0005"),
        ({"empty": "spaces"}, -5, b"-5"),
        ({"plus": True}, 5, b"+0005"),
        ({"plus": True}, -5, b"-0005"),
        ({"sign": "trailing"}, -5, b"0005-"),
        ({"sign": "trailing"}, 5, b"0005"),
        ({"sign": "trailing", "plus": True, "empty": "spaces"}, 5, b"5+"),
        ({"sign": "none"}, 5, b"00005"),
    ],
)
def test_a_number_has_its_sign_where_the_field_says(rules: dict[str, Any], value: int, written: bytes) -> None:
    layout = parted(fields=columns([5, "text"], [5, "integer", rules]))
    rows = [{"record_type": "r", "a": "x", "b": value}]
    data, refused = render(layout, rows, "cp1252")
    assert (data, list(refused)) == (b"x;" + written + b"\n", [])
    back, findings, _ = parse(layout, data, "cp1252")
    assert (values(back), list(findings)) == (rows, [])


@pytest.mark.parametrize(("rules", "fits"), [({"sign": "trailing"}, 99999), ({"plus": True}, 9999), ({}, 99999)])
def test_a_number_has_room_for_its_digits_and_its_sign(rules: dict[str, Any], fits: int) -> None:
    layout = parted(fields=columns([5, "text"], [5, "integer", {**rules, "empty": "spaces"}]))
    for value, rule in ((fits, []), (-9999, []), (-99999, ["too_long"]), (fits * 10 + 9, ["too_long"])):
        _, refused = render(layout, [{"record_type": "r", "a": "x", "b": value}], "cp1252")
        assert [f.rule for f in refused] == rule, value


@pytest.mark.parametrize("kind", ["integer", "decimal"])
def test_a_field_without_a_sign_is_refused_a_negative_number(kind: str) -> None:
    layout = parted(fields=columns([5, "text"], [5, kind, {"sign": "none"}]))
    rows = [{"record_type": "r", "b": n} for n in (1, None, -2, 3, -4)]
    _, refused = render(layout, rows, "cp1252")
    assert [(f.rule, f.record, f.field) for f in refused] == [("sign", 3, "b"), ("sign", 5, "b")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("line", "rest"),
    [
        (b"", b""),
        (b"a;b", b"c;d"),
        (b'"a";b', b"c"),
        (b'"a\nb";c', b'"d"'),
        (b'"\n\n";"\n"', b"x"),
        (b'"a""\n";b', b'"x'),
        (b'a;"b', b""),
        (b'"a', b"b;c"),
        (b'a"', b'b;c\n"d'),
        (b'"a"', b'"b'),
        (b'a"\nb"', b"x"),
    ],
)
def test_the_first_line_ends_outside_of_quotes_if_they_are_ever_closed(line: bytes, rest: bytes, end: bytes) -> None:
    page = codepage("cp1252")
    data = line + end + rest
    assert first_line(data, page, '"') == line
    assert first_line(data, page) == data.split(b"\n")[0].removesuffix(b"\r")
    assert first_line(line.split(b"\n")[0], page, '"') == line.split(b"\n")[0], "a file without any line end"


def test_a_separator_in_a_value_is_refused_where_there_are_no_quotes() -> None:
    fields = columns([5, "text"], [5, "text"])
    rows = [{"record_type": "r", "a": "x", "b": "y"}, {"record_type": "r", "a": "x;y", "b": "z"}]
    _, refused = render(parted(fields=fields, quote=""), rows, "cp1252")
    assert [(f.rule, f.record, f.field) for f in refused] == [("separator", 2, "a")]
    assert render(parted(fields=fields), rows, "cp1252")[0] == b'x;y\n"x;y";z\n'


def test_a_value_that_would_be_read_as_nothing_is_refused() -> None:
    layout = parted(fields=columns([5, "text"], [5, "text"]), nothing="NULL")
    rows = [{"record_type": "r", "a": "x"}, {"record_type": "r", "a": "x", "b": "NULL"}]
    data, refused = render(layout, rows, "cp1252")
    assert data.startswith(b"x;NULL\n")
    assert [(f.rule, f.record, f.field) for f in refused] == [("nothing", 2, "b")]


def test_a_line_that_would_begin_a_section_is_refused() -> None:
    layout = parted(
        records={
            "teacher": {"section": "Teacher", "fields": columns([9, "text"])},
            "group": {"section": "Group", "fields": {"x": [1, 9, "text"], "y": [2, 9, "text"]}},
        }
    )
    good = [{"record_type": "teacher", "a": "Anna"}, {"record_type": "group", "x": "Group", "y": "Teacher"}]
    data, refused = render(layout, good, "cp1252")
    assert (data, list(refused)) == (b"Teacher\nAnna\nGroup\nGroup;Teacher\n", [])
    _, refused = render(layout, [*good, {"record_type": "teacher", "a": "Group"}], "cp1252")
    assert [(f.rule, f.record, f.field) for f in refused] == [("section", 3, "a")]


def test_a_row_that_would_be_read_as_another_type_is_refused() -> None:
    layout = parted(
        records={"a": {"when": {"k": "A"}}, "n": {"when": {"k": "7"}}, "rest": {}},
        fields={"k": [1, 2, "text"], "v": [2, 5, "text"]},
    )
    rows = [
        {"record_type": kind, "k": k, "v": "x"}
        for kind, k in (("a", "A"), ("a", "7"), ("a", "B"), ("rest", "A"), ("rest", "B"), ("n", None))
    ]
    _, refused = render(layout, rows, "cp1252")
    told = [(f.rule, f.record, f.field) for f in refused]
    assert sorted(told) == [("record_type", n, "k") for n in (2, 3, 4, 6)]


def test_a_whole_number_by_which_a_record_is_known_is_compared_as_it_is_written() -> None:
    layout = parted(
        records={"five": {"when": {"n": "5"}}, "rest": {}},
        fields={"n": [1, 3, "integer"], "v": [2, 5, "text"]},
    )
    rows = [{"record_type": "five", "n": 5, "v": "x"}, {"record_type": "rest", "n": 7, "v": "y"}]
    data, refused = render(layout, rows, "cp1252")
    assert (data, list(refused)) == (b"005;x\n007;y\n", [])
    assert values(parse(layout, data, "cp1252")[0]) == rows
