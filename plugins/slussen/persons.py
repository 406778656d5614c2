"""Protected persons: what a policy does to their records, and the count that proves that nobody was lost on the way.

``block``: the record does not leave. ``mask``: the fields that the layout marks ``protected`` are emptied, or take the
layout's own value, the record stays. ``pass``: it leaves as it is, for a stated reason. ``hold``: likewise, once a
person has said so at the gate. ``none``: no persons here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from slussen.errors import CallError, redacted

if TYPE_CHECKING:
    import pyarrow as pa

    from slussen.records.layout import Layout
    from slussen.records.letters import Bools

POLICIES = ("block", "mask", "pass", "hold", "none")


@dataclass(slots=True)
class Counts:
    """Records of protected persons: in, and what became of them."""

    protected: int = 0
    blocked: int = 0
    masked: int = 0
    passed: int = 0

    def add(self, other: Counts) -> None:
        self.protected += other.protected
        self.blocked += other.blocked
        self.masked += other.masked
        self.passed += other.passed

    @property
    def conserved(self) -> bool:
        return self.protected == self.blocked + self.masked + self.passed

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def check(layout: Layout, policy: str) -> None:
    """Can this policy be kept with this layout?

    Raises:
        CallError: there is no such policy, or the layout has nothing to mask.
    """
    if policy not in POLICIES:
        raise CallError(f"no policy {policy!r} for protected persons: one of {', '.join(POLICIES)}")
    if policy == "mask" and not any(f.protected is not None for f in layout.fields):
        raise CallError(f"{layout.format} marks no field as protected: mask would let everything through")


def apply(batch: pa.RecordBatch, layout: Layout, policy: str) -> tuple[pa.RecordBatch, Counts]:
    """The batch as the policy lets it leave. The batch has a boolean column ``protected``; null is not.

    Raises:
        CallError: there is no such policy, or the layout has nothing to mask.
    """
    import pyarrow.compute as pc

    from slussen.records.edit import blanked

    check(layout, policy)
    if policy == "none":
        return batch, Counts()
    flagged = pc.fill_null(batch.column("protected"), False)
    n = pc.sum(flagged).as_py() or 0
    if n == 0 or policy in ("pass", "hold"):
        return batch, Counts(protected=n, passed=n)
    if policy == "block":
        return batch.filter(pc.invert(flagged)), Counts(protected=n, blocked=n)
    return blanked(batch, layout, flagged), Counts(protected=n, masked=n)


def register(database: str) -> list[str]:
    """The personal numbers of everybody whom the population register protects, in order: some in a thousand."""
    from slussen.database import connect

    with connect(database) as bosko, redacted("the population register"):
        rows = bosko.execute("select personnr from bosko.person where protected order by 1").fetchall()
    return [str(r[0]) for r in rows]


class Protected:
    """Which records of a file are about protected persons: those whom the file itself flags, in whichever of its
    records, and those whom the population register protects (``numbers``, 12 digits); relatives count too.
    """

    def __init__(self, layout: Layout, numbers: Iterable[str]) -> None:
        self.layout = layout
        self._numbers = set(numbers)

    def see(self, batch: pa.RecordBatch) -> None:
        """Learn whom these records flag."""
        import pyarrow as pa

        person = self.layout.person_field
        if person is not None and self.layout.flag_fields:
            flagged = batch.column(person).filter(pa.array(self._flagged(batch)))
            self._numbers.update(n for n in flagged.unique().to_pylist() if n is not None)

    def rows(self, batch: pa.RecordBatch) -> Bools:
        """Which of these records are about them, ``(n,)``."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        found = self._flagged(batch)
        numbers = pa.array(sorted(self._numbers), pa.string())
        for name in self.layout.numbers:
            found |= np.asarray(pc.is_in(batch.column(name), value_set=numbers, skip_nulls=True))
        return found

    def _flagged(self, batch: pa.RecordBatch) -> Bools:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        found: Bools = np.zeros(batch.num_rows, np.bool_)
        for name, values in self.layout.flag_fields.items():
            found |= np.asarray(pc.is_in(batch.column(name), value_set=pa.array(values, pa.string()), skip_nulls=True))
        return found
