"""Traps of encodings that were walked into elsewhere, and published samples."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from slussen.errors import Findings
from slussen.records import layout as layouts
from slussen.records.codepages import codepage
from slussen.records.convert import Converted
from slussen.records.detect import verdict
from tests import formats, reference

SAMPLES = Path(__file__).parent / "golden" / "samples"


def converted(data: bytes, source: str, target: str) -> tuple[bytes, Findings]:
    findings = Findings()
    return b"".join(Converted(io.BytesIO(data), source, target, findings)), findings


def test_ebcdics_new_line_is_no_record_end_in_a_dataset_of_fixed_blocks() -> None:
    """Byte 15 reads as LF, as 25 does, and would come back as 25: records are cut by length, and 15 is no letter."""
    layout = formats.make(length=4, fields={"t": [1, 4, "text"]})
    data = "AB".encode("cp278") + b"\x15" + "C".encode("cp278") + "DEFG".encode("cp278")
    rows, findings, _ = formats.parse(layout, data, "cp278", "fixed")
    assert [r["t"] for r in rows] == ["AB\nC", "DEFG"]
    assert [(f.rule, f.record, f.column, f.byte) for f in findings] == [("control_character", 1, 3, "15")]
    _, findings = formats.render(layout, [{"record_type": "r", "t": "A\nB"}], "cp278", "fixed")
    assert [f.rule for f in findings] == ["control_character"]
    for target in ("cp278", "cp1143"):
        assert converted(b"\x15\x25", "cp278", target)[0] == b"\x15\x25", "what both have stays as it is"
    assert converted(b"\x15\x25", "cp278", "cp1252")[0] == b"\n\n"
    assert converted(b"\n", "cp1252", "cp278")[0] == b"\x25", "the way back is the codec's"


def test_swedish_cp278_read_as_cp500_is_told_apart() -> None:
    data = "Åsa Öberg Ärlig äpple på ön, Göran Sjöström i Malmö".encode("cp278")
    assert data.decode("cp500").startswith("$sa @berg #rlig")
    found = verdict(data, "cp500")
    assert found is not None
    assert found.likely == "cp278"
    assert "Swedish letters" in str(found)


def test_the_c_librarys_ibm278_has_two_letters_in_each_others_place() -> None:
    page = codepage("cp278")
    assert (page.byte("É"), page.byte("\\")) == (0xE0, 0x71)
    if shutil.which("iconv") is None:
        pytest.skip("no iconv here")
    theirs = subprocess.run(
        ["iconv", "-f", "IBM278", "-t", "UTF-8"], input=b"\xe0\x71", capture_output=True, check=False
    )
    if theirs.returncode == 0:
        assert theirs.stdout.decode() in ("\\É", "É\\"), "mended there? then say so here"


THEIRS = {"cp1143": "IBM1143", "cp037": "IBM037", "cp500": "IBM500", "cp850": "CP850", "cp437": "CP437"}


def iconv(encoding: str, data: bytes) -> str:
    """What the C library makes of this; nothing, when it knows no such byte."""
    command = ["iconv", "-f", encoding, "-t", "UTF-8"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return done.stdout.decode() if done.returncode == 0 else ""


@pytest.mark.parametrize("name", ["cp850", "cp437", "cp1252", "iso8859-1", "iso8859-15", "cp1143", "cp037", "cp500"])
def test_other_code_pages_are_what_the_c_library_has(name: str) -> None:
    """IBM278 apart, iconv is an oracle."""
    if shutil.which("iconv") is None:
        pytest.skip("no iconv here")
    theirs = {"cp1143": "IBM1143", "cp037": "IBM037", "cp500": "IBM500", "cp850": "CP850", "cp437": "CP437"}.get(
        name, name
    )
    page = codepage(name)
    for byte in range(256):
        made = subprocess.run(
            ["iconv", "-f", theirs, "-t", "UTF-8"], input=bytes([byte]), capture_output=True, check=False
        )
        if made.returncode or not made.stdout:
            continue
        letter = made.stdout.decode()
        if letter.isprintable():
            assert chr(page.letters[byte]) == letter, f"{byte:02x}"


def test_a_file_declared_pc8_that_is_windows_is_an_error_with_its_figures() -> None:
    layout = layouts.load("ergo")
    rows = [{"record_type": "record", "personnr": "198911222399", "fornamn": "Åsa", "namn": "Öberg, Åsa", "klass": "Ä"}]
    data, _ = formats.render(layout, rows * 40, "cp1252", "crlf")
    _, findings, _ = formats.parse(layout, data, "cp437", "crlf")
    (found,) = [f for f in findings if f.rule == "wrong_encoding"]
    assert found.message == "declared cp437, reads like cp1252: 160 of 160 bytes above 7F are Swedish letters there"
    for declared in ("cp1252", "iso8859-1"):
        _, findings, _ = formats.parse(layout, data, declared, "crlf")
        assert not findings
    utf, _ = formats.render(layout, rows * 40, "utf-8", "crlf")
    _, findings, _ = formats.parse(layout, utf, "cp1252", "crlf")
    assert any("reads like utf-8" in f.message for f in findings)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "iso8859-1", "cp437", "cp278"])
@pytest.mark.parametrize(
    ("separator", "value"),
    [
        ("|", "Anna Andersson"),
        (";", "C:\\TEMP"),
        (";", "x[0]"),
        (";", "{1}"),
        (";", "REF#1"),
        (";", "@home"),
        (";", "$5"),
    ],
)
def test_signs_are_no_letters_of_another_encoding(encoding: str, separator: str, value: str) -> None:
    layout = formats.make(kind="delimited", separator=separator, fields={"a": [1, 20, "text"], "b": [2, 20, "text"]})
    data = f"{value}{separator}2024\n".encode(encoding) * 300
    assert not formats.parse(layout, data, encoding)[1]


@pytest.mark.parametrize("target", ["utf-8", "utf-8-sig"])
def test_utf_8_with_and_without_its_mark(target: str) -> None:
    out, findings = converted("Åsa €\n".encode("cp1252"), "cp1252", target)
    assert not findings
    assert out.startswith(b"\xef\xbb\xbf") == (target == "utf-8-sig")
    back, findings = converted(out, target, "cp1252")
    assert not findings
    assert back == "Åsa €\n".encode("cp1252")
    _, findings = converted(b"\xef\xbb\xbfx", "utf-8", "cp1252")
    assert [f.rule for f in findings] == ["bom"]
    _, findings = converted("a\nåb\ufeffc".encode(), "utf-8", "cp1252")
    assert ("bom", 5, 4) in {(f.rule, f.offset, f.column) for f in findings}
    assert next(f.message for f in findings if f.rule == "bom").startswith("line 2: ")


@pytest.mark.parametrize(("data", "offset"), [(b"ab\xc3", 2), (b"a\xff\n", 1), (b"\xc3\x28", 0), (b"ab\n\xe2\x82", 3)])
def test_what_is_no_utf_8_is_located(data: bytes, offset: int) -> None:
    _, findings = converted(data, "utf-8", "cp1252")
    assert next((f.rule, f.offset) for f in findings) == ("undefined_byte", offset)


def test_utf_8_letters_that_a_chunk_cuts_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from slussen.records import convert

    text = "Åäö€ﬁ𝄞 slut\n" * 9
    for size in range(1, 9):
        monkeypatch.setattr(convert, "CHUNK", size)
        out, findings = converted(text.encode(), "utf-8", "utf-8")
        assert not findings
        assert out.decode() == text
    _, findings = converted(text.encode(), "utf-8", "cp1252")
    assert findings.counts["unmappable"] == 18
    first = next(iter(findings))
    assert text.encode()[first.offset or 0 :].startswith("ﬁ".encode())


def test_the_seven_bit_letters_of_the_published_sample_read_and_come_back() -> None:
    layout = layouts.load("pknod")
    data = (SAMPLES / "pknod-704.txt").read_bytes()
    rows, findings, parsed = formats.parse(layout, data, "sen850200b", "lf")
    assert not findings, list(map(str, findings))
    assert parsed.records == 60
    towns = " ".join(str(r["postort"]) for r in rows)
    assert "[" not in towns
    anonymous = [r for r in rows if r["returkod"] == "0002"]
    assert anonymous
    assert all(str(r["namn"]).startswith("PERSONUPPGIFTEN, SKYDDAD") for r in anonymous)
    ebcdic, findings = formats.render(layout, rows, "cp278", "fixed")
    assert not findings
    again, findings, _ = formats.parse(layout, ebcdic, "cp278", "fixed")
    assert formats.values(again) == formats.values(rows)
    # Three of the published records have blanks where the format has zeros; all else comes back byte for byte.
    back, _ = formats.render(layout, rows, "sen850200b", "lf")
    differ = [k for k in range(60) if back[k * 705 : k * 705 + 704] != data[k * 705 : k * 705 + 704]]
    assert len(differ) == 3


def test_sen_850200_has_its_ten_letters() -> None:
    assert reference.encode("åäöÅÄÖ", "sen850200b") == b"}{|][\\"
    assert reference.encode("åäöÅÄÖéÉüÜ", "sen850200c") == b"}{|][\\`@~^"
    out, findings = converted("Åke Öman".encode("cp1252"), "cp1252", "sen850200b")
    assert (out, len(findings)) == (b"]ke \\man", 0)
    _, findings = converted("Zoé".encode("cp1252"), "cp1252", "sen850200b")
    assert [f.rule for f in findings] == ["unmappable"]


SWEDISH = "Åsa Öberg Ärlig äpple på ön, Göran Sjöström i Malmö; 199001019802 ANDERSSON KÄRRGATAN 12\n"


@pytest.mark.parametrize("records", [1, 20])
@pytest.mark.parametrize("name", ["infodata_reply", "csn_report"])
@pytest.mark.parametrize("declared", ["cp1252", "cp437", "iso8859-1", "utf-8"])
def test_ebcdic_that_is_declared_as_ascii_is_told_however_many_blanks_fill_it(
    name: str, declared: str, records: int
) -> None:
    layout = layouts.load(name)
    data = b"".join(f"20{n:06}198911222399ÅBERG".encode("cp278").ljust(layout.length, b"\x40") for n in range(records))
    _, findings, _ = formats.parse(layout, data, declared, "fixed")
    first = next(iter(findings))
    assert (first.rule, "reads like cp278" in first.message) == ("wrong_encoding", True), first.message
    _, findings = converted(data + b"\x40" * 1000, declared, "utf-8")
    assert "reads like cp278" in next(iter(findings)).message


@pytest.mark.parametrize("written", ["cp278", "cp037", "cp437", "cp1252", "iso8859-1", "utf-8"])
@pytest.mark.parametrize("declared", ["cp278", "cp037", "cp500", "cp437", "cp850", "cp1252", "iso8859-1", "utf-8"])
@pytest.mark.parametrize("times", [1, 40])
def test_the_likely_encoding_is_one_in_which_the_file_says_the_same(written: str, declared: str, times: int) -> None:
    data = b"".join(reference.byte(c, written) for c in SWEDISH) if written != "utf-8" else SWEDISH.encode()
    found = verdict(data * times, declared)
    right = data.decode(declared, "replace") == SWEDISH
    assert (found and data.decode(found.likely)) == (None if right else SWEDISH)


def test_one_sequence_of_utf_8_among_letters_of_windows_makes_no_file_of_utf_8() -> None:
    data = SWEDISH.encode("cp1252") * 40
    assert verdict(data[:500] + "Ö".encode() + data[500:], "cp1252") is None
    cut = (SWEDISH.encode() * 900)[: (1 << 16) - 1]
    assert verdict(cut[: cut.rindex(b"\xc3") + 1], "cp1252") is not None, "a sample may end within a letter"


@pytest.mark.parametrize("text", ["#BESTÄLLNINGSID 1", "ÄNGEL", "ÖBERG", "Åke Ängel", "MÜLLER"])
def test_few_letters_of_pc8_are_told_from_windows(text: str) -> None:
    found = verdict(text.encode("cp437"), "cp1252")
    assert (found and found.likely) == "cp437"


@pytest.mark.parametrize("text", ["Željko", "BOŽENA", "Miloš", "Dušan", "Žižek"])
def test_a_single_caron_of_another_languages_name_is_windows_own(text: str) -> None:
    assert verdict(text.encode("cp1252"), "cp1252") is None


def test_an_address_with_an_at_sign_is_no_seven_bit_letter() -> None:
    assert verdict(b"anna@skola.example;bo@skola.example", "cp1252") is None


def test_a_byte_order_mark_in_the_middle_of_delimited_records_is_found_at_its_place() -> None:
    layout = layouts.load("profdoc")
    rows = [{"record_type": "record", "personnr": "198911222399", "fornamn": "Åsa", "efternamn": "Öberg"}] * 40
    data, _ = formats.render(layout, rows, "cp1252", "crlf")
    at = data.index(b"\n", 900) + 1
    _, findings, _ = formats.parse(layout, data[:at] + b"\xef\xbb\xbf" + data[at:], "cp1252", "crlf")
    record = data.count(b"\n", 0, at) + 1
    assert ("bom", record, 1, at) in [(f.rule, f.record, f.column, f.offset) for f in findings]


@pytest.mark.parametrize("frame", ["lf", "crlf"])
def test_a_line_break_in_quotes_is_part_of_its_value_and_written_so(frame: str) -> None:
    layout = layouts.load("profdoc")
    row = {"record_type": "record", "personnr": "198911222399", "gatuadress": "Ängsvägen 1\nuppgång B"}
    data, findings = formats.render(layout, [row, row], "cp1252", frame)
    assert not findings, list(map(str, findings))
    assert '"Ängsvägen 1\nuppgång B"'.encode("cp1252") in data
    rows, findings, _ = formats.parse(layout, data, "cp1252", frame)
    assert not findings, list(map(str, findings))
    assert [r["gatuadress"] for r in rows] == [row["gatuadress"]] * 2
    for odd in ("a\rb", "a\nb\x07"):
        _, findings = formats.render(layout, [row | {"gatuadress": odd}], "cp1252", frame)
        assert [f.rule for f in findings] == ["control_character"]
        bad = data.replace("Ängsvägen 1\nuppgång B".encode("cp1252"), odd.encode(), 1)
        assert [f.rule for f in formats.parse(layout, bad, "cp1252", frame)[1]] == ["control_character"]


@pytest.mark.parametrize("encoding", ["sen850200b", "sen850200c"])
def test_seven_bit_swedish_that_is_declared_utf_8_is_told(encoding: str) -> None:
    text = "Åsa Öberg, Ängsvägen 3, Årsta\nPär Åkesson, Öland\n" * 20
    found = verdict(reference.encode(text, encoding), "utf-8")
    assert found is not None
    assert found.likely in ("sen850200b", "sen850200c")
    assert verdict(text.encode(), "utf-8") is None


@pytest.mark.parametrize("encoding", ["cp037", "cp500", "cp278", "cp1252", "cp437", "iso8859-1", "iso8859-15"])
@pytest.mark.parametrize(
    "rules", [{"sign": "overpunched"}, {"sign": "zoned"}, {"usage": "packed"}, {"usage": "binary"}]
)
def test_numbers_whose_bytes_are_no_letters_say_nothing_of_the_encoding(encoding: str, rules: dict[str, str]) -> None:
    frame = "fixed" if "usage" in rules else "lf"
    layout = formats.make(length=14, fields={"name": [1, 10, "text"], "n": [11, 4, "integer", rules]})
    rows = [{"record_type": "r", "name": "Tolvan", "n": (n - 150) * 7 % 1000} for n in range(300)]
    rows += [{"record_type": "r", "name": "Tolvan", "n": -n * 10} for n in range(1, 90)]
    data, refused = formats.render(layout, rows, encoding, frame)
    assert not refused
    back, findings, _ = formats.parse(layout, data, encoding, frame)
    assert (formats.values(back), list(map(str, findings))) == (rows, [])
    named = [{**row, "name": "Åsa Öberg"} for row in rows]
    if encoding == "cp1252":
        data, _ = formats.render(layout, named, encoding, frame)
        assert [f.rule for f in formats.parse(layout, data, "cp437", frame)[1]][:1] == ["wrong_encoding"]
