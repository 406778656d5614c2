"""What is owed to us: receipts, answers, the fate of messages, and the sum that Agresso tells of. Knows no Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from slussen.lateness import STOCKHOLM

if TYPE_CHECKING:
    from slussen.catalogue import Row
    from slussen.ledger import Ledger

Kind = Literal["receipt", "answer", "fate", "unmatched", "question", "control"]
MEMORY = timedelta(days=31)  # for what can't be settled any more: a receipt or an answer to nothing
REPORTS = 40  # so many are looked at for the last one that agreed
TERM = timedelta(days=1)  # for a control sum: the next report must be right
SENT, REPORT = ("f30", "f103", "f104"), "a02"  # what is sent to Agresso, and what tells of it
# What was promised and hasn't come. What was read was delivered, what was answered was read (`ledger/states.py`).
# Nothing is to come any more of what was refused, or what another has taken the place of.
AWAITED = """
    select a.stream, a.integration, a.at, r.one ->> 'kind', (r.one ->> 'due')::timestamptz
    from ledger.event a
    cross join lateral jsonb_array_elements(a.data -> 'receipts') as r (one)
    where a.kind = 'awaiting'
        and not exists (
            select from ledger.event s
            where s.stream = a.stream and s.kind = 'receipt'
                and (
                    s.data ->> 'kind' in (r.one ->> 'kind', 'answer')
                    or (s.data ->> 'kind' = 'read' and r.one ->> 'kind' = 'delivery')
                )
        )
        and not exists (
            select from ledger.event s
            where s.stream = a.stream
                and (s.kind = 'superseded' or (s.kind = 'receipt' and s.data ->> 'outcome' = 'rejected'))
        )
"""
# What was asked, delivered, and isn't awaited by a term of its own.
ASKED = """
    select d.stream, d.integration, min(d.at)
    from ledger.event d
    where d.integration = any(%(questions)s) and d.kind = 'delivered'
        and not exists (
            select from ledger.event s where s.stream = d.stream
                and (
                    s.kind in ('answered', 'superseded')
                    or (s.kind = 'receipt' and (s.data ->> 'kind' = 'answer' or s.data ->> 'outcome' = 'rejected'))
                )
        )
        and not exists (
            select from ledger.event s where s.stream = d.stream and s.kind = 'awaiting'
                and s.data -> 'receipts' @> '[{"kind": "answer"}]'
        )
    group by d.stream, d.integration
"""
LOST = """
    select u.stream, u.integration, min(u.at)
    from ledger.event u
    where u.kind = 'unknown' and u.integration = any(%(integrations)s)
        and not exists (
            select from ledger.event s
            where s.stream = u.stream and s.kind in ('delivered', 'receipt', 'unsent', 'superseded')
        )
    group by u.stream, u.integration
"""
UNMATCHED = """
    select coalesce(data ->> 'reference', ''), integration, at
    from ledger.event
    where stream = 'receipts/unmatched' and at > %(since)s
"""
ANSWERING = """
    select a.stream, a.integration, min(a.at)
    from ledger.event a
    where a.integration = any(%(answers)s) and a.kind = 'answers' and a.at > %(since)s and a.data ->> 'question' = ''
        and not exists (
            select from ledger.event s
            where s.stream = a.stream and s.kind = 'answers' and s.data ->> 'question' <> ''
        )
    group by a.stream, a.integration
"""
# The last reports' sums, and what had been sent before: an interchange is as old as its interval, a report as its own.
REPORTED = """
    select m.stream, coalesce(nullif(c.data ->> 'interval', '')::timestamptz, c.at) as of, m.at,
        (m.data -> 'counts' ->> 'reported_ore')::bigint, (m.data -> 'counts' ->> 'outstanding_ore')::bigint
    from ledger.event m
    join ledger.event c on c.stream = m.stream and c.kind = 'collected'
    where m.integration = %(report)s and m.kind = 'merged' and m.data -> 'counts' ? 'reported_ore'
    order by m.seq desc limit %(reports)s
"""
MONEY = """
    select to_timestamp(substr(c.stream, length(c.integration) + 2, 16), 'YYYYMMDD"T"HH24MISS"Z"') as of,
        (c.data -> 'totals' ->> 'sum.amount')::bigint
    from ledger.event c
    where c.integration = any(%(sent)s) and c.kind = 'content' and c.data -> 'totals' ? 'sum.amount'
        and exists (select from ledger.event d where d.stream = c.stream and d.kind = 'delivered')
    order by 1
"""


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something that is owed: since when, until when (nothing: no term was agreed), and what to do about it. UTC."""

    kind: Kind
    integration: str
    interchange: str
    what: str
    since: datetime
    due: datetime | None
    next_step: str

    def overdue(self, now: datetime) -> bool:
        return self.due is not None and self.due <= now

    def as_dict(self, now: datetime) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "integration": self.integration,
            "interchange": self.interchange,
            "what": self.what,
            "since": self.since.astimezone(STOCKHOLM).isoformat(timespec="seconds"),
            "age_seconds": int((now - self.since).total_seconds()),
            "due": self.due.astimezone(STOCKHOLM).isoformat(timespec="seconds") if self.due else None,
            "overdue": self.overdue(now),
            "next": self.next_step,
        }


@dataclass(frozen=True, slots=True)
class Control:
    """Sums in öre: what was sent, and what the report says has been reported (paid, credited) and is outstanding.

    ``since``: when the first of the reports was due that haven't agreed up to this one.
    """

    interchange: str
    at: datetime
    since: datetime
    sent: int
    reported: int
    outstanding: int
    holds: bool

    @property
    def difference(self) -> int:
        return self.sent - self.reported - self.outstanding


def obligations(rows: Sequence[Row], ledger: Ledger, now: datetime) -> list[Obligation]:
    """Everything that is owed to us, worst first: what is longest over its term, then what is nearest to it."""
    within = {(row.key, r.kind): r.within for row in rows for r in row.integration.receipts}
    contact = {row.key: row.integration.contact for row in rows}
    questions = sorted({row.integration.answers for row in rows if row.integration.answers})
    answers = sorted(row.key for row in rows if row.integration.answers)
    since = now - MEMORY
    found = [
        Obligation(
            "answer" if kind == "answer" else "receipt", key, stream,
            "an answer" if kind == "answer" else f"its {kind} receipt", due - within.get((key, kind), due - at), due,
            f"ask {_other(rows, key)} for it; contact {contact.get(key, '?')}",
        )
        for stream, key, at, kind, due in _moments(ledger.rows(AWAITED))
    ]  # fmt: skip
    found += [
        Obligation("answer", key, stream, "an answer", at, _term(rows, key, at), f"ask {_other(rows, key)} for it")
        for stream, key, at in _moments(ledger.rows(ASKED, {"questions": questions}))
    ]
    found += [
        Obligation("fate", key, stream, "whether it was taken: the reply was lost", at, _term(rows, key, at),
                   f"ask {_other(rows, key)}; don't send it again")
        for stream, key, at in _moments(ledger.rows(LOST, {"integrations": [row.key for row in rows]}))
    ]  # fmt: skip
    found += [
        Obligation("unmatched", key, reference, "a receipt for nothing that we have sent", at, None,
                   "ask its sender which message it is about")
        for reference, key, at in _moments(ledger.rows(UNMATCHED, {"since": since}))
    ]  # fmt: skip
    found += [
        Obligation("question", key, stream, "an answer to nothing that we have asked", at, None,
                   f"ask {_sender(rows, key)} which question it is about")
        for stream, key, at in _moments(ledger.rows(ANSWERING, {"answers": answers, "since": since}))
    ]  # fmt: skip
    if (sums := control(ledger)) is not None and not sums.holds:
        found.append(_of_control(sums))
    return sorted(found, key=lambda o: (o.due is None, o.due or o.since, o.since))


def control(ledger: Ledger) -> Control | None:
    """Does Agresso tell of all that was sent to it, to the öre? Nothing, when it hasn't told of anything yet.

    What was sent on the last day before the report may be in it or not, but in the order in which it was sent
    (decision): the report agrees when its sum is what had been sent up to one moment of that day.
    """
    reports = ledger.rows(REPORTED, {"report": REPORT, "reports": REPORTS})
    if not reports:
        return None
    money = ledger.rows(MONEY, {"sent": list(SENT)})
    stream, as_of, at, reported, outstanding = reports[0]
    sent, holds = _agrees(money, as_of, reported + outstanding)
    since = as_of
    for _, earlier, _, *sums in [] if holds else reports[1:]:
        if _agrees(money, earlier, sum(sums))[1]:
            break
        since = earlier
    return Control(stream, at.astimezone(UTC), since.astimezone(UTC), sent, reported, outstanding, holds)


def _agrees(money: Sequence[tuple[datetime, int]], as_of: datetime, told: int) -> tuple[int, bool]:
    """What had been sent before a report, and whether that is what it told of."""
    sent, agrees = 0, False
    certain = as_of - timedelta(days=1)
    for when, ore in money:
        if when >= as_of:
            break
        agrees |= sent == told and when >= certain
        sent += ore
    return sent, agrees or sent == told


def kronor(ore: int) -> str:
    """An amount in öre as people read it."""
    sign, rest = ("-" if ore < 0 else ""), abs(ore)
    return f"{sign}{rest // 100:,}.{rest % 100:02} kr"


def _of_control(sums: Control) -> Obligation:
    more = "sent, and not told of" if sums.difference > 0 else "told of, and not sent"
    return Obligation(
        "control", REPORT, sums.interchange,
        f"sent {kronor(sums.sent)}, reported {kronor(sums.reported)} + outstanding {kronor(sums.outstanding)}: "
        f"{kronor(abs(sums.difference))} {more}",
        sums.since, sums.since + TERM, "compare the interchanges since the last report that agreed with Agresso's list",
    )  # fmt: skip


def _moments(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(v.astimezone(UTC) if isinstance(v, datetime) else v for v in row) for row in rows]


def _term(rows: Sequence[Row], key: str, at: datetime) -> datetime | None:
    """Until when what was sent at a moment must have its answer, or its last receipt."""
    within = [r.within for row in rows if row.key == key for r in row.integration.receipts]
    return at + max(within) if within else None


def _other(rows: Sequence[Row], key: str) -> str:
    return next((row.integration.receiver for row in rows if row.key == key), "the partner")


def _sender(rows: Sequence[Row], key: str) -> str:
    return next((row.integration.sender for row in rows if row.key == key), "its sender")
