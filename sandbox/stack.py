"""Everything that a demo or a test of the whole needs, on one machine: PostgreSQL, BoSko, the partners, Airflow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from sandbox import bosko, connections, ftp_server, message_partners, processes, school
from sandbox.airflow import Airflow
from sandbox.postgres import APPLICATION, Server
from slussen import settings
from slussen.database import migrate
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.quality.expectations import sqlalchemy_url

SEED = 1809
PEOPLE = 3000
PUPILS = 120  # of each of HANNA's schools whose course groups can be ordered
FIRST_DAY = date(2026, 1, 12)  # the Monday of the first business week


class Stack:
    """The sandbox in a state folder. ``say`` is told what goes on, a line each."""

    def __init__(
        self, home: Path, say: Callable[[str], None] = print, environment: Mapping[str, str] | None = None
    ) -> None:
        self.home, self.say = home.resolve(), say
        self.environment = dict(environment or {})
        self.postgres = Server(self.home)
        self.partners = self.home / "partners"
        self.agresso, self.skv = self.partners / "agresso", self.partners / "skv"
        self.kir = self.partners / "kir"
        self.hanna = self.partners / "hanna"
        self.a02, self.lis, self.profdoc = (self.partners / name for name in ("a02", "lis", "profdoc"))
        self.ftp = self.partners / "ftp"  # Agresso-Hb's and Ergo's folders, on a server of their own
        self.ledgers, self.ergo = (self.ftp / "files" / name for name in ("agresso_hb", "ergo"))
        self._ftp: list[subprocess.Popen[bytes]] = []
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
        self.superuser = {name: self.postgres.dsn(name) for name in ("airflow", "bosko", "hanna", "slussen")}
        self.bosko, self.database = (self.postgres.dsn(n, user=APPLICATION) for n in ("bosko", "slussen"))
        for name in ("slussen", "bosko", "hanna"):
            migrate(self.superuser[name], settings.SQL / "migrations" / name)
        (self.home / "database").write_text(self.database)
        self.say(f"PostgreSQL is up ({'an existing server' if self.postgres.existing else self.postgres.socket})")
        if self._is_empty():
            people = bosko.fill(self.superuser["bosko"], SEED, PEOPLE, FIRST_DAY).people
            school.fill_hanna(self.superuser["hanna"], list(people.values()), SEED, PUPILS, FIRST_DAY)
            self.say(f"BoSko is filled: {PEOPLE:,} people from seed {SEED}")
        for folder in (self.agresso, self.skv, self.kir, self.hanna, self.a02, self.lis, self.profdoc, self.ledgers,
                       self.ergo):  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
        files, datasets = self._start_ftp("hanna", self.hanna)
        others, _ = self._start_ftp("partners", self.ftp)
        self.posts = message_partners.start(self.partners, self.home, self._ftp)
        self.airflow = Airflow(
            self.home, sqlalchemy_url(self.superuser["airflow"]), self._environment(files, datasets, others)
        )
        for what, (usual, taken) in self.airflow.moved.items():
            self.say(f"port {usual} ({what}) is in use: taking {taken}")
        self.airflow.start()
        self.say(f"Airflow is up at {self.airflow.url}")

    def stop(self) -> None:
        """Stop everything, whatever had started."""
        if self.airflow is not None:
            self.airflow.stop()
            self.airflow = None
        processes.stop(self._ftp)
        self._ftp = []
        self.postgres.stop()
        (self.home / "pids").unlink(missing_ok=True)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database)

    @property
    def payloads(self) -> PayloadStore:
        return PayloadStore(self.home / "payloads")

    def received(self, integration: str, name: str) -> bytes | None:
        """What stands at the partner under this name."""
        folder = {"kir_mvs": self.hanna / "datasets", "skv": self.skv, "h45": self.ledgers, "ergo": self.ergo,
                  "lis_placements": self.lis, "lis_fees": self.lis, "profdoc_bosko": self.profdoc,
                  }.get(integration, self.agresso)  # fmt: skip
        file = folder / name
        return file.read_bytes() if file.exists() else None

    def standing(self) -> set[str]:
        """The names of all files that partners can see."""
        folders = (self.agresso, self.skv, self.hanna / "datasets", self.ledgers, self.ergo, self.lis, self.profdoc)
        return {f.name for d in folders for f in d.iterdir() if f.is_file() and not f.name.startswith(".")}

    def _is_empty(self) -> bool:
        with psycopg.connect(self.superuser["bosko"]) as connection:
            return connection.execute("select from bosko.person limit 1").fetchone() is None

    def _start_ftp(self, name: str, root: Path) -> tuple[int, int]:
        ports = self.home / f"ftp-ports-{name}"
        ports.unlink(missing_ok=True)
        command = [sys.executable, "-m", "sandbox.ftp_server", "--root", str(root), "--ports", str(ports)]
        self._ftp.append(processes.start(command, log=self.home / "logs" / f"{name}.log", cwd=settings.ROOT,
                                         pids=self.home / "pids"))  # fmt: skip
        processes.wait_until(ports.exists, seconds=20, what=f"the FTP server {name}")
        files, datasets = ports.read_text().split()
        return int(files), int(datasets)

    def _environment(self, files: int, datasets: int, others: int) -> dict[str, str]:
        places = {
            "AGRESSO_KUND_FOLDER": str(self.agresso), "SKV_OUTBOX_FOLDER": str(self.skv),
            "KIR_INBOX_FOLDER": str(self.kir), "QUIET_SECONDS": "1", "HANNA_HOST": "127.0.0.1",
            "HANNA_FTP_PORT": str(files), "HANNA_MVS_PORT": str(datasets), "HANNA_USER": ftp_server.USER,
            "HANNA_PASSWORD": ftp_server.PASSWORD, "AGRESSO_A02_FOLDER": str(self.a02), "LIS_FOLDER": str(self.lis),
            "PROFDOC_FOLDER": str(self.profdoc), "PARTNERS_FTP_HOST": "127.0.0.1", "PARTNERS_FTP_PORT": str(others),
            "PARTNERS_FTP_USER": ftp_server.USER, "PARTNERS_FTP_PASSWORD": ftp_server.PASSWORD,
        }  # fmt: skip
        places |= self.posts
        hanna = self.postgres.dsn("hanna", user=APPLICATION)
        for prefix, dsn in (("BOSKO", self.bosko), ("HANNA", hanna), ("SLUSSEN", self.database)):
            parts = conninfo_to_dict(dsn)
            for what, key in (("HOST", "host"), ("NAME", "dbname"), ("USER", "user"), ("PASSWORD", "password"),
                              ("PORT", "port")):  # fmt: skip
                places[f"{prefix}_DATABASE_{what}"] = str(parts.get(key) or "")
        filled = connections.variables(settings.ROOT / "airflow_settings.yaml", places)
        connections.keep(settings.ROOT / "airflow_settings.yaml", places, self.home / "connections.json")
        return {**filled, "SLUSSEN_DATABASE": self.database, **self.environment}
