"""The gate, with Great Expectations on a real PostgreSQL: its verdicts, that no value shows, that it fails closed."""

from __future__ import annotations

import json
import logging
import re
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some

from sandbox.identities import check_digit
from sandbox.postgres import Server
from slussen import settings
from slussen.database import connect, migrate
from slussen.errors import CallError, Finding, TechnicalError
from slussen.keys import keyed
from slussen.quality import expectations
from slussen.quality import suite as suites
from slussen.quality.report import Check, GateReport
from slussen.quality.suite import Suite
from slussen.records import identities
from tests.gating import (
    LAYOUT,
    NAME,
    NUMBERS,
    STREET,
    Databases,
    databases,
    gate,
    judge,
    persons,
    staged,
    superuser,
)

__all__ = ["databases", "superuser"]  # fixtures
SECRET = "HEMLIGT"


@pytest.mark.parametrize("key", LAYOUT)
def test_what_is_right_passes(databases: Databases, key: str) -> None:
    report = gate(databases, key, persons(key))
    assert report.verdict == "pass", report.table()
    # Nobody has died, no invoice is paid or at debt collection.
    asked = [c for c in report.checks if c.field and not re.search(r"orsak AV|status [BI]", c.rule)]
    assert asked
    assert all(check.checked for check in asked)


# --- verdicts


@pytest.mark.parametrize(
    ("severity", "ok", "unexpected", "verdict"),
    [
        ("critical", True, 0, "pass"),
        ("warning", True, 0, "pass"),
        ("critical", True, 1, "warn"),  # within its tolerance
        ("warning", True, 1, "warn"),
        ("info", False, 1, "warn"),
        ("warning", False, 1, "hold"),
        ("critical", False, 1, "fail"),
    ],
)
def test_the_verdict_on_a_rule(severity: Any, ok: bool, unexpected: int, verdict: str) -> None:
    assert Check("a rule", severity, ok, 10, unexpected).verdict == verdict


def test_the_worst_verdict_is_the_reports() -> None:
    report = GateReport("f29-1", "f29")
    assert report.verdict == "pass"
    steps: tuple[tuple[Any, bool, str], ...] = (
        ("info", True, "pass"),
        ("info", False, "warn"),
        ("warning", False, "hold"),
        ("critical", True, "hold"),
        ("critical", False, "fail"),
        ("info", True, "fail"),
    )
    for severity, ok, verdict in steps:
        report.checks.append(Check("a rule", severity, ok))
        assert report.verdict == verdict


@pytest.mark.parametrize(("bad", "verdict"), [(3, "warn"), (4, "hold")])
def test_a_warning_is_a_remark_within_its_tolerance_and_holds_beyond_it(
    databases: Databases, bad: int, verdict: str
) -> None:
    groups = persons("f29")
    for records in groups[1 : 1 + bad]:
        records[0]["zip_code"] = None
    report = gate(databases, "f29", groups)
    check = next(c for c in report.checks if c.rule == "zip_code values to not be null")
    assert (report.verdict, check.unexpected, check.records) == (verdict, bad, list(range(2, 2 + bad)))
    assert f"{bad / len(groups):.2%}" in report.table()


def test_a_report_names_no_more_than_a_hundred_records(databases: Databases) -> None:
    groups = persons("f29")
    for records in groups:
        records[0]["currency"] = "NOK"
    report = gate(databases, "f29", groups)
    check = next(c for c in report.checks if not c.ok)
    assert (check.unexpected, len(check.records)) == (350, 100)
    assert len(report.findings) == 100


# --- no value anywhere


@pytest.mark.parametrize("key", LAYOUT)
def test_no_value_shows_whatever_fails(
    databases: Databases,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    groups = persons(key)
    kept = {"record_type", "person", "protected"}
    for records in groups[2:300:2]:  # whatever can be said wrongly is, in many records
        for row in records:
            row.update({c: f"{SECRET}{c}" for c, v in row.items() if isinstance(v, str) and c not in kept})
    raw: list[str] = []
    ask = expectations._ask

    def listen(*arguments: Any) -> Any:
        answers = dict(ask(*arguments))
        raw.extend(json.dumps(one.to_json_dict()["result"], default=str) for one in answers.values())
        return answers.items()

    monkeypatch.setattr(expectations, "_ask", listen)
    caplog.set_level(logging.DEBUG)
    report = gate(databases, key, groups)
    assert report.verdict == "fail"
    # only rules that don't hold for all rows are asked for records
    assert sum("unexpected_index_list" in r for r in raw) >= {
        "skv": 2,
        "ergo": 5,
        "lis_placements": 3,
        "lis_fees": 4,
        "novaschema": 5,
        "a02": 5,
    }.get(key, 7)
    text = "".join((json.dumps(report.as_dict(), ensure_ascii=False), report.table(), *map(str, report.findings), *raw,
                    caplog.text, *capfd.readouterr()))  # fmt: skip
    for value in (SECRET, NAME, NAME.upper(), STREET, STREET.upper(), *NUMBERS):
        assert value not in text


def test_a_report_is_kept_as_json_and_its_findings_name_record_field_and_column(databases: Databases) -> None:
    groups = persons("f29")
    for column in ("comp_reg_no", "zip_code", "country_code", "currency"):
        groups[1][0][column] = SECRET
    report = gate(databases, "f29", groups)
    assert GateReport.from_dict(json.loads(json.dumps(report.as_dict()))).table() == report.table()
    assert {(f.record, f.field, f.column) for f in report.findings} == {
        (2, "comp_reg_no", 132), (2, "zip_code", 1480), (2, "country_code", 847), (2, "currency", 178)
    }  # fmt: skip
    assert all(f.next_step for f in report.findings)


# --- closed


@pytest.fixture(scope="module")
def faulty(postgres: Server, databases: Databases) -> Databases:
    """Databases in which the check of personal numbers can be made to go wrong."""
    dsn = postgres.dsn("gate_faulty")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return f"{dsn} user=slussen", databases[1]


def sabotage(faulty: Databases, body: str) -> None:
    with psycopg.connect(faulty[0]) as connection:
        connection.execute(
            "create or replace function stage.is_personal_number(number text) returns boolean"
            f" language plpgsql immutable parallel safe as $$ begin {body}; end $$".encode()
        )


def test_a_database_that_quotes_a_record_closes_the_gate_and_nobody_reads_it(
    faulty: Databases, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for error in ("data_exception", "out_of_memory"):  # Great Expectations logs the second kind itself
        sabotage(faulty, f"raise exception 'not good: %', number using errcode = '{error}'")
        with pytest.raises(TechnicalError, match="the gate is closed") as caught:
            gate(faulty, "skv", persons("skv"))
        text = "".join((str(caught.value), caplog.text, *capfd.readouterr()))
        assert not any(number in text for number in NUMBERS)
        assert caught.value.__cause__ is None


def test_a_query_that_takes_too_long_closes_the_gate(faulty: Databases) -> None:
    sabotage(faulty, "perform pg_sleep(0.02); return true")
    hurried = (f"{faulty[0]} options='-c statement_timeout=1s'", faulty[1])
    with pytest.raises(TechnicalError, match="a query took too long: the gate is closed"):
        gate(hurried, "skv", persons("skv"))


def test_a_crash_within_great_expectations_closes_the_gate_without_its_words(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    import great_expectations as gx

    def crash(*_: Any, **__: Any) -> None:
        raise ValueError(f"bad value {NAME}")

    monkeypatch.setattr(gx, "ExpectationSuite", crash)
    with pytest.raises(TechnicalError, match="ValueError: the gate is closed") as caught:
        gate(databases, "skv", persons("skv"))
    assert NAME not in str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [
        {"raised_exception": True, "exception_message": NAME},
        {"('a metric', ())": {"raised_exception": True, "exception_message": NAME}},
    ],
    ids=["of an expectation", "of a metric"],
)
def test_an_exception_that_is_reported_as_a_result_closes_the_gate(shape: dict[str, Any]) -> None:
    rule = suites.load("skv").expectations[1]
    with pytest.raises(TechnicalError, match="the gate is closed") as caught:
        expectations._refuse_exceptions(rule, SimpleNamespace(exception_info=shape))
    assert NAME not in str(caught.value)


def test_a_rule_that_is_not_answered_closes_the_gate() -> None:
    rules = dict(enumerate(suites.load("skv").expectations))
    silent = SimpleNamespace(validate=lambda *_, **__: SimpleNamespace(results=[]))
    with pytest.raises(TechnicalError, match="left rules out: the gate is closed"):
        expectations._ask(silent, rules, expectations.YES_OR_NO)


def test_a_rule_that_is_answered_twice_and_not_alike_closes_the_gate(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = persons("skv")
    groups[0][0]["personnummer"] = None
    ask = expectations._ask

    def wavering(batch: Any, rules: Any, result_format: Any) -> Any:
        if result_format is expectations.WHICH:
            return [(n, SimpleNamespace(success=True, result={})) for n in rules]
        return ask(batch, rules, result_format)

    monkeypatch.setattr(expectations, "_ask", wavering)
    with pytest.raises(TechnicalError, match="not alike: the gate is closed"):
        gate(databases, "skv", groups)


@pytest.mark.parametrize("fault", ["drop column zip_code", "drop column record_no", "rename to elsewhere"])
def test_a_stage_without_a_column_or_gone_closes_the_gate(databases: Databases, fault: str) -> None:
    manifest = staged(databases, "f29", persons("f29"))
    with psycopg.connect(databases[0]) as connection:
        connection.execute(f'alter table stage."{manifest.stage}" {fault}'.encode())
    with pytest.raises(TechnicalError, match="the gate is closed"):
        judge(databases, manifest)


def test_a_stage_that_a_crash_emptied_does_not_pass(databases: Databases) -> None:
    manifest = staged(databases, "f30", persons("f30"))
    with psycopg.connect(databases[0]) as connection:
        connection.execute(f"update stage.\"{manifest.stage}\" set record_type = 'T' where record_no = 2".encode())
    with pytest.raises(TechnicalError, match="the stage is made again"):
        judge(databases, manifest)  # as many rows, not of the same types
    with psycopg.connect(databases[0]) as connection:
        connection.execute(f'truncate stage."{manifest.stage}"'.encode())
    with pytest.raises(TechnicalError, match="the stage holds 0 rows, the manifest says 1050"):
        judge(databases, manifest)


def test_an_expectation_about_no_record_type_of_the_layout_is_refused(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"expect": "ExpectColumnValuesToNotBeNull", "column": "personnummer", "only": "qestion", "severity": "info"}
    monkeypatch.setattr(suites, "load", lambda _: Suite.model_validate({"version": 1, "expectations": [rule]}))
    with pytest.raises(CallError, match="qestion, no record type of navet_infil"):
        gate(databases, "skv", persons("skv"))


def test_great_expectations_reads_the_same_server_with_the_same_limits_and_changes_nothing(
    databases: Databases,
) -> None:
    import sqlalchemy as sa

    with connect(databases[0]) as connection:
        engine = sa.create_engine(expectations.gate_url(connection))
        ours = connection.execute("select current_database(), current_user, inet_server_port()").fetchone()
    with engine.connect() as theirs:
        assert theirs.execute(sa.text("select current_database(), current_user, inet_server_port()")).one() == ours
        assert theirs.execute(sa.text("show statement_timeout")).scalar() == "15min"
        with pytest.raises(sa.exc.InternalError, match="read-only"):
            theirs.execute(sa.text("create table stage.anything (a text)"))
    engine.dispose()


def test_a_password_and_tls_settings_reach_great_expectations() -> None:
    from sqlalchemy.engine import make_url

    dsn = r"host=db.example.org port=5433 user=slussen password='p@ss:w/ö? \'' dbname=slussen sslmode=verify-full"
    url = make_url(expectations.sqlalchemy_url(dsn))
    assert (url.host, url.port, url.username, url.password, url.database) == (
        "db.example.org", 5433, "slussen", "p@ss:w/ö? '", "slussen"
    )  # fmt: skip
    assert url.query == {"sslmode": "verify-full"}
    socket = expectations.sqlalchemy_url("host=/var/run/pg user=slussen dbname=slussen")
    assert socket == "postgresql+psycopg2://slussen@localhost/slussen?host=/var/run/pg"


# --- the parser's findings, totals, references


def test_what_the_parser_found_fails_the_gate_with_its_place(databases: Databases) -> None:
    found = Finding("undefined_byte", "byte 81 does not exist in cp1252", record=3, column=12, offset=99, byte="81")
    report = gate(databases, "kir", persons("kir"), findings=[found], counts={"undefined_byte": 1})
    assert report.verdict == "fail"
    assert "record 3" in str(report.findings[0])


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_control_total_that_disagrees_by_one_fails(databases: Databases, difference: int) -> None:
    manifest = staged(databases, "skv", persons("skv"))
    right = manifest.totals | {"declared": manifest.records, "records": manifest.records}
    assert judge(databases, manifest.but(totals=right)).verdict == "pass"
    report = judge(databases, manifest.but(totals=right | {"declared": manifest.records + difference}))
    assert [c.rule for c in report.checks if not c.ok] == ["control total"]
    assert report.verdict == "fail"


def test_an_invoice_needs_its_customer_in_a_delivered_interchange(databases: Databases) -> None:
    with psycopg.connect(databases[0]) as connection:
        for who, key in zip(NUMBERS, keyed(NUMBERS), strict=True):
            interchange = "f29-held" if who == NUMBERS[7] else "f29-sent"
            connection.execute("insert into sent.key values ('f29', %s, 'customer', %s)", (interchange, key))
        connection.execute("insert into sent.key values ('f30', 'f29-sent', 'key', %s)", (next(keyed([NUMBERS[7]])),))
    report = gate(databases, "f30", persons("f30"), references=["f29-sent"])
    check = next(c for c in report.checks if c.rule == "customers of invoices were delivered")
    assert (check.ok, check.checked, check.unexpected, check.records) == (False, len(NUMBERS), 1, [22])
    assert report.verdict == "fail"
    assert gate(databases, "f30", persons("f30"), references=["f29-sent", "f29-held"]).verdict == "pass"
    none = gate(databases, "f30", persons("f30"), references=[])
    check = next(c for c in none.checks if c.rule == "customers of invoices were delivered")
    assert (check.unexpected, len(check.records)) == (350, 100)


# --- personal numbers: one rule in the parser and in the database


@given(
    born=some.dates(date(1800, 1, 1), date(2199, 12, 31)).map(lambda d: f"{d:%Y%m%d}"),
    tail=some.from_regex(r"[0-9JKLMNRSTUWX][0-9]{2}", fullmatch=True),
    coordination=some.booleans(),
    spoil=some.one_of(some.none(), some.tuples(some.integers(0, 11), some.sampled_from("0123456789TXAIOQ -ÅÄ"))),
)
@effort(max_examples=1500, deadline=None)
def test_the_database_and_the_parser_agree_on_personal_numbers(
    databases: Databases, born: str, tail: str, coordination: bool, spoil: tuple[int, str] | None
) -> None:
    day = int(born[6:]) + (60 if coordination else 0)
    nine = f"{born[2:6]}{day:02}{tail}"
    number = born[:2] + nine + str(check_digit("".join("1" if c.isalpha() else c for c in nine)))
    if spoil is not None:
        at, letter = spoil
        number = number[:at] + letter + number[at + 1 :]
    parsed = number.isascii() and bool(identities.valid(np.frombuffer(number.encode(), np.uint8).reshape(1, 12))[0])
    assert _asked(databases[0], number) == parsed


def _asked(dsn: str, number: str) -> bool:
    if dsn not in CONNECTIONS:
        CONNECTIONS[dsn] = connect(dsn, autocommit=True)
    row = CONNECTIONS[dsn].execute("select stage.is_personal_number(%s)", (number,)).fetchone()
    return bool(row and row[0])


CONNECTIONS: dict[str, Any] = {}


@pytest.mark.parametrize("text", ["", " ", "1", "19500102980", "1950010298050", "ÅÄÖ", "19500102-980", "'", "\t"])
def test_what_is_no_number_at_all_is_no_personal_number(databases: Databases, text: str) -> None:
    assert not _asked(databases[0], text)
