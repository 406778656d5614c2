"""stage: a payload's records become rows, and what could not be read becomes findings."""

from __future__ import annotations

from airflow.sdk import Context

from slussen import settings
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, ledger
from slussen.operators.connections import dsn, keys


class StageOperator(ManifestOperator):
    """Parse the payload by its layout and copy it into a staging table of this attempt's own."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.payloads import PayloadStore
        from slussen.staging import stage_payload
        from slussen.wrapping import opened

        store, source = PayloadStore(settings.payloads()), self.integration.source
        plain, said = opened(manifest, source, keys(source), store)
        if said:
            self.log.info("%s: opened: %s", manifest.interchange, ", ".join(said))
        staged = stage_payload(self.integration, plain, ledger(), store, dsn("slussen"), **said)
        self.log.info("%s: %d records staged in %s", staged.interchange, staged.records, staged.stage)
        return staged
