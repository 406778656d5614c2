"""The school-health file, BoSko to Profdoc, on the 1st and 15th at half past three."""

from airflow.sdk import DAG

from slussen import Integration, MonthDays, Times, day, directory, document, extract, sql, tags

profdoc_bosko = Integration(
    key="profdoc_bosko",
    teis="316",
    title="School-health file",
    sender="BoSko",
    receiver="Profdoc",
    source=sql("bosko", "profdoc_bosko.sql"),
    target=directory(
        "profdoc",
        "ELEVHALSA_BOSKO_{day:%Y%m%d}_{number:04}.TXT",
        encoding="cp1252",
        frame="crlf",
        replace="typographic",
    ),
    layout="profdoc",
    persons="mask",
    times=Times(expected="03:30", amber="04:30", red="06:00", cutoff="+1d 06:00"),
    repeats="fine",
    decisions=(
        "1st and 15th, 03:30, also on holidays",
        "a file name of its own: the document's is copied from LIS",
        "a protected pupil stays, without address, telephone and guardians: school health must know the pupil",
        "where a guardian is protected, address and guardians are left out too",
    ),
)

with DAG(
    "profdoc_bosko_twice_monthly",
    schedule=(when := MonthDays("03:30", days=(1, 15))),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(profdoc_bosko),
    doc_md=document(profdoc_bosko, schedule=when),
) as dag:
    extract(profdoc_bosko)
