"""Grade and activity statistics, HANNA to the education administration's case officers: weekdays at nine."""

from airflow.sdk import DAG

from slussen import At, Integration, Times, day, directory, document, ftp, relay, tags

statistics = Integration(
    key="statistics",
    teis="65",
    title="Grade and activity statistics",
    sender="HANNA",
    receiver="Education administration",
    owner="Utbildningsförvaltningen, statistik",
    source=ftp("hanna_ftp", "STATISTIK*.CSV", encoding="cp1252", frame="crlf"),
    target=directory("education_statistics", "{source}", encoding="cp1252", frame="crlf"),
    layout="statistics",
    persons="none",
    proof=("education_mail",),
    times=Times(expected="09:15", amber="10:00", red="12:00", cutoff="16:00"),
    without={
        "conservation": "counts, and no persons",
        "canaries": "counts, and no persons",
        "volume": "30 to 40 statistics a year, each of its own size",
    },
    envelope=("S-CUST 01800",),
    decisions=(
        "a cell of fewer than ten pupils is blank in the file, or the file is held: so few are persons",
        "the receipt by mail is a proof of sending, to the case officers",
    ),
)

with DAG(
    "statistics_weekdays",
    schedule=(when := At("09:00", days="mon-fri", holidays=False)),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(statistics),
    doc_md=document(statistics, schedule=when),
) as dag:
    relay(statistics)
