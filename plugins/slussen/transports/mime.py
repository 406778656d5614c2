"""MIME bodies as streams: base64 both ways, and the parts of a multipart body one after the other.

The standard library's ``email`` holds a message in memory several times over; here a part of any size costs a chunk.
Nothing that a message says is put into an error: only what is wrong with it.
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message as Headers
from email.parser import Parser
from typing import BinaryIO

import numpy as np

from slussen.errors import TransportRefused

LINE = 57  # bytes that a line of base64 holds
CHUNK = LINE * 16 * 1024
HEAD = 1 << 16  # bytes that the headers of a part may have
QUOTED = 1 << 20  # bytes of a line of quoted-printable: RFC 2045, 6.7, allows 76, and a sender may not know that
WRITTEN = re.compile(r"name[*0-9]*\s*=\s*([^;\r\n]+)", re.IGNORECASE)


def base64_lines(source: BinaryIO) -> Iterator[bytes]:
    """A file as base64 in lines of 76, each with its CRLF (RFC 2045, 6.8)."""
    while chunk := _filled(source):
        whole = len(chunk) // LINE * LINE
        if whole:
            encoded = np.frombuffer(binascii.b2a_base64(chunk[:whole], newline=False), np.uint8).reshape(-1, 76)
            lines = np.empty((len(encoded), 78), np.uint8)
            lines[:, :76] = encoded
            lines[:, 76:] = (13, 10)
            yield lines.tobytes()
        if whole < len(chunk):
            yield binascii.b2a_base64(chunk[whole:], newline=False) + b"\r\n"


def _filled(source: BinaryIO) -> bytes:
    """A whole chunk, whatever the source gives at a time: a short one is the last."""
    pieces, missing = [], CHUNK
    while missing and (piece := source.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def base64_size(size: int) -> int:
    """How long ``base64_lines`` of so many bytes is."""
    lines, rest = divmod(size, LINE)
    return lines * 78 + (4 * -(-rest // 3) + 2 if rest else 0)


class Decoder:
    """Undoes a content transfer encoding, a chunk at a time.

    Raises:
        TransportRefused: the encoding isn't known, or the body isn't in it: nothing is guessed.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding.strip().lower() or "7bit"
        if self._encoding not in ("7bit", "8bit", "binary", "base64", "quoted-printable"):
            raise TransportRefused("a part in an unknown content transfer encoding")
        self._rest = b""
        self._padded = False

    def decode(self, chunk: bytes) -> bytes:
        if self._encoding == "base64":
            return self._from_base64(chunk)
        if self._encoding == "quoted-printable":
            chunk = self._rest + chunk
            end = chunk.rfind(b"\n") + 1
            self._rest = chunk[end:]
            if len(self._rest) > QUOTED:
                raise TransportRefused(f"a part of quoted-printable with a line of more than {QUOTED} bytes")
            return quopri.decodestring(chunk[:end])
        return chunk

    def finish(self) -> bytes:
        """What is left when the last chunk has come."""
        rest, self._rest = self._rest, b""
        if self._encoding == "base64" and rest:
            raise TransportRefused("a part whose base64 ends in the middle")
        return quopri.decodestring(rest)

    def _from_base64(self, chunk: bytes) -> bytes:
        chunk = self._rest + chunk.translate(None, b"\r\n \t")
        whole = len(chunk) // 4 * 4
        chunk, self._rest = chunk[:whole], chunk[whole:]
        if not chunk:
            return b""
        if self._padded:
            raise TransportRefused("a part whose base64 goes on after its end")
        self._padded = chunk.endswith(b"=")
        try:
            return binascii.a2b_base64(chunk, strict_mode=True)
        except binascii.Error:
            raise TransportRefused("a part that is no base64, though it says so") from None


@dataclass(slots=True)
class Part:
    """A part of a multipart body: its headers, and its body, decoded as it is read."""

    headers: Headers
    body: Iterator[bytes]

    def read(self, limit: int) -> bytes:
        """The whole body of a small part.

        Raises:
            TransportRefused: it is longer than it may be.
        """
        made = bytearray()
        for chunk in self.body:
            made += chunk
            if len(made) > limit:
                raise TransportRefused(f"a part of more than {limit} bytes where a small one belongs")
        return bytes(made)

    @property
    def filename(self) -> str:
        return filename(self.headers)


def parse_headers(head: bytes) -> Headers:
    """Headers; their bytes are UTF-8 where they can be, ISO 8859-1 where not, as SHS writes names of files."""
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text = head.decode("iso-8859-1")
    return Parser().parsestr(text, headersonly=True)


def filename(headers: Headers) -> str:
    """The name of a part (RFC 2183, RFC 2231, RFC 2047 where it shouldn't be), or nothing.

    One that can't be decoded is as it is written: ``email`` raises whatever its codecs do.
    """
    try:
        name = headers.get_filename() or ""
    except (MessageError, LookupError, TypeError, ValueError):
        written = " ".join(str(headers.get(h, "")) for h in ("Content-Disposition", "Content-Type"))
        found = WRITTEN.search(written)
        return found[1].strip() if found else "?"
    with suppress(MessageError, LookupError, TypeError, ValueError):
        return str(make_header(decode_header(name))) if "=?" in name else name
    return name


def parts(boundary: str, chunks: Iterable[bytes]) -> Iterator[Part]:
    """The parts of a multipart body (RFC 2046, 5.1), as its bytes come. Each must be read before the next is asked for;
    what is left of it is skipped.

    Raises:
        TransportRefused: the body ends before its last boundary.
    """
    stream = _Stream(chunks)
    delimiter = b"\r\n--" + boundary.encode("ascii", "replace")
    stream.push(b"\r\n")  # the first boundary may stand at the very beginning
    for _ in stream.until(delimiter):
        pass
    while not stream.ends_here():
        head = stream.head()
        headers = parse_headers(head)
        body = _decoded(stream.until(delimiter), str(headers.get("Content-Transfer-Encoding", "")))
        yield Part(headers, body)
        for _ in body:
            pass


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = Decoder(encoding)
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.finish()


class _Stream:
    """Bytes that come in chunks, read up to marks in them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def push(self, data: bytes) -> None:
        self._held = data + self._held

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise TransportRefused("a message that ends before its last boundary")
        self._held += chunk

    def until(self, mark: bytes) -> Iterator[bytes]:
        """What stands before the mark; the mark itself is taken."""
        while (at := self._held.find(mark)) < 0:
            safe = len(self._held) - len(mark) + 1
            if safe > 0:
                ready, self._held = self._held[:safe], self._held[safe:]
                yield ready
            self._more()
        ready, self._held = self._held[:at], self._held[at + len(mark) :]
        if ready:
            yield ready

    def ends_here(self) -> bool:
        """Is the boundary that was just taken the last one? Takes the rest of its line."""
        while len(self._held) < 2:
            self._more()
        if self._held.startswith(b"--"):
            return True
        for padding in self.until(b"\n"):
            if padding.strip():
                raise TransportRefused("a message with something behind a boundary")
        return False

    def head(self) -> bytes:
        """The headers up to the empty line, and with it."""
        self.push(b"\r\n")  # there may be no headers at all
        found = bytearray()
        for piece in self.until(b"\r\n\r\n"):
            found += piece
            if len(found) > HEAD:
                raise TransportRefused("a part whose headers don't end")
        return bytes(found[2:]) + b"\r\n\r\n"
