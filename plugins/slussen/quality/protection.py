"""Conservation: nobody who is protected stops being so on the way, unless it can be said why.

Four questions, each answered by counting: is everybody whom the register protects flagged in these rows, and nobody
else; has the register itself lost flags since the last delivery that no population file took away; are those whom it
protects the same persons; and do a population file's flags agree with those that it comes to change. The flags of a
relay's sender are ``sender.py``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psycopg import sql

from slussen.keys import keyed
from slussen.quality.report import SHOWN, Check

if TYPE_CHECKING:
    from slussen.database import Connection
    from slussen.records.layout import Layout

LOST = "find out where the flag was lost; release only if each of these persons is known to be unprotected now"
SECRECY = "3"  # Navet's ärendetyp (term 01004) of a notice that is about secrecy itself


def bring_register(stage: Connection, bosko: Connection) -> dict[str, Any]:
    """Copy the numbers of the register's protected persons into a temporary table ``register``, and into ``lifted``
    those who were protected until a population file took it away, and when.

    Returns ``protected``, how many; ``net``, flags that population files have set less those that they have taken away,
    ever; ``mark``, who they are less what the files have changed: a sum of keyed hashes, which gives nobody away.
    As long as only files change flags, ``protected - net`` and ``mark`` stay what they are.
    """
    stage.execute("create temporary table register (personnr text primary key) on commit drop")
    bosko.execute("set transaction isolation level repeatable read, read only")  # both counts see the same register
    protected = [str(r[0]) for r in bosko.execute("select personnr from bosko.person where protected").fetchall()]
    changes = bosko.execute(
        "select personnr, protected, changed_at from bosko.protection_change order by id"
    ).fetchall()
    with stage.cursor() as cursor, cursor.copy("copy register from stdin") as copy:
        for number in protected:
            copy.write_row((number,))
    stage.execute("create temporary table lifted (personnr text primary key, at timestamptz) on commit drop")
    last = {str(number): (given, at) for number, given, at in changes}
    with stage.cursor() as cursor, cursor.copy("copy lifted from stdin") as copy:
        for number, (given, at) in last.items():
            if not given:
                copy.write_row((number, at))
    stage.execute("analyze register, lifted")
    mark = 0
    for key in keyed(f"protected {number}" for number in (*protected, *(r[0] for r in changes))):
        mark ^= int(key, 16)
    net = sum(1 if given else -1 for _, given, _ in changes)
    return {"protected": len(protected), "net": net, "mark": f"{mark:064x}"}


def tally(stage: Connection, table: sql.Identifier, layout: Layout, kind: str, policy: str) -> dict[str, int]:
    """Records about protected persons, by flag or by register, and what the policy will do with them.

    An extract's record that isn't flagged is never blocked or masked, whatever the register says of its person. A
    relay's is: by its own flag, by that of another record about the same person, by the register, by a relative's.
    """
    if kind == "relay":
        return _relayed(stage, table, layout, policy)
    who, mark = flag_of(layout, kind)
    row = stage.execute(
        sql.SQL(
            "select count(*), count(*) filter (where {mark}) from {table}"
            " where {mark} or {who} in (select register.personnr from register)"
        ).format(mark=mark, table=table, who=who)
    ).fetchone()
    total, flagged = (int(n) for n in row or (0, 0))
    taken = {"mask": "masked", "block": "blocked"}.get(policy)
    if taken is None:
        return {"in": total, "passed": total}
    return {"in": total, taken: flagged} | ({"passed": total - flagged} if total > flagged else {})


def _relayed(stage: Connection, table: sql.Identifier, layout: Layout, policy: str) -> dict[str, int]:
    who, mark = flag_of(layout, "relay")
    protected = sql.SQL("select personnr from register union all select {who} from {table} where {mark}").format(
        who=who, table=table, mark=mark
    )
    about = sql.SQL(" or ").join(
        [mark, *(sql.SQL("{} in (select personnr from protected)").format(sql.Identifier(n)) for n in layout.numbers)]
    )
    query = sql.SQL("with protected as materialized ({}) select count(*) from {} where {}")
    row = stage.execute(query.format(protected, table, about)).fetchone()
    n = int(row[0]) if row else 0
    return {"in": n, {"mask": "masked", "block": "blocked"}.get(policy, "passed"): n}


def everyone_is_flagged(stage: Connection, table: sql.Identifier, layout: Layout) -> Check:
    """Extracts: a row about somebody whom the register protects says so."""
    n, records = records_of(
        stage, table, sql.SQL("not coalesce(protected, false) and ({})").format(_about_protected(layout))
    )
    return Check(
        "conservation of the protected set", "critical", n == 0, n, n, records,
        f"{n} records of persons whom the register protects go unprotected" if n else "",
        "the query must take the flag from the register",
    )  # fmt: skip


def nobody_else_is_flagged(stage: Connection, table: sql.Identifier, layout: Layout) -> Check:
    """Extracts: flags that the register knows nothing of are a sign that they stand with the wrong persons."""
    n, records = records_of(stage, table, sql.SQL("protected and not ({})").format(_about_protected(layout)))
    return Check(
        "flags that the register has too", "warning", n == 0, n, n, records,
        f"{n} records are flagged, of persons whom the register doesn't protect" if n else "",
        "compare the flags with the register: do they stand with the right persons? Has it changed since the extract?",
    )  # fmt: skip


def the_register_lost_nobody(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> Check:
    """Extracts: the register's set has changed by what population files said, and by nothing else. Never to nobody."""
    check = Check("the register's protected set", "warning", True, now["protected"], next_step=LOST)
    expected = before["protected"] + now["net"] - before["net"] if before else now["protected"]
    lost = expected - now["protected"]
    if now["protected"] == 0:
        check.message = "the register protects nobody: all flags are gone"
    elif lost > 0:
        check.message = f"{now['protected']} protected persons in the register, {expected} by its own changes"
    elif lost == 0 and before and now["mark"] != before.get("mark", now["mark"]):
        check.message = f"{now['protected']} protected persons in the register, as expected, but not the same ones"
    if check.message:
        check.ok, check.checked, check.unexpected = False, max(expected, 0), max(lost, 0)
    return check


def flags_in_file_agree(stage: Connection, table: sql.Identifier, layout: Layout) -> Check:
    """Loads: a protected person told of without a flag must be told of as such; no file takes away all flags.

    Whoever gets a new personal number brings the protection along: it is told of by the old number's reference.
    """
    who, mark = flag_of(layout, "load")
    protected = sql.SQL(
        "({who} in (select personnr from register) or {who} in (select hanvisningspersonnummer from {table}"
        " where {who} in (select personnr from register)))"
    ).format(who=who, table=table)
    bare = sql.SQL("{} and not {}").format(protected, mark)
    unexplained = sql.SQL("{} and arendetyp is distinct from {}").format(bare, sql.Literal(SECRECY))
    told, without, flagged, lost = counts_of(stage, table, protected, bare, mark, unexplained)
    records = records_of(stage, table, unexplained)[1] if lost else []
    check = Check(
        "conservation of the protected set", "warning", lost == 0, told, lost, records,
        f"{lost} of {told} protected persons come without their flag, and no reason is given" if lost else "", LOST,
    )  # fmt: skip
    if not lost and without == told > 1 and flagged == 0:
        check.ok, check.unexpected = False, told
        check.message = f"the file takes the flag from all {told} protected persons that it tells of"
        check.records = records_of(stage, table, protected)[1]
    return check


def flag_of(layout: Layout, kind: str) -> tuple[sql.Composable, sql.Composable]:
    """SQL for whose row it is, and whether it is flagged."""
    if kind == "extract":
        return sql.Identifier("person"), sql.SQL("coalesce(protected, false)")
    marks = [
        sql.SQL("coalesce({} = any({}), false)").format(sql.Identifier(name), sql.Literal(list(values)))
        for name, values in layout.flag_fields.items()
    ]
    return sql.Identifier(layout.person_field or ""), sql.SQL("({})").format(
        sql.SQL(" or ").join(marks) if marks else sql.SQL("false")
    )


def _about_protected(layout: Layout) -> sql.Composable:
    """SQL for an extract's row about somebody whom the register protects: as the query says, or as the record does."""
    columns = dict.fromkeys(["person", *([layout.person_field] if layout.person_field else [])])
    return sql.SQL(" or ").join(
        # Not "exists": within it a layout's own column personnr would be the register's.
        sql.SQL("coalesce({} in (select register.personnr from register), false)").format(sql.Identifier(name))
        for name in columns
    )


def counts_of(stage: Connection, table: sql.Identifier, *where: sql.Composable) -> list[int]:
    filters = [sql.SQL("count(*) filter (where {})").format(w) for w in where]
    row = stage.execute(sql.SQL("select {} from {}").format(sql.SQL(", ").join(filters), table)).fetchone()
    return [int(n) for n in row or [0] * len(where)]


def records_of(stage: Connection, table: sql.Identifier, where: sql.Composable) -> tuple[int, list[int]]:
    """How many rows, and the first records of them."""
    query = sql.SQL("select record_no, count(*) over () from {} where {} order by 1 limit {}")
    rows = stage.execute(query.format(table, where, SHOWN)).fetchall()
    return (int(rows[0][1]) if rows else 0), [int(r[0]) for r in rows]
