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
from slussen.records.notation import FieldSpec
from slussen.records.posts import word

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


def hidden(
    layout: Layout, kind: str, data: bytes, encoding: str, *, sound: bool = True, moved: bool = False
) -> list[bool]:
    """Which of a record's bytes may be personal data; of a record of no known type all are.

    Where another record type has a person, and where no field is, one may stand: the record may be another than it
    seems. Only the header and the trailer of a file are what they are, if nothing is wrong with them (``sound``). Where
    values may have ``moved``, all are.
    """
    match layout.kind:
        case "fixed":
            return _hidden_fixed(layout, kind, data, encoding, sound, moved)
        case "delimited":
            return _hidden_delimited(layout, kind, data, codepage(encoding), sound, moved)
        case _:
            return _hidden_tagged(layout, kind, data, encoding)


def secret(layout: Layout, kind: str, f: FieldSpec, *, sound: bool = True, moved: bool = False) -> bool:
    """May a person stand in this field of a record? Where values have moved, in any."""
    if moved and layout.kind != "tagged":
        return any(layout.tells(other) for record_type in layout.records for other in layout.of(record_type))
    return f.private if sound and layout.records[kind].place else layout.tells(f)


def _hidden_fixed(layout: Layout, kind: str, data: bytes, encoding: str, sound: bool, moved: bool) -> list[bool]:
    if not kind:
        return [True] * len(data)
    found = [False] * len(data)
    blank = codepage(encoding).byte(" ")
    for f in layout.of(kind):
        if not (f.type == "const" and sound) and secret(layout, kind, f, sound=sound, moved=moved):
            for k in _places(f, data):
                found[k] = True
    for f in bare(layout, kind):
        for k in _places(f, data):
            found[k] |= data[k] != blank
    return found


def _places(f: FieldSpec, data: bytes) -> range:
    return range(int(f.at) - 1, min(int(f.at) - 1 + f.length, len(data)))


def _hidden_delimited(layout: Layout, kind: str, data: bytes, page: Codepage, sound: bool, moved: bool) -> list[bool]:
    separator = page.byte(layout.file.separator)
    quote = page.byte(layout.file.quote) if layout.file.quote else -1
    private = (
        [f.type == "filler" or secret(layout, kind, f, sound=sound, moved=moved) for f in layout.of(kind)]
        if kind
        else []
    )
    found, quoted, n = [], False, 0
    for byte in data:
        quoted ^= byte == quote
        if byte == separator and not quoted:
            n += 1
            found.append(False)
        else:
            found.append(private[n] if n < len(private) else True)
    return found


def _hidden_tagged(layout: Layout, kind: str, data: bytes, encoding: str) -> list[bool]:
    """Of each line what comes after the word that it is known by, unless that is a term's and nobody's.

    Of a line that is known by none all is hidden, but for the code of a term that the layout doesn't have. What the
    header and the trailer have is nobody's there alone.
    """
    page, file = codepage(encoding), layout.file
    prefix = word(page, file.prefix)
    here = (kind,) if kind and layout.records[kind].place else layout.data_types
    shown = {str(f.at) for record_type in here for f in layout.of(record_type) if not f.private}
    ours = {str(f.at) for f in layout.fields} | {*file.data, file.end, *file.keywords, *file.skipped.keys(),
            *file.skipped.values()}  # fmt: skip
    ours |= {w for spec in layout.records.values() for w in (spec.opens, spec.closes, spec.line)}
    words = {word(page, w): w in shown for w in ours if w}
    found: list[bool] = []
    for line in data.splitlines(keepends=True):
        body = line.rstrip(b"\r\n")
        term = len(prefix) if prefix and body.startswith(prefix) else 0
        told = max((w for w in words if body.startswith(w, term) and (term or w[:1] == b"#")), key=len, default=b"")
        stranger = re.match(rb"\d{5}(?= |$)", body[term:]) if term and not told else None
        end = term + (stranger.end() if stranger else len(told))
        if body[end : end + 1] in (b"", b" "):
            end = len(body) if words.get(told) else min(end + 1, len(body))
        found += [False] * end + [True] * (len(body) - end) + [False] * (len(line) - len(body))
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
