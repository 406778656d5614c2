"""The stream that a reader reads: counted, hashed and sampled as it goes by."""

from __future__ import annotations

from typing import BinaryIO

from slussen.records.detect import Sample
from slussen.records.letters import Bools
from slussen.records.parallel import Hash

CHUNK = 4 << 20  # tuning: bytes that are read at a time


class Source:
    """A stream that is counted and hashed as it is read; ``sample`` remembers enough to tell its encoding."""

    def __init__(
        self, stream: BinaryIO, encoding: str, *, hashed: bool = True, numbers: Bools | None = None,
        signs: str = "",
    ) -> None:  # fmt: skip
        self._stream = stream
        self._hash = Hash() if hashed else None
        self.sample = Sample(encoding, numbers, signs)
        self.bytes = 0

    def read(self, size: int = CHUNK) -> bytes:
        """As many bytes as are asked for; fewer only at the end."""
        data = self._stream.read(size)
        while 0 < len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        if self._hash is not None:
            self._hash.update(data)
        self.sample.feed(data)
        self.bytes += len(data)
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest() if self._hash is not None else ""
