"""Personal numbers of the test series, with right check digits: birth numbers 980 to 999, each given out once."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

FIRST, LAST = 980, 999


def check_digit(nine: str) -> int:
    """Modulus 10 over nine digits, weights 2, 1, 2 …"""
    total = 0
    for place, digit in enumerate(map(int, nine)):
        weighted = digit * (2 - place % 2)
        total += weighted - 9 if weighted > 9 else weighted
    return -total % 10


def number(born: date, serial: int, *, coordination: bool = False) -> str:
    """The personal number, or coordination number, of this date and serial: 12 digits."""
    day = born.day + (60 if coordination else 0)
    nine = f"{born:%y%m}{day:02}{serial:03}"
    return f"{born:%Y}"[:2] + nine + str(check_digit(nine))


class Register:
    """Gives out numbers, none twice."""

    def __init__(self, random: Random, taken: set[str]) -> None:
        self._random, self._taken = random, taken

    def born_between(self, first: date, last: date, *, woman: bool, coordination: bool = False) -> str:
        """A new number of somebody born between these days; women have even birth numbers."""
        while True:
            born = first + timedelta(days=self._random.randrange((last - first).days + 1))
            serial = self._random.randrange(FIRST, LAST + 1) // 2 * 2 + (0 if woman else 1)
            found = number(born, serial, coordination=coordination)
            if found not in self._taken:
                self._taken.add(found)
                return found
