"""``slussen layout``: the layouts' pages, whether they are right, what a change alters, a copybook made one.

Exit codes: 0 fine, 1 a layout or the data is at fault, 2 the call is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from slussen.cli_printing import Json, Out, print_json, sink, terminal
from slussen.errors import CallError

layout_app = typer.Typer(help="Layouts: their pages, whether they are right, what a change alters.")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(layout_app, name="layout")


@layout_app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="LAYOUT...", help="All, if none is named.")] = None,
    as_json: Json = False,
) -> None:
    """Are the layouts right? File, line and reason of each that isn't.

    Example:

        slussen layout check
    """
    from slussen.records import layout as layouts

    rows: list[dict[str, Any]] = []
    for name in names or layouts.names():
        try:
            found = layouts.load(name)
        except layouts.UnknownLayout:
            raise
        except CallError as error:
            rows.append({"layout": name, "ok": False, "reason": str(error)})
        else:
            rows.append({"layout": found.name, "ok": True, "kind": found.kind, "length": found.length or None,
                         "records": list(found.records), "fields": len(found.fields), "status": found.status,
                         "version": found.version})  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        table = Table("layout", "kind", "bytes", "record types", "fields", "status", "")
        for r in rows:
            if r["ok"]:
                size = f"{r['length']:,}" if r["length"] else ""
                kinds = ", ".join(r["records"])
                table.add_row(r["layout"], r["kind"], size, kinds, str(r["fields"]), r["status"], "[green]right[/]")
            else:
                table.add_row(r["layout"], "", "", "", "", "", f"[red]{r['reason']}[/]")
        terminal().print(table)
    raise typer.Exit(0 if all(r["ok"] for r in rows) else 1)


@layout_app.command("doc")
def doc(
    names: Annotated[list[str] | None, typer.Argument(metavar="LAYOUT...", help="All, if none is named.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A folder, a page for each layout.")] = None,
) -> None:
    """A page for each layout: what it is, a drawing of its positions, a table of its fields.

    Examples:

        slussen layout doc agresso_cs15

        slussen layout doc -o docs/layouts
    """
    from slussen.records import layout as layouts
    from slussen.tools.document import page

    for name in names or layouts.names():
        found = layouts.load(name)
        if output is None:
            typer.echo(page(found))
        else:
            try:
                output.mkdir(parents=True, exist_ok=True)
                (output / f"{found.name}.md").write_text(page(found), encoding="utf-8")
            except OSError as error:
                raise CallError(f"{output}: {error.strerror}: name a folder") from None
            typer.echo(output / f"{found.name}.md")


@layout_app.command("impact")
def impact(
    name: Annotated[str, typer.Argument(metavar="LAYOUT")],
    old: Annotated[Path | None, typer.Option(help="The layout as it was; the last commit's, if not said.")] = None,
    payload: Annotated[Path | None, typer.Option(help="A file to try it on, besides the last payloads.")] = None,
    as_json: Json = False,
) -> None:
    """Which integrations use a layout, and what a change alters in the bytes of their last payloads.

    Example:

        slussen layout impact agresso_cs15
    """
    from slussen.catalogue import rows
    from slussen.records import layout as layouts
    from slussen.tools import impact as tool

    new = layouts.load(name)
    was = tool.before(new.name, old)
    found = [tool.of(row.integration, was, new) for row in rows() if row.integration.layout == new.name]
    if payload is not None:
        if not payload.is_file():
            raise CallError(f"there is no file {payload}")
        one = tool.Impact(payload.name)
        tool.compare(was, new, payload, was.file.usual.encoding, was.file.usual.frame, one)
        found.append(one)
    if as_json:
        print_json([i.as_dict() for i in found])
    elif not found:
        typer.echo(f"no integration uses {new.name}")
    else:
        table = Table("integration", "last interchange", "records", "changed", "bytes", "fields", "findings")
        for i in found:
            same = "" if i.changes else "nothing that can be read" if i.unread else "no change"
            told = i.why_not or ", ".join(f"{f} {n:,}" for f, n in i.fields.most_common(8)) or same
            size = " → ".join(dict.fromkeys((f"{i.bytes_before:,}", f"{i.bytes_after:,}")))
            wrong = [f"{r} {n:,}" for r, n in i.findings.most_common()]
            wrong += [f"cannot be read: {r} {n:,}" for r, n in i.unread.most_common()]
            table.add_row(
                i.integration, i.interchange, f"{i.records:,}", f"{i.records_changed:,}", size, told, ", ".join(wrong)
            )
        terminal().print(table)
    unreachable = [i.integration for i in found if i.unreachable]
    if unreachable:
        Console(stderr=True).print(
            f"the last payloads of {', '.join(unreachable)} could not be had: say the ledger's database "
            "(SLUSSEN_DATABASE), or a file with --payload", highlight=False, soft_wrap=True,
        )  # fmt: skip
    if any(i.findings or i.unread for i in found):
        raise typer.Exit(1)
    raise typer.Exit(2 if unreachable and payload is None else 0)


@layout_app.command("import-copybook")
def import_copybook(
    copybook: Annotated[Path, typer.Argument(metavar="COPYBOOK", help="COBOL data descriptions.")],
    name: Annotated[str, typer.Option(help="The layout's name; the file's, if not said.")] = "",
    output: Out = None,
) -> None:
    """A COBOL copybook as a layout, to be looked over.

    Example:

        slussen layout import-copybook KIRPOST.cpy -o include/formats/kirpost.yaml
    """
    from slussen.tools.copybook import UNKNOWN, layout_of

    if not copybook.is_file():
        raise CallError(f"there is no file {copybook}")
    try:
        text = layout_of(copybook.read_text(encoding="utf-8"), name or copybook.stem.lower().replace("-", "_"))
    except CallError as error:
        raise CallError(f"{copybook.name}: {error}") from None
    except UnicodeDecodeError:
        raise CallError(f"{copybook.name} is no UTF-8 text: convert it first") from None
    with sink(output) as out:
        out.write(text.encode())
    if UNKNOWN in text:
        Console(stderr=True).print(
            "several record types: say by which field's value each is known (when:), then `slussen layout check`",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


@layout_app.command("schema")
def schema() -> None:
    """The JSON Schema of layouts, for editors (include/formats/schema.json)."""
    from slussen.records.notation import schema_json

    typer.echo(schema_json(), nl=False)
