"""An SHS node on loopback: HTTPS with a certificate asked of both sides, queues on disk, and the actors behind it.

    python -m sandbox.shs_node serve FOLDER --port-file FILE
    python -m sandbox.shs_node arrived FOLDER [--to ORGANISATION]
    python -m sandbox.shs_node send FOLDER FILE --sender ORGANISATION --to ORGANISATION --product URN [--answers ID]

A message is a folder in ``messages``: its label, its body as it came, what has become of it. What an actor does with
what arrives (confirms, answers with an error, nothing) is in ``scenario.json``, and so is what the node answers instead
of SHS (``page``). What goes wrong is in ``faults.json``: ``connect send list get receipt``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from email.parser import BytesHeaderParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from sandbox.certificates import Authority
from sandbox.faults import Switches
from slussen.errors import TransportRefused
from slussen.transports.mime import parts
from slussen.transports.shs_label import (
    CONFIRM,
    ERROR,
    Data,
    Label,
    Management,
    parse,
    render,
    render_management,
    render_messages,
)

CITY = "2120000142"  # the city of Stockholm's organisation number
NODE = "sandbox"
CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``confirm``: confirm error none; ``page`` instead of SHS's answer: login empty gzip elsewhere other."""

    confirm: str = "confirm"
    code: str = "IllegalDatapartContent"
    copies: int = 1
    page: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message in the node's store."""

    label: Label
    folder: Path = field(repr=False)

    @property
    def id(self) -> str:
        return self.label.tx_id

    @property
    def name(self) -> str:
        return self.label.data[0].filename if self.label.data else ""

    def read(self) -> bytes:
        """The first data part."""
        with (self.folder / "message").open("rb") as raw:
            found = parts(*_opened(raw))
            next(found).read(CHUNK)
            return b"".join(next(found).body)


class Node:
    """The store of a node's folder, and the actors' side of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.messages = root, root / "messages"
        self.messages.mkdir(parents=True, exist_ok=True)
        self._arrived: dict[str, Arrived] = {}  # what has arrived doesn't change

    def arrived(self, to: str = "", product: str = "") -> list[Arrived]:
        """All messages, or those to an organisation, or of a product, in the order of their arrival."""
        folders = sorted(f for f in self.messages.iterdir() if not f.name.startswith("."))
        for folder in folders:
            if folder.name not in self._arrived:
                self._arrived[folder.name] = Arrived(parse((folder / "label.xml").read_bytes()), folder)
        found = [self._arrived[f.name] for f in folders]
        return [a for a in found if to in ("", a.label.to) and product in ("", a.label.product)]

    def find(self, tx_id: str) -> Arrived | None:
        return next((a for a in self.arrived() if a.id == tx_id), None)

    def scenario(self, product: str) -> Scenario:
        file = self.root / "scenario.json"
        known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return Scenario(**known.get(product, known.get("*", {})))

    def play(self, scenario: Scenario, product: str = "*") -> None:
        file = self.root / "scenario.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | {product: asdict(scenario)}, indent=1))

    def send(
        self, name: str, content: bytes | Path, *, sender: str, to: str = CITY, product: str, answers: str = "",
        sequence: str = "", sizes: bool = True,
    ) -> str:  # fmt: skip
        """An actor's message with a file, of any size; its id."""
        tx_id = str(uuid4())
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        label = Label(
            tx_id=tx_id, corr_id=answers or tx_id, content_id=tx_id, sender=sender, to=to, product=product,
            data=(Data(name, size if sizes else -1),), datetime=_now(),
            sequence=sequence or ("reply" if answers else "event"),  # type: ignore[arg-type]
        )  # fmt: skip
        draft = self.messages / f".{token_hex(8)}"
        draft.mkdir()
        named = f'filename="{name}"'.encode("iso-8859-1", "replace")
        head = (
            b'Subject: SHS Message\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
            b"--=_b\r\nContent-Type: text/xml; charset=UTF-8\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            + render(label)
            + b"\r\n--=_b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n"
            b"Content-Disposition: attachment; " + named + b"\r\n\r\n"
        )  # fmt: skip
        opened = content.open("rb") if isinstance(content, Path) else BytesIO(content)
        with opened as source, (draft / "message").open("wb") as out:
            out.write(head)
            shutil.copyfileobj(source, out, CHUNK)
            out.write(b"\r\n--=_b--\r\n")
        self.keep(draft, label)
        return tx_id

    def keep(self, draft: Path, label: Label) -> None:
        (draft / "label.xml").write_bytes(render(label))
        draft.rename(self.messages / f"{time.time_ns()}-{label.tx_id}")

    def confirm(self, label: Label, code: str = "", *, sender: str = "", about: str = "") -> None:
        """A confirmation of a message, or an error, to who sent it."""
        content_id = about or label.content_id
        xml = render_management(Management(label.corr_id, content_id, code), _now())
        self.send(
            "error.xml" if code else "confirm.xml", xml, sender=sender or label.to, to=label.sender,
            product=ERROR if code else CONFIRM, answers=label.corr_id, sequence="adm",
        )  # fmt: skip

    def react(self, label: Label) -> None:
        """What the actor does with what has arrived."""
        scenario = self.scenario(label.product)
        for _ in range(scenario.copies):
            if scenario.confirm == "confirm":
                self.confirm(label)
            elif scenario.confirm == "error":
                self.confirm(label, scenario.code)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    node: Node
    faults: Switches
    lock = threading.Lock()
    timeout = 60

    def log_message(self, *what: object) -> None:
        pass

    def handle_one_request(self) -> None:
        with suppress(ConnectionError, ssl.SSLError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/shs/rs":
            self._receive()
        elif parse_qs(url.query).get("action") == ["ack"]:
            self._acknowledge(url.path)
        else:
            self._say(404)

    def _actor(self) -> str:
        """The organisation that the client's certificate names; behind a front of TLS, what the front says."""
        if isinstance(self.connection, ssl.SSLSocket):
            found: Any = self.connection.getpeercert() or {}
            names = dict(pair[0] for pair in found.get("subject", ()))
            return str(names.get("commonName", ""))
        return self.headers.get("X-client-cn", "").removeprefix("CN=")

    def _receive(self) -> None:
        if self._disturbed("send"):
            return
        left = int(self.headers.get("Content-Length", 0))
        drop, full = self.faults.find("send", "drop"), self.faults.find("send", "full")
        draft, written = self.node.messages / f".{token_hex(8)}", 0
        draft.mkdir()
        try:
            with (draft / "message").open("wb") as out:
                while left:
                    chunk = self.rfile.read(min(CHUNK, left))
                    written, left = written + len(chunk), left - len(chunk)
                    if not chunk or (drop and written > drop.bytes):
                        raise ConnectionResetError
                    if not (full and written > full.bytes):
                        out.write(chunk)
            if full and written > full.bytes:
                self._say(507, {"X-shs-errorcode": "OtherError"})
                return
            swallow = self.faults.find("send", "swallow")
            self._keep(draft, swallow=swallow is not None)
        finally:
            if draft.exists():
                (draft / "message").unlink(missing_ok=True)
                draft.rmdir()

    def _keep(self, draft: Path, *, swallow: bool) -> None:
        try:
            with (draft / "message").open("rb") as raw:
                label = parse(next(parts(*_opened(raw))).read(CHUNK))
        except (TransportRefused, StopIteration):
            self._say(400, {"X-shs-errorcode": "IllegalMessageStructure"})
            return
        if label.sender != self._actor():
            self._say(400, {"X-shs-errorcode": "IllegalSender"})
            return
        with self.lock:
            known = self.node.find(label.tx_id)
            if known is None:
                self.node.keep(draft, label)
                self.node.react(label)
        if swallow:
            self.close_connection = True
            return
        self._taken(label, duplicate=known is not None)

    def _taken(self, label: Label, *, duplicate: bool) -> None:
        headers = {
            "X-shs-txid": label.tx_id, "X-shs-corrid": label.corr_id, "X-shs-contentid": label.content_id,
            "X-shs-localid": label.tx_id, "X-shs-nodeid": NODE, "X-shs-arrivaldate": _now(),
            "X-shs-duplicatemsg": "yes" if duplicate else "no",
        }  # fmt: skip
        match self.node.scenario(label.product).page:
            case "empty":
                self._say(202)
            case "other":
                self._say(202, {"X-shs-txid": str(uuid4())})
            case page if page:
                self._page(page)
            case _:
                self._say(202, headers, label.tx_id.encode(), "text/plain")

    def _page(self, page: str) -> None:
        if page == "login":
            self._say(200, {}, b"<html><form>Logga in</form></html>", "text/html; charset=utf-8")
        elif page == "gzip":
            bomb = gzip.compress(bytes(50_000_000))
            self._say(200, {"Content-Encoding": "gzip"}, bomb, "text/xml")
        else:
            self._say(302, {"Location": "https://login.example.org/"})

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        _, _, _, organisation, *rest = [*url.path.split("/"), ""]
        if organisation != self._actor():
            self._say(403)
            return
        if self._disturbed("get" if rest and rest[0] else "list"):
            return
        if page := self.node.scenario("*").page:
            self._page(page)
        elif rest and rest[0]:
            self._message(rest[0])
        else:
            self._list(organisation, parse_qs(url.query))

    def _list(self, organisation: str, query: dict[str, list[str]]) -> None:
        waiting = [
            a for a in self.node.arrived(organisation, query.get("producttype", [""])[0])
            if (query.get("filter") != ["noack"] or not (a.folder / "acknowledged").exists())
            and query.get("originator", [a.label.sender]) == [a.label.sender]
        ]  # fmt: skip
        labels = [replace(a.label, datetime=_now()) for a in waiting[: int(query.get("maxhits", ["200"])[0])]]
        self._say(200, {}, render_messages(labels), "text/xml")

    def _message(self, tx_id: str) -> None:
        found = self.node.find(tx_id)
        if found is None:
            self._say(404)
            return
        file = found.folder / "message"
        size = file.stat().st_size
        self._head(200, {}, size, "message/rfc822")
        drop, trickle = self.faults.find("get", "drop"), self.faults.find("get", "trickle")
        left = min(size, drop.bytes) if drop else size
        with file.open("rb") as raw:
            while left:
                chunk = raw.read(min(left, trickle.bytes if trickle else CHUNK))
                left -= len(chunk)
                self.wfile.write(chunk)
                if trickle:
                    time.sleep(1)
        if drop:
            self.close_connection = True

    def _acknowledge(self, path: str) -> None:
        *_, organisation, tx_id = path.split("/")
        if organisation != self._actor():
            self._say(403)
            return
        if self._disturbed("receipt"):
            return
        found = self.node.find(tx_id)
        if found is None or found.label.to != organisation:
            self._say(404)
            return
        with self.lock:
            mark = found.folder / "acknowledged"
            new = not mark.exists()
            mark.touch()
        if new and found.label.sequence != "adm":
            self.node.confirm(found.label)
        if self.faults.find("receipt", "swallow"):
            self.close_connection = True
            return
        self._say(200, {"X-shs-txid": tx_id}, tx_id.encode(), "text/plain")

    def _disturbed(self, on: str) -> bool:
        """Has a fault answered already?"""
        fault = self.faults.find(on, "drop", "refuse", "busy", "delay") if on not in ("send", "get") else (
            self.faults.find(on, "refuse", "busy", "delay"))  # fmt: skip
        if fault is None:
            return False
        if fault.kind == "delay":
            time.sleep(fault.seconds)
            return False
        self.close_connection = True
        if fault.kind != "drop":  # what comes is read, or the answer would be lost with it
            left = int(self.headers.get("Content-Length", 0))
            while left and (chunk := self.rfile.read(min(CHUNK, left))):
                left -= len(chunk)
        if fault.kind == "refuse":
            self._say(400, {"X-shs-errorcode": "MissingAgreement"})
        elif fault.kind == "busy":
            self._say(503, {"X-shs-errorcode": "OtherError"})
        return True

    def _say(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", kind: str = "text/plain"
    ) -> None:
        self._head(status, headers or {}, len(body), kind)
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str], size: int, kind: str) -> None:
        self.send_response(status)
        closes = {"Connection": "close"} if self.close_connection else {}
        for name, value in {**headers, **closes, "Content-Type": kind, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()


def _opened(raw: Any) -> tuple[str, Iterator[bytes]]:
    """The boundary of a stored message, and its body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = raw.readline(CHUNK)
        if not line:
            raise TransportRefused("a message without a body")
        head += line
    boundary = BytesHeaderParser().parsebytes(head).get_boundary()
    if not boundary:
        raise TransportRefused("a message without parts")
    return boundary, iter(lambda: raw.read(CHUNK), b"")


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        handler: Any = self.RequestHandlerClass
        if handler.faults.find("connect", "drop", "refuse", "busy"):
            return
        if self.tls is not None:
            request.settimeout(30)
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)
        if self.tls is not None:
            with suppress(OSError):
                request.unwrap()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that the node doesn't know, or that has gone


class Served:
    """A node that answers, and the certificates to reach it with: ``certificate(organisation)`` is a client's."""

    def __init__(self, root: Path, port: int = 0, certificate: Path | None = None, *, tls: bool = True) -> None:
        self.node, self.faults = Node(root), Switches(root / "faults.json")
        self.authority = Authority(root / "certificates")
        handler = type("Handler", (Handler,), {"node": self.node, "faults": self.faults})
        self.server = _Server(("127.0.0.1", port), handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate or self.authority.issue("node", hosts=("127.0.0.1", "localhost")))
            context.load_verify_locations(self.authority.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            self.server.tls = context
        self.port: int = self.server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"

    def certificate(self, organisation: str) -> Path:
        file = self.authority.folder / f"{organisation}.pem"
        return file if file.exists() else self.authority.issue(organisation)


@contextmanager
def running(root: Path, certificate: Path | None = None, *, tls: bool = True) -> Iterator[Served]:
    """A node in a thread of this process."""
    served = Served(root, certificate=certificate, tls=tls)
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve")
    serve.add_argument("folder", type=Path)
    serve.add_argument("--port-file", type=Path, required=True)
    serve.add_argument("--port", type=int, default=0)
    arrived = commands.add_parser("arrived")
    arrived.add_argument("folder", type=Path)
    arrived.add_argument("--to", default="")
    send = commands.add_parser("send")
    send.add_argument("folder", type=Path)
    send.add_argument("file", type=Path)
    for name in ("--sender", "--product"):
        send.add_argument(name, required=True)
    send.add_argument("--to", default=CITY)
    send.add_argument("--answers", default="")
    options = parser.parse_args()
    if options.command == "arrived":
        for a in Node(options.folder).arrived(options.to):
            print(json.dumps({"id": a.id, "product": a.label.product, "name": a.name, "folder": str(a.folder)}))
    elif options.command == "send":
        print(Node(options.folder).send(
            options.file.name, options.file, sender=options.sender, to=options.to,
            product=options.product, answers=options.answers,
        ))  # fmt: skip
    else:
        served = Served(options.folder, options.port)
        served.certificate(CITY)
        written = options.port_file.with_suffix(f".{os.getpid()}.part")
        written.write_text(f"{served.port}\n")
        written.rename(options.port_file)
        served.server.serve_forever()


if __name__ == "__main__":
    main()
