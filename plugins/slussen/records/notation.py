"""The notation of ``include/formats/*.yaml``: a line a field, ``name: [at, length, type, {rules}]``.

``at`` and ``length`` are both written, since the partner's paper has both, and must agree with the field before.
``include/formats/schema.json`` is made from these classes, for editors.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from slussen.records import forms

Type = Literal[
    "text", "digits", "integer", "decimal", "date", "time", "timestamp", "boolean", "sign", "const", "filler", "group"
]
Frame = Literal["fixed", "lf", "crlf", "rdw", "vb"]
NUMBERS = ("integer", "decimal")
MOMENTS = ("date", "time", "timestamp")
SIGNS = ("leading", "trailing", "none", "overpunched", "zoned")
PLACE = ("record_no", "byte_offset", "group_no")  # where a record stands: columns of a batch beside its fields
RESERVED = (*PLACE, "record_type", "raw")  # what the tools' tables say of a record; no field's name
LONGEST = 18  # digits that a number has at most: what 64 bits hold


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _words(value: Any) -> Any:
    return tuple(value.split()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words, json_schema_input_type=str | tuple[str, ...])]


class Rules(Strict):
    """The rules of a field: the fourth place of its line."""

    only: Words = Field((), description="the record types that have it")
    value: str | dict[str, str] | None = Field(None, description="a const's value, or one for each record type")
    required: bool = Field(False, description="may not be empty")
    values: tuple[str, ...] | dict[str, str] = Field(
        (), description="the codes, or each code's meaning; for a boolean the one for true, then the one for false"
    )
    like: str = Field("", description="what a text looks like: d is a digit, A a letter of A to Z, all else is itself")
    decimals: int = Field(0, ge=0, le=9, description="implied decimals")
    align: Literal["", "left", "right"] = Field("", description="text is left, numbers are right unless said")
    fill: str = Field("", max_length=1, description="what fills the field up: a blank, before digits a zero")
    empty: Literal["", "spaces", "zeros"] = Field("", description="how nothing is written")
    truncate: bool = Field(False, description="what is too long is cut, and counted")
    sign: str = Field("leading", description=f"where a number's sign is: {', '.join(SIGNS)}, or the field that has it")
    plus: bool = Field(False, description="a positive number has a plus where a negative one has its minus")
    usage: Literal["display", "packed", "binary"] = Field("display", description="digits, COMP-3 or COMP")
    form: str = Field("", description="a date's or time's form: YYYYMMDD, YYMMDD, YYYYDDD, hhmmss, YYYY-MM-DD ...")
    accepts: tuple[str, ...] = Field((), description="other forms that are read, but never written")
    century: int = Field(50, ge=0, le=100, description="a year YY below this is of the 2000s, else of the 1900s")
    quoted: bool = Field(False, description="delimited: always in quotes")
    times: int = Field(1, ge=1, le=9999, description="how often the field or group is repeated (OCCURS)")
    fields: dict[str, Line] = Field({}, description="a group's fields; their places count within the group")
    person: bool = Field(False, description="the personal number of whom the record is about")
    relative: bool = Field(False, description="the personal number of somebody whom the record gives away too")
    personal: bool = Field(False, description="personal data: masked when it is shown")
    flag: tuple[str, ...] = Field((), description="the values that mark a protected person")
    protected: str | None = Field(None, description="what stands here for a protected person; blank: nothing")
    check: Literal["", "personnummer", "identity"] = Field(
        "", description="what the value must be; an identity may be a county's reserve number too"
    )


Line = tuple[int | str, Annotated[int, Field(gt=0)], Type] | tuple[int | str, Annotated[int, Field(gt=0)], Type, Rules]
Rules.model_rebuild()


class FieldSpec(Rules):
    """One field of the engine's. Positions count from 1; lengths are bytes (fixed) or letters at most (the others)."""

    name: str
    at: int | str
    length: int
    type: Type

    @property
    def staged(self) -> bool:
        """Is it a column of batches and of the stage?"""
        return self.type not in ("const", "filler", "sign")

    @property
    def zeros(self) -> bool:
        """Is nothing written as zeros?"""
        return self.empty == "zeros" if self.empty else self.type in NUMBERS

    @property
    def right(self) -> bool:
        return self.align == "right" if self.align else self.type in NUMBERS

    @property
    def pad(self) -> str:
        """What fills the field up."""
        return self.fill or ("0" if self.type in NUMBERS and self.right else " ")

    def bare(self, value: str) -> str:
        """A value without what fills the field up: as fixed records are read."""
        return value.lstrip(self.pad) if self.right else value.rstrip(self.pad)

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def pattern(self) -> str:
        """What a text is ``like``, as a regular expression."""
        return "".join({"d": "[0-9]", "A": "[A-Z]"}.get(c, re.escape(c)) for c in self.like)

    @property
    def shape(self) -> str:
        """A date's or time's form."""
        return self.form or forms.usual(self.type, self.length)

    @property
    def digits(self) -> int:
        """The digits that a number has room for, sign apart."""
        return {"packed": self.length * 2 - 1, "binary": LONGEST}.get(self.usage, self.length)

    @property
    def private(self) -> bool:
        """Personal data, that is masked when it is shown."""
        shown = self.flag or self.protected is None
        return self.personal or self.person or self.relative or bool(self.check) or not shown

    def constant(self, record_type: str) -> str:
        """What stands in a const field on this record type."""
        return self.value.get(record_type, "") if isinstance(self.value, dict) else self.value or ""


class RecordSpec(Strict):
    """A record type: by what it is known, where it may stand, and which fields only it has."""

    when: dict[str, str] = Field({}, description="fixed: the fields' values by which it is known; * is any but blank")
    opens: str = Field("", description="tagged: the line that opens it")
    closes: str = Field("", description="tagged: the line that closes it; fixed: the group that this record ends")
    line: str = Field("", description="tagged: the record is one line that begins so")
    section: str = Field("", description="delimited: the line after which its records come")
    place: Literal["", "first", "last"] = Field("", description="header or trailer: there is one, and it is there")
    under: str = Field("", description="the record type that it belongs to, and comes after")
    length: int = Field(0, ge=0, description="if it is another than the layout's")
    fields: dict[str, Line] = {}


class Total(Strict):
    """What a field must hold: checked on reading, computed on writing."""

    count: str | tuple[str, ...] = Field((), description='record types that are counted; "*" for all')
    sum: str | tuple[str, ...] = Field((), description="type.field: whose sum it is")
    hash: str | tuple[str, ...] = Field((), description="type.field: whose sum it is, of numbers that are no amounts")


class Usual(Strict):
    """How files of this format are usually sent: what tools assume. What an integration speaks its endpoints say."""

    encoding: str
    frame: Frame


class LayoutFile(Strict):
    """A format's records and fields: the notation of include/formats/*.yaml."""

    format: str
    title: str
    version: int
    status: Literal["published", "assumed"]
    source: str
    kind: Literal["fixed", "tagged", "delimited", "zip"]
    usual: Usual
    length: int = Field(0, ge=0, description="fixed: the bytes of a record, without line end or RDW")
    may_be_empty: bool = Field(False, description="an empty file is no error")
    count: str = Field("", description="the record type that is counted as a record (all, if not said)")
    data: tuple[str, ...] = Field((), description="tagged: the lines before and after the data")
    end: str = Field("", description="tagged: the last line")
    prefix: str = Field("", description="tagged: what stands before a term's code")
    keywords: tuple[str, ...] = Field((), description="tagged: lines that may stand in the data, and are passed over")
    skipped: dict[str, str] = Field({}, description="tagged: groups that are passed over, and counted")
    separator: str = Field("", max_length=1, description="delimited: what stands between two fields")
    quote: str = Field('"', max_length=1, description="delimited: what stands around a field; nothing, if never")
    header_row: bool = Field(False, description="delimited: the first line names the fields")
    nothing: str = Field("", description="delimited: how nothing is written")
    records: dict[str, RecordSpec]
    totals: dict[str, Total] = Field({}, description="type.field: the control totals of headers and trailers")
    fields: dict[str, Line] = {}


def arrow_type(f: FieldSpec) -> Any:
    """The Arrow type of a field's column."""
    import pyarrow as pa

    types = {
        "text": pa.string(), "digits": pa.string(), "integer": pa.int64(), "date": pa.date32(),
        "decimal": pa.decimal128(LONGEST, f.decimals), "time": pa.time32("s"), "timestamp": pa.timestamp("s"),
        "boolean": pa.bool_(),
    }  # fmt: skip
    return types[f.type]


def arrow_name(f: FieldSpec) -> str:
    """The Arrow type's name, without the library."""
    return f"decimal({f.decimals})" if f.type == "decimal" else {"digits": "text"}.get(f.type, f.type)


def schema_json() -> str:
    """The JSON Schema of the notation, for editors: draft 07, which they know."""
    schema = _draft07(LayoutFile.model_json_schema())
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _draft07(node: Any) -> Any:
    if isinstance(node, list):
        return [_draft07(n) for n in node]
    if not isinstance(node, dict):
        return node
    made = {("definitions" if k == "$defs" else k): _draft07(v) for k, v in node.items()}
    if "prefixItems" in made:
        made["items"], made["additionalItems"] = made.pop("prefixItems"), False
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace("#/$defs/", "#/definitions/")
    return made
