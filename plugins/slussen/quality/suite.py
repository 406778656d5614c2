"""Expectation suites: ``include/expectations/<key>.yaml``, GX's own names, one line each, with a severity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slussen import settings
from slussen.errors import CallError

# What may be used, with the arguments that it must have and those that it may have. Left out are expectations that put
# values or whole rows into their results whatever they are told (ExpectColumnMostCommonValueToBeInSet,
# UnexpectedRowsExpectation), and those that observe a value (minimum, distinct). Our own are in ours.py.
ALLOWED: dict[str, tuple[str, str]] = {
    "ExpectColumnValuesToNotBeNull": ("column", ""),
    "ExpectColumnValuesToBeNull": ("column", ""),
    "ExpectColumnValuesToBeInSet": ("column value_set", ""),
    "ExpectColumnValuesToMatchRegex": ("column regex", ""),
    "ExpectColumnValuesToNotMatchRegex": ("column regex", ""),
    "ExpectColumnValuesToBeBetween": ("column", "min_value max_value strict_min strict_max"),
    "ExpectColumnValueLengthsToBeBetween": ("column", "min_value max_value"),
    "ExpectColumnValuesToBeUnique": ("column", ""),
    "ExpectCompoundColumnsToBeUnique": ("column_list", ""),
    "ExpectColumnPairValuesAToBeGreaterThanB": ("column_A column_B", "or_equal"),
    "ExpectTableRowCountToBeBetween": ("", "min_value max_value"),
    "ExpectColumnValuesToBePersonalNumbers": ("column", ""),
    "ExpectColumnValuesToBeMonths": ("column", ""),
    "ExpectColumnValuesToHaveARecord": ("column of sharing", ""),
    "ExpectColumnValuesToSumToZero": ("column sharing", ""),
    "ExpectColumnValuesToHaveOneValue": ("column sharing", ""),
    "ExpectColumnPairValuesToBeEqual": ("column_A column_B", ""),
    "ExpectColumnPairValuesToBeDifferent": ("column_A column_B", ""),
    "ExpectColumnValuesToBeLuhn": ("column", ""),
    "ExpectColumnValuesToHoldNoPersonalNumber": ("column", ""),
}


class Rule(BaseModel):
    """One expectation, and which rows it is about.

    ``only`` limits it to a record type, ``where`` to rows that have these values, ``given`` to rows in which this
    column has any value. ``mostly`` is the share of them that must hold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    expect: str
    severity: Literal["critical", "warning", "info"]
    column: str | None = None
    only: str | None = None
    where: dict[str, str | int | bool] = Field(default_factory=dict)
    given: str | None = None
    mostly: float = Field(default=1.0, gt=0, le=1)
    arguments: dict[str, Any] = Field(default_factory=dict, alias="with")
    because: str = ""

    @model_validator(mode="after")
    def _is_allowed(self) -> Self:
        if self.expect not in ALLOWED:
            raise ValueError(f"{self.expect} may not be used: it isn't known to keep values back")
        required, optional = (set(names.split()) for names in ALLOWED[self.expect])
        given = {*self.arguments, *(["column"] if self.column else [])}
        if missing := required - given:
            raise ValueError(f"{self.expect} needs {', '.join(sorted(missing))}")
        if unknown := given - required - optional:
            raise ValueError(f"{self.expect} takes no {', '.join(sorted(unknown))}")
        if {"min_value", "max_value"} <= optional and not {"min_value", "max_value"} & given:
            raise ValueError(f"{self.expect} says nothing without min_value or max_value")
        if self.expect.startswith("ExpectTable") and (self.mostly < 1 or self.only or self.where or self.given):
            raise ValueError(f"{self.expect} is about the whole table, once")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the stage must have for it."""
        named = [self.column, self.given, *self.where, self.arguments.get("column_A"), self.arguments.get("column_B")]
        lists = [*self.arguments.get("column_list", ()), *self.arguments.get("sharing", ())]
        return tuple(dict.fromkeys(str(c) for c in (*named, *lists) if c))

    @property
    def record_types(self) -> tuple[str, ...]:
        """The record types that the layout must have for it."""
        return tuple(str(t) for t in (self.only, self.arguments.get("of")) if t)

    @property
    def _compared(self) -> str:
        """How a pair's first value is to its second."""
        if self.expect.endswith("GreaterThanB"):
            return "at least" if self.arguments.get("or_equal") else "more than"
        return "equal to" if self.expect.endswith("Equal") else "different from"

    def __str__(self) -> str:
        name = self.expect.removeprefix("Expect")
        what = "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip().removeprefix("column ")
        subject = self.column or " ".join(self.arguments.get("column_list", ()))
        match self.arguments:
            case {"column_A": a, "column_B": b}:
                subject, what = a, f"to be {self._compared} {b}"
            case {"of": of}:
                what = f"{what} {of}"
            case {"sharing": sharing}:
                what = f"{what} within {' '.join(sharing)}"
            case {"min_value": low, "max_value": high}:
                what = f"{what} {low} and {high}"
            case {"min_value": low}:
                what = f"{what.removesuffix('between')}at least {low}"
            case {"max_value": high}:
                what = f"{what.removesuffix('between')}at most {high}"
        about = [self.only or "", *(f"{k} {v}" for k, v in self.where.items())]
        about += [f"with {self.given}"] if self.given else []
        limits = ", ".join(limit for limit in about if limit)
        return " ".join(part for part in (subject, f"({limits})" if limits else "", what) if part)


class Volume(BaseModel):
    """Which share fewer, or more, than in any delivery that it is compared with is still usual.

    ``of`` is the record type that is counted, where not all records are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: str = ""

    fewer: float = Field(default=0.3, ge=0, le=1)
    more: float = Field(default=0.5, ge=0)

    def count(self, records: int, totals: Mapping[str, int]) -> int:
        """What is compared, of a delivery of so many records with these totals."""
        return totals.get(f"records.{self.of}", 0) if self.of else records


class BusinessKey(BaseModel):
    """What makes a record the same to its receiver, whatever its numbers: the values of these columns.

    ``only`` limits it to a record type. What such a record leaves empty is taken from the record of type ``of`` that
    has the same values in the columns ``sharing``. ``tolerated`` is the share that may have been sent before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[str, ...] = Field(min_length=1)
    only: str = ""
    of: str = ""
    sharing: tuple[str, ...] = ()
    tolerated: float = Field(default=0, ge=0, lt=1)

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if bool(self.of) != bool(self.sharing):
            raise ValueError("of and sharing go together: whose record, and how it is found")
        return self


class Suite(BaseModel):
    """An integration's expectations, and what its records are compared by with earlier ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    volume: Volume = Volume()
    business_key: BusinessKey | None = None
    expectations: tuple[Rule, ...] = Field(min_length=1)


def load(name: str) -> Suite:
    """The suite of this integration.

    Raises:
        CallError: there is none, or it is wrong: with file, line and reason.
    """
    return read(settings.EXPECTATIONS / f"{name}.yaml")


def read(file: Path) -> Suite:
    """The suite in this file."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CallError(f"no suite {file.name}: write one, a gate without expectations is none") from None
    try:
        return Suite.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise CallError(f"{file.name}:{mark.line + 1 if mark else 1}: {getattr(error, 'problem', 'no YAML')}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"] if not isinstance(p, int))
        reason = first["msg"].removeprefix("Value error, ")
        raise CallError(f"{file.name}:{_line(text, first['loc'])}: {place}: {reason}") from None


def _line(text: str, place: tuple[int | str, ...]) -> int:
    """The line of the expectation that a complaint is about, else of the key."""
    lines = text.splitlines()
    index = next((p for p in place if isinstance(p, int)), None)
    if index is not None:
        return [n for n, row in enumerate(lines, 1) if row.lstrip().startswith("- ")][index]
    return next((n for n, row in enumerate(lines, 1) if place and row.startswith(f"{place[0]}:")), 1)
