"""A wrong database, row by row, through extract, gate, render and delivery, without Airflow.

Each row has sent once; then the database goes wrong in each of the ways of ``bad_rows``, in that order, and is put
right again. What is wrong is skipped, held (and refused) or quarantined with findings that say where, nothing of it is
delivered, and what is right after it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen import settings
from slussen.catalogue import rows
from slussen.delivery import deliver, drive
from slussen.downloads import offer
from slussen.errors import ContentError, Finding
from slussen.extraction import extract
from slussen.integration import Integration
from slussen.manifest import Manifest
from slussen.operators.deliver import delivery
from slussen.rendering import render
from slussen.sets import deliver_set
from slussen.transports.directory import Directory
from tests.bad_rows import CASES_OUT, LETTER, OUTGOING, TOO_LONG, Outgoing
from tests.rows import Town, moment

NIGHT = moment(FIRST_DAY)
MONTH = timedelta(days=40)  # longer than the gate looks back for duplicates
KEPT = ("debiting", "debiting_calendar", "posting", "schema_version")
ROWS = {row.integration.key: row.integration for row in rows()}
PERIODS = {case: f"2025-{9 + n:02}" for n, case in enumerate(CASES_OUT[:-1])} | {"the same again": "2026-01"}


@dataclass
class Outcome:
    state: str
    findings: list[Finding] = field(default_factory=list)


@dataclass
class House(Town):
    """A town whose rows have sent once, and a partner that has what they sent."""

    people: int = 200
    clock: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outbox = self.folder / "out"
        self.outbox.mkdir()
        self.integrations |= {m.key: m for i in ROWS.values() for m in i.members}

    def later(self, key: str) -> datetime:
        """The row's next run. Lists of a school year's pupils come within it, the others are a month apart."""
        monthly = key in ("f29", "f30", "f102", "f103", "f104", "h45")
        self.clock[key] = self.clock.get(key, NIGHT) + (MONTH if monthly else timedelta(hours=1))
        return self.clock[key]

    def sends(self, key: str, at: datetime, period: str = "2026-01") -> Outcome:
        """The row's steps, each as its task does it."""
        integration, contents = ROWS[key], []
        for member in integration.members:
            form = {"school": "10480000", "course_group": "MATMAT01a-1", "period": period} if member.form else None
            told = "\n".join(f"{k}={v}" for k, v in sorted((form or {}).items()))
            stamp = hashlib.sha256(told.encode()).hexdigest()[:12] if form else f"{at:%Y%m%dT%H%M%SZ}"
            outcome = self._content(member, member.interchange(stamp), at, form)
            if isinstance(outcome, Outcome):
                return outcome
            contents.append(outcome)
        if integration.target.transport == "download":
            offer(contents[0], self.ledger, "novaschema_on_request")
            return Outcome("delivered")
        with Directory(self.outbox) as partner:
            parts = [delivery(m, integration.target) for m in contents]
            if integration.parts:
                drive(deliver_set(parts, self.store, partner, self.ledger))
            else:
                drive(deliver(parts[0], self.store, partner, self.ledger))
        return Outcome("delivered")

    def _content(self, i: Integration, id_: str, at: datetime, form: dict[str, str] | None) -> Manifest | Outcome:
        found = extract(
            i, id_, self.ledger, start=at, end=at, day=at.date(), now=at, source=self.dsn[i.source.connection],
            target=self.dsn["slussen"], sql=settings.SQL, form=form,
        )  # fmt: skip
        if found.skipped:
            self.ledger.append(id_, "skipped", {"reason": found.skipped}, integration=i.key)
            return Outcome("skipped")
        report = self.gate(found.manifest, at)
        state = {"fail": "quarantined", "hold": "held"}.get(report.verdict)
        try:
            if state is None:
                return render(i, found.manifest, self.ledger, self.store, self.dsn["slussen"], day=at.date(), form=form)
            findings = report.findings
        except ContentError as error:
            state, findings = "quarantined", list(error.findings)
        self.ledger.append(id_, state, {"at": "gate"}, integration=i.key)
        if state == "held":  # nobody lets it go, and the window closes
            self.ledger.append(id_, "refused", {"by": "its cut-off"}, integration=i.key)
        return Outcome(state, findings)

    def theirs(self) -> dict[str, bytes]:
        """What has been delivered: files by name, and by interchange what can be downloaded."""
        offered = {e.stream: e.data["sha256"].encode() for e in self.ledger.kind("delivered", integration="novaschema")}
        return {f.name: f.read_bytes() for f in self.outbox.iterdir()} | offered

    @contextmanager
    def wrong(self, row: Outgoing, change: str, **values: object) -> Iterator[None]:
        """The database with this change, whatever its constraints say; as it was afterwards."""
        with psycopg.connect(self.owner[row.database]) as connection:
            connection.execute("set session_replication_role = replica")
            tables = [
                f"{row.database}.{t}"
                for (t,) in connection.execute(
                    "select table_name from information_schema.tables where table_type = 'BASE TABLE'"
                    " and table_schema = %s order by 1",
                    (row.database,),
                )
                if t not in KEPT
            ]
            before = {t: b"".join(_rows(connection, t)) for t in tables}
            connection.execute(change.encode(), values)
            connection.commit()
            try:
                yield
            finally:
                connection.execute("set session_replication_role = replica")
                for table, data in before.items():
                    connection.execute(f"delete from {table}".encode())
                    with connection.cursor().copy(f"copy {table} from stdin".encode()) as copy:
                        copy.write(data)
                if row.mend:
                    connection.execute(row.mend.encode(), values)
                connection.commit()


def _rows(connection: psycopg.Connection[Any], table: str) -> Iterator[bytes]:
    with connection.cursor().copy(f"copy {table} to stdout".encode()) as copy:
        for piece in copy:
            yield bytes(piece)


@pytest.fixture(scope="module")
def house(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> House:
    made = House(postgres, tmp_path_factory.mktemp("house"))
    for key, row in OUTGOING.items():
        row.fresh(made, NIGHT)
        assert made.sends(key, NIGHT).state == "delivered", key
    return made


TABLE = [(key, case) for key, row in OUTGOING.items() for case in CASES_OUT if case not in row.without]


@pytest.mark.parametrize(("key", "case"), TABLE)
def test_a_wrong_database_ends_as_the_row_says_and_nothing_of_it_is_delivered(
    house: House, key: str, case: str
) -> None:
    row, at = OUTGOING[key], house.later(key)
    value = {"too long": TOO_LONG, "a letter that the target lacks": LETTER}.get(case, "")
    if case != "nothing":
        row.fresh(house, at)
    if case == "the same again":
        assert house.sends(key, at).state == "delivered"
        at += timedelta(minutes=30)
        row.again(house, at)
    before = house.theirs()
    change = {"nothing": row.nothing, "the same again": "", "without flags": row.unflagged}.get(case, row.put)
    with house.wrong(row, change or "select", at=at, value=value):
        outcome = house.sends(key, at, PERIODS[case])
    told = [str(f) for f in outcome.findings]
    assert outcome.state == row.ends[case], told
    if outcome.state != "delivered":
        assert house.theirs() == before
    if value:
        assert {f.field for f in outcome.findings} <= set(row.fields), told
        assert outcome.findings
        assert all(f.record is not None for f in outcome.findings)
        assert not any(value in t for t in told)
    elif outcome.state in ("held", "quarantined"):
        assert outcome.findings


@pytest.mark.parametrize("value", [TOO_LONG, LETTER], ids=["too long", "a letter that the target lacks"])
def test_what_is_wrong_in_the_second_of_two_files_stops_both(house: House, value: str) -> None:
    row, at = OUTGOING["lis"], house.later("lis")
    before = house.theirs()
    with house.wrong(row, "update bosko.placement_fee set category = %(value)s", value=value):
        outcome = house.sends("lis", at)
    assert outcome.state == "quarantined"
    assert {f.field for f in outcome.findings} == {"taxekategori"}
    assert not any(value in str(f) for f in outcome.findings)
    assert house.theirs() == before


@pytest.mark.parametrize("key", OUTGOING)
def test_what_is_right_is_sent_whatever_went_wrong_before_it(house: House, key: str) -> None:
    at, before = house.later(key), house.theirs()
    OUTGOING[key].fresh(house, at)
    outcome = house.sends(key, at, "2026-02")
    assert outcome.state == "delivered", [str(f) for f in outcome.findings]
    assert house.theirs() != before or OUTGOING[key].ends["nothing"] == "quarantined"  # all of it once more
