"""Questions about pupils, HANNA to INFODATA (SPAR): a look every quarter of an hour for a file."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import Every, Integration, Receipt, Times, day, document, mvs, relay, tags, x400

infodata = Integration(
    key="infodata",
    teis="105",
    title="Questions about pupils to SEMA/SPAR",
    sender="HANNA",
    receiver="INFODATA",
    owner="Utbildningsförvaltningen, elevregister",
    source=mvs("hanna_mvs", "IFD.HANNA.FRAGA"),
    target=x400("infodata_x400", "IFD-FRAGA-{day:%Y%m%d}-{number:04}.DAT", encoding="cp278", frame="fixed"),
    layout="infodata_question",
    persons="pass",
    persons_reason="the question is the number",
    times=Times(expected="06:00", amber="07:00", red="08:00", cutoff="+1d 08:00"),
    receipts=(
        Receipt(kind="delivery", within=timedelta(hours=4)),
        Receipt(kind="answer", within=timedelta(days=5)),
    ),
    without={
        "canaries": "a question about a canary is a question like any other",
        "volume": "ten files a year, as many questions as the administration has",
    },
    envelope=("S-CUST 01800", "via Navet"),
    decisions=(
        "dataset name IFD.HANNA.FRAGA; bytes unchanged: EBCDIC CP278, blocks of 80",
        "what is there one day has gone by six the next morning",
    ),
)

with DAG(
    "infodata_quarter_hourly",
    schedule=(when := Every(15)),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=128,  # a file that is held until its cut-off, a day and more, keeps no other waiting
    tags=tags(infodata),
    doc_md=document(infodata, schedule=when),
) as dag:
    relay(infodata)
