"""Population-register questions from HANNA to the tax agency: a look every weekday at nine."""

from airflow.sdk import DAG

from slussen import At, Integration, day, directory, document, ftp, relay, tags

skv = Integration(
    key="skv",
    teis="311",
    title="Population-register questions",
    sender="HANNA",
    receiver="SKV",
    source=ftp("hanna_ftp", "SKV-INFIL*.TXT", encoding="cp437"),
    target=directory("skv_outbox", "{source}", encoding="cp1252"),
    layout="navet_infil",
    persons="pass",
    persons_reason="the question is the number",
    decisions=(
        "PC8 is CP437; ANSI is Windows-1252",
        "goes to a directory for now, by SHS with the transports",
        "weekdays 09:00, not on public holidays",
    ),
)

with DAG(
    "skv_weekdays",
    schedule=At("09:00", days="mon-fri", holidays=False),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(skv),
    doc_md=document(skv),
) as dag:
    relay(skv)
