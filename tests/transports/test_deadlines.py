"""No answer takes longer than a step may, however it trickles, and whether it ends or not."""

from __future__ import annotations

import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from slussen.errors import TransportError
from slussen.transports import Message, Unknown, tls
from slussen.transports.imap import Mailbox
from slussen.transports.shs import Actor, Shs
from slussen.transports.submission import Submission

Talk = Callable[[socket.socket], None]
STEP = 1.0  # seconds that one may take here


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("imap", "submission", "shs", "shs_http"):
        monkeypatch.setattr(f"slussen.transports.{module}.TIMEOUT", STEP)


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def server(ca: trustme.CA) -> Iterator[Callable[..., int]]:
    """Somebody who talks like this to whoever connects; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    listeners = []

    def listen(talk: Talk, *, encrypted: bool) -> int:
        listeners.append(listener := socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            try:
                sock, _ = listener.accept()
                talk(context.wrap_socket(sock, server_side=True) if encrypted else sock)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield listen
    for listener in listeners:
        listener.close()


def without_end(piece: bytes, first: bytes = b"", *, asked: bool = False) -> Talk:
    """Something comes all the time."""

    def talk(sock: socket.socket) -> None:
        if asked:
            sock.recv(1 << 16)
        sock.sendall(first)
        while True:
            sock.sendall(piece)
            time.sleep(0.1)

    return talk


def given_up(work: Callable[[], object], error: type[Exception]) -> None:
    began = time.monotonic()
    with pytest.raises(error):
        work()
    assert STEP * 0.9 < time.monotonic() - began < STEP * 4


@pytest.mark.parametrize(
    "talk",
    [
        without_end(b"220-hello\r\n"),
        without_end(b"x", b"220 "),
        without_end(b"x", b"220 hello\r\n250-"),
    ],
    ids=["a greeting without end", "a greeting that trickles", "an answer that trickles"],
)
def test_a_gateway_whose_reply_does_not_end_is_given_up(server: Callable[..., int], tmp_path: Path, talk: Talk) -> None:
    gateway = Submission("localhost", server(talk, encrypted=False), "", "", str(tmp_path / "ca.pem"), "a@b", "c@d")
    given_up(gateway.ask, TransportError)


@pytest.mark.parametrize(
    "talk",
    [without_end(b"x", b"* OK "), without_end(b"* 1 EXISTS\r\n", b"* OK hello\r\n")],
    ids=["a greeting that trickles", "news without end"],
)
def test_a_mailbox_whose_answer_does_not_end_is_given_up(
    server: Callable[..., int], tmp_path: Path, talk: Talk
) -> None:
    port = server(talk, encrypted=True)
    given_up(lambda: Mailbox("localhost", port, "u", "p", tls.context(str(tmp_path / "ca.pem"))), TransportError)


@pytest.mark.parametrize(
    "talk",
    [
        without_end(b"x", b"HTTP/1.1 200 OK\r\nX-Said: ", asked=True),
        without_end(b"HTTP/1.1 100 Continue\r\n\r\n", asked=True),
    ],
    ids=["a header that trickles", "go on without end"],
)
def test_a_node_whose_head_does_not_end_is_given_up_and_what_it_was_sent_is_unknown(
    server: Callable[..., int], tmp_path: Path, talk: Talk
) -> None:
    def node() -> Shs:
        url = f"https://localhost:{server(talk, encrypted=True)}"
        return Shs(Actor(url=url, own="1", partner="2", product="p", ca=str(tmp_path / "ca.pem")))

    given_up(lambda: node().entries("*"), TransportError)
    given_up(lambda: node().send(Message("f29-1", "F29.TXT", "ab" * 32, 1), io.BytesIO(b"x")), Unknown)


def test_what_a_node_says_is_in_no_log(
    server: Callable[..., int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        sock.sendall(b"HTTP/1.1 500 Anna Svensson\r\nContent-Length: 0\r\n\r\n")

    caplog.set_level(logging.DEBUG)
    url = f"https://localhost:{server(talk, encrypted=True)}"
    with pytest.raises(TransportError):
        Shs(Actor(url=url, own="1", partner="2", product="p", ca=str(tmp_path / "ca.pem"))).entries("*")
    assert "Anna" not in caplog.text
    assert not [r for r in caplog.records if r.name.startswith(("httpx", "httpcore"))]
