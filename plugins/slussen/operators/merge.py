"""merge: the stage goes into the target database, in one transaction, once."""

from __future__ import annotations

from airflow.sdk import Context

from slussen import settings
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, Run, ledger
from slussen.operators.connections import dsn


class MergeOperator(ManifestOperator):
    """Run the integration's merge over the staged records."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.merging import merge

        run = Run.of(context)
        counts = merge(
            self.integration,
            manifest,
            ledger(),
            source=dsn("slussen"),
            target=dsn(self.integration.target.connection),
            sql=settings.SQL,
            now=run.now,
        )
        self.log.info("%s: merged, %s", manifest.interchange, ", ".join(f"{n} {what}" for what, n in counts.items()))
        return manifest
