"""From a database's query to the interchange's stage. Knows no Airflow.

The query reads temporary relations, so that it runs in psql as it is: ``run`` (one row: ``start``, ``end``, ``day``,
``now``, ``since``), ``sent`` (``integration``, ``key``: what may not go again) and, where a form has ordered the run,
``form`` (one row: what was filled in, by name).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slussen.errors import CallError, redacted
from slussen.history import DEAD, last, last_delivered
from slussen.manifest import Manifest

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

    from slussen.integration import Integration
    from slussen.ledger import Ledger
    from slussen.records.layout import Layout


@dataclass(frozen=True, slots=True)
class Extracted:
    """The manifest of the stage, or why there is nothing to send."""

    manifest: Manifest
    skipped: str = ""


def extract(
    integration: Integration,
    interchange: str,
    ledger: Ledger,
    *,
    start: datetime | None,
    end: datetime | None,
    day: date,
    now: datetime,
    source: str,
    target: str,
    sql: Path,
    form: Mapping[str, str] | None = None,
) -> Extracted:
    """Run the integration's query and stage its rows, typed by the layout.

    A repeat of the same interchange asks with the same ``since`` and ``now``: the first attempt's are in the ledger.

    Raises:
        CallError: the query returns a column that the layout doesn't have.
        TechnicalError: a database failed.
    """
    from slussen.database import connect
    from slussen.records import layout as layouts
    from slussen.records import stage
    from slussen.staging import new_table, publish

    layout = layouts.load(integration.layout)
    events = ledger.events(interchange)
    first = next((e for e in events if e.kind == "staged"), None)
    since = _since(ledger, integration, interchange)
    if first is not None:
        now, since = datetime.fromisoformat(first.data["now"]), first.data["since"]
    empty = Manifest(integration=integration.key, interchange=interchange)
    table = new_table(interchange)

    with connect(source) as bosko, connect(target) as slussen, redacted(f"{integration.key}: extract"):
        _relations(bosko, ledger, slussen, integration, interchange, (start, end, day, now, since))
        if form:
            _form(bosko, form)
        if integration.due and not _is_due(bosko, (sql / integration.due).read_text()):
            return Extracted(empty, integration.not_due)
        query = (sql / integration.source.sql).read_text().rstrip().rstrip(";")
        counts: dict[str, int] = {}
        sums: dict[str, int] = {}
        schema = stage_schema(layout)
        stage.create(slussen, table, schema)
        batches = _typed(stage.read(bosko, query), schema, counts, sums, integration)
        copied = stage.copy_in(slussen, table, batches)
        slussen.commit()
    # Nothing new is nothing to send. Nobody at all, where everybody is always sent, is for the gate to judge.
    if not copied.rows and (integration.sent or integration.form):
        return Extracted(empty, _nothing(ledger, integration, interchange))
    totals = {f"records.{kind}": n for kind, n in counts.items()} | {f"sum.{name}": n for name, n in sums.items()}
    manifest = empty.but(
        records=copied.rows,
        layout=layout.name,
        layout_version=layout.version,
        stage=table,
        stage_sha256=copied.sha256,
        totals=totals,
    )
    publish(ledger, manifest, events[-1].seq if events else 0, now=now.isoformat(), since=since)
    return Extracted(manifest)


def stage_schema(layout: Layout) -> pa.Schema:
    """The stage of an extract: the layout's columns, and whom the row concerns, protected or not, its delta key."""
    import pyarrow as pa

    meta = [pa.field("person", pa.string()), pa.field("protected", pa.bool_()), pa.field("key", pa.string())]
    return pa.schema([*layout.data_schema, *meta])


def open_keys(
    ledger: Ledger, slussen: psycopg.Connection, integrations: tuple[str, ...], but: str
) -> list[tuple[str, str]]:
    """The delta keys of what was delivered or may still be, save those of the same interval's own interchanges."""
    interval = but.rpartition("-")[2]
    gone = [i.id for key in integrations for i in ledger.interchanges(integration=key) if i.state in DEAD]
    rows = slussen.execute(
        "select integration, key from sent.key where kind = 'key' and integration = any(%s)"
        " and not interchange = any(%s) and not interchange like %s",
        (list(integrations), gone, f"%-{interval}"),
    )
    return [(str(a), str(b)) for a, b in rows]


def _since(ledger: Ledger, integration: Integration, interchange: str) -> str:
    """The run clock of the last delivered interchange before this one: what changed after it is new."""
    staged = last(ledger, last_delivered(ledger, integration.key, interchange), "staged")
    return str(staged["now"]) if staged else "-infinity"


def _nothing(ledger: Ledger, integration: Integration, interchange: str) -> str:
    """Since when there has been nothing: the last run before this one that looked, in Stockholm time."""
    from zoneinfo import ZoneInfo

    stockholm = ZoneInfo("Europe/Stockholm")
    key, stamp = f"{integration.key}-", "%Y%m%dT%H%M%SZ"
    mine = _moment(interchange.removeprefix(key), stamp)
    looked = [_moment(i.id.removeprefix(key), stamp) for i in ledger.interchanges(integration=integration.key)]
    before = max((at for at in looked if at is not None and mine is not None and at < mine), default=None)
    if before is None or mine is None:
        return "nothing to send"
    same_day = before.astimezone(stockholm).date() == mine.astimezone(stockholm).date()
    return f"nothing since {before.astimezone(stockholm):{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}}"


def _moment(stamp: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, form).replace(tzinfo=UTC)
    except ValueError:
        return None


def _form(bosko: psycopg.Connection, form: Mapping[str, str]) -> None:
    from psycopg import sql as pg

    columns = pg.SQL(", ").join(pg.SQL("{} text").format(pg.Identifier(name)) for name in form)
    bosko.execute(pg.SQL("create temporary table form ({}) on commit drop").format(columns))
    places = pg.SQL(", ").join([pg.Placeholder()] * len(form))
    bosko.execute(pg.SQL("insert into form values ({})").format(places), list(form.values()))


def _relations(
    bosko: psycopg.Connection,
    ledger: Ledger,
    slussen: psycopg.Connection,
    integration: Integration,
    interchange: str,
    run: tuple[Any, ...],
) -> None:
    bosko.execute(
        'create temporary table run (start timestamptz, "end" timestamptz, day date, now timestamptz,'
        " since timestamptz) on commit drop"
    )
    bosko.execute("insert into run values (%s, %s, %s, %s, %s::timestamptz)", run)
    bosko.execute("create temporary table sent (integration text, key text) on commit drop")
    if integration.sent:
        keys = open_keys(ledger, slussen, integration.sent, interchange)
        with bosko.cursor() as cursor, cursor.copy("copy sent from stdin") as copy:
            for row in keys:
                copy.write_row(row)
        bosko.execute("analyze sent")


def idle(integration: Integration, start: datetime, source: str, sql: Path) -> str:
    """Why there is nothing to do in the interval that begins at ``start``: not a night of its calendar, or nothing.

    Raises:
        TechnicalError: the source's database can't be asked.
    """
    from slussen.database import connect
    from slussen.lateness import STOCKHOLM

    if not integration.due:
        return ""
    with connect(source) as bosko, redacted(f"{integration.key}: is it due?"):
        bosko.execute("create temporary table run (day date) on commit drop")
        bosko.execute("insert into run values (%s)", (start.astimezone(STOCKHOLM).date(),))
        return "" if _is_due(bosko, (sql / integration.due).read_text()) else integration.not_due


def _is_due(bosko: psycopg.Connection, query: str) -> bool:
    row = bosko.execute(query.encode()).fetchone()
    return bool(row and row[0])


def _typed(
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    counts: dict[str, int],
    sums: dict[str, int],
    integration: Integration,
) -> Iterator[pa.RecordBatch]:
    """The query's batches with the stage's columns: numbered, cast, and null where the query says nothing.

    Counts the records by type, and sums up what is an amount, in its smallest unit (öre).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    number = 0
    for batch in batches:
        if unknown := set(batch.schema.names) - set(schema.names):
            raise CallError(
                f"{integration.key}: include/sql/{integration.source.sql} returns {', '.join(sorted(unknown))}, "
                f"which the layout {integration.layout} doesn't have: add the field there, or leave it out of the query"
            )
        n = batch.num_rows
        columns = []
        for field in schema:
            if field.name == "record_no":
                column = pa.array(range(number + 1, number + n + 1), pa.int64())
            elif field.name in batch.schema.names:
                column = pc.cast(batch.column(field.name), field.type)
                if pa.types.is_decimal(field.type) and (total := pc.sum(column).as_py()) is not None:
                    sums[field.name] = sums.get(field.name, 0) + int(total.scaleb(field.type.scale))
            else:
                column = pa.nulls(n, field.type)
            columns.append(column)
        for kind in pc.value_counts(batch.column("record_type")).to_pylist():
            counts[kind["values"]] = counts.get(kind["values"], 0) + kind["counts"]
        number += n
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
