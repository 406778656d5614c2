"""The gate: everything that must hold before an interchange goes on, in one report with one verdict.

A gate that cannot finish is closed: whatever goes wrong here is a technical error, never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from psycopg import sql

from slussen.database import connect
from slussen.errors import CallError, Finding, StageGone, redacted
from slussen.keys import keyed
from slussen.lateness import STOCKHOLM
from slussen.merging import EFFECTIVE, effective
from slussen.quality import duties as owed
from slussen.quality import protection, sender
from slussen.quality import suite as suites
from slussen.quality.expectations import gate_url, validate
from slussen.quality.report import SHOWN, Check, GateReport

if TYPE_CHECKING:
    from datetime import datetime

    from slussen.database import Connection
    from slussen.manifest import Manifest
    from slussen.quality.suite import Suite
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
    duties: owed.Duties | None = None,
) -> GateReport:
    """Run the gate over an interchange's stage.

    ``findings`` are the parser's, ``counts`` how many of each rule there are in all; ``references`` the delivered
    interchanges whose customers these records may refer to (None: they refer to none); ``previous`` what the gate of
    the last delivered interchange recorded; ``duties`` what is compared with earlier deliveries (None: nothing).

    Raises:
        TechnicalError: the stage is not what the manifest says, or a part of the gate could not finish.
    """
    suite = suites.load(manifest.integration)
    report = GateReport(
        manifest.interchange, manifest.integration, manifest.name or manifest.interchange, suite.version
    )
    report.located = list(findings)
    report.without = dict(duties.without) if duties is not None else {}
    conserved = "conservation" not in report.without
    table = sql.Identifier("stage", manifest.stage)
    _the_suite_fits(suite, layout)
    with connect(stage_dsn) as stage, redacted(f"{manifest.interchange}: the gate is closed"):
        rows = _the_stage_is_whole(stage, table, manifest)
        url = gate_url(stage)
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
        if "unended" in manifest.totals:
            report.checks.append(_cut_off(manifest.records))
        if kind == "load" and duties is not None:
            report.checks.append(_of_a_day_that_has_been(manifest, duties.now))
        if references is not None:
            report.checks.append(_customers_are_known(stage, table, layout, references, kind))
        if policy != "none":
            with connect(bosko_dsn) as bosko:
                report.register = protection.bring_register(stage, bosko)
            report.protected = protection.tally(stage, table, layout, kind, policy)
            if kind == "extract":
                before = (previous or {}).get("register")
                report.checks += [
                    protection.everyone_is_flagged(stage, table, layout),
                    protection.nobody_else_is_flagged(stage, table, layout),
                    protection.the_register_lost_nobody(report.register, before),
                ]
            elif kind == "load" and conserved and layout.flag_fields:
                report.checks.append(protection.flags_in_file_agree(stage, table, layout))
            elif layout.flag_fields:
                before = (previous or {}).get("register")
                report.checks.append(sender.flags_of_the_sender(stage, table, layout, policy, report.register, before))
                if duties is not None:
                    report.checks.append(
                        sender.nobody_lost_the_flag(stage, table, layout, manifest, duties.sent, duties.now)
                    )
            if policy == "hold":
                report.checks.append(_nobody_is_protected(report.protected["in"], manifest.records))
        if duties is not None:
            totals = _totals(stage, table, layout, rows)
            report.checks += owed.checks(duties, stage, table, manifest, suite, totals)
        columns = [row[0] for row in stage.execute(
            "select column_name from information_schema.columns where table_schema = 'stage' and table_name = %s",
            (manifest.stage,))]  # fmt: skip
    for check in validate(url, manifest.stage, suite, columns, rows):
        spec = layout.field(check.field)
        check.column = spec.at if spec is not None and isinstance(spec.at, int) else None
        report.checks.append(check)
    return report


def _the_suite_fits(suite: Suite, layout: Layout) -> None:
    """A record type that the layout doesn't have would make an expectation that holds for no rows, and always."""
    named = {t for rule in suite.expectations for t in rule.record_types} | ({suite.volume.of} - {""})
    if unknown := named - layout.records.keys():
        raise CallError(f"the suite names {', '.join(sorted(unknown))}, no record type of {layout.format}")


def _the_stage_is_whole(stage: Connection, table: sql.Identifier, manifest: Manifest) -> dict[str, int]:
    """Rows by record type. PostgreSQL empties unlogged tables after a crash, and most expectations hold for no rows."""
    kinds = {
        str(kind): int(n)
        for kind, n in stage.execute(sql.SQL("select record_type, count(*) from {} group by 1").format(table))
    }
    rows = sum(kinds.values())
    declared = manifest.totals.get("rows", manifest.records)
    expected = {k.removeprefix("records."): n for k, n in manifest.totals.items() if k.startswith("records.")}
    if rows != declared or any(kinds.get(k, 0) != n for k, n in expected.items()):
        raise StageGone(
            f"{manifest.interchange}: the stage holds {rows} rows, the manifest says {declared}. "
            "Next: clear the step before, the stage is made again"
        )
    return kinds


def _totals(stage: Connection, table: sql.Identifier, layout: Layout, rows: dict[str, int]) -> dict[str, int]:
    """Records by type, and the sum of each field that holds amounts, in its smallest unit (öre)."""
    names = {f.name: f.decimals for f in layout.fields if f.type == "decimal" and f.name in layout.data_schema.names}
    totals = {f"records.{kind}": n for kind, n in sorted(rows.items())}
    if names:
        sums = sql.SQL(", ").join(
            sql.SQL("coalesce(sum({}) * {}, 0)::bigint").format(sql.Identifier(name), sql.Literal(10**decimals))
            for name, decimals in names.items()
        )
        row = stage.execute(sql.SQL("select {} from {}").format(sums, table)).fetchone()
        totals |= {f"sum.{name}": int(n) for name, n in zip(names, row or (), strict=True)}
    return totals


def _cut_off(last: int) -> Check:
    """A delimited file has no trailer: one that is cut off within its last field reads as well as a whole one."""
    return Check(
        "the last record is whole", "warning", False, last, 1, [last], "the last record has no line end",
        "ask the sender whether the file is whole; release only if it is",
    )  # fmt: skip


def _of_a_day_that_has_been(manifest: Manifest, now: datetime) -> Check:
    """Of two files the one of the later day holds: a day that is still to come would shut out all that come until then.

    A file without a day, or of one that doesn't exist, can't be merged.
    """
    check = Check("the day that the file is about", "critical", False, 1, 1, next_step="ask the sender for it again")
    try:
        day = effective(manifest)
    except CallError:
        check.message = f"its header has none of {', '.join(EFFECTIVE)}: a merge needs a day"
        return check
    except ValueError:
        check.message = "the day in its header is none of the calendar's"
        return check
    ahead = (day - now.astimezone(STOCKHOLM).date()).days
    check.severity, check.ok, check.unexpected = "warning", ahead <= 0, max(ahead, 0)
    if ahead > 0:
        check.message = f"the file is about a day that is still to come, in {ahead} days"
        check.next_step = (
            "refuse it, and ask for it anew: once merged, no file of an earlier day changes what it tells of"
        )
    return check


def _nobody_is_protected(n: int, of: int) -> Check:
    """The policy ``hold``: a person decides whether a file with protected persons may go."""
    return Check(
        "no protected persons", "warning", n == 0, of, n,
        message=f"{n} records are about protected persons" if n else "",
        next_step="release only if the receiver may have them",
    )  # fmt: skip


def _customers_are_known(
    stage: Connection, table: sql.Identifier, layout: Layout, delivered: Sequence[str], kind: Kind
) -> Check:
    """Every customer that a record refers to was delivered: compared as keyed hashes.

    An invoice to nobody stops. Of what comes back, of customers older than us perhaps, a person is asked.
    """
    field = sql.Identifier(layout.person_field or "")
    query = sql.SQL("select record_no, {0} from {1} where {0} is not null").format(field, table)
    stage.execute("create temporary table reference (record_no bigint, key text) on commit drop")
    referring = 0
    with stage.cursor("referring") as reading, stage.cursor() as writing:
        reading.execute(query)
        while rows := reading.fetchmany(20_000):
            referring += len(rows)
            with writing.copy("copy reference from stdin") as copy:
                for (record, _), key in zip(rows, keyed(str(n) for _, n in rows), strict=True):
                    copy.write_row((record, key))
    stage.execute("analyze reference")
    missing = stage.execute(
        "select record_no, count(*) over () from reference r where not exists (select from sent.key s"
        " where s.kind = 'customer' and s.key = r.key and s.interchange = any(%s)) order by 1 limit %s",
        (list(delivered), SHOWN),
    ).fetchall()
    unknown = int(missing[0][1]) if missing else 0
    return Check(
        "customers of invoices were delivered", "critical" if kind == "extract" else "warning", not unknown, referring,
        unknown, [int(r[0]) for r in missing],
        f"{unknown} invoices have no customer in what was delivered" if unknown else "",
        "see why the customer file left them out, deliver it, then clear the gate",
    )  # fmt: skip
