"""Httpx as we use it: it tells nothing, and no answer's head takes longer than a step may."""

from __future__ import annotations

import logging
import socket
from threading import Timer
from typing import Any

from slussen.transports.deadlines import ended_after


def silenced() -> None:
    """Httpx and its parts tell of whole addresses, and in the server's words."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


class Answering:
    """Bounds how long an answer's head takes, by what httpx tells of its steps (its extension ``trace``)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sock: socket.socket | None = None
        self._deadline: Timer | None = None

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        step, _, state = event.rpartition(".")
        if step in ("connection.connect_tcp", "connection.start_tls") and state == "complete":
            self._sock = info["return_value"].get_extra_info("socket")
        if step != "http11.receive_response_headers":
            return
        if state == "started" and self._sock is not None:
            self._deadline = ended_after(self._sock, self._seconds)
        elif self._deadline is not None:
            self._deadline.cancel()
