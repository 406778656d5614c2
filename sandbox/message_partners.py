"""The gateway and the node of a sandbox as processes, and what connections need to reach them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sandbox import processes, shs_node, x400_gateway
from sandbox.certificates import Authority
from slussen import settings

GATEWAY, NODE = "x400", "shs"  # their folders among the partners'


def start(partners: Path, home: Path, started: list[subprocess.Popen[bytes]]) -> dict[str, str]:
    """Start both over their folders; the processes are added to ``started``. Gives the connections' places."""
    smtp, imap = _serve("x400_gateway", partners / GATEWAY, "--ports", home, started)
    (port,) = _serve("shs_node", partners / NODE, "--port-file", home, started)
    certificates = partners / NODE / "certificates"
    return {
        "X400_HOST": "127.0.0.1", "X400_SMTP_PORT": smtp, "X400_IMAP_PORT": imap, "X400_USER": x400_gateway.USER,
        "X400_PASSWORD": x400_gateway.PASSWORD, "X400_CA": str(Authority(partners / GATEWAY / "certificates").ca),
        "X400_GATEWAY": x400_gateway.GATEWAY, "X400_ORIGINATOR": x400_gateway.CITY,
        "SHS_URL": f"https://127.0.0.1:{port}", "SHS_CA": str(certificates / "ca.pem"),
        "SHS_CERT": str(certificates / f"{shs_node.CITY}.pem"),
    }  # fmt: skip


def _serve(module: str, folder: Path, option: str, home: Path, started: list[subprocess.Popen[bytes]]) -> list[str]:
    """Start one; the ports that it says it has."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = home / f"ports-{module}"
    ports.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"sandbox.{module}", "serve", str(folder), option, str(ports)]
    log = home / "logs" / f"{module}.log"
    started.append(processes.start(command, log=log, cwd=settings.ROOT, pids=home / "pids"))
    processes.wait_until(ports.exists, seconds=20, what=module)
    return ports.read_text().split()
