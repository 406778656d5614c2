"""What an XML reader reads in a member of an archive, streamed: whoever searches the bytes alone misses what is written
otherwise, as character references, in CDATA, with a comment in between, in another encoding.

Expat reads it, and nothing else is read: no external DTD. Entities aren't known here, so that text which they stand for
couldn't be searched, and nothing needs them: a document that declares or uses one of its own is refused, and so is one
with a DTD inside. (IMS Enterprise's DOCTYPE, which only names its DTD, is fine.)
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

LONGEST = 8 << 20  # bytes of one tag or comment, which the parser holds whole
MARKS = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # byte order marks, UTF-16's zeros, blanks: before the first "<"
# As they print, so they are searched: dashes are hyphens, what takes no room isn't there.
ALIKE = dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-") | dict.fromkeys(
    (0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF)
)

Sink = Callable[[bytes], object]


class XmlText:
    """Takes a member's bytes; hands its text on to ``text``, and attributes, comments and instructions to ``aside``.

    Both get UTF-8. Elements part the text from each other, comments and the like don't. A member that isn't called XML
    and doesn't begin like it isn't read.
    """

    def __init__(self, name: str, text: Sink, aside: Sink) -> None:
        self._named, self._text, self._aside = name.casefold().endswith(".xml"), text, aside
        self._parser: Any = None
        self._begun, self._fed, self._wrong = False, 0, ""

    def __call__(self, chunk: bytes) -> None:
        if not self._begun:
            self._begun = True
            if self._named or chunk.lstrip(MARKS).startswith(b"<"):
                self._parser = self._made()
        self._parse(chunk, last=False)

    def end(self) -> str:
        """Nothing more comes: why it is no XML that can be searched, or nothing."""
        if self._named and not self._begun:
            self(b"")
        self._parse(b"", last=True)
        return self._wrong

    def _parse(self, data: bytes, *, last: bool) -> None:
        if self._parser is None or self._wrong:
            return
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code) or "it can't be read"
            self._wrong = f"it is no well-formed XML: {why}, line {error.lineno}, column {error.offset + 1}"
        except (ValueError, LookupError):  # an encoding that Python doesn't have, or that isn't one byte a letter
            self._wrong = "it is XML in an encoding that can't be read"
        except _RefusedError as refused:
            self._wrong = f"its XML {refused}, line {self._parser.CurrentLineNumber}"
        self._fed += len(data)
        if not self._wrong and self._fed - max(self._parser.CurrentByteIndex, 0) > LONGEST:
            self._wrong = f"its XML has a tag or a comment of more than {LONGEST:,} bytes"

    def _made(self) -> Any:
        parser = expat.ParserCreate()
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.CharacterDataHandler = lambda data: self._text(_printed(data))
        parser.StartElementHandler = self._element
        parser.EndElementHandler = lambda name: self._text(b"\n")
        parser.CommentHandler = lambda data: self._aside(_printed(data) + b"\n")
        parser.ProcessingInstructionHandler = lambda target, data: self._aside(_printed(f"{target} {data}\n"))
        parser.StartDoctypeDeclHandler = _doctype
        parser.EntityDeclHandler = _entity
        parser.SkippedEntityHandler = _entity
        return parser

    def _element(self, name: str, attributes: dict[str, str]) -> None:
        self._text(b"\n")
        for value in attributes.values():
            self._aside(_printed(value) + b"\n")


class _RefusedError(Exception):
    """What it has that isn't read."""


def _doctype(name: str, system: str | None, public: str | None, inside: int) -> None:
    if inside:
        raise _RefusedError("has a DTD inside")


def _entity(*_: Any) -> None:
    raise _RefusedError("has entities of its own")


def _printed(text: str) -> bytes:
    """The text as it is searched: letters that look alike are one, what can't be seen isn't there."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(ALIKE)
    return text.encode("utf-8", "surrogatepass")
