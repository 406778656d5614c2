"""Bad input, row by row, through collection, records, gate, conversion and delivery, without Airflow.

One table: for each row a good file and the ways in which it comes wrong. What is bad is skipped, held or quarantined
with findings that say where, nothing of it is delivered, and the good file after it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import ebcdic  # noqa: F401 (registers cp278)
import pytest

from sandbox import hanna, hanna_datasets, partners
from sandbox.population import Population
from sandbox.pupils import Pupil, Pupils, as_registered
from sandbox.stack import FIRST_DAY
from slussen.catalogue import rows
from slussen.collection import collect
from slussen.delivery import Delivery, deliver, drive
from slussen.errors import ContentError, Finding, Findings
from slussen.history import last, last_delivered, sent
from slussen.integration import Integration
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.payloads import PayloadStore
from slussen.persons import register
from slussen.quality import suite as suites
from slussen.quality.duties import Duties, reasons
from slussen.quality.gate import run_gate
from slussen.records import layout as layouts
from slussen.records.parse import Parsed
from slussen.rendering import convert
from slussen.staging import stage_payload
from slussen.transports.directory import Directory
from tests.gating import Databases, databases, superuser

__all__ = ["databases", "superuser"]  # fixtures
Bad = Callable[[bytes], bytes]
REGISTER = Population.of(5, 60, FIRST_DAY)  # as tests.gating fills BoSko
PUPILS = Pupils.of(11, 240, FIRST_DAY, REGISTER.people.values())
COUNTRY = as_registered(PUPILS.all, REGISTER.people.values())
NUMBER = count(1)
LONG = timedelta(days=40)  # longer than the gate looks back for duplicates
CLOCK = [datetime(2030, 1, 1, tzinfo=UTC)]  # goes on through all tests: they share a ledger


# --- the rows


def some(pupils: list[Pupil], n: int) -> list[Pupil]:
    """All but one: each number makes another file."""
    plain = [p for p in pupils if p.personnr not in REGISTER.people and not p.flagged]
    return [p for p in pupils if p is not plain[n % len(plain)]]


def nobody_protected(pupils: list[Pupil]) -> list[Pupil]:
    """Those whom neither HANNA nor the register protects."""
    known = {p.personnr for p in REGISTER.people.values() if p.protected}
    return [p for p in pupils if not p.flagged and p.personnr not in known]


def in_text(pattern: str, instead: str, encoding: str) -> Bad:
    """Every match of this, in the file's own letters, replaced by as much."""

    def change(data: bytes) -> bytes:
        return re.sub(pattern, instead, data.decode(encoding), flags=re.MULTILINE).encode(encoding)

    return change


def in_records(length: int, *places: int) -> Bad:
    """In each post 20 of a dataset the flags at these columns become N."""

    def change(data: bytes) -> bytes:
        out = bytearray(data)
        for start in range(0, len(out), length):
            if out[start : start + 2] == "20".encode("cp278"):
                for place in places:
                    out[start + place - 1 : start + place] = "N".encode("cp278")
        return bytes(out)

    return change


@dataclass(frozen=True)
class Incoming:
    """How a row's file is made (the nth of them), and how it comes without its flags: None, where it has none."""

    good: Callable[[int], bytes]
    name: str
    unflagged: Bad | None = None
    trailer: bool = True  # does the file say how long it is?
    written_in: str = "cp1252"  # a wrong encoding; none, where bytes are passed on whatever they are


def inack(n: int) -> bytes:
    return hanna_datasets.inack_questions(some(PUPILS.young, n)[::2], FIRST_DAY, n)


def questions(n: int) -> bytes:
    return hanna.question_file([p.personnr for p in some(PUPILS.all, n)], n)


def report(kind: str) -> Callable[[int], bytes]:
    pupils = PUPILS.adults if kind == "VUX" else PUPILS.young
    return lambda n: hanna_datasets.csn_report(some(pupils, n), kind, FIRST_DAY, n, 3)


INCOMING: dict[str, Incoming] = {
    "csn_month": Incoming(report("GYM"), "CSN.HANNA.ANDRING", in_records(150, 23)),
    "csn_komvux": Incoming(report("VUX"), "CSN.HANNA.ANDRING", in_records(150, 23)),
    "csn_inack": Incoming(inack, "CSN.HANNA.INACK"),
    "csn_inack_reply": Incoming(lambda n: partners.inack_answer(inack(n), FIRST_DAY), "INACK-SVAR.DAT"),
    "csn_report": Incoming(report("VUX"), "CSN.HANNA.RAPPORT", in_records(150, 23)),
    "csn_report_receipt": Incoming(
        lambda n: partners.csn_receipt(report("VUX")(n), FIRST_DAY, "with errors"), "KVITTENS.DAT"
    ),
    "skv": Incoming(questions, "SKV-INFIL.TXT"),
    "skv_reply": Incoming(
        lambda n: partners.skv_answer(questions(n).decode("cp437").encode("cp1252"), COUNTRY, FIRST_DAY),
        "SKV-UTFIL.TXT",
        in_text(r"^#UP (01003|01020) J\n", "", "cp1252"),
        written_in="cp437",
    ),
    "infodata": Incoming(
        lambda n: hanna_datasets.infodata_questions(some(PUPILS.all, n), FIRST_DAY, n), "IFD.HANNA.FRAGA"
    ),
    "infodata_reply": Incoming(
        lambda n: partners.infodata_answer(
            hanna_datasets.infodata_questions(some(PUPILS.all, n), FIRST_DAY, n), COUNTRY, FIRST_DAY
        ),
        "IFD-SVAR.DAT",
        in_records(450, 48, 49),
    ),
    "statistics": Incoming(
        lambda n: hanna.statistics_file(PUPILS.young, n), "STATISTIK.CSV", trailer=False, written_in="cp278"
    ),
    "volvo": Incoming(
        lambda n: hanna.accounts_file(some(PUPILS.all, n), 5), "KONTO.CSV", trailer=False, written_in="cp437"
    ),
    "profdoc_hanna": Incoming(
        lambda n: hanna.profdoc_file(some(PUPILS.young + PUPILS.adults[:5], n)),
        "ELEVHALSA.TXT",
        in_text(r"^(\d{12};[^;]*;[^;]*;)J;", r"\1N;", "cp437"),
        trailer=False,
    ),
    "usk": Incoming(
        lambda n: hanna.usk_file(some(PUPILS.all, n), FIRST_DAY, n), "USK.TXT",
        in_text(r"^(20\d{12})J", r"\1N", "cp437"),
    ),
    "fronter": Incoming(
        lambda n: hanna.fronter_zip(nobody_protected(some(PUPILS.all, n)), FIRST_DAY), "FRONTER.ZIP", written_in=""
    ),
}  # fmt: skip


# --- the house


@dataclass
class Outcome:
    """What became of a file: the state it ends in, where it said it was wrong, what the receiver has of it."""

    state: str
    findings: list[Finding] = field(default_factory=list)
    received: bytes | None = None

    @property
    def rules(self) -> set[str]:
        return {f.rule for f in self.findings}

    @property
    def located(self) -> bool:
        return any(f.record is not None or f.offset is not None for f in self.findings)


@cache
def declared() -> dict[str, Integration]:
    return {row.integration.key: row.integration for row in rows()}


@dataclass
class House:
    """A place at the sender's, one at the receiver's, and what is between them."""

    ledger: Ledger
    store: PayloadStore
    inbox: Path
    outbox: Path
    dsns: Databases
    now: datetime = CLOCK[0]

    def takes(self, key: str, name: str, data: bytes, *, later: timedelta = LONG) -> Outcome:
        """A file goes its way, so much later than the one before."""
        self.now = CLOCK[0] = CLOCK[0] + later
        (self.inbox / name).write_bytes(data)
        integration = declared()[key]
        with Directory(self.inbox) as source:
            (entry,) = source.entries(name)
            taken = collect(key, entry, source, self.store, self.ledger, f"run-{next(NUMBER)}")
        if taken.repeat_of:
            return Outcome("repeated", received=self._received(name))
        manifest = Manifest(integration=key, interchange=taken.interchange, name=name, sha256=taken.sha256,
                            bytes=taken.bytes)  # fmt: skip
        try:
            return self._goes_on(
                integration, stage_payload(integration, manifest, self.ledger, self.store, self.dsns[0])
            )
        except ContentError as error:
            self.ledger.append(manifest.interchange, "quarantined", {"at": "convert"}, integration=key)
            return Outcome("quarantined", list(error.findings), self._received(name))

    def _goes_on(self, integration: Integration, manifest: Manifest) -> Outcome:
        report = self._gate(integration, manifest)
        state = {"fail": "quarantined", "hold": "held"}.get(report.verdict)
        if state:
            return Outcome(state, report.findings, self._received(manifest.name))
        done = convert(integration, manifest, self.ledger, self.store, day=FIRST_DAY, protected=register(self.dsns[1]))
        # Under a name of its own: where a partner's dataset is replaced is for the tests of deliveries.
        delivery = Delivery(interchange=done.interchange, integration=integration.key, name=manifest.name,
                            sha256=done.sha256, bytes=done.bytes)  # fmt: skip
        with Directory(self.outbox) as partner:
            drive(deliver(delivery, self.store, partner, self.ledger))
        return Outcome("delivered", received=self._received(manifest.name))

    def _gate(self, integration: Integration, manifest: Manifest) -> Any:
        staged = last(self.ledger, manifest.interchange, "staged") or {}
        suite = suites.load(integration.key)
        before = last_delivered(self.ledger, integration.key, manifest.interchange)
        report = run_gate(
            manifest=manifest, layout=layouts.load(integration.layout), policy=integration.persons, kind="relay",
            stage_dsn=self.dsns[0], bosko_dsn=self.dsns[1], findings=[Finding(**f) for f in staged["findings"]],
            counts=staged["counts"], previous=last(self.ledger, before, "gated"),
            duties=Duties(self.now, sent(self.ledger, integration.key), reasons(integration, suite)),
        )  # fmt: skip
        self.ledger.append(
            manifest.interchange, "gated",
            {"verdict": report.verdict, "protected": report.protected, "register": report.register},
            integration=integration.key,
        )  # fmt: skip
        return report

    def _received(self, name: str) -> bytes | None:
        file = self.outbox / name
        return file.read_bytes() if file.exists() else None


@pytest.fixture
def house(databases: Databases, tmp_path: Path) -> House:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return House(
        Ledger(databases[0]), PayloadStore(tmp_path / "payloads"), tmp_path / "in", tmp_path / "out", databases
    )


# --- what comes


def good(key: str) -> tuple[str, bytes]:
    """The next good file of this row, and its name."""
    n, row = next(NUMBER), INCOMING[key]
    stem, dot, ending = row.name.rpartition(".")
    return f"{stem}-{n}{dot}{ending}", row.good(n)


def spoiled(key: str, house: House, spoil: Bad) -> Outcome:
    """A bad file's outcome: whatever it is, the receiver has nothing of it."""
    name, data = good(key)
    bad = spoil(data)
    assert bad != data
    outcome = house.takes(key, name, bad)
    assert outcome.received is None
    assert list(house.outbox.iterdir()) == []
    return outcome


@pytest.mark.parametrize("key", INCOMING)
def test_an_empty_file_is_quarantined(house: House, key: str) -> None:
    outcome = spoiled(key, house, lambda data: b"")
    assert outcome.state == "quarantined"
    assert outcome.rules & {"empty_file", "missing_header", "missing_trailer", "structure", "no_zip"} or outcome.located


@pytest.mark.parametrize("key", INCOMING)
def test_a_truncated_file_does_not_go_on_and_says_where_it_ends(house: House, key: str) -> None:
    outcome = spoiled(key, house, lambda data: data[: len(data) * 2 // 3 + (len(data) * 2 // 3 % 10 == 0)])
    assert outcome.state == "quarantined" or outcome.rules & {"the_last_record_is_whole"}
    assert outcome.located, outcome.rules


def test_a_file_without_a_trailer_that_is_cut_off_anywhere_in_its_last_line_does_not_go_on(house: House) -> None:
    _, data = good("statistics")
    whole = data.rindex(b"\r\n", 0, -2) + 2
    for end in (whole + 1, whole + 12, len(data) - 3, len(data) - 2, len(data) - 1):
        outcome = house.takes("statistics", f"{end}-cut.CSV", data[:end])
        assert (outcome.state in ("quarantined", "held"), outcome.received) == (True, None), end - whole


@pytest.mark.parametrize("key", [k for k, row in INCOMING.items() if row.trailer and row.written_in])
def test_a_file_cut_off_between_two_records_is_quarantined_for_its_trailer(house: House, key: str) -> None:
    layout, frame = layouts.load(declared()[key].layout), declared()[key].source.frame

    def cut(data: bytes) -> bytes:
        if layout.kind == "tagged":
            return b"".join(data.splitlines(keepends=True)[: len(data.splitlines()) // 2])
        size = layout.length + {"fixed": 0, "crlf": 2}[frame]
        return data[: len(data) // size // 2 * size]

    outcome = spoiled(key, house, cut)
    assert (outcome.state, outcome.located) == ("quarantined", True), outcome.rules


@pytest.mark.parametrize("key", ["volvo", "profdoc_hanna"])
def test_a_list_that_lost_its_end_and_cannot_say_so_is_held_for_its_volume(house: House, key: str) -> None:
    name, data = good(key)
    assert house.takes(key, name, data).state == "delivered"
    name, data = good(key)
    outcome = house.takes(key, name, b"".join(data.splitlines(keepends=True)[:-60]))
    assert (outcome.state, outcome.received) == ("held", None)
    assert "volume_against_history" in outcome.rules


@pytest.mark.parametrize("key", ["csn_inack", "infodata", "skv", "statistics"])
def test_the_same_records_in_a_new_file_are_held_as_duplicates(house: House, key: str) -> None:
    first = INCOMING[key].good(3)
    numbers = {"csn_inack": (b"000003", b"000004"), "infodata": (b"000003", b"000004"), "skv": (b"-0003", b"-0004")}
    encoding = declared()[key].source.encoding
    old, new = (n.decode().encode(encoding) for n in numbers.get(key, (b"", b"")))
    again = first.replace(old, new, 1) if old else b"".join(sorted(first.splitlines(keepends=True), key=_header_first))
    assert again != first
    assert house.takes(key, f"{next(NUMBER)}-first", first).state == "delivered"
    outcome = house.takes(key, f"{next(NUMBER)}-again", again, later=timedelta(days=1))
    assert (outcome.state, outcome.received) == ("held", None)
    assert "duplicates:_same_business_keys" in outcome.rules


def _header_first(line: bytes) -> tuple[bool, bytes]:
    return not line.startswith(b"skolenhetskod"), line[::-1]


@pytest.mark.parametrize("key", [k for k, row in INCOMING.items() if row.written_in])
def test_a_file_in_the_wrong_encoding_is_quarantined(house: House, key: str) -> None:
    right, wrong = declared()[key].source.encoding, INCOMING[key].written_in
    outcome = spoiled(key, house, lambda data: data.decode(right).encode(wrong, "replace"))
    assert outcome.state == "quarantined"
    assert outcome.findings


@pytest.mark.parametrize("key", [k for k, row in INCOMING.items() if row.unflagged])
def test_a_file_that_has_lost_all_flags_is_held(house: House, key: str) -> None:
    spoil = INCOMING[key].unflagged
    assert spoil is not None
    outcome = spoiled(key, house, spoil)
    assert "conservation_of_the_protected_set" in outcome.rules
    assert outcome.state in ("held", "quarantined")


def test_a_file_without_flags_of_its_own_has_none_to_lose() -> None:
    flagless = {k for k, row in INCOMING.items() if row.unflagged is None}
    assert {k for k in flagless if layouts.load(declared()[k].layout).flag_fields} == set()


@pytest.mark.parametrize("key", INCOMING)
def test_what_is_right_arrives_once_whatever_went_wrong_before_it(house: House, key: str) -> None:
    i, (name, data) = declared()[key], good(key)
    assert house.takes(key, f"bad-{name}", data[: len(data) // 2 - 1]).state in ("quarantined", "held")
    outcome = house.takes(key, name, data)
    assert outcome.state == "delivered", [str(f) for f in outcome.findings]
    assert outcome.received is not None
    if i.persons in ("pass", "hold") and i.source.encoding == i.target.encoding:
        assert outcome.received == data
    else:
        assert list(_findings(i, outcome.received)) == []
    again = house.takes(key, f"again-{name}", data)
    assert (again.state, again.received) == ("repeated", None)


def _findings(integration: Integration, data: bytes) -> Findings:
    """What is wrong with a file as its receiver reads it."""
    findings, target = Findings(), integration.target
    for _ in Parsed(BytesIO(data), layouts.load(integration.layout), target.encoding, target.frame, findings):
        pass
    return findings


def test_a_zip_with_a_protected_person_in_it_is_held_for_a_person_to_decide(house: House) -> None:
    whose = next(p for p in PUPILS.all if p.personnr in REGISTER.people and REGISTER.people[p.personnr].protected)
    name, _ = good("fronter")
    outcome = house.takes("fronter", name, hanna.fronter_zip([*nobody_protected(PUPILS.all)[3:], whose], FIRST_DAY))
    assert (outcome.state, outcome.received) == ("held", None)
    assert "no_protected_persons" in outcome.rules


def test_small_cells_in_statistics_are_held(house: House) -> None:
    name, _ = good("statistics")
    outcome = house.takes("statistics", name, hanna.statistics_file(PUPILS.young, 99, small=True))
    assert (outcome.state, outcome.received) == ("held", None)
    assert outcome.located


def test_letters_that_pc8_lacks_are_replaced_by_the_table_and_counted(house: House) -> None:
    name, data = good("skv_reply")
    at = data.index(b"#UP 01014 ") + len(b"#UP 01014 ")
    spelled = data[:at] + "Š".encode("cp1252") + data[at + 1 :]
    outcome = house.takes("skv_reply", name, spelled)
    assert outcome.state == "delivered"
    content = [e for e in house.ledger.kind("content", integration="skv_reply") if e.data["replaced"]]
    assert content[-1].data["replaced"] == {"Š": 1}


def test_a_letter_that_no_table_replaces_stops_the_file_at_its_place(house: House) -> None:
    name, data = good("skv_reply")
    at = data.index(b"#UP 01014 ") + len(b"#UP 01014 ")
    outcome = house.takes("skv_reply", name, data[:at] + "‰".encode("cp1252") + data[at + 1 :])
    assert outcome.state == "quarantined"
    assert [f.offset for f in outcome.findings if f.rule == "unmappable"] == [at]


def test_the_ledgers_content_says_what_became_of_the_protected_ones(house: House) -> None:
    name, data = good("volvo")
    house.takes("volvo", name, data)
    content = list(house.ledger.kind("content", integration="volvo"))[-1].data
    gated = list(house.ledger.kind("gated", integration="volvo"))[-1].data
    assert content["persons"]["blocked"] == gated["protected"]["blocked"] > 0
    assert content["records"] == len(data.splitlines()) - content["persons"]["blocked"]
