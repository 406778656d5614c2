"""The command line's records part, as its users run it: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import re
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from slussen.errors import CallError
from slussen.records import layout as layouts
from slussen.tools import document
from slussen.tools.copybook import layout_of
from slussen.tools.ruler import masked
from tests import formats
from tests.commands import runner, spoiled, written

RECORDS = [name for name in layouts.names() if layouts.load(name).kind != "zip"]
LINE = 1609  # a record of CS15 with its line end


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    return runner(monkeypatch, capfdbinary)


@pytest.fixture
def cs15(tmp_path: Path) -> Path:
    return written("agresso_cs15", tmp_path)


# --- peek


def test_peek_shows_the_first_record_that_is_wrong_and_marks_its_byte(run: Any, cs15: Path) -> None:
    bad = spoiled(cs15, (16 * LINE + 30, b"\x81"))
    ran = run("peek", bad, "--layout", "agresso_cs15")
    assert ran.code == 1
    assert "record 17 of 30" in ran.out
    assert "byte 81 at offset 25774 (0x64ae)" in ran.out
    lines = ran.out.splitlines()
    marked = next(k for k, line in enumerate(lines) if line.strip() == "^")
    assert lines[marked].index("^") - 8 == 30, "under its column"
    assert "········" in lines[marked - 1], "personal bytes are hidden in the hex too"


def test_peek_hides_personal_data_unless_it_is_asked_for(run: Any, tmp_path: Path) -> None:
    layout = layouts.load("agresso_cs15")
    row = {"record_type": "customer", "apar_id": "1", "apar_name": "Ängsvik Åslög", "comp_reg_no": "198911222399",
           "client": "ST", "telephone_1": "08-46500411"}  # fmt: skip
    data, _ = formats.render(layout, [row], "iso8859-1")
    file = tmp_path / "one.txt"
    file.write_bytes(data)
    for more in ((), ("--json",), ("--record", 1)):
        ran = run("peek", file, "-l", "agresso_cs15", *more)
        assert ran.code == 0
        for secret in ("Ängsvik", "198911222399", "46500411", "Ängsvik".encode("latin-1").hex(), b"198911222399".hex()):
            assert secret not in ran.out
    assert "xxxxxxx xxxxx" in run("peek", file, "-l", "agresso_cs15").out
    assert "Ängsvik Åslög" in run("peek", file, "-l", "agresso_cs15", "--reveal").out
    told = run("peek", file, "-l", "agresso_cs15", "--json", "--reveal").json
    assert bytes.fromhex(told["hex"]) == data[:-1]
    assert {f["name"]: f["value"] for f in told["fields"]}["comp_reg_no"] == "198911222399"


@pytest.mark.parametrize("name", ["pknod", "pknodplus"])
def test_peek_hides_every_number_and_date_that_a_register_has_of_a_person(run: Any, tmp_path: Path, name: str) -> None:
    layout = layouts.load(name)
    number, born = "198911222399", "19891122"
    row = {"record_type": "person", "returkod": "0000", "pnr_rnr": number, "fodelsedatum": born, "aktuellt_pnr": number,
           "tidigare_identitet_1": number, "civilstandsdatum": born, "telefon_hem": born}  # fmt: skip
    encoding, frame = layout.file.usual.encoding, layout.file.usual.frame
    file = tmp_path / "one"
    file.write_bytes(formats.render(layout, [row], encoding, frame)[0])
    spelled = born.encode({"cp278": "cp500"}.get(encoding, encoding)).hex()  # digits are the same in both
    for more in ((), ("--json",)):
        told = run("peek", file, "-l", name, *more).out
        assert born not in told
        assert spelled not in told.replace(" ", "")
    assert spelled in run("peek", file, "-l", name, "--json", "--reveal").json["hex"]


@pytest.mark.parametrize("name", RECORDS)
def test_peek_shows_a_record_of_every_layout_and_proposes_it(run: Any, tmp_path: Path, name: str) -> None:
    file = written(name, tmp_path)
    shown = run("peek", file, "--layout", name)
    assert shown.code == 0
    assert "nothing is wrong" in shown.out
    proposed = run("peek", file, "--json").json
    usual = layouts.load(name).file.usual
    best = [p for p in proposed if p["share"] == proposed[0]["share"]]
    assert (name, usual.frame) in [(p["layout"], p["frame"]) for p in best]


PARTED = """format: parted
title: Made up
version: 1
status: assumed
source: made up for a test
kind: delimited
usual: {encoding: cp1252, frame: lf}
separator: ";"
records:
  r: {}
fields:
  a: [1, 20, text]
  b: [2, 20, text, {personal: true}]
"""


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "cp278", "cp437"])
def test_peek_hides_delimited_personal_data_in_any_encoding(run: Any, tmp_path: Path, encoding: str) -> None:
    by, file = tmp_path / "parted.yaml", tmp_path / "file"
    by.write_text(PARTED)
    file.write_bytes('Å;"Tolv;an"\nxyz;Tolvan\n'.encode(encoding).replace(b"\x15", b"\x25"))
    for record, shown in ((1, "Å;·xxxx·xx·"), (2, "xyz;xxxxxx")):
        ran = run("peek", file, "-l", by, "-e", encoding, "--record", record)
        assert (ran.code, "Tolv" in ran.out) == (0, False)
        assert shown in ran.out.replace("Å·;", "Å;"), ran.out
        told = run("peek", file, "-l", by, "-e", encoding, "--record", record, "--json").json
        assert "Tolv".encode(encoding).hex() not in told["hex"]
        assert told["length"] == len(('Å;"Tolv;an"', "xyz;Tolvan")[record - 1].encode(encoding))


def test_peek_hides_all_of_a_line_whose_quotes_are_wrong(run: Any, tmp_path: Path) -> None:
    by, file = tmp_path / "parted.yaml", tmp_path / "file"
    by.write_text(PARTED)
    file.write_bytes(b'x;y\nx"y;Tolvan";z\n"x;Tolvan')
    for record in (2, 3):
        ran = run("peek", file, "-l", by, "--record", record)
        assert (ran.code, "Tolv" in ran.out) == (1, False), ran.out


@pytest.mark.parametrize(
    "line",
    ["#UP 01012\tTolvan", "#UP 01012Tolvan", "#UP 01012 Tolvan", "Tolvan", "#PNRTolvan", "#FILTYP Tolvan",
     "#BESTÄLLNINGSID Tolvan", "#ANTAL_POSTER Tolvan"],
)  # fmt: skip
def test_peek_hides_what_stands_after_a_code_however_it_is_parted_from_it(run: Any, tmp_path: Path, line: str) -> None:
    file = written("navet_utfil", tmp_path)
    data = file.read_bytes().replace(b"#POST_START\n", b"#POST_START\n" + line.encode("cp1252") + b"\n", 1)
    bad = file.with_name("bad.txt")
    bad.write_bytes(data)
    for words in ((), ("--json",)):
        ran = run("peek", bad, "-l", "navet_utfil", "--record", 1, *words)
        assert ("olvan" in ran.out, b"Tolvan".hex() in ran.out) == (False, False)


def test_peek_hides_all_of_a_record_whose_values_may_have_been_moved(run: Any, tmp_path: Path) -> None:
    """A value lost, and a separator too many at its end: each stands in the column of the one before it."""
    layout = tmp_path / "people.yaml"
    layout.write_text(
        "format: people\ntitle: t\nversion: 1\nstatus: assumed\nsource: t\nkind: delimited\nseparator: ';'\n"
        "usual: {encoding: cp1252, frame: lf}\nrecords: {r: {}}\nfields:\n"
        "  id: [1, 4, digits]\n  namn: [2, 20, text, {personal: true}]\n"
        "  klass: [3, 8, text]\n  skola: [4, 8, text]\n"
    )
    (tmp_path / "a.txt").write_bytes("Åsa Ängsvik;2A;Skolan;\n".encode("cp1252"))
    ran = run("peek", tmp_path / "a.txt", "--layout", layout, "--encoding", "cp1252")
    assert (ran.code, "a field of digits holds something else" in ran.out) == (1, True), ran.err
    assert "Ängsvik" not in ran.out
    assert "Skolan" not in ran.out


def test_peek_hides_what_may_be_personal_on_the_type_that_a_record_isnt_taken_for(run: Any, tmp_path: Path) -> None:
    file = written("agresso_lg04", tmp_path)
    row = file.read_bytes()[:1905].decode("latin-1")
    names = [f for f in layouts.load("agresso_lg04").of("H") if f.private and f.type == "text"]
    there = [w for f in names if len(w := row[int(f.at) - 1 : int(f.at) - 1 + f.length].strip()) > 3]
    assert there
    bad = spoiled(file, (0, b"0"))  # a header that reads as a text line
    for words in ((), ("--json",)):
        out = run("peek", bad, "-l", "agresso_lg04", "--record", 1, *words).out
        assert not [w for w in there if w in out or w.encode("latin-1").hex() in out]


def test_neither_a_filler_nor_a_record_taken_for_a_trailer_tells_of_a_person(run: Any, tmp_path: Path) -> None:
    file = written("a02", tmp_path)
    number = file.read_bytes()[202 + 19 : 202 + 31].decode()
    filler = spoiled(file, (202 + 180, b"191212121212"))
    for words in ((), ("--json",)):
        ran = run("peek", filler, "-l", "a02", "--record", 2, *words)
        assert ("191212121212" in ran.out, b"191212121212".hex() in ran.out) == (False, False)
    trailer = spoiled(file, (202, b"90"))
    for command in (("peek", "--record", "2"), ("peek", "--record", "2", "--json"), ("parse", "--json"), ("parse",)):
        ran = run(command[0], trailer, "-l", "a02", *command[1:])
        told = ran.err if command[0] == "parse" else ran.out
        assert ran.code == 1
        assert not [w for w in (number, number[3:], f"{int(number[:-1]):,}"[4:]) if w in told], told


def test_peek_says_when_there_is_no_such_record_file_layout_or_encoding(run: Any, cs15: Path) -> None:
    for words, what in (
        (("peek", cs15, "-l", "agresso_cs15", "--record", 31), "has 30 records"),
        (("peek", "nowhere.txt", "-l", "agresso_cs15"), "no file nowhere.txt"),
        (("peek", cs15, "-l", "cs16"), "unknown layout"),
        (("peek", cs15, "-l", "agresso_cs15", "-e", "utf-7"), "unknown encoding"),
        (("peek", cs15, "-l", "agresso_cs15", "--frame", "x"), "unknown frame"),
    ):
        ran = run(*words)
        assert (ran.code, what in ran.err) == (2, True), ran.err


def test_a_file_that_fits_no_layout_is_the_datas_fault(run: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello, world\n")
    assert run("peek", tmp_path / "x").code == 1
    (tmp_path / "empty").write_bytes(b"")
    ran = run("peek", tmp_path / "empty")
    assert ran.code == 1
    assert "is empty" in ran.err
    assert run("peek", tmp_path / "empty", "-l", "agresso_cs15").code == 1


# --- parse and render


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_what_parse_writes_renders_back_to_the_same_bytes(run: Any, tmp_path: Path, name: str, kind: str) -> None:
    file = written(name, tmp_path)
    table, back = tmp_path / f"t.{kind}", tmp_path / "back"
    parsed = run("parse", file, "--layout", name, "--to", kind, "-o", table)
    assert (parsed.code, parsed.out) == (0, "")
    assert "not canonical" not in parsed.err
    rendered = run("render", table, "--layout", name, "-o", back)
    assert rendered.code == 0, rendered.err
    assert back.read_bytes() == file.read_bytes()


def blanked(file: Path, place: int, length: int) -> tuple[int, bytes]:
    """A number with blanks before it instead of zeros: the same, otherwise written."""
    there = file.read_bytes()[place : place + length]
    assert there[:1] == b"0"
    return place, there.lstrip(b"0").rjust(length)


def test_parse_writes_to_standard_output_and_counts_what_is_not_canonical(run: Any, tmp_path: Path) -> None:
    file = written("a02", tmp_path)
    other = spoiled(file, *(blanked(file, *place) for place in ((202 + 33, 15), (2 * 202 + 97, 14))))
    ran = run("parse", other, "-l", "a02", "--to", "csv")
    assert ran.out.startswith('"record_type","client"')
    assert "voucher_no 1" in ran.err
    assert "belopp 1" in ran.err
    kept = run("parse", other, "-l", "a02", "--raw", "-o", tmp_path / "raw.jsonl")
    assert kept.code == 0
    run("render", tmp_path / "raw.jsonl", "-l", "a02", "-o", tmp_path / "back")
    rows = [json.loads(line) for line in (tmp_path / "raw.jsonl").read_text().splitlines()]
    assert bytes.fromhex(rows[1]["raw"])[33:48] == other.read_bytes()[202 + 33 :][:15]
    assert (tmp_path / "back").read_bytes() == other.read_bytes(), "--raw keeps the bytes"


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        ("#POST_START\n", "#POST_START\n\n", 1),
        ("#POST_START\n", "#POST_START\n#UP 01099 x\n#UP 01099\n", 2),
        ("#POST_SLUT\n", "#POST_SLUT \n", 1),
        ("#FIL_SLUT\n", "#FIL_SLUT", 1),
        ("#FIL_SLUT\n", "#FIL_SLUT\n\n\n", 2),
        ("", "", 0),
    ],
)
def test_lines_that_would_be_written_otherwise_are_counted_and_not_those_after_them(
    run: Any, tmp_path: Path, old: str, new: str, count: int
) -> None:
    file = written("navet_utfil", tmp_path, n=9)
    file.write_text(file.read_text("cp1252").replace(old, new, 1), "cp1252", newline="")
    told = json.loads(run("parse", file, "-l", "navet_utfil", "-o", tmp_path / "o", "--json").err)
    assert told["uncanonical"] == ({"(lines)": count} if count else {})


def test_parse_with_findings_ends_with_1_and_a_call_with_2(run: Any, cs15: Path) -> None:
    bad = spoiled(cs15, (16 * LINE + 30, b"\x81"), (3 * LINE + 142, b"X"))
    ran = run("parse", bad, "-l", "agresso_cs15", "-q")
    assert ran.code == 1
    ran = run("parse", bad, "-l", "agresso_cs15", "-o", bad.with_suffix(".jsonl"))
    assert "2 findings" in ran.err
    assert "record 4" in ran.err
    assert run("parse", bad, "-l", "agresso_cs15", "--to", "xml").code == 2
    assert run("parse", bad).code == 2


def test_render_writes_nothing_when_anything_does_not_fit(run: Any, tmp_path: Path) -> None:
    table, out = tmp_path / "t.jsonl", tmp_path / "out"
    good = {"apar_id": "1", "apar_name": "Åsa", "comp_reg_no": "198911222399"}
    table.write_text("".join(json.dumps(r) + "\n" for r in (good, good | {"apar_name": "Å" * 51})))
    ran = run("render", table, "-l", "agresso_cs15", "-o", out)
    assert ran.code == 1
    assert "record 2 (customer), field apar_name" in ran.err
    assert "Å" not in ran.err
    assert list(tmp_path.iterdir()) == [table]
    table.write_text(json.dumps(good | {"shoe_size": 43}) + "\n")
    assert "shoe_size" in run("render", table, "-l", "agresso_cs15", "-o", out).err
    table.write_text("{no json\n")
    ran = run("render", table, "-l", "agresso_cs15", "-o", out)
    assert (ran.code, "line 1" in ran.err) == (1, True)


# --- convert


def test_convert_replaces_by_a_declared_table_and_counts_or_writes_nothing(run: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes("Åsa – ﬁn\n".encode())
    ran = run("convert", source, target, "--from", "utf-8", "--to", "cp437")
    assert ran.code == 1
    assert "U+2013" in ran.err
    assert not target.exists()
    ran = run("convert", source, target, "--from", "utf-8", "--to", "pc8", "--replace", "typographic")
    assert ran.code == 0
    assert target.read_bytes() == "Åsa - fin\n".encode("cp437")
    assert "replaced.– 1" in ran.err
    assert run("convert", source, target, "--from", "utf-8", "--to", "latin-1", "--replace", "none").code == 2


# --- diff


def test_diff_says_which_fields_differ_and_how(run: Any, tmp_path: Path) -> None:
    layout = layouts.load("agresso_cs15")
    base = {"record_type": "customer", "apar_name": "Åsa Öberg", "comp_reg_no": "198911222399", "place": "Malmö"}
    rows = [base | {"apar_id": str(n)} for n in range(1, 9)]
    other = [dict(r) for r in rows]
    other[1]["apar_name"] = "ÅSA ÖBERG"
    other[2]["place"] = "Malmo"
    other[3]["place"] = "Mal mö"
    del other[4]["place"]
    other[5]["apar_name"] = "Åsa"
    for name, each in (("a", rows), ("b", other), ("c", [*other[:3], *other[4:]])):
        (tmp_path / name).write_bytes(formats.render(layout, each, "iso8859-1")[0])
    a, b, c = (tmp_path / n for n in "abc")
    assert run("diff", a, a, "-l", "agresso_cs15").code == 0
    ran = run("diff", a, b, "-l", "agresso_cs15", "--json")
    assert ran.code == 1
    told = ran.json
    assert (told["equal"], told["changed"]) == (3, 5)
    assert told["fields"] == {"place": 3, "apar_name": 2}
    assert told["kinds"] == {"capitals": 1, "accents": 1, "blanks": 1, "emptied": 1, "cut": 1}
    assert [e["record"] for e in told["examples"]] == [2, 3, 4, 5, 6]
    assert "Öberg" not in ran.out
    keyed = run("diff", a, c, "-l", "agresso_cs15", "--key", "apar_id", "--json").json
    assert (keyed["equal"], keyed["changed"], keyed["only_a"], keyed["records_only_a"]) == (3, 4, 1, [4])
    order = run("diff", a, c, "-l", "agresso_cs15", "--json").json
    assert order["only_a"] == 1
    shown = run("diff", a, b, "-l", "agresso_cs15").out
    assert "capitals" in shown
    assert re.search(r"kind of difference\W+fields", shown), "a record with two fields counts twice"
    assert run("diff", a, b, "-l", "agresso_cs15", "--key", "nothing").code == 2
    ebcdic = tmp_path / "ebcdic"
    ebcdic.write_bytes(formats.render(layout, rows, "cp278", "fixed")[0])
    same = ("diff", a, ebcdic, "-l", "agresso_cs15", "--encoding-b", "cp278", "--frame-b", "fixed")
    assert run(*same).code == 0


def test_by_key_a_part_goes_with_its_whole(run: Any, tmp_path: Path) -> None:
    layout = layouts.load("navet_utfil")
    people = ["198911222399", "201204062390"]
    header = {"record_type": "info", "filtyp": "UTFIL"}
    rows = [
        {"record_type": kind, more: value}
        for n, who in enumerate(people)
        for kind, more, value in (("person", "personnummer", who), ("relation", "relation_fornamn", f"Ö{n}"))
    ]
    for name, each in (("a", rows), ("b", rows[2:])):
        (tmp_path / name).write_bytes(formats.render(layout, [header, *each], "cp1252")[0])
    a, b = tmp_path / "a", tmp_path / "b"
    told = run("diff", a, b, "-l", "navet_utfil", "--key", "personnummer", "--json").json
    assert "relation_fornamn" not in told["fields"]
    assert told["only_a"] == 2, "the person, and the person's relation"


# --- layouts


def test_layout_check_names_file_line_and_reason(run: Any, tmp_path: Path) -> None:
    assert run("layout", "check").code == 0
    good = (layouts.settings.FORMATS / "ergo.yaml").read_text(encoding="utf-8")
    bad = tmp_path / "ergo.yaml"
    rows = good.splitlines()
    line = next(n for n, row in enumerate(rows, 1) if row.strip().startswith("klass:"))
    rows[line - 1] = rows[line - 1].replace("text", "txt")
    bad.write_text("\n".join(rows), encoding="utf-8")
    ran = run("layout", "check", bad, "--json")
    assert ran.code == 1
    assert ran.json[0]["reason"].startswith(f"ergo.yaml:{line}: fields.klass")


@pytest.mark.parametrize("name", layouts.names())
def test_a_layouts_page_has_every_field_and_its_drawing_is_as_long_as_the_record(name: str) -> None:
    layout = layouts.load(name)
    page = document.page(layout)
    for f in layout.fields:
        assert f"`{f.name}`" in page
    if layout.kind == "fixed":
        for record_type in layout.records:
            bars = document.drawing(layout, record_type)
            length = sum(len(b) - 6 for b in bars if b[4:5].isdigit())
            assert length == layout.length_of(record_type)


def test_a_layouts_page_says_what_decides_the_bytes() -> None:
    rules = {
        "a": [1, 6, "date", {"century": 30}], "b": [7, 5, "integer", {"plus": True, "empty": "spaces"}],
        "c": [12, 5, "decimal", {"align": "left", "sign": "d", "decimals": 1}], "d": [17, 1, "sign"],
        "e": [18, 3, "text", {"fill": "*", "relative": True}],
    }  # fmt: skip
    page = document.page(formats.make(length=20, fields=rules))
    for words in ("YY below 30 is 20YY", "a plus where a minus would be; nothing is blank",
                  "1 decimals; sign in `d`; left-aligned", "filled up with `*`", "somebody else"):  # fmt: skip
        assert words in page
    fields = {"a": [1, 5, "integer"], "b": [2, 3, "text"]}
    page = document.page(formats.make(kind="delimited", separator=";", nothing="NULL", header_row=True, fields=fields))
    for words in ('| Quotes | `"`', "| Nothing | `NULL` |", "names the fields", "written with zeros to 5 digits"):
        assert words in page


def test_layout_doc_writes_a_page_each(run: Any, tmp_path: Path) -> None:
    assert run("layout", "doc", "-o", tmp_path / "pages").code == 0
    assert sorted(p.stem for p in (tmp_path / "pages").iterdir()) == layouts.names()


def test_pages_that_cannot_be_written_are_the_callers_fault(run: Any, tmp_path: Path) -> None:
    there = tmp_path / "a.txt"
    there.write_text("")
    for folder in (there, there / "b", Path("/proc/x")):
        ran = run("layout", "doc", "a02", "-o", folder)
        assert ran.code == 2
        assert str(folder) in ran.err
        assert "Traceback" not in ran.err


def test_layout_impact_tells_what_a_change_does_to_a_payload(run: Any, tmp_path: Path, cs15: Path) -> None:
    old = tmp_path / "old.yaml"
    text = (layouts.settings.FORMATS / "agresso_cs15.yaml").read_text(encoding="utf-8")
    old.write_text(text, encoding="utf-8")
    same = run("layout", "impact", "agresso_cs15", "--old", old, "--payload", cs15, "--json").json
    assert [i["integration"] for i in same] == ["f102", "f29", "agresso_cs15.txt"]
    assert same[-1]["records"] == 30
    assert not same[-1]["changes"], same[-1]
    changed = re.sub(r"(currency: +\[ +178, +3), text", r"\1, const, {value: SEK}", text)  # a field since
    old.write_text(changed, encoding="utf-8")
    told = run("layout", "impact", "agresso_cs15", "--old", old, "--payload", cs15, "--json").json[-1]
    assert told["changes"]
    assert set(told["fields"]) == {"currency"}
    assert told["fields"]["currency"] == told["records_changed"] == 30


@pytest.mark.parametrize("name", RECORDS)
def test_a_layout_that_has_not_changed_changes_nothing(run: Any, tmp_path: Path, name: str) -> None:
    file = written(name, tmp_path)
    old = layouts.settings.FORMATS / f"{name}.yaml"
    told = run("layout", "impact", name, "--old", old, "--payload", file, "--json").json[-1]
    assert told["records"]
    assert (told["changes"], told["fields"], told["unread"]) == (False, {}, {})


def test_a_payload_in_another_form_than_the_layout_writes_is_no_change(run: Any, tmp_path: Path) -> None:
    layout = layouts.load("agresso_gl07")
    row = {"record_type": "voucher", "batch_id": "B", "interface": "BI", "voucher_type": "HL", "trans_type": "GL",
           "client": "ST", "tax_code": "0", "currency": "SEK", "amount": Decimal("12.50"),
           "voucher_date": date(2026, 1, 12)}  # fmt: skip
    data, refused = formats.render(layout, [row], "iso8859-1")
    assert not refused
    file, old = tmp_path / "g.txt", layouts.settings.FORMATS / "agresso_gl07.yaml"
    file.write_bytes(data.replace(b"0" * 16 + b"1250", b" " * 16 + b"1250"))
    assert file.read_bytes() != data
    told = run("layout", "impact", "agresso_gl07", "--old", old, "--payload", file, "--json").json[-1]
    assert not told["changes"]


def test_layout_impact_says_that_a_payload_cannot_be_read_or_had(
    run: Any, tmp_path: Path, cs15: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUSSEN_DATABASE", "host=127.0.0.1 port=1 connect_timeout=1")
    old = layouts.settings.FORMATS / "agresso_cs15.yaml"
    none = run("layout", "impact", "agresso_cs15", "--old", old)
    assert none.code == 2
    assert "the last payloads of f102, f29 could not be had" in none.err
    file = tmp_path / "other.txt"
    file.write_bytes(b"x" * 900)
    ran = run("layout", "impact", "agresso_cs15", "--old", old, "--payload", file)
    assert ran.code == 1
    assert "no change" not in ran.out
    assert run("layout", "impact", "agresso_cs15", "--old", old, "--payload", cs15).code == 0


COPYBOOK = """
000100* a person of the register                                        KIR00010
000200 01  KIR-POST.                                                    KIR00020
000300     05  KIR-TYP               PIC X.                             KIR00030
000400         88  KIR-NY            VALUE 'N'.                         KIR00040
000500         88  KIR-BORT          VALUE 'B'.                         KIR00050
000600     05  KIR-BELOPP            PIC S9(7)V99 COMP-3.               KIR00060
000700     05  KIR-ANTAL             PIC S9(4) COMP.                    KIR00070
000800     05  KIR-SALDO             PIC S9(5)V99.                      KIR00080
000900     05  KIR-KURS              PIC S9(3)V9(4)                     KIR00090
001000                               SIGN IS LEADING SEPARATE.          KIR00100
001100     05  KIR-BARN OCCURS 2 TIMES.                                 KIR00110
001200         10  BARN-NAMN         PIC X(6).                          KIR00120
001300         10  BARN-AR           PIC 9(2).                          KIR00130
001400     05  KIR-ADRESS.                                              KIR00140
001500         10  GATA              PIC X(7).                          KIR00150
001600         10  POSTNR            PIC 9(5).                          KIR00160
001700     05  KIR-UTLAND REDEFINES KIR-ADRESS.                         KIR00170
001800         10  LAND              PIC X(10).                         KIR00180
001900     05  FILLER                PIC X(3).                          KIR00190
"""


SMALL = """
format: small
title: a number of nine decimals
version: 1
status: assumed
source: made up for a test
kind: fixed
usual: {encoding: iso8859-1, frame: lf}
length: 9
records: {r: {}}
fields:
  n: [1, 9, decimal, {decimals: 9}]
"""


def test_a_copybook_imports_and_its_record_reads_by_hand(run: Any, tmp_path: Path) -> None:
    book, made = tmp_path / "KIR-POST.cpy", tmp_path / "kir_post.yaml"
    book.write_text(COPYBOOK)
    assert run("layout", "import-copybook", book, "-o", made).code == 0
    text = made.read_text()
    assert text.count('# when: {field: "value"}') == 2
    first, second = ('when: {kir_typ: "N"}', 'when: {kir_typ: "B"}')
    text = text.replace('# when: {field: "value"}', first, 1).replace('# when: {field: "value"}', second, 1)
    made.write_text(text)
    assert run("layout", "check", made).code == 0
    head = bytes.fromhex("000012345d") + b"\xff\xfe"
    data = (
        "N".encode("cp278") + head + "000012".encode("cp278") + b"\xd3" + "+1234567".encode("cp278")
        + "Åsa   12Örjan 13Storg. 11122   ".encode("cp278")
        + "B".encode("cp278") + head + "000012".encode("cp278") + b"\xc3" + "-1234567".encode("cp278")
        + "Åsa   12Örjan 13Danmark       ".encode("cp278") + "\x40".encode("latin-1")
    )  # fmt: skip
    file = tmp_path / "kir"
    file.write_bytes(data)
    ran = run("parse", file, "-l", made)
    assert ran.code == 0, ran.err
    one, two = (json.loads(line) for line in ran.out.splitlines())
    assert one == {
        "record_type": "kir_post", "kir_typ": "N", "kir_belopp": "-123.45", "kir_antal": -2, "kir_saldo": "-1.23",
        "kir_kurs": "123.4567", "kir_barn_1_barn_namn": "Åsa", "kir_barn_1_barn_ar": 12,
        "kir_barn_2_barn_namn": "Örjan", "kir_barn_2_barn_ar": 13, "gata": "Storg.", "postnr": 11122,
    }  # fmt: skip
    assert two["land"] == "Danmark"
    assert (two["kir_saldo"], two["kir_kurs"]) == ("1.23", "-123.4567")
    table = tmp_path / "t.jsonl"
    table.write_text(ran.out)
    assert run("render", table, "-l", made, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back").read_bytes() == data


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("05 A PIC 9 OCCURS 1 TO 5 DEPENDING ON N.", "line 2: A needs a length"),
        ("05 A COMP-1.", "floating point"),
        ("05 A.", "neither a picture"),
        ("05 A PIC S9(5) SIGN LEADING.", "over its first digit"),
        ("05 A PIC 9(19).", "19 digits"),
        ("05 A PIC X(3)", "no full stop"),
        ("FIVE A PIC X.", "level number"),
        ("05 A PIC 9 OCCURS ZZ TIMES.", "line 2: A occurs ZZ times"),
        ("05 A PIC 9 OCCURS 1 TO 5 TIMES.", "a varying number of times"),
        ("COPY OTHERS.", "line 2: COPY fetches another copybook"),
        ("05 A PIC S9(4) COMP SYNC.", "slack bytes"),
        ("05 A PIC 9(4) BLANK WHEN ZERO.", "BLANK WHEN ZERO"),
        ("05 A PIC 9(4) JUSTIFIED RIGHT.", "JUSTIFIED"),
        ("05 A PIC 9(4)P(3).", "a picture with P"),
        ("05 A PIC X(4)Q.", "a picture that is not understood"),
        ("05 A PIC S9(4)X.", "a picture that is not understood"),
        ("05 A PIC X(4) COMP-3.", "its picture no number"),
        ("05 A PIC X(4) COMP-X.", "is COMP-X"),
        ("05 A PIC X(4) VOLATILE.", "is VOLATILE"),
        ("05 A PIC X. 66 B RENAMES A.", "level 66"),
        ("05 A PIC X. 77 B PIC X.", "level 77"),
        ("05 A PIC X. 05 B REDEFINES C PIC X.", "B redefines C"),
        ("05 A PIC X. 05 B REDEFINES A PIC XX.", "longer than A"),
        ("05 A. 10 B PIC X. 07 C PIC X.", "C is on level 07"),
        ("05 A PIC X. 88 B VALUE 'A' THRU 'I'.", "order of letters"),
        ("05 A PIC 9(5). 88 B VALUE 0 THRU 99999.", "more than 1,000 values"),
        ("05 A PIC 9. 88 B VALUE 12.", "longer than A"),
        ("05 A PIC S9(3) COMP-3. 88 B VALUE 1.", "named values"),
        ("05 A COMP-3. 10 B PIC 9(3). 88 C VALUE 1.", "named values"),
        ("05 A PIC X VALUE 'B.", "a literal has no end"),
    ],
)
def test_what_a_layout_cannot_say_is_refused_with_its_line(run: Any, tmp_path: Path, line: str, complaint: str) -> None:
    book = tmp_path / "b.cpy"
    book.write_text(f"01 R.\n{line}\n")
    ran = run("layout", "import-copybook", book)
    assert ran.code == 2
    assert complaint in ran.err


def test_what_is_masked_says_nothing_where_letters_read_as_symbols(run: Any, tmp_path: Path) -> None:
    """ASCII read as CP278: K is a full stop there, O an exclamation mark."""
    assert masked("S:t Åke, O'Hara-Öst 12+3") == "x·x xxx· x·xxxx-xxx 99·9"
    file = tmp_path / "ascii.dat"
    file.write_bytes(b"STOCKHOLM KLOMN".ljust(450))
    for more in ((), ("--json",)):
        told = run("peek", file, "-l", "infodata_reply", "-e", "cp278", *more).out
        assert not set("!{.<(+") & set("".join(line for line in told.splitlines() if "x" in line and "·" in line))


def test_a_frame_or_a_layout_that_the_reader_cannot_do_is_the_callers_fault(run: Any, tmp_path: Path) -> None:
    file = written("profdoc", tmp_path)
    for frame in ("fixed", "rdw", "vb"):
        assert (ran := run("parse", file, "-l", "profdoc", "--frame", frame)).code == 2
        assert "lf or crlf" in ran.err
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.xml", "<a/>")
    for command in ("parse", "peek"):
        assert (ran := run(command, archive, "-l", "fronter")).code == 2
        assert "zip archive" in ran.err
    assert run("peek", archive).code == 1, "no layout of records fits"


@pytest.mark.parametrize("mark", ["-", "D"])
def test_a_line_that_continues_another_or_is_for_debugging_is_refused(run: Any, tmp_path: Path, mark: str) -> None:
    book = tmp_path / "b.cpy"
    book.write_text(f"000100 01  R.\n000200     05  A PIC X(3).\n000300{mark}    05  B PIC X(3).\n")
    ran = run("layout", "import-copybook", book)
    assert ran.code == 2
    assert "line 3" in ran.err


def imported(text: str) -> list[tuple[str, int, int, str]]:
    fields = layouts.of_text(layout_of(f"01 R.\n{text}\n", "r")).fields
    return [(f.name, int(f.at), f.length, f.sign if f.usage == "display" else f.usage) for f in fields]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("05 A PIC 9(5) VALUE ZERO COMP-3.", [("a", 1, 3, "packed")]),
        ("05 A PIC X(2) VALUE SPACES OCCURS 2. 05 B PIC X.",
         [("a_1", 1, 2, "leading"), ("a_2", 3, 2, "leading"), ("b", 5, 1, "leading")]),
        ("05 A USAGE COMP-3. 10 B. 15 C PIC S9(5).", [("c", 1, 3, "packed")]),
        ("05 A SIGN IS LEADING SEPARATE CHARACTER. 10 B. 15 C PIC S9(5).", [("c", 1, 6, "leading")]),
        ("05 A PIC S9(5) SIGN TRAILING SEPARATE. 05 B PIC S9.", [("a", 1, 6, "trailing"), ("b", 7, 1, "overpunched")]),
        ("05 A PIC Z(3)9B00,99CR. 05 B PIC -(4)9.99.", [("a", 1, 12, "leading"), ("b", 13, 8, "leading")]),
        ("05 A PIC X(2) OCCURS 2 TIMES ASCENDING KEY IS K INDEXED BY I J VALUE ALL '*.'.",
         [("a_1", 1, 2, "leading"), ("a_2", 3, 2, "leading")]),
        ("EJECT\n05 A PIC 9(4) COMP-5.\nSKIP1.\n05 NO PIC 9.", [("a", 1, 2, "binary"), ("no", 3, 1, "none")]),
    ],
)  # fmt: skip
def test_every_clause_of_a_copybook_counts_wherever_it_stands(text: str, fields: list[Any]) -> None:
    assert imported(text) == fields


def test_a_copybook_may_begin_with_a_mark_and_have_names_that_are_numbers() -> None:
    made = layouts.of_text(layout_of("\ufeff01 R.\n05 2024 PIC X.\n05 1E5 PIC X.\n", "r"))
    assert [f.name for f in made.fields] == ["2024", "1e5"]


def test_a_named_value_of_blanks_is_nothing_and_others_have_none_after_them() -> None:
    made = layouts.of_text(layout_of("01 R.\n05 A PIC X(2). 88 B VALUE 'J '. 88 C VALUE SPACES.\n", "r"))
    assert made.fields[0].codes == ("J",)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_smallest_decimals_are_written_as_people_write_them(run: Any, tmp_path: Path, kind: str) -> None:
    layout, data, table, back = (tmp_path / name for name in ("small.yaml", "data", f"t.{kind}", "back"))
    layout.write_text(SMALL)
    data.write_bytes(b"000000001\n000000000\n123456789\n")
    assert run("parse", data, "-l", layout, "--to", kind, "-o", table).code == 0
    found = table.read_text()
    assert [n in found for n in ("0.000000001", "0.000000000", "0.123456789", "E")] == [True, True, True, False]
    assert run("render", table, "-l", layout, "-o", back).code == 0
    assert back.read_bytes() == data.read_bytes()


def test_a_copybook_without_a_record_of_its_own_is_one_record() -> None:
    assert [f.name for f in layouts.of_text(layout_of("05 A PIC X.\n05 B PIC X.\n", "r")).fields] == ["a", "b"]


def test_named_values_are_codes_as_their_field_has_them() -> None:
    text = "05 A PIC 99. 88 LOW VALUES ARE 1 THRU 5, 9. 88 FIRST-ONE VALUE 1. 05 B PIC X(3). 88 C VALUE 'X, Y' 'O''K'."
    with pytest.raises(CallError, match="longer than B"):
        imported(text)
    made = layouts.of_text(layout_of(f"01 R.\n{text.replace('X, Y', 'X,Y')}\n", "r"))
    a, b = made.fields
    assert a.codes == ("01", "02", "03", "04", "05", "09")
    assert dict(a.values)["01"] == "low / first_one"
    assert b.codes == ("X,Y", "O'K")


def test_a_redefinition_within_a_redefinition_stands_in_its_own_record_type() -> None:
    text = layout_of(
        "01 R.\n05 A PIC X(4).\n05 B REDEFINES A.\n10 C PIC X(4).\n10 D REDEFINES C PIC 9(3).\n05 E PIC X.\n", "r"
    )
    told = {name: [*spec["fields"]] for name, spec in yaml.safe_load(text)["records"].items()}
    assert told == {"r": ["a", "e"], "r_b": ["c", "e"], "r_d": ["d", "filler_1", "e"]}


def test_pages_that_cannot_be_written_are_said_so_in_a_line(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here already")
    for there in (tmp_path / "file", Path("/proc/nowhere")):
        ran = run("layout", "doc", "a02", "-o", there)
        assert (ran.code, ran.err.count("\n"), "name a folder" in ran.err) == (2, 1, True), ran.err


def test_the_sign_of_a_number_that_cannot_be_read_is_not_said_to_read_well(run: Any, tmp_path: Path) -> None:
    file = written("a02", tmp_path)
    ran = run("parse", spoiled(file, (202 + 96, b"-"), (202 + 100, b"x")), "-l", "a02", "--json", "-o", tmp_path / "t")
    told = json.loads(ran.err)
    assert (ran.code, "not_a_number" in told["counts"], told["uncanonical"]) == (1, True, {})


def test_peek_shows_the_first_record_that_is_wrong_whatever_was_found_first(run: Any, tmp_path: Path) -> None:
    file = written("agresso_lg04", tmp_path)
    bad = spoiled(file, (0, b"0"))  # the first header reads as a text line, and what follows it has none
    assert run("peek", bad, "-l", "agresso_lg04", "--json").json["record"] == 1
