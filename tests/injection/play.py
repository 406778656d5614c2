"""One injection: a delivery or a collection with one fault in it, then as often again as Airflow would try.

Sent and received must be the same: each content once, whole, and the ledger says so. A watcher in a thread of its own
hashes every appearance of a final name; of half of the files it is also the receiver, and takes them at once.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Literal, Self

from sandbox.proxy import Cut
from slussen import settings
from slussen.collection import collect
from slussen.database import migrate
from slussen.delivery import Delivery, deliver, drive
from slussen.errors import SlussenError, TransportError
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from tests.injection.rigs import RIGS, Rig, Unavailable

TRIES = 6
LOOK = 0.001  # seconds between the watcher's looks
SIZES = (0, 1, 80, 4_000, 70_000)
Scenario = Literal["deliver", "collect"]


class Watcher:
    """Hashes whatever stands under a final name, at once and when it changes, and takes those it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, set[str]] = {}
        self.taken: Counter[str] = Counter()
        self.eager: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watcher")
        self._known: dict[str, tuple[int, int, int]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.look()
            time.sleep(LOOK)

    def look(self) -> None:
        for entry in os.scandir(self.folder):
            name = entry.name
            if name.startswith(".") or name == "archive" or _is_work(name):
                continue
            try:
                s = entry.stat()
                if self._known.get(name) != (s.st_mtime_ns, s.st_ino, s.st_size):
                    self._known[name] = (s.st_mtime_ns, s.st_ino, s.st_size)
                    self.seen.setdefault(name, set()).add(_sha(Path(entry.path).read_bytes()))
                if name in self.eager:
                    content = Path(entry.path).read_bytes()
                    Path(entry.path).unlink()
                    self.seen.setdefault(name, set()).add(_sha(content))
                    self.taken[name] += 1
            except FileNotFoundError:
                continue


@dataclass
class Player:
    """Plays injections on one rig, and counts them."""

    rig: Rig
    ledger: Ledger
    store: PayloadStore
    watcher: Watcher
    seed: int = 1809
    played: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _number: int = 0

    def run(self, scenario: Scenario, injections: int) -> None:
        """So many faults, drawn by lot from all that this scenario can meet; edges and words come before the others."""
        self.play(scenario, None, size=SIZES[-1])  # what an undisturbed run carries
        carried = dict(self.rig.proxy.carried)
        edges, all_ = list(self.rig.cuts(carried, sum(carried.values()))), list(self.rig.cuts(carried, 1))
        lot = Random(self.seed)
        lot.shuffle(edges)
        lot.shuffle(all_)
        before, useless = self.played.total(), set[bytes]()
        for cut in (*edges, *all_):
            if self.played.total() - before >= injections:
                return
            if cut.word in useless:
                continue  # this scenario doesn't say it
            played = self.played.total()
            self.play(scenario, cut)
            if cut.word and self.played.total() == played:
                useless.add(cut.word)

    def play(self, scenario: Scenario, cut: Cut | None, size: int | None = None) -> None:
        """Once, with this fault; what is wrong afterwards goes on the list."""
        self._number += 1
        lot = Random(self.seed * 1_000_003 + self._number)
        if size is None:
            data = cut is not None and (cut.on == "data" or cut.after > SIZES[-2])
            size = SIZES[-1] if data else lot.choice(SIZES)
        size -= size % self.rig.record
        if scenario == "collect":
            size = max(size, 80)  # no two contents alike: the same content again is a repeat, and not collected
        content = lot.randbytes(size)
        self.rig.proxy.arm(cut)
        try:
            wrong = (self._deliver if scenario == "deliver" else self._collect)(content, eager=lot.random() < 0.5)
        except Exception as error:  # whatever else comes up is wrong, and the others are played all the same
            wrong = f"{type(error).__name__}: {error}"
        if cut is not None and self.rig.proxy.fired:
            self.played[scenario, cut.what] += 1
        if wrong:
            self.wrong.append(f"{self.rig.protocol} {scenario} #{self._number}, {size} bytes, {cut}: {wrong}")

    def _deliver(self, content: bytes, *, eager: bool) -> str:
        name, sha = self.rig.name(self._number), _sha(content)
        if eager:
            self.watcher.eager.add(name)
        with self.store.writer() as sink:
            sink.write(content)
        delivery = Delivery(
            interchange=f"{self.rig.protocol}-{self._number}", integration=self.rig.protocol, name=name,
            sha256=sha, bytes=len(content),
        )  # fmt: skip
        for attempt in range(TRIES):
            try:
                with self.rig.open() as to:
                    state = drive(deliver(delivery, self.store, to, self.ledger)).state
                if state != "fenced":
                    break
            except TransportError as error:
                if attempt == 0 and not self.rig.proxy.fired:
                    return f"failed without a fault: {error}"
                self.rig.proxy.drop_all()
            except SlussenError as error:
                return f"{type(error).__name__} for a fault that passes: {error}"
        else:
            return f"not delivered in {TRIES} tries"
        self.watcher.look()
        events = [e for e in self.ledger.events(delivery.interchange) if e.kind == "delivered"]
        if len(events) != 1:
            return f"the ledger says delivered {len(events)} times"
        stands = self.rig.folder / name
        copies = self.watcher.taken[name] + stands.exists()
        if copies != 1:
            return f"received {copies} times"
        if self.watcher.seen.get(name, set()) != {sha}:
            return "something else than what was sent was to be seen"
        if left := [f for f in self.rig.folder.iterdir() if delivery.interchange in f.name]:
            return f"{len(left)} temporary files left"
        stands.unlink(missing_ok=True)
        return ""

    def _collect(self, content: bytes, *, eager: bool) -> str:
        name, sha = self.rig.name(self._number), _sha(content)
        (self.rig.folder / name).write_bytes(content)
        for attempt in range(TRIES):
            try:
                with self.rig.open() as source:
                    entries = source.entries(name)
                    if not entries:
                        break
                    collect(self.rig.protocol, entries[0], source, self.store, self.ledger, f"run-{self._number}")
            except TransportError as error:
                if attempt == 0 and not self.rig.proxy.fired:
                    return f"failed without a fault: {error}"
                self.rig.proxy.drop_all()
            except SlussenError as error:
                return f"{type(error).__name__} for a fault that passes: {error}"
        else:
            return f"not collected in {TRIES} tries"
        mine = [e for e in self.ledger.kind("collected", integration=self.rig.protocol) if e.data["name"] == name]
        if len(mine) != 1 or mine[0].data["sha256"] != sha:
            return f"the ledger says collected {len(mine)} times"
        if self.store.open(sha).read() != content:
            return "what is in the store is something else"
        if (self.rig.folder / name).exists():
            return "it was not archived"
        return ""


def inject(
    protocol: str, scenario: Scenario, count: int, seed: int, dsn: str, scratch: str
) -> tuple[str, Counter[str], list[str], float]:
    """One protocol and scenario in a process of its own: why it was skipped, faults by kind, what is wrong, seconds."""
    began = time.monotonic()
    home = Path(scratch) / f"{protocol}-{scenario}"
    os.environ["SLUSSEN_HOME"] = str(home)
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    try:
        with RIGS[protocol](home) as rig, Watcher(rig.folder) as watcher:
            player = Player(rig, Ledger(f"{dsn} user=slussen"), PayloadStore(home / "payloads"), watcher, seed)
            player.run(scenario, count)
    except Unavailable as error:
        return str(error), Counter(), [], 0
    return "", player.played, player.wrong, time.monotonic() - began


def _sha(content: bytes) -> str:
    return hashlib.file_digest(BytesIO(content), "sha256").hexdigest()


def _is_work(name: str) -> bool:
    """A work dataset: its last qualifier is T and seven characters of a hash."""
    last = name.rpartition(".")[2]
    return len(last) == 8 and last[0] == "T" and not last[1:].isdigit()
