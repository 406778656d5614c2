"""Agresso: reads the customers and invoices that arrive, and reports back (A02) what has become of each.

What becomes of an invoice follows from its number and its age alone, so that a report may be made anew: most are paid
on some day of the month, some in part, some are reminded and go to debt collection, a few are credited.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sandbox.identities import check_digit

TERMS = timedelta(days=30)
GRACE = timedelta(days=10)  # after the due date, before the first reminder
ENCODING = "iso8859-1"


@dataclass(frozen=True)
class Order:
    """An order as LG04 has it: its header's customer and date, its items' sum."""

    order_id: int
    customer: str
    client: str
    voucher_type: str
    made: date
    amount: Decimal


@dataclass(frozen=True)
class Item:
    """An order in the ledger, on a day: what is left of it, and how that came."""

    order: Order
    rest: Decimal
    status: str
    paid: date | None
    level: int
    reminded: date | None


def orders(folder: Path) -> list[Order]:
    """The orders of all invoice files (F30, F103, F104) that stand in the folder."""
    found: dict[int, Order] = {}
    for file in sorted(folder.glob("FD-F*.txt")):
        if file.name.split("-")[1] in ("F30", "F103", "F104"):
            for order in _orders(file.read_text(encoding=ENCODING).splitlines()):
                found.setdefault(order.order_id, order)
    return list(found.values())


def customers(folder: Path) -> set[str]:
    """The customers of all customer files (F29, F102) that stand in the folder."""
    files = [f for f in folder.glob("FD-F*.txt") if f.name.split("-")[1] in ("F29", "F102")]
    return {line[131:156].strip() for f in files for line in f.read_text(encoding=ENCODING).splitlines()}


def item(order: Order, today: date) -> Item:
    """What has become of an order by this day."""
    lot, due = order.order_id * 7919 % 1000, order.made + TERMS
    if lot < 20:  # credited after a week
        if today >= order.made + timedelta(days=7):
            return Item(order, Decimal(0), "K", None, 0, None)
    elif lot < 50:  # paid in part, before it was due
        if today >= order.made + timedelta(days=20):
            return Item(order, order.amount - order.amount // 3, "D", order.made + timedelta(days=20), 0, None)
    elif lot < 130:  # paid by nobody
        reminders = max(0, (today - due - GRACE).days // 15 + 1) if today >= due + GRACE else 0
        if reminders:
            level = min(reminders, 9)
            last = due + GRACE + timedelta(days=15 * (level - 1))
            return Item(order, order.amount, "I" if level > 2 else "O", None, level, last)
    else:
        paid = order.made + timedelta(days=1 + lot % 28)
        if today >= paid:
            return Item(order, Decimal(0), "B", paid, 0, None)
    return Item(order, order.amount, "O", None, 0, None)


def report(found: Iterable[Order], at: datetime, number: int) -> bytes:
    """The A02 file of this moment: a full snapshot, in Windows-1252, CRLF, 200 characters a record."""
    items = [item(order, at.date()) for order in sorted(found, key=lambda o: o.order_id)]
    lines = [f"1001800A02 {'ST':8}{at:%Y%m%d%H%M%S}{number:06}"]
    lines += [_post(n, i) for n, i in enumerate(items, 1)]
    total, rest = sum(i.order.amount for i in items), sum(i.rest for i in items)
    lines.append(f"90{len(items):09}{_signed(Decimal(total), 17)}{_signed(Decimal(rest), 17)}")
    return "".join(f"{line:200}\r\n" for line in lines).encode("cp1252")


def _post(n: int, i: Item) -> str:
    o = i.order
    return (
        f"20{o.client:8}{n:09}{o.customer:>012}{o.voucher_type:2}{70000000 + o.order_id % 1000000:015}{1:08}"
        f"{o.order_id:09}{o.customer:15}{o.made:%Y%m%d}{o.made + TERMS:%Y%m%d}{_signed(o.amount, 14)}"
        f"{_signed(i.rest, 14)}{i.status}{_day(i.paid)}{i.level}{_day(i.reminded)}{reference(o.order_id):>25}"
    )


def reference(order_id: int) -> str:
    """The payment reference (OCR): the order's number, the reference's length as its last digit, a check digit."""
    digits = f"{order_id}{(len(str(order_id)) + 2) % 10}"
    # The weights go from the right, 2 first: as for a personal number, with a zero before it where that is needed.
    return f"{digits}{check_digit(digits if len(digits) % 2 else '0' + digits)}"


def _orders(lines: list[str]) -> Iterable[Order]:
    header = ""
    amount = Decimal(0)
    for line in [*lines, "1"]:  # the last one only ends the order before it
        if line[0] == "1":
            if header:
                yield Order(
                    int(header[1525:1534]), header[1031:1046].strip(), header[358:360].strip(),
                    header[1884:1886].strip(), date.fromisoformat(header[371:379]), amount,
                )  # fmt: skip
            header, amount = line, Decimal(0)
        elif line[1644:1652] == "0" * 8:
            amount += Decimal(line[191:208].strip() or 0) / 100


def _signed(amount: Decimal, digits: int) -> str:
    return f"{'-' if amount < 0 else ' '}{int(abs(amount) * 100):0{digits}}"


def _day(day: date | None) -> str:
    return f"{day:%Y%m%d}" if day else "0" * 8
