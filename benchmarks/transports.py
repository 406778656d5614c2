"""How long a large file takes over each protocol, against the same library used plainly, in turns on one machine.

Plainly: paramiko's ``putfo`` and ``getfo``, ftplib's ``storbinary`` and ``retrbinary`` with their defaults. Ours: with
the size check, the SHA-256 of what is fetched, and the check of what was sent. The servers are OpenSSH and vsftpd
(``make interop``). Each run is a process of its own; memory is its peak.
"""

from __future__ import annotations

import argparse
import ftplib
import hashlib
import io
import json
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BLOCK = bytes(range(256)) * 4096  # 1 MiB
NAME = ".bench.tmp"


class Made(io.RawIOBase):
    """So many bytes, out of nothing."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, place: int, whence: int = 0) -> int:
        self.at = place
        return place

    def read(self, size: int = -1) -> bytes:
        start = self.at % len(BLOCK)
        data = BLOCK[start : start + min(size, self.size - self.at)]
        self.at += len(data)
        return data


class Hashed:
    """Hashes what comes, as the payload store does."""

    def __init__(self) -> None:
        self.sha256, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return len(data)


class Counted:
    """Counts what comes."""

    size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)


def ours(login: dict[str, Any], protocol: str, work: str, size: int) -> None:
    from slussen.transports.ftp import Ftp
    from slussen.transports.sftp import Sftp

    kind: Any = Sftp if protocol == "sftp" else Ftp
    with kind(**login) as to:
        if work == "put":
            to.put(NAME, Made(size), size)
            assert to.verify(NAME, size, "")
        else:
            to.fetch(NAME, sink := Hashed())
            assert sink.size == size


def plainly(login: dict[str, Any], protocol: str, work: str, size: int) -> None:
    if protocol == "sftp":
        plain_sftp(login, work, size)
        return
    ftp = ftplib.FTP_TLS() if login.get("tls") else ftplib.FTP()
    ftp.connect(login["host"], login["port"])
    ftp.login(login["user"], login["password"])
    ftp.cwd(login.get("folder", "/"))
    if work == "put":
        ftp.storbinary(f"STOR {NAME}", Made(size))
    else:
        ftp.retrbinary(f"RETR {NAME}", (sink := Counted()).write)
        assert sink.size == size
    ftp.quit()


def plain_sftp(login: dict[str, Any], work: str, size: int) -> None:
    import paramiko

    transport = paramiko.Transport((login["host"], login["port"]))
    if key := login.get("private_key"):
        transport.connect(username=login["user"], pkey=paramiko.Ed25519Key.from_private_key(io.StringIO(key)))
    else:
        transport.connect(username=login["user"], password=login["password"])
    client = paramiko.SFTPClient.from_transport(transport)
    assert client is not None
    path = f"{login['folder']}/{NAME}" if login.get("folder") else NAME
    if work == "put":
        client.putfo(Made(size), path, size)  # type: ignore[arg-type]
    else:
        client.getfo(path, sink := Counted())  # type: ignore[arg-type]
        assert sink.size == size
    transport.close()


def child(text: str) -> None:
    """One run, told on standard input; seconds and peak megabytes on standard output."""
    import slussen.transports.ftp
    import slussen.transports.sftp  # noqa: F401  paramiko with it: what is imported is timed of neither

    task = json.loads(text)
    run = ours if task["who"] == "ours" else plainly
    began = time.monotonic()
    run(task["login"], task["protocol"], task["work"], task["size"])
    took = time.monotonic() - began
    print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def measured(who: str, protocol: str, work: str, size: int, login: dict[str, Any]) -> tuple[float, float]:
    task = {"who": who, "protocol": protocol, "work": work, "size": size, "login": login}
    done = subprocess.run([sys.executable, "-m", "benchmarks.transports", "--child"], input=json.dumps(task),
                          capture_output=True, text=True, check=True)  # fmt: skip
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


def servers(open_: ExitStack) -> dict[str, tuple[str, dict[str, Any]]]:
    """By protocol: who serves it, and the login."""
    from tests.interop import servers as interop
    from tests.interop.packages import program

    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for protocol, name, path in (("sftp", "openssh", "usr/sbin/sshd"), ("ftp", "vsftpd", "usr/sbin/vsftpd")):
        if program(path):
            found[protocol] = name, open_.enter_context(interop.SERVERS[name]()).login
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=600)
    parser.add_argument("--large", type=int, default=0, metavar="GB", help="one run of ours with so many gigabytes too")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(sys.stdin.read())
        return
    size = options.megabytes * 1_000_000
    table = Table(title=f"{options.megabytes} MB, the fastest of {options.repeat} runs each")
    for column in ("work", "server", "plainly MB/s", "ours MB/s", "ours / plainly (time)", "ours, peak MB"):
        table.add_column(column, justify="left" if column in ("work", "server") else "right")
    with ExitStack() as open_:
        found = servers(open_)
        for protocol, (server, login) in found.items():
            for work in ("put", "get"):
                runs: dict[str, list[tuple[float, float]]] = {"plainly": [], "ours": []}
                for _ in range(options.repeat):
                    for who, times in runs.items():
                        times.append(measured(who, protocol, work, size, login))
                plain, we = (min(t for t, _ in runs[who]) for who in ("plainly", "ours"))
                table.add_row(
                    f"{protocol} {work}", server, f"{size / plain / 1e6:,.0f}", f"{size / we / 1e6:,.0f}",
                    f"{we / plain:.2f}", f"{max(m for _, m in runs['ours']):.0f}",
                )  # fmt: skip
        for protocol, (server, login) in found.items() if options.large else ():
            for work in ("put", "get"):
                seconds, memory = measured("ours", protocol, work, options.large * 1_000_000_000, login)
                speed = options.large * 1000 / seconds
                table.add_row(f"{protocol} {work} {options.large} GB", server, "", f"{speed:,.0f}", "", f"{memory:.0f}")
    Console(width=120).print(table)
    if not found:
        Console().print("no server to measure with: make interop unpacks them")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
