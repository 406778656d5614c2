"""deliver: the content to the partner, once and whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from slussen import settings
from slussen.errors import NameTaken, TransportError
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, Run, StepOperator, boundary, ledger, say_once, too_late
from slussen.operators.connections import MESSAGES, transport
from slussen.operators.messages import dispatched, settle_question

if TYPE_CHECKING:
    from slussen.delivery import Delivery, Outcome
    from slussen.integration import Endpoint, Integration


GRACE = timedelta(minutes=15)  # for what was let go, or extracted, at the last moment


class DeliverOperator(ManifestOperator):
    """Send the content by the fenced protocol: a try that is repeated, overtaken or cut off sends it no second time."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.delivery import deliver, drive
        from slussen.payloads import PayloadStore
        from slussen.records import layout as layouts

        target = self.integration.target
        in_time(self.integration, context, [manifest])
        if target.transport in MESSAGES:
            return dispatched(self.integration, manifest, self.log)
        with transport(target, layouts.load(self.integration.layout).length) as partner:
            outcome = drive(deliver(delivery(manifest, target), PayloadStore(settings.payloads()), partner, ledger()))
        tell(self.log, [manifest], [outcome])
        if self.integration.answers:
            settle_question(self.integration, manifest, Run.of(context).now, self.log)
        return manifest


class DeliverSetOperator(StepOperator):
    """Send several contents as one delivery: all or none.

    :param manifests: the manifests of the parts, in the order in which they appear at the partner.
    """

    template_fields = ("manifests",)

    def __init__(self, *, manifests: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manifests = manifests

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from slussen.delivery import drive
        from slussen.payloads import PayloadStore
        from slussen.sets import deliver_set

        manifests = [Manifest.from_dict(m) for m in self.manifests]
        target = self.integration.target
        with boundary(self.integration, "", self.step, self.log):
            in_time(self.integration, context, manifests)
            try:
                with transport(target) as partner:
                    parts = [delivery(m, target) for m in manifests]
                    outcomes = drive(deliver_set(parts, PayloadStore(settings.payloads()), partner, ledger()))
            except NameTaken as error:
                self._hold(manifests, error)
            tell(self.log, manifests, outcomes)
        return [m.as_dict() for m in manifests]

    def _hold(self, manifests: Sequence[Manifest], error: NameTaken) -> None:
        """None goes without the others: all that haven't gone are held."""
        book = ledger()
        for m in manifests:
            if not any(e.kind == "delivered" for e in book.events(m.interchange)):
                book.append(m.interchange, "held", {"at": self.step, "reason": str(error)}, integration=m.integration)
        raise AirflowFailException(str(error)) from None


def in_time(integration: Integration, context: Context, manifests: Sequence[Manifest]) -> None:
    """What we have extracted goes in its time, or not at all; what a partner gave us, and what was begun, goes on.

    Raises:
        AirflowFailException: an outage has kept it until its time was over.
    """
    if integration.source.transport != "database" or not (
        reason := too_late(integration, context, Run.of(context), GRACE)
    ):
        return
    book = ledger()
    if any(e.kind in ("claim", "sending") for m in manifests for e in book.events(m.interchange)):
        return
    for m in manifests:
        say_once(m.interchange, "missed", reason, integration)
    raise AirflowFailException(f"{integration.key}: {reason}. Next: clear the run to send it late")


def delivery(manifest: Manifest, target: Endpoint) -> Delivery:
    """What is to stand at the partner."""
    from slussen.delivery import Delivery

    return Delivery(
        interchange=manifest.interchange,
        integration=manifest.integration,
        name=manifest.name,
        sha256=manifest.sha256,
        bytes=manifest.bytes,
        existing=target.existing,
    )


def tell(log: Any, manifests: Sequence[Manifest], outcomes: Sequence[Outcome]) -> None:
    """Log how it went.

    Raises:
        TransportError: another attempt has taken over: the next try finds out how that went.
    """
    for manifest, outcome in zip(manifests, outcomes, strict=True):
        if outcome.state == "fenced":
            raise TransportError(
                f"{manifest.interchange}: another attempt has taken over and the ledger doesn't say delivered yet; "
                "the next try finds out"
            )
        log.info(
            "%s: %s %s, %d bytes, sha256 %s, attempt %d",
            manifest.interchange, outcome.state, outcome.name, manifest.bytes, manifest.sha256[:12], outcome.attempt,
        )  # fmt: skip
