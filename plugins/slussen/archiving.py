"""Moving a collected file to the archive at its source: the very file that was collected, or nothing.

No protocol moves a file on a condition. So what stands there is looked at right before the move and right after it, and
what has been moved by mistake gets its name back. The ledger is told of the move before it is made (``archiving``): an
attempt that is killed halfway leaves the rest to the next look at the source (``recover``), and a file that took a
collected one's name at that very moment isn't left unread in the archive.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from slussen.delivery import drive
from slussen.errors import TransportError
from slussen.ledger import as_named
from slussen.transports import Entry, Exists, Missing, differs

if TYPE_CHECKING:
    from slussen.ledger import Event, Ledger
    from slussen.transports import Source

TRIES = 10  # places in the archive that others may be faster to take
AT_WORK = timedelta(days=1)  # longer than any attempt: what it hasn't moved by then, it won't


def archiving(source: Source, seen: Entry, note: Callable[[str], object]) -> Generator[str, None, str]:
    """Move a file that was collected, an effect a step; where it is now. ``note`` keeps where it will be.

    Raises:
        Missing: another run has put it away.
        TransportError: another file has taken its name; the next look at the source finds that one.
    """
    doing, place = f"archiving {seen.name}", source.shelf(seen.name)
    if not place:
        yield "note"
        note("")
        yield "archive"
        return source.archive(seen, "")
    for _ in range(TRIES):
        yield "look"
        here = source.stat(seen.name)
        if here is None:
            raise Missing(f"{doing}: there is none")
        if differs(here, seen):
            raise TransportError(f"{doing}: another file has taken the name since it was collected")
        yield "note"
        note(place)
        yield "archive"
        try:
            source.archive(seen, place)
        except Exists:  # since it was free
            place = source.shelf(seen.name)
            continue
        break
    else:
        raise TransportError(f"{doing}: whichever place in the archive is free is taken when we come to it")
    yield "look at what was moved"
    moved = source.shelved(place)
    if moved is None or not differs(moved, seen):
        return place
    yield "put back"
    with suppress(Missing, Exists):  # somebody has done it; or a third one has the name, and the next look does it
        source.put_back(place, seen.name)
    raise TransportError(f"{doing}: another file has taken the name since it was collected")


def archive(source: Source, seen: Entry) -> str:
    """Do it at once, without a ledger."""
    return drive(archiving(source, seen, lambda place: None))


def noted(seen: Entry, place: str, marked: str = "") -> dict[str, object]:
    """What the ledger keeps of a move before it is made; ``marked`` is the file whose marker it is."""
    data = {"name": seen.name, "place": place, "bytes": seen.size, "modified": seen.modified}
    return data | ({"marked": marked} if marked else {})


def recover(source: Source, ledger: Ledger, integration: str) -> list[tuple[Event, str]]:
    """Look after the moves that attempts have noted, and not said to be done: those that are done, and still to be
    said, with where the file is now (nothing: it was taken away).

    What was moved by mistake gets its name back, to be collected as any other file.

    Raises:
        TransportError, TransportRefused: the partner failed.
    """
    done = []
    for event in ledger.unarchived(integration):
        seen, place = _told(event)
        here = source.stat(seen.name)  # before the archive: what is in neither wasn't moved in between
        if here is not None and not differs(here, seen):
            continue  # it has still to be collected, or moved
        there = source.shelved(place) if place else None
        if there is None:
            if not place or datetime.now(UTC) - event.at > AT_WORK:
                done.append((event, ""))  # a message that is gone was archived; a file was taken away by its owner
        elif _was_read(there, ledger, event) or _is_of_no_use(source, event.data.get("marked")):
            done.append((event, place))
        else:
            with suppress(Missing, Exists):  # another run has done it; or a third file has the name by now
                source.put_back(place, seen.name)  # whoever noted the move may still be about to make it: not settled
    return done


def said(ledger: Ledger, note: Event, place: str, kind: str = "archived", **more: object) -> None:
    """Write down where a move that was noted has ended."""
    ledger.append(note.stream, kind, {"place": place, "noted": note.seq, **more}, integration=note.integration)


def _told(note: Event) -> tuple[Entry, str]:
    data = note.data
    return Entry(as_named(data["name"]), data["bytes"], data["modified"]), as_named(data["place"])


def _was_read(there: Entry, ledger: Ledger, note: Event) -> bool:
    """Is what stands there what this move, or another one to the same place, was to bring? That one was collected."""
    notes = [n for n in ledger.kind("archiving", integration=note.integration) if n.data["place"] == note.data["place"]]
    return any(not differs(there, _told(n)[0]) for n in notes)


def _is_of_no_use(source: Source, marked: str | None) -> bool:
    """A marker without its file would say of tomorrow's that it is whole before it is."""
    return marked is not None and source.stat(as_named(marked)) is None
