"""Endpoints to test: each a real server on loopback, or a folder, with a way to look behind it.

``FILES`` can rename: their partner is a ``Place``. ``MESSAGES`` can't: theirs is an ``Office``. ``ENDS`` are all six;
what is asked of all of them is asked in the words that both have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from sandbox import ftp_server, sftp_server
from sandbox.faults import Fault, Switches
from slussen import delivery, messaging, receipts
from slussen.delivery import Delivery, deliver
from slussen.ledger import Ledger
from slussen.messaging import Dispatch, dispatch
from slussen.payloads import PayloadStore
from slussen.transports import Transport
from slussen.transports.directory import Directory
from slussen.transports.ftp import Ftp
from slussen.transports.mvs import Mvs
from slussen.transports.sftp import Sftp
from tests.transports import messages

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

    def archived(self) -> list[bytes]:
        """What was put away after it was collected, in any order."""
        waiting = {self.folder / name for name in self.names}
        return [f.read_bytes() for f in self.folder.rglob("*") if f.is_file() and f not in waiting]

    def received(self) -> list[bytes]:
        """What the partner finds under its names, and takes."""
        found = [f for name in self.names if (f := self.folder / name).exists()]
        contents = [f.read_bytes() for f in found]
        for file in found:
            file.unlink()
        return contents

    def steps(self, d: Delivery, store: PayloadStore, to: Any, ledger: Ledger) -> delivery.Steps:
        """One attempt to deliver."""
        return deliver(d, store, to, ledger)

    def answers(self, to: Any, ledger: Ledger) -> None:
        """What the partner says of deliveries: nothing, here."""

    renames = True
    sends = "put"

    @contextmanager
    def breaking(self, name: str) -> Iterator[BytesIO]:
        """A sink; what is fetched into it meanwhile breaks off once."""
        if self.switches is None:
            yield _Cutting(self.folder / name)
            return
        self.switches.set(Fault(kind="drop", on="get", bytes=2000, times=1))
        yield BytesIO()
        self.switches.set()


class _Cutting(BytesIO):
    """A sink during whose first writing the file at the source is cut off."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file: Path | None = file

    def write(self, data: Any) -> int:
        if self.file is not None:
            with self.file.open("r+b") as cut:
                cut.truncate(2000)
            self.file = None
        return super().write(data)


@dataclass
class Office:
    """A partner that sends and takes messages, in the words of a ``Place``."""

    rig: messages.Rig
    names: tuple[str, str] = ("FD-F29-å.txt", "B.txt")
    unit: int = 1
    taken: int = 0
    renames: bool = field(default=False, init=False)
    sends: str = field(default="send", init=False)

    @property
    def open(self) -> Callable[..., Any]:
        return self.rig.open

    @property
    def switches(self) -> Switches:
        return self.rig.faults

    def bring(self, name: str, content: bytes = CONTENT) -> None:
        self.rig.send(name, content)

    def archived(self) -> list[bytes]:
        return self.rig.archived()

    def received(self) -> list[bytes]:
        arrived = self.rig.arrived()[self.taken :]
        self.taken += len(arrived)
        return [a.read() for a in arrived]

    def steps(self, d: Delivery, store: PayloadStore, to: Any, ledger: Ledger) -> messaging.Steps:
        message = Dispatch(
            interchange=d.interchange, integration=d.integration, connection=self.rig.kind, name=d.name,
            sha256=d.sha256, bytes=d.bytes,
        )  # fmt: skip
        return dispatch(message, store, to, ledger)

    def answers(self, to: Any, ledger: Ledger) -> None:
        """Its receipts are read."""
        receipts.sweep(to, self.rig.kind, ledger)

    @contextmanager
    def breaking(self, name: str) -> Iterator[BytesIO]:
        self.switches.set(Fault(kind="drop", on="get", bytes=2000, times=1))
        yield BytesIO()
        self.switches.set()


End = Place | Office


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
MESSAGES = messages.RIGS
ENDS = (*FILES, *MESSAGES)


@contextmanager
def opened(kind: str, request: pytest.FixtureRequest) -> Iterator[End]:
    """The partner of this protocol."""
    if kind in FILES:
        yield FILES[kind](request)
        return
    with MESSAGES[kind](request.getfixturevalue("tmp_path") / "partner") as rig:
        yield Office(rig)


def emptied(folder: Path) -> Path:
    for file in [f for f in folder.rglob("*") if not f.is_dir() or f.is_symlink()]:
        file.unlink()
    return folder
