"""convert: a relayed payload's bytes, from the source's encoding to the target's."""

from __future__ import annotations

from airflow.sdk import Context

from slussen import settings
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, Run, ledger
from slussen.operators.connections import keys


class ConvertOperator(ManifestOperator):
    """Convert the payload byte for byte, and fix the result as the interchange's content."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.payloads import PayloadStore
        from slussen.rendering import convert

        done = convert(
            self.integration,
            manifest,
            ledger(),
            PayloadStore(settings.payloads()),
            day=Run.of(context).day,
            keys=keys(self.integration.target),
        )
        self.log.info("%s: %d bytes, sha256 %s, as %s", done.interchange, done.bytes, done.sha256[:12], done.name)
        return done
