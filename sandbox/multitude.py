"""A city of two million: a population file as large as the series of test numbers allows, written as it is made.

The posts are those of ``population.post``, with a template for each kind of person instead of a Person for each.
Everybody has a number of the series 980-999, so half of the numbers are coordination numbers, and the oldest people
are 137 years old: the series has no more. The same seed makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import product
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox import names
from sandbox.identities import FIRST, LAST
from sandbox.population import TERMS, Person, canaries, population_file, post

DAYS = 50_000  # of birth; two million numbers
PROTECTED = 0.0027  # of all households
BLOCK = 20_000  # posts that are encoded at a time
ADULT = "2008"
EARLIER = (0, 1, 2, 3, 4, 5, 6)  # addresses that a person has had: history, which the layout passes over
LONGEST = 36 - 2 - max(map(len, names.FAMILIES))  # of given names: with any family name they fit 01015
PLACES = ("fastighetsbeteckning", "fb_adress2", "fb_postnr", "fb_postort", "forsamling")


def numbers(until: date) -> NDArray[np.int64]:
    """The series' personal and coordination numbers of those born in the days before this one, in order of birth."""
    born = np.arange(np.datetime64(until) - DAYS, np.datetime64(until))
    years = born.astype("datetime64[Y]")
    months = born.astype("datetime64[M]")
    day = (born - months.astype("datetime64[D]")).astype(np.int64) + 1
    month = (months - years.astype("datetime64[M]")).astype(np.int64) + 1
    dates = (years.astype(np.int64) + 1970) * 10_000 + month * 100 + day
    eleven = (np.stack([dates, dates + 60], axis=1)[:, :, None] * 1000 + np.arange(FIRST, LAST + 1)).ravel()
    total = np.zeros(len(eleven), np.int64)
    for place in range(9):
        weighted = eleven // 10 ** (8 - place) % 10 * (2 - place % 2)
        total += weighted - 9 * (weighted > 9)
    numbers: NDArray[np.int64] = eleven * 10 + -total % 10
    return numbers


def _template(person: Person) -> str:
    """The post, with a place for the history."""
    lines = [f"{line}\n" for line in post(person)]
    return "".join([*lines[:-1], "%(history)s", lines[-1]])


def _templates() -> dict[str, str]:
    """A post for each kind of person; ``%(…)s`` is what each has of its own."""
    home: dict[str, Any] = {name: f"%({name})s" for name in PLACES}
    plain = Person(
        personnr="%(personnr)s", fornamn="%(fornamn)s", efternamn="%(efternamn)s",
        folkbokforingsdatum="%(folkbokforingsdatum)s", fodelselan="01", **home,
    )  # fmt: skip
    foreign = replace(plain, fodelselan="", fodelseland="FINLAND", invandringsdatum="%(invandringsdatum)s",
                      citizenships=("FI",))  # fmt: skip
    married: dict[str, Any] = {"civilstand": "G", "civilstand_datum": "%(gift)s", "relations": (("%(spouse)s", "M"),)}
    kinds = {
        "single": plain,
        "foreign": foreign,
        "married": replace(plain, **married),
        "married foreign": replace(foreign, **married),
        "dead": replace(plain, avregistreringsorsak="AV", avregistreringsdatum="%(gone)s"),
        "child 1": replace(plain, relations=(("%(one)s", "V"),)),
        "child 2": replace(plain, relations=(("%(one)s", "V"), ("%(other)s", "V"))),
    }
    kinds |= {f"hidden {kind}": person.hidden() for kind, person in kinds.items()}
    return {kind: _template(person) for kind, person in kinds.items()}


def posts(count: int, effective: date, seed: int) -> Iterator[str]:
    """The posts of this many people, the canaries first, then a household after the other."""
    known = canaries()
    yield from (_template(p) % {"history": ""} for p in known)
    everybody = numbers(effective)
    np.random.default_rng(seed).shuffle(everybody)
    people = [str(n) for n in everybody[: count - len(known)].tolist()]
    children = [n for n in people if n >= ADULT]
    adults = [n for n in people if n < ADULT]
    r, templates = Random(seed), _templates()
    given = [_given(names.MEN), _given(names.WOMEN)]
    homes = _homes()
    histories = _histories(r, homes)
    per_home = len(children) / max(len(adults) * 0.3, 1)  # three adults in ten have the children

    def person(kind: str, personnr: str, told: dict[str, Any]) -> str:
        year = max(int(personnr[:4]), 2005 + int(personnr[10]) * 2)
        told |= {"personnr": personnr, "fornamn": r.choice(given[int(personnr[10]) % 2 == 0])}
        told["history"] = r.choice(histories)
        told["folkbokforingsdatum"] = f"{min(year, effective.year - 1)}0{1 + int(personnr[11]) % 9}15"
        return templates[kind] % told

    while adults:
        couple = [adults.pop() for _ in range(min(2 if r.random() < 0.6 else 1, len(adults)))]
        told = {**r.choice(homes), "efternamn": r.choice(names.FAMILIES)}
        hidden = "hidden " if r.random() < PROTECTED else ""
        foreign = r.random() < 0.1
        if len(couple) == 2:
            told |= {"gift": f"{max(int(max(couple)[:4]) + 18, 2003)}0512", "invandringsdatum": "20040302"}
            kind = f"{hidden}married{' foreign' if foreign else ''}"
            for one, other in (couple, couple[::-1]):
                yield person(kind, one, told | {"spouse": other})
        else:
            kind = "foreign" if foreign else "dead" if r.random() < 0.02 else "single"
            told |= {"gone": f"{effective.year - 1}0914", "invandringsdatum": "20040302"}
            yield person(hidden + kind, couple[0], told)
        if children and (not adults or r.random() < 0.3):
            guardians = {"one": couple[0], "other": couple[-1]}
            many = len(children) if not adults else max(1, round(r.uniform(0.5, 1.5) * len(couple) * per_home))
            for _ in range(min(many, len(children))):
                yield person(f"{hidden}child {len(couple)}", children.pop(), told | guardians)


def _given(kind: tuple[str, ...]) -> list[str]:
    pairs = [f"{a} {b}" for a, b in product(kind, kind) if a != b]
    return [*kind * 12, *(p for p in pairs if len(p) <= LONGEST)]


def _homes() -> list[dict[str, str]]:
    return [
        dict(zip(PLACES, (f"{estate} {1 + n % 39}", f"{street} {n}", code, town, f"{1 + n % 29:02}"), strict=True))
        for estate, street, (code, town), n in product(names.ESTATES, names.STREETS, names.TOWNS, range(1, 60, 7))
    ]


def _histories(r: Random, homes: list[dict[str, str]]) -> list[str]:
    """Blocks of earlier addresses: what stands in them has no published codes, here it has those of an address."""
    terms = {name: term for term, name in TERMS}
    blocks = [
        f"#UP 04000\n#UP {terms['folkbokforingsdatum']} {r.randrange(1970, 2005)}0{r.randrange(1, 10)}01\n"
        + "".join(f"#UP {terms[name]} {home[name]}\n" for name in PLACES)
        + "#UP 04999\n"
        for home in homes
    ]
    return ["".join(r.choices(blocks, k=r.choice(EARLIER))) for _ in range(2000)]


def file(count: int, effective: date, seed: int) -> Iterator[bytes]:
    """The population file, in blocks of Windows-1252."""
    head, tail = _frame(count, effective)
    yield head
    block: list[str] = []
    for text in posts(count, effective, seed):
        block.append(text)
        if len(block) == BLOCK:
            yield "".join(block).encode("cp1252")
            block.clear()
    yield "".join(block).encode("cp1252")
    yield tail


def _frame(count: int, effective: date) -> tuple[bytes, bytes]:
    """What stands before and after the posts."""
    empty = b"".join(population_file((), effective, 1))
    head, mark, tail = empty.partition(b"#DATA_SLUT")
    return head, (mark + tail).replace(b"#ANTAL_POSTER 00000000", b"#ANTAL_POSTER %08d" % count)
