"""Telling people: a proof of sending for each delivery, by mail or SMS. Knows no Airflow.

Each interchange is told once to each connection: the intention is written to the ledger by compare-and-set before
anything goes out, the outcome after it. When the process dies or the gateway's reply is lost between the two, nobody
knows whether it went out; after ``GRACE`` it is sent again, with the same message id, so that it may come twice rather
than not at all. A notification that fails never touches the delivery.

What is told is what the ledger knows: names, counts and hashes, never a value of a record.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol
from zoneinfo import ZoneInfo

from slussen.errors import TransportError, TransportRefused

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.ledger import Event, Ledger

GRACE = timedelta(minutes=5)  # for an attempt that is at it: longer than any gateway's timeouts
STOCKHOLM = ZoneInfo("Europe/Stockholm")
SMS = 160  # septets of one message
BASIC = frozenset(
    "@£$¥èéùìòÇØøÅå_ÆæßÉ !\"#%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)  # GSM 03.38, without what it writes with an escape
CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]+")
Told = Literal["sent", "before", "busy"]


@dataclass(frozen=True, slots=True)
class Note:
    """What is told: ``subject`` and ``text`` by mail, ``short`` by SMS. ``id`` is the same however often it is sent."""

    id: str
    subject: str
    text: str
    short: str


class Channel(Protocol):
    """A way to tell somebody: a connection, and who is told there."""

    connection: str
    kind: Literal["mail", "sms"]

    def send(self, note: Note) -> None:
        """Hand the note over.

        Raises:
            TransportError: in vain, or perhaps not: it may be tried again.
            TransportRefused: in vain, and trying again gives the same.
        """
        ...


def tell(ledger: Ledger, stream: str, integration: str, about: str, note: Note, channel: Channel) -> Told:
    """Send a note once: ``sent`` now, sent ``before``, or another attempt is ``busy`` with it.

    ``about`` tells the notes of one stream from each other.

    Raises:
        TransportError, TransportRefused: it wasn't sent, which the ledger says too.
    """
    from slussen.ledger import Conflict

    what = {"about": about, "channel": channel.kind, "connection": channel.connection}
    while True:
        events = ledger.events(stream)
        mine = [e for e in events if what.items() <= e.data.items()]
        last = mine[-1] if mine else None
        if last is not None and last.kind == "notified":
            return "before"
        if last is not None and last.kind == "notifying" and datetime.now(UTC) - last.at < GRACE:
            return "busy"
        try:
            ledger.append(
                stream, "notifying", what, integration=integration, after=events[-1].seq if events else 0
            )  # fmt: skip
        except Conflict:
            continue
        break
    try:
        channel.send(note)
    except (TransportError, TransportRefused) as error:
        final = isinstance(error, TransportRefused)
        ledger.append(stream, "unnotified", {**what, "reason": str(error), "final": final}, integration=integration)
        raise
    ledger.append(stream, "notified", what, integration=integration)
    return "sent"


def proof(integration: Integration, interchange: str, events: Sequence[Event]) -> Note | None:
    """The proof of sending of an interchange with these events; None before it was delivered."""
    delivered = next((e for e in events if e.kind == "delivered"), None)
    if delivered is None:
        return None
    content = next((e.data for e in events if e.kind == "content"), {})
    name, size, digest = delivered.data["name"], delivered.data["bytes"], delivered.data["sha256"]
    records = content.get("records")
    at = f"{delivered.at.astimezone(STOCKHOLM):%Y-%m-%d %H:%M}"
    inferred = " (inferred: the receiver has taken it)" if delivered.data.get("inferred") else ""
    awaited = ", ".join(r.kind for r in integration.receipts)
    rows = [
        ("Flow", f"{integration.key}{f' (TEIS {integration.teis})' if integration.teis else ''}: {integration.title}"),
        ("From", integration.sender),
        ("To", integration.receiver),
        ("File", name),
        ("Bytes", str(size)),
        ("Records", str(records) if records is not None else "not counted"),
        ("SHA-256", digest),
        ("Seal", content.get("seal", {}).get("hmac", "")),
        ("Sent", f"{at} Europe/Stockholm{inferred}"),
        ("Interchange", interchange),
        ("Next step", f"a receipt is awaited: {awaited}" if awaited else "none: compare the file with these figures"),
    ]
    text = "\n".join(f"{label + ':':<13}{one_line(value)}" for label, value in rows if value)
    count = f", {records} records" if records is not None else ""
    tail = f" to {integration.receiver} {at}{count}, {size} bytes, sha256 {digest[:12]}"
    return Note(
        interchange, one_line(f"{integration.key}: {name} delivered to {integration.receiver}"), text + "\n",
        sms(f"Slussen {integration.key}: ", name, tail),
    )  # fmt: skip


def one_line(text: str) -> str:
    """Without anything that begins a new line or header, or ends a command."""
    return CONTROL.sub(" ", text)


def sms(head: str, middle: str, tail: str = "") -> str:
    """One message in GSM's basic letters; the middle gives way when it is too long."""
    head, middle, tail = ("".join(c if c in BASIC else "?" for c in one_line(p)) for p in (head, middle, tail))
    room = SMS - len(head) - len(tail)
    if len(middle) > room > 2:
        middle = middle[: (room - 2) // 2] + ".." + middle[len(middle) - (room - 2 - (room - 2) // 2) :]
    return (head + middle + tail)[:SMS]
