"""What the steps share: one exception boundary, one retry rule, one way to read the run."""

from __future__ import annotations

import logging
import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator, Context, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferralError, TaskDeferralTimeout

from slussen import clock, settings
from slussen.errors import (
    ContentError,
    NameTaken,
    SlussenError,
    StageGone,
    TechnicalError,
    TransportError,
    TransportRefused,
    describe,
)
from slussen.integration import Integration
from slussen.manifest import Manifest
from slussen.operators import alarms
from slussen.operators.connections import dsn

if TYPE_CHECKING:
    from slussen.extraction import Extracted
    from slussen.ledger import Ledger

RETRIES = 12
RETRY_DELAY = timedelta(seconds=15)
LONGEST_DELAY = timedelta(minutes=15)
OURS = 3  # retries of a fault of our own; of a partner's so many before people are told
JITTER = 0.25  # so that tasks which a partner's outage has stopped at the same time don't come back at the same time


class PassingFaults(RetryPolicy):
    """A partner's or our own passing fault is tried again; a fault of the content or the call never is.

    A partner's is for about two hours, ever less often, but not past the time when it is too late.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        jitter = random.uniform(1 - JITTER, 1 + JITTER)
        if isinstance(exception, TransportError):
            delay = min(RETRY_DELAY * 2 ** (try_number - 1), LONGEST_DELAY) * jitter
            if context is not None and _ends_within(context, delay):
                return RetryDecision.fail("the partner, or the way there, and then its time is over")
            return RetryDecision.retry(delay, reason="the partner, or the way there")
        ours = isinstance(exception, TechnicalError | TaskDeferralError | TaskDeferralTimeout)
        if ours and try_number <= OURS:  # deferral: the triggerer was away
            return RetryDecision.retry(RETRY_DELAY * jitter, reason="ours, and it may pass")
        return RetryDecision.fail("final: trying again gives the same")


@dataclass(frozen=True)
class Run:
    """A run as the steps see it. ``start`` and ``end`` are the data interval, ``now`` is the run's clock (UTC).

    ``params`` are what a form was filled in with, if the run has one.
    """

    run_id: str
    start: datetime | None
    end: datetime | None
    now: datetime
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context) -> Run:
        interval = context.get("data_interval_start"), context.get("data_interval_end")
        return cls(context["run_id"], *interval, clock.now(context), dict(context.get("params") or {}))

    def form(self, integration: Integration) -> dict[str, str]:
        """What the integration's form was filled in with, by name."""
        return {name: str(self.params[name]) for name in integration.form if name in self.params}

    @property
    def day(self) -> date:
        """The Stockholm day on which the interval begins: the day in file names."""
        from zoneinfo import ZoneInfo

        return (self.start or self.now).astimezone(ZoneInfo("Europe/Stockholm")).date()

    @property
    def occasion(self) -> str:
        """What tells this run's files from the same ones of another run, where repeats are legitimate."""
        from datetime import UTC

        return self.start.astimezone(UTC).isoformat() if self.start else self.run_id

    def interchange(self, integration: Integration) -> str:
        """The id of the interchange that this run's interval, or its form, stands for.

        Raises:
            AirflowFailException: the run has neither, so that a repeat could not be told from a new one.
        """
        if integration.form:
            form = self.form(integration)
            if missing := [name for name in integration.form if not form.get(name)]:
                raise AirflowFailException(f"{integration.key}: the form says nothing of {', '.join(missing)}")
            from hashlib import sha256

            told = "\n".join(f"{name}={form[name]}" for name in sorted(form))
            return f"{integration.key}-{sha256(told.encode()).hexdigest()[:12]}"
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

    A fault of the content quarantines the interchange; a name taken by another file holds it; any other is written
    down as ``failed``, and the retry policy decides.
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
    except SlussenError as error:
        say_failed(integration, interchange or f"watch/{integration.key}", doing, error)
        raise
    except AirflowException:
        raise
    except Exception as error:
        ours = TechnicalError(f"{integration.key}: {doing}: {describe(error)}")
        say_failed(integration, interchange or f"watch/{integration.key}", doing, ours)
        raise ours from None


def quarantine(integration: Integration, interchange: str, doing: str, error: ContentError) -> None:
    """Record that the interchange goes no further, with its located findings."""
    ledger().append(
        interchange,
        "quarantined",
        {"at": doing, "findings": [f.as_dict() for f in error.findings[:100]], "total": error.total},
        integration=integration.key,
    )


def closing(integration: Integration, context: Context, run: Run) -> datetime | None:
    """From when on it is too late to begin with this run's interval: nothing for one without, or of no schedule."""
    if run.start is None or run.end is None or run.end > run.start:
        return run.end
    import pendulum
    from airflow.timetables.base import DataInterval

    from slussen.lateness import closes
    from slussen.timetables import Schedule

    schedule = context["dag"].schedule
    if not isinstance(schedule, Schedule):
        return None
    return closes(schedule, integration.times, DataInterval(pendulum.instance(run.start), pendulum.instance(run.end)))


def too_late(integration: Integration, context: Context, run: Run, grace: timedelta = timedelta(0)) -> str:
    """Why this run goes no further: it is one that Airflow makes up after its time, and nothing is sent late.

    A person who starts or clears a run means it, and a DAG with ``catchup=True`` wants all of its runs.
    """
    dag_run = context["dag_run"]
    if dag_run.run_type != "scheduled" or dag_run.clear_number or context["dag"].catchup:
        return ""
    closed = closing(integration, context, run)
    if closed is None or run.now < closed + grace:
        return ""
    from slussen.lateness import STOCKHOLM

    return f"it came to this after {closed.astimezone(STOCKHOLM):%Y-%m-%d %H:%M}, when its time was over"


def say_once(stream: str, kind: str, reason: str, integration: Integration) -> None:
    """Write down how an interval ended, unless that was done."""
    from slussen.ledger import Conflict

    book = ledger()
    while True:
        events = book.events(stream)
        if any(e.kind == kind for e in events):
            return
        try:
            book.append(
                stream, kind, {"reason": reason}, integration=integration.key, after=events[-1].seq if events else 0
            )
        except Conflict:
            continue
        return


def say_failed(integration: Integration, stream: str, doing: str, error: SlussenError) -> None:
    """Record whose fault stopped a step: the partner's (``transport``, or for good ``refused``), or ours."""
    whose = {TransportError: "transport", TransportRefused: "refused"}
    kind = next((name for kind, name in whose.items() if isinstance(error, kind)), "technical")
    data = {"class": kind, "at": doing, "code": type(error).__name__, "reason": str(error)[:500]}
    with suppress(TechnicalError):  # the ledger itself may be what is away
        ledger().append(stream, "failed", data, integration=integration.key)


def tried_enough(context: Context) -> bool:
    """Has this step been tried so often that it is time to tell, and to go on with what there is?"""
    return bool(context["ti"].try_number > OURS)


def _ends_within(context: Context, delay: timedelta) -> bool:
    """Will the time of the run's interval be over by then? It can't for one that was begun after it, by a person."""
    task, run = context["task"], Run.of(context)
    integration = getattr(task, "integration", None)
    closed = closing(integration, context, run) if integration is not None else None
    return closed is not None and run.now < closed <= run.now + delay


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
        form=run.form(integration),
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
        "on_retry_callback": alarms.on_retry,
        "on_failure_callback": alarms.on_failure,
        "on_success_callback": alarms.on_success,
        "map_index_template": "{{ interchange_name | default('') }}",
        **kwargs,
    }


def name_the_map_index(context: Context, manifest: Manifest) -> None:
    """The grid shows a mapped file by its name, not by its number."""
    cast("MutableMapping[str, Any]", context)["interchange_name"] = manifest.name or manifest.interchange
