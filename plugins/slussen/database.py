"""Connections to PostgreSQL that don't hang, and the schema's migrations. Knows no Airflow."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

from slussen.errors import TechnicalError, redacted

CONNECT_TIMEOUT = 10  # seconds
LOCK_TIMEOUT = "30s"
Connection = psycopg.Connection[tuple[Any, ...]]


def connect(dsn: str, *, autocommit: bool = False) -> Connection:
    """Open a connection; as a context manager it commits, or rolls back on an error, and closes.

    Raises:
        TechnicalError: no connection within ten seconds.
    """
    with redacted("connecting to PostgreSQL"):
        return psycopg.connect(
            dsn,
            autocommit=autocommit,
            connect_timeout=CONNECT_TIMEOUT,
            application_name="slussen",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            options=f"-c lock_timeout={LOCK_TIMEOUT} -c timezone=UTC",
        )


def migrate(dsn: str, folder: Path) -> list[str]:
    """Apply the folder's ``NNNN_name.sql`` files that haven't been applied, each in a transaction, in order.

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
        known = dict(connection.execute("select name, sha256 from public.migration").fetchall())
        for file in sorted(folder.glob("[0-9]*.sql")):
            text = file.read_bytes()
            digest = sha256(text).hexdigest()
            if file.name in known:
                if known[file.name] != digest:
                    raise TechnicalError(f"{file.name} was changed after it was applied. Next: write a new migration")
                continue
            connection.execute(text)
            connection.execute("insert into public.migration (name, sha256) values (%s, %s)", (file.name, digest))
            applied.append(file.name)
    return applied
