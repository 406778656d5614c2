"""Rows of tables (CSV, JSON lines, Parquet), to be rendered: each value exactly, or a finding.

What is no row, and no value of its field's type, is found with its place; all of a table's in one pass.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.errors import CallError, Finding, Findings
from slussen.records.codepages import BOM
from slussen.records.layout import Layout
from slussen.records.source import CHUNK
from slussen.records.writers import RAW
from slussen.records.writing import SOURCE
from slussen.tools.opened import readable, reading
from slussen.tools.tables import KINDS


def read(path: Path, layout: Layout, findings: Findings) -> Iterator[pa.RecordBatch]:
    """A table's rows as batches typed by the layout; what is no row, and no value of its field's type, is a finding.

    Raises:
        CallError: it isn't CSV, JSON lines or Parquet, or has a column that the layout lacks.
    """
    file = readable(path)
    kind = path.suffix.lstrip(".").lower() if file is path else _looks_like(file)
    if kind not in KINDS:
        raise CallError(f"{path.name}: what is it? Name it .csv, .jsonl or .parquet")
    for batch, numbers in _batches(file, kind, path.name, findings):
        yield _typed(batch, numbers, layout, path, findings)


Numbered = tuple[pa.RecordBatch, NDArray[np.int64]]  # rows, and which of the table's they are


def _batches(file: Path, kind: str, name: str, findings: Findings) -> Iterator[Numbered]:
    """The table as it is. What Arrow says against it quotes the row that it stumbled over: only the place is told."""
    if kind == "jsonl":
        yield from _read_jsonl(file, name, findings)
        return
    number = 1
    try:
        if kind == "csv" and (line := _odd_quote(file)):
            _no_row(findings, f"{name}: line {line}: a quote that is not closed, or stands in the middle of a value")
            return
        for batch in (_read_csv if kind == "csv" else _read_parquet)(file):
            yield batch, np.arange(number, number + batch.num_rows)
            number += batch.num_rows
    except (pa.lib.ArrowException, OSError) as error:
        said = str(error)
        row = re.search(r"Row #(\d+)", said)
        columns = re.search(r"Expected (\d+) columns, got (\d+)", said)
        why = f"{columns[2]} columns where the first line has {columns[1]}" if columns else f"it is no sound {kind}"
        why = "it is not UTF-8" if "UTF8" in said else why
        _no_row(findings, f"{name}: {f'row {row[1]}: ' if row else ''}{why}")


def _no_row(findings: Findings, message: str) -> None:
    findings.add(Finding("table", message, "have the table written again, whole"))


def _looks_like(file: Path) -> str:
    """What a stream without a name is, by its beginning."""
    with reading(file) as stream:
        start = stream.read(4)
    return "parquet" if start == b"PAR1" else "jsonl" if start[:1] == b"{" else "csv"


def _odd_quote(path: Path) -> int:
    """The line of CSV with a quote that neither begins nor ends a value nor is doubled; 0, if there is none.

    (Arrow takes such quotes for letters, and a table that ends within quotes for a whole one.)
    """
    edges = np.isin(np.arange(256), [*b',\r\n"'])
    quotes, lines, last, before = 0, 1, 0, b"\n"
    with reading(path) as stream:
        data = stream.read(CHUNK).removeprefix(BOM)
        while data:
            more = stream.read(CHUNK)
            block = np.frombuffer(before + data + (more[:1] or b"\n"), np.uint8)
            there = np.flatnonzero(block[1:-1] == ord('"')) + 1
            closing = (np.arange(quotes, quotes + len(there)) % 2).astype(np.bool_)
            odd = there[~edges[block[np.where(closing, there + 1, there - 1)]]]
            quotes += len(there)
            if len(odd):
                return lines + data.count(b"\n", 0, int(odd[0]) - 1)
            if len(there):
                last = lines + data.count(b"\n", 0, int(there[-1]) - 1)
            lines += data.count(b"\n")
            before, data = data[-1:], more
    return last if quotes % 2 else 0


def _read_csv(path: Path) -> Iterator[pa.RecordBatch]:
    from pyarrow import csv

    if path.stat().st_size == 0:
        return
    parsing = csv.ParseOptions(newlines_in_values=True)
    serial = csv.ReadOptions(use_threads=False)  # with threads it doesn't know its row's number
    with csv.open_csv(path, serial, parsing) as reader:
        names = reader.schema.names
    options = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, quoted_strings_can_be_null=True,
        null_values=[""],
    )  # fmt: skip
    with csv.open_csv(path, serial, parsing, options) as reader:
        yield from reader


def _read_jsonl(path: Path, name: str, findings: Findings) -> Iterator[Numbered]:
    rows: dict[int, dict[str, str | None]] = {}
    with reading(path) as lines:
        for n, line in enumerate(lines, 1):
            try:
                rows[n] = _object(line)
            except ValueError as error:
                _no_row(findings, f"{name}: line {n} {error}")
            if len(rows) == 10_000:
                yield _of_rows(rows)
                rows = {}
    if rows:
        yield _of_rows(rows)


def _object(line: bytes) -> dict[str, str | None]:
    """A line's object, its numbers as they are written.

    Raises:
        ValueError: why it is none, in words.
    """
    try:
        text = line.decode("utf-8")
        row = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=_no_constant, object_pairs_hook=_each_once
        )
        if "\\u" in text:  # half a letter can be written so, and nothing else can hold it
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except _Wrong:
        raise
    except UnicodeDecodeError as error:
        raise _Wrong(f"has byte {line[error.start]:02x} at {error.start + 1}, which is no UTF-8") from None
    except UnicodeEncodeError:
        raise _Wrong("has half a letter (a lone surrogate)") from None
    except (ValueError, RecursionError):
        raise _Wrong("is no JSON") from None
    if not isinstance(row, dict):
        raise _Wrong("is no object")
    if any(isinstance(value, list | dict) for value in row.values()):
        raise _Wrong("has a value within another")
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in row.items()}


class _Wrong(ValueError):
    """Why a line is none of the table's."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets the second of two keys win in silence."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _Wrong("has a field twice")
    return row


def _no_constant(name: str) -> None:
    raise _Wrong(f"has {name}, which JSON has not")


def _of_rows(rows: dict[int, dict[str, str | None]]) -> Numbered:
    names = list(dict.fromkeys(k for row in rows.values() for k in row))
    columns = [pa.array([row.get(n) for row in rows.values()], pa.string()) for n in names]
    return pa.RecordBatch.from_arrays(columns, names=names), np.array([*rows], np.int64)


def _read_parquet(path: Path) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    yield from parquet.ParquetFile(path).iter_batches()


def _typed(
    batch: pa.RecordBatch, numbers: NDArray[np.int64], layout: Layout, path: Path, findings: Findings
) -> pa.RecordBatch:
    n = len(numbers)  # rows without a column have no length of their own
    known = {*layout.schema.names, RAW}
    if unknown := [name for name in batch.schema.names if name not in known]:
        raise CallError(f"{path.name}: columns that {layout.name} doesn't have: {', '.join(unknown)}")
    if twice := [name for name, count in Counter(batch.schema.names).items() if count > 1]:
        raise CallError(f"{path.name}: columns that are there twice: {', '.join(twice)}")
    columns = {}
    for column in (*layout.schema, pa.field(RAW, pa.string())):
        if column.name == "record_no":
            values = pa.array(numbers)
        elif column.name == "record_type" and column.name not in batch.schema.names and len(layout.data_types) == 1:
            values = pa.array([layout.data_types[0]] * n, pa.string())
        elif column.name not in batch.schema.names:
            values = pa.nulls(n, column.type)
        else:
            values, wrong = _of_type(batch.column(column.name), column.type)
            rule, wanted = _wanted(column.type)
            for row in wrong:
                findings.add(Finding(rule, f"not {wanted}", SOURCE, record=int(numbers[row]), field=column.name))
        columns[column.name] = values
    if RAW not in batch.schema.names:
        del columns[RAW]
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _wanted(kind: pa.DataType) -> tuple[str, str]:
    """What a value of this type that is none breaks, and what it should have been."""
    if pa.types.is_decimal(kind):
        return "not_a_number", f"a number of at most {kind.precision} digits, {kind.scale} of them decimals"
    return {
        pa.int64(): ("not_a_number", "a whole number"),
        pa.date32(): ("not_a_date", "a date (YYYY-MM-DD)"),
        pa.time32("s"): ("not_a_date", "a time (hh:mm:ss)"),
        pa.timestamp("s"): ("not_a_date", "a timestamp (YYYY-MM-DDThh:mm:ss)"),
        pa.bool_(): ("not_in_code_list", "true or false"),
    }.get(kind, ("not_a_text", "a text"))


# What a value looks like as text, and how much of it tells. Arrow reads more than that (hex, second 60), drops what a
# type has no room for (a date's time of day, a zone), and takes numbers for days.
SHAPES = {
    pa.int64(): (r"^-?[0-9]+$", None),
    pa.date32(): (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]00:00:00(\.0+)?)?$", 10),
    pa.time32("s"): (r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.0+)?$", 8),
    pa.timestamp("s"): (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.0+)?)?$", 19),
}


def _of_type(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The values as this type, and the rows that are none of it: null then.

    Whatever they are, they are read as the text that they are written as: what is exact stays so.
    """
    if values.type == kind:
        return values, []
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        text = values.cast(pa.string())
    except pa.lib.ArrowException:
        return pa.nulls(len(values), kind), np.flatnonzero(np.asarray(values.is_valid())).tolist()
    try:
        return _read_as(text, kind), []
    except pa.lib.ArrowException:
        wrong = [row for row in range(len(text)) if not _reads_as(text.slice(row, 1), kind)]
        there = np.ones(len(text), np.bool_)
        there[wrong] = False
        return _read_as(pc.if_else(pa.array(there), text, None), kind), wrong


def _reads_as(text: pa.Array, kind: pa.DataType) -> bool:
    try:
        _read_as(text, kind)
    except pa.lib.ArrowException:
        return False
    return True


def _read_as(text: pa.Array, kind: pa.DataType) -> pa.Array:
    shape, length = SHAPES.get(kind, ("", None))
    if shape and not pc.all(pc.match_substring_regex(text, shape)).as_py() and text.null_count < len(text):
        raise pa.ArrowInvalid
    text = pc.utf8_slice_codeunits(text, 0, length) if length else text
    if pa.types.is_time(kind):
        return pc.strptime(text, format="%H:%M:%S", unit="s").cast(kind)
    return text.cast(kind)
