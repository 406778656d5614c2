"""What has come of a played week or day: how interchanges ended, and what the partners have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sandbox.stack import Stack
from slussen.catalogue import rows
from slussen.ledger import Interchange

Key = str | tuple[str, str]


def ended(stack: Stack, expected: Mapping[Key, str], after: int = 0) -> tuple[dict[Key, Interchange], list[str]]:
    """The interchanges that were expected, by interchange id, by (integration, name of the file collected), or by
    integration alone; and in what they are not as the scenario says. ``after``: only those that began later than this
    event."""
    found = [i for i in stack.ledger.interchanges() if i.seq > after]
    named = {(i.integration, source_name(stack, i)): i for i in found}
    mine: dict[Key, Interchange] = {}
    wrong = []
    for key, state in expected.items():
        match = [i for i in found if key in (i.id, i.integration)] or ([named[key]] if key in named else [])
        if len(match) != 1:
            wrong.append(f"{key}: {len(match)} interchanges, expected one")
            continue
        mine[key] = match[0]
        if match[0].state != state:
            wrong.append(f"{match[0].id} ({match[0].name}): {match[0].state}, expected {state}")
    return mine, wrong


def source_name(stack: Stack, i: Interchange) -> str:
    """The name of the file that an interchange was collected from."""
    collected = [e for e in stack.ledger.events(i.id) if e.kind == "collected"]
    return str(collected[0].data["name"]) if collected else ""


def compare(stack: Stack) -> tuple[int, list[str]]:
    """What partners have, byte for byte, against what the ledger says they got: files compared, and differences."""
    targets = {m.key: m.target for row in rows() for m in row.integration.members}
    wrong: list[str] = []
    last: dict[tuple[str, str], Any] = {}
    known: dict[tuple[str, str], set[str]] = {}
    for i in stack.ledger.interchanges():
        for event in stack.ledger.events(i.id):
            target = targets[i.integration]
            if event.kind == "delivered" and target.transport != "download":
                what = event.data.get("message") or event.data["name"]
                last[(target.connection, what)] = event
                known.setdefault((target.transport, target.connection), set()).add(event.data["name"])
    for event in last.values():
        target = targets[event.integration]
        name, message = event.data["name"], event.data.get("message", "")
        got = stack.servers.received(target.transport, target.connection, name, message)
        if got is None:
            wrong.append(f"{event.stream}: {name} is not at the partner")
            continue
        with stack.payloads.open(event.data["sha256"]) as payload:
            sent = payload.read()
        if got != sent or hashlib.sha256(got).hexdigest() != event.data["sha256"] or len(got) != event.data["bytes"]:
            wrong.append(f"{event.stream}: {name} at the partner is not what was sent")
    for (transport, connection), names in known.items():
        if transport in ("directory", "ftp", "sftp"):
            place = stack.servers.place(transport, connection)
            standing = {f.name for f in place.iterdir() if f.is_file() and not f.name.startswith(".")}
            wrong += [f"{name} is at {connection}, and the ledger doesn't know it" for name in standing - names]
    return len(last), wrong
