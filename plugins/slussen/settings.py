"""Where things are: read from the environment, with defaults that fit a checkout.

``SLUSSEN_HOME``       state folder (default ``.slussen`` in the repository)
``SLUSSEN_DATABASE``   libpq connection string of the database that holds ledger and stage
``SLUSSEN_PAYLOADS``   payload store (default ``payloads`` in the state folder)
``SLUSSEN_CLOCK``      ``wall``, or ``run``: each run has its own clock (``clock.py``)
``SLUSSEN_SCHEDULES``  ``on``, or ``off``: timetables schedule nothing by themselves
``SLUSSEN_ALERTS``     connections, separated by commas, that are told of faults (``operators/channels.py``)
``SLUSSEN_KEY``        hex key of the keyed hashes that stand in for personal numbers (``keys.py``)
"""

from __future__ import annotations

import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
FORMATS = INCLUDE / "formats"
SQL = INCLUDE / "sql"
EXPECTATIONS = INCLUDE / "expectations"


def home() -> Path:
    return Path(os.environ.get("SLUSSEN_HOME", ROOT / ".slussen"))


def database() -> str:
    """The ledger's database: from the environment, or what the demo of this checkout left behind."""
    if dsn := os.environ.get("SLUSSEN_DATABASE"):
        return dsn
    pointer = home() / "database"
    return pointer.read_text().strip() if pointer.exists() else "dbname=slussen"


def use_connections() -> None:
    """Let Airflow find, in a process that is no task, the connections that the demo of this checkout left behind.

    An installation has them in its own environment, secrets backend or metadata database; what is set already stays.
    """
    file = home() / "connections.json"
    if file.exists():
        for name, connection in json.loads(file.read_text()).items():
            os.environ.setdefault(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def payloads() -> Path:
    return Path(os.environ.get("SLUSSEN_PAYLOADS", home() / "payloads"))


def clock_per_run() -> bool:
    return os.environ.get("SLUSSEN_CLOCK", "wall") == "run"


def schedules_on() -> bool:
    return os.environ.get("SLUSSEN_SCHEDULES", "on") != "off"


def alerts() -> list[str]:
    """The connections that are told of faults."""
    return [c for c in os.environ.get("SLUSSEN_ALERTS", "").replace(" ", "").split(",") if c]
