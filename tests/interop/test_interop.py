"""The behaviours of ``tests/transports``' suite, asked of servers that nobody here wrote."""

from __future__ import annotations

import io
import os
import ssl
from hashlib import sha256

import asyncssh
import pytest
import trustme

from sandbox.proxy import Cut, Proxy
from slussen.archiving import archive
from slussen.errors import TransportError, TransportRefused
from slussen.transports import ftp, remote, sftp
from tests.interop.servers import Running
from tests.transports.places import CONTENT, Place
from tests.transports.test_conformance import *  # noqa: F403
from tests.transports.test_renaming import *  # noqa: F403

LARGE = bytes(range(256)) * 80_000  # 20 MB


def test_a_large_file_that_is_cut_off_is_gone_on_with(server: Running, place: Place) -> None:
    """Both ways; the server's own hash of what had arrived is asked for where it has one (ProFTPD)."""
    if server.login.get("tls"):
        pytest.skip("the data connections of an encrypted control connection can't be led through a proxy")
    kind = "control" if "host_key" in server.login else "data"
    with (
        Proxy(("127.0.0.1", server.login["port"]), ftp=kind == "data") as proxy,
        server.open(port=proxy.port) as to,
    ):
        place.bring("a", LARGE)
        proxy.arm(Cut("reset", way="down", after=15_000_000, on=kind))
        to.fetch("a", sink := io.BytesIO())
        assert proxy.fired
        assert sink.getvalue() == LARGE
        proxy.arm(Cut("reset", way="up", after=15_000_000, on=kind))
        to.put(name := to.temporary("b", "f-1", 1), io.BytesIO(LARGE), len(LARGE))
        assert proxy.fired
        assert to.verify(name, len(LARGE), sha256(LARGE).hexdigest())
        assert place.standing()[name] == LARGE


def test_what_is_no_file_is_listed_as_refused(place: Place) -> None:
    place.bring("a.txt")
    (place.folder / "link.txt").symlink_to("/etc/passwd")
    with place.open() as at:
        assert [e.name for e in at.entries("*.txt")] == ["a.txt", "link.txt, which is no regular file/"]
    (place.folder / "link.txt").unlink()


def test_the_servers_hash_of_a_large_file_is_waited_for(
    server: Running, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has one (ProFTPD)."""
    for module in (ftp, sftp, remote):
        monkeypatch.setattr(module, "TIMEOUT", 0.5)
    monkeypatch.setattr(remote, "HASHED", 50_000_000)
    place.bring("big", b"")
    os.truncate(place.folder / "big", 1 << 30)
    with server.open() as to:
        if not to._tells_hashes and not any(f.startswith("HASH") for f in getattr(to, "_features", {}).values()):
            pytest.skip("the server tells no hash")
        assert to.verify("big", 1 << 30, sha256(bytes(1 << 30)).hexdigest())


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp850"])
def test_a_name_in_any_encoding_is_listed_fetched_and_archived(place: Place, encoding: str) -> None:
    raw = "AVLÄSNINGLISTA.TXT".encode(encoding)
    for name in (raw, b"\xff\xfe.bin"):
        (place.folder / os.fsdecode(name)).write_bytes(CONTENT)
        (place.folder / os.fsdecode(name)).chmod(0o666)
    with place.open() as at:
        [entry] = at.entries("AVLÄSNINGLIS*.TXT")
        at.fetch(entry.name, sink := io.BytesIO())
        assert sink.getvalue() == CONTENT
        archive(at, entry)
    assert not (place.folder / os.fsdecode(raw)).exists()


def test_data_connections_without_the_control_connections_session_are_not_taken(
    server: Running, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What vsftpd and ProFTPD demand, and Python's own client doesn't do."""
    if not server.login.get("tls"):
        pytest.skip("this server speaks no TLS")
    with place.open() as at:
        monkeypatch.setattr(ssl.SSLSocket, "session", None)
        with pytest.raises((TransportError, TransportRefused)):
            at.put("a", io.BytesIO(CONTENT), len(CONTENT))


def test_an_authority_that_is_not_trusted_is_refused(server: Running) -> None:
    if not server.login.get("tls"):
        pytest.skip("this server speaks no TLS")
    with pytest.raises(TransportRefused, match="authority is unknown"):
        server.open(ca=trustme.CA().cert_pem.bytes().decode())


def test_another_host_key_is_refused(server: Running) -> None:
    if "host_key" not in server.login:
        pytest.skip("this server has no host key")
    other = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()
    with pytest.raises(TransportRefused, match="host key is SHA256"):
        server.open(host_key=other)
