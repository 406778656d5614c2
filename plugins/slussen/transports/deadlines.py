"""What takes longer than it should is ended, however it trickles: a socket's timeout is one for each piece of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer


@contextmanager
def within(sock: socket.socket | None, seconds: float) -> Iterator[None]:
    """The block is over by then, or its connection is; whoever reads from that sees that it has ended."""
    deadline = ended_after(sock, seconds) if sock is not None else None
    try:
        yield
    finally:
        if deadline is not None:
            deadline.cancel()


def ended_after(sock: socket.socket, seconds: float) -> Timer:
    """Ends a connection then, unless the timer is cancelled."""
    timer = Timer(seconds, _end, [sock])
    timer.daemon = True
    timer.start()
    return timer


def _end(sock: socket.socket) -> None:
    with suppress(OSError):  # of the connection itself: TLS would be taken off first, under its reader
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
