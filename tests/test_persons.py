"""Protected persons: what each policy does to their records, and that nobody stops being protected on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from sandbox.population import canaries
from slussen import persons as policies
from slussen.errors import CallError
from slussen.extraction import stage_schema
from slussen.quality.report import Check, GateReport
from slussen.records import layout as layouts
from tests.gating import NAME, NUMBERS, Databases, Row, databases, gate, persons, superuser

__all__ = ["databases", "superuser"]  # fixtures
CONSERVATION = "conservation of the protected set"
FLAGS = "flags that the register has too"
REGISTER = "the register's protected set"
NUMBER = {
    "f29": "comp_reg_no",
    "f30": "ext_ord_ref",
    "kir": "personnummer",
    "kir_mvs": "pnr_rnr",
    "skv": "personnummer",
}


# --- policies


def applied(policy: str, layout: str = "pknod") -> tuple[list[Row], policies.Counts]:
    """Three records, of whom the first is protected, under this policy."""
    spec = layouts.load(layout)
    schema = stage_schema(spec)
    people = zip(NUMBERS[:3], (True, False, None), strict=True)
    rows = [{"record_type": "person", "record_no": n, "namn": NAME, "adress": "Götgatan 1", "postnummer": "11646",
             "returkod": "0000", "pnr_rnr": who, "fastighetsbeteckning": "X 1", "lan": "01", "kommun": "80",
             "civilstand": "A", "protected": flag} for n, (who, flag) in enumerate(people)]  # fmt: skip
    columns = [pa.array([r.get(f.name) for r in rows], f.type) for f in schema]
    batch, counts = policies.apply(pa.RecordBatch.from_arrays(columns, schema=schema), spec, policy)
    return batch.to_pylist(), counts


def test_mask_empties_what_the_layout_marks_and_nothing_else() -> None:
    rows, counts = applied("mask")
    kept = {k: v for k, v in rows[0].items() if v is not None}
    assert kept == {"record_type": "person", "record_no": 0, "returkod": "0002", "postnummer": "00000", "lan": "01",
                    "kommun": "98", "pnr_rnr": NUMBERS[0], "civilstand": "A", "protected": True}  # fmt: skip
    assert [r["namn"] for r in rows[1:]] == [NAME, NAME]
    assert counts.conserved
    assert counts.as_dict() == {"protected": 1, "blocked": 0, "masked": 1, "passed": 0}


@pytest.mark.parametrize(
    ("policy", "left", "what"),
    [("block", 2, "blocked"), ("pass", 3, "passed"), ("hold", 3, "passed"), ("none", 3, "")],
)
def test_block_drops_the_others_keep_and_all_are_counted(policy: str, left: int, what: str) -> None:
    rows, counts = applied(policy)
    assert len(rows) == left
    assert all(r["namn"] == NAME for r in rows)
    assert counts.conserved
    assert counts.as_dict() == {"protected": int(what != ""), "blocked": 0, "masked": 0, "passed": 0} | (
        {what: 1} if what else {}
    )


def test_a_count_that_does_not_add_up_is_not_conserved() -> None:
    counts = policies.Counts()
    for one in (policies.Counts(protected=2, masked=2), policies.Counts(protected=2, masked=1)):
        counts.add(one)
    assert not counts.conserved


def test_a_policy_that_does_not_exist_or_masks_nothing_is_refused() -> None:
    with pytest.raises(CallError, match="no policy 'maks'"):
        applied("maks")
    with pytest.raises(CallError, match="navet_infil marks no field as protected"):
        policies.apply(pa.RecordBatch.from_pydict({"protected": [True]}), layouts.load("navet_infil"), "mask")


# --- conservation in the records


def with_protected(key: str, *, flagged: bool = True, people: int = 1) -> list[list[Row]]:
    """Everybody's records, the first ones of persons whom the register protects."""
    groups = persons(key)
    for records, canary in zip(groups, canaries()[:people], strict=False):
        row = records[0]
        row[NUMBER[key]] = canary.personnr
        if key == "kir":
            row["sekretessmarkering"], row["sp_adress2"] = ("J", "Box 2820") if flagged else (None, None)
        elif key != "skv":
            row["person"], row["protected"] = canary.personnr, flagged
    return groups


def the(report: GateReport, rule: str) -> Check:
    return next(check for check in report.checks if check.rule == rule)


@pytest.mark.parametrize("key", NUMBER)
def test_a_protected_person_is_counted(databases: Databases, key: str) -> None:
    report = gate(databases, key, with_protected(key))
    assert report.verdict == "pass", report.table()
    assert report.protected == {"in": 1, "passed" if key in ("kir", "skv") else "masked": 1}
    assert report.register["protected"] >= 2
    assert "1 in, 1" in report.table()


@pytest.mark.parametrize("key", ["f29", "f30", "kir_mvs"])
def test_an_extract_that_lost_one_flag_fails_and_counts_nobody_as_masked(databases: Databases, key: str) -> None:
    report = gate(databases, key, with_protected(key, flagged=False))
    assert (the(report, CONSERVATION).records, report.verdict) == ([1], "fail")
    assert report.protected == {"in": 1, "masked": 0, "passed": 1}


def test_an_extract_that_lost_all_flags_fails(databases: Databases) -> None:
    report = gate(databases, "f29", with_protected("f29", flagged=False, people=2))
    assert (the(report, CONSERVATION).records, report.verdict) == ([1, 2], "fail")


def test_flags_that_slipped_to_the_next_record_fail(databases: Databases) -> None:
    groups = with_protected("f29")
    flags = [records[0]["protected"] for records in groups]
    for records, flag in zip(groups, [flags[-1], *flags[:-1]], strict=True):
        records[0]["protected"] = flag
    report = gate(databases, "f29", groups)
    assert (the(report, CONSERVATION).records, the(report, FLAGS).records) == ([1], [2])
    assert report.verdict == "fail"


def test_a_flag_that_the_register_does_not_have_is_held(databases: Databases) -> None:
    groups = persons("f29")
    groups[4][0]["protected"] = True
    report = gate(databases, "f29", groups)
    assert (the(report, FLAGS).records, report.verdict) == ([5], "hold")


def test_a_record_whose_number_is_a_protected_persons_is_theirs_whatever_the_query_says(databases: Databases) -> None:
    groups = with_protected("f29", flagged=False)
    groups[0][0]["person"] = NUMBERS[0]
    report = gate(databases, "f29", groups)
    assert (the(report, CONSERVATION).records, report.verdict) == ([1], "fail")


def test_more_records_than_are_named_are_counted(databases: Databases) -> None:
    groups = persons("f29")
    for records in groups:
        records[0] |= {"person": canaries()[0].personnr, "protected": False}
    check = the(gate(databases, "f29", groups), CONSERVATION)
    assert (check.unexpected, len(check.records)) == (len(groups), 100)


def test_a_population_file_that_lost_one_flag_is_held_unless_it_says_why(databases: Databases) -> None:
    groups = with_protected("kir", flagged=False)
    report = gate(databases, "kir", groups)
    assert (the(report, CONSERVATION).records, report.verdict) == ([1], "hold")
    for arendetyp, verdict in (("3", "pass"), ("75", "hold"), ("33", "hold"), ("", "hold")):
        groups[0][0]["arendetyp"] = arendetyp
        assert gate(databases, "kir", groups).verdict == verdict


@pytest.mark.parametrize("flag", ["N", " ", "j", "1"])
def test_a_flag_of_another_value_is_a_lost_one(databases: Databases, flag: str) -> None:
    groups = with_protected("kir")
    groups[0][0]["sekretessmarkering"] = flag
    assert gate(databases, "kir", groups).verdict == "hold"


def test_the_newer_flag_protects_as_well(databases: Databases) -> None:
    groups = with_protected("kir", flagged=False)
    groups[0][0]["skyddad_folkbokforing"] = "J"
    assert gate(databases, "kir", groups).verdict == "pass"


def test_a_population_file_that_takes_all_flags_is_held_even_if_it_says_why(databases: Databases) -> None:
    groups = with_protected("kir", flagged=False, people=2)
    for records in groups[:2]:
        records[0]["arendetyp"] = "3"
    report = gate(databases, "kir", groups)
    assert (the(report, CONSERVATION).records, report.verdict) == ([1, 4], "hold")
    groups[1][0] |= {"sekretessmarkering": "J", "sp_adress2": "Box 2820"}
    assert gate(databases, "kir", groups).verdict == "pass"


def test_protection_follows_whoever_gets_a_new_number(databases: Databases) -> None:
    groups = with_protected("kir")
    groups[0][0] |= {"avregistreringsorsak": "GN", "hanvisningspersonnummer": NUMBERS[5]}
    report = gate(databases, "kir", groups)
    assert (the(report, CONSERVATION).records, report.verdict) == ([16], "hold")
    groups[5][0] |= {"sekretessmarkering": "J", "sp_adress2": "Box 2820"}
    assert gate(databases, "kir", groups).verdict == "pass"


def test_the_policy_hold_asks_a_person_when_a_protected_one_is_there(databases: Databases) -> None:
    assert gate(databases, "skv", persons("skv"), policy="hold").verdict == "pass"
    report = gate(databases, "skv", with_protected("skv"), policy="hold")
    assert (the(report, "no protected persons").unexpected, report.verdict) == (1, "hold")


def test_records_without_persons_are_exempt(databases: Databases) -> None:
    report = gate(databases, "f29", with_protected("f29", flagged=False), policy="none")
    assert (report.verdict, report.protected, report.register) == ("pass", {}, {})


# --- conservation in the register


@pytest.fixture
def register(superuser: Databases) -> Iterator[psycopg.Connection[Any]]:
    """BoSko's register, put back as it was afterwards."""
    with psycopg.connect(superuser[1], autocommit=True) as bosko:
        bosko.execute(
            "create table public.before as select personnr, sekretessmarkering, skyddad_folkbokforing from bosko.person"
        )
        try:
            yield bosko
        finally:
            bosko.execute(
                "update bosko.person p set sekretessmarkering = b.sekretessmarkering,"
                " skyddad_folkbokforing = b.skyddad_folkbokforing from public.before b where b.personnr = p.personnr"
            )
            bosko.execute("drop table public.before")
            bosko.execute("delete from bosko.protection_change")


def protect(bosko: psycopg.Connection[Any], whom: str, flag: bool, *, told: bool) -> None:
    """Change the flag of one person whom this selects; with a file that tells of it, or without."""
    row = bosko.execute(
        "update bosko.person set sekretessmarkering = %s, skyddad_folkbokforing = false where personnr ="
        f" (select personnr from bosko.person where {whom} order by personnr limit 1) returning personnr".encode(),
        (flag,),
    ).fetchone()
    assert row is not None
    if told:
        bosko.execute(
            "insert into bosko.protection_change (personnr, protected, interchange, changed_at)"
            " values (%s, %s, 'kir-1', now())",
            (row[0], flag),
        )


def now(databases: Databases, before: dict[str, Any] | None = None) -> GateReport:
    """The gate of an extract without protected persons; the last one's register is known."""
    return gate(databases, "f29", persons("f29"), previous={"register": before} if before else None)


@pytest.mark.parametrize("told", [True, False])
def test_the_registers_loss_of_one_is_held_unless_a_file_told_of_it(
    databases: Databases, register: psycopg.Connection[Any], told: bool
) -> None:
    before = now(databases).register
    protect(register, "protected", False, told=told)
    report = now(databases, before)
    assert report.verdict == ("pass" if told else "hold")
    assert the(report, REGISTER).unexpected == (0 if told else 1)


def test_one_lost_and_another_gained_are_as_many_but_not_the_same(
    databases: Databases, register: psycopg.Connection[Any]
) -> None:
    before = now(databases).register
    assert now(databases, before).verdict == "pass"
    protect(register, "protected", False, told=False)
    protect(register, "not protected and personnr > '1990'", True, told=False)
    report = now(databases, before)
    assert report.register["protected"] == before["protected"]
    assert report.verdict == "hold"
    assert "not the same ones" in the(report, REGISTER).message


def test_what_files_took_and_gave_explains_another_set(databases: Databases, register: psycopg.Connection[Any]) -> None:
    before = now(databases).register
    protect(register, "protected", False, told=True)
    protect(register, "not protected and personnr > '1990'", True, told=True)
    protect(register, "not protected and personnr > '2000'", True, told=True)
    report = now(databases, before)
    assert report.register["protected"] == before["protected"] + 1
    assert report.verdict == "pass", report.table()


def test_a_register_without_any_flag_is_held_even_when_files_explain_it(
    databases: Databases, register: psycopg.Connection[Any]
) -> None:
    before = now(databases).register
    for _ in range(before["protected"]):
        protect(register, "protected", False, told=True)
    for known in (before, None):
        report = now(databases, known)
        assert report.register["protected"] == 0
        assert report.verdict == "hold"
        assert "all flags are gone" in the(report, REGISTER).message


def test_what_the_ledger_keeps_of_the_register_names_nobody(databases: Databases) -> None:
    kept = now(databases).register
    assert set(kept) == {"protected", "net", "mark"}
    assert len(kept["mark"]) == 64
    assert not any(canary.personnr in str(kept) for canary in canaries())
