"""A02, Agresso's report back: what Agresso makes of our own invoices, into BoSko, in whatever order files come."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox import agresso, bosko
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen import settings
from slussen.database import connect
from slussen.errors import Findings
from slussen.manifest import Manifest
from slussen.merging import merge
from slussen.quality import suite as suites
from slussen.quality.duties import Duties, reasons
from slussen.quality.gate import run_gate
from slussen.quality.report import GateReport
from slussen.records import layout as layouts
from slussen.records import stage
from slussen.records.parse import Parsed
from slussen.staging import new_table
from tests.rows import Town, moment

NIGHT = moment(FIRST_DAY)
LATER = FIRST_DAY + timedelta(days=45)


class Ledger(Town):
    """A town whose invoices have gone to Agresso; and a way to load what comes back, as the DAG does."""

    def stage(self, content: bytes, name: str) -> Manifest:
        layout, findings, table = layouts.load("a02"), Findings(), new_table(f"a02-{name}")
        with connect(self.dsn["slussen"]) as connection:
            parsed = Parsed(io.BytesIO(content), layout, "cp1252", "crlf", findings)
            stage.create(connection, table, layout.data_schema)
            copied = stage.copy_in(connection, table, map(layout.data_of, parsed))
        assert not findings, list(findings)[:3]
        return Manifest(integration="a02", interchange=f"a02-{name}", name="F03-PROCAPITA.txt", sha256=parsed.sha256,
                        records=parsed.records, stage=table, totals={"rows": copied.rows}, header=parsed.header,
                        made_from=(parsed.sha256,))  # fmt: skip

    def load(self, content: bytes, name: str) -> dict[str, int]:
        return merge(
            self.integrations["a02"], self.stage(content, name), self.ledger, source=self.dsn["slussen"],
            target=self.dsn["bosko"], sql=settings.SQL, now=datetime(2026, 3, 1, tzinfo=UTC),
        )  # fmt: skip

    def judge(self, manifest: Manifest, sent: list[str]) -> GateReport:
        i = self.integrations["a02"]
        return run_gate(
            manifest=manifest, layout=layouts.load("a02"), policy="pass", kind="load", stage_dsn=self.dsn["slussen"],
            bosko_dsn=self.dsn["bosko"], references=sent,
            duties=Duties(at(LATER), (), reasons(i, suites.load("a02"))),
        )  # fmt: skip

    def ledger_rows(self) -> list[tuple[Any, ...]]:
        with self.change() as connection:
            return connection.execute(
                "select order_id, amount, rest, status, paid_on, reminder_level, as_of, file_no from bosko.receivable"
                " order by 1"
            ).fetchall()


@pytest.fixture(scope="module")
def invoiced(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, list[agresso.Order]]:
    town = Ledger(postgres, tmp_path_factory.mktemp("a02"))
    bosko.debit(town.owner["bosko"], FIRST_DAY)
    folder = tmp_path_factory.mktemp("agresso")
    for key in ("f29", "f30"):
        (folder / f"FD-{key.upper()}-20260112-0001.txt").write_bytes(town.send(key, NIGHT)[1])
    found = agresso.orders(folder)
    assert {o.customer for o in found} <= agresso.customers(folder)
    return town, found


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 6, 12, 30, tzinfo=UTC)


def test_agresso_reads_the_sum_that_was_sent(invoiced: tuple[Ledger, list[agresso.Order]]) -> None:
    town, orders = invoiced
    content = next(e for e in town.ledger.events(f"f30-{NIGHT:%Y%m%dT%H%M%SZ}") if e.kind == "content")
    assert sum(o.amount for o in orders) * 100 == content.data["totals"]["sum.amount"] > 0


def test_a_report_passes_the_gate(invoiced: tuple[Ledger, list[agresso.Order]]) -> None:
    town, orders = invoiced
    sent = [f"f29-{NIGHT:%Y%m%dT%H%M%SZ}"]
    report = town.judge(town.stage(agresso.report(orders, at(LATER), 45), "passes"), sent)
    assert report.verdict == "pass", report.table()
    assert report.without["duplicates: same business keys"].startswith("a full snapshot")
    assert town.judge(town.stage(agresso.report(orders, at(LATER), 45), "unknown"), []).verdict == "hold"


def test_what_is_reported_and_outstanding_is_what_was_sent(invoiced: tuple[Ledger, list[agresso.Order]]) -> None:
    town, orders = invoiced
    counts = town.load(agresso.report(orders, at(LATER), 45), "control")
    total = int(sum(o.amount for o in orders) * 100)
    assert counts["reported_ore"] + counts["outstanding_ore"] == total
    assert 0 < counts["outstanding_ore"] < counts["reported_ore"]
    assert counts["inserted"] == len(orders)
    with town.change() as connection:
        connection.execute("truncate bosko.receivable, bosko.receivable_load")


def test_files_in_any_order_leave_the_same_ledger(invoiced: tuple[Ledger, list[agresso.Order]]) -> None:
    town, orders = invoiced
    files = [agresso.report(orders, at(FIRST_DAY + timedelta(days=d)), 1 + d) for d in (1, 20, 45)]
    ends = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 2, 1, 0)):
        for step, n in enumerate(order):
            town.load(files[n], f"{''.join(map(str, order))}-{step}")
        ends.append(town.ledger_rows())
        with town.change() as connection:
            connection.execute("truncate bosko.receivable, bosko.receivable_load")
    assert all(end == ends[0] for end in ends)
    assert {row[3] for row in ends[0]} >= {"B", "O"}


def test_what_was_closed_before_still_counts_and_an_older_file_that_comes_late_tells_nothing(
    invoiced: tuple[Ledger, list[agresso.Order]],
) -> None:
    town, orders = invoiced
    total = int(sum(o.amount for o in orders) * 100)
    full = town.load(agresso.report(orders, at(LATER), 45), "all")
    left = [o for o in orders if agresso.item(o, LATER).status not in "BK"]
    assert 0 < len(left) < len(orders)
    without = town.load(agresso.report(left, at(LATER + timedelta(days=1)), 46), "without those closed")
    late = town.load(agresso.report(orders[:10], at(FIRST_DAY + timedelta(days=1)), 2), "late")
    assert late["older_ignored"] == 10
    for counts in (full, without, late):
        assert counts["reported_ore"] + counts["outstanding_ore"] == total
        assert counts["outstanding_ore"] == full["outstanding_ore"]
    with town.change() as connection:
        connection.execute("truncate bosko.receivable, bosko.receivable_load")


def test_of_two_files_of_a_day_the_one_with_the_higher_number_holds(
    invoiced: tuple[Ledger, list[agresso.Order]],
) -> None:
    town, orders = invoiced
    early = [agresso.Order(o.order_id, o.customer, o.client, o.voucher_type, o.made, o.amount) for o in orders]
    late = agresso.report(early, at(LATER), 46)
    first = agresso.report(orders[:1], at(LATER), 45)
    town.load(late, "46")
    assert town.load(first, "45")["older_ignored"] == 1
    assert {row[7] for row in town.ledger_rows()} == {46}


def test_a_merge_that_is_repeated_changes_nothing_and_still_counts_the_money(
    invoiced: tuple[Ledger, list[agresso.Order]],
) -> None:
    town, orders = invoiced
    content = agresso.report(orders, at(LATER), 47)
    first = town.load(content, "again")
    before = town.ledger_rows()
    second = town.load(content, "again")
    assert town.ledger_rows() == before
    assert {k: n for k, n in second.items() if not k.endswith("_ore")} == dict.fromkeys(
        [k for k in second if not k.endswith("_ore")], 0
    )
    money = ("reported_ore", "outstanding_ore")
    assert [second[k] for k in money] == [first[k] for k in money]


@pytest.mark.parametrize(
    ("order", "digits"), [(38000001, "3800000104"), (1234567, "123456790")], ids=["of an order", "of the standard"]
)
def test_a_payment_reference_has_its_length_and_a_check_digit(order: int, digits: str) -> None:
    made = agresso.reference(order)
    assert made[:-1] == digits[:-1]
    total = 0
    for place, digit in enumerate(map(int, reversed(made))):
        weighted = digit * (1 + place % 2)
        total += weighted - 9 if weighted > 9 else weighted
    assert total % 10 == 0
    if order == 1234567:
        assert made == digits  # the standard's own example: length digit 9, check digit 0


def test_every_file_that_agresso_writes_is_read_without_a_finding(
    invoiced: tuple[Ledger, list[agresso.Order]], tmp_path: Path
) -> None:
    town, orders = invoiced
    for days in (0, 8, 21, 60, 90):
        town.stage(agresso.report(orders, at(FIRST_DAY + timedelta(days=days)), days + 1), f"read{days}")
