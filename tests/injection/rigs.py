"""Real servers behind the fault proxy, one rig a protocol: how to reach one, where its files are, what can go wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import ftp_server, processes, sftp_server
from sandbox.proxy import Cut, Kind, Proxy, Way
from slussen.transports import Transport

WHAT = ("drop", "reset", "swallow", "half")
BLOCK = 1 << 15


class Unavailable(Exception):
    """This server can't be had here; says why."""


@dataclass
class Rig:
    """A transport through the proxy. ``folder`` is the server's; ``name`` makes a file's name from a number.

    ``words`` are the protocol's commands, where they can be seen on the wire: a cut comes right after one has arrived,
    so that it is done and its reply is lost.
    """

    protocol: str
    proxy: Proxy | None  # none where there is no network
    folder: Path
    open: Callable[[], Transport]
    name: Callable[[int], str] = lambda n: f"FD-F29-å-{n:06d}.txt"
    record: int = 1  # bytes that a content's length must be a multiple of
    words: tuple[bytes, ...] = ()
    checks_content: bool = False  # does it notice a byte that arrives as another one?

    def cuts(self, carried: dict[tuple[Kind, Way], int], step: int) -> Iterator[Cut]:
        """Every fault after every ``step``-th byte that an undisturbed run carries, at each edge, and at each word."""
        whats = (*WHAT, "flip") if self.checks_content else WHAT
        for (kind, way), size in sorted(carried.items()):
            blocks = [b + d for b in range(BLOCK, size, BLOCK) for d in (-1, 0, 1)]
            for after in sorted({0, 1, size // 2, size - 1, size, *blocks, *range(0, size, step)}):
                yield from (Cut(what, way=way, after=after, on=kind) for what in whats)  # type: ignore[arg-type]
        for word in self.words:
            yield from (Cut(what, word=word) for what in (*WHAT, "delay"))  # type: ignore[arg-type]


FTP_WORDS = (b"USER", b"PASS", b"FEAT", b"TYPE", b"EPSV", b"STOR", b"RETR", b"SIZE", b"RNFR", b"RNTO", b"DELE", b"MLSD",
             b"MLST", b"NLST", b"MKD", b"QUIT")  # fmt: skip


@contextmanager
def directory(root: Path) -> Iterator[Rig]:
    """A shared directory."""
    from slussen.transports.directory import Directory

    folder = root / "shared"
    folder.mkdir(parents=True)
    yield Rig("directory", None, folder, lambda: Directory(folder))


@contextmanager
def ftp(root: Path) -> Iterator[Rig]:
    """HANNA's files."""
    from slussen.transports.ftp import Ftp

    with _hanna(root) as (files, _), Proxy(("127.0.0.1", files), ftp=True) as proxy:
        yield Rig(
            "ftp", proxy, root / "files",
            lambda: Ftp("127.0.0.1", proxy.port, ftp_server.USER, ftp_server.PASSWORD, read_back=True),
            words=FTP_WORDS,
        )  # fmt: skip


@contextmanager
def mvs(root: Path) -> Iterator[Rig]:
    """HANNA's datasets."""
    from slussen.transports.mvs import Mvs

    with _hanna(root) as (_, datasets), Proxy(("127.0.0.1", datasets), ftp=True) as proxy:
        yield Rig(
            "mvs", proxy, root / "datasets",
            lambda: Mvs("127.0.0.1", proxy.port, ftp_server.USER, ftp_server.PASSWORD, record_length=80),
            name=lambda n: f"ADS.N99.T{n:07d}", record=80,
            words=(*FTP_WORDS, b"SITE", b"LIST"),
        )  # fmt: skip


@contextmanager
def _hanna(root: Path) -> Iterator[tuple[int, int]]:
    ports = root / "ports"
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sandbox.ftp_server", "--root", str(root), "--ports", str(ports)]
    server = processes.start(command, log=root / "log")
    try:
        processes.wait_until(ports.exists, seconds=20, what="HANNA's FTP server")
        files, datasets = map(int, ports.read_text().split())
        yield files, datasets
    finally:
        processes.stop([server])


@contextmanager
def sftp(root: Path) -> Iterator[Rig]:
    """CSN's files."""
    from slussen.transports.sftp import Sftp

    ports = root / "ports"
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sandbox.sftp_server", "csn", "--root", str(root), "--ports", str(ports)]
    server = processes.start(command, log=root / "log")
    try:
        processes.wait_until(ports.exists, seconds=20, what="CSN's SFTP server")
        key = (root / "csn" / "host_key.pub").read_text()
        with Proxy(("127.0.0.1", int(ports.read_text().split()[1]))) as proxy:
            yield Rig(
                "sftp", proxy, root / "csn" / "files",
                lambda: Sftp("127.0.0.1", proxy.port, sftp_server.USER, sftp_server.PASSWORD, host_key=key),
                checks_content=True,
            )  # fmt: skip
    finally:
        processes.stop([server])


def foreign(name: str) -> Callable[[Path], AbstractContextManager[Rig]]:
    """A server that nobody here wrote."""

    @contextmanager
    def rig(root: Path) -> Iterator[Rig]:
        from tests.interop.servers import SERVERS

        with ExitStack() as stack:
            try:
                running = stack.enter_context(SERVERS[name]())
            except pytest.skip.Exception as reason:
                raise Unavailable(str(reason)) from None
            port = running.port
            plain = name in ("vsftpd", "proftpd")
            proxy = stack.enter_context(Proxy(("127.0.0.1", port), ftp=plain))
            more = {} if "ssh" in name or "sftp" in name else {"read_back": True}
            yield Rig(
                name, proxy, running.folder, lambda: running.open(port=proxy.port, **more),
                words=FTP_WORDS if plain else (), checks_content=not plain,
            )  # fmt: skip

    return rig


FOREIGN = ("openssh", "vsftpd", "vsftpd-tls", "proftpd", "proftpd-tls")
RIGS: dict[str, Callable[[Path], AbstractContextManager[Rig]]] = {
    "directory": directory, "ftp": ftp, "mvs": mvs, "sftp": sftp, **{name: foreign(name) for name in FOREIGN},
}  # fmt: skip
