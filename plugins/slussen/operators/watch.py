"""watch: the schedule is compared with the ledger, and people are told of what is late or owed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from slussen import clock, settings
from slussen.errors import SlussenError
from slussen.operators.base import OURS, RETRY_DELAY, PassingFaults, ledger
from slussen.operators.connections import dsn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from slussen.alerts import Alert
    from slussen.catalogue import Row
    from slussen.integration import Integration
    from slussen.ledger import Ledger
    from slussen.notifications import Channel


@dataclass
class Channels:
    """The connections that are told of alerts."""

    ledger: Ledger
    channels: Sequence[Channel]

    def alert(self, alert: Alert) -> None:
        from slussen import alerts

        alerts.alert(self.ledger, self.channels, alert)

    def recovered(self, cause: str, now: datetime) -> None:
        from slussen import alerts

        alerts.recovered(self.ledger, self.channels, cause, now)

    def again(self, rows: Sequence[Row], now: datetime) -> list[str]:
        from slussen.operators.channels import channel
        from slussen.retelling import retell

        return retell(self.ledger, self.channels, [row.integration for row in rows], channel, now)


class WatchOperator(BaseOperator):
    """Look once: what should have happened by the run's clock, and has it?"""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"retries": OURS, "retry_delay": RETRY_DELAY, "retry_policy": PassingFaults(), **kwargs})

    def execute(self, context: Context) -> dict[str, list[str]]:
        from slussen.catalogue import rows
        from slussen.extraction import idle
        from slussen.operators.alarms import channels
        from slussen.watchdog import look

        def nothing_due(integration: Integration, start: datetime) -> str:
            if not integration.due:
                return ""
            try:
                return idle(integration, start, dsn(integration.source.connection), settings.SQL)
            except SlussenError as error:  # then it may be due, and people are told
                self.log.warning("%s", error)
                return ""

        book = ledger()
        found = look(rows(), book, clock.now(context), Channels(book, channels()), nothing_due)
        for alert in found.alarms.values():
            self.log.warning("%s: %s: %s. Next: %s", alert.integration, alert.state, alert.what, alert.next_step)
        for cause in found.over:
            self.log.info("%s is over", cause)
        for stream in found.retold:
            self.log.info("%s: told again where it couldn't be told", stream)
        self.log.info("%d missed, %d alarms stand, %d over", len(found.missed), len(found.alarms), len(found.over))
        return {"missed": found.missed, "alarms": sorted(found.alarms), "over": found.over}
