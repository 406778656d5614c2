"""What the gate owes every row: each has each duty or a reason; volume against history, duplicates in four tiers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from slussen.catalogue import rows
from slussen.database import connect
from slussen.errors import CallError
from slussen.integration import Integration
from slussen.manifest import Manifest
from slussen.quality import duties, seen, volume
from slussen.quality import suite as suites
from slussen.quality.duties import ALL, UNDECLARED, Duties
from slussen.quality.report import GateReport
from slussen.quality.seen import Seen
from slussen.quality.suite import Suite, Volume
from slussen.records import layout as layouts
from tests.gating import NAME, NUMBERS, Databases, Row, databases, judge, persons, staged, superuser

__all__ = ["databases", "superuser"]  # fixtures
NOW = datetime(2026, 1, 13, 20, tzinfo=UTC)
NIGHT = timedelta(days=1)
CATALOGUE = {row.integration.key: row.integration for row in rows()}


def gated_as(integration: Integration) -> list[str]:
    """The names of a row's suites: its own, or one for each file of a delivery of several."""
    return [f"{integration.key}_{part.key}" for part in integration.parts] or [integration.key]


# --- each row has each duty, or a reason


@pytest.mark.parametrize("key", CATALOGUE)
def test_each_row_has_each_duty_or_a_reason(key: str) -> None:
    i = CATALOGUE[key]
    for name in gated_as(i):
        found = duties.reasons(i, suites.load(name))
        assert set(found) <= set(ALL)
        assert all(len(reason) > 15 for reason in found.values())
        assert UNDECLARED not in found.values(), "declare a business key, or say why there is none"


@pytest.mark.parametrize("key", CATALOGUE)
def test_a_business_key_is_made_of_columns_that_the_layout_has(key: str) -> None:
    i = CATALOGUE[key]
    layout_names = [part.layout for part in i.parts] or [i.layout]
    for name, layout_name in zip(gated_as(i), layout_names, strict=True):
        declared, layout = suites.load(name).business_key, layouts.load(layout_name)
        if declared is not None:
            assert {*declared.columns, *declared.sharing} <= set(layout.data_schema.names)
            assert {t for t in (declared.only, declared.of) if t} <= set(layout.records)
            volatile = {"order_id", "voucher_no", "batch_id", "apar_id", "key", "line_no"}
            assert not volatile & set(declared.columns)


def test_a_rows_own_reasons_are_in_its_report(databases: Databases) -> None:
    found = duties.reasons(CATALOGUE["a02"], suites.load("a02"))
    assert found["canaries"].startswith("nothing leaves")
    report = judge(databases, staged(databases, "a02", persons("a02")), duties=Duties(NOW, (), found))
    assert report.without == found
    assert "without duplicates: same totals: a full snapshot" in report.table()


# --- volume


def history(*records: int, days: int = 1) -> list[Seen]:
    """Deliveries of so many records, the newest first, so many days apart."""
    return [Seen(f"x-{n}", "", NOW - (n + 1) * timedelta(days=days), "", r, {}) for n, r in enumerate(records)]


@pytest.mark.parametrize(
    ("records", "before", "ok"),
    [
        (1000, history(1000), True),
        (700, history(1000), True),  # 30 % fewer is tolerated
        (699, history(1000), False),
        (1500, history(1000), True),
        (1501, history(1000), False),
        (560, history(1000, 800), True),  # 30 % below the smallest
        (559, history(1000, 800), False),
        (3, history(9), True),  # what chance alone may do
        (2, history(9), False),
        (0, history(10), False),
        (2, history(5), True),
        (1, history(5), False),
        (1, history(4), True),
        (1, history(3), True),
        (0, history(2), False),
        (0, history(1), False),
        (2, history(0), True),
        (3, history(0), False),
        (18, history(9), True),
        (21, history(9), False),
        (500, history(*[1000] * 8, 500), False),  # the ninth is no longer looked at
    ],
)
def test_as_much_as_usual_passes_and_what_is_not_is_held(records: int, before: list[Seen], ok: bool) -> None:
    found = volume.compare(records, before, Volume(), NOW)
    assert found.ok is ok
    assert found.verdict == ("pass" if ok else "hold")
    assert bool(found.message) is not ok


def test_the_first_delivery_passes_and_says_so_unless_there_is_nothing_in_it() -> None:
    found = volume.compare(12, [], Volume(), NOW)
    assert (found.ok, found.message) == (True, "nothing to compare with: the first delivery")
    assert volume.compare(0, [], Volume(), NOW).verdict == "hold"


@given(some.integers(1, 10**7), some.floats(0, 0.99))
def test_a_count_never_falls_to_nothing_and_by_chance_to_no_less_than_a_quarter(before: int, fewer: float) -> None:
    assert not volume.compare(0, history(before), Volume(fewer=fewer), NOW).ok
    assert not volume.compare((before - 1) // 4, history(before), Volume(fewer=min(fewer, 0.75)), NOW).ok


def test_of_one_type_of_records_the_others_dont_count() -> None:
    before = [Seen("x-1", "", NOW - NIGHT, "", 1003, {"records.member": 3, "records.person": 1000})]
    persons_only = Volume(of="person", fewer=0.1)
    assert persons_only.count(903, {"records.member": 3, "records.person": 900}) == 900
    assert volume.compare(900, before, persons_only, NOW).ok
    found = volume.compare(899, before, persons_only, NOW)
    assert (found.ok, found.message) == (False, "899 records of type person; the last delivery had 1000")


def test_august_is_like_last_august() -> None:
    july = history(*[70_000] * 8, days=7)
    august = [Seen("x-0", "", NOW - timedelta(days=364 + 10), "", 78_000, {})]
    assert not volume.compare(78_500, july, Volume(fewer=0.05, more=0.05), NOW).ok
    assert volume.compare(78_500, [*july, *august], Volume(fewer=0.05, more=0.05), NOW).ok
    other = [Seen("x-0", "", NOW - timedelta(days=364 + 22), "", 78_000, {})]  # not of these weeks
    assert not volume.compare(78_500, [*july, *other], Volume(fewer=0.05, more=0.05), NOW).ok


@given(some.integers(0, 10**7), some.lists(some.integers(0, 10**7), min_size=1, max_size=12))
def test_a_count_between_the_smallest_and_the_largest_always_passes(records: int, before: list[int]) -> None:
    found = volume.compare(records, history(*before), Volume(fewer=0, more=0), NOW)
    inside = min(before[:8]) <= records <= max(before[:8])
    assert found.ok or not inside


# --- duplicates


def send(databases: Databases, name: str, groups: list[list[Row]], at: datetime, **more: Any) -> Manifest:
    """A delivery of these invoices: its gate remembers them."""
    manifest = staged(databases, "f30", groups).but(interchange=name, stage_sha256=more.pop("content", name))
    judge(databases, manifest, duties=Duties(at, **more))
    return manifest


def ask(databases: Databases, groups: list[list[Row]], *, sent: list[str], **more: Any) -> GateReport:
    manifest = staged(databases, "f30", groups).but(interchange=f"{sent[0]}-again", **more)
    return judge(databases, manifest, duties=Duties(NOW, sent))


def renumbered(groups: list[list[Row]]) -> list[list[Row]]:
    """The same invoices under new numbers, in another batch."""
    for n, records in enumerate(groups):
        for row in records:
            row |= {"order_id": 38500000 + n, "batch_id": "FD260113"} | ({"key": f"9{n}"} if "key" in row else {})
    return groups


def tier(report: GateReport, name: str) -> Any:
    return next(c for c in report.checks if c.rule == f"duplicates: {name}")


def test_the_same_invoices_under_new_numbers_are_held(databases: Databases) -> None:
    send(databases, "one", persons("f30"), NOW - NIGHT)
    report = ask(databases, renumbered(persons("f30")), sent=["one"], stage_sha256="other")
    found = tier(report, "same business keys")
    assert (found.verdict, found.unexpected, found.checked) == ("hold", 350, 350)
    assert found.message.startswith(
        "100% of these 350 records (350) were sent before, under other numbers: 350 of them"
    )
    assert found.records[:2] == [2, 5]  # the items, where the amounts are
    assert tier(report, "same totals").verdict == "hold"
    assert tier(report, "same content").ok
    assert not any(number in report.table() for number in (*NUMBERS, NAME))


def test_a_few_that_were_sent_before_are_a_remark_within_the_tolerance(databases: Databases) -> None:
    send(databases, "two", persons("f30"), NOW - NIGHT)
    for again, verdict in ((3, "warn"), (4, "hold")):
        groups = renumbered(persons("f30"))
        for records in groups[again:]:
            records[1]["amount"] = Decimal("840.00")
        found = tier(ask(databases, groups, sent=["two"], stage_sha256="x"), "same business keys")
        assert (found.verdict, found.unexpected) == (verdict, again)


def test_another_month_is_no_duplicate(databases: Databases) -> None:
    send(databases, "three", persons("f30"), NOW - NIGHT)
    groups = renumbered(persons("f30"))
    for records in groups:
        records[0]["period"] = 202602
    assert tier(ask(databases, groups, sent=["three"], stage_sha256="x"), "same business keys").ok


def test_two_children_at_one_fee_are_two_records_on_both_sides(databases: Databases) -> None:
    both = persons("f30")
    for n, records in enumerate(both):
        records.append(records[1] | {"line_no": 2, "key": f"second {n}"})
    send(databases, "four", persons("f30")[:100], NOW - NIGHT)
    found = tier(ask(databases, renumbered(both)[:100], sent=["four"], stage_sha256="x"), "same business keys")
    assert (found.unexpected, found.checked) == (100, 200)


def test_what_was_sent_in_parts_is_counted_together(databases: Databases) -> None:
    send(databases, "five", persons("f30")[:200], NOW - 2 * NIGHT)
    send(databases, "six", persons("f30")[200:], NOW - NIGHT)
    report = ask(databases, renumbered(persons("f30")), sent=["five", "six"], stage_sha256="x")
    found = tier(report, "same business keys")
    assert found.unexpected == 350
    assert "200 of them with five" in found.message


@pytest.mark.parametrize(("days", "ok"), [(31, False), (32, True)])
def test_duplicates_are_looked_for_a_month_back(databases: Databases, days: int, ok: bool) -> None:
    name = f"month{days}"
    send(databases, name, persons("f30"), NOW - days * NIGHT)
    report = ask(databases, renumbered(persons("f30")), sent=[name], stage_sha256="x")
    assert tier(report, "same business keys").ok is ok
    assert tier(report, "same totals").ok is ok


def test_what_was_never_sent_is_no_ones_duplicate(databases: Databases) -> None:
    send(databases, "held", persons("f30"), NOW - NIGHT)
    manifest = staged(databases, "f30", renumbered(persons("f30"))).but(interchange="free", stage_sha256="x")
    assert tier(judge(databases, manifest, duties=Duties(NOW, [])), "same business keys").ok


def test_a_gate_that_runs_again_does_not_find_itself(databases: Databases) -> None:
    manifest = send(databases, "itself", persons("f30"), NOW - NIGHT)
    report = judge(databases, manifest, duties=Duties(NOW, ["itself"]))
    assert all(c.ok for c in report.checks if c.rule.startswith("duplicates"))


def test_the_same_content_and_the_same_name_are_held(databases: Databases) -> None:
    send(databases, "seven", persons("f30"), NOW - NIGHT, content="rows")
    report = ask(databases, persons("f30"), sent=["seven"], stage_sha256="rows")
    assert tier(report, "same content").message == "all 1050 records are those of seven"
    assert tier(report, "same name").message == "seven had this name, with another content"
    assert report.verdict == "hold"


def test_of_few_records_the_same_totals_are_a_remark(databases: Databases) -> None:
    send(databases, "eight", persons("f30")[:6], NOW - NIGHT)  # 18 records
    other = renumbered(persons("f30"))[6:12]
    report = ask(databases, other, sent=["eight"], stage_sha256="x")
    assert tier(report, "same totals").verdict == "warn"
    assert tier(report, "same business keys").ok


def test_old_business_keys_are_dropped_and_kept_ones_give_nobody_away(databases: Databases) -> None:
    send(databases, "old", persons("f30")[:5], NOW - 70 * NIGHT)
    send(databases, "new", persons("f30")[:5], NOW)
    with connect(databases[0]) as connection:
        kept = connection.execute(
            "select interchange, key from sent.business where interchange in ('old', 'new')"
        ).fetchall()
    assert {name for name, _ in kept} == {"new"}
    assert {len(key) for _, key in kept} == {seen.KEY_BYTES}


def test_two_million_keys_would_be_hashed_in_pieces(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "PIECE", 7)
    send(databases, "pieces", persons("f30"), NOW - NIGHT)
    found = tier(ask(databases, renumbered(persons("f30")), sent=["pieces"], stage_sha256="x"), "same business keys")
    assert found.unexpected == 350


# --- declarations that are wrong


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("business_key: {columns: []}", "columns"),
        ("business_key: {columns: [a], of: H}", "of and sharing go together"),
        ("business_key: {columns: [a], tolerated: 1}", "tolerated"),
        ("volume: {fewer: 2}", "fewer"),
        ("volume: {less: 0.2}", "less"),
    ],
)
def test_a_wrong_comparison_is_refused(tmp_path: Any, line: str, complaint: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"version: 1\n{line}\nexpectations:\n  - {{expect: ExpectTableRowCountToBeBetween,"
                    " severity: info, with: {min_value: 1}}\n")  # fmt: skip
    with pytest.raises(CallError, match=complaint):
        suites.read(file)


def test_a_suite_that_says_nothing_has_a_usual_tolerance_and_no_business_key() -> None:
    suite = Suite.model_validate({"version": 1, "expectations": [
        {"expect": "ExpectTableRowCountToBeBetween", "severity": "info", "with": {"min_value": 1}}]})  # fmt: skip
    assert suite.volume == Volume()
    assert suite.business_key is None
