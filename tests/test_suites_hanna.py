"""The suites of HANNA's and its partners' files: a good file holds for all lines, and each stops what it is about.

Each expectation is broken by its own kind of fault, in as many records as its tolerance needs, in records of their own.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from sandbox.identities import number
from slussen.database import connect
from slussen.errors import Findings
from slussen.manifest import Manifest
from slussen.quality import suite as suites
from slussen.quality.duties import Duties
from slussen.quality.gate import run_gate
from slussen.quality.report import GateReport
from slussen.quality.suite import Rule
from slussen.records import layout as layouts
from slussen.records import stage
from slussen.records.layout import Layout
from slussen.records.parse import Parsed
from slussen.records.zipped import Zipped
from slussen.staging import new_table
from tests.gating import Databases, Row, databases, superuser
from tests.test_bad_input import INCOMING, declared

__all__ = ["databases", "superuser"]  # fixtures
KEYS = [key for key in INCOMING if key not in ("kir", "a02", "skv")]  # tests/test_suites.py has those
UNKNOWN = [number(date(1931, 1, 1 + n), 990) for n in range(28)]  # persons who are in no file
WRONG = "198911222398"  # a check digit that isn't right
# What a pattern must not match, or must, and can't be made from it.
MATCHING = {"^0000$": "0000", "[[:space:]]": "e 1", "^9$": "9"}


@cache
def rows_of(key: str) -> list[Row]:
    """The records of a good file."""
    i = declared()[key]
    layout, findings = layouts.load(i.layout), Findings()
    data = INCOMING[key].good(1)
    parsed: Zipped | Parsed = Zipped(io.BytesIO(data), layout, findings)
    if layout.kind != "zip":
        parsed = Parsed(io.BytesIO(data), layout, i.source.encoding, i.source.frame, findings)
    found = [row for batch in map(layout.data_of, parsed) for row in batch.to_pylist()]
    assert not findings
    return found


def gate(
    databases: Databases, key: str, rows: list[Row], *, interchange: str = "", duties: Duties | None = None
) -> GateReport:
    """These records through the gate."""
    i = declared()[key]
    layout, table = layouts.load(i.layout), new_table(key)
    schema = layout.data_schema
    for n, row in enumerate(rows, 1):
        row["record_no"] = n
    columns = [pa.array([r[f.name] for r in rows], f.type) for f in schema]
    with connect(databases[0]) as connection:
        stage.create(connection, table, schema)
        stage.copy_in(connection, table, [pa.RecordBatch.from_arrays(columns, schema=schema)])
    manifest = Manifest(
        integration=key,
        interchange=interchange or f"{key}-1",
        stage=table,
        records=len(rows),
        totals={"rows": len(rows)},
    )
    return run_gate(manifest=manifest, layout=layout, policy=i.persons, kind="relay", stage_dsn=databases[0],
                    bosko_dsn=databases[1], duties=duties)  # fmt: skip


# --- how a line is broken


def breaks(rule: Rule, layout: Layout, rows: list[Row], fresh: Iterator[str]) -> Callable[[Row], None]:
    """What does to a record that which this expectation is against."""
    w, column = rule.arguments, rule.column or ""
    f = layout.field(column)

    def put(**values: Any) -> Callable[[Row], None]:
        return lambda row: row.update(values)

    match rule.expect.removeprefix("Expect"):
        case "ColumnValuesToNotBeNull":
            return put(**{column: None})
        case "ColumnValuesToBeNull":
            return put(**{column: 1 if f and f.type == "integer" else "X"})
        case "ColumnValuesToBeInSet":
            return put(**{column: _typed(f, 7)})
        case "ColumnValuesToMatchRegex":
            return put(**{column: "?"})
        case "ColumnValuesToNotMatchRegex":
            return put(**{column: MATCHING[w["regex"]]})
        case "ColumnValuesToBeBetween":
            beyond = w["min_value"] - 0.5 if "min_value" in w else w["max_value"] + 1
            return put(**{column: _typed(f, int(beyond) if beyond >= 0 else -1)})
        case "ColumnValuesToBePersonalNumbers":
            return put(**{column: WRONG})
        case "ColumnPairValuesAToBeGreaterThanB":
            day, before = date(2025, 9, 1), date(2025, 9, 1) - timedelta(days=1)
            a = layout.field(w["column_A"])
            dated = a is not None and a.type == "date"
            return put(**{w["column_A"]: before if dated else "20240101", w["column_B"]: day if dated else "20250101"})
        case "ColumnValuesToHaveARecord":
            return lambda row: row.update({column: next(fresh)})
        case "ColumnValuesToBeUnique" | "CompoundColumnsToBeUnique":
            names = [column] if column else w["column_list"]
            like = next(
                r for r in rows if rule.only in (None, r["record_type"]) and all(r[n] is not None for n in names)
            )
            return put(**{n: like[n] for n in names})
    raise AssertionError(f"{rule}: no way to break it")


def _typed(f: Any, value: int) -> Any:
    """A number as the field has it; no code list has a 7, and no text."""
    match f.type:
        case "integer":
            return value
        case "decimal":
            return Decimal(value)
    return str(value)


def victims(rule: Rule, rows: list[Row], taken: set[int]) -> list[Row]:
    """Records that the line is about, as many as it takes to go beyond its tolerance, none of them taken before."""
    about = [r for r in rows if rule.only in (None, r["record_type"])]
    if not about:  # a type that must not be there
        about = [r for r in rows if id(r) not in taken][:2]
        for row in about:
            row["record_type"] = rule.only
    applies = [r for r in about if _applies(rule, r)]
    n = int((1 - rule.mostly) * max(len(applies), 6)) + 2  # two: of doubles only one may be named
    chosen = [r for r in (*applies, *about) if id(r) not in taken and (r in applies or rule.where or rule.given)]
    chosen = list({id(r): r for r in chosen}.values())[-n:] if rule.expect.endswith("Unique") else chosen[:n]
    for row in chosen:
        taken.add(id(row))
        row.update(rule.where)
        if rule.given and row[rule.given] is None:
            row[rule.given] = "199001019802"
    return chosen


def _applies(rule: Rule, row: Row) -> bool:
    return all(row[k] == v for k, v in rule.where.items()) and (not rule.given or row[rule.given] is not None)


# --- the tests


@pytest.mark.parametrize("key", KEYS)
def test_a_good_file_holds_for_every_line(databases: Databases, key: str) -> None:
    report = gate(databases, key, [dict(r) for r in rows_of(key)])
    assert [c.rule for c in report.checks if not c.ok] == []


@pytest.mark.parametrize("key", KEYS)
def test_every_line_stops_what_it_is_about(databases: Databases, key: str) -> None:
    layout = layouts.load(declared()[key].layout)
    rules = [r for r in suites.load(key).expectations if not r.expect.startswith("ExpectTable")]
    fresh = iter(UNKNOWN * 4)
    while rules:
        # As many lines at a time as there are records for.
        rows, taken, broken = [dict(r) for r in rows_of(key)], set[int](), []
        while rules:
            free = sum(1 for r in rows if rules[0].only in (None, r["record_type"]) and id(r) not in taken)
            need = int((1 - rules[0].mostly) * len(rows)) + 8
            if broken and free < need:
                break
            rule = rules.pop(0)
            chosen = victims(rule, rows, taken)
            assert chosen, rule
            spoil = breaks(rule, layout, rows, fresh)
            for row in chosen:
                spoil(row)
            broken.append((rule, chosen))
        report = gate(databases, key, rows)
        checks = {check.rule: check for check in report.checks}
        for rule, chosen in broken:
            check = checks[str(rule)]
            assert not check.ok, (str(rule), check.checked, len(chosen))
            assert {r["record_no"] for r in chosen} & set(check.records), str(rule)


@pytest.mark.parametrize("key", KEYS)
def test_a_table_without_rows_does_not_pass(databases: Databases, key: str) -> None:
    report = gate(databases, key, [])
    assert report.verdict == ("hold" if key == "skv_reply" else "fail")
