"""From the stage into BoSko's database: one transaction, and none the second time. Knows no Airflow.

The merge reads three temporary relations: ``incoming`` (the stage's columns), ``file`` (one row: ``interchange``,
``effective``, ``sha256``, ``header``) and ``run`` (one row: ``now``). Its last statement returns counts by name.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from slussen.errors import CallError, StageGone, redacted

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.ledger import Ledger
    from slussen.manifest import Manifest

TOGETHER = 500  # rows, which libpq hands out one by one
EFFECTIVE = ("effektuerad", "framstalld_datum")  # what headers call the day that a file is about


def merge(
    integration: Integration,
    manifest: Manifest,
    ledger: Ledger,
    *,
    source: str,
    target: str,
    sql: Path,
    now: datetime,
) -> dict[str, int]:
    """Merge the stage and return what the merge counted.

    A merge that was committed but not yet written to the ledger is not repeated: the merge itself knows the
    interchanges that it has loaded.

    Raises:
        CallError: the file's header names no day.
        TechnicalError: a database failed, or the stage is not what the manifest says.
    """
    from psycopg import sql as pg

    from slussen.database import connect

    stage = pg.Identifier("stage", manifest.stage)
    with connect(source) as slussen, connect(target) as bosko, redacted(f"{integration.key}: merge"):
        definition = slussen.execute(
            "select string_agg(format('%%I %%s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum)"
            " from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            (f'stage."{manifest.stage}"',),
        ).fetchone()
        columns = definition[0] if definition else ""
        bosko.execute(pg.SQL("create temporary table incoming ({}) on commit drop").format(pg.SQL(columns)))
        bosko.execute(
            "create temporary table file (interchange text, effective date, sha256 text, header jsonb) on commit drop"
        )
        bosko.execute("create temporary table run (now timestamptz) on commit drop")
        bosko.execute(
            "insert into file values (%s, %s, %s, %s)",
            (manifest.interchange, effective(manifest), manifest.sha256, json.dumps(manifest.header)),
        )
        bosko.execute("insert into run values (%s)", (now,))
        out_of = pg.SQL("copy {} to stdout (format binary)").format(stage)
        incoming = bosko.cursor()
        with (
            slussen.cursor().copy(out_of) as read,
            incoming.copy("copy incoming from stdin (format binary)") as write,
        ):
            while rows := list(islice(read, TOGETHER)):
                write.write(b"".join(rows))
        if incoming.rowcount != manifest.totals["rows"]:
            raise StageGone(
                f"{manifest.interchange}: the stage no longer holds the manifest's {manifest.totals['rows']} rows. "
                "Next: clear stage, it is made again from the payload"
            )
        bosko.execute("analyze incoming, file, run")  # one row is planned otherwise than an unknown number
        cursor = bosko.execute((sql / integration.target.sql).read_bytes())
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        counts = {c.name: int(n) for c, n in zip(cursor.description or (), row or (), strict=True)}
        bosko.commit()
    if not any(e.kind == "merged" for e in ledger.events(manifest.interchange)):
        ledger.append(manifest.interchange, "merged", {"counts": counts}, integration=integration.key)
    return counts


def effective(manifest: Manifest) -> date:
    """The day that the file is about: what is older never overwrites what is newer.

    Raises:
        CallError: its header names none.
        ValueError: what it names is no day.
    """
    day = next((manifest.header[name] for name in EFFECTIVE if name in manifest.header), None)
    if day is None:
        raise CallError(f"{manifest.integration}: its header has none of {', '.join(EFFECTIVE)}: a merge needs a day")
    return date.fromisoformat(day)
