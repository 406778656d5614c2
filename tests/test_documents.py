"""The pages that are made from the DAG files are current, short, and lead somewhere; so does the runbook."""

from __future__ import annotations

import re

import pytest

from slussen import settings
from slussen.catalogue import Row, rows
from slussen.documents import document, pages
from slussen.sentences import ENDINGS

DOCS = settings.ROOT / "docs"
ROWS = rows()


@pytest.mark.parametrize("name", ["CATALOGUE.md", "SCHEDULE.md"])
def test_a_page_is_current_and_short(name: str) -> None:
    text = pages(ROWS)[DOCS / name]
    assert (DOCS / name).read_text(encoding="utf-8") == text, "run `make docs`"
    assert len(text.splitlines()) < 60


def test_the_catalogue_has_a_line_for_each_integration_and_its_links_lead_somewhere() -> None:
    text = (DOCS / "CATALOGUE.md").read_text(encoding="utf-8")
    assert [re.match(r"\| \[(\w+)\]", line)[1] for line in text.splitlines() if line.startswith("| [")] == [
        row.key for row in ROWS
    ]  # type: ignore[index]
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 4 * len(ROWS) - 30
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_week_has_every_integration_once_a_day_at_most_an_hour() -> None:
    text = (DOCS / "SCHEDULE.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert re.search(rf"\b{row.key}\b", text), row.key


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_dags_page_says_what_on_call_needs(row: Row) -> None:
    text = document(row.integration, schedule=row.timetable)
    i = row.integration
    wanted = [i.title, i.contact, i.owner, f"`slussen why {i.key}`", "docs/runbook.md", i.persons, *i.decisions]
    wanted += [row.schedule] if row.timetable is not None else []
    wanted += [i.times.cutoff] if i.times is not None else []
    wanted += [*i.without.values(), *(r.kind for r in i.receipts)]
    for words in wanted:
        assert words in text


def test_every_dags_page_is_made_of_its_own_rows_and_schedule() -> None:
    import runpy

    from airflow.sdk import DAG

    for file in {row.file for row in ROWS}:
        dag = next(v for v in runpy.run_path(str(file)).values() if isinstance(v, DAG))
        for row in (row for row in ROWS if row.file == file):
            assert f"### {row.key}: " in (dag.doc_md or "")
            assert row.timetable is None or f"| Schedule | {row.schedule} |" in (dag.doc_md or "")


def test_the_runbook_has_what_is_referred_to() -> None:
    anchors = set(re.findall(r"^## (\S+)$", (DOCS / "runbook.md").read_text(encoding="utf-8"), re.M))
    referred = set(re.findall(r"runbook\.md#(\w+)", "\n".join(ENDINGS.values()))) | {"missed"}
    assert referred <= anchors
    assert {"held", "quarantined", "failed", "late", "overdue", "control", "unmatched"} <= anchors
