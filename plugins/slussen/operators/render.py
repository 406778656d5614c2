"""render: the stage becomes the bytes that the partner gets."""

from __future__ import annotations

from airflow.sdk import Context

from slussen import settings
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, Run, ledger
from slussen.operators.connections import dsn, keys


class RenderOperator(ManifestOperator):
    """Mask, render and scan the stage in one pass, and fix the result as the interchange's content."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.payloads import PayloadStore
        from slussen.rendering import render

        run = Run.of(context)
        done = render(
            self.integration,
            manifest,
            ledger(),
            PayloadStore(settings.payloads()),
            dsn("slussen"),
            day=run.day,
            form=run.form(self.integration),
            keys=keys(self.integration.target),
        )
        self.log.info(
            "%s: %d records, %d bytes, sha256 %s, as %s",
            done.interchange, done.records, done.bytes, done.sha256[:12], done.name,
        )  # fmt: skip
        return done
