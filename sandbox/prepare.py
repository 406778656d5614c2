"""Make Slussen's databases on an existing PostgreSQL server: for docker-compose.yaml, and for a first installation.

    python -m sandbox.prepare "host=… user=… password=…"      (a superuser's connection string)

The application's role gets the superuser's password; change it where that is not wanted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sandbox.postgres import APPLICATION, Server
from slussen import settings
from slussen.database import migrate


def main() -> None:
    os.environ["SLUSSEN_POSTGRES"] = sys.argv[1]
    server = Server(Path(os.environ.get("SLUSSEN_HOME", ".slussen")))
    server.start()
    for database in ("slussen", "bosko", "hanna"):
        applied = migrate(server.dsn(database), settings.SQL / "migrations" / database)
        print(f"{database}: {', '.join(applied) or 'up to date'}")
    if password := conninfo_to_dict(sys.argv[1]).get("password"):
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            change = sql.SQL("alter role {} password {}")
            connection.execute(change.format(sql.Identifier(APPLICATION), sql.Literal(password)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
