"""Seals: the published vectors byte for byte, any encoding and chunking, and an envelope that shows every change."""

from __future__ import annotations

import random
from io import BytesIO
from pathlib import Path

import pytest

from slussen.errors import CallError, ContentError
from slussen.seals import CHUNK, Envelope, Seal, Sealed, count_posts, key_of, kvv, sealed, unwrap, wrap

GOLDEN = Path(__file__).parent / "golden" / "seals"
KEY = bytes.fromhex("1234567890ABCDEF1234567890ABCDEF")
VECTORS = {
    "testfall-1a": "FF365893D899291C3BF505FB3175E880",
    "testfall-1b": "9BA94363739D45256DF4B6FA3B9DE1CD",
    "testfall-1c": "826CA6CBA33F7E1D3CC9161A0956A35B",
    "hmac_testfall-2a": "9473EDFCAA8CD2434D6D76ABFFC991BD",
    "hmac_testfall-2b": "20956E44B404C4085446139B2B952D77",
    "hmac_testfall-2c": "515704694958361678194D51850FF157",
    "hmac_testfall-2d": "68C5954818010DDDCB1EC02963E8C123",
}
LINES = "Åsa Öberg;Ängsvik;é\nRoström;12,50\nÜ\n"
ENVELOPE = Envelope("AGRESSO", "BOSKO", 17)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("size", [1, 7, CHUNK])
def test_the_published_vectors_come_out_byte_for_byte_in_chunks_of_any_size(name: str, size: int) -> None:
    seal, data = Seal(KEY), (GOLDEN / f"{name}.txt").read_bytes()
    for at in range(0, len(data), size):
        seal.feed(data[at : at + size])
    assert seal.hexdigest == VECTORS[name]


def test_the_key_check_value_is_the_first_vector() -> None:
    assert kvv(KEY) == VECTORS["testfall-1a"]


@pytest.mark.parametrize(
    "encoding", ["cp1252", "cp437", "cp850", "cp278", "cp1143", "sen850200c", "iso8859-15", "utf-8", "utf-8-sig"]
)
def test_a_file_has_one_seal_whatever_encoding_and_line_ends_it_is_in(encoding: str) -> None:
    latin = sealed(BytesIO(LINES.encode("iso8859-1")), KEY, "iso8859-1")
    other = LINES.replace("\n", "\r\n") if encoding not in ("cp278", "cp1143") else LINES
    assert sealed(BytesIO(encoded(other, encoding)), KEY, encoding) == latin


def test_a_letter_of_several_bytes_may_be_cut_by_a_chunk_and_one_that_latin_1_lacks_counts_as_one() -> None:
    whole, cut = Seal(KEY, "utf-8"), Seal(KEY, "utf-8")
    data = "Ångström ő €".encode()
    whole.feed(data, last=True)
    for byte in data:
        cut.feed(bytes([byte]))
    cut.feed(b"", last=True)
    plain = Seal(KEY)
    plain.feed(b"\xc5ngstr\xf6m \x00 \x00")
    assert whole.hexdigest == cut.hexdigest == plain.hexdigest


@pytest.mark.parametrize(
    ("encoding", "frame"), [("iso8859-1", "lf"), ("cp1252", "crlf"), ("utf-8", "lf"), ("cp278", "fixed")]
)
def test_what_was_wrapped_comes_out_as_it_was(encoding: str, frame: str) -> None:
    data = payload(encoding, frame)
    wrapped, out = BytesIO(), BytesIO()
    posts = count_posts(BytesIO(data), frame, 20)
    made = wrap(BytesIO(data), wrapped, KEY, encoding, frame, ENVELOPE, posts)
    assert len(wrapped.getvalue()) == len(data) + 2 * (80 + {"lf": 1, "crlf": 2, "fixed": 0}[frame])
    assert unwrap(wrapped, out, KEY, encoding, frame) == made
    assert out.getvalue() == data
    assert made == sealed(BytesIO(data), KEY, encoding)


def test_the_posts_are_nordeas() -> None:
    wrapped = BytesIO()
    made = wrap(BytesIO(b"A\nB\n"), wrapped, KEY, "iso8859-1", "lf", ENVELOPE, 2)
    head, a, b, tail, end = wrapped.getvalue().decode("ascii").split("\n")
    assert head == "%020AGRESSO   BOSKO     00000170000002" + " " * 42
    assert (a, b, end) == ("A", "B", "")
    assert tail == f"%0220000002{kvv(KEY)}{made.hmac}     "
    assert len(head) == len(tail) == 80


def test_an_empty_file_can_be_sealed_too() -> None:
    wrapped, out = BytesIO(), BytesIO()
    wrap(BytesIO(), wrapped, KEY, "iso8859-1", "lf", ENVELOPE, 0)
    unwrap(wrapped, out, KEY, "iso8859-1", "lf")
    assert out.getvalue() == b""


def test_every_byte_that_is_changed_in_a_wrapped_file_is_noticed() -> None:
    """Only what the seal doesn't cover may change: the header's names and references, the trailer's reserve."""
    data = payload("iso8859-1", "lf")
    wrapped = BytesIO()
    wrap(BytesIO(data), wrapped, KEY, "iso8859-1", "lf", ENVELOPE, 3)
    sound = wrapped.getvalue()
    outside = {*range(4, 31), *range(38, 80), *range(len(sound) - 6, len(sound) - 1)}
    covered = [at for at in range(len(sound)) if at not in outside]
    for at in covered:
        spoilt = bytearray(sound)
        spoilt[at] = ord("X") if spoilt[at] != ord("X") else ord("Y")
        with pytest.raises(ContentError):
            unwrap(BytesIO(bytes(spoilt)), BytesIO(), KEY, "iso8859-1", "lf")


def test_a_file_that_was_cut_lengthened_or_has_no_envelope_is_refused_without_a_word_of_it() -> None:
    wrapped = BytesIO()
    wrap(BytesIO(payload("iso8859-1", "lf")), wrapped, KEY, "iso8859-1", "lf", ENVELOPE, 3)
    sound = wrapped.getvalue()
    for spoilt in (sound[:-1], sound[:-81], sound[1:], sound + b"\n", b"", "Roström\n".encode("cp1252") * 40):
        with pytest.raises(ContentError) as refused:
            unwrap(BytesIO(spoilt), BytesIO(), KEY, "iso8859-1", "lf")
        assert "seal" in str(refused.value)
        assert "Rostr" not in str(refused.value)


@pytest.mark.parametrize(("frame", "count"), [("lf", 9), ("lf", 1), ("crlf", 0), ("fixed", 9)])
def test_an_envelope_whose_posts_are_not_as_many_as_it_says_is_refused(frame: str, count: int) -> None:
    end = {"lf": b"\n", "crlf": b"\r\n", "fixed": b""}[frame]
    wrapped = BytesIO()
    wrap(BytesIO(2 * (b"H" * 20 + end)), wrapped, KEY, "iso8859-1", frame, ENVELOPE, count)
    with pytest.raises(ContentError, match=f"says {count} posts"):
        unwrap(wrapped, BytesIO(), KEY, "iso8859-1", frame)


def test_another_key_is_told_from_a_changed_file_and_no_key_is_told_at_all() -> None:
    wrapped = BytesIO()
    wrap(BytesIO(b"A\n"), wrapped, KEY, "iso8859-1", "lf", ENVELOPE, 1)
    with pytest.raises(ContentError, match="another key") as refused:
        unwrap(wrapped, BytesIO(), bytes(16), "iso8859-1", "lf")
    assert KEY.hex() not in str(refused.value).lower()


@pytest.mark.parametrize("text", ["", "1234", "1234567890ABCDEF1234567890ABCDEG", "1234567890ABCDEF1234567890ABCDEF00"])
def test_a_key_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(CallError) as refused:
        key_of(text, "seal_key of agresso_kund")
    assert not text or text not in str(refused.value)


def test_a_last_line_without_an_end_can_have_no_post_after_it() -> None:
    with pytest.raises(ContentError, match="no end"):
        wrap(BytesIO(b"A\nB"), BytesIO(), KEY, "iso8859-1", "lf", ENVELOPE, 2)


def test_random_bytes_never_make_the_normaliser_stumble() -> None:
    random.seed(1809)
    for encoding in ("iso8859-1", "cp437", "cp278", "cp1252", "utf-8"):
        data = random.randbytes(100_000)
        assert isinstance(sealed(BytesIO(data), KEY, encoding), Sealed)


def payload(encoding: str, frame: str) -> bytes:
    lines = LINES.splitlines()
    if frame == "fixed":
        return b"".join(encoded(f"{line:<20}", encoding) for line in lines)
    end = "\r\n" if frame == "crlf" else "\n"
    return b"".join(encoded(line + end, encoding) for line in lines)


def encoded(text: str, encoding: str) -> bytes:
    from slussen.records.codepages import codepage

    page = codepage(encoding)
    return text.encode(encoding) if page.wide else bytes(int(page.bytes[ord(letter)]) for letter in text)
