"""What goes round a content before it leaves, and comes off when it is collected: a seal, its envelope, OpenPGP.

Sending, the seal is made first and OpenPGP last. A content that OpenPGP has made is another each time, so it is made
once and kept: the caller writes it to the ledger by compare-and-set, and every repeat sends those bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

from slussen.errors import CallError, redacted

if TYPE_CHECKING:
    from slussen.integration import Endpoint
    from slussen.manifest import Manifest
    from slussen.payloads import PayloadStore
    from slussen.pgp import Key
    from slussen.seals import Envelope

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one endpoint: of its seal, and of OpenPGP.

    On a target, ``encrypt_to`` is the partner's and ``sign_with`` ours; on a source it is the other way round.
    """

    seal: bytes = b""
    envelope: Envelope | None = None
    encrypt_to: Key | None = None
    sign_with: Key | None = None

    def __repr__(self) -> str:
        return "Keys(…)"


def sealed_or_encrypted(
    plain: Manifest, target: Endpoint, keys: Keys, store: PayloadStore, number: int
) -> tuple[Manifest, dict[str, Any]]:
    """The content as the target wants it, and what the ledger is to know of that; nothing to do is nothing new.

    Raises:
        CallError: a key is missing or can't be used.
        ContentError: the content can't be put into an envelope.
    """
    from slussen import pgp, seals
    from slussen.records import layout as layouts

    done, said = plain, dict[str, Any]()
    if target.seal:
        if not keys.seal:
            raise _missing(target, "seal", "the seal's key is to stand in its extra seal_key")
        if target.seal == "envelope":
            if keys.envelope is None:
                raise _missing(target, "seal", "the nodes are to stand in its extras seal_destination and seal_source")
            node = keys.envelope
            length = layouts.load(plain.layout).length if plain.layout else 0
            with store.open(done.sha256) as payload:
                posts = seals.count_posts(payload, target.frame, length)
            with store.open(done.sha256) as payload, store.writer() as sink:
                envelope = seals.Envelope(node.destination, node.source, number)
                made = seals.wrap(payload, sink, keys.seal, target.encoding, target.frame, envelope, posts)
            done = done.but(sha256=sink.sha256, bytes=sink.bytes)
        else:
            with store.open(done.sha256) as payload:
                made = seals.sealed(payload, keys.seal, target.encoding)
        said["seal"] = made.as_dict()
    if target.encrypt_to or target.sign_with:
        _both(target, keys)
        done, said["pgp"] = _through(
            done, store, lambda source, to: pgp.protect(
                source, to, encrypt_to=keys.encrypt_to, sign_with=keys.sign_with
            )
        )  # fmt: skip
    if done.sha256 != plain.sha256:
        done, said["plain"] = done.but(made_from=(*plain.made_from, plain.sha256)), plain.sha256
    return done, said


def opened(
    closed: Manifest, source: Endpoint, keys: Keys, store: PayloadStore
) -> tuple[Manifest, dict[str, Any]]:  # fmt: skip
    """What a collected payload holds, decrypted and checked against its signature and seal; and what was found.

    Raises:
        ContentError: it isn't for us, or not what its sender has signed and sealed.
        CallError: a key is missing or can't be used.
    """
    from slussen import pgp, seals

    done, said = closed, dict[str, Any]()
    if source.encrypt_to or source.sign_with:
        _both(source, keys)
        done, said["pgp"] = _through(
            done, store, lambda payload, to: pgp.recover(
                payload, to, encrypt_to=keys.encrypt_to, sign_with=keys.sign_with
            )
        )  # fmt: skip
    if source.seal == "envelope":
        if not keys.seal:
            raise _missing(source, "seal", "the seal's key is to stand in its extra seal_key")
        with store.open(done.sha256) as payload, store.writer() as sink:
            made = seals.unwrap(payload, sink, keys.seal, source.encoding, source.frame)
        done, said["seal"] = done.but(sha256=sink.sha256, bytes=sink.bytes), made.as_dict()
    elif source.seal:
        raise CallError(f"{source.connection}: only a seal in an envelope comes with the file, and can be checked")
    return done, said


def _through(
    manifest: Manifest, store: PayloadStore, work: Callable[[BinaryIO, Path], dict[str, str]]
) -> tuple[Manifest, dict[str, str]]:
    """A payload made from another by way of a file, in a folder that nobody else can read."""
    incoming = store.root / "incoming"
    with redacted("OpenPGP"):
        incoming.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=incoming) as folder:
            made = Path(folder) / "made"
            with store.open(manifest.sha256) as payload:
                said = work(payload, made)
            with made.open("rb") as file, store.writer() as sink:
                copyfileobj(file, sink, CHUNK)
    return manifest.but(sha256=sink.sha256, bytes=sink.bytes), said


def _both(endpoint: Endpoint, keys: Keys) -> None:
    for wanted, key in ((endpoint.encrypt_to, keys.encrypt_to), (endpoint.sign_with, keys.sign_with)):
        if wanted and key is None:
            raise CallError(f"{endpoint.connection}: no key came from the connection {wanted}")


def _missing(endpoint: Endpoint, what: str, next_step: str) -> CallError:
    return CallError(f"{endpoint.connection}: {what} is asked for. Next: {next_step}")
