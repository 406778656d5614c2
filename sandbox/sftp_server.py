"""SFTP partners on loopback, by asyncssh: each has a port, a host key and a folder of its own, and switches.

Below a partner's home: ``files`` is what it serves, ``host_key`` and ``host_key.pub`` are its key (made once),
``authorized_keys`` the keys that are let in, ``faults.json`` its switches, ``taken`` what it has consumed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh import FXF_WRITE, SFTPAttrs, SFTPFailure, SFTPName, SFTPPermissionDenied

from sandbox.faults import Fault, Switches, consume

USER, PASSWORD = "slussen", "sandbox"


@dataclass
class Open:
    """An open file, and what goes wrong with its bytes."""

    file: Any
    path: Path
    on: str
    fault: Fault | None
    done: int = 0


class Partner(asyncssh.SFTPServer):
    """Serves a folder; each operation asks the switches first."""

    def __init__(self, chan: Any, home: Path, switches: Switches) -> None:
        super().__init__(chan, chroot=str(home / "files").encode())
        self.switches = switches

    def _at(self, path: bytes) -> Path:
        return Path(self.map_path(path).decode("utf-8", "surrogateescape"))

    async def _before(self, on: str, path: bytes) -> None:
        name = self._at(path).name
        if fault := self.switches.find(on, "delay", name=name):
            await asyncio.sleep(fault.seconds)
        if self.switches.find(on, "refuse", name=name):
            raise SFTPPermissionDenied("refused")
        if self.switches.find(on, "busy", name=name):
            raise SFTPFailure("busy")
        if on not in ("get", "put") and self.switches.find(on, "drop", name=name):
            self._cut()

    def _after(self, on: str, path: bytes) -> None:
        if self.switches.find(on, "swallow", name=self._at(path).name):
            self._cut()

    def _cut(self) -> None:
        self.connection.abort()
        raise SFTPFailure("cut")

    async def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> Open:
        on = "put" if pflags & FXF_WRITE else "get"
        await self._before(on, path)
        file = super().open(path, pflags, attrs)
        at = self._at(path)
        return Open(file, at, on, self.switches.find(on, "drop", "full", "short", "trickle", name=at.name))

    async def close(self, file_obj: Any) -> None:
        super().close(file_obj.file)
        if file_obj.on == "put":
            consume(self.switches, file_obj.path, "put")
            if self.switches.find("put", "swallow", name=file_obj.path.name):
                self._cut()

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        match file_obj.fault:
            case Fault(kind="trickle", bytes=rate):
                await asyncio.sleep(1)
                size = min(size, rate)
            case Fault(kind="drop", bytes=limit) if offset + size > limit:
                if file_obj.done >= limit:
                    self._cut()
                size = min(size, max(limit - offset, 1))
        data = super().read(file_obj.file, offset, size)
        assert isinstance(data, bytes)
        file_obj.done += len(data)
        return data

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        match file_obj.fault:
            case Fault(kind="trickle", bytes=rate):
                await asyncio.sleep(len(data) / max(rate, 1))
            case Fault(kind="drop", bytes=limit) if offset + len(data) > limit:
                super().write(file_obj.file, offset, data[: max(limit - offset, 0)])
                file_obj.file.flush()
                self._cut()
            case Fault(kind="full", bytes=limit) if offset + len(data) > limit:
                super().write(file_obj.file, offset, data[: max(limit - offset, 0)])
                raise SFTPFailure("no space")
            case Fault(kind="short", bytes=limit):
                super().write(file_obj.file, offset, data[: max(limit - offset, 0)])
                return len(data)
        written = super().write(file_obj.file, offset, data)
        assert isinstance(written, int)
        return written

    async def lstat(self, path: bytes) -> Any:
        await self._before("stat", path)
        found = self._told(super().lstat(path), "stat", path)
        self._after("stat", path)
        return found

    async def stat(self, path: bytes) -> Any:
        await self._before("stat", path)
        return self._told(super().stat(path), "stat", path)

    async def fstat(self, file_obj: Any) -> Any:
        return self._told(super().fstat(file_obj.file), "stat", os.fsencode(file_obj.path.name))

    async def fsync(self, file_obj: Any) -> None:
        super().fsync(file_obj.file)

    async def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        await self._before("list", path)
        async for name in super().scandir(path):
            if name.attrs.size is not None and (fault := self.switches.find("list", "size")):
                name.attrs.size += fault.bytes
            yield name

    def _told(self, found: Any, on: str, path: bytes) -> Any:
        if fault := self.switches.find(on, "size", name=self._at(path).name):
            attrs = SFTPAttrs.from_local(found)
            attrs.size = (attrs.size or 0) + fault.bytes
            return attrs
        return found

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._before("rename", newpath)
        super().rename(oldpath, newpath)
        self._renamed(newpath)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._before("rename", newpath)
        super().posix_rename(oldpath, newpath)
        self._renamed(newpath)

    def _renamed(self, path: bytes) -> None:
        consume(self.switches, self._at(path), "rename")
        self._after("rename", path)

    async def remove(self, path: bytes) -> None:
        await self._before("remove", path)
        super().remove(path)
        self._after("remove", path)


class Login(asyncssh.SSHServer):
    """Lets one user in, by password or by a key in ``authorized_keys``."""

    def __init__(self, switches: Switches) -> None:
        self.switches = switches

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        if self.switches.find("connect", "drop", "refuse", "busy"):
            conn.abort()

    async def begin_auth(self, username: str) -> bool:
        if fault := self.switches.find("login", "delay"):
            await asyncio.sleep(fault.seconds)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD) and not self.switches.find("login", "refuse")


async def start(home: Path, port: int = 0) -> asyncssh.SSHAcceptor:
    """A partner with this home; port 0 takes a free one."""
    (home / "files").mkdir(parents=True, exist_ok=True)
    key = home / "host_key"
    if not key.exists():
        made = asyncssh.generate_private_key("ssh-ed25519")
        made.write_private_key(key)
        made.write_public_key(key.with_suffix(".pub"))
    switches = Switches(home / "faults.json")
    keys = home / "authorized_keys"
    return await asyncssh.listen(
        "127.0.0.1", port, server_host_keys=[str(key)], server_factory=lambda: Login(switches),
        authorized_client_keys=str(keys) if keys.exists() else None,
        sftp_factory=lambda chan: Partner(chan, home, switches), allow_scp=False,
    )  # fmt: skip


async def serve(root: Path, partners: list[str], ports: Path, usual: list[int]) -> None:
    started = [await start(root / name, port) for name, port in zip(partners, usual, strict=True)]
    written = ports.with_suffix(".part")
    written.write_text("".join(f"{n} {s.get_port()}\n" for n, s in zip(partners, started, strict=True)))
    written.rename(ports)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("partners", nargs="+", metavar="NAME[:PORT]", help="a partner (port: a free one)")
    parser.add_argument("--root", type=Path, required=True, help="folder with a home for each partner")
    parser.add_argument("--ports", type=Path, required=True, help="file to write a line of name and port to for each")
    options = parser.parse_args()
    named = [partner.partition(":") for partner in options.partners]
    asyncio.run(serve(options.root, [n for n, _, _ in named], options.ports, [int(p or 0) for _, _, p in named]))


if __name__ == "__main__":
    main()
