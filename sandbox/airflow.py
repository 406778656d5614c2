"""Airflow on this machine: its four components as our children, and its REST API."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from sandbox import processes
from slussen import settings

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
USER = "admin"
BOOT = 120  # seconds
PATIENCE = 120  # seconds that an answer of the API may take: on a busy machine it takes its time
# glibc's: a block of a megabyte or more is given back when it is free. By default it learns not to, and a task that
# takes two million rows in pieces ends with half as much again as it needs, in holes between small objects.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1048576"}
PORTS = {"api": 8080, "worker logs": 8793, "trigger logs": 8794}


class Airflow:
    """Airflow with a home of its own, LocalExecutor, our plugins, and our dags or those of another folder."""

    def __init__(
        self, home: Path, metadata: str, environment: Mapping[str, str], dags: Path = settings.ROOT / "dags"
    ) -> None:
        self.home, self._dags = home, dags
        self.ports = {name: free_port(port) for name, port in PORTS.items()}
        self.url = f"http://localhost:{self.ports['api']}"
        self.password = _kept(home / "password", lambda: secrets.token_urlsafe(9))
        self._passwords = home / "airflow" / "passwords.json"
        self._environment = {**os.environ, **environment, **self._configuration(metadata)}
        self.children: list[subprocess.Popen[bytes]] = []
        self._client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    @property
    def moved(self) -> dict[str, tuple[int, int]]:
        """The ports that were in use, and what was taken instead."""
        return {n: (PORTS[n], p) for n, p in self.ports.items() if p != PORTS[n]}

    @property
    def scheduler(self) -> int:
        """The scheduler's process, the parent of those that carry out tasks."""
        return self.children[COMPONENTS.index("scheduler")].pid

    def start(self) -> None:
        """Bring the metadata database up to date, start the components, wait until all are healthy.

        Raises:
            RuntimeError: they aren't in two minutes; the message names the logs.
        """
        self._passwords.parent.mkdir(parents=True, exist_ok=True)
        self._passwords.write_text(json.dumps({USER: self.password}))
        self._passwords.chmod(0o600)
        done = subprocess.run(
            [*_airflow(), "db", "migrate"], env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"airflow db migrate failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        for name in COMPONENTS:
            self.children.append(self.component(name))
        try:
            processes.wait_until(self._healthy, seconds=BOOT, what="Airflow")
        except TimeoutError:
            raise RuntimeError(f"Airflow didn't come up in {BOOT} s: see {self.home / 'logs'}") from None

    def component(self, name: str) -> subprocess.Popen[bytes]:
        """Start one of the components."""
        command = [*_airflow(), name]
        if name == "api-server":
            command += ["--host", "127.0.0.1", "--port", str(self.ports["api"])]
        return processes.start(
            command, log=self.home / "logs" / f"{name}.log", env=self._environment, cwd=settings.ROOT,
            pids=self.home / "pids",
        )  # fmt: skip

    def stop(self) -> None:
        """End all components and whatever they started."""
        processes.stop(self.children)
        self.children = []
        self._client.close()

    # --- REST

    def dags(self) -> set[str]:
        return {d["dag_id"] for d in self._call("GET", "/dags?limit=200")["dags"]}

    def import_errors(self) -> list[str]:
        return [e["filename"] for e in self._call("GET", "/importErrors")["import_errors"]]

    def trigger(
        self, dag: str, run: str, start: datetime, end: datetime, form: Mapping[str, str] | None = None
    ) -> None:
        """Start a run for this data interval, with a form as it was filled in; its clock begins at the interval's
        start."""
        self._call(
            "POST",
            f"/dags/{dag}/dagRuns",
            {
                "dag_run_id": run,
                "logical_date": start.isoformat(),
                "data_interval_start": start.isoformat(),
                "data_interval_end": end.isoformat(),
                "run_after": start.isoformat(),
                "conf": dict(form or {}),
            },
        )

    def has(self, dag: str, run: str) -> bool:
        """Has this run been started?"""
        found = self._call("GET", f"/dags/{dag}/dagRuns?run_id_pattern={run}&limit=100")["dag_runs"]
        return any(r["dag_run_id"] == run for r in found)

    def state(self, dag: str, run: str) -> str:
        return str(self._call("GET", f"/dags/{dag}/dagRuns/{run}")["state"])

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=200")[
            "task_instances"
        ]
        return found

    def clear(self, dag: str, run: str, task: str, *, downstream: bool = True) -> None:
        """Clear a task, and by default what comes after it, as a person does in the UI."""
        body = {"dry_run": False, "task_ids": [task], "dag_run_id": run, "include_downstream": downstream,
                "only_failed": False, "reset_dag_runs": True}  # fmt: skip
        self._call("POST", f"/dags/{dag}/clearTaskInstances", body)

    def set_state(self, dag: str, run: str, task: str, state: str) -> None:
        self._call("PATCH", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}", {"new_state": state})

    def waiting(self, dag: str, run: str) -> list[dict[str, Any]]:
        """The questions of this run that a person hasn't answered."""
        found = self._call("GET", f"/dags/{dag}/dagRuns/{run}/hitlDetails?response_received=false&limit=100")
        details: list[dict[str, Any]] = found["hitl_details"]
        return details

    def answer(self, question: Mapping[str, Any], option: str) -> None:
        task = question["task_instance"]
        path = (
            f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/{task['map_index']}"
        )
        self._call("PATCH", f"{path}/hitlDetails", {"chosen_options": [option], "params_input": {}})

    def log_of(self, dag: str, run: str, task: str, attempt: int = 1, index: int = -1) -> str:
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}?map_index={index}&full_content=true"
        return json.dumps(self._call("GET", path), ensure_ascii=False)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        if "Authorization" not in self._client.headers:
            token = self._client.post("/auth/token", json={"username": USER, "password": self.password})
            token.raise_for_status()
            self._client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        answer = self._client.request(method, f"/api/v2{path}", json=body)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            del self._client.headers["Authorization"]
            return self._call(method, path, body)
        if answer.is_error:
            raise RuntimeError(f"Airflow's API: {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def _healthy(self) -> bool:
        for component, child in zip(COMPONENTS, self.children, strict=True):
            if child.poll() is not None:
                raise RuntimeError(f"airflow {component} ended: see {self.home / 'logs' / f'{component}.log'}")
        try:
            health = self._client.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((health.get(p) or {}).get("status") == "healthy" for p in parts)

    def _configuration(self, metadata: str) -> dict[str, str]:
        home = self.home / "airflow"
        options = {
            "core.dags_folder": self._dags,
            "core.plugins_folder": settings.ROOT / "plugins",
            "core.load_examples": False,
            "core.executor": "LocalExecutor",
            "core.parallelism": 4,
            "core.dags_are_paused_at_creation": False,
            "core.default_timezone": "utc",
            "core.fernet_key": _kept(self.home / "fernet", lambda: urlsafe_b64encode(secrets.token_bytes(32)).decode()),
            "core.simple_auth_manager_users": f"{USER}:admin",
            "core.simple_auth_manager_passwords_file": self._passwords,
            "core.execution_api_server_url": f"{self.url}/execution/",
            "core.xcom_backend": "slussen.xcom.ManifestXCom",
            "core.sensitive_var_conn_names": "seal_key",  # of an extra: the UI shows it to nobody
            "database.sql_alchemy_conn": metadata,
            "api.base_url": self.url,
            "api.workers": 1,
            "api.secret_key": _kept(self.home / "secret", lambda: secrets.token_hex(16)),
            "api_auth.jwt_secret": _kept(self.home / "jwt", lambda: secrets.token_hex(32)),
            "dag_processor.refresh_interval": 10,
            "dag_processor.min_file_process_interval": 60,
            "dag_processor.parsing_processes": 2,
            "scheduler.scheduler_idle_sleep_time": 0.3,
            "scheduler.task_queued_timeout": 120,
            # A demo that was killed goes on soon after it is started again.
            "scheduler.orphaned_tasks_check_interval": 10,
            "scheduler.scheduler_health_check_threshold": 20,
            "scheduler.task_instance_heartbeat_timeout": 30,
            "logging.worker_log_server_port": self.ports["worker logs"],
            "logging.trigger_log_server_port": self.ports["trigger logs"],
            "logging.base_log_folder": self.home / "logs" / "tasks",
        }
        names = {f"AIRFLOW__{k.replace('.', '__').upper()}": str(v) for k, v in options.items()}
        path = os.pathsep.join(
            p for p in (str(settings.ROOT / "plugins"), str(settings.ROOT), os.environ.get("PYTHONPATH", "")) if p
        )
        return {"AIRFLOW_HOME": str(home), "TZ": "UTC", "PYTHONPATH": path, "SLUSSEN_SCHEDULES": "off",
                "SLUSSEN_CLOCK": "run", "SLUSSEN_HOME": str(self.home), **MEMORY, **names}  # fmt: skip


def free_port(wanted: int) -> int:
    """The wanted port, or any free one when it is in use."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _airflow() -> list[str]:
    return [sys.executable, "-m", "airflow"]


def _kept(file: Path, make: Any) -> str:
    """A secret that is made once and kept in the state folder."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(make())
    return file.read_text()
