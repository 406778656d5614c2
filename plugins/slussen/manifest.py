"""The manifest: what a task hands to the next one. Small, and free of values of records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One interchange at one step. XCom carries its dict (under 2 kB); the bytes stay in the payload store.

    ``bytes`` is a count; ``totals`` are control totals by name (``records.H``, ``sum.amount``);
    ``header`` holds what the file's header says about the file itself, never about a person; ``stage`` is a table, and
    ``stage_sha256`` the hash of its rows as they were copied in: a stage made again must have the same.
    """

    integration: str
    interchange: str
    name: str = ""
    sha256: str = ""
    bytes: int = 0
    records: int = 0
    layout: str = ""
    layout_version: int = 0
    encoding: str = ""
    stage: str = ""
    stage_sha256: str = ""
    totals: dict[str, int] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    made_from: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"made_from": list(self.made_from)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data | {"made_from": tuple(data.get("made_from", ()))})

    def but(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return replace(self, **changes)
