"""Probing a partner before its window, or by hand: does everything that a delivery needs work there? Knows no Airflow.

What is written is an empty file under hidden temporary names, which no consumer takes, and it is removed again. What a
server doesn't tell (its clock, its free space) is said to be not told, and is no fault.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from slussen.errors import CallError, SlussenError, TechnicalError, TransportError, TransportRefused, describe
from slussen.transports import Exists

if TYPE_CHECKING:
    from slussen.ledger import Ledger
    from slussen.transports import Entry, Source, Transport

Result = Literal["fine", "warning", "failed", "not told"]
EMPTY = hashlib.sha256().hexdigest()
DAYS = (30, 7, 1)  # before a certificate expires
SKEW = 60  # seconds that a partner's clock may be off: time stamps, and certificates, are minutes' work
LITTLE = 1 << 30  # bytes free


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: ``detail`` is safe to log; ``seconds`` is how long it took."""

    name: str
    result: Result
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a TLS server shows, or we show it: when it was made, and when it expires (UTC)."""

    since: datetime
    until: datetime


@runtime_checkable
class Roomy(Protocol):
    """A transport that can tell how much room there is."""

    def space(self) -> int | None:
        """Free bytes, or None where the server doesn't tell."""
        ...


@runtime_checkable
class Lazy(Protocol):
    """A transport that connects when it has to: a message protocol's."""

    def connect(self) -> None:
        """Log in, everywhere that it would have to, and see that the partner's address is taken; nothing is sent."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A transport whose server tells the time with its answers."""

    def time(self) -> float | None:
        """What the server's clock said in its last answer, in seconds since 1970; None where it hasn't told."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """How one connection is reached.

    ``open`` connects, logs in and checks what is pinned. ``name`` is what a delivery there is called (the probe's names
    are made of it), ``pattern`` what is collected there; one of them may be empty. ``certificate`` looks at the
    server's, where there is one, ``own`` at ours that we show it.
    """

    connection: str
    transport: str
    open: Callable[[], Source]
    deliver: Callable[[], Transport] | None = None
    name: str = "slussen-probe"
    pattern: str = ""
    certificate: Callable[[], Certificate] | None = None
    own: Callable[[], Certificate] | None = None


@dataclass(slots=True)
class Probe:
    """What came of it."""

    connection: str
    transport: str
    at: datetime
    steps: list[Step] = field(default_factory=list)

    @property
    def verdict(self) -> Result:
        results = {s.result for s in self.steps}
        return "failed" if "failed" in results else "warning" if "warning" in results else "fine"

    def as_dict(self) -> dict[str, Any]:
        return {
            "connection": self.connection, "transport": self.transport, "at": self.at.isoformat(),
            "verdict": self.verdict, "steps": [asdict(s) for s in self.steps],
        }  # fmt: skip


def probe(partner: Partner) -> Probe:
    """Try everything; a partner's fault is a step that failed, never an exception.

    Raises:
        CallError: the connection itself is wrong.
    """
    done = Probe(partner.connection, partner.transport, datetime.now(UTC))
    if partner.certificate is not None:
        with _step(done, "certificate") as say:
            say(*_validity(partner.certificate(), done.at, "ask the partner for a renewed one"))
    if partner.own is not None:
        with _step(done, "our certificate") as say:
            say(*_validity(partner.own(), done.at, "have it renewed, and tell the partner"))
    with ExitStack() as opened:
        to: Transport | None = None
        clock: tuple[Result, str] | None = None
        with _step(done, "connect and log in"):
            if partner.deliver is not None:
                there: Source = (to := opened.enter_context(partner.deliver()))
            else:
                there = opened.enter_context(partner.open())
            if isinstance(there, Lazy):
                there.connect()
                theirs = there.time() if isinstance(there, Timed) else None
                clock = ("not told", "") if theirs is None else _offset(theirs, time.time())
        if done.steps[-1].result == "failed":
            return done
        if clock is not None:
            with _step(done, "clock") as say:
                say(*clock)
        if to is not None:
            _try_files(done, partner, to)
            with _step(done, "free space") as say:
                say(*_space(to.space() if isinstance(to, Roomy) else None))
    if partner.pattern:
        with _step(done, "list") as say, partner.open() as source:
            say("fine", _files(source.entries(partner.pattern)))
    return done


def keep(ledger: Ledger, done: Probe, version: str) -> None:
    """Keep a probe as evidence, in the stream ``probe/<connection>``."""
    ledger.append(f"probe/{done.connection}", "probed", {**done.as_dict(), "version": version}, integration="")


def _try_files(done: Probe, partner: Partner, to: Transport) -> None:
    mark = f"probe{token_hex(4)}"
    one, two = (to.temporary(partner.name, mark, n) for n in (1, 2))
    try:
        before = time.time()
        with _step(done, "write"):
            to.put(one, BytesIO(), 0)
        if done.steps[-1].result == "failed":
            return
        after = time.time()
        with _step(done, "verify") as say:
            whole = to.verify(one, 0, EMPTY)
            say("fine" if whole else "failed", "" if whole else "what was written is not what stands there")
        with _step(done, "clock") as say:
            say(*_clock(partner.transport, to.stat(one), (before + after) / 2))
        with _step(done, "rename") as say:
            to.rename(one, two, replace=False)
            moved = to.exists(two) and not to.exists(one)
            say("fine" if moved else "failed", "" if moved else "it stands under both names, or under none")
        if done.steps[-1].result == "fine":
            with _step(done, "rename onto a name that is taken") as say:
                to.put(one, BytesIO(), 0)
                say(*_overwrites(to, one, two))
    finally:
        with _step(done, "delete") as say:
            try:
                left = _removed(to, one, two)
            except TransportError:  # perhaps only this connection has failed
                left = (one, two)
            if left and partner.deliver is not None:
                with _naming(left), partner.deliver() as again:
                    left = _removed(again, one, two)
            say("failed" if left else "fine", f"{' and '.join(left)} can't be removed" if left else "")


def _removed(to: Transport, *names: str) -> tuple[str, ...]:
    """Those that are still there."""
    for name in names:
        to.remove(name)
    return tuple(name for name in names if to.exists(name))


@contextmanager
def _naming(names: tuple[str, ...]) -> Iterator[None]:
    """Whoever has to take them away must know what they are called."""
    try:
        yield
    except (TransportError, TransportRefused) as error:
        raise type(error)(f"{' or '.join(names)} may be left there: {error}") from None


def _overwrites(to: Transport, one: str, two: str) -> tuple[Result, str]:
    """Is a taken name refused when it is to be, and replaced when it is to be?"""
    try:
        to.rename(one, two, replace=False)
    except Exists:
        pass
    else:
        return "failed", "it was replaced, although it should have been refused"
    if not to.replaces:
        return "fine", "refused"
    to.rename(one, two, replace=True)
    return "fine", "refused, and replaced when it may be"


def _clock(transport: str, entry: Entry | None, ours: float) -> tuple[Result, str]:
    told = None
    if entry is not None:
        with suppress(ValueError):
            match transport:
                case "directory":  # nanoseconds, and a number that is no time
                    told = int(entry.modified.partition(".")[0]) / 1e9
                case "ftp":
                    digits = entry.modified.partition(".")[0]
                    told = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
                case "sftp":
                    told = float(entry.modified)
    return ("not told", "") if told is None else _offset(told, ours)


def _offset(told: float, ours: float) -> tuple[Result, str]:
    offset = round(told - ours)
    if abs(offset) <= 1:
        return "fine", "the same as ours"
    words = f"{abs(offset)} s {'ahead of' if offset > 0 else 'behind'} ours"
    return ("fine", words) if abs(offset) <= SKEW else ("warning", f"{words}: compare both with a time server")


def _validity(certificate: Certificate, now: datetime, what_to_do: str) -> tuple[Result, str]:
    left, age = (certificate.until - now).days, (now - certificate.since).days
    words = f"{age} days old, expires in {left} days ({certificate.until:%Y-%m-%d})"
    if certificate.until <= now:
        return "failed", f"expired on {certificate.until:%Y-%m-%d}: {what_to_do}"
    reached = [days for days in DAYS if left < days]
    return ("warning", f"{words}: fewer than {reached[-1]}, {what_to_do}") if reached else (
        "fine", words
    )  # fmt: skip


def _space(told: int | None) -> tuple[Result, str]:
    if told is None:
        return "not told", ""
    return "warning" if told < LITTLE else "fine", f"{told / 1e9:,.1f} GB"


def _files(entries: list[Entry]) -> str:
    return f"{len(entries)} file{'' if len(entries) == 1 else 's'} waiting"


@contextmanager
def _step(done: Probe, name: str) -> Iterator[Callable[[Result, str], None]]:
    """One step: fine unless it says otherwise; a fault of the partner is what it failed with."""
    said: list[tuple[Result, str]] = [("fine", "")]

    def say(result: Result, detail: str = "") -> None:
        said.append((result, detail))

    began = time.monotonic()
    try:
        yield say
    except (CallError, TechnicalError):
        raise
    except SlussenError as error:
        said.append(("failed", str(error)))
    except Exception as error:
        said.append(("failed", describe(error)))
    done.steps.append(Step(name, *said[-1], seconds=round(time.monotonic() - began, 3)))
