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
from slussen.errors import SlussenError, TransportError
from slussen.ledger import as_named
from slussen.transports import Entry, Exists, Missing, differs

if TYPE_CHECKING:
    from slussen.ledger import Event, Ledger
    from slussen.transports import Source

PLACES = 100  # in the archive, looked at one by one where a listing doesn't tell which are free
AT_WORK = timedelta(days=1)  # longer than any attempt: what it hasn't moved by then, it won't


def archiving(source: Source, seen: Entry, note: Callable[[str], object]) -> Generator[str, None, str]:
    """Move a file that was collected, an effect a step; where it is now, nothing when the source does not tell.

    ``note`` keeps where it will be.

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
    taken: set[str] = set()
    while True:
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
            break
        except Exists:  # since it was free
            taken.add(place)
            place = _another(source, seen.name, taken)
    yield "look at what was moved"
    moved = source.shelved(place)
    if moved is None:  # somebody has taken it away from there, or put it back: the next look at the source finds out
        return ""
    if not differs(moved, seen):
        return place
    yield "put back"
    with suppress(Missing, Exists):  # somebody has done it; or a third one has the name, and the next look does it
        source.put_back(place, seen.name)
    raise TransportError(f"{doing}: another file has taken the name since it was collected")


def _another(source: Source, name: str, taken: set[str]) -> str:
    """A free place, where a server doesn't list all that is there, or holds two names for the same."""
    while len(taken) < PLACES:
        place = source.shelf(name, taken)
        if source.shelved(place) is None:
            return place
        taken.add(place)
    raise TransportError(f"archiving {name}: {PLACES} places are taken that the server doesn't list")


def archive(source: Source, seen: Entry) -> str:
    """Do it at once, without a ledger."""
    return drive(archiving(source, seen, lambda place: None))


def noted(seen: Entry, place: str, **more: object) -> dict[str, object]:
    """What the ledger keeps of a move before it is made.

    ``sha256`` is its content's, ``marked`` the file whose marker it is, ``repeated`` what is to be said of a repeat.
    """
    data = {"name": seen.name, "place": place, "bytes": seen.size, "modified": seen.modified}
    return data | {key: value for key, value in more.items() if value}


def recover(source: Source, ledger: Ledger, integration: str, tell: Callable[[str], object]) -> list[tuple[Event, str]]:
    """Look after the moves that attempts have noted, and not said to be done: those that are done, and still to be
    said, with where the file is now (nothing: it was taken away).

    What was moved by mistake gets its name back, to be collected as any other file. What can't be looked at is told,
    and looked at again the next time.
    """
    done = []
    for note in ledger.unarchived(integration):
        try:
            place = _found(source, ledger, note)
        except SlussenError as error:
            tell(f"what was being moved to {note.data['place']} can't be looked at: {error}")
            continue
        if place is not None:
            done.append((note, place))
    return done


def _found(source: Source, ledger: Ledger, note: Event) -> str | None:
    """Where what was noted is now; None: it isn't done. Then it is where it was, or has its name again."""
    seen, place = _told(note)
    here = source.stat(seen.name)  # before the archive: what is in neither wasn't moved in between
    if here is not None and not differs(here, seen):
        return None  # it has still to be collected, or moved
    there = source.shelved(place) if place else None
    if there is None:
        # A message that is gone was archived; a file was taken away by its owner, or can still be moved.
        return "" if not place or datetime.now(UTC) - note.at > AT_WORK else None
    if _was_read(there, ledger, place) or _is_the_same(source, there, note) or _is_of_no_use(source, note):
        return place
    with suppress(Missing, Exists):  # another run has done it; or a third file has the name by now
        source.put_back(place, seen.name)  # and isn't settled: whoever noted the move may still be about to make it
    return None


def said(ledger: Ledger, note: Event, place: str) -> None:
    """Write down where a move that was noted has ended."""
    repeated = note.data.get("repeated")
    kind = "repeated" if repeated else "archived" if place or not note.data["place"] else "gone"
    data = {**(repeated or {}), "place": place, "noted": note.seq}
    ledger.append(note.stream, kind, data, integration=note.integration)


def _told(note: Event) -> tuple[Entry, str]:
    data = note.data
    return Entry(as_named(data["name"]), data["bytes"], data["modified"]), as_named(data["place"])


def _was_read(there: Entry, ledger: Ledger, place: str) -> bool:
    """Is what stands there what this move, or another one to the same place, was to bring? That one was collected.

    Another integration may share the source.
    """
    return any(not differs(there, _told(note)[0]) for note in ledger.moves_to(place))


def _is_the_same(source: Source, there: Entry, note: Event) -> bool:
    """By its content: somebody may have touched it in the archive."""
    sha256 = note.data.get("sha256")
    return bool(sha256) and there.size == note.data["bytes"] and source.shelved_digest(_told(note)[1]) == sha256


def _is_of_no_use(source: Source, note: Event) -> bool:
    """A marker without its file would say of tomorrow's that it is whole before it is."""
    return "marked" in note.data and source.stat(as_named(note.data["marked"])) is None
