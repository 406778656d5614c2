"""The peers' side, run by an interpreter that has them: ``python peers.py NAME ARGUMENTS``. Knows nothing of ours.

``SPEC`` is ``kind at length;...`` (t text, g digits, d date, n amount), as the C program has it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

STRIDE = 301
Took = tuple[float, float, int]  # seconds, of them of processors, rows


class Watch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def took(self, rows: int) -> Took:
        return time.perf_counter() - self._began, time.process_time() - self._cpu, rows


def _fields(spec: str) -> list[tuple[str, int, int]]:
    return [(k, int(a) - 1, int(n)) for k, a, n in (f.split() for f in spec.split(";") if f)]


def struct_loop(source: str, spec: str) -> int:
    """One record at a time, cut by struct, each field made what it is."""
    import struct

    fields = _fields(spec)
    cut = struct.Struct("".join(f"{n}s" for _, _, n in fields)).unpack
    columns: list[list[Any]] = [[] for _ in fields]
    rows = 0
    with open(source, "rb") as stream:  # noqa: PTH123
        while record := stream.read(STRIDE):
            for (kind, _, _), cell, column in zip(fields, cut(record[:-1]), columns, strict=True):
                if kind in "tg":
                    column.append(cell.rstrip().decode("latin-1"))
                elif kind == "d":
                    column.append(date(int(cell[:4]), int(cell[4:6]), int(cell[6:])))
                else:
                    column.append(Decimal(int(cell)).scaleb(-2))
            rows += 1
            if rows % 10_000 == 0:
                columns = [[] for _ in fields]
    return rows


def pandas_fwf(source: str, spec: str) -> int:
    import pandas

    fields = _fields(spec)
    frame = pandas.read_fwf(
        source, colspecs=[(a, a + n) for _, a, n in fields], header=None, encoding="latin-1",
        dtype=dict.fromkeys(range(len(fields)), str),
    )  # fmt: skip
    for k, (kind, _, _) in enumerate(fields):
        if kind == "n":
            frame[k] = pandas.to_numeric(frame[k]) / 100
        elif kind == "d":
            frame[k] = pandas.to_datetime(frame[k], format="%Y%m%d")
    return len(frame)


def fixedwidth(source: str, spec: str) -> int:
    """fixedwidthparser: compiled, on as many threads as there are processors; batches as Arrow."""
    import fixedwidth as fw
    import pyarrow as pa

    kinds = {"t": {"type": fw.String}, "g": {"type": fw.String}, "d": {"type": fw.Date, "format": "yyyyMMdd"},
             "n": {"type": fw.Float64, "scale": 2}}  # fmt: skip
    columns = []
    for k, (kind, a, n) in enumerate(_fields(spec)):
        rules = dict(kinds[kind])
        columns.append(fw.Column(str(k), a, n, rules.pop("type"), **rules))
    options = fw.ReaderOptions(read=fw.ReadOptions(encoding="latin-1"), batch_rows=100_000)
    stream = fw.read_arrow_stream(source, fw.Layout(columns), options)
    return sum(batch.num_rows for batch in pa.RecordBatchReader.from_stream(stream))


def polars_parse(source: str, spec: str) -> int:
    import polars as pl

    lines = pl.read_csv(source, has_header=False, separator="\x01", quote_char=None, encoding="latin-1",
                        new_columns=["line"], schema_overrides=[pl.String])  # fmt: skip
    made = []
    for k, (kind, a, n) in enumerate(_fields(spec)):
        cell = pl.col("line").str.slice(a, n)
        if kind in "tg":
            made.append(cell.str.strip_chars_end(" ").alias(str(k)))
        elif kind == "d":
            made.append(cell.str.to_date("%Y%m%d").alias(str(k)))
        else:
            made.append(cell.cast(pl.Int64).alias(str(k)))
    return int(lines.select(made).height)


def duckdb_parse(source: str, spec: str) -> int:
    import duckdb

    made = []
    for k, (kind, a, n) in enumerate(_fields(spec)):
        cell = f"substring(line, {a + 1}, {n})"
        made.append(
            {"d": f"strptime({cell}, '%Y%m%d')::date", "n": f"{cell}::bigint"}.get(kind, f"rtrim({cell})") + f" c{k}"
        )
    query = (
        f"select {', '.join(made)} from read_csv('{source}', header=false, delim='\\x01', quote='', escape='',"
        " columns={'line': 'varchar'}, encoding='latin-1')"
    )
    duckdb.sql(f"create table parsed as {query}")
    return int(duckdb.sql("select count(*) from parsed").fetchall()[0][0])


def fstrings(source: str, spec: str, target: str) -> Took:
    """Rows of Python values into records by f-strings."""
    fields = _fields(spec)
    rows: list[list[Any]] = []
    with open(source, "rb") as stream:  # noqa: PTH123
        while record := stream.read(STRIDE):
            row: list[Any] = []
            for kind, a, n in fields:
                cell = record[a : a + n]
                if kind in "tg":
                    row.append(cell.rstrip().decode("latin-1"))
                else:
                    row.append(int(cell) if kind == "n" else date(int(cell[:4]), int(cell[4:6]), int(cell[6:])))
            rows.append(row)
    watch = Watch()
    with open(target, "wb") as out:  # noqa: PTH123
        for row in rows:
            line = ""
            for (kind, _, n), value in zip(fields, row, strict=True):
                if kind in "tg":
                    if len(value) > n:
                        raise ValueError("too long")
                    line += f"{value:<{n}}"
                else:
                    line += f"{value:%Y%m%d}" if kind == "d" else f"{value:0{n}d}"
            out.write(line.encode("latin-1") + b"\n")
    return watch.took(len(rows))


def polars_render(source: str, spec: str, target: str) -> Took:
    import polars as pl

    fields = _fields(spec)
    lines = pl.read_csv(source, has_header=False, separator="\x01", quote_char=None, encoding="latin-1",
                        new_columns=["line"], schema_overrides=[pl.String])  # fmt: skip
    made = []
    for k, (kind, a, n) in enumerate(fields):
        cell = pl.col("line").str.slice(a, n)
        made.append({"d": cell.str.to_date("%Y%m%d"), "n": cell.cast(pl.Int64)}.get(kind, cell.str.strip_chars_end(" "))
                    .alias(str(k)))  # fmt: skip
    frame = lines.select(made)
    watch = Watch()
    padded = []
    for k, (kind, _, n) in enumerate(fields):
        value = pl.col(str(k))
        if kind in "tg":
            padded.append(value.str.pad_end(n))
        elif kind == "d":
            padded.append(value.dt.strftime("%Y%m%d"))
        else:
            padded.append(value.cast(pl.String).str.zfill(n))
    column = frame.select(pl.concat_str(padded).alias("line"))
    column.write_csv(target, include_header=False, quote_style="never")
    return watch.took(frame.height)


def navet_loop(source: str) -> int:
    """Line by line, as anybody would write it: a dict for each post and each of its groups."""
    posts = 0
    row: dict[str, str] = {}
    rows: list[dict[str, str]] = []
    with open(source, encoding="cp1252") as lines:  # noqa: PTH123
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("#UP "):
                code, value = line[4:9], line[10:]
                if code in ("02000", "03000"):
                    row = {"kind": code}
                    rows.append(row)
                elif code.endswith("999"):
                    row = {}
                elif value:
                    row[code] = value
            elif line == "#POST_START":
                posts += 1
                row = {"kind": "person"}
                rows.append(row)
                if posts % 20_000 == 0:
                    rows = [row]
    return posts


def _typed(source: str, spec: str) -> Any:
    """The file as an Arrow table, for the ingests: their clock starts after it."""
    import pyarrow as pa

    fields = _fields(spec)
    columns: list[list[Any]] = [[] for _ in fields]
    with open(source, "rb") as stream:  # noqa: PTH123
        while record := stream.read(STRIDE):
            for (kind, a, n), column in zip(fields, columns, strict=True):
                cell = record[a : a + n]
                if kind in "tg":
                    column.append(cell.rstrip().decode("latin-1"))
                else:
                    column.append(int(cell) if kind == "n" else date(int(cell[:4]), int(cell[4:6]), int(cell[6:])))
    return pa.table({f"c{k}": pa.array(c) for k, c in enumerate(columns)})


def adbc(source: str, spec: str, dsn: str) -> Took:
    import adbc_driver_postgresql.dbapi as dbapi

    table = _typed(source, spec)
    with dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists adbc_bench")
        cursor.execute("create unlogged table adbc_bench (" + ", ".join(
            f"c{k} {'text' if f.type == 'string' else 'bigint' if str(f.type) == 'int64' else 'date'}"
            for k, f in enumerate(table.schema)) + ")")  # fmt: skip
        connection.commit()
        watch = Watch()
        cursor.adbc_ingest("adbc_bench", table, mode="append")
        connection.commit()
    return watch.took(table.num_rows)


def write_row(source: str, spec: str, dsn: str) -> Took:
    import psycopg

    rows = [tuple(r.values()) for r in _typed(source, spec).to_pylist()]
    fields = _fields(spec)
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        kinds = {"d": "date", "n": "bigint"}
        columns = ", ".join(f"c{k} {kinds.get(kind, 'text')}" for k, (kind, _, _) in enumerate(fields))
        cursor.execute("drop table if exists write_row_bench")
        cursor.execute(f"create unlogged table write_row_bench ({columns})")
        watch = Watch()
        with cursor.copy("copy write_row_bench from stdin") as copy:
            for row in rows:
                copy.write_row(row)
        connection.commit()
    return watch.took(len(rows))


PEERS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        struct_loop, pandas_fwf, fixedwidth, polars_parse, duckdb_parse, fstrings, polars_render, navet_loop, adbc,
        write_row,
    )
}  # fmt: skip


def main() -> None:
    name, *arguments = sys.argv[1:]
    watch = Watch()
    found = PEERS[name](*arguments)
    seconds, cpu, rows = found if isinstance(found, tuple) else watch.took(found)
    with open("/proc/self/status") as status:  # noqa: PTH123
        peak = next((int(x.split()[1]) / 1024 for x in status if x.startswith("VmHWM:")), float("nan"))
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rows": rows, "peak": peak}))


if __name__ == "__main__":
    main()
