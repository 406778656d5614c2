"""Bad files, row by row, through collection, records, gate, conversion and delivery or merge, without Airflow.

One table (``bad_rows``): for each row a good file and the ways in which it comes wrong. What is bad is skipped, held or
quarantined with findings that say where, nothing of it is delivered or merged, and the good file after it is.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox import agresso, bosko, hanna
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen import settings, zips
from slussen.catalogue import rows
from slussen.collection import collect
from slussen.delivery import Delivery, deliver, drive
from slussen.errors import ContentError, Finding, Findings
from slussen.history import delivered, last, last_delivered, sent
from slussen.integration import Integration
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.merging import merge
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
from tests.bad_rows import CASES_IN, CASES_OUT, INCOMING, ORDERS, OUTGOING, PUPILS, REGISTER, Bad, nobody_protected
from tests.gating import Databases, databases, superuser
from tests.rows import Town, moment

__all__ = ["databases", "superuser"]  # fixtures
NUMBER = count(1)
LONG = timedelta(days=40)  # longer than the gate looks back for duplicates
CLOCK = [datetime(2030, 1, 1, tzinfo=UTC)]  # goes on through all tests: they share a ledger


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
        if integration.target.transport == "database":
            merge(
                integration, manifest, self.ledger, source=self.dsns[0], target=self.dsns[1], sql=settings.SQL,
                now=self.now,
            )  # fmt: skip
            return Outcome("delivered", received=self._received(manifest.name))
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
            manifest=manifest, layout=layouts.load(integration.layout), policy=integration.persons,
            kind="load" if integration.target.transport == "database" else "relay", stage_dsn=self.dsns[0],
            bosko_dsn=self.dsns[1], findings=[Finding(**f) for f in staged["findings"]],
            counts=staged["counts"],
            references=delivered(self.ledger, *integration.references) if integration.references else None,
            previous=last(self.ledger, before, "gated"),
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

    def theirs(self) -> list[Any]:
        """What the receivers have: the files that were delivered, and the tables that loads are merged into."""
        with psycopg.connect(self.dsns[1]) as connection:
            tables = [
                connection.execute(f"select count(*), sum(hashtextextended(t::text, 0)) from bosko.{name} t".encode())
                for name in ("person", "relation", "citizenship", "receivable")
            ]
            return [sorted(f.name for f in self.outbox.iterdir()), [t.fetchone() for t in tables]]


@pytest.fixture(scope="module")
def town(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Where loads are merged: nobody else's register. Its invoices have gone to Agresso."""
    made, folder = Town(postgres, tmp_path_factory.mktemp("town")), tmp_path_factory.mktemp("agresso")
    bosko.debit(made.owner["bosko"], FIRST_DAY)
    for key in ("f29", "f30"):
        (folder / f"FD-{key.upper()}-20260112-0001.txt").write_bytes(made.send(key, moment(FIRST_DAY))[1])
    ORDERS[:] = agresso.orders(folder)
    return made


@pytest.fixture
def house(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> House:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    key = getattr(request.node, "callspec", None) and request.node.callspec.params.get("key")
    if key in declared() and declared()[key].target.transport == "database":
        dsn = request.getfixturevalue("town").dsn
        databases = dsn["slussen"], dsn["bosko"]
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
    bad, before = spoil(data), house.theirs()
    assert bad != data
    outcome = house.takes(key, name, bad)
    assert outcome.received is None
    assert house.theirs() == before
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


@pytest.mark.parametrize("part", [0, 1, 2], ids=["at the beginning", "in the middle", "at the end"])
@pytest.mark.parametrize("key", [k for k, row in INCOMING.items() if row.written_in])
def test_a_nul_anywhere_does_not_go_on_and_is_said_where(house: House, key: str, part: int) -> None:
    def spoil(data: bytes) -> bytes:
        filled = [n for n, byte in enumerate(data) if byte in "123".encode(declared()[key].source.encoding)]
        at = filled[(len(filled) - 1) * part // 2]
        return data[:at] + b"\0" + data[at + 1 :]

    outcome = spoiled(key, house, spoil)
    # In a tagged file's code it makes another code, which is kept: then the value is missing where it belongs.
    tagged = layouts.load(declared()[key].layout).kind == "tagged"
    assert outcome.state == "quarantined" or (tagged and outcome.state == "held"), outcome.rules
    assert outcome.located, outcome.rules


@pytest.mark.parametrize("key", [k for k, row in INCOMING.items() if row.unflagged])
def test_a_file_that_has_lost_all_flags_is_held(house: House, key: str) -> None:
    spoil = INCOMING[key].unflagged
    assert spoil is not None
    outcome = spoiled(key, house, lambda data: spoil(data, 0))
    assert "conservation_of_the_protected_set" in outcome.rules
    assert outcome.state in ("held", "quarantined")


@pytest.mark.parametrize("key", [k for k, row in INCOMING.items() if row.unflagged])
def test_a_file_that_has_lost_all_flags_but_one_is_held_and_says_in_which_records(house: House, key: str) -> None:
    spoil = INCOMING[key].unflagged
    assert spoil is not None
    if declared()[key].target.transport != "database":  # a load's persons are in the register
        assert house.takes(key, *good(key)).state == "delivered"
    outcome = spoiled(key, house, lambda data: spoil(data, 1))
    assert outcome.state in ("held", "quarantined")
    lost = {f.record for f in outcome.findings if f.rule.startswith("conservation")}
    assert lost, outcome.rules
    assert lost != {None}


@pytest.mark.parametrize("key", ["kir", "a02"])
def test_a_load_of_a_day_that_is_to_come_is_held_and_one_of_no_day_quarantined(house: House, key: str) -> None:
    pattern = r"(?m)^(#EFFEKTUERAD )\d{8}" if key == "kir" else r"\A(.{19})\d{8}"
    tomorrow = CLOCK[0] + LONG + timedelta(days=1)  # when the file is there
    for day, state in ((f"{tomorrow:%Y%m%d}", "held"), ("20260231", "quarantined")):

        def spoil(data: bytes, day: str = day) -> bytes:
            return re.sub(pattern, rf"\g<1>{day}", data.decode("cp1252")).encode("cp1252")

        outcome = spoiled(key, house, spoil)
        assert outcome.state == state, outcome.rules
        assert (state, key) == ("quarantined", "a02") or outcome.rules == {"the_day_that_the_file_is_about"}
    if key == "kir":
        outcome = spoiled(key, house, lambda data: re.sub(rb"(?m)^#EFFEKTUERAD .*\n", b"", data))
        assert (outcome.state, outcome.rules) == ("quarantined", {"the_day_that_the_file_is_about"})


def test_every_row_of_the_catalogue_is_tried_in_each_way_or_says_why_not() -> None:
    assert INCOMING.keys() | OUTGOING.keys() == declared().keys()
    assert not INCOMING.keys() & OUTGOING.keys()
    for key, row in INCOMING.items():
        lacking = {c for c, there in (("without flags", row.unflagged), ("in another encoding", row.written_in))
                   if not there}  # fmt: skip
        assert row.without.keys() == lacking <= set(CASES_IN), key
        assert all(row.without.values())
        assert row.unflagged or not layouts.load(declared()[key].layout).flag_fields, key
    for key, out in OUTGOING.items():
        assert out.ends.keys() == set(CASES_OUT), key
        assert out.without.keys() <= set(CASES_OUT)
        assert all(out.without.values())
        assert ("without flags" in out.without) == (declared()[key].persons == "none"), key


@pytest.mark.parametrize("key", INCOMING)
def test_what_is_right_arrives_once_whatever_went_wrong_before_it(house: House, key: str) -> None:
    i, (name, data), before = declared()[key], good(key), house.theirs()
    assert house.takes(key, f"bad-{name}", data[: len(data) // 2 - 1]).state in ("quarantined", "held")
    outcome = house.takes(key, name, data)
    assert outcome.state == "delivered", [str(f) for f in outcome.findings]
    if i.target.transport == "database":
        assert house.theirs() != before
        before = house.theirs()
        assert (house.takes(key, f"again-{name}", data).state, house.theirs()) == ("repeated", before)
        return
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


@pytest.mark.parametrize("spelled", ["&#{0};", "&#x{0:x};", "<![CDATA[{1}]]>", "<!-- -->{1}", "{1}<?x?>"])
def test_a_zip_with_a_protected_person_written_otherwise_is_held_too(house: House, spelled: str) -> None:
    whose = next(p for p in PUPILS.all if p.personnr in REGISTER.people and REGISTER.people[p.personnr].protected)
    other = "".join(spelled.format(ord(c), c) for c in whose.personnr)
    whole = zipfile.ZipFile(BytesIO(hanna.fronter_zip([*nobody_protected(PUPILS.all)[3:], whose], FIRST_DAY)))
    out = BytesIO()
    zips.make([(n, whole.read(n).replace(whose.personnr.encode(), other.encode())) for n in whole.namelist()], out)
    outcome = house.takes("fronter", good("fronter")[0], out.getvalue())
    assert (outcome.state, outcome.received) == ("held", None)
    assert "no_protected_persons" in outcome.rules


def test_a_zip_with_far_fewer_persons_than_yesterdays_or_none_is_held(house: House) -> None:
    everybody = nobody_protected(PUPILS.all)
    assert house.takes("fronter", "FRONTER-whole.ZIP", hanna.fronter_zip(everybody, FIRST_DAY)).state == "delivered"
    for few in (everybody[:3], []):
        outcome = house.takes("fronter", f"FRONTER-{len(few)}.ZIP", hanna.fronter_zip(few, FIRST_DAY))
        assert (outcome.state, outcome.received, outcome.rules) == ("held", None, {"volume_against_history"})


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
