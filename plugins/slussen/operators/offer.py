"""offer: the content is there for whoever started the run, to be downloaded from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink, Context

from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, ledger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PLACE = "/slussen/download"  # below Airflow's own address: ``web/download.py``


class DownloadLink(BaseOperatorLink):
    """A button on the task: the file, for whoever may see the run."""

    name = "Download the file"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Asked in the task's own process, when it has ended: its manifest is rendered."""
        manifest = getattr(operator, "manifest", None)
        return f"{PLACE}/{ti_key.dag_id}/{manifest['interchange']}" if isinstance(manifest, dict) else ""


class OfferOperator(ManifestOperator):
    """Say in the ledger that the content can be fetched; who does so is written there by the download."""

    operator_extra_links = (DownloadLink(),)

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.downloads import offer

        first = offer(manifest, ledger(), self.dag_id)
        self.log.info(
            "%s: %s, %d bytes, sha256 %s, %s",
            manifest.interchange, manifest.name, manifest.bytes, manifest.sha256[:12],
            "to be downloaded" if first else "to be downloaded as before",
        )  # fmt: skip
        return manifest
