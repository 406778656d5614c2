"""Every way for a file to be broken: a clear finding where it is, the sound records read, nothing silent."""

from __future__ import annotations

import io
import time
import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from slussen.errors import CallError, Findings
from slussen.records import layout as layouts
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import formats

A02 = layouts.load("a02")
LINE = 202  # a record of A02 with its CRLF


def a02(rows: int = 20) -> bytes:
    out, findings = formats.render(A02, formats.realistic(A02, Random(1), rows, "cp1252"), "cp1252", "crlf")
    assert not findings
    return out


def at(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


BROKEN: list[tuple[str, Callable[[bytes], bytes], dict[str, Any]]] = [
    ("cut within the last record", lambda d: d[:-60], {"truncated_file": (21, 20 * LINE, None)}),
    ("a byte too few in record 3", lambda d: d[: 2 * LINE + 50] + d[2 * LINE + 51 :],
     {"record_length": (3, 2 * LINE, None)}),
    ("a byte too many in record 3", lambda d: d[: 2 * LINE + 50] + b"x" + d[2 * LINE + 50 :],
     {"record_length": (3, 2 * LINE, None)}),
    ("LF for CRLF after record 2", lambda d: d[: 2 * LINE - 2] + b"\n" + d[2 * LINE :],
     {"line_end": (2, 2 * LINE - 2, "0a")}),
    ("NULs in record 4's client", lambda d: at(d, 3 * LINE + 4, b"\0\0"),
     {"control_character": (4, 3 * LINE + 4, "00")}),
    ("a BOM first", lambda d: b"\xef\xbb\xbf" + d, {"bom": (1, 0, "ef")}),
    ("a BOM in the middle", lambda d: at(d, 5 * LINE + 64, b"\xef\xbb\xbf"), {"bom": (6, 5 * LINE + 64, "ef")}),
    ("an unknown record type", lambda d: at(d, 6 * LINE, b"77"), {"record_type": (7, 6 * LINE, "37")}),
    ("no header", lambda d: d[LINE:], {"missing_header": (1, 0, None)}),
    ("no trailer", lambda d: d[: 20 * LINE], {"missing_trailer": (21, 20 * LINE, None)}),
    ("two headers", lambda d: d[:LINE] + d, {"second_header": (2, LINE, None)}),
    ("two files run together", lambda d: d + d,
     {"second_header": (22, 21 * LINE, None), "after_trailer": (22, 21 * LINE, None)}),
    ("a record after the trailer", lambda d: d + d[LINE : 2 * LINE], {"after_trailer": (22, 21 * LINE, None)}),
    ("a record is missing", lambda d: d[: 3 * LINE] + d[4 * LINE :], {"control_total": (20, 19 * LINE + 2, None)}),
    ("an amount is another", lambda d: at(d, 3 * LINE + 97, b"99999999999999"),
     {"control_total": (21, 20 * LINE + 12, None)}),
    ("a total is blank", lambda d: at(d, 20 * LINE + 12, b" " * 17), {"control_total": (21, 20 * LINE + 12, None)}),
    ("a total is zeros", lambda d: at(d, 20 * LINE + 12, b"0" * 17), {"control_total": (21, 20 * LINE + 12, None)}),
    ("no sign", lambda d: at(d, 4 * LINE + 96, b"?"), {"sign": (5, 4 * LINE + 96, "3f")}),
    ("no date", lambda d: at(d, 4 * LINE + 80, b"20260230"), {"not_a_date": (5, 4 * LINE + 80, None)}),
    ("no number", lambda d: at(d, 4 * LINE + 33, b"12 34"), {"not_a_number": (5, 4 * LINE + 33, None)}),
    ("no code", lambda d: at(d, 4 * LINE + 126, b"X"), {"not_in_code_list": (5, 4 * LINE + 126, None)}),
    ("required, and empty", lambda d: at(d, 4 * LINE + 2, b" " * 8), {"required": (5, 4 * LINE + 2, None)}),
    ("an undefined byte", lambda d: at(d, 4 * LINE + 150, b"\x81"), {"undefined_byte": (5, 4 * LINE + 150, "81")}),
    ("another constant", lambda d: at(d, 2, b"01801"), {"constant": (1, 6, "31")}),
    ("empty", lambda d: b"", {"empty_file": (None, 0, None)}),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "expected"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
@pytest.mark.parametrize("block", [1, 1000, 4 << 20])
def test_a_broken_file_is_located_in_whatever_blocks_it_comes(
    spoil: Callable[[bytes], bytes], expected: dict[str, Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slussen.records import frames

    monkeypatch.setattr(frames, "BLOCK", block)
    data = spoil(a02())
    rows, findings, _ = formats.parse(A02, data, "cp1252", "crlf")
    found: dict[str, Any] = {}
    for f in findings:
        found.setdefault(f.rule, (f.record, f.offset, f.byte))
        assert f.next_step
        if f.byte is not None:
            assert f.offset is not None
            assert data[f.offset] == int(f.byte, 16)
    for rule, place in expected.items():
        assert found.get(rule) == place, (rule, list(map(str, findings)))
    extra = set(found) - set(expected)
    # A spoilt record's amounts are gone from the sums, and a mark stands where there are no letters in Windows-1252.
    assert extra <= {
        "control_total",
        "control_character",
        "missing_header",
        "missing_trailer",
        "required",
        "not_a_number",
    }, list(map(str, findings))
    assert len(rows) >= min(18, data.count(b"\n") - 2)


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("byte", [0x00, 0x07, 0x81])
def test_what_is_no_letter_is_found_in_every_place_where_a_record_has_nothing_to_say(
    byte: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slussen.records import frames

    monkeypatch.setattr(frames, "BLOCK", size)
    layout = formats.make(
        length=12,
        records={"a": {"when": {"k": "A"}}, "b": {"when": {"k": "B"}}},
        fields={
            "f1": [1, 2, "filler"], "k": [3, 1, "text"], "f2": [4, 3, "filler"], "f3": [7, 2, "filler"],
            "v": [9, 2, "text"], "f4": [11, 2, "filler"],
        },
    )  # fmt: skip
    owner = {**dict.fromkeys((0, 1), "f1"), **dict.fromkeys((3, 4, 5), "f2"), **dict.fromkeys((6, 7), "f3"),
             **dict.fromkeys((10, 11), "f4")}  # fmt: skip
    lines = [b"  A     x   \n", b"..B.....y ..\n", b"  A     z   \n"]
    for record in range(3):
        for place, name in owner.items():
            data = at(b"".join(lines), record * 13 + place, bytes([byte]))
            rows, findings, _ = formats.parse(layout, data, "cp1252")
            told = [(f.rule, f.record, f.field, f.column) for f in findings if f.rule != "wrong_encoding"]
            assert told == [("undefined_byte" if byte == 0x81 else "control_character", record + 1, name, place + 1)]
            assert [r["v"] for r in rows] == ["x", "y", "z"]


def test_all_of_a_files_errors_are_found_and_only_so_many_are_kept() -> None:
    data = bytearray(a02(200))
    for record in range(1, 200):
        data[record * LINE + 80 : record * LINE + 88] = b"99999999"
    findings = Findings(limit=10)
    for _ in Parsed(io.BytesIO(bytes(data)), A02, "cp1252", "crlf", findings):
        pass
    assert len(findings.kept) == 10
    assert findings.counts["not_a_date"] == 199
    assert [f.record for f in findings.kept] == list(range(2, 12))


@pytest.mark.parametrize("name", ["agresso_cs15", "ergo", "navet_utfil"])
def test_a_line_without_end_is_passed_over_and_not_kept(name: str) -> None:
    """256 MB of it here; memory is what matters, and doesn't know the difference."""
    layout = layouts.load(name)
    good, _ = formats.render(layout, formats.realistic(layout, Random(2), 5, "iso8859-1"), "iso8859-1", "lf")
    if name == "navet_utfil":
        stream = Endless(b"#INFO_START\n#INFO_SLUT\n#DATA_START\n#POST_START\n#UP 01014 ", 256 << 20, b"")
    else:
        stream = Endless(good, 256 << 20, b"\n" + good)
    findings = Findings()
    tracemalloc.start()
    began = time.monotonic()
    for _ in Parsed(stream, layout, "iso8859-1", "lf", findings, hashed=False):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {"record_length", "truncated_file", "unclosed_record"} & set(findings.counts), list(map(str, findings))
    assert peak < 150 << 20
    assert time.monotonic() - began < 60


class Endless(io.RawIOBase):
    """A start, many bytes of a letter, an end."""

    def __init__(self, start: bytes, many: int, end: bytes) -> None:
        self._start, self._many, self._end = start, many, end

    def read(self, size: int = -1, /) -> bytes:
        if self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        if self._many > 0:
            n = min(size, self._many)
            self._many -= n
            return b"x" * n
        data, self._end = self._end[:size], self._end[size:]
        return data


def test_a_packed_field_and_line_ends_do_not_go_together() -> None:
    layout = formats.make(length=4, fields={"n": [1, 4, "integer", {"usage": "packed"}]})
    with pytest.raises(CallError, match="line ends"):
        formats.parse(layout, b"\x00\x00\x00\x0c\n", "cp278", "lf")
    with pytest.raises(CallError, match="line ends"):
        formats.render(layout, [{"record_type": "r", "n": 1}], "cp278", "lf")


def test_bytes_of_a_number_are_no_mark_of_the_files_beginning_or_end() -> None:
    layout = formats.make(length=4, fields={"n": [1, 4, "integer", {"usage": "binary"}]})
    rows, findings, _ = formats.parse(layout, b"\0\0\0\1\x1a\x1a\x1a", "cp1252", "fixed")
    assert [(f.rule, f.record, f.offset) for f in findings] == [("truncated_file", 2, 4)]
    assert [r["n"] for r in rows] == [1]
    rows, findings, _ = formats.parse(layout, b"\xef\xbb\xbf\1\0\0\0\2", "cp1252", "fixed")
    assert not findings
    assert [r["n"] for r in rows] == [int.from_bytes(b"\xef\xbb\xbf\1", "big", signed=True), 2]
    texts = formats.make(length=4, fields={"t": [1, 4, "text"]})
    rows, findings, _ = formats.parse(texts, b"abcd\x1a\x1a\x1a", "cp1252", "fixed")
    assert ([r["t"] for r in rows], findings.total) == (["abcd"], 0)


@pytest.mark.parametrize("block", [4, 3 << 20])
def test_a_mark_after_lines_of_wrong_length_is_told_of_its_record(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from slussen.records import frames

    monkeypatch.setattr(frames, "BLOCK", block)
    layout = formats.make(length=5, fields={"t": [1, 5, "text"]})
    _, findings, _ = formats.parse(layout, b"a\nb\nc\nabcde\n\xef\xbb\xbfxx\nabcde\n", "iso8859-1")
    assert [(f.rule, f.record, f.offset) for f in findings if f.rule == "bom"] == [("bom", 5, 12)]


def test_records_of_several_lengths_need_something_between_them() -> None:
    layout = formats.make(length=4, records={
        "a": {"when": {"k": "A"}, "fields": {"k": [1, 1, "text"], "x": [2, 3, "text"]}},
        "b": {"when": {"k": "B"}, "length": 2, "fields": {"k": [1, 1, "text"], "x": [2, 1, "text"]}},
    })  # fmt: skip
    with pytest.raises(CallError, match="several lengths"):
        formats.parse(layout, b"Axyz", "cp278", "fixed")
    rows, findings, _ = formats.parse(layout, b"Axyz\nBq\nAq\nBxyz\n", "iso8859-1", "lf")
    assert [(f.rule, f.record) for f in findings] == [("record_length", 3), ("record_length", 4)]
    assert [r["x"] for r in rows][:2] == ["xyz", "q"]


@pytest.mark.parametrize(
    ("data", "rule", "record", "offset", "what"),
    [
        (b"\x00\x03\x00\x00abcd", "record_descriptor", 1, 0, "00 03 00 00"),
        (b"\x00\x08\x00\x01abcd", "record_descriptor", 1, 0, "00 08 00 01"),
        (b"\x00\x08\x00\x00abcd\x00\x08\x01\x00abcd", "record_descriptor", 2, 8, "00 08 01 00"),
        (b"\x00\x08\x00\x00abcd\x00\x08\x00\x00ab", "truncated_file", 2, 8, "2 bytes where a record has 4"),
        (b"\x00\x07\x00\x00abc\x00\x08\x00\x00abcd", "record_length", 1, 4, "3 bytes where a record has 4"),
        (b"\x00\x08\x00\x00abcd\x00", "truncated_file", 2, 8, "0 bytes where a record has 4"),
        (b"\x00\x08\x00\x00abcd\x00\x08\x00\x00", "truncated_file", 2, 8, "0 bytes where a record has 4"),
    ],
)
def test_a_wrong_rdw_is_located(data: bytes, rule: str, record: int, offset: int, what: str) -> None:
    layout = formats.make(length=4, fields={"t": [1, 4, "text"]})
    _, findings, _ = formats.parse(layout, data, "iso8859-1", "rdw")
    assert [(f.rule, f.record, f.offset) for f in findings] == [(rule, record, offset)]
    assert [f.byte or f.message.removesuffix(", and there the file ends") for f in findings] == [what]


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize("frame", ["rdw", "vb"])
def test_records_that_say_their_lengths_are_found_however_they_are_blocked(
    frame: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slussen.records import frames

    monkeypatch.setattr(frames, "BLOCK", size)
    layout = formats.make(length=4, records={
        "a": {"when": {"k": "A"}, "fields": {"k": [1, 1, "text"], "x": [2, 3, "text"]}},
        "b": {"when": {"k": "B"}, "length": 2, "fields": {"k": [1, 1, "text"], "x": [2, 1, "text"]}},
    })  # fmt: skip
    random = Random(f"{frame} {size}")
    for _ in range(30):
        data, number = b"", 0
        rows: list[tuple[int, int, str]] = []
        wrong: list[tuple[str, int, int]] = []
        for _ in range(random.randrange(1, 5)):
            block = b""
            for _ in range(random.randrange(1, 5)):
                record = random.choice([b"Axyz", b"Bq", b"A", b"Axyzz", b""])
                number += 1
                start = len(data) + len(block) + (8 if frame == "vb" else 4)
                if record in (b"Axyz", b"Bq"):
                    rows.append((number, start, record[1:].decode()))
                else:
                    wrong.append(("record_length", number, start))
                block += (len(record) + 4).to_bytes(2, "big") + b"\0\0" + record
            data += ((len(block) + 4).to_bytes(2, "big") + b"\0\0" if frame == "vb" else b"") + block
        for tail in (b"", b"\0\3\0\0", b"\0\x08\1\0", b"\0\x08\0\1", b"\0\x09"):
            found, findings, _ = formats.parse(layout, data + tail, "iso8859-1", frame)
            assert [(r["record_no"], r["byte_offset"], r["x"]) for r in found] == rows
            ended = (
                []
                if not tail
                else [("truncated_file" if len(tail) < 4 else "record_descriptor", number + 1, len(data))]
            )
            assert [(f.rule, f.record, f.offset) for f in findings] == wrong + ended


def test_a_total_that_its_field_has_no_room_for_is_refused() -> None:
    layout = formats.make(length=6, records={
        "row": {"when": {"k": "R"}, "fields": {"k": [1, 1, "text"], "n": [2, 5, "integer"]}},
        "end": {"when": {"k": "E"}, "place": "last", "fields": {"k": [1, 1, "text"], "sum": [2, 5, "integer"]}},
    }, totals={"end.sum": {"sum": "row.n"}})  # fmt: skip
    rows = [{"record_type": "row", "k": "R", "n": 60_000}] * 2
    _, findings = formats.render(layout, rows, "iso8859-1")
    assert [(f.rule, f.field, f.record, f.offset) for f in findings] == [("overflow", "sum", 3, None)]
    _, findings, _ = formats.parse(layout, b"R60000\nR60000\nE20000\n", "iso8859-1")
    assert [(f.rule, f.field) for f in findings] == [("control_total", "sum")]
    assert "120,000" in str(next(iter(findings)))


def test_hash_totals_and_totals_of_groups() -> None:
    layout = formats.make(length=8, records={
        "open": {"when": {"k": "O"}, "fields": {"k": [1, 1, "text"], "x": [2, 7, "filler"]}},
        "row": {"when": {"k": "R"}, "under": "open",
                "fields": {"k": [1, 1, "text"], "id": [2, 4, "digits"], "n": [6, 3, "integer"]}},
        "shut": {"when": {"k": "S"}, "under": "open", "closes": "open",
                 "fields": {"k": [1, 1, "text"], "rows": [2, 2, "integer"], "hash": [4, 2, "digits"],
                            "n": [6, 3, "integer"]}},
    }, totals={"shut.rows": {"count": "row"}, "shut.hash": {"hash": "row.id"}, "shut.n": {"sum": "row.n"}})  # fmt: skip
    sound = b"O       \nR0060001\nR0050002\nS0210003\nO       \nR0001005\nS0101005\n"
    rows, findings, _ = formats.parse(layout, sound, "iso8859-1")
    assert not findings, list(map(str, findings))
    empty = [{**r, "rows": None, "hash": None} for r in rows]
    again, findings = formats.render(
        layout, [{k: v for k, v in r.items() if v is not None} for r in empty], "iso8859-1"
    )
    assert not findings
    assert again == sound
    _, findings, _ = formats.parse(layout, sound.replace(b"S0101", b"S0199"), "iso8859-1")
    assert [(f.rule, f.field, f.record) for f in findings] == [("control_total", "hash", 7)]
    opens, row, shut = b"O       \n", b"R0060001\n", b"S0106001\n"
    for data, wanted in (
        (opens + row + shut + row, ("out_of_order", 4)),
        (opens + row + shut + b"S0000000\n", ("out_of_order", 4)),
        (opens + row + opens + row + shut, ("missing_trailer", 3)),
        (opens + row, ("missing_trailer", 3)),
        (row + shut, ("out_of_order", 1)),
    ):
        _, findings, _ = formats.parse(layout, data, "iso8859-1")
        assert wanted in [(f.rule, f.record) for f in findings], data
    _, findings, _ = formats.parse(layout, sound[9:], "iso8859-1")
    assert ("out_of_order", 1) in [(f.rule, f.record) for f in findings]


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_a_blank_total_says_zero_and_one_that_cannot_be_read_is_told_once(kind: str) -> None:
    step, more = (3, {"length": 4}) if kind == "fixed" else (2, {"separator": ";"})
    layout = formats.make(kind=kind, records={
        "row": {"when": {"k": "R"}, "fields": {"k": [1, 1, "text"], "n": [2, 2, "integer"],
                                               "x": [step + 1, 1, "text"]}},
        "end": {"when": {"k": "E"}, "place": "last",
                "fields": {"k": [1, 1, "text"], "sum": [2, 2, "integer"], "x": [step + 1, 1, "text"]}},
    }, totals={"end.sum": {"sum": "row.n"}}, **more)  # fmt: skip

    def told(*lines: str) -> list[tuple[str, str, int | None]]:
        data = "".join(f"{line}\n" for line in lines).replace("|", "" if kind == "fixed" else ";")
        return [(f.rule, f.field, f.record) for f in formats.parse(layout, data.encode(), "iso8859-1")[1]]

    blank = "  " if kind == "fixed" else ""
    assert told("R|07|x", "E|07|x") == []
    assert told("R|00|x", f"E|{blank}|x") == []
    assert told("R|07|x", f"E|{blank}|x") == [("control_total", "sum", 2)]
    assert told("R|07|x", "E|0x|x") == [("not_a_number", "sum", 2)]


@pytest.mark.parametrize("encoding", ["iso8859-1", "utf-8", "cp278"])
@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_a_text_with_a_nul_in_it_is_found_and_is_none(kind: str, encoding: str) -> None:
    step, more = (5, {"length": 8}) if kind == "fixed" else (2, {"separator": ";"})
    layout = formats.make(kind=kind, fields={"a": [1, 4, "text"], "b": [step, 4, "text"]}, **more)
    data = "".join(f"{a}{'' if kind == 'fixed' else ';'}{b}\n" for a, b in (("Åsab", "abcd"), ("a\0åd", "bcde")))
    data = data.replace("Å", "A").replace("å", "a") if encoding == "utf-8" else data
    coded = data.encode(encoding).replace(b"\x15", b"\x25") if encoding == "cp278" else data.encode(encoding)
    rows, findings, _ = formats.parse(layout, coded, encoding)
    assert [(f.rule, f.record, f.field, f.byte) for f in findings] == [("control_character", 2, "a", "00")]
    assert [(r["a"] is None, r["b"]) for r in rows] == [(False, "abcd"), (True, "bcde")]


def test_what_a_letter_becomes_is_declared_and_counted() -> None:
    from slussen.records.codepages import replacements

    layout = layouts.load("ergo")
    rows = [
        {"record_type": "record", "personnr": "198911222399", "fornamn": "Zoë – ﬁn", "namn": "Šimek", "klass": "9A"}
    ]
    for encoding, table, wanted in (
        ("iso8859-1", "typographic", "Zoë - fin".encode("latin-1")),
        ("cp437", "pc8", "Zoë - ﬁn"),
    ):
        findings = Findings()
        out = Rendered(
            [formats.batch(layout, rows)], layout, encoding, "crlf", findings, replacements=replacements(table)
        )
        data = b"".join(out)
        if encoding == "iso8859-1":
            assert {f.message for f in findings} == {"character U+0160 does not exist in iso8859-1"}
            assert isinstance(wanted, bytes)
            assert wanted in data
            assert out.totals["replaced.fornamn"] == 2
        else:
            assert {f.message for f in findings} == {"character U+FB01 does not exist in cp437"}
            assert out.totals["replaced.namn"] == 1
            assert b"Simek" in data


def test_findings_are_told_in_the_files_order() -> None:
    layout = formats.make(length=3, records={
        "z": {"when": {"k": "Z"}, "fields": {"k": [1, 1, "text"], "n": [2, 2, "integer"]}, "under": "h"},
        "a": {"when": {"k": "A"}, "fields": {"k": [1, 1, "text"], "n": [2, 2, "integer"]}, "under": "h"},
        "h": {"when": {"k": "H"}, "fields": {"k": [1, 1, "text"], "n": [2, 2, "integer"]}},
    })  # fmt: skip
    _, findings, _ = formats.parse(layout, b"A01\nZ01\nA0x\nZ01\nH01\nAxx\n", "iso8859-1")
    assert [f.record for f in findings] == [1, 2, 3, 3, 4, 6]


def test_what_is_wrong_with_records_to_be_written_has_no_place_in_a_file_yet() -> None:
    layout = formats.make(length=3, records={
        "h": {"when": {"k": "H"}, "fields": {"k": [1, 1, "text"], "n": [2, 2, "integer"]}},
        "a": {"when": {"k": "A"}, "fields": {"k": [1, 1, "text"], "n": [2, 2, "integer"]}, "under": "h"},
    })  # fmt: skip
    _, findings = formats.render(layout, [{"record_type": "a", "k": "A", "n": 1}], "iso8859-1")
    assert [(f.rule, f.record, f.offset) for f in findings] == [("out_of_order", 1, None)]
