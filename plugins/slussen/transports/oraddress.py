"""X.400 originator/recipient addresses as text: RFC 2156 (MIXER) ``/G=…/S=…/`` and RFC 1685 ``G=…; S=…``.

A gateway's SMTP address of one is ``"/G=…/S=…/C=SE/"@gateway`` (RFC 2156, 4.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from slussen.errors import CallError

# In the order in which they are written, each with the other names that it goes by (RFC 2156, 4.1; RFC 1685, 4.2).
KEYWORDS = {
    "G": ("GIVENNAME",), "I": ("INITIALS",), "S": ("SURNAME",), "Q": ("GQ", "GENERATION"), "CN": ("COMMONNAME",),
    "X.121": ("X121",), "N-ID": ("UA-ID", "UAID"), "T-ID": ("TID",),
    "OU4": (), "OU3": (), "OU2": (), "OU1": ("OU",), "O": ("ORG",), "PRMD": ("P",), "ADMD": ("A",), "C": ("COUNTRY",),
}  # fmt: skip
KEYWORD = {other: key for key, others in KEYWORDS.items() for other in (key, *others)}
DOMAIN = "DD."
PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")  # X.680's PrintableString
SMTP = re.compile(r'"((?:[^"\\]|\\.)*)"@([A-Za-z0-9.-]+)')
BARE = re.compile(r"(/[^\s\"]*/)@[A-Za-z0-9.-]+")
Address = Mapping[str, str]


def parse(text: str) -> dict[str, str]:
    """An address in either form: attributes by their RFC 2156 keywords, domain defined ones as ``DD.<type>``.

    A country without an ADMD has the single space as its ADMD.

    Raises:
        CallError: it is none; the text isn't repeated.
    """
    text = text.strip()
    slashes = text.startswith("/")
    found: dict[str, str] = {}
    for item in _split(text, "/" if slashes else ";"):
        key, value = _pair(item)
        if key in found:
            raise CallError(f"an X.400 address with {key} twice")
        found[key] = value
    if not found:
        raise CallError("no X.400 address: it has no attribute")
    if "C" in found:
        found.setdefault("ADMD", " ")
    return found


def _split(text: str, delimiter: str) -> Iterator[str]:
    """The items between delimiters; ``$`` takes the next letter as it is."""
    item, letters = "", iter(text)
    for letter in letters:
        if letter == "$":
            item += letter + next(letters, "")
        elif letter == delimiter:
            if item.strip():
                yield item
            item = ""
        else:
            item += letter
    if item.strip():
        yield item


def _pair(item: str) -> tuple[str, str]:
    key, value, equals, letters = "", "", False, iter(item)
    for letter in letters:
        if letter == "$":
            letter = next(letters, "")
            if not letter:
                raise CallError("an X.400 address that ends with $")
        elif letter == "=" and not equals:
            equals = True
            continue
        key, value = (key, value + letter) if equals else (key + letter, value)
    key = key.strip()
    if not equals or not key:
        raise CallError("an X.400 address with something that is no attribute")
    upper = key.upper()
    if upper.startswith((DOMAIN, "DDA:")):
        key = DOMAIN + key[len(DOMAIN) :].strip()
    elif upper in KEYWORD:
        key = KEYWORD[upper]
    else:
        raise CallError("an X.400 address with an attribute that isn't known")
    return key, value if value == " " else " ".join(value.split())


def slashed(address: Address) -> str:
    """``/G=…/S=…/O=…/PRMD=…/ADMD=…/C=SE/``; an ADMD of a single space is left out, as RFC 2156 has it."""
    items = [(k, v) for k, v in _ordered(address) if not (k == "ADMD" and v == " ")]
    return "".join(f"/{k}={_quoted(v)}" for k, v in items) + "/"


def labelled(address: Address) -> str:
    """``G=…; S=…; O=…; P=…; A= ; C=SE``, as on a visiting card (RFC 1685)."""
    short = {"PRMD": "P", "ADMD": "A"}
    return "; ".join(f"{short.get(k, k)}={_quoted(v)}" for k, v in _ordered(address))


def _quoted(value: str) -> str:
    return re.sub(r"[/$=*;]", r"$\g<0>", value)


def _ordered(address: Address) -> Iterator[tuple[str, str]]:
    order = {key: n for n, key in enumerate(KEYWORDS)}
    for key in sorted(address, key=lambda k: order.get(k, -1)):
        if not PRINTABLE.fullmatch(address[key].translate({ord(c): None for c in "$*;"})):
            raise CallError(f"an X.400 address whose {key.split('.')[0]} has letters that no PrintableString has")
        yield key, address[key]


def to_smtp(address: str, gateway: str) -> str:
    """The SMTP address of an X.400 user behind a gateway; an SMTP address stays as it is.

    Raises:
        CallError: it is neither.
    """
    if "=" not in address and re.fullmatch(r"[^@\s<>\"]+@[A-Za-z0-9.-]+", address):
        return address
    if SMTP.fullmatch(address):
        return to_smtp(from_smtp(address), gateway)
    return f'"{slashed(parse(address))}"@{gateway}'


def from_smtp(address: str) -> str:
    """The X.400 address in an SMTP address (or in either form), in slashes; else the address itself."""
    text = address.strip()
    match = SMTP.fullmatch(text) or BARE.fullmatch(text)
    local = re.sub(r"\\(.)", r"\1", match[1]) if match else text
    if not local.startswith("/") and ("@" in local or ";" not in local):
        return text
    try:
        return slashed(parse(local))
    except CallError:  # somebody else's, who may write what he likes
        return text


def same(one: str, other: str) -> bool:
    """Do two addresses name the same user? Letters' case and runs of spaces make no difference."""
    return from_smtp(one).casefold() == from_smtp(other).casefold()
