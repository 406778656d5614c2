"""Content that is downloaded: offered once, fetched by those who may, and the ledger says who took it."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sandbox.postgres import Server
from slussen import settings
from slussen.cli import app
from slussen.database import migrate
from slussen.downloads import fetch, offer
from slussen.errors import CallError, TechnicalError
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.payloads import PayloadStore

DAG = "novaschema_on_request"
CONTENT = "Student\r\nåäö\r\n".encode("cp1252")
NUMBERS = count(1)


class Shelf:
    """A ledger and a payload store with one interchange's content."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.ledger, self.store = Ledger(dsn), PayloadStore(folder)
        with self.store.writer() as sink:
            sink.write(CONTENT)
        self.manifest = Manifest(integration="novaschema", interchange=f"novaschema-{next(NUMBERS):012}",
                                 name="NOVASCHEMA_Å.TXT", sha256=sink.sha256, bytes=sink.bytes)  # fmt: skip
        data = {"name": self.manifest.name, "sha256": sink.sha256, "bytes": sink.bytes}
        self.ledger.append(self.manifest.interchange, "content", data, integration="novaschema")

    def events(self, kind: str) -> list[Any]:
        return [e for e in self.ledger.events(self.manifest.interchange) if e.kind == kind]


@pytest.fixture(scope="module")
def dsn(postgres: Server) -> str:
    made = postgres.dsn("downloads")
    migrate(made, settings.SQL / "migrations" / "slussen")
    return f"{made} user=slussen"


@pytest.fixture
def shelf(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("SLUSSEN_DATABASE", dsn)
    monkeypatch.setenv("SLUSSEN_PAYLOADS", str(tmp_path))
    return Shelf(dsn, tmp_path)


def test_it_is_offered_once_however_often_it_is_tried(shelf: Shelf) -> None:
    assert offer(shelf.manifest, shelf.ledger, DAG) is True
    assert offer(shelf.manifest, shelf.ledger, DAG) is False
    assert [e.data["offered"] for e in shelf.events("delivered")] == [DAG]
    assert shelf.ledger.interchanges("novaschema")[-1].state == "delivered"


def test_whoever_fetches_it_is_written_down_first(shelf: Shelf) -> None:
    offer(shelf.manifest, shelf.ledger, DAG)
    for who in ("anna", "bo"):
        found = fetch(shelf.ledger, shelf.store, shelf.manifest.interchange, by=who, dag=DAG)
        assert [e.data["by"] for e in shelf.events("downloaded")][-1] == who
        with found.payload as payload:
            assert payload.read() == CONTENT
        assert (found.name, found.bytes) == ("NOVASCHEMA_Å.TXT", len(CONTENT))


def test_what_was_not_offered_or_by_another_dag_is_not_there(shelf: Shelf) -> None:
    with pytest.raises(CallError):
        fetch(shelf.ledger, shelf.store, shelf.manifest.interchange, by="anna", dag=DAG)
    offer(shelf.manifest, shelf.ledger, DAG)
    for name, dag in ((shelf.manifest.interchange, "ergo_mon_wed"), ("novaschema-none", DAG)):
        with pytest.raises(CallError):
            fetch(shelf.ledger, shelf.store, name, by="anna", dag=dag)
    assert shelf.events("downloaded") == []


def test_a_payload_that_has_rotted_is_not_handed_out(shelf: Shelf) -> None:
    offer(shelf.manifest, shelf.ledger, DAG)
    path = shelf.store.path(shelf.manifest.sha256)
    path.chmod(0o640)
    path.write_bytes(CONTENT[:-1] + b"X")
    with pytest.raises(TechnicalError, match="has changed on the disk"):
        fetch(shelf.ledger, shelf.store, shelf.manifest.interchange, by="anna", dag=DAG)
    assert shelf.events("downloaded") == []


def test_the_command_line_takes_it_to_a_file_and_overwrites_none(shelf: Shelf, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    arguments = ["payload", shelf.manifest.interchange, "-o", str(target)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert target.read_bytes() == CONTENT
    assert shelf.events("downloaded")[0].data["by"].endswith("on the command line")
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, CallError)
    assert len(shelf.events("downloaded")) == 1


class Door:
    """Airflow's own web application with our routes below it, and users of its simple auth manager."""

    def __init__(self, client: Any, tokens: dict[str, str]) -> None:
        self.client, self.tokens = client, tokens

    def get(self, shelf: Shelf, who: str, dag: str = DAG) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return self.client.get(f"/slussen/download/{dag}/{shelf.manifest.interchange}", headers=headers)


@pytest.fixture(scope="module")
def door() -> Door:
    from airflow.api_fastapi.app import create_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.utils.db import initdb
    from fastapi.testclient import TestClient

    initdb()
    application = create_app()
    manager = application.state.auth_manager
    tokens = {
        name: manager.generate_jwt(SimpleAuthManagerUser(username=name, role=name))
        for name in ("admin", "user", "viewer")
    }
    return Door(TestClient(application), tokens)


def test_the_route_is_for_those_who_may_start_the_run(shelf: Shelf, door: Door) -> None:
    offer(shelf.manifest, shelf.ledger, DAG)
    assert door.get(shelf, "").status_code == 401
    assert door.get(shelf, "viewer").status_code == 403
    assert shelf.events("downloaded") == []
    answer = door.get(shelf, "user")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''NOVASCHEMA_%C3%85.TXT"
    assert answer.headers["cache-control"] == "no-store"
    assert [e.data["by"] for e in shelf.events("downloaded")] == ["user"]


def test_the_route_knows_nothing_that_was_not_offered(shelf: Shelf, door: Door) -> None:
    assert door.get(shelf, "admin").status_code == 404
    offer(shelf.manifest, shelf.ledger, DAG)
    assert door.get(shelf, "admin", dag="ergo_mon_wed").status_code == 404
    shelf.store.path(shelf.manifest.sha256).unlink()
    assert door.get(shelf, "admin").status_code == 503
