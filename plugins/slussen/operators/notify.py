"""notify: who is to know of a delivery is told, once."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from slussen.errors import CallError, TransportError, TransportRefused
from slussen.operators.base import StepOperator, ledger


class NotifyOperator(StepOperator):
    """Tell the integration's ``proof`` connections that the interchange was delivered.

    A teardown of the group: when it fails, that shows and is tried again, and neither the run nor what stands after
    the group fails with it.

    :param manifest: the delivered manifest as a dict, those of a set as a list, or None when nothing was delivered.
    """

    template_fields = ("manifest",)

    def __init__(self, *, manifest: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest

    def execute(self, context: Context) -> None:
        if not self.manifest:
            raise AirflowSkipException(f"{self.integration.key}: nothing was delivered")
        failed: list[Exception] = []
        for manifest in self.manifest if isinstance(self.manifest, list) else [self.manifest]:
            failed += self._tell(manifest["interchange"])
        if failed:
            passing = any(isinstance(e, TransportError) for e in failed)
            kind = TransportError if passing else TransportRefused
            raise kind(f"{self.integration.key}: delivered, but not all were told: " + "; ".join(map(str, failed)))

    def _tell(self, interchange: str) -> list[Exception]:
        """Tell every connection of one interchange; what was in vain."""
        from slussen.notifications import proof, tell
        from slussen.operators.channels import channel

        book, failed = ledger(), list[Exception]()
        note = proof(self.integration, interchange, book.events(interchange))
        if note is None:
            raise AirflowSkipException(f"{interchange}: the ledger doesn't say that it was delivered")
        for connection in self.integration.proof:
            try:
                told = tell(book, interchange, self.integration.key, "proof", note, channel(connection))
            except (TransportError, TransportRefused, CallError) as error:
                failed.append(error)
                continue
            self.log.info("%s: %s: %s", interchange, connection, told)
            if told == "busy":
                failed.append(TransportError(f"{connection}: another attempt is at it; the next try finds out"))
        return failed
