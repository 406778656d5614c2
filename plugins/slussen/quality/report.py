"""The gate's report: rules, counts, shares and record numbers; never a value."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from dataclasses import field as default
from typing import Any, Literal, Self

from slussen.errors import Finding, Severity

Verdict = Literal["pass", "warn", "hold", "fail"]
COMPARING = ("volume", "duplicates")  # rules that say what they have compared with
SHOWN = 100  # record numbers that a line of the report names


@dataclass(slots=True)
class Check:
    """One rule and what came of it. ``tolerated``: there are unexpected records, within the rule's tolerance.

    ``column`` is where the field begins in a fixed record, counted from 1.
    """

    rule: str
    severity: Severity
    ok: bool
    checked: int = 0
    unexpected: int = 0
    records: list[int] = default(default_factory=list)
    message: str = ""
    next_step: str = ""
    field: str = ""
    column: int | None = None

    @property
    def tolerated(self) -> bool:
        return self.ok and self.unexpected > 0

    @property
    def verdict(self) -> Verdict:
        if self.ok:
            return "warn" if self.tolerated else "pass"
        verdicts: dict[str, Verdict] = {"critical": "fail", "warning": "hold", "info": "warn"}
        return verdicts[self.severity]


@dataclass(slots=True)
class GateReport:
    """Everything that the gate looked at, worst first in its verdict."""

    interchange: str
    integration: str
    file: str = ""
    suite_version: int = 0
    checks: list[Check] = default(default_factory=list)
    located: list[Finding] = default(default_factory=list)  # of the parser: with column and byte
    protected: dict[str, int] = default(default_factory=dict)
    register: dict[str, Any] = default(default_factory=dict)
    without: dict[str, str] = default(default_factory=dict)  # duties that the row has not, each with its reason

    @property
    def verdict(self) -> Verdict:
        order: tuple[Verdict, ...] = ("pass", "warn", "hold", "fail")
        return max((c.verdict for c in self.checks), key=order.index, default="pass")

    @property
    def findings(self) -> list[Finding]:
        """Every fault as a finding; those that the parser located come first."""
        found = [f.at(integration=self.integration, file=self.file) for f in self.located]
        for check in self.checks:
            if check.ok or check.rule == "layout conformity":
                continue
            places: list[int | None] = [*check.records[:SHOWN]] or [None]
            for record in places:
                found.append(
                    Finding(
                        check.rule.replace(" ", "_"),
                        check.message or f"{check.unexpected} of {check.checked} records",
                        check.next_step or "correct it at the source, then clear from the first step",
                        severity=check.severity,
                        integration=self.integration,
                        file=self.file,
                        record=record,
                        field=check.field,
                        column=check.column,
                    )
                )
        return found

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "verdict": self.verdict,
            "checks": [asdict(c) | {"verdict": c.verdict} for c in self.checks],
            "located": [f.as_dict() for f in self.located],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        plain = {k: v for k, v in data.items() if k != "verdict"}
        checks = [Check(**{k: v for k, v in c.items() if k != "verdict"}) for c in plain.pop("checks")]
        located = [Finding(**f) for f in plain.pop("located")]
        return cls(**plain, checks=checks, located=located)

    def table(self) -> str:
        """The report as people read it: what is wrong first, then how many rules held."""
        from rich.console import Console
        from rich.table import Table

        table = Table("rule", "severity", "verdict", "unexpected", "of", "share", "records", title_justify="left",
                      title=f"{self.interchange}: {self.verdict}")  # fmt: skip
        for c in sorted(self.checks, key=lambda c: c.verdict):
            if c.ok and not c.tolerated:
                continue
            share = f"{c.unexpected / c.checked:.2%}" if c.checked else ""
            records = ", ".join(map(str, c.records[:12])) + (" …" if len(c.records) > 12 else "")
            comparing = c.rule.startswith(COMPARING)
            rule = f"{c.rule}: {c.message}" if comparing and c.message else c.rule
            where = records if records or comparing else c.message
            table.add_row(rule, c.severity, c.verdict, str(c.unexpected), str(c.checked), share, where)
        out = io.StringIO()
        console = Console(file=out, width=150)
        if table.row_count:
            console.print(table)
        held = sum(c.ok and not c.tolerated for c in self.checks)
        persons = ", ".join(f"{n} {what}" for what, n in self.protected.items())
        console.print(
            f"{held} of {len(self.checks)} rules hold" + (f"; protected persons: {persons}" if persons else "")
        )
        for c in self.checks:
            if c.verdict == "pass" and c.rule.startswith(COMPARING) and c.message:
                console.print(f"{c.rule}: {c.message}", highlight=False, markup=False, soft_wrap=True)
        for duty, reason in self.without.items():
            console.print(f"without {duty}: {reason}", highlight=False, markup=False, soft_wrap=True)
        return out.getvalue().rstrip()
