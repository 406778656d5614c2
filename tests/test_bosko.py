"""BoSko's SQL on a real PostgreSQL: merges that may be repeated and come late, and extracts of what changed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sandbox.identities as made
from dags.kir_weekly import kir
from sandbox import bosko
from sandbox.population import Person, Population, canaries, population_file
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen import settings
from slussen.database import connect, migrate
from slussen.errors import Findings, TechnicalError
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.merging import merge
from slussen.records import layout as layouts
from slussen.records import stage
from slussen.records.parse import Parsed
from slussen.staging import new_table

DATABASES = count(1)
HOME: dict[str, Any] = {"fb_adress2": "Götgatan 1", "fb_postnr": "11646", "fb_postort": "Stockholm"}
ANNA = Person(personnr=made.number(date(1985, 3, 1), 982), fornamn="Ingegärd", efternamn="Ängsvik", **HOME)
CHILD = Person(personnr=made.number(date(2021, 5, 2), 983), fornamn="Sölve", efternamn="Ängsvik", **HOME,
               relations=((ANNA.personnr, "V"),))  # fmt: skip


class House:
    """The two databases, and a way to load a population file as the DAG does."""

    def __init__(self, postgres: Server) -> None:
        n = next(DATABASES)
        self.owner = postgres.dsn(f"house_bosko{n}")
        slussen = postgres.dsn(f"house_slussen{n}")
        migrate(self.owner, settings.SQL / "migrations" / "bosko")
        migrate(slussen, settings.SQL / "migrations" / "slussen")
        self.bosko, self.slussen = f"{self.owner} user=slussen", f"{slussen} user=slussen"
        self.ledger = Ledger(self.slussen)

    def stage(self, people: list[Person], effective: date, name: str) -> Manifest:
        data = b"".join(population_file(people, effective, 1))
        findings, table = Findings(), new_table(f"kir-{name}")
        with connect(self.slussen) as connection:
            parsed = Parsed(io.BytesIO(data), layouts.load("navet_utfil"), "cp1252", "lf", findings)
            stage.create(connection, table, layouts.load("navet_utfil").schema)
            rows = stage.copy_in(connection, table, parsed).rows
        assert not findings
        return Manifest(integration="kir", interchange=f"kir-{name}", sha256=parsed.sha256, records=parsed.records,
                        stage=table, totals={**parsed.totals, "rows": rows}, header=parsed.header)  # fmt: skip

    def load(self, people: list[Person], effective: date, name: str) -> dict[str, int]:
        return self.merge(self.stage(people, effective, name))

    def merge(self, manifest: Manifest) -> dict[str, int]:
        now = datetime(2026, 1, 12, 4, tzinfo=UTC)
        return merge(kir, manifest, self.ledger, source=self.slussen, target=self.bosko, sql=settings.SQL, now=now)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def person(self, who: Person, *columns: str) -> tuple[Any, ...]:
        return self.rows(f"select {', '.join(columns)} from bosko.person where personnr = %s", who.personnr)[0]

    def everything(self) -> list[list[tuple[Any, ...]]]:
        """The tables that a merge writes, as they are."""
        return [
            self.rows(f"select * from bosko.{table} order by 1, 2, 3")
            for table in ("person", "relation", "citizenship", "protection_change")
        ]


@pytest.fixture
def house(postgres: Server) -> House:
    return House(postgres)


WEEK1, WEEK2 = date(2026, 1, 5), date(2026, 1, 12)


def test_a_person_is_inserted_changed_and_deregistered(house: House) -> None:
    assert house.load([ANNA, CHILD], WEEK1, "1")["inserted"] == 2
    moved = replace(ANNA, fb_adress2="Åsögatan 2")
    dead = replace(CHILD, avregistreringsorsak="AV", avregistreringsdatum="20260110")
    counts = house.load([moved, dead], WEEK2, "2")
    assert (counts["changed"], counts["deregistered"], counts["inserted"]) == (2, 1, 0)
    assert house.person(ANNA, "fb_adress2", "as_of", "loaded_by") == ("Åsögatan 2", WEEK2, "kir-2")
    assert house.person(CHILD, "avregistreringsorsak", "avregistreringsdatum") == ("AV", "20260110")
    assert house.rows("select relation_personnr, typ from bosko.relation") == [(ANNA.personnr, "V")]
    assert len(house.rows("select from bosko.citizenship")) == 2


def test_a_merge_that_is_repeated_changes_nothing(house: House) -> None:
    manifest = house.stage([ANNA, CHILD], WEEK1, "1")
    house.merge(manifest)
    before = house.everything()
    assert set(house.merge(manifest).values()) == {0}
    assert house.everything() == before
    assert [e.kind for e in house.ledger.events("kir-1")] == ["merged"]


def test_an_older_file_never_overwrites_newer_data_and_still_brings_what_is_new(house: House) -> None:
    house.load([replace(ANNA, efternamn="Örjansson")], WEEK2, "2")
    counts = house.load([ANNA, CHILD], WEEK1, "1")
    assert (counts["older_ignored"], counts["inserted"]) == (1, 1)
    assert house.person(ANNA, "efternamn", "as_of") == ("Örjansson", WEEK2)


def test_files_in_any_order_leave_the_same_register(postgres: Server) -> None:
    population = Population.of(11, 120, WEEK1)
    start = list(population.people.values())
    first = population.week(1, WEEK1)
    second = population.week(2, WEEK2)
    ends = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 1, 1, 2, 0)):
        house = House(postgres)
        files = [(start, WEEK1 - timedelta(days=7), "0"), (first, WEEK1, "1"), (second, WEEK2, "2")]
        for n in order:
            house.load(*files[n])
        ends.append(house.rows("select personnr, efternamn, fb_adress2, protected, as_of from bosko.person order by 1"))
    assert all(end == ends[0] for end in ends)


def test_a_merge_that_is_cut_off_leaves_all_or_nothing(house: House, tmp_path: Path) -> None:
    manifest = house.stage([ANNA, CHILD], WEEK1, "1")
    text = (settings.SQL / "kir_merge.sql").read_text()
    (tmp_path / "kir_merge.sql").write_text(text + ";\nselect 1 / 0;")
    with pytest.raises(TechnicalError) as caught:
        merge(kir, manifest, house.ledger, source=house.slussen, target=house.bosko, sql=tmp_path,
              now=datetime.now(UTC))  # fmt: skip
    assert ANNA.personnr not in str(caught.value)
    assert house.rows("select from bosko.person") == []
    assert house.merge(manifest)["inserted"] == 2


def test_flags_that_come_and_go_are_logged(house: House) -> None:
    house.load([ANNA], WEEK1, "1")
    assert house.load([ANNA.hidden()], WEEK2, "2")["protected_set"] == 1
    assert house.person(ANNA, "protected", "sp_adress2") == (True, "Box 2820")
    assert house.load([replace(ANNA, arendetyp="3")], WEEK2 + timedelta(days=7), "3")["protected_removed"] == 1
    assert house.rows("select personnr, protected, interchange from bosko.protection_change order by id") == [
        (ANNA.personnr, True, "kir-2"),
        (ANNA.personnr, False, "kir-3"),
    ]


def test_a_stage_that_was_emptied_is_not_merged(house: House) -> None:
    manifest = house.stage([ANNA, CHILD], WEEK1, "1")
    with psycopg.connect(house.slussen) as connection:
        connection.execute(f'delete from stage."{manifest.stage}" where record_no = 2'.encode())
    with pytest.raises(TechnicalError, match="made again from the payload"):
        house.merge(manifest)
    assert house.rows("select from bosko.person") == []


# --- extracts


@pytest.fixture(scope="module")
def filled(postgres: Server) -> str:
    dsn = postgres.dsn("extracts")
    migrate(dsn, settings.SQL / "migrations" / "bosko")
    bosko.fill(dsn, 21, 500, FIRST_DAY)
    bosko.debit(dsn, FIRST_DAY)
    return dsn


@pytest.fixture
def session(filled: str) -> Iterator[psycopg.Connection[Any]]:
    """A session with the relations that an extract's query reads; rolled back afterwards."""
    with psycopg.connect(filled) as connection:
        connection.execute(
            'create temporary table run (start timestamptz, "end" timestamptz, day date, now timestamptz,'
            " since timestamptz)"
        )
        connection.execute("create temporary table sent (integration text, key text)")
        yield connection
        connection.rollback()


def extract(
    session: psycopg.Connection[Any], query: str, *, day: date = FIRST_DAY, since: str = "-infinity"
) -> list[dict[str, Any]]:
    session.execute("truncate run")
    session.execute("insert into run values (%s, %s, %s, %s, %s)", (day, day, day, f"{day} 19:00Z", since))
    cursor = session.execute((settings.SQL / query).read_bytes())
    names = [c.name for c in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_f29_has_each_customer_once_and_a_protected_one_by_way_of_the_tax_agency(
    session: psycopg.Connection[Any],
) -> None:
    rows = extract(session, "f29.sql")
    assert len({r["comp_reg_no"] for r in rows}) == len(rows) > 50
    protected = [r for r in rows if r["protected"]]
    assert canaries()[0].personnr in {r["person"] for r in protected}
    assert {r["address1"] for r in protected} == {"Box 2820"}
    assert {r["zip_code"] for r in protected} == {"40320"}


def test_f29_has_what_changed_since_and_all_of_tonights_invoices(session: psycopg.Connection[Any]) -> None:
    ordinary = FIRST_DAY + timedelta(days=1)
    assert extract(session, "f29.sql", day=ordinary, since=f"{FIRST_DAY} 19:00Z") == []
    session.execute(
        "update bosko.customer set changed_at = %s"
        " where personnr = (select min(personnr) from bosko.customer where preschool)",
        (f"{ordinary} 12:00Z",),
    )
    assert len(extract(session, "f29.sql", day=ordinary, since=f"{FIRST_DAY} 19:00Z")) == 1
    tonight = extract(session, "f29.sql", day=FIRST_DAY, since=f"{FIRST_DAY} 19:00Z")
    invoiced = {r["ext_ord_ref"] for r in extract(session, "f30.sql") if r["record_type"] == "H"}
    assert {r["comp_reg_no"] for r in tonight} == invoiced


def test_f30_has_a_header_then_items_and_texts_and_the_sum_to_the_oere(session: psycopg.Connection[Any]) -> None:
    rows = extract(session, "f30.sql")
    orders: dict[int, list[dict[str, Any]]] = {}
    for r in rows:
        orders.setdefault(r["order_id"], []).append(r)
    for lines in orders.values():
        assert [r["record_type"] for r in lines] == ["H"] + ["I", "T", "T"] * ((len(lines) - 1) // 3)
        assert [r["line_no"] for r in lines if r["record_type"] == "I"] == list(range(1, (len(lines) - 1) // 3 + 1))
    total = session.execute("select sum(amount) from bosko.debiting").fetchone()
    assert total == (sum(r["amount"] for r in rows if r["record_type"] == "I"),)


def test_f30_leaves_out_what_was_sent_and_runs_on_debiting_nights_only(session: psycopg.Connection[Any]) -> None:
    rows = extract(session, "f30.sql")
    keys = [r["key"] for r in rows if r["key"]]
    with session.cursor() as cursor:
        cursor.executemany("insert into sent values ('f30', %s)", [(k,) for k in keys[1:]])
    assert [r["key"] for r in extract(session, "f30.sql") if r["key"]] == keys[:1]
    assert extract(session, "f30_due.sql") == [{"exists": True}]
    assert extract(session, "f30_due.sql", day=FIRST_DAY + timedelta(days=1)) == [{"exists": False}]


def test_a_text_line_with_a_childs_name_is_that_childs_and_no_line_has_the_preschool(
    session: psycopg.Connection[Any],
) -> None:
    rows = extract(session, "f30.sql")
    child = canaries()[1]
    named = [r for r in rows if r["short_info"] and child.fornamn in r["short_info"]]
    assert [(r["person"], r["protected"]) for r in named] == [(child.personnr, True)]
    assert not any("Förskolan" in str(v) for r in rows for v in r.values())


def test_kir_mvs_has_every_person_once_in_capitals_with_the_codes_of_pknod(session: psycopg.Connection[Any]) -> None:
    rows = extract(session, "kir_mvs.sql")
    people = session.execute("select count(*) from bosko.person").fetchone()
    assert people == (len({r["pnr_rnr"] for r in rows}),)
    assert all(r["namn"] == r["namn"].upper() for r in rows)
    assert any("Å" in r["namn"] or "Ö" in r["namn"] for r in rows)
    assert {r["civilstand"] for r in rows} >= {"A", "B"}
    for r in rows:
        assert int(r["fodelsedatum"][6:]) <= 31
        assert r["personidtyp"] == ("5" if int(r["pnr_rnr"][6:8]) > 60 else "1")


def test_every_generated_number_is_valid_and_of_the_test_series() -> None:
    import numpy as np

    from slussen.records import identities

    numbers = list(Population.of(2, 2000, FIRST_DAY).people)
    matrix = np.frombuffer("".join(numbers).encode(), np.uint8).reshape(-1, 12)
    assert identities.valid(matrix).all()
    official = {c.personnr for c in canaries()}
    assert all(980 <= int(n[8:11]) <= 999 for n in numbers if n not in official)
    assert len(set(numbers)) == len(numbers)
