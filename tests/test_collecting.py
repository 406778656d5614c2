"""Collecting: one owner whatever overlaps, nothing taken half, nothing lost between a look and the next."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ebcdic  # noqa: F401 (the codecs)
import pytest

from sandbox.postgres import Server
from slussen import settings, watching
from slussen.catalogue import rows
from slussen.collection import Changed, Collected, claimed, collect, collected_by, collecting
from slussen.database import migrate
from slussen.delivery import drive
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.integration import Integration, Part, directory, mvs, sql, x400
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.sentences import story
from slussen.taking import Taking
from slussen.transports import Entry, Missing
from slussen.transports.directory import Directory
from tests.model.world import Book

CONTENT = "Ängsvik\n".encode("cp1252")
STEPS = 8  # the moves of one collection: to its first step, and after each of seven


@pytest.fixture(scope="module")
def dsn(postgres: Server) -> str:
    dsn = postgres.dsn("collecting")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return f"{dsn} user=slussen"


@pytest.fixture
def book() -> Any:
    return Book()


@pytest.fixture
def quick() -> Iterator[Path]:
    """A place in memory, where there is one: these tests wait for a disk hundreds of times."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as place:
        yield Path(place)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> PayloadStore:
    return PayloadStore(tmp_path_factory.mktemp("payloads"))


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def row(**more: Any) -> Integration:
    source = more.pop("source", directory("inbox", "*.txt", encoding="cp1252"))
    return Integration(
        key="kir", title="", sender="KIR", receiver="BoSko", source=source, target=sql("bosko", ""),
        layout=more.pop("layout", "navet_utfil"), persons="none", **more,
    )  # fmt: skip


class Inbox:
    """An inbox in which runs collect step by step."""

    def __init__(self, place: Path, store: PayloadStore, occasions: bool) -> None:
        self.place, self.store, self.occasions = place, store, occasions
        self.book: Any = Book()
        self.source = Directory(place)
        self.entry = self.source.entries("*")[0]

    def steps(self, run: str) -> Generator[str, None, Collected]:
        return collecting(
            "kir", self.entry, self.source, self.store, self.book, run, occasion=run if self.occasions else ""
        )

    def close(self) -> None:
        self.source.close()


@pytest.mark.parametrize("occasions", [False, True], ids=["repeats refused", "repeats fine"])
def test_two_runs_in_every_order_killed_anywhere_take_a_file_once(quick: Path, occasions: bool) -> None:
    store, schedules = PayloadStore(quick / "payloads"), 0
    for length in range(2 * STEPS + 1):
        for first in combinations(range(length), min(STEPS, length)):
            if length - len(first) > STEPS:
                continue
            place = quick / f"{schedules}"
            place.mkdir()
            (place / "a.txt").write_bytes(CONTENT)
            inbox = Inbox(place, store, occasions)
            runs = [inbox.steps("one"), inbox.steps("two")]
            for n in range(length):
                go(runs[n not in first])
            killed(runs)
            if (place / "a.txt").exists():  # the run is cleared, or the next one comes
                drive(inbox.steps("one"))
            inbox.close()
            collected = [e for e in inbox.book.all if e.kind == "collected"]
            assert len(collected) == 1, f"{first} of {length}"
            owner = collected[0].data["run"]
            assert [m.sha256 for m in collected_by(inbox.book, "kir", owner)] == [collected[0].data["sha256"]]
            assert not list(collected_by(inbox.book, "kir", {"one": "two", "two": "one"}[owner]))
            assert not [e for e in inbox.book.all if e.kind == "repeated"], "the same file is no repeat"
            assert [f.name for f in (place / "archive").iterdir()] == ["a.txt"]
            with store.open(collected[0].data["sha256"]) as payload:
                assert payload.read() == CONTENT
            schedules += 1
    assert schedules > 300


@pytest.mark.parametrize("at_work", [True, False], ids=["and may go on", "for long"])
@pytest.mark.parametrize("names", [("a.txt",), ("a.txt", "a.txt.klar")], ids=["one file", "and its marker"])
def test_whatever_takes_a_collected_ones_name_and_wherever_the_run_is_killed_nothing_stays_unread(
    quick: Path, names: tuple[str, ...], at_work: bool
) -> None:
    """A second file takes the name at any step, a third soon after it, and the run is killed at any step after that.

    Of a second and a third with one marker the second may lie unmarked in the inbox in the end: there it is seen.
    """
    row_, store, schedules = (MARKED if len(names) > 1 else row()), PayloadStore(quick / "payloads"), 0
    for second, third, killed_at in combinations_with_replacement(range(1, 4 + 5 * len(names)), 3):
        if third > second + 2:
            continue
        inbox = quick / f"{second}-{third}-{killed_at}"
        inbox.mkdir()

        def bring(content: bytes, inbox: Path = inbox) -> None:
            for name in names:
                (inbox / "new").write_bytes(content)
                (inbox / "new").rename(inbox / name)

        bring(b"first")
        book: Any = Book(datetime.now(UTC) if at_work else datetime(2026, 1, 12, tzinfo=UTC))
        with Directory(inbox) as source:
            seen = watching.look(source, row_.source, ["*.txt"])
            steps = collecting("kir", seen.files[0], source, store, book, "one", markers=seen.markers.get("a.txt", ()))
            with suppress(TransportError):  # it doesn't go on with another file than it has seen
                for n, _ in enumerate(steps, 1):
                    for at, content in ((second, b"second"), (third, b"the third")):
                        if n == at:
                            bring(content)
                    if n == killed_at:
                        break
            steps.close()
            for n in range(4):
                take(row_, source, store, book, run=f"later {n}")
            left = sorted(f.name for f in inbox.iterdir() if f.is_file())
            assert at_work or not book.unarchived("kir"), f"{second} {third} {killed_at}: not said to be archived"
        assert left in ([], ["a.txt"][: len(names) - 1]), f"{second} {third} {killed_at}: {left} left"
        read = {e.data["sha256"] for e in book.all if e.kind == "collected"}
        for file in (inbox / "archive").iterdir():
            known = sha256(file.read_bytes()).hexdigest() in read
            assert known or file.name.startswith("a.txt.klar"), f"{second} {third} {killed_at}: {file.name} unread"
        schedules += 1
    assert schedules > 50


def go(steps: Generator[str, None, Collected]) -> None:
    """One step further; a run that is done stays so."""
    with suppress(Missing):  # gone, since the other was faster
        next(steps, None)


def killed(runs: list[Generator[str, None, Collected]]) -> None:
    for steps in runs:
        steps.close()


def test_of_four_runs_at_once_exactly_one_owns_each_file(dsn: str, inbox: Path, store: PayloadStore) -> None:
    book, key = Ledger(dsn), "four"
    for n in range(8):
        (inbox / f"{n}.txt").write_bytes(b"%d" % n)
    together, failed = threading.Barrier(4), []

    def run(name: str) -> None:
        try:
            with Directory(inbox) as source:
                entries = source.entries("*.txt")
                together.wait()
                for entry in entries:
                    with suppress(Missing):  # gone, since another was faster
                        collect(key, entry, source, store, book, name)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(f"run {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    owned = [m.name for n in range(4) for m in collected_by(book, key, f"run {n}")]
    assert sorted(owned) == [f"{n}.txt" for n in range(8)]
    assert sorted(f.name for f in (inbox / "archive").iterdir()) == sorted(owned)
    assert not list(book.kind("repeated", integration=key))


def test_the_same_content_under_two_names_by_two_runs_at_once_is_sent_on_once(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    for name in "ab":
        (inbox / f"{name}.txt").write_bytes(CONTENT)
    with Directory(inbox) as source:
        a, b = source.entries("*.txt")
        rival: list[Collected] = []
        book.before = lambda: rival.append(collect("kir", b, source, store, book, "two"))
        mine = collect("kir", a, source, store, book, "one")
    assert not rival[0].repeat_of
    assert mine.repeat_of == rival[0].interchange
    assert [m.name for m in collected_by(book, "kir", "two")] == ["b.txt"]
    assert not list(collected_by(book, "kir", "one"))
    assert [e.kind for e in book.events(mine.interchange)][-1] == "superseded"


def test_where_repeats_are_fine_tomorrows_same_file_is_a_new_interchange_and_todays_copy_is_not(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    def day(run: str, *names: str) -> list[Collected]:
        for name in names:
            (inbox / name).write_bytes(CONTENT)
        with Directory(inbox) as source:
            return [collect("usk", e, source, store, book, run, occasion=run) for e in source.entries("*.txt")]

    (monday,) = day("monday", "a.txt")
    tuesday, copy = day("tuesday", "a.txt", "copy.txt")
    assert monday.interchange != tuesday.interchange
    assert not tuesday.repeat_of
    assert copy.repeat_of == tuesday.interchange
    for run in ("monday", "tuesday"):
        assert [m.name for m in collected_by(book, "usk", run, repeats=True)] == ["a.txt"]


def test_a_run_killed_between_archive_and_ledger_costs_tomorrow_nothing(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    (inbox / "a.txt").write_bytes(CONTENT)
    with Directory(inbox) as source:
        for step in collecting("usk", source.entries("*")[0], source, store, book, "monday", occasion="monday"):
            if step == "archived":
                break
        (inbox / "a.txt").write_bytes(CONTENT)
        tuesday = collect("usk", source.entries("*")[0], source, store, book, "tuesday", occasion="tuesday")
    assert not tuesday.repeat_of
    assert [m.interchange for m in collected_by(book, "usk", "tuesday", repeats=True)] == [tuesday.interchange]


def test_a_strangers_odd_name_is_found_again_by_what_the_ledger_says_of_it(
    dsn: str, inbox: Path, store: PayloadStore
) -> None:
    """A name that is no UTF-8, taken by another file right before the move; the run is killed right after it."""
    book, file = Ledger(dsn), inbox / os.fsdecode("å.txt".encode("cp1252"))
    file.write_bytes(b"first")
    with Directory(inbox) as source:
        for step in collecting("odd", source.entries("*")[0], source, store, book, "one"):
            if step == "archive":
                (inbox / "new").write_bytes(b"second")
                (inbox / "new").rename(file)
            if step == "look at what was moved":
                break
        assert not file.exists()
        for _ in range(2):
            take(replace(row(), key="odd"), source, store, book)
    assert not file.exists()
    assert sorted(e.data["bytes"] for e in book.kind("collected", integration="odd")) == [5, 6]
    assert sorted(f.read_bytes() for f in (inbox / "archive").iterdir()) == [b"second"], "the first was replaced there"


def moved_and_killed(
    inbox: Path, store: PayloadStore, book: Any, name: str, *, key: str = "kir", run: str = "one", occasion: str = "",
    markers: bool = False, step: str = "archived",
) -> None:  # fmt: skip
    """A run that is killed at this step."""
    with Directory(inbox) as source:
        [entry] = source.entries(name)
        marker = [m] if markers and (m := source.stat(f"{name}.klar")) else []
        for at in collecting(key, entry, source, store, book, run, occasion=occasion, markers=marker):
            if at == step:
                break


def test_siblings_on_one_folder_leave_each_others_archived_files_where_they_are(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    (inbox / "a.txt").write_bytes(b"one's")
    moved_and_killed(inbox, store, book, "a.txt", step="archive")
    (inbox / "a.txt").write_bytes(b"its sibling's")
    with Directory(inbox) as source:
        take(replace(row(), key="sibling"), source, store, book)
        taking = Taking(row(), source, store, book, "two", "", logging.getLogger())
    assert not taking.seen.files, "nothing was put back"


def test_a_repeat_that_is_killed_before_it_is_told_is_told_by_the_next_look(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    with Directory(inbox) as source:
        (inbox / "a.txt").write_bytes(CONTENT)
        take(row(), source, store, book)
        (inbox / "b.txt").write_bytes(CONTENT)
        moved_and_killed(inbox, store, book, "b.txt", run="two")
        take(row(), source, store, book)
    [repeated] = book.kind("repeated", integration="kir")
    assert (repeated.data["name"], repeated.data["place"]) == ("b.txt", "archive/b.txt")


def test_a_marker_left_by_a_killed_run_goes_whatever_its_name_is_written_in(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    name = os.fsdecode("AVLÄS.txt".encode("cp1252"))
    for file in (name, f"{name}.klar"):
        (inbox / file).write_bytes(CONTENT)
    moved_and_killed(inbox, store, book, name, markers=True, step="look at what was moved")
    with Directory(inbox) as source:
        take(MARKED, source, store, book)
    assert not [f for f in inbox.iterdir() if f.is_file()]


def test_a_file_whose_owner_takes_it_away_before_it_is_moved_is_not_said_to_be_archived(
    inbox: Path, store: PayloadStore
) -> None:
    book: Any = Book()  # long ago
    (inbox / "a.txt").write_bytes(CONTENT)
    moved_and_killed(inbox, store, book, "a.txt", step="archive")
    (inbox / "a.txt").unlink()
    with Directory(inbox) as source:
        for _ in range(2):
            take(row(), source, store, book)
    assert [e.kind for e in book.all] == ["collected", "archiving", "gone"]
    assert story(book.all, book.at.date())[-1].endswith("no longer at the source when it was to be archived there")


def test_a_marker_that_cannot_be_put_away_keeps_no_other_file(
    inbox: Path, store: PayloadStore, book: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.txt", "a.txt.klar"):
        (inbox / name).write_bytes(CONTENT)
    moved_and_killed(inbox, store, book, "a.txt", markers=True, step="look at what was moved")
    archive = Directory.archive
    for n, may in enumerate((False, False, True)):
        for name in (f"{n}.txt", f"{n}.txt.klar"):
            (inbox / name).write_bytes(b"%d" % n)

        def moves(self: Directory, seen: Entry, place: str, may: bool = may) -> str:
            if seen.name == "a.txt.klar" and not may:
                raise TransportRefused("archiving a.txt.klar: not permitted")
            return archive(self, seen, place)

        with Directory(inbox) as source, pytest.MonkeyPatch.context() as patch:
            patch.setattr(Directory, "archive", moves)
            assert take(MARKED, source, store, book, run=f"{n}").taken == {f"{n}.txt"}
        assert ("not permitted" in caplog.text, (inbox / "a.txt.klar").exists()) == (True, not may)
    assert not book.unarchived("kir")


def test_what_somebody_touches_in_the_archive_is_the_same_file_still(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    (inbox / "a.txt").write_bytes(CONTENT)
    moved_and_killed(inbox, store, book, "a.txt", occasion="one")
    os.utime(inbox / "archive" / "a.txt", (1, 1))
    with Directory(inbox) as source:
        taking = take(row(repeats="fine"), source, store, book, run="two")
    assert not taking.seen.files
    assert [e.data["place"] for e in book.kind("archived", integration="kir")] == ["archive/a.txt"]


def test_a_move_that_cannot_be_looked_at_keeps_no_other_file(
    inbox: Path, store: PayloadStore, book: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (inbox / "å.txt").write_bytes(CONTENT)
    moved_and_killed(inbox, store, book, "å.txt")
    (inbox / "b.txt").write_bytes(b"b")
    with Directory(inbox, encoding="ascii") as source:
        taking = take(row(), source, store, book, run="two")
    assert taking.taken == {"b.txt"}
    assert "archive/å.txt can't be looked at" in caplog.text


# --- claims


def report(kind: str) -> bytes:
    """CSN's report, two records of 150 by hand: the header says which kind."""
    header = f"10{'01800'}{'165560000000'}{kind}{'01'}P{'20260112090000'}{'000001'}".ljust(150)
    return (header + f"90{'0000002'}".ljust(150)).encode("cp278")


CSN = row(layout="csn_report", source=mvs("inbox", "*.txt"))


def test_siblings_take_each_their_own_by_the_header_and_leave_the_others(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    for kind in ("GYM", "VUX", "XXX"):
        (inbox / f"{kind}.txt").write_bytes(report(kind))
    (inbox / "short.txt").write_bytes(report("GYM")[:100])
    (inbox / "empty.txt").write_bytes(b"")
    for key, kind in (("csn_month", "GYM"), ("csn_komvux", "VUX")):
        row_ = replace(CSN, key=key, claims={"rapporttyp": (kind,)})
        with Directory(inbox) as source:
            taking = take(row_, source, store, book)
            assert [m.name for m in collected_by(book, key, "one")] == [f"{kind}.txt"]
            assert not taking.left(()), "what is somebody else's isn't waited for"
    assert sorted(f.name for f in inbox.iterdir() if f.is_file()) == ["XXX.txt", "empty.txt", "short.txt"]
    assert not list((store.root / "incoming").iterdir()), "what isn't ours isn't kept"
    assert len([f for f in store.root.rglob("*") if f.is_file()]) == 2


def test_of_siblings_one_takes_what_nobody_can_tell() -> None:
    """The rows as they are declared: a spoilt file must not lie where nobody looks at it."""
    known = {r.key: r.integration for r in rows()}
    spoilt = {
        "empty": b"", "ascii": report("GYM").decode("cp278").encode(), "headless": report("GYM")[150:],
        "shifted": report("GYM")[1:], "cut": report("GYM")[:100], "unknown": report("XXX"), "html": b"<html></html>",
    }  # fmt: skip
    takes = {key: claimed(known[key]) for key in ("csn_month", "csn_komvux")}
    for name, data in {**spoilt, "VUX": report("VUX")}.items():
        assert not takes["csn_month"](data), name  # type: ignore[misc]
        assert takes["csn_komvux"](data), name  # type: ignore[misc]
    assert takes["csn_month"](report("GYM"))  # type: ignore[misc]
    assert not takes["csn_komvux"](report("GYM"))  # type: ignore[misc]


def test_a_claim_on_a_field_that_there_is_none_of_is_said_at_once() -> None:
    with pytest.raises(CallError, match="rapport_typ"):
        claimed(replace(CSN, claims={"rapport_typ": ("GYM",)}))


# --- whole, or not yet


def take(
    integration: Integration, source: Directory, store: PayloadStore, book: Any, *, run: str = "one",
    known: Any = None, most: int = watching.MOST, had: Any = (),
) -> Taking:  # fmt: skip
    """Take what has stood still: all there is, unless told otherwise."""
    taking = Taking(integration, source, store, book, run, run, logging.getLogger("test"), had)
    taking.take([watching.fingerprint(e) for e in taking.seen.files] if known is None else known, most)
    return taking


MARKED = row(source=directory("inbox", "*.txt", encoding="cp1252", marker="{name}.klar"))


@pytest.mark.parametrize(
    ("names", "taken", "strays"),
    [
        (["a.txt"], [], 0),  # data without its marker
        (["a.txt.klar"], [], 1),  # the marker first
        (["a.txt", "a.txt.klar"], ["a.txt"], 0),
        (["a.txt", "a.txt.klar", "b.txt", "c.txt.klar"], ["a.txt"], 1),
        (["Ä.txt", "A\u0308.txt.klar"], ["Ä.txt"], 0),  # composed, and decomposed
        (["Ä.txt", "Ä.txt.klar", "A\u0308.txt.klar"], ["Ä.txt"], 0),  # two markers
    ],
)
def test_a_marker_says_that_its_file_is_whole_and_goes_with_it(
    inbox: Path, store: PayloadStore, book: Any, names: list[str], taken: list[str], strays: int
) -> None:
    for n, name in enumerate(names):
        (inbox / name).write_bytes(b"%d" % n)
    with Directory(inbox) as source:
        taking = take(MARKED, source, store, book)
    assert sorted(taking.taken) == taken
    assert len(taking.seen.strays) == strays
    gone = set(taken) | {n for n in names if n.endswith(".klar") and taken and "c.txt" not in n}
    assert {f.name for f in inbox.iterdir() if f.is_file()} == set(names) - gone
    assert {f.name for f in (inbox / "archive").iterdir()} == gone if taken else True


def test_a_marker_left_by_a_killed_run_goes_but_one_that_comes_before_tomorrows_file_stays(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    for name in ("a.txt", "a.txt.klar"):
        (inbox / name).write_bytes(CONTENT)
    with Directory(inbox) as source:
        seen = watching.look(source, MARKED.source, ["*.txt"])
        steps = collecting("kir", seen.files[0], source, store, book, "one", markers=seen.markers["a.txt"])
        for step in steps:
            if step == "look" and not (inbox / "a.txt").exists():
                break
        assert [f.name for f in inbox.iterdir() if f.is_file()] == ["a.txt.klar"]
        take(MARKED, source, store, book)
        assert not [f for f in inbox.iterdir() if f.is_file()]
        (inbox / "a.txt.klar").touch()  # tomorrow's, and its file is on its way
        take(MARKED, source, store, book, run="two")
        assert [f.name for f in inbox.iterdir() if f.is_file()] == ["a.txt.klar"]


SET = row(parts=(
    Part(key="persons", layout="", sql="", name="P-*.txt"),
    Part(key="groups", layout="", sql="", name="G-*.txt"),
))  # fmt: skip


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["P-1.txt"], ["no G-*.txt"]),
        (["P-1.txt", "G-1.txt"], []),
        (["P-1.txt", "P-0.txt", "G-1.txt"], ["2 files P-*.txt"]),  # something left of an earlier set
        (["G-1.txt", "X-1.txt"], ["no P-*.txt"]),
    ],
)
def test_a_set_is_taken_whole_or_not_at_all(
    inbox: Path, store: PayloadStore, book: Any, names: list[str], missing: list[str]
) -> None:
    for name in names:
        (inbox / name).write_bytes(name.encode())
    with Directory(inbox) as source:
        taking = take(SET, source, store, book)
    assert taking.missing == missing
    assert sorted(taking.taken) == ([] if missing else sorted(names))


@pytest.mark.parametrize("part", ["P-1.txt", "G-1.txt"])
@pytest.mark.parametrize("step", ["look", "note", "archive", "look at what was moved", "archived"])
def test_a_set_that_a_run_was_killed_in_is_that_runs_and_stands_in_no_others_way(
    inbox: Path, store: PayloadStore, book: Any, part: str, step: str
) -> None:
    def bring(n: int) -> None:
        for name in (f"P-{n}.txt", f"G-{n}.txt"):
            (inbox / name).write_bytes(name.encode())

    def again(run: str) -> list[str]:
        with Directory(inbox) as source:
            had = [m.name for m in collected_by(book, "kir", run)]
            take(SET, source, store, book, run=run, had=had)
        return sorted(m.name for m in collected_by(book, "kir", run))

    bring(1)
    moved_and_killed(inbox, store, book, part, run="one", step=step)
    assert again("one") == ["G-1.txt", "P-1.txt"]
    bring(2)
    assert again("two") == ["G-2.txt", "P-2.txt"]
    assert not [f for f in inbox.iterdir() if f.is_file()]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("killed", ["", "one", "two"])
def test_of_two_runs_one_gets_the_whole_set_whenever_the_other_comes_in_between(quick: Path, killed: str) -> None:
    """The second run comes in right before any of the first one's events is written; one of them may be killed."""

    def after(book: Any, n: int, act: Callable[[], None]) -> None:
        book.before = (lambda: after(book, n - 1, act)) if n else act

    store, written = PayloadStore(quick / "payloads"), 6
    for n, within in product(range(written), range(written) if killed == "two" else [0]):
        inbox, book = quick / f"{n}-{within}", Book()
        inbox.mkdir()
        for name in ("P-1.txt", "G-1.txt"):
            (inbox / name).write_bytes(name.encode())

        def run(name: str, inbox: Path = inbox, book: Any = book) -> list[str]:
            had = [m.name for m in collected_by(book, "kir", name)]
            with Directory(inbox) as source, suppress(Killed):
                take(SET, source, store, book, run=name, had=had)
            return sorted(m.name for m in collected_by(book, "kir", name))

        def kill() -> None:
            raise Killed

        def other(book: Any = book, within: int = within, run: Any = run) -> None:
            if killed == "two":
                after(book, within, kill)
            run("two")
            book.before = None
            if killed == "one":
                raise Killed

        after(book, n, other)
        run("one")
        book.before = None
        ended = [[*map(run, ("one", "two"))] for _ in range(2)][-1]
        assert sorted(ended) == [[], ["G-1.txt", "P-1.txt"]], f"{n}, {within}: {ended}"
        assert sorted(f.name for f in (inbox / "archive").iterdir()) == ["G-1.txt", "P-1.txt"]


def test_a_run_killed_within_a_set_goes_on_with_the_rest(inbox: Path, store: PayloadStore, book: Any) -> None:
    for name in ("P-1.txt", "G-1.txt"):
        (inbox / name).write_bytes(name.encode())
    with Directory(inbox) as source:
        entry = source.entries("P-*")[0]
        collect("kir", entry, source, store, book, "one")  # and no further
        assert not take(SET, source, store, book, run="two").taken, "another run's half is none of this one's"
        assert take(SET, source, store, book, had=["P-1.txt"]).taken == {"G-1.txt"}


def test_a_file_is_whole_when_it_has_stood_still_for_a_quiet_time_by_our_own_clock(inbox: Path) -> None:
    file = inbox / "a.txt"
    file.write_bytes(b"1")
    os.utime(file, (0, 0))  # whatever the writer says
    endpoint = row().source
    with Directory(inbox) as source:
        watcher = watching.Watching(endpoint, quiet=30)
        for now, content, whole in [(0, b"1", 0), (29, b"1", 0), (31, b"12", 0), (60, b"12", 0), (61, b"12", 1)]:
            if content != file.read_bytes():
                file.write_bytes(content)
                os.utime(file, (0, 0))
            assert len(watcher.observe(watching.look(source, endpoint, ["*.txt"]), now)) == whole, now


def test_a_message_is_whole_when_it_is_there() -> None:
    message, endpoint = Entry("1.txt", 5, "uid 1"), x400("mailbox", "*.txt")
    seen = watching.Look((message,))
    assert watching.whole(seen, endpoint, ()) == [message]
    assert watching.Watching(endpoint, quiet=30).observe(seen, 0) == [watching.fingerprint(message)]


def test_it_knows_no_airflow() -> None:
    script = (
        "import sys, slussen.taking, slussen.sets, slussen.zips, slussen.records.zipped\n"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] == 'airflow'))"
    )
    seen = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert seen.stdout.splitlines()[-1] == "[]"


# --- bad input


def test_what_is_no_file_is_told_and_not_read(inbox: Path, store: PayloadStore, book: Any) -> None:
    secret = inbox.parent / "secret.txt"
    secret.write_bytes(b"secret")
    (inbox / "link.txt").symlink_to(secret)
    (inbox / "up.txt").symlink_to("..")
    os.mkfifo(inbox / "pipe.txt")
    (inbox / "folder.txt").mkdir()
    with Directory(inbox) as source:
        taking = take(row(), source, store, book)
    names = [e.name for e in taking.seen.files]
    assert names == [f"{n}.txt, which is no regular file/" for n in ("link", "pipe", "up")]
    assert taking.taken == set()
    assert secret.read_bytes() == b"secret"


def test_an_empty_file_is_collected_and_one_of_another_name_is_no_repeat_of_it(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    for name in ("a.txt", "b.txt"):
        (inbox / name).touch()
    with Directory(inbox) as source:
        take(row(), source, store, book)
    assert [(m.name, m.bytes) for m in collected_by(book, "kir", "one")] == [("a.txt", 0), ("b.txt", 0)]


def test_a_name_that_cannot_be_used_is_told_and_the_others_go_on(
    inbox: Path, store: PayloadStore, book: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in (b"a.txt", b"b\n.txt", b"c\\.txt", b"\xe4.txt"):
        (inbox / os.fsdecode(name)).write_bytes(name)
    with Directory(inbox) as source:
        taking = take(row(), source, store, book)
        assert len(taking.taken) == 2
        assert [type(e) for e in taking.refused] == [TransportRefused] * 2
        assert not taking.left(()), "they aren't waited for"
    assert len(list(inbox.glob("*.txt"))) == 2
    assert "\\udce4.txt" in caplog.text, "as it may be written to any log"
    assert caplog.text.encode()


@pytest.mark.parametrize("how", ["grown", "replaced", "gone"])
def test_a_file_that_changes_after_the_look_stays_and_the_others_are_taken(
    inbox: Path, store: PayloadStore, book: Any, how: str
) -> None:
    for name in ("a.txt", "b.txt"):
        (inbox / name).write_bytes(name.encode())
    with Directory(inbox) as source:
        taking = Taking(row(), source, store, book, "one", "one", logging.getLogger())
        known = [watching.fingerprint(e) for e in taking.seen.files]
        if how == "grown":
            (inbox / "a.txt").write_bytes(b"longer than before")
        elif how == "gone":
            (inbox / "a.txt").unlink()
        else:  # by one of the same length: caught when it is moved away
            (inbox / "new").write_bytes(b"A.TXT")
            (inbox / "new").rename(inbox / "a.txt")
        taking.take(known, 10)
    assert taking.taken == {"b.txt"}
    assert (inbox / "a.txt").exists() == (how != "gone")
    if how != "gone":
        with Directory(inbox) as source:
            take(row(), source, store, book, run="two")
        assert not (inbox / "a.txt").exists()


def test_a_hundred_thousand_files_are_looked_at_in_seconds_and_taken_a_thousand_a_run(
    inbox: Path, store: PayloadStore, book: Any
) -> None:
    folder = os.open(inbox, os.O_RDONLY)
    for n in range(100_000):
        os.close(os.open(f"{n:06}.txt", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    began = time.monotonic()
    with Directory(inbox) as source:
        seen = watching.look(source, row().source, ["*.txt"])
        watcher = watching.Watching(row().source, quiet=0)
        found = watching.ready(seen, watcher.observe(seen, 0), frozenset(), ["*.txt"])
    assert len(seen.files) == 100_000
    assert len(found) == watching.MOST
    assert time.monotonic() - began < 20
    with Directory(inbox) as source:
        assert len(take(row(), source, store, book, known=found[:50], most=20).taken) == 20


@pytest.fixture
def slow() -> Callable[[], float]:
    began = time.monotonic()
    return lambda: time.monotonic() - began


@pytest.mark.parametrize("pattern", ["*a" * 60 + "b", "[a-" * 40, "?" * 250 + "*b", "*" * 200 + "b", "(a+)+$*"])
def test_a_pattern_made_to_take_for_ever_does_not(inbox: Path, slow: Callable[[], float], pattern: str) -> None:
    (inbox / ("a" * 250)).touch()
    with Directory(inbox) as source:
        assert source.entries(pattern) == []
    assert slow() < 2


@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "archive/*", "..", "*/*", "..\\*", "./*.txt"])
def test_a_pattern_leads_nowhere_else(inbox: Path, pattern: str) -> None:
    (inbox.parent / "secret.txt").touch()
    (inbox / "archive").mkdir()
    for name in ("a.txt", "archive/b.txt"):
        (inbox / name).touch()
    with Directory(inbox) as source:
        assert source.entries(pattern) == []


def test_changed_says_what_was_listed_and_what_came(inbox: Path, store: PayloadStore, book: Any) -> None:
    (inbox / "a.txt").write_bytes(b"12")
    with Directory(inbox) as source:
        entry = source.entries("*")[0]
        with pytest.raises(Changed, match="3 bytes listed, 2 fetched"):
            collect("kir", replace(entry, size=3), source, store, book, "one")
