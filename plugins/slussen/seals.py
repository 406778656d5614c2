"""Seals: a keyed hash that travels with a file, and shows whether anybody has changed it.

The method is Bankgirot's and Nordea's "tamper protection": HMAC-SHA256 over the normalised file, its first 16 bytes in
upper-case hex. Line ends are left out, so that a seal survives a transfer that changes them; letters become those of
SEN 850200 Annex C; what neither knows counts as one byte. The key check value (KVV) tells both ends that they have the
same key without telling the key. Source: Bankgirot, "HMAC tamper protection", with its seven test files
(``tests/golden/seals``).

The normaliser works on ISO 8859-1 bytes: other encodings are transcoded on the way, a letter that Latin-1 lacks being
one of the unknown. The posts of an envelope are Nordea's file header ``%020`` and file trailer ``%022`` of 80
characters; what stands in ``%001`` after column 30, in ``%002``, and in Bankgirot's own ``00`` and ``99`` posts is not
public, and they are not made.
"""

from __future__ import annotations

import codecs
import hmac
import re
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Protocol

from slussen.errors import CallError, ContentError, Finding
from slussen.records.codepages import codepage

METHOD = "HMAC-SHA256-128"
CHUNK = 1 << 20
POST = 80
OTHER = 0xC3
LINE_ENDS = b"\r\n"
NATIONAL = {
    0xC9: 0x40, 0xC4: 0x5B, 0xD6: 0x5C, 0xC5: 0x5D, 0xDC: 0x5E, 0xE9: 0x60, 0xE4: 0x7B, 0xF6: 0x7C, 0xE5: 0x7D,
    0xFC: 0x7E,
}  # fmt: skip
NORMAL = bytes(b if 0x20 <= b <= 0x7E else NATIONAL.get(b, OTHER) for b in range(256))
KEY = re.compile(r"[0-9A-Fa-f]{32}")
HEADER = re.compile(r"%020.{10}.{10}.{7}(?P<items>\d{7}).{10}.{32}")
TRAILER = re.compile(r"%022(?P<count>\d{7})(?P<kvv>[0-9A-F]{32})(?P<hmac>[0-9A-F]{32}).{5}")
ENDS = {"lf": "\n", "crlf": "\r\n", "fixed": ""}

codecs.register_error("slussen.seal", lambda error: (bytes(error.end - error.start), error.end))  # type: ignore[attr-defined]


class Sink(Protocol):
    """Where sealed bytes go."""

    def write(self, data: bytes, /) -> int: ...


class _Counted:
    """A sink that counts line ends, where there are some."""

    def __init__(self, sink: Sink, end: bytes) -> None:
        self._sink, self._end, self.lines = sink, end, 0

    def write(self, data: bytes, /) -> int:
        self.lines += data.count(self._end) if self._end else 0
        return self._sink.write(data)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal says: the key's check value and the file's HMAC, 32 upper-case hex digits each."""

    kvv: str
    hmac: str

    def as_dict(self) -> dict[str, str]:
        return {"method": METHOD, "kvv": self.kvv, "hmac": self.hmac}


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who writes an envelope, to whom: node names of up to 10 characters, and a number of up to 7 digits."""

    destination: str
    source: str
    number: int = 0

    def __post_init__(self) -> None:
        for node in (self.destination, self.source):
            if len(node) > 10 or not (node.isascii() and node.isprintable()):
                raise CallError("a node of a seal's envelope has at most 10 ASCII characters")


class Seal:
    """Feed it a file's bytes in order, in chunks of any size."""

    def __init__(self, key: bytes, encoding: str = "iso8859-1") -> None:
        page = codepage(encoding)
        self._decoder = codecs.getincrementaldecoder(page.name)("replace") if page.wide else None
        self._table, self._dropped = _table(page.name)
        self._mac = hmac.new(key, digestmod="sha256")

    def feed(self, chunk: bytes, *, last: bool = False) -> None:
        """Take in the next bytes; ``last`` closes a letter of several bytes that was cut off."""
        if self._decoder is not None:
            chunk = self._decoder.decode(chunk, last).encode("iso8859-1", "slussen.seal")
        self._mac.update(chunk.translate(self._table, self._dropped))

    @property
    def hexdigest(self) -> str:
        return self._mac.hexdigest()[:32].upper()


@cache
def _table(encoding: str) -> tuple[bytes, bytes]:
    """By byte, its normalised one; and the bytes that are left out."""
    page = codepage(encoding)
    if page.wide:
        return NORMAL, LINE_ENDS
    latin = [int(letter) if letter < 256 else None for letter in page.letters]
    table = bytes(NORMAL[letter] if letter is not None else OTHER for letter in latin)
    return table, bytes(byte for byte, letter in enumerate(latin) if letter is not None and letter in LINE_ENDS)


def key_of(text: str, where: str) -> bytes:
    """A key from its 32 hex digits.

    Raises:
        CallError: it isn't one; ``where`` says whose it should be. What it is stands nowhere.
    """
    if not KEY.fullmatch(text.strip()):
        raise CallError(f"{where} must be the seal's key: 32 hexadecimal digits")
    return bytes.fromhex(text)


def kvv(key: bytes) -> str:
    """The key check value: the seal of eight zeros."""
    seal = Seal(key)
    seal.feed(b"00000000", last=True)
    return seal.hexdigest


def sealed(source: BinaryIO, key: bytes, encoding: str) -> Sealed:
    """The seal of all bytes that are left in a file."""
    return _pour(source, key, encoding, None, None)


def wrap(source: BinaryIO, sink: Sink, key: bytes, encoding: str, frame: str, envelope: Envelope, count: int) -> Sealed:
    """Write the file with its envelope: a post before it, and one with the seal of its ``count`` posts after it.

    Raises:
        ContentError: the file's last line has no end, so that no post can follow.
        CallError: the frame can't hold posts, or the count has more than 7 digits.
    """
    end = _end(frame, encoding)
    if count > 9_999_999:
        raise CallError("a seal's envelope counts at most 9,999,999 posts: split the delivery")
    head = f"%020{envelope.destination:<10}{envelope.source:<10}{envelope.number % 10**7:07}{count:07}{'':42}"
    sink.write(_encoded(head, encoding) + end)
    made = _pour(source, key, encoding, sink, end)
    sink.write(_encoded(f"%022{count:07}{made.kvv}{made.hmac}{'':5}", encoding) + end)
    return made


def unwrap(source: BinaryIO, sink: Sink, key: bytes, encoding: str, frame: str) -> Sealed:
    """Take a file out of its envelope, and check it against its seal. ``source`` can be sought in.

    Raises:
        ContentError: there is no envelope, it is of another key, it counts other posts than there are (without line
            ends: a number that posts of one length can't have), or the file is not the one that was sealed.
    """
    end = _end(frame, encoding)
    post, size = POST + len(end), source.seek(0, 2)
    if size < 2 * post:
        raise _broken("the file is shorter than a seal's two posts", "ask the sender for a sealed file")
    source.seek(0)
    head = HEADER.fullmatch(_decoded(source.read(post), end, encoding))
    source.seek(size - post)
    tail = TRAILER.fullmatch(_decoded(source.read(post), end, encoding))
    if head is None or tail is None:
        which = "first line is no %020 post" if head is None else "last line is no %022 post"
        raise _broken(f"the file's {which} of {POST} characters", "ask the sender whether the file came whole")
    if head["items"] != tail["count"]:
        raise _broken("the two posts of the envelope count differently", "ask the sender for the file once more")
    source.seek(post)
    body = _Counted(sink, end[-1:])
    made = _pour(source, key, encoding, body, end if size > 2 * post else None, size - 2 * post)
    check(made, Sealed(tail["kvv"], tail["hmac"]))
    told = int(tail["count"])
    if body.lines != told if end else told and ((size - 2 * post) % told or size == 2 * post):
        there = f"there are {body.lines:,}" if end else "the file can't be divided by that"
        raise _broken(f"the envelope says {told:,} posts, and {there}", "ask the sender for the file once more")
    return made


def check(made: Sealed, told: Sealed) -> None:
    """Is this the seal that the sender wrote?

    Raises:
        ContentError: of another key, or of another file.
    """
    if not hmac.compare_digest(made.kvv, told.kvv):
        raise _broken(
            f"the seal was made with another key (its check value is {told.kvv[:6]}…, ours {made.kvv[:6]}…)",
            "agree with the sender on which key is in use",
        )
    if not hmac.compare_digest(made.hmac, told.hmac):
        raise _broken(
            "the file is not the one that was sealed: it was changed on the way", "ask the sender for it once more"
        )


def count_posts(source: BinaryIO, frame: str, length: int = 0) -> int:
    """How many posts are left in the file: lines, or records of a length."""
    if frame == "fixed":
        return (source.seek(0, 2) - source.seek(0)) // length if length else 0
    posts, last = 0, b"\n"
    while chunk := source.read(CHUNK):
        posts, last = posts + chunk.count(b"\n"), chunk[-1:]
    return posts + (last != b"\n")


def _pour(
    source: BinaryIO, key: bytes, encoding: str, sink: Sink | None, end: bytes | None, size: int | None = None
) -> Sealed:
    seal, left, tail = Seal(key, encoding), size, b""
    while chunk := source.read(CHUNK if left is None else min(CHUNK, left)):
        seal.feed(chunk)
        if sink is not None:
            sink.write(chunk)
        tail = (tail + chunk)[-2:]
        left = left - len(chunk) if left is not None else None
    seal.feed(b"", last=True)
    if end and tail and not tail.endswith(end):
        raise _broken("the last line has no end", "a seal's post can't follow it: have the file written whole")
    return Sealed(kvv(key), seal.hexdigest)


def _broken(message: str, next_step: str) -> ContentError:
    return ContentError([Finding("seal", message, next_step)])


def _end(frame: str, encoding: str) -> bytes:
    if frame not in ENDS:
        raise CallError("a seal's envelope needs an endpoint whose frame is lf, crlf or fixed")
    return _encoded(ENDS[frame], encoding)


def _encoded(post: str, encoding: str) -> bytes:
    page = codepage(encoding)
    return post.encode("ascii") if page.wide else post.encode("ascii").translate(page.back)


def _decoded(post: bytes, end: bytes, encoding: str) -> str:
    """A post's characters, without its line end; what isn't ASCII fits no post."""
    page = codepage(encoding)
    if end and not post.endswith(end):
        return ""
    post = post.removesuffix(end)
    return (post if page.wide else post.translate(page.plain)).decode("ascii", "replace")
