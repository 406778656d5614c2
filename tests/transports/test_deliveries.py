"""Deliveries and collections through real ledgers and real servers, in processes that are killed and stopped."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from sandbox.postgres import Server
from slussen import settings
from slussen.collection import collect, collected_by
from slussen.database import migrate
from slussen.delivery import Delivery, Outcome, deliver, drive
from slussen.errors import TransportError
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.transports.directory import Directory
from tests.transports.places import CONTENT, Place

DATABASES = count(1)


def test_a_full_disk_at_the_partner_is_a_passing_fault_and_leaves_no_stump(tmp_path: Path, ledger: Ledger) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    store = PayloadStore(tmp_path / "payloads")
    with store.writer() as sink:
        sink.write(b"x" * 100_000)
    d = Delivery(interchange="f29-1", integration="f29", name="a", sha256=sink.sha256, bytes=sink.bytes)
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            with Directory(inbox) as to:
                drive(deliver(d, store, to, ledger))
        except TransportError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert list(inbox.iterdir()) == []
    with Directory(inbox) as to:
        assert drive(deliver(d, store, to, ledger)) == Outcome("delivered", 2, "a")


@pytest.fixture
def ledger(postgres: Server) -> Ledger:
    dsn = postgres.dsn(f"transports{next(DATABASES)}")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return Ledger(f"{dsn} user=slussen")


def test_a_file_is_collected_once_and_a_repeat_is_told(tmp_path: Path, ledger: Ledger) -> None:
    store, inbox = PayloadStore(tmp_path / "payloads"), tmp_path / "inbox"
    inbox.mkdir()
    with Directory(inbox) as source:
        for run in ("one", "two"):
            (inbox / "a.txt").write_bytes(b"same")
            for entry in source.entries("*.txt"):
                collect("kir", entry, source, store, ledger, run)
        (inbox / "b.txt").write_bytes(b"same")
        twin = collect("kir", source.entries("*.txt")[0], source, store, ledger, "two")
    assert [m.name for m in collected_by(ledger, "kir", "one")] == ["a.txt"]
    assert list(collected_by(ledger, "kir", "two")) == []
    assert twin.repeat_of
    assert sorted(f.name for f in (inbox / "archive").iterdir()) == ["a.txt", "a.txt.2", "b.txt"]


def test_a_collection_cut_off_before_the_archive_is_finished_by_the_next_and_not_repeated(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PayloadStore(tmp_path / "payloads")
    (tmp_path / "a.txt").write_bytes(b"x")
    with Directory(tmp_path) as source:
        entry = source.entries("*.txt")[0]
        with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
            broken.setattr(source, "archive", lambda *seen: (_ for _ in ()).throw(KeyboardInterrupt))
            collect("kir", entry, source, store, ledger, "one")
        assert not collect("kir", entry, source, store, ledger, "one").repeat_of
    assert [m.name for m in collected_by(ledger, "kir", "one")] == ["a.txt"]
    assert (tmp_path / "archive" / "a.txt").exists()


STEPS = ["claim", "look", "upload", "verify", "uploaded", "rename", "delivered"]
# On z/OS, where last week's content is replaced: half the steps find it there, half find that it was taken.
CLEARING = ["set aside", "check what was set aside", "make marker", "place marker", "uploaded", "rename", "delivered"]
LAST_WEEK = b"last week's".ljust(80)


def attempt(place: Place, ledger: Ledger, store: PayloadStore, d: Delivery, at: str, number: signal.Signals) -> int:
    """Deliver in a process of its own that gets this signal before the step; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        with place.open() as to:
            steps = deliver(d, store, to, ledger)
            for step in steps:
                if step == at:
                    os.kill(os.getpid(), number)
    finally:
        os._exit(0)


def delivery(store: PayloadStore, place: Place, interchange: str = "f29-1", content: bytes = CONTENT) -> Delivery:
    with store.writer() as sink:
        sink.write(content)
    return Delivery(
        interchange=interchange, integration="f29", name=place.names[0], sha256=sink.sha256, bytes=sink.bytes
    )


def left(place: Place) -> list[str]:
    return sorted(f.name for f in place.folder.iterdir() if f.is_file())


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_next_attempt_delivers_once(
    place: Place, ledger: Ledger, store: PayloadStore, step: str
) -> None:
    d = delivery(store, place)
    pid = attempt(place, ledger, store, d, step, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    with place.open() as to:
        assert drive(deliver(d, store, to, ledger)).state == "delivered"
        assert drive(deliver(d, store, to, ledger)).state == "already"
    assert (place.folder / place.names[0]).read_bytes() == CONTENT
    assert left(place) == [place.names[0]]
    assert [e.kind for e in ledger.events("f29-1")].count("delivered") == 1
    assert ledger.verify().ok


@pytest.mark.parametrize("step", STEPS)
def test_a_stopped_attempt_that_wakes_after_another_finished_does_no_harm(
    place: Place, ledger: Ledger, store: PayloadStore, step: str
) -> None:
    d = delivery(store, place)
    pid = attempt(place, ledger, store, d, step, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    with place.open() as to:
        drive(deliver(d, store, to, ledger))
    (place.folder / place.names[0]).unlink()  # the receiver takes it
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    assert left(place) == [], "nothing a second time, nothing partial, no temporary file"
    assert [e.kind for e in ledger.events("f29-1")].count("delivered") == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("taken", [False, True], ids=["there", "taken"])
@pytest.mark.parametrize("step", CLEARING)
@pytest.mark.parametrize("place", ["mvs"], indirect=True)
def test_a_dataset_is_replaced_once_and_last_weeks_does_not_come_back(
    place: Place, ledger: Ledger, store: PayloadStore, step: str, taken: bool, number: signal.Signals
) -> None:
    week = [
        replace(delivery(store, place, f"f29-{n}", content), existing="replace_ours")
        for n, content in enumerate((LAST_WEEK, CONTENT))
    ]
    name = place.folder / place.names[0]
    with place.open() as to:
        drive(deliver(week[0], store, to, ledger))
        if taken:
            name.unlink()
        pid = attempt(place, ledger, store, week[1], step, number)
        os.waitpid(pid, os.WUNTRACED)
        outcome = drive(deliver(week[1], store, to, ledger))
        assert outcome.state in ("delivered", "already")
        assert name.read_bytes() == CONTENT
        if number == signal.SIGSTOP:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
        aside = to.aside(place.names[0], "f29-0")
    assert name.read_bytes() == CONTENT
    assert left(place) == sorted([place.names[0], aside])
    assert (place.folder / aside).read_bytes() == (b"" if taken else LAST_WEEK)


@pytest.mark.parametrize("round_", range(4))
def test_the_same_try_started_many_times_at_once_delivers_once(
    place: Place, ledger: Ledger, store: PayloadStore, round_: int
) -> None:
    """Processes that nobody holds back, and a receiver that takes what it sees."""
    d = delivery(store, place)
    name = place.folder / place.names[0]
    pids = [attempt(place, ledger, store, d, "", signal.SIGKILL) for _ in range(4)]
    received = []
    while pids:
        with suppress(FileNotFoundError):
            received.append(name.read_bytes())
            name.unlink()
        pids = [pid for pid in pids if os.waitpid(pid, os.WNOHANG) == (0, 0)]
    with place.open() as to:
        assert drive(deliver(d, store, to, ledger)).state in ("already", "delivered", "inferred")
    received += [name.read_bytes()] if name.exists() else []
    assert received == [CONTENT]
    assert [e.kind for e in ledger.events("f29-1")].count("delivered") == 1
    assert [f for f in left(place) if f != place.names[0]] == []
