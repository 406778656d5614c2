"""The suites, line by line: what each stops and what it lets pass, at its boundary, and which files are no suites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox.identities import check_digit, number
from slussen.errors import CallError
from slussen.quality import suite as suites
from slussen.records import layout as layouts
from tests import lines_bosko
from tests.gating import LAYOUT, Databases, Row, databases, gate, persons, superuser

__all__ = ["databases", "superuser"]  # fixtures

Records = list[Row]  # of one person
Change = Callable[..., None]  # takes the records of one person, or of several


@dataclass(frozen=True)
class Line:
    """How to break an expectation: ``outside`` does it to ``people`` at a time, and does it so many ``times``.

    ``inside`` goes up to the boundary and not over it; ``tolerated`` is how many times ``outside`` may be done.
    """

    outside: Change
    inside: Change | None = None
    people: int = 1
    times: int = 1
    tolerated: int = 0


def in_a_hundred(outside: Change, inside: Change | None = None) -> Line:
    """A line that lets one bad record in a hundred pass."""
    return Line(outside, inside, times=4, tolerated=3)


def put(only: str = "", /, **values: object) -> Change:
    """Put these values into the records (of a type)."""

    def change(*people: Records) -> None:
        for row in (r for records in people for r in records if only in ("", r["record_type"])):
            row.update(values)

    return change


def same(*columns: str) -> Change:
    """The second person's record has what the first one's has."""

    def change(one: Records, other: Records) -> None:
        for mine, its in zip(one, other, strict=True):
            its.update({c: mine[c] for c in columns if c in mine})

    return change


def same_of(record_type: str, *columns: str) -> Change:
    """The second person's record of this type has what the first one's has."""

    def change(one: Records, other: Records) -> None:
        mine, its = ([r for r in records if r["record_type"] == record_type] for records in (one, other))
        same(*columns)(mine, its)

    return change


def both(one: Change, other: Change) -> Change:
    """One change to all of them, then another to the last one."""

    def change(*people: Records) -> None:
        one(*people)
        other(people[-1])

    return change


def misprint(column: str) -> Change:
    """The last digit of a personal number is another."""

    def change(records: Records) -> None:
        row = next(r for r in records if r.get(column))
        row[column] = row[column][:-1] + str((int(row[column][-1]) + 1) % 10)

    return change


def without(record_type: str, *more: str) -> Change:
    """Records of these types are missing."""

    def change(records: Records) -> None:
        records[:] = [r for r in records if r["record_type"] not in (record_type, *more)]

    return change


def twice(record_type: str, **values: object) -> Change:
    """A record stands twice, the second time with these values."""

    def change(records: Records) -> None:
        records += [r | values for r in records if r["record_type"] == record_type]

    return change


def dead(wrong: int) -> Change:
    """They have died, and some of them before they were registered."""

    def change(*people: Records) -> None:
        put("person", avregistreringsorsak="AV")(*people)
        put("person", avregistreringsdatum="20110314")(*people[:wrong])
        put("person", avregistreringsdatum="20110315")(*people[wrong:])

    return change


COORDINATION = number(date(2026, 11, 24), 999, coordination=True)
LEAP_DAY = number(date(2000, 2, 29), 1)
INTERIM = "19800101T98" + str(check_digit("800101198"))
WRONG = "195001029805"

LINES: dict[str, dict[str, Line]] = {
    "f29": {
        "comp_reg_no values to not be null": Line(put(comp_reg_no=None)),
        "comp_reg_no values to be personal numbers": Line(misprint("comp_reg_no"), put(comp_reg_no=COORDINATION)),
        "comp_reg_no values to be unique": Line(same("comp_reg_no"), people=2),
        "apar_id values to be unique": Line(same("apar_id"), people=2),
        "apar_name values to not be null": Line(put(apar_name=None)),
        "apar_name values to match regex": Line(put(apar_name="-."), put(apar_name="Öz")),
        "zip_code values to match regex": Line(put(zip_code="01646"), put(zip_code="10000")),
        "zip_code values to not be null": in_a_hundred(put(zip_code=None)),
        "address1 (protected False) values to not be null": in_a_hundred(put(address1=None)),
        "address4 values to not be null": in_a_hundred(put(address4=None)),
        "address1 (protected True) values to not be null": Line(put(address1=None, protected=True)),
        "e_mail values to match regex": in_a_hundred(put(e_mail="a.b@example"), put(e_mail="å@b.se")),
        "telephone_1 values to match regex": in_a_hundred(
            put(telephone_1="saknas"), put(telephone_1="+46 8 1")
        ),
        "country_code values to not be null": Line(put(country_code=None)),
        "country_code values to be in set": Line(put(country_code="NO")),
        "currency values to not be null": Line(put(currency=None)),
        "currency values to be in set": Line(put(currency="NOK")),
        "client values to be in set": Line(put(client="SO")),
        "apar_gr_id values to be in set": Line(put(apar_gr_id="11")),
        "pay_method values to be in set": Line(put(pay_method="BG")),
    },
    "f30": {
        "order_id values to not be null": Line(put("T", order_id=None)),
        "order_id values to be between 38000000 and 38999999": Line(put(order_id=37999999), put(order_id=38999999)),
        "order_id line_no sequence_no compound columns to be unique": Line(
            twice("I", key="again"), twice("T", sequence_no=2)
        ),
        "order_id (I) values to have a record H": Line(without("H")),
        "order_id (T) values to have a record I": Line(put("T", line_no=2), without("T")),
        "order_id (H) values to have a record I": Line(without("I", "T")),
        "line_no values to not be null": Line(put("T", line_no=None)),
        "line_no (H) values to be in set": Line(put("H", line_no=2)),
        "line_no (I) values to be between 1 and 9999": Line(put(line_no=0), lambda r: put(line_no=9999)(r[1:])),
        "sequence_no (I) values to be in set": Line(put("I", sequence_no=2)),
        "sequence_no (T) values to not be null": Line(put("T", sequence_no=None)),
        "sequence_no (T) values to be at least 1": Line(put("T", sequence_no=-1), put("T", sequence_no=99)),
        "ext_ord_ref (H) values to not be null": Line(put("H", ext_ord_ref=None)),
        "ext_ord_ref (H) values to be personal numbers": Line(misprint("ext_ord_ref"), put("H", ext_ord_ref=LEAP_DAY)),
        "ext_ord_ref period (H) compound columns to be unique": Line(
            same("ext_ord_ref"), both(same("ext_ord_ref"), put("H", period=202602)), people=2
        ),
        "period (H) values to not be null": Line(put("H", period=None)),
        "period values to be months": Line(put("H", period=202613), put("H", period=202612)),
        "confirm_date (H) values to not be null": Line(put("H", confirm_date=None)),
        "deliv_date (H) values to not be null": Line(put("H", deliv_date=None)),
        "deliv_date (H) to be at least confirm_date": Line(
            put("H", deliv_date=date(2026, 1, 11)), put("H", deliv_date=date(2026, 1, 13))
        ),
        "amount (I) values to not be null": Line(put("I", amount=None)),
        "amount (I) values to be at least 0.01": Line(
            put("I", amount=Decimal("0.00")), put("I", amount=Decimal("0.01"))
        ),
        "amount (I) values to be at most 5000": Line(
            put("I", amount=Decimal("5000.01")), put("I", amount=Decimal("5000.00"))
        ),
        "value_1 (I) values to be in set": Line(put("I", value_1=Decimal("1.01"))),
        "amount_set (I) values to not be null": Line(put("I", amount_set=None)),
        "amount_set (I) values to be in set": Line(put("I", amount_set="0")),
        "key (I) values to not be null": Line(put("I", key=None)),
        "key (I) values to be unique": Line(same("key"), people=2),
        "art_descr (I) values to not be null": Line(put("I", art_descr=None)),
        "short_info (T) values to not be null": Line(put("T", short_info=None)),
        "article (I) values to not be null": Line(put("I", article=None)),
        "article (I) values to be in set": Line(put("I", article="FSKAVGX")),
        "currency (H) values to not be null": Line(put("H", currency=None)),
        "currency (H) values to be in set": Line(put("H", currency="NOK")),
        "client values to be in set": Line(put(client="SO")),
        "trans_type values to be in set": Line(put(trans_type="41")),
        "voucher_type values to be in set": Line(put(voucher_type="F")),
        "batch_id values to match regex": Line(put(batch_id="FD26011")),
    },
    "kir": {
        "personnummer (person) values to not be null": Line(put("person", personnummer=None)),
        "personnummer (person) values to be personal numbers": Line(
            misprint("personnummer"), put("person", personnummer=INTERIM)
        ),
        "hanvisningspersonnummer (person) values to be personal numbers": Line(
            put("person", hanvisningspersonnummer=WRONG), put("person", hanvisningspersonnummer=LEAP_DAY)
        ),
        "tilldelat_personnummer (person) values to be personal numbers": Line(
            put("person", tilldelat_personnummer=WRONG), put("person", tilldelat_personnummer=COORDINATION)
        ),
        "efternamn (person) values to not be null": Line(put("person", efternamn=None)),
        "fornamn (person) values to not be null": in_a_hundred(put("person", fornamn=None)),
        "tilltalsnamnsmarkering (person) values to match regex": in_a_hundred(
            put("person", tilltalsnamnsmarkering="09"), put("person", tilltalsnamnsmarkering="99")
        ),
        "fb_postnr (person) values to match regex": Line(
            put("person", fb_postnr="1164"), put("person", fb_postnr=None)
        ),
        "sp_postnr (person) values to match regex": in_a_hundred(put("person", sp_postnr="00000")),
        "sp_adress2 (person, sekretessmarkering J) values to not be null": Line(
            put("person", sekretessmarkering="J"), put("person", sekretessmarkering="J", sp_adress2="Box 2820")
        ),
        "folkbokforingsdatum (person) values to match regex": Line(
            put("person", folkbokforingsdatum="20111315"), put("person", folkbokforingsdatum="20110000")
        ),
        "civilstand_datum (person) values to match regex": in_a_hundred(
            put("person", civilstand_datum="2011031")
        ),
        "avregistreringsdatum (person) values to match regex": in_a_hundred(
            put("person", avregistreringsdatum="20251232")
        ),
        "avregistreringsdatum (person, with avregistreringsorsak) values to not be null": in_a_hundred(
            put("person", avregistreringsdatum=None),
            put("person", avregistreringsdatum=None, avregistreringsorsak=None)
        ),
        "avregistreringsdatum (person, avregistreringsorsak AV) to be at least folkbokforingsdatum": Line(
            dead(2), dead(1), people=10
        ),
        "avregistreringsorsak (person) values to be in set": Line(
            put("person", avregistreringsorsak="XX"), put("person", avregistreringsorsak="GS")
        ),
        "civilstand (person) values to be in set": Line(put("person", civilstand="A"), put("person", civilstand="Ä")),
        "relationstyp (relation) values to not be null": Line(put("relation", relationstyp=None)),
        "relationstyp (relation) values to be in set": Line(put("relation", relationstyp="X")),
        "relation_personnummer (relation) values to be personal numbers": Line(misprint("relation_personnummer")),
        "medborgarskap_land (medborgarskap) values to not be null": Line(
            put("medborgarskap", medborgarskap_land=None)
        ),
        "medborgarskap_land (medborgarskap) values to match regex": in_a_hundred(
            put("medborgarskap", medborgarskap_land="se")
        ),
    },
    "kir_mvs": {
        "pnr_rnr values to not be null": Line(put(pnr_rnr=None)),
        "pnr_rnr values to be personal numbers": Line(misprint("pnr_rnr"), put(pnr_rnr=COORDINATION)),
        "pnr_rnr values to be unique": Line(same("pnr_rnr"), people=2),
        "aktuellt_pnr values to be personal numbers": Line(misprint("aktuellt_pnr")),
        "pnr_samhorig values to be personal numbers": Line(misprint("pnr_samhorig"), put(pnr_samhorig=None)),
        "namn values to not be null": Line(put(namn=None)),
        "namn values to not match regex": Line(put(namn="ÅSLöG"), put(namn="ÅSLÖG, É-Ü 2")),
        "adress values to not match regex": Line(put(adress="GÖTGATAN 1 a")),
        "postort values to not match regex": Line(put(postort="Stockholm")),
        "postnummer values to match regex": Line(put(postnummer="00000"), put(postnummer=None)),
        "fodelsedatum values to not be null": Line(put(fodelsedatum=None)),
        "fodelsedatum values to match regex": Line(put(fodelsedatum="19500100"), put(fodelsedatum="19991231")),
        "civilstandsdatum to be at least fodelsedatum": Line(
            put(civilstandsdatum="19480101"), put(civilstandsdatum="20100101", fodelsedatum="20100101")
        ),
        "senaste_reg_datum to be at least fodelsedatum": Line(put(senaste_reg_datum="19480101")),
        "returkod values to be in set": Line(put(returkod="0002")),
        "personidtyp values to be in set": Line(put(personidtyp="3"), put(personidtyp="5")),
        "civilstand values to be in set": Line(put(civilstand="OG"), put(civilstand="G")),
        "avgangskod values to be in set": Line(put(avgangskod="6"), put(avgangskod="5")),
        "avgangskod (civilstand 6) values to not be null": Line(
            put(civilstand="6", avgangskod=None), put(civilstand="6", avgangskod="1")
        ),
        "lan values to match regex": Line(put(lan="1")),
        "kommun values to match regex": Line(put(kommun="8O")),
    },
    "skv": {
        "personnummer values to not be null": Line(put(personnummer=None)),
        "personnummer values to be personal numbers": Line(misprint("personnummer"), put(personnummer=INTERIM)),
        "personnummer values to be unique": Line(same("personnummer"), people=2, times=2, tolerated=1),
    },
}  # fmt: skip
LINES |= lines_bosko.lines(
    SimpleNamespace(
        Line=Line, put=put, same=same, same_of=same_of, both=both, misprint=misprint, without=without,
        in_a_hundred=in_a_hundred, COORDINATION=COORDINATION, LEAP_DAY=LEAP_DAY,
    ),
    LINES["f29"], LINES["f30"],
)  # fmt: skip
# What is about the whole file is broken in a test of its own.
WHOLE = {key: [rule for rule, line in lines.items() if line is None] for key, lines in LINES.items()}
LINES = {key: {rule: line for rule, line in lines.items() if line is not None} for key, lines in LINES.items()}
ROWS = "table row count to be at least "
# The verdict on a table without rows.
EMPTY = {"kir": "hold", "kir_mvs": "fail", "skv": "fail", "a02": "hold", "h45": "fail", "ergo": "fail",
         "lis_placements": "fail", "lis_fees": "fail", "profdoc_bosko": "fail"}  # fmt: skip


def test_every_line_of_every_suite_is_tried() -> None:
    tried = {key: {*lines, *WHOLE[key]} for key, lines in LINES.items()}
    told = {key: {str(rule) for rule in suites.load(key).expectations} for key in LAYOUT}
    assert {key for key, rules in told.items() if any(r.startswith(ROWS) for r in rules)} == set(EMPTY)
    assert tried == {key: {r for r in rules if not r.startswith(ROWS)} for key, rules in told.items()}


@pytest.mark.parametrize("key", LAYOUT)
def test_each_line_stops_what_no_other_does(databases: Databases, key: str) -> None:
    people = iter(groups := persons(key))
    spoiled: dict[str, list[list[Records]]] = {}
    for rule, line in LINES[key].items():
        for _ in range(line.times):
            chosen = [next(people) for _ in range(line.people)]
            line.outside(*chosen)
            spoiled.setdefault(rule, []).append(chosen)
    report = gate(databases, key, groups)
    checks = {check.rule: check for check in report.checks}
    found = {rule: set(checks[rule].records) for rule in LINES[key]}
    for rule, victims in spoiled.items():
        assert not checks[rule].ok, rule
        for chosen in victims:
            records = {row["record_no"] for person in chosen for row in person}
            assert [r for r, numbers in found.items() if numbers & records] == [rule]
        assert found[rule] <= {row["record_no"] for chosen in victims for person in chosen for row in person}


@pytest.mark.parametrize("key", LAYOUT)
def test_each_line_lets_pass_what_is_at_its_boundary(databases: Databases, key: str) -> None:
    people = iter(groups := persons(key))
    tolerant: list[str] = []
    for rule, line in LINES[key].items():
        for change, times in ((line.inside, 1), (line.outside, line.tolerated)):
            if change is not None:
                for _ in range(times):
                    change(*(next(people) for _ in range(line.people)))
        tolerant += [rule] if line.tolerated or rule.endswith("AV) to be at least folkbokforingsdatum") else []
    report = gate(databases, key, groups)
    checks = [check for check in report.checks if check.rule in LINES[key]]
    assert [c.rule for c in checks if not c.ok] == []
    assert [c.rule for c in checks if c.tolerated] == [r for r in LINES[key] if r in tolerant]


@pytest.mark.parametrize("key", [key for key, rules in WHOLE.items() if rules])
def test_a_reading_of_two_days_stops(databases: Databases, key: str) -> None:
    groups = persons(key)
    put(avlasningsdatum=date(2026, 1, 16))(groups[5])
    report = gate(databases, key, groups)
    assert [c.rule for c in report.checks if not c.ok] == WHOLE[key]
    assert report.verdict == "fail"


@pytest.mark.parametrize("key", EMPTY)
def test_a_table_without_rows_does_not_pass(databases: Databases, key: str) -> None:
    report = gate(databases, key, [])
    (broken,) = (c.rule for c in report.checks if not c.ok)
    assert broken.startswith(ROWS)
    assert report.verdict == EMPTY[key]


@pytest.mark.parametrize("key", LAYOUT)
def test_a_suite_is_about_columns_and_record_types_that_its_layout_has(key: str) -> None:
    layout = layouts.load(LAYOUT[key])
    known = {f.name for f in layout.fields} | {"record_type", "person", "protected", "key"}
    for rule in suites.load(key).expectations:
        assert set(rule.columns) <= known
        assert set(rule.record_types) <= set(layout.records)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{expect: UnexpectedRowsExpectation, severity: critical}", "UnexpectedRowsExpectation may not be used"),
        ("{expect: ExpectColumnMostCommonValueToBeInSet, column: x, severity: info}", "may not be used"),
        ("{expect: ExpectColumnMaxToBeBetween, column: x, severity: info}", "may not be used"),
        ("{expect: ExpectColumnValuesToNotBeNul, column: x, severity: info}", "may not be used"),
        ("{expect: ExpectColumnValuesToNotBeNull, colum: x, severity: info}", "colum: Extra inputs"),
        ("{expect: ExpectColumnValuesToNotBeNull, severity: info}", "needs column"),
        ("{expect: ExpectColumnValuesToNotBeNull, column: x, severity: grave}", "severity: Input should be"),
        ("{expect: ExpectColumnValuesToNotBeNull, column: x, severity: info, mostly: 0}", "mostly: Input should be"),
        ("{expect: ExpectColumnValuesToBeInSet, column: x, severity: info, with: {values: [1]}}", "needs value_set"),
        ("{expect: ExpectColumnValuesToNotBeNull, column: x, severity: info, with: {regex: a}}", "takes no regex"),
        ("{expect: ExpectColumnValuesToBeBetween, column: x, severity: info}", "says nothing without"),
        ("{expect: ExpectTableRowCountToBeBetween, only: H, severity: info, with: {min_value: 1}}", "the whole table"),
        ("{expect: ExpectColumnValuesToNotBeNull, column: x", "expected ',' or '}'"),
    ],
)
def test_a_wrong_suite_is_refused_with_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    good = "{expect: ExpectColumnValuesToNotBeNull, column: x, severity: info}"
    file = tmp_path / "s.yaml"
    file.write_text(f"version: 1\nexpectations:\n  # a comment\n  - {good}\n\n  - {line}\n", encoding="utf-8")
    with pytest.raises(CallError) as caught:
        suites.read(file)
    assert str(caught.value).startswith("s.yaml:6: ") or line.endswith("x"), caught.value
    assert complaint in str(caught.value)


def test_a_suite_without_expectations_is_none(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("version: 1\nexpectations: []\n", encoding="utf-8")
    with pytest.raises(CallError, match=r"s\.yaml:2: "):
        suites.read(file)
    with pytest.raises(CallError, match=r"no suite t\.yaml"):
        suites.read(tmp_path / "t.yaml")
