"""Several files as one delivery: both or neither.

Every file is an interchange of its own, with its own fenced stream (``delivery.py``). First each is brought to the
partner whole, under a temporary name; then all names are looked at; then one rename follows the other, always in the
same order. So whoever sees one file of the set will get the others, and they are whole at the partner already: an
attempt killed between two renames leaves the rest for the next, which takes it over. No set is ever begun while one of
its names is taken: nothing is renamed then, and all are held.

Two renames are not one: a reader who looks between them sees half a set. The gap is written to the ledger
(``completed``). A foreign file that takes the second name within it holds the second file alone; that is said too.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

from slussen.delivery import Delivery, Outcome, State, _Attempt
from slussen.errors import CallError
from slussen.ledger import Conflict, Event, Ledger
from slussen.payloads import PayloadStore
from slussen.transports import Transport

SetSteps = Generator[str, None, "tuple[Outcome, ...]"]


def deliver_set(parts: Sequence[Delivery], store: PayloadStore, to: Transport, ledger: Ledger) -> SetSteps:
    """One attempt to deliver these together; as ``deliver``, an effect a step.

    Ends with an outcome for each part. One of them ``fenced``: another attempt has taken over, success must not be
    reported.

    Raises:
        CallError: the parts share a name, or one may replace what is there: a set never does.
        NameTaken: one of the names is taken by another file; no name was given by this attempt, unless it says so.
        TransportError, TransportRefused, TechnicalError: as ``deliver``.
    """
    if len({d.name for d in parts}) < len(parts):
        raise CallError(f"{parts[0].interchange}: two files of one delivery have the same name")
    if any(d.existing != "hold" for d in parts):
        raise CallError(f"{parts[0].interchange}: a delivery of several files replaces nothing")
    attempts = [_Attempt(d, store, to, ledger) for d in parts]
    states: list[State | None] = []
    for attempt in attempts:
        states.append((yield from attempt.bring()))
        if states[-1] == "fenced":
            return _ended(attempts, states)
    waiting = [n for n, state in enumerate(states) if state is None]
    for n in waiting:
        yield "look at all"
        attempts[n].may_replace()
    began = time.monotonic()
    for n in waiting:
        states[n] = yield from attempts[n].place()
        if states[n] == "fenced":
            return _ended(attempts, states)
    yield "completed"
    _complete(parts, ledger, time.monotonic() - began if len(waiting) == len(parts) else None)
    for attempt, state in zip(attempts, states, strict=True):
        yield from attempt.finish(state or "already")
    return _ended(attempts, states)


def _ended(attempts: Sequence[_Attempt], states: Sequence[State | None]) -> tuple[Outcome, ...]:
    """What wasn't come to when another attempt took over is fenced, unless the ledger says that it is delivered."""
    shown = [*states, *[None] * (len(attempts) - len(states))]
    return tuple(attempt.end(state or "fenced") for attempt, state in zip(attempts, shown, strict=True))


def _complete(parts: Sequence[Delivery], ledger: Ledger, gap: float | None) -> None:
    """Say, once, on the last part's stream, for how long a reader could see some of the set and not the others.

    ``gap`` (seconds) is measured when one attempt gave all the names. Else it is at most the time since the last part
    was said to be uploaded: no name was given before that.
    """
    last = parts[-1]
    while True:
        events = ledger.events(last.interchange)
        if any(e.kind == "completed" for e in events):
            return
        data = {"parts": [d.interchange for d in parts], "measured": gap is not None}
        try:
            ledger.append(
                last.interchange,
                "completed",
                data | {"gap": round(_since_uploaded(events) if gap is None else gap, 3)},
                integration=last.integration,
                after=events[-1].seq,
            )
        except Conflict:
            continue
        return


def _since_uploaded(events: Sequence[Event]) -> float:
    first, last = (next((e.at for e in events if e.kind == kind), None) for kind in ("uploaded", "delivered"))
    return (last - first).total_seconds() if first and last else 0.0
