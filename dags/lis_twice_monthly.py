"""The reading extract, BoSko to LIS: two files that are one delivery, on the 1st and 15th at three."""

from airflow.sdk import DAG

from slussen import Integration, MonthDays, Part, Times, day, directory, document, extract, sql, tags

lis = Integration(
    key="lis",
    teis="174",
    title="Reading extract, two files",
    sender="BoSko",
    receiver="LIS",
    source=sql("bosko", "lis_placements.sql"),
    target=directory("lis", "AVLÄSNINGLIS*.TXT", encoding="cp1252", frame="crlf"),
    layout="lis_placements",
    persons="block",
    times=Times(expected="03:00", amber="04:00", red="06:00", cutoff="+1d 06:00"),
    repeats="fine",
    parts=(
        Part(
            key="placements",
            layout="lis_placements",
            sql="lis_placements.sql",
            name="AVLÄSNINGLIS_PLACERING_{day:%Y%m%d}_{number:04}.TXT",
        ),
        Part(
            key="fees",
            layout="lis_fees",
            sql="lis_fees.sql",
            name="AVLÄSNINGLIS_TAXA_{day:%Y%m%d}_{number:04}.TXT",
        ),
    ),
    envelope=("S-CUST 01800",),
    decisions=(
        "1st and 15th, 03:00, also on holidays, where another table of the document has it once a month",
        "the two files, places and their fees, are one delivery: both or neither",
        "the name has an Ä, in UTF-8, composed",
        "a protected child doesn't leave",
    ),
)

with DAG(
    "lis_twice_monthly",
    schedule=(when := MonthDays("03:00", days=(1, 15))),
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(lis),
    doc_md=document(lis, schedule=when),
) as dag:
    extract(lis)
