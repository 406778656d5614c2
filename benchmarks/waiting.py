"""How much it costs to wait: many integrations at once in one real triggerer, half at FTP, half at directories.

Starts PostgreSQL, HANNA's FTP server and Airflow with a DAG of that many collecting tasks; lets them all wait, and
measures the triggerer's processes; then lets a file come for each, and measures until the last is taken.

    python -m benchmarks.waiting --integrations 130
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg

from sandbox import ftp_server, processes
from sandbox.airflow import COMPONENTS, Airflow
from sandbox.postgres import APPLICATION, Server
from slussen import settings
from slussen.database import migrate
from slussen.ledger import Ledger
from slussen.quality.expectations import sqlalchemy_url

CONNECTIONS = 10  # of each kind: partners have several integrations each
DAG = '''"""Integrations that wait."""

from airflow.sdk import DAG

from slussen import Integration, Window, day, directory, ftp, sql
from slussen.operators import CollectOperator

def source(n):
    kind = ftp if n % 2 else directory
    return kind(f"{kind.__name__}_{n // 2 % CONNECTIONS}", f"ROW{n:03}-*.TXT", encoding="cp437")

ROWS = [
    Integration(key=f"row{n:03}", title="waits", sender="HANNA", receiver="BoSko", source=source(n),
                target=sql("bosko", ""), layout="navet_infil", persons="none")
    for n in range(INTEGRATIONS)
]
SCHEDULE = Window("20:00", "07:30", days="mon-sun")
with DAG("waiting", schedule=SCHEDULE, start_date=day(2026, 1, 1), catchup=False, max_active_tasks=200) as dag:
    for row in ROWS:
        CollectOperator(task_id=row.key, integration=row)
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--integrations", type=int, default=130)
    parser.add_argument("--quiet", type=float, default=10, help="seconds that a file must stay as it is")
    parser.add_argument("--seconds", type=float, default=60, help="how long the waiting is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slussen-waiting-", dir="/var/tmp") as place, Server(Path(place)) as server:
        try:
            found = measure(Path(place), server, options.integrations, options.quiet, options.seconds)
        finally:
            server.stop()
            shutil.rmtree(server.place, ignore_errors=True)
    print(json.dumps(found, indent=2))


def measure(home: Path, server: Server, integrations: int, quiet: float, seconds: float) -> dict[str, object]:
    """Start it all, wait, let the files come; what was seen."""
    migrate(server.dsn("slussen"), settings.SQL / "migrations" / "slussen")
    database = server.dsn("slussen", user=APPLICATION)
    dags, hanna, inbox = home / "dags", home / "hanna", home / "inbox"
    for folder in (dags, hanna, inbox):
        folder.mkdir()
    text = DAG.replace("INTEGRATIONS", str(integrations)).replace("CONNECTIONS", str(CONNECTIONS))
    (dags / "waiting.py").write_text(text)
    ports = home / "ports"
    ftp = processes.start(
        [sys.executable, "-m", "sandbox.ftp_server", "--root", str(hanna), "--ports", str(ports)],
        log=home / "logs" / "hanna.log", cwd=settings.ROOT,
    )  # fmt: skip
    processes.wait_until(ports.exists, seconds=20, what="HANNA's FTP server")
    port = int(ports.read_text().split()[0])
    airflow = Airflow(home, sqlalchemy_url(server.dsn("airflow")), _connections(database, inbox, port, quiet), dags)
    try:
        airflow.start()
        triggerer = airflow.children[COMPONENTS.index("triggerer")]
        idle = cost(triggerer.pid)
        processes.wait_until(lambda: "waiting" in airflow.dags(), seconds=60, what="the DAG")
        start = datetime.now(UTC)
        airflow.trigger("waiting", "one", start, start + timedelta(hours=11))
        began = time.monotonic()
        processes.wait_until(
            lambda: _in(server, "deferred") == integrations, seconds=900, every=2, what="all are waiting"
        )
        settled = time.monotonic() - began
        time.sleep(2 * quiet)
        before, at = cost(triggerer.pid), time.monotonic()
        time.sleep(seconds)
        after, passed = cost(triggerer.pid), time.monotonic() - at
        came = time.monotonic()
        for n in range(integrations):
            folder = hanna / "files" if n % 2 else inbox
            (folder / f"ROW{n:03}-1.TXT").write_bytes(b"%d" % n)
        ledger = Ledger(database)
        processes.wait_until(
            lambda: len(ledger.interchanges()) >= integrations, seconds=900, every=1, what="all are taken"
        )
        taken = time.monotonic() - came
        processes.wait_until(lambda: _in(server, "success") == integrations, seconds=300, every=2, what="all succeed")
    finally:
        airflow.stop()
        processes.stop([ftp])
    return {
        "integrations": integrations,
        "idle triggerer, PSS MB": idle["pss"],
        "all deferred after, s": round(settled),
        "waiting, PSS MB": after["pss"],
        "waiting, RSS MB of each process": after["rss"],
        "waiting, CPU % of one core": round(100 * (after["cpu"] - before["cpu"]) / passed, 1),  # type: ignore[operator]
        "files come, all collected after, s": round(taken),
        "of this the quiet time, s": quiet,
    }


def cost(pid: int) -> dict[str, object]:
    """The triggerer's processes: proportional memory of all, resident of each (MB), CPU seconds."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    cpu = sum(sum(p.cpu_times()[:2]) for p in family)
    pss = round(sum(p.memory_full_info().pss for p in family) / 1e6)
    return {"pss": pss, "rss": [round(p.memory_info().rss / 1e6) for p in family], "cpu": cpu}


def _in(server: Server, state: str) -> int:
    """How many tasks are in this state: asked of the database, the API gives a hundred at a time."""
    with psycopg.connect(server.dsn("airflow")) as connection:
        row = connection.execute("select count(*) from task_instance where state = %s", (state,)).fetchone()
    return int(row[0]) if row else 0


def _connections(database: str, inbox: Path, port: int, quiet: float) -> dict[str, str]:
    from psycopg.conninfo import conninfo_to_dict

    d = conninfo_to_dict(database)
    made: dict[str, dict[str, object]] = {
        "slussen": {"conn_type": "postgres", "host": d["host"], "schema": d["dbname"], "login": d["user"]}
    }
    if d.get("port"):
        made["slussen"]["port"] = int(str(d["port"]))
    for n in range(CONNECTIONS):
        made[f"directory_{n}"] = {"conn_type": "fs", "extra": {"folder": str(inbox), "quiet_seconds": quiet}}
        made[f"ftp_{n}"] = {
            "conn_type": "ftp", "host": "127.0.0.1", "port": port, "login": ftp_server.USER,
            "password": ftp_server.PASSWORD, "extra": {"quiet_seconds": quiet},
        }  # fmt: skip
    return {f"AIRFLOW_CONN_{k.upper()}": json.dumps(v) for k, v in made.items()} | {"SLUSSEN_DATABASE": database}


if __name__ == "__main__":
    main()
