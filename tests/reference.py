"""What the engine must do, slowly and obviously: one field at a time, in plain Python, sharing nothing with it.

``read`` gives ``(value, rules)``; ``write`` gives bytes, or the rule that refuses the value.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import ebcdic  # noqa: F401 (registers the codecs)

from sandbox.identities import check_digit
from slussen.records.notation import FieldSpec

EBCDIC = ("cp278", "cp1143", "cp037", "cp500")
SEN = {
    "sen850200b": dict(zip("$[\\]{|}~", "¤ÄÖÅäöå‾", strict=True)),
    "sen850200c": dict(zip("$@[\\]^`{|}~", "¤ÉÄÖÅÜéäöåü", strict=True)),
}
CONTROLS = {chr(c) for c in (*range(32), *range(0x7F, 0xA0))}


class Refused(Exception):
    """The value cannot be written, by this rule."""


def letter(byte: int, encoding: str) -> str | None:
    """What a byte means; None, when nothing."""
    if encoding in SEN:
        return None if byte > 127 else SEN[encoding].get(chr(byte), chr(byte))
    try:
        return bytes([byte]).decode(encoding)
    except UnicodeDecodeError:
        return None


def byte(character: str, encoding: str) -> bytes:
    """A character's bytes; UnicodeEncodeError, when it has none."""
    if encoding not in SEN:
        return character.encode(encoding)
    back = {v: k for k, v in SEN[encoding].items()}
    if character in SEN[encoding] or (ord(character) > 127 and character not in back):
        raise UnicodeEncodeError(encoding, character, 0, 1, "no such letter")
    return back.get(character, character).encode("ascii")


def encode(text: str, encoding: str) -> bytes:
    return b"".join(byte(c, encoding) for c in text)


def valid_number(text: str) -> bool:
    """A personal, coordination or interim number, as SKV 704 tells it."""
    interim = text[8] in "JKLMNRSTUWX"
    digits = text[:8] + ("1" if interim else text[8]) + text[9:]
    if not (digits.isascii() and digits.isdigit()) or not 1800 <= int(digits[:4]) <= 2199:
        return False
    day = int(digits[6:8])
    try:
        dt.date(int(digits[:4]), int(digits[4:6]), day - 60 if day > 60 else day)
    except ValueError:
        return False
    return (interim or digits[8:11] != "000") and check_digit(digits[2:11]) == int(digits[11])


# --- reading


def read(f: FieldSpec, cell: bytes, encoding: str) -> tuple[Any, set[str]]:
    """A cell's value (None when it is empty or cannot be read), and the rules that it breaks."""
    if f.usage == "packed":
        return packed(f, cell)
    if f.usage == "binary":
        return binary(f, cell)
    letters = [letter(b, encoding) for b in cell]
    text = "".join("\ufffd" if c is None else c for c in letters)
    if f.type in ("integer", "decimal"):
        return number(f, text, cell, encoding)
    if f.type in ("date", "time", "timestamp"):
        return moment(f, text)
    rules = set()
    text = text.lstrip(f.pad) if f.right else text.rstrip(f.pad)
    if "\ufffd" in text:
        rules.add("undefined_byte")
    if CONTROLS & set(text):
        rules.add("control_character")
    empty = not text or (f.zeros and not text.lstrip("0"))
    if f.type == "digits":
        for place, character in enumerate(text):
            if character not in "0123456789" and not (f.check and place == 8 and character in "JKLMNRSTUWX"):
                rules.add("not_a_number")
    if f.check == "personnummer" and not empty:
        if len(text) == 12 and not valid_number(text):
            rules.add("check_digit")
        if f.type == "digits" and len(text) != 12:
            rules.add("not_a_number")
    if f.type == "boolean":
        said = {code.lstrip(f.pad) if f.right else code.rstrip(f.pad): k == 0 for k, code in enumerate(f.codes)}
        if not empty and text not in said:
            rules.add("not_in_code_list")
        return said.get(text), rules
    if f.codes and not empty and text not in f.codes:
        rules.add("not_in_code_list")
    return (None if empty or "\0" in text else text), rules


PATTERNS = {
    "leading": re.compile(r"(?:(?P<a>[+-])_*|_*(?P<b>[+-]?))(?P<digits>[0-9]+)_*"),
    "trailing": re.compile(r"_*(?P<digits>[0-9]+)(?:(?P<a>[+-])_*|_*(?P<b>[+-]?))"),
    "none": re.compile(r"_*(?P<digits>[0-9]+)_*"),
}


def places(f: FieldSpec, cell: bytes, encoding: str) -> set[tuple[str, int]]:
    """Where in a text cell single bytes are wrong: (rule, place from 0)."""
    letters = [letter(b, encoding) for b in cell]
    text = "".join("\ufffd" if c is None else c for c in letters)
    start = len(text) - len(text.lstrip(f.pad)) if f.right else 0
    end = len(text) if f.right else len(text.rstrip(f.pad))
    found, strange = set(), False
    for place in range(start, end):
        character = text[place]
        if character == "\ufffd":
            found.add(("undefined_byte", place))
        if character in CONTROLS:
            found.add(("control_character", place))
        interim = bool(f.check) and place - start == 8 and character in "JKLMNRSTUWX"
        if f.type == "digits" and character not in "0123456789" and not interim and not strange:
            found.add(("not_a_number", place))
            strange = True
    if f.check == "personnummer" and end - start == 12 and not valid_number(text[start:end]):
        found.add(("check_digit", start + 11))
    return found


def number(f: FieldSpec, text: str, cell: bytes, encoding: str) -> tuple[Any, set[str]]:
    blanks = " " if f.pad == "0" else f" {re.escape(f.pad)}"
    if not text.strip(" " if f.pad == "0" else f" {f.pad}"):
        return None, set()
    negative = False
    kind = f.sign
    if kind in ("overpunched", "zoned"):
        found = last_digit(cell[-1], kind, encoding)
        if found is None:
            return None, {"not_a_number"}
        digit, negative = found
        text, kind = text[:-1] + str(digit), "none"
    pattern = re.compile(PATTERNS[kind].pattern.replace("_", f"[{blanks}]"))
    match = pattern.fullmatch(text)
    if match is None:
        return None, {"not_a_number"}
    parts = match.groupdict()
    negative |= "-" in (parts.get("a"), parts.get("b"))
    value = int(parts["digits"])
    if value >= 10**18:
        return None, {"overflow"}
    value = -value if negative else value
    return (Decimal(value).scaleb(-f.decimals) if f.type == "decimal" else value), set()


def last_digit(last: int, kind: str, encoding: str) -> tuple[int, bool] | None:
    if encoding in EBCDIC:
        if last & 15 > 9 or last >> 4 not in (0xC, 0xD, 0xF):
            return None
        return last & 15, last >> 4 == 0xD
    character = chr(last)
    if character in "0123456789":
        return int(character), False
    plus, minus = ("{ABCDEFGHI", "}JKLMNOPQR") if kind == "overpunched" else ("", "pqrstuvwxy")
    if character in plus:
        return plus.index(character), False
    return (minus.index(character), True) if character in minus else None


def packed(f: FieldSpec, cell: bytes) -> tuple[Any, set[str]]:
    halves = cell.hex()
    if not halves[:-1].isdigit() or halves[-1].isdigit():
        return None, {"not_a_number"}
    value = int(halves[:-1])
    if value >= 10**18:
        return None, {"overflow"}
    if halves[-1] in "bd":
        if f.sign == "none":
            return None, {"sign"}
        value = -value
    return (Decimal(value).scaleb(-f.decimals) if f.type == "decimal" else value), set()


def binary(f: FieldSpec, cell: bytes) -> tuple[Any, set[str]]:
    value = int.from_bytes(cell, "big", signed=f.sign != "none")
    if (f.type == "decimal" or f.sign == "none") and abs(value) >= 10**18:
        return None, {"overflow"}
    return (Decimal(value).scaleb(-f.decimals) if f.type == "decimal" else value), set()


FORMS = {
    "YYYYMMDD": "%Y%m%d", "YYMMDD": "%y%m%d", "YYYYDDD": "%Y%j", "YYDDD": "%y%j", "YYYY-MM-DD": "%Y-%m-%d",
    "hhmmss": "%H%M%S", "hhmm": "%H%M", "hh:mm:ss": "%H:%M:%S", "YYYYMMDDhhmmss": "%Y%m%d%H%M%S",
    "YYMMDDhhmmss": "%y%m%d%H%M%S", "DDMMYYYY": "%d%m%Y", "YYYY-MM-DD hh:mm:ss": "%Y-%m-%d %H:%M:%S",
}  # fmt: skip


def moment(f: FieldSpec, text: str) -> tuple[Any, set[str]]:
    exact = f.length == len(f.shape) and not f.accepts
    text = text if exact else text.strip(" ")
    if not text.strip(" "):
        return None, set()
    if (f.type != "time" or f.empty == "zeros") and not text.lstrip("0"):
        return None, set()
    for form in (f.shape, *f.accepts):
        if len(text) != len(form):
            continue
        year = ""
        if "YYYY" not in form and "YY" in form:
            at = form.index("YY")
            if not text[at : at + 2].isdigit():
                return None, {"not_a_date"}
            short = int(text[at : at + 2])
            year = ("20" if short < f.century else "19") + text[at : at + 2]
            text, form = text[:at] + year + text[at + 2 :], form.replace("YY", "YYYY")
        if not re.fullmatch(re.sub("[YMDhms]", "[0-9]", re.escape(form)), text):
            return None, {"not_a_date"}
        try:
            found = dt.datetime.strptime(text, pattern(form))  # noqa: DTZ007 (a date on paper has no zone)
        except ValueError:
            return None, {"not_a_date"}
        if "YYYY" in form and f"{found.year:04}" not in text:  # strptime takes day 366 of any year for the next one's 1
            return None, {"not_a_date"}
        return {"date": found.date(), "time": found.time(), "timestamp": found}[f.type], set()
    return None, {"not_a_date"}


def pattern(form: str) -> str:
    for part, sign in (("YYYY", "%Y"), ("YY", "%y"), ("DDD", "%j"), ("MM", "%m"), ("DD", "%d"), ("hh", "%H"),
                       ("mm", "%M"), ("ss", "%S")):  # fmt: skip
        form = form.replace(part, sign)
    return form


# --- writing


def write(f: FieldSpec, value: Any, encoding: str) -> bytes:
    """A value in its field's bytes.

    Raises:
        Refused: it doesn't fit, or cannot be said in the encoding.
    """
    if value is None:
        if f.type in ("integer", "decimal") and (f.zeros or f.usage != "display"):
            return write_number(f, 0, encoding)
        fill = "0" if f.zeros else " " if f.type in ("integer", "decimal") else f.pad
        return encode(fill * f.length, encoding)
    if f.type in ("integer", "decimal"):
        return write_number(f, value, encoding)
    if f.type == "boolean":
        text = f.codes[0] if value else f.codes[1]
    elif f.type in ("date", "time", "timestamp"):
        if "YYYY" not in f.shape and "YY" in f.shape:
            short = value.year % 100
            if value.year != short + (2000 if short < f.century else 1900):
                raise Refused("not_a_date")
        year = f"{value.year:04}" if f.type != "time" else ""
        if f.type == "time" and f.zeros and not (value.hour or value.minute or value.second):
            raise Refused("nothing")
        text = value.strftime(pattern(f.shape.replace("YYYY", "\ue000"))).replace("\ue000", year)
    else:
        text = value
        if CONTROLS & set(text):
            raise Refused("control_character")
        if f.type == "digits" and text and not (text.isascii() and text.isdigit()):
            raise Refused("not_a_number")
        if f.check:  # what reading would refuse
            for rule in read(f, text.encode("cp1252", "replace"), "cp1252")[1] & {"check_digit", "not_a_number"}:
                raise Refused(rule)
        if f.codes and text not in f.codes:
            raise Refused("not_in_code_list")
        if f.zeros and text and not text.strip("0"):
            raise Refused("nothing")
        if not f.codes and f.pad != " " and (text.startswith(f.pad) if f.right else text.endswith(f.pad)):
            raise Refused("fill")
    if len(text) > f.length:
        if not f.truncate:
            raise Refused("too_long")
        text = text[: f.length]
    try:
        data = [byte(c, encoding) for c in text]
    except UnicodeEncodeError:
        raise Refused("unmappable") from None
    fill = [byte(f.pad, encoding)] * (f.length - len(data))
    return b"".join(fill + data if f.right else data + fill)


def write_number(f: FieldSpec, value: Any, encoding: str) -> bytes:
    whole = int(Decimal(value).scaleb(f.decimals)) if f.type == "decimal" else value
    if whole < 0 and f.sign == "none":
        raise Refused("sign")
    size = str(abs(whole))
    if f.usage == "binary":
        bits = 8 * f.length - (f.sign != "none")
        if not -(2**bits if f.sign != "none" else 0) <= whole < 2 ** min(bits, 63):
            raise Refused("too_long")
        return whole.to_bytes(f.length, "big", signed=f.sign != "none")
    if f.usage == "packed":
        if len(size) > f.length * 2 - 1:
            raise Refused("too_long")
        return bytes.fromhex(size.zfill(f.length * 2 - 1) + ("f" if f.sign == "none" else "d" if whole < 0 else "c"))
    signed = f.sign == "leading" and (whole < 0 or f.plus)
    room = f.length - (1 if f.sign == "trailing" or signed else 0)
    if len(size) > room:
        raise Refused("too_long")
    minus = "-" if whole < 0 else "+" if f.plus else ""
    if f.sign in ("overpunched", "zoned"):
        text = size.zfill(f.length) if f.right and f.pad == "0" else size.rjust(f.length, f.pad)
        last = int(size[-1])
        if encoding in EBCDIC:
            return encode(text[:-1], encoding) + bytes([(0xD0 if whole < 0 else 0xC0) + last])
        letters = {"overpunched": ("{ABCDEFGHI", "}JKLMNOPQR"), "zoned": ("0123456789", "pqrstuvwxy")}[f.sign]
        return encode(text[:-1], encoding) + letters[whole < 0][last].encode("ascii")  # the byte, whatever its letter
    if f.sign == "trailing":
        body = size.zfill(room) if f.pad == "0" and f.right else (size.rjust if f.right else size.ljust)(room, f.pad)
        return encode(body + (minus or " "), encoding)
    if f.right and f.pad == "0":
        return encode(minus + size.zfill(f.length - len(minus)), encoding)
    text = minus + size
    return encode(text.rjust(f.length, f.pad) if f.right else text.ljust(f.length, f.pad), encoding)
