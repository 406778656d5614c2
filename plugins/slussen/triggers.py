"""The trigger that waits for files, for all integrations at once in one triggerer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from slussen import watching
from slussen.errors import SlussenError, TransportError, TransportRefused, describe
from slussen.integration import Endpoint

if TYPE_CHECKING:
    from slussen.transports import Source

THREADS = 8  # looks at a time, over all partners; and one at a time for each
SHORTEST, LONGEST = 0.5, 15.0  # seconds between looks
KEPT = 60.0  # seconds that a connection is looked over
REST = 1.0  # seconds that a partner is left alone after a fault
LONGEST_TROUBLE = 300.0  # seconds between looks at a partner that can't be reached
# Seconds before a trigger may fire. Airflow 3.3 fails a task that is woken before its scheduler has heard that it was
# deferred (apache/airflow#67287, mended in #68741).
SETTLED = 5.0


class FilesTrigger(BaseTrigger):
    """Looks at a source until files there have stood still, or until it is too late.

    The event is a hint: ``ready`` are fingerprints of what has stood still, ``closed`` says that it is too late,
    ``trouble`` what was wrong with the last look. Whoever is woken looks for himself.

    :param endpoint: the source's declaration as a dict.
    :param patterns: what to look for; of several, one of each makes a set.
    :param until: an instant of the real clock, ISO 8601.
    :param quiet: seconds that a file must stay as it is.
    :param ignored: fingerprints of what is somebody else's.
    """

    def __init__(
        self, *, endpoint: dict[str, Any], patterns: Sequence[str], until: str, quiet: float,
        ignored: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()  # type: ignore[no-untyped-call]
        self.endpoint, self.patterns, self.until = endpoint, tuple(patterns), until
        self.quiet, self.ignored = quiet, tuple(ignored)

    @classmethod
    def of(
        cls, endpoint: Endpoint, patterns: Sequence[str], until: datetime, quiet: float, ignored: Collection[str]
    ) -> FilesTrigger:
        """The trigger that waits at an endpoint."""
        return cls(
            endpoint=asdict(endpoint), patterns=patterns, until=until.astimezone(UTC).isoformat(), quiet=quiet,
            ignored=sorted(ignored),
        )  # fmt: skip

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As Airflow keeps it: plain JSON."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "endpoint": self.endpoint,
                "patterns": list(self.patterns),
                "until": self.until,
                "quiet": self.quiet,
                "ignored": list(self.ignored),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, and look again; one event, then nothing more."""
        endpoint, ignored = Endpoint(**self.endpoint), frozenset(self.ignored)
        observer, trouble, failures = watching.Watching(endpoint, self.quiet), "", 0
        every = min(max(self.quiet / 2, SHORTEST), LONGEST)
        await asyncio.sleep(SETTLED)
        while True:
            try:
                at, seen = await lookout().look(endpoint, self.patterns, every / 2)
            except TransportRefused as error:  # it doesn't pass: the task finds the same, and says so
                yield _event(trouble=str(error))
                return
            except SlussenError as error:
                trouble, failures = str(error), failures + 1
                self.log.warning("looked in vain, %d in a row: %s", failures, trouble)
            else:
                trouble, failures = "", 0
                if found := watching.ready(seen, observer.observe(seen, at), ignored, self.patterns):
                    yield _event(ready=found)
                    return
            left = (datetime.fromisoformat(self.until) - datetime.now(UTC)).total_seconds()
            if left <= 0:
                yield _event(closed=True, trouble=trouble)
                return
            pause = min(every * 2 ** min(failures, 10), max(every, LONGEST_TROUBLE))
            await asyncio.sleep(min(pause * random.uniform(0.9, 1.1), left + SHORTEST))


def _event(*, ready: Sequence[str] = (), closed: bool = False, trouble: str = "") -> TriggerEvent:
    return TriggerEvent({"ready": list(ready), "closed": closed, "trouble": trouble})  # type: ignore[no-untyped-call]


class Lookout:
    """Looks at sources in threads; who wants the same look at the same time shares it.

    A few threads for all, and one look at a time at each partner, over a connection that is kept for a minute: a
    hundred integrations that wait are no hundred connections.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "slussen-look")
        self._partners: dict[tuple[str, ...], _Partner] = {}
        self._looks: dict[tuple[Any, ...], tuple[float, asyncio.Task[tuple[float, watching.Look]]]] = {}

    async def look(self, endpoint: Endpoint, patterns: tuple[str, ...], fresh: float) -> tuple[float, watching.Look]:
        """What is there, not older than ``fresh`` seconds, and when that was seen (monotonic).

        Raises:
            SlussenError: the partner failed, or refused.
        """
        key = (endpoint.transport, endpoint.connection, endpoint.product, endpoint.marker, patterns)
        began, task = self._looks.get(key, (0.0, None))
        if task is None or (task.done() and time.monotonic() - began > fresh):
            await self._forget()
            task = asyncio.create_task(self._look(endpoint, patterns))
            self._looks[key] = time.monotonic(), task
        return await asyncio.shield(task)

    async def _look(self, endpoint: Endpoint, patterns: tuple[str, ...]) -> tuple[float, watching.Look]:
        key = (endpoint.transport, endpoint.connection, endpoint.product)
        partner = self._partners.setdefault(key, _Partner())
        seen: tuple[float, watching.Look] = await self._in_thread(partner, partner.look, endpoint, patterns)
        return seen

    async def _forget(self) -> None:
        """Old looks are let go (a listing may be long), and connections that nobody looks over."""
        now = time.monotonic()
        for key in [k for k, (began, task) in self._looks.items() if task.done() and now - began > LONGEST]:
            del self._looks[key]
        for partner in [p for p in self._partners.values() if p.is_idle(now)]:
            await self._in_thread(partner, partner.leave)

    async def _in_thread(self, partner: _Partner, work: Callable[..., Any], *arguments: Any) -> Any:
        async with partner.turn:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


class _Partner:
    """A partner's open connection. Used by one thread at a time: whose ``turn`` it is."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._open = ExitStack()
        self._source: Source | None = None
        self._since = self._used = self._failed = 0.0
        self._trouble: SlussenError | None = None

    def look(self, endpoint: Endpoint, patterns: tuple[str, ...]) -> tuple[float, watching.Look]:
        self._used = time.monotonic()
        if self._trouble is not None and self._used - self._failed < REST:
            # It failed just now, for another of its integrations.
            raise (TransportRefused if isinstance(self._trouble, TransportRefused) else TransportError)(
                str(self._trouble)
            )
        self._trouble = None
        try:
            seen = watching.look(self._at(endpoint), endpoint, patterns)
        except SlussenError as error:
            self._trouble = error
        except Exception as error:  # a connection that isn't declared, a library's own words
            self._trouble = TransportError(f"{endpoint.connection}: looking: {describe(error)}")
        if self._trouble is not None:
            self._failed = time.monotonic()
            self.leave()
            raise self._trouble from None
        return time.monotonic(), seen

    def _at(self, endpoint: Endpoint) -> Source:
        from slussen.operators.connections import source

        if self._source is None or time.monotonic() - self._since > KEPT:  # a new secret is asked for by then
            self.leave()
            self._source = self._open.enter_context(source(endpoint))
            self._since = time.monotonic()
        return self._source

    def leave(self) -> None:
        self._source = None
        with suppress(Exception):  # it may be broken
            self._open.close()

    def is_idle(self, now: float) -> bool:
        return self._source is not None and not self.turn.locked() and now - self._used > KEPT


@cache
def lookout() -> Lookout:
    """The one of this process."""
    return Lookout()
