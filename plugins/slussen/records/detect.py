"""Which encoding is this likely to be? By what the bytes would say in each.

A file that is declared PC8 but was written in Windows-1252 has no byte that PC8 lacks: it only reads wrong. What gives
it away is that the bytes on which the two differ are Swedish letters in the one and line-drawing characters in the
other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from slussen.records.codepages import BOM, EBCDIC, SINGLE, UNDEFINED, codepage

SWEDISH = frozenset("åäöÅÄÖéÉüÜ")
PLAIN = frozenset(chr(p) for p in range(0x20, 0x7F)) | {"\r", "\n", "\t"}
ALPHANUMERIC = frozenset(c for c in PLAIN if c.isalnum())
LETTERS = frozenset(chr(p) for p in range(0xC0, 0x250) if chr(p).isalpha())
READABLE, TEXT = LETTERS | ALPHANUMERIC, PLAIN | SWEDISH
LIKELY = ("cp1252", "iso8859-1", "cp437", "cp850", "cp278", "cp037", "cp500", "sen850200c", "sen850200b", "iso8859-15",
          "cp1143")  # fmt: skip
ENOUGH = 1 << 16  # bytes of each sample
FEW = 10  # so few bytes tell only if the declared encoding has no letters at all for them


@dataclass(frozen=True, slots=True)
class Verdict:
    """The declared encoding is likely wrong: so much of what tells is Swedish in another."""

    declared: str
    likely: str
    swedish: int
    of: int
    what: str  # what tells: bytes above 7F, say
    are: str = "Swedish letters"

    def __str__(self) -> str:
        return (
            f"declared {self.declared}, reads like {self.likely}: {self.swedish:,} of {self.of:,} {self.what} "
            f"are {self.are} there"
        )


class Sample:
    """The beginning of a file, and the first of it that isn't ASCII."""

    def __init__(self, declared: str) -> None:
        self.declared = codepage(declared).name
        self.start, self.beyond = b"", b""
        self._ascii = self.declared not in EBCDIC

    def feed(self, data: bytes) -> None:
        if len(self.start) < ENOUGH:
            self.start += data[: ENOUGH - len(self.start)]
        if self._ascii and len(self.beyond) < ENOUGH and not data.isascii():
            block = np.frombuffer(data, np.uint8)
            # Whole stretches around them, so that UTF-8's sequences stay whole.
            for first in range(0, len(block), 4096):
                piece = data[first : first + 4096]
                if not piece.isascii():
                    self.beyond += piece
                    if len(self.beyond) >= ENOUGH:
                        break

    def verdict(self) -> Verdict | None:
        """Is the declared encoding likely wrong?"""
        return verdict(self.beyond or self.start, self.declared)


def verdict(data: bytes, declared: str) -> Verdict | None:
    """Is this likely written in another encoding than the declared one?"""
    declared = codepage(declared).name
    if not data:
        return None
    if (found := _unicode(data, declared)) is not None:
        return found
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    best: Verdict | None = None
    score = 0.0
    here = codepage(declared).letters
    for name in LIKELY:
        if name == declared:
            continue
        there = codepage(name).letters
        differ = (here != there) & (counts > 0)
        if declared in ("utf-8", "utf-8-sig"):
            differ = (np.arange(256) >= 0x80) & (counts > 0)
        if not differ.any() or (name in EBCDIC) != (declared in EBCDIC):
            if (name in EBCDIC) != (declared in EBCDIC):
                found = _family(counts, declared, name)
                if found is not None and best is None:
                    best = found
            continue
        n = int(counts[differ].sum())
        swedish = _sum(counts, differ, name, SWEDISH)
        letters = _sum(counts, differ, name, LETTERS)
        was = _sum(counts, differ, declared, SWEDISH)
        was_letters = _sum(counts, differ, declared, READABLE) if n < FEW else 0
        if declared in ("utf-8", "utf-8-sig"):
            was = was_letters = 0
        if swedish >= 0.7 * n and letters >= 0.95 * n and was <= 0.2 * n and not was_letters and swedish / n > score:
            score = swedish / n
            high = bool((np.flatnonzero(differ) >= 0x80).all()) and name not in EBCDIC
            what = "bytes above 7F" if high else "bytes that the two read differently"
            best = Verdict(declared, name, swedish, n, what)
    return best


def _sum(counts: np.ndarray, differ: np.ndarray, name: str, wanted: frozenset[str]) -> int:
    """How many of the bytes that differ are wanted letters in this encoding."""
    return int(counts[differ & _bytes_of(name, wanted)].sum())


@cache
def _bytes_of(name: str, wanted: frozenset[str]) -> np.ndarray:
    """Which bytes are one of these letters."""
    return np.array([p != UNDEFINED and chr(p) in wanted for p in codepage(name).letters.tolist()])


def _family(counts: np.ndarray, declared: str, name: str) -> Verdict | None:
    """EBCDIC for ASCII, or the other way about: nearly nothing is text in the one, nearly everything in the other."""
    every = counts > 0
    n = int(counts.sum())
    there = _sum(counts, every, name, TEXT)
    here = _sum(counts, every, declared, TEXT)
    if n < FEW or there < 0.98 * n or here > 0.6 * n:
        return None
    letters = _sum(counts, every, name, SWEDISH)
    if letters == 0 and name not in ("cp1252", "cp278"):
        return None
    return Verdict(declared, name, there, n, "bytes", "Swedish text")


def _unicode(data: bytes, declared: str) -> Verdict | None:
    if declared in ("utf-8", "utf-8-sig", *EBCDIC) or data.isascii():
        return None
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        if error.end < len(data) - 4096:  # a sample may be cut within a sequence
            return None
        text = data.decode("utf-8", "ignore")
    beyond = [c for c in text if c > "\x7f"]
    swedish = sum(c in SWEDISH or c in LETTERS for c in beyond)
    if not beyond or swedish < 0.7 * len(beyond):
        return None
    return Verdict(declared, "utf-8", swedish, len(beyond), "sequences above 7F")


def guess(data: bytes) -> list[tuple[str, float]]:
    """The encodings that this may be, the likeliest first, with the share of its bytes that are Swedish text there."""
    if not data:
        return []
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    n = len(data)
    found = []
    if not data.isascii():
        try:
            text = data.decode("utf-8")
            good = sum(c in PLAIN or c in LETTERS for c in text)
            found.append(("utf-8-sig" if data.startswith(BOM) else "utf-8", good / len(text) + 0.001))
        except UnicodeDecodeError:
            pass
    for name in LIKELY:
        letters = codepage(name).letters
        weight = np.array([_likely(p) for p in letters.tolist()])
        found.append((name, float((counts * weight).sum()) / n))
    order = {name: k for k, name in enumerate(("utf-8-sig", "utf-8", *LIKELY, *SINGLE))}
    return sorted(found, key=lambda f: (-f[1], order[f[0]]))


def _likely(point: int) -> float:
    """How much a character speaks for Swedish text."""
    if point == UNDEFINED:
        return 0.0
    return 1.0 if chr(point) in PLAIN or chr(point) in SWEDISH else 0.7 if chr(point) in LETTERS else 0.0
