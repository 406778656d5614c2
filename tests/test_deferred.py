"""Under a real Airflow: a set is waited for deferred, its triggerer is killed, and both files are delivered as one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from sandbox import processes
from sandbox.airflow import COMPONENTS, Airflow
from sandbox.postgres import APPLICATION, Server
from slussen import settings
from slussen.database import migrate
from slussen.ledger import Ledger
from slussen.quality.expectations import sqlalchemy_url

DAG = '''"""Two files that belong together, passed on as they are."""

from airflow.sdk import DAG

from slussen import Integration, Part, Window, day, directory
from slussen.operators import CollectOperator, DeliverSetOperator

parts = (Part(key="p", layout="", sql="", name="P-*.txt"), Part(key="g", layout="", sql="", name="G-*.txt"))
both = Integration(
    key="both", title="Two files", sender="HANNA", receiver="LIS", source=directory("here", ""),
    target=directory("there", "{source}"), layout="", persons="none", parts=parts, missing="fail",
)
SCHEDULE = Window("20:00", "07:30", days="mon-sun")
with DAG("together", schedule=SCHEDULE, start_date=day(2026, 1, 1), catchup=False) as dag:
    collected = CollectOperator(task_id="collect", integration=both)
    DeliverSetOperator(task_id="deliver", integration=both, manifests=collected.output)
'''
WINDOW = 600  # seconds


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deferred")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with Server(home) as server:
        yield server
    shutil.rmtree(server.place, ignore_errors=True)


@pytest.fixture(scope="module")
def airflow(home: Path, server: Server) -> Iterator[Airflow]:
    migrate(server.dsn("slussen"), settings.SQL / "migrations" / "slussen")
    for name in ("dags", "here", "there"):
        (home / name).mkdir()
    (home / "dags" / "together.py").write_text(DAG)
    parts = conninfo_to_dict(server.dsn("slussen", user=APPLICATION))
    slussen: dict[str, Any] = {"conn_type": "postgres", "host": parts["host"], "schema": parts["dbname"],
                               "login": parts["user"]}  # fmt: skip
    if parts.get("port"):
        slussen["port"] = int(str(parts["port"]))
    made = {
        "slussen": slussen,
        "here": {"conn_type": "fs", "extra": {"folder": str(home / "here"), "quiet_seconds": 1}},
        "there": {"conn_type": "fs", "extra": {"folder": str(home / "there")}},
    }
    environment = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(c) for name, c in made.items()}
    environment["SLUSSEN_DATABASE"] = server.dsn("slussen", user=APPLICATION)
    airflow = Airflow(home, sqlalchemy_url(server.dsn("airflow")), environment, home / "dags")
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()


def state(airflow: Airflow, run: str, task: str) -> str:
    return str(next(t["state"] for t in airflow.tasks("together", run) if t["task_id"] == task))


def test_a_set_is_waited_for_through_the_death_of_its_triggerer_and_delivered_as_one(
    airflow: Airflow, home: Path, server: Server
) -> None:
    processes.wait_until(lambda: "together" in airflow.dags(), seconds=120, what="the DAG")
    start = datetime.now(UTC).replace(microsecond=0)
    airflow.trigger("together", "one", start, start + timedelta(seconds=WINDOW))
    processes.wait_until(
        lambda: state(airflow, "one", "collect") == "deferred", seconds=180, what="deferred", every=0.5
    )
    (home / "here" / "P-1.txt").write_bytes(b"persons")

    at = COMPONENTS.index("triggerer")
    os.killpg(airflow.children[at].pid, signal.SIGKILL)
    airflow.children[at].wait()
    airflow.children[at] = airflow.component("triggerer")

    (home / "here" / "G-1.txt").write_bytes(b"groups")
    processes.wait_until(
        lambda: airflow.state("together", "one") in ("success", "failed"), seconds=300, what="the run", every=0.5
    )
    assert airflow.state("together", "one") == "success", airflow.log_of("together", "one", "collect")
    assert {f.name: f.read_bytes() for f in (home / "there").iterdir()} == {"P-1.txt": b"persons", "G-1.txt": b"groups"}
    assert sorted(f.name for f in (home / "here" / "archive").iterdir()) == ["G-1.txt", "P-1.txt"]
    book = Ledger(server.dsn("slussen", user=APPLICATION))
    completed = list(book.kind("completed", integration="both"))
    assert len(completed) == 1
    assert completed[0].data["measured"]
    assert completed[0].data["gap"] < 5
    kinds = [e.kind for e in book.events(completed[0].stream)]
    assert kinds == ["collected", "archiving", "archived", "claim", "uploaded", "delivered", "completed"]


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox stops its processes by Linux's means")
def test_a_window_that_closes_on_half_a_set_fails_and_delivers_nothing(
    airflow: Airflow, home: Path, server: Server
) -> None:
    (home / "here" / "P-2.txt").write_bytes(b"persons")
    start = datetime.now(UTC).replace(microsecond=0)
    airflow.trigger("together", "two", start, start + timedelta(seconds=10))
    processes.wait_until(
        lambda: airflow.state("together", "two") in ("success", "failed"), seconds=300, what="the run", every=0.5
    )
    assert airflow.state("together", "two") == "failed"
    assert (home / "here" / "P-2.txt").exists()
    assert not (home / "there" / "P-2.txt").exists()
    book = Ledger(server.dsn("slussen", user=APPLICATION))
    (missed,) = book.events(f"both-{start:%Y%m%dT%H%M%SZ}")
    assert (missed.kind, missed.data["reason"]) == ("missed", "no whole set at here: no G-*.txt")
