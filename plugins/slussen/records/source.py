"""The stream that a reader reads: counted and hashed as it goes by."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

CHUNK = 8 << 20


class Source:
    """A stream that is counted and hashed as it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int = CHUNK) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self.bytes += len(data)
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()
