"""BoSko's database, filled from a seed, and the ways in which its data go wrong and are mended."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import psycopg

from sandbox import names, school
from sandbox.population import TERMS, Person, Population, canaries

COLUMNS = [name for _, name in TERMS if name != "arendetyp"]
LONG = "Ingegärd Désirée Solbritt Ragnfrid Gyllenhammarsson Rosenqvastén"  # 64 letters: CS15 has 50


def fill(dsn: str, seed: int, size: int, today: date) -> Population:
    """Fill an empty BoSko with about this many people as they were on this day."""
    population = Population.of(seed, size, today)
    people = list(population.people.values())
    before = datetime(today.year, today.month, today.day, tzinfo=UTC) - timedelta(days=7)
    with psycopg.connect(dsn) as connection:
        _persons(connection, people, before)
        _units_and_customers(connection, people, before, Random(seed))
        school.fill(connection, people, today, Random(seed), before)
    return population


def population_of(dsn: str, today: date) -> Population:
    """The population as BoSko has it, to make the next week's files from."""
    found = Population(Random(0), today)
    with psycopg.connect(dsn) as connection:
        relations: dict[str, list[tuple[str, str]]] = {}
        for personnr, other, kind in connection.execute(
            "select personnr, relation_personnr, typ from bosko.relation order by personnr, no"
        ):
            relations.setdefault(personnr, []).append((other, kind))
        countries: dict[str, list[str]] = {}
        for personnr, land in connection.execute("select personnr, land from bosko.citizenship order by personnr, no"):
            countries.setdefault(personnr, []).append(land)
        stored = [c for c in COLUMNS if c != "aviseringsnamn"]
        for row in connection.execute(f"select {', '.join(stored)} from bosko.person order by personnr".encode()):  # noqa: S608
            values: dict[str, Any] = {c: _told(v) for c, v in zip(stored, row, strict=True)}
            personnr = values["personnr"]
            found.add(
                Person(
                    **values,
                    relations=tuple(relations.get(personnr, ())),
                    citizenships=tuple(countries.get(personnr, ())),
                )
            )
    return found


def debit(dsn: str, night: date) -> None:
    """Debit every placed child for the next month that isn't, and name the night in the debiting calendar; once."""
    made = datetime(night.year, night.month, night.day, tzinfo=UTC)
    with psycopg.connect(dsn) as connection:
        last = connection.execute("select max(period) from bosko.debiting where area = 'preschool'").fetchone()
        period = school.after(int(last[0])) if last and last[0] else night.year * 100 + night.month
        named = connection.execute("insert into bosko.debiting_calendar values (%s) on conflict do nothing", (night,))
        if not named.rowcount:
            return
        connection.execute(
            """
            insert into bosko.debiting (id, customer, child, period, fee_text, amount, created_at)
            select coalesce((select max(id) from bosko.debiting), 0)
                    + row_number() over (order by p.child, r.relation_personnr),
                r.relation_personnr, p.child, %(period)s, p.fee_category, f.monthly, %(made)s
            from bosko.placement p
            join bosko.fee_category f on f.name = p.fee_category
            join lateral (
                select relation_personnr from bosko.relation
                where personnr = p.child and typ = 'V' order by no limit 1
            ) r on true
            join bosko.customer c on c.personnr = r.relation_personnr
            where p.form = 'FSK'
            """,
            {"period": period, "made": made},
        )


def debit_again(dsn: str, night: date) -> int:
    """The last month's debitings once more, under new numbers, as a job that ran twice leaves them; how many."""
    made = datetime(night.year, night.month, night.day, tzinfo=UTC)
    with psycopg.connect(dsn) as connection:
        connection.execute("insert into bosko.debiting_calendar values (%s) on conflict do nothing", (night,))
        again = connection.execute(
            """
            insert into bosko.debiting (id, customer, child, period, fee_text, amount, created_at, area, external)
            select (select max(id) from bosko.debiting) + row_number() over (order by id),
                customer, child, period, fee_text, amount, %s, area, external
            from bosko.debiting
            where area = 'preschool' and period = (select max(period) from bosko.debiting where area = 'preschool')
            """,
            (made,),
        )
        return again.rowcount


def debit_once(dsn: str, night: date) -> int:
    """What ``debit_again`` made is taken away again; how many."""
    made = datetime(night.year, night.month, night.day, tzinfo=UTC)
    with psycopg.connect(dsn) as connection:
        return connection.execute("delete from bosko.debiting where created_at = %s", (made,)).rowcount


def touch(dsn: str, at: datetime, count: int) -> list[str]:
    """Some unprotected customers of pre-school change their telephone number; who."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select c.personnr from bosko.customer c join bosko.person p using (personnr)"
            " where c.preschool and not p.protected and p.avregistreringsorsak is null and p.fb_adress2 is not null"
            " order by md5(c.personnr || %s) limit %s",
            (at.isoformat(), count),
        ).fetchall()
        chosen = [str(row[0]) for row in rows]
        connection.execute(
            "update bosko.customer set telephone = '08-1209' || right(personnr, 4), changed_at = %s"
            " where personnr = any(%s)",
            (at, chosen),
        )
    return chosen


def break_postal_numbers(dsn: str, at: datetime) -> None:
    """Twenty customers change, and six of them have lost their postal number: more than a gate lets pass."""
    lost = touch(dsn, at, 20)[:6]
    with psycopg.connect(dsn) as connection:
        connection.execute("update bosko.person set fb_postnr = null where personnr = any(%s)", (lost,))


def mend_postal_numbers(dsn: str) -> None:
    """They are back."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "update bosko.person set fb_postnr = '12064' where fb_postnr is null and fb_adress2 is not null"
        )


def break_name(dsn: str, at: datetime) -> None:
    """A customer takes a name that is longer than Agresso's field."""
    who = touch(dsn, at, 8)[0]
    given, _, family = LONG.rpartition(" ")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "update bosko.person set fornamn = %s, mellannamn = null, efternamn = %s where personnr = %s",
            (given, family, who),
        )


def mend_name(dsn: str) -> None:
    """The name is entered as the register shortens it."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "update bosko.person set fornamn = 'Ingegärd'"
            " where length(concat_ws(' ', fornamn, mellannamn, efternamn)) > 50"
        )


def leak_canary(dsn: str, at: datetime) -> None:
    """Somebody who isn't protected is registered where a protected person lives."""
    who = touch(dsn, at, 8)[0]
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "update bosko.person set fb_adress2 = %s where personnr = %s", (canaries()[0].fb_adress2, who)
        )


def mend_canary(dsn: str) -> None:
    """The address is corrected."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "update bosko.person set fb_adress2 = 'Bondegatan 4' where fb_adress2 = %s and not protected",
            (canaries()[0].fb_adress2,),
        )


def _persons(connection: psycopg.Connection[Any], people: list[Person], at: datetime) -> None:
    stored = [*COLUMNS, "as_of", "loaded_by", "changed_at"]
    with connection.cursor() as cursor:
        with cursor.copy(f"copy bosko.person ({', '.join(stored)}) from stdin".encode()) as copy:
            for p in people:
                told = [_stored(c, getattr(p, c)) for c in COLUMNS]
                copy.write_row([*told, at.date(), "initial", at])
        with cursor.copy("copy bosko.relation (personnr, no, relation_personnr, typ) from stdin") as copy:
            for p in people:
                for no, (other, kind) in enumerate(p.relations, 1):
                    copy.write_row((p.personnr, no, other, kind))
        with cursor.copy("copy bosko.citizenship (personnr, no, land) from stdin") as copy:
            for p in people:
                for no, land in enumerate(p.citizenships, 1):
                    copy.write_row((p.personnr, no, land))


def _units_and_customers(
    connection: psycopg.Connection[Any], people: list[Person], at: datetime, random: Random
) -> None:
    contact = {c["personnr"]: c for c in _canary_contacts()}
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into bosko.school_unit (code, name) values (%s, %s)",
            [(f"{18010000 + n}", unit) for n, unit in enumerate(names.UNITS)],
        )
        placed = [p for p in people if not p.adult and p.relations and "2020" <= p.personnr < "2025"]
        placed += [p for p in canaries() if not p.adult]
        cursor.executemany(
            "insert into bosko.placement (child, unit, fee_category, starts) values (%s, %s, %s, %s)",
            [(p.personnr, f"{18010000 + random.randrange(len(names.UNITS))}", random.choice(school.PRESCHOOL_FEES)[1],
              date(2025, 8, 18)) for p in placed],
        )  # fmt: skip
        payers = dict.fromkeys(p.relations[0][0] for p in placed)
        cursor.executemany(
            "insert into bosko.customer (personnr, telephone, e_mail, changed_at) values (%s, %s, %s, %s)",
            [(n, contact[n]["phone"], contact[n]["email"], at) if n in contact
             else (n, f"08-5080{random.randrange(1000, 9999)}", None, at) for n in payers],
        )  # fmt: skip


def _canary_contacts() -> list[dict[str, str]]:
    import yaml

    from slussen import settings

    listed: list[dict[str, str]] = yaml.safe_load((settings.INCLUDE / "canaries.yaml").read_text(encoding="utf-8"))[
        "canaries"
    ]
    return listed


def _stored(column: str, value: str) -> object:
    if column in ("sekretessmarkering", "skyddad_folkbokforing"):
        return value == "J"
    return value or None


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "J" if value else ""
    return str(value) if value is not None else ""
