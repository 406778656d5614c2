"""Messages through the fault proxy: a send or a collection with one fault in it, then as often again as Airflow tries.

    python -m tests.injection.messages --each 400        (injections a protocol)

What must hold after each: the partner has the message at most once, and whole; the ledger says delivered when it is
there (after its receipt has been read), and never when it isn't; a collected file is one interchange, and is gone at
the source. A seed plays the same faults again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from sandbox.postgres import Server
from sandbox.proxy import Cut, Proxy
from slussen import receipts, settings
from slussen.collection import collect
from slussen.database import migrate
from slussen.errors import SlussenError, TransportError
from slussen.ledger import Ledger
from slussen.messaging import Dispatch, dispatch, drive
from slussen.payloads import PayloadStore
from slussen.transports import Messenger
from tests.transports.messages import RIGS, Rig

TRIES = 6
WHAT = ("drop", "reset", "swallow", "half")
SIZES = (1, 4_000, 70_000)


class Post:
    """Plays injections on one protocol; ``counts`` are those that struck, by scenario and fault."""

    def __init__(self, kind: str, rig: Rig, ledger: Ledger, store: PayloadStore, seed: int, open_: ExitStack) -> None:
        self.kind, self.rig, self.ledger, self.store = kind, rig, ledger, store
        self.lot = Random(f"{kind} {seed}")
        self.counts: Counter[str] = Counter()
        server = rig.server
        ports = [server.smtp_port, server.imap_port] if kind == "x400" else [server.port]
        self.proxies = [open_.enter_context(Proxy(("127.0.0.1", port))) for port in ports]
        self.carried: dict[tuple[str, int, str], int] = {}

    def open(self) -> Messenger:
        ports = [proxy.port for proxy in self.proxies]
        if self.kind == "x400":
            return self.rig.open(port=ports[0], imap_port=ports[1])
        return self.rig.open(url=f"https://127.0.0.1:{ports[0]}")

    def play(self, n: int) -> None:
        """One injection.

        Raises:
            AssertionError: something was lost, doubled or partial, or the ledger says what isn't so.
        """
        scenario = ("send", "collect")[n % 2]
        proxy = self.proxies[0 if scenario == "send" else -1]
        way: Any = self.lot.choice(("up", "down"))
        size = self.carried.get((scenario, self.proxies.index(proxy), way), 3000)
        near = self.lot.random() < 0.4  # where a reply can be lost
        after = max(0, size - self.lot.randrange(300)) if near else self.lot.randrange(size)
        what: Any = self.lot.choice(WHAT)
        proxy.arm(Cut(what, way=way, after=after) if n > 3 else None)
        content = self.lot.randbytes(self.lot.choice(SIZES))
        try:
            (self.send if scenario == "send" else self.collect)(n, content)
        except Exception as error:
            raise AssertionError(f"{self.kind} {n}: {scenario} {what} {way} {after}: {error!r}") from error
        if n < 4:
            self.carried |= {
                (scenario, self.proxies.index(proxy), w): proxy.carried["control", w] for w in ("up", "down")
            }
        if proxy.fired:
            self.counts[f"{scenario} {what}"] += 1
        proxy.drop_all()

    def send(self, n: int, content: bytes) -> None:
        with self.store.writer() as sink:
            sink.write(content)
        d = Dispatch(interchange=f"skv-{n:06d}", integration="skv", connection="skv", name=f"F{n}.TXT",
                     sha256=sink.sha256, bytes=sink.bytes)  # fmt: skip
        self.ledger.append(d.interchange, "content", integration="skv")
        for _ in range(TRIES):
            try:
                with self.open() as partner:
                    outcome = drive(dispatch(d, self.store, partner, self.ledger))
                break
            except TransportError:
                continue
        there = [a.read() for a in self.rig.arrived() if a.name == d.name]
        assert there in ([], [content]), "it is there twice, or not whole"
        for _ in range(TRIES):
            try:
                with self.open() as partner:
                    receipts.sweep(partner, d.connection, self.ledger)
                break
            except SlussenError:
                continue
        state = receipts.standing(self.ledger, d.interchange).state
        assert state == ("delivered" if there else "unknown"), f"{state}, and {len(there)} are there"
        assert there or outcome.state == "unknown"

    def collect(self, n: int, content: bytes) -> None:
        name = f"S{n}.TXT"
        self.rig.send(name, content)
        for _ in range(TRIES):
            try:
                with self.open() as partner:
                    for entry in partner.entries(name):
                        collect("skv_reply", entry, partner, self.store, self.ledger, "run")
                    if not partner.entries(name):
                        break
            except TransportError:
                continue
        found = [e for e in self.ledger.kind("collected", integration="skv_reply") if e.data["name"] == name]
        assert len(found) == 1, f"collected {len(found)} times"
        with self.store.open(found[0].data["sha256"]) as payload:
            assert payload.read() == content, "not what was sent"
        with self.open() as partner:
            assert partner.entries(name) == [], "it is still at the source"


def play(kind: str, count: int, ledger: Ledger, root: Path, seed: int = 1809) -> Counter[str]:
    """So many injections on one protocol; those that struck, by scenario and fault."""
    with ExitStack() as open_:
        post = Post(
            kind, open_.enter_context(RIGS[kind](root / kind)), ledger, PayloadStore(root / "store"), seed, open_
        )
        for n in range(count):
            post.play(n)
        return post.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=400, help="injections a protocol")
    parser.add_argument("--seed", type=int, default=1809)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slussen-post-") as folder, Server(Path(folder) / "home") as postgres:
        os.environ["SLUSSEN_HOME"] = folder
        for kind in RIGS:
            dsn = postgres.dsn(f"post_{kind}")
            migrate(dsn, settings.SQL / "migrations" / "slussen")
            began = time.monotonic()
            counts = play(kind, options.each, Ledger(f"{dsn} user=slussen"), Path(folder), options.seed)
            struck = ", ".join(f"{k} {v}" for k, v in sorted(counts.items()))
            print(f"{kind}: {counts.total():,} injections struck, none lost, none twice, none partial; "
                  f"{time.monotonic() - began:.0f} s ({struck})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
