"""What seldom happens to records, each once: marks, limits, encodings that lack something, blocks that are full."""

from __future__ import annotations

import io
from datetime import time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from slussen.errors import CallError, Findings
from slussen.records import codepages
from slussen.records import layout as layouts
from slussen.records.codepages import Replacements
from slussen.records.convert import Converted
from slussen.records.edit import Edited
from slussen.records.layout import Layout
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import formats
from tests.formats import make, parse, render

MARK = b"\xef\xbb\xbf"
FIXED = make(length=6, fields={"a": [1, 4, "text"], "n": [5, 2, "integer"]})
PARTED = make(kind="delimited", separator=";", fields={"a": [1, 4, "text"], "n": [2, 2, "integer"]})


def told(findings: Findings) -> list[tuple[Any, ...]]:
    return [(f.rule, f.record, f.offset, f.byte) for f in findings]


@pytest.mark.parametrize(("layout", "line"), [(FIXED, b"abcd01\n"), (PARTED, b"abcd;01\n")], ids=["fixed", "delimited"])
def test_a_byte_order_mark_is_declared_or_a_finding_first_or_in_the_middle(layout: Layout, line: bytes) -> None:
    rows, findings, _ = parse(layout, MARK + line * 2, "utf-8-sig")
    assert not findings
    assert [r["byte_offset"] for r in rows] == [3, 3 + len(line)]
    for encoding in ("utf-8", "cp1252"):
        rows, findings, _ = parse(layout, MARK + line * 2, encoding)
        assert told(findings) == [("bom", 1, 0, "ef")]
        assert [r["n"] for r in rows] == [1, 1]
    if layout is PARTED:
        _, findings, _ = parse(layout, line + MARK + line, "cp1252")
        assert ("bom", 2, len(line), "ef") in told(findings)
        _, findings, _ = parse(layout, line + b"a" + MARK + b";01\n" + line, "utf-8")
        assert told(findings) == [("bom", 2, len(line) + 1, "ef")]
        _, findings, _ = parse(layout, line + MARK + MARK[:0] + b";1\n", "utf-8")
        assert told(findings) == [("bom", 2, len(line), "ef")]


def test_utf_8_is_written_with_its_mark_where_it_is_declared() -> None:
    for layout, line in ((FIXED, b"\xc3\xa51 01\n"), (PARTED, "å1;01\n".encode())):
        row = {"record_type": "r", "a": "å1", "n": 1}
        assert render(layout, [row], "utf-8-sig")[0] == MARK + line
        assert render(layout, [row], "utf-8")[0] == line


def test_letters_of_utf_8_are_whole_within_their_value_and_empty_values_are_beside_them() -> None:
    for texts in (["å", ""], ["", "å"], ["", "å", ""], ["å", "ö", "", ""]):
        for layout in (FIXED, PARTED):
            rows = [{"record_type": "r", "a": text or None, "n": 1} for text in texts]
            data, _ = render(layout, rows, "utf-8")
            back, findings, _ = parse(layout, data, "utf-8")
            assert [r["a"] for r in back] == [text or None for text in texts]
            assert not findings
    rows, findings, _ = parse(FIXED, b"abc\xc301\n\xa5bcd02\n", "utf-8")
    assert [(f.rule, f.record, f.column, f.byte) for f in findings] == [
        ("undefined_byte", 1, 4, "c3"), ("undefined_byte", 2, 1, "a5")
    ]  # fmt: skip
    assert [r["a"] for r in rows] == ["abc\ufffd", "\ufffdbcd"]


@pytest.mark.parametrize(("frame", "end", "other"), [("lf", b"\n", b"\r\n"), ("crlf", b"\r\n", b"\n")])
def test_a_delimited_record_with_another_line_end_is_found(frame: str, end: bytes, other: bytes) -> None:
    data = b"ab;1" + end + b"cd;2" + other + b"ef;3" + end
    rows, findings, _ = parse(PARTED, data, "cp1252", frame)
    assert [(f.rule, f.record, f.offset) for f in findings] == [("line_end", 2, len(b"ab;1" + end + b"cd;2"))]
    assert [r["n"] for r in rows] == [1, 2, 3]
    assert ("the record ends with LF where" in next(iter(findings)).message) == (frame == "crlf")
    assert not parse(PARTED, data.replace(other, end) if frame == "lf" else b"ab;1\r\ncd;2\r\n", "cp1252", frame)[1]


@pytest.mark.parametrize(("frame", "end", "other"), [("lf", b"\n", b"\r\n"), ("crlf", b"\r\n", b"\n")])
def test_a_fixed_record_with_another_line_end_says_which(frame: str, end: bytes, other: bytes) -> None:
    _, findings, _ = parse(FIXED, b"abcd01" + end + b"efgh02" + other, "cp1252", frame)
    names = {b"\n": "LF", b"\r\n": "CRLF"}
    (found,) = findings
    assert (found.rule, found.record, found.column) == ("line_end", 2, 7)
    assert found.message == f"the record ends with {names[other]} where the frame says {names[end]}"


def test_an_end_of_file_mark_after_the_last_delimited_record_is_none() -> None:
    rows, findings, parsed = parse(PARTED, b"ab;1\ncd;2\n\x1a", "cp1252")
    assert (len(rows), len(findings), parsed.records) == (2, 0, 2)
    for data in (b"ab;1\n\x1a\ncd;2\n", b"ab;1\n\x1a\x1a", b"ab;1\nx\x1a"):
        assert [f.rule for f in parse(PARTED, data, "cp1252")[1]][:1] == ["field_count"], data


def test_a_delimited_line_of_no_type_is_told_with_its_place() -> None:
    layout = make(kind="delimited", separator=";", records={"a": {"when": {"k": "A"}}, "b": {"when": {"k": "B"}}},
                  fields={"k": [1, 1, "text"], "v": [2, 3, "text"]})  # fmt: skip
    rows, findings, _ = parse(layout, b"A;x\nC;y\nB;z\nA\nB;1;2\n", "cp1252")
    assert [(f.rule, f.record, f.offset, f.column) for f in findings] == [
        ("record_type", 2, 4, 1), ("field_count", 4, 12, 1), ("field_count", 5, 14, 1)
    ]  # fmt: skip
    assert [r["v"] for r in rows if r["record_type"]] == ["x", "z"]
    assert "1 fields where a record has 2" in str(list(findings)[1])


def test_a_number_that_is_longer_than_its_field_is_too_long_and_nothing() -> None:
    rows, findings, _ = parse(PARTED, b"a;12\nb;123\nc;1\n", "cp1252")
    assert [(f.rule, f.record, f.field) for f in findings] == [("too_long", 2, "n")]
    assert [r["n"] for r in rows] == [12, None, 1]


@pytest.mark.parametrize("limit", [0, 1, 3])
@pytest.mark.parametrize(("layout", "line"), [(FIXED, b"\x07abcx \n"), (PARTED, b"\x07;x\n")], ids=["fixed", "parted"])
def test_all_that_is_wrong_is_counted_whatever_is_kept(layout: Layout, line: bytes, limit: int) -> None:
    findings = Findings(limit)
    list(Parsed(io.BytesIO(line * 5), layout, "cp1252", "lf", findings))
    assert dict(findings.counts) == {"control_character": 5, "not_a_number": 5}
    assert len(findings.kept) == limit
    findings = Findings(limit)
    rows = formats.batch(layout, [{"record_type": "r", "a": "\x07abcd", "n": 1}] * 5)
    list(Rendered([rows], layout, "cp1252", "lf", findings))
    assert dict(findings.counts) == {"control_character": 5, "too_long": 5}
    assert len(findings.kept) == limit


def test_an_unknown_frame_names_those_that_there_are() -> None:
    with pytest.raises(CallError, match="unknown frame 'cr': one of lf, crlf, fixed, rdw, vb"):
        parse(FIXED, b"", "cp1252", "cr")


# --- from one encoding to another


def converted(data: bytes, source: str, target: str, **table: str) -> tuple[bytes, Findings, dict[str, int]]:
    findings = Findings()
    made = Converted(io.BytesIO(data), source, target, findings, replacements=Replacements("t", table))
    return b"".join(made), findings, dict(made.replaced)


@pytest.mark.parametrize("source", ["cp1252", "utf-8"])
def test_letters_are_replaced_and_counted_where_the_target_lacks_them(source: str) -> None:
    data = "a€b\n€é–c\n".encode(source)
    out, findings, replaced = converted(data, source, "iso8859-1", **{"€": "EUR", "é": "e"})
    assert out == "aEURb\nEURé?c\n".encode("latin-1")
    assert replaced == {"€": 2}, "é is there"
    (found,) = findings
    assert (found.rule, found.offset, found.column) == (
        "unmappable",
        data.index("–".encode(source)),
        3 if source == "cp1252" else 6,
    )
    assert found.message == "line 2: character U+2013 does not exist in iso8859-1"


def test_bytes_that_an_encoding_lacks_are_question_marks_in_utf_8_and_told() -> None:
    out, findings, _ = converted(b"a\x81\nb\x8dc", "cp1252", "utf-8")
    assert out == b"a?\nb?c"
    assert [(f.rule, f.offset, f.column, f.byte) for f in findings] == [
        ("undefined_byte", 1, 2, "81"), ("undefined_byte", 4, 2, "8d")
    ]  # fmt: skip
    assert [f.message[:7] for f in findings] == ["line 1:", "line 2:"]


def test_a_replacement_that_the_target_lacks_too_is_refused_and_a_table_has_single_letters(tmp_path: Any) -> None:
    with pytest.raises(CallError, match="t: '–' for '€' is not in iso8859-1 either"):
        converted(b"", "cp1252", "iso8859-1", **{"€": "–"})
    assert not Replacements()
    assert Replacements("t", {"€": "E"})
    for wrong in ("replace: [a]", "replace: {ab: c}", "replace: {a: 1}", "[]", "replace: {😀: x}"):
        file = tmp_path / f"{len(wrong)}.yaml"
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(CallError, match="single letters"):
            codepages._read(file)


def test_undefined_bytes_are_those_that_the_codec_has_not() -> None:
    assert codepages.codepage("cp1252").undefined == b"\x81\x8d\x8f\x90\x9d"
    assert codepages.codepage("cp437").undefined == codepages.codepage("utf-8").undefined == b""


# --- what is written


def test_a_block_of_the_mainframes_is_full_before_it_is_too_large() -> None:
    layout = make(length=1000, fields={"a": [1, 1000, "text"]})
    rows = [{"record_type": "r", "a": f"{n}"} for n in range(70)]
    data, refused = render(layout, rows, "cp037", "vb")
    assert not refused
    sizes = []
    rest = data
    while rest:
        size = int.from_bytes(rest[:2], "big")
        sizes.append(size)
        assert rest[2:4] == b"\0\0"
        rest = rest[size:]
    assert sizes == [4 + 32 * 1004, 4 + 32 * 1004, 4 + 6 * 1004]
    exact = make(length=8185, fields={"a": [1, 8185, "text"]})  # four of them are 32,756 bytes
    data, _ = render(exact, [{"record_type": "r", "a": "x"}] * 5, "cp037", "vb")
    assert int.from_bytes(data[:2], "big") == 32_760
    back, findings, _ = parse(layout, render(layout, rows, "cp037", "vb")[0], "cp037", "vb")
    assert (formats.values(back), list(findings)) == (rows, [])


def test_fields_that_are_written_alike_from_columns_of_other_types_are_written_each() -> None:
    layout = make(length=12, fields={"a": [1, 6, "decimal", {"decimals": 2}], "b": [7, 6, "decimal", {"decimals": 2}]})
    batch = pa.RecordBatch.from_pydict({
        "record_type": ["r", "r"], "a": pa.array([Decimal("1.5"), None], pa.decimal128(9, 1)), "b": pa.array([2, 3])
    })  # fmt: skip
    findings = Findings()
    assert b"".join(Rendered([batch], layout, "cp1252", "lf", findings)) == b"000150000200\n000000000300\n"
    assert not findings


@pytest.mark.parametrize("quoted", [True, False])
def test_a_quote_in_a_value_is_doubled_whether_it_must_be_in_quotes_or_always_is(quoted: bool) -> None:
    layout = make(
        kind="delimited", separator=";", fields={"a": [1, 9, "text", {"quoted": quoted}], "b": [2, 1, "text"]}
    )
    rows = [{"record_type": "r", "a": 'a"b', "b": "x"}, {"record_type": "r", "a": "c", "b": "y"}]
    data, refused = render(layout, rows, "cp1252")
    assert (data, list(refused)) == (b'"a""b";x\n' + (b'"c"' if quoted else b"c") + b";y\n", [])
    back, findings, _ = parse(layout, data, "cp1252")
    assert (formats.values(back), list(findings)) == (rows, [])


def test_the_number_that_has_no_positive_is_too_long_for_any_field() -> None:
    for width in (5, 18, 20):
        layout = make(length=width, fields={"n": [1, width, "integer"]})
        _, findings = render(layout, [{"record_type": "r", "n": -(2**63)}, {"record_type": "r", "n": 1}], "cp1252")
        assert [(f.rule, f.record) for f in findings] == ([("too_long", 1)] if width < 20 else [])


# --- some records of a file left out or blanked


TOTALS: dict[str, Any] = {"end.rows": {"count": "row"}, "end.sum": {"sum": "row.n"}}


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_totals_are_written_anew_when_records_are_blanked_or_left_out(kind: str, drop: bool) -> None:
    row = {
        "k": [1, 1, "text"],
        "n": [2, 3, "integer", {"protected": "blank"}],
        "name": [5 if kind == "fixed" else 3, 4, "text", {"protected": "blank"}],
    }
    end = {"k": [1, 1, "text"], "rows": [2, 3, "integer"], "sum": [5 if kind == "fixed" else 3, 4, "integer"]}
    layout = make(kind=kind, totals=TOTALS, records={
        "row": {"when": {"k": "R"}, "fields": row}, "end": {"when": {"k": "E"}, "place": "last", "fields": end}
    }, **({"length": 8} if kind == "fixed" else {"separator": ";"}))  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"record_type": "row", "k": "R", "n": n, "name": name} for n, name in ((5, "Åsa"), (6, "Bo"), (7, "Cia"))
    ]
    data, refused = render(layout, [*rows, {"record_type": "end", "k": "E"}], "cp1252")
    assert not refused

    def second(batch: pa.RecordBatch) -> Any:
        return np.asarray(batch.column("record_no")) == 2

    edited = Edited(io.BytesIO(data), layout, "cp1252", "lf", Findings(), second, drop=drop)
    out = b"".join(edited)
    left = (
        [rows[0], rows[2]]
        if drop
        else [rows[0], {**rows[1], "n": 0 if kind == "fixed" else None, "name": None}, rows[2]]
    )
    back, findings, _ = parse(layout, out, "cp1252")
    assert not findings
    assert [{k: v for k, v in r.items() if k in ("n", "name", "record_type")} for r in back][:-1] == [
        {k: r[k] for k in ("record_type", "n", "name")} for r in left
    ]
    assert edited.records == len(left) + 1
    assert edited.totals == {"end.sum": ("18", "12")} | ({"end.rows": ("3", "2")} if drop else {})
    untouched = Edited(
        io.BytesIO(data), layout, "cp1252", "lf", Findings(), lambda b: np.zeros(b.num_rows, np.bool_), drop=drop
    )
    assert b"".join(untouched) == data


def test_a_layouts_data_are_without_header_and_trailer_and_their_columns() -> None:
    layout = make(length=3, records={
        "a": {"when": {"k": "A"}, "fields": {"k": [1, 1, "text"], "x": [2, 2, "text"]}},
        "z": {"when": {"k": "Z"}, "place": "last", "fields": {"k": [1, 1, "text"], "y": [2, 2, "text"]}},
    })  # fmt: skip
    batch = formats.batch(layout, [{"record_type": "a", "k": "A", "x": "1"}, {"record_type": "z", "k": "Z", "y": "2"}])
    data = layout.data_of(batch)
    assert (data.num_rows, data.schema) == (1, layout.data_schema)
    assert layout.data_schema.names == ["record_no", "byte_offset", "record_type", "k", "x"]
    assert layout.data_of(batch.slice(0, 1)).num_rows == 1


NAVET = layouts.load("navet_utfil")
INFO = {"record_type": "info", "filtyp": "UTFIL"}


def test_a_word_of_the_format_within_a_value_is_a_value() -> None:
    people = [
        {"record_type": "person", "personnummer": "198911222399", "fornamn": f"a {word}"}
        for word in ("#DATA_SLUT", "#DATA_START", "#POST_SLUT")
    ]
    data, findings = render(NAVET, [INFO, *people, {"record_type": "end"}], "cp1252")
    assert not findings
    rows, findings, _ = parse(NAVET, data, "cp1252")
    assert not findings
    assert [r["fornamn"] for r in rows if r["record_type"] == "person"] == [p["fornamn"] for p in people]


def test_what_would_be_read_as_nothing_is_refused() -> None:
    person = {"record_type": "person", "personnummer": "198911222399", "fornamn": "$"}
    assert [f.rule for f in render(NAVET, [INFO, person, {"record_type": "end"}], "cp1252")[1]] == ["nothing"]
    at = make(length=6, fields={"a": [1, 6, "time", {"empty": "zeros"}]})
    assert [f.rule for f in render(at, [{"record_type": "r", "a": time(0)}], "cp1252")[1]] == ["nothing"]
    assert not render(at, [{"record_type": "r", "a": time(0, 0, 1)}, {"record_type": "r", "a": None}], "cp1252")[1]
    of = make(length=6, fields={"a": [1, 6, "digits", {"empty": "zeros"}]})
    assert [f.rule for f in render(of, [{"record_type": "r", "a": "00"}], "cp1252")[1]] == ["nothing"]


def test_a_group_of_no_post_is_not_written() -> None:
    relation = {"record_type": "relation", "relationstyp": "B"}
    person = {"record_type": "person", "personnummer": "198911222399"}
    _, findings = render(NAVET, [INFO, relation, person, relation, {"record_type": "end"}], "cp1252")
    assert [(f.rule, f.record) for f in findings] == [("out_of_order", 2)]


def test_a_plus_without_a_sign_is_no_layout() -> None:
    with pytest.raises(Exception, match="has a plus"):
        make(kind="delimited", separator=";", fields={"a": [1, 4, "integer", {"sign": "none", "plus": True}]})


def test_a_file_of_nothing_but_faults_is_read_in_a_moment() -> None:
    layout = make(kind="delimited", separator=";", fields={"a": [1, 4, "text"], "b": [2, 4, "text"]})
    findings = parse(layout, b"\n" * 300_000, "cp1252")[1]
    assert (findings.counts["field_count"], len(findings.kept)) == (300_000, 1000)
