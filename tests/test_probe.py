"""Probing: real servers that are ready, and ones that are not, each by what is wrong; nothing is left behind."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import asyncssh
import pytest
import trustme

from sandbox import connections, ftp_server, processes, shs_node, x400_gateway
from sandbox.certificates import Authority
from sandbox.faults import Fault
from sandbox.postgres import Server
from sandbox.proxy import Cut, Proxy
from slussen import settings
from slussen.catalogue import Row
from slussen.certificates import certificate
from slussen.database import migrate
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.integration import Endpoint, Integration, directory, ftp, shs, sql, x400
from slussen.ledger import Ledger
from slussen.operators.connections import source
from slussen.operators.probe import find, opens, partners_of
from slussen.probing import EMPTY, Certificate, Partner, Probe, _clock, _validity, keep, probe
from slussen.timetables import At, Window
from slussen.transports import Entry
from slussen.transports.directory import Directory
from slussen.transports.ftp import Ftp
from slussen.transports.mvs import Mvs
from slussen.transports.sftp import Sftp
from tests.transports import messages

LOGIN: dict[str, Any] = {"host": "127.0.0.1", "user": ftp_server.USER, "password": ftp_server.PASSWORD}
STEPS = ["connect and log in", "write", "verify", "clock", "rename", "rename onto a name that is taken", "delete",
         "free space"]  # fmt: skip


@pytest.fixture(scope="module")
def hanna(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, int]]:
    root = tmp_path_factory.mktemp("hanna")
    ports = root / "ports"
    process = processes.start(
        [sys.executable, "-m", "sandbox.ftp_server", "--root", str(root), "--ports", str(ports)], log=root / "log"
    )
    processes.wait_until(ports.exists, seconds=20, what="the sandbox's FTP server")
    files, datasets = map(int, ports.read_text().split())
    yield root, files, datasets
    processes.stop([process])


def partner(open_: Callable[[], Any], transport: str, **more: Any) -> Partner:
    return Partner(connection="p", transport=transport, open=open_, deliver=open_, **more)


def results(done: Probe) -> dict[str, str]:
    return {s.name: s.result for s in done.steps}


def files_in(folder: Path) -> list[str]:
    return [f.name for f in folder.rglob("*") if f.is_file()]


# --- what is ready


def test_a_shared_directory_that_is_ready(tmp_path: Path) -> None:
    done = probe(partner(lambda: Directory(tmp_path), "directory"))
    assert [s.name for s in done.steps] == STEPS
    assert done.verdict in ("fine", "warning"), done.as_dict()  # a small disk is a warning
    assert {r for name, r in results(done).items() if name != "free space"} == {"fine"}
    assert files_in(tmp_path) == []


def test_a_folder_on_an_ftp_server_and_a_mainframes_datasets(hanna: tuple[Path, int, int]) -> None:
    root, files, datasets = hanna
    done = probe(partner(lambda: Ftp(**LOGIN, port=files), "ftp"))
    assert done.verdict == "fine", done.as_dict()
    assert results(done)["clock"] == "fine"
    assert results(done)["free space"] == "not told"
    done = probe(partner(lambda: Mvs(**LOGIN, port=datasets, record_length=80), "mvs", name="ADS.N99.KIR.TEMP"))
    assert done.verdict == "fine", done.as_dict()
    assert results(done)["clock"] == "not told"
    assert [s.detail for s in done.steps if s.name.startswith("rename onto")] == ["refused"]
    assert files_in(root / "files") == files_in(root / "datasets") == []


@pytest.mark.parametrize("word", [b"STOR", b"RNFR", b"RNTO", b"DELE"])
@pytest.mark.parametrize("what", ["reset", "swallow"])
def test_a_probe_whose_connection_is_cut_leaves_nothing_there(
    hanna: tuple[Path, int, int], word: bytes, what: Any
) -> None:
    root, port, _ = hanna
    with Proxy(("127.0.0.1", port), ftp=True) as proxy:
        proxy.arm(Cut(what, way="up", word=word))
        done = probe(partner(lambda: Ftp(**LOGIN, port=proxy.port), "ftp"))
        assert proxy.fired
    assert done.verdict == ("fine" if word == b"DELE" else "failed"), done.as_dict()
    assert results(done)["delete"] == "fine"
    assert files_in(root / "files") == []


def test_a_probe_says_what_it_could_not_take_away(hanna: tuple[Path, int, int]) -> None:
    root, port, _ = hanna
    with Proxy(("127.0.0.1", port), ftp=True) as proxy:
        proxy.arm(Cut("reset", way="up", word=b"RNFR"))
        ports = iter([proxy.port])  # and then nobody is there
        done = probe(partner(lambda: Ftp(**LOGIN, port=next(ports, 1)), "ftp"))
    [left] = files_in(root / "files")
    assert results(done)["delete"] == "failed"
    assert f"{left} or " in done.steps[[s.name for s in done.steps].index("delete")].detail
    (root / "files" / left).unlink()


def test_what_waits_to_be_collected_is_counted(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.csv", ".d.txt"):
        (tmp_path / name).touch()
    done = probe(Partner(connection="p", transport="directory", open=lambda: Directory(tmp_path), pattern="*.txt"))
    assert [(s.name, s.detail) for s in done.steps[1:]] == [("list", "2 files waiting")]


def test_an_sftp_server_by_its_pinned_key_and_a_changed_key_is_its_fault(tmp_path: Path) -> None:
    with sftp_server(tmp_path) as (port, key):
        login = {"host": "127.0.0.1", "port": port, "user": "slussen", "password": "sandbox"}
        done = probe(partner(lambda: Sftp(**login, host_key=key), "sftp"))
        assert done.verdict in ("fine", "warning"), done.as_dict()
        assert results(done)["clock"] == "fine"
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        done = probe(partner(lambda: Sftp(**login, host_key=other), "sftp"))
        assert done.verdict == "failed"
        assert "host key" in done.steps[-1].detail
        assert "Nothing was sent" in done.steps[-1].detail


# --- TLS


class Greeter(socketserver.StreamRequestHandler):
    """The beginning of FTP with explicit TLS: a greeting, AUTH TLS, the handshake, goodbye."""

    context: ssl.SSLContext

    def handle(self) -> None:
        self.wfile.write(b"220 hello\r\n")
        self.rfile.readline()
        self.wfile.write(b"234 go on\r\n")
        with suppress(OSError), self.context.wrap_socket(self.request, server_side=True) as wrapped:
            wrapped.recv(100)
            wrapped.sendall(b"221 bye\r\n")


@contextmanager
def ftps(folder: Path, **validity: Any) -> Iterator[tuple[int, Path]]:
    """A server that shows its certificate as FTPS does; its port, and whom to trust."""
    authority, ca = trustme.CA(), folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", **validity).configure_cert(context)
    handler = type("Handler", (Greeter,), {"context": context})
    with socketserver.ThreadingTCPServer(("localhost", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], ca
        server.shutdown()


@pytest.mark.parametrize(
    ("days", "result", "words"),
    [(400, "fine", "expires in"), (20, "warning", "fewer than 30"), (5, "warning", "fewer than 7"),
     (0.5, "warning", "fewer than 1"), (-1, "failed", "expired")],
)  # fmt: skip
def test_a_certificates_age_is_told_and_warned_of_in_time(tmp_path: Path, days: float, result: str, words: str) -> None:
    until = datetime.now(UTC) + timedelta(days=days)
    with ftps(tmp_path, not_before=until - timedelta(days=500), not_after=until) as (port, ca):
        look = partial(certificate, "localhost", port, "ftp", str(ca))
        done = probe(partner(lambda: Directory(tmp_path), "directory", certificate=look))
    assert done.steps[0].name == "certificate"
    assert done.steps[0].result == result
    assert words in done.steps[0].detail
    assert done.verdict in (result, "warning"), done.as_dict()


def test_a_certificate_of_an_unknown_authority_is_not_looked_at_further(tmp_path: Path) -> None:
    with ftps(tmp_path) as (port, _), pytest.raises(TransportRefused, match="authority"):
        certificate("localhost", port, "ftp")


def test_a_certificate_that_has_expired_is_said_to_have() -> None:
    now = datetime.now(UTC)
    gone = Certificate(now - timedelta(days=400), now - timedelta(days=1))
    assert _validity(gone, now, "have it renewed")[0] == "failed"


# --- what isn't ready


def test_nobody_there_a_wrong_password_and_no_folder_are_each_told(
    tmp_path: Path, hanna: tuple[Path, int, int]
) -> None:
    _, files, _ = hanna
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    for open_, word in (
        (lambda: Ftp(**LOGIN, port=port), "ConnectionRefusedError"),
        (
            lambda: Ftp(**{**LOGIN, "password": "hemligt"}, port=files),
            "Next: check the connection's login and password",
        ),
        (lambda: Ftp(**LOGIN, port=files, folder="finns/inte"), "the folder finns/inte can't be entered"),
        (lambda: Directory(tmp_path / "none"), "no such directory"),
    ):
        done = probe(partner(open_, "ftp"))
        assert done.verdict == "failed"
        assert [s.name for s in done.steps] == ["connect and log in"]
        assert word in done.steps[0].detail
        assert "hemligt" not in str(done.as_dict())


@pytest.mark.parametrize(
    ("transport", "needs"),
    [("directory", "folder"), ("x400", "originator, recipient, gateway"), ("shs", "own, partner")],
)
def test_what_a_connection_lacks_is_told(monkeypatch: pytest.MonkeyPatch, transport: Any, needs: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", json.dumps({"conn_type": "fs", "host": "https://x"}))
    endpoint = Endpoint(transport=transport, connection="partner", name="*", product="p")
    with pytest.raises(CallError, match=f"partner: its extra lacks {needs}. Next:"):
        source(endpoint)


class Stubborn(Directory):
    """A real directory in which one operation is not what it should be."""

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__(folder)
        self.what = what

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        if self.what == "put":
            raise TransportRefused("writing: refused")
        super().put(name, source, size)

    def verify(self, name: str, size: int, sha256: str) -> bool:
        return self.what != "verify" and super().verify(name, size, sha256)

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        if self.what == "rename":
            raise TransportRefused("renaming: refused")
        super().rename(old, new, replace=replace or self.what == "overwrite")

    def remove(self, name: str) -> None:
        if self.what != "remove":
            super().remove(name)


@pytest.mark.parametrize(
    ("what", "step"),
    [("put", "write"), ("verify", "verify"), ("rename", "rename"),
     ("overwrite", "rename onto a name that is taken"), ("remove", "delete")],
)  # fmt: skip
def test_each_operation_that_fails_is_the_step_that_fails(tmp_path: Path, what: str, step: str) -> None:
    done = probe(partner(lambda: Stubborn(tmp_path, what), "directory"))
    assert [name for name, result in results(done).items() if result == "failed"] == [step]
    assert what == "remove" or files_in(tmp_path) == []


def test_a_partner_who_takes_no_second_connection_is_a_step_that_failed(tmp_path: Path) -> None:
    opened: list[Directory] = []

    def once() -> Directory:
        if opened:
            raise TransportError("421: too many connections")
        opened.append(Directory(tmp_path))
        return opened[0]

    done = probe(partner(once, "directory"))
    assert [s.name for s in done.steps] == STEPS, "a delivery needs no other, too"
    opened.clear()
    done = probe(partner(once, "directory", pattern="*"))
    assert [s.name for s in done.steps] == [*STEPS, "list"]
    assert [(s.name, s.detail) for s in done.steps if s.result == "failed"] == [("list", "421: too many connections")]
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("transport", "modified", "result"),
    [("ftp", "20260112120000", "fine"), ("ftp", "20260112120000.123", "fine"), ("ftp", "20260112130000", "warning"),
     ("ftp", "", "not told"), ("sftp", "1768219200", "fine"), ("sftp", "1768219100", "warning"),
     ("directory", "1768219200000000000.17", "fine"), ("mvs", EMPTY, "not told")],
)  # fmt: skip
def test_a_clock_is_compared_where_the_server_tells_it(transport: str, modified: str, result: str) -> None:
    ours = datetime(2026, 1, 12, 12, tzinfo=UTC).timestamp()
    assert _clock(transport, Entry("x", 0, modified), ours)[0] == result


# --- partners that messages are exchanged with


MESSAGES = ["certificate", "our certificate", "connect and log in", "clock", "list"]


@pytest.fixture(params=messages.RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[messages.Rig]:
    with messages.RIGS[request.param](tmp_path / "partner") as made:
        yield made


def connection(rig: messages.Rig, **changed: Any) -> str:
    """The partner's connection as Airflow has it; ``changed`` is what is different in its extra, or host and port."""
    there = rig.server
    if rig.kind == "x400":
        extra = {
            "imap_host": "127.0.0.1", "imap_port": there.imap_port, "originator": x400_gateway.CITY,
            "recipient": messages.CSN, "gateway": x400_gateway.GATEWAY, "ca": str(there.ca),
        }  # fmt: skip
        known: dict[str, Any] = {
            "conn_type": "smtp", "host": "127.0.0.1", "port": there.smtp_port, "login": x400_gateway.USER,
            "password": x400_gateway.PASSWORD,
        }  # fmt: skip
    else:
        extra = {
            "own": shs_node.CITY, "partner": messages.SKV, "ca": str(there.authority.ca),
            "cert": str(there.certificate(shs_node.CITY)),
        }  # fmt: skip
        known = {"conn_type": "http", "host": there.url}
    top = {k: v for k, v in changed.items() if k in ("host", "port", "password")}
    return json.dumps(known | top | {"extra": extra | {k: v for k, v in changed.items() if k not in top}})


def tried(rig: messages.Rig, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Probe:
    """A probe of the partner, by its connection."""
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", connection(rig, **changed))
    kinds = {"x400": x400("partner", "SVAR*.TXT"), "shs": shs("partner", messages.PRODUCT, "SVAR*.TXT")}
    [found] = find("partner", [row("reply", None, source=kinds[rig.kind], sender="CSN")])
    return probe(found)


def failed(done: Probe) -> dict[str, str]:
    return {s.name: s.detail for s in done.steps if s.result == "failed"}


def test_a_partner_of_messages_that_is_ready(rig: messages.Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SVAR1.TXT", "SVAR2.TXT", "annat"):
        rig.send(name, b"x")
    done = tried(rig, monkeypatch)
    assert done.verdict == "fine", done.as_dict()
    assert [s.name for s in done.steps] == [s for s in MESSAGES if rig.kind == "shs" or s != "our certificate"]
    assert done.steps[-1].detail == "2 files waiting"
    assert results(done)["clock"] == ("fine" if rig.kind == "shs" else "not told")
    assert rig.arrived() == [], "nothing is sent"
    assert rig.archived() == [], "nothing is taken"


@pytest.mark.parametrize("what", ["expired", "another authority"])
def test_a_message_partners_certificate_that_is_not_good_is_told_and_why(
    rig: messages.Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    ours = Authority(tmp_path / "partner" / "certificates")
    issuer = ours if what == "expired" else Authority(tmp_path / "others")
    bad = issuer.issue("bad", hosts=("127.0.0.1",), expired=what == "expired")
    running: Any = x400_gateway.running if rig.kind == "x400" else shs_node.running
    with running(tmp_path / "bad", bad) as server:
        where = {"host": server.url} if rig.kind == "shs" else {"port": server.smtp_port, "imap_port": server.imap_port}
        done = tried(rig, monkeypatch, **where)
    assert set(failed(done)) == {"certificate", "connect and log in"}
    assert ("has expired" if what == "expired" else "authority is unknown") in failed(done)["certificate"]


def test_a_message_partner_that_is_down_or_refuses_us_is_told(
    rig: messages.Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        down = {"port": port} if rig.kind == "x400" else {"host": f"https://127.0.0.1:{port}"}
        done = tried(rig, monkeypatch, **down)
    assert set(failed(done)) == {"certificate", "connect and log in"}
    if rig.kind == "x400":
        done = tried(rig, monkeypatch, password="hemligt")
        assert "refused with 535" in failed(done)["connect and log in"]
    else:
        stranger = str(rig.server.certificate(messages.STRANGER))
        done = tried(rig, monkeypatch, cert=stranger)
        assert "SHS: 403" in failed(done)["connect and log in"]
    assert list(failed(done)) == ["connect and log in"]
    assert "hemligt" not in str(done.as_dict())


def test_a_mailbox_that_is_down_is_told_although_its_gateway_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with messages.RIGS["x400"](tmp_path) as rig:
        rig.faults.set(Fault(kind="refuse", on="login"))
        done = tried(rig, monkeypatch)
        assert "logging in" in failed(done)["connect and log in"]


def test_a_nodes_clock_that_is_off_and_our_certificate_that_expires_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with messages.RIGS["shs"](tmp_path) as rig:
        handler: Any = rig.server.server.RequestHandlerClass
        monkeypatch.setattr(handler, "date_time_string", lambda self: formatdate(time.time() - 600, usegmt=True))
        done = tried(rig, monkeypatch)
        assert done.verdict == "warning"
        [warned] = [s for s in done.steps if s.result == "warning"]
        assert warned.name == "clock"
        assert "s behind ours: compare both with a time server" in warned.detail
        expired = rig.server.authority.issue("old", expired=True)
        done = tried(rig, monkeypatch, cert=str(expired))
        assert "have it renewed, and tell the partner" in failed(done)["our certificate"]
        with pytest.raises(CallError, match="can't be read"):
            tried(rig, monkeypatch, cert=str(tmp_path / "none.pem"))


# --- who is probed


def row(key: str, timetable: Any, **ends: Any) -> Row:
    usual: dict[str, Any] = {
        "sender": "BoSko", "receiver": "Agresso", "source": sql("bosko", "x.sql"),
        "target": directory("agresso_kund", "x"), "layout": "agresso_cs15", "persons": "none",
    }  # fmt: skip
    integration = Integration(key=key, title=key, **usual | ends)
    return Row(integration, key, Path("x.py"), timetable, None)


ROWS = [
    row("f29", Window("20:00", "07:30", days="mon-sat")),
    row("f30", At("04:55", days="mon-fri"), target=directory("agresso_kund", "y")),
    row("load", None, source=ftp("agresso_ftp", "*.txt"), sender="Agresso", receiver="BoSko", target=sql("b", "m.sql")),
]


def test_a_partner_is_found_by_its_connection_or_its_system_and_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGRESSO_KUND", "AGRESSO_FTP"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "ftp", "host": "x"}))
    assert [p.connection for p in find("agresso_kund", ROWS)] == ["agresso_kund"]
    assert [p.connection for p in find("agresso", ROWS)] == ["agresso_kund", "agresso_ftp"]
    with pytest.raises(CallError, match="agresso_ftp, agresso_kund"):
        find("nobody", ROWS)
    assert partners_of(ROWS)[1].pattern == "*.txt"


def test_a_window_that_opens_within_the_hour_is_seen() -> None:
    evening = datetime(2026, 1, 12, 18, 30, tzinfo=UTC)  # 19:30 in Stockholm
    hour = timedelta(hours=1)
    assert [r.key for r in ROWS if opens(r, evening, evening + hour)] == ["f29"]
    assert [r.key for r in ROWS if opens(r, evening + hour, evening + 2 * hour)] == []


# --- as its users run it


@pytest.fixture
def ledger(postgres: Server) -> Ledger:
    dsn = postgres.dsn("probed")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return Ledger(f"{dsn} user=slussen")


def test_what_was_found_is_kept_as_evidence(tmp_path: Path, ledger: Ledger) -> None:
    done = replace(probe(partner(lambda: Directory(tmp_path), "directory")), connection="kept")
    keep(ledger, done, "abc1234")
    [event] = ledger.events("probe/kept")
    assert event.kind == "probed"
    assert event.data["version"] == "abc1234"
    assert [s["name"] for s in event.data["steps"]] == STEPS
    assert not any(i.id.startswith("probe/") for i in ledger.interchanges())


def test_the_command_finds_the_demos_connections_by_a_file_of_the_owners_alone(
    tmp_path: Path, ledger: Ledger, hanna: tuple[Path, int, int]
) -> None:
    home, agresso = tmp_path / "home", tmp_path / "agresso"
    home.mkdir()
    agresso.mkdir()
    (home / "database").write_text(ledger._dsn)
    names = connections.PLACE.findall((settings.ROOT / "airflow_settings.yaml").read_text())
    places = {n: "1" if "PORT" in n else "x" for n in names} | {"AGRESSO_KUND_FOLDER": str(agresso)}
    connections.keep(settings.ROOT / "airflow_settings.yaml", places, home / "connections.json")
    assert stat.S_IMODE((home / "connections.json").stat().st_mode) == 0o600
    done = slussen(home, "probe", "agresso_kund", "--json")
    assert done.returncode == 0, done.stderr
    [told] = json.loads(done.stdout)
    assert told["connection"] == "agresso_kund"
    assert [s["name"] for s in told["steps"]] == STEPS
    assert [e.data["verdict"] for e in ledger.events("probe/agresso_kund")] == [told["verdict"]]
    assert files_in(agresso) == []
    agresso.rmdir()
    done = slussen(home, "probe", "Agresso-Kund")
    assert done.returncode == 1
    assert "no such directory" in done.stdout
    done = slussen(home, "probe", "nobody")
    assert done.returncode == 2
    assert "agresso_kund" in done.stderr


def test_the_command_probes_a_mailbox_and_an_actor_of_the_demo(tmp_path: Path, ledger: Ledger) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "database").write_text(ledger._dsn)
    names = connections.PLACE.findall((settings.ROOT / "airflow_settings.yaml").read_text())
    with messages.RIGS["x400"](tmp_path / "x400") as post, messages.RIGS["shs"](tmp_path / "shs") as node:
        places = {n: "1" if "PORT" in n else "x" for n in names} | {
            "X400_HOST": "127.0.0.1", "X400_SMTP_PORT": str(post.server.smtp_port), "X400_USER": x400_gateway.USER,
            "X400_PASSWORD": x400_gateway.PASSWORD, "X400_IMAP_PORT": str(post.server.imap_port),
            "X400_GATEWAY": x400_gateway.GATEWAY, "X400_CITY": x400_gateway.CITY, "CSN_X400": messages.CSN,
            "X400_CA": str(post.server.ca), "SHS_URL": node.server.url, "SHS_CA": str(node.server.authority.ca),
            "SHS_CERTIFICATE": str(node.server.certificate(shs_node.CITY)), "SHS_CITY": shs_node.CITY,
            "SKV_SHS": messages.SKV,
        }  # fmt: skip
        connections.keep(settings.ROOT / "airflow_settings.yaml", places, home / "connections.json")
        for partner_ in ("csn_x400", "skv_shs"):
            done = slussen(home, "probe", partner_, "--json")
            assert done.returncode == 0, done.stdout + done.stderr
            [told] = json.loads(done.stdout)
            assert {s["name"] for s in told["steps"]} >= {"certificate", "connect and log in", "list"}
            assert [e.data["verdict"] for e in ledger.events(f"probe/{partner_}")] == ["fine"]
    done = slussen(home, "probe", "skv_shs")
    assert done.returncode == 1
    assert "no TLS connection could be made" in done.stdout


def slussen(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    outer = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_CONN_")}
    return subprocess.run(
        [sys.executable, "-m", "slussen.cli", *arguments], capture_output=True, text=True, check=False,
        env={**outer, "SLUSSEN_HOME": str(home), "PYTHONPATH": str(settings.ROOT / "plugins"), "COLUMNS": "200"},
    )  # fmt: skip


@contextmanager
def sftp_server(folder: Path) -> Iterator[tuple[int, str]]:
    """The sandbox's SFTP partner; its port and public host key."""
    ports = folder / "ports"
    process = processes.start(
        [sys.executable, "-m", "sandbox.sftp_server", "csn", "--root", str(folder), "--ports", str(ports)],
        log=folder / "log",
    )
    try:
        processes.wait_until(ports.exists, seconds=20, what="the sandbox's SFTP server")
        yield int(ports.read_text().split()[1]), (folder / "csn" / "host_key.pub").read_text()
    finally:
        processes.stop([process])
