"""Population-register questions from HANNA to the tax agency, and its answers: a look every weekday at nine."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import At, Integration, Receipt, Times, day, document, ftp, relay, sftp, shs, tags

skv = Integration(
    key="skv",
    teis="311",
    title="Population-register questions",
    sender="HANNA",
    receiver="SKV",
    owner="Utbildningsförvaltningen, elevregister",
    source=ftp("hanna_ftp", "SKV-INFIL*.TXT", encoding="cp437"),
    target=shs("skv_shs", "urn:X-shs:navet-infil", "{source}", encoding="cp1252"),
    layout="navet_infil",
    persons="pass",
    persons_reason="the question is the number",
    times=Times(expected="09:15", amber="10:00", red="12:00", cutoff="16:00"),
    receipts=(
        Receipt(kind="delivery", within=timedelta(hours=1)),
        Receipt(kind="answer", within=timedelta(days=2)),
    ),
    without={
        "canaries": "a question about a canary is a question like any other",
        "volume": "as many questions as there are new pupils: none, or thousands in August",
    },
    decisions=(
        "PC8 is CP437; ANSI is Windows-1252",
        "product type urn:X-shs:navet-infil",
        "weekdays 09:00, not on public holidays",
    ),
)
skv_reply = Integration(
    key="skv_reply",
    teis="312",
    title="Population-register answers",
    sender="SKV",
    receiver="HANNA",
    owner="Utbildningsförvaltningen, elevregister",
    source=sftp("skv_sftp", "SKV-UTFIL*.TXT", encoding="cp1252"),
    target=sftp("hanna_sftp", "{source}", encoding="cp437", replace="pc8"),
    layout="navet_utfil",
    answers="skv",
    persons="pass",
    persons_reason="HANNA asked, and must have the flags: the gate conserves them",
    times=Times(expected="10:00", amber="13:00", red="15:00", cutoff="16:00"),
    without={
        "canaries": "answers are about whom HANNA asked",
        "volume": "as many answers as there were questions: the gate of the question has seen them",
    },
    decisions=(
        "the tax agency is the source, though the old table says CSN",
        "a file on HANNA's host, not a dataset: lines ended by LF in PC8 (CP437), the table's word",
        "letters that PC8 lacks by the table include/replacements/pc8.yaml, counted",
        "an answer names its question by #BESTÄLLNINGSID",
    ),
)

with DAG(
    "skv_weekdays",
    schedule=(when := At("09:00", days="mon-fri", holidays=False)),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(skv, skv_reply),
    doc_md=document(skv, skv_reply, schedule=when),
) as dag:
    # Side by side: the answer to an earlier question doesn't wait for today's question, nor is it waited for.
    relay(skv)
    relay(skv_reply)
