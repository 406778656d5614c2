"""SHS's HTTP: a message's body as it is sent, bounded answers, and httpx's faults as ours."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from slussen.errors import TransportError, TransportRefused
from slussen.transports import TIMEOUT, tls
from slussen.transports.mime import parse_headers
from slussen.transports.remote import Pace

if TYPE_CHECKING:
    import httpx

CHUNK = 1 << 18
LABEL = 1 << 18  # bytes that a message's label, or its headers, may have
OURS = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")  # what OpenSSL calls a "no" to our certificate


class Content:
    """A message's body, read as it is sent; ``gone`` when its last byte was asked for."""

    def __init__(self, head: bytes, source: BinaryIO, size: int, tail: bytes) -> None:
        self._head, self._source, self._size, self._tail = head, source, size, tail
        self.gone = False

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._size
        while left and (chunk := self._source.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
        if left or self._source.read(1):
            raise TransportError(f"the payload doesn't have the {self._size} bytes that it should; nothing was sent")
        self.gone = True
        yield self._tail


def in_header(name: str) -> bytes:
    """``filename="…"`` in ISO 8859-1, as SHS has it; percent-encoded (RFC 2231) where it can't be."""
    from urllib.parse import quote

    plain = name.isprintable() and not any(c in name for c in '"\\')
    try:
        if plain:
            return b'filename="' + name.encode("iso-8859-1") + b'"'
    except UnicodeEncodeError:
        pass
    return f"filename*=utf-8''{quote(name, safe='')}".encode()


def whole(answer: httpx.Response, limit: int) -> bytes:
    """A bounded body, as it came over the wire."""
    return b"".join(bounded(answer, limit))


def bounded(answer: httpx.Response, limit: int) -> Iterator[bytes]:
    if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise TransportRefused("SHS: a compressed answer, which wasn't asked for: refused unread")
    return _pieces(answer, limit)


def _pieces(answer: httpx.Response, limit: int) -> Iterator[bytes]:
    import httpx

    pace = Pace(TIMEOUT)
    for chunk in answer.iter_raw():
        try:
            pace.passed(len(chunk))
        except TimeoutError:
            raise httpx.ReadTimeout("it trickles") from None  # as if nothing came: what that means, the caller knows
        if limit and pace.bytes > limit:
            raise TransportRefused(f"SHS: an answer of more than {limit} bytes where a short one belongs")
        yield chunk


def boundary_of(answer: httpx.Response) -> tuple[str, Iterator[bytes]]:
    """The boundary of a message's parts, and its body from there: its headers stand in HTTP's, or in itself."""
    kind = answer.headers.get("Content-Type", "")
    chunks = bounded(answer, 0)
    if kind.lower().startswith("multipart/"):
        headers = parse_headers(b"Content-Type: " + kind.encode("iso-8859-1", "replace") + b"\r\n\r\n")
    else:
        held = b""
        while b"\r\n\r\n" not in held and len(held) < LABEL:
            chunk = next(chunks, None)
            if chunk is None:
                break
            held += chunk
        head, _, rest = held.partition(b"\r\n\r\n")
        headers = parse_headers(head + b"\r\n\r\n")
        chunks = _after(rest, chunks)
    boundary = headers.get_boundary()
    if headers.get_content_maintype() != "multipart" or not boundary:
        raise TransportRefused("SHS: an answer that is no message. Next: look where the connection's address leads")
    return boundary, chunks


def _after(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from chunks


def certain(error: BaseException, doing: str) -> None:
    """Faults of TLS are final, and say so."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise tls.refusal(doing, cause) from None
        if isinstance(cause, ssl.SSLError) and OURS.search(str(cause.reason or "")):
            raise TransportRefused(
                f"{doing}: the node doesn't take our certificate. Next: look whether it has expired, and whether the "
                "node's operator knows it"
            ) from None
        cause = cause.__cause__ or cause.__context__


@contextmanager
def in_our_words(doing: str, passes: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """httpx's faults as ours."""
    import httpx

    try:
        yield
    except passes:
        raise
    except httpx.TransportError as error:
        certain(error, doing)
        raise TransportError(f"{doing}: the connection broke") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError):
        raise TransportRefused(f"{doing}: no answer that HTTP allows. Next: look at the connection's address") from None
