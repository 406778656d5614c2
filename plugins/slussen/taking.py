"""One run's taking of the files that are whole: one that fails doesn't keep the others from being taken.

Knows no Airflow.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slussen import watching
from slussen.archiving import archive, recover, said
from slussen.collection import Changed, NotOurs, claimed, collect
from slussen.errors import SlussenError, TransportError, TransportRefused
from slussen.ledger import as_named
from slussen.transports import Missing, matches

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.ledger import Ledger
    from slussen.payloads import PayloadStore
    from slussen.transports import Entry, Source

IN_A_ROW = 3  # faults of the partner after which a run leaves the rest for the next try


class Taking:
    """A run's files at an open source. ``had`` are the names that it has taken already.

    ``missing`` is what a set lacks, whether its files have stood still or not.

    ``passing`` is the first fault that the next try may not meet; ``refused`` those that it will.
    """

    def __init__(
        self, integration: Integration, source: Source, store: PayloadStore, book: Ledger, run_id: str, occasion: str,
        log: logging.Logger | Any, had: Sequence[str] = (), interval: str = "",
    ) -> None:  # fmt: skip
        self.integration, self.source, self.store, self.book = integration, source, store, book
        self.run_id, self.log, self.had, self.interval = run_id, log, tuple(had), interval
        self.occasion = occasion if integration.repeats == "fine" else ""
        self.wanted = watching.patterns(integration)
        self.ours = claimed(integration)
        self.passing: TransportError | None = None
        self.refused: list[TransportRefused] = []
        self.moved = recover(source, book, integration.key, log.warning)
        self.foreign: set[str] = set()
        self.taken: set[str] = set()
        self.seen = watching.look(source, integration.source, self.wanted)
        if len(self.wanted) > 1:
            self._put_away_parts()
        self.missing = watching.lacking([*self.had, *(e.name for e in self.seen.files)], self.wanted)

    def take(self, stood_still: Collection[str], most: int) -> None:
        """Take what is whole, at most so many: by its marker, or by the fingerprints of what has stood still."""
        whole = watching.whole(self.seen, self.integration.source, stood_still)
        if not watching.lacking([*self.had, *(e.name for e in whole)], self.wanted):
            self._all(whole[: max(most, 0)], as_set=len(self.wanted) > 1)
        self._end_what_was_moved()

    @property
    def still_wanted(self) -> tuple[str, ...]:
        """The patterns to wait for: of a set that was begun, what it lacks."""
        begun = (*self.had, *self.taken) if len(self.wanted) > 1 else ()
        return tuple(p for p in self.wanted if not any(matches(n, p) for n in begun))

    def left(self, foreign: Collection[str]) -> list[Entry]:
        """What stays at the source and concerns this integration: it isn't whole yet, or it was too much."""
        others = {*foreign, *self.foreign}
        return [e for e in self.seen.files if e.name not in self.taken and watching.fingerprint(e) not in others]

    def _put_away_parts(self) -> None:
        """A part that an attempt has collected and not moved yet is none of the next set's: it goes first."""
        key = self.integration.key
        moved = {e.stream for kind in ("archived", "repeated") for e in self.book.kind(kind, integration=key)}
        begun = {
            (as_named(e.data["name"]), e.data["bytes"], e.data["modified"])
            for e in self.book.kind("collected", integration=key)
            if e.stream not in moved
        }
        if standing := [e for e in self.seen.files if e.modified and (e.name, e.size, e.modified) in begun]:
            self._all(standing)
            self.taken.clear()  # ``had`` knows those that are this run's
            self.seen = watching.look(self.source, self.integration.source, self.wanted)

    def _all(self, entries: Sequence[Entry], *, as_set: bool = False) -> None:
        """Of a set whoever takes the first part takes the others: a run that doesn't get one leaves the rest."""
        in_a_row = 0
        for entry in entries:
            mine = False
            try:
                mine = self._one(entry)
                in_a_row = 0
            except Changed as error:
                self.log.warning("%s", error)
            except Missing:  # another run has taken it, or its owner has taken it back
                self.log.info("%r is gone", entry.name)
                self.foreign.add(watching.fingerprint(entry))
            except TransportRefused as error:  # this file will never do: it isn't waited for
                self.log.warning("%s", error)
                self.refused.append(error)
                self.foreign.add(watching.fingerprint(entry))
            except TransportError as error:
                self.log.warning("%s", error)
                self.passing, in_a_row = self.passing or error, in_a_row + 1
            if in_a_row == IN_A_ROW or (as_set and not mine):
                return

    def _one(self, entry: Entry) -> bool:
        """Take a file; is it no other run's?"""
        markers = self.seen.markers.get(entry.name, ())
        try:
            collected = collect(
                self.integration.key, entry, self.source, self.store, self.book, self.run_id,
                occasion=self.occasion, ours=self.ours, markers=markers, interval=self.interval,
            )  # fmt: skip
        except NotOurs as reason:
            self.log.info("%s", reason)
            self.foreign.add(watching.fingerprint(entry))
            return True
        self.log.info("%s", collected)
        self.taken.add(entry.name)
        return collected.run == self.run_id or collected.repeat_of not in ("", collected.interchange)

    def _end_what_was_moved(self) -> None:
        """A run that was cut off after it had moved a file has said nothing yet, and may have left its marker."""
        for event, place in self.moved:
            try:
                self._end_markers_of(as_named(event.data["name"]))
            except SlussenError as error:  # it is tried again by the next look, and keeps no file from being taken
                self.log.warning("%s", error)
                continue
            said(self.book, event, place)

    def _end_markers_of(self, name: str) -> None:
        marker_of = watching.composed(self.integration.source.marker.format(name=name))
        for marker in self.seen.strays:
            if watching.composed(marker.name) == marker_of:
                with suppress(Missing):
                    archive(self.source, marker)
