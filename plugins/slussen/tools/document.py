"""A page for each layout: what it is, a drawing of its positions, a table of its fields."""

from __future__ import annotations

from slussen.records import forms
from slussen.records.layout import Layout
from slussen.records.notation import MOMENTS, NUMBERS, SIGNS, FieldSpec

WIDTH = 96


def page(layout: Layout) -> str:
    """The layout's page, in Markdown."""
    file = layout.file
    about = [
        ("Status", f"{file.status}, version {file.version}"),
        ("Source", " ".join(file.source.split())),
        ("Kind", f"{file.kind}, {layout.length} bytes" if layout.kind == "fixed" else file.kind),
        ("Usually", f"{file.usual.encoding}, {file.usual.frame}"),
        ("Empty file", "allowed" if file.may_be_empty else "an error"),
    ]
    if layout.kind == "delimited":
        about += [
            ("Separator", repr(file.separator).strip("'")),
            ("Quotes", f"`{file.quote}`, where they must be" if file.quote else "none"),
            ("Nothing", f"`{file.nothing}`" if file.nothing else "an empty field"),
            ("First line", "names the fields" if file.header_row else "a record"),
        ]
    lines = [f"# {layout.name}: {file.title}", "", "| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in about)]
    if file.totals:
        lines += ["", "Control totals, checked on reading and computed on writing:", ""]
        for name, total in file.totals.items():
            for what in ("count", "sum", "hash"):
                if said := getattr(total, what):
                    lines.append(f"- `{name}`: {what} of {', '.join(said) if not isinstance(said, str) else said}")
    for record_type, spec in layout.records.items():
        known = ", ".join(f"{f} = `{v}`" for f, v in spec.when.items())
        notes = [known and f"known by {known}", layout.varies and f"{layout.length_of(record_type)} bytes",
                 spec.place and f"comes {spec.place}",
                 spec.under and f"under {spec.under}",
                 spec.opens and f"`{spec.opens}` … `{spec.closes}`", spec.line and f"`{spec.line}`",
                 spec.section and f"after the line `{spec.section}`"]  # fmt: skip
        lines += ["", f"## {record_type}", ""]
        if told := "; ".join(n for n in notes if n):
            lines += [told[0].upper() + told[1:] + ".", ""]
        if layout.kind == "fixed":
            lines += ["```", *drawing(layout, record_type), "```", ""]
        lines += _table(layout, record_type)
    return "\n".join(lines) + "\n"


def drawing(layout: Layout, record_type: str) -> list[str]:
    """The record's positions as bars, so many columns to a line; long blank stretches are left out."""
    length = layout.length_of(record_type)
    bars = ["."] * length
    names = [" "] * length
    for f in layout.of(record_type):
        first, last = int(f.at) - 1, int(f.at) - 2 + f.length
        bars[first : last + 1] = ["="] * f.length if f.type not in ("filler",) else ["."] * f.length
        bars[first] = "|"
        for k, letter in enumerate(f.name[: f.length - 1] if f.length > 1 else ""):
            names[first + 1 + k] = letter
    lines = []
    for first in range(0, length, WIDTH):
        lines += [
            f"{first + 1:>5} " + "".join(bars[first : first + WIDTH]),
            "      " + "".join(names[first : first + WIDTH]).rstrip(),
        ]
    return [line.rstrip() for line in lines if line.strip()]


def _table(layout: Layout, record_type: str) -> list[str]:
    fixed = layout.kind == "fixed"
    head = ["from", "to", "length", "type", "field", "rules"] if fixed else ["at", "longest", "type", "field", "rules"]
    rows = []
    for f in layout.of(record_type):
        place = [str(f.at), str(int(f.at) + f.length - 1)] if fixed else [f"`{f.at}`"]
        rows.append([*place, str(f.length), f.type, f"`{f.name}`", _rules(layout, f, record_type)])
    return [f"| {' | '.join(r)} |" for r in (head, ["---"] * len(head), *rows)]


def _rules(layout: Layout, f: FieldSpec, record_type: str) -> str:
    said = []
    if f.type == "const":
        said.append(f"`{f.constant(record_type)}`")
    if f.type in MOMENTS:
        said.append(f.shape + (f" (read too: {', '.join(f.accepts)})" if f.accepts else ""))
        if any("YY" in forms.parts(form) for form in (f.shape, *f.accepts)):
            said.append(f"YY below {f.century:02} is 20YY, else 19YY")
    if f.type in NUMBERS:
        said += _number(layout, f)
    for name, words in (("required", "required"), ("truncate", "cut when too long"), ("quoted", "always quoted"),
                        ("personal", "personal"), ("person", "whom it is about"),
                        ("relative", "somebody else whom it gives away")):  # fmt: skip
        if getattr(f, name):
            said.append(words)
    if f.type in ("text", "digits") and f.right:
        said.append("right-aligned")
    if f.fill:
        said.append(f"filled up with `{f.fill}`")
    if f.zeros and f.type not in NUMBERS:
        said.append("nothing is zeros")
    if f.check:
        said.append(f"a {f.check}")
    if f.like:
        said.append(f"like `{f.like}` (d a digit, A a letter of A to Z)")
    if f.values:
        codes = (
            [f"`{c}` {m}" for c, m in f.values.items()] if isinstance(f.values, dict) else [f"`{c}`" for c in f.values]
        )
        said.append("one of " + ", ".join(codes))
    if f.flag:
        said.append(f"marks a protected person: {', '.join(f.flag)}")
    if f.protected is not None:
        said.append(f"for a protected person: {f.protected}")
    return "; ".join(said).replace("|", "\\|")


def _number(layout: Layout, f: FieldSpec) -> list[str]:
    """How a number is written."""
    signs = {"leading": "", "none": "no sign", **{k: f"sign {k}" for k in SIGNS[1:] if k != "none"}}
    said = [f"{f.decimals} decimals"] if f.decimals else []
    said += [told] if (told := signs.get(f.sign, f"sign in `{f.sign}`")) else []
    said += ["a plus where a minus would be"] if f.plus else []
    said += [f.usage] if f.usage != "display" else []
    said += ["left-aligned"] if not f.right else []
    said += ["nothing is blank"] if not f.zeros else []
    if layout.kind != "fixed" and f.right and f.pad == "0" and f.zeros:
        said.append(f"written with zeros to {f.length} digits")
    return said
