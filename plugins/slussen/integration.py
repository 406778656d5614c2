"""The declaration of an integration.

A declaration is data: who, what, from where, to where, in which format and encoding, with which policy. Encoding and
frame belong to an endpoint (what that partner speaks); the layout is neither's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slussen.errors import CallError

Persons = Literal["block", "mask", "pass", "hold", "none"]
Transport = Literal["database", "directory", "ftp", "mvs"]
Existing = Literal["hold", "replace_ours"]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One end of an integration: the connection that reaches it, and what is spoken there."""

    transport: Transport
    connection: str
    name: str = ""  # delivering: a template of {day} {number} {source}; collecting: a pattern
    encoding: str = ""
    frame: Literal["", "lf", "crlf", "fixed"] = ""
    replace: str = ""  # a table in include/replacements, for letters that the encoding lacks
    existing: Existing = "hold"
    sql: str = ""  # extract: the query; load: the merge


def sql(connection: str, file: str) -> Endpoint:
    """A PostgreSQL database: the query (extract) or the merge (load) is a file in ``include/sql``."""
    return Endpoint(transport="database", connection=connection, sql=file)


def directory(connection: str, name: str, *, encoding: str, frame: Literal["lf", "crlf"] = "lf") -> Endpoint:
    """A shared directory."""
    return Endpoint(transport="directory", connection=connection, name=name, encoding=encoding, frame=frame)


def ftp(connection: str, name: str, *, encoding: str, frame: Literal["lf", "crlf"] = "lf") -> Endpoint:
    """A directory on an FTP server."""
    return Endpoint(transport="ftp", connection=connection, name=name, encoding=encoding, frame=frame)


def mvs(connection: str, dataset: str, *, encoding: str = "cp278", existing: Existing = "replace_ours") -> Endpoint:
    """A fixed-block dataset over z/OS FTP, stored binary."""
    return Endpoint(
        transport="mvs", connection=connection, name=dataset, encoding=encoding, frame="fixed", existing=existing
    )


@dataclass(frozen=True, kw_only=True)
class Integration:
    """One row of the catalogue.

    ``persons`` is the policy for protected persons; ``persons_reason`` says why, where they pass.
    ``due`` is a query in ``include/sql`` that answers whether there is anything to do tonight, ``not_due`` the words
    when there isn't. ``sent`` names the integrations whose delivered keys the query may look at; ``remembers`` says
    what this one's delivery leaves to be looked at: the delta ``key`` of its rows, or its ``customers`` (keyed
    hashes). ``references`` names the integrations whose customers this one's records must refer to.
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
    contact: str = "integration@example.org"
    due: str = ""
    not_due: str = ""
    sent: tuple[str, ...] = ()
    remembers: Literal["", "key", "customers"] = ""
    references: tuple[str, ...] = ()
    missing: Literal["skip", "fail"] = "skip"
    envelope: tuple[str, ...] = ()
    decisions: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.persons in ("pass", "hold") and not self.persons_reason:
            raise CallError(f"{self.key}: persons={self.persons!r} needs its persons_reason")


def document(*integrations: Integration) -> str:
    """A DAG's documentation, made from its declarations."""
    return "\n\n".join(_document(i) for i in integrations)


def tags(*integrations: Integration) -> list[str]:
    """A DAG's tags: the systems and the TEIS numbers."""
    names: dict[str, None] = {}
    for i in integrations:
        names |= dict.fromkeys((i.sender, i.receiver, *((f"TEIS {i.teis}",) if i.teis else ())))
    return list(names)


def _document(i: Integration) -> str:
    rows = [
        ("TEIS", i.teis or "–"),
        ("From", f"{i.sender} {_end(i.source)}"),
        ("To", f"{i.receiver} {_end(i.target)}"),
        ("Layout", f"`{i.layout}` (include/formats/{i.layout}.yaml)"),
        ("Gate", f"include/expectations/{i.key}.yaml"),
        ("Protected persons", i.persons + (f": {i.persons_reason}" if i.persons_reason else "")),
        ("Contact", i.contact),
    ]
    if i.envelope:
        rows.append(("Envelope", ", ".join(i.envelope)))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    notes = "".join(f"\n- *decision:* {d}" for d in i.decisions)
    return f"### {i.key}: {i.title}\n\n| | |\n|---|---|\n{table}\n{notes}".rstrip()


def _end(e: Endpoint) -> str:
    if e.transport == "database":
        return f"database `{e.connection}`, include/sql/{e.sql}"
    return f"{e.transport} `{e.connection}` `{e.name}`, {e.encoding}, {e.frame}"
