"""Course groups and absence, HANNA to Novaschema: by hand, for the group of a form, to be downloaded from the run."""

from airflow.sdk import DAG, Param

from slussen import Integration, day, document, download, extract, sql, tags

novaschema = Integration(
    key="novaschema",
    teis="157",
    title="Absence and course groups",
    sender="HANNA",
    receiver="Novaschema",
    source=sql("hanna", "novaschema.sql"),
    target=download("NOVASCHEMA_{school}_{course_group}_{period}.TXT", encoding="cp1252"),
    layout="novaschem",
    persons="block",
    repeats="fine",
    form=("school", "course_group", "period"),
    without={
        "volume": "one group's pupils: whoever has filled in the form knows how many they are",
    },
    decisions=(
        "started by hand with a form: school, course group, period; the file is downloaded from the run",
        "PostgreSQL stands for HANNA's DB2",
        "the same form is the same interchange: a second run of it finds the same file, or is held",
        "a protected pupil doesn't leave, neither do absences of one",
    ),
)

with DAG(
    "novaschema_on_request",
    schedule=None,
    start_date=day(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=tags(novaschema),
    doc_md=document(novaschema),
    params={
        "school": Param(
            "10480000",
            type="string",
            pattern=r"^[0-9]{8}$(?!\n)",
            title="School",
            description="The school's unit code, eight digits (Skolverket's register of units)",
        ),
        "course_group": Param(
            "MATMAT01a-1",
            type="string",
            pattern=r"^[A-Za-zÅÄÖåäö0-9]{2,14}-[0-9]{1,3}$(?!\n)",
            title="Course group",
            description="As HANNA names it: the course, a hyphen, the group's number",
        ),
        "period": Param(
            "2026-01",
            type="string",
            pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$(?!\n)",
            title="Period",
            description="A month, YYYY-MM: who is in the group in it, and their absence",
        ),
    },
) as dag:
    extract(novaschema)
