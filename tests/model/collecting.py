"""Collection as a model: runs that overlap, a writer that takes its time, a file replaced while it is read, power lost.

A run looks twice, a quiet time apart, fetches what has stood still, makes it durable, writes it to the ledger by
compare-and-set, and only then moves it away at the source: it looks, notes the move, makes it, looks at what it has
moved, and gives a stranger its name back. What a run that was killed has noted is settled by whichever looks next. A
file that the writer is still at is half; who writes is never idle for a whole quiet time (where that can't be promised,
a marker file is declared).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MISTAKES = (
    "one look is enough",
    "archived before it is in the ledger",
    "in the ledger before it is durable",
    "collected without comparing",
    "told apart by name alone",
    "archived whatever has the name now",
    "moved without a note",
    "said to be archived unseen",
    "what was noted is never looked at again",
    "put back over what is there",
    "put back, and settled",
    "archived over what is there",
    "a repeat is sent on",
    "removed instead of archived",
)
Version = int  # a content: 1, 2 …; negative while only half of it is written


class Run(NamedTuple):
    at: str = "look"
    seen: Version = 0
    got: Version = 0
    slot: int = 0
    place: int = 0


class Note(NamedTuple):
    slot: int
    version: Version
    place: int
    run: int


class State(NamedTuple):
    """Runs; the source's names and what stands there; its archive; our store; the ledger's interchanges with owners.

    ``archive`` is what stands at its places; ``noted`` are the moves that were noted and not said to be done.
    """

    runs: tuple[Run, ...]
    names: tuple[Version, ...]
    to_come: tuple[tuple[int, Version], ...]  # what the writer will put there: (name, version), in this order
    archive: tuple[Version, ...] = ()
    noted: frozenset[Note] = frozenset()
    known: frozenset[tuple[Version, int]] = frozenset()  # what was ever noted, and for which place
    durable: frozenset[Version] = frozenset()
    volatile: frozenset[Version] = frozenset()
    collected: tuple[tuple[tuple[int, Version], int], ...] = ()  # ((name, version), run)
    repeated: frozenset[tuple[int, Version]] = frozenset()
    finished: frozenset[Version] = frozenset()  # what was ever whole at the source
    written_over: frozenset[Version] = frozenset()  # by the writer, after it was collected
    outages: int = 0
    wrong: str = ""


class Collecting:
    """``runs`` that overlap over ``names`` files; the writer puts ``to_come`` there, each half by half."""

    def __init__(
        self, runs: int, names: int, to_come: tuple[tuple[int, Version], ...], *, outages: int = 1, broken: str = ""
    ) -> None:
        self.runs, self.names, self.to_come, self.outages, self.broken = runs, names, to_come, outages, broken
        self.name = f"collection, {runs} runs, {names} names, {len(to_come)} files"

    def initial(self) -> State:
        runs, places = tuple(Run(slot=0) for _ in range(self.runs)), (0,) * (2 * len(self.to_come) + self.runs)
        return State(runs, (0,) * self.names, self.to_come, places)

    def moves(self, s: State) -> Iterator[tuple[str, State]]:
        for n, run in enumerate(s.runs):
            if run.at != "end":
                for label, new, then in self._steps(s, run, n):
                    yield f"{n}:{label}", new._replace(runs=(*s.runs[:n], then, *s.runs[n + 1 :]))
        if s.to_come:
            yield "write", self._write(s)
        if s.outages < self.outages and s.volatile:
            yield "power lost", self._outage(s)

    def _write(self, s: State) -> State:
        (slot, version), rest = s.to_come[0], s.to_come[1:]
        if s.names[slot] == -version:
            new = version
            return s._replace(names=_put(s.names, slot, new), to_come=rest, finished=s.finished | {version})
        if -version in s.archive:  # moved while it was written: it goes on being written there
            archive = _put(s.archive, s.archive.index(-version), version)
            return s._replace(archive=archive, to_come=rest, finished=s.finished | {version})
        old = (slot, s.names[slot])
        if old[1] > 0 and old not in dict(s.collected) and old not in s.repeated:
            return s  # whoever writes over what nobody has collected yet loses it himself
        written_over = s.written_over | {s.names[slot]} if s.names[slot] > 0 else s.written_over
        return s._replace(names=_put(s.names, slot, -version), written_over=written_over)

    def _outage(self, s: State) -> State:
        """Every run is killed, what wasn't durable is gone; Airflow starts the tasks again."""
        return s._replace(
            volatile=frozenset(), outages=s.outages + 1, runs=tuple(Run(slot=0) for _ in s.runs)
        )  # fmt: skip

    def _steps(self, s: State, r: Run, n: int) -> Iterator[tuple[str, State, Run]]:
        here = s.names[r.slot]
        match r.at:
            case "look":
                notes = sorted(s.noted) if self.broken != "what was noted is never looked at again" else []
                for note in notes:
                    if (new := self._recovered(s, note)) is not s:
                        yield "recover", new, r
                        return
                if not here:
                    yield "nothing", s, self._next(r)
                elif self.broken == "one look is enough":
                    yield "look", s, r._replace(at="fetch", seen=here)
                else:
                    yield "look", s, r._replace(at="look again", seen=here)
            case "look again":
                # Half a file has grown by now: the writer isn't idle for a quiet time.
                still = here == r.seen and here > 0
                yield "look again", s, r._replace(at="fetch") if still else self._next(r)
            case "fetch":
                if not here:
                    yield "gone", s, self._next(r)
                else:
                    yield "fetch", s._replace(volatile=s.volatile | {here}), r._replace(at="durable", got=here)
            case "durable":
                if r.got != r.seen:
                    yield "it changes", s, self._next(r)
                elif self.broken == "in the ledger before it is durable":
                    yield "no fsync", s, r._replace(at="ledger")
                else:
                    yield "fsync", s._replace(durable=s.durable | {r.got}), r._replace(at="ledger")
            case "ledger":
                if self.broken == "archived before it is in the ledger":
                    yield "archive first", *self._moved(s, r._replace(at="ledger late", place=len(s.archive)))
                else:
                    yield "ledger", self._written(s, r, n), r._replace(at="archive")
            case "ledger late":
                yield "ledger", self._written(s, r, n), self._next(r)
            case "archive":
                if here != r.seen and self.broken != "archived whatever has the name now":
                    yield "gone, or another", s, self._next(r)
                else:
                    yield "look", s, r._replace(at="note")
            case "note":
                place = 0 if self.broken == "archived over what is there" else s.archive.index(0)
                note = Note(r.slot, r.seen, place, n)
                new = s._replace(noted=s.noted | {note}, known=s.known | {(r.seen, place)})
                yield "note", s if self.broken == "moved without a note" else new, r._replace(at="move", place=place)
            case "move":
                if not here:
                    yield "gone", s, self._next(r)
                elif s.archive[r.place] and self.broken != "archived over what is there":
                    yield "taken", s, r._replace(at="archive", place=0)
                elif self.broken in ("said to be archived unseen", "archived whatever has the name now"):
                    yield "move", *self._moved(s, r._replace(at="say"))
                else:
                    yield "move", *self._moved(s, r._replace(at="look at it"))
            case "look at it":
                right = s.archive[r.place] in (r.seen, 0)
                yield "look at it", s, r._replace(at="say" if right else "put back")
            case "put back":
                yield "put back", self._put_back(s, r.slot, r.place), self._next(r)
            case "say":
                yield "say", self._said(s, Note(r.slot, r.seen, r.place, n)), self._next(r)

    def _moved(self, s: State, r: Run) -> tuple[State, Run]:
        """In one step, whatever has the name."""
        here, names = s.names[r.slot], _put(s.names, r.slot, 0)
        if self.broken == "removed instead of archived":
            return s._replace(names=names), r
        return s._replace(names=names, archive=_put(s.archive, r.place, here)), r

    def _put_back(self, s: State, slot: int, place: int) -> State:
        """In one step, over nothing; where the name is taken, the next look does it."""
        if not s.archive[place] or (s.names[slot] and self.broken != "put back over what is there"):
            return s
        names, archive = _put(s.names, slot, s.archive[place]), _put(s.archive, place, 0)
        return s._replace(names=names, archive=archive)

    def _said(self, s: State, note: Note) -> State:
        return s._replace(noted=s.noted - {note})

    def _recovered(self, s: State, note: Note) -> State:
        """What a look does first for each move that was noted, and not said to be done."""
        there = s.archive[note.place]
        if s.names[note.slot] == note.version or not there:
            return s
        if there == note.version or ((there, note.place) in s.known):
            return self._said(s, note)
        new = self._put_back(s, note.slot, note.place)
        return self._said(new, note) if self.broken == "put back, and settled" else new

    def _next(self, r: Run) -> Run:
        return Run(slot=r.slot + 1) if r.slot + 1 < self.names else r._replace(at="end")

    def _written(self, s: State, r: Run, n: int) -> State:
        identity = (r.slot, 0 if self.broken == "told apart by name alone" else r.got)
        known = dict(s.collected)
        if identity in known and self.broken == "collected without comparing":
            return s._replace(wrong="two runs have the same file")
        if identity in known:
            return s
        if self.broken != "a repeat is sent on" and any(v == r.got for _, v in known):
            return s._replace(repeated=s.repeated | {(r.slot, r.got)})
        wrong = s.wrong
        if any(v == r.got for (_, v) in known):
            wrong = "the same content is sent on twice"
        elif r.got < 0:
            wrong = "half a file was collected"
        return s._replace(collected=tuple(sorted({**known, identity: n}.items())), wrong=wrong)

    def bad(self, s: State) -> str:
        if s.wrong:
            return s.wrong
        stands = {*s.names, *s.archive} | s.written_over
        if any(v not in stands for v in s.finished):
            return "a file is nowhere at its source"
        under_way = {place for _, _, place, _ in s.noted}
        for place, version in enumerate(s.archive):
            known = any(v in (version, 0) for (_, v), _ in s.collected) or any(v == version for _, v in s.repeated)
            if version and not known and place not in under_way:
                return "archived, and not in the ledger"
        for (_, version), _ in s.collected:
            if version and version not in s.durable | s.volatile:
                return "in the ledger, and its bytes are gone"
        return ""

    def settle(self, s: State) -> str:
        """The writer ends what it is at, the tasks are run again, alone: everything that was whole is collected."""
        s = self._outage(s)._replace(wrong=s.wrong)
        for _ in range(2 * len(self.to_come) + 1):
            if s.to_come:
                s = self._write(s)
            run = Run(slot=0)
            while run.at != "end":
                _, s, run = next(iter(self._steps(s, run, 0)))
        if wrong := self.bad(s):
            return f"later: {wrong}"
        have = {v for (_, v), _ in s.collected} | {v for _, v in s.repeated}
        return "" if s.finished <= have else "later: a file was never collected"


def _put(names: tuple[Version, ...], slot: int, version: Version) -> tuple[Version, ...]:
    return (*names[:slot], version, *names[slot + 1 :])
