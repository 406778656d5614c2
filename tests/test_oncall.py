"""A file at three in the morning: what the command line says of it, and that it never says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from slussen.errors import Finding, Findings
from slussen.records import layout as layouts
from tests import formats
from tests.commands import runner, spoiled, written


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    return runner(monkeypatch, capfdbinary)


def file(folder: Path, data: bytes, name: str = "f") -> Path:
    found = folder / name
    found.write_bytes(data)
    return found


# --- what is found


def test_two_population_files_run_together_are_a_finding(run: Any, tmp_path: Path) -> None:
    data = written("navet_utfil", tmp_path).read_bytes()
    ran = run("parse", file(tmp_path, data + data), "-l", "navet_utfil")
    assert ran.code == 1
    assert f"at offset {len(data)}" in ran.err
    assert "two files run together" in ran.err


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda d: d + b"garbage\n", "unexpected_line"),
        (lambda d: d.replace(b"#AVST_START\n", b"#AVST_START\n#POST_START\n"), "unexpected_line"),
        (lambda d: d.replace(b"#DATA_SLUT\n", b"#DATA_SLUT\n#UP 01001 x\n"), "unexpected_line"),
        (lambda d: d.replace(b"#FILTYP UTFIL\n", b"#FILTYP UTFIL\n" * 2), "twice"),
        (lambda d: d.replace(b"#INFO_START\n", b""), "missing_header"),
        (lambda d: b"garbage\n" + d, "unexpected_line"),
    ],
)
def test_nothing_outside_a_population_files_data_is_passed_over(
    run: Any, tmp_path: Path, spoil: Any, rule: str
) -> None:
    data = spoil(written("navet_utfil", tmp_path).read_bytes())
    ran = run("parse", file(tmp_path, data), "-l", "navet_utfil", "-o", tmp_path / "o", "--json")
    assert ran.code == 1
    assert rule in json.loads(ran.err)["counts"]


def test_lines_that_other_systems_add_are_passed_over_and_counted(run: Any, tmp_path: Path) -> None:
    data = written("navet_utfil", tmp_path).read_bytes() + b"#PRODUKT N\n#JOBBID 1\n\x1a"
    ran = run("parse", file(tmp_path, data), "-l", "navet_utfil", "-o", tmp_path / "o")
    assert ran.code == 0
    assert "passed over: 2 lines" in ran.err


def test_a_record_of_an_unknown_type_is_the_datas_fault_and_the_others_are_read(run: Any, tmp_path: Path) -> None:
    lines = written("a02", tmp_path).read_bytes().split(b"\r\n")
    lines[3] = b"77" + lines[3][2:]
    table = tmp_path / "t.jsonl"
    ran = run("parse", file(tmp_path, b"\r\n".join(lines)), "-l", "a02", "-o", table)
    assert ran.code == 1
    assert "record 4, field posttyp, column 1-2, byte 37 at offset 606" in ran.err
    assert len(table.read_text().splitlines()) == 31
    ran = run("render", table, "-l", "a02", "-o", tmp_path / "out")
    assert ran.code == 1
    assert "record 4" in ran.err
    assert not (tmp_path / "out").exists()


def test_totals_of_eighteen_digits_are_told_to_the_last(run: Any, tmp_path: Path) -> None:
    lines = written("a02", tmp_path, n=3).read_bytes().split(b"\r\n")
    lines[-2] = lines[-2][:11] + b" 90071992547409931" + lines[-2][29:]
    ran = run("parse", file(tmp_path, b"\r\n".join(lines)), "-l", "a02", "-o", tmp_path / "o")
    assert "summa_belopp doesn't agree: the file has" in ran.err, "its place is where a post has a person"
    assert "409931" not in ran.err + run("peek", tmp_path / "f", "-l", "a02").out
    layout = formats.make(
        length=20, totals={"z.s": {"sum": "d.n"}},
        records={
            "d": {"when": {"k": "D"}, "fields": {"k": [1, 1, "text"], "n": [2, 19, "decimal", {"decimals": 2}]}},
            "z": {"when": {"k": "Z"}, "fields": {"k": [1, 1, "text"], "s": [2, 19, "decimal", {"decimals": 2}]}},
        },
    )  # fmt: skip
    _, findings, _ = formats.parse(layout, b"D0000000000000000001\nZ0090071992547409931\n", "cp1252")
    assert [f.message for f in findings] == ["s says 900,719,925,474,099.31, the file has 0.01"]


def test_the_likely_encoding_is_told_first_however_much_is_wrong(run: Any, tmp_path: Path) -> None:
    bad = file(tmp_path, "Små ärenden i Årsta, överallt här\n".encode("cp1252") * 500)
    for words in (("convert", bad, tmp_path / "o", "--from", "pc8", "--to", "cp1252"),):
        ran = run(*words)
        assert ran.code == 1
        assert "declared cp437, reads like cp1252" in ran.err.splitlines()[1]
        told = run(*words, "--json").json
        assert told["findings"][0]["rule"] == "wrong_encoding"
        assert told["total_findings"] > len(told["findings"]) == 1000


def test_what_explains_the_others_is_kept_whatever_their_number() -> None:
    findings = Findings(limit=2)
    for n in range(4):
        findings.add(Finding("a", str(n)))
    findings.first(Finding("cause", "it"))
    assert [f.rule for f in findings] == ["cause", "a"]
    assert findings.total == 5
    assert str(findings) == "5 findings"
    assert str(Findings()) == "0 findings"


def test_a_table_without_records_is_no_file_unless_the_layout_says_so(run: Any, tmp_path: Path) -> None:
    empty = file(tmp_path, b"", "t.jsonl")
    ran = run("render", empty, "-l", "agresso_cs15", "-o", tmp_path / "o", "--json")
    assert ran.code == 1
    assert ran.json["counts"] == {"empty_file": 1}
    assert not (tmp_path / "o").exists()


# --- as it stands in the file


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_raw_keeps_a_delimited_records_own_bytes(run: Any, tmp_path: Path, kind: str) -> None:
    data = b'1;Bo;"R\xf6d;Karin ""K""\r\nAnna";12;9;9A\r\n"2";Li;"Berg, Li";12;9;9B\r\n'
    data = data.replace(b"1;Bo", b"198911222399;Bo").replace(b'"2"', b'"201204062390"')
    source, table, back = file(tmp_path, data), tmp_path / f"t.{kind}", tmp_path / "back"
    ran = run("parse", source, "-l", "ergo", "--to", kind, "--raw", "-o", table)
    assert "nothing is wrong" in ran.err, "a line break may stand within quotes"
    sound = file(tmp_path, data.replace(b"\r\nAnna", b" Anna"), "s")
    ran = run("parse", sound, "-l", "ergo", "--to", kind, "--raw", "-o", table)
    assert ran.code == 0
    assert "not canonical" in ran.err
    assert run("render", table, "-l", "ergo", "-o", back).code == 0
    assert back.read_bytes() == sound.read_bytes()


def test_a_large_files_trailer_is_canonical_whatever_block_it_is_in(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slussen.records import frames

    monkeypatch.setattr(frames, "BLOCK", 2000)
    ran = run("parse", written("a02", tmp_path), "-l", "a02", "-o", tmp_path / "o", "--json")
    assert json.loads(ran.err)["uncanonical"] == {}


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d + b"\x1a"])
def test_an_end_that_would_be_written_otherwise_is_counted(run: Any, tmp_path: Path, spoil: Any) -> None:
    ran = run("parse", file(tmp_path, spoil(written("agresso_cs15", tmp_path).read_bytes())), "-l", "agresso_cs15",
              "-o", tmp_path / "o")  # fmt: skip
    assert ran.code == 0
    assert "(line ends or blocks) 1" in ran.err


def blocks(data: bytes, size: int, frame: str) -> bytes:
    """Records of this size with descriptors."""
    records = [data[k : k + size] for k in range(0, len(data), size)]
    described = [(len(r) + 4).to_bytes(2, "big") + b"\0\0" + r for r in records]
    block = b"".join(described)
    return block if frame == "rdw" else (len(block) + 4).to_bytes(2, "big") + b"\0\0" + block


@pytest.mark.parametrize("frame", ["rdw", "vb"])
def test_variable_blocks_are_proposed_parsed_and_written_back(run: Any, tmp_path: Path, frame: str) -> None:
    source = file(tmp_path, blocks(written("pknod", tmp_path, n=4).read_bytes(), 704, frame))
    best = run("peek", source, "--json").json[0]
    assert (best["layout"], best["frame"], best["encoding"], best["share"]) == ("pknod", frame, "cp278", 1.0)
    ran = run("parse", source, "-l", "pknod", "--frame", frame, "-o", tmp_path / "t.jsonl")
    assert (ran.code, "not canonical" in ran.err) == (0, False)
    assert run("render", tmp_path / "t.jsonl", "-l", "pknod", "--frame", frame, "-o", tmp_path / "o").code == 0
    assert (tmp_path / "o").read_bytes() == source.read_bytes()


# --- which layout is it


@pytest.mark.parametrize(
    ("name", "spoil", "frame"),
    [
        ("infodata_reply", lambda d: d[:-100], "fixed"),
        ("infodata_reply", lambda d: d[:8000] + d[8001:], "fixed"),
        ("agresso_cs15", lambda d: b"\xef\xbb\xbf" + d, "lf"),
        ("agresso_cs15", lambda d: d[:4827].replace(b"\n", b"\r\n") + d[4827:], "lf"),
        ("agresso_cs15", lambda d: d[:-700], "lf"),
        ("a02", lambda d: d.replace(b"\r\n", b"\n"), "lf"),
        ("navet_utfil", lambda d: d[: len(d) // 2], "lf"),
    ],
)
def test_a_spoilt_file_is_proposed_by_what_is_left_of_it(
    run: Any, tmp_path: Path, name: str, spoil: Any, frame: str
) -> None:
    ran = run("peek", file(tmp_path, spoil(written(name, tmp_path).read_bytes())), "--json")
    assert (ran.json[0]["layout"], ran.json[0]["frame"]) == (name, frame)
    assert all(p["share"] >= 0.02 for p in ran.json)


# --- looking


def test_every_kind_of_record_is_shown_under_a_ruler_with_its_hex(run: Any, tmp_path: Path) -> None:
    person = {"record_type": "person", "personnummer": "198911222399", "arendetyp": "FÖDD", "efternamn": "Ängsvik"}
    child = {"record_type": "relation", "rel_personnr": "201204062390", "rel_typ": "B"}
    layout = layouts.load("navet_utfil")
    data, findings = formats.render(layout, [{"record_type": "info", "filtyp": "UTFIL"}, person, child], "cp1252")
    assert not findings
    bad = file(tmp_path, data.replace("Ängsvik".encode("cp1252"), b"\x81ngsvik"))
    ran = run("peek", bad, "-l", "navet_utfil")
    lines = ran.out.splitlines()
    marked = next(k for k, line in enumerate(lines) if line.strip() == "^")
    assert lines[marked - 3].strip() == "#UP 01014 ·xxxxxx"
    assert lines[marked].index("^") - 8 == 10
    assert lines[marked - 2].strip() == "2552333332·······"
    assert "relation 1" in ran.out
    assert "#UP 01004 FÖDD" in ran.out, "what is nobody's is shown"
    for secret in ("198911222399", "201204062390", "ngsvik"):
        assert secret not in ran.out
    told = run("peek", bad, "-l", "navet_utfil", "--json", "--reveal").json
    assert [g["record_type"] for g in told["groups"]] == ["relation"]
    assert bytes.fromhex(told["hex"]).startswith(b"#POST_START\n#UP 01001 198911222399")


def test_a_delimited_record_is_shown_with_its_personal_fields_hidden(run: Any, tmp_path: Path) -> None:
    data = '198911222399;Åslög;"Ängsvik; Åslög";1234;9;9A\r\n'.encode("cp1252")
    ran = run("peek", file(tmp_path, data), "-l", "ergo")
    assert "999999999999;xxxxx;·xxxxxxx· xxxxx·;1234;9;9A" in ran.out
    assert "············3·····3················3333333333"[:30] in ran.out
    broken = run("peek", file(tmp_path, data.replace(b";9;", b";9;;")), "-l", "ergo")
    assert "1234" not in broken.out, "of a record that cannot be divided nothing is known to be nobody's"
    assert "1234" in run("peek", file(tmp_path, data.replace(b";9;", b";9;;")), "-l", "ergo", "--reveal").out


@pytest.mark.parametrize(
    "line",
    ["#UP 01012\tTolvan", "#UP 01012Tolvan", "01012 Tolvan", "Tolvan", "#Tolvan", "#UP Tolvan", "#UP 01004Tolvan",
     "#UP 01999 Tolvan", "#PNRTolvan"],
)  # fmt: skip
def test_of_a_line_that_is_not_as_it_should_be_nothing_is_shown_that_may_be_a_persons(
    run: Any, tmp_path: Path, line: str
) -> None:
    whole = written("navet_utfil", tmp_path, n=4).read_text("cp1252")
    bad = file(tmp_path, whole.replace("#POST_SLUT", f"{line}\n#POST_SLUT", 1).encode("cp1252"))
    for more in ((), ("--json",)):
        out = run("peek", bad, "-l", "navet_utfil", "--record", 1, *more).out
        assert "#POST_START" in out or b"#POST_START".hex() in out
        for secret in ("Tolvan", b"Tolvan".hex()):
            assert secret not in out


def test_a_record_that_is_taken_for_another_type_shows_nobody(run: Any, tmp_path: Path) -> None:
    layout = layouts.load("agresso_lg04")
    head = {"record_type": "H", "apar_name": "TOLVAN T", "address": "LUFTGATAN 3", "ext_ord_ref": "191212121212",
            "batch_id": "B", "client": "ST", "order_id": 1, "trans_type": "42", "voucher_type": "KF",
            "line_no": 0}  # fmt: skip
    data, findings = formats.render(layout, [head], "iso8859-1")
    assert not findings
    taken = file(tmp_path, b"0" + data[1:])
    for more in ((), ("--json",)):
        ran = run("peek", taken, "-l", "agresso_lg04", "--record", 1, *more)
        for secret in ("TOLVAN", "LUFTGATAN", "19121212"):
            assert secret not in ran.out
            assert secret.encode().hex() not in ran.out


@pytest.mark.parametrize("n", [1, 2])
def test_a_post_that_is_taken_for_the_trailer_shows_nobody_and_no_finding_tells_of_it(
    run: Any, tmp_path: Path, n: int
) -> None:
    lines = written("a02", tmp_path, n=4).read_bytes().split(b"\r\n")
    post = b"90" + b"000000000191212121212".ljust(len(lines[1]) - 2)
    bad = file(tmp_path, b"\r\n".join([*lines[:n], post, *lines[n + 1 : n + 1], b""]))
    for words in (("parse", bad, "-o", tmp_path / "o"), ("peek", bad, "--record", n + 1)):
        for more in ((), ("--json",)):
            ran = run(*words, "-l", "a02", *more)
            assert ran.code == 1
            for secret in ("1212121", "12,121", b"1212121".hex()):
                assert secret not in ran.out + ran.err, words


def test_what_stands_where_no_field_is_is_not_shown(run: Any, tmp_path: Path) -> None:
    lines = written("a02", tmp_path, n=4).read_bytes().split(b"\r\n")
    gap = next(f for f in layouts.load("a02").of("header") if f.type == "filler" and f.length > 12)
    at = int(gap.at) - 1
    lines[0] = lines[0][:at] + b"191212121212" + lines[0][at + 12 :]
    ran = run("peek", file(tmp_path, b"\r\n".join(lines)), "-l", "a02", "--record", 1)
    assert "999999999999" in ran.out
    assert "1212121" not in ran.out


def test_a_quote_that_is_never_closed_is_shown_with_its_line_only(run: Any, tmp_path: Path) -> None:
    data = written("lis_fees", tmp_path).read_bytes()
    ran = run("peek", file(tmp_path, data[:100] + b'"' + data[100:]), "-l", "lis_fees", "--json")
    assert ran.code == 1
    assert ran.json["length"] < 120


def test_letters_of_utf_8_are_shown_as_letters(run: Any, tmp_path: Path) -> None:
    data = "198911222399;Åsa;Ängsvik;1234;9;9Å\r\n".encode()
    out = run("peek", file(tmp_path, data), "-l", "ergo", "-e", "utf-8", "--reveal").out
    assert "Å·sa;Ä·ngsvik;1234;9;9Å·" in out
    spoilt = file(tmp_path, data.replace("9Å".encode(), b"9\xc3"))
    assert "9;9·" in run("peek", spoilt, "-l", "ergo", "-e", "utf-8", "--reveal").out


# --- comparing


def test_files_that_cannot_be_read_are_never_the_same(run: Any, tmp_path: Path) -> None:
    one, other = file(tmp_path, b"x" * 3000, "a"), file(tmp_path, b"y" * 3001, "b")
    ran = run("diff", one, other, "-l", "agresso_cs15")
    assert ran.code == 1
    assert "different" in ran.out
    assert ran.out.count("can be read") == 2
    told = run("diff", one, other, "-l", "agresso_cs15", "--key", "comp_reg_no", "--json").json
    assert (told["same"], told["findings_a"]) == (False, {"record_length": 1})


def test_a_piece_after_the_last_record_is_compared_too(run: Any, tmp_path: Path) -> None:
    data = written("agresso_cs15", tmp_path).read_bytes()
    ran = run("diff", file(tmp_path, data + b"abc", "a"), file(tmp_path, data + b"abd", "b"), "-l", "agresso_cs15")
    assert ran.code == 1
    assert "truncated_file 1" in ran.out


def test_a_line_end_in_a_record_spoils_only_that_record(run: Any, tmp_path: Path) -> None:
    source = written("agresso_cs15", tmp_path)
    bad = spoiled(source, (2 * 1609 + 30, b"\n"), (9 * 1609 + 130, b"9"))
    ran = run("diff", source, bad, "-l", "agresso_cs15", "--json")
    assert ran.json["changed"] == 2
    assert ran.json["kinds"]["unreadable"] == 1
    assert [c["field"] for c in ran.json["examples"]] == ["collect_flag"]


def test_the_same_values_in_other_bytes_are_told(run: Any, tmp_path: Path) -> None:
    source = written("agresso_gl07", tmp_path)
    record = source.read_bytes()[:2060]
    blank = b"%20d" % int(record[399:419])
    ran = run("diff", source, spoiled(source, (399, blank)), "-l", "agresso_gl07", "--json")
    assert (ran.code, ran.json["written_otherwise"]) == (0, 1)


# --- layouts


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.replace('posttyp: "20"}', 'posttyp: "10"}'), "known by the same as header, and never read"),
        (lambda s: s.replace('    when: {posttyp: "20"}\n', ""), "takes every record, so that trailer is never read"),
        (lambda s: s.replace('posttyp: "20"}', 'posttyp: "200"}'), "posttyp has no room for"),
        (lambda s: s.replace('{value: "01800"}', '{value: "018000"}'), "has no room for 018000"),
        (lambda s: s.replace('{value: "01800"}', "{value: 01€00}"), "not in Latin-1"),
        (lambda s: s.replace("date, {required: true}", "date, {form: YYYMMDD}"), "a letter too many"),
        (lambda s: s.replace("{align: right", '{align: right, fill: "€"', 1), "not every encoding has"),
        (lambda s: s.replace("sum: post.belopp", "sum: post.apar_id"), "is no number with"),
        (lambda s: s.replace("trailer.antal_20_poster", "header.client"), "holds no total"),
    ],
)
def test_a_layout_that_could_not_do_what_it_says_is_refused(
    run: Any, tmp_path: Path, change: Any, complaint: str
) -> None:
    from slussen import settings

    text = (settings.FORMATS / "a02.yaml").read_text(encoding="utf-8")
    assert change(text) != text
    layout = tmp_path / "a02.yaml"
    layout.write_text(change(text), encoding="utf-8")
    ran = run("layout", "check", layout, "--json")
    assert ran.code == 1
    assert complaint in ran.json[0]["reason"]
    assert ran.json[0]["reason"].startswith("a02.yaml:")


def test_a_term_has_a_code_of_five_digits(run: Any, tmp_path: Path) -> None:
    from slussen import settings

    layout = tmp_path / "navet_utfil.yaml"
    text = (settings.FORMATS / "navet_utfil.yaml").read_text(encoding="utf-8")
    layout.write_text(text.replace('"01004"', '"1004"'), encoding="utf-8")
    assert "no code of five digits" in run("layout", "check", layout, "--json").json[0]["reason"]


def test_a_layout_that_is_no_text_or_not_there(run: Any, tmp_path: Path) -> None:
    ran = run("layout", "check", file(tmp_path, b"format: x\n\xda", "x.yaml"), "--json")
    assert (ran.code, ran.json[0]["reason"]) == (1, "x.yaml:2: byte da is no UTF-8")
    assert run("layout", "check", "nosuch").code == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("05 A PIC 9(8) COMP-6.", "A is COMP-6"),
        ("05 A PIC 9(8) NATIONAL.", "A is NATIONAL"),
        ("05 A PIC N(4).", "a picture with N"),
        ("05 A PIC 9(3)PP.", "a picture with P"),
    ],
)
def test_what_would_be_read_wrong_is_no_copybook_for_us(run: Any, tmp_path: Path, line: str, complaint: str) -> None:
    ran = run("layout", "import-copybook", file(tmp_path, f"01 R.\n{line}\n".encode(), "b.cpy"))
    assert ran.code == 2
    assert complaint in ran.err


def test_a_redefinition_asks_how_its_records_are_known(run: Any, tmp_path: Path) -> None:
    book = "01 R.\n 05 T PIC X.\n 05 A PIC 9(4).\n 05 B REDEFINES A PIC X(4).\n"
    made = tmp_path / "b.yaml"
    ran = run("layout", "import-copybook", file(tmp_path, book.encode(), "b.cpy"), "-o", made)
    assert ran.code == 0
    assert "say by which field's value each is known" in ran.err
    checked = run("layout", "check", made, "--json")
    assert checked.code == 1
    assert "takes every record" in checked.json[0]["reason"]


def test_what_a_change_alters_in_the_bytes_of_a_delimited_file(run: Any, tmp_path: Path) -> None:
    from slussen import settings

    old = tmp_path / "ergo.yaml"
    text = (settings.FORMATS / "ergo.yaml").read_text(encoding="utf-8")
    old.write_text(text.replace("quoted: true", "quoted: false"), encoding="utf-8")
    payload = file(tmp_path, b"198911222399;Bo;Berg, Bo;1234;9;9A\r\n201204062390;Li;Berg, Li;1234;9;9A\r\n")
    found = run("layout", "impact", "ergo", "--old", old, "--payload", payload, "--json").json[-1]
    assert (found["records"], found["records_changed"], found["fields"]) == (2, 2, {})
    assert found["bytes_after"] - found["bytes_before"] == 4, "the same values, in quotes"


def test_random_bytes_are_no_file_of_ours(run: Any, tmp_path: Path) -> None:
    ran = run("peek", file(tmp_path, Random(1).randbytes(5000)))
    assert (ran.code, "no layout fits" in ran.err) == (1, True)
