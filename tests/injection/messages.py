"""Messages through the fault proxy: a send or a collection with one fault in it, then as often again as Airflow tries.

What must hold after each: the partner has the message at most once, and whole; the ledger says delivered when it is
there (after its receipt has been read), and never when it isn't; a collected file is one interchange, and is gone at
the source. A seed plays the same faults again.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import count as count_from
from pathlib import Path
from random import Random
from typing import Any

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
MOST_WRONG = 50


class Post:
    """Plays injections on one protocol; ``counts`` are those that struck, by scenario and fault."""

    def __init__(self, kind: str, rig: Rig, ledger: Ledger, store: PayloadStore, seed: int, open_: ExitStack) -> None:
        self.kind, self.rig, self.ledger, self.store = kind, rig, ledger, store
        self.lot = Random(f"{kind} {seed}")
        self.counts: Counter[str] = Counter()
        server = rig.server
        ports = [server.smtp_port, server.imap_port] if kind == "x400" else [server.port]
        self.proxies = [open_.enter_context(Proxy(("127.0.0.1", port))) for port in ports]
        self.carried: dict[str, int] = {}

    def open(self) -> Messenger:
        ports = [proxy.port for proxy in self.proxies]
        if self.kind == "x400":
            return self.rig.open(port=ports[0], imap_port=ports[1])
        return self.rig.open(url=f"https://127.0.0.1:{ports[0]}")

    def play(self, scenario: str, n: int) -> None:
        """One injection; the first one has no fault, and measures what goes over the wire.

        Raises:
            AssertionError: something was lost, doubled or partial, or the ledger says what isn't so.
        """
        proxy = self.proxies[0 if scenario == "deliver" else -1]
        way: Any = self.lot.choice(("up", "down"))
        size = self.carried.get(way, 3000)
        near = self.lot.random() < 0.4  # where a reply can be lost
        after = max(0, size - self.lot.randrange(300)) if near else self.lot.randrange(size)
        what: Any = self.lot.choice(WHAT)
        proxy.arm(Cut(what, way=way, after=after) if n else None)
        sizes = SIZES if scenario == "deliver" else SIZES[1:]  # the same content again is a repeat, and not collected
        content = self.lot.randbytes(self.lot.choice(sizes) if n else SIZES[1])
        try:
            (self.send if scenario == "deliver" else self.collect)(n, content)
        except Exception as error:
            raise AssertionError(f"{self.kind} {scenario} #{n}: {what} {way} after {after}: {error!r}") from error
        if not n:
            self.carried = {w: proxy.carried["control", w] for w in ("up", "down")}
        if proxy.fired:
            self.counts[what] += 1
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


def inject(kind: str, scenario: str, count: int, seed: int, dsn: str, scratch: str) -> tuple[Counter[str], list[str]]:
    """Faults by kind, and what is wrong."""
    root = Path(scratch) / f"{kind}-{scenario}"
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    wrong: list[str] = []
    with ExitStack() as open_:
        rig = open_.enter_context(RIGS[kind](root / kind))
        post = Post(kind, rig, Ledger(f"{dsn} user=slussen"), PayloadStore(root / "store"), seed, open_)
        for n in count_from(0):
            if post.counts.total() >= count or len(wrong) > MOST_WRONG:
                break
            try:
                post.play(scenario, n)
            except AssertionError as error:
                wrong.append(str(error))
    return post.counts, wrong
