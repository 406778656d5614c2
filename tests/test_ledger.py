"""The ledger: append-only, in order, provable; against a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from uuid import uuid4

import psycopg
import pytest

from sandbox.postgres import Server
from slussen import settings
from slussen.database import migrate
from slussen.errors import TechnicalError
from slussen.ledger import Conflict, Ledger

NAMES = count(1)


@pytest.fixture
def owner(postgres: Server) -> str:
    """A superuser's connection string of a fresh database with the ledger in it."""
    dsn = postgres.dsn(f"ledger{next(NAMES)}")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return dsn


@pytest.fixture
def ledger(owner: str) -> Ledger:
    return Ledger(f"{owner} user=slussen")


def test_events_come_back_as_they_went_in_order(ledger: Ledger) -> None:
    ledger.append("f29-1", "staged", {"table": "å", "records": 3}, integration="f29")
    ledger.append("f30-1", "staged", integration="f30")
    ledger.append("f29-1", "gated", {"verdict": "pass"}, integration="f29")
    assert [(e.kind, dict(e.data)) for e in ledger.events("f29-1")] == [
        ("staged", {"table": "å", "records": 3}),
        ("gated", {"verdict": "pass"}),
    ]
    assert [e.seq for e in ledger.events("f29-1")] == [1, 3]
    assert ledger.verify() == ledger.verify().__class__(True, 3)


def test_an_append_that_saw_less_than_there_is_is_refused(ledger: Ledger) -> None:
    first = ledger.append("f29-1", "claim", {"attempt": 1}, integration="f29", after=0)
    ledger.append("f29-1", "claim", {"attempt": 2}, integration="f29", after=first.seq)
    with pytest.raises(Conflict):
        ledger.append("f29-1", "uploaded", {"attempt": 1}, integration="f29", after=first.seq)
    with pytest.raises(Conflict):
        ledger.append("f29-1", "claim", integration="f29", after=0)
    ledger.append("f30-1", "claim", integration="f30", after=0)


def test_of_many_at_once_exactly_one_wins(ledger: Ledger) -> None:
    def try_it(n: int) -> bool:
        try:
            ledger.append("f29-1", "claim", {"attempt": n}, integration="f29", after=0)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_it, range(24))) == 1
    assert ledger.verify().ok


def test_numbers_have_no_gaps_and_belong_to_one_interchange(ledger: Ledger) -> None:
    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(lambda n: ledger.number("f29", f"f29-{n % 6}"), range(12)))
    assert sorted(set(numbers)) == [1, 2, 3, 4, 5, 6]
    assert numbers[:6] == numbers[6:]
    assert ledger.interchanges() == []


def test_the_same_append_twice_is_one_event(owner: str, ledger: Ledger) -> None:
    """A commit whose reply was lost is tried again under the same id."""
    identity = uuid4()
    rows = [ledger._append(identity, "f29-1", "f29", "claim", "{}", 0) for _ in range(2)]
    assert rows[0] == rows[1]
    assert len(ledger.events("f29-1")) == 1


@pytest.mark.parametrize("user", ["slussen", "postgres"])
@pytest.mark.parametrize(
    "statement",
    [
        "update ledger.event set body = '{}'",
        "delete from ledger.event",
        "truncate ledger.event",
        "insert into ledger.event select * from ledger.event",
    ],
)
def test_nobody_changes_an_event(owner: str, ledger: Ledger, user: str, statement: str) -> None:
    ledger.append("f29-1", "staged", integration="f29")
    with psycopg.connect(f"{owner} user={user}") as connection, pytest.raises(psycopg.Error):
        connection.execute(statement.encode())
    assert ledger.verify().ok


TAMPERING = {
    "a changed body": ('update ledger.event set body = \'{"table":"x"}\' where seq = 3', 3),
    "a changed time": ("update ledger.event set at = at + interval '1 microsecond' where seq = 4", 4),
    "a moved event": ("update ledger.event set stream = 'f30-9' where seq = 2", 2),
    "a removed event": ("delete from ledger.event where seq = 3", 3),
    "a cut tail": ("delete from ledger.event where seq > 4", 5),
    "a rebuilt event": (
        "update ledger.event set body = '[]', hash = sha256(prev || ledger.canonical(seq, id, at, stream,"
        " integration, kind, '[]')) where seq = 3",
        4,
    ),
    "a swapped pair": (
        "update ledger.event set seq = case seq when 2 then -3 else -2 end where seq in (2, 3);"
        " update ledger.event set seq = -seq where seq < 0",
        2,
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_what_a_superuser_alters_with_the_triggers_off_is_named_at_its_first_event(
    owner: str, ledger: Ledger, how: str
) -> None:
    statement, first_bad = TAMPERING[how]
    for n in range(6):
        ledger.append(f"f29-{n % 2}", "staged", {"table": f"t{n}"}, integration="f29")
    with psycopg.connect(owner) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(statement.encode())
    found = ledger.verify()
    assert not found.ok
    assert found.first_bad_seq == first_bad


def test_states_are_folds_of_events(ledger: Ledger) -> None:
    def state(*kinds: str) -> str:
        stream = f"x-{uuid4()}"
        for kind in kinds:
            ledger.append(stream, kind, {"verdict": "pass"}, integration="x")
        return next(i.state for i in ledger.interchanges("x") if i.id == stream)

    assert state("collected", "archived") == "collected"
    assert state("staged", "gated", "held") == "held"
    assert state("staged", "gated", "held", "refused") == "quarantined"
    assert state("staged", "gated", "content", "claim", "uploaded") == "delivering"
    assert state("content", "claim", "uploaded", "delivered", "claim", "gated") == "delivered"
    assert state("staged", "gated", "merged") == "merged"


def test_a_changed_migration_is_refused(owner: str) -> None:
    folder = settings.SQL / "migrations" / "slussen"
    assert migrate(owner, folder) == []
    with psycopg.connect(owner) as connection:
        connection.execute("update public.migration set sha256 = 'x' where name like '0001%'")
    with pytest.raises(TechnicalError, match="0001_ledger.sql was changed"):
        migrate(owner, folder)


def test_a_lost_database_says_nothing_of_what_was_written() -> None:
    with pytest.raises(TechnicalError) as caught:
        Ledger("host=/nowhere dbname=x").append("f29-1", "staged", {"table": "hemlig"}, integration="f29")
    assert "hemlig" not in str(caught.value)
