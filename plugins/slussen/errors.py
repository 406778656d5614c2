"""What can go wrong, sorted by whose it is, and said without a single value of a record.

Everything that reads records raises these and nothing else: a library's own message (psycopg, Arrow, a codec)
quotes the value that it stumbled over, and would carry it into the task log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, named by its place and rule, never by its value.

    ``record`` counts from 1; ``column`` is the 1-based position within the record (fixed) or line (tagged);
    ``offset`` is the 0-based byte offset in the file; ``byte`` is the byte at fault in hex, where one is.
    """

    rule: str
    message: str
    next_step: str = ""
    severity: Severity = "critical"
    integration: str = ""
    file: str = ""
    record: int | None = None
    record_type: str = ""
    field: str = ""
    column: int | None = None
    length: int | None = None
    offset: int | None = None
    byte: str | None = None

    def at(self, *, integration: str, file: str) -> Finding:
        """The same finding, with its integration and file."""
        return replace(self, integration=integration, file=file)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ledger, report and ``--json``; what is not known is left out."""
        return {k: v for k, v in asdict(self).items() if v not in (None, "")}

    @property
    def place(self) -> str:
        """``record 17 (H), field apar_name, column 218-247, byte 81 at offset 32117 (0x7d75)``."""
        parts = []
        if self.record is not None:
            parts.append(f"record {self.record}" + (f" ({self.record_type})" if self.record_type else ""))
        if self.field:
            parts.append(f"field {self.field}")
        if self.column is not None:
            last = f"-{self.column + self.length - 1}" if self.length and self.length > 1 else ""
            parts.append(f"column {self.column}{last}")
        if self.offset is not None:
            byte = f"byte {self.byte} " if self.byte else ""
            parts.append(f"{byte}at offset {self.offset} (0x{self.offset:x})")
        elif self.byte:
            parts.append(f"byte {self.byte}")
        return ", ".join(parts)

    def __str__(self) -> str:
        where = ": ".join(p for p in (self.integration, self.file, self.place) if p)
        text = f"{where}: {self.message} [{self.rule}]" if where else f"{self.message} [{self.rule}]"
        return f"{text}. Next: {self.next_step}" if self.next_step else text


class Findings:
    """The findings of one file: the first ``limit`` kept whole, all counted by rule."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.kept: list[Finding] = []
        self.counts: Counter[str] = Counter()

    def add(self, finding: Finding) -> None:
        self.counts[finding.rule] += 1
        if len(self.kept) < self.limit:
            self.kept.append(finding)

    def first(self, finding: Finding) -> None:
        """Add what explains the others: it stands before them, and is kept whatever their number."""
        self.counts[finding.rule] += 1
        self.kept = [finding, *self.kept][: max(self.limit, 1)]

    def merge(self, others: Findings, told: Callable[[Finding], Finding] = lambda f: f) -> None:
        """Take in the findings of a part of the file, as they are ``told`` of the whole."""
        self.counts.update(others.counts)
        self.kept += map(told, others.kept[: max(0, self.limit - len(self.kept))])

    def count(self, rule: str, n: int) -> None:
        """Count ``n`` more findings of a rule without keeping them (past the limit)."""
        if n:
            self.counts[rule] += n

    def some(self, rule: str, places: Any) -> list[int]:
        """As many of these places (an array) as can be kept, to be added one by one; the others are counted."""
        room = max(self.limit - len(self.kept), 0)
        self.count(rule, len(places[room:]))
        found: list[int] = places[:room].tolist()
        return found

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def full(self) -> bool:
        return len(self.kept) >= self.limit

    def __bool__(self) -> bool:
        return self.total > 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.kept)

    def __len__(self) -> int:
        return self.total

    def __str__(self) -> str:
        return "1 finding" if self.total == 1 else f"{self.total:,} findings"


class SlussenError(Exception):
    """Base of all: its text is safe to log."""


class ContentError(SlussenError):
    """The data is at fault: never retried, the interchange goes to quarantine."""

    def __init__(self, findings: Findings | list[Finding], summary: str = "") -> None:
        self.findings = list(findings)
        self.total = findings.total if isinstance(findings, Findings) else len(findings)
        lines = [str(f) for f in self.findings[:10]]
        if self.total > len(lines):
            lines.append(f"… and {self.total - len(lines)} more")
        super().__init__("\n".join(([summary] if summary else []) + lines))


class CallError(SlussenError):
    """The caller is at fault: a wrong argument, an unknown layout, a bad declaration."""


class TransportError(SlussenError):
    """The partner or the network failed in a way that passes: retried."""


class TransportRefused(SlussenError):
    """The partner said no for good (permission, host key, unknown directory): not retried."""


class NameTaken(SlussenError):
    """A different file stands under the final name: the interchange is held, nothing is overwritten."""


class TechnicalError(SlussenError):
    """Ours: a database, a disk, a gate that could not finish. Retried, then on-call is paged."""


class StageGone(TechnicalError):
    """The stage is not what the manifest says: PostgreSQL empties unlogged tables when it has crashed. Stage again."""


@contextmanager
def redacted(doing: str) -> Iterator[None]:
    """Turn a library's exception into ours, without its text.

    Keeps the exception's type, PostgreSQL's SQLSTATE, table and column names, and an operating system's errno:
    none of them can hold a value of a record. The cause is cut off, so that no traceback prints it.
    """
    try:
        yield
    except SlussenError:
        raise
    except Exception as error:
        raise TechnicalError(f"{doing}: {describe(error)}") from None


def describe(error: BaseException) -> str:
    """An exception's class and the codes it carries, never its message."""
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    parts = []
    if sqlstate := getattr(error, "sqlstate", None):
        parts.append(f"SQLSTATE {sqlstate}")
    diag = getattr(error, "diag", None)
    for what in ("schema_name", "table_name", "column_name", "constraint_name"):
        if value := getattr(diag, what, None):
            parts.append(f"{what.removesuffix('_name')} {value}")
    if isinstance(error, OSError) and error.errno is not None:
        parts.append(f"errno {error.errno}")
    return f"{name} ({', '.join(parts)})" if parts else name
