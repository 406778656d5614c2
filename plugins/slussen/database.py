"""Connections to PostgreSQL that don't hang, and the schema's migrations. Knows no Airflow."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

from slussen.errors import TechnicalError, redacted

CONNECT_TIMEOUT = 10  # seconds
LOCK_TIMEOUT = 30  # seconds
STATEMENT_TIMEOUT = 15 * 60  # seconds: a gate over two million rows takes one minute
Connection = psycopg.Connection[tuple[Any, ...]]


def connect(dsn: str, autocommit: bool = False, *, statement_timeout: int = STATEMENT_TIMEOUT) -> Connection:
    """Open a connection; as a context manager it commits, or rolls back on an error, and closes.

    ``statement_timeout`` is in seconds; a transaction left idle is ended after as long, so that a worker that was
    stopped in the middle of one doesn't hold its locks for ever.

    Raises:
        TechnicalError: no connection within ten seconds.
    """
    with redacted("connecting to PostgreSQL"):
        return psycopg.connect(dsn, autocommit=autocommit, **_parameters(dsn, statement_timeout))


def _parameters(dsn: str, statement_timeout: int) -> dict[str, Any]:
    own = psycopg.conninfo.conninfo_to_dict(dsn)
    settings = {
        "lock_timeout": f"{LOCK_TIMEOUT}s",
        "statement_timeout": f"{statement_timeout}s",
        "idle_in_transaction_session_timeout": f"{statement_timeout}s",
        "timezone": "UTC",
    }
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        "application_name": "slussen",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "options": f"{ours} {own.get('options') or ''}".rstrip(),
    }


def migrate(dsn: str, folder: Path) -> list[str]:
    """Apply the folder's ``NNNN_name.sql`` files that haven't been applied, each once, in order, all or none.

    Returns the names of those applied now.

    Raises:
        TechnicalError: a file that has been applied was changed since, or one fails.
    """
    applied = []
    with connect(dsn) as connection, redacted(f"migrating {folder.name}"):
        connection.execute("select pg_advisory_xact_lock(hashtext('slussen migrations'))")
        connection.execute(
            "create table if not exists public.migration"
            " (name text primary key, sha256 text not null, at timestamptz not null default now())"
        )
        rows = connection.execute("select name, sha256 from public.migration").fetchall()
        known = {str(name): str(digest) for name, digest in rows}
        for file in sorted(folder.glob("[0-9]*.sql")):
            text = file.read_bytes()
            digest = sha256(text).hexdigest()
            if file.name in known:
                if known[file.name] != digest:
                    raise TechnicalError(f"{file.name} was changed after it was applied. Next: write a new migration")
                continue
            with redacted(f"migrating {folder.name}: {file.name}"):
                connection.execute(text)
            connection.execute("insert into public.migration (name, sha256) values (%s, %s)", (file.name, digest))
            applied.append(file.name)
    return applied
