"""The trigger that waits for files, for all integrations at once in one triggerer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from slussen import watching
from slussen.errors import SlussenError, TransportRefused, describe
from slussen.integration import Endpoint

THREADS = 8  # looks at a time, over all partners; and one at a time for each
SHORTEST, LONGEST = 0.5, 15.0  # seconds between looks
LONGEST_TROUBLE = 300.0  # seconds between looks at a partner that can't be reached


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

    A few threads for all, and one look at a time at each partner: a hundred integrations that wait are no hundred
    connections.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "slussen-look")
        self._partners: dict[str, asyncio.Semaphore] = {}
        self._looks: dict[tuple[Any, ...], tuple[float, asyncio.Task[tuple[float, watching.Look]]]] = {}

    async def look(self, endpoint: Endpoint, patterns: tuple[str, ...], fresh: float) -> tuple[float, watching.Look]:
        """What is there, not older than ``fresh`` seconds, and when that was seen (monotonic).

        Raises:
            SlussenError: the partner failed, or refused.
        """
        key = (endpoint.transport, endpoint.connection, endpoint.product, endpoint.marker, patterns)
        began, task = self._looks.get(key, (0.0, None))
        if task is None or (task.done() and time.monotonic() - began > fresh):
            self._forget()
            task = asyncio.create_task(self._look(endpoint, patterns))
            self._looks[key] = time.monotonic(), task
        return await asyncio.shield(task)

    async def _look(self, endpoint: Endpoint, patterns: tuple[str, ...]) -> tuple[float, watching.Look]:
        partner = self._partners.setdefault(endpoint.connection, asyncio.Semaphore(1))
        async with partner:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, _look, endpoint, patterns)

    def _forget(self) -> None:
        """Old looks are let go: a listing may be long."""
        old = [k for k, (began, task) in self._looks.items() if task.done() and time.monotonic() - began > LONGEST]
        for key in old:
            del self._looks[key]


def _look(endpoint: Endpoint, patterns: tuple[str, ...]) -> tuple[float, watching.Look]:
    from slussen.errors import TransportError
    from slussen.operators.connections import source

    try:
        with source(endpoint) as opened:
            seen = watching.look(opened, endpoint, patterns)
    except SlussenError:
        raise
    except Exception as error:  # a connection that isn't declared, a library's own words
        raise TransportError(f"{endpoint.connection}: looking: {describe(error)}") from None
    return time.monotonic(), seen


@cache
def lookout() -> Lookout:
    """The one of this process."""
    return Lookout()
