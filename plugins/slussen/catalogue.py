"""The catalogue: what the DAG files declare, read by running them."""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from pathlib import Path

from slussen import settings
from slussen.integration import Integration


@dataclass(frozen=True, slots=True)
class Row:
    """An integration and the DAG that carries it."""

    integration: Integration
    dag_id: str
    schedule: str

    def as_dict(self) -> dict[str, str]:
        i = self.integration
        return {
            "key": i.key,
            "teis": i.teis,
            "title": i.title,
            "dag_id": self.dag_id,
            "schedule": self.schedule,
            "sender": i.sender,
            "receiver": i.receiver,
            "layout": i.layout,
            "encoding": i.target.encoding,
            "transport": i.target.transport,
            "source_encoding": i.source.encoding,
            "source_transport": i.source.transport,
            "persons": i.persons,
        }


def rows(dags: Path | None = None) -> list[Row]:
    """Every integration of every DAG file, in the order of the files and of their declarations."""
    from airflow.sdk import DAG

    found = []
    for file in sorted((dags or settings.ROOT / "dags").glob("*.py")):
        names = runpy.run_path(str(file))
        dag = next(v for v in names.values() if isinstance(v, DAG))
        words = str(getattr(dag.schedule, "description", "") or dag.schedule or "by hand")
        found += [Row(v, dag.dag_id, words) for v in names.values() if isinstance(v, Integration)]
    return found
