"""extract: the query's rows become the interchange's stage."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from slussen import settings
from slussen.operators.base import Run, StepOperator, boundary, ledger
from slussen.operators.connections import dsn


class ExtractOperator(StepOperator):
    """Run the integration's query in its source database and stage what it returns."""

    def execute(self, context: Context) -> dict[str, Any]:
        run = Run.of(context)
        interchange = run.interchange(self.integration)
        with boundary(self.integration, interchange, self.step, self.log):
            return self._extract(run, interchange)

    def _extract(self, run: Run, interchange: str) -> dict[str, Any]:
        from slussen.extraction import extract

        book = ledger()
        extracted = extract(
            self.integration,
            interchange,
            book,
            start=run.start,
            end=run.end,
            day=run.day,
            now=run.now,
            source=dsn(self.integration.source.connection),
            target=dsn("slussen"),
            sql=settings.SQL,
        )
        if extracted.skipped:
            book.append(interchange, "skipped", {"reason": extracted.skipped}, integration=self.integration.key)
            raise AirflowSkipException(f"{interchange}: {extracted.skipped}")
        done = extracted.manifest
        self.log.info("%s: %d records staged in %s", interchange, done.records, done.stage)
        return done.as_dict()
