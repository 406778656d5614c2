"""Pupil reporting, HANNA to CSN, and CSN's receipts for it: a look every weekday at nine."""

from datetime import timedelta

from airflow.sdk import DAG

from slussen import At, Integration, Receipt, Times, day, document, mvs, relay, sftp, shs, tags

csn_report = Integration(
    key="csn_report",
    teis="199",
    title="Pupil reporting",
    sender="HANNA",
    receiver="CSN",
    owner="Utbildningsförvaltningen, studiestöd",
    source=mvs("hanna_mvs", "CSN.HANNA.RAPPORT"),
    target=shs(
        "csn_shs", "urn:X-shs:csn-elevrapport", "CSN-RAPPORT-{day:%Y%m%d}-{number:04}.DAT", encoding="cp278",
        frame="fixed",
    ),
    layout="csn_report",
    persons="pass",
    persons_reason="CSN needs every pupil's number to pay, those of protected pupils too: its own rule",
    times=Times(expected="09:15", amber="10:00", red="12:00", cutoff="16:00"),
    receipts=(
        Receipt(kind="delivery", within=timedelta(hours=1)),
        Receipt(kind="answer", within=timedelta(days=2)),
    ),
    without={
        "canaries": "every protected pupil is reported, and the canaries among them",
        "duplicates: same business keys": "each report tells of the same studies again; a whole file that comes again "
        "is known by its content and its totals",
    },
    decisions=(
        "dataset name CSN.HANNA.RAPPORT, product type urn:X-shs:csn-elevrapport",
        "a report corrects the one before, as a whole; bytes unchanged: EBCDIC CP278, blocks of 150",
    ),
)  # fmt: skip
csn_report_receipt = Integration(
    key="csn_report_receipt",
    teis="200",
    title="CSN's receipts for pupil reporting",
    sender="CSN",
    receiver="HANNA",
    owner="Utbildningsförvaltningen, studiestöd",
    source=sftp("csn_sftp", "KVITTENS*", encoding="cp278", frame="fixed"),
    target=mvs("hanna_mvs", "CSN.HANNA.KVITTENS"),
    layout="csn_receipt",
    answers="csn_report",
    persons="pass",
    persons_reason="a receipt names the pupils of HANNA's own report",
    times=Times(expected="10:00", amber="13:00", red="15:00", cutoff="16:00"),
    without={
        "canaries": "a receipt names the pupils of HANNA's own report",
        "volume": "one post, or one for each fault",
    },
    decisions=(
        "a receipt names its report by the running number in each post, and settles what is owed for it",
        "record 0 is the whole file: G accepted, V with errors, A rejected; a rejected one goes to HANNA too",
        "the receipt before is replaced in its dataset, bytes unchanged: EBCDIC CP278, blocks of 120",
    ),
)

with DAG(
    "csn_report_weekdays",
    schedule=(when := At("09:00", days="mon-fri", holidays=False)),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(csn_report, csn_report_receipt),
    doc_md=document(csn_report, csn_report_receipt, schedule=when),
) as dag:
    # Side by side: the receipt for an earlier report doesn't wait for today's report, nor is it waited for.
    relay(csn_report)
    relay(csn_report_receipt)
