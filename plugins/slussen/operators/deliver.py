"""deliver: the content to the partner, once and whole."""

from __future__ import annotations

from airflow.sdk import Context

from slussen import settings
from slussen.errors import TransportError
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, ledger
from slussen.operators.connections import transport


class DeliverOperator(ManifestOperator):
    """Send the content by the fenced protocol: a try that is repeated, overtaken or cut off sends it no second time."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.delivery import Delivery, deliver, drive
        from slussen.payloads import PayloadStore
        from slussen.records import layout as layouts

        target = self.integration.target
        delivery = Delivery(
            interchange=manifest.interchange,
            integration=manifest.integration,
            name=manifest.name,
            sha256=manifest.sha256,
            bytes=manifest.bytes,
            existing=target.existing,
        )
        with transport(target, layouts.load(self.integration.layout).length) as partner:
            outcome = drive(deliver(delivery, PayloadStore(settings.payloads()), partner, ledger()))
        if outcome.state == "fenced":
            raise TransportError(
                f"{manifest.interchange}: another attempt has taken over and the ledger doesn't say delivered yet; "
                "the next try finds out"
            )
        self.log.info(
            "%s: %s %s, %d bytes, sha256 %s, attempt %d",
            manifest.interchange, outcome.state, outcome.name, manifest.bytes, manifest.sha256[:12], outcome.attempt,
        )  # fmt: skip
        return manifest
