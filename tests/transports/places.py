"""Endpoints to test: each a real server on loopback, or a folder, with a way to look behind it.

``FILES`` have all behaviours, ``SOURCES`` those of collecting: a protocol that only sends messages adds itself there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox import ftp_server, sftp_server
from sandbox.faults import Switches
from slussen.transports import Source, Transport
from slussen.transports.directory import Directory
from slussen.transports.ftp import Ftp
from slussen.transports.mvs import Mvs
from slussen.transports.sftp import Sftp

LOGIN: dict[str, Any] = {"host": "127.0.0.1", "user": ftp_server.USER, "password": ftp_server.PASSWORD}
CONTENT = "Åkes räkning".encode("latin-1").ljust(160)


@dataclass
class Place:
    """How to open an endpoint, where its bytes are, and two names that it takes, alike but for their ends."""

    open: Callable[..., Transport]
    folder: Path
    names: tuple[str, str]
    switches: Switches | None = None
    unit: int = 1  # bytes of which a content has whole ones

    def bring(self, name: str, content: bytes = CONTENT) -> None:
        """Somebody at the other end puts a file there."""
        (self.folder / name).write_bytes(content)
        (self.folder / name).chmod(0o666)  # whoever the server runs as

    def standing(self) -> dict[str, bytes]:
        """What stands there, hidden files too."""
        return {f.name: f.read_bytes() for f in self.folder.iterdir() if f.is_file()}

    @property
    def source(self) -> Callable[..., Source]:
        return self.open


def directory(request: pytest.FixtureRequest) -> Place:
    folder = request.getfixturevalue("tmp_path") / "inbox"
    folder.mkdir()
    return Place(lambda: Directory(folder), folder, ("FD-F29-å.txt", "B.txt"))


def ftp(request: pytest.FixtureRequest) -> Place:
    hanna = request.getfixturevalue("hanna")
    folder = emptied(hanna.root / "files")
    return Place(
        lambda **more: Ftp(**LOGIN | {"port": hanna.files} | more), folder, ("FD-F29-å.txt", "B.txt"), hanna.switches
    )


def mvs(request: pytest.FixtureRequest) -> Place:
    hanna = request.getfixturevalue("hanna")
    folder = emptied(hanna.root / "datasets")
    return Place(
        lambda **more: Mvs(**LOGIN | {"port": hanna.datasets, "record_length": 80} | more), folder,
        ("ADS.N99.KIR.TEMP", "ADS.N99.B"), hanna.switches, 80,
    )  # fmt: skip


def sftp(request: pytest.FixtureRequest) -> Place:
    home, port = request.getfixturevalue("csn")
    switches = Switches(home / "faults.json")
    switches.set()
    key = (home / "host_key.pub").read_text()
    login: dict[str, Any] = {
        "host": "127.0.0.1", "user": sftp_server.USER, "password": sftp_server.PASSWORD, "port": port, "host_key": key,
    }  # fmt: skip
    return Place(lambda **more: Sftp(**login | more), emptied(home / "files"), ("FD-F29-å.txt", "B.txt"), switches)


FILES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "directory": directory, "ftp": ftp, "mvs": mvs, "sftp": sftp,
}  # fmt: skip
SOURCES: dict[str, Callable[[pytest.FixtureRequest], Any]] = {**FILES}


def emptied(folder: Path) -> Path:
    for file in [f for f in folder.rglob("*") if not f.is_dir() or f.is_symlink()]:
        file.unlink()
    return folder
