"""The sender's word on who is protected: whom its files have flagged doesn't lose the flag unseen."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from slussen.database import connect
from slussen.quality import sender
from slussen.quality.duties import Duties
from slussen.quality.report import Check
from tests.bad_rows import REGISTER
from tests.gating import Databases, Row, databases, superuser
from tests.test_suites_hanna import gate, rows_of

__all__ = ["databases", "superuser"]  # fixtures
RULE = "conservation person by person"
MONTH = timedelta(days=30)
NUMBER = count(1)


class Sender:
    """HANNA's files for USK, one after the other through the gate; each a month later, and sent or not."""

    def __init__(self, databases: Databases) -> None:
        self.databases, self.now, self.sent = databases, datetime(2026, 1, 13, 20, tzinfo=UTC), list[str]()

    def file(self, rows: list[Row], *, sent: bool = True, later: timedelta = MONTH) -> Check:
        """What the gate says of these records; ``sent``: they go on, whatever it says."""
        self.now += later
        name = f"usk-{next(NUMBER)}-sender"
        report = gate(self.databases, "usk", rows, interchange=name, duties=Duties(self.now, tuple(self.sent)))
        if sent:
            self.sent.append(name)
        return next(c for c in report.checks if c.rule == RULE)


@pytest.fixture
def sender_of(databases: Databases) -> Sender:
    return Sender(databases)


def listed(*without: str) -> list[Row]:
    """A list of pupils, these without their flags."""
    rows = copy.deepcopy(rows_of("usk"))
    for row in rows:
        if row["personnr"] in without:
            row["sekretess"] = "N"
    return rows


def elsewhere() -> list[str]:
    """Those whom only the sender knows as protected."""
    found = {r["personnr"] for r in rows_of("usk") if r["sekretess"] == "J"} - REGISTER.people.keys()
    assert len(found) > 1
    return sorted(found)


def places(whom: str) -> list[int]:
    return [n for n, row in enumerate(rows_of("usk"), 1) if row["personnr"] == whom]


def test_one_flag_that_is_gone_is_held_with_its_records_until_a_person_has_let_it_go(sender_of: Sender) -> None:
    first, *_ = elsewhere()
    assert sender_of.file(listed()).verdict == "pass"
    for sent in (False, True):  # refused, then released
        check = sender_of.file(listed(first), sent=sent)
        assert (check.verdict, check.unexpected, check.records) == ("hold", 1, places(first))
    assert sender_of.file(listed(first)).verdict == "pass"
    assert sender_of.file(listed()).verdict == "pass"
    assert sender_of.file(listed(first)).verdict == "hold"  # flagged anew, and lost again


def test_who_is_not_in_a_file_has_lost_nothing_and_is_still_known_in_the_next_one(sender_of: Sender) -> None:
    first, *_ = elsewhere()
    sender_of.file(listed())
    assert sender_of.file([r for r in listed() if r["personnr"] != first]).ok
    assert sender_of.file(listed(first), later=timedelta(days=400)).records == places(first)


def test_a_file_that_was_not_sent_has_no_word(sender_of: Sender) -> None:
    first, *_ = elsewhere()
    sender_of.file(listed(), sent=False)
    assert sender_of.file(listed(first)).ok


def test_of_a_person_with_several_records_one_flag_is_enough(sender_of: Sender) -> None:
    first, *_ = elsewhere()
    sender_of.file(listed())
    other = next(r for r in listed() if r["personnr"] == first) | {"sekretess": "N", "studievag": "XX"}
    assert sender_of.file([*listed(), other]).ok


def test_a_gate_that_runs_again_says_the_same(sender_of: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PIECE", 7)
    first, *_ = elsewhere()
    sender_of.file(listed())
    for _ in range(2):
        monkeypatch.setattr(f"{__name__}.NUMBER", iter([999]))
        assert sender_of.file(listed(first), sent=False, later=timedelta()).records == places(first)


@pytest.fixture
def register(superuser: Databases) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(superuser[1], autocommit=True) as bosko:
        yield bosko
        bosko.execute("delete from bosko.protection_change")


@pytest.mark.parametrize(("after", "ok"), [(timedelta(days=1), True), (-timedelta(days=1), False)])
def test_what_a_population_file_took_away_since_is_no_loss(
    sender_of: Sender, register: psycopg.Connection[Any], after: timedelta, ok: bool
) -> None:
    first, *_ = elsewhere()
    sender_of.file(listed())
    for given, at in ((True, sender_of.now - MONTH), (False, sender_of.now + after)):
        register.execute(
            "insert into bosko.protection_change (personnr, protected, interchange, changed_at)"
            " values (%s, %s, 'kir-1', %s)",
            (first, given, at),
        )
    assert sender_of.file(listed(first)).ok is ok


def test_what_is_kept_names_nobody_and_nobody_but_the_flagged_and_goes_in_the_end(sender_of: Sender) -> None:
    first, *_ = elsewhere()
    sender_of.file(listed())
    flagged = {r["personnr"] for r in listed() if r["sekretess"] == "J"}
    sender_of.file(listed(first))

    def kept() -> list[tuple[Any, ...]]:
        with connect(sender_of.databases[0]) as connection:
            return connection.execute(
                "select interchange, flagged, octet_length(key), count(*) from sent.person_flag"
                " where interchange = any(%s) group by 1, 2, 3 order by 1, 2 desc",
                (sender_of.sent,),
            ).fetchall()

    one, other = sender_of.sent
    assert sorted(kept()) == sorted([
        (one, True, sender.KEY_BYTES, len(flagged)),
        (other, True, sender.KEY_BYTES, len(flagged) - 1),
        (other, False, sender.KEY_BYTES, 1),
    ])  # fmt: skip
    sender_of.file(listed(), sent=False, later=sender.KEPT + MONTH)
    assert kept() == []
