"""The command line's records part: look into a file, compare, parse, render, convert.

Exit codes: 0 fine, 1 the data is at fault (or two files differ), 2 the call is.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from slussen.cli_printing import Json, Out, print_json, sink, terminal, whole
from slussen.errors import CallError

if TYPE_CHECKING:
    from slussen.errors import Findings
    from slussen.tools.diff import Diff
    from slussen.tools.propose import Proposal

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file; - is standard input.")]
LayoutName = Annotated[str, typer.Option("--layout", "-l", help="A layout of include/formats, or a YAML file.")]
Encoding = Annotated[str, typer.Option("--encoding", "-e", help="Its encoding; the format's usual one, if not said.")]
Frame = Annotated[str, typer.Option(help="fixed, lf, crlf, rdw or vb; the format's usual one, if not said.")]
Reveal = Annotated[bool, typer.Option(help="Show personal data too.")]
Replace = Annotated[str, typer.Option(help="A table of include/replacements, for letters that the target lacks.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (peek, diff, parse, render, convert):
        app.command()(command)


def peek(
    file: File,
    layout: LayoutName = "",
    record: Annotated[
        int | None, typer.Option(min=1, help="Which record; the first that is wrong, if not said.")
    ] = None,
    encoding: Encoding = "",
    frame: Frame = "",
    reveal: Reveal = False,
    as_json: Json = False,
) -> None:
    """Show a record as a person reads it: ruler, hex, fields, and what is wrong at which byte.

    Without --layout it proposes the layouts, frames and encodings that fit.

    Examples:

        slussen peek F29.txt --layout agresso_cs15

        slussen peek F29.txt --layout agresso_cs15 --record 17 --reveal

        slussen peek unknown.dat
    """
    if not layout:
        _proposed(file, as_json)
        return
    from slussen.tools import peek as tool
    from slussen.tools.opened import opened

    found = tool.peek(opened(file, layout, encoding, frame), record or 0)
    if as_json:
        print_json(tool.as_dict(found, reveal=reveal))
    else:
        terminal().print(tool.shown(found, reveal=reveal), highlight=False, soft_wrap=True)
    wrong = found.findings if not record else (found.record.findings if found.record else [])
    raise typer.Exit(1 if wrong else 0)


def _proposed(file: Path, as_json: bool) -> None:
    from slussen.tools.propose import propose

    found = propose(file)
    if as_json:
        print_json([vars(p) | {"share": round(p.share, 4)} for p in found])
    elif found:
        terminal().print(_proposals(found))
        best = found[0]
        terminal().print(
            f"next: slussen peek {file} --layout {best.layout} --frame {best.frame} --encoding {best.encoding}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    else:
        why = "no layout fits: is it one of ours? `slussen layout check` lists them"
        empty = file.is_file() and not file.stat().st_size
        Console(stderr=True).print(f"{file} is empty" if empty else why, soft_wrap=True)
    raise typer.Exit(0 if found else 1)


def _proposals(found: list[Proposal]) -> Table:
    table = Table("layout", "frame", "encoding", "records tried", "sound")
    for p in found[:10]:
        table.add_row(p.layout, p.frame, p.encoding, f"{p.records:,}", f"{p.share:.0%}")
    return table


def diff(
    a: Annotated[Path, typer.Argument(metavar="A")],
    b: Annotated[Path, typer.Argument(metavar="B")],
    layout: LayoutName,
    key: Annotated[
        str, typer.Option(help="Match records by these fields, parted by commas (A is kept in memory); else in order.")
    ] = "",
    encoding: Encoding = "",
    encoding_b: Annotated[str, typer.Option(help="B's encoding, when it is another.")] = "",
    frame: Frame = "",
    frame_b: Annotated[str, typer.Option(help="B's frame, when it is another.")] = "",
    reveal: Reveal = False,
    as_json: Json = False,
) -> None:
    """Compare two files field by field, and sum up what kinds of differences there are.

    Examples:

        slussen diff old.txt new.txt --layout agresso_cs15

        slussen diff old.txt new.txt --layout agresso_cs15 --key comp_reg_no --json
    """
    from slussen.tools import diff as tool
    from slussen.tools.opened import opened

    one = opened(a, layout, encoding, frame)
    other = opened(b, layout, encoding_b or encoding, frame_b or frame)
    found = tool.diff(one, other, tuple(k for k in key.split(",") if k), reveal=reveal)
    if as_json:
        print_json(found.as_dict())
    else:
        _differences(found)
    raise typer.Exit(0 if found.same else 1)


def _differences(found: Diff) -> None:
    console = terminal()
    colour = "green" if found.same else "red"
    console.print(
        f"[{colour}]{'the same' if found.same else 'different'}[/]: {found.equal:,} records equal"
        + (f" ({found.otherwise:,} of them in other bytes)" if found.otherwise else "")
        + f", {found.changed:,} changed, {found.missing_b:,} only in A, {found.missing_a:,} only in B",
        highlight=False,
    )
    for name, findings in (("A", found.findings_a), ("B", found.findings_b)):
        if findings:
            console.print(
                f"[red]not all of {name} can be read[/]: {_counts(findings.counts)}; look with `slussen peek`",
                highlight=False,
            )
    for title, unit, counts in (
        ("field", "records", found.fields),
        ("kind of difference", "fields", found.kinds),
    ):
        if counts:
            table = Table(title, unit)
            table.columns[1].justify = "right"
            for name, n in counts.most_common():
                table.add_row(name, f"{n:,}")
            console.print(table)
    if found.examples:
        table = Table("record in A", "in B", "field", "kind", "A", "B")
        for c in found.examples:
            table.add_row(str(c.record), str(c.other), c.field, c.kind, c.a, c.b)
        console.print(table)
    for name, numbers, n in (("A", found.only_a, found.missing_b), ("B", found.only_b, found.missing_a)):
        if numbers:
            console.print(f"only in {name}: records {', '.join(map(str, numbers))}{' …' if n > len(numbers) else ''}")


def parse(
    file: File,
    layout: LayoutName,
    to: Annotated[str, typer.Option(help="csv, jsonl or parquet.")] = "jsonl",
    encoding: Encoding = "",
    frame: Frame = "",
    output: Out = None,
    raw: Annotated[bool, typer.Option("--raw", help="Keep each record's own bytes, in hex.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary on standard error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Read a file's records into a table.

    What is wrong, and what isn't written as the layout would write it, is told on standard error.

    Examples:

        slussen parse F29.txt --layout agresso_cs15 --to csv

        slussen parse KIR.txt --layout navet_utfil --to parquet -o kir.parquet
    """
    from slussen.errors import Findings
    from slussen.tools import tables
    from slussen.tools.opened import opened

    source = opened(file, layout, encoding, frame)
    if to not in tables.KINDS:
        raise CallError(f"unknown form {to!r}: one of {', '.join(tables.KINDS)}")
    if raw and source.layout.kind == "tagged":
        raise CallError("--raw keeps the bytes of fixed and delimited records; a tagged record is many lines")
    findings = Findings()
    table = tables.Table(source, findings, raw=raw)
    with sink(output) as out:
        n = tables.write(table, to, out)
        if not findings and not table.uncanonical:
            table.uncanonical = tables.written_otherwise(source)
    passed_over = table.parsed.totals.get("unknown", 0) if table.parsed else 0
    if as_json:
        told = _summary(findings, records=n, uncanonical=dict(table.uncanonical), passed_over=passed_over)
        print(json.dumps(told, ensure_ascii=False, indent=2), file=sys.stderr)
    elif not quiet:
        _told(n, findings, file)
        if passed_over:
            Console(stderr=True).print(f"[yellow]passed over:[/] {passed_over:,} lines that the layout doesn't know")
        if table.uncanonical:
            Console(stderr=True).print(
                f"[yellow]not canonical[/] (reads well, would be written otherwise): {_counts(table.uncanonical)}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
    raise typer.Exit(1 if findings else 0)


def render(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A .jsonl, .csv or .parquet file; - is standard input.")
    ],
    layout: LayoutName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to be written.")],
    encoding: Encoding = "",
    frame: Frame = "",
    replace: Replace = "",
    as_json: Json = False,
) -> None:
    """Write a table's records as the layout says. Nothing is written when anything doesn't fit.

    Example:

        slussen render f29.jsonl --layout agresso_cs15 -o F29.txt
    """
    from slussen.errors import Finding, Findings
    from slussen.records import layout as layouts
    from slussen.records.codepages import replacements
    from slussen.records.render import Rendered
    from slussen.tools import rows

    found = layouts.load(layout)
    usual = found.file.usual
    findings = Findings()
    rendered = Rendered(
        rows.read(table, found, findings), found, encoding or usual.encoding, frame or usual.frame, findings,
        replacements=replacements(replace),
    )  # fmt: skip
    with whole(output, findings) as out:
        for chunk in rendered:
            out.write(chunk)
        if not rendered.records and not found.file.may_be_empty and not findings:
            findings.add(Finding("empty_file", f"no records, and {found.name} may not be empty", "look at the table"))
    if as_json:
        print_json(_summary(findings, records=rendered.records, bytes=rendered.bytes, sha256=rendered.sha256,
                             totals=rendered.totals))  # fmt: skip
    else:
        _told(rendered.records, findings, table)
        _changed(rendered.totals)
    raise typer.Exit(1 if findings else 0)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN")],
    target: Annotated[Path, typer.Argument(metavar="OUT")],
    from_: Annotated[str, typer.Option("--from", help="The encoding that it is in.")],
    to: Annotated[str, typer.Option("--to", help="The encoding that it is to be in.")],
    replace: Replace = "",
    as_json: Json = False,
) -> None:
    """Convert a file from one encoding to another. Nothing is written when a character has no place in the other.

    Example:

        slussen convert IN.TXT OUT.TXT --from cp437 --to cp1252
    """
    from slussen.errors import Findings
    from slussen.records.codepages import replacements
    from slussen.records.convert import Converted
    from slussen.tools.opened import readable, reading

    findings = Findings()
    with reading(readable(source)) as stream:
        converted = Converted(stream, from_, to, findings, replacements=replacements(replace))
        with whole(target, findings) as out:
            for chunk in converted:
                out.write(chunk)
    if as_json:
        print_json(_summary(findings, bytes=converted.bytes, source_sha256=converted.source_sha256,
                             written=converted.written, sha256=converted.sha256,
                             replaced=dict(converted.replaced)))  # fmt: skip
        raise typer.Exit(1 if findings else 0)
    if findings:
        _list(findings, source)
    else:
        Console(stderr=True).print(
            f"{converted.bytes:,} bytes {converted.source.name} → {converted.written:,} bytes {converted.target.name}, "
            f"sha256 {converted.sha256}", highlight=False, soft_wrap=True,
        )  # fmt: skip
    _changed({f"replaced.{letter}": n for letter, n in converted.replaced.items()})
    raise typer.Exit(1 if findings else 0)


# --- what is told


def _told(records: int, findings: Findings, file: Path) -> None:
    console = Console(stderr=True)
    if findings:
        _list(findings, file)
    else:
        console.print(f"{records:,} records, [green]nothing is wrong[/]", highlight=False)


def _summary(findings: Findings, **more: Any) -> dict[str, Any]:
    return {**more, "total_findings": findings.total, "counts": dict(findings.counts),
            "findings": [f.as_dict() for f in findings]}  # fmt: skip


def _list(findings: Findings, file: Path) -> None:
    console = Console(stderr=True)
    console.print(f"[red]{findings}[/] in {file}: {_counts(findings.counts)}", highlight=False, soft_wrap=True)
    for f in findings.kept[:20]:
        console.print(f"  {f}", highlight=False, markup=False, soft_wrap=True)
    if findings.total > 20:
        console.print(f"  … and {findings.total - 20:,} more")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


def _changed(totals: dict[str, int]) -> None:
    """What was cut or replaced."""
    told = ", ".join(f"{k} {n:,}" for k, n in totals.items() if k.startswith(("replaced.", "truncated.")))
    if told:
        Console(stderr=True).print(f"[yellow]changed:[/] {told}", highlight=False)
