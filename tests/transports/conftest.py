"""The sandbox's partners, a process each for the whole session, and the endpoints that the suite goes through."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import processes
from sandbox.faults import Switches
from sandbox.postgres import Server
from slussen import settings
from slussen.database import migrate
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from tests.transports.places import ENDS, FILES, End, Place, opened


@dataclass
class Hanna:
    """HANNA's two faces."""

    root: Path
    files: int
    datasets: int
    switches: Switches


@pytest.fixture(scope="session")
def hanna_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hanna]:
    root = tmp_path_factory.mktemp("hanna")
    command = [sys.executable, "-m", "sandbox.ftp_server", "--root", str(root), "--ports", str(root / "ports")]
    process = processes.start(command, log=root / "log")
    processes.wait_until((root / "ports").exists, seconds=20, what="the sandbox's FTP server")
    files, datasets = map(int, (root / "ports").read_text().split())
    yield Hanna(root, files, datasets, Switches(root / "faults.json"))
    processes.stop([process])


@pytest.fixture
def hanna(hanna_process: Hanna) -> Hanna:
    hanna_process.switches.set()
    return hanna_process


@pytest.fixture(scope="session")
def csn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """An SFTP partner: its home and port."""
    root = tmp_path_factory.mktemp("sftp")
    command = [sys.executable, "-m", "sandbox.sftp_server", "csn", "--root", str(root), "--ports", str(root / "ports")]
    process = processes.start(command, log=root / "log")
    processes.wait_until((root / "ports").exists, seconds=20, what="the sandbox's SFTP server")
    yield root / "csn", int((root / "ports").read_text().split()[1])
    processes.stop([process])


@pytest.fixture(params=list(FILES))
def place(request: pytest.FixtureRequest) -> Place:
    """An endpoint that files are delivered to and collected from."""
    return FILES[request.param](request)


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> Iterator[End]:
    """A partner, by any protocol."""
    with opened(request.param, request) as made:
        yield made


@pytest.fixture(params=[name for name in ENDS if name != "directory"])
def remote(request: pytest.FixtureRequest) -> Iterator[End]:
    """A partner behind a network, which can be told to do wrong."""
    with opened(request.param, request) as made:
        yield made


@pytest.fixture(scope="session")
def book(postgres: Server) -> Ledger:
    """A ledger that many tests write to, each its own interchanges."""
    dsn = postgres.dsn("conformance")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return Ledger(f"{dsn} user=slussen")


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> PayloadStore:
    return PayloadStore(tmp_path_factory.mktemp("payloads"))
