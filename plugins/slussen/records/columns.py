"""What reading or writing a field of many records gives: a column, and what is wrong in which rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from slussen.records.letters import Bools, Ints


@dataclass
class Fault:
    """What is wrong in some rows: ``within`` is the place in the cell; ``exact`` says that it is one byte's.

    ``said`` are the numbers that the message has a place for, one for each row.
    """

    rule: str
    message: str
    rows: Ints
    within: Ints | None = None
    exact: bool = False
    said: NDArray[Any] | None = None

    def text(self, k: int) -> str:
        """The message for its k-th row."""
        return self.message if self.said is None else self.message.format(self.said[k])

    def pick(self, which: Any) -> Fault:
        """The same for these of its rows only: a mask or their places."""
        within, said = (None if x is None else x[which] for x in (self.within, self.said))
        return Fault(self.rule, self.message, self.rows[which], within, self.exact, said)


@dataclass
class Column:
    """A field's column, which of its cells were empty (none, if it doesn't say), and what was wrong."""

    values: pa.Array
    empty: Bools | None = None
    faults: list[Fault] = field(default_factory=list)
