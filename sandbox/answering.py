"""The partners at work: what has arrived at their ends is answered, once each, as ``partners`` makes the answers.

CSN and INFODATA answer by X.400, CSN's receipts and the tax agency's answers are put where SFTP serves them. An answer
can be kept back (``late``), and CSN receives a report in one of three ways (``outcomes``): late and negative ones too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from sandbox import partners
from sandbox.partners import Outcome
from sandbox.population import Person

CSN, INFODATA = "/O=CSN/PRMD=CSN/C=SE/", "/O=INFODATA/PRMD=SEMA/C=SE/"  # as airflow_settings.yaml has them
REPORTS, QUESTIONS = "urn:X-shs:csn-elevrapport", "urn:X-shs:navet-infil"  # product types


class Arrived(Protocol):
    """A message at a partner's: its id, its file's name and bytes."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


class Gateway(Protocol):
    """The X.400 side of the gateway (``x400_gateway.Partners``)."""

    def arrived(self, recipient: str = "") -> Sequence[Arrived]: ...

    def send(self, name: str, content: bytes, *, sender: str, answers: str = "", mailbox: str = "INBOX") -> Any: ...


class Node(Protocol):
    """The store of the SHS node (``shs_node.Node``)."""

    def arrived(self, to: str = "", product: str = "") -> Sequence[Arrived]: ...


@dataclass
class Partners:
    """CSN, INFODATA and the tax agency, behind their gateways.

    ``csn`` and ``skv`` are the folders that they serve by SFTP, ``memory`` a file that says what has been answered.
    ``late`` names integrations whose questions are left lying for now; ``outcomes`` what CSN makes of its reports, in
    the order in which they arrive (after the last: accepted).
    """

    gateway: Gateway
    node: Node
    csn: Path
    skv: Path
    memory: Path
    register: Mapping[str, Person]
    late: set[str] = field(default_factory=set)
    outcomes: list[Outcome] = field(default_factory=list)

    def work(self, today: date) -> list[str]:
        """Answer what has arrived since the last time; the names of the answers."""
        return [*self._inack(today), *self._infodata(today), *self._receipts(today), *self._population(today)]

    def _inack(self, today: date) -> Iterable[str]:
        for asked in self._new("csn_inack", self.gateway.arrived(CSN)):
            if asked.name.startswith("CSN-INACK"):
                data = asked.read()
                name = f"INACK-SVAR-{partners.running_number(data):06}.DAT"
                answer = partners.inack_answer(data, today)
                self.gateway.send(name, answer, sender=CSN, answers=asked.id, mailbox="CSN")
                yield self._done("csn_inack", asked, name)

    def _infodata(self, today: date) -> Iterable[str]:
        for asked in self._new("infodata", self.gateway.arrived(INFODATA)):
            data = asked.read()
            name = f"IFD-SVAR-{partners.running_number(data):06}.DAT"
            answer = partners.infodata_answer(data, self.register, today)
            self.gateway.send(name, answer, sender=INFODATA, answers=asked.id, mailbox="INFODATA")
            yield self._done("infodata", asked, name)

    def _receipts(self, today: date) -> Iterable[str]:
        for told in self._new("csn_report", self.node.arrived(product=REPORTS)):
            data = told.read()
            outcome = self.outcomes.pop(0) if self.outcomes else "accepted"
            name = f"KVITTENS-{partners.running_number(data):06}-{outcome.replace(' ', '-')}.DAT"
            put(self.csn, name, partners.csn_receipt(data, today, outcome))
            yield self._done("csn_report", told, name)

    def _population(self, today: date) -> Iterable[str]:
        for asked in self._new("skv", self.node.arrived(product=QUESTIONS)):
            name = asked.name.replace("INFIL", "UTFIL")
            put(self.skv, name, partners.skv_answer(asked.read(), self.register, today))
            yield self._done("skv", asked, name)

    # --- once each

    def _new(self, integration: str, arrived: Iterable[Arrived]) -> list[Arrived]:
        if integration in self.late:
            return []
        answered = self._answered()
        return [a for a in arrived if a.id not in answered]

    def _answered(self) -> dict[str, str]:
        known: dict[str, str] = json.loads(self.memory.read_text()) if self.memory.exists() else {}
        return known

    def _done(self, integration: str, message: Arrived, name: str) -> str:
        self.memory.write_text(json.dumps(self._answered() | {message.id: f"{integration} {name}"}, indent=1))
        return name


def put(folder: Path, name: str, data: bytes) -> None:
    """A file appears whole: it is written under a hidden name first."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / f".{name}"
    hidden.write_bytes(data)
    hidden.rename(folder / name)
