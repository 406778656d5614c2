"""Parse, render and convert: against a slow obvious reference, by property, and with every kind of broken input."""

from __future__ import annotations

import datetime as dt
import io
import time
from decimal import Decimal
from functools import cache

import ebcdic  # noqa: F401 (registers the codecs)
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.population import BAD, Population, population_file
from slussen.errors import CallError, Findings
from slussen.records import layout as layouts
from slussen.records.codepages import NAMES, SINGLE, UNDEFINED, codepage
from slussen.records.convert import Converted
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import reference

TODAY = dt.date(2026, 1, 12)


# --- encodings


@pytest.mark.parametrize("name", SINGLE)
def test_a_codepage_is_what_the_reference_says_both_ways(name: str) -> None:
    page = codepage(name)
    for byte in range(256):
        letter = reference.letter(byte, name)
        if letter is None:
            assert page.letters[byte] == UNDEFINED
            continue
        assert page.letters[byte] == ord(letter)
        assert page.bytes[ord(letter)] == reference.byte(letter, name)[0]


def test_swedish_letters_stand_where_the_mainframe_has_them_and_not_where_other_ebcdics_do() -> None:
    page = codepage("cp278")
    assert bytes(page.byte(c) for c in "åäöÅÄÖéÉ") == bytes.fromhex("D0 C0 6A 5B 7B 7C 79 E0")
    assert bytes.fromhex("5B7B7C").decode("cp500") == "$#@"
    assert page.letters[0x71] == ord("\\")


def test_windows_1252_has_no_byte_81() -> None:
    assert [b for b in range(256) if codepage("cp1252").letters[b] == UNDEFINED] == [0x81, 0x8D, 0x8F, 0x90, 0x9D]


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_there_and_back_is_the_identity_for_all_that_both_know(source: str, target: str) -> None:
    letters = [chr(p) for p in range(1, 0x2600) if _in(chr(p), source) and _in(chr(p), target)]
    both = b"".join(convert("".join(letters).encode("utf-8"), "utf-8", source))
    there = b"".join(convert(both, source, target))
    assert b"".join(convert(there, target, source)) == both
    assert b"".join(convert(there, target, "utf-8")).decode() == "".join(letters)


def _in(letter: str, name: str) -> bool:
    return name.startswith("utf-8") or codepage(name).bytes[ord(letter)] != UNDEFINED


def convert(data: bytes, source: str, target: str) -> list[bytes]:
    findings = Findings()
    made = list(Converted(io.BytesIO(data), source, target, findings))
    assert not findings, list(map(str, findings))
    return made


def test_what_cannot_be_converted_is_located_across_chunks_and_never_replaced_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from slussen.records import convert

    monkeypatch.setattr(convert, "CHUNK", 7)
    findings = Findings()
    data = "åäö\nabc\n12 ░ x\n".encode("cp437")  # a shade that only PC8 has
    list(Converted(io.BytesIO(data), "cp437", "cp1252", findings))
    (found,) = findings
    assert (found.rule, found.column, found.offset, found.byte) == ("unmappable", 4, 11, "b0")
    assert "line 3" in found.message


def test_an_unknown_encoding_is_the_callers_fault() -> None:
    with pytest.raises(CallError, match="cp278"):
        codepage("utf-7")


# --- fixed records


def one(name: str, **values: object) -> pa.RecordBatch:
    layout = layouts.load(name)
    row = {"record_no": 17, "byte_offset": 0, "record_type": next(iter(layout.records)), **values}
    return pa.RecordBatch.from_arrays(
        [pa.array([row.get(f.name)], f.type) for f in layout.schema], schema=layout.schema
    )


GOOD = {"apar_id": "1", "apar_name": "Åsa", "comp_reg_no": "198911222399"}


@pytest.mark.parametrize(
    ("values", "rule", "field", "column"),
    [
        ({"apar_name": "Å" * 51}, "too_long", "apar_name", 23),
        ({"apar_name": "Zoë €"}, "unmappable", "apar_name", 27),
        ({"apar_name": None}, "required", "apar_name", 23),
        ({"country_code": "NO"}, "not_in_code_list", "country_code", 847),
    ],
)
def test_what_does_not_fit_is_refused_with_record_field_and_column(
    values: dict[str, object], rule: str, field: str, column: int
) -> None:
    findings = Findings()
    batch = one("agresso_cs15", **(GOOD | values))
    b"".join(Rendered([batch], layouts.load("agresso_cs15"), "iso8859-1", "lf", findings))
    (found,) = findings
    assert (found.record, found.rule, found.field, found.column) == (17, rule, field, column)
    assert found.next_step
    assert "Å" not in str(found), "never the value"


def test_a_number_too_large_for_its_field_is_refused() -> None:
    findings = Findings()
    batch = one("agresso_lg04", batch_id="x", client="ST", trans_type="42", voucher_type="FU", line_no=10_000,
                order_id=38_000_000, ext_ord_ref="198911222399", period=202601)  # fmt: skip
    b"".join(Rendered([batch], layouts.load("agresso_lg04"), "iso8859-1", "lf", findings))
    assert [(f.rule, f.field) for f in findings] == [("too_long", "line_no")]


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (lambda b: b[:-3], {"truncated_file"}),
        (lambda b: b[:100] + b[101:], {"record_length"}),
        (lambda b: b[:100] + b"x" + b[100:], {"record_length"}),
        (lambda b: b"2" + b[1:], {"constant"}),
        (lambda b: b[:142] + b"X" + b[143:], {"check_digit"}),
    ],
)
def test_a_broken_fixed_file_is_located(spoil: object, rules: set[str]) -> None:
    layout = layouts.load("agresso_cs15")
    whole = b"".join(Rendered([one("agresso_cs15", **GOOD)] * 3, layout, "iso8859-1", "lf", Findings()))
    findings = Findings()
    parsed = Parsed(io.BytesIO(spoil(whole)), layout, "iso8859-1", "lf", findings)  # type: ignore[operator]
    rows = sum(b.num_rows for b in parsed)
    assert {f.rule for f in findings} == rules
    assert all(f.offset is not None and f.record for f in findings)
    assert rows >= 2, "the sound records are read"


# --- tagged files


@cache
def weeks_file(size: int = 400) -> bytes:
    population = Population.of(3, size, TODAY)
    return b"".join(population_file(population.week(4, TODAY), TODAY, 1))


def parse(
    data: bytes, name: str = "navet_utfil", encoding: str = "cp1252"
) -> tuple[Parsed, list[dict[str, object]], Findings]:
    findings = Findings()
    parsed = Parsed(io.BytesIO(data), layouts.load(name), encoding, "lf", findings)
    rows = [r for b in parsed for r in b.to_pylist()]
    return parsed, rows, findings


def reference_tagged(data: bytes) -> list[dict[str, str]]:
    """Slow and obvious: line by line."""
    layout = layouts.load("navet_utfil")
    terms = {(kind, str(f.at)): f.name for kind in layout.records for f in layout.of(kind)}
    groups = {"02000": "relation", "03000": "medborgarskap"}
    rows: list[dict[str, str]] = []
    kind, post = "person", 0
    for line in data.decode("cp1252").splitlines():
        if line == "#POST_START":
            post, kind = post + 1, "person"
            rows.append({"record_no": str(post), "record_type": kind})
        elif line.startswith("#UP "):
            term, value = line[4:9], line[10:]
            if term in groups:
                kind = groups[term]
                rows.append({"record_no": str(post), "record_type": kind})
            elif term.endswith("999"):
                kind = "person"
            elif value and (kind, term) in terms:
                target = (
                    rows[-1] if kind != "person" else next(r for r in reversed(rows) if r["record_type"] == "person")
                )
                target[terms[kind, term]] = value
    return rows


def told(rows: list[dict[str, object]]) -> list[tuple[tuple[str, str], ...]]:
    kept = [{k: str(v) for k, v in r.items() if v is not None and k not in ("byte_offset", "group_no")} for r in rows]
    return sorted(tuple(sorted(r.items())) for r in kept if r["record_type"] not in ("info", "end"))


@pytest.mark.parametrize("chunk", [64, 1000, 8 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_a_population_file_reads_as_the_slow_reader_reads_it_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, chunk: int, end: bytes
) -> None:
    from slussen.records import source as module

    monkeypatch.setattr(module.Source.read, "__defaults__", (chunk,))
    data = weeks_file().replace(b"\n", end)
    parsed, rows, findings = parse(data)
    assert not findings, list(map(str, findings))
    assert told(rows) == told(reference_tagged(data))  # type: ignore[arg-type]
    assert parsed.bytes == len(data)
    assert parsed.header["effektuerad"] == "20260112"
    for row in rows:
        if row["record_type"] == "person":
            assert data[int(str(row["byte_offset"])) :].startswith(b"#POST_START")


EXPECTED = {
    "endless": {"unclosed_record"},
    "count": {"record_count"},
    "byte81": {"undefined_byte"},
    "checkdigit": {"check_digit"},
    "flagsgone": set(),
}


@pytest.mark.parametrize("name", BAD)
def test_each_way_to_spoil_a_population_file_is_found_and_nothing_else(name: str) -> None:
    data = BAD[name](weeks_file())
    _, _, findings = parse(data)
    assert {f.rule for f in findings} == EXPECTED[name]
    for f in findings:
        assert f.offset is not None
        if f.byte:
            assert data[f.offset] == int(f.byte, 16)


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"hej", b"#INFO_START\n", b"#DATA_START\n", b"#DATA_START\n#DATA_SLUT\n", b"\xff" * 5000,
     b"#DATA_START\n#POST_START\n#UP 01001\n", b"#DATA_START\n#UP 0100X 1\n#POST_SLUT\n#DATA_SLUT\n"],
)  # fmt: skip
def test_what_is_no_population_file_is_a_finding_and_no_crash(data: bytes) -> None:
    _, _, findings = parse(data)
    assert findings


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.data())
def test_bytes_changed_anywhere_never_crash_the_reader(data: st.DataObject) -> None:
    whole = bytearray(weeks_file(120))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                whole[at] = data.draw(st.integers(0, 255))
            case "cut":
                del whole[at : at + data.draw(st.integers(1, 300))]
            case _:
                whole[at:at] = data.draw(st.binary(max_size=40))
    parse(bytes(whole))


def test_an_endless_file_without_posts_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from slussen.records import tagged

    monkeypatch.setattr(tagged, "LONGEST_POST", 1000)
    monkeypatch.setattr(tagged, "CHUNK", 1000)
    from slussen.records import source as module

    monkeypatch.setattr(module.Source.read, "__defaults__", (500,))
    _, _, findings = parse(b"#DATA_START\n#POST_START\n" + b"#UP 01014 x\n" * 1000)
    assert "unclosed_record" in {f.rule for f in findings}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_number_that_a_field_holds_fits_and_the_next_does_not(sign: int) -> None:
    """In whole numbers: as floats, sixteen nines are not less than ten to the sixteenth."""
    common = {"record_type": "I", "batch_id": "x", "client": "ST", "trans_type": "42", "voucher_type": "FU",
              "line_no": 1, "sequence_no": 0, "order_id": 38_000_000}  # fmt: skip
    largest = 10 ** (17 if sign > 0 else 16) - 1
    for value, rules in ((largest, []), (largest + 1, ["too_long"])):
        findings = Findings()
        batch = one("agresso_lg04", **common, value_1=Decimal(sign * value).scaleb(-2))
        b"".join(Rendered([batch], layouts.load("agresso_lg04"), "iso8859-1", "lf", findings))
        assert [f.rule for f in findings if f.rule != "out_of_order"] == rules  # an item that comes after no header


# --- terms where they don't belong, and values that are not parted from them


def utfil(*lines: bytes) -> bytes:
    head = b"#INFO_START\n#FILTYP UTFIL\n#INFO_SLUT\n#DATA_START\n#POST_START\n#UP 01001 198911222399\n"
    tail = b"#POST_SLUT\n#DATA_SLUT\n#AVST_START\n#ANTAL_POSTER 1\n#AVST_SLUT\n#FIL_SLUT\n"
    return head + b"".join(line + b"\n" for line in lines) + tail


@pytest.mark.parametrize("line", [b"#UP 01012Tolvan", b"#UP 01012\tTolvan", b"#UP 010129 x", b"#UP 99999x"])
def test_a_value_that_is_not_parted_from_its_code_is_found(line: bytes) -> None:
    _, _, findings = parse(utfil(b"#UP 01014 Tolvansson", line))
    found = [(f.rule, f.record, f.column) for f in findings if f.rule != "wrong_encoding"]
    assert found == [("unexpected_line", 1, 10)]
    assert not parse(utfil(b"#UP 01014 Tolvansson", b"#UP 01012"))[2]


@pytest.mark.parametrize(
    "lines",
    [
        (b"#UP 02000", b"#UP 02005 198911222399", b"#UP 01003 J", b"#UP 02999"),
        (b"#UP 02000", b"#UP 01001 198911222399", b"#UP 02999"),
        (b"#UP 02005 198911222399",),
    ],
)
def test_a_term_that_its_group_does_not_have_is_found(lines: tuple[bytes, ...]) -> None:
    _, _, findings = parse(utfil(*lines))
    assert "unexpected_line" in {f.rule for f in findings}, list(map(str, findings))


def test_tagged_files_are_none_of_the_mainframes() -> None:
    for encoding in ("cp278", "cp500"):
        with pytest.raises(CallError, match="convert it"):
            list(Parsed(io.BytesIO(utfil()), layouts.load("navet_utfil"), encoding, "lf", Findings()))
        with pytest.raises(CallError, match="convert it"):
            b"".join(Rendered([], layouts.load("navet_utfil"), encoding, "lf", Findings()))


# --- converting, where much is wrong


@pytest.mark.parametrize("what", ["no UTF-8", "letters that the target lacks"])
def test_a_megabyte_of_nothing_but_faults_is_converted_at_once(what: str) -> None:
    random = np.random.default_rng(5)
    if what == "no UTF-8":
        data = random.integers(0x80, 0x100, 1_000_000, np.uint8).tobytes()
    else:
        data = "".join(map(chr, random.integers(0x4E00, 0x9F00, 330_000).tolist())).encode()
    findings, began = Findings(), time.process_time()
    made = b"".join(Converted(io.BytesIO(data), "utf-8", "cp1252", findings))
    assert time.process_time() - began < 3
    assert len(findings.kept) == findings.limit
    wrong = "undefined_byte" if what == "no UTF-8" else "unmappable"
    assert findings.counts[wrong] > 300_000
    assert set(made) <= set(b"?") | {b for b in range(256) if what == "no UTF-8"}


def test_faults_of_both_kinds_are_found_where_they_stand() -> None:
    data = "é€".encode() + b"\xe2\x82" + "x漢–".encode() + b"\xff" + "ﬁ字".encode()
    for target in ("cp1252", "iso8859-1"):
        findings = Findings()
        b"".join(Converted(io.BytesIO(data), "utf-8", target, findings))
        found = sorted((f.offset, f.rule) for f in findings if f.rule != "wrong_encoding")
        wanted = [
            (5, "undefined_byte"),
            (8, "unmappable"),
            (14, "undefined_byte"),
            (15, "unmappable"),
            (18, "unmappable"),
        ]
        if target == "iso8859-1":
            wanted += [(2, "unmappable"), (11, "unmappable")]
        assert found == sorted(wanted)


@pytest.mark.parametrize("target", ["cp1252", "utf-8", "cp500", "cp278", "cp1143"])
def test_a_byte_that_becomes_anothers_of_the_same_letter_is_counted(target: str) -> None:
    data = b"\xc1\x15\xc2\x25\x15"
    converted = Converted(io.BytesIO(data), "cp278", target, Findings())
    made = b"".join(converted)
    assert dict(converted.replaced) == ({} if target in ("cp278", "cp1143") else {"byte 15": 2})
    assert (made == data) == (target in ("cp278", "cp1143"))
