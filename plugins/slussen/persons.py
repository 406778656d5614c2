"""Protected persons: what a policy does to their records, and the count that proves that nobody was lost on the way.

``block``: the record does not leave. ``mask``: the fields that the layout marks ``protected`` are emptied, or take the
layout's own value, the record stays. ``pass``: it leaves as it is, for a stated reason. ``hold``: likewise, once a
person has said so at the gate. ``none``: no persons here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from slussen.errors import CallError

if TYPE_CHECKING:
    import pyarrow as pa

    from slussen.records.layout import Layout

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


def apply(batch: pa.RecordBatch, layout: Layout, policy: str) -> tuple[pa.RecordBatch, Counts]:
    """The batch as the policy lets it leave. The batch has a boolean column ``protected``; null is not.

    Raises:
        CallError: there is no such policy, or the layout has nothing to mask.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if policy not in POLICIES:
        raise CallError(f"no policy {policy!r} for protected persons: one of {', '.join(POLICIES)}")
    if policy == "mask" and not any(f.protected is not None for f in layout.fields):
        raise CallError(f"{layout.format} marks no field as protected: mask would let everything through")
    if policy == "none":
        return batch, Counts()
    flagged = pc.fill_null(batch.column("protected"), False)
    n = pc.sum(flagged).as_py() or 0
    if n == 0 or policy in ("pass", "hold"):
        return batch, Counts(protected=n, passed=n)
    if policy == "block":
        return batch.filter(pc.invert(flagged)), Counts(protected=n, blocked=n)
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        spec = layout.field(field.name)
        if spec is not None and spec.protected is not None:
            value = None if spec.protected == "blank" else spec.protected
            column = pc.if_else(flagged, pa.scalar(value, field.type), column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema), Counts(protected=n, masked=n)
