"""Layouts: ``include/formats/*.yaml``, one line a field, checked when they are loaded.

A layout says which fields a record has and where; not how records are divided (the frame) nor which bytes are which
letters (the encoding): those belong to an endpoint. ``at`` and ``length`` are both written, since the partner's paper
has both, and must agree with the field before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from slussen import settings
from slussen.errors import CallError

Type = Literal["text", "digits", "integer", "decimal", "date", "const", "filler"]
META = ("record_no", "byte_offset", "record_type", "group_no")


class FieldSpec(BaseModel):
    """One field. Positions count from 1; lengths are bytes (fixed) or letters at most (tagged)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    at: int | str
    length: int = Field(gt=0)
    type: Type
    only: tuple[str, ...] = ()
    value: str | dict[str, str] | None = None
    required: bool = False
    values: tuple[str, ...] = ()
    decimals: int = Field(default=0, ge=0, le=9)
    align: Literal["left", "right"] = "left"
    empty: Literal["spaces", "zeros"] | None = None
    width: int | None = None
    truncate: bool = False
    person: bool = False
    flag: tuple[str, ...] = ()
    protected: str | None = None
    check: Literal["personnummer"] | None = None

    @property
    def staged(self) -> bool:
        """Is it a column of the stage?"""
        return self.type not in ("const", "filler")

    @property
    def zeros(self) -> bool:
        """Is nothing written as zeros?"""
        return self.empty == "zeros" if self.empty else self.type in ("integer", "decimal")

    def constant(self, record_type: str) -> str:
        """What stands in a const field on this record type."""
        return self.value.get(record_type, "") if isinstance(self.value, dict) else self.value or ""


def _table(rows: Any) -> Any:
    """``name: [at, length, type, {rules}]`` as field specifications."""
    if not isinstance(rows, Mapping):
        return rows
    fields = []
    for name, row in rows.items():
        rules = row[3] if len(row) > 3 else {}
        only = str(rules.get("only", "")).split()
        fields.append({"name": name, "at": row[0], "length": row[1], "type": row[2], **rules, "only": only})
    return fields


class RecordSpec(BaseModel):
    """A record type: by what it is known (fixed), or between which lines it stands (tagged)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: dict[str, str] = {}
    opens: str = ""
    closes: str = ""
    line: str = ""


class Layout(BaseModel):
    """A format's records and fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    title: str
    version: int
    status: Literal["published", "assumed"]
    source: str
    kind: Literal["fixed", "tagged"]
    length: int = 0
    count: str = ""
    keywords: tuple[str, ...] = ()
    skipped: dict[str, str] = {}
    records: dict[str, RecordSpec]
    fields: Annotated[tuple[FieldSpec, ...], BeforeValidator(_table)]

    @property
    def name(self) -> str:
        return self.format

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if unknown := {t for f in self.fields for t in f.only} - set(self.records):
            raise ValueError(f"fields are on record types that there are none of: {', '.join(sorted(unknown))}")
        if self.kind == "fixed":
            following = 1
            for f in self.fields:
                if f.at != following:
                    raise ValueError(f"{f.name} starts at {f.at}, but {following} is next")
                following += f.length
            if following - 1 != self.length:
                raise ValueError(f"the fields end at {following - 1}, the record at {self.length}")
        names = {f.name for f in self.fields}
        for record_type, spec in self.records.items():
            if missing := set(spec.when) - names:
                raise ValueError(f"{record_type} is known by {', '.join(sorted(missing))}, which is no field")
        return self

    def of(self, record_type: str) -> tuple[FieldSpec, ...]:
        """The fields that this record type has."""
        return tuple(f for f in self.fields if not f.only or record_type in f.only)

    def field(self, name: str) -> FieldSpec | None:
        return next((f for f in self.fields if f.name == name), None)

    def place(self, offset: int, frame: str) -> tuple[int | None, int | None, str]:
        """The record, column and field that a byte offset in a fixed file is in; nothing of these for a tagged one."""
        if self.kind != "fixed":
            return None, None, ""
        record, within = divmod(offset, self.length + {"fixed": 0, "lf": 1, "crlf": 2}[frame])
        name = next((f.name for f in self.fields if int(f.at) - 1 <= within < int(f.at) - 1 + f.length), "")
        return record + 1, within + 1, name

    @property
    def person_field(self) -> str | None:
        """The field that holds the personal number of whom the record is about."""
        return next((f.name for f in self.fields if f.person), None)

    @property
    def flag_fields(self) -> dict[str, tuple[str, ...]]:
        """The fields that mark a protected person, with the values that mean so."""
        return {f.name: f.flag for f in self.fields if f.flag}

    @property
    def schema(self) -> Any:
        """The Arrow schema of batches, and of the stage: where a record stands, its type, then the fields by name."""
        import pyarrow as pa

        types = {"text": pa.string(), "digits": pa.string(), "integer": pa.int64(), "date": pa.date32()}
        columns = [("record_no", pa.int64()), ("byte_offset", pa.int64()), ("record_type", pa.string())]
        if self.kind == "tagged":
            columns.append(("group_no", pa.int64()))
        for f in self.fields:
            if f.staged:
                columns.append((f.name, pa.decimal128(18, f.decimals) if f.type == "decimal" else types[f.type]))
        return pa.schema(columns)

    def __str__(self) -> str:
        """The layout as the partner's paper has it: START, END, LEN, TYPE, FIELD."""
        lines = [f"{self.format} v{self.version} ({self.status}), {self.length or 'tagged'}", self.title]
        for record_type in self.records:
            lines += ["", record_type, "   START   END  LEN  TYPE     FIELD"]
            for f in self.of(record_type):
                end = f.at + f.length - 1 if isinstance(f.at, int) else ""
                lines.append(f"   {f.at:>5} {end:>5} {f.length:>4}  {f.type:<8} {f.name}")
        return "\n".join(lines) + "\n"


def load(name: str) -> Layout:
    """The layout ``include/formats/<name>.yaml``.

    Raises:
        CallError: there is none, or it is wrong: with file, line and reason.
    """
    file = settings.FORMATS / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in settings.FORMATS.glob("*.yaml")))
        raise CallError(f"unknown layout {name!r}: one of {known}")
    return read(file, file.stat().st_mtime_ns)


@cache
def read(file: Path, changed: int = 0) -> Layout:
    """The layout in this file, as it was at this time."""
    text = file.read_text(encoding="utf-8")
    try:
        layout = Layout.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise CallError(f"{file.name}:{line}: {getattr(error, 'problem', 'no YAML')}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(p) for p in first["loc"]]
        reason = first["msg"].removeprefix("Value error, ")
        what = f"{'.'.join(place)} {reason}".strip()
        raise CallError(f"{file.name}:{_line(text, place, reason)}: {what}") from None
    if layout.format != file.stem:
        raise CallError(f"{file.name}:1: the format is called {layout.format}, the file {file.stem}")
    return layout


def _line(text: str, place: list[str], reason: str) -> int:
    """The line that a complaint is about: the field's that it names, else the key's."""
    lines = text.splitlines()
    if place[:1] == ["fields"] and len(place) > 1 and place[1].isdigit():
        table = next((n for n, row in enumerate(lines) if row.startswith("fields:")), 0)
        rows = [n for n, row in enumerate(lines) if n > table and row.strip() and not row.strip().startswith("#")]
        return rows[int(place[1])] + 1
    word = place[0] if place else reason.split()[0]
    return next((n for n, row in enumerate(lines, 1) if row.strip().startswith(f"{word}:")), 1)
