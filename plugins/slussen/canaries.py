"""Canaries: synthetic protected persons who live in every source and must never leave.

Every outgoing stream is searched for them in the pass that hashes it. All values of a kind begin with one rare prefix
(``include/canaries.yaml``), so that a search is a few finds a chunk; a find is confirmed in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from slussen import settings

CONTACT = ("street", "phone", "email")
EVERYTHING = ("personnr", "family_name", *CONTACT)
LONGEST = 256  # bytes that a value may have, kept from one chunk to the next
RARE = 1024  # bytes to a letter that begins no canary: one that is more common is no good to search for
MOST = 100  # hits that are named: one is enough to stop a delivery


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
        self._seen: set[tuple[str, int]] = set()
        self._values: list[tuple[str, tuple[bytes, ...]]] = []
        prefixes: list[str] = []
        for form in forms:
            values = [p[form] for p in canaries.people]
            starts = [canaries.prefixes[form]] if form in canaries.prefixes else values
            prefixes += [change(s) for s in starts for change in (str, str.upper)]
            whole = {change(v).encode(encoding, "ignore") for v in values for change in (str, str.upper)}
            self._values.append((form, tuple(whole)))
        self._starts = _starts(prefixes, encoding)
        self._tail = b""
        self._read = 0

    def feed(self, chunk: bytes) -> None:
        data = self._tail + chunk
        start = self._read - len(self._tail)
        for anchor, prefixes in self._starts:
            for at in _finds(data, anchor, prefixes):
                self._confirm(data, at, start + at)
        self._read += len(chunk)
        self._tail = data[-LONGEST:]

    def _confirm(self, data: bytes, at: int, offset: int) -> None:
        """A prefix is there: is the whole value? (If not yet, it comes again with the next chunk.)"""
        for form, values in self._values:
            if data.startswith(values, at) and (form, offset) not in self._seen and len(self.hits) < MOST:
                self._seen.add((form, offset))
                self.hits.append(Hit(form, offset, f"{data[at]:02x}"))


def _starts(prefixes: Iterable[str], encoding: str) -> list[tuple[bytes, tuple[bytes, ...]]]:
    """What to search for, and what must then be there.

    Words that begin with the same letter share a search for that letter: where it is rare that runs at 30 GB/s, a
    search for a word at 3. Digits are nowhere rare: numbers are searched for one by one.
    """
    shared: dict[str, list[bytes]] = {}
    for prefix in dict.fromkeys(prefixes):
        shared.setdefault(prefix[0] if prefix[0].isalpha() else prefix, []).append(prefix.encode(encoding, "ignore"))
    return [(anchor.encode(encoding), tuple(words)) for anchor, words in shared.items()]


def _finds(data: bytes, anchor: bytes, prefixes: tuple[bytes, ...], start: int = 0) -> Iterator[int]:
    """Where one of the prefixes begins. A letter that turns out not to be rare is given up for the words."""
    in_vain, at = 0, data.find(anchor, start)
    while at >= 0:
        if data.startswith(prefixes, at):
            yield at
        elif (in_vain := in_vain + 1) > len(data) // RARE:
            for word in prefixes:
                yield from _finds(data, word, (word,), at + 1)
            return
        at = data.find(anchor, at + 1)


@cache
def _read(file: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return data
