"""Our own side: one piece of work in a process of its own; prints what it took as JSON.

``python -m benchmarks.work WORK ARGUMENTS``
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data
from slussen.errors import Findings


@dataclass
class Took:
    """What a piece of work took: by the clock, and of processors."""

    seconds: float
    cpu: float
    rows: int
    bytes: int


class Watch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def took(self, rows: int, size: int) -> Took:
        return Took(time.perf_counter() - self._began, time.process_time() - self._cpu, rows, size)


def convert(source: str, target: str, how: str) -> Took:
    """cp1143 to Windows-1252's superset of Latin-1; ``how``: plain, hashed, or scanned (hashed, and for canaries)."""
    from slussen.canaries import Canaries
    from slussen.records.convert import Converted

    scan = Canaries.load().scan("block", "iso8859-1") if how == "scanned" else None
    watch, findings = Watch(), Findings()
    with Path(source).open("rb", buffering=0) as stream, Path(target).open("wb", buffering=0) as out:
        done = Converted(stream, "cp1143", "iso8859-1", findings, hashed=how != "plain")
        for chunk in done:
            out.write(chunk)
            if scan is not None:
                scan.feed(chunk)
        if how != "plain":
            assert done.sha256
            assert done.source_sha256
    assert not findings
    return watch.took(0, done.bytes)


def parse(source: str, encoding: str, how: str) -> Took:
    from slussen.records.parse import Parsed

    layout = data.layout()
    rows, size = 0, 0
    _warm(layout, encoding)
    watch, findings = Watch(), Findings()
    for name in source.split(","):
        with Path(name).open("rb", buffering=0) as stream:
            parsed = Parsed(stream, layout, encoding, "lf", findings, hashed=how != "plain")
            for batch in parsed:
                rows += batch.num_rows
            size += parsed.bytes
            assert how == "plain" or parsed.sha256
    assert not findings
    return watch.took(rows, size)


def _warm(layout: object, encoding: str) -> None:
    """Imports and tables are made once a task; the bench is about what grows with the file."""
    import io

    from slussen.records.parse import Parsed

    first, _ = data.records(data.BLOCK)
    for _ in Parsed(io.BytesIO(first.read_bytes()[: data.STRIDE]), data.layout(), "iso8859-1", "lf", Findings()):
        pass


def render(source: str, target: str, how: str) -> Took:
    """From batches in memory, a million rows at most at a time, back into records."""
    from slussen.canaries import Canaries
    from slussen.records.parse import Parsed
    from slussen.records.render import Rendered

    layout = data.layout()
    with Path(source).open("rb") as stream:
        batches = list(Parsed(stream, layout, "iso8859-1", "lf", Findings(), hashed=False))
    scan = Canaries.load().scan("block", "iso8859-1") if how == "scanned" else None
    watch, findings = Watch(), Findings()
    rendered = Rendered(batches, layout, "iso8859-1", "lf", findings, hashed=how != "plain")
    with Path(target).open("wb", buffering=0) as out:
        for block in rendered:
            out.write(block)
            if scan is not None:
                scan.feed(block)
        assert how == "plain" or rendered.sha256
    assert not findings
    return watch.took(rendered.records, rendered.bytes)


def stream_render(source: str, target: str) -> Took:
    """Parse and render in one pass: memory must not grow with the file."""
    from slussen.records.parse import Parsed
    from slussen.records.render import Rendered

    layout = data.layout()
    watch, findings = Watch(), Findings()
    with Path(source).open("rb", buffering=0) as stream, Path(target).open("wb", buffering=0) as out:
        parsed = Parsed(stream, layout, "iso8859-1", "lf", findings)
        rendered = Rendered(parsed, layout, "iso8859-1", "lf", findings)
        for block in rendered:
            out.write(block)
    assert parsed.sha256 == rendered.sha256
    return watch.took(rendered.records, rendered.bytes)


def tagged(source: str) -> Took:
    from slussen.records import layout as layouts
    from slussen.records.parse import Parsed

    layout = layouts.load("navet_utfil")
    watch, findings, rows = Watch(), Findings(), 0
    with Path(source).open("rb", buffering=0) as stream:
        parsed = Parsed(stream, layout, "cp1252", "lf", findings)
        for batch in parsed:
            rows += batch.num_rows
    assert not findings
    return watch.took(parsed.records, parsed.bytes)


def diff(a: str, b: str) -> Took:
    from slussen.tools import diff as tool
    from slussen.tools.opened import Opened

    layout = data.layout()
    watch = Watch()
    one, other = (Opened(Path(p), layout, "iso8859-1", "lf") for p in (a, b))
    found = tool.diff(one, other)
    return watch.took(found.a, Path(a).stat().st_size)


def stage(source: str, encoding: str, dsn: str) -> Took:
    """An EBCDIC file through the parser into an unlogged table."""
    from slussen.database import connect
    from slussen.records import stage as stages
    from slussen.records.parse import Parsed

    layout = data.layout()
    with connect(dsn) as connection:
        connection.execute("create schema if not exists stage")
        connection.execute("drop table if exists stage.bench")
        connection.commit()
        watch, findings = Watch(), Findings()
        with Path(source).open("rb", buffering=0) as stream:
            stages.create(connection, "bench", layout.data_schema)
            parsed = Parsed(stream, layout, encoding, "lf", findings)
            copied = stages.copy_in(connection, "bench", map(layout.data_of, parsed))
            connection.commit()
    assert not findings
    return watch.took(copied.rows, parsed.bytes)


def extract(target: str, dsn: str) -> Took:
    """The staged rows by a query, rendered."""
    from slussen.database import connect
    from slussen.records import stage as stages
    from slussen.records.render import Rendered

    layout = data.layout()
    watch, findings = Watch(), Findings()
    with connect(dsn) as connection, Path(target).open("wb", buffering=0) as out:
        rows = stages.read(connection, "select * from stage.bench order by record_no")
        rendered = Rendered(rows, layout, "iso8859-1", "lf", findings)
        for block in rendered:
            out.write(block)
    assert not findings, next(iter(findings))
    return watch.took(rendered.records, rendered.bytes)


def dags() -> Took:
    """Every DAG file, after Airflow itself."""
    import runpy

    import airflow.sdk  # noqa: F401

    from slussen import settings

    watch, files = Watch(), sorted((settings.ROOT / "dags").glob("*.py"))
    for file in files:
        runpy.run_path(str(file))
    return watch.took(len(files), 0)


def limits(scratch: str) -> Iterator[tuple[str, float]]:
    """What the machine itself can do, in MB/s."""
    import hashlib

    block = bytearray(64 << 20)
    for name, work in (
        ("memory copy", lambda: bytes(block)),
        ("SHA-256", lambda: hashlib.sha256(block).digest()),
        ("byte translation", lambda: [block[: 1 << 20].translate(bytes(256)) for _ in range(64)]),
        ("file write", lambda: Path(scratch).write_bytes(block)),
        ("page cache read", lambda: Path(scratch).read_bytes()),
    ):  # fmt: skip
        work()
        began = time.perf_counter()
        work()
        yield name, len(block) / (time.perf_counter() - began) / 1e6


def peak() -> float:
    """The most memory that this program had, in MB. (A child's ``ru_maxrss`` begins with its parent's.)"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


WORKS: dict[str, Callable[..., Took]] = {
    f.__name__: f for f in (convert, parse, render, stream_render, tagged, diff, stage, extract, dags)
}


def main() -> None:
    name, *arguments = sys.argv[1:]
    if name == "limits":
        print(json.dumps(dict(limits(*arguments))))
        return
    print(json.dumps(vars(WORKS[name](*arguments)) | {"peak": peak()}))


if __name__ == "__main__":
    main()
