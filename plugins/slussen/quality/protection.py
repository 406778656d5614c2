"""Conservation: nobody who is protected stops being so on the way, unless it can be said why.

Three questions, each answered by counting: is everybody whom the register protects flagged in these rows; has the
register itself lost flags since the last delivery that no population file took away; and do a population file's
flags agree with those that it comes to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from slussen.quality.report import SHOWN, Check

if TYPE_CHECKING:
    from slussen.database import Connection
    from slussen.records.layout import Layout

LOST = "find out where the flag was lost; release only if each of these persons is known to be unprotected now"


def bring_register(stage: Connection, bosko: Connection) -> dict[str, int]:
    """Copy the numbers of the register's protected persons into a temporary table ``register``; its counts."""
    stage.execute("create temporary table register (personnr text primary key) on commit drop")
    with (
        bosko.cursor().copy("copy (select personnr::text from bosko.person where protected) to stdout") as read,
        stage.cursor().copy("copy register from stdin") as write,
    ):
        for chunk in read:
            write.write(chunk)
    row = bosko.execute(
        "select (select count(*) from bosko.person where protected),"
        " (select coalesce(sum(case when protected then 1 else -1 end), 0) from bosko.protection_change)"
    ).fetchone()
    return {"protected": int(row[0]), "net": int(row[1])} if row else {}


def flagged(layout: Layout, kind: str) -> tuple[sql.Composable, sql.Composable]:
    """SQL for whose row it is, and whether it is flagged."""
    if kind == "extract":
        return sql.SQL("person"), sql.SQL("coalesce(protected, false)")
    marks = [
        sql.SQL("coalesce({} = any({}), false)").format(sql.Identifier(name), sql.Literal(list(values)))
        for name, values in layout.flag_fields.items()
    ]
    return sql.Identifier(layout.person_field or ""), sql.SQL("({})").format(
        sql.SQL(" or ").join(marks) if marks else sql.SQL("false")
    )


def every_protected_is_flagged(stage: Connection, table: sql.Identifier, layout: Layout) -> Check:
    """Extracts: a row about somebody whom the register protects says so."""
    who, mark = flagged(layout, "extract")
    rows = _records(stage, table, sql.SQL("{} in (select personnr from register) and not {}").format(who, mark))
    return Check(
        "conservation of the protected set", "critical", not rows, len(rows), len(rows), rows[:SHOWN],
        f"{len(rows)} records of persons whom the register protects go unprotected" if rows else "",
        "the query must take the flag from the register",
    )  # fmt: skip


def the_register_lost_nobody(now: dict[str, int], before: dict[str, int] | None) -> Check:
    """Extracts: the register's set has changed by what population files said, and by nothing else."""
    if not before:
        return Check("the register's protected set", "warning", True, now["protected"])
    expected = before["protected"] + now["net"] - before["net"]
    lost = expected - now["protected"]
    ok = lost <= 0 and not (now["protected"] == 0 < before["protected"])
    return Check(
        "the register's protected set", "warning", ok, max(expected, 0), max(lost, 0), [],
        "" if ok else f"{now['protected']} protected persons in the register, {expected} by its own changes", LOST,
    )  # fmt: skip


def flags_in_file_agree(stage: Connection, table: sql.Identifier, layout: Layout) -> Check:
    """Loads: a protected person told of without a flag must be told of as such (ärendetyp 3)."""
    who, mark = flagged(layout, "load")
    told = _count(stage, table, sql.SQL("{} in (select personnr from register)").format(who))
    lost = _records(
        stage,
        table,
        sql.SQL("{} in (select personnr from register) and not {} and arendetyp is distinct from '3'").format(
            who, mark
        ),
    )
    return Check(
        "conservation of the protected set", "warning", not lost, told, len(lost), lost[:SHOWN],
        f"{len(lost)} of {told} protected persons come without their flag, and no reason is given" if lost else "",
        LOST,
    )  # fmt: skip


def count_protected(stage: Connection, table: sql.Identifier, layout: Layout, kind: str) -> int:
    """Records about a protected person: by flag or by register."""
    who, mark = flagged(layout, kind)
    return _count(stage, table, sql.SQL("{} or {} in (select personnr from register)").format(mark, who))


def _count(stage: Connection, table: sql.Identifier, where: sql.Composable) -> int:
    row = stage.execute(sql.SQL("select count(*) from {} where {}").format(table, where)).fetchone()
    return int(row[0]) if row else 0


def _records(stage: Connection, table: sql.Identifier, where: sql.Composable) -> list[int]:
    query = sql.SQL("select record_no from {} where {} order by 1").format(table, where)
    rows: list[tuple[Any, ...]] = stage.execute(query).fetchall()
    return [int(r[0]) for r in rows]
