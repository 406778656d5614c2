"""What an IMAP server's answers to FETCH say (RFC 3501, 7.4.2), as imaplib leaves them: messages and their parts.

However a message was put together, what is read of it is bounded: its parts in number and depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message as Headers
from typing import Any

from slussen.transports.mime import parse_headers

PARTS, DEEPEST = 100, 10  # how many of them may be in a message, and how far they may stand in each other
NESTED = 100  # parentheses in parentheses that are followed
LITERAL = re.compile(rb"\{(\d+)\}$")
TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|([^\s()"]+))')


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part that holds no parts: its number for ``BODY[…]``, type, encoding and encoded size in bytes."""

    number: str
    type: str
    parameters: dict[str, str]
    encoding: str
    size: int
    disposition: dict[str, str]


@dataclass(frozen=True, slots=True)
class Mail:
    """A message: ``headers`` those of ``HEADERS``; ``report`` is the type of a multipart/report; ``flags`` as told.

    ``wrong`` is why not all of its parts are told.
    """

    uid: int
    headers: Headers
    report: str
    leaves: tuple[Leaf, ...]
    flags: frozenset[str]
    wrong: str = ""


def message(items: dict[str, Any]) -> Mail:
    """The message that a response's items tell of; without a structure among them, its parts aren't known."""
    head = next((v for k, v in items.items() if k.startswith("BODY[HEADER")), b"")
    structure, leaves = items.get("BODYSTRUCTURE"), list[Leaf]()
    wrong = "has more parts than its server can tell of"
    if structure is not None:
        fits = _leaves(structure, "", leaves, 0)
        wrong = "" if fits else "has too many parts, or parts too deep in each other"
    return Mail(
        int(items["UID"]), parse_headers(head if isinstance(head, bytes) else b""), _report(structure), tuple(leaves),
        frozenset(f.decode("ascii", "replace").lower() for f in items.get("FLAGS", [])), wrong,
    )  # fmt: skip


def responses(answer: list[Any]) -> Iterator[dict[str, Any]]:
    """The items of each FETCH response; imaplib leaves them in pieces, split at their literals."""
    tokens: list[Any] = []
    for piece in answer:
        line, literal = piece if isinstance(piece, tuple) else (piece, None)
        if not isinstance(line, bytes):
            continue
        tokens += _tokens(LITERAL.sub(b"", line) if literal is not None else line)
        if literal is not None:
            tokens.append(bytes(literal))
            continue
        if (parsed := _parsed(tokens)) is not None:
            yield parsed
        tokens = []


class _Mark(bytes):
    """A parenthesis, or a word that stood in no quotes."""


def _tokens(line: bytes) -> Iterator[bytes]:
    for found in TOKEN.finditer(line):
        opened, closed, quoted, atom = found.groups()
        if opened or closed or atom:
            yield _Mark(opened or closed or atom)
        else:
            yield re.sub(rb"\\(.)", rb"\1", quoted or b"")


def _parsed(tokens: list[Any]) -> dict[str, Any] | None:
    """``n (KEY value …)`` as a dict; None when it doesn't end."""
    stack: list[list[Any]] = [[]]
    flat = 0  # parentheses beyond what any mail needs: what is in them is not put any deeper
    for token in tokens:
        if isinstance(token, _Mark) and token == b"(":
            if len(stack) > NESTED:
                flat += 1
            else:
                stack.append([])
        elif isinstance(token, _Mark) and token == b")":
            if flat:
                flat -= 1
            elif len(stack) > 1:
                done = stack.pop()
                stack[-1].append(done)
        else:
            stack[-1].append(None if isinstance(token, _Mark) and token.upper() == b"NIL" else token)
    if len(stack) > 1:
        return None
    items = next((x for x in stack[0] if isinstance(x, list)), [])
    return _paired(items)


def _paired(items: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    words = iter(items)
    for word in words:
        if not isinstance(word, bytes):
            continue
        key = word.decode("ascii", "replace").upper()
        if key.startswith("BODY[HEADER.FIELDS"):  # its list of fields was read as a list: BODY[HEADER.FIELDS (…)]
            for skipped in words:
                if isinstance(skipped, bytes) and skipped.startswith(b"]"):
                    break
        made[key] = next(words, None)
    return made


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _dict(values: Any) -> dict[str, str]:
    if not isinstance(values, list):
        return {}
    words = [_text(v) for v in values]
    return {k.lower(): v for k, v in zip(words[::2], words[1::2], strict=False)}


def _report(structure: Any) -> str:
    """The report-type of a multipart/report, in small letters."""
    if not (isinstance(structure, list) and structure and isinstance(structure[0], list)):
        return ""
    words = [x for x in structure if not isinstance(x, list)]
    lists = structure[len(list(_while_lists(structure))) :]
    parameters = next((_dict(x) for x in lists if isinstance(x, list)), {})
    if words and _text(words[0]).lower() == "report":
        return parameters.get("report-type", "?").lower()
    return ""


def _while_lists(structure: list[Any]) -> Iterator[list[Any]]:
    for part in structure:
        if not isinstance(part, list):
            return
        yield part


def _leaves(structure: Any, number: str, found: list[Leaf], depth: int) -> bool:
    """Gather the parts that hold no parts; False when they stand too deep, or are too many. A message in a message is
    one part."""
    if not isinstance(structure, list) or not structure or len(found) == PARTS:
        return False
    if isinstance(structure[0], list):
        numbered = enumerate(_while_lists(structure), 1)
        fits = [_leaves(part, f"{number}.{n}" if number else str(n), found, depth + 1) for n, part in numbered]
        return all(fits) and depth < DEEPEST
    kind = f"{_text(structure[0])}/{_text(structure[1])}".lower() if len(structure) > 6 else ""
    size = _text(structure[6]) if len(structure) > 6 else ""
    disposition: dict[str, str] = {}
    for extension in structure[7:]:  # (… md5 disposition language location)
        if (
            isinstance(extension, list)
            and len(extension) == 2
            and isinstance(extension[0], bytes)
            and _text(extension[0]).lower() in ("attachment", "inline")
        ):
            disposition = {"": _text(extension[0]).lower(), **_dict(extension[1])}
    found.append(
        Leaf(number or "1", kind, _dict(structure[2]) if len(structure) > 2 else {},
             _text(structure[5]) if len(structure) > 5 else "", int(size) if size.isdigit() else 0, disposition)
    )  # fmt: skip
    return True
