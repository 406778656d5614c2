"""collect: whole files from a partner become durable payloads, each an interchange of its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from slussen import settings
from slussen.operators.base import Run, StepOperator, boundary, ledger
from slussen.operators.connections import quiet_seconds, transport

PATIENCE = timedelta(hours=1)  # with a file that keeps changing, in a run that has no window
GRACE = timedelta(minutes=5)  # for the triggerer


class CollectOperator(StepOperator):
    """Take what stands still at the source.

    Looks, and looks again after a quiet time, deferred in between, so that waiting costs no slot: a file is taken
    when it is as it was. While one changes, or none has come, it goes on until the window closes; without a window it
    waits for none to come.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        run = Run.of(context)
        until = run.end if run.end is not None and run.end > run.now else run.now + PATIENCE
        return self.look(context, {}, until.isoformat())

    def look(
        self, context: Context, seen: dict[str, list[Any]], until: str, event: object = None
    ) -> list[dict[str, Any]]:
        """Collect the files that are as they were at the last look (``seen``), and wait for the others."""
        from slussen.collection import collect, collected_by
        from slussen.payloads import PayloadStore

        run, store, book = Run.of(context), PayloadStore(settings.payloads()), ledger()
        with boundary(self.integration, "", self.step, self.log):
            changing = {}
            with transport(self.integration.source) as source:
                for entry in source.entries(self.integration.source.name):
                    if seen.get(entry.name) == mark(entry):
                        self.log.info("%s", collect(self.integration.key, entry, source, store, book, run.run_id))
                    else:
                        changing[entry.name] = mark(entry)
            # What this run has collected, now or in an attempt that was cut off.
            mine = [m.as_dict() for m in collected_by(book, self.integration.key, run.run_id)]
        in_time = run.now < datetime.fromisoformat(until)
        in_window = run.end is not None and run.now < run.end
        if in_time and (changing or (in_window and not mine)):
            self._wait(changing, until)
        if changing:
            self.log.warning("left at the source, since they keep changing: %s", ", ".join(changing))
        if not mine:
            self._nothing(sorted(changing))
        return mine

    def _wait(self, seen: dict[str, list[Any]], until: str) -> NoReturn:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        quiet = timedelta(seconds=quiet_seconds(self.integration.source))
        raise TaskDeferred(
            trigger=TimeDeltaTrigger(quiet),
            method_name="look",
            kwargs={"seen": seen, "until": until},
            timeout=quiet + GRACE,
        )

    def _nothing(self, changing: list[str]) -> NoReturn:
        i = self.integration
        if changing:
            raise AirflowFailException(
                f"{i.key}: {', '.join(changing)} kept changing until it was too late. Next: ask {i.sender} whether "
                "it is still being written, then clear collect"
            )
        where = f"no file {i.source.name} at {i.source.connection}"
        if i.missing == "fail":
            raise AirflowFailException(f"{i.key}: {where}. Next: ask {i.sender} for it, then clear collect")
        raise AirflowSkipException(f"{i.key}: {where}")


def mark(entry: Any) -> list[Any]:
    """By what a file is known to have stood still: our own observation of size and time, never the time alone."""
    return [entry.size, str(entry.modified)]
