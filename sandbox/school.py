"""The school's side of BoSko, made from its people: units, classes, school-age care and its fees, ledger vouchers; and
HANNA's database of course groups and absence.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any

import psycopg

from sandbox import names
from sandbox.identities import Register
from sandbox.population import Person, canaries

SCHOOLS = ("Åsöskolan", "Ängsvikens skola", "Örbyskogens skola", "Fältöversten skola", "Rågsveds lärcentrum",
           "Spångabergs skola", "Vällingby Björkskola", "Årstadals skola")  # fmt: skip
INDEPENDENT = ("Fristående Äppellunden", "Friskolan Öberg")
PRESCHOOL_FEES = (("FSK01", "Barnomsorg 1-2 år heltid", "1682.00"), ("FSK02", "Barnomsorg 3-5 år heltid", "1121.00"),
                  ("FSK03", "Barnomsorg deltid", "840.00"))  # fmt: skip
LEISURE_FEES = (("FRH01", "Fritidshem heltid", "1121.00"), ("FRH02", "Fritidshem lov", "390.00"))
ACCOUNTS = (("4011", "410"), ("5020", "410"), ("5610", "440"), ("6410", "425"), ("7630", "450"), ("6950", "410"))
TEXTS = ("Läromedel årskurs 4-6", "Skolmåltider vecka", "Hyra gymnastiksal", "Städning förskola", "IT-licenser",
         "Utflykt Skansen", "Vikarier oktober, fördelning", "Omföring mellan enheter")  # fmt: skip
BANK = "1930"

COURSES = (("MATMAT01a", "MA", "Matematik"), ("SVESVE01", "SV", "Svenska"), ("ENGENG05", "EN", "Engelska"),
           ("IDRIDR01", "ID", "Idrott och hälsa"), ("NAKNAK01a1", "NK", "Naturkunskap"))  # fmt: skip
UPPER = (("10480000", "Östra Ängsgymnasiet"), ("10480037", "Gymnasiet Åsö Berg"), ("10480074", "Hässelby Lärgymnasium"))


def fill(connection: psycopg.Connection[Any], people: list[Person], today: date, random: Random, at: datetime) -> None:
    """Schools, classes and school-age care for the children of these people, on a day of a school year."""
    year = _school_year(today)
    starts = date(year, 8, 18)
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into bosko.fee_category values (%s, %s, %s, %s)",
            [(code, name, code[:3], Decimal(fee)) for code, name, fee in (*PRESCHOOL_FEES, *LEISURE_FEES)],
        )
        every = enumerate((*SCHOOLS, *INDEPENDENT))
        units = [(f"{18020000 + n}", name, "GR", name in INDEPENDENT) for n, name in every]
        units += [(f"{18030000 + n}", f"Fritids {name}", "FRH", independent)
                  for n, (_, name, _, independent) in enumerate(units)]  # fmt: skip
        cursor.executemany(
            "insert into bosko.school_unit (code, name, form, independent) values (%s, %s, %s, %s)", units
        )
        columns = "pupil, unit, school_year, grade, class, starts, ends"
        with cursor.copy(f"copy bosko.enrolment ({columns}) from stdin".encode()) as copy:
            for child in pupils(people, today):
                grade = year - int(child.personnr[:4]) - 6
                letter = "F" if grade == 0 else str(grade)
                n = random.randrange(len(SCHOOLS) + len(INDEPENDENT))
                copy.write_row((child.personnr, f"{18020000 + n}", f"{year}/{year + 1}", letter,
                                f"{letter}{random.choice('ABC')}", starts, None))  # fmt: skip
        cursor.execute(
            # Whose school is, so is the school-age care; for the youngest four classes, and not for all.
            "insert into bosko.placement (child, unit, fee_category, starts, form, child_group)"
            " select e.pupil, '1803' || right(e.unit, 4),"
            " case when right(e.pupil, 1) in ('1', '2') then %s else %s end, e.starts, 'FRH', 'Fritids ' || e.grade"
            " from bosko.enrolment e where e.grade in ('F', '1', '2', '3') and right(e.pupil, 1) not in ('7', '8')"
            " and exists (select from bosko.relation r where r.personnr = e.pupil and r.typ = 'V')",
            (LEISURE_FEES[1][1], LEISURE_FEES[0][1]),
        )
        cursor.execute("update bosko.placement set child_group = 'Avd ' || (1 + mod(id, 4)) where child_group is null")
        cursor.execute(
            "insert into bosko.placement_fee (placement, category, valid_from)"
            " select p.id, c.code, p.starts from bosko.placement p join bosko.fee_category c on c.name = p.fee_category"
        )
        cursor.execute(
            "insert into bosko.customer (personnr, telephone, changed_at, preschool, leisure)"
            " select distinct on (r.relation_personnr) r.relation_personnr,"
            " '08-5081' || right(r.relation_personnr, 4), %s::timestamptz, false, true"
            " from bosko.placement p join bosko.relation r on r.personnr = p.child and r.typ = 'V' and r.no = 1"
            " join bosko.person g on g.personnr = r.relation_personnr where p.form = 'FRH'"
            " on conflict (personnr) do update set leisure = true",
            (at,),
        )


def pupils(people: list[Person], today: date) -> list[Person]:
    """Those of compulsory school age on this day, and the child among the canaries."""
    year = _school_year(today)
    born = {str(y) for y in range(year - 15, year - 5)}
    known = {p.personnr for p in people}
    found = [p for p in people if p.personnr[:4] in born and not p.avregistreringsorsak]
    return found + [c for c in canaries() if not c.adult and c.personnr in known and c not in found]


def debit_leisure(dsn: str, at: datetime) -> int:
    """Debit school-age care for the next month that isn't; how many debitings."""
    with psycopg.connect(dsn) as connection:
        last = connection.execute("select max(period) from bosko.debiting where area = 'leisure'").fetchone()
        period = after(int(last[0])) if last and last[0] else at.year * 100 + at.month
        made = connection.execute(
            """
            insert into bosko.debiting (id, customer, child, period, fee_text, amount, created_at, area, external)
            select coalesce((select max(id) from bosko.debiting), 0) + row_number() over (order by p.child),
                r.relation_personnr, p.child, %s, p.fee_category, c.monthly, %s, 'leisure', u.independent
            from bosko.placement p
            join bosko.school_unit u on u.code = p.unit
            join bosko.fee_category c on c.name = p.fee_category
            join bosko.relation r on r.personnr = p.child and r.typ = 'V' and r.no = 1
            join bosko.customer k on k.personnr = r.relation_personnr
            where p.form = 'FRH'
            """,
            (period, at),
        )
        return made.rowcount


def post(dsn: str, day: date, vouchers: int = 40, *, uneven: bool = False) -> int:
    """A day's general-ledger vouchers, two to five lines each, in balance; how many lines. ``uneven``: one isn't."""
    random = Random(day.toordinal())
    at = datetime(day.year, day.month, day.day, 14, tzinfo=UTC)
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select coalesce(max(id), 0), coalesce(max(voucher_no), 4500000) from bosko.posting")
        last, number = row.fetchone() or (0, 4500000)
        units = [str(r[0]) for r in connection.execute("select code from bosko.school_unit order by 1")]
        ids = count(int(last) + 1)
        columns = "id, voucher_no, voucher_date, account, unit, activity, amount, description, created_at"
        with connection.cursor() as cursor, cursor.copy(f"copy bosko.posting ({columns}) from stdin".encode()) as copy:
            made = 0
            for n in range(1, vouchers + 1):
                lines: list[tuple[str, str, Decimal]] = []
                for _ in range(random.randrange(1, 5)):
                    account, activity = random.choice(ACCOUNTS)
                    lines.append((account, activity, Decimal(random.randrange(5_000, 9_000_000)) / 100))
                total = sum((amount for *_, amount in lines), Decimal(0))
                lines.append((BANK, "900", -total + (Decimal("0.01") if uneven and n == 1 else 0)))
                unit, text = random.choice(units), random.choice(TEXTS)
                for account, activity, amount in lines:
                    copy.write_row((next(ids), int(number) + n, day, account, unit, activity, amount, text, at))
                    made += 1
    return made


def fill_hanna(dsn: str, register: list[Person], seed: int, pupils_each: int, today: date) -> None:
    """HANNA's database: three schools with course groups, pupils of upper-secondary age, two months of absence.

    The canaries and some protected persons of the population register are pupils too.
    """
    random = Random(seed)
    taken = {p.personnr for p in register}
    known = {c.personnr for c in canaries()}
    protected = [p for p in register if p.protected and p.adult and p.personnr not in known][:12]
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany("insert into hanna.school values (%s, %s)", UPPER)
        cursor.executemany("insert into hanna.subject values (%s, %s)", [(code, name) for _, code, name in COURSES])
        for n, (school, _) in enumerate(UPPER):
            there = [*canaries(), *protected] if n == 0 else []
            people = [(p.personnr, p.efternamn, p.fornamn, p.protected) for p in there]
            while len(people) < pupils_each:
                woman = random.random() < 0.5
                year = today.year - random.randrange(16, 20)
                number = Register(random, taken).born_between(date(year, 1, 1), date(year, 12, 31), woman=woman)
                people.append((number, random.choice(names.FAMILIES),
                               random.choice(names.WOMEN if woman else names.MEN), False))  # fmt: skip
            cursor.executemany(
                "insert into hanna.pupil values (%s, %s, %s, %s, %s, %s)",
                [(p, family, given, school, f"NA{23 + k % 3}{'ABC'[k % 3]}", mark)
                 for k, (p, family, given, mark) in enumerate(people)],
            )  # fmt: skip
            _course_groups(cursor, school, [p for p, *_ in people], today, random)


def _course_groups(cursor: psycopg.Cursor[Any], school: str, people: list[str], today: date, random: Random) -> None:
    year = _school_year(today)
    for course, subject, _ in COURSES:
        for n in range(1, 4):
            group, signature = f"{course}-{n}", f"{subject}{n}"
            cursor.execute(
                "insert into hanna.teacher values (%s, %s, %s, %s)",
                (school, signature, random.choice(names.FAMILIES), random.choice(names.WOMEN + names.MEN)),
            )
            cursor.execute(
                "insert into hanna.course_group values (%s, %s, %s, %s, %s)",
                (school, group, course, subject, signature),
            )
            there = people[:14] + random.sample(people[14:], min(16, len(people) - 14)) if n == 1 else people[n::3]
            cursor.executemany(
                "insert into hanna.member values (%s, %s, %s, %s, %s)",
                [(p, school, group, date(year, 8, 20), None if k % 11 else today - timedelta(days=40))
                 for k, p in enumerate(there)],
            )  # fmt: skip
            days = [today - timedelta(days=d) for d in range(-20, 40)]
            cursor.executemany(
                "insert into hanna.absence values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
                [(p, school, group, random.choice(days), random.randrange(5, 120), random.random() < 0.7)
                 for k, p in enumerate(there) if k % 11 for _ in range(random.randrange(0, 4))],
            )  # fmt: skip


def _school_year(today: date) -> int:
    """The calendar year in which this day's school year began: on 1 July."""
    return today.year if today.month >= 7 else today.year - 1


def after(period: int) -> int:
    """The month after this one, both YYYYMM."""
    year, month = divmod(period, 100)
    return year * 100 + month + 1 if month < 12 else (year + 1) * 100 + 1
