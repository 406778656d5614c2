"""gate: the records are checked before anything goes on; in doubt, a person decides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from slussen import settings
from slussen.errors import ContentError, StageGone
from slussen.integration import Integration
from slussen.manifest import Manifest
from slussen.operators.base import Run, boundary, ledger, name_the_map_index, patient, quarantine, staged_again
from slussen.operators.connections import dsn

if TYPE_CHECKING:
    from slussen.quality.gate import Kind

RELEASE, REFUSE = "Release", "Refuse"
PATIENCE = timedelta(hours=12)  # for a run by hand, or after its cut-off: as long as a night and a morning


def time_left(integration: Integration, run: Run) -> timedelta:
    """How long a held file may wait for its answer: until the cut-off of the run's interval, or its window's end."""
    from slussen.lateness import resolve

    until = run.end
    if integration.times is not None and run.start is not None:
        until = resolve(integration.times, run.start).cutoff
    # Seconds, since what pendulum's times leave between them is no timedelta that Airflow can send on.
    seconds = (until - run.now).total_seconds() if until is not None else 0
    return timedelta(seconds=seconds) if seconds > 0 else PATIENCE


class GateOperator(HITLOperator):
    """Run the gate; ask a person only when it holds.

    A pass goes on, a fail is quarantined, a hold waits (no slot, no triggerer) until it is answered or its
    cut-off comes; an answer that never comes is a refusal.

    :param kind: ``extract``, ``load`` or ``relay``.
    """

    template_fields = ("manifest", "subject", "body")
    step: ClassVar[str] = "gate"  # as the other steps' (``base.py``): alarms name it

    def __init__(self, *, integration: Integration, kind: Kind, manifest: Any, **kwargs: Any) -> None:
        super().__init__(
            subject=f"{integration.key}: held. Let it go on?",
            body="",
            options=[RELEASE, REFUSE],
            defaults=REFUSE,
            **patient(kwargs),
        )
        self.integration, self.kind, self.manifest = integration, kind, manifest

    def execute(self, context: Context) -> Any:
        manifest = Manifest.from_dict(self.manifest)
        name_the_map_index(context, manifest)
        run = Run.of(context)
        with boundary(self.integration, manifest.interchange, "gate", self.log):
            try:
                verdict, table = self._judge(manifest, run.now)
            except StageGone:
                manifest = staged_again(self.integration, manifest, context)
                self.log.warning("%s: its stage was gone, and is made again", manifest.interchange)
                verdict, table = self._judge(manifest, run.now)
        if verdict != "hold":
            return manifest.as_dict()
        left = time_left(self.integration, run)
        self.subject = f"{manifest.interchange}: held. Let it go on?"
        self.body = f"```\n{table}\n```\n\nWithout an answer it is refused in {left}."
        self.response_timeout = left
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        manifest = Manifest.from_dict(self.manifest)
        name_the_map_index(context, manifest)
        answer = super().execute_complete(context, event)
        released = answer["chosen_options"] == [RELEASE]
        by = (answer["responded_by_user"] or {}).get("name") or "its cut-off"
        ledger().append(
            manifest.interchange,
            "released" if released else "refused",
            {"by": by, "at": answer["responded_at"].isoformat()},
            integration=self.integration.key,
        )
        self.log.info("%s: %s by %s", manifest.interchange, "released" if released else "refused", by)
        if not released:
            raise AirflowFailException(f"{manifest.interchange}: refused by {by}; nothing was sent")
        return manifest.as_dict()

    def _judge(self, manifest: Manifest, now: datetime) -> tuple[str, str]:
        """Run the gate and write its verdict and report to the ledger."""
        import json

        from slussen.errors import Finding
        from slussen.history import delivered, last, last_delivered, sent
        from slussen.payloads import PayloadStore
        from slussen.quality import suite as suites
        from slussen.quality.duties import Duties, reasons
        from slussen.quality.gate import run_gate
        from slussen.records import layout as layouts

        book, suite = ledger(), suites.load(self.integration.key)
        events = book.events(manifest.interchange)
        staged = next(e for e in reversed(events) if e.kind == "staged")
        report = run_gate(
            manifest=manifest,
            layout=layouts.load(self.integration.layout),
            policy=self.integration.persons,
            kind=self.kind,
            stage_dsn=dsn("slussen"),
            bosko_dsn=dsn("bosko"),
            findings=[Finding(**f) for f in staged.data.get("findings", ())],
            counts=staged.data.get("counts"),
            references=delivered(book, *self.integration.references) if self.integration.references else None,
            previous=last(book, last_delivered(book, self.integration.key, manifest.interchange), "gated"),
            duties=Duties(now, sent(book, self.integration.key), reasons(self.integration, suite)),
        )
        with PayloadStore(settings.payloads()).writer() as sink:
            sink.write(json.dumps(report.as_dict(), ensure_ascii=False, indent=1).encode())
        book.append(
            manifest.interchange,
            "gated",
            {
                "verdict": report.verdict,
                "report": sink.sha256,
                "suite_version": report.suite_version,
                "protected": report.protected,
                "register": report.register,
            },
            integration=self.integration.key,
        )
        self.log.info("%s: %s\n%s", manifest.interchange, report.verdict, report.table())
        if report.verdict == "fail":
            error = ContentError(report.findings)
            quarantine(self.integration, manifest.interchange, "gate", error)
            raise AirflowFailException(f"{manifest.interchange}: quarantined by the gate\n{error}")
        if report.verdict == "hold":
            findings = [f.as_dict() for f in report.findings[:100]]
            book.append(
                manifest.interchange, "held", {"at": "gate", "findings": findings}, integration=self.integration.key
            )
        return report.verdict, report.table()
