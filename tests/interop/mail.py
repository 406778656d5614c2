"""Postfix, Dovecot and nginx on loopback, each with a configuration of its own in a temporary folder.

nginx is an installed one or an unpacked one (``make interop``). Postfix and Dovecot start programs of their own by the
places where Debian installs them, and want root: they are skipped where they aren't installed.
"""

from __future__ import annotations

import grp
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.packages import program
from tests.interop.servers import Setting, started

GATEWAY = "x400.example.org"


def anywhere(path: str) -> Path:
    """A program, installed or unpacked."""
    installed = Path("/") / path
    if installed.exists():
        return installed
    if (file := program(path)) is None:
        pytest.skip(f"{path} isn't there, or lacks libraries: make interop unpacks it from Debian's packages")
    return file


def installed(path: str, package: str) -> Path:
    """A program that runs from where Debian installs it only, and as root."""
    if not (Path("/") / path).exists():
        pytest.skip(f"/{path} isn't there: make interop INSTALL=1 installs {package}, as root")
    if os.geteuid() != 0:
        pytest.skip(f"/{path} wants root")
    return Path("/") / path


@contextmanager
def postfix(mailboxes: Path, refusing: int) -> Iterator[Setting]:
    """An MTA with TLS that delivers ``x400.example.org`` to Maildirs (``city`` and ``partner``), and hands what is for
    ``refusing.example.org`` to a server on port ``refusing``."""
    command = installed("usr/sbin/postfix", "postfix")
    s = Setting()
    owner, group = s.owner.pw_name, grp.getgrgid(next(g for g in (8, 12, 60) if g != s.owner.pw_gid)).gr_name
    for name in ("queue", "data"):
        (s.home / name).mkdir()
    os.chown(s.home / "data", s.owner.pw_uid, s.owner.pw_gid)  # its mail_owner's
    s.home.chmod(0o755)
    os.chown(s.home, 0, 0)
    (s.home / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {s.home}/queue
data_directory = {s.home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
mail_owner = {owner}
setgid_group = {group}
default_privs = nobody
myhostname = {GATEWAY}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {GATEWAY}
virtual_mailbox_base = {mailboxes}
virtual_mailbox_maps = regexp:{s.home}/mailboxes
virtual_uid_maps = static:{s.owner.pw_uid}
virtual_gid_maps = static:{s.owner.pw_gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
message_size_limit = 0
relay_domains = refusing.example.org
transport_maps = regexp:{s.home}/transports
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {s.home}/server.pem
smtpd_tls_key_file = {s.home}/server.pem
smtp_tls_security_level = none
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_discard_ehlo_keywords = chunking
maillog_file_prefixes = {s.home}
maillog_file = {s.home}/maillog
bounce_size_limit = 50000
""")
    (s.home / "mailboxes").write_text("/^stockholm@/ city/\n/^\\/O=CSN\\//  partner/\n")
    (s.home / "transports").write_text(f"/@refusing\\.example\\.org$/ smtp:[127.0.0.1]:{refusing}\n")
    services = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
    (s.home / "master.cf").write_text(services.format(port=s.port))
    for name in ("main.cf", "master.cf", "mailboxes", "transports"):
        (s.home / name).chmod(0o644)
    try:
        with started(s, [str(command), "-c", str(s.home), "start-fg"]):
            yield s
    finally:
        subprocess.run([str(command), "-c", str(s.home), "stop"], capture_output=True, check=False)


@contextmanager
def dovecot(mailboxes: Path) -> Iterator[Setting]:
    """An IMAP server with TLS over Maildirs: the user ``city`` has the folder ``city``."""
    command = installed("usr/lib/dovecot/imap", "dovecot-imapd").parents[2] / "sbin" / "dovecot"
    s = Setting()
    (s.home / "dovecot.conf").write_text(f"""
base_dir = {s.home}/run
state_dir = {s.home}/state
log_path = {s.home}/dovecot.log
protocols = imap
listen = 127.0.0.1
default_internal_user = {s.owner.pw_name}
default_internal_group = {grp.getgrgid(s.owner.pw_gid).gr_name}
default_login_user = nobody
first_valid_uid = 1
first_valid_gid = 1
ssl = required
ssl_cert = <{s.home}/server.pem
ssl_key = <{s.home}/server.pem
mail_location = maildir:{mailboxes}/%u
passdb {{
  driver = static
  args = password=sandbox
}}
userdb {{
  driver = static
  args = uid={s.owner.pw_uid} gid={s.owner.pw_gid} home={mailboxes}/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {s.port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
""")
    with started(s, [str(command), "-F", "-c", str(s.home / "dovecot.conf")]):
        yield s


@contextmanager
def nginx(node: int, certificates: Path) -> Iterator[str]:
    """A front with TLS, which asks for a client's certificate, before a node that listens on port ``node``."""
    command, s = anywhere("usr/sbin/nginx"), Setting()
    s.write(
        "nginx.conf",
        f"""
daemon off;
worker_processes 1;
error_log {s.home}/error.log;
pid {s.home}/pid;
{"user " + s.owner.pw_name + " " + grp.getgrgid(s.owner.pw_gid).gr_name + ";" if os.geteuid() == 0 else ""}
events {{}}
http {{
  access_log off;
  client_body_temp_path {s.home}/body;
  proxy_temp_path {s.home}/proxy;
  fastcgi_temp_path {s.home}/f;
  uwsgi_temp_path {s.home}/u;
  scgi_temp_path {s.home}/s;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{s.port} ssl;
    ssl_certificate {certificates}/front.pem;
    ssl_certificate_key {certificates}/front.pem;
    ssl_client_certificate {certificates}/ca.pem;
    ssl_verify_client on;
    location /shs/ {{
      proxy_pass http://127.0.0.1:{node};
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header X-client-cn $ssl_client_s_dn;
    }}
  }}
}}
""",
    )
    with started(s, [str(command), "-c", str(s.home / "nginx.conf")]):
        yield f"https://127.0.0.1:{s.port}"
