"""probe: is a partner ready? By hand (``slussen probe``), or as a task before its window."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperator, Context

from slussen import clock, settings
from slussen.errors import CallError, SlussenError, TransportError
from slussen.operators.alarms import channels
from slussen.operators.base import ledger, patient
from slussen.operators.connections import source, transport

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from slussen.catalogue import Row
    from slussen.integration import Endpoint
    from slussen.ledger import Ledger
    from slussen.probing import Certificate, Partner, Probe

FILES = ("directory", "ftp", "sftp", "mvs")
PROBED = (*FILES, "x400", "shs")


class ProbeOperator(BaseOperator):
    """Probe the partners whose windows open soon, and keep what was found.

    Fails when a partner has failed, so that somebody looks before the window opens.

    :param ahead: how soon.
    """

    def __init__(self, *, ahead: timedelta = timedelta(hours=1), **kwargs: Any) -> None:
        super().__init__(**patient(kwargs))
        self.ahead = ahead

    def execute(self, context: Context) -> list[str]:
        from slussen.catalogue import rows
        from slussen.probing import keep, probe

        now = clock.now(context)
        book, failed = ledger(), []
        soon = [r for r in rows() if opens(r, now, now + self.ahead)]
        seen = list(dict.fromkeys(end.connection for row in soon for _, end in _ends(row)))
        for connection in seen:
            try:
                done = probe(partners_of(soon, [connection])[0])
            except SlussenError as error:  # a connection that is wrong hides none of the others
                self.log.error("%s: %s", connection, error)
                failed.append(connection)
                continue
            keep(book, done, version())
            self.log.info("%s: %s", connection, done.verdict)
            for step in done.steps:
                self.log.info("  %s: %s %s", step.name, step.result, step.detail)
            if done.verdict == "failed":
                failed.append(connection)
            self._tell(book, connection, done, now)
        if failed:
            raise TransportError(
                f"not ready: {', '.join(failed)}. Next: slussen probe {failed[0]}, and ask the partner before the "
                "window opens"
            )
        return seen

    def _tell(self, book: Ledger, connection: str, done: Probe, now: datetime) -> None:
        """A partner that isn't ready is the cause that its deliveries would name: one alert for both."""
        from slussen.alerts import Alert, alert, recovered

        cause = f"transport/{connection}"
        bad = next((s for s in done.steps if s.result == "failed"), None)
        if bad is None:
            recovered(book, channels(), cause, now)
            return
        alert(
            book, channels(), Alert(
                cause=cause, integration=connection, state="not ready", what=f"{bad.name}: {bad.detail}",
                next_step=f"slussen probe {connection}, and ask the partner before the window opens", at=now,
            ),
        )  # fmt: skip


def find(wanted: str, rows: Iterable[Row]) -> list[Partner]:
    """The partner behind a connection, or all of a system's.

    Raises:
        CallError: there is no such connection or system in the catalogue, or Airflow doesn't know the connection.
    """
    known = list(rows)
    ends = [end for row in known for end in _ends(row)]
    connections = {e.connection for _, e in ends if e.connection == wanted} or {
        e.connection for system, e in ends if system.casefold() == wanted.casefold()
    }
    if not connections:
        names = ", ".join(sorted({e.connection for _, e in ends}))
        raise CallError(f"the catalogue knows no partner {wanted!r}: a system's name, or one of {names}")
    return partners_of(known, connections)


def partners_of(rows: Iterable[Row], connections: Collection[str] | None = None) -> list[Partner]:
    """Each connection of these rows once (or only those named), with what is delivered and collected there."""
    targets: dict[str, tuple[Endpoint, str]] = {}
    sources: dict[str, Endpoint] = {}
    for row in rows:
        i = row.integration
        if i.target.transport in PROBED:
            targets.setdefault(i.target.connection, (i.target, i.layout))
        if i.source.transport in PROBED:
            sources.setdefault(i.source.connection, i.source)
    found = [c for c in dict.fromkeys((*targets, *sources)) if connections is None or c in connections]
    return [_partner(c, targets.get(c), sources.get(c)) for c in found]


def _ends(row: Row) -> list[tuple[str, Endpoint]]:
    """The systems of a row that can be probed, and where they are reached."""
    i = row.integration
    return [(s, e) for s, e in ((i.sender, i.source), (i.receiver, i.target)) if e.transport in PROBED]


def opens(row: Row, start: datetime, end: datetime) -> bool:
    """Does a window of this row's schedule open in this time?"""
    return row.timetable is not None and any(row.timetable.between(start, end))


@cache
def version() -> str:
    """The code that probed: its commit, where there is one."""
    try:
        done = subprocess.run(
            ["git", "-C", str(settings.ROOT), "describe", "--always", "--dirty"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _partner(connection: str, delivered: tuple[Endpoint, str] | None, collected: Endpoint | None) -> Partner:
    from slussen.probing import Partner
    from slussen.records import layout as layouts

    end = delivered[0] if delivered else collected
    assert end is not None
    _connection(connection)
    deliver = None
    if delivered and delivered[0].transport in FILES:
        deliver = partial(transport, delivered[0], layouts.load(delivered[1]).length)
    return Partner(
        connection=connection,
        transport=end.transport,
        open=partial(source, collected or end),
        deliver=deliver,
        name=_name(end),
        pattern=collected.name if collected else "*" if end.transport in ("x400", "shs") else "",
        certificate=_certificate(end),
        own=_own(end),
    )


def _connection(name: str) -> Connection:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise CallError(f"Airflow knows no connection {name}. Next: see airflow_settings.yaml") from None


def _name(end: Endpoint) -> str:
    """What the probe's own names are made of: a dataset's stay beside the ones that are delivered."""
    if end.transport != "mvs":
        return "slussen-probe"
    return end.name.format(day=datetime.now(UTC), number=0, source="PROBE")


def _own(end: Endpoint) -> Callable[[], Certificate] | None:
    """A look at the certificate that we show."""
    file = str(_connection(end.connection).extra_dejson.get("cert", "")) if end.transport == "shs" else ""

    def look() -> Certificate:
        from slussen.certificates import own

        return own(file)

    return look if file else None


def _certificate(end: Endpoint) -> Any:
    """A look at the certificate of what speaks TLS."""
    if end.transport not in ("ftp", "mvs", "x400", "shs"):
        return None
    c = _connection(end.connection)
    extra = c.extra_dejson
    host, ca = c.host or "", str(extra.get("ca", ""))

    def look() -> Certificate:
        from slussen.certificates import certificate

        match end.transport:
            case "x400":
                mail = certificate(host, c.port or 587, "smtp", ca)
                box = certificate(extra.get("imap_host") or host, int(extra.get("imap_port", 993)), "imaps", ca)
                return min(mail, box, key=lambda shown: shown.until)
            case "shs":
                url = urlsplit(host)
                return certificate(url.hostname or "", url.port or 443, "tls", ca, str(extra.get("cert", "")))
            case _:
                return certificate(host, c.port or 21, "ftp", ca)

    return look if extra.get("tls") or end.transport in ("x400", "shs") else None
