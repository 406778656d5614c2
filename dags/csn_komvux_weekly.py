"""Adult education's pupils for study-grant calculation, HANNA to CSN: Mondays at nine, or the next weekday."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import Integration, Receipt, Times, WeekdayOrNext, day, document, mvs, relay, tags, x400

csn_komvux = Integration(
    key="csn_komvux",
    teis="77",
    title="Pupils for study-grant calculation, adult education (Komvux)",
    sender="HANNA",
    receiver="CSN",
    owner="Utbildningsförvaltningen, studiestöd",
    source=mvs("hanna_mvs", "CSN.HANNA.ANDRING"),
    target=x400("csn_x400", "CSN-VUX-{day:%Y%m%d}-{number:04}.DAT", encoding="cp278", frame="fixed"),
    layout="csn_report",
    leaves={"rapporttyp": ("GYM",)},  # csn_month's: all else is this row's, to be stopped here if it is neither's
    persons="pass",
    persons_reason="CSN needs every pupil's number to pay, those of protected pupils too: its own rule",
    times=Times(expected="09:30", amber="15:00", red="+1d 12:00", cutoff="+3d 12:00"),
    missing="warn",
    receipts=(Receipt(kind="delivery", within=timedelta(hours=4)),),
    without={
        "canaries": "every protected pupil is reported, and the canaries among them",
        "duplicates: same business keys": "each report tells of the same studies again; a whole file that comes again "
        "is known by its content and its totals",
    },
    envelope=("S-CUST 01800", "via Navet"),
    decisions=(
        "the same dataset as csn_month's: its header says VUX",
        "Monday 09:00; the next weekday when that is a public holiday; taken until the next week's",
        "bytes unchanged: EBCDIC CP278, blocks of 150",
    ),
)

with DAG(
    "csn_komvux_weekly",
    schedule=(when := WeekdayOrNext("09:00", day="mon")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(csn_komvux),
    doc_md=document(csn_komvux, schedule=when),
) as dag:
    relay(csn_komvux)
