"""What is looked at of a file to say which encoding it is in, and how much of it tells."""

from __future__ import annotations

import numpy as np
import pytest

from slussen.records import detect
from slussen.records.detect import ENOUGH, NUMBERED, Sample, guess, verdict

SWEDISH = "ÅSA ÖBERG ÄR I MALMÖ"


def test_a_sample_is_the_beginning_and_the_first_stretches_beyond_ascii() -> None:
    sample = Sample("cp1252")
    for _ in range(3):
        sample.feed(b"a" * 30_000)
    assert (sample.start, sample.beyond) == (b"a" * ENOUGH, b"")
    stretch = b"b" * 5000 + b"\xe5" + b"c" * 5000
    sample.feed(stretch)
    assert sample.beyond == stretch[4096:8192]
    sample.feed(b"\xe5" * (2 * ENOUGH))
    assert len(sample.beyond) == ENOUGH
    before = sample.beyond
    sample.feed(b"\xe4" * 10)
    assert sample.beyond == before


def test_a_sample_of_ebcdic_has_no_stretches_and_one_of_few_letters_is_judged_by_its_beginning() -> None:
    sample = Sample("cp278")
    sample.feed(SWEDISH.encode("cp1252"))
    assert sample.beyond == b""
    assert (found := sample.verdict()) is not None
    assert found.likely == "cp1252"
    sample = Sample("cp1252")
    sample.feed("ASA BERG MALM ".encode("cp500") * 3)
    assert sample.verdict() is not None
    assert Sample("cp1252").verdict() is None


@pytest.mark.parametrize("sizes", [(30,), (1,) * 30, (4, 3, 7, 5, 11), (6, 6, 6, 6, 6)])
def test_places_of_numbers_are_blanks_in_a_sample_however_it_is_fed(sizes: tuple[int, ...]) -> None:
    record = b"ab\xe5\xe4c\n"
    sample, data = Sample("cp1252", np.array([False, False, True, True, False, False])), record * 5
    at = 0
    for size in sizes:
        sample.feed(data[at : at + size])
        at += size
    assert sample.start == b"ab  c\n" * 5
    assert sample.beyond == b""


def test_of_records_with_numbers_only_so_many_bytes_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NUMBERED >= ENOUGH
    monkeypatch.setattr(detect, "NUMBERED", 12)
    sample = Sample("cp1252", np.array([False, True]))
    for _ in range(5):
        sample.feed(b"a\xe5b\xe4")
    assert sample.start == b"a b " * 4


@pytest.mark.parametrize(("declared", "written"), [("cp1252", "cp278"), ("cp278", "cp1252"), ("utf-8", "cp278")])
def test_the_other_family_is_told_from_ten_bytes_on_that_are_no_blanks(declared: str, written: str) -> None:
    for letters, told in (("ANDERSSON", False), ("ANDERSSONS", True)):
        found = verdict("  ".join(letters).encode(written), declared)
        assert (found is not None) == told, letters
        if found is not None:
            assert str(found).endswith("10 of 10 bytes but for blanks are Swedish text there")
            assert (found.swedish, found.of, found.declared) == (10, 10, declared)


def test_a_file_in_the_encoding_that_it_is_declared_in_is_as_it_should_be() -> None:
    for name in ("cp1252", "iso8859-1", "cp437", "cp850", "cp278", "utf-8"):
        assert verdict(SWEDISH.encode(name), name) is None
    assert verdict(b"", "cp1252") is None
    assert verdict(b"PLAIN LETTERS AND 0123456789", "cp1252") is None


def test_letters_of_utf_8_are_counted_as_letters() -> None:
    found = verdict(SWEDISH.encode(), "cp1252")
    assert str(found) == ("declared cp1252, reads like utf-8: 4 of 4 sequences above 7F are Swedish letters there")
    assert verdict("–“”’•".encode() * 20, "iso8859-1") is None, "no Swedish letters, whatever it is"
    told = verdict("ÅÄÖÅÄÖÅ–––".encode(), "cp1252")
    assert told is not None
    assert (told.swedish, told.of) == (7, 10)


def test_bytes_that_differ_are_counted_as_the_two_families_have_them() -> None:
    found = verdict(SWEDISH.encode("cp437") * 10, "cp1252")
    assert str(found) == "declared cp1252, reads like cp437: 40 of 40 bytes above 7F are Swedish letters there"
    found = verdict(SWEDISH.encode("cp278") * 10, "cp500")
    assert found is not None
    assert (found.likely, found.what) == ("cp278", "bytes that the two read differently")


@pytest.mark.parametrize("name", ["utf-8", "cp1252", "cp437", "cp278"])
def test_the_likeliest_encoding_is_guessed_first_with_its_share(name: str) -> None:
    text = SWEDISH + "\n" + SWEDISH.lower()
    found = guess(text.encode(name))
    assert found[0][0] == name
    shares = [share for _, share in found]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(1.001 if name == "utf-8" else 1.0)
    assert guess(b"") == []
    assert guess(("\ufeff" + text).encode())[0][0] == "utf-8-sig"
    assert dict(guess(b"\xe5\xe4\xf6\xf8"))["iso8859-1"] == pytest.approx((3 + 0.7) / 4)
    assert dict(guess(b"\xe5\x81"))["cp1252"] == pytest.approx(0.5)


# --- how much of it must tell


@pytest.mark.parametrize(
    ("counts", "likely"),
    [  # by bytes: 86 is å in PC8, 85 à, B0 a shade, 9F ƒ (in Windows Ÿ), E9 Ú in CP850 (in Windows é)
        ({0x86: 14, 0x85: 6}, "cp437"),
        ({0x86: 13, 0x85: 7}, None),
        ({0x86: 19, 0xB0: 1}, "cp437"),
        ({0x86: 18, 0xB0: 2}, None),
        ({0x86: 16, 0xE9: 4}, "cp850"),
        ({0x86: 15, 0xE9: 5}, None),
        ({0x86: 9, 0x9F: 1}, "cp437"),
        ({0x86: 8, 0x9F: 1}, None),
    ],
)
def test_most_of_what_differs_is_swedish_there_and_hardly_any_of_it_here(
    counts: dict[int, int], likely: str | None
) -> None:
    data = b"".join(bytes([byte]) * n for byte, n in counts.items())
    found = verdict(b"A PLAIN TEXT WITHOUT ANY OF THEM " * 5 + data, "cp1252")
    assert (found.likely if found else None) == likely
    assert found is None or (found.swedish, found.of) == (counts[0x86], sum(counts.values()))


@pytest.mark.parametrize(("letters", "others", "told"), [(19, 1, True), (18, 2, False), (38, 2, True), (37, 3, False)])
def test_of_the_other_family_all_but_a_twentieth_is_text(letters: int, others: int, told: bool) -> None:
    found = verdict(b"A" * letters + b"\xb0" * others, "cp278")
    assert (found is not None) == told
    # Of those in which it reads as well, the likeliest is named.
    assert found is None or (found.likely, found.swedish, found.of) == ("cp1252", letters, letters + others)


@pytest.mark.parametrize(
    ("within", "beside", "alone", "told"),
    [(2, 5, 3, True), (2, 4, 4, False), (2, 8, 0, True), (1, 9, 0, False), (10, 0, 0, True), (0, 0, 10, False)],
)
def test_signs_are_seven_bit_letters_where_words_are_made_of_them(
    within: int, beside: int, alone: int, told: bool
) -> None:
    for first, last in (("{R", "DET["), ("]VAR", "H{")):
        words = ["M}L"] * within + [first] * (beside - beside // 2) + [last] * (beside // 2) + [" | "] * alone
        text = "A PLAIN TEXT WITHOUT ANY OF THEM " * 5 + " ".join(words)
        assert (verdict(text.encode(), "cp1252") is not None) == told
