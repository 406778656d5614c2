"""The declaration of an integration.

A declaration is data: who, what, from where, to where, in which format and encoding, with which policy. Encoding and
frame belong to an endpoint (what that partner speaks); the layout is neither's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from slussen.errors import CallError

Persons = Literal["block", "mask", "pass", "hold", "none"]
Transport = Literal["database", "directory", "ftp", "mvs", "sftp", "x400", "shs", "download"]
Frame = Literal["", "lf", "crlf", "fixed"]
Existing = Literal["hold", "replace_ours"]
Seal = Literal["", "hmac", "envelope"]
Duty = Literal[
    "conservation", "canaries", "volume",
    "duplicates", "duplicates: same name", "duplicates: same content", "duplicates: same business keys",
    "duplicates: same totals",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One end of an integration: the connection that reaches it, and what is spoken there.

    ``seal`` is the HMAC over what is sent, in the ledger (``hmac``) or in posts around the file too (``envelope``); its
    key is the connection's. ``encrypt_to`` and ``sign_with`` name connections with OpenPGP keys: sending, the partner's
    certificate and our secret key, collecting, our secret key and the partner's certificate.
    """

    transport: Transport
    connection: str
    name: str = ""  # delivering: a template of {day} {number} {source} and a form's fields; collecting: a pattern
    encoding: str = ""
    frame: Frame = ""
    replace: str = ""  # a table in include/replacements, for letters that the encoding lacks
    existing: Existing = "hold"
    sql: str = ""  # extract: the query; load: the merge
    product: str = ""  # SHS: the product type, urn:X-shs:…
    marker: str = ""  # collecting: the file that says that {name} is whole, such as {name}.klar
    read_back: bool = False  # delivering: verify by reading back, where the server has no hash of its own
    seal: Seal = ""
    encrypt_to: str = ""
    sign_with: str = ""


def sql(connection: str, file: str) -> Endpoint:
    """A PostgreSQL database: the query (extract) or the merge (load) is a file in ``include/sql``."""
    return Endpoint(transport="database", connection=connection, sql=file)


def directory(connection: str, name: str, *, encoding: str = "", frame: Frame = "lf", **more: Any) -> Endpoint:
    """A shared directory."""
    return Endpoint(transport="directory", connection=connection, name=name, encoding=encoding, frame=frame, **more)


def ftp(connection: str, name: str, *, encoding: str = "", frame: Frame = "lf", **more: Any) -> Endpoint:
    """A directory on an FTP server; its connection says whether TLS is spoken."""
    return Endpoint(transport="ftp", connection=connection, name=name, encoding=encoding, frame=frame, **more)


def sftp(connection: str, name: str, *, encoding: str = "", frame: Frame = "lf", **more: Any) -> Endpoint:
    """A directory on an SFTP server."""
    return Endpoint(transport="sftp", connection=connection, name=name, encoding=encoding, frame=frame, **more)


def mvs(connection: str, dataset: str, *, encoding: str = "cp278", existing: Existing = "replace_ours") -> Endpoint:
    """A fixed-block dataset over z/OS FTP, stored binary."""
    return Endpoint(
        transport="mvs", connection=connection, name=dataset, encoding=encoding, frame="fixed", existing=existing
    )


def x400(connection: str, name: str, *, encoding: str = "", frame: Frame = "lf", **more: Any) -> Endpoint:
    """A mailbox behind an X.400 gateway: ``name`` is the body part's file name (or a pattern of it)."""
    return Endpoint(transport="x400", connection=connection, name=name, encoding=encoding, frame=frame, **more)


def shs(connection: str, product: str, name: str, *, encoding: str = "", frame: Frame = "lf", **more: Any) -> Endpoint:
    """An actor on SHS: ``product`` is the product type, ``name`` the data part's file name (or a pattern of it)."""
    return Endpoint(
        transport="shs", connection=connection, product=product, name=name, encoding=encoding, frame=frame, **more
    )


def download(name: str, *, encoding: str, frame: Frame = "crlf") -> Endpoint:
    """Whoever started the run fetches the file from it."""
    return Endpoint(transport="download", connection="", name=name, encoding=encoding, frame=frame)


@dataclass(frozen=True, kw_only=True)
class Times:
    """When an interchange is expected, when its absence is worth a look, when it is late, when it is too late.

    Each is a Stockholm time: the first one at or after the start of the run's interval (``06:30``), or that many days
    later (``+1d 06:30``). One that the run has passed when it begins is its start (``lateness.py``).
    """

    expected: str
    amber: str
    red: str
    cutoff: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What must come back for a delivery, and within which time.

    ``delivery`` is the transport's own proof (X.400 delivery report, SHS confirmation), ``read`` that a person or a
    program has opened it (X.400 receipt notification), ``answer`` a file that another integration collects.
    """

    kind: Literal["delivery", "read", "answer"]
    within: timedelta


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of several files that are delivered together: both or neither.

    Within the delivery ``lis`` the part ``fees`` is staged, gated and rendered as an integration ``lis_fees``, with a
    suite of that name.
    """

    key: str
    layout: str
    sql: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Integration:
    """One row of the catalogue.

    ``persons`` is the policy for protected persons; ``persons_reason`` says why, where they pass.
    ``due`` is a query in ``include/sql`` that answers whether there is anything to do tonight, ``not_due`` the words
    when there isn't. ``sent`` names the integrations whose delivered keys the query may look at; ``remembers`` says
    what this one's delivery leaves to be looked at: the delta ``key`` of its rows, or its ``customers`` (keyed
    hashes). ``references`` names the integrations whose customers this one's records must refer to.
    ``parts`` are the files of a delivery of several; ``part`` says which of them this is (see ``members``).
    ``claims`` are the header fields that a collected file must have to be this row's and not a sibling's on the same
    source, each with the values that it may have; ``leaves`` those that a sibling claims, where this row takes all
    others: what can't be told, too, so that a spoilt file is somebody's.
    ``repeats``: may the same content come, or be sent, again? ``without`` names the duties of the gate that make no
    sense here, each with its reason. ``receipts`` are expected for each delivery; ``answers`` is the integration whose
    questions this one answers. ``proof`` are the connections (mail, SMS) that are told of each delivery. ``owner`` is
    who decides about the integration at the city, ``contact`` who is asked at night. ``form`` names the run's
    parameters that a person fills in, where a run stands for a form and not for an interval.
    """

    key: str
    title: str
    sender: str
    receiver: str
    source: Endpoint
    target: Endpoint
    layout: str
    persons: Persons
    persons_reason: str = ""
    teis: str = ""
    owner: str = "Utbildningsförvaltningen"
    contact: str = "integration@example.org"
    times: Times | None = None
    due: str = ""
    not_due: str = ""
    sent: tuple[str, ...] = ()
    remembers: Literal["", "key", "customers"] = ""
    references: tuple[str, ...] = ()
    missing: Literal["skip", "warn", "fail"] = "skip"
    repeats: Literal["refuse", "fine"] = "refuse"
    parts: tuple[Part, ...] = ()
    part: str = ""
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leaves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    receipts: tuple[Receipt, ...] = ()
    answers: str = ""
    proof: tuple[str, ...] = ()
    without: Mapping[Duty, str] = field(default_factory=dict)
    form: tuple[str, ...] = ()
    envelope: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.persons in ("pass", "hold") and not self.persons_reason:
            raise CallError(f"{self.key}: persons={self.persons!r} needs its persons_reason")

    @property
    def members(self) -> tuple[Integration, ...]:
        """What is delivered together: each part as an integration of its own, or this one alone."""
        return tuple(
            replace(
                self,
                key=f"{self.key}_{part.key}",
                layout=part.layout,
                source=replace(self.source, sql=part.sql),
                target=replace(self.target, name=part.name),
                parts=(),
                part=part.key,
            )
            for part in self.parts
        ) or (self,)

    def interchange(self, stamp: str) -> str:
        """The id of the interchange of an interval: ``f29-20260112T190000Z``, ``lis-20260115T020000Z-fees``."""
        return f"{self.key.removesuffix(f'_{self.part}')}-{stamp}-{self.part}" if self.part else f"{self.key}-{stamp}"


def tags(*integrations: Integration) -> list[str]:
    """A DAG's tags: the systems and the TEIS numbers."""
    names: dict[str, None] = {}
    for i in integrations:
        names |= dict.fromkeys((i.sender, i.receiver, *((f"TEIS {i.teis}",) if i.teis else ())))
    return list(names)
