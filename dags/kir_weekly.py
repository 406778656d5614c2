"""The population register: KIR's notices into BoSko, then the inhabitant extract to the mainframe, every Monday."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from slussen import At, Integration, day, directory, document, extract, load, mvs, sql, tags

kir = Integration(
    key="kir",
    teis="108",
    title="Population notices: persons and addresses",
    sender="KIR",
    receiver="BoSko",
    source=directory("kir_inbox", "*.txt", encoding="cp1252"),
    target=sql("bosko", "kir_merge.sql"),
    layout="navet_utfil",
    persons="pass",
    persons_reason="our own register: the flags are what it is for, and the gate conserves them",
    envelope=("via Navet",),
    decisions=(
        "comes by directory for now, by X.400 with the transports",
        "Monday 05:00, also on holidays",
        "a file older than what a person already has changes nothing for that person",
    ),
)
kir_mvs = Integration(
    key="kir_mvs",
    teis="172",
    title="Inhabitant extract",
    sender="BoSko",
    receiver="HANNA",
    source=sql("bosko", "kir_mvs.sql"),
    target=mvs("hanna_mvs", "ADS.N99.KIR.TEMP"),
    layout="pknod",
    persons="mask",
    decisions=(
        "after kir has merged at least one file",
        "PKNOD's record stands in for the unpublished layout of ADS.N99.KIR.TEMP",
        "PKNOD's own mask: answer code 0002, name and address blank, number and mark kept",
    ),
)

with DAG(
    "kir_weekly",
    schedule=At("05:00", days="mon"),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(kir, kir_mvs),
    doc_md=document(kir, kir_mvs),
) as dag:
    loaded = load(kir)
    loaded >> extract(kir_mvs, trigger_rule="all_done_min_one_success")  # one bad file doesn't stop the week's extract
    loaded >> EmptyOperator(task_id="all_loaded", trigger_rule="none_failed")  # but it shows in the run's colour
