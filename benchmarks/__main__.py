"""The bench: our records engine and its peers on the same files, one after the other in turns; ratios, not absolutes.

Each piece of work runs in a process of its own and times the work, not its imports; peak memory is the process's.
Medians of ``--repeat`` runs. The table is printed and kept in ``benchmarks/results.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks import data
from sandbox.postgres import Server
from slussen.records.codepages import codepage

HERE = Path(__file__).parent
PEERS = HERE / "peers.py"
VENV = data.HOME / "venv"
NATIVE = data.HOME / "peers"
SLOW = 10  # peers that take one row at a time get a tenth of the rows


@dataclass
class Entry:
    """One piece of work by one party."""

    work: str
    who: str
    command: list[str]
    rows: int
    size: int
    slower: int = 1
    times: list[float] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    skipped: str = ""

    @property
    def seconds(self) -> float:
        """The median, as if it had had all of the rows."""
        return median(self.times) * self.slower if self.times else float("nan")

    @property
    def cpu(self) -> float:
        """Seconds of processors, the least, as if it had had all of the rows."""
        return min(self.processors) * self.slower if self.processors else float("nan")

    @property
    def speed(self) -> float:
        return self.size / self.seconds / 1e6


def run(command: list[str]) -> tuple[float, float, float]:
    """Seconds of work and seconds of processors, as the program says or as it took, and its peak memory in MB."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, cwd=HERE.parent, check=False)
    whole, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        error = done.stderr.decode().strip()
        raise RuntimeError(error.splitlines()[-1] if error else f"exit code {done.returncode}")
    said = done.stdout.decode().strip().splitlines()
    if not said or not said[-1].startswith("{"):
        return whole, cpu, float("nan")
    told = json.loads(said[-1])
    return float(told["seconds"]), float(told.get("cpu", cpu)), float(told["peak"])


class Bench:
    """What is to be measured, by name."""

    def __init__(self, rows: int, repeat: int, only: set[str]) -> None:
        self.rows, self.repeat, self.only = rows, repeat, only
        self.entries: list[Entry] = []
        self._loads: list[float] = []
        self.scratch = Path(tempfile.mkdtemp(prefix="slussen-bench-"))
        kinds = {"text": "t", "digits": "g", "date": "d", "decimal": "n"}
        self.spec = ";".join(f"{kinds[f.type]} {f.at} {f.length}" for f in data.layout().fields)

    def wants(self, work: str) -> bool:
        return not self.only or work in self.only

    def ours(self, work: str, who: str, *arguments: object, rows: int, size: int) -> None:
        command = [sys.executable, "-m", "benchmarks.work", *map(str, arguments)]
        self.entries.append(Entry(work, who, command, rows, size))

    def peer(self, work: str, who: str, *arguments: object, rows: int, size: int, slower: int = 1) -> None:
        entry = Entry(work, who, [str(VENV / "bin" / "python"), str(PEERS), *map(str, arguments)], rows, size, slower)
        if not VENV.exists():
            entry.skipped = "the peers could not be installed"
        self.entries.append(entry)

    def native(self, work: str, who: str, *arguments: object, rows: int, size: int) -> None:
        entry = Entry(work, who, [str(NATIVE), *map(str, arguments)], rows, size)
        entry.skipped = "" if NATIVE.exists() else "no C compiler here"
        self.entries.append(entry)

    def shell(self, work: str, who: str, script: str, *, rows: int, size: int) -> None:
        entry = Entry(work, who, ["sh", "-c", script], rows, size)
        entry.skipped = "" if shutil.which("iconv") else "no iconv here"
        self.entries.append(entry)

    def measure(self) -> None:
        """Everything in turns, so that a slow minute of the machine is everybody's."""
        for turn in range(self.repeat):
            for entry in self.entries:
                if entry.skipped:
                    continue
                print(f"\r{turn + 1}/{self.repeat} {entry.work}: {entry.who:<60.60}", end="", file=sys.stderr)
                try:
                    seconds, cpu, memory = run(entry.command)
                except RuntimeError as error:
                    entry.skipped = str(error)
                    continue
                entry.times.append(seconds)
                entry.processors.append(cpu)
                entry.memory.append(memory)
                self._loads.append(os.getloadavg()[0])
        print("\r" + " " * 90 + "\r", end="", file=sys.stderr)

    @property
    def load(self) -> str:
        return f"{min(self._loads):.1f} to {max(self._loads):.1f}" if self._loads else ""

    def of(self, work: str, who: str) -> Entry | None:
        return next((e for e in self.entries if (e.work, e.who) == (work, who) and e.times), None)


def prepare() -> None:
    """The C program and the peers' environment, where they can be had."""
    data.HOME.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("cc") or shutil.which("gcc")
    source = HERE / "peers.c"
    if compiler and (not NATIVE.exists() or NATIVE.stat().st_mtime < source.stat().st_mtime):
        flags = ["-O3", "-march=native", str(source), "-o", str(NATIVE), "-lpthread"]
        if subprocess.run(
            [compiler, "-DHAVE_OPENSSL", *flags, "-lcrypto"], capture_output=True, check=False
        ).returncode:
            subprocess.run([compiler, *flags], check=False)
    if not VENV.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False).returncode == 0
        uv = Path(sys.executable).with_name("uv")
        install = [str(uv), "pip", "install", "-q", "--python", str(VENV / "bin" / "python"), "--require-hashes", "-r",
                   str(HERE / "requirements.txt")]  # fmt: skip
        if not made or subprocess.run(install, check=False).returncode:
            shutil.rmtree(VENV, ignore_errors=True)


def declare(bench: Bench, dsn: str, peer_dsn: str) -> None:
    """Who does what."""
    rows = bench.rows
    plain, ebcdic = data.records(rows)
    size = plain.stat().st_size
    few, _ = data.records(rows // SLOW)
    out = bench.scratch / "out"
    all_of = {"rows": rows, "size": size}
    if bench.wants("convert"):
        table = bench.scratch / "table"
        page, target = codepage("cp1143").letters, codepage("iso8859-1").bytes
        table.write_bytes(bytes(int(target[p]) & 255 for p in page))
        for how in ("plain", "hashed", "scanned"):
            bench.ours("convert", f"ours, {how}", "convert", ebcdic, out, how, **all_of)
        bench.native("convert", "C", "convert", ebcdic, out, table, **all_of)
        bench.native("convert", "C, both hashes", "convert", ebcdic, out, table, "hash", **all_of)
        iconv = f"iconv -f IBM1143 -t ISO-8859-1 {ebcdic} > {out}"
        bench.shell("convert", "iconv", iconv, **all_of)
        hashes = f"{iconv}; sha256sum {ebcdic} {out} > /dev/null"
        bench.shell("convert", "iconv + 2 x sha256sum", hashes, **all_of)
    if bench.wants("parse"):
        bench.ours("parse", "ours", "parse", plain, "iso8859-1", "plain", **all_of)
        bench.ours("parse", "ours, hashed", "parse", plain, "iso8859-1", "hashed", **all_of)
        bench.ours("parse", "ours, EBCDIC", "parse", ebcdic, "cp1143", "plain", **all_of)
        small = data.small(30, 20_000)
        bench.ours("parse", "ours, 30 files of 20,000", "parse", ",".join(map(str, small)), "iso8859-1", "hashed",
                   rows=600_000, size=600_000 * data.STRIDE)  # fmt: skip
        for threads in (1, 2):
            bench.native("parse", f"C, {threads} threads", "parse", plain, data.STRIDE, bench.spec, threads, **all_of)
        bench.peer("parse", "fixedwidthparser", "fixedwidth", plain, bench.spec, **all_of)
        bench.peer("parse", "polars", "polars_parse", plain, bench.spec, **all_of)
        bench.peer("parse", "duckdb", "duckdb_parse", plain, bench.spec, **all_of)
        bench.peer("parse", "struct loop", "struct_loop", few, bench.spec, slower=SLOW, **all_of)
        bench.peer("parse", "pandas read_fwf", "pandas_fwf", few, bench.spec, slower=SLOW, **all_of)
    if bench.wants("render"):
        for how in ("plain", "hashed", "scanned"):
            bench.ours("render", f"ours, {how}", "render", plain, out, how, **all_of)
        bench.native("render", "C", "render", plain, data.STRIDE, bench.spec, out, **all_of)
        bench.peer("render", "polars", "polars_render", plain, bench.spec, out, **all_of)
        bench.peer("render", "f-strings", "fstrings", few, bench.spec, out, slower=SLOW, **all_of)
    if bench.wants("diff"):
        other = bench.scratch / "other"
        changed = bytearray(plain.read_bytes())
        for record in range(0, rows, 1000):
            changed[record * data.STRIDE] ^= 1
        other.write_bytes(changed)
        bench.ours("diff", "ours, a record in a thousand differs", "diff", plain, other, **all_of)
    if bench.wants("tagged"):
        navet = data.navet(rows)
        few_persons = data.navet(rows // SLOW)
        bench.ours("tagged", "ours", "tagged", navet, rows=rows, size=navet.stat().st_size)
        bench.peer(
            "tagged", "a plain loop", "navet_loop", few_persons, slower=SLOW, rows=rows, size=navet.stat().st_size
        )
    if dsn and bench.wants("stage"):
        bench.ours("stage", "ours", "stage", ebcdic, "cp1143", dsn, **all_of)
        bench.peer("stage", "adbc ingest", "adbc", few, bench.spec, peer_dsn, slower=SLOW, **all_of)
        bench.peer("stage", "psycopg write_row", "write_row", few, bench.spec, peer_dsn, slower=SLOW, **all_of)
        bench.ours("extract", "ours", "extract", out, dsn, **all_of)
    if bench.wants("memory"):
        large, _ = data.records(rows * 5)
        bench.ours("memory", "parse and render in one pass", "stream_render", large, out, rows=rows * 5,
                   size=large.stat().st_size)  # fmt: skip
        _, wide = data.records(rows * 5)
        bench.ours("memory", "convert, hashed", "convert", wide, out, "hashed", rows=rows * 5, size=wide.stat().st_size)
    if bench.wants("dags"):
        bench.ours("dags", "ours", "dags", rows=1, size=1)


Ratio = tuple[str, str, tuple[str, str], tuple[str, str], float]
RATIOS: list[Ratio] = [
    ("convert, no hash", "x iconv", ("convert", "ours, plain"), ("convert", "iconv"), 2.5),
    ("convert, no hash", "x C", ("convert", "ours, plain"), ("convert", "C"), 0.9),
    ("convert, both hashes", "x iconv + 2 x sha256sum", ("convert", "ours, hashed"),
     ("convert", "iconv + 2 x sha256sum"), 4),
    ("convert, both hashes", "x C with hashes", ("convert", "ours, hashed"), ("convert", "C, both hashes"), 0.8),
    ("convert, hashes and canaries", "x without", ("convert", "ours, scanned"), ("convert", "ours, hashed"), 0.8),
    ("parse", "x read_fwf", ("parse", "ours"), ("parse", "pandas read_fwf"), 40),
    ("parse", "x fixedwidthparser", ("parse", "ours"), ("parse", "fixedwidthparser"), 1.7),
    ("parse", "x C on two threads", ("parse", "ours"), ("parse", "C, 2 threads"), 1 / 3),
    ("parse, hashed", "x without", ("parse", "ours, hashed"), ("parse", "ours"), 0.8),
    ("render", "x f-strings", ("render", "ours, plain"), ("render", "f-strings"), 20),
    ("render", "x polars", ("render", "ours, plain"), ("render", "polars"), 1.7),
    ("render", "x C on one thread", ("render", "ours, plain"), ("render", "C"), 0.5),
    ("render, hash and canaries", "x without", ("render", "ours, scanned"), ("render", "ours, plain"), 0.7),
    ("tagged parse", "x a plain loop", ("tagged", "ours"), ("tagged", "a plain loop"), 10),
    ("stage", "x write_row", ("stage", "ours"), ("stage", "psycopg write_row"), 4),
    ("stage", "x adbc", ("stage", "ours"), ("stage", "adbc ingest"), 1.3),
]  # fmt: skip
ABSOLUTE: list[tuple[str, str, tuple[str, str], Callable[[Entry], float], float, bool]] = [
    ("diff", "MB/s", ("diff", "ours, a record in a thousand differs"), lambda e: e.speed, 300, True),
    ("tagged parse", "MB/s", ("tagged", "ours"), lambda e: e.speed, 150, True),
    ("stage", "rows/s", ("stage", "ours"), lambda e: e.rows / e.seconds, 400_000, True),
    ("extract", "rows/s", ("extract", "ours"), lambda e: e.rows / e.seconds, 300_000, True),
    ("memory, parse and render", "MB peak", ("memory", "parse and render in one pass"), lambda e: max(e.memory), 256,
     False),
    ("memory, convert", "MB peak", ("memory", "convert, hashed"), lambda e: max(e.memory), 256, False),
    ("all DAG files", "s", ("dags", "ours"), lambda e: e.seconds, 3, False),
]  # fmt: skip


def tables(bench: Bench) -> tuple[list[list[str]], list[list[str]]]:
    """The measured, and the targets with what they came to."""
    measured = []
    for e in bench.entries:
        if not e.times:
            measured.append([e.work, e.who, "", "", "", "", "", f"skipped: {e.skipped}"])
            continue
        first = next(x for x in bench.entries if x.work == e.work and x.times)
        ratio = f"{first.seconds / e.seconds:.2f}" if e is not first and e.size == first.size else ""
        measured.append([e.work, e.who, f"{e.seconds:.2f}", f"{e.cpu:.2f}", f"{e.speed:,.0f}",
                         f"{e.rows / e.seconds / 1e6:.2f}", _peak(e), ratio])  # fmt: skip
    targets = []
    for work, what, ours, theirs, target in RATIOS:
        a, b = bench.of(*ours), bench.of(*theirs)
        if a and b:
            found = b.seconds / a.seconds * (a.size / b.size)
            cpu = b.cpu / a.cpu * (a.size / b.size)
            targets.append([work, what, f"{target:.2f}", f"{found:.2f}", f"{cpu:.2f}",
                            _verdict(found, target, more=True)])  # fmt: skip
    for work, what, ours, value, target, more in ABSOLUTE:
        entry = bench.of(*ours)
        if entry:
            found = value(entry)
            targets.append([work, what, f"{target:,.0f}", f"{found:,.2f}" if found < 10 else f"{found:,.0f}",
                            "", _verdict(found, target, more=more)])  # fmt: skip
    return measured, targets


def _peak(e: Entry) -> str:
    return "" if max(e.memory) != max(e.memory) else f"{max(e.memory):,.0f}"


def _verdict(found: float, target: float, *, more: bool) -> str:
    met = found >= target if more else found <= target
    return "met" if met else f"missed by {abs(1 - found / target):.0%}"


MEASURED = ["work", "who", "seconds", "CPU s", "MB/s", "Mrows/s", "peak MB", "x first"]
TARGETS = ["work", "measured as", "target", "found", "by CPU", ""]


def report(bench: Bench, limits: dict[str, float]) -> None:
    measured, targets = tables(bench)
    console = Console(width=130)
    for title, head, rows in (("measured", MEASURED, measured), ("targets", TARGETS, targets)):
        table = Table(*head, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print("limits of the machine: " + ", ".join(f"{k} {v:,.0f} MB/s" for k, v in limits.items()))
    if bench.only:
        return
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    runs = f"medians of {bench.repeat} runs in turns" if bench.repeat > 1 else "one run"
    lines = [
        "# What `make bench` measured", "",
        f"{when}, {bench.rows:,} records of 300 bytes and 30 fields, {runs}, "
        f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}.",
        "Ratios of one run are what counts: a shared machine's absolute figures drift by a factor of two. `by CPU` is "
        "the same ratio of seconds of processors (the least of the runs): what is left of it when others use the "
        "machine too. Parse, render, stage and the tagged parse work on two threads: with both processors to "
        "themselves they take half of their CPU seconds.", "",
        f"Processes that wanted to run on {os.cpu_count()} processors meanwhile: {bench.load}.", "",
        "Limits of the machine, MB/s: " + ", ".join(f"{k} {v:,.0f}" for k, v in limits.items()) + ".", "",
        *_markdown(TARGETS, targets), "", *_markdown(MEASURED, measured), "",
    ]  # fmt: skip
    (HERE / "results.md").write_text("\n".join(lines), encoding="utf-8")
    console.print("kept in benchmarks/results.md")


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(r)} |" for r in (head, ["---"] * len(head), *rows)]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="records of 300 bytes (default: 2,000,000)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="convert,parse,render,diff,tagged,stage,memory,dags")
    options = parser.parse_args()
    prepare()
    bench = Bench(options.rows, options.repeat, {w for w in options.only.split(",") if w})
    said = subprocess.run([sys.executable, "-m", "benchmarks.work", "limits", str(bench.scratch / "limits")],
                          capture_output=True, check=True, cwd=HERE.parent)  # fmt: skip
    limits: dict[str, float] = json.loads(said.stdout)
    if bench.wants("stage"):
        with tempfile.TemporaryDirectory(prefix="slussen-bench-") as home, Server(Path(home)) as server:
            declare(bench, server.dsn("bench"), server.dsn("bench"))
            bench.measure()
    else:
        declare(bench, "", "")
        bench.measure()
    report(bench, limits)
    shutil.rmtree(bench.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
