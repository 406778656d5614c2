"""SFTP: keys that are pinned, names that are bytes, links, hangs, and a partner with every switch thrown."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sandbox.faults import Fault
from sandbox.proxy import Cut, Proxy
from slussen.archiving import archive
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.transports import Missing, remote, sftp
from tests.transports.places import CONTENT, Place
from tests.transports.places import sftp as sftp_place

LARGE = bytes(range(256)) * 80_000  # 20 MB: what is gone on with when it is cut off


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return sftp_place(request)


@pytest.fixture
def proxy(csn: tuple[Path, int]) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", csn[1])) as proxy:
        yield proxy


# --- who is at the other end


def test_another_host_key_than_the_pinned_one_is_refused_and_nothing_is_sent(place: Place) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(TransportRefused, match=r"host key is SHA256:\S+, not SHA256:.*Next: ask the partner"):
        place.open(host_key=other)


def test_a_server_without_a_key_of_the_pinned_kind_is_refused(place: Place) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    with pytest.raises(TransportRefused, match="no key of the pinned kind"):
        place.open(host_key=other)


def test_while_a_key_is_changed_both_are_pinned(place: Place, csn: tuple[Path, int]) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with place.open(host_key=other + (csn[0] / "host_key.pub").read_text()) as at:
        assert at.entries("*") == []


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 nonsense!", "\n\n"])
def test_without_a_pinned_key_nothing_is_opened(place: Place, key: str) -> None:
    with pytest.raises(CallError, match="no host key is pinned"):
        place.open(host_key=key)


def test_a_wrong_password_is_final_and_its_words_are_not_repeated(place: Place) -> None:
    with pytest.raises(TransportRefused, match="Next: check the connection's login") as caught:
        place.open(password="hemligt-lösenord")
    assert "hemligt" not in str(caught.value)


def test_a_private_key_that_cannot_be_read_is_refused_without_its_text(place: Place) -> None:
    with pytest.raises(TransportRefused, match="private_key can't be read") as caught:
        place.open(private_key="-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="drop", on="connect"), TransportError),
        (Fault(kind="refuse", on="login"), TransportRefused),
        (Fault(kind="delay", on="login", seconds=30), TransportError),
    ],
)
def test_a_connection_that_does_not_come_about(
    place: Place, fault: Fault, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp, "TIMEOUT", 1)
    assert place.switches is not None
    place.switches.set(fault)
    began = time.monotonic()
    with pytest.raises(kind):
        place.open()
    assert time.monotonic() - began < 10


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setattr(sftp, "TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        with pytest.raises(TransportError):
            place.open(port=mute.getsockname()[1])
        assert time.monotonic() - began < 10


def test_nobody_there_is_a_passing_fault(place: Place) -> None:
    with pytest.raises(TransportError):
        place.open(port=1)


def test_what_a_server_says_while_it_lets_nobody_in_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    key, words = asyncssh.generate_private_key("ssh-ed25519"), "quota of Elin Exempel exceeded"

    class Talkative(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self.conn = conn

        def begin_auth(self, username: str) -> bool:
            self.conn.send_auth_banner(f"{words}\n")
            self.conn.disconnect(11, words)
            return True

    async def serve() -> None:
        server = await asyncssh.create_server(Talkative, "127.0.0.1", 0, server_host_keys=[key])
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(TransportError):
                await asyncio.to_thread(
                    sftp.Sftp, "127.0.0.1", port, "u", "p", host_key=key.export_public_key().decode()
                )

    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    asyncio.run(serve())
    assert words not in caplog.text
    assert not [r for r in caplog.records if r.name.startswith(("paramiko", "slussen"))]


@pytest.mark.parametrize("on", ["put", "remove"])
def test_a_no_is_told_in_words_too(place: Place, on: Any) -> None:
    assert place.switches is not None
    place.bring("a")
    with place.open() as to:
        place.switches.set(Fault(kind="refuse", on=on))
        with pytest.raises(TransportRefused, match="status 3: permission denied"):
            to.put("b", io.BytesIO(CONTENT), len(CONTENT)) if on == "put" else to.remove("a")


# --- names and what they stand for


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp850"])
def test_names_are_bytes_and_a_listing_outlives_any_of_them(place: Place, encoding: str) -> None:
    raw = "AVLÄSNINGLISTA.TXT".encode(encoding)
    for name in (raw, b"\xff\xfe.bin", b"b.txt", "ÅÄÖ€.txt".encode()):
        (place.folder / os.fsdecode(name)).write_bytes(CONTENT)
    with place.open() as at:
        [entry] = at.entries("AVLÄSNINGLIS*.TXT")
        at.fetch(entry.name, sink := io.BytesIO())
        assert sink.getvalue() == CONTENT
        assert len(at.entries("*")) == 4
        archive(at, entry)
    assert (place.folder / "archive" / os.fsdecode(raw)).exists()


def test_a_name_is_delivered_in_the_endpoints_encoding(place: Place) -> None:
    with place.open(encoding="cp1252") as to:
        to.put(temporary := to.temporary("Å.txt", "f-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        to.rename(temporary, "Å.txt", replace=False)
        assert [e.name for e in to.entries("Å*")] == ["Å.txt"]
        with pytest.raises(CallError, match="cp1252"):
            to.exists("я.txt")
    assert b"\xc5.txt" in os.listdir(os.fsencode(place.folder))


def test_a_name_that_cannot_be_used_comes_last_and_is_refused(place: Place) -> None:
    for name in ("a\nb.txt", "c.txt", "\x1b[31m.txt"):
        place.bring(name)
    with place.open() as at:
        entries = at.entries("*.txt")
        assert entries[0].name == "c.txt"
        assert len(entries) == 3
        for entry in entries[1:]:
            with pytest.raises(TransportRefused, match="no plain file name"):
                at.fetch(entry.name, io.BytesIO())


@pytest.mark.parametrize("trap", ["link", "pipe", "folder"])
def test_what_is_no_file_is_listed_as_refused_and_not_read(place: Place, trap: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    match trap:
        case "link":
            (place.folder / "a.txt").symlink_to(tmp_path / "secret")
        case "pipe":
            os.mkfifo(place.folder / "a.txt")
        case "folder":
            (place.folder / "a.txt").mkdir()
    try:
        with place.open() as at:
            refused = [] if trap == "folder" else ["a.txt, which is no regular file/"]
            assert [e.name for e in at.entries("*.txt")] == refused
            assert at.stat("a.txt") is None
            with pytest.raises(TransportRefused, match="no regular file"):
                at.fetch("a.txt", io.BytesIO())
    finally:
        if trap == "folder":
            (place.folder / "a.txt").rmdir()


def test_a_link_under_the_temporary_name_is_not_written_through(place: Place, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    with place.open() as to:
        name = to.temporary("a.txt", "f29-1", 1)
        (place.folder / name).symlink_to(tmp_path / "precious")
        to.put(name, io.BytesIO(CONTENT), len(CONTENT))
    assert (tmp_path / "precious").read_bytes() == b"x"
    assert place.standing()[name] == CONTENT


def test_a_folder_that_has_gone_does_not_make_a_file_missing(place: Place) -> None:
    """A delivery would infer from it that its file has gone through."""
    (place.folder / "inbox").mkdir(exist_ok=True)
    with place.open(folder="inbox") as to:
        to.put(name := to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        (place.folder / "inbox").rename(place.folder / "elsewhere")
        with pytest.raises(TransportRefused) as caught:
            to.rename(name, "a", replace=False)
    assert not isinstance(caught.value, Missing)


# --- what goes wrong on the way


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="refuse", on="put"), TransportRefused),
        (Fault(kind="busy", on="put"), TransportError),
        (Fault(kind="full", on="put", bytes=100), TransportError),
        (Fault(kind="drop", on="put", bytes=100), TransportError),
        (Fault(kind="swallow", on="put"), TransportError),
    ],
)
def test_an_upload_that_fails_says_whether_it_passes(place: Place, fault: Fault, kind: type[Exception]) -> None:
    assert place.switches is not None
    with place.open() as to:
        place.switches.set(fault)
        with pytest.raises(kind):
            to.put(to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))


@pytest.mark.parametrize("fault", [Fault(kind="short", on="put", bytes=100), Fault(kind="size", on="stat", bytes=1)])
def test_what_did_not_arrive_whole_is_not_verified(place: Place, fault: Fault) -> None:
    assert place.switches is not None
    place.switches.set(fault)
    with place.open() as to:
        to.put(name := to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        assert not to.verify(name, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_reading_back_finds_other_bytes_of_the_same_number(place: Place) -> None:
    with place.open(read_back=True) as to:
        to.put(name := to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        digest = hashlib.sha256(CONTENT).hexdigest()
        assert to.verify(name, len(CONTENT), digest)
        place.bring(name, CONTENT[::-1])
        assert not to.verify(name, len(CONTENT), digest)


def test_a_lost_reply_to_a_rename_passes_and_the_next_connection_sees_what_happened(place: Place) -> None:
    assert place.switches is not None
    with place.open() as to:
        to.put(name := to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        place.switches.set(Fault(kind="swallow", on="rename", times=1))
        with pytest.raises(TransportError, match="connection failed"):
            to.rename(name, "a", replace=False)
        with pytest.raises(TransportError, match="closed"):
            to.exists("a")
    with place.open() as to, pytest.raises(Missing):
        to.rename(name, "a", replace=False)
    assert place.standing() == {"a": CONTENT}


def test_a_refused_rename_is_never_taken_for_a_missing_file(place: Place) -> None:
    assert place.switches is not None
    with place.open() as to:
        to.put(name := to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        place.switches.set(Fault(kind="refuse", on="rename"))
        with pytest.raises(TransportRefused) as caught:
            to.rename(name, "a", replace=False)
    assert not isinstance(caught.value, Missing)


def test_a_consumer_that_takes_at_once_has_it_once(place: Place, csn: tuple[Path, int]) -> None:
    assert place.switches is not None
    taken = csn[0] / "taken"
    before = set(taken.iterdir()) if taken.exists() else set()
    place.switches.set(Fault(kind="consume"))
    with place.open() as to:
        to.put(name := to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        to.rename(name, "a", replace=False)
        assert not to.exists("a")
        with pytest.raises(Missing):
            to.rename(name, "a", replace=False)
    assert [f.read_bytes() for f in set(taken.iterdir()) - before] == [CONTENT]


@pytest.mark.parametrize("on", ["get", "put"])
def test_a_trickle_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch, on: Any) -> None:
    monkeypatch.setattr(sftp, "TIMEOUT", 2)
    assert place.switches is not None
    place.bring("a", LARGE[:100_000])
    with place.open() as to:
        place.switches.set(Fault(kind="trickle", on=on, bytes=500))
        with pytest.raises(TransportError, match="TimeoutError"):
            to.fetch("a", io.BytesIO()) if on == "get" else to.put(".t", io.BytesIO(LARGE[:300_000]), 300_000)


def test_a_hang_is_given_up(place: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp, "TIMEOUT", 1)
    with place.open(port=proxy.port) as to:
        proxy.arm(Cut("hang", way="down"))
        began = time.monotonic()
        with pytest.raises(TransportError):
            to.exists("a")
        assert time.monotonic() - began < 10


def test_a_byte_that_arrives_as_another_one_is_a_connection_that_failed(place: Place, proxy: Proxy) -> None:
    failed = 0
    for after in range(60, 4000, 83):
        proxy.arm(Cut("flip", way="down", after=after))
        try:
            with place.open(port=proxy.port) as to:
                to.exists("a")
        except TransportError:
            failed += 1
    assert failed > 10


@pytest.mark.parametrize("what", ["hang", "trickle"])
def test_a_server_that_stops_reading_is_given_up(
    place: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, what: Any
) -> None:
    """On a real line the kernel takes less ahead than what we send ahead."""
    monkeypatch.setattr(sftp, "TIMEOUT", 1)
    with place.open(port=proxy.port) as to:
        to._transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)  # type: ignore[attr-defined]
        proxy.arm(Cut(what, way="up", after=100_000, rate=4000))
        done = threading.Event()
        threading.Timer(15, lambda: done.is_set() or proxy.drop_all()).start()
        began = time.monotonic()
        with pytest.raises(TransportError):
            to.put(".t", io.BytesIO(LARGE[:7_000_000]), 7_000_000)
        done.set()
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("after", [12_000_000, 15_000_000, 20_400_000])
@pytest.mark.parametrize("what", ["drop", "reset"])
def test_a_large_file_that_is_cut_off_is_gone_on_with(place: Place, proxy: Proxy, after: int, what: Any) -> None:
    place.bring("a", LARGE)
    with place.open(port=proxy.port) as to:
        proxy.arm(Cut(what, way="down", after=after))
        to.fetch("a", sink := io.BytesIO())
        assert proxy.fired
        assert sink.getvalue() == LARGE
    with place.open(port=proxy.port) as to:
        proxy.arm(Cut(what, way="up", after=after))
        to.put(name := to.temporary("b", "f-1", 1), io.BytesIO(LARGE), len(LARGE))
        assert proxy.fired
        assert proxy.carried["control", "up"] < 1.9 * len(LARGE), "what had arrived wasn't sent again"
        assert to.digest(name) == hashlib.sha256(LARGE).hexdigest()


def test_a_file_that_was_replaced_while_it_was_cut_off_is_not_gone_on_with(place: Place, proxy: Proxy) -> None:
    """As long, and with the time that it had."""
    place.bring("a", LARGE)
    stamp = (place.folder / "a").stat().st_mtime_ns
    with place.open(port=proxy.port) as to:
        connect = to._connect  # type: ignore[attr-defined]

        def replace() -> None:
            (place.folder / "a").write_bytes(LARGE[::-1])
            os.utime(place.folder / "a", ns=(stamp, stamp))
            connect()

        to._connect = replace  # type: ignore[attr-defined]
        proxy.arm(Cut("reset", way="down", after=15_000_000))
        with pytest.raises(TransportError, match="was replaced"):
            to.fetch("a", io.BytesIO())


def test_a_stump_with_other_bytes_is_not_gone_on_with(place: Place, proxy: Proxy) -> None:
    with place.open(port=proxy.port) as to:
        name = to.temporary("b", "f-1", 1)
        connect = to._connect  # type: ignore[attr-defined]

        def spoil() -> None:
            with (place.folder / name).open("r+b") as stump:
                stump.write(b"spoilt")
            connect()

        to._connect = spoil  # type: ignore[attr-defined]
        proxy.arm(Cut("reset", way="up", after=15_000_000))
        with pytest.raises(TransportError, match="nothing more of it had arrived"):
            to.put(name, io.BytesIO(LARGE), len(LARGE))


def test_a_small_file_that_is_cut_off_is_left_to_the_next_attempt(place: Place, proxy: Proxy) -> None:
    place.bring("a", LARGE[: remote.LARGE // 2])
    with place.open(port=proxy.port) as to:
        proxy.arm(Cut("reset", way="down", after=1_000_000))
        with pytest.raises(TransportError):
            to.fetch("a", io.BytesIO())


def test_a_file_that_grows_is_not_chased(place: Place) -> None:
    place.bring("a", LARGE[:1_000_000])

    class Growing(io.BytesIO):
        def write(self, data: Any) -> int:
            with (place.folder / "a").open("ab") as file:
                file.write(data)
            return super().write(data)

    with place.open() as at, pytest.raises(TransportError, match="still being written"):
        at.fetch("a", sink := Growing())
    assert len(sink.getvalue()) == 1_000_000


def test_a_large_files_hash_is_waited_for_longer_than_anything_else(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This server has none, and says so: what is looked at is how long it has had for it."""
    monkeypatch.setattr(remote, "HASHED", 1000)
    place.bring("a", LARGE[:90_000])
    waited = []
    with place.open() as to:
        client = to._client  # type: ignore[attr-defined]
        client.extensions["check-file"] = b""
        ask = client.ask

        def asking(kind: int, *arguments: Any, **more: Any) -> Any:
            waited.append((arguments[0] == "check-file-name", client.sock.gettimeout()))
            return ask(kind, *arguments, **more)

        client.ask = asking
        assert to.verify("a", 90_000, hashlib.sha256(LARGE[:90_000]).hexdigest())
        assert (True, sftp.TIMEOUT + 90) in waited
        assert client.sock.gettimeout() == sftp.TIMEOUT


def test_what_a_server_answers_out_of_turn_is_a_passing_fault(place: Place) -> None:
    """Half a megabyte of nonsense where SSH should be."""

    def talk(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            try:
                client.sendall(b"SSH-2.0-x\r\n" + b"\xff" * 500_000)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=talk, args=(listener,), daemon=True).start()
        with pytest.raises((TransportError, TransportRefused)):
            place.open(port=listener.getsockname()[1])


def test_short_answers_are_asked_for_again_until_the_file_is_whole(place: Place) -> None:
    """Some servers give less than was asked for: here, at most 100,000 bytes at a time."""
    assert place.switches is not None
    place.bring("a", LARGE[:250_000])
    place.switches.set(Fault(kind="trickle", on="get", bytes=100_000))
    with place.open() as at:
        at.fetch("a", sink := io.BytesIO())
    assert sink.getvalue() == LARGE[:250_000]
