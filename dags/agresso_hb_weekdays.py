"""General-ledger vouchers (H45), BoSko to Agresso-Hb, every weekday evening at seven."""

from airflow.sdk import DAG

from slussen import At, Integration, Times, day, document, extract, ftp, sql, tags

h45 = Integration(
    key="h45",
    title="General-ledger postings",
    sender="BoSko",
    receiver="Agresso-Hb",
    source=sql("bosko", "h45.sql"),
    target=ftp("agresso_hb", "FD-H45-{day:%Y%m%d}-{number:04}.txt", encoding="iso8859-1"),
    layout="agresso_gl07",
    persons="none",
    owner="Utbildningsförvaltningen, ekonomienheten",
    times=Times(expected="19:00", amber="19:30", red="20:30", cutoff="23:00"),
    sent=("h45",),
    remembers="key",
    envelope=("I-H45", "S-CUST 01800", "R-CUST 01800"),
    decisions=(
        "weekdays 19:00, not on public holidays",
        "debit equals credit in every voucher, or nothing is sent",
        "delta: lines that are in no interchange that was sent or still may be; repeats are duplicates",
        "GL07's record of 2060 characters; interface BOSKO, voucher type HB",
    ),
)

with DAG(
    "agresso_hb_weekdays",
    schedule=(when := At("19:00", days="mon-fri", holidays=False)),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(h45),
    doc_md=document(h45, schedule=when),
) as dag:
    extract(h45)
