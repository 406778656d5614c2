"""extract: the query's rows become the interchange's stage."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from slussen.operators.base import Run, StepOperator, boundary, extracted, ledger, say_once, too_late


class ExtractOperator(StepOperator):
    """Run the integration's query in its source database and stage what it returns."""

    def execute(self, context: Context) -> dict[str, Any]:
        run = Run.of(context)
        interchange = run.interchange(self.integration)
        with boundary(self.integration, interchange, self.step, self.log):
            if reason := too_late(self.integration, context, run):
                say_once(interchange, "missed", reason, self.integration)
                raise AirflowFailException(f"{interchange}: {reason}. Next: clear the run to send it late")
            return self._extract(run, interchange)

    def _extract(self, run: Run, interchange: str) -> dict[str, Any]:
        found = extracted(self.integration, run)
        if found.skipped:
            ledger().append(interchange, "skipped", {"reason": found.skipped}, integration=self.integration.key)
            raise AirflowSkipException(f"{interchange}: {found.skipped}")
        self.log.info("%s: %d records staged in %s", interchange, found.manifest.records, found.manifest.stage)
        return found.manifest.as_dict()
