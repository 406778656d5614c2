"""Forms of dates and times: which there are, where their parts stand, and what is wrong with one."""

from __future__ import annotations

import pytest

from slussen.records import forms

TWICE, LETTER, NONE = "has a part twice", "has a letter too many", "is no {} in the form"


@pytest.mark.parametrize(
    ("form", "kind", "complaint"),
    [
        ("YYYYMMDD", "date", ""),
        ("YYMMDD", "date", ""),
        ("YYYYDDD", "date", ""),
        ("DD.MM.YYYY", "date", ""),
        ("YYYYYY", "date", TWICE),
        ("YYYYMMDDYYYY", "date", TWICE),
        ("YYYYMMDDDDD", "date", TWICE),
        ("YYYYMM", "date", NONE),
        ("YYYYDD", "date", NONE),
        ("MMDD", "date", NONE),
        ("DDD", "date", NONE),
        ("YYYYMMDDhh", "date", NONE),
        ("YYYYMMDDmm", "date", NONE),
        ("YYYYMMDDss", "date", NONE),
        ("hhmmss", "date", NONE),
        ("hhmmss", "time", ""),
        ("hhmm", "time", ""),
        ("hh", "time", ""),
        ("hhss", "time", NONE),
        ("mmss", "time", NONE),
        ("YYYYhh", "time", NONE),
        ("YYhh", "time", NONE),
        ("MMhh", "time", NONE),
        ("DDhh", "time", NONE),
        ("YYYYMMDD", "time", NONE),
        ("YYYYMMDDhhmmss", "timestamp", ""),
        ("YYYYDDDhhmm", "timestamp", ""),
        ("YYYY-MM-DDThh:mm:ss", "timestamp", ""),
        ("YYYY-MM-DDXhh:mm:ss", "timestamp", LETTER),
        ("YYYYMMDD1", "date", LETTER),
        ("YYYYMMDDhhss", "timestamp", NONE),
        ("YYYYMMDD", "timestamp", NONE),
        ("hhmmss", "timestamp", NONE),
    ],
)
def test_a_form_has_each_part_once_and_all_that_its_type_needs(form: str, kind: str, complaint: str) -> None:
    found = forms.wrong(form, kind)
    assert found.startswith(complaint.format(kind))
    assert bool(found) == bool(complaint)


@pytest.mark.parametrize(
    ("kind", "length", "form"),
    [
        ("date", 8, "YYYYMMDD"),
        ("date", 6, "YYMMDD"),
        ("date", 7, "YYYYDDD"),
        ("date", 5, "YYDDD"),
        ("date", 10, "YYYY-MM-DD"),
        ("date", 20, "YYYYMMDD"),
        ("time", 6, "hhmmss"),
        ("time", 4, "hhmm"),
        ("time", 8, "hh:mm:ss"),
        ("time", 5, "hh:mm"),
        ("timestamp", 14, "YYYYMMDDhhmmss"),
        ("timestamp", 12, "YYMMDDhhmmss"),
        ("timestamp", 19, "YYYY-MM-DD hh:mm:ss"),
        ("timestamp", 25, "YYYYMMDDhhmmss"),
    ],
)
def test_a_field_that_does_not_say_has_the_usual_form_of_its_length(kind: str, length: int, form: str) -> None:
    assert forms.usual(kind, length) == form


def test_parts_and_what_stands_for_itself_have_their_places() -> None:
    assert forms.parts("DD.MM.YYYY") == {"DD": (0, 2), "MM": (3, 5), "YYYY": (6, 10)}
    assert forms.literals("DD.MM.YYYY") == ((2, "."), (5, "."))
    assert forms.literals("hhmm") == ()
