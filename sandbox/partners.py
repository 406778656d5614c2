"""The partners' side: what INFODATA, the tax agency and CSN answer to what has arrived, as bytes.

Each function takes a question's or report's bytes as they came and makes the answer's; all of it is read and written by
hand from the record tables. An answer names what it answers: INFODATA's and CSN's by the question's running number in
their header, CSN's receipts by the report's running number in each post, the tax agency's by the order's id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from random import Random
from typing import Literal

import ebcdic  # noqa: F401 (registers cp278)

from sandbox.hanna_datasets import alpha, dataset, header, number, trailer
from sandbox.population import Person, post

Outcome = Literal["accepted", "with errors", "rejected"]


def records(data: bytes, length: int) -> Iterator[str]:
    """A dataset's records as text.

    Raises:
        ValueError: the last one is cut off.
    """
    text = data.decode("cp278")
    if len(text) % length:
        raise ValueError(f"{len(text)} bytes are no records of {length}")
    for start in range(0, len(text), length):
        yield text[start : start + length]


def running_number(data: bytes) -> int:
    """The running number of a dataset of ours: of its header."""
    return int(data[39:45].decode("cp278"))


# --- INFODATA


def infodata_answer(question: bytes, register: Mapping[str, Person], today: date) -> bytes:
    """INFODATA's answer (450) to questions (80), by the register: a protected person has ids and flags only."""
    posts = [
        _spar(r[2:14], r[14:34], register.get(r[2:14])) for r in records(question, 80) if r.startswith("20")
    ]  # fmt: skip
    first = header("SVR", today, running_number(question), 450, at="060000")
    return dataset([first, *posts, trailer("90" + number(len(posts), 7), 450)])


def _spar(asked: str, reference: str, person: Person | None) -> str:
    """A post 20 of an answer."""
    start = "20" + asked + reference
    if person is None:
        return alpha(start + "1" + alpha("", 12) + "NN" + "  " + "0" * 8, 175) + _nothing()
    flags = (person.sekretessmarkering or "N") + (person.skyddad_folkbokforing or "N")
    if person.protected:
        return alpha(start + "2" + person.personnr + flags + "  " + "0" * 8, 175) + _nothing()
    gone = person.avregistreringsorsak
    code = "3" if gone else "0"
    away = alpha(gone, 2) + (person.avregistreringsdatum or "0" * 8)
    street = person.fb_adress2
    return (
        start + code + person.personnr + flags + away + alpha(person.aviseringsnamn, 36) + alpha(person.fornamn, 80)
        + (person.tilltalsnamnsmarkering or "00") + alpha(person.mellannamn, 40) + alpha(person.efternamn, 60)
        + alpha(person.fb_co, 35) + alpha("", 35) + alpha(street, 35) + (person.fb_postnr or "0" * 5)
        + alpha(person.fb_postort, 27) + person.lan + person.kommun + (person.folkbokforingsdatum or "0" * 8) + " " * 24
    )  # fmt: skip


def _nothing() -> str:
    """The rest of an answer without name and address."""
    return "00" + alpha("", 40 + 60 + 35 * 3) + "0" * 5 + alpha("", 27) + "0000" + "0" * 8 + " " * 24


# --- the tax agency


def skv_answer(question: bytes, register: Mapping[str, Person], today: date) -> bytes:
    """The tax agency's answer file (LF, Windows-1252) to a question file as it arrived (LF, Windows-1252).

    Whoever is not in the register has no post. Protected persons have their flags, and their forwarding address.
    """
    lines = question.decode("cp1252").splitlines()
    told = dict(line.split(" ", 1) for line in lines if line.startswith(("#BESTÄLLNINGSID", "#NAMN_INFIL")))
    asked = [line[5:] for line in lines if line.startswith("#PNR ")]
    known = [_as_told(register[n]) for n in asked if n in register]
    out = ["#INFO_START", "#FILTYP UTFIL", f"#BESTÄLLNINGSID {told['#BESTÄLLNINGSID']}", "#BESTÄLLNINGSTYP FRÅGA",
           f"#EFFEKTUERAD {today:%Y%m%d}", f"#INFIL_TILL_GRUND {told['#NAMN_INFIL']}", "#INFO_SLUT",
           "#DATA_START"]  # fmt: skip
    for person in known:
        out += post(person)
    out += ["#DATA_SLUT", "#AVST_START", f"#ANTAL_POSTER {len(known):08}", "#AVST_SLUT", "#FIL_SLUT"]
    return "".join(f"{line}\n" for line in out).encode("cp1252")


def _as_told(person: Person) -> Person:
    """What the tax agency tells of a person: of a protected one no home."""
    if not person.protected:
        return person
    return replace(person, forsamling="", fastighetsbeteckning="", fb_co="", fb_adress1="", fb_adress2="", fb_postnr="",
                   fb_postort="")  # fmt: skip


# --- CSN


def inack_answer(question: bytes, today: date, *, unknown: int = 40) -> bytes:
    """CSN's answer (120) to boarding grant questions (80): one in ``unknown`` is of nobody that CSN knows."""
    posts = []
    for n, r in enumerate((r for r in records(question, 80) if r.startswith("20")), 1):
        random = Random(r[2:14] + r[14:22])  # the same question has the same answer
        code = "9" if n % unknown == 0 else random.choices("0123", (55, 35, 7, 3))[0]
        year = r[14:18]
        granted = code in "13"
        months = f"{year}08{int(year) + 1}06" if granted else "0" * 12
        amount = number(random.choice((119000, 167500, 217500)) if granted else 0, 7)
        decided = f"{year}0701" if code in "123" else "0" * 8
        posts.append(alpha(r[:22] + r[26:46] + code + months + amount + decided, 120))
    first = header("INS", today, running_number(question), 120, at="070000")
    return dataset([first, *posts, trailer("90" + number(len(posts), 7), 120)])


def csn_receipt(report: bytes, today: date, outcome: Outcome = "accepted", *, refused: int = 3) -> bytes:
    """CSN's receipt (120) for a report (150) of theirs that arrived.

    Accepted: one post, G for the whole file. With errors: also the first ``refused`` records as A (refused) and one as
    V (remark). Rejected: A for the whole file.
    """
    order = running_number(report)
    whole = {"accepted": ("G", "0000", ""), "with errors": ("V", "0100", "FILEN INLÄST MED ANMÄRKNINGAR"),
             "rejected": ("A", "0900", "FILEN KAN INTE LÄSAS IN")}[outcome]  # fmt: skip
    posts = [_receipt(order, 0, "", *whole)]
    if outcome == "with errors":
        told = [r for r in records(report, 150) if r[:2] in ("20", "30", "40")][: refused + 1]
        posts += [_receipt(order, int(r[2:9]), r[10:22], "A", "0210", "SKOLENHETEN ÄR INTE STUDIEMEDELSBERÄTTIGAD")
                  for r in told[:refused]]  # fmt: skip
        posts += [_receipt(order, int(r[2:9]), r[10:22], "V", "0110", "ÄNDRAD OMFATTNING") for r in told[refused:]]
    first = header("KVI", today, order, 120, at="080000")
    return dataset([first, *posts, trailer("90" + number(len(posts), 7), 120)])


def _receipt(order: int, record: int, personnr: str, status: str, code: str, text: str) -> str:
    return alpha(
        "20" + number(order, 6) + number(record, 7) + alpha(personnr, 12) + status + code + alpha(text, 60), 120
    )
