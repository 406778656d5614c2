"""A proxy that breaks connections to real servers: between a client and a server, on loopback, after any byte.

    with Proxy(("127.0.0.1", 2222)) as proxy:
        proxy.arm(Cut("reset", way="up", after=1000))
        ...  # the client is given proxy.port
        assert proxy.fired

One ``Cut`` is armed at a time and is done once, on the connection that it fits; what comes after it goes through, so
that a retry finds a sound network. With ``ftp`` the passive ports that the server names are led through the proxy too
(for control connections without TLS): each is a connection of its own, of the kind ``data``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Self

CHUNK = 1 << 16
LONGEST = 64  # bytes of a word
EXTENDED = re.compile(rb"(229 [^\r\n]*\(\|\|\|)(\d+)(\|\))")
PASSIVE = re.compile(rb"(227 [^\r\n]*?)(\d+,\d+,\d+,\d+),(\d+),(\d+)")

Way = Literal["up", "down"]  # towards the server, towards the client
Kind = Literal["control", "data"]


@dataclass(frozen=True, slots=True)
class Cut:
    """One fault of the network.

    It comes when ``after`` bytes have gone this ``way`` on a connection since it was armed (so many exactly have
    arrived on the other side), or, with ``word``, when these bytes have (``b"RNTO"``: the command has arrived, its
    reply is next).

    - ``drop``, ``reset``: both sides are closed, in order or by a reset
    - ``swallow``: the next bytes that come the *other* way (the reply) are lost, then both sides are closed
    - ``half``: the receiver of this way is told that it has ended; the other way goes on
    - ``hang``: nothing goes either way any more, and nothing is closed
    - ``delay``: everything waits ``seconds`` once
    - ``trickle``: from here on ``rate`` bytes a second
    - ``flip``: the next byte arrives as another one
    """

    what: Literal["drop", "reset", "swallow", "half", "hang", "delay", "trickle", "flip"]
    way: Way = "up"
    after: int = 0
    word: bytes = b""
    on: Kind = "control"
    seconds: float = 0.5
    rate: int = 1


class Proxy:
    """A listening proxy in a thread of its own; a context manager. ``port`` is what a client connects to."""

    def __init__(self, server: tuple[str, int], *, ftp: bool = False) -> None:
        self.server, self.ftp = server, ftp
        self.port = 0
        self.fired = False
        self.connections = 0
        self.carried: dict[tuple[Kind, Way], int] = {}  # bytes since the last arm(), by kind and way
        self._cut: Cut | None = None
        self._armed = 0
        self._loop = asyncio.new_event_loop()
        self._ready: Future[int] = Future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True, name="proxy")

    def arm(self, cut: Cut | None) -> None:
        """Have this happen next; None lets everything through."""
        self._cut, self.fired, self.carried = cut, False, {}
        self._armed += 1

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(10)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(10)

    def drop_all(self) -> None:
        """Reset every connection that is open: the end of an injection that hangs."""
        self._loop.call_soon_threadsafe(self._cancel, self._connections)

    def _cancel(self, tasks: set[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()

    def _stop(self) -> None:
        self._cancel(self._tasks)
        self._loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            listener = self._listen("control", self.server)
            self._ready.set_result(listener.getsockname()[1])
            self._loop.run_forever()
            self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        finally:
            self._loop.close()

    def _listen(self, kind: Kind, server: tuple[str, int], *, once: bool = False) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        listener.setblocking(False)
        self._spawn(self._accept(listener, kind, server, once=once))
        return listener

    async def _accept(self, listener: socket.socket, kind: Kind, server: tuple[str, int], *, once: bool) -> None:
        with listener:
            while True:
                client, _ = await self._loop.sock_accept(listener)
                self.connections += 1
                carrying = self._spawn(self._connection(client, kind, server))
                self._connections.add(carrying)
                carrying.add_done_callback(self._connections.discard)
                if once:
                    return

    def _spawn(self, what: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(what)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connection(self, client: socket.socket, kind: Kind, server: tuple[str, int]) -> None:
        upstream = socket.socket()
        pair = _Pair(client, upstream, self._take, self._note, kind)
        try:
            for end in (client, upstream):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(upstream, server)
            rewrite = self._rewrite if self.ftp and kind == "control" else None
            await pair.carry(rewrite)
        except _Dropped:
            pass
        except (OSError, asyncio.CancelledError):
            pair.reset()
        finally:
            pair.close()

    def _take(self, kind: Kind, way: Way) -> tuple[Cut | None, int]:
        """The armed fault, if it is for this way of a connection of this kind; and the how manieth that is armed."""
        cut = self._cut
        fits = cut is not None and not self.fired and (cut.on, cut.way) == (kind, way)
        return cut if fits else None, self._armed

    def _note(self, kind: Kind, way: Way, size: int, *, fired: bool) -> None:
        self.carried[kind, way] = self.carried.get((kind, way), 0) + size
        self.fired = self.fired or fired

    def _rewrite(self, data: bytes) -> bytes:
        """The server's passive port, as one of ours that leads to it."""

        def extended(match: re.Match[bytes]) -> bytes:
            return match[1] + str(self._passive(int(match[2]))).encode() + match[3]

        def passive(match: re.Match[bytes]) -> bytes:
            port = self._passive(int(match[3]) * 256 + int(match[4]))
            return match[1] + b"127,0,0,1,%d,%d" % (port >> 8, port & 255)

        return PASSIVE.sub(passive, EXTENDED.sub(extended, data))

    def _passive(self, port: int) -> int:
        listener = self._listen("data", (self.server[0], port), once=True)
        return int(listener.getsockname()[1])


class _Dropped(Exception):
    """Close both sides in order."""


class _Pair:
    """The two sides of one connection."""

    def __init__(
        self, client: socket.socket, server: socket.socket, take: Callable[[Kind, Way], tuple[Cut | None, int]],
        note: Callable[..., None], kind: Kind,
    ) -> None:  # fmt: skip
        self.client, self.server, self.take, self.note, self.kind = client, server, take, note, kind
        self.loop = asyncio.get_running_loop()
        self.swallowing: Way | None = None
        self.rate = 0

    async def carry(self, rewrite: Callable[[bytes], bytes] | None) -> None:
        ways = [
            asyncio.ensure_future(self.one_way("up", self.client, self.server, None)),
            asyncio.ensure_future(self.one_way("down", self.server, self.client, rewrite)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for task in ways:
                task.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def one_way(
        self, way: Way, source: socket.socket, sink: socket.socket, rewrite: Callable[[bytes], bytes] | None
    ) -> None:
        passed, tail = 0, b""  # tail: the last bytes, in which a word may have begun
        _, armed = self.take(self.kind, way)
        while True:
            (cut, now), data = self.take(self.kind, way), b""
            passed, armed = passed if now == armed else 0, now
            if cut is not None and not cut.word and passed >= cut.after:
                data = await self.strike(cut, way, source, sink)
            data = data or await self.loop.sock_recv(source, CHUNK)
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            if self.swallowing == way:
                raise _Dropped
            if rewrite is not None:
                data = rewrite(data)
            cut, now = self.take(self.kind, way)
            passed, armed = passed if now == armed else 0, now
            at = None if cut is None else place(cut, passed, tail, data)
            if cut is None or at is None:
                await self.send(way, sink, data)
            else:
                await self.send(way, sink, data[:at])
                await self.send(way, sink, await self.strike(cut, way, source, sink, data[at:]))
            passed, tail = passed + len(data), (tail + data)[-LONGEST:]

    async def strike(self, cut: Cut, way: Way, source: socket.socket, sink: socket.socket, rest: bytes = b"") -> bytes:
        """Do it; what goes on of the bytes in hand."""
        self.note(self.kind, way, 0, fired=True)
        match cut.what:
            case "drop":
                raise _Dropped
            case "reset":
                raise ConnectionResetError
            case "swallow":
                self.swallowing = "down" if way == "up" else "up"
            case "half":
                sink.shutdown(socket.SHUT_WR)
                await self.drain(source)
                await asyncio.Event().wait()  # the other way ends the connection
            case "hang":
                await asyncio.wait(
                    [asyncio.ensure_future(self.drain(end)) for end in (self.client, self.server)],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                raise _Dropped
            case "delay":
                await asyncio.sleep(cut.seconds)
            case "trickle":
                self.rate = cut.rate
            case "flip":
                rest = rest or await self.loop.sock_recv(source, CHUNK)
                return bytes([rest[0] ^ 0x20]) + rest[1:] if rest else rest
        return rest

    async def drain(self, source: socket.socket) -> None:
        """Read what comes, for nothing."""
        while await self.loop.sock_recv(source, CHUNK):
            pass

    async def send(self, way: Way, sink: socket.socket, data: bytes) -> None:
        self.note(self.kind, way, len(data), fired=False)
        if not self.rate:
            await self.loop.sock_sendall(sink, data)
            return
        for n in range(0, len(data), step := max(self.rate // 10, 1)):
            await self.loop.sock_sendall(sink, data[n : n + step])
            await asyncio.sleep(step / self.rate)

    def reset(self) -> None:
        for end in (self.client, self.server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        self.client.close()
        self.server.close()


def place(cut: Cut, passed: int, tail: bytes, data: bytes) -> int | None:
    """Where in these bytes the fault comes, if it does: so many of them go through first."""
    if not cut.word:
        return max(cut.after - passed, 0) if cut.after - passed <= len(data) else None
    start = max(len(tail) - len(cut.word) + 1, 0)
    at = (tail + data).find(cut.word, start)
    return None if at < 0 else at + len(cut.word) - len(tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="host:port of the server behind it")
    parser.add_argument("what", choices=["drop", "reset", "swallow", "half", "hang", "delay", "trickle", "flip"])
    parser.add_argument("--way", choices=["up", "down"], default="up")
    parser.add_argument("--after", type=int, default=0, metavar="BYTES")
    parser.add_argument("--ftp", action="store_true", help="lead the passive ports through the proxy too")
    options = parser.parse_args()
    host, _, port = options.server.rpartition(":")
    with Proxy((host, int(port)), ftp=options.ftp) as proxy:
        proxy.arm(Cut(options.what, way=options.way, after=options.after))
        print(f"127.0.0.1:{proxy.port}", flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
