"""The gate: everything that must hold before an interchange goes on, in one report with one verdict.

A gate that cannot finish is closed: whatever goes wrong here is a technical error, never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from psycopg import sql

from slussen.database import connect
from slussen.errors import Finding, StageGone, redacted
from slussen.keys import keyed
from slussen.quality import protection
from slussen.quality import suite as suites
from slussen.quality.expectations import validate
from slussen.quality.report import SHOWN, Check, GateReport

if TYPE_CHECKING:
    from slussen.database import Connection
    from slussen.manifest import Manifest
    from slussen.records.layout import Layout

Kind = Literal["extract", "load", "relay"]


def run_gate(
    *,
    manifest: Manifest,
    layout: Layout,
    policy: str,
    kind: Kind,
    stage_dsn: str,
    bosko_dsn: str,
    findings: Sequence[Finding] = (),
    counts: dict[str, int] | None = None,
    references: Sequence[str] | None = None,
    previous: dict[str, Any] | None = None,
) -> GateReport:
    """Run the gate over an interchange's stage.

    ``findings`` are the parser's, ``counts`` how many of each rule there are in all; ``references`` the delivered
    interchanges whose customers these records may refer to (None: they refer to none); ``previous`` what the gate of
    the last delivered interchange recorded.

    Raises:
        TechnicalError: the stage is not what the manifest says, or a part of the gate could not finish.
    """
    suite = suites.load(manifest.integration)
    report = GateReport(
        manifest.interchange, manifest.integration, manifest.name or manifest.interchange, suite.version
    )
    report.located = list(findings)
    table = sql.Identifier("stage", manifest.stage)
    with connect(stage_dsn) as stage, redacted(f"{manifest.interchange}: the gate is closed"):
        _the_stage_is_whole(stage, table, manifest)
        total = sum((counts or {}).values())
        report.checks.append(
            Check(
                "layout conformity",
                "critical",
                total == 0,
                manifest.records,
                total,
                sorted({f.record for f in findings if f.record})[:SHOWN],
                ", ".join(f"{n} {rule}" for rule, n in (counts or {}).items()),
            )
        )
        if "declared" in manifest.totals:
            declared, found = manifest.totals["declared"], manifest.totals["records"]
            report.checks.append(Check("control total", "critical", declared == found, declared, abs(declared - found)))
        if references is not None:
            report.checks.append(_customers_are_known(stage, table, layout, references))
        if policy != "none":
            with connect(bosko_dsn) as bosko:
                report.register = protection.bring_register(stage, bosko)
            n = protection.count_protected(stage, table, layout, kind)
            report.protected = {
                "in": n,
                "masked" if policy == "mask" else "blocked" if policy == "block" else "passed": n,
            }
            if kind == "extract":
                report.checks.append(protection.every_protected_is_flagged(stage, table, layout))
                report.checks.append(
                    protection.the_register_lost_nobody(report.register, (previous or {}).get("register"))
                )
            elif kind == "load":
                report.checks.append(protection.flags_in_file_agree(stage, table, layout))
        columns = [row[0] for row in stage.execute(
            "select column_name from information_schema.columns where table_schema = 'stage' and table_name = %s",
            (manifest.stage,))]  # fmt: skip
    for check in validate(stage_dsn, manifest.stage, suite, columns):
        spec = layout.field(check.field)
        check.column = spec.at if spec is not None and isinstance(spec.at, int) else None
        report.checks.append(check)
    return report


def _the_stage_is_whole(stage: Connection, table: sql.Identifier, manifest: Manifest) -> None:
    """PostgreSQL empties unlogged tables after a crash, and most expectations hold for no rows."""
    kinds = {
        str(kind): int(n)
        for kind, n in stage.execute(sql.SQL("select record_type, count(*) from {} group by 1").format(table))
    }
    rows = sum(kinds.values())
    expected = {k.removeprefix("records."): n for k, n in manifest.totals.items() if k.startswith("records.")}
    if rows != manifest.totals.get("rows", manifest.records) or any(kinds.get(k, 0) != n for k, n in expected.items()):
        raise StageGone(
            f"{manifest.interchange}: the stage holds {rows} rows, the manifest says "
            f"{manifest.totals.get('rows', manifest.records)}. Next: clear the step before, the stage is made again"
        )


def _customers_are_known(stage: Connection, table: sql.Identifier, layout: Layout, delivered: Sequence[str]) -> Check:
    """Every customer that a record refers to was delivered: compared as keyed hashes."""
    field = sql.Identifier(layout.person_field or "")
    rows = stage.execute(
        sql.SQL("select record_no, {0} from {1} where {0} is not null").format(field, table)
    ).fetchall()
    stage.execute("create temporary table reference (record_no bigint, key text) on commit drop")
    with stage.cursor() as cursor, cursor.copy("copy reference from stdin") as copy:
        for (record, _), key in zip(rows, keyed(str(n) for _, n in rows), strict=True):
            copy.write_row((record, key))
    unknown = [int(r[0]) for r in stage.execute(
        "select record_no from reference r where not exists (select from sent.key s where s.kind = 'customer'"
        " and s.key = r.key and s.interchange = any(%s)) order by 1", (list(delivered),))]  # fmt: skip
    return Check(
        "customers of invoices were delivered", "critical", not unknown, len(rows), len(unknown), unknown[:SHOWN],
        f"{len(unknown)} invoices have no customer in what was delivered" if unknown else "",
        "see why the customer file left them out, deliver it, then clear the gate",
    )  # fmt: skip
