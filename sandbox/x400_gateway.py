"""A MIXER gateway on loopback, and the X.400 partners behind it: SMTP in from the city, IMAP out to it, both with TLS.

    python -m sandbox.x400_gateway serve FOLDER --ports FILE
    python -m sandbox.x400_gateway arrived FOLDER
    python -m sandbox.x400_gateway send FOLDER FILE --sender "/O=CSN/PRMD=CSN/C=SE/" [--answers ID]

What arrived at the partners stands in ``arrived``, what waits for the city in ``mailboxes``. What a partner does with a
message is in ``scenario.json``: its delivery report, its read notification, for each recipient or for all (``*``). What
goes wrong is in ``faults.json``: ``connect`` and ``send`` here, ``login list get remove`` at the mailbox.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from io import BytesIO
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import unquote

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from sandbox.certificates import Authority
from sandbox.faults import Switches
from sandbox.imap_server import Session
from sandbox.mailstore import Node, Store, index, leaves

USER, PASSWORD, GATEWAY, CITY = "slussen", "sandbox", "x400.example.org", "stockholm@x400.example.org"
CHUNK = 1 << 18
DSN = re.compile(r"\s(RET|ENVID|NOTIFY|ORCPT)=(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a partner does with what arrives; ``delivery``: delivered relayed failed delayed none; ``read``: displayed
    deleted none; ``copies`` of each report; ``mailbox`` is where the city looks for its reports."""

    delivery: str = "delivered"
    read: str = "none"
    code: str = ""
    copies: int = 1
    mailbox: str = "INBOX"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message at the partner's: the file that it brought, and the message that it says it answers."""

    id: str
    recipient: str
    name: str
    answers: str
    file: Path = field(repr=False)
    _part: Node = field(repr=False)

    def read(self) -> bytes:
        from slussen.transports.mime import Decoder

        decoder = Decoder(str(self._part.headers.get("Content-Transfer-Encoding", "")))
        with self.file.open("rb") as raw:
            raw.seek(self._part.body[0])
            return decoder.decode(raw.read(self._part.body[1] - self._part.body[0])) + decoder.finish()


class Partners:
    """The X.400 side of a gateway's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mailboxes, self._arrived = Store(root / "mailboxes"), Store(root)

    def arrived(self, recipient: str = "") -> list[Arrived]:
        """What has arrived, in its order: at all partners, or at one's X.400 address."""
        found = [self._one(number) for number in self._arrived.numbers("arrived")]
        return [a for a in found if not recipient or a.recipient.casefold() == recipient.casefold()]

    def _one(self, number: int) -> Arrived:
        from slussen.transports.mime import filename
        from slussen.transports.oraddress import from_smtp

        path = self._arrived.path("arrived", number)
        node = index(path)
        part = next((leaf for leaf in leaves(node) if leaf.headers.get_content_disposition() == "attachment"), node)
        h = node.headers
        recipient = from_smtp(str(h.get("To", "")))
        return Arrived(
            str(h.get("Message-ID", "")), recipient, filename(part.headers), str(h.get("In-Reply-To", "")), path, part
        )  # fmt: skip

    def scenario(self, recipient: str) -> Scenario:
        file = self.root / "scenario.json"
        known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return Scenario(**known.get(recipient, known.get("*", {})))

    def play(self, scenario: Scenario, recipient: str = "*") -> None:
        file = self.root / "scenario.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | {recipient: asdict(scenario)}, indent=1))

    def send(
        self, name: str, content: bytes | Path, *, sender: str, answers: str = "", identity: str = "",
        mailbox: str = "INBOX", wants_receipt: bool = False,
    ) -> str:  # fmt: skip
        """Send the city a file, of any size; the message's id."""
        from slussen.transports.mime import base64_lines

        identity = identity or f"<{token_hex(12)}@{GATEWAY}>"
        head = {
            "Message-ID": identity, "In-Reply-To": answers,
            "Disposition-Notification-To": _smtp(sender) if wants_receipt else "",
        }  # fmt: skip
        part = (
            'Content-Type: multipart/mixed; boundary="=_part"\r\n\r\n--=_part\r\n'
            "Content-Type: text/plain\r\n\r\nA file.\r\n\r\n--=_part\r\n"
            f"Content-Type: application/octet-stream\r\n{_named(name)}Content-Transfer-Encoding: base64\r\n\r\n"
        ).encode()
        with content.open("rb") if isinstance(content, Path) else BytesIO(content) as source:
            self._to_the_city(mailbox, head, sender, chain([part], base64_lines(source), [b"\r\n--=_part--\r\n"]))
        return identity

    def report(
        self, about: str, *, recipient: str, delivery: str = "delivered", code: str = "", mailbox: str = "INBOX",
        envelope: bool = True,
    ) -> None:  # fmt: skip
        """A delivery report on a message of the city's, as MIXER makes one (RFC 2157)."""
        from slussen.transports.reports import to_xtext

        code = code or {"delivered": "2.0.0", "relayed": "2.0.0", "delayed": "4.4.1"}.get(delivery, "5.1.1")
        known = f"Original-Envelope-Id: {to_xtext(about)}\r\n" if envelope else ""
        body = (
            'Content-Type: multipart/report; report-type=delivery-status; boundary="=_r"\r\n\r\n--=_r\r\n'
            "Content-Type: text/plain\r\n\r\nThis report relates to your message.\r\n\r\n--=_r\r\n"
            "Content-Type: message/delivery-status\r\n\r\n"
            f"{known}Reporting-MTA: x400; mta in /PRMD=SANDBOX/C=SE/\r\n\r\n"
            f"Original-Recipient: rfc822;{to_xtext(_smtp(recipient))}\r\nFinal-Recipient: rfc822;{_smtp(recipient)}\r\n"
            f"Action: {delivery}\r\nStatus: {code}\r\n\r\n--=_r\r\n"
            f"Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: {about}\r\n\r\n--=_r--\r\n"
        ).encode()
        self._to_the_city(mailbox, {"Message-ID": f"<{token_hex(12)}@{GATEWAY}>"}, f"postmaster@{GATEWAY}", [body])

    def notify(
        self, about: str, *, recipient: str, read: str = "displayed", mailbox: str = "INBOX", sender: str = ""
    ) -> None:
        """A receipt notification on a message of the city's."""
        body = (
            'Content-Type: multipart/report; report-type=disposition-notification;\r\n boundary="=_r"\r\n\r\n'
            "--=_r\r\nContent-Type: text/plain\r\n\r\nIt was read.\r\n\r\n--=_r\r\n"
            "Content-Type: message/disposition-notification\r\n\r\n"
            f"Final-Recipient: rfc822;{_smtp(recipient)}\r\nOriginal-Message-ID: {about}\r\n"
            f"Disposition: manual-action/MDN-sent-manually; {read}\r\n\r\n--=_r--\r\n"
        ).encode()
        self._to_the_city(mailbox, {"Message-ID": f"<{token_hex(12)}@{GATEWAY}>"}, sender or recipient, [body])

    def _to_the_city(self, mailbox: str, head: dict[str, str], sender: str, body: Iterable[bytes]) -> None:
        lines = {**head, "Date": formatdate(), "From": _smtp(sender), "To": CITY, "MIME-Version": "1.0"}
        draft = self.root / f".outgoing-{token_hex(8)}"
        with draft.open("wb") as out:
            out.write("".join(f"{k}: {v}\r\n" for k, v in lines.items() if v).encode())
            out.writelines(body)
        self.mailboxes.add(mailbox, draft)

    def take(self, draft: Path, options: dict[str, str]) -> None:
        """A message from the city: keep it, and do as the scenario says."""
        self._arrived.add("arrived", draft)
        arrived = self._one(self._arrived.numbers("arrived")[-1])
        scenario = self.scenario(arrived.recipient)
        about = unquote(options.get("ENVID", "").replace("+", "%")) or arrived.id
        wanted = options.get("NOTIFY", "").upper()
        for _ in range(scenario.copies):
            if scenario.delivery != "none" and wanted and wanted != "NEVER":
                self.report(
                    about, recipient=arrived.recipient, delivery=scenario.delivery, code=scenario.code,
                    mailbox=scenario.mailbox,
                )  # fmt: skip
            if scenario.read != "none":
                self.notify(arrived.id, recipient=arrived.recipient, read=scenario.read, mailbox=scenario.mailbox)


def _smtp(address: str) -> str:
    return f'"{address}"@{GATEWAY}' if address.startswith("/") else address


def _named(name: str) -> str:
    from urllib.parse import quote

    return f"Content-Disposition: attachment; filename*=utf-8''{quote(name)}\r\n"


class _Sink:
    """aiosmtpd's handler: takes recipients, and tells that delivery reports can be had."""

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: Any) -> Any:
        session.host_name = hostname
        return [*responses[:-1], "250-DSN", responses[-1]]


class Front(SMTP):
    """aiosmtpd, with messages written to the disk as they come, and RFC 3461's parameters."""

    line_length_limit = 1 << 20
    partners: Partners
    faults: Switches

    def connection_made(self, transport: Any) -> None:
        if self.faults.find("connect", "drop", "refuse", "busy"):
            transport.abort()
            return
        super().connection_made(transport)

    async def smtp_MAIL(self, arg: str | None) -> None:
        await super().smtp_MAIL(self._without_options(arg))

    async def smtp_RCPT(self, arg: str | None) -> None:
        await super().smtp_RCPT(self._without_options(arg))

    def _without_options(self, arg: str | None) -> str | None:
        if arg and arg.upper().startswith("FROM"):
            self.options: dict[str, str] = {}
        self.options.update({k.upper(): v for k, v in DSN.findall(arg or "")})
        return DSN.sub("", arg) if arg else arg

    async def smtp_DATA(self, arg: str | None) -> None:
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        assert self.envelope is not None
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Error: need RCPT command")
            return
        if delay := self.faults.find("send", "delay"):
            await asyncio.sleep(delay.seconds)
        if no := self.faults.find("send", "refuse", "busy"):
            await self.push("550 5.7.1 not wanted here" if no.kind == "refuse" else "451 4.3.0 try again later")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        draft = self.partners.root / f".incoming-{token_hex(8)}"
        try:
            full = await self._write(draft)
            if full:
                await self.push("452 4.3.1 no space left")
                return
            swallow = self.faults.find("send", "swallow")
            self.partners.take(draft, self.options)
            if swallow:
                self._abort()
                return
            await self.push(f"250 2.0.0 Ok: queued as {token_hex(5).upper()}")
        finally:
            draft.unlink(missing_ok=True)
            self._set_post_data_state()  # type: ignore[no-untyped-call]

    def _abort(self) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.abort()

    async def _write(self, draft: Path) -> bool:
        """To the disk, up to the single dot; True when the disk is full."""
        drop, full = self.faults.find("send", "drop"), self.faults.find("send", "full")
        trickle = self.faults.find("send", "trickle")
        written, held = 0, b"\r\n"
        with draft.open("wb") as out:
            while True:
                chunk = await self._reader.read(CHUNK)
                if not chunk:
                    raise ConnectionResetError
                if trickle:
                    await asyncio.sleep(trickle.seconds or 1)
                held += chunk
                end = held.find(b"\r\n.\r\n")
                body = held[: end + 2] if end >= 0 else held[:-5]
                rest = held[len(body) :]
                data = body.replace(b"\r\n..", b"\r\n.")
                if not written:
                    data = data[2:]
                written += len(data)
                if drop and written > drop.bytes:
                    self._abort()
                    raise ConnectionResetError
                if not (full and written > full.bytes):
                    out.write(data)
                if end >= 0:
                    return bool(full and written > full.bytes)
                held = rest


class Gateway:
    """The gateway's two servers over its folder; TLS with a certificate of ``Authority``."""

    def __init__(self, root: Path, certificate: Path | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.partners, self.faults = root, Partners(root), Switches(root / "faults.json")
        authority = Authority(root / "certificates")
        self.ca = authority.ca
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate or authority.issue("gateway", hosts=("127.0.0.1", "localhost")))
        self.smtp_port = self.imap_port = 0

    async def start(self, smtp_port: int = 0, imap_port: int = 0) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # connections that break are what it is for
        front = type("Front", (Front,), {"partners": self.partners, "faults": self.faults})

        def accept() -> SMTP:
            made: SMTP = front(
                _Sink(), hostname=GATEWAY, tls_context=self._tls, require_starttls=True, auth_required=True,
                authenticator=_authenticated, data_size_limit=None, loop=loop,
            )  # fmt: skip
            return made

        smtp = await loop.create_server(accept, "127.0.0.1", smtp_port)
        imap = await asyncio.start_server(self._imap, "127.0.0.1", imap_port, ssl=self._tls, limit=1 << 20)
        self.smtp_port, self.imap_port = (s.sockets[0].getsockname()[1] for s in (smtp, imap))
        return [smtp, imap]

    async def _imap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Session(self.partners.mailboxes, {USER: PASSWORD}, self.faults, reader, writer).run()


def _authenticated(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=good)


@contextmanager
def running(root: Path, certificate: Path | None = None) -> Iterator[Gateway]:
    """A gateway in a thread of this process."""
    gateway, loop = Gateway(root, certificate), asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    ready = threading.Event()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        servers = loop.run_until_complete(gateway.start())
        ready.set()
        loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait(20)
    try:
        yield gateway
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve")
    serve.add_argument("folder", type=Path)
    serve.add_argument("--ports", type=Path, required=True, help="file to write the two ports to: SMTP, IMAP")
    arrived = commands.add_parser("arrived")
    arrived.add_argument("folder", type=Path)
    send = commands.add_parser("send")
    send.add_argument("folder", type=Path)
    send.add_argument("file", type=Path)
    send.add_argument("--sender", required=True)
    send.add_argument("--answers", default="")
    send.add_argument("--mailbox", default="INBOX")
    options = parser.parse_args()
    if options.command == "arrived":
        for a in Partners(options.folder).arrived():
            print(json.dumps({"id": a.id, "recipient": a.recipient, "name": a.name, "file": str(a.file)}))
    elif options.command == "send":
        print(Partners(options.folder).send(
            options.file.name, options.file, sender=options.sender, answers=options.answers,
            mailbox=options.mailbox,
        ))  # fmt: skip
    else:
        with running(options.folder) as gateway:
            written = options.ports.with_suffix(".part")
            written.write_text(f"{gateway.smtp_port} {gateway.imap_port}\n")
            written.rename(options.ports)
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
