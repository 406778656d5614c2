"""acknowledge: the receipts that are expected for a delivery, awaited and recorded."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from slussen.errors import TransportError
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, Run, boundary, ledger
from slussen.operators.connections import MESSAGES, messenger

if TYPE_CHECKING:
    from slussen.ledger.states import Interchange

GRACE = timedelta(minutes=5)  # for the triggerer
NAPS, NAP = 2, 2.0  # looks, and the seconds before each, that cost less than to be deferred


class AcknowledgeOperator(ManifestOperator):
    """Wait, deferred, until the message's own receipts are here, one says no, or the last of them is overdue.

    An answer that is a file of its own, days later, is not waited for here (the next run couldn't begin): it is an
    obligation, which the watchdog keeps an eye on, and which the file settles when it is collected.
    Clearing it sends nothing: it looks again, and a receipt that came too late counts.
    """

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen import receipts

        now, book = Run.of(context).now, ledger()
        receipts.expect(book, manifest.interchange, self.integration.receipts, now)
        receipts.adopt(book, manifest.interchange, self.integration.key)
        return manifest

    def execute(self, context: Context) -> dict[str, Any]:
        super().execute(context)
        return self.look(context, naps=NAPS)

    def look(self, context: Context, event: object = None, *, naps: int = 0) -> dict[str, Any]:
        """See what has come, and wait for the rest: most receipts are there at once."""
        from slussen.ledger.states import fold
        from slussen.receipts import say_overdue

        manifest, now, book = Manifest.from_dict(self.manifest), Run.of(context).now, ledger()
        with boundary(self.integration, manifest.interchange, self.step, self.log):
            self._sweep()
            late = say_overdue(book, manifest.interchange, now)
            events = book.events(manifest.interchange)
            here = fold(events)
        if here.state == "rejected":
            self._rejected(here, [e.data for e in events if e.kind == "receipt"])
        awaited = [due for kind, due in here.awaited.items() if kind != "answer"]
        if not awaited:
            said = [f"{kind} {outcome}" for kind, outcome in here.receipts.items()]
            said += ["an answer is owed"] if here.awaited else []
            self.log.info("%s: %s (%s)", here.id, here.state, ", ".join(said))
            return manifest.as_dict()
        due = max(map(datetime.fromisoformat, awaited))
        if due <= now:
            self._overdue(here, late)
        if naps:
            time.sleep(NAP)
            return self.look(context, naps=naps - 1)
        return self._wait(here, events[-1].seq, (due - now).total_seconds())

    def _sweep(self) -> None:
        """Take what waits at the endpoint; a partner who can't be reached now can be in a while."""
        from slussen.receipts import sweep

        target = self.integration.target
        if target.transport not in MESSAGES:
            return
        try:
            with messenger(target) as partner:
                sweep(partner, target.connection, ledger())
        except TransportError as error:
            self.log.warning("%s: no look for receipts just now: %s", target.connection, error)

    def _wait(self, here: Interchange, seen: int, seconds: float) -> NoReturn:
        from datetime import UTC

        from slussen.receipt_trigger import ReceiptsTrigger

        left = timedelta(seconds=seconds)
        self.log.info("%s: %s; awaited: %s", here.id, here.state, ", ".join(here.awaited))
        raise TaskDeferred(
            trigger=ReceiptsTrigger.of(self.integration.target, here.id, seen, datetime.now(UTC) + left),
            method_name="look",
            timeout=left + GRACE,
        )

    def _rejected(self, here: Interchange, receipts: list[Any]) -> NoReturn:
        no = next(r for r in receipts if r["outcome"] == "rejected")
        raise AirflowFailException(
            f"{here.id}: {self.integration.receiver} refused it: {no['kind']} {no['detail']}. Next: find out why with "
            "them, mend it, and send it as a correction; nothing is sent again by itself"
        )

    def _overdue(self, here: Interchange, late: list[str]) -> NoReturn:
        lost = " It isn't known whether the message arrived." if here.state == "unknown" else ""
        raise AirflowFailException(
            f"{here.id}: overdue: {', '.join(late)}.{lost} Next: ask {self.integration.receiver} whether they have it, "
            "and clear acknowledge when the receipt has come; clearing sends nothing"
        )
