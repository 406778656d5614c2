"""People, and the population files that tell of them: Navet's term codes, written as the tax agency does.

Everybody is made from a seed: households of one or two adults and some children, a few of them protected, moved,
emigrated, dead, or with a coordination number. The same seed makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from random import Random
from typing import Any

import yaml

from sandbox import names
from sandbox.identities import Register
from slussen import settings

FORWARDING = ("Skatteverket", "Box 2820", "40320", "Göteborg")  # where mail to a protected person goes
TERMS = (
    ("01001", "personnr"), ("01003", "sekretessmarkering"), ("01004", "arendetyp"), ("01006", "avregistreringsorsak"),
    ("01007", "avregistreringsdatum"), ("01011", "tilltalsnamnsmarkering"), ("01012", "fornamn"),
    ("01013", "mellannamn"), ("01014", "efternamn"), ("01015", "aviseringsnamn"), ("01020", "skyddad_folkbokforing"),
    ("01021", "folkbokforingsdatum"), ("01022", "lan"), ("01023", "kommun"), ("01024", "forsamling"),
    ("01025", "fastighetsbeteckning"), ("01031", "fb_co"), ("01032", "fb_adress1"), ("01033", "fb_adress2"),
    ("01034", "fb_postnr"), ("01035", "fb_postort"), ("01051", "sp_co"), ("01052", "sp_adress1"),
    ("01053", "sp_adress2"), ("01054", "sp_postnr"), ("01055", "sp_postort"), ("01071", "ut_adress1"),
    ("01077", "ut_land"), ("01081", "civilstand"), ("01082", "civilstand_datum"), ("01091", "fodelselan"),
    ("01094", "fodelseland"), ("01101", "invandringsdatum"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person as the register tells of one. Empty is not told."""

    personnr: str
    fornamn: str
    efternamn: str
    mellannamn: str = ""
    sekretessmarkering: str = ""
    skyddad_folkbokforing: str = ""
    arendetyp: str = ""
    avregistreringsorsak: str = ""
    avregistreringsdatum: str = ""
    tilltalsnamnsmarkering: str = "10"
    folkbokforingsdatum: str = ""
    lan: str = "01"
    kommun: str = "80"
    forsamling: str = ""
    fastighetsbeteckning: str = ""
    fb_co: str = ""
    fb_adress1: str = ""
    fb_adress2: str = ""
    fb_postnr: str = ""
    fb_postort: str = ""
    sp_co: str = ""
    sp_adress1: str = ""
    sp_adress2: str = ""
    sp_postnr: str = ""
    sp_postort: str = ""
    ut_adress1: str = ""
    ut_land: str = ""
    civilstand: str = "OG"
    civilstand_datum: str = ""
    fodelselan: str = ""
    fodelseland: str = ""
    invandringsdatum: str = ""
    relations: tuple[tuple[str, str], ...] = ()  # (personal number, type)
    citizenships: tuple[str, ...] = ("SE",)

    @property
    def aviseringsnamn(self) -> str:
        return f"{self.efternamn}, {self.fornamn}{' ' + self.mellannamn if self.mellannamn else ''}"[:36].rstrip()

    @property
    def protected(self) -> bool:
        return "J" in (self.sekretessmarkering, self.skyddad_folkbokforing)

    @property
    def adult(self) -> bool:
        return self.personnr < "2008"

    def hidden(self) -> Person:
        """The same, under protection: mail goes by way of the tax agency."""
        co, street, code, town = FORWARDING
        return replace(self, sekretessmarkering="J", arendetyp="3", sp_co=co, sp_adress2=street, sp_postnr=code,
                       sp_postort=town)  # fmt: skip


@dataclass
class Population:
    """Everybody, by personal number, and the numbers that are taken."""

    random: Random
    today: date
    people: dict[str, Person] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)  # personal numbers, those of a household in the making too

    @classmethod
    def of(cls, seed: int, size: int, today: date) -> Population:
        """About this many people and the canaries, as of this day."""
        made = cls(Random(seed), today)
        made.add(*canaries())
        while len(made.people) < size:
            made.add(*made._household())
        return made

    def add(self, *people: Person) -> None:
        """Put these people in, or tell of them anew."""
        self.people |= {p.personnr: p for p in people}
        self.taken |= {p.personnr for p in people}

    def _household(self) -> list[Person]:
        r = self.random
        family, home = r.choice(names.FAMILIES), self._home()
        foreign = r.random() < 0.1
        adults = [self._person(1955, 2002, family, home, foreign=foreign) for _ in range(r.choice((1, 2, 2)))]
        children = [self._person(2013, 2025, family, home) for _ in range(r.choice((0, 1, 1, 2, 3)))]
        if len(adults) == 2:
            married = f"{r.randrange(2003, 2025)}0{r.randrange(1, 10)}1{r.randrange(10)}"
            one, other = adults
            adults = [replace(a, civilstand="G", civilstand_datum=married, relations=((b.personnr, "M"),))
                      for a, b in ((one, other), (other, one))]  # fmt: skip
        guardians = tuple((a.personnr, "V") for a in adults)
        children = [replace(c, relations=guardians) for c in children]
        everyone = adults + children
        if r.random() < 0.012:
            everyone = [p.hidden() for p in everyone]
        elif r.random() < 0.01:
            kind = r.choice(("AV", "UV"))
            gone = replace(adults[0], avregistreringsorsak=kind, avregistreringsdatum=f"{self.today.year - 1}0914")
            everyone[0] = replace(gone, ut_adress1="Mannerheimintie 14", ut_land="FINLAND") if kind == "UV" else gone
        return everyone

    def _person(self, first: int, last: int, family: str, home: dict[str, Any], *, foreign: bool = False) -> Person:
        r = self.random
        woman = r.random() < 0.5
        latest = min(date(last, 12, 31), self.today)
        coordination = foreign and r.random() < 0.3
        personnr = Register(r, self.taken).born_between(
            date(first, 1, 1), latest, woman=woman, coordination=coordination
        )
        given = r.sample(names.WOMEN if woman else names.MEN, 2 if r.random() < 0.4 else 1)
        country = r.choice(names.COUNTRIES)
        return Person(
            personnr=personnr,
            fornamn=" ".join(given),
            mellannamn=r.choice(names.FAMILIES) if r.random() < 0.1 else "",
            efternamn=family,
            folkbokforingsdatum=f"{max(int(personnr[:4]), r.randrange(2005, 2026))}0{r.randrange(1, 10)}15",
            fodelselan="" if foreign else "01",
            fodelseland=country[1] if foreign else "",
            invandringsdatum=f"{r.randrange(2003, 2025)}0{r.randrange(1, 10)}02" if foreign else "",
            citizenships=(country[0],) if foreign else ("SE",),
            **home,
        )

    def _home(self) -> dict[str, Any]:
        r = self.random
        code, town = r.choice(names.TOWNS)
        return {
            "fb_adress2": f"{r.choice(names.STREETS)} {r.randrange(1, 120)}{r.choice(('', '', ' A', ' lgh 1102'))}",
            "fb_postnr": code,
            "fb_postort": town,
            "forsamling": f"{r.randrange(1, 30):02}",
            "fastighetsbeteckning": f"{r.choice(names.ESTATES)} {r.randrange(1, 40)}",
        }

    def week(self, seed: int, today: date) -> list[Person]:
        """What a week brings: births, moves, names, deaths, emigrations, protection given and taken; applied here."""
        self.random, self.today = Random(seed), today
        r = self.random
        plain = [p for p in self.people.values() if not p.protected and not p.avregistreringsorsak]
        chosen = r.sample(plain, min(90, len(plain)))
        day = f"{today:%Y%m%d}"
        told: list[Person] = [replace(p, arendetyp="41", folkbokforingsdatum=day, **self._home()) for p in chosen[:50]]
        told += [replace(p, arendetyp="21", efternamn=r.choice(names.FAMILIES)) for p in chosen[50:62]]
        told += [replace(p, arendetyp="66", avregistreringsorsak="AV", avregistreringsdatum=day) for p in chosen[62:66]]
        told += [replace(p, arendetyp="43", avregistreringsorsak="UV", avregistreringsdatum=day,
                         ut_adress1="Hämeentie 7", ut_land="FINLAND") for p in chosen[66:70]]  # fmt: skip
        told += [p.hidden() for p in chosen[70:73]]
        for parent in [p for p in chosen[73:] if p.adult][:10]:
            home = {k: getattr(parent, k) for k in self._home()}
            child = self._person(today.year, today.year, parent.efternamn, home)
            told.append(replace(child, arendetyp="6", folkbokforingsdatum=day, relations=((parent.personnr, "V"),)))
        known = {c.personnr for c in canaries()}
        protected = [p for p in self.people.values() if p.protected and p.personnr not in known]
        told += [replace(p, arendetyp="75") for p in [*canaries(), *protected[:-1]]]  # told anew, the flag still there
        if protected:
            told.append(replace(protected[-1], arendetyp="3", sekretessmarkering="", sp_co="", sp_adress2="",
                                sp_postnr="", sp_postort=""))  # fmt: skip
        self.add(*(replace(p, arendetyp="") for p in told))
        return told


def canaries() -> list[Person]:
    """The synthetic protected persons of include/canaries.yaml: a parent and a child."""
    listed = yaml.safe_load((settings.INCLUDE / "canaries.yaml").read_text(encoding="utf-8"))["canaries"]
    home: dict[str, Any] = {
        "fb_postnr": "12557",
        "fb_postort": "Älvsjö",
        "forsamling": "07",
        "fastighetsbeteckning": "QVANARIEN 1",
    }
    people = [
        Person(personnr=c["personnr"], fornamn=c["given_name"], efternamn=c["family_name"], fb_adress2=c["street"],
               folkbokforingsdatum="20150615", **home).hidden()
        for c in listed
    ]  # fmt: skip
    parent, child = people
    return [replace(parent, arendetyp=""), replace(child, arendetyp="", relations=((parent.personnr, "V"),))]


def post(person: Person) -> Iterator[str]:
    """The lines of a person's post."""
    yield "#POST_START"
    for term, name in TERMS:
        if value := getattr(person, name):
            yield f"#UP {term} {value}"
    for personnr, kind in person.relations:
        yield from ("#UP 02000", f"#UP 02001 {personnr}", f"#UP 02003 {kind}", "#UP 02999")
    for country in person.citizenships:
        yield from ("#UP 03000", f"#UP 03001 {country}", "#UP 03999")
    yield "#POST_SLUT"


def population_file(people: Iterable[Person], effective: date, order: int) -> Iterator[bytes]:
    """A population file in Windows-1252, line by line."""

    def line(text: str) -> bytes:
        return f"{text}\n".encode("cp1252")

    for text in ("#INFO_START", "#FILTYP UTFIL", f"#BESTÄLLNINGSID 00000180-KI01-{order:04}", "#BESTÄLLNINGSTYP KIR",
                 f"#EFFEKTUERAD {effective:%Y%m%d}", "#INFO_SLUT", "#DATA_START"):  # fmt: skip
        yield line(text)
    posts = 0
    for person in people:
        posts += 1
        yield from map(line, post(person))
    for text in ("#DATA_SLUT", "#AVST_START", f"#ANTAL_POSTER {posts:08}", "#AVST_SLUT", "#FIL_SLUT"):
        yield line(text)


def endless_post(file: bytes) -> bytes:
    """A post in the middle has no end."""
    middle = file.index(b"#POST_SLUT\n", len(file) // 2)
    return file[:middle] + file[middle + len(b"#POST_SLUT\n") :]


def wrong_count(file: bytes) -> bytes:
    """The trailer says one post more than there are."""
    head, _, tail = file.partition(b"#ANTAL_POSTER ")
    return head + b"#ANTAL_POSTER " + b"%08d" % (int(tail[:8]) + 1) + tail[8:]


def undefined_byte(file: bytes) -> bytes:
    """A family name holds byte 81, which Windows-1252 does not have (CP437's ü)."""
    at = file.index(b"#UP 01014 ", len(file) // 2) + len(b"#UP 01014 ") + 1
    return file[:at] + b"\x81" + file[at + 1 :]


def wrong_check_digit(file: bytes) -> bytes:
    """A personal number's last digit is another."""
    at = file.index(b"#UP 01001 ", len(file) // 2) + len(b"#UP 01001 ") + 11
    return file[:at] + b"%d" % ((int(file[at : at + 1]) + 1) % 10) + file[at + 1 :]


def flags_gone(file: bytes) -> bytes:
    """Nobody is protected any more, and nobody said so: the flags are lost on the way."""
    lines = file.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith((b"#UP 01003", b"#UP 01020", b"#UP 01004 3")))


BAD: dict[str, Callable[[bytes], bytes]] = {
    "endless": endless_post,
    "count": wrong_count,
    "byte81": undefined_byte,
    "checkdigit": wrong_check_digit,
    "flagsgone": flags_gone,
}
