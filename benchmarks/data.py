"""The bench's files, made once: deterministic, with Swedish letters, kept in ``.slussen/bench``."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np

from sandbox.population import Population, population_file
from slussen import settings
from slussen.records.codepages import codepage
from slussen.records.layout import Layout, read

HOME = settings.ROOT / ".slussen" / "bench"
STRIDE = 301
BLOCK = 20_000


def layout() -> Layout:
    return read(Path(__file__).with_name("bench.yaml"))


def records(rows: int) -> tuple[Path, Path]:
    """This many records of 300 bytes and LF, in Latin-1 and in CP1143."""
    HOME.mkdir(parents=True, exist_ok=True)
    plain, ebcdic = HOME / f"records-{rows}.latin1", HOME / f"records-{rows}.cp1143"
    if not ebcdic.exists() or plain.stat().st_size != rows * STRIDE:
        block = _block().tobytes()
        table = bytes(codepage("cp1143").bytes[:256].astype(np.uint8))
        with plain.open("wb") as one, ebcdic.open("wb") as other:
            for first in range(0, rows, BLOCK):
                piece = block[: (min(BLOCK, rows - first)) * STRIDE]
                one.write(piece)
                other.write(piece.translate(table))
    return plain, ebcdic


def small(files: int, rows: int) -> list[Path]:
    """This many files of so many records."""
    whole, _ = records(rows)
    found = [HOME / f"small-{k}" for k in range(files)]
    for file in found:
        if not file.exists():
            file.write_bytes(whole.read_bytes())
    return found


def _block() -> np.ndarray:
    random = np.random.default_rng(1)
    block = np.full((BLOCK, STRIDE), ord(" "), np.uint8)
    block[:, -1] = ord("\n")
    for f in layout().fields:
        cells = block[:, int(f.at) - 1 : int(f.at) - 1 + f.length]
        if f.codes:
            cells[:, 0] = random.integers(ord("A"), ord("D"), BLOCK)
        elif f.type == "digits":
            cells[:] = random.integers(ord("0"), ord("9") + 1, cells.shape)
        elif f.type == "date":
            days = np.datetime64("1950-01-01") + random.integers(0, 25_000, BLOCK)
            cells[:] = [list(str(d).replace("-", "").encode()) for d in days]
        elif f.type == "decimal":
            cells[:] = random.integers(ord("0"), ord("9") + 1, cells.shape)
            cells[random.random(BLOCK) < 0.1, 0] = ord("-")
        else:
            letters = random.integers(ord("a"), ord("z") + 1, cells.shape).astype(np.uint8)
            swedish = random.random(cells.shape) < 0.03
            letters[swedish] = random.choice(np.frombuffer("åäöÅÄÖé".encode("latin-1"), np.uint8), int(swedish.sum()))
            long = random.integers(0, min(f.length, 22) + 1, BLOCK)
            shown = np.arange(f.length) < long[:, None]
            cells[shown] = letters[shown]
    return block


def navet(persons: int) -> Path:
    """A Navet file of about this many persons: one population, told again and again."""
    HOME.mkdir(parents=True, exist_ok=True)
    file = HOME / f"navet-{persons}"
    if file.exists():
        return file
    today = date(2026, 1, 12)
    population = Population.of(3, 5000, today)
    data = b"".join(population_file(list(population.people.values()), today, 1))
    first, last = data.index(b"#DATA_START\n") + len(b"#DATA_START\n"), data.index(b"#DATA_SLUT")
    n = data.count(b"#POST_START")
    times = max(1, persons // n)
    with file.open("wb") as out:
        out.write(data[:first])
        for _ in range(times):
            out.write(data[first:last])
        out.write(data[last:].replace(b"%08d" % n, b"%08d" % (n * times)))
    return file
