"""What the gate owes every row (conservation, canaries, volume, duplicates), and why a row has not one of them.

A reason is declared (``Integration.without``), or follows from what the row is: without persons nobody can be lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from slussen.quality import duplicates, seen, volume

if TYPE_CHECKING:
    from psycopg import sql

    from slussen.database import Connection
    from slussen.integration import Integration
    from slussen.manifest import Manifest
    from slussen.quality.report import Check
    from slussen.quality.suite import Suite

TIERS = ("same name", "same content", "same business keys", "same totals")
UNDECLARED = "the suite declares no business key"
ALL = ("conservation", "canaries", "volume", *(f"duplicates: {tier}" for tier in TIERS))


@dataclass(frozen=True)
class Duties:
    """A row's duties at a gate. ``sent``: its interchanges that were sent, or may have been; ``now``: the run's."""

    now: datetime
    sent: Sequence[str] = ()
    without: dict[str, str] = field(default_factory=dict)

    def owes(self, duty: str) -> bool:
        return duty not in self.without


def reasons(integration: Integration, suite: Suite) -> dict[str, str]:
    """The duties that this row has not, each with its reason. Every other one is carried."""
    i = integration
    found: dict[str, str] = {}
    if i.persons == "none":
        found |= dict.fromkeys(("conservation", "canaries"), "there are no persons in it")
    elif i.persons in ("pass", "hold"):
        found["canaries"] = f"protected persons may be in it: {i.persons_reason}"
    if i.source.transport == "database":
        found["duplicates: same name"] = "the name has a number of our own sequence"
    elif not set("*?{[") & set(i.source.name):
        found["duplicates: same name"] = "the source's name is always the same"
    if i.repeats == "fine":
        why = "the same again is no duplicate here: repeats are declared fine"
        found |= {f"duplicates: {tier}": why for tier in TIERS if f"duplicates: {tier}" not in found}
    if suite.business_key is None:
        found.setdefault("duplicates: same business keys", UNDECLARED)
    for duty, why in i.without.items():
        if duty == "duplicates":
            found |= {f"duplicates: {tier}": why for tier in TIERS}
        else:
            found[duty] = why
    return found


def checks(
    duties: Duties, stage: Connection, table: sql.Identifier, manifest: Manifest, suite: Suite, totals: dict[str, int]
) -> Iterator[Check]:
    """Volume and duplicates, as far as they are owed; and what this interchange leaves to be compared with."""
    before = seen.earlier(stage, manifest, duties.sent, duties.now)
    seen.keep(stage, manifest, totals, duties.now)
    if duties.owes("volume"):
        yield volume.compare(suite.volume.count(manifest.records, totals), before, suite.volume, duties.now)
    if duties.owes("duplicates: same name"):
        yield duplicates.same_name(manifest, before, duties.now)
    if duties.owes("duplicates: same content"):
        yield duplicates.same_bytes(manifest, before, duties.now)
    if suite.business_key is not None and duties.owes("duplicates: same business keys"):
        n = seen.bring_keys(stage, table, suite.business_key, manifest.integration)
        seen.keep_keys(stage, manifest.interchange)
        yield duplicates.same_business(stage, suite.business_key, n, before, duties.now)
    if duties.owes("duplicates: same totals"):
        yield duplicates.same_totals(manifest, totals, before, duties.now)
