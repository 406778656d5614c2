"""Pupils for study-grant calculation, upper-secondary, HANNA to CSN: once a month, from its first weekday at nine."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import FirstWeekday, Integration, Receipt, Times, day, document, mvs, relay, tags, x400

csn_month = Integration(
    key="csn_month",
    teis="77",
    title="Pupils for study-grant calculation, upper-secondary",
    sender="HANNA",
    receiver="CSN",
    owner="Utbildningsförvaltningen, studiestöd",
    source=mvs("hanna_mvs", "CSN.HANNA.ANDRING"),
    target=x400("csn_x400", "CSN-GYM-{day:%Y%m%d}-{number:04}.DAT", encoding="cp278", frame="fixed"),
    layout="csn_report",
    claims={"rapporttyp": ("GYM",)},
    persons="pass",
    persons_reason="CSN needs every pupil's number to pay, those of protected pupils too: its own rule",
    times=Times(expected="09:30", amber="15:00", red="+2d 12:00", cutoff="+10d 12:00"),
    missing="fail",
    receipts=(Receipt(kind="delivery", within=timedelta(hours=4)),),
    without={
        "canaries": "every protected pupil is reported, and the canaries among them",
        "duplicates: same business keys": "each report tells of the same studies again; a whole file that comes again "
        "is known by its content and its totals",
    },
    envelope=("S-CUST 01800", "via Navet"),
    decisions=(
        "the dataset's header says whose it is: GYM goes monthly, VUX weekly (csn_komvux)",
        "taken from the month's first weekday 09:00 until the next month's, whenever it is there",
        "bytes unchanged: EBCDIC CP278, blocks of 150",
    ),
)

with DAG(
    "csn_monthly",
    schedule=(when := FirstWeekday("09:00")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(csn_month),
    doc_md=document(csn_month, schedule=when),
) as dag:
    relay(csn_month)
