"""The command line as its users run it, and files to run it on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from slussen.cli import main
from slussen.records import layout as layouts
from tests import formats


class Ran:
    """How a command ended, and what it said."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code, self.raw, self.out, self.err = code, out, out.decode(), err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def runner(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ran]:
    def runs(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["slussen", *map(str, words)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfdbinary.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err.decode())

    return runs


def written(name: str, folder: Path, seed: int = 3, n: int = 30) -> Path:
    layout = layouts.load(name)
    usual = layout.file.usual
    rows = formats.realistic(layout, Random(seed), n, usual.encoding)
    if layout.kind == "tagged":
        rows = [r for r in rows if r["record_type"] != layout.trailer]
    data, findings = formats.render(layout, rows, usual.encoding, usual.frame)
    assert not findings
    file = folder / f"{name}.txt"
    file.write_bytes(data)
    return file


def spoiled(file: Path, *changes: tuple[int, bytes]) -> Path:
    data = bytearray(file.read_bytes())
    for place, new in changes:
        data[place : place + len(new)] = new
    other = file.with_name("spoiled.txt")
    other.write_bytes(data)
    return other
