"""TLS towards partners: verified always, with the city's trusted authorities or the partner's own."""

from __future__ import annotations

import ssl

from slussen.errors import CallError, TransportRefused

# OpenSSL's X509_V_ERR_…, in words and with what to do about them.
MEANINGS = {
    9: ("its certificate isn't valid yet", "compare the clocks"),
    10: ("its certificate has expired", "ask the partner for a renewed one"),
    18: (
        "its certificate is self-signed",
        "put that certificate, as they have given it, into the connection's ca",
    ),
    19: ("its certificate's authority is unknown", "put the authority's certificate into the connection's ca"),
    20: ("its certificate's authority is unknown", "put the authority's certificate into the connection's ca"),
    21: ("its certificate's authority is unknown", "put the authority's certificate into the connection's ca"),
    23: ("its certificate is revoked", "ask the partner for a new one"),
    62: ("its certificate is for another name", "check the connection's host with the partner"),
    64: ("its certificate is for another address", "check the connection's host with the partner"),
}


def context(ca: str = "", certificate: str = "") -> ssl.SSLContext:
    """TLS 1.2 or newer, the certificate and its name verified.

    ``ca`` is a file of trusted certificates, or those themselves in PEM; without it, the system's. ``certificate`` is
    a file with our own certificate and key, for partners that ask for one.

    Raises:
        CallError: one of them can't be read.
    """
    inline = "-----BEGIN" in ca
    try:
        made = ssl.create_default_context(cafile=None if inline else ca or None, cadata=ca if inline else None)
        if certificate:
            made.load_cert_chain(certificate)
    except (OSError, ValueError):
        raise CallError("the connection's ca or certificate can't be read as PEM") from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def refusal(doing: str, error: ssl.SSLCertVerificationError) -> TransportRefused:
    """Why a certificate isn't trusted, and what to do next."""
    what, next_step = MEANINGS.get(
        error.verify_code, (f"its certificate isn't trusted (code {error.verify_code})", "ask the partner about it")
    )
    return TransportRefused(f"{doing}: {what}. Nothing was sent. Next: {next_step}")
