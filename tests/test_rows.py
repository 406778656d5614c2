"""BoSko's and HANNA's rows, from their databases to the bytes that leave: what is in them, and what must not be."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox import bosko, school
from sandbox.population import canaries
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen.errors import CallError
from slussen.quality.report import Check, GateReport
from tests.rows import Town, moment

PARENT, CHILD = canaries()
NIGHT = moment(FIRST_DAY)
TOMORROW = NIGHT + timedelta(days=1)
MORNING = moment(FIRST_DAY + timedelta(days=1), 3)
EXTRACTS = ("f29", "f30", "f102", "f103", "f104", "h45", "ergo", "lis_placements", "lis_fees", "profdoc_bosko",
            "kir_mvs", "novaschema")  # fmt: skip
BLOCKED = ("ergo", "lis_placements", "lis_fees", "novaschema")


@pytest.fixture(scope="module")
def town(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Town:
    made = Town(postgres, tmp_path_factory.mktemp("town"))
    bosko.debit(made.owner["bosko"], FIRST_DAY)
    school.debit_leisure(made.owner["bosko"], MORNING - timedelta(hours=6))
    school.post(made.owner["bosko"], FIRST_DAY)
    return made


@pytest.fixture(scope="module")
def sent(town: Town) -> dict[str, tuple[GateReport, bytes]]:
    """What each row sends, and its gate's report, in the order in which the rows depend on each other."""
    return {key: town.send(key, MORNING if key.startswith("f10") else NIGHT) for key in EXTRACTS}


def check(report: GateReport, rule: str) -> Check:
    return next(c for c in report.checks if c.rule == rule)


def test_every_row_passes_its_gate_and_has_content(sent: dict[str, tuple[GateReport, bytes]]) -> None:
    assert {key for key, (_, content) in sent.items() if len(content) < 500} == set()


def test_every_protected_record_is_masked_or_blocked(sent: dict[str, tuple[GateReport, bytes]]) -> None:
    for key, (report, _) in sent.items():
        if key == "h45":
            assert report.protected == {}
            assert report.without["conservation"] == "there are no persons in it"
        elif key not in ("f102", "f103", "f104"):  # nobody who is protected has a child in school-age care here
            taken = "blocked" if key in BLOCKED else "masked"
            assert report.protected["in"] == report.protected[taken] > 0, key


@pytest.mark.parametrize("key", BLOCKED)
def test_whoever_is_blocked_is_not_in_the_file(sent: dict[str, tuple[GateReport, bytes]], key: str) -> None:
    content = sent[key][1].decode("cp1252")
    for person in canaries():
        assert person.personnr not in content
        assert person.efternamn not in content


def test_school_health_knows_a_protected_pupil_and_nothing_of_where_it_lives(
    sent: dict[str, tuple[GateReport, bytes]],
) -> None:
    lines = sent["profdoc_bosko"][1].decode("cp1252").split("\r\n")
    mine = next(line.split(";") for line in lines if line.startswith(CHILD.personnr))
    assert mine[1:4] == [CHILD.efternamn, CHILD.fornamn, "J"]
    assert all((mine[4], mine[7]))  # school and class
    assert mine[8:21] == [""] * 13


def test_a_protected_guardians_address_and_name_are_not_told_by_the_childs_record(town: Town) -> None:
    with town.change() as connection:
        child, guardian = connection.execute(
            "select e.pupil, r.relation_personnr from bosko.enrolment e"
            " join bosko.relation r on r.personnr = e.pupil and r.typ = 'V' and r.no = 1"
            " join bosko.person c on c.personnr = e.pupil join bosko.person g on g.personnr = r.relation_personnr"
            " where not c.protected and not g.protected and g.avregistreringsorsak is null order by 1 limit 1"
        ).fetchone() or ("", "")
        relations(connection)
        query = Path("include/sql/profdoc_bosko.sql").read_text()
        before = told(connection, query, child)
        assert before["vh1_personnr"] == guardian
        assert before["gatuadress"]
        connection.execute("update bosko.person set skyddad_folkbokforing = true where personnr = %s", (guardian,))
        after = told(connection, query, child)
        connection.rollback()
    assert {k for k in before if before[k] != after[k]} >= {"vh1_personnr", "vh1_efternamn", "gatuadress", "postnr"}
    kept = {"personnr", "efternamn", "fornamn", "sekretess", "skolenhetskod", "klass"}
    assert all(after[k] == before[k] for k in kept)
    assert [after[k] for k in after if k.startswith("vh") or k in ("gatuadress", "postnr", "postort", "telefon")] == (
        [None] * 12
    )


def relations(connection: Any) -> None:
    """The relations that a query reads: the run is on the first evening."""
    connection.execute(
        'create temporary table run (start timestamptz, "end" timestamptz, day date, now timestamptz,'
        " since timestamptz) on commit drop"
    )
    connection.execute("insert into run values (%s, %s, %s, %s, '-infinity')", (NIGHT, NIGHT, FIRST_DAY, NIGHT))
    connection.execute("create temporary table sent (integration text, key text) on commit drop")


def told(connection: Any, query: str, person: str) -> dict[str, Any]:
    cursor = connection.execute(query.encode())
    names = [c.name for c in cursor.description]
    return next(row for r in cursor if (row := dict(zip(names, r, strict=True)))["person"] == person)


def test_external_invoices_are_those_of_independent_units_and_together_they_are_all(
    town: Town, sent: dict[str, tuple[GateReport, bytes]]
) -> None:
    with town.change() as connection:
        external, internal = connection.execute(
            "select count(*) filter (where u.independent), count(*) filter (where not u.independent)"
            " from bosko.placement p join bosko.school_unit u on u.code = p.unit where p.form = 'FRH'"
        ).fetchone() or (0, 0)
        amounts = dict(
            connection.execute(
                "select external, (100 * sum(amount))::bigint from bosko.debiting where area = 'leisure' group by 1"
            ).fetchall()
        )
    for key, n in (("f103", external), ("f104", internal)):
        manifest = next(e for e in town.ledger.events(f"{key}-{MORNING:%Y%m%dT%H%M%SZ}") if e.kind == "content")
        assert manifest.data["totals"]["records.I"] == n > 0
        assert manifest.data["totals"]["sum.amount"] == amounts[key == "f103"]


def test_an_empty_second_morning_run_says_since_when_there_is_nothing(
    town: Town, sent: dict[str, tuple[GateReport, bytes]]
) -> None:
    assert sent
    for key in ("f102", "f103", "f104"):
        assert town.extract(key, MORNING + timedelta(minutes=30)).skipped == "nothing since 04:00"
    assert town.extract("h45", TOMORROW).skipped == "nothing since 2026-01-12 21:00"


def test_the_first_delivery_has_nothing_to_be_compared_with_and_says_so(
    sent: dict[str, tuple[GateReport, bytes]],
) -> None:
    assert check(sent["ergo"][0], "volume against history").message == "nothing to compare with: the first delivery"


def test_a_pupil_list_that_has_lost_a_school_is_held(town: Town, sent: dict[str, tuple[GateReport, bytes]]) -> None:
    at = TOMORROW + timedelta(hours=1)
    with town.change() as connection:
        connection.execute(
            "update bosko.enrolment set ends = %s where unit in ('18020000', '18020001', '18020002')",
            (FIRST_DAY - timedelta(days=1),),
        )
    report = town.gate(town.extract("ergo", at).manifest, at)
    with town.change() as connection:
        connection.execute("update bosko.enrolment set ends = null")
    found = check(report, "volume against history")
    assert report.verdict == "hold"
    assert found.verdict == "hold"
    assert "records; the last delivery had" in found.message


def test_last_nights_invoices_under_new_numbers_are_held_with_their_share(
    town: Town, sent: dict[str, tuple[GateReport, bytes]]
) -> None:
    again = bosko.debit_again(town.owner["bosko"], TOMORROW.date())
    manifest = town.extract("f30", TOMORROW).manifest
    report = town.gate(manifest, TOMORROW)
    bosko.debit_once(town.owner["bosko"], TOMORROW.date())
    found = check(report, "duplicates: same business keys")
    assert report.verdict == "hold", report.table()
    assert (found.unexpected, found.checked) == (again, again)
    assert found.message == (
        f"100% of these {again:,} records ({again:,}) were sent before, under other numbers: "
        f"{again:,} of them with f30-{NIGHT:%Y%m%dT%H%M%SZ}"
    )
    assert len(found.records) == min(again, 100)
    assert check(report, "duplicates: same totals").verdict == "hold"
    assert check(report, "duplicates: same content").ok  # the numbers are new
    assert PARENT.personnr not in report.table()


def test_business_keys_are_kept_as_keyed_hashes(town: Town, sent: dict[str, tuple[GateReport, bytes]]) -> None:
    with town.change("slussen") as connection:
        kept = connection.execute("select key from sent.business where interchange like 'f30-%'").fetchall()
    assert kept
    assert {len(k) for (k,) in kept} == {16}


# --- what must not leave


def test_an_uneven_voucher_stops_the_file(town: Town, sent: dict[str, tuple[GateReport, bytes]]) -> None:
    at = TOMORROW + timedelta(hours=2)
    school.post(town.owner["bosko"], at.date(), 5, uneven=True)
    report = town.gate(town.extract("h45", at).manifest, at)
    with town.change() as connection:
        connection.execute("delete from bosko.posting where voucher_date = %s", (at.date(),))
    assert report.verdict == "fail"
    found = check(report, "amount values to sum to zero within voucher_no")
    assert (found.verdict, found.message) == ("fail", "debit and credit of a voucher are not equal")
    assert found.records[0] == 1


def test_a_form_that_names_no_group_has_nothing_to_send(town: Town) -> None:
    from tests import rows

    before = dict(rows.FORM)
    rows.FORM["course_group"] = "MATMAT01a-99"
    try:
        assert town.extract("novaschema", TOMORROW).skipped == "nothing to send"
    finally:
        rows.FORM.update(before)


def test_a_merge_wants_a_day(town: Town) -> None:
    from slussen.manifest import Manifest
    from slussen.merging import effective

    with pytest.raises(CallError, match="a merge needs a day"):
        effective(Manifest(integration="a02", interchange="a02-1"))


def test_the_school_year_of_a_day(town: Town) -> None:
    with town.change() as connection:
        years = connection.execute(
            "select bosko.school_year(d) from unnest(%s::date[]) d",
            ([date(2026, 1, 1), date(2026, 6, 30), date(2026, 7, 1), date(2026, 12, 31)],),
        ).fetchall()
    assert [y for (y,) in years] == ["2025/2026", "2025/2026", "2026/2027", "2026/2027"]
