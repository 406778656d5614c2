"""A business week as the demo plays it: what arrives, what runs, what goes wrong, and how each interchange must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
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
    before: Callable[[], object] = lambda: None
    answer: str = ""
    after: Callable[[], object] = lambda: None
    form: tuple[tuple[str, str], ...] = ()
    lasting: bool = False  # it waits for something that happens in a later group


@dataclass(frozen=True)
class Night:
    """How f29 and f30 end on a night (empty: it doesn't come to that), what is done to BoSko before and after."""

    f29: str
    f30: str
    before: Callable[[datetime], None]
    after: Callable[[], object] = lambda: None
    answer: str = ""


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
    data = stack.superuser["bosko"]
    for offset, night in enumerate(
        (
            Night("delivered", "delivered", lambda at: bosko.debit(data, at.date())),  # a debiting night
            Night("delivered", "skipped", lambda at: bosko.break_postal_numbers(data, at),
                  lambda: bosko.mend_postal_numbers(data), "Release"),
            Night("quarantined", "", lambda at: bosko.break_name(data, at), lambda: bosko.mend_name(data)),
            Night("quarantined", "", lambda at: bosko.leak_canary(data, at), lambda: bosko.mend_canary(data)),
        )
    ):  # fmt: skip
        day = monday + timedelta(days=offset)
        start, end = moment(day, "20:00"), moment(day + timedelta(days=1), "07:30")
        before = partial(night.before, moment(day, "12:00"))
        w.groups.append([Run("agresso_kund_nightly", f"{day}", start, end, before, night.answer, night.after)])
        stamp = start.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        w.expected[f"f29-{stamp}"] = night.f29
        if night.f30:
            w.expected[f"f30-{stamp}"] = night.f30
    return w


def _morning(stack: Stack, w: Week, number: int) -> None:
    five, nine = moment(w.monday, "05:00"), moment(w.monday, "09:00")
    stamp = five.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    label = f"{w.monday:%Y%m%d}"

    def population_arrives() -> None:
        people = bosko.population_of(stack.superuser["bosko"], w.monday)
        good = b"".join(population_file(people.week(SEED + number, w.monday), w.monday, number))
        stack.servers.population(f"KIR-{label}.txt", good)
        for name, spoil in BAD.items():
            stack.servers.population(f"KIR-{label}-{name}.txt", spoil(good))

    def questions_arrive() -> None:
        asked = sorted(bosko.population_of(stack.superuser["bosko"], w.monday).people)[number::40]
        folder = stack.servers.hanna / "files"
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
    w.expected[("skv", f"SKV-INFIL-{label}.TXT")] = "acknowledged"
    w.expected[("skv", f"SKV-INFIL-{label}-COUNT.TXT")] = "quarantined"


def moment(day: date, clock: str) -> datetime:
    """This time of this Stockholm day."""
    return datetime.combine(day, time.fromisoformat(clock), STOCKHOLM)
