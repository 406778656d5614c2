"""Layouts: the tables as the partners' paper has them, and what a change in the YAML alone changes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
import yaml

from slussen import settings
from slussen.errors import CallError, Findings
from slussen.records import layout as layouts
from slussen.records.notation import schema_json
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import formats as making

NAMES = sorted(f.stem for f in settings.FORMATS.glob("*.yaml"))
GOLDEN = Path(__file__).parent / "golden" / "layouts"
# Positions copied by hand from the published tables: field, first and last place.
PUBLISHED = {
    "agresso_cs15": {
        "full_record": (1, 1), "apar_id": (5, 13), "apar_name": (23, 72), "comp_reg_no": (132, 156),
        "currency": (178, 180), "short_name": (372, 381), "address1": (425, 464), "address4": (545, 584),
        "country_code": (847, 849), "telephone_1": (980, 1014), "zip_code": (1480, 1494), "reference_1": (1584, 1608),
    },
    "agresso_lg04": {
        "accept_flag": (1, 1), "amount": (192, 208), "amount_set": (209, 209), "apar_id": (210, 217),
        "art_descr": (248, 282), "batch_id": (347, 358), "client": (359, 360), "confirm_date": (363, 379),
        "currency": (398, 400), "ext_ord_ref": (1032, 1046), "line_no": (1053, 1056), "order_id": (1526, 1534),
        "period": (1539, 1546), "sequence_no": (1645, 1652), "short_info": (1681, 1740), "trans_type": (1804, 1805),
        "value_1": (1859, 1875), "voucher_type": (1885, 1886), "zip_code": (1891, 1905),
    },
    "pknod": {
        "svarslangd": (1, 4), "returkod": (5, 8), "pnr_rnr": (9, 20), "namn": (42, 77), "adress": (78, 104),
        "postnummer": (105, 109), "postort": (110, 122), "civilstand": (145, 145), "lan": (174, 175),
        "kommun": (176, 177), "avgangskod": (186, 186), "fastighetsbeteckning": (352, 391), "slutmarkering": (704, 704),
    },
    "agresso_lg04_wide": {
        "account": (1, 25), "amount": (213, 232), "apar_id": (234, 258), "apar_name": (284, 538),
        "art_descr": (539, 793), "line_no": (2494, 2497), "order_id": (3131, 3145), "period": (3154, 3159),
        "sequence_no": (3315, 3322), "short_info": (3351, 3410), "status": (3411, 3411), "tax_system": (3487, 3511),
        "unit_price": (4205, 4224), "value_1": (4225, 4244), "zip_code": (4310, 4324),
    },
    "agresso_gl07": {
        "batch_id": (1, 25), "trans_type": (76, 77), "account": (103, 127), "dc_flag": (378, 379),
        "cur_amount": (380, 399), "amount": (400, 419), "number_1": (420, 430), "description": (491, 745),
        "voucher_date": (754, 761), "voucher_no": (762, 776), "ext_inv_ref": (784, 883), "due_date": (1139, 1146),
        "apar_type": (1245, 1245), "apar_id": (1246, 1270), "responsible": (1346, 1370), "base_curr": (1991, 2010),
        "allocation_key": (2015, 2017), "arrive_id": (2044, 2058), "bank_acc_type": (2059, 2060),
    },
    "pknodplus": {
        "svarslangd": (1, 4), "namn": (42, 77), "blank": (704, 704), "fornamn": (705, 784), "efternamn": (825, 884),
        "folkbokforingspostort": (995, 1021), "sarskild_postnummer": (1127, 1131), "relation_2_pnr": (1313, 1324),
        "slutmarkering": (1327, 1327),
    },
    "a02": {
        "kund_id": (20, 31), "voucher_no": (34, 48), "order_id": (57, 65), "ext_ord_ref": (66, 80),
        "tecken_belopp": (97, 97), "belopp": (98, 111), "restbelopp": (113, 126), "status": (127, 127),
        "senaste_betaldatum": (128, 135), "kravdatum": (137, 144), "ocr_referens": (145, 169),
    },
    "csn_report": {"atgard": (10, 10), "personnr": (11, 22), "sekretess": (23, 23), "studievagskod": (32, 39)},
    "csn_receipt": {"lopnummer": (3, 8), "postnummer": (9, 15), "personnr": (16, 27), "feltext": (33, 92)},
    "csn_inack_question": {"personnr": (3, 14), "lasar": (15, 22), "egen_referens": (27, 46)},
    "csn_inack_reply": {"svarskod": (43, 43), "manadsbelopp": (56, 62), "beslutsdatum": (63, 70)},
    "infodata_question": {"personnr": (3, 14), "egen_referens": (15, 34)},
    "infodata_reply": {
        "fragat_personnr": (3, 14), "sekretessmarkering": (48, 48), "skyddad_folkbokforing": (49, 49),
        "aviseringsnamn": (60, 95), "efternamn": (218, 277), "postnr": (383, 387), "folkbokforingsdatum": (419, 426),
    },
}  # fmt: skip
LENGTHS = {
    "agresso_cs15": 1608, "agresso_lg04": 1905, "agresso_lg04_wide": 4324, "agresso_gl07": 2060, "pknod": 704,
    "pknodplus": 1327, "a02": 200, "csn_report": 150, "csn_receipt": 120, "csn_inack_question": 80,
    "csn_inack_reply": 120, "infodata_question": 80, "infodata_reply": 450, "ifs_invoice": 250, "usk": 160,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_prints_as_the_table_that_was_checked_by_hand(name: str) -> None:
    printed, golden = str(layouts.load(name)), GOLDEN / f"{name}.txt"
    if not golden.exists() or golden.read_text(encoding="utf-8") != printed:
        actual = golden.with_suffix(".actual")
        actual.write_text(printed, encoding="utf-8")
        pytest.fail(f"compare {actual} with {golden.name}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields_stand_where_the_publication_has_them(name: str) -> None:
    layout = layouts.load(name)
    data = layout.data_types[0]
    for field, (first, last) in PUBLISHED[name].items():
        spec = layout.field(field, data) or layout.field(field)
        assert spec is not None, field
        assert (spec.at, int(spec.at) + spec.length - 1) == (first, last), field
    assert layout.length == LENGTHS[name]


def test_fixed_layouts_are_as_long_as_published() -> None:
    assert {n: layouts.load(n).length for n in NAMES if layouts.load(n).kind == "fixed"} == LENGTHS


@pytest.mark.parametrize("name", NAMES)
def test_editors_find_nothing_wrong_with_a_layout(name: str) -> None:
    schema = json.loads((settings.FORMATS / "schema.json").read_text(encoding="utf-8"))
    layout = yaml.safe_load((settings.FORMATS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert [e.message for e in jsonschema.Draft7Validator(schema).iter_errors(layout)] == []


def test_the_schema_for_editors_is_the_notations() -> None:
    schema = settings.FORMATS / "schema.json"
    assert schema.read_text(encoding="utf-8") == schema_json(), "make formats"
    for name in NAMES:
        first = (settings.FORMATS / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
        assert first == "# yaml-language-server: $schema=schema.json"


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_says_where_it_comes_from(name: str) -> None:
    layout = layouts.load(name)
    assert layout.status in ("published", "assumed")
    assert len(layout.source) > 20


# Fields that tell of a person in whatever layout they occur: numbers, names, where and how somebody is reached, born,
# registered, what somebody pays from, and the free texts in which anybody may be named.
PERSONAL = re.compile(
    r".*(personn|pnr|identitet_|fodelse|fornamn|efternamn|mellannamn|aviseringsnamn|tilltalsnamn|_name|adress|address"
    r"|c_o|_co$|postnr|postort|zip|telefon|telephone|e_mail|postal|bank_account|foreign_acc|comp_reg|vat_reg|kund_id"
    r"|kundnr$|anvandar|signatur|responsible|user_id|civilstand_?s?datum|avregistreringsdatum|folkbokforings"
    r"|medborgarskap|nationalitet|invandring|fastighet|koordinat|omrade|psyksektor|huslakare|egen_referens|er_referens"
    r"|ext_.*ref|ocr|kid$|description|long_info|short_info|message|fakturatext|feltext|markings|attention|deliv_addr)"
    r".*|apar_id|main_apar_id|apar_id_ref|lan|kommun|forsamling|namn|place|province|text[1-4]|number|reference_1"
)
NOBODYS = {
    ("agresso_cs15", "apar_id"): "a running number in the file",
    ("novaschem", "namn"): "a subject's name",
    ("agresso_gl07", "bank_acc_type"): "a code",
    ("csn_report", "postnummer"): "the record's number",
    ("csn_receipt", "postnummer"): "the record's number",
    ("pknod", "kalla_till_omradeskoder"): "a code",
    ("pknodplus", "kalla_till_omradeskoder"): "a code",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_tells_of_a_person_is_masked_in_every_layout(name: str) -> None:
    told = {f.name for f in layouts.load(name).fields if f.staged and PERSONAL.fullmatch(f.name) and not f.private}
    assert told - {field for layout, field in NOBODYS if layout == name} == set()


def test_a_field_is_as_private_in_one_layout_as_in_another() -> None:
    fields = [(n, f) for n in NAMES for f in layouts.load(n).fields if f.staged]
    private = {f.name for n, f in fields if f.private}
    shown = {(n, f.name) for n, f in fields if not f.private} - set(NOBODYS)
    # Of a protected pupil the school health service's file keeps the school, the statistics office's doesn't.
    school = {"skola", "klass", "skolenhetskod"}
    assert {(n, field) for n, field in shown if field in private - school} == set()


# The publications that put a sign into the number itself; the rest have it in a field of its own, or none at all.
SIGNED = {
    "agresso_gl07": "all",  # type letter N: a minus first
    "agresso_lg04": {"amount", "cur_amount", "disc_percent", "value_1"},
    "agresso_lg04_wide": "all",  # digits left, a minus first
    "fronter": "all",  # our own view, never a file
}


@pytest.mark.parametrize("name", [n for n in NAMES if SIGNED.get(n) != "all"])
def test_a_number_has_a_sign_only_where_the_publication_has_one(name: str) -> None:
    numbers = [f for f in layouts.load(name).fields if f.type in ("integer", "decimal")]
    assert {f.name for f in numbers if f.sign == "leading"} == SIGNED.get(name, set())


def test_a_number_without_a_sign_is_refused_a_minus_both_ways() -> None:
    layout = layouts.load("csn_report")
    row = {"record_type": "studietid", "postnummer": 1, "atgard": "N", "personnr": "198911222399", "sekretess": "N"}
    good, fine = making.render(layout, [row | {"omfattning": 50}], "cp278", "fixed")
    _, refused = making.render(layout, [row | {"omfattning": -50}], "cp278", "fixed")
    bad = good[:56] + bytes.fromhex("60") + good[57:]  # EBCDIC's minus
    _, unread, _ = making.parse(layout, bad, "cp278", "fixed")
    told = [[f.field for f in findings if f.field] for findings in (fine, refused, unread)]
    assert told == [[], ["omfattning"], ["omfattning"]]


@pytest.mark.parametrize("name", ["pknod", "pknodplus"])
def test_an_answer_is_read_whatever_its_published_code_says(name: str) -> None:
    layout = layouts.load(name)
    usual = layout.file.usual
    for code in ("0001", "0003", "0019", "0127", "0160", "0308", "9999"):
        row = {"record_type": "person", "returkod": code, "pnr_rnr": "198911222399"}
        data, refused = making.render(layout, [row], usual.encoding, usual.frame)
        assert not refused
        assert not making.parse(layout, data, usual.encoding, usual.frame)[1]
    assert making.render(layout, [row | {"returkod": "0128"}], usual.encoding, usual.frame)[1]


SMALL = """format: small
title: A small format
version: 1
status: assumed
source: made up for this test, to be changed in it
kind: fixed
usual: {encoding: iso8859-1, frame: lf}
length: 12
records:
  K: {}
fields:
  # name  at len type
  number: [1, 4, integer]
  name:   [5, 8, text]
"""


@pytest.fixture
def formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "FORMATS", tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    return tmp_path


def rendered(rows: list[dict[str, object]]) -> tuple[bytes, Findings]:
    layout = layouts.load("small")
    filled = [{"record_no": n, "byte_offset": 0, "record_type": "K", **r} for n, r in enumerate(rows, 1)]
    columns = [pa.array([r.get(f.name) for r in filled], f.type) for f in layout.schema]
    batch = pa.RecordBatch.from_arrays(columns, schema=layout.schema)
    findings = Findings()
    return b"".join(Rendered([batch], layout, "iso8859-1", "lf", findings)), findings


def test_a_field_that_is_widened_and_one_that_is_added_change_everything_with_no_code_touched(formats: Path) -> None:
    long = [{"number": 7, "name": "Ångström-Ek"}]
    _, refused = rendered(long)
    assert [f.rule for f in refused] == ["too_long"]
    wider = SMALL.replace("length: 12", "length: 26").replace("[5, 8, text]", "[5, 14, text]")
    (formats / "small.yaml").write_text(wider + "  town:   [19, 8, text]\n", encoding="utf-8")
    out, findings = rendered([{**long[0], "town": "Sälen"}])
    assert not findings
    assert out == "0007Ångström-Ek   Sälen   \n".encode("latin-1")
    assert layouts.load("small").schema.names[-2:] == ["name", "town"]
    parsed = list(Parsed(io.BytesIO(out), layouts.load("small"), "iso8859-1", "lf", Findings()))
    assert parsed[0].to_pylist()[0]["town"] == "Sälen"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[5, 8, text]", "[6, 8, text]"), "small.yaml:14: name starts at 6, but 5 is next"),
        (("length: 12", "length: 13"), "the fields end at 12, the record at 13"),
        (("[5, 8, text]", "[5, 8, txt]"), "small.yaml:14:"),
        (("[5, 8, text]", "[5, 8, text, {required: true, required: false}]"), "small.yaml:14: required is there twice"),
        (("[1, 4, integer]", "[1, 4, integer, {fill: '5'}]"), "small.yaml:13: number is filled up with 5, which would"),
        (("[1, 4, integer]", "[1, 4, integer, {fill: '-'}]"), "filled up with -, which would be part of it"),
        (
            ("[5, 8, text]", "[5, 8, group, {personal: true, fields: {x: [1, 8, text]}}]"),
            "name is a group: personal",
        ),
        (("K: {}", "K: " + "[" * 3000), "small.yaml:1: nested too deeply"),
        (("[5, 8, text]", "[5, 8, text, {truncat: true}]"), "small.yaml:14:"),
        (("status: assumed", "status: guessed"), "small.yaml:4:"),
        (("format: small", "format: other"), "the format is called other"),
        (("[5, 8, text]", "[5, 8, text, {only: X}]"), "record types that there are none of: X"),
        (("kind: fixed", "kind: ["), "small.yaml:"),
        (("name:   [5, 8, text]", "number: [5, 8, text]"), "number is there twice"),
        (("[1, 4, integer]", "[1, 4, date]"), "has no room for"),
        (("[5, 8, text]", "[5, 8, date, {form: YYYYMMMM}]"), "has a part twice"),
        (("[5, 8, text]", "[5, 8, date, {form: hhmmss}]"), "is no date in the form"),
        (("[5, 8, text]", "[5, 8, text, {usage: packed}]"), "only numbers of fixed records are"),
        (("[5, 8, text]", "[5, 8, boolean, {values: [J]}]"), "needs two values"),
        (("[5, 8, text]", "[5, 8, const]"), "needs its value"),
        (("[1, 4, integer]", "[1, 4, integer, {sign: name}]"), "no field of type sign"),
        (("[1, 4, integer]", "[1, 3, integer, {usage: binary}]"), "1, 2, 4 or 8 bytes"),
        (("K: {}", "K: {when: {nosuch: A}}"), "known by nosuch, which is no field of it"),
        (("K: {}", "K: {under: L}"), "there is no record type L"),
        (("K: {}", "K: {place: first, when: {name: A}}\n  L: {place: first, when: {name: B}}"), "can be first"),
        (("encoding: iso8859-1", "encoding: cp999"), "unknown encoding"),
        (("K: {}", "K: {}\ntotals:\n  K.nosuch: {count: K}"), "there is no field K.nosuch"),
        (("K: {}", "K: {}\ntotals:\n  K.number: {count: L}"), "there is no record type L"),
        (("K: {}", "K: {}\ntotals:\n  K.number: {sum: K.nosuch}"), "there is no field K.nosuch"),
        (("K: {}", "K: {fields: {x: [1, 12, text]}}"), "either the layout has fields or its record types"),
        (("kind: fixed", "kind: delimited"), "needs its separator"),
        (("kind: fixed", "kind: tagged"), "no code of five digits"),
        (("[1, 4, integer]", "[1, 1, integer, {sign: trailing}]"), "no room for a digit and its sign"),
        (("number: [1, 4", "record_no: [1, 4"), "small.yaml:13: record_no is a name of the engine's own"),
        (("number: [1, 4", "record_type: [1, 4"), "a name of the engine's own"),
        (("number: [1, 4", "byte_offset: [1, 4"), "a name of the engine's own"),
        (("number: [1, 4", "group_no: [1, 4"), "a name of the engine's own"),
        (("number: [1, 4", "raw: [1, 4"), "a name of the engine's own"),
        (("number: [1, 4", "number: ['#A', 4"), "small.yaml:13: number is at #A, which is no place"),
        (("[5, 8, text]", "['#A', 8, group, {fields: {x: [1, 8, text]}}]"), "name is at #A, which is no place"),
        (("K: {}", "K: {when: {number: x}}"), "small.yaml:10: known by x, which number doesn't hold: it is a whole"),
        (("K: {}", "K: {when: {number: '12345'}}"), "known by 12345, which number has no room for"),
        (("K: {}", "K: {when: {name: €}}"), "not in Latin-1"),
    ],
)
def test_a_wrong_layout_is_refused_with_file_line_and_reason(
    formats: Path, change: tuple[str, str], complaint: str
) -> None:
    (formats / "small.yaml").write_text(SMALL.replace(*change), encoding="utf-8")
    with pytest.raises(CallError) as caught:
        layouts.load("small")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(("frame", "end"), [("fixed", 0), ("lf", 1), ("crlf", 2)])
def test_a_place_in_a_file_is_a_record_a_column_and_a_field(formats: Path, frame: str, end: int) -> None:
    layout = layouts.load("small")
    names = ["number"] * 4 + ["name"] * 8 + [""] * end
    wanted = [(record, column, name) for record in (1, 2, 3) for column, name in enumerate(names, 1)]
    assert [layout.place(offset, frame) for offset in range(3 * (12 + end))] == wanted
    for other in ("rdw", "vb"):
        assert layout.place(5, other) == (None, None, "")


@pytest.mark.parametrize(
    ("one", "other", "complaint"),
    [
        (["text"], ["digits"], ""),
        (["decimal", {"decimals": 2}], ["decimal", {"decimals": 2}], ""),
        (["decimal", {"decimals": 2}], ["decimal", {"decimals": 3}], "decimal(2) on another record type, decimal(3)"),
        (["integer"], ["decimal"], "is integer on another record type, decimal(0)"),
        (["text"], ["date"], "is text on another record type, date"),
    ],
)
def test_a_field_of_several_record_types_is_of_one_type(one: list[Any], other: list[Any], complaint: str) -> None:
    def made() -> object:
        return making.make(length=9, records={
            "a": {"when": {"k": "A"}, "fields": {"k": [1, 1, "text"], "x": [2, 8, *one]}},
            "b": {"when": {"k": "B"}, "fields": {"k": [1, 1, "text"], "x": [2, 8, *other]}},
        })  # fmt: skip

    if complaint:
        with pytest.raises(layouts._Wrong, match=re.escape(complaint)):
            made()
    else:
        made()


DELIMITED = """format: parted
title: Columns between semicolons
version: 1
status: assumed
source: made up for this test, to be changed in it
kind: delimited
usual: {encoding: iso8859-1, frame: lf}
separator: ";"
records:
  K: {}
fields:
  number: [1, 4, integer]
  name:   [2, 8, text]
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[2, 8, text]", "[3, 8, text]"), "parted.yaml:13: name starts at 3, but 2 is next"),
        (("[2, 8, text]", "['#A', 8, text]"), "parted.yaml:13: name is at #A, which is no place"),
        (("[1, 4, integer]", "[1, 4, text, {times: 2}]"), "parted.yaml:13: name starts at 2, but 3 is next"),
        (("[1, 4, integer]", "[1, 4, integer, {sign: name}]"), "parted.yaml:12: number has its sign in another field"),
        (("[1, 4, integer]", "[1, 4, integer, {sign: overpunched}]"), "in its last digit, which only numbers of fixed"),
        (("[2, 8, text]", "[2, 1, sign]"), "only numbers of fixed records have"),
        (("[2, 8, text]", '[2, 8, text, {quoted: true}]\nquote: ""'), "always in quotes, of which the layout has none"),
        (('separator: ";"', "separator: §"), "parted.yaml:8: separator must be letters that every encoding has"),
        (('separator: ";"', 'separator: ";"\nquote: ";"'), "parted.yaml:9: quote and separator are the same"),
        (('separator: ";"', 'separator: ";"\nnothing: "–"'), "parted.yaml:9: nothing must be letters"),
        (("K: {}", "K: {section: A}\n  L: {when: {name: B}}"), "each has one of its own"),
        (("K: {}", "K: {section: A}\n  L: {section: A}"), "each has one of its own"),
        (("K: {}", "K: {when: {name: A}}\n  L: {}\nheader_row: true"), "several record types"),
    ],
)
def test_a_wrong_delimited_layout_is_refused_with_file_line_and_reason(
    formats: Path, change: tuple[str, str], complaint: str
) -> None:
    (formats / "parted.yaml").write_text(DELIMITED.replace(*change), encoding="utf-8")
    with pytest.raises(CallError) as caught:
        layouts.load("parted")
    assert complaint in str(caught.value)


CONSTANT = SMALL.replace("number: [1, 4, integer]", "number: [1, 4, const, {value: B}]")
KNOWN = SMALL.replace("K: {}", "K: {when: {number: '12'}}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (CONSTANT.replace("K: {}", "K: {when: {number: A}}"), "small.yaml:10: known by A, which number doesn't hold"),
        (KNOWN.replace("integer", "time, {form: hhmm}"), "small.yaml:10: known by 12, which number is not told by"),
        (KNOWN.replace("integer", "integer, {usage: packed}"), "known by 12, which number is not told by"),
        (SMALL.replace("length: 12", "length: 24\ntotals: {K.name: {hash: K.name}}").replace("8, text", "20, digits"),
         "K.name has more than the 18 digits that can be added up"),
    ],
)  # fmt: skip
def test_a_layout_whose_records_could_never_be_known_or_added_up_is_refused(
    formats: Path, text: str, complaint: str
) -> None:
    (formats / "small.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CallError) as caught:
        layouts.load("small")
    assert complaint in str(caught.value)


def test_terms_are_neither_repeated_nor_groups() -> None:
    with pytest.raises(Exception, match="repeated or a group, which no term of a tagged layout is"):
        making.make(kind="tagged", count="r", fields={"a": ["01001", 5, "text", {"times": 2}]})


def test_a_tagged_layout_says_between_which_lines_its_data_are() -> None:
    with pytest.raises(Exception, match="between which two lines its data are"):
        making.make(kind="tagged", count="r", fields={"a": ["01001", 5, "text"]})


def test_an_unknown_layout_names_those_that_there_are() -> None:
    with pytest.raises(CallError, match="agresso_cs15"):
        layouts.load("cs16")
