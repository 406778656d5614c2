"""The catalogue: what the DAG files declare, read by running them. Needs no database, Airflow's or ours."""

from __future__ import annotations

import runpy
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from slussen import settings
from slussen.errors import CallError
from slussen.integration import Integration

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from slussen.timetables import Schedule


@dataclass(frozen=True, slots=True)
class Row:
    """An integration and the DAG that carries it. Without a timetable it is started by hand.

    ``after``: those of its DAG that must have gone before it.
    """

    integration: Integration
    dag_id: str
    file: Path
    timetable: Schedule | None
    since: datetime | None  # the DAG's start date: from when on it is ours
    after: tuple[Integration, ...] = ()

    @property
    def key(self) -> str:
        return self.integration.key

    @property
    def schedule(self) -> str:
        return self.timetable.summary if self.timetable is not None else "by hand"

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


@dataclass(frozen=True, slots=True)
class Planned:
    """A run of an integration as the timetable has it: its data interval (UTC), of no length for a moment."""

    row: Row
    start: datetime
    end: datetime

    @property
    def run_after(self) -> datetime:
        """When the run is started: when its interval begins, it waits inside."""
        return self.start


def rows(dags: Path | None = None) -> list[Row]:
    """Every integration of every DAG file, in the order of the files and of their declarations."""
    from airflow.sdk import DAG

    from slussen.timetables import Schedule

    found = []
    for file in sorted((dags or settings.ROOT / "dags").glob("*.py")):
        names = runpy.run_path(str(file))
        dag = next(v for v in names.values() if isinstance(v, DAG))
        timetable = dag.schedule if isinstance(dag.schedule, Schedule) else None
        declared = [v for v in names.values() if isinstance(v, Integration)]
        before = _before(dag)
        found += [
            Row(v, dag.dag_id, file, timetable, dag.start_date, tuple(i for i in declared if i.key in before[v.key]))
            for v in declared
        ]
    return found


def _before(dag: DAG) -> dict[str, set[str]]:
    """The integrations whose tasks stand right before another's, by its key: a task's name begins with its key."""
    found: dict[str, set[str]] = defaultdict(set)
    for task in dag.tasks:
        key = task.task_id.partition(".")[0]
        found[key] |= {name.partition(".")[0] for name in task.upstream_task_ids} - {key}
    return found


def only(found: list[Row], key: str) -> Row:
    """The row of this key.

    Raises:
        CallError: there is none.
    """
    for row in found:
        if row.key == key:
            return row
    keys = [row.key for row in found]
    near = get_close_matches(key, keys, 1)
    meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(keys)}"
    raise CallError(f"there is no integration {key}: {meant}")


def planned(found: Iterable[Row], first: date, last: date) -> list[Planned]:
    """The runs whose intervals begin on a Stockholm day from ``first`` up to, not including, ``last``, in order."""
    from slussen.timetables import at, plain

    start, end = at(first, "00:00"), at(last, "00:00") - timedelta(microseconds=1)
    runs = [
        Planned(row, plain(i.start), plain(i.end))
        for row in found
        if row.timetable is not None
        for i in row.timetable.between(start, end)
    ]
    return sorted(runs, key=lambda run: run.start)
