"""Accounts, HANNA to Volvo IT (IDM, Learnify): every morning."""

from airflow.sdk import DAG

from slussen import At, Integration, Times, day, document, ftp, relay, tags

volvo = Integration(
    key="volvo",
    teis="325",
    title="Accounts",
    sender="HANNA",
    receiver="Volvo IT",
    owner="Utbildningsförvaltningen, IT-avdelningen",
    source=ftp("hanna_ftp", "KONTO*.CSV", encoding="cp1252", frame="crlf"),
    target=ftp("volvo_ftp", "{source}", encoding="cp1252", frame="crlf"),
    layout="accounts",
    persons="block",
    times=Times(expected="05:45", amber="06:30", red="07:30", cutoff="12:00"),
    missing="warn",
    repeats="fine",
    without={"duplicates": "a full list each day: most days it is yesterday's"},
    decisions=(
        "daily 05:30",
        "an account of a protected pupil does not leave; the file has no flag of its own, so the register says who",
    ),
)

with DAG(
    "volvo_daily",
    schedule=(when := At("05:30")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(volvo),
    doc_md=document(volvo, schedule=when),
) as dag:
    relay(volvo)
