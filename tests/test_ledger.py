"""The ledger: append-only, in order, provable; against a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sandbox.postgres import Server
from slussen import settings
from slussen.database import connect, migrate
from slussen.errors import TechnicalError
from slussen.ledger import Conflict, Interchange, Ledger, book

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
    assert (ledger.verify().ok, ledger.verify().events) == (True, 3)


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
        "update ledger.event set body = '[]', hash = sha256(prev || ledger.canonical(seq, id, at, stream, nth,"
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
    assert state("archiving", "repeated") == "skipped"
    assert state("collected", "archived", "held", "archiving", "repeated") == "held"
    assert state("staged", "gated", "held") == "held"
    assert state("staged", "gated", "held", "refused") == "quarantined"
    assert state("staged", "gated", "content", "claim", "uploaded") == "delivering"
    assert state("content", "claim", "uploaded", "delivered", "claim", "gated") == "delivered"
    assert state("staged", "gated", "merged") == "merged"


def test_pages_of_the_list_are_the_whole_list(ledger: Ledger) -> None:
    for n in range(7):
        for kind in ("collected", "staged"):
            ledger.append(f"{'ab'[n % 2]}-{n}", kind, {"table": "t", "findings": [1]}, integration="ab"[n % 2])
    ledger.number("a", "a-0")
    whole = ledger.interchanges()
    assert [i.id for i in whole] == ["a-0", "b-1", "a-2", "b-3", "a-4", "b-5", "a-6"]
    pages: list[Interchange] = []
    before = None
    while page := ledger.interchanges(limit=3, before=before):
        pages, before = page + pages, page[0].seq
    assert pages == whole
    assert [i.id for i in ledger.interchanges("b", limit=2)] == ["b-3", "b-5"]
    assert ledger.interchanges("a") == whole[::2]


HISTORY = """
    insert into ledger.event (seq, id, at, stream, nth, integration, kind, body, prev, hash)
    select 3 * n + nth, gen_random_uuid(), now(), 's' || n, nth, 'i' || n % 20, kind, body, '', ''
    from generate_series(1, 10000) n, lateral (values
        (1, 'collected', format('{"sha256": "%s", "name": "a.txt"}', n % 9000)),
        (2, 'archiving', format('{"name": "a.txt", "place": "archive/a.txt.%s"}', n)),
        (3, 'archived', format('{"noted": %s}', 3 * n + 2))
    ) events (nth, kind, body)
    where n <> 50 or nth < 3
"""


def test_no_look_at_a_source_reads_the_whole_ledger(
    owner: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(owner, autocommit=True) as connection:
        connection.execute(HISTORY)
        connection.execute("analyze ledger.event")
    [note] = ledger.unarchived("i10")
    assert (note.stream, note.kind, ledger.unarchived("i11")) == ("s50", "archiving", [])
    assert [e.seq for e in ledger.moves_to("archive/a.txt.50")] == [note.seq]
    assert [e.stream for e in ledger.collected("i10", "50")] == ["s50", "s9050"]
    plans = []

    class Explained:
        """Says how a query would be answered."""

        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def execute(self, query: Any, values: Any) -> Any:
            text = query if isinstance(query, bytes) else query.encode()
            plans.append(str(self.connection.execute(b"explain " + text, values).fetchall()))
            return self.connection.execute(query, values)

    @contextmanager
    def explaining(self: Ledger) -> Iterator[Explained]:
        with connect(owner) as connection:
            yield Explained(connection)

    monkeypatch.setattr(Ledger, "_connection", explaining)
    ledger.unarchived("i10")
    ledger.moves_to("archive/a.txt.50")
    ledger.collected("i10", "50")
    indexes = ("event_moved", "event_place", "event_expr_idx")
    assert [index for plan, index in zip(plans, indexes, strict=True) if index in plan] == [*indexes], plans


def test_the_end_of_the_chain_may_move_while_it_is_verified(ledger: Ledger) -> None:
    def write() -> None:
        for n in range(40):
            ledger.append(f"f29-{n}", "staged", integration="f29")

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write) for _ in range(2)]
        while not all(w.done() for w in writing):
            assert ledger.verify().ok
    assert ledger.verify().events == 80


def test_a_script_without_a_database_proves_an_export_by_the_documented_form_alone(owner: str, ledger: Ledger) -> None:
    """Nothing of ours is imported to compute it."""
    for n in range(3):
        ledger.append("kir-å", "collected", {"name": f'"{n}",\n', "bytes": n}, integration="kir")
    before = sha256(b"slussen").digest()
    with psycopg.connect(owner) as connection:
        rows = connection.execute(
            "select seq::text, id::text, to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), stream,"
            " nth::text, integration, kind, body, hash from ledger.event order by event.seq"
        ).fetchall()
    for *parts, digest in rows:
        text = ",".join(f"{len(part.encode())}:{part}" for part in parts)
        assert sha256(before + text.encode()).digest() == digest
        before = digest
    assert ledger.verify().head == before.hex()


def test_an_append_whose_reply_is_lost_is_found_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "PAUSES", (0, 0))
    append, lost = Ledger._append, [True, True]

    def lossy(self: Ledger, *arguments: Any) -> Any:
        row = append(self, *arguments)
        if lost:
            lost.pop()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return row

    monkeypatch.setattr(Ledger, "_append", lossy)
    event = ledger.append("f29-1", "claim", {"attempt": 1}, integration="f29", after=0)
    assert [e.seq for e in ledger.events("f29-1")] == [event.seq]


def test_a_worker_stopped_in_the_middle_of_an_append_holds_nobody_up(owner: str, ledger: Ledger) -> None:
    """Stopped wherever it may be a hundred times, the others go on."""
    pid = os.fork()
    if not pid:
        try:
            while True:
                ledger.append("f29-zombie", "staged", integration="f29")
        finally:
            os._exit(1)
    try:
        for n in range(40):
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            ledger.append(f"f29-{n}", "staged", integration="f29")
            assert time.monotonic() - began < 5
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.003 * (n % 5))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert ledger.verify().ok


def test_a_name_that_is_no_utf8_is_written_as_its_bytes(ledger: Ledger) -> None:
    name = b"f\x84r.txt".decode("utf-8", "surrogateescape")
    assert ledger.append("kir-1", "collected", {"name": name}, integration="kir").data["name"] == "f\\x84r.txt"


def test_an_id_is_of_one_event_only(ledger: Ledger) -> None:
    identity = uuid4()
    ledger._append(identity, "f29-1", "f29", "claim", "{}", 0)
    with pytest.raises(psycopg.errors.UniqueViolation):
        ledger._append(identity, "f29-1", "f29", "uploaded", "{}", None)


def test_it_migrates_without_a_superuser(postgres: Server) -> None:
    """An existing server gives us a role that may make roles, and a database of its own."""
    name, role = f"plain{next(NAMES)}", f"builder{next(NAMES)}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"create role {role} login createrole".encode())
        for known in ("slussen", "slussen_owner"):  # made by another database's migration, perhaps
            if connection.execute("select 1 from pg_roles where rolname = %s", (known,)).fetchone():
                connection.execute(f"grant {known} to {role} with admin true".encode())
    dsn = postgres.dsn(name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"alter database {name} owner to {role}".encode())
    assert migrate(f"{dsn} user={role}", settings.SQL / "migrations" / "slussen")
    ledger = Ledger(f"{dsn} user=slussen")
    ledger.append("f29-1", "staged", integration="f29")
    assert ledger.verify().ok


def test_the_application_may_make_stages_and_keep_keys(owner: str) -> None:
    with psycopg.connect(f"{owner} user=slussen") as connection:
        connection.execute("create unlogged table stage.x (n int)")
        connection.execute("insert into sent.key values ('f29', 'f29-1', 'key', 'k') on conflict do nothing")
        connection.execute("delete from sent.key where interchange = 'f29-1'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create table ledger.x (n int)")


def test_a_changed_migration_is_refused(owner: str) -> None:
    folder = settings.SQL / "migrations" / "slussen"
    assert migrate(owner, folder) == []
    with psycopg.connect(owner) as connection:
        connection.execute("update public.migration set sha256 = 'x' where name like '0001%'")
    with pytest.raises(TechnicalError, match=r"0001_ledger\.sql was changed"):
        migrate(owner, folder)


def test_a_lost_database_says_nothing_of_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "PAUSES", (0,))
    with pytest.raises(TechnicalError) as caught:
        Ledger("host=/nowhere dbname=x").append("f29-1", "staged", {"table": "hemlig"}, integration="f29")
    assert "hemlig" not in str(caught.value)
