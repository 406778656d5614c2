"""The SFTP partners of a sandbox as a process, and what connections need to reach them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sandbox import processes, sftp_server
from slussen import settings

PARTNERS = ("csn", "skv", "hanna", "fronter")  # each has a folder ``<partners>/sftp/<name>/files``


def start(partners: Path, home: Path, started: list[subprocess.Popen[bytes]]) -> dict[str, str]:
    """Start them over their folders; the process is added to ``started``. Gives the connections' places."""
    root, ports = partners / "sftp", home / "ports-sftp"
    ports.unlink(missing_ok=True)
    command = [sys.executable, "-m", "sandbox.sftp_server", *PARTNERS, "--root", str(root), "--ports", str(ports)]
    log = home / "logs" / "sftp.log"
    started.append(processes.start(command, log=log, cwd=settings.ROOT, pids=home / "pids"))
    processes.wait_until(ports.exists, seconds=20, what="the SFTP partners")
    places: dict[str, str] = {}
    for line in ports.read_text().splitlines():
        name, port = line.split()
        places |= {
            f"{name.upper()}_SFTP_HOST": "127.0.0.1", f"{name.upper()}_SFTP_PORT": port,
            f"{name.upper()}_SFTP_USER": sftp_server.USER, f"{name.upper()}_SFTP_PASSWORD": sftp_server.PASSWORD,
            f"{name.upper()}_SFTP_HOST_KEY": (root / name / "host_key.pub").read_text().strip(),
        }  # fmt: skip
    return places


def served(partners: Path, name: str) -> Path:
    """The folder that this partner serves."""
    return partners / "sftp" / name / "files"
