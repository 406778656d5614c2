"""Volume against history: is this as much as usual, for the time of the year?

Compared with the last deliveries and with those of the same weeks in earlier years: a school year has its own tides,
and August is like last August, not like July.
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
CHANCE = 3  # standard deviations that a count may vary by chance alone


def compare(records: int, seen: Sequence[Seen], volume: Volume, now: datetime) -> Check:
    """``seen``: earlier deliveries, newest first. A warning beyond the suite's tolerance holds the interchange."""
    last = list(seen[:LAST])
    years = [s for s in seen[LAST:] if any(abs(now - n * YEAR - s.at) <= WEEKS for n in range(1, YEARS + 1))]
    compared = [s.records for s in (*last, *years)]
    if not compared:
        return Check(RULE, "warning", True, records, message="nothing to compare with: the first delivery")
    low, high = min(compared), max(compared)
    least = low - max(volume.fewer * low, CHANCE * sqrt(low))
    most = high + max(volume.more * high, CHANCE * sqrt(high))
    if least <= records <= most:
        return Check(RULE, "warning", True, records)
    usual = f"{low}" if low == high else f"{low} to {high}"
    those = f"the last {len(last)} deliveries" if len(last) > 1 else "the last delivery"
    those += f" and {len(years)} in these weeks of earlier years" if years else ""
    return Check(
        RULE, "warning", False, high, int(abs(records - (high if records > most else low))),
        message=f"{records} records; {those} had {usual}",
        next_step="release only if it is known why there are so many more or fewer",
    )  # fmt: skip
