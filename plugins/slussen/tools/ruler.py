"""A record's bytes under a ruler: letters, each byte's two hex digits below each other, marks where it is wrong.

Personal data is hidden: a letter becomes x, a digit 9, a symbol a dot, and its hex dots.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from rich.text import Text

from slussen.records.bare import bare
from slussen.records.codepages import UNDEFINED, Codepage, codepage
from slussen.records.layout import Layout
from slussen.records.posts import CODE

WIDTH = 100  # columns to a line


def masked(text: str) -> str:
    """The shape of a text: letters as x, digits as 9, all else but blanks and hyphens as a dot.

    (Where the encoding is wrong a symbol is a letter: ASCII's K is EBCDIC's full stop.)
    """
    return re.sub(r"[^x9 -]", "·", re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", text)))


def letters(data: bytes, encoding: str) -> str:
    """A record's bytes as letters, one for each byte; what is none is a dot, and so is a letter's second byte."""
    page = codepage(encoding)
    if page.wide:
        return "".join(_unicode(data))
    points = [int(page.letters[b]) for b in data]
    return "".join("·" if p == UNDEFINED or not chr(p).isprintable() else chr(p) for p in points)


def _unicode(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        size = 1 if data[at] < 0xC0 else 2 if data[at] < 0xE0 else 3 if data[at] < 0xF0 else 4
        letter = data[at : at + size].decode("utf-8", "replace")
        if len(letter) != 1 or letter == "\ufffd":
            letter, size = "·", 1
        yield (letter if letter.isprintable() else "·") + "·" * (size - 1)
        at += size


# --- what is personal


def hidden(layout: Layout, kind: str, data: bytes, encoding: str, *, doubtful: bool = False) -> list[bool]:
    """Which of a record's bytes are personal data; of a record of no known type all are.

    Of a doubtful one, with which something is wrong, what would be on any other type is too.
    """
    match layout.kind:
        case "fixed":
            return _hidden_fixed(layout, kind, data, encoding, doubtful)
        case "delimited":
            return _hidden_delimited(layout, kind, data, codepage(encoding))
        case _:
            return _hidden_tagged(layout, data, encoding)


def personal(layout: Layout, kind: str = "") -> set[int]:
    """The places, from 0, of personal data in a record of this type; or of any."""
    fields = layout.of(kind) if kind else layout.fields
    return {k for f in fields if f.private for k in range(int(f.at) - 1, int(f.at) - 1 + f.length)}


def _hidden_fixed(layout: Layout, kind: str, data: bytes, encoding: str, doubtful: bool) -> list[bool]:
    """What stands where the type has no field, is nobody's business either."""
    if not kind:
        return [True] * len(data)
    blank = codepage(encoding).byte(" ")
    secret = personal(layout, "" if doubtful else kind)
    empty = {k for f in bare(layout, kind) for k in range(int(f.at) - 1, int(f.at) - 1 + f.length)}
    return [k in secret or (k in empty and byte != blank) for k, byte in enumerate(data)]


def _hidden_delimited(layout: Layout, kind: str, data: bytes, page: Codepage) -> list[bool]:
    separator = page.byte(layout.file.separator)
    quote = page.byte(layout.file.quote) if layout.file.quote else -1
    private = [f.private for f in layout.of(kind)] if kind else []
    found, quoted, n = [], False, 0
    for byte in data:
        quoted ^= byte == quote
        if byte == separator and not quoted:
            n += 1
            found.append(False)
        else:
            found.append(private[n] if n < len(private) else True)
    return found


def _hidden_tagged(layout: Layout, data: bytes, encoding: str) -> list[bool]:
    """Of each line what comes after its term, unless the term is known and nobody's."""
    page, prefix = codepage(encoding), layout.file.prefix
    terms = {str(f.at): f.private for f in layout.fields}
    spans = [w for spec in layout.records.values() for w in (spec.opens, spec.closes, spec.line)]
    words = {*terms, *spans, *layout.file.data, layout.file.end, *layout.file.keywords}
    found: list[bool] = []
    for line in data.splitlines(keepends=True):
        text = line.decode("utf-8", "replace") if page.wide else letters(line, encoding)
        first = len(prefix) if text.startswith(prefix) else 0
        word = text[first:].split(" ", 1)[0].rstrip("·\r\n")
        if word in words or (word.isdigit() and len(word) == CODE):  # a code with something after it may be a name
            begins = line.find(b" ", first)
            first = len(line) if begins < 0 or not terms.get(word, True) else begins + 1
        found += [False] * first + [True] * (len(line) - first)
    return found


# --- drawn


def stretches(layout: Layout, data: bytes, encoding: str) -> Iterator[tuple[int, int, int]]:
    """What is drawn side by side: (first byte, how many, its column in the record or line)."""
    if layout.kind == "fixed":
        yield from ((first, min(WIDTH, len(data) - first), first + 1) for first in range(0, len(data), WIDTH))
        return
    at, page = 0, codepage(encoding)
    feed = b"\n" if layout.kind == "tagged" else bytes([page.byte("\n")])
    for line in data.removesuffix(feed).split(feed):
        size = len(line.removesuffix(bytes([page.byte("\r")])))
        for first in range(0, max(size, 1), WIDTH):
            yield at + first, min(WIDTH, size - first), first + 1
        at += len(line) + 1


def drawn(layout: Layout, data: bytes, encoding: str, secret: list[bool], wrong: Collection[int]) -> Text:
    """The record; ``wrong`` are the places of bytes at fault."""
    text = "".join(masked(c) if h else c for c, h in zip(letters(data, encoding), secret, strict=True))
    blank = bytes([codepage(encoding).byte(" ")])
    out = Text()
    skipped, ruled = 0, False
    for first, size, column in stretches(layout, data, encoding):
        here = range(first, first + size)
        marked = any(k in wrong for k in here)
        if layout.kind == "fixed" and not data[first : first + size].strip(blank) and not marked:
            skipped += size
            continue
        if skipped:
            out.append(f"        … {skipped:,} blank columns\n", style="dim")
            skipped = 0
        if layout.kind == "fixed" or column > 1 or not ruled:
            out.append(f"{column:>7} {_ruler(column - 1, size if layout.kind == 'fixed' else WIDTH)}\n", style="cyan")
            ruled = column == 1
        out.append(f"        {text[first : first + size]}\n", style="bold")
        for shift in (4, 0):
            digits = "".join("·" if secret[k] else f"{data[k] >> shift & 15:x}" for k in here)
            out.append(f"        {digits}\n", style="dim")
        if marked:
            out.append("        " + "".join("^" if k in wrong else " " for k in here).rstrip() + "\n", style="bold red")
    if skipped:
        out.append(f"        … {skipped:,} blank columns\n", style="dim")
    return out


def _ruler(first: int, length: int) -> str:
    """A mark every five columns, the tens' number every ten."""
    ruler = ["·"] * length
    for k in range(length):
        column = first + k + 1
        if column % 10 == 0:
            for back, digit in enumerate(reversed(str(column))):
                if k - back >= 0:
                    ruler[k - back] = digit
        elif column % 5 == 0:
            ruler[k] = "+"
    return "".join(ruler)
