"""Alerts: one for each cause, however many integrations it stops, and one more when it is over. Knows no Airflow.

A cause is what must be put right: a partner's connection that fails, one interchange's content, a database of ours.
Its stream in the ledger, ``watch/<cause>``, is opened by the first fault (by compare-and-set, so that of a hundred
tasks that fail at once one opens it) and closed by the first success.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slussen.errors import TransportError, TransportRefused
from slussen.lateness import STOCKHOLM
from slussen.ledger import Conflict
from slussen.notifications import Channel, Note, one_line, sms, tell

if TYPE_CHECKING:
    from slussen.ledger import Event, Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What somebody must know at night; ``cause`` is what makes two of them one.

    ``cutoff`` is when it is too late for the interval, ``at`` when this is said by the clock of the run that says it
    (UTC): between them is the slack that is left.
    """

    cause: str
    integration: str
    state: str
    what: str
    next_step: str
    at: datetime
    interchange: str = ""
    cutoff: datetime | None = None


def alert(ledger: Ledger, channels: Iterable[Channel], a: Alert) -> bool:
    """Tell everybody, unless they have been told of this cause. True when this call is its first fault.

    A channel that fails is tried again at the cause's next fault, and by the watchdog; it never raises.
    """
    stream = f"watch/{a.cause}"
    while True:
        events = ledger.events(stream)
        opened = _open(events)
        first = opened is None
        if opened is None:
            data = {
                "integration": a.integration, "interchange": a.interchange, "state": a.state, "what": a.what,
                "next": a.next_step, "cutoff": a.cutoff.isoformat() if a.cutoff else "", "at": a.at.isoformat(),
            }  # fmt: skip
            try:
                opened = ledger.append(
                    stream, "alarm", data, integration=a.integration, after=events[-1].seq if events else 0
                )
            except Conflict:
                continue
        break
    _tell(ledger, stream, opened, "alarm", _note(a, str(opened.seq)), channels)
    return first


def tell_without_ledger(channels: Iterable[Channel], a: Alert) -> None:
    """Tell everybody when the ledger itself can't be reached: perhaps more than once, with the same id for an hour."""
    note = _note(a, f"{datetime.now(UTC):%Y%m%dT%H}")
    for channel in channels:
        try:
            channel.send(note)
        except (TransportError, TransportRefused) as error:
            log.warning("%s: %s could not be told: %s", a.cause, channel.connection, error)


def recovered(ledger: Ledger, channels: Iterable[Channel], cause: str, now: datetime) -> bool:
    """Tell everybody that the cause is over, if they were told of it. True when this call ends it.

    ``now`` is by the clock of the run that says it (UTC): how long it lasted is counted with that one.
    """
    stream = f"watch/{cause}"
    while True:
        events = ledger.events(stream)
        opened = _open(events)
        if opened is None:
            return False
        try:
            over = ledger.append(
                stream, "recovered", {"at": now.isoformat()}, integration=opened.integration, after=events[-1].seq
            )
        except Conflict:
            continue
        break
    _tell(ledger, stream, opened, "recovery", _over(opened, over), channels)
    return True


def again(ledger: Ledger, channels: Sequence[Channel], stream: str, now: datetime) -> None:
    """Tell those who couldn't be told of how a cause stands: of its alarm while it lasts, of its end when it is over.

    Nobody is told twice, or again after a refusal for good; ``now`` is by the clock that the slack is counted with.
    """
    events = ledger.events(stream)
    last = next((n for n in range(len(events) - 1, -1, -1) if events[n].kind in ("alarm", "recovered")), None)
    if last is None:
        return
    opened = events[last] if events[last].kind == "alarm" else _open(events[:last])
    if opened is None:
        return
    over = events[last] if events[last] is not opened else None
    about = "recovery" if over else "alarm"
    note = _over(opened, over) if over else _note(_alert_of(opened, now), str(opened.seq))
    said = {e.data["connection"]: e for e in events if e.data.get("about") == f"{about} {opened.seq}"}
    left = [c for c in channels if not (c.connection in said and said[c.connection].data.get("final"))]
    _tell(ledger, stream, opened, about, note, left)


def _alert_of(opened: Event, now: datetime) -> Alert:
    """An alarm as it was raised, said now."""
    d = opened.data
    return Alert(
        cause=opened.stream.removeprefix("watch/"), integration=d["integration"], state=d["state"], what=d["what"],
        next_step=d["next"], interchange=d["interchange"],
        cutoff=datetime.fromisoformat(d["cutoff"]) if d["cutoff"] else None, at=now,
    )  # fmt: skip


def _over(opened: Event, over: Event) -> Note:
    began = _said_at(opened)
    minutes = int((_said_at(over) - began).total_seconds() // 60)
    what = f"{opened.stream.removeprefix('watch/')} works again after {minutes} minutes"
    return Note(
        f"{opened.stream}-{opened.seq}-over", one_line(f"Slussen: {what}"),
        f"{one_line(what)}\nIt began:    {began:%Y-%m-%d %H:%M} UTC with {one_line(opened.data['integration'])}\n"
        "Next step:   see `slussen ledger` for what was held meanwhile; what was tried again has gone by itself\n",
        sms("Slussen: ", what),
    )  # fmt: skip


def _said_at(event: Event) -> datetime:
    """When it was said by the clock of the run that said it; the ledger's own moment is the machine's."""
    return datetime.fromisoformat(event.data["at"]).astimezone(UTC) if "at" in event.data else event.at


def _tell(
    ledger: Ledger, stream: str, opened: Event, about: str, note: Note, channels: Iterable[Channel]
) -> None:  # fmt: skip
    for channel in channels:
        try:
            tell(ledger, stream, opened.integration, f"{about} {opened.seq}", note, channel)
        except (TransportError, TransportRefused) as error:
            log.warning("%s: %s could not be told: %s", stream, channel.connection, error)


def _open(events: Sequence[Event]) -> Event | None:
    """The alarm that is not over."""
    last = next((e for e in reversed(events) if e.kind in ("alarm", "recovered")), None)
    return last if last is not None and last.kind == "alarm" else None


def _note(a: Alert, number: str) -> Note:
    rows = [
        ("Integration", a.integration),
        ("Interchange", a.interchange),
        ("State", a.state),
        ("What", a.what),
        ("Next step", a.next_step),
        ("Slack", _slack(a)),
        ("Cause", f"{a.cause}: no further alert of it until it is over"),
    ]
    return Note(
        f"watch/{a.cause}-{number}",
        one_line(f"Slussen: {a.integration} {a.state}: {a.what}")[:150],
        "\n".join(f"{label + ':':<13}{one_line(value)}" for label, value in rows if value) + "\n",
        sms(f"Slussen {a.integration} {a.state}: ", a.what, f" {_slack(a)}" if a.cutoff else ""),
    )


def _slack(a: Alert) -> str:
    if a.cutoff is None:
        return ""
    minutes = int((a.cutoff - a.at).total_seconds() // 60)
    hours = f"{abs(minutes) // 60} h {abs(minutes) % 60} min" if abs(minutes) >= 60 else f"{abs(minutes)} min"
    when = f"{a.cutoff.astimezone(STOCKHOLM):%a %H:%M}"
    return f"cut-off {when}, {hours} left" if minutes >= 0 else f"cut-off {when}, passed {hours} ago"
