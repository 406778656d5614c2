"""A business week as the demo plays it: what arrives, what runs, what goes wrong, and how each interchange must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sandbox import bosko
from sandbox.hanna import question_file
from sandbox.population import BAD, population_file
from sandbox.stack import SEED, Stack

STOCKHOLM = ZoneInfo("Europe/Stockholm")


@dataclass(frozen=True)
class Run:
    """A DAG run, what is done before it, and what a person answers in it."""

    dag: str
    run_id: str
    start: datetime
    end: datetime
    before: Callable[[], None] = lambda: None
    answer: str = ""
    after: Callable[[], None] = lambda: None


@dataclass
class Week:
    """The runs of a week, in groups that run at the same time, and the state in which each interchange must end.

    ``expected`` is by interchange id, or for collected files by (integration, file name).
    """

    monday: date
    groups: list[list[Run]] = field(default_factory=list)
    expected: dict[str | tuple[str, str], str] = field(default_factory=dict)


def week(stack: Stack, monday: date) -> Week:
    """The week that begins on this Monday."""
    w = Week(monday)
    number = monday.isocalendar().week
    _morning(stack, w, number)
    nights: list[tuple[str, str, str, Callable[[datetime], None], Callable[[], None], str]] = [
        ("delivered", "delivered", "a debiting night", lambda at: bosko.debit(stack.superuser["bosko"], at.date()),
         lambda: None, ""),
        ("delivered", "skipped", "postal numbers lost: held, and released",
         lambda at: bosko.break_postal_numbers(stack.superuser["bosko"], at),
         lambda: bosko.mend_postal_numbers(stack.superuser["bosko"]), "Release"),
        ("quarantined", "", "a name too long for its field",
         lambda at: bosko.break_name(stack.superuser["bosko"], at),
         lambda: bosko.mend_name(stack.superuser["bosko"]), ""),
        ("quarantined", "", "somebody lives where a canary lives",
         lambda at: bosko.leak_canary(stack.superuser["bosko"], at),
         lambda: bosko.mend_canary(stack.superuser["bosko"]), ""),
    ]  # fmt: skip
    for offset, (f29, f30, _, break_, mend, answer) in enumerate(nights):
        day = monday + timedelta(days=offset)
        start, end = moment(day, "20:00"), moment(day + timedelta(days=1), "07:30")
        noon = moment(day, "12:00")
        run = Run("agresso_kund_nightly", f"{day}", start, end, lambda b=break_, at=noon: b(at), answer, mend)
        w.groups.append([run])
        stamp = start.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        w.expected[f"f29-{stamp}"] = f29
        if f30:
            w.expected[f"f30-{stamp}"] = f30
    return w


def _morning(stack: Stack, w: Week, number: int) -> None:
    five, nine = moment(w.monday, "05:00"), moment(w.monday, "09:00")
    stamp = five.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    label = f"{w.monday:%Y%m%d}"

    def population_arrives() -> None:
        people = bosko.population_of(stack.superuser["bosko"], w.monday)
        good = b"".join(population_file(people.week(SEED + number, w.monday), w.monday, number))
        (stack.kir / f"KIR-{label}.txt").write_bytes(good)
        for name, spoil in BAD.items():
            (stack.kir / f"KIR-{label}-{name}.txt").write_bytes(spoil(good))

    def questions_arrive() -> None:
        asked = sorted(bosko.population_of(stack.superuser["bosko"], w.monday).people)[number::40]
        folder = stack.hanna / "files"
        (folder / f"SKV-INFIL-{label}.TXT").write_bytes(question_file(asked, number))
        (folder / f"SKV-INFIL-{label}-COUNT.TXT").write_bytes(question_file(asked[1:], number, declared=len(asked)))

    w.groups.append(
        [
            Run("kir_weekly", f"{w.monday}", five, five, population_arrives, "Refuse"),
            Run("skv_weekdays", f"{w.monday}", nine, nine, questions_arrive),
        ]
    )
    w.expected[("kir", f"KIR-{label}.txt")] = "merged"
    for name in BAD:
        w.expected[("kir", f"KIR-{label}-{name}.txt")] = "quarantined"
    w.expected[f"kir_mvs-{stamp}"] = "delivered"
    w.expected[("skv", f"SKV-INFIL-{label}.TXT")] = "delivered"
    w.expected[("skv", f"SKV-INFIL-{label}-COUNT.TXT")] = "quarantined"


def moment(day: date, clock: str) -> datetime:
    """This time of this Stockholm day."""
    return datetime.combine(day, time.fromisoformat(clock), STOCKHOLM)
