"""The trigger that waits for receipts. All that wait at one endpoint share one look at it and one at the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from slussen import triggers
from slussen.errors import SlussenError, TransportError, describe
from slussen.integration import Endpoint


class ReceiptsTrigger(BaseTrigger):
    """Fires when something has come for an interchange, or when it is too late; who is woken looks for himself.

    :param endpoint: the declaration of where receipts come to, as a dict.
    :param seen: the interchange's last event that the task has seen: what came since is news.
    :param until: an instant of the real clock, ISO 8601.
    """

    def __init__(self, *, endpoint: dict[str, Any], interchange: str, seen: int, until: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.endpoint, self.interchange, self.seen, self.until = endpoint, interchange, seen, until

    @classmethod
    def of(cls, endpoint: Endpoint, interchange: str, seen: int, until: datetime) -> ReceiptsTrigger:
        """The trigger that waits at an endpoint."""
        return cls(
            endpoint=asdict(endpoint), interchange=interchange, seen=seen, until=until.astimezone(UTC).isoformat()
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As Airflow keeps it: plain JSON."""
        kept = {"endpoint": self.endpoint, "interchange": self.interchange, "seen": self.seen, "until": self.until}
        return f"{type(self).__module__}.{type(self).__qualname__}", kept

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, then nothing more."""
        await asyncio.sleep(triggers.SETTLED)
        left = (datetime.fromisoformat(self.until) - datetime.now(UTC)).total_seconds()
        came = left > 0 and await (await lookout(Endpoint(**self.endpoint))).wait(self.interchange, self.seen, left)
        yield TriggerEvent({"interchange": self.interchange, "came": came})  # type: ignore[no-untyped-call]


class Lookout:
    """Looks at one endpoint's receipts, and in the ledger for what has come, as long as somebody waits there.

    ``look`` takes the endpoint's receipts into the ledger; ``news`` tells the last event of each of these interchanges
    that somebody may wait for. Both block: they run in threads, every so many seconds.
    """

    def __init__(
        self, look: Callable[[], object], news: Callable[[list[str]], Mapping[str, int]], every: float
    ) -> None:
        self._look, self._news, self._every = look, news, every
        self._waiting: dict[asyncio.Event, tuple[str, int]] = {}
        self._task: asyncio.Task[None] | None = None

    async def wait(self, interchange: str, seen: int, seconds: float) -> bool:
        """Until something has come for the interchange since event ``seen``; False when the time is over first."""
        came = asyncio.Event()
        self._waiting[came] = interchange, seen
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go())
        try:
            async with asyncio.timeout(seconds):
                await came.wait()
        except TimeoutError:
            return False
        finally:
            del self._waiting[came]
        return True

    async def _go(self) -> None:
        while self._waiting:
            # Neither a partner nor a ledger that can't be reached ends the wait; at its end the task finds out.
            with suppress(SlussenError):
                await _in_thread(self._look)
            with suppress(SlussenError):
                last = await _in_thread(self._news, list({interchange for interchange, _ in self._waiting.values()}))
                for came, (interchange, seen) in self._waiting.items():
                    if last.get(interchange, 0) > seen:
                        came.set()
            await asyncio.sleep(self._every)


async def _in_thread(work: Callable[..., Any], *values: Any) -> Any:
    """Off the loop, by the bridge over which Airflow's connections can be asked for from there."""
    from asgiref.sync import sync_to_async

    return await sync_to_async(work, thread_sensitive=False)(*values)


_lookouts: dict[tuple[int, str, str], Lookout] = {}


async def lookout(endpoint: Endpoint) -> Lookout:
    """The one of this endpoint in this process."""
    from slussen.operators.connections import receipts_seconds

    key = (id(asyncio.get_running_loop()), endpoint.connection, endpoint.product)
    if key not in _lookouts:
        every = await _in_thread(receipts_seconds, endpoint)
        _lookouts.setdefault(key, Lookout(lambda: _swept(endpoint), _news, every))
    return _lookouts[key]


def _swept(endpoint: Endpoint) -> None:
    """Take what waits at the endpoint into the ledger. What comes of an answering file is in the ledger anyway."""
    from slussen.operators.base import ledger
    from slussen.operators.connections import MESSAGES, messenger
    from slussen.receipts import sweep

    if endpoint.transport not in MESSAGES:
        return
    try:
        with messenger(endpoint) as partner:
            sweep(partner, endpoint.connection, ledger())
    except SlussenError:
        raise
    except Exception as error:  # a library's own words
        raise TransportError(f"{endpoint.connection}: looking for receipts: {describe(error)}") from None


def _news(interchanges: list[str]) -> Mapping[str, int]:
    from slussen.operators.base import ledger
    from slussen.receipts import news

    return news(ledger(), interchanges)
