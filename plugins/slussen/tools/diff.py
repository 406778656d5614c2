"""Two files of one layout, compared record by record and field by field: what differs, and what kind of difference.

Records are matched in order, or by key. Equal stretches are compared as bytes; only what differs is read.
"""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from slussen.errors import CallError, Findings
from slussen.records.frames import ENDS
from slussen.records.notation import PLACE, FieldSpec
from slussen.records.parse import Parsed
from slussen.tools.opened import Opened
from slussen.tools.ruler import masked

BLOCK = 8 << 20
EXAMPLES = 20
Key = tuple[Any, ...]  # a record's type, and its key's values
META = (*PLACE, "record_type")


@dataclass
class Change:
    """One field that differs: where, and what kind of difference it is."""

    record: int
    other: int
    field: str
    kind: str
    a: str
    b: str


@dataclass
class Diff:
    """What two files have in common and what not."""

    a: int = 0
    b: int = 0
    equal: int = 0
    changed: int = 0
    only_a: list[int] = field(default_factory=list)
    only_b: list[int] = field(default_factory=list)
    fields: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    examples: list[Change] = field(default_factory=list)
    missing_a: int = 0  # records that only the other file has
    missing_b: int = 0
    otherwise: int = 0  # of the equal: the same values in other bytes
    findings_a: Findings = field(default_factory=Findings)  # what cannot be read cannot be compared
    findings_b: Findings = field(default_factory=Findings)

    @property
    def same(self) -> bool:
        return not (self.changed or self.missing_a or self.missing_b or self.findings_a or self.findings_b)

    def as_dict(self) -> dict[str, Any]:
        return {
            "same": self.same, "records_a": self.a, "records_b": self.b, "equal": self.equal,
            "written_otherwise": self.otherwise, "changed": self.changed,
            "only_a": self.missing_b, "only_b": self.missing_a, "fields": dict(self.fields), "kinds": dict(self.kinds),
            "findings_a": dict(self.findings_a.counts), "findings_b": dict(self.findings_b.counts),
            "examples": [vars(c) for c in self.examples], "records_only_a": self.only_a, "records_only_b": self.only_b,
        }  # fmt: skip


def diff(a: Opened, b: Opened, key: tuple[str, ...] = (), *, reveal: bool = False) -> Diff:
    """Compare two files of one layout.

    Raises:
        CallError: the key is no field of the layout.
    """
    known = {f.name for f in a.layout.fields if f.staged}
    if unknown := set(key) - known:
        raise CallError(f"{a.layout.name} has no field {', '.join(sorted(unknown))}")
    found = Diff()
    compare = _Compare(a, found, reveal)
    if key:
        _by_key(a, b, key, compare)
    elif _alike(a, b):
        _in_blocks(a, b, compare)
    else:
        _in_order(a, b, compare)
    return found


class _Compare:
    """Counts what differs between two rows."""

    def __init__(self, file: Opened, found: Diff, reveal: bool) -> None:
        self.file, self.found, self.reveal = file, found, reveal
        self.specs = {f.name: f for f in file.layout.fields}

    def rows(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        differ = [n for n in one if n not in META and one[n] != other.get(n)]
        if one["record_type"] != other["record_type"]:
            differ = ["record_type", *differ]
        if not differ:
            self.found.equal += 1
            self.found.otherwise += 1
            return
        self.found.changed += 1
        for name in differ:
            spec = self.specs.get(name)
            kind = kind_of(spec, one[name], other.get(name))
            self.found.fields[name] += 1
            self.found.kinds[kind] += 1
            if len(self.found.examples) < EXAMPLES:
                told = [self._told(spec, v) for v in (one[name], other.get(name))]
                change = Change(int(one["record_no"]), int(other["record_no"]), name, kind, *told)
                self.found.examples.append(change)

    def _told(self, spec: FieldSpec | None, value: Any) -> str:
        text = "" if value is None else str(value)
        return masked(text) if spec is not None and self.file.layout.tells(spec) and not self.reveal else text

    def lone(self, *, a: int = 0, b: int = 0) -> None:
        """A record that only one file has."""
        if a:
            self.found.missing_b += 1
            if len(self.found.only_a) < EXAMPLES:
                self.found.only_a.append(a)
        if b:
            self.found.missing_a += 1
            if len(self.found.only_b) < EXAMPLES:
                self.found.only_b.append(b)


def kind_of(spec: FieldSpec | None, one: Any, other: Any) -> str:
    """What kind of difference this is, in words."""
    if one is None or other is None:
        return "filled" if one is None else "emptied"
    if spec is not None and spec.type in ("integer", "decimal"):
        return "amount"
    if spec is not None and spec.type in ("date", "time", "timestamp"):
        return "date"
    a, b = str(one), str(other)
    if "".join(a.split()) == "".join(b.split()):
        return "blanks"
    if a.casefold() == b.casefold():
        return "capitals"
    if _bare(a) == _bare(b):
        return "accents"
    if a.startswith(b) or b.startswith(a):
        return "cut"
    return "other"


def _bare(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c) and c != "?")


# --- in order


def _alike(a: Opened, b: Opened) -> bool:
    """Are these two files of whole records of one length, of which only those that differ need to be read?"""
    size = a.path.stat().st_size
    if (a.encoding, a.frame, size) != (b.encoding, b.frame, b.path.stat().st_size) or a.layout.kind != "fixed":
        return False
    stride = a.layout.length + len(ENDS[a.frame])
    return not a.layout.varies and a.frame in ("fixed", "lf", "crlf") and size % stride == 0


def _in_blocks(a: Opened, b: Opened, compare: _Compare) -> None:
    found = compare.found
    stride = a.layout.length + len(ENDS[a.frame])
    size = max(1, BLOCK // stride) * stride
    with a.stream() as one, b.stream() as two:
        done = 0
        while left := one.read(size):
            right = two.read(size)
            n = len(left) // stride
            if left == right:
                found.equal += n
            else:
                differ = np.flatnonzero(
                    (np.frombuffer(left, np.uint8) != np.frombuffer(right, np.uint8))
                    .reshape(-1, stride).any(axis=1)
                )  # fmt: skip
                found.equal += n - len(differ)
                rows = [
                    _parsed(f, b"".join(data[k * stride : (k + 1) * stride] for k in differ.tolist()), stride, findings)
                    for f, data, findings in ((a, left, found.findings_a), (b, right, found.findings_b))
                ]
                for k, place in enumerate(differ.tolist()):
                    pair = [r.get(k) for r in rows]
                    number = done + place + 1
                    if pair[0] is None or pair[1] is None:
                        found.changed += 1
                        found.kinds["unreadable"] += 1
                        continue
                    compare.rows(*({**p, "record_no": number} for p in pair if p is not None))
            done += n
        found.a = found.b = done


WHOLE = ("missing_header", "missing_trailer", "control_total", "out_of_order", "second_header", "after_trailer",
         "wrong_encoding")  # fmt: skip


def _parsed(file: Opened, data: bytes, stride: int, findings: Findings) -> dict[int, dict[str, Any]]:
    """Some records, by their place among these; what is wrong with single ones is a finding."""
    mine = Findings()
    parsed = Parsed(io.BytesIO(data), file.layout, file.encoding, file.frame, mine, hashed=False)
    places = {row["byte_offset"]: row for batch in parsed for row in batch.to_pylist()}
    for rule, n in mine.counts.items():
        if rule not in WHOLE:  # a part of a file says nothing of the whole
            findings.count(rule, n)
    return {at // stride: row for at, row in places.items() if at % stride == 0}


def _rows(file: Opened, stream: BinaryIO, findings: Findings) -> Iterator[dict[str, Any]]:
    parsed = Parsed(stream, file.layout, file.encoding, file.frame, findings, hashed=False, in_order=True)
    for batch in parsed:
        yield from batch.to_pylist()


def _in_order(a: Opened, b: Opened, compare: _Compare) -> None:
    found = compare.found
    with a.stream() as one, b.stream() as two:
        left, right = _rows(a, one, found.findings_a), _rows(b, two, found.findings_b)
        while True:
            x, y = next(left, None), next(right, None)
            found.a += x is not None
            found.b += y is not None
            if x is None and y is None:
                return
            if x is None or y is None:
                compare.lone(a=int(x["record_no"]) if x else 0, b=int(y["record_no"]) if y else 0)
            elif all(x[n] == y.get(n) for n in x if n not in PLACE):
                found.equal += 1
            else:
                compare.rows(x, y)


# --- by key


def _by_key(a: Opened, b: Opened, key: tuple[str, ...], compare: _Compare) -> None:
    """Records with the same key and type; of several with one key, the first with the first.

    A record that has none of the key's fields is a part of the one before it that has, and goes by its key.
    """
    found = compare.found
    waiting: dict[Key, list[dict[str, Any]]] = {}
    with a.stream() as stream:
        for place, row in _keyed(a, _rows(a, stream, found.findings_a), key):
            found.a += 1
            waiting.setdefault(place, []).append({n: v for n, v in row.items() if v is not None or n in META})
    names = list(a.layout.schema.names)
    with b.stream() as stream:
        for place, row in _keyed(b, _rows(b, stream, found.findings_b), key):
            found.b += 1
            partners = waiting.get(place)
            if not partners:
                compare.lone(b=int(row["record_no"]))
                continue
            partner = partners.pop(0)
            whole = {n: partner.get(n) for n in names}
            if all(whole[n] == row[n] for n in names if n not in PLACE):
                found.equal += 1
            else:
                compare.rows(whole, row)
    for partners in waiting.values():
        for row in partners:
            compare.lone(a=int(row["record_no"]))


def _keyed(file: Opened, rows: Iterator[dict[str, Any]], key: tuple[str, ...]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Each record with its type and key: its own, or its whole's."""
    records = file.layout.records
    parts = {
        kind for kind, spec in records.items() if not spec.place and not any(file.layout.field(n, kind) for n in key)
    }
    whole: Key = ()
    for row in rows:
        kind = row["record_type"]
        own: Key = tuple(row[n] for n in key)
        if kind in parts:
            own = whole
        elif kind in records and not records[kind].place:
            whole = own
        yield (kind, *own), row
