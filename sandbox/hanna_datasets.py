"""HANNA's datasets: fixed blocks in EBCDIC (CP278), no line ends. Questions and reports that go to CSN and INFODATA.

Written by hand from the record tables, not by the layouts: what reads them must not be what wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from random import Random

import ebcdic  # noqa: F401 (registers cp278)

from sandbox.pupils import COURSES, Pupil

CITY = "162120000142"


def number(value: int, width: int) -> str:
    """N: right, zero-filled."""
    return f"{value:0{width}}"


def alpha(value: str, width: int) -> str:
    """A: left, blanks; cut."""
    return value[:width].ljust(width)


def header(kind: str, today: date, order: int, width: int, *, at: str = "033000", production: str = "P") -> str:
    """Post 10: who, what, when, and the file's running number."""
    return alpha(
        "1001800" + CITY + alpha(kind, 3) + "01" + production + f"{today:%Y%m%d}{at}" + number(order, 6), width
    )


def trailer(counts: str, width: int) -> str:
    """Post 90, counts and blanks."""
    return alpha(counts, width)


def dataset(records: Iterable[str]) -> bytes:
    """Records of one length, one after the other, in EBCDIC."""
    return "".join(records).encode("cp278")


def csn_report(pupils: Sequence[Pupil], kind: str, today: date, order: int, seed: int) -> bytes:
    """Pupils' studies for CSN (P2): study time, and what has happened since; courses in adult education.

    ``kind`` is GYM or VUX.
    """
    random = Random(seed)
    posts: list[str] = []
    counts = {"20": 0, "30": 0, "40": 0}

    def post(posttyp: str, rest: str) -> None:
        counts[posttyp] += 1
        posts.append(alpha(posttyp + number(len(posts) + 1, 7) + rest, 150))

    ends = date(today.year + (today.month > 6), 6, 12)
    for p in pupils:
        change = random.choices("NÄB", (90, 8, 2))[0]
        share = random.choices((100, 75, 50), (90, 5, 5))[0]
        post("20", change + alpha(p.personnr, 12) + ("J" if p.flagged else "N") + alpha(p.school.code, 8)
             + alpha(p.programme, 8) + str(p.grade) + f"{p.starts:%Y%m%d}{ends:%Y%m%d}" + number(share, 3))  # fmt: skip
        if random.random() < 0.08:
            what = random.choice(("AV", "ÅT", "OF", "ÄO"))
            hours = number(random.randrange(10, 400), 5) if what == "OF" else "00000"
            until = f"{today:%Y%m%d}" if what == "OF" else "00000000"
            post("30", "N" + alpha(p.personnr, 12) + alpha(p.school.code, 8) + what + f"{p.starts:%Y%m%d}" + until
                 + hours)  # fmt: skip
        if p.adult:
            for course in random.sample(COURSES, 2):
                result = random.choice(("A", "C", "E", "F", "-", "AV", ""))
                post("40", "N" + alpha(p.personnr, 12) + alpha(p.school.code, 8) + alpha(course, 10) + "0100"
                     + f"{p.starts:%Y%m%d}{ends:%Y%m%d}" + alpha(result, 2))  # fmt: skip
    end = "90" + "".join(number(counts[k], 7) for k in ("20", "30", "40")) + number(len(posts) + 2, 7)
    return dataset([header(kind, today, order, 150), *posts, trailer(end, 150)])


def inack_questions(pupils: Iterable[Pupil], today: date, order: int) -> bytes:
    """Questions to CSN about boarding grants (P3)."""
    first = today.year if today.month > 6 else today.year - 1
    posts = [
        alpha("20" + p.personnr + f"{first}{first + 1}" + "0180" + alpha(f"INACK-{order:04}-{n:06}", 20), 80)
        for n, p in enumerate(pupils, 1)
    ]
    return dataset([header("INA", today, order, 80), *posts, trailer("90" + number(len(posts), 7), 80)])


def infodata_questions(pupils: Iterable[Pupil], today: date, order: int) -> bytes:
    """Questions to INFODATA about pupils (P4)."""
    posts = [alpha("20" + p.personnr + alpha(f"HANNA-{order:04}-{n:06}", 20), 80) for n, p in enumerate(pupils, 1)]
    return dataset([header("FRG", today, order, 80), *posts, trailer("90" + number(len(posts), 7), 80)])
