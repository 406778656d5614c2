"""DAG files: one a schedule, named as their DAG, readable by Airflow, and cheap to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from slussen import settings
from slussen.catalogue import rows
from slussen.operators.base import OURS, RETRIES

DAGS = settings.ROOT / "dags"
FILES = sorted(f.name for f in DAGS.glob("*.py"))
HEAVY = ("pandas", "great_expectations", "pyarrow", "numpy", "psycopg", "psycopg2")


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(DAGS))


def dag(bag: DagBag, file: str) -> DAG:
    return next(d for d in bag.dags.values() if Path(d.fileloc).name == file)


def test_every_file_is_read(bag: DagBag) -> None:
    assert bag.import_errors == {}


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_one_dag_of_the_same_name(bag: DagBag, file: str) -> None:
    """Catches also what Airflow skips in silence: a file without the words airflow and dag."""
    assert [d.dag_id for d in bag.dags.values() if Path(d.fileloc).name == file] == [Path(file).stem]


@pytest.mark.parametrize("file", FILES)
def test_a_dag_survives_the_database(bag: DagBag, file: str) -> None:
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag(bag, file)))
    schedule = dag(bag, file).schedule
    assert again.timetable.summary == (schedule.description if schedule else "None")


@pytest.mark.parametrize("file", FILES)
def test_a_dag_will_be_scheduled_in_stockholm_time_and_one_delivery_at_a_time(bag: DagBag, file: str) -> None:
    """Without a start date a timetable of ours never runs, and Airflow doesn't say so."""
    d = dag(bag, file)
    assert d.start_date is not None
    assert str(d.timezone) == "Europe/Stockholm"
    assert d.max_active_runs == (128 if file.startswith("infodata") else 1)
    assert all(t.max_active_tis_per_dag == 1 for t in d.tasks if t.task_type == "DeliverOperator")
    assert d.catchup is False
    assert d.doc_md
    assert d.tags


@pytest.mark.parametrize("file", FILES)
def test_every_step_tries_passing_faults_again_and_final_ones_not(bag: DagBag, file: str) -> None:
    for task in dag(bag, file).tasks:
        if task.task_type != "EmptyOperator":
            assert task.retries == (OURS if task.task_type == "WatchOperator" else RETRIES), task.task_id
            assert task.retry_policy is not None, task.task_id


def test_no_dag_file_imports_a_heavy_library() -> None:
    script = (
        "import runpy, sys\n"
        f"for f in {FILES!r}: runpy.run_path({str(DAGS)!r} + '/' + f)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert seen.stdout.splitlines()[-1] == "[]"


def test_the_core_knows_no_airflow() -> None:
    core = ["records.layout", "records.parse", "records.render", "records.convert", "records.stage", "payloads",
            "ledger", "delivery", "transports.directory", "transports.ftp", "transports.mvs", "quality.gate", "persons",
            "canaries", "keys", "database", "collection", "extraction", "rendering", "merging"]  # fmt: skip
    script = (
        "import importlib, sys\n"
        f"for m in {core!r}: importlib.import_module('slussen.' + m)\n"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] == 'airflow'))"
    )
    seen = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert seen.stdout.splitlines()[-1] == "[]"


def test_airflow_executes_one_file_below_plugins_and_no_name_of_ours_hides_the_standard_library() -> None:
    """Airflow runs every .py below plugins/ as a module of its bare name: one called statistics would be fatal."""
    from airflow._shared.module_loading import find_path_from_directory

    plugins = settings.ROOT / "plugins"
    found = [Path(f) for f in find_path_from_directory(str(plugins), ".airflowignore") if f.endswith(".py")]
    assert [f.name for f in found] == ["slussen_plugin.py"]
    ours = {f.stem for f in plugins.rglob("*.py")} - {"__init__"}
    assert ours & sys.stdlib_module_names == set()


PERSONS = {
    "a02": "pass", "ergo": "block", "f29": "mask", "f30": "mask", "f102": "mask", "f103": "mask", "f104": "mask",
    "h45": "none", "kir": "pass", "kir_mvs": "mask", "lis": "block", "novaschema": "block", "profdoc_bosko": "mask",
    "csn_month": "pass", "csn_komvux": "pass", "csn_inack": "pass", "csn_inack_reply": "pass", "csn_report": "pass",
    "csn_report_receipt": "pass", "skv": "pass", "skv_reply": "pass", "infodata": "pass", "infodata_reply": "pass",
    "statistics": "none", "volvo": "block", "profdoc_hanna": "mask", "usk": "mask", "fronter": "hold",
}  # fmt: skip


def test_the_catalogue_has_every_row_and_says_each_ends_encoding_and_policy() -> None:
    found = {row.integration.key: row.as_dict() for row in rows()}
    assert {k: r["persons"] for k, r in found.items()} == PERSONS
    assert (found["skv"]["source_encoding"], found["skv"]["encoding"]) == ("cp437", "cp1252")
    assert found["kir_mvs"]["transport"] == "mvs"
    assert (found["kir"]["source_transport"], found["kir"]["source_encoding"]) == ("x400", "cp1252")
    assert (found["h45"]["transport"], found["h45"]["encoding"]) == ("ftp", "iso8859-1")
    assert (found["novaschema"]["transport"], found["novaschema"]["schedule"]) == ("download", "by hand")


def test_every_row_has_an_owner_and_its_times_in_order_unless_a_form_starts_it() -> None:
    from datetime import date

    from slussen.lateness import resolve
    from slussen.timetables import at

    for row in rows():
        i = row.integration
        assert i.owner
        if i.form or i.key == "skv":
            continue
        assert i.times is not None, i.key
        due = resolve(i.times, at(date(2026, 1, 12), i.times.expected))
        assert due.expected < due.amber < due.red < due.cutoff, i.key


def test_a_form_is_checked_before_it_starts_a_run(bag: DagBag) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    form = dag(bag, "novaschema_on_request.py").params
    for name, good, bad in (
        ("school", "10480037", "1048"),
        ("course_group", "SVESVE01-12", "../SVESVE01-1"),
        ("period", "2026-12", "2026-13"),
    ):
        assert form.get_param(name).resolve(good) == good
        for wrong in (bad, f"{good}\n"):  # with a line end it would be another form, for the same file
            with pytest.raises(ParamValidationError):
                form.get_param(name).resolve(wrong)


def test_no_name_that_dag_files_import_is_a_module_of_ours() -> None:
    """An imported submodule would take the name's place: the same DAG file would parse, or not, by what ran before."""
    import slussen

    modules = {f.stem for f in (settings.ROOT / "plugins" / "slussen").iterdir()}
    assert set(slussen.__all__) & modules == set()
