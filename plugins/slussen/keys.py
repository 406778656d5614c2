"""Keyed hashes that stand in for personal numbers where we must remember somebody: not plain ones, which a laptop
turns back into twelve digits in seconds.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Iterator
from secrets import token_hex

from slussen import settings
from slussen.errors import redacted


def keyed(numbers: Iterable[str]) -> Iterator[str]:
    """The HMAC-SHA256 of each number, in hex, under this installation's key."""
    secret = _key()
    return (hmac.digest(secret, n.encode(), "sha256").hex() for n in numbers)


def _key() -> bytes:
    """From ``SLUSSEN_KEY``, else from a file in the state folder that is made once and is the owner's alone."""
    if given := os.environ.get("SLUSSEN_KEY"):
        return bytes.fromhex(given)
    file = settings.home() / "key"
    with redacted("reading the key"):
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return bytes.fromhex(file.read_text())
        with os.fdopen(descriptor, "w") as out:
            out.write(made := token_hex(32))
        return bytes.fromhex(made)
