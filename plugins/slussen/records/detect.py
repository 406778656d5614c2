"""Which encoding is this likely to be? By what the bytes would say in each.

A file that is declared PC8 but was written in Windows-1252 has no byte that PC8 lacks: it only reads wrong. What gives
it away is that the bytes on which the two differ are Swedish letters in the one and line-drawing characters in the
other.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from slussen.records.codepages import BOM, EBCDIC, NATIONAL, SINGLE, UNDEFINED, Codepage, codepage
from slussen.records.letters import Bools

OURS = frozenset("åäöÅÄÖ")
SWEDISH = OURS | frozenset("éÉüÜ")
PLAIN = frozenset(chr(p) for p in range(0x20, 0x7F)) | {"\r", "\n", "\t"}
ALPHANUMERIC = frozenset(c for c in PLAIN if c.isalnum())
ALPHABET = frozenset(c for c in ALPHANUMERIC if c.isalpha())
LETTERS = frozenset(chr(p) for p in range(0xC0, 0x250) if chr(p).isalpha())
READABLE, TEXT, WORDS = LETTERS | ALPHANUMERIC, PLAIN | SWEDISH, ALPHANUMERIC | SWEDISH
CARONS = frozenset("ŠšŽž")  # consonants of other languages' names, always beside a vowel
VOWELS = frozenset("aeiouyåäöAEIOUYÅÄÖ")
BLANKS = b" \x40"  # ASCII's and EBCDIC's
LIKELY = ("cp1252", "iso8859-1", "cp437", "cp850", "cp278", "cp037", "cp500", "sen850200c", "sen850200b", "iso8859-15",
          "cp1143")  # fmt: skip
ENOUGH = 1 << 16  # bytes of each sample
FEW = 10  # so few bytes tell only if none of them makes sense in the declared encoding

Counts = NDArray[np.int64]  # of each byte


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


NUMBERED = 16 << 20  # bytes that are looked at where numbers must be left out, which takes longer


class Sample:
    """The beginning of a file, and the first of it that isn't ASCII.

    ``numbers`` are the places of a record, its line end too, whose bytes are no letters: they say nothing. Nor do
    ``signs``, the separator and the quote of the layout.
    """

    def __init__(self, declared: str, numbers: Bools | None = None, signs: str = "") -> None:
        self._numbers, self._at = numbers, 0
        page = codepage(declared)
        self.declared = page.name
        silent = [b for b, point in enumerate(page.letters.tolist()) if point != UNDEFINED and chr(point) in signs]
        self._silent = bytes.maketrans(bytes(silent), bytes([page.byte(" ")]) * len(silent))
        self.start, self.beyond = b"", b""
        self._ascii = self.declared not in EBCDIC

    def feed(self, data: bytes) -> None:
        if self._numbers is not None:
            if self._at > NUMBERED:
                return
            data = self._letters(data, self._numbers)
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

    def _letters(self, data: bytes, numbers: Bools) -> bytes:
        """The bytes with blanks for numbers."""
        here = np.resize(np.roll(numbers, -(self._at % len(numbers))), len(data))
        self._at += len(data)
        blank = codepage(self.declared).byte(" ")
        return np.where(here, np.uint8(blank), np.frombuffer(data, np.uint8)).tobytes()

    def verdict(self) -> Verdict | None:
        """Is the declared encoding likely wrong?"""
        return verdict((self.beyond or self.start).translate(self._silent), self.declared)


def verdict(data: bytes, declared: str) -> Verdict | None:
    """Is this likely written in another encoding than the declared one?"""
    declared = codepage(declared).name
    if not data:
        return None
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    return _family(counts, declared) or _unicode(data, declared) or _letters(data, counts, declared)


def _family(counts: Counts, declared: str) -> Verdict | None:
    """EBCDIC for ASCII, or the other way about: next to nothing reads in the one, nearly everything in the other.

    Blanks don't count: the one's is the other's at sign or nothing, and fixed records are filled with them.
    """
    counts = counts.copy()
    counts[list(BLANKS)] = 0
    every, n = counts > 0, int(counts.sum())
    if n < FEW:
        return None
    here = _sum(counts, every, declared, WORDS)
    best, most = "", 2 * here
    for name in LIKELY:
        if (name in EBCDIC) == (declared in EBCDIC) or _sum(counts, every, name, TEXT) < 0.95 * n:
            continue
        if (there := _sum(counts, every, name, WORDS)) > most:
            best, most = name, there
    if not best:
        return None
    text = _sum(counts, every, best, TEXT)
    return Verdict(declared, best, text, n, "bytes but for blanks", "Swedish text")


def _unicode(data: bytes, declared: str) -> Verdict | None:
    if declared in ("utf-8", "utf-8-sig") or data.isascii():
        return None
    try:
        text, _ = codecs.utf_8_decode(data, "strict", False)  # a sample may be cut within its last sequence
    except UnicodeDecodeError:
        return None
    beyond = [c for c in text if c > "\x7f"]
    swedish = sum(c in SWEDISH or c in LETTERS for c in beyond)
    if not beyond or swedish < 0.7 * len(beyond) or (declared in EBCDIC and len(text) < FEW):
        return None
    return Verdict(declared, "utf-8", swedish, len(beyond), "sequences above 7F")


def _letters(data: bytes, counts: Counts, declared: str) -> Verdict | None:
    """One of the same family: the bytes on which they differ are Swedish letters there, and hardly ever here."""
    best: Verdict | None = None
    score = 0.0
    page, wide = codepage(declared), codepage(declared).wide
    for name in LIKELY:
        if name == declared or (name in EBCDIC) != (declared in EBCDIC):
            continue
        # Of what is beyond ASCII all is read differently, whatever UTF-8 makes of it.
        beyond = wide and name not in NATIONAL
        differ = (np.arange(256) >= 0x80 if beyond else page.letters != codepage(name).letters) & (counts > 0)
        if not differ.any() or (name in NATIONAL and not _sum(counts, differ, name, OURS)):
            continue  # (an at sign, É in one of the 7-bit variants, stands in every address)
        n = int(counts[differ].sum())
        swedish = _sum(counts, differ, name, SWEDISH)
        if swedish < 0.7 * n or swedish / n <= score or _sum(counts, differ, name, LETTERS) < 0.95 * n:
            continue
        if not beyond and (
            _sum(counts, differ, declared, SWEDISH) > 0.2 * n or (n < FEW and _reads(data, differ, page))
        ):
            continue
        plain = int(counts[differ & _bytes_of(declared, PLAIN)].sum())
        if 2 * plain > n and not _in_words(data, differ, page, name):
            continue
        score = swedish / n
        high = bool((np.flatnonzero(differ) >= 0x80).all()) and name not in EBCDIC
        what = "bytes above 7F" if high else "bytes that the two read differently"
        best = Verdict(declared, name, swedish, n, what)
    return best


def _in_words(data: bytes, differ: Bools, page: Codepage, name: str) -> bool:
    """Do these bytes, which are signs as declared, stand where letters do? A sign stands alone, or beside a number."""
    block = np.frombuffer(b" " + data + b" ", np.uint8).copy()
    block[[0, -1]] = page.byte(" ")
    letter = _bytes_of(page.name, ALPHABET) | differ & _bytes_of(name, SWEDISH)
    blank = _bytes_of(page.name, frozenset(" \r\n"))
    at = np.flatnonzero(differ[block])
    before, after = block[at - 1], block[at + 1]
    within = int((letter[before] & letter[after]).sum())
    at_edge = int((letter[before] & blank[after] | blank[before] & letter[after]).sum())
    return within + at_edge >= 0.7 * len(at) and within >= 0.2 * len(at)


def _reads(data: bytes, differ: Bools, page: Codepage) -> bool:
    """Does any of these few bytes make sense as it is declared: as a letter or digit in its place?"""
    readable = differ & _bytes_of(page.name, READABLE)
    for place in np.flatnonzero(readable[np.frombuffer(data, np.uint8)]).tolist():
        letter = chr(page.letters[data[place]])
        beside = {chr(page.letters[b]) for b in data[max(place - 1, 0) : place] + data[place + 1 : place + 2]}
        if letter not in CARONS or beside & VOWELS:
            return True
    return False


def _sum(counts: Counts, which: Bools, name: str, wanted: frozenset[str]) -> int:
    """How many of these bytes are wanted letters in this encoding."""
    return int(counts[which & _bytes_of(name, wanted)].sum())


@cache
def _bytes_of(name: str, wanted: frozenset[str]) -> Bools:
    """Which bytes are one of these letters."""
    return np.array([p != UNDEFINED and chr(p) in wanted for p in codepage(name).letters.tolist()])


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
