"""What the steps share: one exception boundary, one retry rule, one way to read the run."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator, Context, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from slussen import clock, settings
from slussen.errors import (
    ContentError,
    NameTaken,
    SlussenError,
    StageGone,
    TechnicalError,
    TransportError,
    describe,
)
from slussen.integration import Integration
from slussen.manifest import Manifest
from slussen.operators import alarms
from slussen.operators.connections import dsn

if TYPE_CHECKING:
    from slussen.extraction import Extracted
    from slussen.ledger import Ledger

RETRIES = 3
RETRY_DELAY = timedelta(seconds=15)


class PassingFaults(RetryPolicy):
    """A partner's or our own passing fault is tried again; a fault of the content or the call never is."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        if isinstance(exception, TransportError):
            return RetryDecision.retry(RETRY_DELAY * 2 ** (try_number - 1), reason="the partner, or the way there")
        if isinstance(exception, TechnicalError):
            return RetryDecision.retry(RETRY_DELAY, reason="ours, and it may pass")
        return RetryDecision.fail("final: trying again gives the same")


@dataclass(frozen=True)
class Run:
    """A run as the steps see it. ``start`` and ``end`` are the data interval, ``now`` is the run's clock (UTC)."""

    run_id: str
    start: datetime | None
    end: datetime | None
    now: datetime

    @classmethod
    def of(cls, context: Context) -> Run:
        interval = context.get("data_interval_start"), context.get("data_interval_end")
        return cls(context["run_id"], *interval, clock.now(context))

    @property
    def day(self) -> date:
        """The Stockholm day on which the interval begins: the day in file names."""
        from zoneinfo import ZoneInfo

        return (self.start or self.now).astimezone(ZoneInfo("Europe/Stockholm")).date()

    def interchange(self, integration: Integration) -> str:
        """The id of the interchange that this run's interval stands for.

        Raises:
            AirflowFailException: the run has no interval, so that a repeat could not be told from a new one.
        """
        if self.start is None:
            raise AirflowFailException(
                f"{integration.key}: this run has no data interval. Start it with a logical date and both ends "
                "of the interval, so that running it again is known as the same interchange"
            )
        from datetime import UTC

        return integration.interchange(f"{self.start.astimezone(UTC):%Y%m%dT%H%M%SZ}")


@contextmanager
def boundary(integration: Integration, interchange: str, doing: str, log: logging.Logger | Any) -> Iterator[None]:
    """No library's words get past this line, and what is final is written to the ledger before the task ends.

    A fault of the content quarantines the interchange; a name taken by another file holds it.
    """
    try:
        yield
    except ContentError as error:
        if interchange:
            quarantine(integration, interchange, doing, error)
        raise AirflowFailException(f"{integration.key}: quarantined at {doing}\n{error}") from None
    except NameTaken as error:
        ledger().append(interchange, "held", {"at": doing, "reason": str(error)}, integration=integration.key)
        raise AirflowFailException(str(error)) from None
    except (SlussenError, AirflowException):
        raise
    except Exception as error:
        raise TechnicalError(f"{integration.key}: {doing}: {describe(error)}") from None


def quarantine(integration: Integration, interchange: str, doing: str, error: ContentError) -> None:
    """Record that the interchange goes no further, with its located findings."""
    ledger().append(
        interchange,
        "quarantined",
        {"at": doing, "findings": [f.as_dict() for f in error.findings[:100]], "total": error.total},
        integration=integration.key,
    )


def ledger() -> Ledger:
    """The ledger that the connection ``slussen`` leads to."""
    from slussen.ledger import Ledger

    return Ledger(dsn("slussen"))


class StepOperator(BaseOperator):
    """One step of an interchange."""

    def __init__(self, *, integration: Integration, **kwargs: Any) -> None:
        super().__init__(**patient(kwargs))
        self.integration = integration

    @property
    def step(self) -> str:
        """The verb: the task's name without its groups."""
        return str(self.task_id).rpartition(".")[2]


class ManifestOperator(StepOperator):
    """A step that takes the manifest of the step before, and hands on the next.

    :param manifest: the manifest as a dict, usually the output of the step before.
    """

    template_fields = ("manifest",)

    def __init__(self, *, manifest: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest

    def execute(self, context: Context) -> dict[str, Any]:
        manifest = Manifest.from_dict(self.manifest)
        name_the_map_index(context, manifest)
        with boundary(self.integration, manifest.interchange, self.step, self.log):
            try:
                return self.work(context, manifest).as_dict()
            except StageGone:
                again = staged_again(self.integration, manifest, context)
                self.log.warning("%s: its stage was gone, and is made again", manifest.interchange)
                return self.work(context, again).as_dict()

    @abstractmethod
    def work(self, context: Context, manifest: Manifest) -> Manifest:
        """Do the step; what it logs, returns and raises holds no value of a record."""


def extracted(integration: Integration, run: Run) -> Extracted:
    """Run the integration's query for this run's interval and stage what it returns."""
    from slussen.extraction import extract

    return extract(
        integration,
        run.interchange(integration),
        ledger(),
        start=run.start,
        end=run.end,
        day=run.day,
        now=run.now,
        source=dsn(integration.source.connection),
        target=dsn("slussen"),
        sql=settings.SQL,
    )


def staged_again(integration: Integration, manifest: Manifest, context: Context) -> Manifest:
    """A new stage for one that a crash of the database has emptied: the very same rows.

    Raises:
        TechnicalError: the source's rows have changed since; what was gated must not be mixed with what wasn't.
    """
    if manifest.made_from:
        from slussen.payloads import PayloadStore
        from slussen.staging import stage_payload

        source = manifest.but(sha256=manifest.made_from[0])
        again = stage_payload(integration, source, ledger(), PayloadStore(settings.payloads()), dsn("slussen"))
    else:
        again = extracted(integration, Run.of(context)).manifest
    if again.stage_sha256 != manifest.stage_sha256:
        raise TechnicalError(
            f"{manifest.interchange}: its stage is gone, and its source has changed since. "
            f"Next: clear {integration.key}.extract, all of its steps begin anew"
        )
    return again


def patient(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The retry rule of every step, and who is told when it was of no use, unless the DAG says otherwise."""
    return {
        "retries": RETRIES,
        "retry_delay": RETRY_DELAY,
        "retry_policy": PassingFaults(),
        "on_failure_callback": alarms.on_failure,
        "on_success_callback": alarms.on_success,
        "map_index_template": "{{ interchange_name | default('') }}",
        **kwargs,
    }


def name_the_map_index(context: Context, manifest: Manifest) -> None:
    """The grid shows a mapped file by its name, not by its number."""
    cast("MutableMapping[str, Any]", context)["interchange_name"] = manifest.name or manifest.interchange
