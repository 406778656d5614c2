"""Zipped files for the learning platform, HANNA to Fronter: every morning."""

from airflow.sdk import DAG

from slussen import At, Integration, Times, day, document, ftp, relay, sftp, tags

fronter = Integration(
    key="fronter",
    teis="197",
    title="Persons and groups for the learning platform",
    sender="HANNA",
    receiver="Fronter",
    owner="Utbildningsförvaltningen, IT-avdelningen",
    source=ftp("hanna_ftp", "FRONTER*.ZIP"),
    target=sftp("fronter_sftp", "{source}"),
    layout="fronter",
    persons="hold",
    persons_reason="the zip goes on unchanged: when a protected person's number is in it, a person decides",
    times=Times(expected="05:15", amber="06:00", red="07:00", cutoff="12:00"),
    missing="warn",
    repeats="fine",
    without={
        "canaries": "the bytes are compressed; the gate searches what is in them for protected persons",
        "duplicates": "everybody each day: most days it is yesterday's",
    },
    decisions=("daily 05:00", "the zip is opened only to look: what leaves are the bytes that came"),
)

with DAG(
    "fronter_daily",
    schedule=(when := At("05:00")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(fronter),
    doc_md=document(fronter, schedule=when),
) as dag:
    relay(fronter)
