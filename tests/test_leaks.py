"""The leak search itself: what it finds when something is planted, in each disguise."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import ebcdic  # noqa: F401 (registers the codec)
import pytest

from sandbox.leaks import Search, search_files

# An official test number of Skatteverket's.
SEARCH = Search(["189001019802"], ["Ängsvik", "Örjansson"])


@pytest.mark.parametrize(
    "planted",
    [
        b"paid by 189001019802.",
        b"paid by 9001019802.",
        b"19900101: 18900101-9802",
        b"(900101+9802)",
        "Frida Ängsvik".encode(),
        "ÖRJANSSON".encode("latin-1"),
        "Örjansson".encode("cp437"),
        "ÄNGSVIK".encode("cp278"),
        "189001019802".encode("cp278"),
        "Ängsvik".encode("utf-16-le"),
        json.dumps({"n": "Ängsvik"}).encode(),
        repr("Ängsvik".encode("latin-1")).encode(),
        quote("Örjansson").encode(),
        b"189001019802".hex().encode(),
        base64.b64encode("kund: Örjansson, ".encode()),
    ],
    ids=range(15),
)
def test_a_planted_person_is_found_in_every_disguise(tmp_path: Path, planted: bytes) -> None:
    (tmp_path / "task.log").write_bytes(b"INFO before\n" + planted + b"\nINFO after\n")
    found = search_files(SEARCH, [tmp_path])
    assert found
    assert not any("ngsvik" in str(leak) or "9802" in str(leak) for leak in found), "the find itself names nobody"


def test_what_is_nobody_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "task.log").write_text(
        "2026-01-12T19:00:00 f29-20260112T190000Z: 612 records, 984096 bytes, sha256 0123456789ab, Västeråsgatan\n"
    )
    assert search_files(SEARCH, [tmp_path]) == []


def test_a_find_across_two_pieces_is_found(tmp_path: Path) -> None:
    (tmp_path / "big.log").write_bytes(b"x" * ((4 << 20) - 6) + b" 189001019802 " + b"x" * 100)
    assert search_files(SEARCH, [tmp_path])
