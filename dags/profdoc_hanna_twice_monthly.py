"""Pupils for school health, HANNA to Profdoc: the 1st and 15th."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import Integration, MonthDays, Receipt, Times, day, document, ftp, relay, shs, tags

profdoc_hanna = Integration(
    key="profdoc_hanna",
    teis="320",
    title="School-health file, upper-secondary",
    sender="HANNA",
    receiver="Profdoc",
    owner="Utbildningsförvaltningen, elevhälsan",
    source=ftp("hanna_ftp", "ELEVHALSA*.TXT", encoding="cp437", frame="crlf"),
    target=shs("profdoc_shs", "urn:X-shs:elevhalsa", "{source}", encoding="cp1252", frame="crlf"),
    layout="profdoc",
    persons="mask",
    times=Times(expected="04:15", amber="06:00", red="08:00", cutoff="12:00"),
    missing="warn",
    repeats="fine",
    receipts=(Receipt(kind="delivery", within=timedelta(hours=1)),),
    without={"duplicates": "a full list each time: within a term it is often the last one's"},
    decisions=(
        "the 1st and 15th, 04:00",
        "of a protected pupil, or one with a protected guardian, address, telephone and guardians are blank",
        "product type urn:X-shs:elevhalsa",
    ),
)

with DAG(
    "profdoc_hanna_twice_monthly",
    schedule=(when := MonthDays("04:00", days=(1, 15))),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(profdoc_hanna),
    doc_md=document(profdoc_hanna, schedule=when),
) as dag:
    relay(profdoc_hanna)
