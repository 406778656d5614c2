"""How dates and times are written: ``YYYYMMDD``, ``YYMMDD``, ``YYYYDDD``, ``hhmmss``, ``YYYY-MM-DD`` and their kin.

A form is made of ``YYYY`` or ``YY``, ``MM``, ``DD`` or ``DDD`` (day of the year), ``hh``, ``mm``, ``ss``, and other
characters that stand for themselves.
"""

from __future__ import annotations

import re
from functools import cache

PARTS = re.compile("YYYY|YY|MM|DDD|DD|hh|mm|ss")
USUAL = {
    "date": {8: "YYYYMMDD", 6: "YYMMDD", 7: "YYYYDDD", 5: "YYDDD", 10: "YYYY-MM-DD"},
    "time": {6: "hhmmss", 4: "hhmm", 8: "hh:mm:ss", 5: "hh:mm"},
    "timestamp": {14: "YYYYMMDDhhmmss", 12: "YYMMDDhhmmss", 19: "YYYY-MM-DD hh:mm:ss"},
}


def usual(kind: str, length: int) -> str:
    """The form that a field of this type and length has when it doesn't say."""
    known = USUAL[kind]
    return known.get(length) or next(iter(known.values()))


@cache
def parts(form: str) -> dict[str, tuple[int, int]]:
    """Where each part stands: first and last place, from 0, the last not included."""
    return {m.group(): m.span() for m in PARTS.finditer(form)}


@cache
def literals(form: str) -> tuple[tuple[int, str], ...]:
    """The characters that stand for themselves, with their places."""
    inside = {k for first, last in parts(form).values() for k in range(first, last)}
    return tuple((k, letter) for k, letter in enumerate(form) if k not in inside)


def wrong(form: str, kind: str) -> str:
    """What is wrong with a form for this type; nothing, when nothing is."""
    found = [m.group() for m in PARTS.finditer(form)]
    there = set(found)
    if len(found) != len(there) or ({"YYYY", "YY"} <= there) or ({"DD", "DDD"} <= there):
        return f"has a part twice in {form}"
    day = bool(there & {"YYYY", "YY"}) and (("DDD" in there) != ({"MM", "DD"} <= there))
    moment = "hh" in there and ("ss" not in there or "mm" in there)
    needs = {"date": day and not there & {"hh", "mm", "ss"}, "time": moment and not there & {"YYYY", "YY", "MM", "DD"},
             "timestamp": day and moment}  # fmt: skip
    if any(letter.isalnum() and letter != "T" for _, letter in literals(form)):
        return f"has a letter too many in {form}"
    return "" if needs[kind] else f"is no {kind} in the form {form}"
