"""A folder on an SFTP server, by paramiko's transport, with our own timeouts, checks and reading of status codes.

Renames. The protocol's own rename refuses a name that is taken, which is what a final name needs. OpenSSH makes it of
two steps, a link and an unlink: a *server* killed between the two leaves the file under both names (a client or a
network can't come between them: it is one request). The next attempt then finds the name taken and holds the
interchange; only if the receiver has emptied the name before that, it gets the file a second time. Names that are ours
alone (from one temporary name to another) are renamed by ``posix-rename@openssh.com`` where it is offered, which is one
step. Whether the name is taken is looked for first, since some servers' rename replaces; against a foreign writer in
between those give no protection, nor does a rename that is asked to replace.

Links. The protocol can't open a file without following a link: it is looked at before, and what was opened afterwards.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import socket
import stat
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from slussen.errors import CallError, TransportError, TransportRefused
from slussen.transports import (
    TIMEOUT,
    Entry,
    Exists,
    Missing,
    in_order,
    matches,
    no_file,
    plain,
)
from slussen.transports.remote import ARCHIVE, Got, Pace, Remote, free_place

if TYPE_CHECKING:
    import paramiko

    from slussen.transports.sftp_client import Client, Status

PORT = 22
SILENT = "slussen.transports.sftp.silent"  # paramiko's log, which repeats what the server says
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
# Status codes of draft-ietf-secsh-filexfer-02, and those of later drafts that servers use all the same.
NO_SUCH_FILE, DENIED = 2, 3
FINAL = {DENIED, 5, 8, 12, 20, 24}  # bad message, unsupported, write protected, invalid name, is a directory
TAKEN = 11
MEANINGS = {
    2: "no such file or folder", 3: "permission denied", 4: "failure, often a full disk or a quota",
    12: "write-protected", 14: "no space", 15: "quota exceeded", 20: "invalid name",
}  # fmt: skip


class Sftp(Remote):
    """Files in one folder of a server; collected ones go to ``archive`` in it.

    ``host_key`` is the server's public key (``ssh-ed25519 AAAA…``), or several, a line each, while it is being
    changed. ``private_key`` is a key in OpenSSH's or PEM form; with a password too, both are given. ``encoding`` is
    that of names; ``read_back`` fetches what was sent, where the server gives no hash of it.
    """

    def __init__(
        self, host: str, port: int | None = None, user: str = "", password: str = "", folder: str = "", *,
        host_key: str, private_key: str = "", passphrase: str = "", encoding: str = "utf-8", read_back: bool = False,
    ) -> None:  # fmt: skip
        self._host, self._port, self._user, self._password = host, port or PORT, user, password
        self._pinned = _pinned(host, host_key)
        self._key = (private_key, passphrase)
        super().__init__(encoding)
        self._read_back = read_back
        self._folder = folder.rstrip("/") + "/" if folder else ""
        self._transport: paramiko.Transport | None = None
        self._open_client: Client | None = None
        self._connect()
        self.replaces = "posix-rename@openssh.com" in self._client.extensions

    def entries(self, pattern: str) -> list[Entry]:
        with self._said("listing"):
            found = []
            for raw, attributes in self._client.names(self._bytes(self._folder or ".")):
                name = self._name(raw)
                if not matches(name, pattern):
                    continue
                if (entry := self._regular(name, attributes)) is not None:
                    found.append(entry)
                elif not stat.S_ISDIR(
                    attributes.st_mode or 0
                ):  # a folder isn't meant for us; a link, a pipe is a fault
                    found.append(no_file(name))
            return in_order(found)

    def stat(self, name: str) -> Entry | None:
        with self._said(f"looking for {name}"):
            return self._entry(name, self._path(name))

    def _entry(self, name: str, path: bytes) -> Entry | None:
        attributes = self._attributes(path)
        return None if attributes is None else self._regular(name, attributes)

    def _attributes(self, path: bytes) -> paramiko.SFTPAttributes | None:
        from slussen.transports.sftp_client import Status

        try:
            return self._client.attributes(path)
        except Status as status:
            if status.code == NO_SUCH_FILE:
                return None
            raise

    @staticmethod
    def _regular(name: str, attributes: paramiko.SFTPAttributes) -> Entry | None:
        if attributes.st_mode is not None and not stat.S_ISREG(attributes.st_mode):
            return None
        return Entry(name, attributes.st_size or 0, str(attributes.st_mtime or ""))

    @property
    def _connected(self) -> bool:
        return self._open_client is not None

    @property
    def _tells_hashes(self) -> bool:
        return self._client.tells_hashes

    def _fetch_on(self, name: str, got: Got) -> Entry:
        path, doing = self._path(name), f"fetching {name}"
        with self._said(doing, path), self._reading(name, path) as (handle, entry):
            if got.seen is not None and (entry != got.seen or not self._same_so_far(path, handle, got)):
                raise TransportError(f"{doing}: it was replaced while it was read")
            got.seen = entry
            pace = Pace(TIMEOUT, entry.size, got.bytes)
            for data in self._client.read_ahead(handle, got.bytes, entry.size):
                got.take(data)
                pace.passed(len(data))
            if (got.bytes, self._regular(name, self._client.attributes_of(handle))) != (entry.size, entry):
                raise TransportError(f"{doing}: it is still being written")
            return entry

    @contextmanager
    def _reading(self, name: str, path: bytes) -> Iterator[tuple[bytes, Entry]]:
        """An open regular file, and what it is."""
        attributes = self._client.attributes(path)
        if attributes.st_mode is not None and not stat.S_ISREG(attributes.st_mode):
            raise TransportRefused(f"{name} is no regular file")
        handle = self._client.open_to_read(path)
        with self._closing(handle):
            entry = self._regular(name, self._client.attributes_of(handle))
            if entry is None:
                raise TransportRefused(f"{name} is no regular file")
            yield handle, entry

    @contextmanager
    def _closing(self, handle: bytes) -> Iterator[None]:
        """Close an open file, also when the server has said no; when the connection has failed there is none."""
        from slussen.transports.sftp_client import Status

        try:
            yield
        except (Status, TransportError, TransportRefused):
            with suppress(Status):
                self._client.close_file(handle)
            raise
        self._client.close_file(handle)

    def _same_so_far(self, path: bytes, handle: bytes, got: Got) -> bool:
        if got.sha256 is not None and (told := self._client.told_digest(path, got.bytes)):
            return told == got.sha256.hexdigest()
        return b"".join(self._client.read_ahead(handle, got.bytes - len(got.last), got.bytes)) == got.last

    def _put_on(self, name: str, source: BinaryIO, place: int) -> None:
        path = self._path(name)
        with self._said(f"sending {name}"):
            handle = self._client.open_to_go_on(path) if place else self._create(path)
            with self._closing(handle):
                self._client.write_behind(handle, source, place, Pace(TIMEOUT))
                self._client.sync(handle)

    def _create(self, path: bytes) -> bytes:
        """Always a new file: what somebody has put there (a link to another file) is not written into."""
        from slussen.transports.sftp_client import Status

        with suppress(Status):
            return self._client.create(path)
        with suppress(Status):
            self._client.delete(path)
        return self._client.create(path)

    def _size_there(self, name: str) -> int:
        path = self._path(name)
        with self._said(f"looking at {name}"):
            attributes = self._attributes(path)
        return 0 if attributes is None else attributes.st_size or 0

    def _start_digest(self, name: str, size: int) -> str:
        path = self._path(name)
        with self._said(f"comparing {name}", path):
            return self._client.told_digest(path, size) or self._read_digest(path, size)

    def exists(self, name: str) -> bool:
        path = self._path(name)
        with self._said(f"looking for {name}"):
            return self._attributes(path) is not None

    def digest(self, name: str) -> str:
        path = self._path(name)
        with self._said(f"reading back {name}", path):
            return self._client.told_digest(path) or self._read_digest(path)

    def _read_digest(self, path: bytes, size: int | None = None) -> str:
        digest = hashlib.sha256()
        with self._reading(self._name(path), path) as (handle, entry):
            pace = Pace(TIMEOUT)
            for data in self._client.read_ahead(handle, 0, entry.size if size is None else size):
                digest.update(data)
                pace.passed(len(data))
        return digest.hexdigest()

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By size, and by the server's hash where it offers one; reading it back is the endpoint's choice."""
        path = self._path(name)
        with self._said(f"verifying {name}", path):
            if self._client.attributes(path).st_size != size:
                return False
            told = self._client.told_digest(path) or (self._read_digest(path) if self._read_back else "")
        return told in ("", sha256)

    def space(self) -> int | None:
        """Free bytes, where the server tells."""
        with self._said("asking for room"):
            return self._client.space(self._bytes(self._folder or "."))

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        from slussen.transports.sftp_client import Status

        source, target = self._path(old), self._path(new)
        doing = f"renaming to {new}"
        with self._said(doing):
            if not replace and self._attributes(target) is not None:
                raise self._nothing(doing) if self._gone(source) else Exists(f"{doing}: the name is taken")
            # From one hidden name to another: ours alone, and better done in one step.
            ours = new.startswith(".") and self.replaces
            try:
                (self._client.rename_over if replace or ours else self._client.rename_new)(source, target)
            except Status as status:
                # The code says little. Missing tells a delivery that another attempt has moved the file on, so it must
                # be certain.
                if self._gone(source):
                    raise self._nothing(doing) from None
                if not replace and (status.code == TAKEN or self._attributes(target) is not None):
                    raise Exists(f"{doing}: the name is taken") from None
                if status.code == NO_SUCH_FILE:
                    raise TransportRefused(f"{doing}: the server finds no such file, and shows it") from None
                raise

    def _gone(self, path: bytes) -> bool:
        """Is it certain that there is no such file? Not when the folder has gone too, or can't be looked into."""
        return self._attributes(path) is None and self._attributes(self._bytes(self._folder or ".")) is not None

    @staticmethod
    def _nothing(doing: str) -> Missing:
        return Missing(f"{doing}: there is nothing to rename")

    def remove(self, name: str) -> None:
        from slussen.transports.sftp_client import Status

        path = self._path(name)
        with self._said(f"removing {name}"):
            try:
                self._client.delete(path)
            except Status:
                if self._attributes(path) is not None:
                    raise

    def shelf(self, name: str, taken: Collection[str] = ()) -> str:
        from slussen.transports.sftp_client import Status

        folder = self._folder + ARCHIVE
        with self._said(f"archiving {name}"):
            with suppress(Status):  # it is there; if it can't be made, the rename says so
                self._client.make_folder(self._bytes(folder))
            if not taken and self._attributes(self._bytes(f"{folder}/{plain(name)}")) is None:
                return f"{ARCHIVE}/{name}"
            return free_place(name, taken, {self._name(raw) for raw, _ in self._client.names(self._bytes(folder))})

    def archive(self, seen: Entry, place: str) -> str:
        self._move(f"archiving {seen.name}", self._path(seen.name), self._shelved(place))
        return place

    def shelved(self, place: str) -> Entry | None:
        with self._said(f"looking for {place}"):
            return self._entry(place, self._shelved(place))

    def shelved_digest(self, place: str) -> str:
        path = self._shelved(place)
        with self._said(f"reading {place}", path):
            return self._read_digest(path)

    def put_back(self, place: str, name: str) -> None:
        self._move(f"putting {place} back", self._shelved(place), self._path(name))

    def _move(self, doing: str, old: bytes, new: bytes) -> None:
        """Over nothing that is there: by the protocol's own rename, and a look before, since some servers' replaces."""
        from slussen.transports.sftp_client import Status

        with self._said(doing, old):
            if self._attributes(new) is not None and not self._gone(old):
                raise Exists(f"{doing}: the name is taken")
            try:
                self._client.rename_new(old, new)
            except Status as status:
                if not self._gone(old) and (status.code == TAKEN or self._attributes(new) is not None):
                    raise Exists(f"{doing}: the name is taken") from None
                raise

    def _shelved(self, place: str) -> bytes:
        return self._bytes(f"{self._folder}{ARCHIVE}/{plain(place.removeprefix(f'{ARCHIVE}/'))}")

    def close(self) -> None:
        self._open_client = None
        if self._transport is not None:
            self._transport.close()

    @property
    def _client(self) -> Client:
        if self._open_client is None:
            raise ConnectionError
        return self._open_client

    def _path(self, name: str) -> bytes:
        return self._bytes(self._folder + plain(name))

    def _connect(self) -> None:
        doing = f"connecting to {self._host}"
        self.close()
        try:
            with self._said(doing, connecting=True):
                self._log_in(self._start(doing), doing)
        except BaseException:
            self.close()
            raise

    def _start(self, doing: str) -> paramiko.Transport:
        """An encrypted connection to the server that has the pinned key."""
        import paramiko

        from slussen.transports.sftp_client import Line

        connection = socket.create_connection((self._host, self._port), TIMEOUT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        transport = self._transport = paramiko.Transport(Line(connection, TIMEOUT))
        logging.getLogger(SILENT).setLevel(logging.CRITICAL + 1)
        transport.set_log_channel(SILENT)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = TIMEOUT
        transport.channel_timeout = TIMEOUT
        options = transport.get_security_options()
        options.ciphers = [c for c in CIPHERS if c in options.ciphers]
        options.key_types = [t for t in _algorithms(self._pinned) if t in options.key_types]
        try:
            transport.start_client(timeout=TIMEOUT)
        except paramiko.ssh_exception.IncompatiblePeer:
            raise TransportRefused(
                f"{doing}: the server offers no key of the pinned kind ({', '.join(self._pinned.values())}), or no "
                "algorithm that we use. Next: ask the partner what they have changed"
            ) from None
        shown = transport.get_remote_server_key().asbytes()
        if shown not in self._pinned:
            raise TransportRefused(
                f"{doing}: the host key is {_fingerprint(shown)}, not {' or '.join(map(_fingerprint, self._pinned))}. "
                "Nothing was sent. Next: ask the partner, by another way, whether they have changed their key; if so, "
                "add the new one to the connection's host_key"
            )
        return transport

    def _log_in(self, transport: paramiko.Transport, doing: str) -> None:
        import paramiko

        from slussen.transports.sftp_client import Client

        try:
            wanted = ["password"]
            if self._key[0]:
                wanted = transport.auth_publickey(self._user, _private_key(*self._key))
            if wanted:
                wanted = transport.auth_password(self._user, self._password, fallback=True)
            if wanted:
                raise paramiko.AuthenticationException
        except paramiko.AuthenticationException as error:
            if not transport.is_active() or "timeout" in str(error).lower():
                raise TransportError(f"{doing}: the connection failed while logging in") from None
            raise TransportRefused(
                f"{doing}: the server doesn't let {self._user} in. Next: check the connection's login, password and "
                "private_key with the partner"
            ) from None
        channel = transport.open_session(timeout=TIMEOUT)
        channel.settimeout(TIMEOUT)
        late = threading.Timer(TIMEOUT, transport.close)  # paramiko waits for the subsystem's reply without end
        late.daemon = True
        late.start()
        try:
            channel.invoke_subsystem("sftp")
            client = Client(channel)
            client.ask_limits()
        finally:
            late.cancel()
        self._open_client = client

    @contextmanager
    def _said(self, doing: str, path: bytes = b"", *, connecting: bool = False) -> Iterator[None]:
        """Status codes as our errors; a connection that has failed is closed and not used again.

        The server's own words are left out: they may quote anything.
        """

        from slussen.transports.sftp_client import Status

        if self._open_client is None and not connecting:
            raise TransportError(f"{doing}: the connection is closed")
        try:
            yield
        except Status as status:
            raise self._meaning(doing, status, path) from None
        except _failures() as error:
            self.close()
            raise TransportError(f"{doing}: {type(error).__name__}: the connection failed") from None

    def _meaning(self, doing: str, status: Status, path: bytes) -> TransportError | TransportRefused:
        if status.code == NO_SUCH_FILE and path:
            with self._said(doing):
                if self._gone(path):
                    return Missing(f"{doing}: there is none")
        if status.code == TAKEN:
            return Exists(f"{doing}: the name is taken")
        kind = TransportRefused if status.code in FINAL or status.code == NO_SUCH_FILE else TransportError
        words = f": {MEANINGS[status.code]}" if status.code in MEANINGS else ""
        return kind(f"{doing}: the server says no (status {status.code}{words})")


def _pinned(host: str, lines: str) -> dict[bytes, str]:
    """The keys of a connection's ``host_key``, each with its kind."""
    keys = {}
    for line in filter(None, (line.strip() for line in lines.splitlines())):
        try:
            kind, key = line.split()[:2]
            keys[base64.b64decode(key, validate=True)] = kind
        except ValueError:
            keys.clear()
            break
    if not keys:
        raise CallError(
            f"{host}: no host key is pinned. Next: put the server's public key, as the partner has given it, into the "
            "connection's host_key (ssh-ed25519 AAAA…)"
        )
    return keys


def _algorithms(pinned: dict[bytes, str]) -> list[str]:
    """The signature algorithms to ask the server for, so that it shows a key of a pinned kind."""
    kinds = dict.fromkeys(pinned.values())
    return [a for k in kinds for a in (("rsa-sha2-512", "rsa-sha2-256") if k == "ssh-rsa" else (k,))]


def _fingerprint(key: bytes) -> str:
    """As OpenSSH shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _private_key(text: str, passphrase: str) -> paramiko.PKey:
    import paramiko

    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with suppress(paramiko.SSHException, ValueError):
            return kind.from_private_key(io.StringIO(text), passphrase or None)
    raise TransportRefused("the connection's private_key can't be read. Next: check it and its passphrase")


def _failures() -> tuple[type[Exception], ...]:
    """What a connection fails with; also where a byte arrives as another one: paramiko passes on what it meets."""
    import paramiko
    from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm

    spoilt = InvalidTag, InvalidSignature, UnsupportedAlgorithm, struct.error
    return (*spoilt, paramiko.SSHException, paramiko.SFTPError, EOFError, OSError, ValueError, LookupError)
