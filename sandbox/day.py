"""A business day as the demo plays it: every integration that is due, the partners' answers, and what goes wrong.

The day runs from midnight to five the next morning, so that the night's window and the morning's runs after it are the
same business day's. The first one is a Monday that is also the first of a month: every row of the catalogue is due. On
later days those are that the calendar says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from sandbox import agresso, answering, bosko, hanna, hanna_datasets, school
from sandbox.answering import Partners
from sandbox.population import BAD, population_file
from sandbox.pupils import as_registered
from sandbox.scenario import STOCKHOLM, Run, moment
from sandbox.stack import SEED, Stack
from slussen.catalogue import Planned, planned, rows

FIRST_BUSINESS_DAY = date(2026, 6, 1)
LOOK, LATER_LOOK = "09:15", "10:30"  # of the many looks a day for INFODATA's files, the two that find one
ENDS = "05:00"
WATCHDOG, PROBE = "slussen_watchdog", "slussen_probe"
REFUSE = "Refuse"  # what a person answers when the gate asks, unless the script says otherwise


@dataclass
class Day:
    """The runs of a day in groups that run side by side, and how each interchange must end.

    ``expected``: by interchange id, or by (integration, name of the file that was collected); each with its state and,
    where it isn't the usual one, why. ``late``: the integrations whose receipt is told of as overdue, and as over when
    it has come. ``probed``: the connections whose partners are probed. ``last``: the groups that begin when every run
    of the others has ended.
    """

    date: date
    groups: list[list[Run]] = field(default_factory=list)
    last: list[list[Run]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    probed: set[str] = field(default_factory=set)
    expected: dict[str | tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def expect(self, what: str | tuple[str, str], state: str, why: str = "") -> None:
        self.expected[what] = (state, why)


def next_business_day(last: date | None) -> date:
    """The weekday after this one that is no public holiday."""
    from slussen.timetables import is_weekday

    if last is None:
        return FIRST_BUSINESS_DAY
    day = last + timedelta(days=1)
    while not is_weekday(day):
        day += timedelta(days=1)
    return day


def partners(stack: Stack) -> Partners:
    """The partners' desks of this stack."""
    s = stack.servers
    known = bosko.population_of(stack.superuser["bosko"], stack.first).people.values()
    register = as_registered(stack.pupils.all, known)
    return Partners(
        s.x400, s.shs, s.folder("csn"), s.folder("skv"), s.partners / "answered.json", register, late={"csn_report"}
    )


class Script:
    """Writes a day: what arrives before each run, and how it must end."""

    def __init__(self, stack: Stack, on: date, desks: Partners, *, first: bool) -> None:
        self.stack, self.on, self.desks, self.first = stack, on, desks, first
        self.day = Day(on)
        self.number = (on - FIRST_BUSINESS_DAY).days + 1  # the running number of what HANNA and the partners send
        self.stamp = f"{on:%Y%m%d}"
        self.due: dict[str, list[Planned]] = {}
        last = moment(on + timedelta(days=1), ENDS).astimezone(UTC)
        for run in planned(rows(), on, on + timedelta(days=2)):
            if run.start < last:
                self.due.setdefault(run.row.dag_id, []).append(run)

    def write(self) -> Day:
        if self.first:
            self._last_night()
        self._early()
        self._nine()
        self._later()
        self._night()
        # The last look: CSN's receipt is here, and nothing else of the day or its night is late.
        self.day.last.append([self._house(WATCHDOG, self.on + timedelta(days=1), ENDS)])
        return self.day

    # --- the night before the first day: what tonight's invoices will be a repeat of

    def _last_night(self) -> None:
        on = self.on - timedelta(days=2)  # no window opens on a Sunday
        start, end = moment(on, "20:00"), moment(on + timedelta(days=1), "07:30")
        before = partial(bosko.debit, self.stack.superuser["bosko"], on)
        # The watchdog's first look: from here on, what doesn't come is missed.
        self._group(Run("agresso_kund_nightly", f"{on}", start, end, before), self._house(WATCHDOG, self.on, "00:00"))
        for key in ("f29", "f30"):
            self.day.expect(f"{key}-{utc(start)}", "delivered", "last night's")

    # --- before office hours

    def _early(self) -> None:
        runs = list(self._runs({
            "lis_twice_monthly": self._nothing, "profdoc_bosko_twice_monthly": self._nothing,
            "ergo_mon_wed": self._nothing, "agresso_a02_daily": self._report_back,
            "kir_weekly": self._population, "profdoc_hanna_twice_monthly": self._health, "usk_monthly": self._usk,
            "fronter_daily": self._fronter, "volvo_daily": self._accounts,
        }, answers={"fronter_daily": "Release"}))  # fmt: skip
        self._group(*runs, self._probe())
        for run in runs:
            match run.dag:
                case "lis_twice_monthly":
                    self.day.expect(f"lis-{utc(run.start)}-placements", "delivered")
                    self.day.expect(f"lis-{utc(run.start)}-fees", "delivered")
                case "profdoc_bosko_twice_monthly" | "ergo_mon_wed":
                    key = run.dag.removesuffix("_twice_monthly").removesuffix("_mon_wed")
                    self.day.expect(f"{key}-{utc(run.start)}", "delivered")
                case "agresso_a02_daily":
                    self.day.expect(("a02", "F03-PROCAPITA.txt"), "merged")
                case "kir_weekly":
                    self.day.expect(("kir", f"KIR-{self.stamp}.txt"), "merged")
                    for name in BAD:
                        self.day.expect(("kir", f"KIR-{self.stamp}-{name}.txt"), "quarantined", f"spoilt: {name}")
                    self.day.expect(f"kir_mvs-{utc(run.start)}", "delivered")
                case "profdoc_hanna_twice_monthly":
                    self.day.expect(("profdoc_hanna", f"ELEVHALSA-{self.stamp}.TXT"), "acknowledged")
                case "usk_monthly":
                    self.day.expect(("usk", f"USK-{self.stamp}.TXT"), "acknowledged")
                    self.day.expect(("usk", f"USK-{self.stamp}-ANSI.TXT"), "quarantined", "Windows-1252, not PC8")
                case "fronter_daily":
                    self.day.expect(("fronter", f"FRONTER-{self.stamp}.ZIP"), "delivered", "held, and released")
                case "volvo_daily":
                    self.day.expect(("volvo", f"KONTO-{self.stamp}.CSV"), "delivered")
                    self.day.expect(
                        ("volvo", f"KONTO-{self.stamp}-CUT.CSV"), "quarantined", "cut off: held, and refused"
                    )

    def _probe(self) -> Run:
        """Before nine o'clock, whoever is behind that hour's windows is probed."""
        probe = self._house(PROBE, self.on, "08:50")
        for run in (run for runs in self.due.values() for run in runs):
            if probe.start <= run.start < probe.start + timedelta(hours=1):
                ends = run.row.integration.source, run.row.integration.target
                self.day.probed |= {end.connection for end in ends if end.transport not in ("database", "download")}
        return probe

    def _report_back(self) -> None:
        sent, at = agresso.orders(self.stack.servers.shared("agresso_kund")), moment(self.on, "04:00")
        back = agresso.report(sent, at, self.number)
        answering.put(self.stack.servers.shared("agresso_a02"), "F03-PROCAPITA.txt", back)

    def _population(self) -> None:
        people = bosko.population_of(self.stack.superuser["bosko"], self.on)
        good = b"".join(population_file(people.week(SEED + self.number, self.on), self.on, self.number))
        self.stack.servers.population(f"KIR-{self.stamp}.txt", good)
        for name, spoil in BAD.items():
            self.stack.servers.population(f"KIR-{self.stamp}-{name}.txt", spoil(good))

    def _health(self) -> None:
        self._file(f"ELEVHALSA-{self.stamp}.TXT", hanna.profdoc_file(self.stack.pupils.young))

    def _usk(self) -> None:
        good = hanna.usk_file(self.stack.pupils.all, self.on, self.number)
        self._file(f"USK-{self.stamp}.TXT", good)
        self._file(f"USK-{self.stamp}-ANSI.TXT", good.decode("cp437").encode("cp1252"))

    def _fronter(self) -> None:
        self._file(f"FRONTER-{self.stamp}.ZIP", hanna.fronter_zip(self.stack.pupils.young, self.on))

    def _accounts(self) -> None:
        good = hanna.accounts_file(self.stack.pupils.all, staff=200)
        self._file(f"KONTO-{self.stamp}.CSV", good)
        self._file(f"KONTO-{self.stamp}-CUT.CSV", good[: len(good) // 2])

    # --- nine o'clock: HANNA's looks, CSN, INFODATA, the tax agency

    def _nine(self) -> None:
        runs = list(self._runs({
            "csn_monthly": partial(self._dataset, "CSN.HANNA.ANDRING", "GYM"),
            "csn_inack_weekdays": self._inack, "csn_report_weekdays": self._report, "skv_weekdays": self._questions,
            "statistics_weekdays": self._statistics, "infodata_quarter_hourly": self._infodata,
        }, lasting={"csn_report_weekdays"}))  # fmt: skip
        self._group(*runs)
        # The same dataset as the monthly one: put there when that one has been taken.
        adults = {"csn_komvux_weekly": partial(self._dataset, "CSN.HANNA.ANDRING", "VUX")}
        self._group(*self._runs(adults, answers={"csn_komvux_weekly": "Release"}))
        for run in runs:
            match run.dag:
                case "csn_monthly":
                    self.day.expect(("csn_month", "CSN.HANNA.ANDRING"), "acknowledged")
                case "csn_inack_weekdays":
                    self.day.expect(("csn_inack", "CSN.HANNA.INACK"), "acknowledged")
                    self.day.expect(("csn_inack_reply", f"INACK-SVAR-{self.number:06}.DAT"), "delivered")
                case "csn_report_weekdays":
                    self.day.late.append("csn_report")
                    self.day.expect(("csn_report", "CSN.HANNA.RAPPORT"), "acknowledged", "its receipt came late")
                    receipt = f"KVITTENS-{self.number:06}-accepted.DAT"
                    self.day.expect(("csn_report_receipt", receipt), "delivered")
                case "skv_weekdays":
                    self.day.expect(("skv", f"SKV-INFIL-{self.stamp}.TXT"), "acknowledged")
                    self.day.expect(("skv", f"SKV-INFIL-{self.stamp}-COUNT.TXT"), "quarantined", "miscounted")
                    self.day.expect(("skv_reply", f"SKV-UTFIL-{self.stamp}.TXT"), "delivered")
                case "statistics_weekdays":
                    self.day.expect(("statistics", f"STATISTIK-{self.stamp}.CSV"), "delivered")
                    self.day.expect(
                        ("statistics", f"STATISTIK-{self.stamp}-SMALL.CSV"),
                        "quarantined",
                        "small cells: held, and refused",
                    )
                case "infodata_quarter_hourly":
                    self.day.expect(("infodata", "IFD.HANNA.FRAGA"), "acknowledged")
        if "csn_komvux_weekly" in self.due:
            why = "flags that HANNA lacks: held, released"
            self.day.expect(("csn_komvux", "CSN.HANNA.ANDRING"), "acknowledged", why)

    def _dataset(self, name: str, kind: str) -> None:
        pupils = self.stack.pupils.young if kind == "GYM" else self.stack.pupils.adults
        self._put(name, hanna_datasets.csn_report(pupils, kind, self.on, self.number, SEED + self.number))

    def _inack(self) -> None:
        asked = self.stack.pupils.young[:: 20 + self.number % 3]  # as many as yesterday would be held
        self._put("CSN.HANNA.INACK", hanna_datasets.inack_questions(asked, self.on, self.number))

    def _report(self) -> None:
        # CSN is late today: neither its node confirms nor does it receive the report before the afternoon.
        from sandbox.shs_node import Scenario

        self.stack.servers.shs.play(Scenario(confirm="none"), answering.REPORTS)
        report = hanna_datasets.csn_report(self.stack.pupils.young, "GYM", self.on, self.number, SEED - self.number)
        self._put("CSN.HANNA.RAPPORT", report)

    def _questions(self) -> None:
        asked = [p.personnr for p in self.stack.pupils.all][self.number % 10 :: 10]
        self._file(f"SKV-INFIL-{self.stamp}.TXT", hanna.question_file(asked, self.number))
        wrong = hanna.question_file(asked[1:], self.number, declared=len(asked))
        self._file(f"SKV-INFIL-{self.stamp}-COUNT.TXT", wrong)

    def _statistics(self) -> None:
        pupils = self.stack.pupils.young
        self._file(f"STATISTIK-{self.stamp}.CSV", hanna.statistics_file(pupils, SEED))
        self._file(f"STATISTIK-{self.stamp}-SMALL.CSV", hanna.statistics_file(pupils, SEED + 1, small=True))

    def _infodata(self) -> None:
        asked = self.stack.pupils.all[:: 12 + self.number % 3]
        self._put("IFD.HANNA.FRAGA", hanna_datasets.infodata_questions(asked, self.on, self.number))

    # --- the rest of the day: answers, a form, the ledger's postings; the watchdog, and CSN at last

    def _later(self) -> None:
        group = f"{school.COURSES[0][0]}-1"
        form = (("school", school.UPPER[0][0]), ("course_group", group), ("period", f"{self.on:%Y-%m}"))
        by_hand = moment(self.on, "13:00")
        runs = [
            *self._runs({"infodata_reply": self._nothing, "agresso_hb_weekdays": self._postings}),
            Run("novaschema_on_request", f"{self.on}", by_hand, by_hand, form=form),
        ]
        self._group(*runs)
        self.day.expect(("infodata_reply", f"IFD-SVAR-{self.number:06}.DAT"), "delivered")
        self.day.expect("novaschema", "delivered", "to be downloaded")
        for run in runs:
            if run.dag == "agresso_hb_weekdays":
                self.day.expect(f"h45-{utc(run.start)}", "delivered")
        self._group(replace(self._house(WATCHDOG, self.on, "16:00"), after=self._csn_at_last))

    def _postings(self) -> None:
        school.post(self.stack.superuser["bosko"], self.on)

    def _csn_at_last(self) -> None:
        node = self.stack.servers.shs
        self.desks.late.discard("csn_report")
        for report in node.arrived(product=answering.REPORTS):
            node.confirm(report.label)

    # --- the night's window, and the morning after

    def _night(self) -> None:
        data = self.stack.superuser["bosko"]
        repeated, mended = partial(bosko.debit_again, data, self.on), partial(bosko.debit_once, data, self.on)
        night = [
            replace(run, before=repeated, after=mended) for run in self._runs({"agresso_kund_nightly": self._nothing})
        ]
        self._group(*night)
        for run in night:
            self.day.expect(f"f29-{utc(run.start)}", "delivered")
            self.day.expect(f"f30-{utc(run.start)}", "quarantined", "last night's invoices under new numbers: refused")
        for n, planned_run in enumerate(_runs_of(self.due.get("agresso_kund_morning", []))):
            before = partial(school.debit_leisure, data, planned_run.start) if n == 0 else self._nothing
            self._group(self._run(planned_run, before))
            for key in ("f102", "f103", "f104"):
                state = "delivered" if n == 0 else "skipped"
                self.day.expect(f"{key}-{utc(planned_run.start)}", state, "" if n == 0 else "nothing since 04:25")

    # ---

    def _runs(
        self, befores: Mapping[str, Callable[[], object]], answers: Mapping[str, str] | None = None,
        lasting: set[str] | None = None,
    ) -> Iterator[Run]:  # fmt: skip
        """The runs that are due of these DAGs: of those with many looks a day, the one that finds something."""
        looks = {"infodata_quarter_hourly": LOOK, "infodata_reply": LATER_LOOK}
        for dag, before in befores.items():
            found = _runs_of(self.due.get(dag, []))
            if dag in looks:
                found = [r for r in found if r.start == moment(self.on, looks[dag])]
            for run in found[:1]:
                yield self._run(run, before, (answers or {}).get(dag, REFUSE), lasting=dag in (lasting or ()))

    def _run(self, run: Planned, before: Callable[[], object], answer: str = REFUSE, *, lasting: bool = False) -> Run:
        local = run.start.astimezone(STOCKHOLM)
        return Run(run.row.dag_id, f"{local:%Y-%m-%dT%H.%M}", run.start, run.end, before, answer, lasting=lasting)

    def _house(self, dag: str, on: date, clock: str) -> Run:
        """A run of one of the house's own DAGs."""
        at = moment(on, clock)
        return Run(dag, f"{at:%Y-%m-%dT%H.%M}", at, at)

    def _group(self, *runs: Run) -> None:
        if runs:
            self.day.groups.append(list(runs))

    def _nothing(self) -> None:
        pass

    def _file(self, name: str, content: bytes) -> None:
        answering.put(self.stack.servers.hanna / "files", name, content)

    def _put(self, dataset: str, content: bytes) -> None:
        answering.put(self.stack.servers.hanna / "datasets", dataset, content)


def _runs_of(found: list[Planned]) -> list[Planned]:
    """One for each run: a DAG that carries several integrations is planned once for each of them."""
    return list({run.start: run for run in found}.values())


def utc(start: datetime) -> str:
    """The stamp of an interval in an interchange's id."""
    return f"{start.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def last_played(home: Path) -> date | None:
    played = home / "played"
    return date.fromisoformat(played.read_text()) if played.exists() else None
