"""Arrow to PostgreSQL and back: what went in comes out, exactly."""

from __future__ import annotations

import threading
from decimal import Decimal
from itertools import count

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.postgres import Server
from slussen.database import Connection, connect
from slussen.records import stage
from tests.staging import ROW, SCHEMA, batch

TABLES = count(1)


@pytest.fixture(scope="module")
def database(postgres: Server) -> Connection:
    connection = connect(postgres.dsn("stage"), autocommit=True)
    connection.execute("create schema stage")
    return connection


@hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, max_size=9))
def test_what_goes_in_comes_out(database: Connection, rows: list[tuple[object, ...]]) -> None:
    table = f"t{next(TABLES)}"
    numbered = [(n, *row[1:]) for n, row in enumerate(rows)]
    stage.create(database, table, SCHEMA)
    # A slice has an offset into its buffers: the encoder must mind it.
    padded = batch([numbered[0], *numbered]).slice(1) if numbered else batch([])
    assert stage.copy_in(database, table, [padded]).rows == len(rows)
    found = [
        tuple(r.values())
        for b in stage.read(database, f"select * from stage.{table} order by 1")
        for r in b.to_pylist()
    ]
    assert found == numbered


def test_null_and_the_empty_text_stay_apart_and_line_ends_stay_in(database: Connection) -> None:
    query = "select * from (values (1, null, 'a'), (2, '', E'x\\ny'), (3, 'ö;\"', ' ')) as t (n, a, b) order by n"
    rows = [r for b in stage.read(database, query) for r in b.to_pylist()]
    assert [(r["a"], r["b"]) for r in rows] == [(None, "a"), ("", "x\ny"), ('ö;"', " ")]


def test_a_query_without_rows_gives_no_batch(database: Connection) -> None:
    assert list(stage.read(database, "select 1 as n where false")) == []


def test_rows_that_nobody_wants_any_more_are_not_sent_and_the_connection_goes_on(database: Connection) -> None:
    rows = stage.read(database, "select n, repeat('x', 1000) as t from generate_series(1, 200000) n")
    assert next(rows).num_rows > 0
    rows.close()
    assert database.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "query", ["select 1 / (n - 90000) as n from generate_series(1, 100000) n", "select 1 / 0 as n"]
)
def test_what_goes_wrong_in_the_middle_of_a_query_is_raised(database: Connection, query: str) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(stage.read(database, query))
    assert database.execute("select 1").fetchone() == (1,)


def test_text_that_is_equally_long_in_all_rows_is_staged_like_any(database: Connection) -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.string()), ("n", pa.decimal128(18, 2))])
    columns = [["åäö", "abc", "xyz"], ["", "", ""], [Decimal("-0.01"), Decimal("1234567890123456.78"), Decimal(0)]]
    rows = pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )
    table = f"t{next(TABLES)}"
    stage.create(database, table, schema)
    stage.copy_in(database, table, [rows])
    assert [r for b in stage.read(database, f"select * from stage.{table}") for r in b.to_pylist()] == rows.to_pylist()


def test_bytes_behind_a_null_are_not_staged_and_large_batches_are_as_small_ones(database: Connection) -> None:
    n = 200_000
    text = pa.array(["abc", "ö"] * (n // 2))
    nulls = pa.py_buffer(b"\x55" * (n // 8))  # every other is null, and has its bytes still
    hidden = pa.Array.from_buffers(pa.string(), n, [nulls, *text.buffers()[1:]])
    rows = pa.RecordBatch.from_pydict({"n": pa.array(range(n)), "text": text, "hidden": hidden, "more": text})
    large, small = f"t{next(TABLES)}", f"t{next(TABLES)}"
    for table in (large, small):
        stage.create(database, table, rows.schema)
    assert rows.nbytes > stage.PIECE
    copied = stage.copy_in(database, large, [rows])
    assert copied == stage.copy_in(database, small, [rows.slice(k, 999) for k in range(0, n, 999)])
    wrong = "text != more or hidden is distinct from case when n % 2 = 0 then 'abc' end"
    assert database.execute(f"select count(*), count(hidden) from stage.{large}").fetchone() == (n, n // 2)
    assert database.execute(f"select n from stage.{large} where {wrong}").fetchall() == []


def test_a_slow_query_keeps_no_other_thread_waiting(database: Connection) -> None:
    turns, ended = 0, threading.Event()

    def others() -> None:
        nonlocal turns
        while not ended.wait(0.001):
            turns += 1

    thread = threading.Thread(target=others)
    rows = stage.read(database, "select repeat('x', 20000) as t, pg_sleep(0.1)::text as s from generate_series(1, 21)")
    thread.start()
    try:
        assert sum(b.num_rows for b in rows) == 21
    finally:
        ended.set()
        thread.join()
    assert turns > 400  # of some 1,900; as long as only the first row is waited for there are 200
