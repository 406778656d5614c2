"""The switches of an FTP partner: what pyftpdlib's handlers do when one of them is thrown."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from pyftpdlib.handlers import FTPHandler, ThrottledDTPHandler
from pyftpdlib.ioloop import asynchat

from sandbox.faults import Fault, Switches, consume

OPERATIONS = {
    "PASS": "login", "LIST": "list", "NLST": "list", "MLSD": "list", "SIZE": "stat", "MDTM": "stat", "MLST": "stat",
    "RETR": "get", "STOR": "put", "RNTO": "rename", "DELE": "remove",
}  # fmt: skip


class Throttled(ThrottledDTPHandler):  # type: ignore[misc]
    """As slow as the switch says; sends files by the system's own call otherwise."""

    _throttler = None  # pyftpdlib may close it before it has made it

    def __init__(self, sock: Any, cmd_channel: Any) -> None:
        self.read_limit = self.write_limit = cmd_channel.rate
        super().__init__(sock, cmd_channel)

    def use_sendfile(self) -> bool:
        return bool(not self.cmd_channel.rate and super(ThrottledDTPHandler, self).use_sendfile())


class Spoilt:
    """An open file whose bytes don't all go through."""

    def __init__(self, file: Any, fault: Fault, handler: Switched) -> None:
        self.file, self.fault, self.handler = file, fault, handler
        self.left = fault.bytes
        self.name = file.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def fileno(self) -> int:
        raise OSError(errno.EBADF, "read it")  # so that nothing goes past us

    def write(self, data: bytes) -> int:
        part, self.left = data[: self.left], max(self.left - len(data), 0)
        self.file.write(part)
        if len(part) < len(data):
            match self.fault.kind:
                case "full":
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                case "drop":
                    self.handler.close()
        return len(data)

    def read(self, size: int) -> bytes:
        if not self.left and size:
            if self.fault.kind == "drop":
                self.handler.close()
            return b""
        data: bytes = self.file.read(min(size, self.left))
        self.left -= len(data)
        return data


class Switched(FTPHandler):  # type: ignore[misc]
    """Asks the partner's switches before each command."""

    switches = Switches(Path("/nonexistent"))
    dtp_handler = Throttled
    rate = 0
    swallows = False

    def on_connect(self) -> None:
        if self.switches.find("connect", "drop"):
            self.close()
        elif self.switches.find("connect", "refuse", "busy"):
            self.respond("421 Too many connections.")
            self.close_when_done()

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        on, name = OPERATIONS.get(cmd), Path(arg.strip("'")).name
        if on is None:
            self.go_on(line, cmd, arg)
            return
        self.swallows = bool(self.switches.find(on, "swallow", name=name))
        slow = self.switches.find(on, "trickle", name=name)
        self.rate = slow.bytes if slow else 0
        if self.data_channel is not None:
            self.data_channel.read_limit = self.data_channel.write_limit = self.rate
        if on not in ("get", "put") and self.switches.find(on, "drop", name=name):
            self.close()
        elif self.switches.find(on, "refuse", name=name):
            self.respond("530 Not logged in." if on == "login" else "550 Permission denied.")
        elif self.switches.find(on, "busy", name=name):
            self.respond("450 Requested file action not taken: busy.")
        elif fault := self.switches.find(on, "delay", name=name):
            self.ioloop.call_later(fault.seconds, self.go_on, line, cmd, arg)
        else:
            self.go_on(line, cmd, arg)

    def go_on(self, line: str, cmd: str, arg: str) -> None:
        super().pre_process_command(line, cmd, arg)

    def respond(self, resp: str, logfun: Any = None) -> None:
        if self._closed:
            return
        if self.swallows and not resp.startswith(("1", "3")):
            self.close()
            return
        if self.switches.find("stat", "size") and resp.startswith("213 ") and resp[4:].isdigit():
            resp = f"213 {int(resp[4:]) + 1}"
        super().respond(resp)

    def push(self, data: str) -> None:
        """Replies quote names, which are bytes."""
        asynchat.async_chat.push(self, data.encode("utf-8", "surrogateescape"))

    def run_as_current_user(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Where pyftpdlib opens a file, it may be a spoilt one."""
        result = super().run_as_current_user(function, *args, **kwargs)
        if function == self.fs.open:
            on = "get" if args[1] == "rb" else "put"
            if fault := self.switches.find(on, "drop", "full", "short", name=Path(args[0]).name):
                return Spoilt(result, fault, self)
        return result

    def ftp_RNTO(self, path: str) -> Any:
        done = super().ftp_RNTO(path)
        consume(self.switches, Path(path), "rename")
        return done

    def on_file_received(self, file: str) -> None:
        consume(self.switches, Path(file), "put")
