"""Mailboxes on disk, a file a message, and where in a message its parts lie: a message of any size costs no memory."""

from __future__ import annotations

import mmap
import os
import re
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path

ENDS = re.compile(rb"\r?\n\r?\n")
HEAD = 1 << 16


@dataclass(frozen=True)
class Node:
    """A part: its headers, and where its body lies."""

    headers: Message
    head: tuple[int, int]
    body: tuple[int, int]
    parts: tuple[Node, ...] = field(default=())


class Store:
    """Folders of messages ``<number>.eml``, numbered from 1 in each; flags beside them. Written by any process."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, mailbox: str) -> Path:
        name = "INBOX" if mailbox.upper() == "INBOX" else mailbox
        if not re.fullmatch(r"[\w .-]+", name) or name.startswith("."):
            raise ValueError("no such mailbox")
        return self.root / name

    def numbers(self, mailbox: str) -> list[int]:
        folder = self.folder(mailbox)
        return sorted(int(f.stem) for f in folder.glob("*.eml")) if folder.is_dir() else []

    def path(self, mailbox: str, number: int) -> Path:
        return self.folder(mailbox) / f"{number:06d}.eml"

    def add(self, mailbox: str, content: bytes | Path) -> int:
        """Put a message into a mailbox: bytes, or a file that is moved there; its number, never used before."""
        folder = self.folder(mailbox)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            draft = content
        else:
            draft = folder / f".{os.urandom(8).hex()}"
            draft.write_bytes(content)
        while True:
            taken = self.numbers(mailbox)
            counter = folder / ".next"
            number = max([*taken, int(counter.read_text()) if counter.exists() else 0]) + 1
            try:
                self.path(mailbox, number).hardlink_to(draft)
            except FileExistsError:
                continue
            counter.write_text(str(number))
            draft.unlink()
            return number

    def move(self, mailbox: str, number: int, to: str) -> int:
        made = self.add(to, self.path(mailbox, number))
        self._flags(mailbox, number).unlink(missing_ok=True)
        return made

    def flags(self, mailbox: str, number: int) -> set[str]:
        file = self._flags(mailbox, number)
        return set(file.read_text().split()) if file.exists() else set()

    def flag(self, mailbox: str, number: int, *flags: str) -> None:
        self._flags(mailbox, number).write_text(" ".join(self.flags(mailbox, number) | set(flags)))

    def _flags(self, mailbox: str, number: int) -> Path:
        return self.path(mailbox, number).with_suffix(".flags")


def index(file: Path) -> Node:
    """Where the parts of a message lie."""
    with file.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        return _node(whole, 0, len(whole), 0)


def _node(whole: mmap.mmap, start: int, end: int, depth: int) -> Node:
    head = whole[start : min(end, start + HEAD)]
    if head.startswith((b"\r\n", b"\n")):
        length = head.index(b"\n") + 1
    else:
        found = ENDS.search(head)
        length = found.end() if found else len(head)
    headers = BytesHeaderParser().parsebytes(head[:length])
    body = start + length
    node = Node(headers, (start, body), (body, end))
    boundary = headers.get_boundary()
    if headers.get_content_maintype() != "multipart" or not boundary or depth > 50:
        return node
    mark = b"--" + boundary.encode()
    parts, at = [], _boundary(whole, mark, body, end)
    while at is not None and whole[at + len(mark) : at + len(mark) + 2] != b"--":
        begins = whole.find(b"\n", at, end) + 1
        following = _boundary(whole, mark, begins, end)
        if not begins or following is None:
            break
        stop = following - (2 if whole[following - 2 : following] == b"\r\n" else 1)
        parts.append(_node(whole, begins, max(begins, stop), depth + 1))
        at = following
    return Node(headers, node.head, node.body, tuple(parts))


def _boundary(whole: mmap.mmap, mark: bytes, start: int, end: int) -> int | None:
    """Where the next line with the boundary begins."""
    at = whole.find(mark, start, end)
    while at >= 0:
        if at == start or whole[at - 1 : at] == b"\n":
            return at
        at = whole.find(mark, at + 1, end)
    return None


def leaves(node: Node) -> list[Node]:
    return [leaf for part in node.parts for leaf in leaves(part)] if node.parts else [node]
