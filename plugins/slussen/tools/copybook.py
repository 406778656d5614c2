"""A COBOL copybook as a layout: what the mainframe's own programs say of a record."""

from __future__ import annotations

import json
from collections.abc import Iterator

from slussen.errors import CallError
from slussen.records import layout as layouts
from slussen.records.notation import LONGEST
from slussen.tools.cobol import BINARY, PACKED, Item, records

SAID = ("yes", "no", "on", "off", "true", "false", "null")  # names that YAML takes for something else
UNKNOWN = '# when: {field: "value"}'
Fields = list[tuple[str, int, int, str, str]]  # name, length, times, type, rules
Variant = tuple[str, Fields]  # a record type, and its fields


def layout_of(text: str, name: str) -> str:
    """The copybook as a layout's YAML, to be looked over: titles, sources and discriminators are people's to say.

    Raises:
        CallError: it has something that a layout cannot say; with its line.
    """
    found = records(text.removeprefix("\ufeff"))
    if not found:
        raise CallError("no data description: a copybook has levels, names and pictures")
    variants = [variant for record in found for variant in _variants(record)]
    for variant in variants:  # together they are no layout before somebody says how each is known
        layouts.of_text(_yaml(name, found[0].name, [variant]), f"{name}, {variant[0]}")
    return _yaml(name, found[0].name, variants)


def _yaml(name: str, book: str, variants: list[Variant]) -> str:
    longest = max(_size(fields) for _, fields in variants)
    lines = [
        "# yaml-language-server: $schema=schema.json", f"format: {name}", f"title: {name}, imported from a copybook",
        "version: 1", "status: assumed", "source: >-", f"  copybook {book}: say where it was found",
        "kind: fixed", "usual: {encoding: cp278, frame: fixed}", f"length: {longest}", "",
    ]  # fmt: skip
    if len(variants) > 1:
        lines += ["# Several record types: say by which field's value each is known (when:).", "records:"]
        for title, fields in variants:
            size = _size(fields)
            lines += [f"  {title}:", *([f"    length: {size}"] if size != longest else []),
                      f"    {UNKNOWN}", "    fields:", *_written(fields, 6)]  # fmt: skip
    else:
        lines += ["records:", f"  {variants[0][0]}: {{}}", "", "fields:", *_written(variants[0][1], 2)]
    return "\n".join(lines) + "\n"


def _size(fields: Fields) -> int:
    return sum(length * times for _, length, times, _, _ in fields)


# --- writing


def _variants(record: Item) -> Iterator[Variant]:
    """The record, and once more for each redefinition in it."""
    title = _plain(record.name)
    items = record.under or [record]
    yield title, _fields(items, ())
    for instead in _redefined(record.under, ()):
        yield f"{title}_{_plain(instead[-1].name)}", _fields(items, instead)


def _redefined(items: list[Item], above: tuple[Item, ...]) -> Iterator[tuple[Item, ...]]:
    """Each redefinition, after those that it stands in."""
    for item in items:
        here = above if item.original is None else (*above, item)
        if item.original is not None:
            yield here
        yield from _redefined(item.under, here)


def _fields(items: list[Item], instead: tuple[Item, ...]) -> Fields:
    """The fields, with these redefinitions instead of what they redefine."""
    found: Fields = []
    for item in items:
        if item.original is not None and item.level > 1:
            continue
        chosen = next((i for i in instead if i.original is item), item)
        found += _field(chosen, instead)
        if left := item.length * item.times - chosen.length * chosen.times:
            found.append(("FILLER", left, 1, "filler", ""))
    return found


def _field(item: Item, instead: tuple[Item, ...]) -> Fields:
    if item.under:
        inner = _fields(item.under, instead)
        if item.times == 1:
            return inner
        rules = f"times: {item.times}, fields: {{{', '.join(_rows(inner))}}}"
        return [(item.name, item.length, item.times, "group", rules)]
    kind, rules = _type(item)
    if item.times > 1:
        rules = ", ".join(filter(None, (f"times: {item.times}", rules)))
    return [(item.name, item.length, item.times, kind, rules)]


def _type(item: Item) -> tuple[str, str]:
    said = {c.lstrip() if item.right else c.rstrip(): n for c, n in item.codes.items()}  # a blank is nothing, no code
    codes = ", ".join(f"{json.dumps(c, ensure_ascii=False)}: {n}" for c, n in said.items() if c)
    values = [f"values: {{{codes}}}"] if codes else []
    if item.name.upper() == "FILLER" and not codes:
        return "filler", ""
    if item.number is None:
        return "text", ", ".join([*(["align: right"] if item.right else []), *values])
    digits, decimals, signed = item.number
    if digits > LONGEST:
        raise item.refused(f"has {digits} digits; a number has at most {LONGEST}")
    if values:
        return "digits", values[0]
    rules = [f"decimals: {decimals}"] if decimals else []
    if item.usage in PACKED:
        rules.append("usage: packed")
    elif item.usage in BINARY:
        rules.append("usage: binary")
    if not signed:
        rules.append("sign: none")
    elif item.usage not in (*PACKED, *BINARY):
        rules.append(_sign(item))
    return ("decimal" if decimals else "integer"), ", ".join(rules)


def _sign(item: Item) -> str:
    if item.separate:
        return f"sign: {item.sign.lower()}, plus: true"
    if item.sign == "LEADING":
        raise item.refused("has its sign over its first digit, which a layout cannot say")
    return "sign: overpunched"


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _rows(fields: Fields) -> list[str]:
    """The fields' lines, each beginning where the one before ended; no name twice."""
    at, seen, rows = 1, dict[str, int](), []
    for name, length, times, kind, rules in fields:
        plain = _plain(name)
        seen[plain] = seen.get(plain, 0) + 1
        if seen[plain] > 1 or plain == "filler":
            plain = f"{plain}_{seen[plain]}"
        plain = json.dumps(plain) if plain in SAID or plain[0].isdigit() else plain
        rows.append(f"{plain}: [{at}, {length}, {kind}" + (f", {{{rules}}}]" if rules else "]"))
        at += length * times
    return rows


def _written(fields: Fields, indent: int) -> list[str]:
    return [" " * indent + row for row in _rows(fields)]
