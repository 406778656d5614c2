"""HANNA's plain files, as it puts them out over FTP: questions to the tax agency, pupils for USK, Profdoc and Volvo IT,
statistics for the education administration, and the zip for Fronter.

Written here by hand and not by the layouts: what reads them must not be what wrote them.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from random import Random
from xml.sax.saxutils import escape

from sandbox.hanna_datasets import alpha, header, number, trailer
from sandbox.pupils import COURSES, SCHOOLS, Pupil

SMALL = 10  # a cell of the statistics under this is left blank


def question_file(numbers: Iterable[str], order: int, *, declared: int | None = None) -> bytes:
    """A question file about these personal numbers, a Navet infile in PC8; ``declared`` makes its count a wrong one."""
    asked = list(numbers)
    lines = [
        "#INFO_START", "#FILTYP INFIL", f"#BESTÄLLNINGSID 00000180-HA01-{order:04}", "#BESTÄLLNINGSTYP FRÅGA",
        "#NAMN_INFIL GYMNASIEELEVER ÅÄÖ", "#INFO_SLUT", "#DATA_START",
        *(f"#PNR {n}" for n in asked),
        "#DATA_SLUT", "#AVST_START", f"#ANTAL_POSTER {len(asked) if declared is None else declared:08}",
        "#AVST_SLUT", "#FIL_SLUT",
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines).encode("cp437")


def usk_file(pupils: Sequence[Pupil], today: date, order: int) -> bytes:
    """USK's pupil file: 160 and CRLF, PC8."""
    posts = [
        "20" + alpha(p.personnr, 12) + ("J" if p.flagged else "N") + alpha(f"{p.family}, {p.given}", 36)
        + alpha(p.school.code, 8) + alpha(p.school.name, 30) + number(p.grade, 1) + alpha(p.form, 10)
        + alpha(p.programme, 8) + f"{p.starts:%Y%m%d}" + "00000000" + f"{today:%Y%m%d}" + " " * 28
        for p in pupils
    ]  # fmt: skip
    records = [header("USK", today, order, 160), *posts, trailer("90" + number(len(posts), 9), 160)]
    return "".join(f"{r}\r\n" for r in records).encode("cp437")


def profdoc_file(pupils: Iterable[Pupil], encoding: str = "cp437") -> bytes:
    """Pupils for school health: P8, semicolons and CRLF, in PC8."""
    rows = []
    for p in pupils:
        guardians: list[str] = []
        for g in p.guardians[:2]:
            guardians += [g.personnr, g.family, g.given, g.phone]
        rows.append([
            p.personnr, p.family, p.given, "J" if p.flagged else "N", p.school.code, p.school.name, str(p.grade or ""),
            p.form, "", p.street, p.postcode, p.town, p.phone, *guardians, *[""] * (8 - len(guardians)),
            f"{p.starts:%Y%m%d}", "",
        ])  # fmt: skip
    return separated(rows, encoding)


def accounts_file(pupils: Iterable[Pupil], staff: int = 0) -> bytes:
    """Accounts for Volvo IT: P11, semicolons and CRLF, Windows-1252. It has no flag: the register must know."""
    rows = [
        [f"e{n:07}", "ELEV", p.personnr, p.given, p.family, p.school.code, p.form, "AKTIV"]
        for n, p in enumerate(pupils, 1)
    ]
    rows += [
        [f"p{n:07}", "PERSONAL", "", "Görel", "Åkerstigh", SCHOOLS[n % len(SCHOOLS)].code, "", "AKTIV"]
        for n in range(1, staff + 1)
    ]
    return separated(rows, "cp1252")


def statistics_file(pupils: Iterable[Pupil], seed: int, *, small: bool = False) -> bytes:
    """Grades by school and course: P12, a header row, semicolons and CRLF, Windows-1252.

    ``small`` leaves the cells under ten in, as it must not be.
    """
    random = Random(seed)
    cells: Counter[tuple[str, str, str]] = Counter()
    for pupil in pupils:
        for course in random.sample(COURSES, 6):
            cells[pupil.school.code, course, random.choices("ABCDEF", (8, 15, 25, 25, 20, 7))[0]] += 1
    rows = [
        [school, course, grade, str(n) if n >= SMALL or small else ""]
        for (school, course, grade), n in sorted(cells.items())
    ]
    return separated([["skolenhetskod", "kurskod", "betyg", "antal"], *rows], "cp1252")


def fronter_zip(pupils: Sequence[Pupil], today: date) -> bytes:
    """Fronter's zip: persons, groups and memberships in IMS Enterprise 1.1's XML, UTF-8; the same bytes each time."""
    persons = "".join(
        f"<person recstatus=\"2\"><sourcedid><source>HANNA</source><id>{p.personnr}</id></sourcedid>"
        f"<name><fn>{escape(f'{p.given} {p.family}')}</fn><n><family>{escape(p.family)}</family>"
        f"<given>{escape(p.given)}</given></n></name><email>{escape(p.email)}</email></person>\n"
        for p in pupils
    )  # fmt: skip
    forms = sorted({(p.school.code, p.form) for p in pupils})
    groups = "".join(
        f"<group><sourcedid><source>HANNA</source><id>{code}-{form}</id></sourcedid>"
        f"<description><short>{form}</short></description></group>\n"
        for code, form in forms
    )
    members = "".join(
        f"<membership><sourcedid><source>HANNA</source><id>{p.school.code}-{p.form}</id></sourcedid>"
        f"<member><sourcedid><source>HANNA</source><id>{p.personnr}</id></sourcedid><idtype>1</idtype></member>"
        "</membership>\n"
        for p in pupils
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, body in (("personer.xml", persons), ("grupper.xml", groups), ("medlemskap.xml", members)):
            document = (
                '<?xml version="1.0" encoding="UTF-8"?>\n<enterprise><properties><datasource>HANNA</datasource>'
                f"<datetime>{today.isoformat()}</datetime></properties>\n{body}</enterprise>\n"
            )
            entry = zipfile.ZipInfo(name, date_time=(today.year, today.month, today.day, 4, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, document.encode("utf-8"))
    return out.getvalue()


def separated(rows: Iterable[Sequence[str]], encoding: str) -> bytes:
    """Values between semicolons, quotes only where they must be, CRLF."""
    out = io.StringIO()
    csv.writer(out, delimiter=";", lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode(encoding)
