"""Expectation suites: ``include/expectations/<key>.yaml``, GX's own names, one line each, with a severity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slussen import settings
from slussen.errors import CallError

# What may be used. Left out are those that put values or whole rows into their results whatever they are told
# (ExpectColumnMostCommonValueToBeInSet, UnexpectedRowsExpectation), and those that observe a value (minimum, distinct).
ALLOWED = frozenset(
    {
        "ExpectColumnValuesToNotBeNull",
        "ExpectColumnValuesToBeNull",
        "ExpectColumnValuesToBeInSet",
        "ExpectColumnValuesToMatchRegex",
        "ExpectColumnValuesToNotMatchRegex",
        "ExpectColumnValuesToBeBetween",
        "ExpectColumnValueLengthsToBeBetween",
        "ExpectColumnValuesToBeUnique",
        "ExpectCompoundColumnsToBeUnique",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        "ExpectTableRowCountToBeBetween",
        "ExpectColumnValuesToBePersonalNumbers",
    }
)


class Rule(BaseModel):
    """One expectation. ``only`` limits it to a record type; ``mostly`` is the share that must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expect: str
    severity: Literal["critical", "warning", "info"]
    column: str | None = None
    only: str | None = None
    mostly: float = Field(default=1.0, gt=0, le=1)
    arguments: dict[str, Any] = Field(default_factory=dict, alias="with")
    because: str = ""

    def __str__(self) -> str:
        name = self.expect.removeprefix("Expect")
        words = "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
        where = f" ({self.only})" if self.only else ""
        what = words.removeprefix("column ")
        return f"{self.column}{where} {what}" if self.column else f"{what}{where}"


class Suite(BaseModel):
    """An integration's expectations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    expectations: tuple[Rule, ...]


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
        suite = Suite.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise CallError(f"{file.name}:{mark.line + 1 if mark else 1}: {getattr(error, 'problem', 'no YAML')}") from None
    except ValidationError as error:
        first = error.errors()[0]
        index = next((p for p in first["loc"] if isinstance(p, int)), 0)
        place = ".".join(str(p) for p in first["loc"] if not isinstance(p, int))
        raise CallError(f"{file.name}:{_line(text, index)}: {place}: {first['msg']}") from None
    for index, rule in enumerate(suite.expectations):
        if rule.expect not in ALLOWED:
            raise CallError(
                f"{file.name}:{_line(text, index)}: {rule.expect} may not be used: it isn't known to keep values back"
            )
    return suite


def _line(text: str, index: int) -> int:
    items = [n for n, row in enumerate(text.splitlines(), 1) if row.lstrip().startswith("- ")]
    return items[index] if index < len(items) else 1
