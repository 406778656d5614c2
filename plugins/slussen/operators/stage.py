"""stage: a payload's records become rows, and what could not be read becomes findings."""

from __future__ import annotations

from airflow.sdk import Context

from slussen import settings
from slussen.manifest import Manifest
from slussen.operators.base import ManifestOperator, ledger
from slussen.operators.connections import dsn


class StageOperator(ManifestOperator):
    """Parse the payload by its layout and copy it into a staging table of this attempt's own."""

    def work(self, context: Context, manifest: Manifest) -> Manifest:
        from slussen.database import connect
        from slussen.errors import Findings
        from slussen.payloads import PayloadStore
        from slussen.records import layout as layouts
        from slussen.records import stage
        from slussen.records.parse import Parsed
        from slussen.staging import new_table, publish

        layout = layouts.load(self.integration.layout)
        source = self.integration.source
        book = ledger()
        events = book.events(manifest.interchange)
        after = events[-1].seq if events else 0
        table = new_table(manifest.interchange)
        findings = Findings()
        with PayloadStore(settings.payloads()).open(manifest.sha256) as payload, connect(dsn("slussen")) as slussen:
            parsed = Parsed(payload, layout, source.encoding, source.frame, findings)
            stage.create(slussen, table, layout.schema)
            rows = stage.copy_in(slussen, table, parsed)
            slussen.commit()
        staged = manifest.but(
            records=parsed.records,
            layout=layout.name,
            layout_version=layout.version,
            encoding=source.encoding,
            stage=table,
            totals={**parsed.totals, "rows": rows},
            header=parsed.header,
            made_from=(manifest.sha256,),
        )
        located = [f.at(integration=self.integration.key, file=manifest.name).as_dict() for f in findings]
        publish(book, staged, after, header=parsed.header, findings=located[:100], counts=dict(findings.counts))
        self.log.info(
            "%s: %d records staged in %s, %d findings", manifest.interchange, parsed.records, table, findings.total
        )
        return staged
