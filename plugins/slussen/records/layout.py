"""Layouts: what the engine reads of ``include/formats/*.yaml``, checked when they are loaded.

A layout says which records there are, which fields they have and where; not how records are divided (the frame) nor
which bytes are which letters (the encoding): those belong to an endpoint. ``notation`` is how it is written down;
here groups are spread out, and every record type has its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from slussen import settings
from slussen.errors import CallError
from slussen.records import forms
from slussen.records.codepages import codepage
from slussen.records.notation import (
    LONGEST,
    MOMENTS,
    NUMBERS,
    RESERVED,
    SIGNS,
    FieldSpec,
    LayoutFile,
    Line,
    Rules,
    arrow_name,
    arrow_type,
)


class Layout:
    """A layout as the engine uses it: ``records`` by name, ``fields`` spread out, each on its record types."""

    def __init__(self, file: LayoutFile) -> None:
        self.file = file
        self.name = self.format = file.format
        self.title, self.version, self.status, self.source = file.title, file.version, file.status, file.source
        self.kind, self.length, self.records = file.kind, file.length, file.records
        self.fields: tuple[FieldSpec, ...] = tuple(
            _spread(file.fields, file.kind, ("fields",))
            + [
                f.model_copy(update={"only": (record_type,)})
                for record_type, spec in file.records.items()
                for f in _spread(spec.fields, file.kind, ("records", record_type, "fields"))
            ]
        )
        self._check()

    # --- what there is

    def of(self, record_type: str) -> tuple[FieldSpec, ...]:
        """The fields that this record type has."""
        return tuple(f for f in self.fields if not f.only or record_type in f.only)

    def field(self, name: str, record_type: str = "") -> FieldSpec | None:
        """The field of this name, on this record type if one is named."""
        return next((f for f in (self.of(record_type) if record_type else self.fields) if f.name == name), None)

    def length_of(self, record_type: str) -> int:
        return self.records[record_type].length or self.length

    @cached_property
    def longest(self) -> int:
        return max((self.length_of(r) for r in self.records), default=self.length)

    @cached_property
    def varies(self) -> bool:
        """Do record types differ in length?"""
        return len({self.length_of(r) for r in self.records}) > 1

    @cached_property
    def header(self) -> str:
        """The record type that comes first, if one must."""
        return next((r for r, spec in self.records.items() if spec.place == "first"), "")

    @cached_property
    def trailer(self) -> str:
        """The record type that comes last, if one must."""
        return next((r for r, spec in self.records.items() if spec.place == "last"), "")

    @cached_property
    def data_types(self) -> tuple[str, ...]:
        """The record types that are data: neither header nor trailer."""
        return tuple(r for r, spec in self.records.items() if not spec.place)

    @cached_property
    def counted(self) -> str:
        """The record type that is counted as a record; empty, when all are."""
        return self.file.count

    def tells(self, f: FieldSpec) -> bool:
        """May a person stand in this field: of its own, or because another record type has one in its place?

        (A record that is taken for one of another type says that person's data in fields that are nobody's.)
        """
        if f.private or self.kind == "tagged":  # a term is known by its code, wherever it stands
            return f.private
        first, last = self._span(f)
        return any(g.private and self._span(g)[0] < last and first < self._span(g)[1] for g in self.fields)

    def _span(self, f: FieldSpec) -> tuple[int, int]:
        """The bytes (fixed) or columns (delimited) that a field has, from the first to the one after its last."""
        return int(f.at), int(f.at) + (f.length if self.kind == "fixed" else 1)

    @cached_property
    def words(self) -> str:
        """What a tagged or delimited file has of its own beside its data: separators, keywords, names."""
        file = self.file
        of_records = [w for s in self.records.values() for w in (s.opens, s.closes, s.line, s.section)]
        of_fields = [str(f.at) for f in self.fields] + [f.name for f in self.fields if file.header_row]
        return "".join((file.separator, file.quote, file.nothing, file.prefix, file.end, *file.data, *file.keywords,
                        *of_records, *of_fields))  # fmt: skip

    @property
    def person_field(self) -> str | None:
        """The field that holds the personal number of whom the record is about."""
        return next((f.name for f in self.fields if f.person), None)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The fields with the personal numbers of those whom a record gives away: whom it is about, and relatives."""
        return tuple(dict.fromkeys(f.name for f in self.fields if f.person or f.relative))

    @property
    def flag_fields(self) -> dict[str, tuple[str, ...]]:
        """The fields that mark a protected person, with the values that mean so."""
        return {f.name: f.flag for f in self.fields if f.flag}

    @cached_property
    def schema(self) -> Any:
        """The Arrow schema of batches: where a record stands, its type, then the fields by name."""
        return self._schema(self.fields)

    @cached_property
    def data_schema(self) -> Any:
        """The Arrow schema of the stage: as ``schema``, without what only headers and trailers have."""
        return self._schema(f for f in self.fields if not f.only or set(f.only) & set(self.data_types))

    def _schema(self, fields: Any) -> Any:
        import pyarrow as pa

        columns = [("record_no", pa.int64()), ("byte_offset", pa.int64()), ("record_type", pa.string())]
        if self.kind == "tagged":
            columns.append(("group_no", pa.int64()))
        taken = {name for name, _ in columns}
        for f in fields:
            if f.staged and f.name not in taken:
                taken.add(f.name)
                columns.append((f.name, arrow_type(f)))
        return pa.schema(columns)

    def data_of(self, batch: Any) -> Any:
        """A batch's data: without headers and trailers, and their columns."""
        if self.header or self.trailer:
            import pyarrow as pa
            import pyarrow.compute as pc

            there = pc.is_in(batch.column("record_type"), pa.array(self.data_types, pa.string()))
            batch = batch if pc.all(there).as_py() else batch.filter(there)
        return batch.select(self.data_schema.names)

    def place(self, offset: int, frame: str) -> tuple[int | None, int | None, str]:
        """The record, column and field that a byte offset in a fixed file is in; nothing of these for the others."""
        if self.kind != "fixed" or self.varies or frame in ("rdw", "vb"):
            return None, None, ""
        record, within = divmod(offset, self.length + {"fixed": 0, "lf": 1, "crlf": 2}[frame])
        name = next((f.name for f in self.fields if int(f.at) - 1 <= within < int(f.at) - 1 + f.length), "")
        return record + 1, within + 1, name

    # --- is it right?

    def _check(self) -> None:
        file = self.file
        if file.kind == "delimited":
            self._delimited()
        own = [r for r, spec in self.records.items() if spec.fields]
        if own and file.fields:
            raise _Wrong(("fields",), f"either the layout has fields or its record types ({', '.join(own)}), not both")
        for n, f in enumerate(self.fields):
            where = ("fields", f.name) if not own else ("records", f.only[0], "fields", f.name)
            if unknown := set(f.only) - set(self.records):
                raise _Wrong(where, f"on record types that there are none of: {', '.join(sorted(unknown))}")
            if reason := self._wrong(f):
                raise _Wrong(where, f"{f.name} {reason}")
            same = next((g for g in self.fields[:n] if g.name == f.name and g.staged and f.staged), None)
            if same is not None and arrow_name(same) != arrow_name(f):
                raise _Wrong(where, f"{f.name} is {arrow_name(same)} on another record type, {arrow_name(f)} here")
            if same is not None and (not own or same.only == f.only):
                raise _Wrong(where, f"there are two fields {f.name}")
        for record_type, spec in self.records.items():
            if file.kind in ("fixed", "delimited"):
                self._follow(record_type, bool(own))
            if missing := set(spec.when) - {f.name for f in self.of(record_type)}:
                raise _Wrong(
                    ("records", record_type), f"known by {', '.join(sorted(missing))}, which is no field of it"
                )
            for what in (spec.under, spec.closes if file.kind == "fixed" else ""):
                if what and what not in self.records:
                    raise _Wrong(("records", record_type), f"there is no record type {what}")
        self._kind()
        self._totals()
        try:
            codepage(file.usual.encoding)
        except CallError as error:
            raise _Wrong(("usual",), str(error)) from None

    def _follow(self, record_type: str, own: bool) -> None:
        """Each field begins where the one before ended, and the last one ends the record."""
        following = 1
        fixed = self.kind == "fixed"
        fields = self.of(record_type) if own or not fixed else self.fields
        where: tuple[str, ...] = ("records", record_type, "fields") if own else ("fields",)
        for f in fields:
            if f.at != following:
                raise _Wrong((*where, f.name), f"{f.name} starts at {f.at}, but {following} is next")
            following += f.length if fixed else 1
        if fixed and following - 1 != self.length_of(record_type):
            key = ("records", record_type) if own else ("length",)
            raise _Wrong(key, f"the fields end at {following - 1}, the record at {self.length_of(record_type)}")

    def _wrong(self, f: FieldSpec) -> str:
        """What is wrong with a field, in words; nothing, when nothing is."""
        if f.name in RESERVED:
            return f"is a name of the engine's own ({', '.join(RESERVED)}): call the field something else"
        bare = f.bare if self.kind == "fixed" else str
        if f.type in MOMENTS:
            for form in (f.shape, *f.accepts):
                if reason := forms.wrong(form, f.type):
                    return reason
                if len(form) > f.length:
                    return f"has no room for {form}"
        if f.usage != "display" and (f.type not in NUMBERS or self.kind != "fixed"):
            return f"is {f.usage}, which only numbers of fixed records are"
        if f.usage == "binary" and f.length not in (1, 2, 4, 8):
            return "is binary and must be 1, 2, 4 or 8 bytes long"
        if f.sign == "trailing" and f.length < 2:
            return "has no room for a digit and its sign"
        if f.type == "boolean" and not len(f.codes) == len({bare(c) for c in f.codes}) == 2:
            return "is boolean and needs two values, and not two that read alike: the one for true, then for false"
        apart = f.type == "sign" or (f.type in NUMBERS and f.sign not in ("leading", "trailing", "none"))
        if apart and self.kind != "fixed":
            return "has its sign in another field or in its last digit, which only numbers of fixed records have"
        if f.type in NUMBERS and f.sign not in SIGNS:
            sign = next((g for g in self.fields if g.name == f.sign and g.only == f.only), None)
            if sign is None or sign.type != "sign":
                return f"has its sign in {f.sign}, which is no field of type sign"
        if (
            self.kind == "tagged"
            and not str(f.at).startswith("#")
            and not (str(f.at).isdigit() and len(str(f.at)) == 5)
        ):
            return f"is known by {f.at}, which is no code of five digits"
        if self.kind == "tagged" and f.type in ("const", "filler"):
            return f"is {f.type}, which no term of a tagged layout is"
        if f.type == "const" and f.value is None:
            return "is const and needs its value"
        said = [f.value] if isinstance(f.value, str) else [*(f.value or {}).values()]
        for word in (*said, *f.codes):
            if len(word) > f.length:
                return f"has no room for {word}"
            if f.type == "const" and max(word, default="") > "\xff":
                return f"has a letter in {word} that is not in Latin-1"
        if f.like and (f.type not in ("text", "digits") or len(f.like) > f.length):
            return f"is a {f.type} of {f.length}, which never looks like {f.like}"
        if f.type != "boolean" and (lost := next((w for w in (*f.codes, f.like) if bare(w) != w), "")):
            return (
                f"is filled up with {f.pad!r}, with which {lost!r} {'begins' if f.right else 'ends'}: it is never read"
            )
        if f.quoted and not self.file.quote:
            return "is always in quotes, of which the layout has none"
        left = f.type in NUMBERS and not f.right
        if f.fill and f.fill in ("0123456789+-" if left else "123456789+-") and f.type in (*NUMBERS, "digits"):
            return f"is filled up with {f.fill}, which would be part of it"
        if left and f.sign in ("overpunched", "zoned"):
            return "has its sign in its last digit, which is not the field's last when it is to the left"
        if f.fill.strip() and f.type in MOMENTS:
            return f"is a {f.type} and filled up with {f.fill}, where only blanks are passed over"
        if f.plus and f.sign == "none":
            return "has a plus, and no sign that it could be"
        if not f.fill.isascii():
            return "is filled up with a letter that not every encoding has"
        return ""

    def _kind(self) -> None:
        file = self.file
        if file.kind in ("fixed", "delimited"):
            self._known()
        if file.kind == "tagged" and not (file.count and file.count in self.records):
            raise _Wrong(("kind",), "a tagged layout says which record type counts (count:)")
        if file.kind == "tagged" and len(file.data) != 2:
            raise _Wrong(("kind",), "a tagged layout says between which two lines its data are (data:)")
        for place in ("first", "last"):
            if len([r for r, spec in self.records.items() if spec.place == place]) > 1:
                raise _Wrong(("records",), f"only one record type can be {place}")

    def _known(self) -> None:
        """Can each record type be told from those before it, by its bytes?"""
        before: list[str] = []
        for record_type, spec in self.records.items():
            where = ("records", record_type)
            for other in before:
                by = self.records[other]
                if not (by.when or by.section):
                    raise _Wrong(("records", other), f"takes every record, so that {record_type} is never read: say "
                                 "by which field's value it is known (when:)")  # fmt: skip
                if (by.when, by.section) == (spec.when, spec.section):
                    raise _Wrong(where, f"is known by the same as {other}, and never read")
            for name, value in spec.when.items():
                f = self.field(name, record_type)
                if f is not None and value != "*" and (reason := _never(f, value, record_type)):
                    raise _Wrong(where, f"known by {value}, which {name} {reason}")
            before.append(record_type)

    def _delimited(self) -> None:
        file = self.file
        if not file.separator:
            raise _Wrong(("kind",), "a delimited layout needs its separator")
        for key, letters in (("separator", file.separator), ("quote", file.quote), ("nothing", file.nothing)):
            if not letters.isascii() or set(letters) & {"\r", "\n"}:
                raise _Wrong((key,), f"{key} must be letters that every encoding has, on one line")
        if file.separator == file.quote:
            raise _Wrong(("quote",), "quote and separator are the same")
        sections = [spec.section for spec in self.records.values() if spec.section]
        if sections and (len(set(sections)) < len(self.records) or any(spec.when for spec in self.records.values())):
            raise _Wrong(("records",), "where one record type has a section, each has one of its own, and nothing else "
                         "by which it is known")  # fmt: skip
        if file.header_row and len(self.records) > 1:
            raise _Wrong(("header_row",), "one line cannot name the fields of several record types")

    def _totals(self) -> None:
        for name, total in self.file.totals.items():
            bearer = self._field_of(name)
            if bearer is None:
                raise _Wrong(("totals", name), f"there is no field {name} (type.field)")
            if bearer.type not in (*NUMBERS, "digits"):
                raise _Wrong(("totals", name), f"{name} is {bearer.type}, which holds no total")
            for counted in _tuple(total.count):
                if counted != "*" and counted not in self.records:
                    raise _Wrong(("totals", name), f"there is no record type {counted}")
            for summed in (*_tuple(total.sum), *_tuple(total.hash)):
                part = self._field_of(summed)
                if part is None:
                    raise _Wrong(("totals", name), f"there is no field {summed} (type.field)")
                if part.type not in (*NUMBERS, "digits") or part.decimals != bearer.decimals:
                    raise _Wrong(("totals", name), f"{summed} is no number with {name}'s {bearer.decimals} decimals")
                if part.type == "digits" and part.length > LONGEST:
                    raise _Wrong(("totals", name), f"{summed} has more than the {LONGEST} digits that can be added up")

    def _field_of(self, dotted: str) -> FieldSpec | None:
        record_type, _, name = dotted.partition(".")
        return self.field(name, record_type) if record_type in self.records else None

    def __str__(self) -> str:
        """The layout as the partner's paper has it: START, END, LEN, TYPE, FIELD."""
        lines = [f"{self.format} v{self.version} ({self.status}), {self.length or self.kind}", self.title]
        for record_type in self.records:
            lines += ["", record_type, "   START   END  LEN  TYPE      FIELD"]
            for f in self.of(record_type):
                end = f.at + f.length - 1 if isinstance(f.at, int) and self.kind == "fixed" else ""
                lines.append(f"   {f.at:>5} {end:>5} {f.length:>4}  {f.type:<9} {f.name}")
        return "\n".join(lines) + "\n"


def _never(f: FieldSpec, value: str, record_type: str) -> str:
    """Why a field can never hold the value by which its record is known, in words; nothing, when it can."""
    if f.type not in ("text", "digits", "integer", "const") or f.usage != "display":
        return "is not told by: it must be text, digits, a whole number or a constant"
    if len(value) > f.length:
        return "has no room for"
    if f.type == "integer" and not value.isdecimal():
        return "doesn't hold: it is a whole number"
    if f.type == "const" and f.constant(record_type) != value:
        return f"doesn't hold: it is always {f.constant(record_type)}"
    if max(value, default="") > "\xff":
        return "doesn't hold: a letter of it is not in Latin-1"
    return ""


def _tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _spread(lines: Mapping[str, Line], layout: str, where: tuple[str, ...]) -> list[FieldSpec]:
    """Lines as fields; what is repeated, or a group, as ``name_1``, ``name_2`` or ``name_field``.

    Places are bytes (fixed) or columns (delimited), and so is a group's length; a delimited field is one column.
    """
    found: list[FieldSpec] = []
    for name, line in lines.items():
        at, length, kind = line[0], line[1], line[2]
        rules = line[3] if len(line) > 3 else Rules.model_validate({})
        given = rules.model_dump(exclude_unset=True, exclude={"fields", "times"})
        if kind == "group" and (rules_of := sorted(set(given) - {"only"})):
            raise _Wrong((*where, name), f"{name} is a group: {', '.join(rules_of)} is for its fields to say, each")
        if layout == "tagged" and (kind == "group" or rules.times > 1):
            raise _Wrong((*where, name), f"{name} is repeated or a group, which no term of a tagged layout is")
        if layout != "tagged" and not isinstance(at, int):
            raise _Wrong((*where, name), f"{name} is at {at}, which is no place")
        width = 1 if layout == "delimited" and kind != "group" else length
        for n in range(rules.times):
            here = f"{name}_{n + 1}" if rules.times > 1 else name
            start = at + n * width if isinstance(at, int) else at
            if kind != "group":
                found.append(FieldSpec(name=here, at=start, length=length, type=kind, **given))
                continue
            for inner in _spread(rules.fields, layout, (*where, name)):
                place = int(inner.at) - 1 + int(start)
                only = rules.only or inner.only
                found.append(inner.model_copy(update={"name": f"{here}_{inner.name}", "at": place, "only": only}))
    return found


# --- loading


class _Wrong(Exception):
    """A complaint about the place in the file that these keys lead to."""

    def __init__(self, keys: tuple[str, ...], reason: str) -> None:
        self.keys, self.reason = keys, reason
        super().__init__(reason)


class UnknownLayout(CallError):
    """There is no such layout."""


def names() -> list[str]:
    """The layouts that there are."""
    return sorted(f.stem for f in settings.FORMATS.glob("*.yaml"))


def load(name: str) -> Layout:
    """The layout ``include/formats/<name>.yaml``.

    Raises:
        CallError: there is none, or it is wrong: with file, line and reason.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else settings.FORMATS / f"{name}.yaml"
    if not file.exists():
        raise UnknownLayout(f"unknown layout {name!r}: a file, or one of {', '.join(names())}")
    return read(file, file.stat().st_mtime_ns)


@cache
def read(file: Path, changed: int = 0) -> Layout:
    """The layout in this file, as it was at this time."""
    data = file.read_bytes()
    try:
        layout = of_text(data.decode("utf-8"), file.name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CallError(f"{file.name}:{line}: byte {data[error.start]:02x} is no UTF-8") from None
    if layout.format != file.stem:
        raise CallError(f"{file.name}:1: the format is called {layout.format}, the file {file.stem}")
    return layout


def of_text(text: str, file: str = "layout") -> Layout:
    """The layout that this YAML describes.

    Raises:
        CallError: it is wrong: with line and reason.
    """
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        _twice(tree, file)
        return Layout(LayoutFile.model_validate(yaml.safe_load(text)))
    except RecursionError:
        raise CallError(f"{file}:1: nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise CallError(f"{file}:{line}: {getattr(error, 'problem', None) or 'no YAML'}") from None
    except ValidationError as error:
        # A line is one of two shapes: the deepest complaint is about the shape that was meant.
        worst = max(error.errors(), key=lambda e: len(e["loc"]))
        keys = tuple(str(p) for p in worst["loc"])
        words = [k for k in keys if "[" not in k]
        reason = f"{'.'.join(words)} {worst['msg'].removeprefix('Value error, ')}".strip()
        raise CallError(f"{file}:{_line(tree, keys)}: {reason[0].lower()}{reason[1:]}") from None
    except _Wrong as error:
        raise CallError(f"{file}:{_line(tree, error.keys)}: {error.reason}") from None


def _twice(node: Any, file: str) -> None:
    """YAML lets the second of two keys win in silence; here it is an error."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _twice(item, file)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                raise CallError(f"{file}:{key.start_mark.line + 1}: {key.value} is there twice")
            seen.add(str(key.value))
            _twice(value, file)


def _line(node: Any, keys: tuple[str, ...]) -> int:
    """The line of the deepest of these keys that the file has."""
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if str(k.value) == key), None)
            if found is None:
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
    return line
