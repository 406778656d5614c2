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
from slussen.tools.opened import reading

SAMPLE = 256 << 10


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
    """What fits, the best first; by the first 256 kB.

    Raises:
        CallError: there is no such file, or it is empty.
    """
    if not path.is_file():
        raise CallError(f"there is no file {path}")
    with reading(path) as stream:
        data = stream.read(SAMPLE)
    if not data:
        raise CallError(f"{path.name} is empty")
    size = path.stat().st_size
    found = []
    encodings = [name for name, share in guess(data) if share > 0.85][:4]
    encodings = list(dict.fromkeys([*encodings, *(v.likely for e in encodings if (v := verdict(data, e)) is not None)]))
    for name in layouts.names():
        layout = layouts.load(name)
        for frame in _frames(layout, data, size):
            best = None
            usual = layout.file.usual.encoding
            for encoding in sorted(encodings, key=lambda e: e != usual):
                tried = _try(layout, data, frame, encoding, size)
                if tried.sound and (best is None or tried.sound > best.sound):
                    best = tried
            if best is not None:
                found.append(best)
    return sorted(found, key=lambda p: (-p.share, -p.records, p.layout))


def _frames(layout: Layout, data: bytes, size: int) -> list[str]:
    """The frames that the file's size or its line ends allow."""
    if layout.kind == "tagged":
        words = [w.encode() for w in layout.file.data]
        return ["lf"] if words[0] in data else []
    if layout.kind == "delimited":
        if layout.file.separator.encode() not in data or b"\n" not in data:
            return []
        return ["crlf" if b"\r\n" in data else "lf"]
    found: list[str] = []
    for frame in ("lf", "crlf", "fixed"):
        if layout.varies:
            continue
        end = ENDS[frame]
        stride = layout.length + len(end)
        ebcdic = codepage("cp278")
        ends = {end, bytes(ebcdic.byte(chr(c)) for c in end)}
        if frame == "fixed":
            if size % layout.length == 0 and data[layout.length : layout.length + 1] not in (b"\n", b"\r"):
                found.append(frame)
        elif any(data[layout.length : stride] == e for e in ends):
            found.append(frame)
    return found


def _try(layout: Layout, data: bytes, frame: str, encoding: str, size: int) -> Proposal:
    if layout.kind == "fixed" and size > len(data):
        stride = layout.length + len(ENDS[frame])
        data = data[: len(data) // stride * stride]
    elif size > len(data):
        data = data[: data.rfind(b"\n") + 1]
    findings = Findings()
    parsed = Parsed(io.BytesIO(data), layout, encoding, frame, findings)
    for _ in parsed:
        pass
    # A sample ends without its trailer; that says nothing.
    bad = {f.record for f in findings if f.record and f.rule not in ("missing_trailer", "truncated_file", "empty_file")}
    records = max(parsed.records, 0)
    kinds = [f.rule for f in findings if f.record is None and f.rule in ("wrong_encoding", "unexpected_line")]
    family = encoding in EBCDIC
    sound = 0 if kinds and not family else max(records - len(bad), 0)
    return Proposal(layout.name, frame, encoding, records, sound)
