"""Canaries: synthetic protected persons who live in every source and must never leave.

Every outgoing stream is searched for them in the pass that hashes it. All values of a kind begin with one rare prefix
(``include/canaries.yaml``), so that a search is a few finds a chunk; a find is confirmed in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from slussen import settings

CONTACT = ("street", "phone", "email")
EVERYTHING = ("personnr", "family_name", *CONTACT)
LONGEST = 256  # bytes that a value may have, kept from one chunk to the next


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a canary stands in the stream, and which kind of value of it."""

    form: str
    offset: int
    byte: str  # the first one, in hex


class Canaries:
    """The canaries of include/canaries.yaml."""

    def __init__(self, prefixes: dict[str, str], people: list[dict[str, str]]) -> None:
        self.prefixes, self.people = prefixes, people

    @classmethod
    def load(cls) -> Canaries:
        data = _read(settings.INCLUDE / "canaries.yaml")
        return cls(data["prefix"], data["canaries"])

    def scan(self, policy: str, encoding: str) -> Scan | None:
        """A search for what this policy must keep in: contact data where it masks, everything where it blocks."""
        forms = {"mask": CONTACT, "block": EVERYTHING}.get(policy)
        return Scan(self, forms, encoding) if forms else None


class Scan:
    """Feed it the chunks in order; ``hits`` are what it found, as written or in capitals."""

    def __init__(self, canaries: Canaries, forms: tuple[str, ...], encoding: str) -> None:
        if encoding in ("cp278", "cp1143"):
            import ebcdic  # noqa: F401 (registers the codecs)
        self.hits: list[Hit] = []
        self._wanted: list[tuple[str, bytes, list[bytes]]] = []
        for form in forms:
            values = [p[form] for p in canaries.people]
            prefixes = [canaries.prefixes[form]] if form in canaries.prefixes else values
            for change in (str, str.upper):
                whole = [change(v).encode(encoding, "ignore") for v in values]
                wanted = [(form, change(p).encode(encoding, "ignore"), whole) for p in prefixes]
                self._wanted += [w for w in wanted if w not in self._wanted]
        self._tail = b""
        self._read = 0

    def feed(self, chunk: bytes) -> None:
        data = self._tail + chunk
        start = self._read - len(self._tail)
        for form, prefix, values in self._wanted:
            for at in _finds(data, prefix):
                hit = Hit(form, start + at, f"{prefix[0]:02x}")
                if hit not in self.hits and any(data.startswith(v, at) for v in values):
                    self.hits.append(hit)
        self._read += len(chunk)
        self._tail = data[-LONGEST:]


def _finds(data: bytes, word: bytes) -> Iterator[int]:
    at = data.find(word)
    while at >= 0:
        yield at
        at = data.find(word, at + 1)


@cache
def _read(file: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return data
