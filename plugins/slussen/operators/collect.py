"""collect: whole files from a partner become durable payloads, each an interchange of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from slussen import settings
from slussen.operators.base import Run, StepOperator, boundary, ledger
from slussen.operators.connections import quiet_seconds, transport


class CollectOperator(StepOperator):
    """Take what stands still at the source. Looks twice, deferred in between, so that waiting costs no slot."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        with boundary(self.integration, "", self.step, self.log):
            seen = self._look()
            mine = self._mine(context)
            if not seen and not mine:
                self._nothing()
            if not seen:
                return mine
        quiet = quiet_seconds(self.integration.source)
        raise TaskDeferred(
            trigger=TimeDeltaTrigger(timedelta(seconds=quiet)),
            method_name="take",
            kwargs={"seen": seen},
            timeout=timedelta(seconds=quiet + 300),
        )

    def take(self, context: Context, seen: dict[str, list[Any]], event: object = None) -> list[dict[str, Any]]:
        """Collect the files that are as they were before the quiet time."""
        with boundary(self.integration, "", self.step, self.log):
            from slussen.collection import collect
            from slussen.payloads import PayloadStore

            run = Run.of(context)
            with transport(self.integration.source) as source:
                stable = [e for e in source.entries(self.integration.source.name) if seen.get(e.name) == mark(e)]
                for entry in stable:
                    taken = collect(
                        self.integration.key, entry, source, PayloadStore(settings.payloads()), ledger(), run.run_id
                    )
                    self.log.info("%s", taken)
            mine = self._mine(context)
            if not mine:
                self._nothing()
            return mine

    def _look(self) -> dict[str, list[Any]]:
        with transport(self.integration.source) as source:
            return {e.name: mark(e) for e in source.entries(self.integration.source.name)}

    def _mine(self, context: Context) -> list[dict[str, Any]]:
        """What this run has collected, now or in an attempt that was cut off."""
        from slussen.collection import collected_by

        return [m.as_dict() for m in collected_by(ledger(), self.integration.key, context["run_id"])]

    def _nothing(self) -> None:
        where = f"no file {self.integration.source.name} at {self.integration.source.connection}"
        if self.integration.missing == "fail":
            raise AirflowFailException(f"{self.integration.key}: {where}. Next: ask {self.integration.sender} for it")
        raise AirflowSkipException(f"{self.integration.key}: {where}")


def mark(entry: Any) -> list[Any]:
    """By what a file is known to have stood still: our own observation of size and time, never the time alone."""
    return [entry.size, str(entry.modified)]
