"""From a partner's file to a durable payload: collected once, archived at the source only when it is safe with us.

The order of the steps is the promise: fetch, fsync, ledger, archive. A crash between any two of them is picked up by
the next attempt, which finds the file still there, or by the ledger where it was being moved (``archiving``). Two runs
that take the same file at the same time both fetch it; the ledger's compare-and-set makes one of them its owner, and
whichever comes first moves it away.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING

from slussen.archiving import archiving, noted, said
from slussen.delivery import drive
from slussen.errors import CallError, Findings, SlussenError, TransportError
from slussen.ledger import Conflict
from slussen.manifest import Manifest
from slussen.transports import Missing, differs

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.ledger import Event, Ledger
    from slussen.payloads import PayloadStore, Writer
    from slussen.transports import Entry, Source

HEAD = 1 << 16  # bytes at the beginning of a file in which its header is looked for
Ours = Callable[[bytes], bool]


class Changed(TransportError):
    """The file isn't as it was listed: it is still being written."""


class NotOurs(SlussenError):
    """The file's header says that it belongs to another integration: it stays where it is."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of one file at the source. ``run`` is the run that it belongs to, not always the one that looked."""

    interchange: str
    name: str
    bytes: int
    sha256: str
    repeat_of: str = ""
    run: str = ""

    def __str__(self) -> str:
        what = f"a repeat of {self.repeat_of}, not sent on" if self.repeat_of else f"collected by {self.run}"
        return f"{self.interchange}: {self.name!r}, {self.bytes} bytes, sha256 {self.sha256[:12]}: {what}"


def identity(integration: str, name: str, size: int, digest: str, occasion: str = "") -> str:
    """The interchange that this file is: the same file is the same interchange, however often it is looked at.

    ``occasion`` tells legitimate repeats apart: the same content on another occasion is another interchange. The file's
    own time does that best: two runs that find it at once have one interchange to own.
    """
    parts = (name, str(size), digest, *([occasion] if occasion else []))
    key = "\0".join(parts).encode("utf-8", "surrogateescape")  # a name may be any bytes
    return f"{integration}-{sha256(key).hexdigest()[:12]}"


def collect(
    integration: str, entry: Entry, source: Source, store: PayloadStore, ledger: Ledger, run_id: str, *,
    occasion: str = "", ours: Ours | None = None, markers: Sequence[Entry] = (), interval: str = "",
) -> Collected:  # fmt: skip
    """Fetch one file, make it durable, write it to the ledger, then move it to the source's archive.

    The same content again (under this or another name) is recorded as a repeat and archived, not sent on. With an
    ``occasion`` only the same content in the same run is, or a file of the same name and time. ``ours`` looks at the
    file's beginning; ``markers`` are put away with it.

    Raises:
        NotOurs: the file belongs to somebody else; it wasn't touched.
        TransportError: the file changed while it was fetched (``Changed``), or the partner failed.
    """
    steps = collecting(
        integration, entry, source, store, ledger, run_id, occasion=occasion, ours=ours, markers=markers,
        interval=interval,
    )  # fmt: skip
    return drive(steps)


def collecting(
    integration: str, entry: Entry, source: Source, store: PayloadStore, ledger: Ledger, run_id: str, *,
    occasion: str = "", ours: Ours | None = None, markers: Sequence[Entry] = (), interval: str = "",
) -> Generator[str, None, Collected]:  # fmt: skip
    """``collect`` as a generator of its steps, one effect a step."""
    yield "fetch"
    sink, fetched = _fetch(integration, entry, source, store, ours)
    yield "look who has it"
    occurred = occasion and (entry.modified or occasion)
    stream = identity(integration, entry.name, sink.bytes, sink.sha256, occurred)
    data = {"name": entry.name, "bytes": sink.bytes, "sha256": sink.sha256, "run": run_id, "modified": entry.modified}
    data["interval"] = interval
    if entry.answers:
        data["answers"] = entry.answers
    scope = run_id if occasion else ""
    owner, repeat_of, late = yield from _claim(ledger, integration, stream, data, scope)

    notes: list[Event] = []

    def moving(seen: Entry, **more: object) -> Generator[str, None, str]:
        """Where it is now; nothing, when another run has put it away."""

        def note(place: str) -> None:
            notes.append(ledger.append(stream, "archiving", noted(seen, place, **more), integration=integration))

        try:
            return (yield from archiving(source, seen, note))
        except Missing:
            return ""

    repeated = data | {"repeat_of": repeat_of} if repeat_of else None
    place = yield from moving(fetched, sha256=sink.sha256, repeated=repeated)
    its_note = notes[-1] if place else None
    for marker in markers:
        moved = yield from moving(marker, marked=entry.name)
        yield "marker archived"
        if moved:
            said(ledger, notes[-1], moved)
    yield "archived"
    if its_note is not None:
        said(ledger, its_note, place)
    if late:
        ledger.append(stream, "superseded", {"by": repeat_of}, integration=integration)
    return Collected(stream, entry.name, sink.bytes, sink.sha256, repeat_of, owner)


def collected_by(ledger: Ledger, integration: str, run_id: str, *, repeats: bool = False) -> Iterator[Manifest]:
    """The interchanges that this run collected, in the order of their collection: the first of each content.

    With ``repeats`` what other runs have collected doesn't count.
    """
    seen: set[str] = set()
    for event in ledger.kind("collected", integration=integration):
        digest, mine = event.data["sha256"], event.data["run"] == run_id
        if mine and (digest not in seen or not event.data["bytes"]):
            yield _manifest(event)
        if mine or not repeats:
            seen.add(digest)


def claimed(integration: Integration) -> Ours | None:
    """What tells this integration's files from its siblings' on the same source: fields of the header.

    Raises:
        CallError: the layout's header has no such field.
    """
    from slussen.records import layout as layouts

    fields = integration.claims or integration.leaves
    if not fields:
        return None
    layout = layouts.load(integration.layout)
    known = {f.name for f in layout.of(layout.header) if f.staged} if layout.header else set()
    if unknown := fields.keys() - known:
        raise CallError(f"{integration.key}: claims {', '.join(sorted(unknown))}, no header field of {layout.format}")

    def ours(head: bytes) -> bool:
        from slussen.records.parse import Parsed

        source = integration.source
        if layout.length and source.frame == "fixed":
            head = head[: max(len(head) - len(head) % layout.length, layout.length)]
        parsed = Parsed(BytesIO(head), layout, source.encoding, source.frame, Findings())
        next(iter(parsed), None)
        has = all(parsed.header.get(name) in values for name, values in fields.items())
        return has if integration.claims else not has

    return ours


def _fetch(
    integration: str, entry: Entry, source: Source, store: PayloadStore, ours: Ours | None
) -> tuple[Writer, Entry]:
    with store.writer() as sink:
        head = _Head(sink)
        fetched = source.fetch(entry.name, head)
        if sink.bytes != entry.size:
            raise Changed(f"{integration}: {entry.name}: {entry.size} bytes listed, {sink.bytes} fetched: it changes")
        if differs(fetched, entry):
            raise Changed(f"{integration}: {entry.name}: another file has taken the name since it was listed")
        if ours is not None and not ours(bytes(head.bytes)):
            raise NotOurs(f"{integration}: {entry.name}: another integration's, by its header; left where it is")
    return sink, fetched


class _Head:
    """A sink that keeps the beginning of what it passes on."""

    def __init__(self, sink: Writer) -> None:
        self._sink, self.bytes = sink, bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        if len(self.bytes) < HEAD:
            self.bytes += data[: HEAD - len(self.bytes)]
        return self._sink.write(data)


def _claim(
    ledger: Ledger, integration: str, stream: str, data: dict[str, object], scope: str
) -> Generator[str, None, tuple[str, str, bool]]:
    """Make the file somebody's, once: (the run that owns it, what it repeats, did that come to light afterwards)."""
    while True:
        events = ledger.events(stream)
        before = next((e for e in events if e.kind == "collected"), None)
        if before is not None and any(e.kind in ("archived", "gone") for e in events):
            return before.data["run"], stream, False
        earlier = _earlier(ledger, integration, stream, data, scope, before)
        if before is not None:
            return before.data["run"], earlier, bool(earlier) and not any(e.kind == "superseded" for e in events)
        if earlier:
            return "", earlier, False
        yield "claim"
        try:
            made = ledger.append(
                stream, "collected", data, integration=integration, after=events[-1].seq if events else 0
            )
        except Conflict:
            continue
        # The same content under another name, by another run, at this very moment: who came first has it.
        earlier = _earlier(ledger, integration, stream, data, scope, made)
        return str(data["run"]), earlier, bool(earlier)


def _earlier(
    ledger: Ledger, integration: str, stream: str, data: dict[str, object], scope: str, before: Event | None
) -> str:
    """The interchange that had this content first; in this run only, where repeats are legitimate."""
    if not data["bytes"]:
        return ""  # nothing isn't the same as nothing
    for event in ledger.collected(integration, str(data["sha256"])):
        if before is not None and event.seq >= before.seq:
            return ""
        if event.stream != stream and scope in ("", event.data["run"]):
            return event.stream
    return ""


def _manifest(event: Event) -> Manifest:
    data = event.data
    return Manifest(
        integration=event.integration,
        interchange=event.stream,
        name=data["name"],
        sha256=data["sha256"],
        bytes=data["bytes"],
    )
