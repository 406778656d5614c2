"""Canaries: synthetic protected persons who live in every source and must never leave.

Every outgoing stream is searched for them in the pass that hashes it. All values of a kind begin with one rare prefix
(``include/canaries.yaml``); all prefixes are searched for at once, and what is found is confirmed in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from slussen import settings
from slussen.errors import CallError
from slussen.records.codepages import UNDEFINED, Codepage, codepage

CONTACT = ("street", "phone", "email")
EVERYTHING = ("personnr", "family_name", *CONTACT)
LONGEST = 256  # bytes that a value may have, kept from one chunk to the next
SHORTEST = 7  # bytes that what a canary begins with has at least
PIECE = 1 << 18  # bytes that are looked at at a time: they stay in the processor's cache
MIX, SHIFT = np.uint32(0x9E3779B1), np.uint32(17)  # a word's hash: Fibonacci's, 15 bits
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
        page = codepage(encoding)
        self.hits: list[Hit] = []
        self._seen: set[tuple[str, int]] = set()
        self._values: list[tuple[str, tuple[bytes, ...]]] = []
        prefixes: list[str] = []
        for form in forms:
            values = [p[form] for p in canaries.people]
            starts = [canaries.prefixes[form]] if form in canaries.prefixes else values
            prefixes += [change(s) for s in starts for change in (str, str.upper)]
            whole = {_coded(change(v), page) for v in values for change in (str, str.upper)}
            self._values.append((form, tuple(whole)))
        self._words, self._table = _aligned({_coded(p, page) for p in prefixes})
        self._tail = b""
        self._read = 0

    def feed(self, chunk: bytes | bytearray) -> None:
        border = self._tail + chunk[:LONGEST]  # of what begins in one chunk and ends in the next
        for data, start in ((border, self._read - len(self._tail)), (chunk, self._read)):
            for at in self._finds(data):
                self._confirm(data, at, start + at)
        self._read += len(chunk)
        self._tail = (self._tail + chunk[-LONGEST:])[-LONGEST:]

    def _finds(self, data: bytes | bytearray) -> Iterator[int]:
        """Where a prefix begins: one look at every fourth byte, whatever the number of prefixes."""
        for first in range(0, len(data) - 3, PIECE):
            words = np.frombuffer(data, "<u4", min(PIECE, len(data) - first) // 4, first)
            there = np.flatnonzero(self._table.take((words * MIX) >> SHIFT))
            for place, word in zip(there.tolist(), words[there].tolist(), strict=True):
                for within, prefix in self._words.get(word, ()):
                    at = first + 4 * place - within
                    if at >= 0 and data.startswith(prefix, at):
                        yield at

    def _confirm(self, data: bytes | bytearray, at: int, offset: int) -> None:
        """A prefix is there: is the whole value? (If not yet, it comes again with the next chunk.)"""
        for form, values in self._values:
            if data.startswith(values, at) and (form, offset) not in self._seen and len(self.hits) < MOST:
                self._seen.add((form, offset))
                self.hits.append(Hit(form, offset, f"{data[at]:02x}"))


def _coded(text: str, page: Codepage) -> bytes:
    """A text in the encoding, without what the encoding lacks."""
    return text.encode() if page.wide else bytes(b for c in text if (b := int(page.bytes[ord(c)])) != UNDEFINED)


def _aligned(prefixes: Iterable[bytes]) -> tuple[dict[int, list[tuple[int, bytes]]], NDArray[np.bool_]]:
    """The four bytes that stand on a multiple of four wherever a prefix begins, and a table of their hashes.

    Seven bytes have such a word in them, at one of four places. Of digits the last seven are the rare ones.

    Raises:
        CallError: a prefix is too short.
    """
    words: dict[int, list[tuple[int, bytes]]] = {}
    for prefix in prefixes:
        if len(prefix) < SHORTEST:
            raise CallError(f"canaries.yaml: what canaries begin with must be {SHORTEST} characters or more")
        first = len(prefix) - SHORTEST if prefix.isdigit() else 0
        for within in range(first, first + 4):
            word = int.from_bytes(prefix[within : within + 4], "little")
            words.setdefault(word, []).append((within, prefix))
    table = np.zeros(1 << 32 - int(SHIFT), np.bool_)
    table[(np.array(list(words), np.uint32) * MIX) >> SHIFT] = True
    return words, table


@cache
def _read(file: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return data
