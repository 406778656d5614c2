"""kir and kir_mvs step by step, without Airflow: each step in a process of its own, as a task is, and named as it.

``python -m benchmarks.kir --persons 2000000`` makes the population file and takes it as a durable payload; from there
stage, gate, merge, extract, gate, render and deliver run as the tasks run them, against PostgreSQL and a z/OS-like FTP
server on this machine. It prints what each took: seconds, CPU seconds of its own, its peak memory, and that of the
PostgreSQL processes meanwhile (without what they share).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.table import Table

from sandbox import processes
from sandbox.full import BUDGET, MONDAY, PERSONS
from sandbox.stack import SEED
from slussen import settings

if TYPE_CHECKING:
    from slussen.manifest import Manifest

START = datetime(2026, 1, 12, 4, tzinfo=UTC)
EXTRACT = f"kir_mvs-{START:%Y%m%dT%H%M%SZ}"


def step(name: str, home: Path) -> None:
    """One step, in this process; the manifest goes from one to the next in a file, as it does in XCom."""
    from dags.kir_weekly import kir, kir_mvs
    from slussen.ledger import Ledger
    from slussen.manifest import Manifest
    from slussen.payloads import PayloadStore

    place = json.loads((home / "place.json").read_text())
    ledger, store = Ledger(place["slussen"]), PayloadStore(home / "payloads")
    manifest = Manifest.from_dict(json.loads((home / "manifest.json").read_text()))
    began = time.perf_counter()
    done = _work(name, kir, kir_mvs, manifest, ledger, store, place)
    (home / "manifest.json").write_text(json.dumps(done.as_dict()))
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"work": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024,
            "records": done.records}  # fmt: skip
    print(json.dumps(told))


def _work(
    name: str, kir: Any, kir_mvs: Any, manifest: Manifest, ledger: Any, store: Any, place: dict[str, Any]
) -> Manifest:
    match name:
        case "kir.file.stage":
            from slussen.staging import stage_payload

            return stage_payload(kir, manifest, ledger, store, place["slussen"])
        case "kir.file.gate":
            return _gate(kir, "load", manifest, ledger, place)
        case "kir.file.merge":
            from slussen.merging import merge

            counts = merge(kir, manifest, ledger, source=place["slussen"], target=place["bosko"], sql=settings.SQL,
                           now=START)  # fmt: skip
            print(counts, file=sys.stderr)
            return manifest
        case "kir_mvs.extract":
            from slussen.extraction import extract

            return extract(kir_mvs, EXTRACT, ledger, start=START, end=START, day=MONDAY, now=START,
                           source=place["bosko"], target=place["slussen"], sql=settings.SQL).manifest  # fmt: skip
        case "kir_mvs.gate":
            return _gate(kir_mvs, "extract", manifest, ledger, place)
        case "kir_mvs.render":
            from slussen.rendering import render

            return render(kir_mvs, manifest, ledger, store, place["slussen"], day=MONDAY)
        case _:
            from slussen.delivery import deliver, drive
            from slussen.operators.deliver import delivery
            from slussen.records import layout as layouts
            from slussen.transports.mvs import Mvs

            length = layouts.load(kir_mvs.layout).length
            with Mvs("127.0.0.1", place["port"], place["user"], place["password"], record_length=length) as host:
                drive(deliver(delivery(manifest, kir_mvs.target), store, host, ledger))
            return manifest


def _gate(integration: Any, kind: Any, manifest: Manifest, ledger: Any, place: dict[str, Any]) -> Manifest:
    from slussen.history import sent
    from slussen.quality import suite as suites
    from slussen.quality.duties import Duties, reasons
    from slussen.quality.gate import run_gate
    from slussen.records import layout as layouts

    suite = suites.load(integration.key)
    report = run_gate(
        manifest=manifest, layout=layouts.load(integration.layout), policy=integration.persons, kind=kind,
        stage_dsn=place["slussen"], bosko_dsn=place["bosko"],
        duties=Duties(START, sent(ledger, integration.key), reasons(integration, suite)),
    )  # fmt: skip
    print(report.table(), file=sys.stderr)
    if report.verdict not in ("pass", "warn"):
        raise SystemExit(report.verdict)
    return manifest


class Watch:
    """PostgreSQL's processes while it watches: their CPU seconds, and the highest memory of them all in MB, of each its
    own, not what they share.
    """

    def __init__(self, postgres: int) -> None:
        self.peak = 0.0
        self._used: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self._server, self._done = psutil.Process(postgres), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def cpu(self) -> float:
        return sum(used - self._before.get(pid, 0) for pid, used in self._used.items())

    def __enter__(self) -> Watch:
        self._look()
        self._before = dict(self._used)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            self._look()

    def _look(self) -> None:
        memory = 0.0
        for child in self._server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                self._used[child.pid] = times.user + times.system
                memory += processes.memory(child.pid, "RssAnon")
        self.peak = max(self.peak, memory)


def run(persons: int, home: Path, steps: list[str], *, console: Console) -> None:
    """These steps, one after the other; the rest stands as an earlier call left it."""
    from sandbox import ftp_server
    from sandbox.postgres import APPLICATION, Server
    from slussen.database import migrate

    columns = ("step", "seconds", "work", "CPU s", "peak MB", "PostgreSQL CPU s", "its MB", "budget s")
    table = Table(*columns, title=f"{persons:,} persons")
    with Server(home) as postgres:
        for name in ("slussen", "bosko"):
            migrate(postgres.dsn(name), settings.SQL / "migrations" / name)
        ports = home / "ports"
        ports.unlink(missing_ok=True)
        host = processes.start([sys.executable, "-m", "sandbox.ftp_server", "--root", str(home / "hanna"), "--ports",
                                str(ports)], log=home / "logs" / "hanna.log", cwd=settings.ROOT,
                               pids=home / "pids")  # fmt: skip
        try:
            processes.wait_until(ports.exists, seconds=20, what="the FTP server")
            place: dict[str, Any] = {name: postgres.dsn(name, user=APPLICATION) for name in ("slussen", "bosko")}
            place |= {"port": int(ports.read_text().split()[1]), "user": ftp_server.USER,
                      "password": ftp_server.PASSWORD}  # fmt: skip
            (home / "place.json").write_text(json.dumps(place))
            if "payload" in steps:
                took, manifest = _payload(persons, home)
                (home / "manifest.json").write_text(json.dumps(manifest.as_dict()))
                console.print(f"the file: {manifest.bytes:,} bytes, made and stored in {took:.1f} s", highlight=False)
            whole = 0.0
            for name in [s for s in BUDGET if s in steps]:
                assert postgres._process is not None
                with Watch(postgres._process.pid) as watch:
                    began = time.perf_counter()
                    told = _in_a_process(name, home)
                    seconds = time.perf_counter() - began
                whole += seconds
                figures = (seconds, told["work"], told["cpu"], told["peak"], watch.cpu, watch.peak)
                table.add_row(name, *(f"{f:.1f}" for f in figures), f"{BUDGET[name] * persons / PERSONS:.1f}")
                console.print(f"{name}: {seconds:.1f} s, {told['records']:,} records", highlight=False)
            table.add_row("all", f"{whole:.1f}", "", "", "", "", "", f"{sum(BUDGET.values()) * persons / PERSONS:.1f}")
        finally:
            processes.stop([host])
    console.print(table)


def _in_a_process(name: str, home: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.kir", "--step", name, "--home", str(home)],
                          stdout=subprocess.PIPE, cwd=settings.ROOT, check=True)  # fmt: skip
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _payload(persons: int, home: Path) -> tuple[float, Manifest]:
    from sandbox.multitude import file
    from slussen.manifest import Manifest
    from slussen.payloads import PayloadStore

    began = time.perf_counter()
    with PayloadStore(home / "payloads").writer() as sink:
        for block in file(persons, MONDAY, SEED):
            sink.write(block)
    return time.perf_counter() - began, Manifest(
        integration="kir", interchange="kir-benchmark", name="kir.txt", sha256=sink.sha256, bytes=sink.bytes
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=PERSONS)
    parser.add_argument("--home", type=Path, required=True, help="a folder for everything; some 12 GB at full size")
    parser.add_argument("--steps", nargs="+", default=["payload", *BUDGET], choices=["payload", *BUDGET])
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.step, options.home)
        return
    options.home.mkdir(parents=True, exist_ok=True)
    os.environ["TZ"] = "UTC"
    run(options.persons, options.home, options.steps, console=Console(width=120))


if __name__ == "__main__":
    main()
