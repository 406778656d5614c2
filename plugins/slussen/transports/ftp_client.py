"""Python's ftplib as we need it: data connections of our own making, TLS on both connections, replies kept in step.

Data connections go to the control connection's peer, whatever address the server names (ftplib's default), and in
active mode only the peer's are taken. Under TLS they go on with the control connection's session, which vsftpd and
ProFTPD demand by default: it proves that both connections are the same client's.
"""

from __future__ import annotations

import ftplib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import BinaryIO

from slussen.transports.remote import Pace

CHUNK = 1 << 20
SLICE = 1 << 16  # bytes that one step of sending may take its time over
LISTING = 64 << 20  # bytes of the longest listing that is taken
AHEAD = 16  # chunks that may have come and not been taken yet
ENDING = 0.5  # seconds in which a server that ends the connection has done so
GRACE = 5  # seconds for a server to notice that we break off


class Client(ftplib.FTP_TLS):
    """A connection, encrypted when there is a context for it. Names are letters of one byte each."""

    def __init__(self, context: ssl.SSLContext | None, *, passive: bool, timeout: float) -> None:
        self.encrypted = context is not None
        super().__init__(context=context, timeout=timeout, encoding="latin-1")
        self.set_pasv(passive)
        self._unread = b""
        self._until = 0.0

    def enter(self, user: str, password: str) -> None:
        """Log in; nothing is said before the connection is encrypted, when it has to be."""
        if self.encrypted:
            self.auth()
            self._unread = b""  # what came in clear isn't taken for what comes encrypted
        super().login(user, password, secure=False)
        if self.encrypted:
            self.prot_p()

    @contextmanager
    def patient(self, seconds: float) -> Generator[None, None, None]:
        """Wait longer than usual for what is answered meanwhile."""
        sock = self.sock
        if sock is not None:
            sock.settimeout(max(seconds, float(self.timeout or 0)))
        try:
            yield
        finally:
            if sock is not None:
                sock.settimeout(self.timeout)

    def ended(self) -> bool:
        """Does the server end the connection, as it does after a command of which only a part has come?"""
        if self.sock is None or isinstance(self.sock, ssl.SSLSocket):
            return self.sock is None
        self.sock.settimeout(ENDING)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(self.timeout)

    def getmultiline(self) -> str:
        """A reply, whole within our timeout once it has begun: a server that trickles hangs."""
        self._until = 0.0
        return super().getmultiline()

    def getline(self) -> str:
        while b"\n" not in self._unread:
            if len(self._unread) > self.maxline:
                raise ftplib.Error("a line without an end")
            if self._until and time.monotonic() > self._until:
                raise TimeoutError
            if self.sock is None or not (data := self.sock.recv(1 << 13)):
                raise EOFError
            self._until = self._until or time.monotonic() + float(self.timeout or 0)
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.removesuffix(b"\r").decode(self.encoding)

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[ssl.SSLSocket, int | None]:
        """The data connection, checked to be the server's."""
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        try:
            if self.sock is None or conn.getpeername()[0] != self.sock.getpeername()[0]:
                raise ConnectionRefusedError
            if self.encrypted:
                session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
                conn = self.context.wrap_socket(conn, server_hostname=self.host, session=session)
        except BaseException:
            conn.close()
            raise
        return conn, size  # type: ignore[return-value]

    def retrlines(self, cmd: str, callback: Callable[[str], object] | None = None) -> str:
        """A listing's lines, whole: a name that was cut off is another name.

        Raises:
            EOFError: the last line doesn't end.
            TimeoutError: it trickles, or is longer than any listing.
        """
        self.voidcmd("TYPE A")
        pace, parts = Pace(float(self.timeout or 0), LISTING), []
        with self.ntransfercmd(cmd)[0] as conn:
            while part := conn.recv(CHUNK):
                parts.append(part)
                pace.passed(len(part))
            self._end(conn)
        reply = self.voidresp()
        data = b"".join(parts)
        if data and not data.endswith(b"\n"):
            raise EOFError
        for line in data.decode(self.encoding).split("\n")[:-1]:
            (callback or print)(line.removesuffix("\r"))
        return reply

    def receive(
        self, path: str, take: Callable[[memoryview], object], pace: Pace, rest: int = 0, *, kind: str = "I"
    ) -> None:
        """Take a file's bytes from a place on."""
        self.voidcmd(f"TYPE {kind}")
        with self.ntransfercmd(f"RETR {path}", rest or None)[0] as conn:
            try:
                with closing(_ahead(conn, pace)) as chunks:
                    for data in chunks:
                        take(data)
            except BaseException:  # what the server says of that would be taken for its next reply
                self.close()
                raise
            self._end(conn)
        self.voidresp()

    def send(self, path: str, source: BinaryIO, pace: Pace, rest: int = 0, *, kind: str = "I") -> None:
        """Write what the source still has, from a place on."""
        self.voidcmd(f"TYPE {kind}")
        with self.ntransfercmd(f"STOR {path}", rest or None)[0] as conn:
            try:
                while data := source.read(CHUNK):
                    for start in range(0, len(data), SLICE):  # each has our timeout for itself
                        self._push(conn, part := memoryview(data)[start : start + SLICE])
                        pace.passed(len(part))
            except ftplib.Error:  # the server's answer, in step
                raise
            except BaseException:
                # An orderly end would tell the server that this was the whole file; some take a reset for one too.
                self._break_off()
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise
            self._end(conn)
        self.voidresp()

    def _push(self, conn: ssl.SSLSocket, data: memoryview) -> None:
        try:
            conn.sendall(data)
        except ConnectionError:
            # A server that has no room cuts the data off, and says why on the control connection.
            self.voidresp()
            raise

    def _break_off(self) -> None:
        with suppress(OSError, EOFError, ftplib.Error):
            if self.sock is not None:
                self.sock.settimeout(GRACE)
                self.putcmd("ABOR")
                self.getresp()
        self.close()

    @staticmethod
    def _end(conn: ssl.SSLSocket) -> None:
        """Say that TLS has ended; many servers don't answer that. The reply and the size decide."""
        if isinstance(conn, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                conn.unwrap()


def _ahead(conn: socket.socket, pace: Pace) -> Generator[memoryview, None, None]:
    """What comes, read by a thread of its own: what is made of it (a hash, a file) takes as long as the network does.

    Each chunk holds until the next one is asked for; then its memory is used again. What had come when the connection
    failed is handed out before that is raised: a large file is gone on with there.
    """
    came: SimpleQueue[tuple[memoryview, Exception | None]] = SimpleQueue()
    free: SimpleQueue[memoryview | None] = SimpleQueue()  # None: it is broken off

    def room(made: int) -> memoryview | None:
        with suppress(Empty):
            return free.get(block=made == AHEAD)
        return memoryview(bytearray(CHUNK))

    def read() -> None:
        made, more = 0, True
        try:
            while more and (chunk := room(made)) is not None:
                made = min(made + 1, AHEAD)
                size, failed = _filled(chunk, conn, pace)
                more = failed is None and size == CHUNK
                came.put((chunk[:size], failed))
        except Exception as error:  # no memory
            came.put((memoryview(b""), error))

    reader = threading.Thread(target=read, name="ftp data", daemon=True)
    reader.start()
    size, failed = CHUNK, None
    try:
        while size == CHUNK and failed is None:
            chunk, failed = came.get()
            if size := len(chunk):
                yield chunk
            free.put(chunk)
    except BaseException:  # it is broken off
        free.put(None)
        with suppress(OSError):
            conn.shutdown(socket.SHUT_RDWR)
        raise
    finally:
        reader.join()
    if failed is not None:
        raise failed


def _filled(chunk: memoryview, conn: socket.socket, pace: Pace) -> tuple[int, Exception | None]:
    """How much has come into it: less than it holds at the end, or when something failed."""
    size = 0
    try:
        while size < len(chunk) and (got := conn.recv_into(chunk[size:])):
            size += got
            pace.passed(got)
    except Exception as error:  # for the other thread
        return size, error
    return size, None
