"""Files of nothing but faults: told at once, the first ones kept, all of them counted, in whatever blocks they come."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slussen.errors import Findings
from slussen.records import frames, source
from slussen.records import layout as layouts
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import formats

LIMIT = 50
FIXED = formats.make(length=12, fields={"a": [1, 6, "text"], "b": [7, 6, "text", {"align": "right"}]})
PARTED = formats.make(kind="delimited", separator=";", fields={"a": [1, 6, "text"], "b": [2, 6, "text"]})
SECTIONS = formats.make(
    kind="delimited", separator=";",
    records={k: {"section": k * 3, "fields": {k: [1, 4, "text"], f"{k}2": [2, 4, "text"]}} for k in "ab"},
)  # fmt: skip
HEAD = b"#INFO_START\n#INFO_SLUT\n#DATA_START\n"
MARK = b"\xef\xbb\xbf"


@contextmanager
def at_once(seconds: float = 2) -> Iterator[None]:
    """Of a megabyte; on a machine with other work."""
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def found(layout: layouts.Layout, data: bytes, encoding: str, frame: str) -> Findings:
    findings = Findings(LIMIT)
    for _ in Parsed(io.BytesIO(data), layout, encoding, frame, findings):
        pass
    assert 0 not in findings.counts.values()
    return findings


FILES: dict[str, tuple[layouts.Layout, bytes, str, str, dict[str, int]]] = {
    "bytes that don't exist": (FIXED, b"\x81" * 12 + b"\n", "cp1252", "lf", {"undefined_byte": 12}),
    "bytes that don't exist, delimited": (PARTED, b"\x81" * 6 + b";\x8d\n", "cp1252", "lf", {"undefined_byte": 7}),
    "bytes that are no UTF-8": (FIXED, b"\xff\xfe    \xff     \n", "utf-8", "lf", {"undefined_byte": 2}),
    "line ends alone": (FIXED, b"\r\n", "cp1252", "crlf", {"record_length": 1}),
    "line ends alone, delimited": (PARTED, b"\n", "cp1252", "crlf", {"field_count": 1, "line_end": 1}),
    "line ends alone, in sections": (SECTIONS, b"\n", "cp1252", "crlf", {"record_type": 1, "line_end": 1}),
    "other line ends": (FIXED, b"abcdefghijkl\r\n", "cp1252", "lf", {"line_end": 1}),
    "lengths of nothing": (FIXED, b"\0\4\0\0", "cp1252", "rdw", {"record_length": 1}),
    "byte order marks": (FIXED, b" " + MARK * 3 + b"  \n", "iso8859-1", "lf", {"bom": 3}),
    "byte order marks, delimited": (PARTED, b"a" + MARK + b";\n", "iso8859-1", "lf", {"bom": 1}),
    "odd quotes": (PARTED, b'"a"b;c\n', "cp1252", "lf", {"quote": 1}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_megabyte_of_one_fault_is_told_at_once_and_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, record, encoding, frame, faults = FILES[name]
    n = 1_000_000 // len(record)
    with at_once():
        findings = found(layout, record * n, encoding, frame)
    findings.counts.pop("wrong_encoding", None)
    assert findings.counts == Counter({rule: count * n for rule, count in faults.items()})
    assert len(findings.kept) == LIMIT
    monkeypatch.setattr(frames, "BLOCK", 4096)
    monkeypatch.setattr(source, "CHUNK", 4096)
    some = found(layout, record * 3000, encoding, frame)
    some.counts.pop("wrong_encoding", None)
    assert some.counts == Counter({rule: count * 3000 for rule, count in faults.items()})


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (HEAD + b"#DATA_SLUT\n" + b"#AVST_START\n" * 80_000, "twice"),
        (b"#INFO_START\n" + b"\n" * 1_000_000 + b"#DATA_START\n", "truncated_file"),
        (HEAD + b"junk\n" * 200_000, "unexpected_line"),
        (HEAD + b"#POST_START\n" * 80_000, "unclosed_record"),
    ],
)
def test_a_megabyte_of_lines_that_do_not_belong_in_a_tagged_file_is_told_at_once(data: bytes, rule: str) -> None:
    with at_once():
        assert found(layouts.load("navet_utfil"), data, "iso8859-1", "lf").counts[rule]


@pytest.mark.parametrize("total", ["       ", "     xx", "0000009"])
def test_groups_whose_totals_are_all_wrong_are_told_at_once(total: str) -> None:
    key: dict[str, Any] = {"k": [1, 1, "text"]}
    texts = {"fields": {**key, "x": [2, 7, "text"]}}
    layout = formats.make(
        length=8, totals={"t.n": {"count": "d"}},
        records={
            "h": {"when": {"k": "H"}, **texts},
            "d": {"when": {"k": "D"}, "under": "h", **texts},
            "t": {"when": {"k": "T"}, "under": "h", "closes": "h",
                  "fields": {**key, "n": [2, 7, "integer", {"empty": "spaces"}]}},
        },
    )  # fmt: skip
    with at_once():
        findings = found(layout, f"{'H':8}\n{'D':8}\nT{total}\n".encode() * 40_000,
                         "cp1252", "lf")  # fmt: skip
    assert findings.counts["not_a_number" if "x" in total else "control_total"] == 40_000


def test_a_line_of_a_megabyte_of_fields_names_none() -> None:
    layout = layouts.load("statistics")
    with at_once():
        assert found(layout, b";" * 1_000_000, "iso8859-1", "lf").counts == {"header_row": 1}


def test_one_section_after_another_is_read_at_once() -> None:
    with at_once():
        assert found(SECTIONS, b"aaa\nbbb\n" * 150_000 + b"1;2\n", "cp1252", "lf").total == 0


@pytest.mark.parametrize("middle", [b"\n" * 200_000, b'""' * 100_000, b'\n""' * 60_000])
def test_a_value_of_many_lines_and_quotes_is_read_at_once(middle: bytes) -> None:
    layout = formats.make(kind="delimited", separator=";", fields={"a": [1, 400_000, "text"], "b": [2, 9, "text"]})
    with at_once():
        assert found(layout, b'"' + middle + b'";x\n', "cp1252", "lf").total == 0
        findings = found(layout, b'"' + middle + b'\x07\r";x\n', "cp1252", "lf")
    assert [(f.rule, f.offset, f.byte) for f in findings] == [
        ("control_character", len(middle) + 1, "07"), ("control_character", len(middle) + 2, "0d"),
    ]  # fmt: skip


@pytest.mark.parametrize("layout", [FIXED, PARTED], ids=["fixed", "delimited"])
def test_letters_that_an_encoding_lacks_and_values_too_long_are_told_at_once(layout: layouts.Layout) -> None:
    n = 30_000
    rows: list[dict[str, Any]] = [{"record_type": "r", "a": "漢字漢字漢字", "b": "1234567"}] * n
    batch, findings = formats.batch(layout, rows), Findings(LIMIT)
    with at_once():
        b"".join(Rendered([batch], layout, "cp1252", "lf", findings))
    assert findings.counts == {"unmappable": 6 * n, "too_long": n}
    assert {f.message for f in findings} <= {
        "character U+6F22 does not exist in cp1252", "character U+5B57 does not exist in cp1252",
    }  # fmt: skip
    last = Findings(LIMIT)
    b"".join(Rendered([formats.batch(layout, rows[:1])], layout, "cp1252", "lf", last))
    assert [f.column for f in last if f.rule == "unmappable"] == [1, 2, 3, 4, 5, 6]
    assert [f.message for f in last if f.rule == "too_long"] == ["7 characters in a field of 6"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_byte_that_does_not_exist_is_told_where_it_stands_whatever_the_side(encoding: str) -> None:
    wrong = {"cp1252": b"\x81", "utf-8": b"\xff"}[encoding]
    data = b"x" + wrong + b"y   " + b"   x" + wrong + b"y\n"
    _, findings, _ = formats.parse(FIXED, data, encoding)
    told = [(f.rule, f.field, f.column, f.offset, f.byte) for f in findings if f.rule != "wrong_encoding"]
    assert told == [("undefined_byte", "a", 2, 1, wrong.hex()), ("undefined_byte", "b", 11, 10, wrong.hex())]


def test_a_quote_is_told_of_its_record_whatever_lines_are_none() -> None:
    _, findings, _ = formats.parse(SECTIONS, b'aaa\n1;2\nbbb\n3;4\n5;"6"x\n7;8\n', "cp1252")
    assert [(f.rule, f.record, f.column) for f in findings] == [("quote", 3, 3)]
    named = formats.make(kind="delimited", separator=";", header_row=True, fields=PARTED.file.fields)
    _, findings, _ = formats.parse(named, b'a;b\n1;2\n3;"4"x\n', "cp1252")
    assert [(f.rule, f.record, f.column) for f in findings] == [("quote", 2, 3)]
    _, findings, _ = formats.parse(named, b'a;"b"x\n1;2\n', "cp1252")
    assert {(f.rule, f.record) for f in findings} == {("header_row", 1), ("quote", 1)}
