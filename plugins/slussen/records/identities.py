"""Personal, coordination and interim numbers of 12 characters: a real date, a serial that exists, the check digit.

Source: SKV 704 edition 8 (2007). The check digit is modulus 10 over the last ten digits; a coordination number's day
has 60 added; an interim number's letter stands after the date and counts as 1; serial 000 is nobody's.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

INTERIM = np.frombuffer(b"JKLMNRSTUWX", np.uint8)
RESERVE = ord("9")
DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.uint8)
NONE = 255


def reserve(numbers: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of these are a county's reserve numbers: 99, then ten digits (PU's 99ÅÅÅÅNNNNNC)?"""
    found: NDArray[np.bool_] = (numbers[:, :2] == RESERVE).all(axis=1) & ((numbers - np.uint8(ord("0"))) <= 9).all(
        axis=1
    )
    return found


@cache
def pairs() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """By two digits (as a number of 16 bits): their value, and what they add to the check sum; ``NONE`` for others."""
    value, added = np.full(1 << 16, NONE, np.uint8), np.zeros(1 << 16, np.uint8)
    for number in range(100):
        high, low = divmod(number, 10)
        place = int.from_bytes(b"%02d" % number, "little")
        value[place] = number
        added[place] = sum(divmod(2 * high, 10)) + low
    return value, added


def valid(numbers: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of these are right? ``(n, 12)`` ASCII bytes."""
    interim = np.isin(np.arange(256), INTERIM)[numbers[:, 8]]
    if interim.any():
        numbers = numbers.copy()
        numbers[interim, 8] = ord("1")
    value, added = pairs()
    both = np.ascontiguousarray(numbers.T[::2] | numbers.T[1::2].astype(np.uint16) << 8)
    part = value[both]
    century, year, month, day, serial, last = part
    ok: NDArray[np.bool_] = part.max(axis=0) < NONE
    day = np.where(day > 60, day - 60, day)
    ok &= (century >= 18) & (century <= 21) & (month >= 1) & (month <= 12)
    leap = (year % 4 == 0) & ((year != 0) | (century % 4 == 0))
    longest = DAYS[np.minimum(month, 12)] - ((month == 2) & ~leap)
    ok &= (day >= 1) & (day <= longest)
    ok &= interim | (serial != 0) | (last >= 10)
    ok &= added[both[1:]].sum(axis=0, dtype=np.uint8) % 10 == 0
    return ok
