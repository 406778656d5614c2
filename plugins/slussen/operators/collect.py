"""collect: whole files from a partner become durable payloads, each an interchange of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from slussen import settings
from slussen.operators.base import (
    Run,
    StepOperator,
    boundary,
    closing,
    ledger,
    say_failed,
    say_once,
    too_late,
    tried_enough,
)
from slussen.operators.connections import quiet_seconds, source

if TYPE_CHECKING:
    from slussen.ledger import Ledger
    from slussen.taking import Taking

PATIENCE = timedelta(hours=1)  # with a file that keeps changing, in a run that has no window
GRACE = timedelta(minutes=5)  # for the triggerer
NAP = 5.0  # seconds of quiet that are slept through: to be deferred and started again takes as long


class CollectOperator(StepOperator):
    """Take what is whole at the source.

    Looks, and waits for the rest deferred, so that waiting costs no slot: a trigger watches (``triggers.py``), and
    whatever it says, this task looks for itself. While a file changes, or none has come, it goes on until the window
    closes or the cut-off comes, but not past the next run: that looks too. A file that the header gives to
    another integration is left. One that can't be taken doesn't keep the others: it is in the log and in the ledger.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        run = Run.of(context)
        if reason := too_late(self.integration, context, run):
            self._is_over(run, reason)
        last = self._last_moment(context, run)
        return self.look(context, (last or run.now + PATIENCE).isoformat(), waits=last is not None)

    def _last_moment(self, context: Context, run: Run) -> datetime | None:
        """Until when a file may come in this run: its window's end, a moment's cut-off, but not past the next run."""
        from slussen.timetables import Schedule

        last, schedule = closing(self.integration, context, run), context["dag"].schedule
        if last is None or run.start is None or last <= run.now:
            return None
        if run.end == run.start and isinstance(schedule, Schedule):
            following = schedule.following(run.start)
            if following is not None and following.start <= last:
                return None  # it comes soon enough
        return last

    def _is_over(self, run: Run, reason: str) -> None:
        """A run that begins too late takes nothing; what an attempt of it had taken in time goes on."""
        from slussen.collection import collected_by

        i = self.integration
        if any(collected_by(ledger(), i.key, run.run_id, repeats=i.repeats == "fine")):
            return
        fails = i.missing != "skip"
        say_once(run.interchange(i), "missed" if fails else "skipped", reason, i)
        if fails:
            raise AirflowFailException(f"{i.key}: {reason}. Next: clear the run to take what is there")
        raise AirflowSkipException(f"{i.key}: {reason}; the next run takes what is there")

    def look(
        self,
        context: Context,
        until: str,
        ignored: Sequence[str] = (),
        event: dict[str, Any] | None = None,
        *,
        waits: bool = False,
        napped: bool = False,
    ) -> list[dict[str, Any]]:
        """Collect what is whole (``event`` says what has been seen to stand still), and wait for the others."""
        from slussen import watching
        from slussen.collection import collected_by
        from slussen.payloads import PayloadStore
        from slussen.taking import Taking

        i, run, book = self.integration, Run.of(context), ledger()
        store, repeats = PayloadStore(settings.payloads()), i.repeats == "fine"
        with boundary(i, "", self.step, self.log):
            # What this run has collected, now or in an attempt that was cut off.
            had = [m.name for m in collected_by(book, i.key, run.run_id, repeats=repeats)]
            with source(i.source) as opened:
                interval = run.start.astimezone(UTC).isoformat() if run.start else ""
                taking = Taking(i, opened, store, book, run.run_id, run.occasion, self.log, had, interval)
                taking.take(frozenset((event or {}).get("ready", ())), watching.MOST - len(had))
            mine = [m.as_dict() for m in collected_by(book, i.key, run.run_id, repeats=repeats)]
            if watching.lacking([m["name"] for m in mine], taking.wanted):  # half a set is nothing
                mine = []
            for refusal in taking.refused:
                say_failed(i, f"watch/{i.key}", self.step, refusal)
            if taking.passing is not None and not (mine and tried_enough(context)):
                raise taking.passing
            if taking.refused and not mine:
                raise taking.refused[0]
        foreign = {*ignored, *taking.foreign}
        left = taking.left(foreign)
        in_time = run.now < datetime.fromisoformat(until) and len(mine) < watching.MOST
        whole_set = len(taking.wanted) > 1 and bool(mine)  # what else is there is of the next one
        if in_time and not whole_set and (left or (waits and not mine)):
            if left and not napped and not i.source.marker and (quiet := quiet_seconds(i.source)) <= NAP:
                time.sleep(quiet)
                still = {"ready": [watching.fingerprint(e) for e in left]}
                return self.look(context, until, sorted(foreign), still, waits=waits, napped=True)
            self._wait(run, datetime.fromisoformat(until), taking.still_wanted, foreign, waits=waits)
        self._tell(taking, [e.name for e in left])
        if not mine:
            self._nothing(run, book, [e.name for e in left], taking.missing)
        return mine

    def _wait(self, run: Run, until: datetime, wanted: Sequence[str], foreign: set[str], *, waits: bool) -> NoReturn:
        from slussen.triggers import FilesTrigger

        endpoint = self.integration.source
        left = timedelta(seconds=(until - run.now).total_seconds())  # the run's clock may be another than the trigger's
        raise TaskDeferred(
            trigger=FilesTrigger.of(endpoint, wanted, datetime.now(UTC) + left, quiet_seconds(endpoint), foreign),
            method_name="look",
            kwargs={"until": until.isoformat(), "ignored": sorted(foreign), "waits": waits},
            timeout=left + GRACE,
        )

    def _tell(self, taking: Taking, left: Sequence[str]) -> None:
        if left:
            self.log.warning("left at the source, not whole: %s", _some(left))
        if taking.seen.strays:
            self.log.warning("markers without a file: %s", _some([e.name for e in taking.seen.strays]))

    def _nothing(self, run: Run, book: Ledger, left: Sequence[str], missing: Sequence[str]) -> NoReturn:
        """It is too late: as the integration's policy tells.

        Raises:
            AirflowSkipException: a file that doesn't come is no fault (``skip``), or one to look at (``warn``).
            AirflowFailException: it is, or what came isn't whole.
        """
        i, where = self.integration, self.integration.source.connection
        if missing and left:
            reason = f"no whole set at {where}: {', '.join(missing)}"
        elif left:
            state = "had no marker" if i.source.marker else "kept changing"
            reason = f"{_some(left)} {state} until it was too late"
        else:
            reason = f"no file {i.source.name} at {where}"
        fails = i.missing == "fail" or bool(left)
        if run.start is not None:
            kind = "missed" if fails or i.missing == "warn" else "skipped"
            say_once(run.interchange(i), kind, reason, i)
        if fails:
            raise AirflowFailException(f"{i.key}: {reason}. Next: ask {i.sender} for it, then clear collect")
        if i.missing == "warn":
            self.log.warning("%s: %s. Next: ask %s whether it should have come", i.key, reason, i.sender)
        raise AirflowSkipException(f"{i.key}: {reason}")


def _some(names: Sequence[str]) -> str:
    """The first names, as they may be shown."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(map(ascii, names[:10])) + more
