"""A shared directory: links, pipes and names that nobody should follow, write into or pass over."""

from __future__ import annotations

import io
import os
import unicodedata
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pytest

from slussen.archiving import archive
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.transports import Exists, Missing, directory
from slussen.transports.directory import Directory
from tests.transports.places import CONTENT


def test_a_name_that_cannot_be_used_comes_last_and_is_refused(tmp_path: Path) -> None:
    for name in ("a\nb.txt", "c.txt", "\x1b[31m.txt"):
        (tmp_path / name).write_bytes(b"x")
    with Directory(tmp_path) as at:
        entries = at.entries("*.txt")
        assert entries[0].name == "c.txt"
        assert len(entries) == 3
        for entry in entries[1:]:
            with pytest.raises(TransportRefused, match="no plain file name"):
                at.fetch(entry.name, io.BytesIO())


def test_closing_it_twice_is_no_fault(tmp_path: Path) -> None:
    with Directory(tmp_path) as at:
        at.close()
        with pytest.raises(TransportError):
            at.entries("*")


def test_a_file_that_grows_is_not_chased(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)

    class Growing(io.BytesIO):
        def write(self, data: Any) -> int:
            with (tmp_path / "a").open("ab") as file:
                file.write(b"x" * len(data))
            return super().write(data)

    with Directory(tmp_path) as at, pytest.raises(TransportError, match="still being written"):
        at.fetch("a", sink := Growing())
    assert len(sink.getvalue()) <= 30


@pytest.mark.parametrize("trap", ["pipe", "link", "hard link"])
def test_what_lies_under_the_temporary_name_is_not_written_into(tmp_path: Path, trap: str) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "precious").write_bytes(b"x")
    with Directory(inbox) as to:
        name = to.temporary("a.txt", "f29-1", 1)
        match trap:
            case "pipe":
                os.mkfifo(inbox / name)
            case "link":
                (inbox / name).symlink_to(tmp_path / "precious")
            case "hard link":
                os.link(tmp_path / "precious", inbox / name)
        to.put(name, io.BytesIO(CONTENT), len(CONTENT))
        assert to.digest(name) == sha256(CONTENT).hexdigest()
    assert (tmp_path / "precious").read_bytes() == b"x"


def test_where_the_system_cannot_refuse_a_taken_name_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_rename_new", lambda *arguments: False)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    with Directory(tmp_path) as at:
        with pytest.raises(Exists):
            at.rename("a", "b", replace=False)
        with pytest.raises(Missing):
            at.rename("x", "b", replace=False)
        at.rename("a", "c", replace=False)
        assert archive(at, at.entries("c")[0]) == "archive/c"
        (tmp_path / "c").write_bytes(b"again")
        assert archive(at, at.entries("c")[0]) == "archive/c.2"
    assert {f.name: f.read_bytes() for f in (tmp_path / "archive").iterdir()} == {"c": b"a", "c.2": b"again"}


def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.txt").symlink_to(secret)
    os.mkfifo(inbox / "b.txt")
    with Directory(inbox) as at:
        (inbox / "c.txt").mkdir()
        (inbox / "d.txt").write_bytes(b"x")
        whole, *others = (e.name for e in at.entries("*.txt"))
        assert whole == "d.txt"
        assert others == [f"{n}.txt, which is no regular file/" for n in "ab"]
        for name in others:
            with pytest.raises(TransportRefused, match="no regular file"):
                at.fetch(name, io.BytesIO())
        with pytest.raises(TransportRefused):
            at.fetch("a.txt", io.BytesIO())
        with pytest.raises(TransportRefused):
            at.fetch("b.txt", io.BytesIO())


@pytest.mark.parametrize(
    ("encoding", "form"), [("utf-8", "NFC"), ("utf-8", "NFD"), ("cp1252", "NFC"), ("cp850", "NFC")]
)
def test_a_swedish_name_is_found_however_it_is_written(
    encoding: str, form: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    file = tmp_path / os.fsdecode(unicodedata.normalize(form, "PLACERÅDE.txt").encode(encoding))
    file.write_bytes(b"x")
    with Directory(tmp_path) as at:
        [entry] = at.entries("PLACERÅ*.txt")
        at.fetch(entry.name, sink := io.BytesIO())
        assert sink.getvalue() == b"x"
        archive(at, entry)
    assert not file.exists()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp850"])
def test_a_swedish_name_is_delivered_in_the_directorys_encoding(encoding: str, tmp_path: Path) -> None:
    name = "AVLÄSNINGLISTÅÖ.TXT"
    with Directory(tmp_path, encoding) as to:
        to.put(temporary := to.temporary(name, "lis-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        to.rename(temporary, name, replace=False)
        assert [e.name for e in to.entries("AVLÄSNINGLIS*.TXT")] == [name]
    assert os.listdir(os.fsencode(tmp_path)) == [name.encode(encoding)]


def test_a_name_that_the_encoding_lacks_is_refused(tmp_path: Path) -> None:
    with Directory(tmp_path, "cp850") as to, pytest.raises(CallError, match="cp850"):
        to.put("€.txt", io.BytesIO(CONTENT), len(CONTENT))


def test_a_name_of_255_bytes_is_taken_and_a_longer_one_refused(tmp_path: Path) -> None:
    with Directory(tmp_path) as to:
        to.put("å" * 127 + "x", io.BytesIO(CONTENT), len(CONTENT))
        with pytest.raises(TransportRefused):
            to.put("å" * 128, io.BytesIO(CONTENT), len(CONTENT))


def test_a_file_that_is_written_over_while_it_is_read_is_not_taken(tmp_path: Path) -> None:
    """As long as before, other content."""
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)

    class Meddling(io.BytesIO):
        def write(self, data: Any) -> int:
            with (tmp_path / "a").open("r+b") as file:
                file.write(b"y")
            os.utime(tmp_path / "a", (1, 1))
            return super().write(data)

    with Directory(tmp_path) as at, pytest.raises(TransportError, match="still being written"):
        at.fetch("a", Meddling())


def test_a_hundred_thousand_names_are_listed_in_time(tmp_path: Path) -> None:
    import time

    for n in range(100_000):
        os.close(os.open(tmp_path / f"FD-F29-{n:06d}.txt", os.O_CREAT | os.O_WRONLY))
    began = time.monotonic()
    with Directory(tmp_path) as at:
        assert len(at.entries("FD-F29-09999?.txt")) == 10
        assert len(at.entries("FD-F29-*")) == 100_000
    assert time.monotonic() - began < 20
