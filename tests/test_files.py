"""Whole files, of any layout and of the partners' own: what is written reads back, and writes to the same bytes."""

from __future__ import annotations

import hashlib
import io
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from slussen.errors import Findings
from slussen.records import frames, source
from slussen.records import layout as layouts
from slussen.records.codepages import NAMES, SINGLE
from slussen.records.layout import Layout
from slussen.records.parse import Parsed
from slussen.records.render import Rendered
from tests import formats, reference

PLENTY = hypothesis_settings(max_examples=60, deadline=None)


def there_and_back(layout: Layout, rows: list[formats.Row], encoding: str, frame: str) -> bytes:
    out, findings = formats.render(layout, rows, encoding, frame)
    assert not findings, list(map(str, findings))
    again, findings, parsed = formats.parse(layout, out, encoding, frame)
    findings.counts.pop("wrong_encoding", None)  # made-up letters aren't Swedish
    assert not findings, list(map(str, findings))
    data = [r for r in formats.values(again) if r["record_type"] != layout.trailer]
    assert data == formats.values(rows)
    assert parsed.sha256 == hashlib.sha256(out).hexdigest()
    assert parsed.bytes == len(out)
    rendered = Rendered([formats.batch(layout, again)], layout, encoding, frame, Findings())
    assert b"".join(rendered) == out
    assert rendered.sha256 == parsed.sha256
    return out


@pytest.mark.parametrize("frame", ["fixed", "lf", "crlf", "rdw", "vb"])
@PLENTY
@given(st.data())
def test_any_fixed_layout_and_any_data_come_back(frame: str, data: st.DataObject) -> None:
    layout = data.draw(formats.fixed_layouts(frame))
    encoding = data.draw(st.sampled_from(SINGLE))
    rows = data.draw(formats.rows_of(layout, encoding))
    out = there_and_back(layout, rows, encoding, frame)
    if frame in ("lf", "fixed") and not layout.varies and not layout.trailer:
        end = reference.encode("\n", encoding) if frame == "lf" else b""
        wanted = b"".join(
            b"".join(
                reference.encode(
                    (f.constant(row["record_type"]) if f.type == "const" else "").ljust(f.length), encoding
                )
                if not f.staged
                else reference.write(f, row.get(f.name), encoding)
                for f in layout.of(row["record_type"])
            )
            + end
            for row in rows
        )
        assert out == wanted


@PLENTY
@given(st.data())
def test_any_delimited_layout_and_any_data_come_back(data: st.DataObject) -> None:
    layout = data.draw(formats.delimited_layouts())
    encoding = data.draw(st.sampled_from(NAMES))
    rows = data.draw(formats.rows_of(layout, encoding))
    nothing = layout.file.nothing
    if nothing and any(v == nothing for row in rows for v in row.values()):
        return
    there_and_back(layout, rows, encoding, data.draw(st.sampled_from(["lf", "crlf"])))


ENDS = {
    n: (layouts.load(n).file.usual.encoding, layouts.load(n).file.usual.frame)
    for n in layouts.names()
    if layouts.load(n).kind != "zip"
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_partners_file_comes_back(name: str, seed: int) -> None:
    layout, (encoding, frame) = layouts.load(name), ENDS[name]
    rows = formats.realistic(layout, Random(seed), 40, encoding)
    if layout.kind == "tagged":
        rows = [r for r in rows if r["record_type"] != layout.trailer]
    for row in rows:  # what is cut doesn't come back
        for f in layout.of(row["record_type"]):
            if f.truncate and row.get(f.name):
                row[f.name] = row[f.name][: f.length].rstrip()
        if name == "ifs_invoice" and row.get("belopp"):  # the sums of its last record have no place for a sign
            row["belopp"] = abs(row["belopp"])
    there_and_back(layout, rows, encoding, frame)


@pytest.mark.parametrize("name", ENDS)
def test_a_file_reads_the_same_however_its_blocks_are_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, (encoding, frame) = layouts.load(name), ENDS[name]
    data, _ = formats.render(layout, formats.realistic(layout, Random(7), 60, encoding), encoding, frame)
    whole, findings, _ = formats.parse(layout, data, encoding, frame)
    assert not findings
    for size in (1, 97, 5000):
        monkeypatch.setattr(frames, "BLOCK", size)
        monkeypatch.setattr(source.Source.read, "__defaults__", (size,))
        again = []
        for b in Parsed(Trickle(data, size), layout, encoding, frame, findings):
            again += b.to_pylist()
        assert not findings
        assert in_order(again) == in_order(whole)  # tagged: a batch for each record type of a block


def in_order(rows: list[formats.Row]) -> list[formats.Row]:
    return sorted(rows, key=lambda r: (r["byte_offset"], r["record_no"]))


class Trickle(io.BytesIO):
    """A stream that gives less than it is asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._most = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self._most, size) if size is not None and size >= 0 else self._most)
