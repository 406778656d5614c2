"""The whole house: the demo's week through Airflow itself, what it leaves behind, and tasks that are killed in it.

One Airflow for all of this module: it plays the demo's week first, as `make demo` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from sandbox import bosko, leaks, processes
from sandbox.answering import QUESTIONS
from sandbox.day import partners
from sandbox.hanna import question_file
from sandbox.player import Player
from sandbox.population import Population, canaries
from sandbox.proof import compare, ended
from sandbox.scenario import Run, Week, moment, week
from sandbox.stack import FIRST_DAY, Stack
from slussen import settings
from slussen.ledger import Event
from slussen.records import layout as layouts

FAULTS = Path(__file__).parent / "faults"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a test sets faults for the tasks' processes."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, faults: Path) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("week")
    os.environ["PYTHONPATH"] = str(FAULTS)  # for the children; airflow.py puts ours before it
    said: list[str] = []
    with Stack(home, said.append, {"SLUSSEN_TEST_FAULTS": str(faults)}) as stack:
        yield stack
    import shutil

    shutil.rmtree(stack.postgres.place, ignore_errors=True)


@pytest.fixture(scope="module")
def played(stack: Stack) -> Week:
    """The demo's week, played."""
    w = week(stack, FIRST_DAY)
    desks = partners(stack)
    console = Console(file=(stack.home / "console.txt").open("w"), width=160)
    Player(stack, console, lambda: desks.work(FIRST_DAY)).play(w.groups)
    return w


def events(stack: Stack, interchange: str) -> list[Event]:
    return stack.ledger.events(interchange)


def named(stack: Stack, integration: str, name: str) -> list[Event]:
    """The events of the interchange that was collected from this file."""
    stream = next(e.stream for e in stack.ledger.kind("collected", integration=integration) if e.data["name"] == name)
    return stack.ledger.events(stream)


def asked(stack: Stack, name: str) -> bytes:
    """The file of this name that the tax agency has been sent."""
    return next(a.read() for a in stack.servers.shs.arrived(product=QUESTIONS) if a.name == name)


def test_every_interchange_ends_as_the_scenario_says(stack: Stack, played: Week) -> None:
    found, wrong = ended(stack, played.expected)
    assert wrong == []
    assert len(found) == len(played.expected)


def test_partners_have_byte_for_byte_what_the_ledger_says(stack: Stack, played: Week) -> None:
    files, different = compare(stack)
    assert different == []
    assert files >= 5


def test_the_ledger_is_whole(stack: Stack, played: Week) -> None:
    assert stack.ledger.verify().ok


LABEL = f"{FIRST_DAY:%Y%m%d}"


@pytest.mark.parametrize(
    ("name", "rule", "place"),
    [
        ("endless", "unclosed_record", {"record", "column", "offset"}),
        ("count", "record_count", {"offset"}),
        ("byte81", "undefined_byte", {"record", "field", "column", "offset", "byte"}),
        ("checkdigit", "check_digit", {"record", "field", "column", "offset", "byte"}),
    ],
)
def test_a_bad_population_file_is_quarantined_with_its_place_and_the_next_step(
    stack: Stack, played: Week, name: str, rule: str, place: set[str]
) -> None:
    file = f"KIR-{LABEL}-{name}.txt"
    quarantined = next(e for e in named(stack, "kir", file) if e.kind == "quarantined")
    finding = next(f for f in quarantined.data["findings"] if f["rule"] == rule)
    assert finding["integration"] == "kir"
    assert finding["file"] == file
    assert finding["next_step"]
    assert place <= set(finding)
    if name == "byte81":
        assert finding["byte"] == "81"
    if "byte" in finding:
        with stack.payloads.open(named(stack, "kir", file)[0].data["sha256"]) as payload:
            assert payload.read()[finding["offset"]] == int(finding["byte"], 16)


def test_lost_flags_were_held_and_refused_by_a_person(stack: Stack, played: Week) -> None:
    kinds = [e.kind for e in named(stack, "kir", f"KIR-{LABEL}-flagsgone.txt")]
    assert kinds[-2:] == ["held", "refused"]
    with psycopg.connect(stack.superuser["bosko"]) as connection:
        protected = connection.execute(
            "select count(*) from bosko.person where protected and personnr = any(%s)",
            ([c.personnr for c in canaries()],),
        ).fetchone()
    assert protected == (len(canaries()),)


def test_a_name_that_does_not_fit_is_named_by_record_field_and_column(stack: Stack, played: Week) -> None:
    night = moment(FIRST_DAY + timedelta(days=2), "20:00")
    quarantined = events(stack, f"f29-{night.astimezone().strftime('%Y%m%d')}T190000Z")[-1]
    assert quarantined.kind == "quarantined"
    finding = quarantined.data["findings"][0]
    assert (finding["rule"], finding["field"], finding["column"], finding["length"]) == (
        "too_long",
        "apar_name",
        23,
        50,
    )
    assert finding["record"] >= 1


def test_a_canary_stops_the_file_and_is_named_by_its_kind_only(stack: Stack, played: Week) -> None:
    quarantined = events(stack, f"f29-{FIRST_DAY + timedelta(days=3):%Y%m%d}T190000Z")[-1]
    finding = quarantined.data["findings"][0]
    assert (finding["rule"], finding["field"]) == ("canary", "address1")
    assert canaries()[0].fb_adress2 not in json.dumps(quarantined.data, ensure_ascii=False)


def test_what_was_merged_is_in_bosko(stack: Stack, played: Week) -> None:
    merged = next(e for e in named(stack, "kir", f"KIR-{LABEL}.txt") if e.kind == "merged")
    counts = merged.data["counts"]
    assert counts["inserted"] >= 5
    assert counts["changed"] >= 50
    assert counts["deregistered"] == 8
    assert counts["protected_set"] == 3
    assert counts["protected_removed"] == 1
    assert counts["older_ignored"] == 0


def test_protected_persons_reach_the_mainframe_only_in_pknods_own_mask(stack: Stack, played: Week) -> None:
    import ebcdic  # noqa: F401 (registers the codec)

    records = (stack.servers.hanna / "datasets" / "ADS.N99.KIR.TEMP").read_bytes()
    assert len(records) % 704 == 0
    by_number = {}
    for at in range(0, len(records), 704):
        record = records[at : at + 704].decode("cp278")
        assert (record[:4], record[703]) == ("0704", "_")
        by_number[record[8:20]] = record
    with psycopg.connect(stack.superuser["bosko"]) as connection:
        rows = connection.execute("select personnr, protected, upper(aviseringsnamn) from bosko.person").fetchall()
    assert set(by_number) == {r[0] for r in rows}
    masked = 0
    for number, protected, name in rows:
        record = by_number[number]
        if protected:
            masked += 1
            assert record[4:8] == "0002"
            assert record[41:104].strip() == ""
            assert record[104:109] == "00000"
            assert record[351:391].strip() == ""
        else:
            assert record[4:8] == "0000"
            assert record[41:77].rstrip() == name
    assert masked > 20


def test_the_relay_changed_the_encoding_and_nothing_else(stack: Stack, played: Week) -> None:
    sent = asked(stack, f"SKV-INFIL-{LABEL}.TXT")
    assert "#BESTÄLLNINGSID".encode("cp1252") in sent
    source = (stack.servers.hanna / "files" / "archive" / f"SKV-INFIL-{LABEL}.TXT").read_bytes()
    assert sent.decode("cp1252") == source.decode("cp437")
    assert sent != source


def test_an_invoice_is_an_order_of_header_items_and_texts_whose_customer_was_sent_before(
    stack: Stack, played: Week
) -> None:
    invoices = (stack.servers.shared("agresso_kund") / f"FD-F30-{LABEL}-0001.txt").read_bytes()
    customers = (stack.servers.shared("agresso_kund") / f"FD-F29-{LABEL}-0001.txt").read_bytes()
    lines = invoices.decode("latin-1").splitlines()
    assert {len(line) for line in lines} == {layouts.load("agresso_lg04").length}
    known = {line[131:143] for line in customers.decode("latin-1").splitlines()}
    assert {line[1031:1043] for line in lines if line[0] == "1"} <= known
    total = sum(int(line[191:208]) for line in lines if line[0] == "0" and line[1644:1652] == "00000000")
    with psycopg.connect(stack.superuser["bosko"]) as connection:
        assert connection.execute(
            "select sum(amount) * 100 from bosko.debiting where area = 'preschool'"
        ).fetchone() == (total,)
    sent = {e.kind: e for e in events(stack, f"f30-{LABEL}T190000Z")}
    given = {e.kind: e for e in events(stack, f"f29-{LABEL}T190000Z")}
    assert given["delivered"].seq < sent["claim"].seq


def test_a_protected_childs_name_is_in_no_text_line(stack: Stack, played: Week) -> None:
    lines = (
        (stack.servers.shared("agresso_kund") / f"FD-F30-{LABEL}-0001.txt").read_bytes().decode("latin-1").splitlines()
    )
    child = canaries()[1].fornamn
    assert not any(child in line for line in lines)
    texts = [line[1680:1740].strip() for line in lines if line[0] == "0" and line[1644:1652] == "00000001"]
    assert "" in texts
    assert sum(t.startswith("Avser ") for t in texts) > 100


def test_nobody_is_found_in_what_the_week_left_behind(stack: Stack, played: Week) -> None:
    search = leaks.Search.of(stack.superuser["bosko"])
    assert len(search.numbers) > 6000
    report_places = stack.home / "reports"
    report_places.mkdir(exist_ok=True)
    for key in ("f29", "f30", "kir", "kir_mvs", "skv"):
        for event in stack.ledger.kind("gated", integration=key):
            with stack.payloads.open(event.data["report"]) as report:
                (report_places / f"{event.seq}.json").write_bytes(report.read())
    places = [stack.home / "logs", stack.home / "console.txt", report_places]
    found = leaks.search_files(search, places)
    found += leaks.search_database(search, stack.superuser["airflow"], ["public"])
    found += leaks.search_database(search, stack.superuser["slussen"], ["ledger", "sent", "public"])
    assert found == []


def test_the_search_would_have_found_somebody(stack: Stack, played: Week) -> None:
    """Plant one person in a task's log and in XCom's table: both are found."""
    search = leaks.Search.of(stack.superuser["bosko"])
    number = next(n for n in search.numbers if len(n) == 12)
    log = next((stack.home / "logs" / "tasks").rglob("*.log"))
    before = log.read_bytes()
    log.write_bytes(before + f'{{"event": "kund {number}"}}\n'.encode())
    try:
        assert leaks.search_files(search, [stack.home / "logs"])
    finally:
        log.write_bytes(before)
    with psycopg.connect(stack.superuser["airflow"]) as connection:
        connection.execute("create table public.planted (value jsonb)")
        connection.execute("insert into public.planted values (jsonb_build_object('kund', %s::text))", (number,))
    try:
        assert leaks.search_database(search, stack.superuser["airflow"], ["public"])
    finally:
        with psycopg.connect(stack.superuser["airflow"]) as connection:
            connection.execute("drop table public.planted")


# --- tasks of f29 that are killed; each on a night of its own, on which a few customers have changed


def night(stack: Stack, offset: int) -> tuple[Run, str, str]:
    """A night after the demo's week with news for F29: its run, f29's interchange, and f30's."""
    day: date = FIRST_DAY + timedelta(days=offset)
    bosko.touch(stack.superuser["bosko"], moment(day, "12:00"), 5)
    start, end = moment(day, "20:00"), moment(day + timedelta(days=1), "07:30")
    return Run("agresso_kund_nightly", f"{day}", start, end), f"f29-{day:%Y%m%d}T190000Z", f"{day:%Y%m%d}"


def trigger(stack: Stack, run: Run) -> None:
    assert stack.airflow is not None
    stack.airflow.trigger(run.dag, run.run_id, run.start, run.end)


def task_state(stack: Stack, run: Run, task: str) -> str:
    assert stack.airflow is not None
    return next(str(t["state"]) for t in stack.airflow.tasks(run.dag, run.run_id) if t["task_id"] == task)


def until(stack: Stack, run: Run, task: str, *states: str) -> None:
    processes.wait_until(
        lambda: task_state(stack, run, task) in states, seconds=120, what=f"{task} to be {states}", every=0.3
    )


def sent_once(stack: Stack, interchange: str, day: str) -> None:
    """One file at the partner, whole, one `delivered` in the ledger, no temporary name left."""
    delivered = [e for e in events(stack, interchange) if e.kind == "delivered"]
    assert len(delivered) == 1
    here = [f for f in stack.servers.shared("agresso_kund").iterdir() if f"F29-{day}" in f.name]
    assert [f.name for f in here] == [delivered[0].data["name"]]
    assert hashlib.sha256(here[0].read_bytes()).hexdigest() == delivered[0].data["sha256"]
    content = [e for e in events(stack, interchange) if e.kind == "content"]
    assert [e.data["sha256"] for e in content] == [delivered[0].data["sha256"]]


KILLS = {
    "render": "render",  # in the middle of rendering
    "upload": "verify",  # uploaded under its temporary name, not yet verified
    "before the rename": "rename",
    "after the rename, before the last event": "delivered",
}


@pytest.mark.parametrize(("where", "offset"), [(w, 4 + n) for n, w in enumerate(KILLS)], ids=KILLS)
def test_a_killed_task_that_is_cleared_delivers_once(
    stack: Stack, played: Week, faults: Path, where: str, offset: int
) -> None:
    assert stack.airflow is not None
    offset += offset >= 6  # not a Sunday
    run, interchange, day = night(stack, offset)
    step = KILLS[where]
    task = "f29.render" if step == "render" else "f29.deliver"
    (faults / f"f29.{step}").write_text("kill")
    trigger(stack, run)
    until(stack, run, task, "up_for_retry", "failed")
    assert not (faults / f"f29.{step}").exists(), "the fault has struck"
    assert not [e for e in events(stack, interchange) if e.kind == "delivered"]
    stack.airflow.clear(run.dag, run.run_id, task)
    until(stack, run, "f29.deliver", "success")
    sent_once(stack, interchange, day)


def test_a_stopped_attempt_that_wakes_after_another_finished_sends_nothing(
    stack: Stack, played: Week, faults: Path
) -> None:
    """The task and its supervisor hang just before the rename; on-call fails it and clears it; then both wake up."""
    assert stack.airflow is not None
    run, interchange, day = night(stack, 9)
    (faults / "f29.rename").write_text("stop")
    trigger(stack, run)
    stopped = faults / "f29.rename.stopped"
    processes.wait_until(stopped.exists, seconds=120, what="the attempt to hang", every=0.2)
    stack.airflow.set_state(run.dag, run.run_id, "f29.deliver", "failed")
    stack.airflow.clear(run.dag, run.run_id, "f29.deliver")
    until(stack, run, "f29.deliver", "success")
    sent_once(stack, interchange, day)
    for pid in map(int, stopped.read_text().split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    time.sleep(5)
    sent_once(stack, interchange, day)
    assert not [f for f in stack.servers.shared("agresso_kund").iterdir() if f.name.startswith(".")]


def test_clearing_a_delivered_interchange_from_its_beginning_sends_nothing_again(stack: Stack, played: Week) -> None:
    assert stack.airflow is not None
    airflow = stack.airflow
    run_id = f"{FIRST_DAY}"
    interchange = f"f29-{LABEL}T190000Z"
    airflow.clear("agresso_kund_nightly", run_id, "f29.extract")
    processes.wait_until(
        lambda: airflow.state("agresso_kund_nightly", run_id) in ("success", "failed"),
        seconds=120, what="the cleared run", every=0.5,
    )  # fmt: skip
    sent_once(stack, interchange, LABEL)
    assert len([e for e in events(stack, f"f30-{LABEL}T190000Z") if e.kind == "delivered"]) == 1


def test_the_command_line_tells_it_all(stack: Stack, played: Week) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SLUSSEN_HOME": str(stack.home), "PYTHONPATH": str(settings.ROOT / "plugins")}
        environment.pop("SLUSSEN_DATABASE", None)
        command = [sys.executable, "-m", "slussen.cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    listed = json.loads(run("ledger", "--json").stdout)
    assert {i["state"] for i in listed} >= {"delivered", "merged", "quarantined", "skipped"}
    assert "whole" in run("ledger", "verify").stdout
    quarantined = next(i["id"] for i in listed if i["name"].endswith("byte81.txt"))
    shown = run("show", quarantined)
    assert "byte 81" in shown.stdout
    assert "Next:" in shown.stdout
    assert run("show", "f29-nothing").returncode == 2
    keys = {"key", "teis", "dag_id", "schedule", "sender", "receiver", "layout", "encoding", "transport",
            "source_encoding", "source_transport", "persons"}  # fmt: skip
    assert all(keys <= set(row) for row in json.loads(run("integrations", "--json").stdout))


def test_the_same_seed_makes_the_same_bytes() -> None:
    one, other = (Population.of(7, 300, FIRST_DAY) for _ in range(2))
    assert one.people == other.people
    assert one.week(8, FIRST_DAY) == other.week(8, FIRST_DAY)


def test_a_file_that_is_still_written_is_waited_for_and_then_taken_whole(stack: Stack, played: Week) -> None:
    assert stack.airflow is not None
    monday = FIRST_DAY + timedelta(days=7)
    at = moment(monday, "09:00")
    folder, name = stack.servers.hanna / "files", f"SKV-INFIL-{monday:%Y%m%d}.TXT"
    whole = question_file(sorted(bosko.population_of(stack.superuser["bosko"], monday).people)[::50], 9)
    (folder / name).write_bytes(whole[:200])
    run = Run("skv_weekdays", f"{monday}", at, at)
    trigger(stack, run)
    for size in range(300, len(whole), 200):
        time.sleep(0.7)
        (folder / name).write_bytes(whole[:size])
    (folder / name).write_bytes(whole)
    until(stack, run, "skv.file.deliver", "success")
    collected = next(e for e in stack.ledger.kind("collected", integration="skv") if e.data["name"] == name)
    assert collected.data["bytes"] == len(whole)
    assert asked(stack, name).decode("cp1252") == whole.decode("cp437")
