"""Personal numbers, against the slow rule: every date, every serial, every place."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.identities import check_digit, number
from slussen.records import identities
from tests import reference


@given(st.lists(st.text("0123456789TJ", min_size=12, max_size=12), min_size=1), st.data())
def test_a_personal_number_is_valid_when_the_slow_rule_says_so(wild: list[str], data: st.DataObject) -> None:
    near = [
        number(born, serial, coordination=coordination)
        for born, serial, coordination in data.draw(
            st.lists(
                st.tuples(st.dates(dt.date(1800, 1, 1), dt.date(2199, 12, 31)), st.integers(0, 999), st.booleans())
            )
        )
    ]
    bent = [n[:-1] + str((int(n[-1]) + 1) % 10) for n in near]
    every = wild + near + bent
    matrix = np.frombuffer("".join(every).encode(), np.uint8).reshape(-1, 12)
    assert identities.valid(matrix).tolist() == [reference.valid_number(n) for n in every]


def checked(born: str, serial: str) -> str:
    """A number of this date and serial, with its check digit."""
    return f"{born}{serial}{check_digit(born[2:] + ('1' if serial[0].isalpha() else serial[0]) + serial[1:])}"


def told(numbers: list[str]) -> dict[str, bool]:
    matrix = np.frombuffer("".join(numbers).encode("latin-1"), np.uint8).reshape(-1, 12)
    return dict(zip(numbers, identities.valid(matrix).tolist(), strict=True))


@pytest.mark.parametrize("century", range(17, 23))
def test_a_date_of_birth_is_one_that_there_was(century: int) -> None:
    days = [*range(33), *range(59, 94)]
    numbers = [
        checked(f"{century}{year:02}{month:02}{day:02}", "239")
        for year in (0, 3, 4, 90, 96, 99) for month in (*range(15), 99) for day in days
    ]  # fmt: skip
    assert told(numbers) == {n: reference.valid_number(n) for n in numbers}


def test_every_serial_but_three_zeros_is_somebodys_and_an_interim_numbers_letter_is_one_of_eleven() -> None:
    serials = [f"{n:03}" for n in range(1000)] + [f"{c}{n}" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for n in ("00", "39")]
    numbers = [checked("19891122", s) for s in serials]
    assert told(numbers) == {n: reference.valid_number(n) for n in numbers}
    assert [n[8:11] for n, right in told(numbers).items() if not right and n[8].isdigit()] == ["000"]
    wrong = [n[:-1] + str(digit) for n in numbers[1:40] for digit in range(10) if str(digit) != n[-1]]
    assert not any(told(wrong).values())


@pytest.mark.parametrize("other", "/:Aaå \0\xff")
def test_what_is_no_digit_makes_no_number_wherever_it_stands(other: str) -> None:
    right, county = "198911222399", "990123456789"
    assert told([right])[right]
    for place in range(12):
        one = right[:place] + other + right[place + 1 :]
        assert not told([one])[one], place
        matrix = np.frombuffer((county + county[:place] + other + county[place + 1 :]).encode("latin-1"), np.uint8)
        assert identities.reserve(matrix.reshape(-1, 12)).tolist() == [True, False]
    assert identities.reserve(np.frombuffer(b"890123456789980123456789", np.uint8).reshape(-1, 12)).sum() == 0
