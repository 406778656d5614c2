"""The lines of a block of text: where they begin and end, and what no line may have in it."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from slussen.errors import CallError
from slussen.records.codepages import BOM, UNDEFINED, Codepage, codepage
from slussen.records.layout import Layout
from slussen.records.letters import Ints

MARKED = "a UTF-8 byte order mark in the middle of the file: two files run together?"
ONE_KIND = "have it sent with one kind of line end"
Places = NDArray[np.int32]


def spoken(layout: Layout, encoding: str) -> Codepage:
    """The encoding of a tagged or delimited file: one in which the layout's own words can be said.

    Raises:
        CallError: there is no such encoding, it lacks a letter of them, or it is EBCDIC, in which no tagged file is.
    """
    page = codepage(encoding)
    if page.ebcdic and layout.kind == "tagged":
        raise CallError(f"{layout.name} is not read or written in {page.name}: convert it first (slussen convert)")
    lacking = sorted({c for c in layout.words if not page.wide and page.bytes[min(ord(c), 0xFFFF)] == UNDEFINED})
    if lacking:
        raise CallError(f"{page.name} lacks {' '.join(lacking)}, by which the parts of {layout.name} are known")
    return page


def lines_of(data: bytes) -> tuple[Places, Places]:
    """Where each line starts and ends, without its line end (LF or CRLF)."""
    raw = np.frombuffer(data, np.uint8)
    feeds = np.flatnonzero(raw == 0x0A)
    ends = np.empty(len(feeds) + 1, np.int32)
    ends[:-1], ends[-1] = feeds, len(data)
    starts = np.zeros(len(ends), np.int32)
    np.add(ends[:-1], 1, out=starts[1:])
    if starts[-1] == len(data):
        starts, ends = starts[:-1], ends[:-1]
    if b"\r" in data:
        ends -= (ends > starts) & (raw[np.maximum(ends - 1, 0)] == 0x0D)
    return starts, ends


def first_line(data: bytes, page: Codepage, quote: str = "") -> bytes:
    """The first line without its end (LF or CRLF), in any encoding; a line end between quotes is part of it.

    (Of a quote that is never closed it is none.)
    """
    feed, mark = bytes([page.byte("\n")]), bytes([page.byte(quote)]) if quote else b""
    first = at = data.find(feed)
    quotes = data.count(mark, 0, at) if mark else 0
    while quotes % 2 and at >= 0:
        after = data.find(feed, at + 1)
        quotes += data.count(mark, at, after)
        at = after
    at = max(at, first)
    return data[:at].removesuffix(bytes([page.byte("\r")])) if at >= 0 else data


def crlf(data: bytes) -> bool:
    """Does the first line end with CRLF?"""
    return data[: data.find(b"\n") + 1].endswith(b"\r\n")


def odd_ends(data: bytes, starts: Places, ends: Places, *, crlf: bool) -> Ints:
    """The lines that end with LF where CRLF is the rule, or the other way about. The last may lack its end."""
    if not crlf and b"\r" not in data:
        return np.zeros(0, np.int64)
    after = np.append(starts[1:], len(data)) - ends
    if len(after) and not data.endswith(b"\n"):
        after = after[:-1]
    return np.flatnonzero(after != (2 if crlf else 1))


def ended(*, crlf: bool) -> str:
    """What is wrong with a line that ends otherwise than the file's first, which ends so."""
    return "the line ends with {} where the file's first ends with {}".format(
        *(("LF", "CRLF") if crlf else ("CRLF", "LF"))
    )


def marks(data: bytes, page: Codepage) -> Ints:
    """Where byte order marks stand: in no single-byte encoding of ASCII's family do their letters make sense.

    (What is UTF-8 is looked at value by value.)
    """
    # A search for one rare byte is ten times as fast as one for three.
    rare = -1 if page.ebcdic or page.wide else data.find(BOM[:1])
    return (
        np.array([m.start() for m in re.finditer(BOM, memoryview(data)[rare:])] if rare >= 0 else [], np.int64) + rare
    )
