"""Relays whose files have flags of their own: the sender's word on who is protected, and that nobody loses it unseen.

Our own register knows the city's inhabitants. Of anybody else the sender's flag is all that there is: what a file flags
is remembered (``include/sql/migrations/slussen/0009``), and a later one that tells of the same person without the flag
is held, be it one person of thousands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql

from slussen.keys import keyed
from slussen.quality.protection import LOST, counts_of, flag_of, records_of
from slussen.quality.report import Check

if TYPE_CHECKING:
    from slussen.database import Connection
    from slussen.manifest import Manifest
    from slussen.records.layout import Layout

FEW = 3  # flagged records that a file would have by the last one's share: fewer may be none by chance
KEPT = timedelta(days=800)  # a pupil who is told of once a school year is still known the year after the next
PIECE = 20_000  # persons who are hashed at a time
KEY_BYTES = 16  # of the hash, in the table: enough that two persons never share them


def flags_of_the_sender(
    stage: Connection,
    table: sql.Identifier,
    layout: Layout,
    policy: str,
    register: dict[str, Any],
    before: Mapping[str, Any] | None,
) -> Check:
    """Whom the register protects is flagged in the file too, and a file has not lost all its flags.

    Where the record leaves as it is, the receiver has nothing but the flag: one that is missing is held. Where records
    are masked or blocked the register does so too, and one is a remark. Adds ``flagged`` and ``of`` to ``register``:
    flagged records, of how many that have a flag; ``before`` is what the last delivered file's gate added.
    """
    who, mark = flag_of(layout, "relay")
    protected = sql.SQL("{} and {} in (select personnr from register)").format(_has_flags(layout), who)
    of, flagged, told = counts_of(stage, table, _has_flags(layout), mark, protected)
    lost, records = records_of(stage, table, sql.SQL("{} and not {}").format(protected, mark))
    register |= {"flagged": flagged, "of": of}
    expected = before["flagged"] * of // max(before["of"], 1) if before and "flagged" in before else 0
    check = Check("conservation of the protected set", "warning", True, told, lost, records, next_step=LOST)
    if flagged == 0 and expected >= FEW:
        check.message = f"nobody is flagged, where the last file's share would be {expected} records"
    elif flagged == 0 and lost:
        check.message = f"nobody is flagged, and the register protects {lost} of these records' persons"
    elif lost and policy not in ("mask", "block"):
        check.message = f"{lost} of {told} records of protected persons come without their flag"
    if check.message:
        check.ok, check.unexpected = False, max(lost, 1)
    return check


def nobody_lost_the_flag(
    stage: Connection, table: sql.Identifier, layout: Layout, manifest: Manifest, sent: Sequence[str], now: datetime
) -> Check:
    """Everybody whom the newest of the sent files that tells of them flags is flagged in this one, or isn't in it.

    That a population file has taken the protection away since then explains it. What this file says is kept, and is the
    newest word once it is sent: a file that a person has released is not held again for the same persons.
    """
    known = _known(stage, manifest, sent, now)
    _bring_persons(stage, table, layout, manifest.integration, everybody=known > 0)
    # The newest word of each person in the file whom it doesn't flag: when it was "flagged", this file takes it back.
    stage.execute(
        "create temporary table unflagged on commit drop as select p.number, p.key, k.at from told_of p"
        " join known k using (key) where not p.flagged"
    )
    _keep(stage, manifest, now)
    lost = sql.SQL(
        "select number from unflagged u"
        " where not exists (select from lifted l where l.personnr = u.number and l.at > u.at)"
    )
    row = stage.execute(sql.SQL("select count(*) from ({}) l").format(lost)).fetchone()
    n = int(row[0]) if row else 0
    who, _ = flag_of(layout, "relay")
    where = sql.SQL("{} and {} in ({})").format(_has_flags(layout), who, lost)
    return Check(
        "conservation person by person", "warning", n == 0, known, n, records_of(stage, table, where)[1] if n else [],
        f"{n} persons come without the flag that they had in the last file that told of them" if n else "", LOST,
    )  # fmt: skip


def _known(stage: Connection, manifest: Manifest, sent: Sequence[str], now: datetime) -> int:
    """Whom the newest of the sent files that tells of them flags, into a temporary table ``known``; how many."""
    return stage.execute(
        "create temporary table known on commit drop as select key, at from ("
        " select distinct on (key) key, at, flagged from sent.person_flag"
        " where integration = %s and interchange = any(%s) and interchange <> %s and at <= %s"
        " order by key, at desc, interchange desc) newest where flagged",
        (manifest.integration, list(sent), manifest.interchange, now),
    ).rowcount


def _bring_persons(
    stage: Connection, table: sql.Identifier, layout: Layout, integration: str, *, everybody: bool
) -> None:
    """Who is in the file, whether any record flags them, and their keys, into a temporary table ``told_of``.

    Without ``everybody`` those only who are flagged: where nothing is known nobody can have lost a flag.
    """
    who, mark = flag_of(layout, "relay")
    stage.execute("create temporary table told_of (number text, flagged boolean, key bytea) on commit drop")
    query = sql.SQL("select {0}::text, bool_or({1}) from {2} where {3} and {0} is not null group by 1{4}").format(
        who, mark, table, _has_flags(layout), sql.SQL("" if everybody else " having bool_or({})").format(mark)
    )
    with stage.cursor("told_of") as reading, stage.cursor() as writing:
        reading.execute(query)
        while rows := reading.fetchmany(PIECE):
            hashes = keyed(f"flag {integration} {number}" for number, _ in rows)
            with writing.copy("copy told_of from stdin") as copy:
                for (number, flagged), digest in zip(rows, hashes, strict=True):
                    copy.write_row((number, flagged, bytes.fromhex(digest)[:KEY_BYTES]))
    stage.execute("analyze told_of")


def _keep(stage: Connection, manifest: Manifest, now: datetime) -> None:
    """Remember this file's word; when its gate runs again, it is as it is now. What is too old is dropped."""
    stage.execute("delete from sent.person_flag where interchange = %s", (manifest.interchange,))
    stage.execute(
        "insert into sent.person_flag (interchange, integration, at, key, flagged)"
        " select %(interchange)s, %(integration)s, %(now)s, key, true from told_of where flagged"
        " union all select %(interchange)s, %(integration)s, %(now)s, key, false from unflagged",
        {"interchange": manifest.interchange, "integration": manifest.integration, "now": now},
    )
    stage.execute("delete from sent.person_flag where integration = %s and at < %s", (manifest.integration, now - KEPT))


def _has_flags(layout: Layout) -> sql.Composable:
    """SQL for a record of a type that has a flag."""
    flags = [f for f in layout.fields if f.flag]
    kinds = list(dict.fromkeys(k for f in flags for k in (f.only or tuple(layout.records))))
    return sql.SQL("record_type = any({})").format(sql.Literal(kinds))
