"""OpenSSH, vsftpd and ProFTPD on loopback, each with a configuration of its own in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import trustme

from sandbox import processes
from slussen.transports.ftp import Ftp
from slussen.transports.sftp import Sftp
from tests.interop.packages import ROOT, libraries, program
from tests.transports.places import Place, emptied

USER, PASSWORD = "slussen", "sandbox"
HASHED = "$6$slussen$x13kFy4J8Ue.mwJNImwhsY.xX2uzQhwdaVey3VNF8.nTyBaj2fCS./SAHfg/KRSYvMJ6Rtjw0v4wYQZkQGY1P."
NAMES = ("FD-F29-å.txt", "B.txt")


@dataclass
class Running:
    """A server that is up: what it serves, and how to reach it."""

    folder: Path
    port: int
    open: Callable[..., Any]
    login: dict[str, Any]

    def place(self) -> Place:
        return Place(self.open, emptied(self.folder), NAMES)


class Setting:
    """A temporary folder with keys and certificates, owned by whom the servers run as."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="slussen-interop-"))
        self.home.chmod(0o755)
        self.files = self.home / "files"
        self.files.mkdir()
        self.owner = pwd.getpwnam("daemon") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.port = free_port()
        ca, self.ca = trustme.CA(), self.home / "ca.pem"
        ca.cert_pem.write_to_path(str(self.ca))
        cert = ca.issue_cert("127.0.0.1", "localhost")
        cert.private_key_and_cert_chain_pem.write_to_path(str(self.home / "server.pem"))
        self.private = asyncssh.generate_private_key("ssh-ed25519")
        self.private.write_public_key(self.home / "authorized_keys")
        host = asyncssh.generate_private_key("ssh-rsa", key_size=3072)
        host.write_private_key(self.home / "host_key", "pkcs1-pem")
        (self.home / "host_key").chmod(0o600)
        self.host_key = host.export_public_key().decode()
        self.own()

    def own(self) -> None:
        for file in (self.home, *self.home.rglob("*")):
            os.chown(file, self.owner.pw_uid, self.owner.pw_gid)

    def write(self, name: str, text: str) -> Path:
        file = self.home / name
        file.write_text(text)
        file.chmod(0o600)
        os.chown(file, 0 if os.geteuid() == 0 else self.owner.pw_uid, -1)
        return file


@contextmanager
def started(setting: Setting, command: list[str], *, user: int | None = None) -> Iterator[None]:
    process = processes.start(
        command, log=setting.home / "log", user=user, env={**os.environ, "LD_LIBRARY_PATH": libraries()}
    )
    try:
        try:
            processes.wait_until(lambda: answers(setting.port), seconds=10, what=command[0])
        except TimeoutError as error:
            raise RuntimeError((setting.home / "log").read_text()[-2000:]) from error
        yield
    finally:
        processes.stop([process])
        shutil.rmtree(setting.home)


@contextmanager
def openssh() -> Iterator[Running]:
    sshd, s = found("usr/sbin/sshd"), Setting()
    s.write("sshd_config", f"""
        ListenAddress 127.0.0.1:{s.port}
        HostKey {s.home}/host_key
        AuthorizedKeysFile {s.home}/authorized_keys
        PidFile none
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        Subsystem sftp internal-sftp
        ForceCommand internal-sftp
    """)  # fmt: skip
    s.own()
    user = s.owner.pw_uid if os.geteuid() == 0 else None
    login: dict[str, Any] = {
        "host": "127.0.0.1", "port": s.port, "user": s.owner.pw_name, "host_key": s.host_key, "folder": str(s.files),
        "private_key": s.private.export_private_key().decode(),
    }  # fmt: skip
    with started(s, [str(sshd), "-D", "-e", "-f", f"{s.home}/sshd_config"], user=user):
        yield Running(s.files, s.port, lambda **more: Sftp(**login | more), login)


@contextmanager
def vsftpd(*, tls: bool = False) -> Iterator[Running]:
    program, s = found("usr/sbin/vsftpd"), Setting()
    (s.home / "empty").mkdir()
    if os.geteuid() == 0:
        os.chown(s.home, 0, 0)  # it refuses to serve a folder that its user may change
    yes = f"""
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
rsa_cert_file={s.home}/server.pem
rsa_private_key_file={s.home}/server.pem
"""
    s.write("vsftpd.conf", f"""listen=YES
listen_address=127.0.0.1
listen_port={s.port}
background=NO
anonymous_enable=YES
no_anon_password=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_root={s.home}
anon_umask=022
allow_writeable_chroot=YES
ftp_username={s.owner.pw_name}
nopriv_user={s.owner.pw_name}
secure_chroot_dir={s.home}/empty
seccomp_sandbox=NO
{"" if os.geteuid() == 0 else "run_as_launching_user=YES"}
{yes if tls else ""}""")  # fmt: skip
    login: dict[str, Any] = {
        "host": "127.0.0.1", "port": s.port, "user": "anonymous", "password": "x",
        "folder": "files",
    }  # fmt: skip
    secured = {"tls": True, "ca": str(s.ca)} if tls else {}
    with started(s, [str(program), str(s.home / "vsftpd.conf")]):
        yield Running(s.files, s.port, lambda **more: Ftp(**login | secured | more), login | secured)


@contextmanager
def proftpd(*, tls: bool = False, sftp: bool = False) -> Iterator[Running]:
    program, s = found("usr/sbin/proftpd"), Setting()
    s.write("passwd", f"{USER}:{HASHED}:{s.owner.pw_uid}:{s.owner.pw_gid}::{s.files}:/bin/sh\n")
    os.chown(s.home / "passwd", s.owner.pw_uid, -1)
    more = f"TLSEngine on\nTLSRequired on\nTLSLog {s.home}/tls.log\nTLSRSACertificateFile {s.home}/server.pem\n" \
        f"TLSRSACertificateKeyFile {s.home}/server.pem\n" if tls else ""  # fmt: skip
    if sftp:
        more = f"SFTPEngine on\nSFTPHostKey {s.home}/host_key\nSFTPLog {s.home}/sftp.log\nSFTPAuthMethods password\n"
    s.write("proftpd.conf", f"""ServerType standalone
ServerName slussen
DefaultAddress 127.0.0.1
Port {s.port}
UseIPv6 off
User {s.owner.pw_name}
Group {s.owner.pw_gid}
ModulePath {ROOT}/usr/lib/proftpd
LoadModule mod_tls.c
LoadModule mod_digest.c
LoadModule mod_sftp.c
AuthPAM off
AuthOrder mod_auth_file.c
AuthUserFile {s.home}/passwd
RequireValidShell off
AllowOverwrite on
AllowStoreRestart on
UseReverseDNS off
WtmpLog off
DelayEngine off
PidFile {s.home}/pid
ScoreboardFile {s.home}/scoreboard
SystemLog {s.home}/system.log
{more}""".replace(f"Group {s.owner.pw_gid}", f"Group {group(s.owner.pw_gid)}"))  # fmt: skip
    login: dict[str, Any] = {"host": "127.0.0.1", "port": s.port, "user": USER, "password": PASSWORD}
    with started(s, [str(program), "-n", "-c", str(s.home / "proftpd.conf")]):
        if sftp:
            login["host_key"] = s.host_key
            yield Running(s.files, s.port, lambda **m: Sftp(**login | m), login)
        else:
            secured = {"tls": True, "ca": str(s.ca)} if tls else {}
            yield Running(s.files, s.port, lambda **m: Ftp(**login | secured | m), login | secured)


SERVERS: dict[str, Callable[[], Any]] = {
    "openssh": openssh,
    "proftpd-sftp": lambda: proftpd(sftp=True),
    "vsftpd": vsftpd,
    "vsftpd-tls": lambda: vsftpd(tls=True),
    "proftpd": proftpd,
    "proftpd-tls": lambda: proftpd(tls=True),
}


def found(path: str) -> Path:
    if (file := program(path)) is None:
        pytest.skip(f"{path} isn't there, or lacks libraries: make interop unpacks it from Debian's packages")
    return file


def group(number: int) -> str:
    import grp

    return grp.getgrgid(number).gr_name


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return int(s.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
