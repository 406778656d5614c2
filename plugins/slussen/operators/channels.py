"""Ways to tell people, by Airflow's connections.

A connection of type ``smtp`` is mail: the provider's hook connects, speaks TLS and logs in as it says; its extra has
``from_email`` and ``to``. With ``sms: true`` in it, ``to`` is a mail-to-SMS gateway's address (``number@gateway``).
One of type ``http`` is an SMS gateway: its extra's ``sms`` has ``to``, and where they differ from 46elks' form
``path``, ``from`` and the names of the ``fields``; user and password are its basic authentication.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formatdate
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from slussen.errors import CallError, TransportError, TransportRefused
from slussen.notifications import Channel, Note, one_line
from slussen.transports import TIMEOUT, tls

if TYPE_CHECKING:
    from airflow.providers.smtp.hooks.smtp import SmtpHook
    from airflow.sdk import Connection

FIELDS = {"from": "from", "to": "to", "text": "message"}
PASSING = (408, 425, 429)


def channel(connection: str) -> Channel:
    """The channel of a connection.

    Raises:
        CallError: there is none, it is neither mail nor an SMS gateway, or doesn't say whom to tell.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        c = BaseHook.get_connection(connection)
    except AirflowNotFoundException:
        raise CallError(f"{connection}: there is no such connection") from None
    match c.conn_type:
        case "smtp":
            return Mail(c)
        case "http" | "https" if c.extra_dejson.get("sms"):
            return SmsGateway(c)
    raise CallError(
        f"{connection}: a {c.conn_type} connection tells nobody: it must be smtp, or http with an extra sms"
    )


class Mail:
    """Mail, or a mail-to-SMS gateway."""

    def __init__(self, c: Connection) -> None:
        extra = c.extra_dejson
        self.connection = c.conn_id
        self.kind: Literal["mail", "sms"] = "sms" if extra.get("sms") else "mail"
        self._from, self._to = str(extra.get("from_email", "")), str(extra.get("to", ""))
        if not (self._from and self._to):
            raise CallError(f"{c.conn_id}: its extra must have from_email and to")

    def send(self, note: Note) -> None:
        message = self._message(note)
        with _mail_errors(self.connection), _hook(self.connection) as hook:
            # The hook's own send makes HTML of everything, and repeats what it has sent when the reply is lost.
            client = hook._smtp_client
            assert isinstance(client, smtplib.SMTP)
            refused = client.send_message(message)
        if refused:
            error = _by_code(self.connection, max(code for code, _ in refused.values()))
            raise type(error)(f"{error} to {len(refused)} of those in its extra's to; the others were told")

    def _message(self, note: Note) -> EmailMessage:
        """With an id that is the same each time: a mailbox that knows it again shows it once."""
        message = EmailMessage()
        try:
            message["From"], message["To"] = self._from, self._to
        except ValueError:
            raise TransportRefused(f"{self.connection}: from_email or to is no mail address") from None
        message["Subject"] = one_line(note.subject)
        message["Date"] = formatdate()
        domain = self._from.rpartition("@")[2].strip("> ")
        message["Message-ID"] = f"<{sha256(f'{note.id} {self.connection}'.encode()).hexdigest()[:32]}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(note.short if self.kind == "sms" else note.text)
        return message


class SmsGateway:
    """An SMS gateway over HTTP."""

    kind: Literal["mail", "sms"] = "sms"

    def __init__(self, c: Connection) -> None:
        said: dict[str, Any] = c.extra_dejson["sms"]
        if not isinstance(said, dict) or not said.get("to"):
            raise CallError(f"{c.conn_id}: sms in its extra must be a mapping that has to")
        self.connection = c.conn_id
        host = c.host or ""
        base = host if "://" in host else f"{c.schema or 'https'}://{host}"
        self._url = f"{base}{f':{c.port}' if c.port else ''}{said.get('path', '/a1/sms')}"
        self._login = (c.login or "", c.password or "")
        self._ca = str(c.extra_dejson.get("ca") or "")
        names = {**FIELDS, **said.get("fields", {})}
        self._form = {names["from"]: str(said.get("from", "Slussen")), names["to"]: str(said["to"])}
        self._text = names["text"]

    def send(self, note: Note) -> None:
        import httpx

        from slussen.transports.https import silenced

        silenced()
        try:
            verify = tls.context(self._ca)
        except CallError as error:
            raise TransportRefused(f"{self.connection}: {error}") from None
        headers = {
            "Idempotency-Key": sha256(f"{note.id} {self.connection}".encode()).hexdigest()[:32],
            "Accept-Encoding": "identity",
        }
        form = {**self._form, self._text: note.short}
        try:
            with (
                httpx.Client(timeout=TIMEOUT, verify=verify, trust_env=False) as client,
                client.stream("POST", self._url, data=form, auth=self._login, headers=headers) as answer,
            ):
                page = answer.is_success and _is_page(answer.headers, next(answer.iter_raw(), b""))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise TransportRefused(f"{self.connection}: its host is no address of an SMS gateway") from None
        except httpx.HTTPError as error:
            raise TransportError(f"{self.connection}: {type(error).__name__}: the SMS gateway gave no answer") from None
        if page:
            raise TransportRefused(
                f"{self.connection}: a page for people where the SMS gateway's answer belongs. Next: look where the "
                "connection's host and path lead"
            )
        if answer.is_success:
            return
        kind = TransportError if answer.is_server_error or answer.status_code in PASSING else TransportRefused
        raise kind(f"{self.connection}: the SMS gateway says {answer.status_code}")


def _is_page(headers: Mapping[str, str], beginning: bytes) -> bool:
    """A login page, say. Plain words called HTML are none: some gateways answer so."""
    return "html" in headers.get("Content-Type", "").lower() and beginning.lstrip().startswith(b"<")


def _hook(connection: str) -> SmtpHook:
    """The provider's hook, which connects once: it would try six times, and whoever tells tries again anyway."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    class Once(SmtpHook):
        @property
        def smtp_retry_limit(self) -> int:
            return 0

        @property
        def timeout(self) -> int:
            return min(super().timeout, TIMEOUT)

    return Once(smtp_conn_id=connection)


@contextmanager
def _mail_errors(connection: str) -> Iterator[None]:
    """smtplib's errors as ours, by the reply code; the server's words are left out: they quote addresses."""
    from airflow.sdk.exceptions import AirflowException

    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        code = max((code for code, _ in error.recipients.values()), default=0)
        raise _by_code(connection, code) from None
    except smtplib.SMTPResponseException as error:
        raise _by_code(connection, error.smtp_code) from None
    except ssl.SSLCertVerificationError:
        raise TransportRefused(f"{connection}: the mail server's certificate can't be trusted") from None
    except smtplib.SMTPNotSupportedError:
        raise TransportRefused(f"{connection}: the mail server doesn't offer what the connection asks for") from None
    except (RuntimeError, ValueError):  # of the hook's, and of smtplib's on what isn't ASCII
        raise TransportRefused(f"{connection}: its extra or its login can't be used as it stands") from None
    except (smtplib.SMTPException, OSError, AirflowException) as error:
        raise TransportError(f"{connection}: {type(error).__name__}: the mail server can't be reached") from None


def _by_code(connection: str, code: int) -> TransportError | TransportRefused:
    kind = TransportRefused if code >= 500 else TransportError
    return kind(f"{connection}: the mail server says {code}")
