"""A small IMAP server (RFC 3501, with UIDPLUS and MOVE) over mailboxes on disk: what a collector of mail needs.

It reads parts from the disk as they are asked for, and does what the partner's fault switches say: operations are
``login list get remove``.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path

from sandbox.faults import Switches
from sandbox.mailstore import Node, Store, index

CHUNK = 1 << 18
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
SECTION = re.compile(r"BODY(?:\.PEEK)?\[([^\]]*)\](?:<(\d+)\.(\d+)>)?", re.IGNORECASE)
PARAMETER = re.compile(r';\s*([\w*.-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]+)')
CAPABILITY = "IMAP4rev1 UIDPLUS MOVE AUTH=PLAIN"


class Session:
    """One connection."""

    def __init__(
        self, store: Store, logins: dict[str, str], faults: Switches,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self.store, self.logins, self.faults, self.reader, self.writer = store, logins, faults, reader, writer
        self.user = self.mailbox = ""

    async def run(self) -> None:
        try:
            self.say(f"* OK [CAPABILITY {CAPABILITY}] sandbox")
            while line := await self.reader.readline():
                tag, _, command = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
                verb, _, rest = command.partition(" ")
                if not await self.command(tag, verb.upper(), rest):
                    return
                await self.writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self.writer.close()

    def say(self, line: str) -> None:
        self.writer.write(line.encode() + b"\r\n")

    async def command(self, tag: str, verb: str, rest: str) -> bool:
        operation = {
            "LOGIN": "login",
            "AUTHENTICATE": "login",
            "SELECT": "list",
            "UID SEARCH": "list",
            "UID FETCH": "get",
        }
        if verb == "UID":
            sub, _, rest = rest.partition(" ")
            verb = f"UID {sub.upper()}"
        on = "remove" if verb == "UID MOVE" else operation.get(verb, "")
        if on and (delay := self.faults.find(on, "delay")):
            await asyncio.sleep(delay.seconds)
        if on and on != "get" and self.faults.find(on, "drop"):  # a drop of "get" is in the middle of a part
            return False
        if on and self.faults.find(on, "refuse", "busy"):
            self.say(f"{tag} NO not now")
            return True
        match verb:
            case "CAPABILITY":
                self.say(f"* CAPABILITY {CAPABILITY}")
            case "LOGIN" | "AUTHENTICATE":
                if verb == "LOGIN":
                    user, password = (_word(m) for m in WORD.finditer(rest))
                else:
                    self.say("+ ")
                    _, user, password = base64.b64decode(await self.reader.readline()).decode().split("\0")
                if self.logins.get(user) != password:
                    self.say(f"{tag} NO [AUTHENTICATIONFAILED] no")
                    return True
                self.user = user
            case "LOGOUT":
                self.say("* BYE")
                self.say(f"{tag} OK bye")
                return False
            case "NOOP":
                pass
            case _ if not self.user:
                self.say(f"{tag} NO log in first")
                return True
            case _:
                try:
                    await self.work(tag, verb, rest)
                except (ValueError, FileNotFoundError):
                    self.say(f"{tag} NO no such thing")
                return True
        self.say(f"{tag} OK done")
        return True

    async def work(self, tag: str, verb: str, rest: str) -> None:
        words = [_word(m) for m in WORD.finditer(rest)]
        match verb:
            case "SELECT":
                folder = self.store.folder(words[0])
                folder.mkdir(parents=True, exist_ok=True)
                self.mailbox = words[0]
                self.say(f"* {len(self.store.numbers(self.mailbox))} EXISTS")
                self.say("* OK [UIDVALIDITY 1] as it is")
                self.say(f"{tag} OK [READ-WRITE] selected")
                return
            case "CREATE":
                folder = self.store.folder(words[0])
                if folder.is_dir():
                    raise ValueError("there")
                folder.mkdir(parents=True)
            case "UID SEARCH":
                found = [n for n in self.store.numbers(self.mailbox) if "\\Deleted" not in self._flags(n)]
                self.say("* SEARCH " + " ".join(map(str, found)))
            case "UID FETCH":
                numbers, _, items = rest.partition(" ")
                for number in self._numbers(numbers):
                    await self._fetch(number, items)
            case "UID STORE":
                for number in self._numbers(words[0]):
                    self.store.flag(self.mailbox, number, *words[-1].strip("()").split())
            case "UID MOVE" | "UID COPY":
                for number in self._numbers(words[0]):
                    if verb == "UID MOVE":
                        self.store.move(self.mailbox, number, words[1])
                    else:
                        self.store.add(words[1], self.store.path(self.mailbox, number).read_bytes())
                if self.faults.find("remove", "swallow"):
                    self.writer.transport.abort()
                    raise ConnectionResetError
            case "EXPUNGE" | "UID EXPUNGE":
                for number in self.store.numbers(self.mailbox):
                    if "\\Deleted" in self._flags(number):
                        self.store.path(self.mailbox, number).unlink()
            case _:
                self.say(f"{tag} BAD what?")
                return
        self.say(f"{tag} OK done")

    def _flags(self, number: int) -> set[str]:
        return self.store.flags(self.mailbox, number)

    def _numbers(self, numbers: str) -> list[int]:
        there = set(self.store.numbers(self.mailbox))
        return [n for n in map(int, numbers.split(",")) if n in there]

    async def _fetch(self, number: int, items: str) -> None:
        path = self.store.path(self.mailbox, number)
        node = indexed(path, path.stat().st_size)
        at = self.store.numbers(self.mailbox).index(number) + 1
        said = [f"UID {number}"]
        if "FLAGS" in items:
            said.append(f"FLAGS ({' '.join(sorted(self._flags(number)))})")
        if "BODYSTRUCTURE" in items:
            said.append(f"BODYSTRUCTURE {structure(node)}")
        self.writer.write(f"* {at} FETCH ({' '.join(said)}".encode())
        for wanted in SECTION.finditer(items):
            await self._section(path, node, wanted)
        self.writer.write(b")\r\n")

    async def _section(self, path: Path, node: Node, wanted: re.Match[str]) -> None:
        section = wanted[1]
        if fields := re.fullmatch(r"HEADER\.FIELDS \((.*)\)", section, re.IGNORECASE):
            names = fields[1].upper().split()
            head = b"".join(
                f"{k}: {v}\r\n".encode("utf-8", "surrogateescape")
                for k, v in node.headers.raw_items() if k.upper() in names
            )  # fmt: skip
            head += b"\r\n"
            if wanted[2]:
                section, head = f"{section}]<{wanted[2]}>", head[int(wanted[2]) :][: int(wanted[3])]
            else:
                section += "]"
            self.writer.write(f" BODY[{section} {{{len(head)}}}\r\n".encode() + head)
            return
        begins, ends = _part(node, section).body if section else (0, path.stat().st_size)
        if wanted[2]:
            begins = min(ends, begins + int(wanted[2]))
            ends = min(ends, begins + int(wanted[3]))
        self.writer.write(f" BODY[{section}]<{wanted[2] or 0}> {{{ends - begins}}}\r\n".encode())
        async for chunk in self._read(path, begins, ends):
            self.writer.write(chunk)
            await self.writer.drain()

    async def _read(self, path: Path, begins: int, ends: int) -> AsyncIterator[bytes]:
        drop = self.faults.find("get", "drop") if ends - begins > 64 else None
        trickle = self.faults.find("get", "trickle")
        with path.open("rb") as raw:
            raw.seek(begins)
            left = min(ends - begins, drop.bytes) if drop else ends - begins
            while left:
                chunk = raw.read(min(left, trickle.bytes if trickle else CHUNK))
                left -= len(chunk)
                yield chunk
                if trickle:
                    await asyncio.sleep(1)
        if drop:
            raise ConnectionResetError


@lru_cache(maxsize=1000)
def indexed(path: Path, size: int) -> Node:
    return index(path)


def _word(match: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]


def _part(node: Node, section: str) -> Node:
    for n in section.split("."):
        if node.parts:
            node = node.parts[int(n) - 1]
    return node


def structure(node: Node) -> str:
    """BODYSTRUCTURE of a message or a part."""
    h = node.headers
    kind, sub = h.get_content_type().split("/")
    parameters = _parameters(str(h.get("Content-Type", "")))
    if node.parts:
        return f'({"".join(map(structure, node.parts))} "{sub}" {parameters} NIL NIL NIL)'
    encoding = str(h.get("Content-Transfer-Encoding", "7bit")).strip().lower()
    lines = " 1" if kind == "text" else ""
    disposition = "NIL"
    if what := h.get_content_disposition():
        disposition = f'("{what}" {_parameters(str(h["Content-Disposition"]))})'
    size = node.body[1] - node.body[0]
    return f'("{kind}" "{sub}" {parameters} NIL NIL "{encoding}" {size}{lines} NIL {disposition} NIL NIL)'


def _parameters(header: str) -> str:
    """A header's parameters as they stand there, RFC 2231's marks and all."""
    pairs = [(m[1], m[2].strip('"')) for m in PARAMETER.finditer(header)]
    listed = " ".join(f'"{k}" "{v}"' for k, v in pairs)
    return f"({listed})" if listed else "NIL"
