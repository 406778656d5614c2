"""convert: a relayed payload's bytes, as its policy lets them leave, from the source's encoding to the target's."""

from __future__ import annotations

from airflow.sdk import Context

from slussen import settings
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, Run, ledger
from slussen.operators.connections import dsn, keys


class ConvertOperator(ManifestOperator):
    """Mask or block what must not leave, convert the rest byte for byte, and fix it as the interchange's content."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.payloads import PayloadStore
        from slussen.persons import register
        from slussen.rendering import convert

        done = convert(
            self.integration,
            manifest,
            ledger(),
            PayloadStore(settings.payloads()),
            day=Run.of(context).day,
            protected=register(dsn("bosko")) if self.integration.persons in ("mask", "block") else None,
            keys=keys(self.integration.target),
        )
        self.log.info("%s: %d bytes, sha256 %s, as %s", done.interchange, done.bytes, done.sha256[:12], done.name)
        return done
