"""Airflow's connections, as the core wants them: libpq connection strings and transports.

The connections hold hosts, users, secrets and folders; the core below knows no Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slussen.errors import CallError
from slussen.integration import Endpoint

if TYPE_CHECKING:
    from slussen.transports import Source, Transport


def dsn(connection: str) -> str:
    """A PostgreSQL connection as a libpq connection string."""
    from airflow.sdk import BaseHook
    from psycopg.conninfo import make_conninfo

    c = BaseHook.get_connection(connection)
    parts: dict[str, Any] = {"host": c.host, "port": c.port, "user": c.login, "password": c.password}
    return make_conninfo(**{k: v for k, v in parts.items() if v}, dbname=c.schema)


def transport(endpoint: Endpoint, record_length: int = 0) -> Transport:
    """The transport of an endpoint, opened with what its connection says; a dataset has records of a length."""
    from airflow.sdk import BaseHook

    c = BaseHook.get_connection(endpoint.connection)
    extra = c.extra_dejson
    login: dict[str, Any] = {"host": c.host, "port": c.port, "user": c.login or "", "password": c.password or ""}
    match endpoint.transport:
        case "directory":
            from slussen.transports.directory import Directory

            return Directory(extra["folder"])
        case "ftp":
            from slussen.transports.ftp import Ftp

            return Ftp(**login, folder=extra.get("folder", ""))
        case "mvs":
            from slussen.transports.mvs import Mvs

            return Mvs(**login, record_length=record_length)
        case _:
            raise CallError(f"{endpoint.connection}: {endpoint.transport} carries no files")


def source(endpoint: Endpoint) -> Source:
    """What an endpoint's files are collected from, opened with what its connection says."""
    return transport(endpoint)


def quiet_seconds(endpoint: Endpoint) -> float:
    """How long a file must stay as it is before it counts as whole."""
    from airflow.sdk import BaseHook

    return float(BaseHook.get_connection(endpoint.connection).extra_dejson.get("quiet_seconds", 30))
