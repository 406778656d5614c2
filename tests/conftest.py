"""What the tests share: an Airflow that is ours alone, and a real PostgreSQL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRATCH = Path(tempfile.mkdtemp(prefix="slussen-tests-"))

# Before anything imports Airflow: it reads its configuration once.
os.environ.update(
    AIRFLOW_HOME=str(SCRATCH / "airflow"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{SCRATCH}/airflow.db",
    SLUSSEN_HOME=str(SCRATCH / "home"),
    TZ="UTC",
)
for name in ("SLUSSEN_DATABASE", "SLUSSEN_PAYLOADS", "SLUSSEN_CLOCK", "SLUSSEN_SCHEDULES", "SLUSSEN_KEY"):
    os.environ.pop(name, None)

from sandbox import airflow  # noqa: E402
from sandbox.postgres import Server  # noqa: E402

# Several run at the same time, each with an Airflow: what one finds free another may be about to take.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
airflow.PORTS = {name: 21000 + 100 * WORKER + n for n, name in enumerate(airflow.PORTS)}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for the whole session; ``postgres.dsn("name")`` is a database of it."""
    with Server(SCRATCH / "home") as server:
        yield server


def pytest_unconfigure() -> None:
    import shutil

    shutil.rmtree(Server(SCRATCH / "home").place, ignore_errors=True)
    shutil.rmtree(SCRATCH, ignore_errors=True)
