"""Waiting for files: what is at the source, and which of it has stood still. Knows no Airflow.

A file is whole when its size and its time have stayed as they are for a quiet time, by our own clock and our own
looks, or when its marker file is there; a message is, when it is there. Never by the time that the source says alone:
clocks go wrong, and writers set times. What has been seen goes from the trigger to the task as fingerprints, so that
names that are no UTF-8, or a hundred thousand of them, get through.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from slussen.integration import Endpoint, Integration
from slussen.transports import Entry, Source, matches

AT_ONCE = ("x400", "shs")  # what carries messages: one that is there is whole
MOST = 1000  # files that one run takes: Airflow maps at most 1024 tasks; the others are for the next run


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the source has found: files, the markers of those that have one, markers without a file."""

    files: tuple[Entry, ...] = ()
    markers: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    strays: tuple[Entry, ...] = ()


def look(source: Source, endpoint: Endpoint, patterns: Collection[str]) -> Look:
    """Look once. With a marker declared, only it says that a file is whole."""
    found = {e.name: e for pattern in patterns for e in source.entries(pattern)}
    if not endpoint.marker:
        return Look(tuple(found.values()))
    markers = [e for pattern in patterns for e in source.entries(endpoint.marker.format(name=pattern))]
    for marker in markers:
        found.pop(marker.name, None)  # a pattern may match its markers too
    names = {composed(endpoint.marker.format(name=name)): name for name in found}
    marked: dict[str, tuple[Entry, ...]] = {}
    strays = []
    for marker in markers:
        name = names.get(composed(marker.name))
        if name is None:
            strays.append(marker)
        else:
            marked[name] = (*marked.get(name, ()), marker)
    return Look(tuple(found.values()), marked, tuple(strays))


class Watching:
    """Observes, look by look, what stands still. ``quiet`` is in seconds; without a marker it decides."""

    def __init__(self, endpoint: Endpoint, quiet: float) -> None:
        self._endpoint, self._quiet = endpoint, quiet
        self._at_once = bool(endpoint.marker) or endpoint.transport in AT_ONCE
        self._since: dict[str, float] = {}

    def observe(self, seen: Look, now: float) -> list[str]:
        """The fingerprints of what is whole, as of this look at the monotonic time ``now``."""
        if self._at_once:
            return [fingerprint(e) for e in whole(seen, self._endpoint, ())]
        self._since = {(mark := fingerprint(e)): self._since.get(mark, now) for e in seen.files}
        return [mark for mark, since in self._since.items() if now - since >= self._quiet]


def whole(seen: Look, endpoint: Endpoint, known: Collection[str]) -> list[Entry]:
    """Those of the files that are whole: by their markers, or since they are as the trigger has observed them."""
    if endpoint.marker:
        return [e for e in seen.files if e.name in seen.markers]
    if endpoint.transport in AT_ONCE:
        return list(seen.files)
    return [e for e in seen.files if fingerprint(e) in known]


def patterns(integration: Integration) -> tuple[str, ...]:
    """What is collected: files of one pattern, or a set that has one of each."""
    return tuple(part.name for part in integration.parts) or (integration.source.name,)


def lacking(names: Collection[str], wanted: Collection[str]) -> list[str]:
    """Why these files are no whole set; nothing when they are, or when there is but one pattern."""
    if len(wanted) < 2:
        return []
    counts = {p: sum(matches(name, p) for name in names) for p in wanted}
    return [f"no {p}" if not n else f"{n} files {p}" for p, n in counts.items() if n != 1]


def fingerprint(entry: Entry) -> str:
    """A file as it is: by name, size and whatever time the source says."""
    text = "\0".join((entry.name, str(entry.size), entry.modified))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()


def ready(seen: Look, marks: Collection[str], ignored: Collection[str], wanted: Collection[str]) -> list[str]:
    """What there is to fire for, at most ``MOST`` of it: whole, nobody else's, and a set only when it is complete."""
    fresh = [mark for mark in marks if mark not in ignored]
    if len(wanted) > 1:
        standing = set(fresh)
        if lacking([e.name for e in seen.files if fingerprint(e) in standing], wanted):
            return []
    return fresh[:MOST]


def composed(name: str) -> str:
    """The name as it is compared: Ä is one letter."""
    return unicodedata.normalize("NFC", name)
