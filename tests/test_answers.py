"""`slussen today` and `slussen why`: every state of the ledger has its colour and its sentence, and they are quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from itertools import count
from typing import Any

import psycopg
import pytest

from sandbox.postgres import Server
from slussen import settings
from slussen.catalogue import Row
from slussen.database import migrate
from slussen.lateness import STOCKHOLM
from slussen.ledger import Ledger
from slussen.ledger.intervals import names
from slussen.ledger.states import SETTLED, STATES
from slussen.sentences import ENDINGS, QUIET, SENTENCES
from slussen.standing import Standing, standings
from slussen.timetables import At
from slussen.why import why
from tests.answering import A02, ASK, F30, FORM, LOOKS, ROWS, TWICE, at, row

NAMES = count(1)
TONIGHT = at("12 20:00")
FINDING = {"rule": "reference", "message": "no such customer", "record": 211, "field": "ext_ord_ref", "column": 66}


@pytest.fixture
def owner(postgres: Server) -> str:
    dsn = postgres.dsn(f"answers{next(NAMES)}")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return dsn


@pytest.fixture
def ledger(owner: str) -> Ledger:
    return Ledger(f"{owner} user=slussen")


def write(ledger: Ledger, row: Row, start: datetime, *events: tuple[str, Mapping[str, Any]], name: str = "") -> str:
    stream = f"{row.key}-{name}" if name else names(row.integration, start)[0]
    for kind, data in events:
        more = {"interval": start.isoformat(), "name": f"{name}.txt"} if kind == "collected" else {}
        ledger.append(stream, kind, {**more, **data}, integration=row.key)
    return stream


def one(ledger: Ledger, row: Row, now: datetime) -> Standing:
    return next(s for s in standings(ROWS, ledger, now) if s.row is row)


STAGED = ("staged", {"table": "t", "records": 2014})
PASSED = ("gated", {"verdict": "pass"})
CONTENT = ("content", {"name": "FD-F30.txt", "bytes": 9, "records": 2014, "sha256": "ab" * 32})
CLAIM = ("claim", {"attempt": 1})
DELIVERED = ("delivered", {"name": "FD-F30.txt", "bytes": 9, "sha256": "ab" * 32, "inferred": False})
QUARANTINED = ("quarantined", {"at": "gate", "findings": [FINDING], "total": 1})
FAILED = ("failed", {"at": "deliver", "reason": "partner refused", "class": "refused"})
RECEIPTED = ("receipt", {"kind": "delivery", "outcome": "accepted"})
HELD = ("held", {"at": "gate", "findings": [FINDING | {"record": n} for n in range(211, 225)]})


@pytest.mark.parametrize(
    ("events", "now", "state", "colour", "slack"),
    [
        ((), "12 20:10", "waiting", "green", 11 * 60 + 20),
        ((), "13 06:00", "waiting", "amber", 90),
        ((), "13 07:10", "waiting", "red", 20),
        ((), "13 07:40", "missed", "red", -10),
        ((STAGED,), "12 20:10", "staged", "green", 680),
        ((STAGED,), "13 06:10", "staged", "amber", 80),
        ((STAGED, PASSED, CONTENT, CLAIM), "13 07:10", "delivering", "red", 20),
        ((STAGED, ("gated", {"verdict": "hold"}), HELD), "13 03:12", "held", "amber", 258),
        ((STAGED, HELD), "13 07:12", "held", "red", 18),
        ((STAGED, PASSED, CONTENT, CLAIM, DELIVERED), "13 07:12", "delivered", "green", None),
        ((("skipped", {"reason": "not a night of the debiting calendar"}),), "13 07:12", "skipped", "green", None),
        ((STAGED, QUARANTINED), "12 20:20", "quarantined", "red", 670),
        ((STAGED, PASSED, ("unknown", {"attempt": 1, "message": "m"})), "12 21:30", "unknown", "amber", 600),
        ((STAGED, FAILED), "12 21:30", "staged", "red", 600),
        ((STAGED, ("failed", FAILED[1] | {"class": "transport"})), "12 21:30", "staged", "amber", 600),
        ((("missed", {"reason": "never ran"}),), "13 08:30", "missed", "red", -60),
    ],
)  # fmt: skip
def test_every_state_has_its_colour_and_its_slack(
    ledger: Ledger, events: tuple[tuple[str, Mapping[str, Any]], ...], now: str, state: str, colour: str,
    slack: int | None,
) -> None:  # fmt: skip
    write(ledger, F30, TONIGHT, *events)
    s = one(ledger, F30, at(now))
    assert (s.state, s.colour) == (state, colour)
    assert (s.slack.total_seconds() / 60 if s.slack is not None else None) == slack
    assert s.open == (slack is not None)
    json.dumps(s.as_dict())


def test_the_worst_comes_first_and_then_what_has_the_least_time(ledger: Ledger) -> None:
    write(ledger, F30, TONIGHT, STAGED, ("quarantined", {"at": "gate", "findings": []}))
    write(ledger, TWICE, at("13 04:25"), STAGED, PASSED, CONTENT, DELIVERED)
    write(ledger, A02, at("12 06:30"), ("collected", {"bytes": 9, "sha256": "c"}), name="f03")
    found = standings(ROWS, ledger, at("13 04:50"))
    assert [(s.row.key, s.state) for s in found[:2]] == [("f30", "quarantined"), ("a02", "collected")]
    assert [s.colour for s in found] == sorted([s.colour for s in found], key=["red", "amber", "green"].index)
    assert {s.row.key: s.state for s in found if s.row.key not in ("f30", "a02")} == {
        "f103": "delivered", "ask": "nothing came", "answer": "nothing came", "looks": "nothing came",
        "form": "by hand",
    }  # fmt: skip
    assert next(s for s in found if s.row is TWICE).next == at("13 04:55")


def test_both_moments_of_a_morning_count_and_so_do_all_files_of_a_look(ledger: Ledger) -> None:
    write(ledger, TWICE, at("13 04:25"), STAGED, ("quarantined", {"at": "gate", "findings": []}))
    write(ledger, TWICE, at("13 04:55"), STAGED, PASSED, CONTENT, DELIVERED)
    assert one(ledger, TWICE, at("13 08:00")).state == "quarantined"
    write(ledger, ASK, at("13 09:00"), ("collected", {"bytes": 1, "sha256": "a"}), DELIVERED, name="a")
    write(ledger, ASK, at("13 09:00"), ("collected", {"bytes": 1, "sha256": "b"}), HELD, name="b")
    write(ledger, ASK, at("12 09:00"), ("collected", {"bytes": 1, "sha256": "c"}), DELIVERED, name="c")
    asked = one(ledger, ASK, at("13 10:00"))
    assert asked.state == "held"
    assert {i.id for i in asked.interchanges} == {"ask-a", "ask-b"}


def test_what_is_not_settled_stays_in_sight_whatever_comes_after_it(ledger: Ledger) -> None:
    """A look's file that is held, a night that failed: the next interval doesn't hide them."""
    write(ledger, LOOKS, at("12 10:15"), ("collected", {"bytes": 1, "sha256": "a"}), STAGED, HELD, name="a")
    looked = one(ledger, LOOKS, at("13 00:10"))
    assert (looked.state, [i.id for i in looked.interchanges]) == ("held", ["looks-a"])
    write(ledger, F30, at("10 20:00"), STAGED, FAILED)
    write(ledger, F30, TONIGHT, STAGED, PASSED, CONTENT, DELIVERED)
    night = one(ledger, F30, at("13 08:00"))
    assert (night.state, night.colour, night.note) == ("staged", "red", "failed at deliver")
    assert night.start == at("10 20:00")
    write(ledger, F30, at("10 20:00"), DELIVERED)
    assert one(ledger, F30, at("13 08:00")).state == "delivered"


def test_of_two_moments_of_a_morning_the_one_that_left_nothing_counts_too(ledger: Ledger) -> None:
    write(ledger, TWICE, at("13 04:55"), STAGED, PASSED, CONTENT, DELIVERED)
    assert one(ledger, TWICE, at("13 08:00")).state == "waiting", "the first one's run may still come"
    assert one(ledger, TWICE, at("13 08:00")).start == at("13 04:25")


def test_what_a_row_before_it_has_stopped_says_so(ledger: Ledger) -> None:
    first = row("f102", TWICE.timetable)
    second = replace(TWICE, after=(first.integration,))
    write(ledger, first, at("13 04:25"), STAGED, QUARANTINED)
    stopped = "f102, which comes before it, is quarantined"
    (found,) = [s for s in standings([first, second], ledger, at("13 04:40")) if s.row is second]
    assert (found.state, found.note) == ("waiting", stopped)
    assert stopped in told(ledger, second, "13 04:40", date(2026, 1, 13))
    write(ledger, first, at("13 04:25"), DELIVERED)
    assert stopped not in told(ledger, second, "13 04:40", date(2026, 1, 13))


def test_the_note_of_what_was_refused_says_by_whom(ledger: Ledger) -> None:
    write(ledger, F30, TONIGHT, STAGED, HELD, ("refused", {"by": "admin", "at": "2026-01-13T05:00:00+00:00"}))
    assert one(ledger, F30, at("13 05:10")).note == "refused by admin"


def test_the_eta_is_what_the_last_ones_took_and_a_simulated_day_says_nothing(ledger: Ledger) -> None:
    from datetime import UTC, timedelta

    from slussen.ledger.intervals import ended

    now = datetime.now(UTC).replace(microsecond=0)
    for minutes in (10, 30, 20):
        write(ledger, F30, now - timedelta(minutes=minutes), STAGED, DELIVERED)
    write(ledger, F30, TONIGHT, STAGED, DELIVERED)  # of January: done months after
    write(ledger, F30, now - timedelta(minutes=5), STAGED)  # not done
    lags = ended(ledger, ["f30", "a02"])
    assert sorted(round(lag.total_seconds() / 60) for lag in lags["f30"]) == [10, 20, 30]
    tonight = one(ledger, F30, at("13 20:05"))
    assert tonight.eta is not None
    assert round((tonight.eta - at("13 20:00")).total_seconds() / 60) == 20


def test_an_overdue_receipt_is_amber_until_it_comes(ledger: Ledger) -> None:
    collected = ("collected", {"bytes": 1, "sha256": "a"})
    overdue = ("overdue", {"kind": "delivery", "due": at("13 11:00").isoformat()})
    awaiting = ("awaiting", {"receipts": [{"kind": "delivery", "due": at("13 11:00").isoformat()}]})
    write(ledger, ASK, at("13 09:00"), collected, CONTENT, DELIVERED, awaiting, overdue, name="a")
    assert (one(ledger, ASK, at("13 12:00")).colour, one(ledger, ASK, at("13 12:00")).note) == (
        "amber",
        "overdue: delivery",
    )
    write(ledger, ASK, at("13 09:00"), ("receipt", {"kind": "delivery", "outcome": "accepted"}), name="a")
    assert one(ledger, ASK, at("13 12:00")).colour == "green"


def test_every_event_and_every_state_of_the_ledger_has_its_sentence() -> None:
    assert set(STATES) <= set(SENTENCES) | QUIET
    assert {*STATES.values(), *SETTLED, "waiting"} <= set(ENDINGS)


def told(ledger: Ledger, row: Row, now: str, on: date | None = None) -> str:
    return "\n".join(s for c in why(row, ledger, at(now), on).chapters for s in c.sentences)


@pytest.mark.parametrize(
    ("events", "now", "sentences"),
    [
        ((("skipped", {"reason": "not a night of the debiting calendar"}),), "13 08:00",
         ["skipped: not a night of the debiting calendar"]),
        ((STAGED, ("gated", {"verdict": "hold"}), HELD), "13 03:12",
         ["staged, 2,014 records", "held by the gate: 14 records, rule reference 14; the first: record 211,",
          "waits for a person", "runbook.md#held"]),
        ((STAGED, HELD, ("refused", {"by": "its cut-off", "at": "x"})), "13 08:00",
         ["refused by its cut-off: nothing was sent", "it goes no further"]),
        ((STAGED, PASSED, CONTENT, CLAIM, DELIVERED, RECEIPTED), "13 08:00",
         ["passed by the gate", "delivered as FD-F30.txt, 9 bytes, sha256 abababababab", "receipted (proof of del"]),
        ((STAGED, PASSED, CONTENT, CLAIM, FAILED), "13 08:00",
         ["delivery, attempt 1", "failed at deliver (the partner said no): partner refused", "runbook.md#failed"]),
        ((STAGED, QUARANTINED), "13 08:00",
         ["quarantined at gate: 1 record, rule reference 1; the first: record 211, field ext_ord_ref, column 66"]),
        ((("missed", {"reason": "never ran"}),), "13 08:00", ["missed: never ran"]),
        ((), "12 19:00", ["its window opens 20:00: that is still to come"]),
        ((), "12 22:00", ["is open until 2026-01-13 07:30: nothing has come yet", "its cut-off is 2026-01-13 07:30"]),
        ((), "13 09:00", ["its window closed 2026-01-13 07:30 with nothing", "it never ran"]),
    ],
)  # fmt: skip
def test_why_tells_the_chain(
    ledger: Ledger, events: tuple[tuple[str, Mapping[str, Any]], ...], now: str, sentences: list[str]
) -> None:
    write(ledger, F30, TONIGHT, *events)
    text = told(ledger, F30, now, date(2026, 1, 12))
    for sentence in sentences:
        assert sentence in text


def test_why_without_a_day_is_about_the_latest_interval(ledger: Ledger) -> None:
    assert why(F30, ledger, at("13 03:12")).day == date(2026, 1, 12)
    assert why(TWICE, ledger, at("13 04:50")).day == date(2026, 1, 13)


def test_why_names_the_day_that_has_no_run_and_the_next(ledger: Ledger) -> None:
    text = told(ledger, ASK, "7 12:00", date(2026, 1, 6))
    assert "not scheduled on 2026-01-06, a Tuesday, Epiphany: it runs weekdays 09:00" in text
    assert "the next run is Wednesday 2026-01-07 09:00" in text
    assert "not scheduled on 2026-01-11, a Sunday" in told(ledger, F30, "13 12:00", date(2026, 1, 11))


def test_why_says_that_no_file_came_and_whether_that_is_fine(ledger: Ledger) -> None:
    assert "no file ASK*.TXT at hanna has come yet" in told(ledger, ASK, "13 12:00", date(2026, 1, 13))
    text = told(ledger, ASK, "14 12:00", date(2026, 1, 13))
    assert "left nothing in the ledger: no file ASK*.TXT at hanna" in text
    assert "that is fine" in text
    assert "it never ran" in told(ledger, A02, "14 12:00", date(2026, 1, 13))
    assert "looked for every 15 minutes: nothing came on 2026-01-13" in told(
        ledger, LOOKS, "14 12:00", date(2026, 1, 13)
    )
    assert "nothing has come yet on 2026-01-13" in told(ledger, LOOKS, "13 12:00", date(2026, 1, 13))
    assert "2026-01-15 is still to come" in told(ledger, LOOKS, "13 12:00", date(2026, 1, 15))
    assert "started by hand" in told(ledger, FORM, "14 12:00")
    assert "is ours from 2026-01-01" in told(ledger, A02, "14 12:00", date(2025, 12, 20))


@pytest.mark.parametrize("start", ["00:00", "23:59"])
def test_a_file_that_a_run_by_hand_collected_is_told_of_on_its_day(ledger: Ledger, start: str) -> None:
    data = {"name": "ASK.TXT", "bytes": 3, "sha256": "x", "run": "manual"}
    collected = ledger.append("ask-x", "collected", data, integration="ask").at.astimezone(STOCKHOLM)
    answer = why(replace(ASK, timetable=At(start)), ledger, collected, collected.date())
    assert "ask-x" in [c.interchange for c in answer.chapters]


# --- quick


@pytest.fixture(scope="module")
def big(postgres: Server) -> Iterator[str]:
    """A ledger of 100,000 interchanges, eight events each; its chain is of no account here."""
    dsn = postgres.dsn("answersbig")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    keys = [row.key for row in ROWS]
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            insert into ledger.event (seq, id, at, stream, nth, integration, kind, body, prev, hash)
            select
                (n - 1) * 8 + k, gen_random_uuid(), moment, key || '-' || to_char(utc, 'YYYYMMDD"T"HH24MISS"Z"'),
                k, key,
                (array['collected', 'staged', 'gated', 'content', 'claim', 'uploaded', 'delivered', 'awaiting'])[k],
                case k when 1 then jsonb_build_object('interval', to_char(utc, 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'))::text
                    when 3 then '{"verdict": "pass"}'
                    when 8 then '{"receipts": [{"kind": "delivery", "due": "2026-01-13T00:00:00+00:00"}]}'
                    else '{"name": "n", "sha256": "s", "attempt": 1}' end,
                '\\x00', '\\x00'
            from generate_series(1, 100000) n
            cross join lateral (
                select '2026-01-12'::timestamptz - (100000 - n) * interval '5 minutes' as moment,
                    (%s::text[])[1 + n %% %s] as key
            ) a
            cross join lateral (select moment at time zone 'UTC' as utc) b
            cross join generate_series(1, 8) k
            """,
            (keys, len(keys)),
        )
        # All but a hundred have had their receipt.
        connection.execute(
            """
            insert into ledger.event (seq, id, at, stream, nth, integration, kind, body, prev, hash)
            select 800000 + row_number() over (), gen_random_uuid(), at, stream, 9, integration, 'receipt',
                '{"kind": "delivery", "outcome": "accepted"}', '\\x00', '\\x00'
            from ledger.event where kind = 'awaiting' and seq % 8000 <> 0
            """
        )
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze ledger.event")
    yield f"{dsn} user=slussen"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop schema ledger cascade")


def test_today_why_and_obligations_take_under_two_seconds_with_100000_interchanges(big: str) -> None:
    from slussen.obligations import obligations

    ledger = Ledger(big)
    took: dict[str, float] = {}
    for name, ask in (
        ("today", lambda: standings(ROWS, ledger, at("12 00:30"))),
        ("why", lambda: why(F30, ledger, at("12 00:30"), date(2026, 1, 10))),
        ("obligations", lambda: obligations(ROWS, ledger, at("12 00:30"))),
    ):
        began = time.perf_counter()
        answer = ask()
        took[name] = time.perf_counter() - began
        if name == "obligations":
            assert sum(o.kind == "receipt" for o in answer) == 100  # type: ignore[union-attr]
    assert max(took.values()) < 2, took


@pytest.mark.parametrize("command", [["today"], ["why", "f30", "2026-01-10"], ["obligations"]])
def test_the_command_line_answers_in_a_table_and_in_json(big: str, command: list[str]) -> None:
    environment = os.environ | {"SLUSSEN_DATABASE": big}
    cli = [sys.executable, "-m", "slussen.cli", *command, "--at", "2026-01-12T00:30"]
    table = subprocess.run(cli, check=True, capture_output=True, text=True, env=environment)
    assert "f30" in table.stdout
    plain = subprocess.run([*cli, "--json"], check=True, capture_output=True, text=True, env=environment)
    assert json.loads(plain.stdout)
