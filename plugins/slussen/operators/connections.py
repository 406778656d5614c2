"""Airflow's connections, as the core wants them: libpq connection strings and transports.

The connections hold hosts, users, secrets and folders; the core below knows no Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slussen.errors import CallError
from slussen.integration import Endpoint

if TYPE_CHECKING:
    from slussen.pgp import Key
    from slussen.transports import Messenger, Source, Transport
    from slussen.wrapping import Keys


MESSAGES = ("x400", "shs")  # transports that carry messages, and receipts back


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

            return Directory(_needed(c.conn_id, extra, "folder")["folder"], **_names(extra))
        case "ftp":
            from slussen.transports.ftp import Ftp

            return Ftp(**login, **_folder(endpoint, extra), **_secured(extra))
        case "sftp":
            from slussen.transports.sftp import Sftp

            keys = {k: extra.get(k, "") for k in ("host_key", "private_key", "passphrase")}
            return Sftp(**login, **_folder(endpoint, extra), **keys)
        case "mvs":
            from slussen.transports.mvs import Mvs

            text = extra.get("type") == "ascii"
            return Mvs(**login, record_length=record_length, text=text, **_secured(extra))
        case _:
            raise CallError(f"{endpoint.connection}: {endpoint.transport} carries no files")


def source(endpoint: Endpoint, record_length: int = 0) -> Source:
    """What files are collected from: any transport, or a messenger."""
    if endpoint.transport in MESSAGES:
        return messenger(endpoint)
    return transport(endpoint, record_length)


def messenger(endpoint: Endpoint) -> Messenger:
    """The mailbox, or the actor on SHS, of an endpoint. It connects when it has to."""
    from airflow.sdk import BaseHook

    c = BaseHook.get_connection(endpoint.connection)
    extra = c.extra_dejson
    match endpoint.transport:
        case "x400":
            from slussen.transports.x400 import X400, Account

            account = Account(
                host=c.host or "",
                port=c.port or 587,
                user=c.login or "",
                password=c.password or "",
                imap_host=extra.get("imap_host") or c.host or "",
                imap_port=int(extra.get("imap_port", 993)),
                **_needed(c.conn_id, extra, "originator", "recipient", "gateway"),
                **_known(extra, "mailbox", "archive", "ca", "confirms"),
            )
            return X400(account)
        case "shs":
            from slussen.transports.shs import Actor, Shs

            ours = _known(extra, "ca", "cert", "name", "agreement", "status", "datapart")
            who = _needed(c.conn_id, extra, "own", "partner")
            return Shs(Actor(url=c.host or "", product=endpoint.product, **who, **ours))
        case _:
            raise CallError(f"{endpoint.connection}: {endpoint.transport} carries no messages")


def _needed(connection: str, extra: dict[str, Any], *names: str) -> dict[str, Any]:
    if missing := [n for n in names if not extra.get(n)]:
        raise CallError(f"{connection}: its extra lacks {', '.join(missing)}. Next: see airflow_settings.yaml")
    return {n: extra[n] for n in names}


def _known(extra: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: extra[k] for k in names if k in extra}


def receipts_seconds(endpoint: Endpoint) -> float:
    """How long between two looks for receipts."""
    from airflow.sdk import BaseHook

    return float(BaseHook.get_connection(endpoint.connection).extra_dejson.get("receipts_seconds", 60))


def _names(extra: dict[str, Any]) -> dict[str, str]:
    """In which encoding file names are written there, where it isn't UTF-8."""
    return {"encoding": extra["names"]} if "names" in extra else {}


def _secured(extra: dict[str, Any]) -> dict[str, Any]:
    """FTP's options: TLS and whom it trusts, and who opens the data connection."""
    return {k: extra[k] for k in ("tls", "ca", "passive") if k in extra}


def _folder(endpoint: Endpoint, extra: dict[str, Any]) -> dict[str, Any]:
    """What the connections of a folder on a server have in common."""
    return {"folder": extra.get("folder", ""), "read_back": endpoint.read_back, **_names(extra)}


def keys(endpoint: Endpoint) -> Keys:
    """The keys that an endpoint's options ask for: its own seal's (extra ``seal_key``, and for an envelope
    ``seal_destination`` and ``seal_source``), and those of the connections that ``encrypt_to`` and ``sign_with`` name.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret

    from slussen.seals import Envelope, key_of
    from slussen.wrapping import Keys

    seal, envelope = b"", None
    if endpoint.seal:
        extra = BaseHook.get_connection(endpoint.connection).extra_dejson
        mask_secret(str(extra.get("seal_key", "")))  # Airflow knows it by no word in its name
        seal = key_of(str(extra.get("seal_key", "")), f"seal_key in the extra of {endpoint.connection}")
        if endpoint.seal == "envelope":
            envelope = Envelope(extra.get("seal_destination", ""), extra.get("seal_source", ""))
    return Keys(seal=seal, envelope=envelope, encrypt_to=_key(endpoint.encrypt_to), sign_with=_key(endpoint.sign_with))


def _key(connection: str) -> Key | None:
    """The OpenPGP key of a connection: extra ``certificate``, or ``secret_key`` with the password as its passphrase."""
    from airflow.sdk import BaseHook

    from slussen.pgp import Key

    if not connection:
        return None
    c = BaseHook.get_connection(connection)
    extra = c.extra_dejson
    return Key(connection, str(extra.get("secret_key") or extra.get("certificate") or "").encode(), c.password or "")


def quiet_seconds(endpoint: Endpoint) -> float:
    """How long a file must stay as it is before it counts as whole."""
    from airflow.sdk import BaseHook

    return float(BaseHook.get_connection(endpoint.connection).extra_dejson.get("quiet_seconds", 30))
