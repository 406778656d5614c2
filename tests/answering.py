"""Rows and a ledger for the tests of what `slussen` answers: today, why, obligations, the watchdog."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from slussen.catalogue import Row
from slussen.integration import Integration, Receipt, Times, directory, ftp, sftp, shs, sql
from slussen.timetables import At, Every, Schedule, Window, day

STOCKHOLM = ZoneInfo("Europe/Stockholm")
MONDAY = datetime(2026, 1, 12, tzinfo=STOCKHOLM)


def row(key: str, timetable: Schedule | None, **more: object) -> Row:
    given: dict[str, object] = {
        "title": key,
        "sender": "BoSko",
        "receiver": "Agresso",
        "source": sql("bosko", f"{key}.sql"),
        "target": directory("agresso", key),
        "layout": "agresso_cs15",
        "persons": "none",
    }
    integration = Integration(key=key, **(given | more))  # type: ignore[arg-type]
    return Row(integration, f"{key}_dag", Path(f"dags/{key}_dag.py"), timetable, day(2026, 1, 1))


NIGHT = Window("20:00", "07:30", days="mon-sat")
NINE = At("09:00", days="mon-fri", holidays=False)
NIGHT_TIMES = Times(expected="20:30", amber="06:00", red="07:00", cutoff="07:30")
DAY_TIMES = Times(expected="09:15", amber="10:00", red="12:00", cutoff="16:00")
HANNA = ftp("hanna", "ASK*.TXT", encoding="cp437")
F30 = row("f30", NIGHT, times=NIGHT_TIMES)
TWICE = row("f103", At("04:25", "04:55", days="tue-sat"))
ASK = row(
    "ask", NINE, source=HANNA, sender="HANNA", receiver="SKV", target=shs("skv", "urn:X-shs:ask", "{source}"),
    receipts=(Receipt(kind="delivery", within=timedelta(hours=2)), Receipt(kind="answer", within=timedelta(days=3))),
    times=DAY_TIMES,
)  # fmt: skip
ANSWER = row(
    "answer", NINE, source=sftp("skv_answers", "SVAR*"), sender="SKV", receiver="HANNA", answers="ask", times=DAY_TIMES
)
A02 = row("a02", At("06:30"), source=directory("agresso", "F03-PROCAPITA.txt"), missing="warn")
LOOKS = row("looks", Every(15), source=HANNA)
FORM = row("form", None)
ROWS = [F30, TWICE, ASK, ANSWER, A02, LOOKS, FORM]


def at(text: str) -> datetime:
    """``12 20:00``: a Stockholm time of January 2026, in UTC."""
    day_, clock = text.split()
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 1, int(day_), hour, minute, tzinfo=STOCKHOLM).astimezone(UTC)
