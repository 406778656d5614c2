"""Encodings as strict tables: what a byte means, which byte a letter is, and what neither knows.

The tables come from Python's codecs and, for the mainframe's, from the ``ebcdic`` package (the C library's IBM278 has
É and backslash in each other's place); SEN 850200 B and C are ISO 646 with ten letters of their own. Bytes that an
encoding leaves out are undefined here, also where a vendor's "best fit" would let them through: Windows-1252 has no
81, 8D, 8F, 90, 9D.

The engine works on *plain* bytes: a block of any single-byte encoding, translated so that ASCII and Latin-1 letters
stand where Latin-1 has them. Letters beyond Latin-1 (€ in Windows-1252, frames in CP437) and undefined bytes become
one byte that no letter of the encoding has, and are looked up one by one.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from slussen import settings
from slussen.errors import CallError

UNDEFINED = 0xFFFF  # in a decoding table: no such byte; in an encoding table: no such letter
EBCDIC = ("cp278", "cp1143", "cp037", "cp500")
SINGLE = (
    *EBCDIC, "cp437", "cp850", "cp1252", "iso8859-1", "iso8859-15", "sen850200b", "sen850200c",
)  # fmt: skip
UNICODE = ("utf-8", "utf-8-sig")
NAMES = (*SINGLE, *UNICODE)
ALIASES = {
    "pc8": "cp437", "ibm437": "cp437", "ibm850": "cp850", "ansi": "cp1252", "windows-1252": "cp1252",
    "latin-1": "iso8859-1", "latin1": "iso8859-1", "iso-8859-1": "iso8859-1", "iso-8859-15": "iso8859-15",
    "latin-9": "iso8859-15", "utf8": "utf-8", "utf-8-bom": "utf-8-sig", "ibm278": "cp278", "ibm1143": "cp1143",
    "ibm037": "cp037", "ibm500": "cp500", "sen-850200-b": "sen850200b", "sen-850200-c": "sen850200c",
    "sen_850200_b": "sen850200b", "sen_850200_c": "sen850200c", "iso646-se": "sen850200b", "iso646-se2": "sen850200c",
}  # fmt: skip
BOM = codecs.BOM_UTF8
Table = bytes  # one byte for each of 256
NATIONAL = {  # what these two have instead of ASCII's characters; the currency sign stands where ASCII has the dollar
    "sen850200b": {"$": "¤", "[": "Ä", "\\": "Ö", "]": "Å", "{": "ä", "|": "ö", "}": "å", "~": "‾"},
    "sen850200c": {"$": "¤", "@": "É", "[": "Ä", "\\": "Ö", "]": "Å", "^": "Ü", "`": "é", "{": "ä", "|": "ö",
                   "}": "å", "~": "ü"},
}  # fmt: skip


@dataclass(frozen=True)
class Codepage:
    """An encoding: ``letters`` (256 code points by byte), ``bytes`` (byte by code point below 65,536).

    UTF-8's tables have ASCII only; ``wide`` says that what is beyond takes more than one byte.
    """

    name: str
    letters: NDArray[np.uint16]
    bytes: NDArray[np.uint16]
    wide: bool = False
    plain: Table = field(init=False, repr=False)  # byte -> plain byte
    special: int = field(init=False, repr=False)  # the plain byte of what isn't Latin-1; ``UNDEFINED``: everything is
    back: Table = field(init=False, repr=False)  # plain byte -> byte: one to one
    home: Table = field(init=False, repr=False)  # byte -> the plain byte that ``back`` takes to it
    lacking: NDArray[np.bool_] = field(init=False, repr=False)  # which of Latin-1's letters it doesn't have
    coded: NDArray[np.uint16] = field(init=False, repr=False)  # code point -> plain byte that ``back`` takes to its own

    def __post_init__(self) -> None:
        letters = self.letters
        every = np.arange(256, dtype=np.uint16)
        if self.wide:
            special, plain, back = UNDEFINED, every, every
        else:
            special = max(set(every.tolist()) - set(letters.tolist()), default=UNDEFINED)  # no letter of its own has it
            plain = np.where(letters < 256, letters, special)
            # Two bytes of a kind (EBCDIC's line ends) have one letter: the codec's byte is the way back.
            back = self.bytes[every].copy()
        unused = iter(sorted(set(every.tolist()) - set(back.tolist())))
        for point in np.flatnonzero(back == UNDEFINED).tolist():
            back[point] = next(unused)
        home = np.argsort(back)  # byte -> the plain byte that leads to it
        coded = np.where(self.bytes == UNDEFINED, UNDEFINED, home[np.minimum(self.bytes, 255)]).astype(np.uint16)
        for name, value in (("plain", plain.astype(np.uint8).tobytes()), ("special", special),
                            ("back", back.astype(np.uint8).tobytes()), ("home", home.astype(np.uint8).tobytes()),
                            ("coded", coded), ("lacking", coded[:256] == UNDEFINED)):  # fmt: skip
            object.__setattr__(self, name, value)

    def byte(self, letter: str) -> int:
        """A letter's only byte.

        Raises:
            CallError: it has none, or more than one.
        """
        found = int(self.bytes[ord(letter)]) if ord(letter) < len(self.bytes) else UNDEFINED
        if found == UNDEFINED:
            raise CallError(f"{self.name} has no byte for {letter!r}, which the layout needs: declare another encoding")
        return found

    def spelled(self, words: str) -> Table:
        """Words of the layout's own, of Latin-1's letters, as plain bytes.

        Raises:
            CallError: the encoding lacks a letter of them.
        """
        return words.encode() if self.wide else Table(self.home[self.byte(letter)] for letter in words)

    @cached_property
    def latin(self) -> bool:
        """Has it all of Latin-1's letters?"""
        return not self.lacking.any()

    @property
    def ebcdic(self) -> bool:
        return self.name in EBCDIC

    @property
    def undefined(self) -> Table:
        """The bytes that don't exist in it."""
        return b"" if self.wide else np.flatnonzero(self.letters == UNDEFINED).astype(np.uint8).tobytes()


@cache
def codepage(name: str) -> Codepage:
    """The encoding of this name.

    Raises:
        CallError: there is no such encoding here.
    """
    name = ALIASES.get(name.lower(), name.lower())
    if name not in NAMES:
        raise CallError(f"unknown encoding {name!r}: one of {', '.join(NAMES)}")
    letters = np.full(256, UNDEFINED, np.uint16)
    encoded = np.full(65536, UNDEFINED, np.uint16)
    for byte, letter in enumerate(_letters(name)):
        if letter:
            letters[byte] = ord(letter)
            # EBCDIC's two line ends (15 NL, 25 LF) both read as LF; the codec writes 25, and so do we.
            encoded[ord(letter)] = byte
    letters.setflags(write=False)
    encoded.setflags(write=False)
    return Codepage(name, letters, encoded, name in UNICODE)


def _letters(name: str) -> list[str]:
    if name in NATIONAL:
        own = NATIONAL[name]
        return [own.get(chr(b), chr(b)) if b < 128 else "" for b in range(256)]
    if name in ("cp278", "cp1143"):
        import ebcdic  # noqa: F401 (registers the codecs)
    decode = codecs.getdecoder("ascii" if name in UNICODE else name)
    found = []
    for byte in range(256):
        try:
            found.append(decode(bytes([byte]))[0])
        except UnicodeDecodeError:
            found.append("")
    return found


# --- replacements: what a letter becomes where the target lacks it


@dataclass(frozen=True)
class Replacements:
    """A declared table of replacements, by letter (``include/replacements/*.yaml``)."""

    name: str = ""
    table: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.table)

    def needed(self, page: Codepage) -> dict[str, str]:
        """Those whose letter the encoding lacks: what it has is never replaced.

        Raises:
            CallError: a replacement is itself not in the encoding.
        """
        if page.wide:
            return {}
        lost = {a: b for a, b in self.table.items() if page.bytes[ord(a)] == UNDEFINED}
        for letter, instead in lost.items():
            if any(page.bytes[ord(c)] == UNDEFINED for c in instead):
                raise CallError(f"{self.name}: {instead!r} for {letter!r} is not in {page.name} either")
        return lost


NOTHING = Replacements()


def replacements(name: str) -> Replacements:
    """The table of this name; no name is no replacements.

    Raises:
        CallError: there is no such table, or it is wrong.
    """
    if not name:
        return NOTHING
    file = settings.INCLUDE / "replacements" / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in file.parent.glob("*.yaml")))
        raise CallError(f"unknown table of replacements {name!r}: one of {known}")
    return _read(file)


@cache
def _read(file: Path) -> Replacements:
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    table = data.get("replace") if isinstance(data, dict) else None
    if not isinstance(table, dict) or not all(
        isinstance(a, str) and isinstance(b, str) and len(a) == 1 and ord(a) < 65536 for a, b in table.items()
    ):
        raise CallError(f"{file.name}: replace: must say for single letters what stands for them")
    return Replacements(file.stem, table)
