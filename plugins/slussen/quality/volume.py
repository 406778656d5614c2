"""Volume against history: is this as much as usual, for the time of the year?

Compared with the last deliveries and with those of the same weeks in earlier years: a school year has its own tides,
and August is like last August, not like July.

A suite's tolerance is a share. Of few records chance takes more than that: a count's square root varies by half,
whatever the count, so that one three standard deviations below n is (sqrt(n) - 1.5)^2, and one above (sqrt(n) + 1.5)^2.
Of less than nine that would soon be nothing at all; but chance takes no more than three quarters of any number, so that
3 after 9, and 1 after 4, are usual; 2 after 9, 1 after 5 and none after any are not. More than that must be the
suite's declared tolerance, and even one of 99 % doesn't let a count fall to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import sqrt
from typing import TYPE_CHECKING

from slussen.quality.report import Check

if TYPE_CHECKING:
    from slussen.quality.seen import Seen
    from slussen.quality.suite import Volume

RULE = "volume against history"
LAST = 8  # deliveries that are compared with
WEEKS = timedelta(days=21)  # before and after the same day of earlier years
YEAR = timedelta(days=364)  # so that weekdays are the same
YEARS = 3
CHANCE = 1.5  # three standard deviations of a count's square root
LEFT = 1 / 4  # of a count, whatever chance does


def compare(records: int, seen: Sequence[Seen], volume: Volume, now: datetime) -> Check:
    """``records``: how many there are, of the suite's type if it names one; ``seen``: earlier deliveries, newest first.

    A warning beyond the suite's tolerance holds the interchange; so does nothing at all, where nothing came before.
    """
    last = list(seen[:LAST])
    years = [s for s in seen[LAST:] if any(abs(now - n * YEAR - s.at) <= WEEKS for n in range(1, YEARS + 1))]
    compared = [volume.count(s.records, s.totals) for s in (*last, *years)]
    if not compared:
        first = "nothing to compare with: the first delivery"
        return Check(RULE, "warning", records > 0, records, message=first if records else f"nothing in it, and {first}")
    low, high = min(compared), max(compared)
    by_chance = max(LEFT * low, max(sqrt(low) - CHANCE, 0) ** 2)
    least = min((1 - volume.fewer) * low, by_chance)
    most = max((1 + volume.more) * high, (sqrt(high) + CHANCE) ** 2)
    if least <= records <= most:
        return Check(RULE, "warning", True, records)
    usual = f"{low}" if low == high else f"{low} to {high}"
    those = f"the last {len(last)} deliveries" if len(last) > 1 else "the last delivery"
    those += f" and {len(years)} in these weeks of earlier years" if years else ""
    return Check(
        RULE, "warning", False, high, int(abs(records - (high if records > most else low))),
        message=f"{records} records{f' of type {volume.of}' if volume.of else ''}; {those} had {usual}",
        next_step="release only if it is known why there are so many more or fewer",
    )  # fmt: skip
