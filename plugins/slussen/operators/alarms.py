"""What is told when a step has failed for good, and when its partner works again.

Alerts are Airflow's callbacks, not a listener: a callback belongs to its task, runs when the last try has failed, has
the exception, and what goes wrong in it stands in the task's log. What a listener raises is swallowed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from slussen import clock, settings
from slussen.errors import (
    ContentError,
    NameTaken,
    SlussenError,
    TechnicalError,
    TransportError,
    TransportRefused,
    describe,
)

if TYPE_CHECKING:
    from datetime import datetime

    from slussen.alerts import Alert
    from slussen.integration import Integration
    from slussen.ledger import Ledger
    from slussen.notifications import Channel

log = logging.getLogger(__name__)
OUTWARD = ("deliver", "acknowledge")  # steps whose partner is the target
PARTNERS = ("collect", "deliver", "acknowledge")  # steps whose success shows that a connection works
TECHNICAL = "technical fault"
NOT_FOUND = 404
# How these causes stand.
STANDING = """
    select distinct on (stream) stream, kind, data ->> 'state'
    from ledger.event
    where stream = any(%(streams)s) and kind in ('alarm', 'recovered')
    order by stream, nth desc
"""


def on_failure(context: Context) -> None:
    """Airflow's callback when a step's last try has failed: one alert for its cause."""
    from slussen.alerts import alert, tell_without_ledger

    if not hasattr(context["task"], "integration"):
        return  # a house task: the watchdog and the probe tell by themselves
    if _is_replaced(context.get("exception")):
        log.warning("this attempt was given up, and another has taken its place: nobody is told")
        return
    a = alert_of(context)
    try:
        alert(_ledger(), channels(), a)
    except TechnicalError as error:
        log.warning("%s: not in the ledger: %s", a.cause, error)
        tell_without_ledger(channels(), a)


def on_retry(context: Context) -> None:
    """Airflow's callback when a step is tried again: people are told once, when a few tries were of no use."""
    from slussen.operators.base import OURS

    if context["ti"].try_number == OURS + 1:
        on_failure(context)


def on_success(context: Context) -> None:
    """Airflow's callback when a step has succeeded: what had stopped it works, so the alerts of that are over."""
    from slussen.alerts import recovered

    task: Any = context["task"]
    if not hasattr(task, "integration"):
        return
    key, step, book = task.integration.key, task.step, _ledger()
    over = {
        f"watch/technical/{key}/{step}": TECHNICAL,
        f"watch/interchange/{_interchange(task) or key}": f"stopped at {step}",  # not what another step stopped
    }
    if step in PARTNERS:
        over[f"watch/transport/{_connection(task)}"] = ""
    elif step == "notify":
        over[f"watch/notify/{key}"] = ""
    for stream, kind, state in book.rows(STANDING, {"streams": list(over)}):
        if kind == "alarm" and over[stream] in ("", state):
            recovered(book, channels(), stream.removeprefix("watch/"), clock.now(context))


def channels() -> list[Channel]:
    """Who is told of alerts: the connections of ``SLUSSEN_ALERTS``."""
    from slussen.operators.channels import channel

    usable = []
    for connection in settings.alerts():
        try:
            usable.append(channel(connection))
        except SlussenError as error:  # the others are told all the same
            log.error("%s can't be used to tell anybody: %s", connection, error)
    return usable


def alert_of(context: Context) -> Alert:
    """What is told of a failed step. Only our own exceptions' text is: another's may quote a record."""
    from slussen.alerts import Alert

    task: Any = context["task"]
    error = context.get("exception")
    interchange = _interchange(task)
    integration = task.integration.key
    own = isinstance(error, (SlussenError, AirflowException))
    said = str(error) if own else describe(error) if isinstance(error, BaseException) else "it was killed"
    what, _, next_step = said.partition(" Next: ")
    match error:
        case TransportError() | TransportRefused() if task.step == "notify":  # not the partner's fault
            cause, state = f"notify/{integration}", "delivered, not all told"
            next_step = next_step or f"see slussen show {interchange}, then clear notify"
        case TransportError() | TransportRefused():
            cause, state = f"transport/{_connection(task)}", "transport failed"
            next_step = next_step or f"slussen probe {_connection(task)}, then ask the partner"
        case ContentError() | NameTaken() | AirflowException():
            cause, state = f"interchange/{interchange or integration}", f"stopped at {task.step}"
            next_step = next_step or f"slussen show {interchange or integration}"
        case _:  # ours, or Airflow's own
            cause, state = f"technical/{integration}/{task.step}", TECHNICAL
            next_step = next_step or f"see the task's log, then clear {task.step}"
    now = clock.now(context)
    return Alert(
        cause=cause, integration=integration, state=state, what=what.strip(), next_step=next_step,
        interchange=interchange, cutoff=_cutoff(task.integration, context.get("data_interval_start")), at=now,
    )  # fmt: skip


def _is_replaced(error: object) -> bool:
    """Is this Airflow's word that it has no such attempt any more: that it has taken another in its place?"""
    from airflow.sdk.exceptions import AirflowRuntimeError

    detail = error.error.detail or {} if isinstance(error, AirflowRuntimeError) else {}
    return detail.get("status_code") == NOT_FOUND and "Task Instance not found" in str(detail)


def _interchange(task: Any) -> str:
    """The interchange that a step was at; nothing for one that finds or makes them."""
    manifest = getattr(task, "manifest", None)
    return str(manifest.get("interchange", "")) if isinstance(manifest, dict) else ""


def _cutoff(integration: Integration, start: datetime | None) -> datetime | None:
    """When it is too late for the run's interval: what is left until then is what a failure is weighed by."""
    from slussen.lateness import resolve

    return resolve(integration.times, start).cutoff if integration.times is not None and start is not None else None


def _connection(task: Any) -> str:
    """The connection that a step's partner is behind."""
    end = task.integration.target if task.step in OUTWARD else task.integration.source
    return str(end.connection)


def _ledger() -> Ledger:
    from slussen.ledger import Ledger
    from slussen.operators.connections import dsn

    return Ledger(dsn("slussen"))
