"""Waiting for files: the trigger that watches, and the task that it wakes, at real sources."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.triggers.base import TriggerEvent

from sandbox import ftp_server
from sandbox.postgres import Server
from slussen import settings, triggers
from slussen.database import migrate
from slussen.errors import TransportError, TransportRefused
from slussen.integration import Endpoint, Integration, Times, directory, ftp, sql
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.operators import CollectOperator, DeliverOperator, ExtractOperator
from slussen.operators.base import PassingFaults, Run
from slussen.operators.deliver import in_time
from slussen.timetables import STOCKHOLM, At, Every, Schedule
from slussen.triggers import FilesTrigger

QUIET = 0.4
SOURCE = directory("waiting_inbox", "*.txt", encoding="cp1252")


@pytest.fixture(autouse=True)
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inbox that the connection ``waiting_inbox`` leads to."""
    (tmp_path / "inbox").mkdir()
    connect(
        monkeypatch, "waiting_inbox", conn_type="fs", extra={"folder": str(tmp_path / "inbox"), "quiet_seconds": QUIET}
    )
    monkeypatch.setattr(triggers, "SHORTEST", 0.1)
    monkeypatch.setattr(triggers, "REST", 0.0)
    monkeypatch.setattr(triggers, "SETTLED", 0.0)
    monkeypatch.setattr("slussen.operators.collect.NAP", 0.0)  # whatever waits is deferred
    triggers.lookout.cache_clear()
    return tmp_path / "inbox"


def connect(monkeypatch: pytest.MonkeyPatch, name: str, **connection: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def trigger(endpoint: Endpoint = SOURCE, *, seconds: float = 20, **more: Any) -> FilesTrigger:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    made = FilesTrigger.of(endpoint, more.pop("patterns", (endpoint.name,)), until, QUIET, more.pop("ignored", ()))
    path, kwargs = made.serialize()
    assert path == "slussen.triggers.FilesTrigger"
    return FilesTrigger(**json.loads(json.dumps(kwargs)))  # as Airflow keeps it


async def fired(*waiting: FilesTrigger) -> list[dict[str, Any]]:
    async def one(t: FilesTrigger) -> dict[str, Any]:
        events: list[TriggerEvent] = [e async for e in t.run()]
        assert len(events) == 1
        payload: dict[str, Any] = json.loads(json.dumps(events[0].payload))
        return payload

    return await asyncio.gather(*map(one, waiting))


def run(*waiting: FilesTrigger) -> list[dict[str, Any]]:
    return asyncio.run(fired(*waiting))


def later(seconds: float, act: Callable[[], object]) -> None:
    threading.Timer(seconds, act).start()


def test_it_fires_when_a_file_has_stood_still_and_not_before(connections: Path) -> None:
    file = connections / "a.txt"
    for n in range(6):  # written bit by bit, in less than a quiet time each
        later(0.2 * n, lambda n=n: file.write_bytes(b"x" * (n + 1)))  # type: ignore[misc]
    began = time.monotonic()
    (event,) = run(trigger())
    assert time.monotonic() - began >= 0.2 * 5 + QUIET
    assert (len(event["ready"]), event["closed"]) == (1, False)


def test_it_says_when_it_is_too_late(connections: Path) -> None:
    (connections / "other.csv").touch()
    assert run(trigger(seconds=0.5)) == [{"ready": [], "closed": True, "trouble": ""}]


def test_what_is_somebody_elses_does_not_wake_it(connections: Path) -> None:
    (connections / "a.txt").touch()
    (event,) = run(trigger())
    assert run(trigger(seconds=1, ignored=event["ready"]))[0]["closed"]


def test_with_a_marker_it_waits_for_that_and_for_nothing_else(connections: Path) -> None:
    (connections / "a.txt").touch()
    marked = replace(SOURCE, marker="{name}.klar")
    later(1, (connections / "a.txt.klar").touch)
    began = time.monotonic()
    (event,) = run(trigger(marked))
    assert 1 <= time.monotonic() - began < 5
    assert len(event["ready"]) == 1


def test_a_set_wakes_it_when_it_is_complete(connections: Path) -> None:
    (connections / "P-1.txt").touch()
    later(1, (connections / "G-1.txt").touch)
    (event,) = run(trigger(patterns=("P-*.txt", "G-*.txt")))
    assert len(event["ready"]) == 2


def test_a_source_that_refuses_wakes_the_task_at_once_so_that_it_says_so(
    connections: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "waiting_inbox", conn_type="fs", extra={"folder": str(connections / "none")})
    (event,) = run(trigger())
    assert "no such directory" in event["trouble"]


def test_a_connection_that_is_not_declared_is_trouble_without_a_librarys_words() -> None:
    (event,) = (
        run(trigger(directory("waiting_nowhere", "*")))[:1]
        if False
        else run(trigger(directory("waiting_nowhere", "*"), seconds=0.5))
    )
    assert event["trouble"].startswith("waiting_nowhere: looking: ")
    assert event["closed"]


@dataclass
class Hanna:
    """An FTP server of HANNA's kind in a thread, that counts who logs in and who lists."""

    folder: Path
    port: int = 0
    logins: int = 0
    listings: list[str] = field(default_factory=list)
    server: Any = None

    def start(self) -> None:
        hanna = self

        class Counting(ftp_server.Files):
            def on_login(self, username: str) -> None:
                hanna.logins += 1

            def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
                if cmd in ("LIST", "MLSD", "NLST"):
                    hanna.listings.append(cmd)
                super().pre_process_command(line, cmd, arg)

        self.server = ftp_server.server(Counting, self.folder, self.port)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"timeout": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.server.close_all()


@pytest.fixture
def hanna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanna]:
    (tmp_path / "files").mkdir()
    hanna = Hanna(tmp_path / "files")
    hanna.start()
    connect(monkeypatch, "waiting_ftp", conn_type="ftp", host="127.0.0.1", port=hanna.port, login=ftp_server.USER,
            password=ftp_server.PASSWORD, extra={"quiet_seconds": QUIET})  # fmt: skip
    yield hanna
    with suppress(Exception):
        hanna.stop()


FTP = ftp("waiting_ftp", "*.TXT", encoding="cp437")


def test_thirty_integrations_at_one_partner_are_one_connection_and_share_their_looks(hanna: Hanna) -> None:
    for n in range(3):
        (hanna.folder / f"{n}.TXT").write_bytes(b"x")
    alike = [trigger(FTP) for _ in range(20)]
    others = [trigger(replace(FTP, name=f"{n % 3}.TXT")) for n in range(10)]
    events = run(*alike, *others)
    assert [len(e["ready"]) for e in events] == [3] * 20 + [1] * 10
    assert hanna.logins == 1
    assert len(hanna.listings) < 80, "thirty that look for themselves need twice that"


def test_a_partner_that_is_away_is_looked_for_again_and_found(hanna: Hanna) -> None:
    hanna.stop()
    (hanna.folder / "A.TXT").write_bytes(b"x")
    later(1.5, hanna.start)
    (event,) = run(trigger(FTP))
    assert len(event["ready"]) == 1


def test_a_partner_that_stays_away_is_reported_when_it_is_too_late(hanna: Hanna) -> None:
    hanna.stop()
    (event,) = run(trigger(FTP, seconds=1.5))
    assert event["closed"]
    assert event["trouble"]


def test_a_slow_partner_does_not_keep_the_others_waiting(connections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        connect(monkeypatch, "waiting_ftp", conn_type="ftp", host="127.0.0.1", port=mute.getsockname()[1], login="x")
        (connections / "a.txt").touch()

        async def both() -> dict[str, Any]:
            slow = asyncio.create_task(fired(trigger(FTP, seconds=60)))
            (event,) = await fired(trigger())
            assert not slow.done()
            slow.cancel()
            return event

        monkeypatch.setattr("slussen.transports.ftp.TIMEOUT", 3)
        began = time.monotonic()
        assert asyncio.run(both())["ready"]
        assert time.monotonic() - began < 20


# --- the task


@dataclass
class Task:
    """A run of a collecting task, driven as Airflow drives it: deferred, woken by its trigger, until it ends."""

    integration: Integration
    book: Ledger
    seconds: float = 0.0  # how long its window is open; none: it has none
    schedule: Schedule | None = None
    moment: datetime | None = None  # when its interval begins, if not now
    run_id: str = "one"
    wakes: int = 0

    def __post_init__(self) -> None:
        now = self.moment or datetime.now(UTC)
        self.operator = CollectOperator(task_id="collect", integration=self.integration)
        self.context: Any = {
            "run_id": self.run_id, "data_interval_start": now,
            "data_interval_end": now + timedelta(seconds=self.seconds),
            "ti": SimpleNamespace(try_number=1, max_tries=3),
            "dag": SimpleNamespace(schedule=self.schedule, catchup=False),
            "dag_run": SimpleNamespace(run_type="scheduled", clear_number=0),
        }  # fmt: skip

    def play(self, before: Callable[[], object] = lambda: None) -> list[dict[str, Any]]:
        """``before`` happens between the trigger's event and the task's own look."""
        step: Callable[[], list[dict[str, Any]]] = lambda: self.operator.execute(self.context)  # noqa: E731
        while True:
            try:
                return step()
            except TaskDeferred as deferred:
                self.wakes += 1
                made: Any = deferred.trigger
                _, kwargs = made.serialize()
                (event,) = run(FilesTrigger(**json.loads(json.dumps(kwargs))))
                before()
                more = json.loads(json.dumps(deferred.kwargs))
                step = lambda more=more, event=event: self.operator.look(self.context, event=event, **more)  # type: ignore[misc]  # noqa: E731

    def said(self) -> list[tuple[str, str]]:
        stamp = self.context["data_interval_start"].strftime("%Y%m%dT%H%M%SZ")
        return [(e.kind, e.data["reason"]) for e in self.book.events(f"{self.integration.key}-{stamp}")]


@pytest.fixture(scope="module")
def dsn(postgres: Server) -> str:
    dsn = postgres.dsn("waiting")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return dsn


@pytest.fixture
def task(
    request: pytest.FixtureRequest, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Task]:
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(dsn)
    connect(monkeypatch, "slussen", conn_type="postgres", host=parts["host"], schema=parts["dbname"], login="slussen")
    monkeypatch.setenv("SLUSSEN_PAYLOADS", str(tmp_path / "payloads"))
    key = f"k{abs(hash(request.node.name)) % 10**8}"

    def make(**more: Any) -> Task:
        options = {k: more.pop(k) for k in ("seconds", "run_id", "schedule", "moment") if k in more}
        integration = Integration(
            key=key, title="", sender="KIR", receiver="BoSko", source=more.pop("source", SOURCE),
            target=sql("bosko", ""), layout="navet_utfil", persons="none", **more,
        )  # fmt: skip
        return Task(integration, Ledger(f"{dsn} user=slussen"), **options)

    return make


def test_a_task_waits_deferred_in_its_window_and_takes_what_comes(connections: Path, task: Callable[..., Task]) -> None:
    later(1, lambda: (connections / "a.txt").write_bytes(b"x"))
    waiting = task(seconds=30)
    assert [m["name"] for m in waiting.play()] == ["a.txt"]
    assert waiting.wakes == 1
    assert not list(connections.glob("*.txt"))


def today_until(minutes: float) -> dict[str, Any]:
    """A schedule and times of which today's moment has begun, and is over so many minutes from now."""
    now = datetime.now(STOCKHOLM)
    over = now + timedelta(minutes=minutes)
    times = Times(**dict.fromkeys(("expected", "amber", "red", "cutoff"), f"{over:%H:%M}"))
    return {
        "times": times,
        "moment": now.astimezone(UTC).replace(second=0, microsecond=0),
        "schedule": At(f"{now:%H:%M}"),
    }


def test_a_moment_without_a_file_waits_until_its_cut_off_but_not_past_the_next_run(
    connections: Path, task: Callable[..., Task]
) -> None:
    later(1, lambda: (connections / "a.txt").write_bytes(b"x"))
    waiting = task(**today_until(10))
    assert [m["name"] for m in waiting.play()] == ["a.txt"]
    assert waiting.wakes == 1
    often = task(**(today_until(10) | {"schedule": Every(1), "run_id": "two"}))
    with pytest.raises(AirflowSkipException, match="no file"):
        often.play()
    assert often.wakes == 0


@pytest.mark.parametrize(("policy", "kind"), [("fail", "missed"), ("skip", "skipped")])
def test_what_airflow_makes_up_after_its_cut_off_takes_nothing_unless_a_person_clears_it(
    connections: Path, task: Callable[..., Task], policy: str, kind: str
) -> None:
    (connections / "a.txt").write_bytes(b"x")
    past = today_until(-1) | {"missing": policy}
    past["moment"] -= timedelta(minutes=10)
    late = task(**past)
    with pytest.raises((AirflowFailException, AirflowSkipException), match="when its time was over"):
        late.play()
    assert [k for k, _ in late.said()] == [kind]
    assert (connections / "a.txt").exists()
    late.context["dag_run"].clear_number = 1
    assert [m["name"] for m in late.play()] == ["a.txt"]


def test_an_extract_that_airflow_makes_up_after_its_cut_off_is_missed_and_sends_nothing(
    task: Callable[..., Task],
) -> None:
    past = today_until(-1)
    past["moment"] -= timedelta(minutes=10)
    late = task(**past)
    extract = ExtractOperator(task_id="extract", integration=late.integration)
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="when its time was over"):
            extract.execute(late.context)
    assert [kind for kind, _ in late.said()] == ["missed"]


def test_what_an_outage_has_kept_from_delivery_until_its_time_was_over_is_missed(task: Callable[..., Task]) -> None:
    past = today_until(-20)
    past["moment"] -= timedelta(minutes=30)
    late = task(**past)
    ours = replace(late.integration, source=sql("bosko", "x.sql"), target=directory("waiting_inbox", "a.txt"))
    content = Manifest(integration=ours.key, interchange=Run.of(late.context).interchange(ours), name="a.txt")
    deliver = DeliverOperator(task_id="deliver", integration=ours, manifest=content.as_dict())
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="when its time was over"):
            deliver.execute(late.context)
    assert [kind for kind, _ in late.said()] == ["missed"]
    context = late.context | {"dag_run": SimpleNamespace(run_type="scheduled", clear_number=1)}
    in_time(ours, context, [content])  # a person has cleared it
    in_time(late.integration, late.context, [content])  # a partner's file goes on
    late.book.append(content.interchange, "claim", {"attempt": 1}, integration=ours.key)
    in_time(ours, late.context, [content])  # and so does what was begun


def test_a_file_that_comes_between_the_hint_and_the_task_is_taken_by_this_run_or_the_next(
    connections: Path, task: Callable[..., Task]
) -> None:
    (connections / "a.txt").write_bytes(b"1")
    came = iter(["b.txt", "c.txt"])
    first = task(seconds=60)
    taken = [m["name"] for m in first.play(before=lambda: [(connections / n).write_text(n) for n in came if n])]
    (connections / "d.txt").write_bytes(b"after the last look")
    second = [m["name"] for m in task(run_id="two").play()]
    assert (taken, second) == (["a.txt", "b.txt", "c.txt"], ["d.txt"])
    assert sorted(f.name for f in (connections / "archive").iterdir()) == [*taken, *second]


def test_a_wrong_hint_takes_nothing(connections: Path, task: Callable[..., Task]) -> None:
    """The event isn't the list of files: what has changed since is waited for again."""
    (connections / "a.txt").write_bytes(b"half")
    whole = iter([b"all of it"])
    waiting = task(seconds=30)
    waiting.play(before=lambda: [(connections / "a.txt").write_bytes(c) for c in whole])
    assert waiting.wakes == 2
    assert (connections / "archive" / "a.txt").read_bytes() == b"all of it"


@pytest.mark.parametrize(
    ("policy", "ends", "kind"),
    [("skip", AirflowSkipException, "skipped"), ("warn", AirflowSkipException, "missed"),
     ("fail", AirflowFailException, "missed")],
)  # fmt: skip
def test_when_the_window_closes_on_nothing_the_policy_tells_and_the_ledger_says_once(
    task: Callable[..., Task], policy: str, ends: type[Exception], kind: str
) -> None:
    waiting = task(seconds=0.6, missing=policy)
    for _ in range(2):  # cleared, it says nothing new
        with pytest.raises(ends, match=r"no file \*\.txt at waiting_inbox"):
            waiting.play()
        waiting.context["dag_run"].clear_number += 1
    assert waiting.said() == [(kind, "no file *.txt at waiting_inbox")]


def test_a_file_that_never_stands_still_is_missed_and_stays(connections: Path, task: Callable[..., Task]) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with (connections / "a.txt").open("ab") as file:
                file.write(b"x")
            time.sleep(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    waiting = task(seconds=1.5)
    try:
        with pytest.raises(AirflowFailException, match="kept changing"):
            waiting.play()
    finally:
        stop.set()
        thread.join()
    assert waiting.said()[0][0] == "missed"
    assert (connections / "a.txt").exists()


def test_data_without_its_marker_is_missed_with_that_reason(connections: Path, task: Callable[..., Task]) -> None:
    (connections / "a.txt").touch()
    waiting = task(seconds=0.6, source=replace(SOURCE, marker="{name}.klar"))
    with pytest.raises(AirflowFailException, match=r"'a\.txt' had no marker"):
        waiting.play()


def test_a_bad_name_does_not_keep_the_others_and_the_ledger_has_it(
    connections: Path, task: Callable[..., Task]
) -> None:
    for name in ("a.txt", "b\n.txt"):
        (connections / name).touch()
    waiting = task(seconds=30)
    assert [m["name"] for m in waiting.play()] == ["a.txt"]
    (failed,) = waiting.book.events(f"watch/{waiting.integration.key}")
    assert (failed.data["class"], failed.data["at"], failed.data["code"]) == ("refused", "collect", "TransportRefused")


def test_a_source_that_refuses_fails_the_task_for_good_and_one_that_is_away_is_tried_again(
    connections: Path, task: Callable[..., Task], hanna: Hanna, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "waiting_inbox", conn_type="fs", extra={"folder": str(connections / "none")})
    with pytest.raises(TransportRefused) as refused:
        task(seconds=10).play()
    hanna.stop()
    waiting = task(source=FTP)
    with pytest.raises(TransportError) as away:
        waiting.play()
    policy = PassingFaults()
    assert policy.evaluate(refused.value, 1, 3).action.name == "FAIL"
    assert policy.evaluate(away.value, 1, 3).action.name == "RETRY"
    classes = [e.data["class"] for e in waiting.book.events(f"watch/{waiting.integration.key}")]
    assert classes == ["refused", "transport"]


def test_retries_back_off_and_do_not_come_back_all_at_once() -> None:
    policy = PassingFaults()
    delays = {n: [policy.evaluate(TransportError(""), n, 12).retry_delay for _ in range(50)] for n in (1, 2, 3, 9, 12)}
    for n, found in delays.items():
        assert len(set(found)) > 10
        assert all(d is not None and 0.7 < d.total_seconds() / min(15 * 2 ** (n - 1), 900) < 1.3 for d in found)


def test_a_partner_is_not_tried_again_past_the_time_when_it_is_too_late(task: Callable[..., Task]) -> None:
    policy = PassingFaults()

    def again(n: int, **more: Any) -> str:
        waiting = task(**more)
        waiting.context["task"] = waiting.operator
        return policy.evaluate(TransportError(""), n, 12, waiting.context).action.name

    assert again(1, **today_until(10)) == "RETRY"
    assert again(9, **today_until(10)) == "FAIL"
    past = today_until(-1)
    past["moment"] -= timedelta(minutes=10)
    assert again(9, **past) == "RETRY", "a person has started it after its time"
    assert again(1, seconds=10) == "FAIL"
    assert again(9, run_id="no schedule") == "RETRY"
