"""Everything that a demo or a test of the whole needs, on one machine: PostgreSQL, BoSko, the partners, Airflow."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from sandbox import bosko, connections, processes, school
from sandbox.airflow import USER, Airflow
from sandbox.postgres import APPLICATION, Server
from sandbox.pupils import Pupils
from sandbox.servers import Servers
from slussen import settings
from slussen.database import migrate
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.quality.expectations import sqlalchemy_url

SEED = 1809
PEOPLE, PUPILS = 3_000, 1_000
FIRST_DAY = date(2026, 1, 12)  # the Monday of the first business week
DATABASES = ("slussen", "bosko", "hanna")
ALERTS = "operations_mail"  # the connection that is told of faults


class Stack:
    """The sandbox in a state folder. ``say`` is told what goes on, a line each.

    ``people`` are in BoSko, ``pupils`` in HANNA, as of ``first``, when the databases are empty.
    """

    def __init__(
        self, home: Path, say: Callable[[str], None] = print, environment: Mapping[str, str] | None = None, *,
        people: int = PEOPLE, pupils: int = PUPILS, first: date = FIRST_DAY,
    ) -> None:  # fmt: skip
        self.home, self.say = home.resolve(), say
        self.environment = dict(environment or {})
        self.size, self.first = (people, pupils), first
        self.postgres = Server(self.home)
        self.servers = Servers(self.home)
        self.airflow: Airflow | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start what isn't there, from what an earlier start left."""
        if left := processes.clean_up(self.home / "pids"):
            self.say(f"stopped {left} processes that an earlier run left")
        self.postgres.start()
        self.superuser = {name: self.postgres.dsn(name) for name in ("airflow", *DATABASES)}
        self.database = self.postgres.dsn("slussen", user=APPLICATION)
        for name in DATABASES:
            migrate(self.superuser[name], settings.SQL / "migrations" / name)
        (self.home / "database").write_text(self.database)
        self.say(f"PostgreSQL is up ({'an existing server' if self.postgres.existing else self.postgres.socket})")
        if self._is_empty():
            self._fill()
        self.servers.start()
        self.airflow = Airflow(self.home, sqlalchemy_url(self.superuser["airflow"]), self._environment())
        for what, (usual, taken) in self.airflow.moved.items():
            self.say(f"port {usual} ({what}) is in use: taking {taken}")
        self.airflow.start()
        self.say(f"Airflow is up at {self.airflow.url}")

    def stay(self, console: Console, hint: str) -> None:
        """Say where Airflow is and how to log in; everything stays up until a signal comes."""
        assert self.airflow is not None
        console.print(
            f"\nAirflow: [bold]{self.airflow.url}[/]  user [bold]{USER}[/]  password [bold]{self.airflow.password}[/]\n"
            f"{hint} Ctrl-C stops everything.",
            highlight=False,
        )
        signal.pause()

    def stop(self) -> None:
        """Stop everything, whatever had started."""
        if self.airflow is not None:
            self.airflow.stop()
            self.airflow = None
        self.servers.stop()
        self.postgres.stop()
        (self.home / "pids").unlink(missing_ok=True)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database)

    @property
    def payloads(self) -> PayloadStore:
        return PayloadStore(self.home / "payloads")

    @cached_property
    def pupils(self) -> Pupils:
        """HANNA's pupils: the same each time, some of BoSko's people among them."""
        people = bosko.population_of(self.superuser["bosko"], self.first).people.values()
        return Pupils.of(SEED, self.size[1], self.first, list(people))

    def _is_empty(self) -> bool:
        with psycopg.connect(self.superuser["bosko"]) as connection:
            return connection.execute("select from bosko.person limit 1").fetchone() is None

    def _fill(self) -> None:
        people, pupils = self.size
        population = bosko.fill(self.superuser["bosko"], SEED, people, self.first)
        school.fill_hanna(self.superuser["hanna"], list(population.people.values()), SEED, pupils // 10, self.first)
        self.say(f"BoSko is filled: {people:,} people from seed {SEED}; HANNA: {pupils:,} pupils")

    def _environment(self) -> dict[str, str]:
        places = dict(self.servers.places)
        for name in DATABASES:
            parts = conninfo_to_dict(self.postgres.dsn(name, user=APPLICATION))
            for what, key in (("HOST", "host"), ("NAME", "dbname"), ("USER", "user"), ("PASSWORD", "password"),
                              ("PORT", "port")):  # fmt: skip
                places[f"{name.upper()}_DATABASE_{what}"] = str(parts.get(key) or "")
        filled = connections.variables(settings.ROOT / "airflow_settings.yaml", places)
        connections.keep(settings.ROOT / "airflow_settings.yaml", places, self.home / "connections.json")
        return {**filled, "SLUSSEN_DATABASE": self.database, "SLUSSEN_ALERTS": ALERTS, **self.environment}
