"""The population register: KIR's notices into BoSko, then the inhabitant extract to the mainframe, every Monday."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from slussen import At, Integration, Times, day, document, extract, load, mvs, sql, tags, x400

kir = Integration(
    key="kir",
    teis="108",
    title="Population notices: persons and addresses",
    sender="KIR",
    receiver="BoSko",
    source=x400("kir_x400", "*.txt", encoding="cp1252"),
    target=sql("bosko", "kir_merge.sql"),
    layout="navet_utfil",
    persons="pass",
    persons_reason="our own register: the flags are what it is for, and the gate conserves them",
    times=Times(expected="05:00", amber="07:00", red="09:00", cutoff="+1d 05:00"),
    missing="warn",
    without={
        "canaries": "nothing leaves: the file is merged into our own database",
        "duplicates": "a notice may be told again, and the merge then changes nothing; the same file again is known "
        "when it is collected",
    },
    envelope=("via Navet",),
    decisions=(
        "a file that doesn't come is warned of: the register stays as it was last told",
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
    times=Times(expected="05:00", amber="08:00", red="10:00", cutoff="+1d 05:00"),
    repeats="fine",
    decisions=(
        "after kir has merged at least one file",
        "PKNOD's record stands in for the unpublished layout of ADS.N99.KIR.TEMP",
        "PKNOD's own mask: answer code 0002, name and address blank, number and mark kept",
    ),
)

with DAG(
    "kir_weekly",
    schedule=(when := At("05:00", days="mon")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(kir, kir_mvs),
    doc_md=document(kir, kir_mvs, schedule=when),
) as dag:
    loaded = load(kir)
    loaded >> extract(kir_mvs, trigger_rule="all_done_min_one_success")  # one bad file doesn't stop the week's extract
    loaded >> EmptyOperator(task_id="all_loaded", trigger_rule="none_failed")  # but it shows in the run's colour
