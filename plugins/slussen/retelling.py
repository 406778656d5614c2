"""Who couldn't be told is told later: alerts, recoveries and proofs of sending whose channel failed. Knows no Airflow.

What is told is written to the ledger, before and after (``notifications.py``); what stands there as failed in a way
that passes, or as begun and never ended, is told again with the same message id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from slussen import alerts
from slussen.errors import CallError, TransportError, TransportRefused
from slussen.notifications import Channel, proof, tell

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.ledger import Ledger

log = logging.getLogger(__name__)
# Streams with something that wasn't told to somebody, of the last days; what is older is nobody's night any more.
UNTOLD = """
    select distinct stream, integration, data ->> 'about', data ->> 'connection'
    from (
        select distinct on (stream, data ->> 'about', data ->> 'connection') stream, integration, kind, data
        from ledger.event
        where kind in ('notifying', 'notified', 'unnotified') and at > now() - interval '3 days'
        order by stream, data ->> 'about', data ->> 'connection', nth desc
    ) last
    where kind = 'notifying' or (kind = 'unnotified' and not coalesce((data ->> 'final')::boolean, false))
"""
# Alarms that stand, and of which nobody was ever told: who raised them was killed.
SILENT = """
    select stream
    from (
        select distinct on (stream) stream, kind from ledger.event
        where stream like 'watch/%%' and kind in ('alarm', 'recovered', 'notifying') and at > now() - interval '3 days'
        order by stream, nth desc
    ) last
    where kind = 'alarm'
"""


def retell(
    ledger: Ledger, channels: Sequence[Channel], integrations: Sequence[Integration],
    channel: Callable[[str], Channel], now: datetime,
) -> list[str]:  # fmt: skip
    """Try again whatever wasn't told; the streams that it was about. A channel that fails again raises nothing.

    ``channels`` are told of alerts; ``channel`` makes those of proofs by their connection.
    """
    untold = ledger.rows(UNTOLD)
    watches = {stream for stream, *_ in untold if stream.startswith("watch/")}
    watches |= {stream for (stream,) in ledger.rows(SILENT)} if channels else set()
    for stream in sorted(watches):
        alerts.again(ledger, channels, stream, now)
    by_key = {i.key: i for i in integrations}
    proofs = [(s, by_key[k], c) for s, k, about, c in untold if about == "proof" and k in by_key]
    for stream, integration, connection in proofs:
        _prove(ledger, stream, integration, connection, channel)
    left = {integration for _, integration, about, _ in ledger.rows(UNTOLD) if about == "proof"}
    for key in sorted({integration.key for _, integration, _ in proofs} - left):
        alerts.recovered(ledger, channels, f"notify/{key}", now)
    return sorted(watches | {stream for stream, *_ in proofs})


def _prove(
    ledger: Ledger, interchange: str, integration: Integration, connection: str, channel: Callable[[str], Channel]
) -> None:
    note = proof(integration, interchange, ledger.events(interchange))
    if note is None or connection not in integration.proof:
        return
    try:
        tell(ledger, interchange, integration.key, "proof", note, channel(connection))
    except (TransportError, TransportRefused, CallError) as error:
        log.warning("%s: %s could not be told: %s", interchange, connection, error)
