"""The partners' servers, each a process of its own on loopback, and the places that Airflow's connections name.

Below ``partners`` in the state folder: ``shared`` are directories, ``hanna`` is the mainframe's host (files, datasets),
``ftp`` an FTP server of several partners, ``sftp`` a server for each, ``x400`` the gateway, ``shs`` the node, ``mail``
the city's own mail server. In most of them ``faults.json`` is the partner's switches (``faults.py``).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from sandbox import answering, ftp_server, processes, sftp_server, shs_node, x400_gateway
from slussen import settings

SHARED = ("agresso_kund", "agresso_a02", "lis", "profdoc", "education_statistics", "kir")
FTP = ("agresso_hb", "ergo", "volvo")
SFTP = ("csn", "skv", "hanna", "fronter")
# Who is behind the gateway, and in which of the city's mailboxes it is heard from: its name in capitals.
X400 = {"csn": answering.CSN, "infodata": answering.INFODATA, "kir": "/O=RSV/PRMD=RSV/C=SE/"}
# Organisation numbers of the sandbox's own: of the right form, and nobody's.
SHS = {"csn": "0000000018", "skv": "0000000026", "profdoc": "0000000034", "usk": "0000000042"}
LOGIN = ("HOST", "PORT", "USER", "PASSWORD")
SECONDS = 20


@dataclass
class Servers:
    """The servers below a state folder's ``partners``; ``places`` fills ``airflow_settings.yaml`` once they are up."""

    home: Path
    places: dict[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def partners(self) -> Path:
        return self.home / "partners"

    def shared(self, name: str) -> Path:
        return self.partners / "shared" / name

    def folder(self, name: str) -> Path:
        """Where a partner's files stand: a folder of the FTP server, or an SFTP server's."""
        if name in FTP:
            return self.partners / "ftp" / "files" / name
        return self.partners / "sftp" / name / "files"

    @property
    def hanna(self) -> Path:
        return self.partners / "hanna"

    @property
    def x400(self) -> x400_gateway.Partners:
        return x400_gateway.Partners(self.partners / "x400")

    @property
    def shs(self) -> shs_node.Node:
        return shs_node.Node(self.partners / "shs")

    def population(self, name: str, content: bytes | Path) -> None:
        """A population file comes in the mail: its bytes, or a file of any size."""
        self.x400.send(name, content, sender=X400["kir"], mailbox="KIR")

    def received(self, transport: str, connection: str, name: str, message: str = "") -> bytes | None:
        """What a partner has under this name, or as this message; None when there is nothing.

        ``transport`` and ``connection`` are those of the endpoint that it was delivered to.
        """
        match transport:
            case "x400":
                return next((a.read() for a in self.x400.arrived() if a.id == message), None)
            case "shs":
                found = self.shs.find(message)
                return found.read() if found is not None else None
            case _:
                file = self.place(transport, connection) / name
                return file.read_bytes() if file.exists() else None

    def place(self, transport: str, connection: str) -> Path:
        """The folder at the partner that an endpoint of files delivers to."""
        match transport:
            case "directory":
                return self.shared(connection)
            case "mvs":
                return self.hanna / "datasets"
            case _:
                return self.folder(connection.removesuffix("_ftp").removesuffix("_sftp"))

    def mails(self) -> Iterator[EmailMessage]:
        """What the city's mail server has taken, in no order."""
        new = self.partners / "mail" / "new"
        return (
            message_from_bytes(f.read_bytes(), policy=policy.default) for f in (new.iterdir() if new.exists() else ())
        )

    def start(self) -> None:
        """Start them all, and wait until they answer.

        Raises:
            TimeoutError: one doesn't in twenty seconds.
        """
        for name in SHARED:
            self.shared(name).mkdir(parents=True, exist_ok=True)
        for name in FTP:
            self.folder(name).mkdir(parents=True, exist_ok=True)
        started = {
            "hanna": self._start("hanna", "sandbox.ftp_server", "--root", str(self.hanna), "--ports"),
            "ftp": self._start("ftp", "sandbox.ftp_server", "--root", str(self.partners / "ftp"), "--ports"),
            "sftp": self._start("sftp", "sandbox.sftp_server", *SFTP, "--root", str(self.partners / "sftp"), "--ports"),
            "x400": self._start("x400", "sandbox.x400_gateway", "serve", str(self.partners / "x400"), "--ports"),
            "shs": self._start("shs", "sandbox.shs_node", "serve", str(self.partners / "shs"), "--port-file"),
        }
        ports = {name: self._ports(name, file) for name, file in started.items()}
        for name, address in X400.items():
            self.x400.play(x400_gateway.Scenario(mailbox=name.upper()), address)
        mail = self._start_mail()
        self.places = self._places(ports, mail)

    def stop(self) -> None:
        processes.stop(self._started)
        self._started = []

    def _start(self, name: str, module: str, *arguments: str) -> Path:
        ports = self.home / f"{name}-ports"
        ports.unlink(missing_ok=True)
        command = [sys.executable, "-m", module, *arguments, str(ports)]
        self._started.append(
            processes.start(command, log=self.home / "logs" / f"{name}.log", cwd=settings.ROOT, pids=self.home / "pids")
        )
        return ports

    def _ports(self, name: str, file: Path) -> list[str]:
        processes.wait_until(file.exists, seconds=SECONDS, what=f"the sandbox's {name} server")
        return file.read_text().split()

    def _start_mail(self) -> int:
        """aiosmtpd's own server, which keeps what comes in a Maildir."""
        from sandbox.airflow import free_port

        port, maildir = free_port(0), self.partners / "mail"
        command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}", "-c",
                   "aiosmtpd.handlers.Mailbox", str(maildir)]  # fmt: skip
        self._started.append(
            processes.start(command, log=self.home / "logs" / "mail.log", cwd=settings.ROOT, pids=self.home / "pids")
        )
        processes.wait_until((maildir / "new").exists, seconds=SECONDS, what="the sandbox's mail server")
        return port

    def _places(self, ports: dict[str, list[str]], mail: int) -> dict[str, str]:
        sftp = dict(zip(ports["sftp"][::2], ports["sftp"][1::2], strict=True))
        smtp, imap = ports["x400"]
        certificates = self.partners / "shs" / "certificates"
        places = {
            "QUIET_SECONDS": "1", "RECEIPTS_SECONDS": "1",
            "HANNA_HOST": "127.0.0.1", "HANNA_FTP_PORT": ports["hanna"][0], "HANNA_MVS_PORT": ports["hanna"][1],
            "HANNA_USER": ftp_server.USER, "HANNA_PASSWORD": ftp_server.PASSWORD,
            "X400_HOST": "127.0.0.1", "X400_SMTP_PORT": smtp, "X400_IMAP_PORT": imap, "X400_USER": x400_gateway.USER,
            "X400_PASSWORD": x400_gateway.PASSWORD, "X400_GATEWAY": x400_gateway.GATEWAY,
            "X400_CITY": x400_gateway.CITY, "X400_CA": str(self.partners / "x400" / "certificates" / "ca.pem"),
            "SHS_URL": f"https://127.0.0.1:{ports['shs'][0]}", "SHS_CA": str(certificates / "ca.pem"),
            "SHS_CERTIFICATE": str(certificates / f"{shs_node.CITY}.pem"), "SHS_CITY": shs_node.CITY,
            "MAIL_HOST": "127.0.0.1", "MAIL_PORT": str(mail),
        }  # fmt: skip
        for name in SHARED:
            places[f"{name.upper()}_FOLDER"] = str(self.shared(name))
        for name in SFTP:
            login = ("127.0.0.1", sftp[name], sftp_server.USER, sftp_server.PASSWORD)
            places |= {f"{name.upper()}_SFTP_{what}": value for what, value in zip(LOGIN, login, strict=True)}
            key = self.partners / "sftp" / name / "host_key.pub"
            places[f"{name.upper()}_SFTP_HOST_KEY"] = key.read_text().strip()
        for name in FTP:
            login = ("127.0.0.1", ports["ftp"][0], ftp_server.USER, ftp_server.PASSWORD)
            places |= {f"{name.upper()}_FTP_{what}": value for what, value in zip(LOGIN, login, strict=True)}
        for name, address in X400.items():
            places[f"{name.upper()}_X400"] = address
        for name, organisation in SHS.items():
            places[f"{name.upper()}_SHS"] = organisation
        return places
