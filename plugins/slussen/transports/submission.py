"""Handing messages over to a mail gateway: SMTP over TLS (RFC 5321, RFC 3207), with delivery reports (RFC 3461).

A message is written to the connection as it comes. Until its last line's dot is sent the gateway hasn't got it; from
there to its reply nobody knows: ``Unknown``. A gateway's words are never repeated, its codes are.
"""

from __future__ import annotations

import base64
import re
import smtplib
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from slussen.errors import TransportError, TransportRefused
from slussen.transports import TIMEOUT, Unknown, tls
from slussen.transports.deadlines import within
from slussen.transports.reports import to_xtext

SLICE = 1 << 16  # bytes that one step of sending may take its time over
QUEUED = re.compile(rb"queued as ([A-Za-z0-9]{4,40})")


@dataclass(frozen=True, slots=True)
class Submission:
    """Where messages are handed over, and between which two addresses. It connects for each message."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    ca: str
    sender: str
    recipient: str

    def hand_over(self, body: Iterable[bytes], size: int, identity: str = "") -> str:
        """Send a message of so many bytes, written with its headers and dots; the gateway's name for it.

        One with an identity asks for a report; one without is a report itself, and comes from nobody.

        Raises:
            TransportError, TransportRefused: it was certainly not taken.
            Unknown: it may have been.
        """
        with self._connected() as smtp:
            with _said("handing a message over"):
                known = smtp.esmtp_features
                mail, rcpt = f"FROM:<{self.sender if identity else ''}>", f"TO:<{self.recipient}>"
                if "size" in known:
                    mail += f" SIZE={size}"
                if "dsn" in known and identity:
                    mail += f" RET=HDRS ENVID={to_xtext(identity)}"
                    rcpt += f" NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{to_xtext(self.recipient)}"
                elif "dsn" in known:
                    rcpt += " NOTIFY=NEVER"
                _expect(smtp.docmd("MAIL", mail), 250)
                _expect(smtp.docmd("RCPT", rcpt), 250, 251)
                _expect(smtp.docmd("DATA"), 354)
                assert smtp.sock is not None
                for chunk in body:
                    view = memoryview(chunk)
                    for start in range(0, len(view), SLICE):
                        smtp.sock.sendall(view[start : start + SLICE])
            try:
                smtp.sock.sendall(b".\r\n")  # from here it may be theirs
                code, text = smtp.getreply()
            except (OSError, smtplib.SMTPException):
                raise Unknown("the message was handed over to the gateway, and its reply was lost") from None
            if 400 <= code < 600:  # only a "no" says that it isn't theirs
                with _said("handing a message over"):
                    raise smtplib.SMTPResponseException(code, text)
            if not 200 <= code < 300:
                raise Unknown("the message was handed over to the gateway, and its reply can't be read")
            queued = QUEUED.search(text)
            return queued[1].decode() if queued else ""

    def ask(self) -> None:
        """Log in, and see that the gateway takes the recipient's address; nothing is sent."""
        with self._connected() as smtp, _said("asking for the recipient"):
            _expect(smtp.docmd("MAIL", f"FROM:<{self.sender}>"), 250)
            _expect(smtp.docmd("RCPT", f"TO:<{self.recipient}>"), 250, 251)
            _expect(smtp.docmd("RSET"), 250)
            with suppress(OSError, smtplib.SMTPException):
                smtp.quit()

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        context = tls.context(self.ca)
        smtp = _Smtp(timeout=TIMEOUT)
        try:
            with _said(f"connecting to {self.host}"):
                _expect(smtp.connect(self.host, self.port), 220)
                _expect(smtp.ehlo(), 250)
                smtp._host = self.host  # type: ignore[attr-defined]  # the name that its certificate must have
                _expect(smtp.starttls(context=context), 220)
                _expect(smtp.ehlo(), 250)
            if self.user and "auth" in smtp.esmtp_features:  # some gateways know us by our address
                with _said(f"logging in to {self.host}"):
                    _log_in(smtp, self.user, self.password)
            yield smtp
        finally:
            with suppress(OSError, smtplib.SMTPException):
                smtp.close()


class _Smtp(smtplib.SMTP):
    """Smtplib, whose timeout is one for each line, or piece of it."""

    def getreply(self) -> tuple[int, bytes]:
        with within(self.sock, TIMEOUT):
            return super().getreply()


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    """By RFC 4616, whose words are UTF-8, where the gateway offers it; smtplib's ways all take ASCII alone."""
    if "PLAIN" in smtp.esmtp_features["auth"].upper().split():
        word = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        _expect(smtp.docmd("AUTH", f"PLAIN {word}"), 235)
    else:
        smtp.login(user, password)


def _expect(reply: tuple[int, bytes], *good: int) -> None:
    if reply[0] not in good:
        raise smtplib.SMTPResponseException(*reply)


@contextmanager
def _said(doing: str) -> Iterator[None]:
    """Faults of the way to the gateway as ours, by their codes: a gateway's words may quote anything."""
    try:
        yield
    except (TransportError, TransportRefused):
        raise
    except ssl.SSLCertVerificationError as error:
        raise tls.refusal(doing, error) from None
    except UnicodeEncodeError:
        raise TransportRefused(f"{doing}: the gateway takes ASCII only. Next: have another password given") from None
    except smtplib.SMTPNotSupportedError:
        raise TransportRefused(f"{doing}: the gateway speaks no TLS; nothing is sent in the clear") from None
    except smtplib.SMTPResponseException as error:
        enhanced = re.match(rb"[245]\.\d{1,3}\.\d{1,3}", _bytes(error.smtp_error))
        code = f"{error.smtp_code}{f' {enhanced[0].decode()}' if enhanced else ''}"
        if 500 <= error.smtp_code < 600:
            hint = ". Next: check user and password" if error.smtp_code in (530, 534, 535) else ""
            raise TransportRefused(f"{doing}: refused with {code}{hint}") from None
        raise TransportError(f"{doing}: put off with {code}") from None
    except (smtplib.SMTPException, OSError) as error:
        number = getattr(error, "errno", None)
        raise TransportError(f"{doing}: the connection broke{f' (errno {number})' if number else ''}") from None


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
