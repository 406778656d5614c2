"""Faults in the middle: whose they are is written down, nothing is left half, and the next try goes on."""

from __future__ import annotations

import logging
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferralTimeout

from slussen.collection import collect
from slussen.delivery import Delivery, drive
from slussen.errors import (
    CallError,
    ContentError,
    Finding,
    NameTaken,
    SlussenError,
    TechnicalError,
    TransportError,
    TransportRefused,
)
from slussen.integration import Integration, directory, sql
from slussen.operators import base
from slussen.operators.base import PassingFaults, boundary
from slussen.payloads import PayloadStore
from slussen.sets import deliver_set
from slussen.transports.directory import Directory
from tests.model.world import Book

ROW = Integration(
    key="kir", title="", sender="", receiver="", source=directory("inbox", "*"), target=sql("bosko", ""),
    layout="navet_utfil", persons="none",
)  # fmt: skip


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Any:
    book = Book()
    monkeypatch.setattr(base, "ledger", lambda: book)
    return book


@pytest.mark.parametrize(
    ("error", "whose", "again"),
    [
        (TransportError("the server says 426"), "transport", True),
        (TransportRefused("the server refuses (550)"), "refused", False),
        (TechnicalError("the ledger can't be reached"), "technical", True),
        (CallError("no such layout"), "technical", False),
    ],
)
def test_a_fault_is_written_down_by_whose_it_is_and_tried_again_only_if_it_may_pass(
    book: Any, error: SlussenError, whose: str, again: bool
) -> None:
    with pytest.raises(type(error)) as raised, boundary(ROW, "kir-1", "deliver", logging.getLogger()):
        raise error
    (event,) = book.events("kir-1")
    assert event.kind == "failed"
    assert event.data == {"class": whose, "at": "deliver", "code": type(error).__name__, "reason": str(error)}
    assert (PassingFaults().evaluate(raised.value, 1, 3).action.name == "RETRY") == again


def test_a_librarys_words_are_in_no_ledger(book: Any) -> None:
    with pytest.raises(TechnicalError) as raised, boundary(ROW, "", "collect", logging.getLogger()):
        raise ValueError("198001019804")
    (event,) = book.events("watch/kir")
    assert "1980" not in str(event.data) + str(raised.value)
    assert event.data["class"] == "technical"


@pytest.mark.parametrize("error", [ContentError([Finding("too_long", "too long")]), NameTaken("taken")])
def test_what_is_quarantined_or_held_is_no_failure(book: Any, error: SlussenError) -> None:
    with pytest.raises(AirflowFailException), boundary(ROW, "kir-1", "render", logging.getLogger()):
        raise error
    assert [e.kind for e in book.events("kir-1")] == ["quarantined" if isinstance(error, ContentError) else "held"]


def test_a_triggerer_that_was_away_is_a_passing_fault() -> None:
    assert PassingFaults().evaluate(TaskDeferralTimeout("timeout"), 1, 3).action.name == "RETRY"


def small_disk(work: Callable[[], object]) -> int:
    """Do it in a process whose files can't grow over a kilobyte; 0 when it ended well, 3 and 4 for our own errors."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
        work()
        code = 0
    except TechnicalError:
        code = 3
    except TransportError:
        code = 4
    finally:
        os._exit(code)


def test_a_full_disk_of_ours_takes_nothing_and_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.txt").write_bytes(bytes(10_000))
    store, book = PayloadStore(tmp_path / "payloads"), Book()

    def work() -> None:
        with Directory(tmp_path / "inbox") as source:
            collect("kir", source.entries("*")[0], source, store, book, "one")  # type: ignore[arg-type]

    assert small_disk(work) == 3
    assert [f.name for f in (tmp_path / "inbox").iterdir()] == ["a.txt"]
    assert not [f for f in store.root.rglob("*") if f.is_file()]
    work()
    assert [e.kind for e in book.all] == ["collected", "archiving", "archived"]


def test_a_partners_full_disk_shows_nothing_of_a_set_and_the_next_try_shows_it_all(tmp_path: Path) -> None:
    (tmp_path / "partner").mkdir()
    store, book, parts = PayloadStore(tmp_path / "payloads"), Book(), []
    for n, size in enumerate((100, 10_000)):
        with store.writer() as sink:
            sink.write(b"%d" % n * size)
        parts.append(
            Delivery(interchange=f"lis-1-{n}", integration="lis", name=f"{n}.txt", sha256=sink.sha256, bytes=size)
        )

    def work() -> None:
        with Directory(tmp_path / "partner") as to:
            drive(deliver_set(parts, store, to, book))  # type: ignore[arg-type]

    assert small_disk(work) == 4
    left = [f.name for f in (tmp_path / "partner").iterdir()]
    assert all(n.startswith(".0.txt.") for n in left), "the second's stump is gone, nothing has its name"
    work()
    assert sorted(f.name for f in (tmp_path / "partner").iterdir() if not f.name.startswith(".")) == ["0.txt", "1.txt"]
