"""What the gate has seen of earlier interchanges, and keeps of this one: sizes, totals, business keys as keyed hashes.

A business key is what makes a record the same to its receiver: whom it is about, how much, for when; without order
numbers, dates of making and the like, which are new each time. ``include/sql/migrations/slussen/0005`` has the tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from slussen.keys import keyed

if TYPE_CHECKING:
    from slussen.database import Connection
    from slussen.manifest import Manifest
    from slussen.quality.suite import BusinessKey

REACH = timedelta(days=31)  # how far back duplicates are looked for
KEPT = timedelta(days=62)  # business keys older than that are dropped
PIECE = 20_000  # keys that are hashed at a time
KEY_BYTES = 16  # of the hash, in the table: enough that two keys never share them


@dataclass(frozen=True, slots=True)
class Seen:
    """An earlier interchange, as the gate saw it. ``at``: the run's clock."""

    interchange: str
    name: str
    at: datetime
    content: str
    records: int
    totals: dict[str, int]


def content_of(manifest: Manifest) -> str:
    """What is the same when the content is: the hash of the source's bytes, or of the rows that a query made."""
    return manifest.made_from[0] if manifest.made_from else manifest.stage_sha256


def earlier(stage: Connection, manifest: Manifest, sent: Sequence[str], now: datetime) -> list[Seen]:
    """The interchanges of this integration that were sent, or may have been, before this one; newest first."""
    rows = stage.execute(
        "select interchange, name, at, content, records, totals from sent.seen"
        " where integration = %s and interchange = any(%s) and interchange <> %s and at <= %s order by at desc",
        (manifest.integration, list(sent), manifest.interchange, now),
    )
    return [Seen(*row) for row in rows]


def keep(stage: Connection, manifest: Manifest, totals: dict[str, int], now: datetime) -> None:
    """Remember this interchange; when its gate runs again, it is as it is now. Old business keys are dropped."""
    stage.execute(
        "insert into sent.seen (interchange, integration, name, at, content, records, totals)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict (interchange) do update"
        " set (name, at, content, records, totals)"
        " = (excluded.name, excluded.at, excluded.content, excluded.records, excluded.totals)",
        (manifest.interchange, manifest.integration, manifest.name, now, content_of(manifest), manifest.records,
         json.dumps(totals)),
    )  # fmt: skip
    stage.execute("delete from sent.business where interchange = %s", (manifest.interchange,))
    stage.execute(
        "delete from sent.business using sent.seen where seen.interchange = business.interchange"
        " and seen.integration = %s and seen.at < %s",
        (manifest.integration, now - KEPT),
    )


def bring_keys(stage: Connection, table: sql.Identifier, key: BusinessKey, integration: str) -> int:
    """The stage's business keys, hashed, into a temporary table ``business (key, record_no)``; how many records.

    A column that a record leaves empty is taken from the record that it belongs to, where the suite says which.
    """
    stage.execute("create temporary table business (key bytea, record_no bigint) on commit drop")
    n = 0
    with stage.cursor("business_keys") as reading, stage.cursor() as writing:
        reading.execute(_query(table, key))
        while rows := reading.fetchmany(PIECE):
            n += len(rows)
            hashes = keyed(f"business {integration} {text}" for _, text in rows)
            with writing.copy("copy business from stdin") as copy:
                for (record, _), digest in zip(rows, hashes, strict=True):
                    copy.write_row((bytes.fromhex(digest)[:KEY_BYTES], record))
    stage.execute("create index on business (key)")
    stage.execute("analyze business")
    return n


def keep_keys(stage: Connection, interchange: str) -> None:
    """Keep the temporary table's keys as this interchange's; after ``keep``."""
    stage.execute(
        "insert into sent.business (interchange, key, n) select %s, key, count(*) from business group by key",
        (interchange,),
    )


def within_reach(seen: Sequence[Seen], now: datetime) -> Iterator[Seen]:
    return (s for s in seen if s.at >= now - REACH)


def _query(table: sql.Identifier, key: BusinessKey) -> sql.Composed:
    """Each keyed record's number and its key as one text, a part after the other, each with its length."""
    columns = []
    for name in key.columns:
        column = sql.SQL("own.{}::text").format(sql.Identifier(name))
        if key.of:
            column = sql.SQL("coalesce({}, whole.{}::text)").format(column, sql.Identifier(name))
        columns.append(sql.SQL("coalesce(length({0}) || ':' || {0}, '-')").format(column))
    query = sql.SQL("select own.record_no, concat_ws(',', {}) from {} own").format(sql.SQL(", ").join(columns), table)
    if key.of:
        shared = sql.SQL(" and ").join(
            sql.SQL("whole.{0} = own.{0}").format(sql.Identifier(name)) for name in key.sharing
        )
        query += sql.SQL(" left join {} whole on whole.record_type = {} and {}").format(
            table, sql.Literal(key.of), shared
        )
    if key.only:
        query += sql.SQL(" where own.record_type = {}").format(sql.Literal(key.only))
    return query
