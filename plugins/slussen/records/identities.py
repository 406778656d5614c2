"""Personal, coordination and interim numbers of 12 characters: a real date, a serial that exists, the check digit.

Source: SKV 704 edition 8 (2007). The check digit is modulus 10 over the last ten digits; a coordination number's day
has 60 added; an interim number's letter stands after the date and counts as 1; serial 000 is nobody's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INTERIM = np.frombuffer(b"JKLMNRSTUWX", np.uint8)
RESERVE = ord("9")
DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def reserve(numbers: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of these are a county's reserve numbers: 99, then ten digits (PU's 99ÅÅÅÅNNNNNC)?"""
    found: NDArray[np.bool_] = (numbers[:, :2] == RESERVE).all(axis=1) & ((numbers - np.uint8(ord("0"))) <= 9).all(
        axis=1
    )
    return found


def valid(numbers: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of these are right? ``(n, 12)`` ASCII bytes."""
    interim = np.isin(numbers[:, 8], INTERIM)
    digits = numbers.astype(np.int16) - ord("0")
    digits[interim, 8] = 1
    ok = ((digits >= 0) & (digits <= 9)).all(axis=1)
    year = digits[:, 0] * 1000 + digits[:, 1] * 100 + digits[:, 2] * 10 + digits[:, 3]
    month = digits[:, 4] * 10 + digits[:, 5]
    day = digits[:, 6] * 10 + digits[:, 7]
    day = np.where(day > 60, day - 60, day)
    ok &= (year >= 1800) & (year <= 2199) & (month >= 1) & (month <= 12)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = DAYS[np.clip(month, 0, 12)] - ((month == 2) & ~leap)
    ok &= (day >= 1) & (day <= longest)
    ok &= interim | (digits[:, 8:11] != 0).any(axis=1)
    doubled = digits[:, 2:].copy()
    doubled[:, ::2] *= 2
    doubled = np.where(doubled > 9, doubled - 9, doubled)
    result: NDArray[np.bool_] = ok & (doubled.sum(axis=1) % 10 == 0)
    return result
