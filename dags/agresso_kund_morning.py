"""School-age care's customers (F102) and invoices (F103, F104), BoSko to Agresso-Kund, twice in the morning."""

from airflow.sdk import DAG

from slussen import At, Integration, Times, day, directory, document, extract, sql, tags

OWNER = "Utbildningsförvaltningen, avgiftsenheten"
TIMES = Times(expected="04:25", amber="05:15", red="06:00", cutoff="07:30")

f102 = Integration(
    key="f102",
    title="Customers (payers) for school-age care",
    sender="BoSko",
    receiver="Agresso-Kund",
    source=sql("bosko", "f102.sql"),
    target=directory("agresso_kund", "FD-F102-{day:%Y%m%d}-{number:04}.txt", encoding="iso8859-1"),
    layout="agresso_cs15",
    persons="mask",
    owner=OWNER,
    times=TIMES,
    repeats="fine",
    without={"volume": "a delta: as many as have changed, and all of this morning's invoices'"},
    sent=("f103", "f104"),
    remembers="customers",
    envelope=("I-F102",),
    decisions=(
        "school-age care is what F102 to F104 are about; pre-school goes with F29 and F30",
        "the directory is F29's and F30's",
        "delta: customers new or changed since the last delivered F102, and all of this morning's F103 and F104",
        "an empty 04:55 ends as skipped: nothing since 04:25",
        "a protected payer's address is Skatteverket's forwarding address: a payer must be billed",
    ),
)
f103 = Integration(
    key="f103",
    title="Invoices, external",
    sender="BoSko",
    receiver="Agresso-Kund",
    source=sql("bosko", "f103.sql"),
    target=directory("agresso_kund", "FD-F103-{day:%Y%m%d}-{number:04}.txt", encoding="iso8859-1"),
    layout="agresso_lg04",
    persons="mask",
    owner=OWNER,
    times=TIMES,
    sent=("f103",),
    remembers="key",
    without={"volume": "a delta: nothing on most mornings, a month's on one"},
    references=("f29", "f102"),
    envelope=("I-F103",),
    decisions=(
        "external: the place is at an independent unit",
        "delta: debitings that are in no interchange that was sent or still may be; repeats are duplicates",
        "a protected child's name is left out of the text lines",
    ),
)
f104 = Integration(
    key="f104",
    title="Invoices, internal",
    sender="BoSko",
    receiver="Agresso-Kund",
    source=sql("bosko", "f104.sql"),
    target=directory("agresso_kund", "FD-F104-{day:%Y%m%d}-{number:04}.txt", encoding="iso8859-1"),
    layout="agresso_lg04",
    persons="mask",
    owner=OWNER,
    times=TIMES,
    sent=("f104",),
    remembers="key",
    without={"volume": "a delta: nothing on most mornings, a month's on one"},
    references=("f29", "f102"),
    envelope=("I-F104",),
    decisions=(
        "internal: the place is at one of the city's own units",
        "delta: debitings that are in no interchange that was sent or still may be; repeats are duplicates",
        "a protected child's name is left out of the text lines",
    ),
)

with DAG(
    "agresso_kund_morning",
    schedule=(when := At("04:25", "04:55", days="tue-sat")),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(f102, f103, f104),
    doc_md=document(f102, f103, f104, schedule=when),
) as dag:
    extract(f102) >> [extract(f103), extract(f104)]  # an invoice's customer must be there before it
