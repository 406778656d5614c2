"""Delivery reports and receipt notifications: RFC 3464 (as MIXER, RFC 2157, makes them of X.400's) and RFC 8098.

Only codes are taken out of them. What a report says in words (diagnostics, comments, the subject) may hold anything,
a person's name in a file name too, and is never repeated.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from email.message import Message as Headers
from email.utils import formatdate
from typing import Literal
from urllib.parse import unquote

from slussen.transports.mime import parse_headers

Kind = Literal["delivery", "read"]
Outcome = Literal["accepted", "with errors", "rejected", "delayed"]
STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
MESSAGE_ID = re.compile(r"<[^<>\s]{1,990}>")
ACTIONS: dict[str, Outcome] = {
    "delivered": "accepted",
    "relayed": "accepted",  # into X.400 that reports no success: the last that will be heard (RFC 3464, 2.3.3)
    "expanded": "accepted",
    "failed": "rejected",
    "delayed": "delayed",
}
WORST: dict[Outcome, int] = {"rejected": 3, "delayed": 2, "with errors": 1, "accepted": 0}


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says: about which message, and what became of it; ``recipient`` as it stands there."""

    about: str
    kind: Kind
    outcome: Outcome
    detail: str
    recipient: str


def delivery_report(status: bytes, returned: bytes) -> Report | None:
    """A ``message/delivery-status`` body and what was returned of the message; None when it can't be read."""
    blocks = [parse_headers(block) for block in re.split(rb"\r?\n\r?\n", status.strip()) if block.strip()]
    if not blocks:
        return None
    recipients = [b for b in blocks[1:] if b.get("Action")]
    judged = [(ACTIONS.get(_word(b, "Action")), b) for b in recipients]
    if not judged or any(outcome is None for outcome, _ in judged):
        return None
    outcome, block = max(((o, b) for o, b in judged if o), key=lambda pair: WORST[pair[0]])
    code = STATUS.search(str(block.get("Status", "")))
    detail = " ".join(filter(None, (_word(block, "Action"), code[0] if code else "")))
    about = _id(_xtext(str(blocks[0].get("Original-Envelope-Id", "")))) or _id(
        str(parse_headers(returned).get("Message-ID", ""))
    )
    return Report(about, "delivery", outcome, detail, _address(block))


def read_report(notification: bytes) -> Report | None:
    """A ``message/disposition-notification`` body; None when it can't be read."""
    fields = parse_headers(notification.strip())
    disposition = re.sub(r"\s+", "", str(fields.get("Disposition", ""))).lower()
    match = re.fullmatch(
        r"(?:manual|automatic)-action/mdn-sent-(?:manually|automatically)"
        r";(displayed|deleted|dispatched|processed|denied|failed)(?:/([a-z\-,]{1,60}))?",
        disposition,
    )
    if match is None:
        return None
    what, modifier = match[1], match[2] or ""
    outcome: Outcome = "accepted"
    if what in ("deleted", "denied", "failed") or "failure" in modifier:
        outcome = "rejected"
    elif "error" in modifier or "warning" in modifier:
        outcome = "with errors"
    about = _id(str(fields.get("Original-Message-ID", "")))
    return Report(about, "read", outcome, " ".join(filter(None, (what, modifier))), _address(fields))


def receipt_notification(about: str, identity: str, sender: str, recipient: str) -> bytes:
    """A message with this identity that says that the one it is about was received."""
    boundary = f"=_{hashlib.sha256(about.encode('utf-8', 'replace')).hexdigest()[:48]}"
    about = re.sub(r"[^!-~]", "", about)
    return (
        f"Message-ID: {identity}\r\n"
        f"Date: {formatdate()}\r\n"
        f"From: {sender}\r\n"
        f"To: {recipient}\r\n"
        "Subject: Receipt\r\n"
        f"In-Reply-To: {about}\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=disposition-notification;\r\n"
        f' boundary="{boundary}"\r\n\r\n'
        f"--{boundary}\r\nContent-Type: text/plain\r\n\r\nThe file has been received.\r\n\r\n"
        f"--{boundary}\r\nContent-Type: message/disposition-notification\r\n\r\n"
        f"Final-Recipient: rfc822;{sender}\r\n"
        f"Original-Message-ID: {about}\r\n"
        "Disposition: automatic-action/MDN-sent-automatically; processed\r\n\r\n"
        f"--{boundary}--\r\n"
    ).encode("ascii", "replace")


def _word(fields: Headers, name: str) -> str:
    return str(fields.get(name, "")).split("(")[0].strip().lower()


def _address(fields: Headers) -> str:
    value = str(fields.get("Original-Recipient") or fields.get("Final-Recipient") or "")
    kind, _, address = value.partition(";")
    return _xtext(address.strip()) if kind.strip() else ""


def _id(value: str) -> str:
    match = MESSAGE_ID.search(value)
    return match[0] if match else ""


def _xtext(value: str) -> str:
    """RFC 3461, 4: ``+`` and two hex digits are a letter."""
    return unquote(re.sub(r"\+(?=[0-9A-F]{2})", "%", value.replace("%", "%25")), errors="replace")


def to_xtext(value: str) -> str:
    """A value as RFC 3461 has it in a command."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in value)
