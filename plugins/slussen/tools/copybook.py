"""A COBOL copybook as a layout: what the mainframe's own programs say of a record.

Source: IBM Enterprise COBOL for z/OS Language Reference, "Data division: data description entry" (PICTURE, USAGE, SIGN,
OCCURS, REDEFINES; storage of COMP, COMP-3 and zoned decimals).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from slussen.errors import CallError
from slussen.records import layout as layouts

FORMAT = re.compile(r"^.{6}[ *\-/D]")  # columns 1-6 are the line's number, 7 says what it is
PICTURE = re.compile(r"([A-Z9$*+\-/.,])(?:\((\d+)\))?")
PACKED = ("COMP-3", "COMPUTATIONAL-3", "PACKED-DECIMAL")
BINARY = ("COMP", "COMPUTATIONAL", "COMP-4", "COMPUTATIONAL-4", "COMP-5", "COMPUTATIONAL-5", "BINARY")
NEEDS = {"COMP-1": "floating point", "COMP-2": "floating point", "INDEX": "an index", "POINTER": "a pointer",
         "SYNC": "slack bytes", "SYNCHRONIZED": "slack bytes", "DEPENDING": "a length that another field says",
         "RENAMES": "another view (level 66)"}  # fmt: skip

UNKNOWN = '# when: {field: "value"}'
STRANGE = re.compile(r"(?:COMP|COMPUTATIONAL)-\w+|NATIONAL|DISPLAY-1|FUNCTION-POINTER|PROCEDURE-POINTER|OBJECT")
Fields = list[tuple[str, int, int, str, str]]  # name, length, times, type, rules
Variant = tuple[str, Fields]  # a record type, and its fields


@dataclass
class Item:
    """A data description entry, and what is under it."""

    level: int
    name: str
    line: int
    picture: str = ""
    usage: str = "DISPLAY"
    times: int = 1
    redefines: str = ""
    leading: bool = False
    separate: bool = False
    right: bool = False
    codes: dict[str, str] = field(default_factory=dict)
    under: list[Item] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Its bytes, once."""
        if self.under:
            return sum(i.length * i.times for i in self.under if not i.redefines)
        digits, _, signed = _numeric(self.picture) or (0, 0, False)
        if self.usage in PACKED:
            return digits // 2 + 1
        if self.usage in BINARY:
            return 2 if digits < 5 else 4 if digits < 10 else 8
        return _places(self.picture) + (1 if signed and self.separate else 0)


def layout_of(text: str, name: str) -> str:
    """The copybook as a layout's YAML, to be looked over: titles, sources and discriminators are people's to say.

    Raises:
        CallError: it has something that a layout cannot say; with its line.
    """
    records = _tree(list(_items(text)))
    if not records:
        raise CallError("no data description: a copybook has levels, names and pictures")
    variants = [(title, fields) for record in records for title, fields in _variants(record)]
    for variant in variants:  # together they are no layout before somebody says how each is known
        layouts.of_text(_yaml(name, records[0].name, [variant]), f"{name}, {variant[0]}")
    return _yaml(name, records[0].name, variants)


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


# --- reading


def _items(text: str) -> Iterator[Item]:
    for line, sentence in _sentences(text):
        words = sentence.split()
        if not words[0].isdigit():
            if words[0].upper() in ("COPY", "EJECT", "SKIP1", "SKIP2", "SKIP3"):
                continue
            raise CallError(f"line {line}: a level number was expected, not {words[0]}")
        yield _item(int(words[0]), words[1:], line)


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """Sentences with the line that each begins on."""
    rows = text.splitlines()
    columns = all(FORMAT.match(r.ljust(7)) and (r[:6].strip() == "" or r[:6].isdigit()) for r in rows if r.strip())
    found, begun = "", 0
    for number, row in enumerate(rows, 1):
        body = row.expandtabs()
        if columns:
            if body[6:7] in ("*", "/"):
                continue
            body = body[7:72]
        body = body.partition("*>")[0].strip()
        if not body or body.startswith("*"):
            continue
        begun = begun or number
        found += f" {body}"
        while (end := re.search(r"\.(?=\s|$)", _unquoted(found))) is not None:
            if sentence := found[: end.start()].strip():
                yield begun, sentence
            found = found[end.end() :]
            begun = number if found.strip() else 0
    if found.strip():
        raise CallError(f"line {begun}: the sentence has no full stop")


def _unquoted(text: str) -> str:
    """The same with literals blanked out, so that a full stop in one ends nothing."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", lambda m: "_" * len(m.group()), text)


def _item(level: int, words: list[str], line: int) -> Item:
    upper = [w.upper() for w in words]
    named = bool(upper) and upper[0] not in (
        "PIC",
        "PICTURE",
        "REDEFINES",
        "OCCURS",
        "VALUE",
        "USAGE",
        *PACKED,
        *BINARY,
    )
    item = Item(level, words[0] if named else "FILLER", line)
    if level == 88:
        item.codes = dict.fromkeys(_literals(" ".join(words[1:])), words[0].lower().replace("-", "_"))
        return item
    for need, what in NEEDS.items():
        if need in upper:
            raise CallError(
                f"line {line}: {item.name} needs {what} ({need}), which a layout cannot say: write it by hand"
            )
    k = 1 if named else 0
    while k < len(upper):
        word = upper[k]
        following = next((u for u in upper[k + 1 :] if u not in ("IS", "ARE")), "")
        if word in ("PIC", "PICTURE"):
            item.picture = following.rstrip(",;")
            if letter := re.search("[NGP]", re.sub(r"\(\d+\)", "", item.picture)):
                raise CallError(
                    f"line {line}: {item.name} has a picture with {letter.group()}, which a layout cannot say"
                )
            k = upper.index(following, k + 1)
        elif word == "REDEFINES":
            item.redefines = following
        elif word == "OCCURS":
            item.times = int(following)
        elif word in ("USAGE",):
            item.usage = following
        elif word in (*PACKED, *BINARY):
            item.usage = word
        elif STRANGE.fullmatch(word):
            raise CallError(f"line {line}: {item.name} is {words[k].upper()}, which a layout cannot say")
        elif word == "LEADING":
            item.leading = True
        elif word == "SEPARATE":
            item.separate = True
        elif word in ("JUST", "JUSTIFIED"):
            item.right = True
        elif word in ("VALUE", "VALUES"):
            break
        k += 1
    return item


def _literals(text: str) -> list[str]:
    return [a or b or c for a, b, c in re.findall(r"'([^']*)'|\"([^\"]*)\"|\b(\d+)\b", text)]


def _tree(items: list[Item]) -> list[Item]:
    """Items under their groups."""
    roots: list[Item] = []
    stack: list[Item] = []
    for item in items:
        if item.level == 88:
            if not stack:
                raise CallError(f"line {item.line}: a level 88 without its field")
            stack[-1].codes |= item.codes
            continue
        while stack and stack[-1].level >= item.level:
            stack.pop()
        if stack:
            stack[-1].under.append(item)
        else:
            roots.append(item)
        stack.append(item)
    for root in roots:
        _check(root)
    return roots


def _check(item: Item) -> None:
    if not item.under and not item.picture:
        raise CallError(f"line {item.line}: {item.name} has neither a picture nor fields of its own")
    if item.under and item.picture:
        raise CallError(f"line {item.line}: {item.name} has a picture and fields of its own")
    for below in item.under:
        if not below.under and item.usage != "DISPLAY" and below.usage == "DISPLAY":
            below.usage = item.usage
        _check(below)


# --- pictures


def _places(picture: str) -> int:
    return sum(int(n or 1) for letter, n in PICTURE.findall(picture) if letter not in ("V", "S", "P"))


def _numeric(picture: str) -> tuple[int, int, bool] | None:
    """Digits, decimals and whether it has a sign; None for a picture that is no number."""
    if not re.fullmatch(r"S?(?:9(?:\(\d+\))?)*(?:V(?:9(?:\(\d+\))?)*)?", picture):
        return None
    whole, _, part = picture.removeprefix("S").partition("V")
    return _places(whole) + _places(part), _places(part), picture.startswith("S")


# --- writing


def _variants(record: Item) -> Iterator[Variant]:
    """The record, and once more for each redefinition in it."""
    title = _plain(record.name)
    items = record.under or [record]
    yield title, _fields(items, {})
    for item in _walk(items):
        if item.redefines:
            if item.level == record.level:
                continue
            yield f"{title}_{_plain(item.name)}", _fields(items, {item.redefines.upper(): item})


def _walk(items: list[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from _walk(item.under)


def _fields(items: list[Item], instead: dict[str, Item]) -> Fields:
    found: Fields = []
    for item in items:
        if item.redefines:
            continue
        chosen = instead.get(item.name.upper(), item)
        found += _field(chosen, instead)
        if chosen is not item and (left := item.length * item.times - chosen.length * chosen.times) > 0:
            found.append(("FILLER", left, 1, "filler", ""))
    return found


def _field(item: Item, instead: dict[str, Item]) -> Fields:
    if item.under:
        inner = _fields(item.under, instead)
        if item.times == 1:
            return inner
        lines = _rows(inner)
        rules = f"times: {item.times}, fields: {{{', '.join(lines)}}}"
        return [(item.name, item.length, item.times, "group", rules)]
    kind, rules = _type(item)
    if item.times > 1:
        rules = ", ".join(filter(None, (f"times: {item.times}", rules)))
    return [(item.name, item.length, item.times, kind, rules)]


def _type(item: Item) -> tuple[str, str]:
    if item.name.upper() == "FILLER":
        return "filler", ""
    numeric = _numeric(item.picture)
    if numeric is None:
        rules = ["align: right"] if item.right else []
        if item.codes:
            rules.append("values: {" + ", ".join(f'"{c}": {n}' for c, n in item.codes.items()) + "}")
        return "text", ", ".join(rules)
    digits, decimals, signed = numeric
    if digits > 18:
        raise CallError(f"line {item.line}: {item.name} has {digits} digits; a number has at most 18")
    if item.codes and item.usage == "DISPLAY" and not signed:
        return "digits", "values: {" + ", ".join(f'"{c}": {n}' for c, n in item.codes.items()) + "}"
    rules = [f"decimals: {decimals}"] if decimals else []
    if item.usage in PACKED:
        rules.append("usage: packed")
    elif item.usage in BINARY:
        rules.append("usage: binary")
    elif item.usage != "DISPLAY":
        raise CallError(f"line {item.line}: {item.name} is {item.usage}, which a layout cannot say")
    if not signed:
        rules.append("sign: none")
    elif item.usage == "DISPLAY":
        if item.separate:
            rules.append(f"sign: {'leading' if item.leading else 'trailing'}, plus: true")
        elif item.leading:
            raise CallError(
                f"line {item.line}: {item.name} has its sign over its first digit, which a layout cannot say"
            )
        else:
            rules.append("sign: overpunched")
    return ("decimal" if decimals else "integer"), ", ".join(rules)


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
        rows.append(f"{plain}: [{at}, {length}, {kind}" + (f", {{{rules}}}]" if rules else "]"))
        at += length * times
    return rows


def _written(fields: Fields, indent: int) -> list[str]:
    return [" " * indent + row for row in _rows(fields)]
