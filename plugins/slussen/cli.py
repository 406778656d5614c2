"""``slussen``: the command line. Tables for people, ``--json`` for machines.

Exit codes: 0 fine, 1 the data is at fault, 2 the call is.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from slussen import cli_answers, cli_layouts, cli_messages, cli_payloads, cli_probe, cli_records, settings
from slussen.cli_printing import Json, print_json, terminal
from slussen.errors import ContentError, SlussenError

if TYPE_CHECKING:
    from slussen.ledger import Event, Interchange, Ledger

app = typer.Typer(
    help="A city's file integrations: what there is, what was sent, whether that is whole; what is in a file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
book_app = typer.Typer(help="The ledger: every interchange, and the proof that nobody altered it.")
app.add_typer(book_app, name="ledger")
for part in (cli_records, cli_layouts, cli_answers, cli_messages, cli_payloads, cli_probe):
    part.add_to(app)

COLOURS = {
    "delivered": "green", "delivered (inferred)": "yellow", "acknowledged": "green", "merged": "green",
    "held": "yellow", "unknown": "yellow", "quarantined": "red", "rejected": "red", "missed": "red", "skipped": "dim",
}  # fmt: skip


def main() -> None:
    """Run the command line; an error of ours is one line and an exit code, never a traceback."""
    try:
        app()
    except SlussenError as error:
        Console(stderr=True).print("[red]slussen:[/]", end=" ")
        Console(stderr=True).print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(1 if isinstance(error, ContentError) else 2) from None
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # a full disk behind standard output
            Console(stderr=True).print(f"[red]slussen:[/] {os.strerror(error.errno or 0)}", highlight=False)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A broken pipe is a reader that has seen enough: `slussen parse ... | head`.
        raise SystemExit(1 if isinstance(error, BrokenPipeError) else 2) from None


@app.command()
def integrations(as_json: Json = False) -> None:
    """List the integrations.

    Example: slussen integrations --json
    """
    from slussen.catalogue import rows

    found = [row.as_dict() for row in rows()]
    if as_json:
        print_json(found)
        return
    table = Table("key", "TEIS", "what", "DAG", "schedule", "from", "to", "layout", "encoding", "persons")
    for r in found:
        source = f"{r['sender']} ({r['source_transport']})"
        target = f"{r['receiver']} ({r['transport']})"
        encoding = " → ".join(e for e in (r["source_encoding"], r["encoding"]) if e)
        table.add_row(
            r["key"], r["teis"], r["title"], r["dag_id"], r["schedule"], source, target, r["layout"], encoding,
            r["persons"],
        )  # fmt: skip
    terminal().print(table)


@book_app.callback(invoke_without_command=True)
def ledger(
    context: typer.Context,
    integration: Annotated[str, typer.Option(help="Only this integration, by its key.")] = "",
    state: Annotated[str, typer.Option(help="Only interchanges in this state.")] = "",
    as_json: Json = False,
) -> None:
    """List the interchanges, oldest first.

    Example: slussen ledger --integration f29 --state quarantined
    """
    if context.invoked_subcommand:
        return
    found = _ledger().interchanges(integration)
    found = [i for i in found if not state or i.state == state]
    if as_json:
        print_json([interchange_dict(i) for i in found])
        return
    terminal().print(interchange_table(found))


@book_app.command()
def verify(as_json: Json = False) -> None:
    """Walk the whole hash chain: was any event altered, removed, inserted or moved?

    Example: slussen ledger verify
    """
    result = _ledger().verify()
    if as_json:
        print_json({"ok": result.ok, "events": result.events, "first_bad": result.first_bad_seq,
                     "reason": result.reason})  # fmt: skip
    elif result.ok:
        terminal().print(f"[green]whole:[/] {result.events} events, each with the hash of the one before")
    else:
        terminal().print(
            f"[red]broken[/] at event {result.first_bad_seq}: {result.reason}. "
            "Next: compare with the last backup; nothing from this event on is proof"
        )
    raise typer.Exit(0 if result.ok else 1)


@app.command()
def show(
    interchange: Annotated[str, typer.Argument(metavar="ID", help="The interchange, as `slussen ledger` lists it.")],
    as_json: Json = False,
) -> None:
    """Show one interchange: its events, its findings, and what to do next.

    Example: slussen show f29-20260112T190000Z
    """
    events = _ledger().events(interchange)
    if not events:
        Console(stderr=True).print(
            f"[red]slussen:[/] the ledger knows no interchange {interchange}; see `slussen ledger`"
        )
        raise typer.Exit(2)
    if as_json:
        print_json([event_dict(e) for e in events])
        return
    console = terminal()
    table = Table("event", "at (UTC)", "what", "details", title=interchange, title_justify="left")
    for e in events:
        table.add_row(str(e.seq), f"{e.at:%Y-%m-%d %H:%M:%S}", e.kind, _details(e))
    console.print(table)
    for e in events:
        if e.kind in ("quarantined", "held"):
            _print_findings(console, e)
    if reports := [e for e in events if e.kind == "gated"]:
        _print_report(console, reports[-1].data["report"])


def interchange_dict(i: Interchange) -> dict[str, Any]:
    """An interchange as plain data: the ``--json`` form."""
    return {
        "id": i.id, "integration": i.integration, "state": i.state, "verdict": i.verdict, "name": i.name,
        "records": i.records, "bytes": i.bytes, "sha256": i.sha256,
        "first": i.first.isoformat(), "last": i.last.isoformat(),
    }  # fmt: skip


def interchange_table(found: list[Interchange]) -> Table:
    """The table of interchanges, as the ledger command and the demo print it."""
    table = Table("interchange", "file", "records", "bytes", "sha256", "verdict", "state", "took")
    for column in (2, 3, 7):
        table.columns[column].justify = "right"
    for i in found:
        colour = COLOURS.get(i.state, "")
        table.add_row(
            i.id,
            i.name or "",
            f"{i.records:,}" if i.records is not None else "",
            f"{i.bytes:,}" if i.bytes is not None else "",
            (i.sha256 or "")[:12],
            i.verdict or "",
            f"[{colour}]{i.state}[/]" if colour else i.state,
            f"{(i.last - i.first).total_seconds():.1f} s",
        )
    return table


def event_dict(e: Event) -> dict[str, Any]:
    """An event as plain data."""
    return {"seq": e.seq, "at": e.at.isoformat(), "interchange": e.stream, "kind": e.kind, "data": e.data}


def _ledger() -> Ledger:
    from slussen.ledger import Ledger

    return Ledger(settings.database())


def _details(e: Event) -> str:
    shown = {k: v for k, v in e.data.items() if k not in ("findings", "counts", "totals", "header", "run")}
    for key in ("sha256", "report"):
        if key in shown:
            shown[key] = str(shown[key])[:12]
    return ", ".join(f"{k} {v}" for k, v in shown.items() if v not in ("", None, {}, []))


def _print_findings(console: Console, e: Event) -> None:
    from slussen.errors import Finding

    found = [Finding(**f) for f in e.data.get("findings", ())]
    console.print(f"\n{e.kind} at {e.data.get('at', '?')}: {e.data.get('reason') or f'{len(found)} findings'}")
    for f in found[:20]:
        console.print(f"  {f}", highlight=False, markup=False, soft_wrap=True)
    if len(found) > 20:
        console.print(f"  … and {e.data.get('total', len(found)) - 20} more (--json lists them)")


def _print_report(console: Console, digest: str) -> None:
    from slussen.payloads import PayloadStore
    from slussen.quality.report import GateReport

    with PayloadStore(settings.payloads()).open(digest) as stored:
        report = GateReport.from_dict(json.loads(stored.read()))
    console.print("\nthe gate:")
    console.print(report.table(), highlight=False, markup=False)


if __name__ == "__main__":
    main()
