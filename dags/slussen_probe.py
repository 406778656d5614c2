"""House: every hour, the partners whose windows open within the next one are probed."""

from airflow.sdk import DAG

from slussen import At, day
from slussen.operators.probe import ProbeOperator

with DAG(
    "slussen_probe",
    schedule=At(*(f"{hour:02}:50" for hour in range(24)), days="mon-sun", holidays=True),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["slussen"],
    doc_md=__doc__,
) as dag:
    ProbeOperator(task_id="probe")
