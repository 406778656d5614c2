"""Agresso's report back (A02): what was paid, reminded and credited, into BoSko, every day at half past six."""

from airflow.sdk import DAG

from slussen import At, Integration, Times, day, directory, document, load, sql, tags

a02 = Integration(
    key="a02",
    teis="234",
    title="Report back: paid, reminded, credited",
    sender="Agresso",
    receiver="BoSko",
    source=directory("agresso_a02", "F03-PROCAPITA.txt", encoding="cp1252", frame="crlf"),
    target=sql("bosko", "a02_merge.sql"),
    layout="a02",
    persons="pass",
    persons_reason="our own system: BoSko's copy of its own customers' ledger",
    owner="Utbildningsförvaltningen, avgiftsenheten",
    times=Times(expected="06:30", amber="07:30", red="09:00", cutoff="15:00"),
    missing="warn",
    references=("f29", "f102"),
    without={
        "conservation": "the file has no flags, and nothing of it is written to the population register",
        "canaries": "nothing leaves: the file is merged into our own database",
        "duplicates": "a full snapshot tells the same items every day; the same file again is known when it is "
        "collected, and an older one changes nothing",
    },
    envelope=("I-A02",),
    decisions=(
        "daily 06:30, as the owner says, where one table of the document has it weekly via Navet",
        "a full snapshot: an item that is told of no more stays as it was last told",
        "an older file changes nothing that a newer one has told, by day and Agresso's running number",
        "a missing file is warned of: yesterday's ledger stands",
    ),
)

with DAG(
    "agresso_a02_daily",
    schedule=(when := At("06:30", days="mon-sun")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(a02),
    doc_md=document(a02, schedule=when),
) as dag:
    load(a02)
