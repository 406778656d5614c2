"""The pupil list, BoSko to Ergo, every Monday and Wednesday at six."""

from airflow.sdk import DAG

from slussen import At, Integration, Times, day, document, extract, ftp, sql, tags

ergo = Integration(
    key="ergo",
    teis="158",
    title="Pupil list",
    sender="BoSko",
    receiver="Ergo",
    source=sql("bosko", "ergo.sql"),
    target=ftp("ergo_ftp", "ext_elevfil_{day:%Y%m%d}_{number:04}.txt", encoding="cp1252", frame="crlf"),
    layout="ergo",
    persons="block",
    times=Times(expected="06:00", amber="06:30", red="07:30", cutoff="12:00"),
    repeats="fine",
    decisions=(
        "Monday and Wednesday 06:00, also on holidays",
        "ext*fil* is read as one file: the pupils who are enrolled on the day, in the school year that it is of",
        "a protected pupil doesn't leave; a pupil whose guardian is protected does: the record tells of no guardian",
    ),
)

with DAG(
    "ergo_mon_wed",
    schedule=(when := At("06:00", days="mon,wed")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(ergo),
    doc_md=document(ergo, schedule=when),
) as dag:
    extract(ergo)
