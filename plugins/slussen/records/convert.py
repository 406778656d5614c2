"""Bytes to bytes, from one single-byte encoding to another: by table, in chunks, counted and hashed on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from slussen.errors import Finding, Findings
from slussen.records.codepages import UNDEFINED, codepage, translation

CHUNK = 1 << 20


class Converted:
    """An iterator of converted chunks; afterwards ``bytes``, ``sha256`` and ``source_sha256``.

    A byte that cannot be converted is a finding with its line, column and offset.
    """

    def __init__(self, stream: BinaryIO, source: str, target: str, findings: Findings) -> None:
        self.source, self.target, self.findings = source, target, findings
        self.bytes = 0
        self._stream = stream
        self._table, self._lost = translation(source, target)
        self._hash, self._source_hash = hashlib.sha256(), hashlib.sha256()
        self._line, self._line_start = 1, 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def source_sha256(self) -> str:
        return self._source_hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._stream.read(CHUNK):
            self._source_hash.update(chunk)
            if len(chunk.translate(None, self._lost)) != len(chunk):
                self._locate(chunk)
            converted = chunk.translate(self._table)
            self._hash.update(converted)
            self._advance(chunk)
            self.bytes += len(chunk)
            yield converted

    def _advance(self, chunk: bytes) -> None:
        if lines := chunk.count(b"\n"):
            self._line += lines
            self._line_start = self.bytes + chunk.rindex(b"\n") + 1

    def _locate(self, chunk: bytes) -> None:
        letters = codepage(self.source).letters
        data = np.frombuffer(chunk, np.uint8)
        for place in np.flatnonzero(np.isin(data, np.frombuffer(self._lost, np.uint8))):
            byte = int(data[place])
            lines = chunk.count(b"\n", 0, place)
            start = chunk.rfind(b"\n", 0, place) + 1 + self.bytes if lines else self._line_start
            line = self._line + lines
            undefined = letters[byte] == UNDEFINED
            self.findings.add(
                Finding(
                    "undefined_byte" if undefined else "unmappable",
                    f"line {line}: byte {byte:02x} does not exist in {self.source}"
                    if undefined
                    else f"line {line}: character U+{letters[byte]:04X} does not exist in {self.target}",
                    "ask the sender which encoding the file is in"
                    if undefined
                    else "declare a replacement for this endpoint, or have it changed at the source",
                    column=self.bytes + int(place) - start + 1,
                    offset=self.bytes + int(place),
                    byte=f"{byte:02x}",
                )
            )
