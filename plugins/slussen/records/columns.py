"""What reading or writing a field of many records gives: a column, and what is wrong in which rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from slussen.records.letters import Bools, Ints


@dataclass
class Fault:
    """What is wrong in some rows: ``within`` is the place in the cell; ``exact`` says that it is one byte's."""

    rule: str
    message: str
    rows: Ints
    within: Ints | None = None
    exact: bool = False


@dataclass
class Column:
    """A field's column, which of its cells were empty (none, if it doesn't say), and what was wrong."""

    values: pa.Array
    empty: Bools | None = None
    faults: list[Fault] = field(default_factory=list)
