"""FTP: listings in every manner, encodings, active mode, certificates, resume, switches."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from sandbox.faults import Fault
from sandbox.proxy import Cut, Proxy
from slussen.archiving import archive
from slussen.errors import TransportError, TransportRefused
from slussen.transports import ftp, ftp_listing, remote
from slussen.transports.ftp import Ftp
from tests.transports.places import CONTENT, Place
from tests.transports.places import ftp as ftp_place

LARGE = bytes(range(256)) * 80_000  # 20 MB


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    place = ftp_place(request)
    shutil.rmtree(place.folder / "archive", ignore_errors=True)
    return place


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("-rw-r--r--   1 slussen  stad      1234 Nov 25 09:40 FD-F29-å.txt", ("FD-F29-å.txt", 1234, "Nov 25 09:40")),
        ("-rw-r--r--   1 0  0  0 Nov  5  2025  two leading", (" two leading", 0, "Nov  5  2025")),
        ("-rw-r--r--.  1 1001 99999999 2147483648 maj 05 09:40 a b.txt", ("a b.txt", 2147483648, "maj 05 09:40")),
        ("-rw-rw----   1 group  77 2026-11-25 09:40 x", ("x", 77, "2026-11-25 09:40")),
        ("11-25-26  09:40AM                 1234 FD.TXT", ("FD.TXT", 1234, "11-25-26  09:40AM")),
        ("11-25-2026  21:40                    0 x y", ("x y", 0, "11-25-2026  21:40")),
        ("lrwxrwxrwx 1 a b 4 Nov 25 09:40 a -> b", ("a", None, "Nov 25 09:40")),
        ("prw-r--r-- 1 a b 0 Nov 25 09:40 fifo", ("fifo", None, "Nov 25 09:40")),
    ],
)
def test_a_line_of_a_listing_is_read(line: str, found: tuple[str, int | None, str]) -> None:
    assert list(ftp_listing.files([line])) == [found]


@pytest.mark.parametrize(
    "line",
    [
        "total 12",
        "",
        "drwxr-xr-x   2 a b 4096 Nov 25 09:40 archive",
        "11-25-26  09:40AM       <DIR>          archive",
    ],
)
def test_what_is_no_file_is_no_line(line: str) -> None:
    assert list(ftp_listing.files([line])) == []


@pytest.mark.parametrize("line", ["garbage", "-rw-r--r-- 1 a b x Nov 25 09:40 a", "Volume Unit Referred", "???"])
def test_a_line_that_cannot_be_read_is_told_by_its_number(line: str) -> None:
    assert list(ftp_listing.files(["total 1", line])) == [2]


def test_no_step_of_sending_is_longer_than_the_slowest_line_needs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout is one for a whole step: a line that is slower than it would never deliver."""
    steps, send = [], socket.socket.sendall

    def sending(connection: socket.socket, data: Any, *more: Any) -> None:
        steps.append(len(data))
        send(connection, data, *more)

    monkeypatch.setattr(socket.socket, "sendall", sending)
    with place.open() as to:
        to.put(".t", io.BytesIO(bytes(3_000_000)), 3_000_000)
    assert max(steps) <= remote.SLOWEST * ftp.TIMEOUT
    assert sum(steps) > 3_000_000


class Scripted:
    """A server that answers as it is told, over TLS where it has a context; for what no real one does on demand."""

    def __init__(
        self, replies: dict[str, str], data: bytes = b"", context: ssl.SSLContext | None = None, ends: str = ""
    ) -> None:
        self.replies, self.data, self.context, self.ends = replies, data, context, ends
        self.listener, self.passive = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.port, passive = self.listener.getsockname()[1], self.passive.getsockname()[1]
        self.replies = {"PASV": f"227 (127,0,0,1,{passive >> 8},{passive & 255})", **replies}
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        control, _ = self.listener.accept()
        control.sendall(f"{self.replies.get('', '220 hello')}\r\n".encode())
        file = control.makefile("rb")
        try:
            while line := file.readline():
                word = line[:4].strip().decode()
                control.sendall((self.replies.get(word, "502 no") + "\r\n").encode())
                if word == self.ends:
                    control.shutdown(socket.SHUT_RDWR)
                    return
                if word == "AUTH" and self.context is not None:
                    control = self.context.wrap_socket(control, server_side=True)
                    file = control.makefile("rb")
                elif word in ("LIST", "NLST", "RETR"):
                    sink, _ = self.passive.accept()
                    with sink:
                        sink.sendall(self.data)
                    control.sendall(b"226 done\r\n")
        except OSError:
            return


IN = {"USER": "230 in", "TYPE": "200 ok", "LIST": "150 here", "NLST": "150 here", "RETR": "150 here"}


def test_a_server_that_tells_no_sizes_is_read_by_its_listing_and_what_cannot_be_read_is_not_passed_over() -> None:
    lines = b"-rw-r--r-- 1 a b 5 Nov 25 09:40 a.txt\r\nnonsense\r\n"
    with Ftp("127.0.0.1", Scripted(IN, lines).port, "u") as at:
        at._names = lambda folder: ["a.txt", "nonsense"]  # type: ignore[method-assign]
        entries = at.entries("*.txt")
        assert [e.name for e in entries] == ["a.txt", "line 2 of the server's listing, which can't be read/"]
        with pytest.raises(TransportRefused, match="line 2 of the server's listing"):
            at.fetch(entries[1].name, io.BytesIO())


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        ({"": "421 Too many connections"}, TransportError),
        ({"USER": "530 Sorry, the maximum number of clients are already connected."}, TransportError),
        ({"USER": "530 Login incorrect."}, TransportRefused),
        ({"USER": "331 pw", "PASS": "530 Login incorrect."}, TransportRefused),
        ({"USER": "331 pw", "PASS": "421 Try later."}, TransportError),
    ],
)
def test_why_one_is_not_let_in_says_whether_it_passes(replies: dict[str, str], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Ftp("127.0.0.1", Scripted(replies).port, "u", "p")


# --- TLS


def certified(ca: trustme.CA, *names: str, days: int = 1) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=days)).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("names", "days", "trusted", "why"),
    [
        (("127.0.0.1",), -1, True, "has expired. Nothing was sent. Next: ask the partner for a renewed one"),
        (("ftp.example.org",), 1, True, "is for another (name|address).*Next: check the connection's host"),
        (("127.0.0.1",), 1, False, "authority is unknown.*Next: put the authority's certificate into"),
    ],
)
def test_a_certificate_that_does_not_hold_is_refused_before_anything_is_sent(
    names: tuple[str, ...], days: int, trusted: bool, why: str
) -> None:
    ca, other = trustme.CA(), trustme.CA()
    server = Scripted({"AUTH": "234 go", "USER": "230 in"}, context=certified(ca, *names, days=days))
    pem = (ca if trusted else other).cert_pem.bytes().decode()
    with pytest.raises(TransportRefused, match=why):
        Ftp("127.0.0.1", server.port, "u", "p", tls=True, ca=pem)


def test_a_self_signed_certificate_is_refused() -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ca.private_key_pem.tempfile() as key, ca.cert_pem.tempfile() as cert:
        context.load_cert_chain(cert, key)
    with pytest.raises(TransportRefused, match=r"self-signed.*Next: put that certificate"):
        Ftp("127.0.0.1", Scripted({"AUTH": "234 go"}, context=context).port, "u", "p", tls=True)


def test_a_server_without_tls_is_not_spoken_to_in_clear() -> None:
    with pytest.raises(TransportRefused, match="speaks no TLS"):
        Ftp("127.0.0.1", Scripted({"USER": "230 in"}).port, "u", "p", tls=True)


def test_a_connection_that_ends_while_tls_is_asked_for_has_failed() -> None:
    """ProFTPD refuses the part of AUTH that has come as it does any command in clear."""
    server = Scripted({"AUTH": "550 SSL/TLS required on the control channel"}, ends="AUTH")
    with pytest.raises(TransportError, match=r"the connection failed \(550\)"):
        Ftp("127.0.0.1", server.port, "u", "p", tls=True)


# --- the sandbox's partner


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp850"])
def test_a_swedish_name_is_found_and_delivered_in_any_encoding(place: Place, encoding: str) -> None:
    file = place.folder / os.fsdecode("PLACERÅDE.txt".encode(encoding))
    file.write_bytes(CONTENT)
    with place.open() as at:
        [entry] = at.entries("PLACERÅ*.txt")
        at.fetch(entry.name, sink := io.BytesIO())
        assert sink.getvalue() == CONTENT
        archive(at, entry)
    assert not file.exists()
    with place.open(encoding=encoding) as to:
        to.put(temporary := to.temporary("LÄNÖ.txt", "lis-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        to.rename(temporary, "LÄNÖ.txt", replace=False)
    assert "LÄNÖ.txt".encode(encoding) in os.listdir(os.fsencode(place.folder))


def test_active_mode_works_and_takes_the_servers_connection_only(place: Place) -> None:
    with place.open(passive=False) as to:
        to.put("a", io.BytesIO(LARGE), len(LARGE))
        to.fetch("a", sink := io.BytesIO())
    assert sink.getvalue() == LARGE


@pytest.fixture
def proxy(hanna: Any) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", hanna.files), ftp=True) as proxy:
        yield proxy


@pytest.mark.parametrize("what", ["drop", "reset"])
def test_a_large_file_that_is_cut_off_is_gone_on_with(place: Place, proxy: Proxy, what: Any) -> None:
    """An upload's ``drop`` looks like the end of the file: its size tells."""
    place.bring("a", LARGE)
    with place.open(port=proxy.port) as to:
        proxy.arm(Cut("reset", way="down", after=15_000_000, on="data"))
        to.fetch("a", sink := io.BytesIO())
        assert proxy.fired
        assert sink.getvalue() == LARGE
        proxy.arm(Cut(what, way="up", after=15_000_000, on="data"))
        digest = hashlib.sha256(LARGE).hexdigest()
        try:
            to.put(name := to.temporary("b", "f-1", 1), io.BytesIO(LARGE), len(LARGE))
        except TransportError:
            return  # the server took what came for the whole, and has none to go on with
        assert proxy.fired
        assert to.verify(name, len(LARGE), digest) == (place.standing()[name] == LARGE)


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
            to.put(to.temporary("a", "f29-1", 1), io.BytesIO(LARGE[:300_000]), 300_000)


@pytest.mark.parametrize(("fault", "whole"), [("short", False), ("size", False)])
def test_what_did_not_arrive_whole_is_not_verified(place: Place, fault: Any, whole: bool) -> None:
    assert place.switches is not None
    place.switches.set(Fault(kind=fault, on="put" if fault == "short" else "stat", bytes=100))
    with place.open() as to:
        to.put(name := to.temporary("a", "f29-1", 1), io.BytesIO(CONTENT), len(CONTENT))
        assert to.verify(name, len(CONTENT), hashlib.sha256(CONTENT).hexdigest()) is whole


def test_a_trickle_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp, "TIMEOUT", 1)
    assert place.switches is not None
    place.bring("a", LARGE[:100_000])
    with place.open() as to:
        place.switches.set(Fault(kind="trickle", on="get", bytes=500))
        with pytest.raises(TransportError, match="TimeoutError"):
            to.fetch("a", io.BytesIO())


def test_a_server_that_goes_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp, "TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        with pytest.raises(TransportError):
            Ftp("127.0.0.1", mute.getsockname()[1], "x", "y")
        assert time.monotonic() - began < 10


def test_a_server_that_is_not_there_is_a_passing_fault_and_a_wrong_password_is_not(place: Place) -> None:
    with pytest.raises(TransportError):
        place.open(port=1)
    with pytest.raises(TransportRefused):
        place.open(password="wrong")


def test_a_folder_lists_whole_names_and_nothing_hidden(place: Place) -> None:
    for name in ("SKV-INFIL1.TXT", "SKV-INFIL2.TXT", ".SKV-INFIL3.TXT", "skv-infil4.txt", "OTHER.TXT"):
        place.bring(name)
    (place.folder / "SKV-INFIL.TXT.d").mkdir(exist_ok=True)
    with place.open() as at:
        assert [e.name for e in at.entries("SKV-INFIL*")] == ["SKV-INFIL1.TXT", "SKV-INFIL2.TXT"]
    Path(place.folder / "SKV-INFIL.TXT.d").rmdir()
