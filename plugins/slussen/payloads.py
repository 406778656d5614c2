"""The payload store: immutable bytes, addressed by their SHA-256, durable before anybody is told of them."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import ExitStack, suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import BinaryIO, Self

from slussen.errors import CallError, TechnicalError, redacted

CHUNK = 1 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")


class PayloadStore:
    """A folder of payloads, ``ab/abcdef…`` each; what is there is whole, and is never changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def writer(self) -> Writer:
        """A sink for a new payload: durable when its ``with`` block ends, gone when it fails."""
        return Writer(self)

    def path(self, digest: str) -> Path:
        """Where the payload of this SHA-256 stands, or would."""
        if not DIGEST.fullmatch(digest):
            raise CallError("a payload is named by the 64 hex digits of its SHA-256")
        return self.root / digest[:2] / digest

    def open(self, digest: str) -> BinaryIO:
        """The payload's bytes, checked first to be what they were.

        Raises:
            TechnicalError: it isn't there, or it has changed on the disk.
        """
        path = self.path(digest)
        with redacted(f"reading payload {digest[:12]}"), ExitStack() as on_error:
            payload = on_error.enter_context(path.open("rb"))
            # The same open file is hashed and handed out: nobody can put another one in between.
            if hashlib.file_digest(payload, "sha256").hexdigest() != digest:
                raise TechnicalError(
                    f"payload {digest[:12]} has changed on the disk. Next: restore {path} from a backup"
                )
            payload.seek(0)
            on_error.pop_all()
        return payload

    def verify(self, digest: str) -> None:
        """Read the payload and compare its hash with its name.

        Raises:
            TechnicalError: it isn't there, or it has changed on the disk.
        """
        self.open(digest).close()


class Writer:
    """Counts and hashes what is written; ``sha256`` and ``bytes`` hold when the ``with`` block has ended."""

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.sha256 = ""

    def __enter__(self) -> Self:
        with redacted("writing to the payload store"):
            folder = self._store.root / "incoming"
            folder.mkdir(parents=True, exist_ok=True)
            self._path = folder / token_hex(16)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            self._file = os.fdopen(descriptor, "wb", buffering=CHUNK)
        return self

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append to the payload."""
        with redacted("writing to the payload store"):
            self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with redacted("writing to the payload store"):
                    self._keep()
        finally:
            with suppress(OSError):  # a full disk may refuse what is still in the buffer
                self._file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        self._file.flush()
        os.fchmod(self._file.fileno(), 0o440)
        os.fsync(self._file.fileno())
        digest = self._hash.hexdigest()
        final = self._store.path(digest)
        final.parent.mkdir(exist_ok=True)
        # The name appears with the whole content behind it. The same content twice is one payload, and a copy that
        # has rotted on the disk is replaced by a sound one.
        self._path.replace(final)
        for folder in (final.parent, self._store.root, self._store.root.parent):
            sync_folder(folder)
        self.sha256 = digest


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
