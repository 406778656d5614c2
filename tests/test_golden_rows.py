"""A hamlet of five people, written down by hand, and the very bytes that each row sends of it.

The files in ``tests/golden/rows`` were read line by line against the layouts; ``SLUSSEN_GOLDEN=write`` makes them anew.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sandbox.identities import number
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from tests.rows import Town, moment

GOLDEN = Path(__file__).parent / "golden" / "rows"
NIGHT, MORNING = moment(FIRST_DAY), moment(date(2026, 1, 13), 3)
BEFORE = datetime(2026, 1, 5, tzinfo=UTC)
ASA, BJORN = number(date(1985, 3, 1), 982), number(date(1984, 11, 30), 981)
SOLVE, OSTEN = number(date(2018, 5, 2), 983), number(date(2021, 2, 28), 985)
HIDDEN = number(date(2017, 9, 9), 980)
KEYS = (
    "f29",
    "f30",
    "f102",
    "f103",
    "f104",
    "h45",
    "ergo",
    "lis_placements",
    "lis_fees",
    "profdoc_bosko",
    "novaschema",
)


@pytest.fixture(scope="module")
def hamlet(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Only the canaries, and then: a couple with a pupil and a child in pre-school, and a protected pupil of theirs."""
    made = Town(postgres, tmp_path_factory.mktemp("hamlet"), people=2)
    home = ("c/o Öberg", "Götgatan 17 lgh 1102", "11646", "Stockholm")
    people = [
        (ASA, "Åsa Désirée", "Ängsvik", False, *home), (BJORN, "Björn", "Müllerström", False, *home),
        (SOLVE, "Sölve", "Ängsvik", False, *home), (OSTEN, "Östen", "Ängsvik", False, *home),
        (HIDDEN, "Ragnfrid", "Ängsvik", True, *home),
    ]  # fmt: skip
    with made.change() as db, db.cursor() as cursor:
        cursor.execute("delete from bosko.placement_fee; delete from bosko.placement; delete from bosko.school_unit"
                       " where not exists (select from bosko.enrolment e where e.unit = code)")  # fmt: skip
        cursor.executemany(
            "insert into bosko.person (personnr, fornamn, efternamn, sekretessmarkering, fb_co, fb_adress2, fb_postnr,"
            " fb_postort, as_of, loaded_by, changed_at) values (%s, %s, %s, %s, %s, %s, %s, %s, '2026-01-05', 'x', %s)",
            [(*p, BEFORE) for p in people],
        )
        cursor.executemany(
            "insert into bosko.relation (personnr, no, relation_personnr, typ) values (%s, %s, %s, 'V')",
            [(child, n, guardian) for child in (SOLVE, OSTEN, HIDDEN) for n, guardian in ((1, ASA), (2, BJORN))],
        )
        cursor.executemany(
            "insert into bosko.school_unit (code, name, form, independent) values (%s, %s, %s, %s)"
            " on conflict (code) do update set name = excluded.name",
            [("18010001", "Förskolan Örnen", "FSK", False), ("18020001", "Åsöskolan", "GR", False),
             ("18030001", "Fritids Åsöskolan", "FRH", False), ("18030009", "Fritids Öberg", "FRH", True)],
        )  # fmt: skip
        cursor.executemany(
            "insert into bosko.enrolment values (%s, '18020001', '2025/2026', %s, %s, '2025-08-18', null)",
            [(SOLVE, "1", "1B"), (HIDDEN, "2", "2A")],
        )
        cursor.executemany(
            "insert into bosko.placement (child, unit, fee_category, starts, ends, form, child_group)"
            " values (%s, %s, %s, '2025-08-18', %s, %s, %s) returning id",
            [(OSTEN, "18010001", "Barnomsorg 3-5 år heltid", None, "FSK", "Avd Ängen"),
             (SOLVE, "18030001", "Fritidshem heltid", date(2026, 6, 12), "FRH", "Fritids 1"),
             (HIDDEN, "18030009", "Fritidshem heltid", None, "FRH", "Fritids 2")],
        )  # fmt: skip
        cursor.execute(
            "insert into bosko.placement_fee (placement, category, valid_from)"
            " select p.id, f.code, '2025-09-01'"
            " from bosko.placement p join bosko.fee_category f on f.name = p.fee_category"
        )
        cursor.executemany(
            "insert into bosko.customer (personnr, telephone, e_mail, changed_at, preschool, leisure)"
            " values (%s, %s, %s, %s, %s, true)",
            [(ASA, "08-508 00 101", "asa.angsvik@example.org", BEFORE, True)],
        )
        cursor.execute("insert into bosko.debiting_calendar values (%s)", (FIRST_DAY,))
        cursor.executemany(
            "insert into bosko.debiting values (%s, %s, %s, 202601, %s, %s, %s, %s, %s)",
            [(17, ASA, OSTEN, "Barnomsorg 3-5 år heltid", Decimal("1121.00"), BEFORE, "preschool", False),
             (18, ASA, SOLVE, "Fritidshem heltid", Decimal("1121.00"), BEFORE, "leisure", False),
             (19, ASA, HIDDEN, "Fritidshem heltid", Decimal("390.50"), BEFORE, "leisure", True)],
        )  # fmt: skip
        cursor.executemany(
            "insert into bosko.posting"
            " values (%s, 4500001, '2026-01-12', %s, '18020001', %s, %s, 'Läromedel åk 1', %s)",
            [(1, "4011", "410", Decimal("1234.50"), BEFORE), (2, "1930", "900", Decimal("-1234.50"), BEFORE)],
        )
    with made.change("hanna") as db, db.cursor() as cursor:
        cursor.execute("delete from hanna.absence; delete from hanna.member; delete from hanna.pupil")
        cursor.execute("update hanna.teacher set efternamn = 'Öhrnbäck', fornamn = 'Göran'")
        cursor.executemany(
            "insert into hanna.pupil values (%s, %s, %s, '10480000', %s, %s)",
            [(number(date(2008, 4, 1), 990), "Ståhlgrenius", "Märtha", "NA23A", False),
             (number(date(2008, 4, 1), 992), "Hägglöv", "Åslög", "NA23A", False),
             (HIDDEN, "Ängsvik", "Ragnfrid", "NA23A", True)],
        )  # fmt: skip
        cursor.executemany(
            "insert into hanna.member values (%s, '10480000', %s, %s, %s)",
            [(number(date(2008, 4, 1), 990), "MATMAT01a-1", date(2025, 8, 20), None),
             (number(date(2008, 4, 1), 990), "SVESVE01-2", date(2025, 8, 20), None),
             (number(date(2008, 4, 1), 992), "MATMAT01a-1", date(2025, 8, 20), date(2025, 12, 31)),
             (HIDDEN, "MATMAT01a-1", date(2025, 8, 20), None)],
        )  # fmt: skip
        cursor.executemany(
            "insert into hanna.absence values (%s, '10480000', 'MATMAT01a-1', %s, %s, %s)",
            [(number(date(2008, 4, 1), 990), date(2026, 1, 12), 40, True),
             (number(date(2008, 4, 1), 990), date(2026, 2, 1), 80, False),  # another month's
             (HIDDEN, date(2026, 1, 12), 60, False)],
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def sent(hamlet: Town) -> dict[str, bytes]:
    return {key: hamlet.send(key, MORNING if key.startswith("f10") else NIGHT)[1] for key in KEYS}


@pytest.mark.parametrize("key", KEYS)
def test_a_row_sends_these_very_bytes(sent: dict[str, bytes], key: str) -> None:
    file = GOLDEN / f"{key}.txt"
    if os.environ.get("SLUSSEN_GOLDEN") == "write":
        file.write_bytes(sent[key])
    assert sent[key] == file.read_bytes()


@pytest.mark.parametrize("key", KEYS)
def test_nothing_of_a_protected_childs_home_or_name_is_where_it_must_not_be(sent: dict[str, bytes], key: str) -> None:
    text = sent[key].decode("cp1252")
    if key == "profdoc_bosko":
        (line,) = (row for row in text.split("\r\n") if row.startswith(HIDDEN))
        assert "Götgatan" not in line
        assert ASA not in line
    else:
        assert HIDDEN not in text
        assert "Ragnfrid" not in text
