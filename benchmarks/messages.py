"""Large files over message protocols on loopback: how fast, and that memory stays flat.

    python -m benchmarks.messages --mail 2000 --shs 1000        (megabytes)

Each transfer runs in a process of its own, against the sandbox's gateway and node in others; hashing and size checks
are part of the time. Peak memory is that process's, with Python and its libraries.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox import shs_node, x400_gateway
from sandbox.certificates import Authority
from slussen.payloads import PayloadStore
from slussen.transports import Message, Messenger, Unknown

CSN, SKV, PRODUCT = "/O=CSN/PRMD=CSN/C=SE/", "2021005448", "urn:X-shs:prov"
BLOCK = bytes(range(256)) * 4096


def messenger(kind: str, home: Path) -> Messenger:
    """A messenger to the sandbox partner that serves in this folder."""
    ports = (home / "ports").read_text().split()
    if kind == "x400":
        from slussen.transports.x400 import X400, Account

        return X400(Account(
            host="127.0.0.1", port=int(ports[0]), user=x400_gateway.USER, password=x400_gateway.PASSWORD,
            imap_host="127.0.0.1", imap_port=int(ports[1]), originator=x400_gateway.CITY, recipient=CSN,
            gateway=x400_gateway.GATEWAY, ca=str(home / "certificates" / "ca.pem"),
        ))  # fmt: skip
    from slussen.transports.shs import Actor, Shs

    certificates = home / "certificates"
    return Shs(Actor(
        url=f"https://127.0.0.1:{ports[0]}", own=shs_node.CITY, partner=SKV, product=PRODUCT,
        ca=str(certificates / "ca.pem"), cert=str(certificates / f"{shs_node.CITY}.pem"),
    ))  # fmt: skip


def out(kind: str, home: Path, payload: Path) -> None:
    """Send the payload, hashed first, as a delivery does."""
    with payload.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        source.seek(0)
        with messenger(kind, home) as partner:
            message = Message(partner.message_id("prov-1"), "PROV.DAT", digest, payload.stat().st_size)
            with suppress(Unknown):
                partner.send(message, source)


def into(kind: str, home: Path, payload: Path) -> None:
    """List, fetch into a payload store (hashed, synced) and archive."""
    with messenger(kind, home) as partner:
        (entry,) = partner.entries("*.DAT")
        with PayloadStore(home / "store").writer() as sink:
            partner.fetch(entry.name, sink)
        assert sink.bytes == payload.stat().st_size
        partner.archive(entry, "")


WORK: dict[str, Callable[[str, Path, Path], None]] = {"out": out, "into": into}


def measured(kind: str, what: str, home: Path, payload: Path) -> dict[str, Any]:
    """One transfer in a process of its own: seconds, and its peak memory in MB."""
    command = [sys.executable, "-m", "benchmarks.messages", "--work", kind, what, str(home), str(payload)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "SLUSSEN_KEY": "ab" * 32}
    )
    return dict(json.loads(done.stdout))


def serve(kind: str, home: Path) -> subprocess.Popen[bytes]:
    module, word = ("x400_gateway", "--ports") if kind == "x400" else ("shs_node", "--port-file")
    process = subprocess.Popen(
        [sys.executable, "-m", f"sandbox.{module}", "serve", str(home), word, str(home / "ports")]
    )
    for _ in range(200):
        if (home / "ports").exists():
            return process
        time.sleep(0.1)
    raise RuntimeError("the partner doesn't start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mail", type=int, default=2000, help="megabytes of a mail's file")
    parser.add_argument("--shs", type=int, default=1000, help="megabytes of a message's file")
    parser.add_argument("--work", nargs=4, metavar=("KIND", "WHAT", "HOME", "PAYLOAD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        kind, what, home, payload = options.work
        began = time.monotonic()
        WORK[what](kind, Path(home), Path(payload))
        seconds = time.monotonic() - began
        print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    table = Table("transfer", "MB", "s", "MB/s", "peak MB")
    for kind, size in (("x400", options.mail), ("shs", options.shs)):
        with tempfile.TemporaryDirectory(prefix="slussen-bench-") as folder:
            home, payload = Path(folder) / "partner", Path(folder) / "PROV.DAT"
            home.mkdir()
            Authority(home / "certificates")
            with payload.open("wb") as made:
                for _ in range(size):
                    made.write(BLOCK[: 1 << 20])
            server = serve(kind, home)
            try:
                for what in WORK:
                    if what == "into" and kind == "x400":
                        x400_gateway.Partners(home).send("PROV.DAT", payload, sender=CSN)
                    elif what == "into":
                        shs_node.Node(home).send("PROV.DAT", payload, sender=SKV, product=PRODUCT)
                    r = measured(kind, what, home, payload)
                    table.add_row(f"{kind} {what}", f"{size:,}", f"{r['seconds']:.1f}", f"{size / r['seconds']:.0f}",
                                  f"{r['peak']:.0f}")  # fmt: skip
            finally:
                server.terminate()
                server.wait(10)
    Console().print(table)


if __name__ == "__main__":
    main()
