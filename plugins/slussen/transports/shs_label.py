"""SHS 1.2's XML: labels, lists of messages, confirmations and errors, as its DTDs have them (order of elements, ISO
8859-1, DOCTYPE). What comes from outside is parsed without entities, and none of its free text goes any further.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

from slussen.errors import TransportRefused

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ACTOR = "urn:X-shs:"
CONFIRM, ERROR = f"{ACTOR}confirm", f"{ACTOR}error"
TOKEN = re.compile(r"[A-Za-z0-9._:-]{1,100}")  # what we take for an NMTOKEN
NAMELESS = "?"  # what a made-up id begins with: no token has it
HEAD = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\n'


@dataclass(frozen=True, slots=True)
class Data:
    """A data part as a label announces it; ``bytes`` and ``records`` are -1 where it doesn't say."""

    filename: str
    bytes: int = -1
    records: int = -1
    kind: str = "txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What we use of a label; ``sender``, ``to`` are organisation numbers; ``wrong`` is why a list's row can't be used.

    A row whose id is none has a made-up one, the same in every list, that no node can be asked about.
    """

    tx_id: str
    corr_id: str
    content_id: str
    sender: str
    to: str
    product: str
    data: tuple[Data, ...]
    datetime: str = ""
    name: str = ""
    agreement: str = ""
    sequence: Literal["event", "request", "reply", "adm"] = "event"
    status: Literal["production", "test"] = "production"
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Management:
    """A confirmation (no ``code``) or an error: about the message with this ``content.id``."""

    corr_id: str
    content_id: str
    code: str = ""


def render(label: Label) -> bytes:
    """A label, its elements in the DTD's order."""
    agreement = f" shs.agreement={quoteattr(label.agreement)}" if label.agreement else ""
    parts = "".join(f"\n      {_data(d)}" for d in label.data)
    return (
        f'{HEAD}<!DOCTYPE shs.label SYSTEM "shs-label-1.2.dtd">\n'
        f'<shs.label version="1.2" tx.id={quoteattr(label.tx_id)} corr.id={quoteattr(label.corr_id)}{agreement}'
        f' transfer-type="asynch" message-type="simple" document-type="simple" sequence-type="{label.sequence}"'
        f' status="{label.status}">\n'
        f"  <from commonName={quoteattr(label.name or label.sender)}>{ACTOR}{escape(label.sender)}</from>\n"
        f"  <to>{ACTOR}{escape(label.to)}</to>\n"
        f"  <product>{escape(label.product)}</product>\n"
        f"  <datetime>{escape(label.datetime)}</datetime>\n"
        f"  <content content.id={quoteattr(label.content_id)}>{parts}\n  </content>\n"
        "</shs.label>\n"
    ).encode("iso-8859-1", "xmlcharrefreplace")


def _data(d: Data) -> str:
    sizes = f' no-of-bytes="{d.bytes}"' if d.bytes >= 0 else ""
    sizes += f' no-of-records="{d.records}"' if d.records > 0 else ""
    return f"<data datapartType={quoteattr(d.kind)} filename={quoteattr(d.filename)}{sizes}/>"


def parse(xml: bytes) -> Label:
    """A label.

    Raises:
        TransportRefused: it is none, or it lacks what it must have.
    """
    root = _root(xml, "shs.label", "a label")
    content = root.find("content")
    if content is None:
        raise TransportRefused("an SHS label without content")
    return Label(
        tx_id=token(root.get("tx.id", "")),
        corr_id=token(root.get("corr.id", "")),
        content_id=token(content.get("content.id", "")),
        sender=_actor(root.find("from") if root.find("from") is not None else root.find("originator")),
        to=_actor(root.find("to")),
        product=(root.findtext("product") or "").strip(),
        data=tuple(_read_data(e) for e in content.findall("data")),
        sequence=_one_of(root.get("sequence-type", ""), "event", "request", "reply", "adm"),  # type: ignore[arg-type]
        status=_one_of(root.get("status", "production"), "production", "test"),  # type: ignore[arg-type]
        agreement=root.get("shs.agreement", ""),
    )


def messages(xml: bytes) -> list[Label]:
    """A list of messages that wait; what a label would say more is left empty; a row that can't be used says so."""
    return [_row(e) for e in _root(xml, "shs.message-list", "a list of messages").findall("message")]


def _row(e: Element) -> Label:
    found = Label(
        tx_id=e.get("tx.id", ""),
        corr_id=e.get("corr.id", ""),
        content_id=e.get("content.id", ""),
        sender=e.get("from", e.get("originator", "")).removeprefix(ACTOR),
        to=e.get("to", "").removeprefix(ACTOR),
        product=e.get("product", ""),
        data=tuple(_read_data(d) for d in e.findall("data")),
        datetime=e.get("timestamp", ""),
    )
    try:
        token(found.tx_id)
    except TransportRefused:
        known = hashlib.sha256(found.tx_id.encode()).hexdigest()[:32]
        return replace(found, tx_id=f"{NAMELESS}{known}", wrong="has an id that is none")
    try:
        return replace(
            found,
            sequence=_one_of(e.get("sequence-type", ""), "event", "request", "reply", "adm"),  # type: ignore[arg-type]
            status=_one_of(e.get("status", "production"), "production", "test"),  # type: ignore[arg-type]
        )
    except TransportRefused:
        return replace(found, wrong="has a word that SHS's DTD doesn't have")


def render_messages(labels: list[Label]) -> bytes:
    """A list of messages, as a node gives it."""
    rows = "".join(
        f"  <message tx.id={quoteattr(x.tx_id)} timestamp={quoteattr(x.datetime)} corr.id={quoteattr(x.corr_id)}"
        f" content.id={quoteattr(x.content_id)} from={quoteattr(ACTOR + x.sender)} to={quoteattr(ACTOR + x.to)}"
        f' product={quoteattr(x.product)} sequence-type="{x.sequence}" status="{x.status}">'
        f"{''.join(_data(d) for d in x.data)}</message>\n"
        for x in labels
    )
    return (
        f'{HEAD}<!DOCTYPE shs.message-list SYSTEM "shs-message-list-1.2.dtd">\n'
        f'<shs.message-list version="1.2">\n{rows}</shs.message-list>\n'
    ).encode("iso-8859-1", "xmlcharrefreplace")


def management(xml: bytes) -> Management:
    """A confirmation or an error."""
    root = _root(xml, "shs.management", "a receipt")
    corr, content = token(root.get("corr.id", "")), token(root.get("content.id", ""))
    error = root.find("error")
    if error is not None:
        code = error.get("errorcode", "")
        return Management(corr, content, code if TOKEN.fullmatch(code) else "OtherError")
    if root.find("confirmation") is None:
        raise TransportRefused("an SHS receipt that neither confirms nor refuses")
    return Management(corr, content)


def render_management(m: Management, datetime: str) -> bytes:
    what = f'<error errorcode={quoteattr(m.code)} errorinfo=""/>' if m.code else "<confirmation/>"
    return (
        f'{HEAD}<!DOCTYPE shs.management SYSTEM "shs-management-1.2.dtd">\n'
        f'<shs.management version="1.2" corr.id={quoteattr(m.corr_id)} content.id={quoteattr(m.content_id)}>\n'
        f"  <datetime>{datetime}</datetime>\n  {what}\n</shs.management>\n"
    ).encode("iso-8859-1", "xmlcharrefreplace")


def _root(xml: bytes, tag: str, what: str) -> Element:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(xml)  # DOCTYPE is allowed, entities and what is outside are not
    except DefusedXmlException as error:
        raise TransportRefused(f"{what} of SHS with {type(error).__name__}: refused unread") from None
    except (ParseError, ValueError, LookupError):
        raise TransportRefused(f"{what} of SHS that is no XML") from None
    if root.tag != tag:
        raise TransportRefused(f"something else where {what} of SHS belongs")
    return root


def _read_data(e: Element) -> Data:
    return Data(
        e.get("filename", ""), _count(e.get("no-of-bytes")), _count(e.get("no-of-records")), e.get("datapartType", "")
    )


def _count(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else -1


def _actor(e: Element | None) -> str:
    return ("" if e is None or e.text is None else e.text).strip().removeprefix(ACTOR)


def token(value: str) -> str:
    """An id, if it is one that can stand in a path and a command."""
    if not TOKEN.fullmatch(value) or value.startswith("."):
        raise TransportRefused("an SHS message without an id, or with one that is none")
    return value


def _one_of(value: str, *allowed: str) -> str:
    if value not in allowed:
        raise TransportRefused("an SHS message with a word that its DTD doesn't have")
    return value
