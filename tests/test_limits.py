"""The first and the last of everything: what fits exactly and what is one too many, in the first and last record."""

from __future__ import annotations

from typing import Any

import pytest

from slussen.records import layout as layouts
from tests import formats, reference
from tests.formats import make, parse, render

NAVET = layouts.load("navet_utfil")


@pytest.mark.parametrize("sign", ["leading", "none"])
@pytest.mark.parametrize("length", [1, 2, 4, 8])
def test_a_binary_field_has_room_for_all_of_its_bits_and_no_more(length: int, sign: str) -> None:
    layout = make(length=length, fields={"n": [1, length, "integer", {"usage": "binary", "sign": sign}]})
    bits = 8 * length - (sign != "none")
    lowest, highest = (0 if sign == "none" else -(2**bits)), min(2**bits, 2**63) - 1
    for number in (lowest, lowest + 1, 0, highest - 1, highest):
        data, refused = render(layout, [{"record_type": "r", "n": number}], "cp278", "fixed")
        assert (data, list(refused)) == (number.to_bytes(length, "big", signed=sign != "none"), []), number
    for number in (lowest - 1, highest + 1):
        if number.bit_length() < 64:
            _, refused = render(layout, [{"record_type": "r", "n": n} for n in (0, number)], "cp278", "fixed")
            rule = "sign" if number < 0 and sign == "none" else "too_long"
            assert [(f.rule, f.record, f.field) for f in refused] == [(rule, 2, "n")], number


@pytest.mark.parametrize(
    "rules",
    [{}, {"sign": "none"}, {"sign": "trailing"}, {"sign": "overpunched"}, {"sign": "zoned"}, {"plus": True},
     {"usage": "packed"}, {"fill": " "}, {"align": "left", "empty": "spaces"}],
)  # fmt: skip
@pytest.mark.parametrize("length", [2, 7, 10, 18, 19])
def test_a_number_has_room_for_as_many_digits_as_its_field(length: int, rules: dict[str, Any]) -> None:
    layout = make(length=length, fields={"n": [1, length, "integer", rules]})
    most = length * 2 - 1 if rules.get("usage") == "packed" else length
    own = most - (rules.get("sign") == "trailing" or "plus" in rules)  # of a positive number
    less = most - (
        rules.get("sign", "leading") in ("leading", "trailing") and "usage" not in rules
    )  # of a negative one
    for digits, sign in ((own, 1), (less, -1)):
        if sign < 0 and rules.get("sign") == "none":
            continue
        fits = sign * (10 ** min(digits, 18) - 1)
        data, refused = render(layout, [{"record_type": "r", "n": fits}], "cp278", "fixed")
        assert not refused, fits
        back, findings, _ = parse(layout, data, "cp278", "fixed")
        assert ([r["n"] for r in back], findings.total - findings.counts["wrong_encoding"]) == ([fits], 0)
        if digits < 18:
            _, refused = render(
                layout, [{"record_type": "r", "n": n} for n in (0, fits, fits + sign)], "cp278", "fixed"
            )
            assert [(f.rule, f.record) for f in refused] == [("too_long", 3)], fits


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_a_number_read_has_eighteen_digits_at_most(kind: str) -> None:
    layout = make(kind=kind, fields={"n": [1, 20, "integer"], "x": [21 if kind == "fixed" else 2, 1, "text"]},
                  **({"length": 21} if kind == "fixed" else {"separator": ";"}))  # fmt: skip
    numbers = ["0" * 20, "00" + "9" * 18, "01" + "0" * 18, "-0" + "9" * 18, "-1" + "0" * 18, "  " + "9" * 18]
    data = "".join(f"{n}{'' if kind == 'fixed' else ';'}x\n" for n in numbers).encode()
    rows, findings, _ = parse(layout, data, "cp1252")
    top = 10**18 - 1
    assert [r["n"] for r in rows] == [0, top, None, -top, None, top]
    assert [(f.rule, f.record, f.column, f.length) for f in findings] == [
        ("overflow", 3, 1, 20), ("overflow", 5, 1, 20)
    ]  # fmt: skip


LINES = [b"a;b;c\n", b"ABCDE;b;c\n", b"a;b;ABCDE\n", b"a;b\x07;c\n", b"a;;c"]
PARTED = make(kind="delimited", separator=";", fields={
    "a": [1, 4, "text"], "b": [2, 4, "text", {"required": True}], "c": [3, 4, "text"]
})  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (1, 0, 4), (2, 1, 3, 4), (3, 4), (1,), (2,), (3,), (4,)])
def test_what_is_wrong_with_a_value_is_told_with_its_first_column_and_its_length(order: tuple[int, ...]) -> None:
    data = b"".join(LINES[k].strip() + b"\n" for k in order)
    wanted = {
        1: ("too_long", "a", 1, 5, None), 2: ("too_long", "c", 5, 5, None),
        3: ("control_character", "b", 4, 1, "07"), 4: ("required", "b", 3, None, None),
    }  # fmt: skip
    for whole in (data, data.removesuffix(b"\n")):
        _, findings, _ = parse(PARTED, whole, "cp1252")
        assert [(f.record, f.rule, f.field, f.column, f.length, f.byte) for f in findings] == [
            (n, *wanted[k]) for n, k in enumerate(order, 1) if k
        ]


def test_a_value_as_long_as_its_field_is_read_and_one_letter_more_is_not() -> None:
    for encoding in ("cp1252", "utf-8", "cp278"):
        data = "åäöé;b;ÅÄÖÉ\nåäöéå;b;ÅÄÖÉ\n".encode(encoding).replace(b"\x15", b"\x25")
        rows, findings, _ = parse(PARTED, data, encoding)
        assert [(f.rule, f.record, f.field) for f in findings] == [("too_long", 2, "a")]
        assert (rows[0]["a"], rows[0]["c"], rows[1]["c"]) == ("åäöé", "ÅÄÖÉ", "ÅÄÖÉ")


SOME = ("cp1252", "iso8859-1", "iso8859-15", "cp437", "cp850", "sen850200c")


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [(k, e) for k in ("fixed", "delimited", "tagged") for e in SOME] + [("fixed", "cp278"), ("delimited", "cp278")],
)
def test_every_byte_of_an_encoding_is_its_letter_or_told_alone_among_plain_letters(kind: str, encoding: str) -> None:
    more: dict[str, Any] = {"length": 5} if kind == "fixed" else {"separator": ";"}
    layout, name = NAVET, "fornamn"
    if kind != "tagged":
        name, place = "a", 4 if kind == "fixed" else 2
        layout = make(kind=kind, fields={"a": [1, 3, "text"], "b": [place, 2, "text"]}, **more)
    for byte in range(256):
        letter = reference.letter(byte, encoding)
        if letter is not None and letter in '\r\n;"\x1a':
            continue
        text = {"fixed": "a?bcd\nxyzuv\n", "delimited": "a?b;cd\nxyz;uv\n",
                "tagged": posts(*ONE, "#UP 01012 a?b", "#POST_SLUT").decode("cp1252")}[kind]  # fmt: skip
        coded = reference.encode(text.replace("?", "!"), encoding)
        mark = reference.encode("a!b", encoding)
        data = coded.replace(mark, mark[:1] + bytes([byte]) + mark[2:])
        rows, findings, _ = parse(layout, data, encoding)
        told = [(f.rule, f.field, f.byte) for f in findings if f.rule not in ("wrong_encoding", "bom")]
        if letter is None:
            assert told == [("undefined_byte", name, f"{byte:02x}")], hex(byte)
        elif ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0:
            assert told == [("control_character", name, f"{byte:02x}")], hex(byte)
        else:
            assert not told, hex(byte)
            assert next(r[name] for r in rows if r["record_type"] in ("person", "r")) == f"a{letter}b"


# --- a tagged file's


def posts(*lines: str, of: int = 1) -> bytes:
    head = "#INFO_START\n#FILTYP UTFIL\n#INFO_SLUT\n#DATA_START\n"
    tail = f"#DATA_SLUT\n#AVST_START\n#ANTAL_POSTER {of:08}\n#AVST_SLUT\n#FIL_SLUT\n"
    return (head + "".join(f"{line}\n" for line in lines) + tail).encode("cp1252")


ONE = ("#POST_START", "#UP 01001 198911222399", "#UP 01014 Berg")


def test_the_head_is_record_0_and_the_tail_comes_after_the_last_post() -> None:
    for n in (1, 3):
        data = posts(*(*ONE, "#POST_SLUT") * n, of=n)
        rows, findings, parsed = parse(NAVET, data, "cp1252")
        assert not findings
        assert [(r["record_no"], r["byte_offset"]) for r in rows if r["record_type"] == "info"] == [(0, 0)]
        ends = [(r["record_no"], r["byte_offset"], r["antal_poster"]) for r in rows if r["record_type"] == "end"]
        assert ends == [(n + 1, data.index(b"#DATA_SLUT"), n)]
        assert parsed.totals["declared"] == parsed.records == n


def test_terms_of_a_group_that_is_passed_over_are_counted_whatever_they_are() -> None:
    group = ("#UP 04000", "#UP 01001 1", "#UP 01014 Berg", "#UP 99998 x", "#UP 04999")
    _, findings, parsed = parse(NAVET, posts(*ONE, *group, "#UP 99999 y", "#POST_SLUT"), "cp1252")
    assert not findings
    assert parsed.totals["unknown"] == len(group) + 1
    assert "unknown" not in parse(NAVET, posts(*ONE, "#POST_SLUT"), "cp1252")[2].totals


def test_a_number_of_posts_that_is_one_too_many_or_too_few_is_told_where_it_stands() -> None:
    for said in (1, 3):
        data = posts(*(*ONE, "#POST_SLUT") * 2, of=said)
        _, findings, _ = parse(NAVET, data, "cp1252")
        assert [(f.rule, f.field, f.offset) for f in findings] == [
            ("record_count", "antal_poster", data.index(b"#ANTAL_POSTER"))
        ]


@pytest.mark.parametrize("post", [1, 2, 3])
@pytest.mark.parametrize(
    ("line", "field", "column", "length", "rule"),
    [
        ("#UP 01034 123456", "fb_postnr", 11, 6, "too_long"),
        ("#UP 01034 1234x", "fb_postnr", 15, 1, "not_a_number"),
        ("#UP 01012 B\x07", "fornamn", 12, 1, "control_character"),
        ("#UP 01012Bo", "", 10, None, "unexpected_line"),
    ],
)
def test_what_is_wrong_with_a_term_is_told_with_its_post_and_its_column(
    post: int, line: str, field: str, column: int, length: int | None, rule: str
) -> None:
    lines = [word for n in (1, 2, 3) for word in (*ONE, *([line] if n == post else []), "#POST_SLUT")]
    data = posts(*lines, of=3)
    _, findings, _ = parse(NAVET, data, "cp1252")
    (found,) = findings
    assert (found.rule, found.record, found.field, found.column) == (rule, post, field, column)
    assert found.offset == data.index(line.encode()) + column - 1
    assert found.length == length


def test_a_post_of_two_terms_of_a_kind_is_told_at_the_second() -> None:
    data = posts(*ONE, "#UP 01014 Sten", "#POST_SLUT", *ONE, "#POST_SLUT", of=2)
    rows, findings, _ = parse(NAVET, data, "cp1252")
    assert [(f.rule, f.record, f.record_type, f.field, f.offset) for f in findings] == [
        ("twice", 1, "person", "efternamn", data.index(b"#UP 01014 Sten"))
    ]
    assert [r["efternamn"] for r in rows if r["record_type"] == "person"] == ["Sten", "Berg"]


HEADS = {
    "#BESTÄLLNINGSID": (["00000180-KI01-0001", "99999999-ZA99-9999"],
                        ["00000180-KI01-000", "0000180-KI01-0001", "00000180-kI01-0001", "00000180-KÄ01-0001", "x"]),
    "#EFFEKTUERAD": (["20260112"], ["2026011", "2026-1-1"]),
    "#DATUM_ANDRING": (["20260105-20260111"], ["20260105", "20260105-2026011", "20260105 20260111"]),
}  # fmt: skip


@pytest.mark.parametrize("keyword", HEADS)
def test_ids_and_days_of_a_head_look_as_they_are_published(keyword: str) -> None:
    right, wrong = HEADS[keyword]
    data = posts(*ONE, "#POST_SLUT")
    name = next(f.name for f in NAVET.fields if f.at == keyword)
    for value in (*right, *wrong, ""):
        line = f"{keyword} {value}\n".encode("cp1252")
        _, findings, _ = parse(NAVET, data.replace(b"#FILTYP", line + b"#FILTYP"), "cp1252")
        told = [(f.record, f.field, f.column) for f in findings if f.rule == "shape"]
        assert told == ([(0, name, len(keyword) + 2)] if value in wrong else []), value
        assert bool(findings) == (value in wrong)
        rows = [{"record_type": "info", "filtyp": "UTFIL", name: value or None},
                {"record_type": "person", "personnummer": "198911222399"}, {"record_type": "end"}]  # fmt: skip
        _, refused = render(NAVET, rows, "cp1252")
        assert ("shape" in refused.counts, bool(refused)) == (value in wrong, value in wrong)


def test_a_record_known_by_a_field_that_isnt_blank_has_any_letter_in_it() -> None:
    layout = make(length=3, records={"full": {"when": {"x": "*"}}, "rest": {}},
                  fields={"x": [1, 2, "text"], "y": [3, 1, "text"]})  # fmt: skip
    rows, findings, _ = parse(layout, b"ab1\na 2\n b3\n  4\n", "cp1252")
    assert not findings
    assert [(r["y"], r["record_type"]) for r in rows] == [("1", "full"), ("2", "full"), ("3", "full"), ("4", "rest")]


# --- parts and wholes


GROUPED = make(length=4, records={
    "head": {"when": {"k": "H"}, "place": "first", "fields": {"k": [1, 1, "text"], "x": [2, 3, "text"]}},
    "open": {"when": {"k": "O"}, "fields": {"k": [1, 1, "text"], "x": [2, 3, "text"]}},
    "row": {"when": {"k": "R"}, "under": "open", "fields": {"k": [1, 1, "text"], "n": [2, 3, "integer"]}},
    "shut": {"when": {"k": "S"}, "under": "open", "closes": "open",
             "fields": {"k": [1, 1, "text"], "n": [2, 3, "integer"]}},
    "end": {"when": {"k": "E"}, "place": "last", "fields": {"k": [1, 1, "text"], "n": [2, 3, "integer"]}},
}, totals={"shut.n": {"sum": "row.n"}, "end.n": {"count": "*"}})  # fmt: skip


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        ("H O1 R2 R3 S5 O1 S0 E8", []),
        ("H E2", []),
        ("O1 S0 E3", [("missing_header", 1)]),
        ("H O1 S0", [("missing_trailer", 4)]),
        ("H O1 R2 R3 S4 E6", [("control_total", 5)]),
        ("H O1 R2 R3 S6 E6", [("control_total", 5)]),
        ("H O1 S0 O1 R1 S1 E6", [("control_total", 7)]),
        ("H O1 S0 O1 R1 S1 E8", [("control_total", 7)]),
        ("H R1 O1 S0 E5", [("out_of_order", 2)]),
        ("H O1 S0 R1 E5", [("out_of_order", 4)]),
        ("H O1 S0 S0 E5", [("out_of_order", 4)]),
        ("H O1 R1 O1 S0 E6", [("missing_trailer", 4)]),
        ("H O1 R1 E4", [("missing_trailer", 4)]),
        ("H O1 R1", [("missing_trailer", 4), ("missing_trailer", 4)]),
        ("H H E3", [("second_header", 2)]),
        ("H E2 O1", [("after_trailer", 3), ("missing_trailer", 4)]),
    ],
)
def test_parts_belong_to_their_whole_and_totals_to_what_is_before_them(
    kinds: str, wanted: list[tuple[str, int]], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slussen.records import frames

    monkeypatch.setattr(frames, "BLOCK", size)
    data = "".join(f"{k[0]}{k[1:].rjust(3, '0' if k[0] in 'RSE' else ' ')}\n" for k in kinds.split()).encode()
    _, findings, parsed = formats.parse(GROUPED, data, "cp1252")
    assert [(f.rule, f.record) for f in findings] == wanted
    assert all(f.offset == 5 * ((f.record or 0) - 1) + (f.column or 1) - 1 for f in findings)
    assert sum(n for name, n in parsed.totals.items() if name.startswith("records.")) == len(kinds.split())
