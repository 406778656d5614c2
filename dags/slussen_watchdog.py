"""House: every ten minutes the schedule is compared with the ledger; what is missed, late or owed is told of."""

from airflow.sdk import DAG

from slussen import Every, day
from slussen.operators.watch import WatchOperator

with DAG(
    "slussen_watchdog",
    schedule=Every(10),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["slussen"],
    doc_md=__doc__,
) as dag:
    WatchOperator(task_id="watch")
