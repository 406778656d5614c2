"""Pupils for the city's statistics office (USK): the 1st of each month."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import Integration, MonthDays, Receipt, Times, day, document, ftp, relay, shs, tags

usk = Integration(
    key="usk",
    teis="322",
    title="Pupil file for the statistics office",
    sender="HANNA",
    receiver="USK",
    owner="Utrednings- och statistikkontoret",
    source=ftp("hanna_ftp", "USK*.TXT", encoding="cp437", frame="crlf"),
    target=shs("usk_shs", "urn:X-shs:usk-elev", "{source}", encoding="cp437", frame="crlf"),
    layout="usk",
    persons="mask",
    times=Times(expected="04:45", amber="06:00", red="08:00", cutoff="12:00"),
    missing="warn",
    repeats="fine",
    receipts=(Receipt(kind="delivery", within=timedelta(hours=1)),),
    without={"duplicates": "a full list each month: in the summer it is the last one's"},
    decisions=(
        "the 1st of the month, 04:30; PC8 is CP437 and is kept",
        "of a protected pupil name, school and class are blank; the number stays, for the count",
        "product type urn:X-shs:usk-elev",
    ),
)

with DAG(
    "usk_monthly",
    schedule=(when := MonthDays("04:30", days=(1,))),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(usk),
    doc_md=document(usk, schedule=when),
) as dag:
    relay(usk)
