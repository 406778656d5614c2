"""Duplicates in four tiers: same name, same bytes, same business keys, same totals; within 31 days.

The third is the one that has hurt people: the same invoices once more, nearly identical, under new numbers. Records are
compared as a multiset: two children at the same fee are two records, and so they must be on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from slussen.quality.report import SHOWN, Check
from slussen.quality.seen import Seen, content_of, within_reach

if TYPE_CHECKING:
    from slussen.database import Connection
    from slussen.manifest import Manifest
    from slussen.quality.suite import BusinessKey

FEW = 20  # records: of so few, the same totals may come by chance
COMPARED = 40  # deliveries whose business keys are looked at
NEXT = "find out whether it has been sent before; release only if the receiver is to have it again"


def same_name(manifest: Manifest, seen: Sequence[Seen], now: datetime) -> Check:
    """A name that another content has had."""
    before = next((s for s in within_reach(seen, now) if s.name == manifest.name), None)
    return Check(
        "duplicates: same name", "warning", before is None, manifest.records, manifest.records if before else 0,
        message=f"{before.interchange} had this name, with another content" if before else "", next_step=NEXT,
    )  # fmt: skip


def same_bytes(manifest: Manifest, seen: Sequence[Seen], now: datetime) -> Check:
    """The very content of an earlier one."""
    before = next((s for s in within_reach(seen, now) if s.content == content_of(manifest)), None)
    return Check(
        "duplicates: same content", "warning", before is None, manifest.records, manifest.records if before else 0,
        message=f"all {manifest.records} records are those of {before.interchange}" if before else "", next_step=NEXT,
    )  # fmt: skip


def same_totals(manifest: Manifest, totals: dict[str, int], seen: Sequence[Seen], now: datetime) -> Check:
    """As many records of each type, and the same sums. Of few records, or without sums, that is a remark."""
    before = next((s for s in within_reach(seen, now) if s.totals == totals), None)
    few = manifest.records < FEW or not any(k.startswith("sum.") and n for k, n in totals.items())
    return Check(
        "duplicates: same totals", "info" if few else "warning", before is None, manifest.records,
        manifest.records if before else 0,
        message=f"{before.interchange} had the same counts and sums" if before else "", next_step=NEXT,
    )  # fmt: skip


def same_business(stage: Connection, key: BusinessKey, records: int, seen: Sequence[Seen], now: datetime) -> Check:
    """Records that an earlier delivery had too, whatever their numbers: the temporary table ``business`` has ours.

    Beyond the share that the suite tolerates a person is asked.
    """
    against = [s.interchange for s in within_reach(seen, now)][:COMPARED]
    check = Check("duplicates: same business keys", "warning", True, records, next_step=NEXT)
    if not against or not records:
        return check
    # Of each key as many are repeated as one of the deliveries has, at most as many as we have.
    stage.execute(
        "create temporary table repeated on commit drop as"
        " with own as (select key, count(*) as n from business group by key)"
        " select s.interchange, own.key, least(own.n, s.n) as n from own join sent.business s using (key)"
        " where s.interchange = any(%s)",
        (against,),
    )
    worst = stage.execute(
        "select interchange, sum(n) from repeated group by 1 order by 2 desc, 1 desc limit 1"
    ).fetchone()
    if worst is None:
        return check
    total = stage.execute("select sum(n) from (select max(n) as n from repeated group by key) k").fetchone()
    check.unexpected = int(total[0]) if total else 0
    # Of a key the last records are named, as many as are repeated.
    check.records = [
        int(r[0])
        for r in stage.execute(
            "select record_no from ("
            " select b.record_no, r.n, row_number() over (partition by b.key order by b.record_no desc) as nth"
            " from business b join (select key, max(n) as n from repeated group by key) r using (key)) named"
            " where nth <= n order by 1 limit %s",
            (SHOWN,),
        )
    ]
    check.ok = check.unexpected <= key.tolerated * records
    check.message = (
        f"{check.unexpected / records:.0%} of these {records:,} records ({check.unexpected:,}) were sent before, under "
        f"other numbers: {int(worst[1]):,} of them with {worst[0]}"
    )
    return check
