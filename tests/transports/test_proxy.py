"""The fault proxy: each fault comes exactly where it was armed, once, and what follows goes through."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.faults import Fault, Switches
from sandbox.proxy import Cut, Proxy


class Echo(socketserver.StreamRequestHandler):
    """Says each line again."""

    def handle(self) -> None:
        for line in self.rfile:
            self.server.heard.append(line)  # type: ignore[attr-defined]
            self.wfile.write(line)
        self.wfile.write(b"end\n")


@pytest.fixture
def echo() -> Iterator[Any]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, allow_reuse_address = True, True

    with Server(("127.0.0.1", 0), Echo) as server:
        server.heard = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo: Any) -> Iterator[Proxy]:
    with Proxy(echo.server_address) as proxy:
        yield proxy


def say(proxy: Proxy, *lines: bytes, seconds: float = 2) -> list[bytes | str]:
    """What comes back for each line; how it ended when it did."""
    heard: list[bytes | str] = []
    with socket.create_connection(("127.0.0.1", proxy.port)) as s, s.makefile("rb") as file:
        s.settimeout(seconds)
        try:
            for line in lines:
                s.sendall(line)
                heard.append(file.readline())
        except TimeoutError:
            heard.append("silence")
        except ConnectionError:
            heard.append("reset")
    return heard


def test_nothing_armed_nothing_changed(proxy: Proxy) -> None:
    assert say(proxy, b"one\n", b"two\n") == [b"one\n", b"two\n"]
    assert (proxy.carried["control", "up"], proxy.fired) == (8, False)


@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_a_connection_is_cut_after_exactly_so_many_bytes(proxy: Proxy, echo: Any, after: int) -> None:
    proxy.arm(Cut("reset", way="up", after=after))
    assert say(proxy, b"one\n", b"two\n")[-1] in ("reset", b"")
    assert proxy.fired
    for _ in range(100):
        if proxy.carried.get(("control", "up"), 0) == after:
            break
        time.sleep(0.01)
    assert proxy.carried.get(("control", "up"), 0) == after
    assert say(proxy, b"again\n") == [b"again\n"], "once only"


def test_a_reply_is_swallowed_after_the_command_has_arrived(proxy: Proxy, echo: Any) -> None:
    proxy.arm(Cut("swallow", word=b"RNTO x\n"))
    assert say(proxy, b"RNFR y\n", b"RNTO x\n") == [b"RNFR y\n", b""]
    assert echo.heard == [b"RNFR y\n", b"RNTO x\n"]


def test_half_closed_the_other_way_goes_on(proxy: Proxy) -> None:
    proxy.arm(Cut("half", way="up", after=4))
    assert say(proxy, b"one\n", b"two\n") == [b"one\n", b"end\n"]


def test_a_hang_is_silence(proxy: Proxy) -> None:
    proxy.arm(Cut("hang", way="down", after=4))
    assert say(proxy, b"one\n", b"two\n", seconds=0.3) == [b"one\n", "silence"]


def test_a_flipped_byte_is_another_one(proxy: Proxy) -> None:
    proxy.arm(Cut("flip", way="down", after=5))
    assert say(proxy, b"one\n", b"two\n", b"three\n") == [b"one\n", b"tWo\n", b"three\n"]


@pytest.mark.parametrize("cut", [Cut("delay", seconds=0.4), Cut("trickle", rate=10, after=1)])
def test_slowness_is_measured(proxy: Proxy, cut: Cut) -> None:
    proxy.arm(cut)
    began = time.monotonic()
    assert say(proxy, b"one two\n") == [b"one two\n"]
    assert 0.3 < time.monotonic() - began < 2


def test_a_switch_is_seen_while_the_server_runs_and_counts_its_times(tmp_path: Any) -> None:
    switches, operator = Switches(tmp_path / "faults.json"), Switches(tmp_path / "faults.json")
    assert switches.find("put", "drop") is None
    operator.set(Fault(kind="drop", on="put", name="FD-F30*", bytes=10, times=2))
    assert switches.find("get", "drop", name="FD-F30-1") is None
    assert switches.find("put", "drop", name="FD-F29-1") is None
    found = [switches.find("put", "full", "drop", name="FD-F30-1") for _ in range(3)]
    assert [f and f.bytes for f in found] == [10, 10, None]
    operator.set()
    assert switches.find("put", "drop", name="FD-F30-1") is None
    with pytest.raises(ValueError, match="no such fault"):
        Fault(kind="explode")  # type: ignore[arg-type]
