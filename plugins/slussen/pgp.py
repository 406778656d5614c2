"""OpenPGP by Sequoia: encrypt and sign what is sent, decrypt and verify what is collected. From file to file.

Encrypting and signing need the same few megabytes whatever the size; reading needs about half the file's size. What a
message holds may be compressed, by anybody who has our public key, a thousandfold and more: it is written no further
than a file may grow. A signature inside compressed data, as GnuPG makes it unless it is told ``--compress-algo none``,
can't be checked, and is refused where one is asked for.
"""

from __future__ import annotations

import os
import resource
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from slussen.errors import CallError, ContentError, Finding
from slussen.zips import RATIO

if TYPE_CHECKING:
    from pysequoia import Cert, Tsk

SMALL = 64 << 20  # bytes that a message may hold, however small it is itself


@dataclass(frozen=True, slots=True)
class Key:
    """A partner's certificate, or a secret key of ours with its passphrase; ``name`` is the connection that holds it.

    Armored or binary, as ``gpg --export`` writes it. What it is never shows.
    """

    name: str
    data: bytes = field(repr=False)
    passphrase: str = field(default="", repr=False)


def protect(source: BinaryIO, target: Path, *, encrypt_to: Key | None, sign_with: Key | None) -> dict[str, str]:
    """Write a file signed, or encrypted, or both, in binary form; which keys that was, by fingerprint.

    Raises:
        CallError: a key is none, has expired or was revoked, or its passphrase is wrong.
    """
    from pysequoia import SignatureMode, encrypt_file, sign_file

    certificate = _certificate(encrypt_to) if encrypt_to else None
    secret = _secret(sign_with) if sign_with else None
    said: dict[str, str] = {}
    signer = None
    if sign_with is not None and secret is not None:
        with _usable(sign_with, "sign with"):
            signer = secret.signer(sign_with.passphrase or None)
            said["signed_by"] = secret.extract_certificate().fingerprint
    if encrypt_to is not None and certificate is not None:
        said["encrypted_to"] = certificate.fingerprint
        with _usable(encrypt_to, "encrypt to"):
            encrypt_file(_path(source), str(target), [certificate], signer, armor=False)
    elif sign_with is not None and signer is not None:
        with _usable(sign_with, "sign with"):
            sign_file(signer, _path(source), str(target), mode=SignatureMode.INLINE, armor=False)
    else:
        raise CallError("nothing to encrypt to, and nothing to sign with")
    return said


def recover(source: BinaryIO, target: Path, *, encrypt_to: Key | None, sign_with: Key | None) -> dict[str, str]:
    """Write what a message holds: ``encrypt_to`` is our key that it was encrypted to, ``sign_with`` its sender's.

    Raises:
        ContentError: it isn't encrypted, or not for this key, is not signed by the sender, or was changed on the way.
        CallError: a key is none, or its passphrase is wrong.
    """
    from pysequoia import decrypt_file

    certificate = _certificate(sign_with) if sign_with else None

    def known(_: list[str]) -> list[Cert]:
        return [certificate] if certificate is not None else []

    said: dict[str, str] = {}
    opener: dict[str, Any] = {}
    if encrypt_to is not None:
        secret = _secret(encrypt_to)
        with _usable(encrypt_to, "decrypt with"):
            opener["decryptor"] = secret.decryptor(encrypt_to.passphrase or None)
            said["encrypted_to"] = secret.extract_certificate().fingerprint
    elif certificate is not None:
        opener = _no_key()
    else:
        raise CallError("nothing to decrypt with, and nothing to verify by")
    most = max(SMALL, RATIO * os.fstat(source.fileno()).st_size)
    with _readable(target, most), _no_file_larger_than(most):
        found = decrypt_file(_path(source), str(target), store=known if certificate else None, **opener)
    if encrypt_to is not None and _opens_without_a_key(source):
        raise _unreadable("it isn't encrypted", "have the sender encrypt it, and ask who may have read it on its way")
    if certificate is not None:
        if not found.valid_sigs:
            raise _unreadable("it is not signed by the sender's key")
        said["signed_by"] = certificate.fingerprint
    return said


def _opens_without_a_key(source: BinaryIO) -> bool:
    """What was opened has its bounds, so this has them too."""
    from pysequoia import decrypt_file

    try:
        decrypt_file(_path(source), os.devnull, **_no_key())
    except (OSError, RuntimeError, ValueError):
        return False
    return True


def _no_key() -> dict[str, Any]:
    """What nothing is encrypted with; one thing or the other must be given."""
    return {"passwords": [secrets.token_hex()]}


def _certificate(key: Key) -> Cert:
    from pysequoia import Cert

    try:
        return Cert.from_bytes(key.data)
    except Exception:
        raise CallError(
            f"{key.name} holds no OpenPGP certificate. Next: gpg --armor --export, into its extra"
        ) from None


def _secret(key: Key) -> Tsk:
    from pysequoia import Tsk

    try:
        return Tsk.from_bytes(key.data)
    except Exception:
        raise CallError(
            f"{key.name} holds no OpenPGP secret key. Next: gpg --armor --export-secret-keys, into its extra"
        ) from None


def _path(source: BinaryIO) -> str:
    """The very file that was opened and hashed, whatever has its name by now."""
    return f"/dev/fd/{source.fileno()}"


@contextmanager
def _usable(key: Key, what: str) -> Iterator[None]:
    # Sequoia's own words may quote a user id, and end in a backtrace.
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise _useless(key, what) from None
    except RuntimeError:
        raise _useless(key, what) from None


def _useless(key: Key, what: str) -> CallError:
    return CallError(
        f"the key of {key.name} can't be used to {what}. Next: see whether it has expired or was revoked, whether it "
        "is meant for this use, and whether its passphrase is the connection's password"
    )


@contextmanager
def _no_file_larger_than(most: int) -> Iterator[None]:
    """The kernel's limit, of this whole process: Sequoia lets no other thread run meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(most, *known) if known else most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _readable(target: Path, most: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        if target.exists() and target.stat().st_size >= most:
            raise _unreadable(
                f"it grows to more than {most >> 20} MB, which is {RATIO} times its size or more",
                "ask the sender whether that is the file; if it is, have it sent without compression",
            ) from None
        raise _unreadable("its signature is not the sender's, or it was changed") from None
    except (RuntimeError, ValueError) as error:
        if "structure" in str(error):  # GnuPG packs before it signs, unless it is told not to
            raise _unreadable(
                "its signature is inside something else (compressed data), where it can't be checked",
                "have the sender sign and encrypt with --compress-algo none",
            ) from None
        if "Signature" in str(error):
            raise _unreadable("its signature is not the sender's, or it was changed") from None
        raise _unreadable("it can't be decrypted: not for our key, or not whole") from None


def _unreadable(
    why: str, next_step: str = "compare the keys' fingerprints with the sender's, and ask for the file once more"
) -> ContentError:
    return ContentError([Finding("pgp", why, next_step)])
