"""Who was told of what in a played day: the alarms in the ledger against the mails that the mail server took."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sandbox import leaks
from sandbox.day import Day
from sandbox.proof import Key
from sandbox.scenario import moment
from sandbox.stack import ALERTS, Stack
from slussen.ledger import Interchange

CAUSE = re.compile(r"^Cause: +(\S+): no further alert", re.MULTILINE)
OVER = re.compile(r"^(\S+) works again after (-?\d+) minutes")
INTERVAL = re.compile(r"\d{8}T\d{6}Z")
ALARMS = """
    select kind, substr(stream, length('watch/') + 1), data ->> 'at', data ->> 'interchange', seq > %(after)s
    from ledger.event
    where stream like 'watch/%%' and kind in ('alarm', 'recovered')
    order by seq
"""
PROBES = """
    select data ->> 'connection', data ->> 'verdict' from ledger.event
    where stream like 'probe/%%' and kind = 'probed' and seq > %(after)s
"""


@dataclass
class Told:
    """What was mailed in a day: the causes of alerts, and of all-clears; and what is not as the scenario says."""

    alerts: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        late = [c for c in self.alerts if c in self.over]
        return (
            f"{len(self.alerts)} alerts were mailed, each once: {len(late)} of a receipt that was late, and once its "
            f"all-clear; {len(self.alerts) - len(late)} of files that were stopped; nobody is named in any. "
            f"{len(self.probed)} partners were probed before nine o'clock"
        )


def told(stack: Stack, day: Day, mine: Mapping[Key, Interchange], after: int = 0) -> Told:
    """Compare ledger, mailbox and scenario. ``after``: the last event before the day.

    Each alarm in the ledger, and each end of one, must be one mail; the day's must be those of the scenario, at moments
    of the simulated day; and nobody is in a mail.
    """
    found, events = Told(), stack.ledger.rows(ALARMS, {"after": after})
    address = json.loads((stack.home / "connections.json").read_text())[ALERTS]["extra"]["to"]
    texts = [f"{m['Subject']}\n{m.get_content()}" for m in stack.servers.mails() if m["To"] == address]
    mailed = {
        "alarm": Counter(match[1] for t in texts if (match := CAUSE.search(t))),
        "recovered": Counter(match[1] for t in texts if (match := OVER.search(t.partition("\n")[2]))),
    }
    for kind, causes in mailed.items():
        said = Counter(cause for k, cause, *_ in events if k == kind)
        for cause in sorted(said | causes):
            if said[cause] != causes[cause]:
                found.wrong.append(f"{cause}: {causes[cause]} mails of {said[cause]} events ({kind})")
    if len(texts) != sum(causes.total() for causes in mailed.values()):
        found.wrong.append("a mail to the people in charge is neither an alert nor an all-clear")
    today = [
        (kind, cause, datetime.fromisoformat(at))
        for kind, cause, at, interchange, new in events
        if new and not _of_a_day_before(day.date, interchange or cause)
    ]
    found.alerts = [cause for kind, cause, _ in today if kind == "alarm"]
    found.over = [cause for kind, cause, _ in today if kind == "recovered"]
    found.wrong += _not_as_written(day, mine, found)
    ends = moment(day.date + timedelta(days=1), "12:00")
    began = min(moment(day.date - timedelta(days=2), "20:00"), moment(day.date, "00:00"))
    found.wrong += [f"{cause}: told at {at:%Y-%m-%d %H:%M}" for _, cause, at in today if not began <= at <= ends]
    found.wrong += [f"{leak.where}: {leak.what} in a mail" for leak in _leaks(stack, texts)]
    probes = stack.ledger.rows(PROBES, {"after": after})
    found.probed = sorted({connection for connection, _ in probes})
    if set(found.probed) != day.probed:
        found.wrong.append(f"probed: {', '.join(found.probed)}; expected: {', '.join(sorted(day.probed))}")
    found.wrong += [f"probe of {connection}: {verdict}" for connection, verdict in probes if verdict == "failed"]
    return found


def _not_as_written(day: Day, mine: Mapping[Key, Interchange], found: Told) -> Iterable[str]:
    """The day's alerts that the scenario doesn't explain, those that it does and nobody was told of, and all-clears."""
    late = {f"owed/receipt/{i.id}" for i in mine.values() if i.integration in day.late}
    stopped = {f"interchange/{mine[key].id}" for key, (state, _) in day.expected.items()
               if state == "quarantined" and key in mine}  # fmt: skip
    for what, is_, must in (("alert", found.alerts, late | stopped), ("all-clear", found.over, late)):
        counted = Counter(is_)
        yield from (
            f"{cause}: {counted[cause]} times the {what}, expected one" for cause in must if counted[cause] != 1
        )
        yield from (f"{cause}: an unexpected {what}" for cause in sorted(counted.keys() - must))


def _of_a_day_before(on: date, interchange: str) -> bool:
    """Is this of an interval before the day: one of the days between two demos' days, which nobody plays?"""
    stamp = INTERVAL.search(interchange)
    started = datetime.strptime(stamp[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if stamp else None
    return started is not None and started < moment(on, "00:00")


def _leaks(stack: Stack, texts: list[str]) -> Iterable[leaks.Leak]:
    """Everybody who is in BoSko or HANNA, in these texts."""
    pupils = stack.pupils.all
    hanna = leaks.Search(
        (p.personnr for p in pupils), (w for p in pupils for w in leaks.WORD.findall(f"{p.given} {p.family}"))
    )
    for search in (leaks.Search.of(stack.superuser["bosko"]), hanna):
        for text in texts:
            yield from search.leaks(text.encode(), text.partition("\n")[0][:40])
