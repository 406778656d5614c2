"""INFODATA's (SPAR's) answers to HANNA's questions: a look every quarter of an hour, and by hand on order."""

from airflow.sdk import DAG

from slussen import Every, Integration, Times, day, document, mvs, relay, tags, x400

infodata_reply = Integration(
    key="infodata_reply",
    teis="75",
    title="Answers to earlier questions about pupils",
    sender="INFODATA",
    receiver="HANNA",
    owner="Utbildningsförvaltningen, elevregister",
    source=x400("infodata_x400", "IFD-SVAR*", encoding="cp278", frame="fixed"),
    target=mvs("hanna_mvs", "IFD.HANNA.SVAR"),
    layout="infodata_reply",
    answers="infodata",
    persons="pass",
    persons_reason="HANNA asked, and must have the flags: the gate conserves them",
    times=Times(expected="06:00", amber="07:00", red="08:00", cutoff="+1d 08:00"),
    without={
        "canaries": "answers are about whom HANNA asked",
        "volume": "as many answers as there were questions: the gate of the question has seen them",
    },
    envelope=("S-CUST 01800", "via Navet"),
    decisions=(
        "every quarter of an hour, and by hand when the administration has ordered a batch",
        "an answer is matched by the message that it says it answers, else by the only question that is open",
        "the answer before is replaced in its dataset, bytes unchanged: EBCDIC CP278, blocks of 450",
    ),
)

with DAG(
    "infodata_reply",
    schedule=(when := Every(15)),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=128,  # a file that is held until its cut-off, a day and more, keeps no other waiting
    tags=tags(infodata_reply),
    doc_md=document(infodata_reply, schedule=when),
) as dag:
    relay(infodata_reply)
