"""Customers (F29) and invoices (F30), BoSko to Agresso-Kund, every night but Sunday's."""

from airflow.sdk import DAG

from slussen import Integration, Times, Window, day, directory, document, extract, sql, tags

OWNER = "Utbildningsförvaltningen, avgiftsenheten"
TIMES = Times(expected="20:00", amber="06:00", red="07:00", cutoff="07:30")

f29 = Integration(
    key="f29",
    teis="110",
    title="Customers (payers) for pre-school debiting",
    sender="BoSko",
    receiver="Agresso-Kund",
    source=sql("bosko", "f29.sql"),
    target=directory("agresso_kund", "FD-F29-{day:%Y%m%d}-{number:04}.txt", encoding="iso8859-1"),
    layout="agresso_cs15",
    persons="mask",
    owner=OWNER,
    times=TIMES,
    repeats="fine",
    without={"volume": "a delta: as many as have changed, and all of a debiting night's"},
    sent=("f30",),
    remembers="customers",
    envelope=("I-F29", "model 8"),
    decisions=(
        "?? in the file name is the administration's two letters: FD",
        "delta: customers new or changed since the last delivered F29, and all in tonight's F30; repeats are fine",
        "a protected payer's address is Skatteverket's forwarding address: a payer must be billed",
        "the file has no total of its own: ledger and gate carry that duty",
    ),
)
f30 = Integration(
    key="f30",
    teis="111",
    title="Invoices (debiting basis)",
    sender="BoSko",
    receiver="Agresso-Kund",
    source=sql("bosko", "f30.sql"),
    target=directory("agresso_kund", "FD-F30-{day:%Y%m%d}-{number:04}.txt", encoding="iso8859-1"),
    layout="agresso_lg04",
    persons="mask",
    owner=OWNER,
    times=TIMES,
    due="f30_due.sql",
    not_due="not a night of the debiting calendar",
    sent=("f30",),
    remembers="key",
    references=("f29", "f102"),
    envelope=("I-F30", "model 8"),
    decisions=(
        "runs on the nights that BoSko's debiting calendar names, else ends as skipped",
        "delta: debitings that are in no interchange that was sent or still may be; repeats are duplicates",
        "a protected child's name is left out of the text lines",
        "a night that was missed is not made up (catchup off): its debitings go the next debiting night",
    ),
)

with DAG(
    "agresso_kund_nightly",
    schedule=(when := Window("20:00", "07:30", days="mon-sat")),
    start_date=day(2026, 1, 1),  # the first night that TEIS leaves to us
    catchup=False,
    max_active_runs=1,
    tags=tags(f29, f30),
    doc_md=document(f29, f30, schedule=when),
) as dag:
    extract(f29) >> extract(f30)  # an invoice's customer must be there before it
