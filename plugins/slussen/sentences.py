"""An interchange's story in sentences: what each event of the ledger means, and what its state asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from slussen.lateness import STOCKHOLM
from slussen.ledger.states import fold

if TYPE_CHECKING:
    from slussen.ledger import Event

Data = Mapping[str, Any]
RUNBOOK = "docs/runbook.md"


def story(events: Sequence[Event], day: date) -> list[str]:
    """The sentences of one interchange, in order; times are Stockholm's, with their date when it isn't ``day``."""
    told = []
    done = any(e.kind == "delivered" for e in events)
    for event in events:
        if event.kind in QUIET or (event.kind in WORK and done):
            continue
        tell = SENTENCES.get(event.kind)
        sentence = tell(event.data) if tell is not None else event.kind
        if sentence:
            told.append(f"{clock(event.at, day)}  {sentence}")
    return told


def ending(events: Sequence[Event], failed: bool) -> str:
    """What the interchange's state asks for, or that nothing is left to do."""
    state = "failed" if failed else fold(events).state
    if state == "held" and next(e.data.get("at") for e in reversed(events) if e.kind == "held") != "gate":
        return f"it waits for a person: settle what stands in its way, then clear the task ({RUNBOOK}#held)"
    return ENDINGS.get(state, f"it is {state}")


def clock(moment: datetime, day: date) -> str:
    local = moment.astimezone(STOCKHOLM)
    return f"{local:%H:%M}" if local.date() == day else f"{local:%Y-%m-%d %H:%M}"


def faults(data: Data) -> str:
    """``14 records, reference 14 (record 211, field ext_ord_ref)``: never a value."""
    found = data.get("findings") or []
    if not found:
        return str(data.get("reason") or "no reason is given")
    records = {f["record"] for f in found if f.get("record") is not None}
    total = max(int(data.get("total") or 0), len(found))
    rules = ", ".join(f"{rule} {n}" for rule, n in Counter(str(f["rule"]) for f in found).most_common(3))
    places = [f"{name} {found[0][name]}" for name in ("record", "field", "column", "byte") if found[0].get(name)]
    count = _count(len(records) if total <= len(found) else total, "record" if records else "finding")
    return f"{count}, rule {rules}" + (f"; the first: {', '.join(places)}" if places else "")


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def _short(digest: object) -> str:
    return str(digest or "")[:12]


def _size(data: Data) -> str:
    parts = [_count(int(data[n]), n.removesuffix("s")) for n in ("records", "bytes") if data.get(n) is not None]
    return "".join(f", {part}" for part in parts)


def _staged(data: Data) -> str:
    found = data.get("findings")
    return f"staged{_size(data)}" + (f"; what can't be read: {faults(data)}" if found else "")


def _gated(data: Data) -> str:
    words = {"pass": "passed by the gate", "warn": "passed by the gate, with remarks"}
    return words.get(str(data.get("verdict")), "")  # hold and fail have an event of their own


def _held(data: Data) -> str:
    where = "by the gate" if data.get("at") == "gate" else f"at {data.get('at')}"
    return f"held {where}: {faults(data)}"


def _delivered(data: Data) -> str:
    if data.get("offered"):
        return (
            f"offered to whoever may start it, as {data.get('name')}{_size(data)}, sha256 {_short(data.get('sha256'))}"
        )
    how = " (inferred: the file was gone before it was seen)" if data.get("inferred") else ""
    reference = f", reference {data['reference']}" if data.get("reference") else ""
    return f"delivered as {data.get('name')}{_size(data)}, sha256 {_short(data.get('sha256'))}{how}{reference}"


def _awaiting(data: Data) -> str:
    return "waits for " + ", ".join(
        f"its {RECEIPTS.get(r['kind'], r['kind'])} until {_due(r['due'])}" for r in data.get("receipts", ())
    )


def _due(text: object) -> str:
    return f"{datetime.fromisoformat(str(text)).astimezone(STOCKHOLM):%Y-%m-%d %H:%M}"


def _receipt(data: Data) -> str:
    what = RECEIPTS.get(str(data.get("kind")), str(data.get("kind")))
    outcome = {"accepted": "receipted", "with errors": "receipted with errors", "rejected": "refused by the partner"}
    said = f": {data['detail']}" if data.get("detail") else ""
    return f"{outcome.get(str(data.get('outcome')), data.get('outcome'))} ({what}){said}"


def _failed(data: Data) -> str:
    whose = {"transport": "the partner or the way there", "refused": "the partner said no"}
    return f"failed at {data.get('at')} ({whose.get(str(data.get('class')), 'ours')}): {data.get('reason')}"


def _merged(data: Data) -> str:
    counts = ", ".join(f"{name} {n:,}" for name, n in data.get("counts", {}).items() if n)
    return f"merged: {counts or 'nothing new'}"


RECEIPTS = {"delivery": "proof of delivery", "read": "proof of reading", "answer": "answer"}
QUIET = frozenset({"numbered", "notifying", "archiving"})
WORK = frozenset({"claim", "uploaded", "sending"})  # told only while the delivery isn't done
SENTENCES: dict[str, Callable[[Data], str]] = {
    "collected": lambda d: f"collected {d.get('name')}{_size(d)}, sha256 {_short(d.get('sha256'))}",
    "archived": lambda d: f"moved at the source to {d['place']}" if d.get("place") else "archived at the source",
    "gone": lambda d: "no longer at the source when it was to be archived there",
    "repeated": lambda d: f"came again, the same content: not sent on (see {d.get('repeat_of')})",
    "staged": _staged,
    "gated": _gated,
    "held": _held,
    "released": lambda d: f"released by {d.get('by')}",
    "refused": lambda d: f"refused by {d.get('by')}: nothing was sent",
    "quarantined": lambda d: f"quarantined at {d.get('at')}: {faults(d)}",
    "content": lambda d: f"its content is fixed: {d.get('name')}{_size(d)}",
    "claim": lambda d: f"delivery, attempt {d.get('attempt')}",
    "uploaded": lambda d: "uploaded under a temporary name, not renamed yet",
    "sending": lambda d: f"handed over to be sent, attempt {d.get('attempt')}",
    "unsent": lambda d: f"not taken, attempt {d.get('attempt')}" + (f", says {d['by']}" if d.get("by") else ""),
    "delayed": lambda d: f"under way for longer than usual, the way there says ({d.get('detail')})",
    "unknown": lambda d: "the partner's reply was lost: whether it was taken, its receipt will tell",
    "delivered": _delivered,
    "completed": lambda d: f"delivered as a whole: {', '.join(d.get('parts', ()))}",
    "downloaded": lambda d: f"taken by {d.get('by')}",
    "awaiting": _awaiting,
    "receipt": _receipt,
    "overdue": lambda d: f"overdue: the {RECEIPTS.get(str(d.get('kind')), d.get('kind'))} due {_due(d.get('due'))}",
    "answered": lambda d: f"answered by {d.get('by')}",
    "answers": lambda d: f"answers {d.get('question') or 'no question that we have asked'}",
    "merged": _merged,
    "skipped": lambda d: f"skipped: {d.get('reason')}",
    "missed": lambda d: f"missed: {d.get('reason')}",
    "superseded": lambda d: "superseded" + (f" by {d['by']}" if d.get("by") else " by a later one"),
    "notified": lambda d: f"told of by {d.get('channel')} ({d.get('connection')})",
    "unnotified": lambda d: f"not told of by {d.get('channel')} ({d.get('connection')}): {d.get('reason')}",
    "failed": _failed,
}
ENDINGS = {
    "waiting": "nothing has been done with it yet",
    "collected": "it is collected, and goes on to the stage",
    "staged": "it is staged, and goes on to the gate",
    "gated": "it is through the gate, and goes on to the partner",
    "held": f"it waits for a person: release or refuse it in Airflow ({RUNBOOK}#held)",
    "delivering": "its delivery has begun and is not done",
    "delivered": "it is done: delivered",
    "delivered (inferred)": "it is done: delivered, as we infer; ask the partner when in doubt",
    "unknown": f"leave it: the receipt settles it; don't send it again ({RUNBOOK}#unknown)",
    "acknowledged": "it is done: delivered and receipted",
    "rejected": f"the partner has refused it: see why, and correct the source ({RUNBOOK}#rejected)",
    "quarantined": f"it goes no further: correct the source, then a new one ({RUNBOOK}#quarantined)",
    "missed": f"its time is over and it is not made up ({RUNBOOK}#missed)",
    "skipped": "it is done: there was nothing to send",
    "superseded": "it is done: a later one has taken its place",
    "merged": "it is done: it is in the database",
    "failed": f"it has stopped there: see why, then clear the task ({RUNBOOK}#failed)",
}
