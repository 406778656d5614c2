"""Two message partners on loopback, each with the same handful of words: what the tests of both say once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email import message_from_bytes
from io import BytesIO
from pathlib import Path
from typing import Any

from sandbox import shs_node, x400_gateway
from sandbox.faults import Switches
from slussen.transports import Message, Messenger
from slussen.transports.shs import Actor, Shs
from slussen.transports.x400 import X400, Account

CSN = "/O=CSN/PRMD=CSN/C=SE/"
OTHER = "/O=Annan/PRMD=ANNAN/C=SE/"
SKV, STRANGER = "2021005448", "5565317129"
PRODUCT = "urn:X-shs:navet:fraga"


@dataclass
class Rig:
    """A partner: ``open`` a messenger to it, ``arrived`` there, ``send`` from it, ``archived`` is what we put away."""

    kind: str
    open: Callable[..., Messenger]
    faults: Switches
    arrived: Callable[[], list[Any]]
    archived: Callable[[], list[bytes]]
    send: Callable[..., str]
    play: Callable[..., None]
    receipt: Callable[..., None]
    server: Any


@contextmanager
def x400_rig(root: Path) -> Iterator[Rig]:
    with x400_gateway.running(root) as gateway:
        account = Account(
            host="127.0.0.1", port=gateway.smtp_port, user=x400_gateway.USER, password=x400_gateway.PASSWORD,
            imap_host="127.0.0.1", imap_port=gateway.imap_port, originator=x400_gateway.CITY, recipient=CSN,
            gateway=x400_gateway.GATEWAY, ca=str(gateway.ca),
        )  # fmt: skip
        partners = gateway.partners

        def files() -> list[Any]:
            return [a for a in partners.arrived(CSN) if a.name]

        def archived() -> list[bytes]:
            kept = partners.mailboxes
            mails = [message_from_bytes(kept.path("Archive", n).read_bytes()) for n in kept.numbers("Archive")]
            parts = [part for mail in mails for part in mail.walk() if part.get_content_disposition() == "attachment"]
            return [bytes(part.get_payload(decode=True)) for part in parts]

        def send(name: str, content: bytes, *, stranger: bool = False, **more: Any) -> str:
            return partners.send(name, content, sender=OTHER if stranger else CSN, **more)

        def play(outcome: str = "accepted", **more: Any) -> None:
            words = {"accepted": "delivered", "rejected": "failed", "none": "none"}
            partners.play(x400_gateway.Scenario(delivery=words[outcome], **more))

        def receipt(about: str, outcome: str = "accepted") -> None:
            partners.report(about, recipient=CSN, delivery="delivered" if outcome == "accepted" else "failed")

        yield Rig("x400", lambda **more: X400(replace(account, **more)), gateway.faults, files, archived, send, play,
                  receipt, gateway)  # fmt: skip


@contextmanager
def shs_rig(root: Path) -> Iterator[Rig]:
    with shs_node.running(root) as served:
        node = served.node
        actor = Actor(
            url=served.url, own=shs_node.CITY, partner=SKV, product=PRODUCT, ca=str(served.authority.ca),
            cert=str(served.certificate(shs_node.CITY)),
        )  # fmt: skip

        def archived() -> list[bytes]:
            waited = node.arrived(shs_node.CITY, PRODUCT)
            return [a.read() for a in waited if (a.folder / "acknowledged").exists()]

        def send(name: str, content: bytes, *, stranger: bool = False, **more: Any) -> str:
            return node.send(name, content, sender=STRANGER if stranger else SKV, product=PRODUCT, **more)

        def play(outcome: str = "accepted", **more: Any) -> None:
            words = {"accepted": "confirm", "rejected": "error", "none": "none"}
            node.play(shs_node.Scenario(confirm=words[outcome], **more))

        def receipt(about: str, outcome: str = "accepted") -> None:
            label = next(a.label for a in node.arrived(SKV, PRODUCT) if a.id == about)
            node.confirm(label, "" if outcome == "accepted" else "IllegalDatapartContent")

        yield Rig("shs", lambda **more: Shs(replace(actor, **more)), served.faults,
                  lambda: node.arrived(SKV, PRODUCT), archived, send, play, receipt, served)  # fmt: skip


RIGS = {"x400": x400_rig, "shs": shs_rig}


def message(partner: Messenger, content: bytes, interchange: str = "skv-1", name: str = "FRÅGA 1.TXT") -> Message:
    return Message(partner.message_id(interchange), name, hashlib.sha256(content).hexdigest(), len(content), 7)


def hand_over(partner: Messenger, content: bytes, **more: Any) -> str:
    return partner.send(message(partner, content, **more), BytesIO(content))
