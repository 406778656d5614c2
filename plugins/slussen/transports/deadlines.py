"""What takes longer than it should is ended, however it trickles: a socket's timeout is one for each piece of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Deadline:
    """Ends a connection that isn't done in time; whoever reads from it sees that it has ended."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end, [sock])
        self._timer.daemon = True
        self._timer.start()

    @staticmethod
    def _end(sock: socket.socket) -> None:
        with suppress(OSError):  # of the connection itself: TLS would be taken off first, under its reader
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def kept(self) -> None:
        self._timer.cancel()


@contextmanager
def within(sock: socket.socket | None, seconds: float) -> Iterator[None]:
    """The block is over by then, or its connection is."""
    deadline = Deadline(sock, seconds) if sock is not None else None
    try:
        yield
    finally:
        if deadline is not None:
            deadline.kept()


class Answering:
    """Bounds how long an HTTP answer's head takes, by what httpx tells of its steps (its extension ``trace``)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sock: socket.socket | None = None
        self._deadline: Deadline | None = None

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        step, _, state = event.rpartition(".")
        if step in ("connection.connect_tcp", "connection.start_tls") and state == "complete":
            self._sock = info["return_value"].get_extra_info("socket")
        if step != "http11.receive_response_headers":
            return
        if state == "started" and self._sock is not None:
            self._deadline = Deadline(self._sock, self._seconds)
        elif self._deadline is not None:
            self._deadline.kept()
