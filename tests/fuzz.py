"""A million spoilt and random files through the engine: never a crash, a hang, or a wrong success in silence.

``python -m tests.fuzz [--inputs N] [--seed S]``; ``make fuzz``. What must hold of every input, whatever it is:

- it is read within a second, with findings or without, and nothing else is raised;
- a finding's offset is in the file, and its byte is the byte that stands there;
- without a finding, every record is accounted for: written again by the layout it reads back to the same values.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from random import Random

from slussen.errors import Findings
from slussen.records import layout as layouts
from slussen.records.codepages import BOM, EBCDIC, NAMES, codepage
from slussen.records.convert import Converted
from slussen.records.frames import ENDS
from slussen.records.layout import Layout
from slussen.records.notation import NUMBERS
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import formats

SLOWEST = 1.0  # seconds of a processor; two threads may work on one input
META = ("record_no", "byte_offset", "group_no")
PIECES = (
    b"\r\n", b"\n", b"\0", b"\xef\xbb\xbf", b"\x1a", b'"', b";", b"#POST_START\n", b"#UP 02000\n", b"90", b"-", b"\xff",
)  # fmt: skip


class Wrong(Exception):
    """What must hold doesn't."""


def mutated(data: bytes, random: Random) -> bytes:
    """A few changes: bytes turned, cut, doubled, swapped, pieces put in."""
    out = bytearray(data)
    for _ in range(random.randrange(1, 5)):
        if not out:
            break
        at = random.randrange(len(out))
        match random.randrange(8):
            case 0:
                out[at] = random.randrange(256)
            case 1:
                out[at] ^= 1 << random.randrange(8)
            case 2:
                del out[at : at + random.randrange(1, 40)]
            case 3:
                out[at:at] = random.choice(PIECES)
            case 4:
                out[at:at] = out[at : at + random.randrange(1, 300)] if random.random() < 0.9 else out
            case 5:
                out = out[: at + 1]
            case 6:
                other = random.randrange(len(out))
                out[at], out[other] = out[other], out[at]
            case _:
                out[at : at + 8] = random.randbytes(8)
    return bytes(out)


def check(layout: Layout, data: bytes, encoding: str, frame: str) -> str:
    """One input; how it ended."""
    findings = Findings(limit=50)
    began = time.process_time()  # of a processor: a busy machine is no hang
    parsed = Parsed(io.BytesIO(data), layout, encoding, frame, findings)
    batches = list(parsed)
    if (took := time.process_time() - began) > SLOWEST:
        raise Wrong(f"took {took:.1f} s")
    if parsed.bytes != len(data):
        raise Wrong(f"read {parsed.bytes} of {len(data)} bytes")
    for f in findings:
        if f.offset is not None and not 0 <= f.offset <= len(data):
            raise Wrong(f"a finding beyond the file: {f}")
        if f.byte and f.offset is not None and len(f.byte) == 2 and data[f.offset] != int(f.byte, 16):
            raise Wrong(f"not the byte that stands there: {f}")
    if findings:
        return "found"
    if (there := records_in(layout, data, encoding, frame)) != parsed.records:
        raise Wrong(f"read {parsed.records} records of {there} without a word")
    again = Findings()
    in_order = list(Parsed(io.BytesIO(data), layout, encoding, frame, Findings(), in_order=True))
    written = b"".join(Rendered(in_order, layout, encoding, frame, again))
    if again:
        return "read, and refused again" if set(again.counts) <= {"not_a_date", "too_long"} else _refuse(again)
    back = Findings()
    rows = [r for b in Parsed(io.BytesIO(written), layout, encoding, frame, back, in_order=True) for r in b.to_pylist()]
    there = [r for b in in_order for r in b.to_pylist()]
    del back.counts["wrong_encoding"]  # what is padded anew may read more like another encoding
    nothing = {f.name for f in layout.fields if f.type in NUMBERS and f.zeros}
    if back or [_bare(r, nothing) for r in rows] != [_bare(r, nothing) for r in there]:
        raise Wrong(f"reads, but not back: {list(map(str, back))[:2]}")
    del batches
    return "sound"


def records_in(layout: Layout, data: bytes, encoding: str, frame: str) -> int:
    """How many records a sound file has, by counting bytes."""
    data = data.removesuffix(b"\x1a")
    if layout.kind == "tagged":
        main = layout.records[layout.counted]
        page = codepage(encoding)
        word = main.opens or main.line
        wanted = word.encode() if page.wide else bytes(page.byte(c) for c in word)
        return sum(line.startswith(wanted) for line in data.splitlines())
    if frame in ("rdw", "vb") or layout.kind == "delimited":
        rows = Parsed(io.BytesIO(data), layout, encoding, frame, Findings())
        return sum(b.num_rows for b in rows)
    return -(-len(data.removeprefix(BOM)) // (layout.length + len(ENDS[frame])))


def _refuse(findings: Findings) -> str:
    raise Wrong(f"read without a finding, and refused when written: {next(iter(findings))}")


def _bare(row: formats.Row, nothing: set[str]) -> formats.Row:
    """A row's values; of these fields, whose nothing is written as zeros, nothing is 0."""
    return {k: v or 0 if k in nothing else v for k, v in row.items() if k not in META}


def seeds() -> list[tuple[Layout, bytes, str, str]]:
    """A small sound file of every layout."""
    found = []
    for name in layouts.names():
        layout = layouts.load(name)
        if layout.kind == "zip":
            continue  # no file of records: tests/test_zips.py spoils archives
        usual = layout.file.usual
        rows = formats.realistic(layout, Random(name), 3, usual.encoding)
        data, findings = formats.render(layout, rows, usual.encoding, usual.frame)
        assert not findings, name
        found.append((layout, data, usual.encoding, usual.frame))
    packed = formats.make(length=19, records={
        "r": {"when": {"k": "R"}, "fields": {
            "k": [1, 1, "text"], "a": [2, 4, "decimal", {"usage": "packed", "decimals": 2}],
            "b": [6, 2, "integer", {"usage": "binary"}], "c": [8, 6, "integer", {"sign": "overpunched"}],
            "d": [14, 6, "date"]}}})  # fmt: skip
    data, _ = formats.render(packed, [{"record_type": "r", "k": "R", "a": 1, "b": -2, "c": -3}] * 3, "cp278", "rdw")
    return [*found, (packed, data, "cp278", "rdw"), (packed, data, "cp278", "vb"), (packed, data[4:], "cp278", "fixed")]


def run(inputs: int, seed: int) -> Counter[str]:
    ended: Counter[str] = Counter()
    began, shown = time.monotonic(), 0.0
    whole = seeds()
    weights = [1 / len(layout.fields) for layout, *_ in whole]  # a wide layout takes as long as many narrow ones
    for n in range(inputs):
        random = Random(f"{seed} {n}")
        layout, data, encoding, frame = random.choices(whole, weights)[0]
        pick = random.random()
        if pick < 0.1:
            data = random.randbytes(random.randrange(400))
        elif pick < 0.2:
            data = mutated(bytes(random.choice((*PIECES, b"x" * 30, data[:200])) * random.randrange(4)), random)
        else:
            data = mutated(data, random)
        if random.random() < 0.1:
            encoding = random.choice([e for e in NAMES if layout.kind != "tagged" or e not in EBCDIC])  # those: refused
        try:
            ended[check(layout, data, encoding, frame)] += 1
            if n % 10 == 0:
                source, target = random.choice(NAMES), random.choice(NAMES)
                for _ in Converted(io.BytesIO(data), source, target, Findings(limit=20)):
                    pass
        except Exception as error:
            print(
                f"\nseed {seed}, input {n}, {layout.name}, {encoding}, {frame}: "
                f"{type(error).__name__} {error}\n{data!r}"
            )
            raise
        if sys.stderr.isatty() and time.monotonic() - shown > 1:
            shown = time.monotonic()
            print(f"\r{n + 1:,} of {inputs:,}, {(n + 1) / (shown - began):,.0f} a second", end="", file=sys.stderr)
    return ended


def share(arguments: tuple[int, int]) -> Counter[str]:
    return run(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    jobs = max(1, options.jobs)
    shares = [(options.inputs // jobs, options.seed + k) for k in range(jobs)]
    with ProcessPoolExecutor(jobs) as pool:
        ended = sum(pool.map(share, shares), Counter[str]())
    print(f"\n{options.inputs:,} inputs, seed {options.seed}: " + ", ".join(f"{k} {n:,}" for k, n in ended.items()))


if __name__ == "__main__":
    main()
