"""Which layouts, frames and encodings fit a file that nobody has told anything about."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from slussen.errors import CallError, Findings
from slussen.records import layout as layouts
from slussen.records.codepages import EBCDIC, codepage
from slussen.records.detect import guess, verdict
from slussen.records.frames import ENDS
from slussen.records.layout import Layout
from slussen.records.parse import Parsed
from slussen.tools.opened import readable, reading

SAMPLE = 256 << 10
MANY = 50  # lines that are looked at
LEAST = 0.1  # of the best proposal's share of sound records, to be one
CODES = ("iso8859-1", "cp278")  # whose line ends are tried
LINES = {
    frame: [bytes(codepage(c).byte(chr(b)) for b in ENDS[frame]) for c in CODES] for frame in ("lf", "crlf")
}  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """How a file may be read: how many of the records at its beginning are sound."""

    layout: str
    frame: str
    encoding: str
    records: int
    sound: int

    @property
    def share(self) -> float:
        return self.sound / self.records if self.records else 0.0


def propose(path: Path) -> list[Proposal]:
    """What fits, the best first; by the first 256 kB. Nothing fits an empty file.

    Raises:
        CallError: there is no such file.
    """
    path = readable(path)
    with reading(path) as stream:
        data = stream.read(SAMPLE)
    size = path.stat().st_size
    found = []
    encodings = [name for name, share in guess(data) if share > 0.85][:4]
    encodings = list(dict.fromkeys([*encodings, *(v.likely for e in encodings if (v := verdict(data, e)) is not None)]))
    for name in layouts.names():
        layout = layouts.load(name)
        for frame in _frames(layout, data):
            best = None
            usual = layout.file.usual.encoding
            for encoding in sorted(encodings, key=lambda e: e != usual):
                tried = _try(layout, data, frame, encoding, size)
                if tried.sound and (best is None or tried.sound > best.sound):
                    best = tried
            if best is not None:
                found.append(best)
    found.sort(key=lambda p: (-p.share, -p.records, p.layout))
    return [p for p in found if p.share >= max(LEAST * found[0].share, 0.02)]


def _frames(layout: Layout, data: bytes) -> list[str]:
    """The frames that the bytes allow."""
    if layout.kind == "zip":
        return []
    if layout.kind == "tagged":
        words = [w.encode() for w in layout.file.data]
        return ["lf"] if words[0] in data else []
    if layout.kind == "delimited":
        if layout.file.separator.encode() not in data or b"\n" not in data:
            return []
        return ["crlf" if b"\r\n" in data else "lf"]
    lengths = {layout.length_of(r) for r in layout.records}
    found = [frame for frame, ends in LINES.items() if any(_lines_of(data, end) & lengths for end in ends)]
    if _described(data) + 4 in {n + 4 for n in lengths}:
        found.append("rdw")
    elif _described(data[4:]) in lengths and _described(data) >= 4:
        found.append("vb")
    elif not found and not layout.varies:
        found.append("fixed")
    return found


def _lines_of(data: bytes, end: bytes) -> set[int]:
    """How long the first lines are that end so."""
    return {len(line) for line in data.split(end, MANY)[:-1]}


def _described(data: bytes) -> int:
    """How many bytes a descriptor says that come after it; -1 for none."""
    return int.from_bytes(data[:2], "big") - 4 if data[2:4] == b"\0\0" else -1


def _try(layout: Layout, data: bytes, frame: str, encoding: str, size: int) -> Proposal:
    if layout.kind == "fixed" and size > len(data):
        stride = layout.length + len(ENDS[frame])
        data = data[: len(data) // stride * stride]
    elif size > len(data):
        data = data[: data.rfind(b"\n") + 1]
    findings = Findings()
    try:
        parsed = Parsed(io.BytesIO(data), layout, encoding, frame, findings)
        for _ in parsed:
            pass
    except CallError:  # the layout has letters that the encoding lacks, or lines that it has not
        return Proposal(layout.name, frame, encoding, 0, 0)
    # A sample ends without its trailer and in the middle of a record; that says nothing.
    bad = {f.record for f in findings if f.record and f.rule not in ("missing_trailer", "truncated_file", "empty_file")}
    cut = sum(f.rule == "truncated_file" and f.record is not None for f in findings)
    records = max(parsed.records - cut, 0)
    kinds = [f.rule for f in findings if f.record is None and f.rule in ("wrong_encoding", "unexpected_line")]
    family = encoding in EBCDIC
    sound = 0 if kinds and not family else max(records - len(bad), 0)
    return Proposal(layout.name, frame, encoding, records, sound)
