"""The fenced delivery as a model: overlapping attempts, replies lost, uploads cut, a receiver, a stranger.

The real code is walked in ``walk.py``; here the protocol itself is, with more attempts than the code could be walked
with. ``broken`` names one deliberate mistake: each must come out as a bad state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MISTAKES = (
    "straight to the final name",
    "one temporary name for all",
    "the final name is emptied before the rename",
    "uploaded without being the last",
    "inferred without being the last",
    "inferred without comparing",
    "nothing is taken over",
    "taken over from the attempt before only",
    "taken over backwards",
    "not verified",
    "missing is taken for renamed",
    "said before it is done",
    "renamed over anything",
    "earlier files swept at the claim",
)


class Attempt(NamedTuple):
    """Where an attempt is: its step, its claim's number, whose upload it takes over, how far it has looked."""

    at: str = "claim"
    number: int = 0
    scan: int = 0


class State(NamedTuple):
    """Attempts; the ledger (last claim, who uploaded, what it says); the partner (temporary files, the final name);
    and what was to be seen there: arrivals, a partial file, a stranger's file overwritten."""

    attempts: tuple[Attempt, ...]
    last: int = 0
    uploaded: int = 0
    delivered: str = ""
    files: tuple[tuple[int, str], ...] = ()  # (attempt, half or whole)
    final: str = ""  # "", "whole", "half", "strange"
    arrived: int = 0
    wrong: str = ""
    stranger: bool = False


class Fenced:
    """``attempts`` overlapping ones; with ``receiver``, files are taken; with ``lossy``, replies are lost; with
    ``stranger``, a foreign file may take the name once."""

    def __init__(
        self, attempts: int, *, receiver: bool = True, lossy: bool = True, stranger: bool = False, broken: str = ""
    ) -> None:
        self.count, self.receiver, self.lossy, self.stranger, self.broken = (
            attempts, receiver, lossy, stranger, broken,
        )  # fmt: skip
        parts = ["receiver"] * receiver + ["replies lost"] * lossy + ["a stranger"] * stranger
        self.name = f"delivery, {attempts} attempts, {', '.join(parts) or 'quiet'}"

    def initial(self) -> State:
        return State((Attempt(),) * self.count)

    def moves(self, s: State) -> Iterator[tuple[str, State]]:
        for n, attempt in enumerate(s.attempts):
            if n and attempt.at == "claim" and s.attempts[n - 1].at == "claim":
                continue  # attempts are alike until they claim: in one order only
            if attempt.at != "end":
                for label, new, then in self._steps(s, attempt):
                    yield f"{n}:{label}", new._replace(attempts=(*s.attempts[:n], then, *s.attempts[n + 1 :]))
        if self.receiver and s.final in ("whole", "half"):
            yield "take", s._replace(final="")
        if self.stranger and not s.stranger and not s.final:
            yield "strange", s._replace(final="strange", stranger=True)

    def _steps(self, s: State, a: Attempt) -> Iterator[tuple[str, State, Attempt]]:
        """(label, state, where the attempt then is) of each thing that its next step may come to."""
        end = a._replace(at="end")
        mine = self._temporary(a.number)
        files = dict(s.files)
        match a.at:
            case "claim":
                yield self._claim(s, a)
            case "look":
                if s.final == "strange":
                    yield "held", s, end
                else:
                    yield "look", s, a._replace(at="infer" if s.final == "whole" else "upload")
            case "upload":
                if self.broken == "straight to the final name":
                    yield "half", _seen(s._replace(final="half"), whole=False), a._replace(at="upload the rest")
                else:
                    yield "half", s._replace(files=_with(files, mine, "half")), a._replace(at="upload the rest")
            case "upload the rest":
                if self.broken == "straight to the final name":
                    yield "whole", _seen(s._replace(final="whole"), whole=True), a._replace(at="say")
                    return
                whole = s._replace(files=_with(files, mine, "whole"))
                yield "whole", whole, a._replace(at="verify")
                if self.lossy:
                    yield "whole, reply lost", whole, end
                    yield "cut short and called whole", s, a._replace(at="verify")
            case "verify":
                if files.get(mine) == "whole" or self.broken == "not verified":
                    yield "verified", s, a._replace(at="uploaded")
                else:
                    yield "not whole", s._replace(files=_without(files, mine)), end
            case "uploaded":
                first = not s.uploaded and not s.delivered
                if (first and s.last == a.number) or (self.broken == "uploaded without being the last" and first):
                    yield "uploaded", s._replace(uploaded=a.number), a._replace(at="rename")
                else:
                    yield "withdraw", s._replace(files=_without(files, mine)), end
            case "take over":
                yield from self._take_over(s, a)
            case "where":
                yield "where", s, a._replace(at="infer")
            case "infer":
                may = not s.delivered and s.last == a.number
                if self.broken == "inferred without being the last":
                    may = not s.delivered
                if self.broken == "inferred without comparing":
                    may = True
                yield "infer", _said(s) if may else s, end
            case "rename":
                yield from self._rename(s, a)
            case "say":
                yield "say", s if s.delivered else _said(s), end

    def _claim(self, s: State, a: Attempt) -> tuple[str, State, Attempt]:
        if s.delivered:
            return "already", s, a._replace(at="end")
        number = s.last + 1
        claimed = s._replace(last=number)
        if self.broken == "earlier files swept at the claim":
            claimed = claimed._replace(files=())
        if not s.uploaded or self.broken == "straight to the final name":
            return "claim", claimed, Attempt("look", number)
        if self.broken == "nothing is taken over":
            return "claim", claimed, Attempt("where", number)
        backwards = self.broken in ("taken over backwards", "taken over from the attempt before only")
        return "claim", claimed, Attempt("take over", number, number - 1 if backwards else s.uploaded)

    def _take_over(self, s: State, a: Attempt) -> Iterator[tuple[str, State, Attempt]]:
        files = dict(s.files)
        source, mine = self._temporary(a.scan), self._temporary(a.number)
        if source in files:
            content = files.pop(source)
            moved = s._replace(files=_with(files, mine, content))
            yield f"take over {a.scan}", moved, a._replace(at="rename")
            if self.lossy:
                yield f"take over {a.scan}, reply lost", moved, a._replace(at="end")
            return
        if self.broken == "taken over from the attempt before only":
            scan = 0
        elif self.broken == "taken over backwards":
            scan = a.scan - 1 if a.scan > s.uploaded else 0
        else:
            scan = a.scan + 1 if a.scan + 1 < a.number else 0
        yield "nothing there", s, a._replace(at="take over" if scan else "where", scan=scan)

    def _rename(self, s: State, a: Attempt) -> Iterator[tuple[str, State, Attempt]]:
        files, mine = dict(s.files), self._temporary(a.number)
        end = a._replace(at="end")
        if self.broken == "said before it is done" and not s.delivered:
            yield "say", _said(s), a
        if mine not in files:
            yield "fenced", s, a._replace(at="say") if self.broken == "missing is taken for renamed" else end
            return
        if s.final == "strange":
            if self.broken not in ("renamed over anything", "the final name is emptied before the rename"):
                yield "held", s, end
                return
            s = s._replace(wrong="a stranger's file was overwritten")
        whole = files[mine] == "whole"
        done = _seen(s._replace(files=_without(files, mine), final="whole" if whole else "half"), whole=whole)
        yield "rename", done, a._replace(at="say")
        if self.lossy:
            yield "rename, reply lost", done, end

    def _temporary(self, number: int) -> int:
        return 1 if self.broken == "one temporary name for all" else number

    def bad(self, s: State) -> str:
        if s.arrived > 1:
            return "it could be taken twice"
        return s.wrong or ("the ledger says delivered, and nothing was" if s.delivered and not s.arrived else "")

    def settle(self, s: State) -> str:
        """Cleared twice, alone and without faults; a stranger's file is moved away in between."""
        for again in range(2):
            s = self._alone(s)
            if again == 0 and s.final == "strange":
                s = s._replace(final="")
        if wrong := self.bad(s):
            return f"later: {wrong}"
        if not s.arrived or not s.delivered:
            return "later: it was lost" if not s.arrived else "later: the ledger never says delivered"
        return ""

    def _alone(self, s: State) -> State:
        a = Attempt()
        while a.at != "end":
            _, s, a = next(iter(self._steps(s, a)))
        return s


def _seen(s: State, *, whole: bool) -> State:
    if not whole:
        return s._replace(wrong="half of it was to be seen")
    return s._replace(arrived=s.arrived + 1)


def _said(s: State) -> State:
    return s._replace(delivered="yes", wrong=s.wrong or ("the ledger says it twice" if s.delivered else ""))


def _with(files: dict[int, str], name: int, content: str) -> tuple[tuple[int, str], ...]:
    return tuple(sorted({**files, name: content}.items()))


def _without(files: dict[int, str], name: int) -> tuple[tuple[int, str], ...]:
    return tuple(sorted((n, c) for n, c in files.items() if n != name))
