"""One suite over three transports, each against a real server; and deliveries in real processes that are killed."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest

from sandbox import ftp_server, processes
from sandbox.postgres import Server
from slussen import settings
from slussen.collection import collect, collected_by
from slussen.database import migrate
from slussen.delivery import Delivery, Outcome, deliver, drive
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.transports import Exists, Missing, Transport, directory
from slussen.transports.directory import Directory
from slussen.transports.ftp import Ftp
from slussen.transports.mvs import Mvs, quoted

CONTENT = "Åkes räkning".encode("latin-1").ljust(160)
DATABASES = count(1)


@pytest.fixture(scope="module")
def hanna(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, int]]:
    """HANNA's two FTP faces in a process of their own: (folder, port of files, port of datasets)."""
    root = tmp_path_factory.mktemp("hanna")
    ports = root / "ports"
    process = processes.start(
        [sys.executable, "-m", "sandbox.ftp_server", "--root", str(root), "--ports", str(ports)], log=root / "log"
    )
    processes.wait_until(ports.exists, seconds=20, what="the sandbox's FTP server")
    files, datasets = map(int, ports.read_text().split())
    yield root, files, datasets
    processes.stop([process])


@dataclass
class Place:
    """An endpoint to test: how to open it, where its bytes are, and names that it takes."""

    open: Callable[[], Transport]
    folder: Path
    names: tuple[str, str]


@pytest.fixture(params=["directory", "ftp", "mvs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, hanna: tuple[Path, int, int]) -> Place:
    root, files, datasets = hanna
    login: dict[str, Any] = {"host": "127.0.0.1", "user": ftp_server.USER, "password": ftp_server.PASSWORD}
    if request.param == "directory":
        return Place(lambda: Directory(tmp_path), tmp_path, ("FD-F29-å.txt", "B.txt"))
    folder = root / ("files" if request.param == "ftp" else "datasets")
    for file in [f for f in folder.rglob("*") if f.is_file()]:
        file.unlink()
    if request.param == "ftp":
        return Place(lambda: Ftp(**login, port=files), folder, ("FD-F29-å.txt", "B.txt"))
    return Place(lambda: Mvs(**login, port=datasets, record_length=80), folder, ("ADS.N99.KIR.TEMP", "ADS.N99.B"))


def put(place: Place, name: str, content: bytes = CONTENT) -> None:
    (place.folder / name).write_bytes(content)


def test_what_is_put_stands_there_whole(place: Place) -> None:
    name = place.names[0]
    with place.open() as to:
        temporary = to.temporary(name, "f29-1", 1)
        to.put(temporary, io.BytesIO(CONTENT), len(CONTENT))
        assert to.verify(temporary, len(CONTENT), sha256(CONTENT).hexdigest())
        assert to.exists(temporary)
        assert not to.exists(name)
        to.rename(temporary, name, replace=False)
        assert to.digest(name) == sha256(CONTENT).hexdigest()
    assert (place.folder / name).read_bytes() == CONTENT


def test_half_a_file_does_not_pass_for_a_whole_one(place: Place) -> None:
    with place.open() as to:
        temporary = to.temporary(place.names[0], "f29-1", 1)
        to.put(temporary, io.BytesIO(CONTENT[:80]), 80)
        assert not to.verify(temporary, len(CONTENT), sha256(CONTENT).hexdigest())


def test_a_stump_of_the_same_attempt_is_written_over(place: Place) -> None:
    with place.open() as to:
        temporary = to.temporary(place.names[0], "f29-1", 1)
        to.put(temporary, io.BytesIO(CONTENT * 2), 320)
        to.put(temporary, io.BytesIO(CONTENT), len(CONTENT))
        assert to.digest(temporary) == sha256(CONTENT).hexdigest()


def test_a_rename_of_nothing_says_missing(place: Place) -> None:
    with place.open() as to, pytest.raises(Missing):
        to.rename(to.temporary(place.names[0], "f29-1", 1), place.names[0], replace=False)


def test_a_rename_never_replaces_unasked(place: Place) -> None:
    first, second = place.names
    put(place, first)
    put(place, second, CONTENT * 2)
    with place.open() as to, pytest.raises(Exists):
        to.rename(first, second, replace=False)
    assert (place.folder / second).read_bytes() == CONTENT * 2


def test_a_rename_that_may_replace_does_where_the_server_can(place: Place) -> None:
    first, second = place.names
    put(place, first)
    put(place, second, CONTENT * 2)
    with place.open() as to:
        if not to.replaces:
            return
        to.rename(first, second, replace=True)
    assert (place.folder / second).read_bytes() == CONTENT


def test_removing_what_is_not_there_is_no_fault(place: Place) -> None:
    put(place, place.names[0])
    with place.open() as to:
        to.remove(place.names[0])
        to.remove(place.names[0])
        assert not to.exists(place.names[0])


def test_reading_what_is_not_there_says_missing(place: Place) -> None:
    with place.open() as to:
        with pytest.raises(Missing):
            to.digest(place.names[1])
        with pytest.raises(TransportError):
            to.fetch(place.names[1], io.BytesIO())


def test_every_attempt_has_a_temporary_name_of_its_own(place: Place) -> None:
    with place.open() as to:
        names = {to.temporary(place.names[0], i, n) for i in ("f29-1", "f29-2") for n in (1, 2, 11)}
    assert len(names) == 6
    assert place.names[0] not in names


def test_a_collected_file_is_archived_over_nothing_that_is_there(place: Place) -> None:
    name = place.names[0]
    archived = []
    with place.open() as at:
        for n in range(3):
            put(place, name, CONTENT * (n + 1))
            [entry] = at.entries(name)
            assert (entry.name, entry.size) == (name, 160 * (n + 1))
            assert at.stat(name) == entry
            sink = io.BytesIO()
            at.fetch(name, sink)
            assert sink.getvalue() == CONTENT * (n + 1)
            archived.append(at.archive(name, entry))
            assert at.stat(name) is None
            assert at.entries(name) == []
    assert len(set(archived)) == 3
    assert [(place.folder / a).stat().st_size for a in archived] == [160, 320, 480]


def test_a_file_that_took_the_name_since_it_was_collected_is_not_archived(place: Place) -> None:
    """It would be in the archive, and nobody would ever have read it."""
    name = place.names[0]
    put(place, name)
    with place.open() as at:
        [seen] = at.entries(name)
        put(place, name, CONTENT * 2)
        with pytest.raises(TransportError, match="has taken the name since"):
            at.archive(name, seen)
        assert [e.size for e in at.entries(name)] == [320]


def test_the_list_knows_wildcards(place: Place) -> None:
    for name in place.names:
        put(place, name)
    first = place.names[0]
    with place.open() as at:
        assert [e.name for e in at.entries(first[:-4] + "*")] == [first]
        assert [e.name for e in at.entries(first[:-1] + "?")] == [first]
        assert at.entries("NOTHING.LIKE*") == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\nb", "a\0b", "a\\b"])
def test_no_name_leads_anywhere_else(place: Place, name: str) -> None:
    with place.open() as to, pytest.raises(CallError):
        to.exists(name)


@pytest.mark.parametrize("name", ["ads.n99", "ADS.TOOLONGNAME", "ADS..X", "A" * 45, "9ADS", "ADS.N99'"])
def test_what_is_no_dataset_name_is_refused(name: str) -> None:
    with pytest.raises(CallError, match="no dataset name"):
        quoted(name)


def test_a_dataset_of_broken_records_is_not_sent(hanna: tuple[Path, int, int]) -> None:
    with Mvs("127.0.0.1", hanna[2], ftp_server.USER, ftp_server.PASSWORD, record_length=704) as to:
        with pytest.raises(CallError, match="no whole records of 704"):
            to.put("ADS.N99.X", io.BytesIO(b"x" * 705), 705)
        assert not to.exists("ADS.N99.X")


@pytest.mark.parametrize("kind", ["directory", "ftp"])
def test_a_directory_lists_whole_names_and_nothing_hidden(
    kind: str, tmp_path: Path, hanna: tuple[Path, int, int]
) -> None:
    folder = tmp_path if kind == "directory" else hanna[0] / "files"
    for name in ("SKV-INFIL1.TXT", "SKV-INFIL2.TXT", ".SKV-INFIL3.TXT", "skv-infil4.txt", "OTHER.TXT"):
        (folder / name).write_bytes(b"x" * 5)
    (folder / "SKV-INFIL.TXT.d").mkdir(exist_ok=True)
    with (
        Directory(folder)
        if kind == "directory"
        else Ftp("127.0.0.1", hanna[1], ftp_server.USER, ftp_server.PASSWORD) as at
    ):
        assert [(e.name, e.size) for e in at.entries("SKV-INFIL*")] == [("SKV-INFIL1.TXT", 5), ("SKV-INFIL2.TXT", 5)]
        sink = io.BytesIO()
        at.fetch("SKV-INFIL1.TXT", sink)
        assert sink.getvalue() == b"xxxxx"
        assert at.archive("SKV-INFIL1.TXT") == "archive/SKV-INFIL1.TXT"
        (folder / "SKV-INFIL1.TXT").write_bytes(b"y")
        assert at.archive("SKV-INFIL1.TXT") == "archive/SKV-INFIL1.TXT.2"
    assert (folder / "archive" / "SKV-INFIL1.TXT").read_bytes() == b"xxxxx"


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp850"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("kind", ["directory", "ftp"])
def test_a_swedish_name_matches_however_it_is_written(
    kind: str, encoding: str, form: Literal["NFC", "NFD"], tmp_path: Path, hanna: tuple[Path, int, int]
) -> None:
    if form == "NFD" and encoding != "utf-8":
        return  # these have no combining marks
    folder = tmp_path if kind == "directory" else hanna[0] / "files"
    file = folder / os.fsdecode(unicodedata.normalize(form, "PLACERÅDE.txt").encode(encoding))
    file.write_bytes(b"x")
    login = ("127.0.0.1", hanna[1], ftp_server.USER, ftp_server.PASSWORD)
    try:
        with Directory(folder) if kind == "directory" else Ftp(*login) as at:
            [entry] = at.entries("PLACERÅ*.txt")
            at.fetch(entry.name, sink := io.BytesIO())
            assert sink.getvalue() == b"x"
            at.archive(entry.name, entry)
        assert not file.exists()
    finally:
        shutil.rmtree(folder / "archive", ignore_errors=True)


def test_a_name_that_cannot_be_used_comes_last_and_is_refused(tmp_path: Path) -> None:
    for name in ("a\nb.txt", "c.txt", "\x1b[31m.txt"):
        (tmp_path / name).write_bytes(b"x")
    with Directory(tmp_path) as at:
        entries = at.entries("*.txt")
        assert entries[0].name == "c.txt"
        assert len(entries) == 3
        for entry in entries[1:]:
            with pytest.raises(TransportRefused, match="no plain file name"):
                at.fetch(entry.name, io.BytesIO())


def test_a_file_that_grows_is_not_chased(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)

    class Growing(io.BytesIO):
        def write(self, data: Any) -> int:
            with (tmp_path / "a").open("ab") as file:
                file.write(b"x" * len(data))
            return super().write(data)

    with Directory(tmp_path) as at, pytest.raises(TransportError, match="still being written"):
        at.fetch("a", sink := Growing())
    assert len(sink.getvalue()) <= 30


@pytest.mark.parametrize("trap", ["pipe", "link", "hard link"])
def test_what_lies_under_the_temporary_name_is_not_written_into(tmp_path: Path, trap: str) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "precious").write_bytes(b"x")
    with Directory(inbox) as to:
        name = to.temporary("a.txt", "f29-1", 1)
        match trap:
            case "pipe":
                os.mkfifo(inbox / name)
            case "link":
                (inbox / name).symlink_to(tmp_path / "precious")
            case "hard link":
                os.link(tmp_path / "precious", inbox / name)
        to.put(name, io.BytesIO(CONTENT), len(CONTENT))
        assert to.digest(name) == sha256(CONTENT).hexdigest()
    assert (tmp_path / "precious").read_bytes() == b"x"


def test_where_the_system_cannot_refuse_a_taken_name_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_rename_new", lambda *arguments: False)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    with Directory(tmp_path) as at:
        with pytest.raises(Exists):
            at.rename("a", "b", replace=False)
        with pytest.raises(Missing):
            at.rename("x", "b", replace=False)
        at.rename("a", "c", replace=False)
        assert at.archive("c") == "archive/c"
        (tmp_path / "c").write_bytes(b"again")
        assert at.archive("c") == "archive/c.2"
    assert {f.name: f.read_bytes() for f in (tmp_path / "archive").iterdir()} == {"c": b"a", "c.2": b"again"}


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


def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.txt").symlink_to(secret)
    os.mkfifo(inbox / "b.txt")
    with Directory(inbox) as at:
        assert at.entries("*.txt") == []
        with pytest.raises(TransportRefused):
            at.fetch("a.txt", io.BytesIO())
        with pytest.raises(TransportRefused):
            at.fetch("b.txt", io.BytesIO())


def test_a_server_that_is_not_there_is_a_passing_fault_and_a_wrong_password_is_not(
    hanna: tuple[Path, int, int],
) -> None:
    with pytest.raises(TransportError):
        Ftp("127.0.0.1", 1, "x", "y")
    with pytest.raises(TransportRefused):
        Ftp("127.0.0.1", hanna[1], ftp_server.USER, "wrong")


# --- with the real ledger


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


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> PayloadStore:
    return PayloadStore(tmp_path_factory.mktemp("payloads"))


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


def test_a_server_that_goes_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slussen.transports import ftp

    monkeypatch.setattr(ftp, "TIMEOUT", 1)
    mute = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import socket, time; s = socket.create_server(('127.0.0.1', 0));"
            "print(s.getsockname()[1], flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert mute.stdout is not None
    port = int(mute.stdout.readline())
    began = time.monotonic()
    with pytest.raises(TransportError):
        Ftp("127.0.0.1", port, "x", "y")
    assert time.monotonic() - began < 10
    mute.kill()
