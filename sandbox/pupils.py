"""HANNA's pupils: upper-secondary and adult education, made from a seed; the canaries and some of BoSko's people among
them, so that a number can be protected in the file, in the population register, or in both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from random import Random
from typing import Any

import yaml

from sandbox import names
from sandbox.identities import Register
from sandbox.population import Person
from slussen import settings

PROGRAMMES = ("NA", "SA", "TE", "EK", "ES", "HU", "BA", "EE", "FT", "VO", "IMSPR", "IMYRK")
COURSES = ("MATMAT01a", "SVESVE01", "ENGENG05", "HISHIS01a1", "IDRIDR01", "NAKNAK01a1", "RELREL01", "SAMSAM01b",
           "BIOBIO01", "FYSFYS01a")  # fmt: skip


@dataclass(frozen=True)
class School:
    """A school by Skolverket's unit code."""

    code: str
    name: str


SCHOOLS = tuple(
    School(f"{10480000 + 37 * n:08}", name)
    for n, name in enumerate(
        ("Östra Ängsgymnasiet", "Gymnasiet Åsö Berg", "Hässelby Lärgymnasium", "Spånga Björkgymnasium",
         "Södra Örngymnasiet", "Kärrtorps Skoggymnasium", "Bromma Äppelgymnasium", "Norra Häggymnasiet")
    )
)  # fmt: skip
ADULT = School("10490001", "Komvux Åsögatan")


@dataclass(frozen=True, kw_only=True)
class Guardian:
    personnr: str
    given: str
    family: str
    phone: str


@dataclass(frozen=True, kw_only=True)
class Pupil:
    """A pupil as HANNA knows one. ``flagged``: HANNA has the protection on record; the register may know better."""

    personnr: str
    given: str
    family: str
    school: School
    form: str  # the class
    grade: int  # 0 in adult education
    programme: str
    street: str
    postcode: str
    town: str
    phone: str
    email: str = ""
    flagged: bool = False
    guardians: tuple[Guardian, ...] = ()
    starts: date = date(2025, 8, 18)

    @property
    def adult(self) -> bool:
        return self.grade == 0


@dataclass
class Pupils:
    """Everybody in HANNA, by age group, in the order of their numbers."""

    young: list[Pupil] = field(default_factory=list)
    adults: list[Pupil] = field(default_factory=list)

    @property
    def all(self) -> list[Pupil]:
        return self.young + self.adults

    @classmethod
    def of(cls, seed: int, size: int, today: date, register: Iterable[Person] = ()) -> Pupils:
        """This many pupils, a fifth of them in adult education, as of this day.

        ``register``: people of the population register, of whom some study too. About one household in a hundred is
        protected, and HANNA has the flag; of those in ``register`` only every other one has it in HANNA too.
        """
        random = Random(seed)
        people = list(register)
        taken = {p.personnr for p in people}
        made = cls(*_canaries())
        known = [p for p in people if p.adult and not p.avregistreringsorsak and p.personnr not in _numbers(made.all)]
        protected = [p for p in known if p.protected]
        plain = [p for p in known if not p.protected]
        for n, person in enumerate(protected[:20] + plain[: min(len(plain), size // 40)]):
            made.adults.append(_student(random, person, flagged=person.protected and n % 2 == 0))
        while len(made.young) < size - size // 5:
            made.young.append(_pupil(random, taken, today))
        while len(made.adults) < size // 5:
            made.adults.append(_adult(random, taken, today))
        for group in (made.young, made.adults):
            group.sort(key=lambda p: p.personnr)
        return made


def as_registered(pupils: Iterable[Pupil], register: Iterable[Person] = ()) -> dict[str, Person]:
    """The whole country's register, as INFODATA and the tax agency have it: these pupils, and whom we know already.

    One pupil in fifty is not in it (a coordination number that has lapsed), one in a hundred has moved abroad.
    """
    found: dict[str, Person] = {}
    for n, p in enumerate(pupils):
        if n % 50 == 49:
            continue
        person = Person(
            personnr=p.personnr, fornamn=p.given, efternamn=p.family, fb_adress2=p.street, fb_postnr=p.postcode,
            fb_postort=p.town, forsamling="07", folkbokforingsdatum=f"{p.personnr[:4]}0815",
            relations=tuple((g.personnr, "V") for g in p.guardians),
        )  # fmt: skip
        if p.flagged:
            person = person.hidden()
        elif n % 100 == 17:
            person = replace(person, avregistreringsorsak="UV", avregistreringsdatum="20250914")
        found[p.personnr] = person
    return found | {p.personnr: p for p in register}


def _numbers(pupils: Iterable[Pupil]) -> set[str]:
    return {p.personnr for p in pupils}


def _phone(random: Random) -> str:
    return f"08-508 {random.randrange(10, 100)} 0{random.randrange(10, 100)}"


def _contact(random: Random) -> dict[str, Any]:
    postcode, town = random.choice(names.TOWNS)
    return {"street": f"{random.choice(names.STREETS)} {random.randrange(1, 120)}", "postcode": postcode, "town": town,
            "phone": _phone(random)}  # fmt: skip


def _pupil(random: Random, taken: set[str], today: date) -> Pupil:
    """A pupil of sixteen to nineteen, with one guardian or two."""
    woman, family, grade = random.random() < 0.5, random.choice(names.FAMILIES), random.randrange(1, 4)
    year = today.year - 15 - grade
    programme, school, home = random.choice(PROGRAMMES), random.choice(SCHOOLS), _contact(random)
    register = Register(random, taken)
    guardians = tuple(
        Guardian(
            personnr=register.born_between(date(1965, 1, 1), date(1989, 12, 31), woman=one),
            given=random.choice(names.WOMEN if one else names.MEN),
            family=family,
            phone=_phone(random),
        )
        for one in random.choice(((True,), (True, False), (False, True)))
    )
    personnr = register.born_between(date(year, 1, 1), date(year, 12, 31), woman=woman)
    given = " ".join(random.sample(names.WOMEN if woman else names.MEN, 2 if random.random() < 0.3 else 1))
    return Pupil(
        personnr=personnr, given=given, family=family, school=school, grade=grade, programme=programme,
        form=f"{programme[:2]}{today.year % 100 - grade:02}{random.choice('ABC')}",
        email=f"elev.{personnr[2:8]}{random.randrange(1000)}@example.org", guardians=guardians,
        flagged=random.random() < 0.008, starts=date(today.year - grade, 8, 18), **home,
    )  # fmt: skip


def _adult(random: Random, taken: set[str], today: date) -> Pupil:
    woman = random.random() < 0.5
    personnr = Register(random, taken).born_between(
        date(1960, 1, 1), date(today.year - 20, 12, 31), woman=woman, coordination=random.random() < 0.05
    )
    return Pupil(
        personnr=personnr, given=random.choice(names.WOMEN if woman else names.MEN),
        family=random.choice(names.FAMILIES), school=ADULT, form="VUX", grade=0, programme="KOMVUX",
        email=f"elev.{personnr[2:8]}{random.randrange(1000)}@example.org", flagged=random.random() < 0.008,
        starts=date(today.year, 1, 8), **_contact(random),
    )  # fmt: skip


def _student(random: Random, person: Person, *, flagged: bool) -> Pupil:
    """Somebody of the register who studies as an adult."""
    return Pupil(
        personnr=person.personnr, given=person.fornamn, family=person.efternamn, school=ADULT, form="VUX", grade=0,
        programme="KOMVUX", flagged=flagged, street=person.fb_adress2, postcode=person.fb_postnr or "11646",
        town=person.fb_postort or "Stockholm", phone=_phone(random),
    )  # fmt: skip


def _canaries() -> tuple[list[Pupil], list[Pupil]]:
    """The synthetic protected persons: a pupil, whose guardian is the other one, and she in adult education."""
    parent, child = yaml.safe_load((settings.INCLUDE / "canaries.yaml").read_text(encoding="utf-8"))["canaries"]
    common: dict[str, Any] = {"postcode": "12557", "town": "Älvsjö"}
    grown = Pupil(
        personnr=parent["personnr"], given=parent["given_name"], family=parent["family_name"], school=ADULT, form="VUX",
        grade=0, programme="KOMVUX", street=parent["street"], phone=parent["phone"], email=parent["email"],
        flagged=True, **common,
    )  # fmt: skip
    guardian = Guardian(personnr=grown.personnr, given=grown.given, family=grown.family, phone=grown.phone)
    young = replace(
        grown, personnr=child["personnr"], given=child["given_name"], family=child["family_name"], school=SCHOOLS[0],
        form="NA24A", grade=1, programme="NA", street=child["street"], phone=child["phone"], email=child["email"],
        guardians=(guardian,),
    )  # fmt: skip
    return [young], [grown]
