"""Search everything that a day leaves behind for the persons it was about.

Personal data may be in BoSko, in the stage, in payloads and at the partners; nowhere else. The search reads what
people and machines keep for long: logs, Airflow's database (XCom, rendered fields, serialised DAGs, audit log),
the ledger, gate reports, PostgreSQL's own log. A name or number counts in plain text and in the disguises that logs
put on it: other encodings, JSON and percent escapes, hex, base64.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import psycopg
from psycopg import sql

ENCODINGS = ("utf-8", "latin-1", "cp437", "cp278", "utf-16-le", "utf-16-be")
DIGITS = re.compile(r"\d[\d+-]{8,}\d")
WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]{5,}")
HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){6,}")
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
ESCAPED = re.compile(rb"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|%[0-9a-fA-F]{2}")


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a person was found, and as what: never who."""

    where: str
    what: str
    disguise: str


class Search:
    """Looks for these personal numbers (12 digits) and names (one word each)."""

    def __init__(self, numbers: Iterable[str], names: Iterable[str]) -> None:
        twelve = set(numbers)
        self.numbers = twelve | {n[2:] for n in twelve}
        self.names = {n.casefold() for n in names}

    @classmethod
    def of(cls, bosko: str) -> Search:
        """Everybody in BoSko's database, by this connection string."""
        with psycopg.connect(bosko) as connection:
            rows = connection.execute("select personnr, fornamn, mellannamn, efternamn from bosko.person").fetchall()
        words = {w for row in rows for name in row[1:] if name for w in WORD.findall(name)}
        return cls((row[0] for row in rows), words)

    def leaks(self, data: bytes, where: str) -> Iterator[Leak]:
        """Every kind of find in these bytes, in every disguise; one a kind and disguise."""
        for disguise, plain in disguises(data):
            for encoding in ENCODINGS:
                text = decode(plain, encoding)
                if self._number_in(text):
                    yield Leak(where, "personal number", f"{disguise}{encoding}")
                if self._name_in(text):
                    yield Leak(where, "name", f"{disguise}{encoding}")

    def _number_in(self, text: str) -> bool:
        for match in DIGITS.finditer(text):
            run = match[0].replace("-", "").replace("+", "")
            for length in (10, 12):
                if any(run[i : i + length] in self.numbers for i in range(len(run) - length + 1)):
                    return True
        return False

    def _name_in(self, text: str) -> bool:
        return any(w.casefold() in self.names for w in WORD.findall(text))


def disguises(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The bytes as they are, and what their escapes, hex and base64 runs stand for."""
    yield "", data
    yield "shifted ", data[1:]  # UTF-16 that begins at an odd byte
    if ESCAPED.search(data):
        yield "escaped ", unescape(data)
    if runs := [bytes.fromhex(m[0].decode()) for m in HEX.finditer(data)]:
        yield "hex ", b"\n".join(runs)
    if decoded := [d for m in BASE64.finditer(data) if (d := unbase64(m[0]))]:
        yield "base64 ", b"\n".join(decoded)


def unescape(data: bytes) -> bytes:
    """JSON's and Python's escapes and percent encoding, undone."""
    data = re.sub(rb"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)).encode("utf-8", "replace"), data)
    data = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), data)
    return unquote_to_bytes(data)


def unbase64(run: bytes) -> bytes:
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4), altchars=b"-_" if {*b"-_"} & {*run} else None)
    except binascii.Error:
        return b""


def decode(data: bytes, encoding: str) -> str:
    if encoding == "cp278":
        import ebcdic  # noqa: F401 (registers the codec)
    return data.decode(encoding, "replace")


def search_files(search: Search, folders: Iterable[Path]) -> list[Leak]:
    """Every file below these folders, in overlapping pieces of a few megabytes."""
    found: list[Leak] = []
    for folder in folders:
        for file in sorted(p for p in ([folder] if folder.is_file() else folder.rglob("*")) if p.is_file()):
            for piece in pieces(file):
                found += search.leaks(piece, str(file))
    return found


def pieces(file: Path, size: int = 4 << 20, overlap: int = 4096) -> Iterator[bytes]:
    with file.open("rb") as stream:
        tail = b""
        while chunk := stream.read(size):
            yield tail + chunk
            tail = chunk[-overlap:]


def search_database(search: Search, dsn: str, schemas: Iterable[str]) -> list[Leak]:
    """Every row of every table in these schemas, as text and, where a column is binary, as its bytes."""
    found: list[Leak] = []
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname = any(%s) order by 1, 2", (list(schemas),)
        ).fetchall()
        for schema, table in tables:
            out = bytearray()
            copy = sql.SQL("copy {} to stdout").format(sql.Identifier(schema, table))
            with connection.cursor().copy(copy) as rows:
                for row in rows:
                    out += bytes(row).replace(b"\\\\", b"\\")
            found += search.leaks(bytes(out), f"{schema}.{table}")
    return found
