"""Canaries: found in every encoding, in capitals, across chunks, and only when they are there in full; keyed hashes."""

from __future__ import annotations

import hashlib
import hmac
import threading
from pathlib import Path

import ebcdic  # noqa: F401 (registers the codecs)
import pytest

from slussen import settings
from slussen.canaries import CONTACT, EVERYTHING, MOST, Canaries, Scan
from slussen.errors import CallError
from slussen.keys import keyed
from slussen.records.codepages import NAMES, UNDEFINED, codepage

ENCODINGS = (*NAMES, "pc8")
PEOPLE = Canaries.load().people


def coded(text: str, encoding: str) -> bytes:
    """A text in the encoding, without what that lacks (SEN 850200 C has no commercial at)."""
    page = codepage(encoding)
    return text.encode() if page.wide else bytes(int(b) for c in text if (b := page.bytes[ord(c)]) != UNDEFINED)


def scan(policy: str, encoding: str) -> Scan:
    found = Canaries.load().scan(policy, encoding)
    assert found is not None
    return found


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("cut", [1, 7, 4096])
def test_every_form_of_every_canary_is_found_in_every_encoding_and_across_chunks(
    encoding: str, upper: bool, cut: int
) -> None:
    text, expected = "x" * 100, []
    for person in PEOPLE:
        for form in EVERYTHING:
            value = person[form].upper() if upper else person[form]
            expected.append((form, len(coded(text, encoding))))
            text += f"{value}  yq Q19"
    content = coded(text, encoding)
    for policy, forms in (("block", EVERYTHING), ("mask", CONTACT)):
        search = scan(policy, encoding)
        for at in range(0, len(content), cut):
            search.feed(content[at : at + cut])
        assert sorted((h.form, h.offset) for h in search.hits) == sorted(e for e in expected if e[0] in forms)
        assert {h.byte for h in search.hits} == {f"{content[h.offset]:02x}" for h in search.hits}


def test_a_canary_is_found_wherever_a_chunk_ends() -> None:
    value = PEOPLE[0]["street"].encode("latin-1")
    content = b" " * 300 + value + b" " * 300
    for border in range(295, 305 + len(value)):
        search = scan("mask", "iso8859-1")
        search.feed(content[:border])
        search.feed(content[border:])
        assert [(h.form, h.offset) for h in search.hits] == [("street", 300)]


def test_a_prefix_alone_is_no_canary() -> None:
    canaries = Canaries.load()
    search = scan("block", "iso8859-1")
    search.feed(" ".join([*canaries.prefixes.values(), *(p.upper() for p in canaries.prefixes.values())]).encode())
    search.feed(PEOPLE[0]["street"][:-1].encode("latin-1"))
    assert search.hits == []


def test_a_masked_persons_number_and_name_may_leave_a_blocked_ones_may_not() -> None:
    content = f"{PEOPLE[0]['personnr']} {PEOPLE[0]['family_name']}".encode("cp1252")
    mask, block = scan("mask", "cp1252"), scan("block", "cp1252")
    for search in (mask, block):
        search.feed(content)
    assert mask.hits == []
    assert [h.form for h in block.hits] == ["personnr", "family_name"]


@pytest.mark.parametrize("policy", ["pass", "hold", "none"])
def test_what_may_leave_is_not_searched_for(policy: str) -> None:
    assert Canaries.load().scan(policy, "cp1252") is None


@pytest.mark.parametrize("letter", [b"Q", b"q", b"1", b"0"])
def test_a_canary_is_found_among_letters_that_are_everywhere(letter: bytes) -> None:
    value = PEOPLE[-1]["email"].encode()
    search = scan("block", "cp1252")
    search.feed(letter * 100_000 + value + letter * 100_000 + value)
    assert [h.offset for h in search.hits if h.form == "email"] == [100_000, 200_000 + len(value)]


def test_a_hit_tells_its_place_and_never_its_value_and_the_list_ends() -> None:
    search = scan("block", "iso8859-1")
    for _ in range(50):
        search.feed(" ".join(PEOPLE[0][form] for form in EVERYTHING).encode("latin-1") + b"\n")
    assert len(search.hits) == MOST
    assert not any(value in str(search.hits) for person in PEOPLE for value in person.values())


# --- keyed hashes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "home", lambda: tmp_path / "new")
    return tmp_path / "new"


def test_a_hash_is_hmac_sha256_under_the_key_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    key = bytes(range(32))
    monkeypatch.setenv("SLUSSEN_KEY", key.hex())
    numbers = [p["personnr"] for p in PEOPLE]
    assert list(keyed(numbers)) == [hmac.new(key, n.encode(), hashlib.sha256).hexdigest() for n in numbers]


def test_a_key_is_made_once_and_only_its_owner_reads_it(home: Path) -> None:
    one, again = list(keyed(["19"])), list(keyed(["19"]))
    assert one == again
    assert (home / "key").stat().st_mode & 0o777 == 0o600
    assert [f.name for f in home.iterdir()] == ["key"]


def test_those_who_make_the_key_at_once_all_have_the_same(home: Path) -> None:
    barrier, made = threading.Barrier(16), set()

    def hash_one() -> None:
        barrier.wait()
        made.add(next(iter(keyed(["19"]))))

    threads = [threading.Thread(target=hash_one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {next(iter(keyed(["19"])))}


@pytest.mark.parametrize("key", ["hemligt", "00" * 31, "0" * 63 + "g"])
def test_a_key_that_is_too_short_or_no_number_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("SLUSSEN_KEY", key)
    with pytest.raises(CallError, match="64 hexadecimal digits") as caught:
        keyed(["19"])
    assert key not in str(caught.value)


def test_a_key_file_that_is_empty_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "key").touch()
    with pytest.raises(CallError, match="key must have 64"):
        keyed(["19"])
