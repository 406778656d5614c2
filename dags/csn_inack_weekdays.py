"""Boarding grants (Inack): HANNA's questions to CSN, and CSN's answers, a look every weekday at nine."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import At, Integration, Receipt, Times, day, document, mvs, relay, tags, x400

csn_inack = Integration(
    key="csn_inack",
    teis="079",
    title="Boarding grants (Inack), questions",
    sender="HANNA",
    receiver="CSN",
    owner="Utbildningsförvaltningen, studiestöd",
    source=mvs("hanna_mvs", "CSN.HANNA.INACK"),
    target=x400("csn_x400", "CSN-INACK-{day:%Y%m%d}-{number:04}.DAT", encoding="cp278", frame="fixed"),
    layout="csn_inack_question",
    persons="pass",
    persons_reason="the question is the number",
    times=Times(expected="09:15", amber="10:00", red="12:00", cutoff="16:00"),
    receipts=(
        Receipt(kind="delivery", within=timedelta(hours=4)),
        Receipt(kind="answer", within=timedelta(days=5)),
    ),
    without={
        "canaries": "a question about a canary is a question like any other",
        "volume": "as many questions as there are applications: none, or hundreds in August",
    },
    decisions=("dataset name CSN.HANNA.INACK; bytes unchanged: EBCDIC CP278, blocks of 80",),
)
csn_inack_reply = Integration(
    key="csn_inack_reply",
    teis="078",
    title="Boarding grants (Inack), answers",
    sender="CSN",
    receiver="HANNA",
    owner="Utbildningsförvaltningen, studiestöd",
    source=x400("csn_x400", "INACK-SVAR*", encoding="cp278", frame="fixed"),
    target=mvs("hanna_mvs", "CSN.HANNA.INACKSV"),
    layout="csn_inack_reply",
    answers="csn_inack",
    persons="pass",
    persons_reason="HANNA asked, and has the protected pupils' numbers",
    times=Times(expected="10:00", amber="13:00", red="15:00", cutoff="16:00"),
    without={
        "canaries": "answers are about whom HANNA asked",
        "volume": "as many answers as there were questions: the gate of the question has seen them",
    },
    decisions=(
        "an answer is matched by the message that it says it answers, else by the only question that is open",
        "an answer that comes after the cut-off is taken by the next weekday's look",
        "the answer before is replaced in its dataset, bytes unchanged: EBCDIC CP278, blocks of 120",
    ),
)

with DAG(
    "csn_inack_weekdays",
    schedule=(when := At("09:00", days="mon-fri", holidays=False)),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(csn_inack, csn_inack_reply),
    doc_md=document(csn_inack, csn_inack_reply, schedule=when),
) as dag:
    # Side by side: the answer to an earlier question doesn't wait for today's question, nor is it waited for.
    relay(csn_inack)
    relay(csn_inack_reply)
