"""Keyed hashes that stand in for personal numbers where we must remember somebody: not plain ones, which a laptop
turns back into twelve digits in seconds.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_hex

from slussen import settings
from slussen.errors import CallError, redacted

BYTES = 32  # of a key, at least: as long as the hash


def keyed(numbers: Iterable[str]) -> Iterator[str]:
    """The HMAC-SHA256 of each number, in hex, under this installation's key.

    Raises:
        CallError: the key is no hexadecimal number of 32 bytes or more.
    """
    secret = _key()
    return (hmac.digest(secret, n.encode(), "sha256").hex() for n in numbers)


def _key() -> bytes:
    """From ``SLUSSEN_KEY``, else from a file in the state folder that is made once and is the owner's alone."""
    if given := os.environ.get("SLUSSEN_KEY"):
        return _checked(given, "SLUSSEN_KEY")
    file = settings.home() / "key"
    with redacted("reading the key"):
        if not file.exists():
            _make(file)
        return _checked(file.read_text(), str(file.name))


def _make(file: Path) -> None:
    """Make the key, whole from the start: of two processes that make one at once, both get the first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}-{token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(token_hex(BYTES))
            out.flush()
            os.fsync(out.fileno())
        try:
            file.hardlink_to(draft)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _checked(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < BYTES:
        raise CallError(f"{where} must have {2 * BYTES} hexadecimal digits or more: try `openssl rand -hex {BYTES}`")
    return key
