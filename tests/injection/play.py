"""One injection: a delivery or a collection with one fault in it, then as often again as Airflow would try.

Sent and received must be the same: each content once, whole, and the ledger says so. A watcher in a thread of its own
hashes every appearance of a final name; of half of the files it is also the receiver, and takes them at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Literal, Self

from sandbox.proxy import Cut
from slussen import settings
from slussen.archiving import recover, said
from slussen.collection import collect
from slussen.database import migrate
from slussen.delivery import Delivery, deliver, drive
from slussen.errors import SlussenError, TechnicalError, TransportError, TransportRefused
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from tests.injection import messages
from tests.injection.rigs import RIGS, Rig, Unavailable

TRIES = 6
# A password of which only a part came is a refusal, and final: more tries would lock us out.
NOT_LET_IN = re.compile(r"doesn't let .* in \(530\)")
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


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to the process that is at it, ``after`` so many seconds."""

    after: float
    what: str = "kill"


@dataclass(frozen=True, slots=True)
class Full:
    """No file that this process writes gets longer than ``after`` bytes: our store's, or a shared directory's."""

    after: int
    what: str = "full"


Fault = Cut | Kill | Full


@dataclass
class Player:
    """Plays injections on one rig, and counts those that struck, by kind."""

    rig: Rig
    ledger: Ledger
    store: PayloadStore
    watcher: Watcher
    seed: int = 1809
    played: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    by_hand: int = 0  # a final failure that somebody has to start again
    _number: int = 0

    def run(self, scenario: Scenario, injections: int) -> None:
        """So many faults, drawn by lot from all that this scenario can meet; edges and words before the others."""
        began = time.monotonic()
        self.play(scenario, None, size=SIZES[-1])  # what an undisturbed run carries, and takes
        edges, others = self._faults(time.monotonic() - began)
        useless = set[bytes]()
        for fault in (*edges, *others):
            played = self.played.total()
            if played >= injections:
                return
            if isinstance(fault, Cut) and fault.word in useless:
                continue  # this scenario doesn't say it
            self.play(scenario, fault)
            if isinstance(fault, Cut) and fault.word and self.played.total() == played:
                useless.add(fault.word)

    def _faults(self, seconds: float) -> tuple[list[Fault], list[Fault]]:
        lot = Random(self.seed)
        kills: list[Fault] = [Kill(seconds * n / 1000) for n in range(1000)]
        full: list[Fault] = [Full(n) for n in (0, 1, 79, 80, 4095, 4096, *range(0, SIZES[-1], 97))]
        edges, others = [*lot.sample(kills, 40), *lot.sample(full, 20)], kills + full
        if (proxy := self.rig.proxy) is not None:
            carried = dict(proxy.carried)
            edges += self.rig.cuts(carried, sum(carried.values()))
            cuts = list(self.rig.cuts(carried, 1))
            others = [*cuts, *lot.choices(others, k=len(cuts) // 8)]
        lot.shuffle(edges)
        lot.shuffle(others)
        return edges, others

    def play(self, scenario: Scenario, fault: Fault | None, size: int | None = None) -> None:
        """Once, with this fault; what is wrong afterwards goes on the list."""
        self._number += 1
        lot = Random(self.seed * 1_000_003 + self._number)
        if size is None:
            small = isinstance(fault, Cut) and fault.on == "control" and fault.after <= SIZES[-2]
            size = lot.choice(SIZES) if small else SIZES[-1]
        size -= size % self.rig.record
        if scenario == "collect":
            size = max(size, 80)  # no two contents alike: the same content again is a repeat, and not collected
        work = self._deliver if scenario == "deliver" else self._collect
        try:
            struck, wrong = work(lot.randbytes(size), fault, eager=lot.random() < 0.5)
        except Exception as error:  # whatever else comes up is wrong, and the others are played all the same
            struck, wrong = True, f"{type(error).__name__}: {error}"
        if fault is not None and struck:
            self.played[fault.what] += 1
        if wrong:
            self.wrong.append(f"{self.rig.protocol} {scenario} #{self._number}, {size} bytes, {fault}: {wrong}")

    def _deliver(self, content: bytes, fault: Fault | None, *, eager: bool) -> tuple[bool, str]:
        name, sha = self.rig.name(self._number), _sha(content)
        if eager:
            self.watcher.eager.add(name)
        with self.store.writer() as sink:
            sink.write(content)
        delivery = Delivery(
            interchange=f"{self.rig.protocol}-{self._number}", integration=self.rig.protocol, name=name,
            sha256=sha, bytes=len(content),
        )  # fmt: skip

        def attempt() -> bool:
            with self.rig.open() as to:
                return drive(deliver(delivery, self.store, to, self.ledger)).state != "fenced"

        struck, wrong = self._tried(attempt, fault)
        return struck, wrong or self._delivered(delivery)

    def _delivered(self, d: Delivery) -> str:
        """What is wrong once a delivery has ended."""
        self.watcher.look()
        events = [e for e in self.ledger.events(d.interchange) if e.kind == "delivered"]
        if len(events) != 1:
            return f"the ledger says delivered {len(events)} times"
        stands = self.rig.folder / d.name
        copies = self.watcher.taken[d.name] + stands.exists()
        if copies != 1:
            return f"received {copies} times"
        if self.watcher.seen.get(d.name, set()) != {d.sha256}:
            return "something else than what was sent was to be seen"
        if left := [f for f in self.rig.folder.iterdir() if d.interchange in f.name]:
            return f"{len(left)} temporary files left"
        stands.unlink(missing_ok=True)
        return ""

    def _collect(self, content: bytes, fault: Fault | None, *, eager: bool) -> tuple[bool, str]:
        name, sha = self.rig.name(self._number), _sha(content)
        stands = self.rig.folder / name
        stands.write_bytes(content)

        def attempt() -> bool:
            with self.rig.open() as source:
                for note, place in recover(source, self.ledger, self.rig.protocol, lambda _: None):
                    said(self.ledger, note, place)
                for entry in source.entries(name):
                    collect(self.rig.protocol, entry, source, self.store, self.ledger, f"run-{self._number}")
            return not stands.exists()  # an inbox is looked at again as long as something is in it

        struck, wrong = self._tried(attempt, fault)
        if wrong:
            return struck, wrong
        mine = [e for e in self.ledger.kind("collected", integration=self.rig.protocol) if e.data["name"] == name]
        if len(mine) != 1 or mine[0].data["sha256"] != sha:
            return struck, f"the ledger says collected {len(mine)} times"
        if self.store.open(sha).read() != content:
            return struck, "what is in the store is something else"
        return struck, ""

    def _tried(self, attempt: Callable[[], bool], fault: Fault | None) -> tuple[bool, str]:
        """Tried until it ends well, the first time with the fault: whether that struck, and what is wrong."""
        proxy, struck = self.rig.proxy, False
        if proxy is not None:
            proxy.arm(fault if isinstance(fault, Cut) else None)
        for n in range(TRIES):
            try:
                if n == 0 and isinstance(fault, Kill | Full):
                    done, struck = _forked(attempt, fault)
                else:
                    done = attempt()
                if done:
                    return struck or (proxy is not None and proxy.fired), ""
            except (TransportError, TechnicalError) as error:
                struck = struck or (proxy is not None and proxy.fired)
                if not struck:
                    return False, f"failed without a fault: {error}"
            except TransportRefused as error:
                if n or not NOT_LET_IN.search(str(error)):
                    return True, f"refused for a fault that passes: {error}"
                self.by_hand += 1
            except SlussenError as error:
                return True, f"{type(error).__name__} for a fault that passes: {error}"
            if proxy is not None:
                proxy.drop_all()
        return True, f"not done in {TRIES} tries"


ENDED, PASSING, OTHER = 0, 3, 4  # exit codes


def _forked(attempt: Callable[[], bool], fault: Kill | Full) -> tuple[bool, bool]:
    """In a process of its own, with this fault: whether it ended well, and whether the fault struck.

    Raises:
        RuntimeError: it failed in a way that doesn't pass.
    """
    pid = os.fork()
    if pid == 0:
        code = OTHER
        try:
            if isinstance(fault, Full):
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (fault.after, fault.after))
            code = ENDED if attempt() else PASSING
        except (TransportError, TechnicalError):
            code = PASSING
        finally:
            os._exit(code)
    if isinstance(fault, Kill):
        time.sleep(fault.after)
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == OTHER:
        raise RuntimeError("it failed in a way that doesn't pass")
    return code == ENDED, code != ENDED


def begin(home: str) -> None:
    """In each process of the pool: libraries tell of every connection that is broken."""
    logging.disable()
    os.environ["SLUSSEN_HOME"] = home


@dataclass(frozen=True, slots=True)
class Piece:
    """What was played of one protocol and scenario: faults by kind, and what is wrong."""

    played: Counter[str]
    wrong: list[str]
    seconds: float
    by_hand: int = 0
    skipped: str = ""  # why


def inject(protocol: str, scenario: Scenario, count: int, seed: int, dsn: str, scratch: str) -> Piece:
    """One protocol and scenario, in a process of its own."""
    if protocol in messages.RIGS:
        began = time.monotonic()
        return Piece(*messages.inject(protocol, scenario, count, seed, dsn, scratch), time.monotonic() - began)
    began = time.monotonic()
    home = Path(scratch) / f"{protocol}-{scenario}"
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    try:
        with RIGS[protocol](home) as rig, Watcher(rig.folder) as watcher:
            player = Player(rig, Ledger(f"{dsn} user=slussen"), PayloadStore(home / "payloads"), watcher, seed)
            player.run(scenario, count)
    except Unavailable as error:
        return Piece(Counter(), [], 0, skipped=str(error))
    return Piece(player.played, player.wrong, time.monotonic() - began, player.by_hand)


def _sha(content: bytes) -> str:
    return hashlib.file_digest(BytesIO(content), "sha256").hexdigest()


def _is_work(name: str) -> bool:
    """A work dataset: its last qualifier is T and seven characters of a hash."""
    last = name.rpartition(".")[2]
    return len(last) == 8 and last[0] == "T" and not last[1:].isdigit()
