"""COBOL's data descriptions, read: entries under their groups, each with what its clauses say of its bytes.

Every word must be understood: a clause that is passed over would move every field after it.

Source: IBM Enterprise COBOL for z/OS Language Reference, "Data division: data description entry" (PICTURE, USAGE, SIGN,
OCCURS, REDEFINES; storage of COMP, COMP-3 and zoned decimals) and "Reference format".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from slussen.errors import CallError

FORMAT = re.compile(r"^(?: {6}|\d{6})[ *\-/Dd]")  # columns 1-6 are the line's number, 7 says what it is
TOKEN = re.compile(r"(?:[A-Za-z]{1,2})?(?:'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|[^\s'\"]+")
LITERAL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
PART = re.compile(r"(CR|DB|[AXSVZB09$*+\-/.,])(?:\((\d+)\))?")
NUMERIC = re.compile(r"S?(?:9(?:\(\d+\))?)*(?:V(?:9(?:\(\d+\))?)*)?")

DISPLAY = "DISPLAY"
PACKED = ("COMP-3", "COMPUTATIONAL-3", "PACKED-DECIMAL")
BINARY = ("COMP", "COMPUTATIONAL", "COMP-4", "COMPUTATIONAL-4", "COMP-5", "COMPUTATIONAL-5", "BINARY")
ZEROS, BLANKS = ("ZERO", "ZEROS", "ZEROES"), ("SPACE", "SPACES")
FIGURES = (*ZEROS, *BLANKS, "LOW-VALUE", "LOW-VALUES", "HIGH-VALUE", "HIGH-VALUES", "QUOTE", "QUOTES", "NULL", "NULLS")
CLAUSES = frozenset({
    "PIC", "PICTURE", "REDEFINES", "OCCURS", "VALUE", "VALUES", "USAGE", "SIGN", "LEADING", "TRAILING", "JUST",
    "JUSTIFIED", "BLANK", "INDEXED", "ASCENDING", "DESCENDING", "GLOBAL", "EXTERNAL", "SYNC", "SYNCHRONIZED",
    "RENAMES", DISPLAY, *PACKED, *BINARY,
})  # fmt: skip
NEEDS = {"COMP-1": "floating point", "COMP-2": "floating point", "COMPUTATIONAL-1": "floating point",
         "COMPUTATIONAL-2": "floating point", "INDEX": "an index", "POINTER": "a pointer",
         "SYNC": "slack bytes", "SYNCHRONIZED": "slack bytes", "DEPENDING": "a length that another field says",
         "RENAMES": "another view (level 66)"}  # fmt: skip
PAGE = re.compile(r"(?:EJECT|SKIP[123])\s*\.?", re.IGNORECASE)
RANGE = 1000  # values that a THRU spreads out into, at most


@dataclass
class Item:
    """A data description entry, and what is under it."""

    level: int
    name: str
    line: int
    picture: str = ""
    usage: str = ""  # as its group's, if it doesn't say
    times: int = 1
    redefines: str = ""
    original: Item | None = None  # what it redefines
    sign: str = ""  # LEADING or TRAILING; as its group's, if it doesn't say
    separate: bool = False
    right: bool = False
    blank_when_zero: bool = False
    codes: dict[str, str] = field(default_factory=dict)
    under: list[Item] = field(default_factory=list)

    @property
    def number(self) -> tuple[int, int, bool] | None:
        """Digits, decimals and whether it has a sign; None for a picture that is no number."""
        if not self.picture or not NUMERIC.fullmatch(self.picture):
            return None
        whole, _, part = self.picture.removeprefix("S").partition("V")
        return places(whole) + places(part), places(part), self.picture.startswith("S")

    @property
    def length(self) -> int:
        """Its bytes, once."""
        if self.under:
            return sum(i.length * i.times for i in self.under if i.original is None)
        digits, _, signed = self.number or (0, 0, False)
        if self.usage in PACKED:
            return digits // 2 + 1
        if self.usage in BINARY:
            return 2 if digits < 5 else 4 if digits < 10 else 8
        return places(self.picture) + (1 if signed and self.separate else 0)

    def refused(self, what: str) -> CallError:
        return CallError(f"line {self.line}: {self.name} {what}")


def places(picture: str) -> int:
    return sum(int(n or 1) * len(part) for part, n in PART.findall(picture) if part not in ("V", "S"))


def records(text: str) -> list[Item]:
    """The records of a copybook: what is on level 01; without it, all is one record.

    Raises:
        CallError: something in it isn't understood, or contradicts itself; with its line.
    """
    roots: list[Item] = []
    stack: list[Item] = []
    for line, words in _sentences(text):
        level = _level(words[0], line)
        if level == 88:
            if not stack:
                raise CallError(f"line {line}: a level 88 without its field")
            _condition(stack[-1], words[1:], line)
            continue
        item = _Clauses(level, words[1:], line).item
        while stack and stack[-1].level >= level:
            stack.pop()
        beside = stack[-1].under if stack else roots
        if beside and beside[0].level != level:
            raise item.refused(f"is on level {level:02}, its neighbours are on {beside[0].level:02}")
        if item.redefines:
            item.original = next((i for i in beside if i.name.upper() == item.redefines and i.original is None), None)
            if item.original is None:
                raise item.refused(f"redefines {item.redefines}, which is no field before it on its level")
        beside.append(item)
        stack.append(item)
    if roots and roots[0].level > 1:
        roots = [Item(1, "RECORD", roots[0].line, under=roots)]
    for root in roots:
        _settle(root)
    return roots


def _level(word: str, line: int) -> int:
    if word.upper() == "COPY":
        raise CallError(f"line {line}: COPY fetches another copybook: put its text in that place first")
    if not word.isdigit():
        raise CallError(f"line {line}: a level number was expected, not {word}")
    if int(word) in (66, 77) or not (1 <= int(word) <= 49 or int(word) == 88):
        raise CallError(f"line {line}: level {word} is no field of a record, which a layout cannot say")
    return int(word)


def _settle(item: Item) -> None:
    """What a group says holds for all that is under it; then each must be something that has bytes."""
    item.usage = item.usage or DISPLAY
    if item.under:
        if item.picture:
            raise item.refused("has a picture and fields of its own")
        if item.codes or item.right or item.blank_when_zero:
            raise item.refused("is a group, and has what only a field has")
        for below in item.under:
            if item.usage != DISPLAY and below.usage not in ("", item.usage):
                raise below.refused(f"is {below.usage} in a group that is {item.usage}")
            below.usage = below.usage or item.usage
            if not below.sign:
                below.sign, below.separate = item.sign, item.separate
            _settle(below)
    elif not item.picture:
        raise item.refused("has neither a picture nor fields of its own")
    elif item.number is None and item.usage != DISPLAY:
        raise item.refused(f"is {item.usage}, and its picture no number")
    elif item.number is not None and (item.right or item.blank_when_zero):
        clause = "JUSTIFIED" if item.right else "BLANK WHEN ZERO"
        raise item.refused(f"is a number with {clause}, which a layout cannot say")
    elif item.codes and (item.usage != DISPLAY or any((item.number or (0,))[1:])):
        raise item.refused("is a number with named values (88), which a layout cannot say unless it is digits alone")
    elif not places(item.picture):
        raise item.refused("has a picture of no length")
    first = item.original
    if first is not None and item.level > 1 and item.length * item.times > first.length * first.times:
        raise item.refused(f"is longer than {first.name}, which it redefines")


# --- sentences


def _sentences(text: str) -> Iterator[tuple[int, list[str]]]:
    """The words of each sentence, with the line that it begins on."""
    rows = [row.expandtabs() for row in text.splitlines()]
    columns = all(FORMAT.match(r.ljust(7)) for r in rows if r.strip())
    found, begun = "", 0
    for number, row in enumerate(rows, 1):
        body = row
        if columns:
            if row[6:7] in ("*", "/"):
                continue
            if row[6:7] not in ("", " "):
                what = "continues the one before" if row[6] == "-" else "is for debugging"
                raise CallError(f"line {number}: the line {what} (column 7): write it as a line of its own")
            body = row[7:72]
        body = body[: (_unquoted(body) + "*>").index("*>")].strip()
        if not body or body.startswith("*") or PAGE.fullmatch(body):
            continue
        begun = begun or number
        found += f" {body}"
        while (end := re.search(r"\.(?=\s|$)", _unquoted(found))) is not None:
            if sentence := found[: end.start()].strip():
                yield begun, _words(sentence, begun)
            found = found[end.end() :]
            begun = number if found.strip() else 0
    if found.strip():
        raise CallError(f"line {begun}: the sentence has no full stop")


def _unquoted(text: str) -> str:
    """The same with literals blanked out, so that a full stop in one ends nothing."""
    return LITERAL.sub(lambda m: "_" * len(m.group()), text)


def _words(sentence: str, line: int) -> list[str]:
    """Its words and literals; a comma or semicolon after one is nothing."""
    if re.search("['\"]", _unquoted(sentence)):
        raise CallError(f"line {line}: a literal has no end")
    return [w for word in TOKEN.findall(sentence) if (w := word.rstrip(",;"))]


# --- clauses


class _Clauses:
    """Reads the clauses of one entry, word by word."""

    def __init__(self, level: int, words: list[str], line: int) -> None:
        named = bool(words) and words[0].upper() not in CLAUSES and words[0].upper() not in NEEDS
        self.item = Item(level, words[0] if named else "FILLER", line)
        self.words = words[named:]
        for need, what in NEEDS.items():
            if need in (w.upper() for w in self.words):
                raise self.item.refused(f"needs {what} ({need}), which a layout cannot say: write it by hand")
        clauses: dict[str, Callable[[], None]] = {
            "PIC": self._picture, "PICTURE": self._picture, "REDEFINES": self._redefines, "OCCURS": self._occurs,
            "VALUE": self._value, "VALUES": self._value, "USAGE": self._usage, "SIGN": self._sign,
            "BLANK": self._blank,
        }  # fmt: skip
        while self.words:
            word = self.words[0].upper()
            if word in clauses:
                self.words.pop(0)
                clauses[word]()
            elif word in (DISPLAY, *PACKED, *BINARY):
                self._usage()
            elif word in ("LEADING", "TRAILING"):
                self._sign()
            elif word in ("JUST", "JUSTIFIED"):
                self.words.pop(0)
                self._passed("RIGHT")
                self.item.right = True
            elif word in ("GLOBAL", "EXTERNAL"):  # who may use it, not what it is
                self.words.pop(0)
            else:
                raise self.item.refused(f"is {self.words[0].upper()}, which a layout cannot say")

    def _next(self, what: str) -> str:
        self._passed("IS", "ARE")
        if not self.words:
            raise self.item.refused(f"lacks {what}")
        return self.words.pop(0).upper()

    def _passed(self, *noise: str) -> None:
        while self.words and self.words[0].upper() in noise:
            self.words.pop(0)

    def _names(self) -> None:
        """Names up to the next clause."""
        while self.words and self.words[0].upper() not in CLAUSES:
            self.words.pop(0)

    def _picture(self) -> None:
        picture = self._next("its picture")
        if letter := re.search("[NGPUE]", re.sub(r"\(\d+\)", "", picture)):
            raise self.item.refused(f"has a picture with {letter.group()}, which a layout cannot say")
        known = "".join(m.group() for m in PART.finditer(picture)) == picture
        if not known or (re.search("[SV]", picture) and not NUMERIC.fullmatch(picture)):
            raise self.item.refused("has a picture that is not understood")
        self.item.picture = picture

    def _redefines(self) -> None:
        self.item.redefines = self._next("what it redefines")

    def _occurs(self) -> None:
        times = self._next("how often it occurs")
        if not times.isdigit() or not int(times):
            raise self.item.refused(f"occurs {times} times, which is no number")
        self.item.times = int(times)
        if self.words and self.words[0].upper() == "TO":
            raise self.item.refused("occurs a varying number of times, which a layout cannot say")
        self._passed("TIMES")
        while self.words and self.words[0].upper() in ("INDEXED", "ASCENDING", "DESCENDING"):  # no bytes of theirs
            self.words.pop(0)
            self._passed("KEY", "IS", "BY")
            self._names()

    def _value(self) -> None:
        """What a program begins with: nothing that a record must hold."""
        self._passed("IS", "ARE", "ALL")
        value = self._next("its value")
        if not (value in FIGURES or NUMBER.fullmatch(value) or value[-1] in "'\""):
            raise self.item.refused(f"has the value {value}, which is no literal")

    def _usage(self) -> None:
        usage = self._next("its usage")
        if usage not in (DISPLAY, *PACKED, *BINARY):
            raise self.item.refused(f"is {usage}, which a layout cannot say")
        self.item.usage = usage

    def _sign(self) -> None:
        sign = self._next("where its sign is")
        if sign not in ("LEADING", "TRAILING"):
            raise self.item.refused(f"has its sign {sign}, which is not understood")
        self.item.sign = sign
        if self.words and self.words[0].upper() == "SEPARATE":
            self._passed("SEPARATE", "CHARACTER")
            self.item.separate = True

    def _blank(self) -> None:
        self._passed("WHEN")
        if self._next("when it is blank") not in ZEROS:
            raise self.item.refused("is blank when something is that is not understood")
        self.item.blank_when_zero = True


# --- level 88


def _condition(item: Item, words: list[str], line: int) -> None:
    """A level 88's values, as codes of its field."""
    name = (words or [""])[0].lower().replace("-", "_")
    values = [w for w in words[1:] if w.upper() not in ("VALUE", "VALUES", "IS", "ARE")]
    if not values or len(values) == len(words) - 1:
        raise CallError(f"line {line}: a level 88 has a name, VALUE and its values")
    while values:
        low = high = _code(item, values.pop(0), line)
        if values and values[0].upper() in ("THRU", "THROUGH"):
            high = _code(item, (values[1:] or [""])[0], line)
            del values[:2]
        for code in _between(low, high, line):
            item.codes[code] = f"{item.codes[code]} / {name}" if code in item.codes else name


def _code(item: Item, word: str, line: int) -> str:
    """A value as its field has it."""
    length = places(item.picture)
    if word.upper() in ZEROS:
        return "0" * length
    if word.upper() in BLANKS:
        return ""
    code = word[1:-1].replace(word[0] * 2, word[0]).rstrip() if LITERAL.fullmatch(word) else word
    if not (code.isdigit() or (LITERAL.fullmatch(word) and item.number is None)):
        raise CallError(f"line {line}: {word or 'nothing'} is no value that a layout can say")
    if len(code) > length:
        raise CallError(f"line {line}: {word} is longer than {item.name}")
    return code.zfill(length) if item.number is not None else code


def _between(low: str, high: str, line: int) -> Iterator[str]:
    if low == high:
        if low:  # blanks are nothing, which needs no code
            yield low
        return
    if not (low.isdigit() and high.isdigit() and len(low) == len(high) and low < high):
        raise CallError(f"line {line}: {low} THRU {high} is a range that only the machine's own order of letters says")
    if int(high) - int(low) >= RANGE:
        raise CallError(f"line {line}: {low} THRU {high} has more than {RANGE:,} values: write it by hand")
    yield from (f"{n:0{len(low)}}" for n in range(int(low), int(high) + 1))
