"""Single-byte encodings as strict tables: what a byte means, which byte a letter is, and what neither knows.

The tables come from Python's codecs and, for the mainframe's, from the ``ebcdic`` package (the C library's IBM278 has
É and backslash in each other's place). Bytes that an encoding leaves out are undefined here, also where a vendor's
"best fit" would let them through: Windows-1252 has no 81, 8D, 8F, 90, 9D.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from slussen.errors import CallError

UNDEFINED = 0xFFFF  # in a decoding table: no such byte; in an encoding table: no such letter
NAMES = (
    "cp278", "cp1143", "cp037", "cp500", "cp437", "cp850", "cp1252", "iso8859-1", "iso8859-15",
)  # fmt: skip


@dataclass(frozen=True)
class Codepage:
    """An encoding: ``letters`` (256 code points by byte), ``bytes`` (byte by code point below 65,536)."""

    name: str
    letters: NDArray[np.uint16]
    bytes: NDArray[np.uint16]

    def byte(self, letter: str) -> int:
        """The byte of a letter that every encoding has."""
        return int(self.bytes[ord(letter)])


@cache
def codepage(name: str) -> Codepage:
    """The encoding of this name.

    Raises:
        CallError: there is no such encoding here.
    """
    if name not in NAMES:
        raise CallError(f"unknown encoding {name!r}: one of {', '.join(NAMES)}")
    if name in ("cp278", "cp1143"):
        import ebcdic  # noqa: F401 (registers the codecs)
    letters = np.full(256, UNDEFINED, np.uint16)
    encoded = np.full(65536, UNDEFINED, np.uint16)
    decode = codecs.getdecoder(name)
    for byte in range(256):
        try:
            point = ord(decode(bytes([byte]))[0])
        except UnicodeDecodeError:
            continue
        letters[byte] = point
        # EBCDIC's two line ends (15 NL, 25 LF) both read as LF; the codec writes 25, and so do we.
        encoded[point] = byte
    letters.setflags(write=False)
    encoded.setflags(write=False)
    return Codepage(name, letters, encoded)


def translation(source: str, target: str) -> tuple[bytes, bytes]:
    """A table for ``bytes.translate`` from one encoding to another, and the source bytes that have no place in it.

    The second are those undefined in the source, and those whose letter the target lacks.
    """
    points = codepage(source).letters
    mapped = np.where(points == UNDEFINED, UNDEFINED, codepage(target).bytes[points])
    lost = np.flatnonzero(mapped == UNDEFINED).astype(np.uint8)
    return np.where(mapped == UNDEFINED, 0, mapped).astype(np.uint8).tobytes(), lost.tobytes()
