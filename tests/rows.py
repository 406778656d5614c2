"""What the tests of BoSko's and HANNA's rows share: the databases filled, and a row carried out without Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from sandbox import bosko, school
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen import settings
from slussen.catalogue import rows
from slussen.database import migrate
from slussen.extraction import Extracted, extract
from slussen.history import delivered, last, last_delivered, sent
from slussen.integration import Integration
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.payloads import PayloadStore
from slussen.quality import suite as suites
from slussen.quality.duties import Duties, reasons
from slussen.quality.gate import run_gate
from slussen.quality.report import GateReport
from slussen.records import layout as layouts
from slussen.rendering import render

DATABASES = count(1)
FORM = {"school": "10480000", "course_group": "MATMAT01a-1", "period": "2026-01"}


def catalogue() -> dict[str, Integration]:
    """The integrations of the DAG files, by their keys; of a delivery of several files each is one."""
    found = {row.integration.key: row.integration for row in rows()}
    for i in list(found.values()):
        for part in i.parts:
            source, target = replace(i.source, sql=part.sql), replace(i.target, name=part.name)
            key = f"{i.key}_{part.key}"
            found[key] = replace(i, key=key, layout=part.layout, source=source, target=target, parts=())
    return found


@dataclass
class Town:
    """BoSko, HANNA and our own database, filled from a seed; and a row's steps, one after the other."""

    postgres: Server
    folder: Path
    people: int = 400
    integrations: dict[str, Integration] = field(default_factory=catalogue)

    def __post_init__(self) -> None:
        n = next(DATABASES)
        self.owner = {name: self.postgres.dsn(f"town_{name}{n}") for name in ("bosko", "hanna", "slussen")}
        for name, dsn in self.owner.items():
            migrate(dsn, settings.SQL / "migrations" / name)
        self.dsn = {name: f"{dsn} user=slussen" for name, dsn in self.owner.items()}
        population = bosko.fill(self.owner["bosko"], 7, self.people, FIRST_DAY)
        school.fill_hanna(self.owner["hanna"], list(population.people.values()), 7, 60, FIRST_DAY)
        self.ledger = Ledger(self.dsn["slussen"])
        self.store = PayloadStore(self.folder / "payloads")

    @contextmanager
    def change(self, database: str = "bosko") -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.owner[database]) as connection:
            yield connection

    def extract(self, key: str, at: datetime) -> Extracted:
        i = self.integrations[key]
        id_ = f"{key}-{at:%Y%m%dT%H%M%SZ}" if not i.form else f"{key}-{'0' * 12}"
        found = extract(
            i, id_, self.ledger, start=at, end=at, day=at.date(), now=at, source=self.dsn[i.source.connection],
            target=self.dsn["slussen"], sql=settings.SQL, form=FORM if i.form else None,
        )  # fmt: skip
        if found.skipped:
            self.ledger.append(id_, "skipped", {"reason": found.skipped}, integration=key)
        return found

    def gate(self, manifest: Manifest, at: datetime) -> GateReport:
        """The gate, as its operator runs it."""
        i, suite = self.integrations[manifest.integration], suites.load(manifest.integration)
        before = last(self.ledger, last_delivered(self.ledger, i.key, manifest.interchange), "gated")
        report = run_gate(
            manifest=manifest, layout=layouts.load(manifest.layout), policy=i.persons, kind="extract",
            stage_dsn=self.dsn["slussen"], bosko_dsn=self.dsn["bosko"],
            references=delivered(self.ledger, *i.references) if i.references else None, previous=before,
            duties=Duties(at, sent(self.ledger, i.key), reasons(i, suite)),
        )  # fmt: skip
        data = {"verdict": report.verdict, "report": "", "suite_version": 1, "protected": report.protected,
                "register": report.register}  # fmt: skip
        self.ledger.append(manifest.interchange, "gated", data, integration=i.key)
        return report

    def render(self, manifest: Manifest, at: datetime) -> Manifest:
        i = self.integrations[manifest.integration]
        return render(
            i, manifest, self.ledger, self.store, self.dsn["slussen"], day=at.date(), form=FORM if i.form else None
        )

    def send(self, key: str, at: datetime) -> tuple[GateReport, bytes]:
        """All steps; the content counts as delivered."""
        manifest = self.extract(key, at).manifest
        report = self.gate(manifest, at)
        assert report.verdict in ("pass", "warn"), report.table()
        done = self.render(manifest, at)
        data = {"name": done.name, "sha256": done.sha256, "bytes": done.bytes, "inferred": False}
        self.ledger.append(done.interchange, "delivered", data, integration=key)
        with self.store.open(done.sha256) as payload:
            return report, payload.read()


def moment(day: date, hour: int = 20) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
