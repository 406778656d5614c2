"""The certificate that a TLS server shows: verified as a transfer does it, then looked at for its dates. And ours."""

from __future__ import annotations

import ftplib
import imaplib
import smtplib
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from slussen.errors import CallError, TransportError, TransportRefused
from slussen.probing import Certificate
from slussen.transports import TIMEOUT, tls

How = Literal["tls", "ftp", "smtp", "imaps"]


def certificate(host: str, port: int, how: How, ca: str = "", client: str = "") -> Certificate:
    """The server's certificate: at once (``tls``, ``imaps``), or after the protocol's STARTTLS (``ftp``, ``smtp``).

    ``ca`` is a file of trusted certificates, or those themselves in PEM; ``client`` a file with our own.

    Raises:
        TransportRefused: it is not trusted: unknown authority, another name, expired.
        TransportError: the server can't be reached.
    """
    context = tls.context(ca, client)
    try:
        match how:
            case "ftp":
                with ftplib.FTP_TLS(timeout=TIMEOUT, context=context) as ftp:
                    ftp.connect(host, port)
                    ftp.auth()
                    return _dates(ftp.sock)
            case "smtp":
                with smtplib.SMTP(host, port, timeout=TIMEOUT) as smtp:
                    smtp.starttls(context=context)
                    return _dates(smtp.sock)
            case "imaps":
                imap = imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=TIMEOUT)
                try:
                    return _dates(imap.sock)
                finally:
                    imap.logout()
            case "tls":
                with (
                    socket.create_connection((host, port), TIMEOUT) as plain,
                    context.wrap_socket(plain, server_hostname=host) as wrapped,
                ):
                    return _dates(wrapped)
    except ssl.SSLCertVerificationError as error:
        raise tls.refusal(f"looking at {host}", error) from None
    except (ftplib.error_perm, smtplib.SMTPNotSupportedError):
        raise TransportRefused(f"{host}: the server speaks no TLS. Next: ask the partner") from None
    except (OSError, EOFError, ftplib.Error, smtplib.SMTPException, imaplib.IMAP4.error) as error:
        raise TransportError(f"{host}: {type(error).__name__}: no TLS connection could be made") from None


def own(file: str) -> Certificate:
    """Our own certificate, by its file: that one which is shown, the first.

    Raises:
        CallError: there is none, or it can't be read.
    """
    from cryptography.x509 import load_pem_x509_certificates

    try:
        shown = load_pem_x509_certificates(Path(file).read_bytes())[0]
    except (OSError, ValueError, IndexError):
        raise CallError("our certificate can't be read. Next: look at cert of the connection") from None
    return Certificate(shown.not_valid_before_utc, shown.not_valid_after_utc)


def _dates(connection: object) -> Certificate:
    shown = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    if not shown:
        raise TransportError("the server has shown no certificate")
    since, until = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown[key])), UTC) for key in ("notBefore", "notAfter")
    )
    return Certificate(since, until)
