"""Under Airflow: a proof of sending is a task that no run fails with; a partner that fails is one alert."""

from __future__ import annotations

import itertools
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from sandbox.postgres import Server
from slussen import settings
from slussen.alerts import _note
from slussen.database import migrate
from slussen.errors import ContentError, TechnicalError, TransportError
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.operators.alarms import alert_of, on_failure, on_success
from slussen.payloads import PayloadStore
from tests.answering import F30, at
from tests.test_notifications import Gateway, connect

DATABASES = itertools.count()
DAG_FILE = """
import sys
from airflow.sdk import DAG
from slussen import Integration, At, day, directory
from slussen.operators import DeliverOperator, NotifyOperator

key, manifest = {key!r}, {manifest!r}
integration = Integration(
    key=key, title=key, sender="BoSko", receiver="Agresso", source=directory("told_partner", "x"),
    target=directory("told_partner", "a.txt"), layout="agresso_cs15", persons="none", proof=("mobile",),
)
with DAG("told_" + key, schedule=At("04:00", days="mon-sun"), start_date=day(2026, 1, 1)) as dag:
    sent = DeliverOperator(task_id="deliver", integration=integration, manifest=manifest, retries=0)
    NotifyOperator(task_id="notify", integration=integration, manifest=sent.output, retries=0).as_teardown()

if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        run = dag.test()
        print("SAID", run.state, *sorted(t.task_id + "=" + str(t.state) for t in run.get_task_instances()))
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An Airflow whose only DAGs are this module's."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    environment = {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "PYTHONPATH": f"{settings.ROOT / 'plugins'}:{settings.ROOT}",
    }  # fmt: skip
    script = "from airflow.utils.db import initdb; initdb()"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **environment}, check=True, capture_output=True)
    return environment


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    with Gateway() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("MOBILE", "ONCALL"):
            connect(monkeypatch, name, conn_type="http", host="http://127.0.0.1", port=server.server_port,
                    extra={"sms": {"to": name}})  # fmt: skip
        connect(monkeypatch, "BROKEN", conn_type="fs")
        monkeypatch.setenv("SLUSSEN_ALERTS", "missing,broken,oncall")  # two that nobody can be told by, and one
        yield server
        server.shutdown()


@pytest.fixture
def ledger(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    from psycopg.conninfo import conninfo_to_dict

    dsn = postgres.dsn(f"told{next(DATABASES)}")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    parts = conninfo_to_dict(dsn)
    connect(monkeypatch, "SLUSSEN", conn_type="postgres", host=parts.get("host"), port=int(parts.get("port") or 5432),
            login="slussen", schema=parts["dbname"])  # fmt: skip
    return Ledger(f"{dsn} user=slussen")


class Flow:
    """A DAG that delivers one file and tells of it."""

    def __init__(self, key: str, folder: Path, airflow: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.partner, self.environment = folder / "partner", airflow
        connect(monkeypatch, "TOLD_PARTNER", conn_type="fs", extra={"folder": str(self.partner)})
        monkeypatch.setenv("SLUSSEN_PAYLOADS", str(folder / "payloads"))
        with PayloadStore(folder / "payloads").writer() as sink:
            sink.write(b"a\n")
        manifest = Manifest(
            integration=key, interchange=f"{key}-1", name="a.txt", sha256=sink.sha256, bytes=sink.bytes, records=1,
            layout="agresso_cs15",
        )  # fmt: skip
        self.interchange = manifest.interchange
        self.file = Path(airflow["AIRFLOW__CORE__DAGS_FOLDER"]) / f"told_{key}.py"
        self.file.write_text(DAG_FILE.format(key=key, manifest=manifest.as_dict()))

    def run(self, times: int = 1) -> list[str]:
        """The states of these runs and of their tasks."""
        done = subprocess.run(
            [sys.executable, str(self.file), str(times)], env={**os.environ, **self.environment}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        said = [line.removeprefix("SAID ") for line in done.stdout.splitlines() if line.startswith("SAID ")]
        assert len(said) == times, done.stdout[-3000:] + done.stderr[-3000:]
        return said


@pytest.fixture
def flow(
    request: pytest.FixtureRequest, airflow: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Flow:  # fmt: skip
    return Flow(request.node.name.removeprefix("test_").replace("_", "")[:12], tmp_path, airflow, monkeypatch)


def test_delivered_it_is_told_once(flow: Flow, gateway: Gateway, ledger: Ledger) -> None:
    flow.partner.mkdir()
    assert flow.run(2) == ["success deliver=success notify=success"] * 2
    assert [g["to"] for g in gateway.got] == ["MOBILE"]
    assert "a.txt" in gateway.got[0]["message"]
    assert [e.kind for e in ledger.events(flow.interchange)][-2:] == ["notifying", "notified"]


def test_not_told_it_is_delivered_all_the_same_and_told_when_it_is_tried_again(
    flow: Flow, gateway: Gateway, ledger: Ledger
) -> None:
    flow.partner.mkdir()
    gateway.replies = [403, 200, 200]
    first, again = flow.run(2)
    assert first == "success deliver=success notify=failed"
    assert again == "success deliver=success notify=success"
    assert (flow.partner / "a.txt").read_bytes() == b"a\n"
    kinds = [e.kind for e in ledger.events(flow.interchange)]
    assert kinds.count("delivered") == 1
    assert not ledger.events("watch/transport/told_partner")  # the partner has done nothing wrong
    watch = ledger.events(f"watch/notify/{flow.interchange.removesuffix('-1')}")
    assert [e.kind for e in watch if e.kind in ("alarm", "recovered")] == ["alarm", "recovered"]
    assert [k for k in kinds if k.endswith(("notified", "notifying"))] == [
        "notifying", "unnotified", "notifying", "notified"
    ]  # fmt: skip


def test_a_partner_that_fails_is_one_alert_and_one_recovery(flow: Flow, gateway: Gateway, ledger: Ledger) -> None:
    assert [said.partition(" ")[0] for said in flow.run(3)] == ["failed"] * 3
    assert [g["to"] for g in gateway.got] == ["ONCALL"]
    assert "transport failed" in gateway.got[0]["message"]
    assert "no such directory" in gateway.got[0]["message"]
    [alarm] = [e for e in ledger.events("watch/transport/told_partner") if e.kind == "alarm"]
    assert alarm.data["next"].startswith("slussen probe told_partner")
    flow.partner.mkdir()
    assert flow.run() == ["success deliver=success notify=success"]
    assert sorted(g["to"] for g in gateway.got) == ["MOBILE", "ONCALL", "ONCALL"]
    assert "works again" in next(g["message"] for g in gateway.got[1:] if g["to"] == "ONCALL")


def test_an_alert_of_a_failed_step_says_how_long_there_is_until_the_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUSSEN_CLOCK", "run")
    run = SimpleNamespace(run_after=at("12 20:00"), start_date=datetime.now(UTC) - timedelta(hours=10))
    task = SimpleNamespace(step="deliver", integration=F30.integration, manifest={"interchange": "f30-1"})
    context: Any = {
        "task": task, "dag_run": run, "data_interval_start": at("12 20:00"), "exception": TransportError("no answer"),
    }  # fmt: skip
    a = alert_of(context)
    assert a.cutoff == at("13 07:30")
    assert "Tue 07:30, 1 h 29 min left" in _note(a, "1").text
    context["data_interval_start"] = None
    assert alert_of(context).cutoff is None, "a run by hand has no interval, and so no cut-off"


def test_every_step_of_every_dag_can_tell_that_it_has_failed() -> None:
    """A callback that fails is a line in a task's log, and nobody is told."""
    told = set()
    for task in steps():
        a = alert_of(failed(task, AirflowFailException("stopped. Next: look")))
        told.add(a.state)
        assert (a.integration, a.what, a.next_step) == (task.integration.key, "stopped.", "look")
    assert {f"stopped at {step}" for step in ("collect", "stage", "gate", "render", "deliver", "acknowledge")} <= told


def test_an_attempt_that_airflow_has_replaced_tells_nobody(gateway: Gateway, ledger: Ledger) -> None:
    task = next(steps())
    gone = ErrorResponse(
        error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404, "message": "Task Instance not found"}
    )
    on_failure(failed(task, AirflowRuntimeError(gone)))
    assert gateway.got == []
    away = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500, "message": "away"})
    on_failure(failed(task, AirflowRuntimeError(away)))
    assert ["technical fault" in g["message"] for g in gateway.got] == [True], "but its other faults are told of"


def test_what_a_step_stopped_at_is_over_when_that_step_works_again(gateway: Gateway, ledger: Ledger) -> None:
    gate = next(task for task in steps() if task.step == "gate")
    stage = next(task for task in steps() if task.step == "stage" and task.integration.key == gate.integration.key)
    for task in (gate, stage):
        task.manifest = {"interchange": "x-1"}
    for fault in (ContentError([]), TechnicalError("the database is away")):
        gateway.got.clear()
        for _ in range(3):
            on_failure(failed(gate, fault))
        on_success(failed(stage, None))
        assert len(gateway.got) == 1, "another step's success says nothing of it"
        for _ in range(3):
            on_success(failed(gate, None))
        assert len(gateway.got) == 2
        assert "works again" in gateway.got[1]["message"]


def steps() -> Iterator[Any]:
    """The steps of all integrations, as their DAG files make them."""
    for file in sorted((settings.ROOT / "dags").glob("*.py")):
        dag = next(v for v in runpy.run_path(str(file)).values() if isinstance(v, DAG))
        yield from (task for task in dag.tasks if hasattr(task, "integration"))


def failed(task: Any, error: Exception | None) -> Any:
    return {"task": task, "exception": error, "dag_run": None, "data_interval_start": None}
