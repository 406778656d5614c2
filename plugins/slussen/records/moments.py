"""Dates and times from bytes to an Arrow column, by their form."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slussen.records import forms
from slussen.records.columns import Column, Fault
from slussen.records.letters import Bools, Bytes, flat_of, of_cells, offsets_of, pairs_of, plain_numbers
from slussen.records.notation import FieldSpec, arrow_type

BLANK, ZERO = ord(" "), ord("0")


@cache
def calendar() -> tuple[np.ndarray, np.ndarray]:
    """By month since year 0: the first day (from 1970-01-01), and how many days it has."""
    months = np.arange("0000-01", "10000-01", dtype="datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int32)
    following = (months + 1).astype("datetime64[D]").astype(np.int32)
    return first, (following - first).astype(np.uint8)


def read_cells(f: FieldSpec, cells: Bytes) -> Column:
    if f.length == len(f.shape) and not f.accepts:
        return _exactly(f, f.shape, cells)
    return read_moment(f, pc.ascii_trim(of_cells(cells), " "))


def read_moment(f: FieldSpec, column: pa.Array) -> Column:
    """A column of plain bytes without blanks around them as dates or times, by the form that has their length."""
    lengths = np.diff(offsets_of(column))
    n = len(column)
    values, valid, empty = np.zeros(n, np.int64), np.zeros(n, np.bool_), lengths == 0
    faults: list[Fault] = []
    zeros = np.asarray(pc.equal(pc.ascii_ltrim(column, "0"), "")) & ~empty
    if f.type == "time" and f.empty != "zeros":  # midnight
        zeros &= False
    rest = ~empty & ~zeros
    for form in (f.shape, *f.accepts):
        rows = np.flatnonzero(rest & (lengths == len(form)))
        if not len(rows):
            continue
        chosen = column.take(pa.array(rows)) if len(rows) < n else column
        found = _exactly(f, form, flat_of(chosen).reshape(len(chosen), len(form)))
        values[rows] = found.values.cast(_integer(f)).fill_null(0).to_numpy()
        valid[rows] = np.asarray(found.values.is_valid())
        for fault in found.faults:
            faults.append(replace(fault, rows=rows[fault.rows]))
        rest[rows] = False
    if rest.any():
        faults.append(Fault("not_a_date", f"no {f.type} of the form {f.shape}", np.flatnonzero(rest)))
    return Column(_moments(f, values, valid), empty | zeros, faults)


def _integer(f: FieldSpec) -> pa.DataType:
    return pa.int64() if f.type == "timestamp" else pa.int32()


def _moments(f: FieldSpec, values: NDArray[Any], valid: Bools | None) -> pa.Array:
    kind = np.int64 if f.type == "timestamp" else np.int32
    return plain_numbers(values.astype(kind, copy=False), valid, arrow_type(f))


@cache
def _weights(form: str) -> np.ndarray:
    """What each place of a form counts in each of its parts: ``(length, parts)``."""
    spans = forms.parts(form)
    weights = np.zeros((len(form), len(spans)), np.float32)
    for k, (first, last) in enumerate(spans.values()):
        weights[first:last, k] = 10.0 ** np.arange(last - first - 1, -1, -1)
    return weights


def _exactly(f: FieldSpec, form: str, cells: Bytes) -> Column:
    """Cells of exactly this form; blanks, or zeros where there is no such date, are none."""
    digits = cells - np.uint8(ZERO)
    sound = np.ones(len(cells), np.bool_)
    spans = forms.parts(form)
    for place, letter in forms.literals(form):
        sound &= cells[:, place] == ord(letter)
    if digits.size and digits.max() > 9:
        there = [k for first, last in spans.values() for k in range(first, last)]
        sound &= (digits[:, there] <= 9).all(axis=1)
    if form == "YYYYMMDD":
        century, year, month, day = pairs_of(digits).astype(np.int32).T
        part = {"YYYY": century * 100 + year, "MM": month, "DD": day}
    else:
        products = (digits.astype(np.float32) @ _weights(form)).astype(np.int32)
        part = {name: np.ascontiguousarray(products[:, k]) for k, name in enumerate(spans)}
    values: NDArray[Any] = np.zeros(0, np.int32)
    if "hh" in spans:
        minute, second = part.get("mm", 0), part.get("ss", 0)
        sound &= (part["hh"] < 24) & (minute < 60) & (second < 60)
        values = part["hh"] * 3600 + minute * 60 + second
    if f.type != "time":
        days, right = _days(f, part)
        sound &= right
        values = days.astype(np.int64) * 86400 + values if f.type == "timestamp" else days
    empty = np.zeros(len(cells), np.bool_)
    if f.type == "time" and f.empty == "zeros":
        empty = (cells == ZERO).all(axis=1)
    if not sound.all():  # neither blanks nor, of a date, zeros are sound
        odd = np.flatnonzero(~sound)
        rest = cells[odd]
        empty[odd] |= (rest == BLANK).all(axis=1)
        if f.type != "time":
            empty[odd] |= (rest == ZERO).all(axis=1)
    bad = ~sound & ~empty
    faults = []
    if bad.any():
        faults.append(Fault("not_a_date", f"no {f.type} of the form {form}", np.flatnonzero(bad)))
    valid = sound & ~empty
    whole = bool(valid.all())
    return Column(
        _moments(f, values if whole else np.where(valid, values, 0), None if whole else valid),
        empty if empty.any() else None,
        faults,
    )


def _days(f: FieldSpec, part: dict[str, NDArray[np.int32]]) -> tuple[NDArray[np.int32], Bools]:
    """Days since 1970-01-01, and which of them there are."""
    starts, lengths = calendar()
    if "YYYY" in part:
        year = np.minimum(part["YYYY"], 9999)
    else:
        short = np.minimum(part["YY"], 99)
        year = short + np.where(short < f.century, 2000, 1900)
    if "DDD" in part:
        day = part["DDD"]
        first = starts[year * 12]
        longest = np.where(year == 9999, 365, starts[np.minimum(year + 1, 9999) * 12] - first)
        return first + day - 1, (day >= 1) & (day <= longest) & (year >= 1)
    month, day = part["MM"] - 1, part["DD"] - 1
    sound = month.view(np.uint32) < 12
    index = year * 12 + month
    if not (whole := sound.all()):
        index[~sound] = 0
    # Unsigned, so that day 00, which is -1 here, is too large.
    right: Bools = day.view(np.uint32) < lengths[index]
    if not whole:
        right &= sound
    if not year.all():
        right &= year != 0
    return starts[index] + day, right
