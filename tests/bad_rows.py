"""What goes wrong with a row of the catalogue: for each the cases, or why one makes no sense for it.

A row that collects files (relays, loads) is in ``INCOMING``: its good file, and the ways in which it comes wrong. One
that is extracted from a database is in ``OUTGOING``: what there is to send, and how the database is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import ebcdic  # noqa: F401 (registers cp278)

from sandbox import agresso, bosko, hanna, hanna_datasets, partners, school
from sandbox.population import Population, population_file
from sandbox.pupils import Pupil, Pupils, as_registered
from sandbox.stack import FIRST_DAY
from tests.rows import Town

CASES_IN = ("empty", "truncated", "in another encoding", "without flags", "the same again")  # without all, all but one
CASES_OUT = ("nothing", "too long", "a letter that the target lacks", "without flags", "the same again")


# --- files that come

Bad = Callable[[bytes], bytes]
Unflagged = Callable[[bytes, int], bytes]  # all flags are gone but those of the first so many records that have one
REGISTER = Population.of(5, 60, FIRST_DAY)  # as tests.gating fills BoSko
PUPILS = Pupils.of(11, 240, FIRST_DAY, REGISTER.people.values())
COUNTRY = as_registered(PUPILS.all, REGISTER.people.values())
YES = "J".encode("cp278")[0]
ORDERS: list[agresso.Order] = []  # the invoices that a test has sent: what Agresso can report of


def some(pupils: list[Pupil], n: int) -> list[Pupil]:
    """All but one: each number makes another file."""
    plain = [p for p in pupils if p.personnr not in REGISTER.people and not p.flagged]
    return [p for p in pupils if p is not plain[n % len(plain)]]


def nobody_protected(pupils: list[Pupil]) -> list[Pupil]:
    """Those whom neither HANNA nor the register protects."""
    known = {p.personnr for p in REGISTER.people.values() if p.protected}
    return [p for p in pupils if not p.flagged and p.personnr not in known]


def in_text(pattern: str, instead: str, encoding: str) -> Unflagged:
    """Every match of this, in the file's own letters, replaced by as much."""

    def change(data: bytes, left: int) -> bytes:
        seen = count(1)
        text = re.sub(
            pattern, lambda m: m[0] if next(seen) <= left else m.expand(instead), data.decode(encoding),
            flags=re.MULTILINE,
        )  # fmt: skip
        return text.encode(encoding)

    return change


def in_records(length: int, *places: int) -> Unflagged:
    """In each post 20 of a dataset the flags at these columns become N."""

    def change(data: bytes, left: int) -> bytes:
        out, seen = bytearray(data), 0
        for start in range(0, len(out), length):
            flags = [start + place - 1 for place in places]
            if out[start : start + 2] != "20".encode("cp278") or not any(out[f] == YES for f in flags):
                continue
            seen += 1
            if seen > left:
                for flag in flags:
                    out[flag : flag + 1] = "N".encode("cp278")
        return bytes(out)

    return change


def in_notices(data: bytes, left: int) -> bytes:
    """In a population file: no flags, and no notices that say that they are about secrecy."""
    kept, seen = [], 0
    for line in data.splitlines(keepends=True):
        flag = line.startswith((b"#UP 01003 J", b"#UP 01020 J"))
        seen += flag
        if not line.startswith(b"#UP 01004 3") and (not flag or seen <= left):
            kept.append(line)
    return b"".join(kept)


@dataclass(frozen=True)
class Incoming:
    """How a row's file is made (the nth of them), and how it comes without its flags, where it has some.

    ``written_in`` is a wrong encoding for it; ``trailer``: does the file say how long it is; ``without``: cases that
    make no sense, and why.
    """

    good: Callable[[int], bytes]
    name: str
    unflagged: Unflagged | None = None
    trailer: bool = True
    written_in: str = "cp1252"
    without: dict[str, str] = field(default_factory=dict)


def inack(n: int) -> bytes:
    return hanna_datasets.inack_questions(some(PUPILS.young, n)[::2], FIRST_DAY, n)


def questions(n: int) -> bytes:
    return hanna.question_file([p.personnr for p in some(PUPILS.all, n)], n)


def report(kind: str) -> Callable[[int], bytes]:
    pupils = PUPILS.adults if kind == "VUX" else PUPILS.young
    return lambda n: hanna_datasets.csn_report(some(pupils, n), kind, FIRST_DAY, n, 3)


def week(n: int) -> bytes:
    """A week's notices, the protected persons told of anew among them, and each with its flag."""
    people = Population.of(7, 400, FIRST_DAY)  # as tests.rows fills BoSko
    return b"".join(population_file(people.week(n, FIRST_DAY), FIRST_DAY, n))


def reported(n: int) -> bytes:
    """A day's report from Agresso."""
    at = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, 6, 12, 30, tzinfo=UTC) + timedelta(days=n)
    return agresso.report(ORDERS, at, n)


NO_FLAGS = "the file has no flags of its own"
ASKED = {"without flags": f"{NO_FLAGS}: a question is the number alone"}
RECEIPT = {"without flags": f"{NO_FLAGS}: a receipt tells of a report"}

INCOMING: dict[str, Incoming] = {
    "kir": Incoming(week, "KIR.TXT", in_notices, written_in="cp437"),
    "a02": Incoming(reported, "F03-PROCAPITA.txt", written_in="cp278",
                    without={"without flags": f"{NO_FLAGS}, and nothing of it is written to the register"}),
    "csn_month": Incoming(report("GYM"), "CSN.HANNA.ANDRING", in_records(150, 23)),
    "csn_komvux": Incoming(report("VUX"), "CSN.HANNA.ANDRING", in_records(150, 23)),
    "csn_inack": Incoming(inack, "CSN.HANNA.INACK", without=ASKED),
    "csn_inack_reply": Incoming(
        lambda n: partners.inack_answer(inack(n), FIRST_DAY), "INACK-SVAR.DAT",
        without={"without flags": f"{NO_FLAGS}: it says who has studied where"},
    ),
    "csn_report": Incoming(report("VUX"), "CSN.HANNA.RAPPORT", in_records(150, 23)),
    "csn_report_receipt": Incoming(
        lambda n: partners.csn_receipt(report("VUX")(n), FIRST_DAY, "with errors"), "KVITTENS.DAT", without=RECEIPT
    ),
    "skv": Incoming(questions, "SKV-INFIL.TXT", without=ASKED),
    "skv_reply": Incoming(
        lambda n: partners.skv_answer(questions(n).decode("cp437").encode("cp1252"), COUNTRY, FIRST_DAY),
        "SKV-UTFIL.TXT",
        in_text(r"^#UP (01003|01020) J\n", "", "cp1252"),
        written_in="cp437",
    ),
    "infodata": Incoming(
        lambda n: hanna_datasets.infodata_questions(some(PUPILS.all, n), FIRST_DAY, n), "IFD.HANNA.FRAGA",
        without=ASKED,
    ),
    "infodata_reply": Incoming(
        lambda n: partners.infodata_answer(
            hanna_datasets.infodata_questions(some(PUPILS.all, n), FIRST_DAY, n), COUNTRY, FIRST_DAY
        ),
        "IFD-SVAR.DAT",
        in_records(450, 48, 49),
    ),
    "statistics": Incoming(
        lambda n: hanna.statistics_file(PUPILS.young, n), "STATISTIK.CSV", trailer=False, written_in="cp278",
        without={"without flags": "there are no persons in it"},
    ),
    "volvo": Incoming(
        lambda n: hanna.accounts_file(some(PUPILS.all, n), 5), "KONTO.CSV", trailer=False, written_in="cp437",
        without={"without flags": f"{NO_FLAGS}: who is protected is looked up in the register"},
    ),
    "profdoc_hanna": Incoming(
        lambda n: hanna.profdoc_file(some(PUPILS.young + PUPILS.adults[:5], n)),
        "ELEVHALSA.TXT",
        in_text(r"^(\d{12};[^;]*;[^;]*;)J;", r"\1N;", "cp437"),
        trailer=False,
    ),
    "usk": Incoming(
        lambda n: hanna.usk_file(some(PUPILS.all, n), FIRST_DAY, n), "USK.TXT",
        in_text(r"^(20\d{12})J", r"\1N", "cp437"),
    ),
    "fronter": Incoming(
        lambda n: hanna.fronter_zip(nobody_protected(some(PUPILS.all, n)), FIRST_DAY), "FRONTER.ZIP", written_in="",
        without={"without flags": f"{NO_FLAGS}: a zip is held when the register protects somebody in it",
                 "in another encoding": "a zip is passed on as it is, and its XML says what it is written in"},
    ),
}  # fmt: skip


# --- rows that are extracted

TOO_LONG, LETTER = ("Åsa " * 40).strip(), "Dvořák"
PRESCHOOL, LEISURE = "preschool", "leisure"
Sql = str  # reads %(at)s, the run's clock, and %(value)s, what is written


@dataclass(frozen=True)
class Outgoing:
    """What there is to send, and how the database is wrong.

    ``fresh`` makes something to send, where a row sends only what is new; ``nothing`` takes everything away where it
    sends all. ``put`` writes a value where the receiver's ``fields`` come from; ``mend`` takes away what ``fresh``
    made, when it went wrong. ``ends`` is how each case must end; ``without``: cases that make no sense, and why.
    """

    ends: dict[str, str]
    fresh: Callable[[Town, datetime], object] = lambda town, at: None
    again: Callable[[Town, datetime], object] = lambda town, at: None
    nothing: Sql = ""
    put: Sql = ""
    fields: tuple[str, ...] = ()
    mend: Sql = ""
    unflagged: Sql = "update bosko.person set sekretessmarkering = false, skyddad_folkbokforing = false"
    database: str = "bosko"
    without: dict[str, str] = field(default_factory=dict)


def customers(area: str) -> Callable[[Town, datetime], object]:
    """Some unprotected customers change their telephone numbers."""

    def change(town: Town, at: datetime) -> None:
        with town.change() as connection:
            connection.execute(
                f"update bosko.customer c set telephone = '08-1209' || right(c.personnr, 4), changed_at = %s"
                f" from bosko.person p where p.personnr = c.personnr and {area} and not p.protected".encode(),
                (at,),
            )

    return change


def debited(town: Town, at: datetime) -> None:
    bosko.debit(town.owner["bosko"], at.date())


def cared_for(*, external: bool) -> Callable[[Town, datetime], object]:
    """A month's school-age care is debited: at independent units, or at the city's own."""

    def debit(town: Town, at: datetime) -> None:
        school.debit_leisure(town.owner["bosko"], at)
        with town.change() as connection:
            connection.execute(
                "delete from bosko.debiting where created_at = %s and external is distinct from %s", (at, external)
            )

    return debit


def debited_again(area: str, *, external: bool = False) -> Callable[[Town, datetime], object]:
    """The last month's debitings once more, under new numbers."""

    def debit(town: Town, at: datetime) -> None:
        with town.change() as connection:
            connection.execute("insert into bosko.debiting_calendar values (%s) on conflict do nothing", (at.date(),))
            connection.execute(
                "insert into bosko.debiting (id, customer, child, period, fee_text, amount, created_at, area, external)"
                " select (select max(id) from bosko.debiting) + row_number() over (order by id),"
                " customer, child, period, fee_text, amount, %(at)s, area, external from bosko.debiting d"
                " where area = %(area)s and external = %(external)s and period = (select max(period)"
                " from bosko.debiting where area = d.area and external = d.external)",
                {"at": at, "area": area, "external": external},
            )

    return debit


def posted(town: Town, at: datetime) -> None:
    school.post(town.owner["bosko"], at.date(), 12)
    with town.change() as connection:
        connection.execute("update bosko.posting set created_at = %s where voucher_date = %s", (at, at.date()))


def posted_again(town: Town, at: datetime) -> None:
    """The last vouchers once more, under new numbers."""
    with town.change() as connection:
        connection.execute(
            "insert into bosko.posting select p.id + m.id, p.voucher_no + m.voucher_no, voucher_date, account, unit,"
            " activity, amount, description, %s from bosko.posting p"
            " cross join (select max(id) as id, max(voucher_no) as voucher_no from bosko.posting) m"
            " where created_at = (select max(created_at) from bosko.posting)",
            (at,),
        )


def name(column: str, who: str) -> Sql:
    """A name of somebody unprotected, who is of these, becomes another."""
    return (
        f"update bosko.person p set {column} = %(value)s, changed_at = %(at)s"
        f" where not p.protected and p.personnr in ({who})"
    )


PUPIL = "select pupil from bosko.enrolment"
PAYS = "select personnr from bosko.customer where {}"
CHILD = "select child from bosko.placement where form = '{}'"
PLACE = (
    "update bosko.placement p set child_group = %(value)s from bosko.person c where c.personnr = p.child"
    " and not c.protected"
)
NO_PUPILS = "update bosko.enrolment set ends = starts"
NO_PLACES = "update bosko.placement set ends = starts"
UNDEBITED = "delete from bosko.debiting where created_at in (%(at)s, (%(at)s)::date)"
DELTA = {"nothing": "skipped", "too long": "quarantined", "a letter that the target lacks": "quarantined",
         "without flags": "held"}  # fmt: skip
INVOICED = {**DELTA, "the same again": "held"}
CHANGED = {**DELTA, "the same again": "delivered"}
ALL = {**CHANGED, "nothing": "quarantined"}

OUTGOING: dict[str, Outgoing] = {
    "f29": Outgoing(CHANGED, customers(PRESCHOOL), customers(PRESCHOOL),
                    put=name("fornamn", PAYS.format(PRESCHOOL)), fields=("apar_name",)),
    "f30": Outgoing(INVOICED, debited, debited_again(PRESCHOOL),
                    nothing="insert into bosko.debiting_calendar values (%(at)s) on conflict do nothing",
                    put=name("fornamn", CHILD.format("FSK")), fields=("short_info",), mend=UNDEBITED),
    "f102": Outgoing(CHANGED, customers(LEISURE), customers(LEISURE),
                     put=name("fornamn", PAYS.format(LEISURE)), fields=("apar_name",)),
    "f103": Outgoing(INVOICED, cared_for(external=True), debited_again(LEISURE, external=True),
                     put=name("fornamn", CHILD.format("FRH")), fields=("short_info",), mend=UNDEBITED),
    "f104": Outgoing(INVOICED, cared_for(external=False), debited_again(LEISURE),
                     put=name("fornamn", CHILD.format("FRH")), fields=("short_info",), mend=UNDEBITED),
    "h45": Outgoing(INVOICED, posted, posted_again,
                    put="update bosko.posting set description = repeat(%(value)s, 2) where created_at = %(at)s",
                    fields=("description",),
                    mend="delete from bosko.posting where created_at = %(at)s",
                    without={"without flags": "there are no persons in it"}),
    "ergo": Outgoing(ALL, nothing=NO_PUPILS, put=name("fornamn", PUPIL), fields=("fornamn", "namn")),
    "lis": Outgoing(ALL, nothing=NO_PLACES, put=PLACE, fields=("grupp", "grupp_id")),
    "profdoc_bosko": Outgoing(ALL, nothing=NO_PUPILS, put=name("fornamn", PUPIL),
                              fields=("fornamn", "vh1_fornamn", "vh2_fornamn")),
    "kir_mvs": Outgoing(ALL, nothing="delete from bosko.person", put=name("aviseringsnamn", PUPIL), fields=("namn",)),
    "novaschema": Outgoing(
        {**ALL, "nothing": "skipped", "without flags": "quarantined"},  # the register knows whom HANNA has forgotten
        nothing="delete from hanna.course_group",
        put="update hanna.pupil set efternamn = %(value)s where not protected",
        fields=("efternamn",), unflagged="update hanna.pupil set protected = false", database="hanna",
    ),
}  # fmt: skip
