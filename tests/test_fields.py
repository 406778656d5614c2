"""Every kind of field, read and written by whole columns, against the slow reference: more than a million each way."""

from __future__ import annotations

import datetime as dt
import os
from collections import defaultdict
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sandbox.identities import number
from slussen.records import cells, writing
from slussen.records.alike import Cells
from slussen.records.codepages import SINGLE, UNDEFINED, codepage
from slussen.records.notation import FieldSpec, arrow_type
from tests import reference

EACH = int(os.environ.get("FIELDS_EACH", "2500"))
LETTERS = "abcdefghijklmnopqrstuvwxyzåäöéüABCDEFGHIJKLMNOPQRSTUVWXYZÅÄÖÉÜ0123456789 ,.'/€–[]\\{}|@$#"


def spec(kind: str, length: int, **rules: Any) -> FieldSpec:
    return FieldSpec(name="f", at=1, length=length, type=kind, **rules)


SPECS = {
    "text": spec("text", 12),
    "text right": spec("text", 9, align="right"),
    "text zeros": spec("text", 5, empty="zeros"),
    "text filled": spec("text", 8, fill="*"),
    "text cut": spec("text", 4, truncate=True),
    "text one": spec("text", 1),
    "text wide": spec("text", 70),
    "digits": spec("digits", 6),
    "digits zeros": spec("digits", 8, empty="zeros"),
    "digits right": spec("digits", 7, align="right", fill="0", empty="zeros"),
    "person": spec("text", 12, check="personnummer"),
    "person digits": spec("digits", 12, check="personnummer"),
    "person longer": spec("text", 15, check="personnummer"),
    "code": spec("text", 1, values=("J", "N")),
    "codes": spec("text", 2, values={"AV": "avliden", "Ä": "änka", "A": "annat"}),
    "boolean": spec("boolean", 1, values=("J", "N")),
    "time wider zeros": spec("time", 9, form="hhmmss", empty="zeros"),
    "integer": spec("integer", 9),
    "integer one": spec("integer", 1),
    "integer 18": spec("integer", 18),
    "integer 20": spec("integer", 20),
    "integer unsigned": spec("integer", 5, sign="none"),
    "integer left": spec("integer", 8, align="left", empty="spaces"),
    "integer blanks": spec("integer", 10, fill=" "),
    "integer stars": spec("integer", 10, fill="*"),
    "trailing": spec("integer", 8, sign="trailing"),
    "trailing blanks": spec("decimal", 9, decimals=2, sign="trailing", fill=" "),
    "trailing left": spec("integer", 7, sign="trailing", align="left"),
    "plus": spec("integer", 7, plus=True),
    "plus blanks": spec("decimal", 8, decimals=2, plus=True, fill=" "),
    "plus trailing": spec("integer", 7, sign="trailing", plus=True),
    "decimal": spec("decimal", 12, decimals=2),
    "decimal 17": spec("decimal", 17, decimals=4),
    "decimal left": spec("decimal", 20, decimals=2, align="left", empty="spaces"),
    "overpunched": spec("decimal", 8, decimals=2, sign="overpunched"),
    "overpunched blanks": spec("integer", 6, sign="overpunched", fill=" "),
    "zoned": spec("integer", 7, sign="zoned"),
    "packed": spec("decimal", 5, decimals=2, usage="packed"),
    "packed unsigned": spec("integer", 3, usage="packed", sign="none"),
    "packed wide": spec("integer", 10, usage="packed"),
    "binary 1": spec("integer", 1, usage="binary"),
    "binary 2": spec("integer", 2, usage="binary"),
    "binary 4": spec("decimal", 4, decimals=3, usage="binary"),
    "binary 8": spec("integer", 8, usage="binary"),
    "binary unsigned": spec("integer", 4, usage="binary", sign="none"),
    "binary 8 unsigned": spec("integer", 8, usage="binary", sign="none"),
    "date": spec("date", 8),
    "date zeros": spec("date", 8, empty="zeros"),
    "date short": spec("date", 6),
    "date century": spec("date", 6, century=20),
    "date of year": spec("date", 7),
    "date short of year": spec("date", 5),
    "date dashed": spec("date", 10),
    "date day first": spec("date", 8, form="DDMMYYYY"),
    "date wide": spec("date", 17, align="right", accepts=("YYMMDD",)),
    "date wide left": spec("date", 12),
    "time": spec("time", 6),
    "time short": spec("time", 4),
    "time zeros": spec("time", 6, empty="zeros"),
    "timestamp": spec("timestamp", 14),
    "timestamp short": spec("timestamp", 12),
}
NEAR = {  # what mutants are made of
    "text": LETTERS + "\t\n\x00\x7f\x85",
    "number": "0123456789 +-{}ABJRpqyx*",
    "moment": "0123456789 -:/",
}


def group(f: FieldSpec) -> str:
    if f.type in ("integer", "decimal"):
        return "number"
    return "moment" if f.type in ("date", "time", "timestamp") else "text"


def value(f: FieldSpec, random: Random, letters: str) -> Any:
    """A value, most often one that fits."""
    if random.random() < 0.1:
        return None
    match f.type:
        case "integer" | "decimal":
            size = random.randrange(10 ** min(random.randrange(1, min(f.digits, 18) + 2), 18))
            whole = -size if random.random() < 0.3 else size
            return Decimal(whole).scaleb(-f.decimals) if f.type == "decimal" else whole
        case "date" | "time" | "timestamp":
            days = random.randrange(-719_162, 2_932_896) if random.random() < 0.1 else random.randrange(-25_000, 45_000)
            at = dt.datetime(1970, 1, 1) + dt.timedelta(days=days, seconds=random.randrange(86_400))  # noqa: DTZ001
            at = at.replace(second=0) if "ss" not in f.shape else at
            return {"date": at.date(), "time": at.time(), "timestamp": at}[f.type]
        case "boolean":
            return random.random() < 0.5
    if f.codes and random.random() < 0.9:
        return random.choice(f.codes)
    if f.check and random.random() < 0.9:
        born = dt.date(1900, 1, 1) + dt.timedelta(days=random.randrange(45_000))
        return number(born, random.randrange(980, 1000), coordination=random.random() < 0.2)
    alphabet = "0123456789" if f.type == "digits" else letters
    length = min(f.length, 12) + (random.random() < 0.05)
    return "".join(random.choice(alphabet) for _ in range(random.randrange(1, length + 1))).strip() or None


def cell(f: FieldSpec, encoding: str, random: Random, letters: str) -> bytes:
    """A field's bytes: as the reference writes a value, or a few bytes away from it, or anything."""
    pick = random.random()
    if pick < 0.02:
        return random.randbytes(f.length)
    try:
        data = bytearray(reference.write(f, value(f, random, letters), encoding))
    except reference.Refused:
        data = bytearray(reference.encode(" " * f.length, encoding))
    if pick < 0.3:
        near = [c for c in NEAR[group(f)] if _can(c, encoding)]
        for _ in range(random.randrange(1, 3)):
            data[random.randrange(len(data))] = reference.byte(random.choice(near), encoding)[0]
    return bytes(data)


def _can(character: str, encoding: str) -> bool:
    try:
        return len(reference.byte(character, encoding)) == 1
    except UnicodeEncodeError:
        return False


def encodings_of(name: str) -> tuple[str, ...]:
    """Text in every encoding; numbers and dates, which have plain digits everywhere, in one of each family."""
    return SINGLE if group(SPECS[name]) == "text" else ("iso8859-1", "cp278", "cp1143", "cp437")


CASES = [(name, encoding) for name in SPECS for encoding in encodings_of(name)]


@pytest.mark.parametrize(("name", "encoding"), CASES)
def test_a_column_is_read_as_the_reference_reads_its_fields(name: str, encoding: str) -> None:
    f, page = SPECS[name], codepage(encoding)
    random = Random(f"{name} {encoding}")
    letters = "".join(c for c in LETTERS if _can(c, encoding))
    data = [cell(f, encoding, random, letters) for _ in range(EACH)]
    block = np.frombuffer(b"".join(data), np.uint8).reshape(EACH, f.length)
    plain = block if f.usage != "display" else np.frombuffer(block.tobytes().translate(page.plain), np.uint8)
    column = cells.read(Cells((f,), EACH, plain.copy()), page, lambda row: data[row])
    rules: dict[int, set[str]] = defaultdict(set)
    for fault in column.faults:
        for row in fault.rows.tolist():
            rules[row].add(fault.rule)
    found = column.values.to_pylist()
    if f.type in ("text", "digits"):
        where = {(fault.rule, row, int(place)) for fault in column.faults if fault.exact and fault.within is not None
                 for row, place in zip(fault.rows.tolist(), fault.within, strict=True)}  # fmt: skip
        assert where == {(rule, row, place) for row, raw in enumerate(data)
                         for rule, place in reference.places(f, raw, encoding)}  # fmt: skip
    for row, raw in enumerate(data):
        wanted, broken = reference.read(f, raw, encoding)
        assert rules[row] == broken, (raw, found[row])
        if not broken & {"not_a_number", "not_a_date", "overflow", "sign"} or f.type in ("text", "digits"):
            assert found[row] == wanted, raw
        else:
            assert found[row] is None, raw


@pytest.mark.parametrize(("name", "encoding"), CASES)
def test_a_column_is_written_as_the_reference_writes_its_values(name: str, encoding: str) -> None:
    f, page = SPECS[name], codepage(encoding)
    random = Random(f"{encoding} {name}")
    values = [v for v in (value(f, random, LETTERS) for _ in range(EACH)) if v is not None]
    written = writing.write((f,), pa.array(values, arrow_type(f)), page, {})
    rules: dict[int, set[str]] = defaultdict(set)
    for fault in written.faults:
        for row in fault.rows.tolist():
            rules[row].add(fault.rule)
    out = written.cells[0].tobytes().translate(page.back)
    refused, broken = 0, []
    for row, v in enumerate(values):
        try:
            wanted = reference.write(f, v, encoding)
        except reference.Refused as reason:
            refused += 1
            broken.append((row, str(reason)))
            continue
        assert not rules[row], v
        assert out[row * f.length : (row + 1) * f.length] == wanted, v
    assert refused < len(values)
    for row, rule in broken:
        assert rule in rules[row], values[row]


@pytest.mark.parametrize("sign", ["leading", "trailing", "none"])
@pytest.mark.parametrize("text", ["-", "+", "- ", " -", "-  ", "  -"])
def test_a_sign_alone_is_no_number(sign: str, text: str) -> None:
    if sign == "trailing" and len(text) < 2:
        text += " "
    f, data = spec("integer", len(text), sign=sign), text.encode()
    there = Cells.of((f,), np.frombuffer(data, np.uint8).reshape(1, -1))
    column = cells.read(there, codepage("iso8859-1"), lambda _: data)
    assert ([x.rule for x in column.faults], column.values.null_count) == (["not_a_number"], 1)


@pytest.mark.parametrize("sign", ["leading", "none"])
def test_a_wrong_half_byte_is_found_in_its_byte(sign: str) -> None:
    f = spec("integer", 3, usage="packed", sign=sign)
    sound = "12345f"
    for place in range(6):
        for half in "0123456789abcdef":
            data = bytes.fromhex(sound[:place] + half + sound[place + 1 :])
            there = Cells.of((f,), np.frombuffer(bytes.fromhex(sound) + data, np.uint8).reshape(2, 3))
            column = cells.read(there, codepage("cp278"), lambda _, data=data: data)
            wanted, rules = reference.read(f, data, "cp278")
            assert column.values.to_pylist() == [12345, wanted]
            assert {(x.rule, *x.rows) for x in column.faults} == {(rule, 1) for rule in rules}
            assert [x.within for x in column.faults if x.rule == "not_a_number"] == [[place // 2]] * (
                "not_a_number" in rules
            )


def test_a_number_of_more_than_eighteen_digits_is_none_at_either_end() -> None:
    for kind, sign in (("decimal", "leading"), ("integer", "none"), ("integer", "leading")):
        f = spec(kind, 8, usage="binary", sign=sign)
        top = 2**64 if sign == "none" else 2**63
        numbers = [10**18 - 1, 10**18, 10**18 + 1, top - 1, 0, 1]
        numbers += [] if sign == "none" else [-(10**18) + 1, -(10**18), -(10**18) - 1, -top, 1 - top, -1]
        data = [n.to_bytes(8, "big", signed=sign != "none") for n in numbers]
        there = Cells.of((f,), np.frombuffer(b"".join(data), np.uint8).reshape(-1, 8))
        column = cells.read(there, codepage("cp278"), data.__getitem__)
        assert column.values.to_pylist() == [reference.read(f, raw, "cp278")[0] for raw in data]
        faults = {(x.rule, row) for x in column.faults for row in x.rows.tolist()}
        assert faults == {(r, row) for row, raw in enumerate(data) for r in reference.read(f, raw, "cp278")[1]}


YEARS = ("0000", "0001", "1899", "1900", "1949", "1950", "2000", "2023", "2024", "2049", "2050", "2100", "9999")
DAYS = [f"{m:02}{d:02}" for m in range(15) for d in (0, 1, 28, 29, 30, 31, 32, 99)]
CLOCK = [f"{h}{m}{s}" for h in ("00", "09", "23", "24", "60") for m in ("00", "59", "60") for s in ("00", "59", "60")]


@pytest.mark.parametrize(
    ("kind", "form", "texts"),
    [
        ("date", "YYYYMMDD", [y + d for y in YEARS for d in DAYS]),
        ("date", "YYMMDD", [f"{y:02}{d}" for y in range(100) for d in ("0229", "1231", "0100")]),
        ("date", "YYYYDDD", [f"{y}{d:03}" for y in YEARS for d in (0, 1, 59, 60, 365, 366, 367, 999)]),
        (
            "date",
            "YYYY-MM-DD",
            [f"{y}{a}{m}{b}31" for y in YEARS for m in ("01", "02") for a in "-./ 0" for b in "-/:"],
        ),
        ("time", "hhmmss", CLOCK),
        ("time", "hhmm", [c[:4] for c in CLOCK]),
        ("time", "hh:mm:ss", [f"{c[:2]}{a}{c[2:4]}{b}{c[4:]}" for c in CLOCK for a in ":;" for b in ":9"]),
        ("timestamp", "YYYYMMDDhhmmss", [y + d + c for y in YEARS[4:7] for d in DAYS[::7] for c in CLOCK]),
    ],
)
def test_dates_and_times_at_their_limits_are_read_and_written_as_the_reference_has_them(
    kind: str, form: str, texts: list[str]
) -> None:
    for century in (50, 99) if "YYYY" not in form and "YY" in form else (50,):
        f = spec(kind, len(form), form=form, century=century)
        block = np.frombuffer("".join(texts).encode(), np.uint8).reshape(len(texts), -1)
        column = cells.read(Cells.of((f,), block), codepage("iso8859-1"), lambda row: texts[row].encode())
        wanted = [reference.read(f, text.encode(), "iso8859-1") for text in texts]
        assert column.values.to_pylist() == [v for v, _ in wanted]
        wrong = [row for fault in column.faults for row in fault.rows.tolist()]
        assert sorted(wrong) == [row for row, (_, rules) in enumerate(wanted) if rules]
        there = [(v, text) for (v, _), text in zip(wanted, texts, strict=True) if v is not None]
        back = writing.write((f,), pa.array([v for v, _ in there], arrow_type(f)), codepage("iso8859-1"), {})
        assert (back.cells[0].tobytes().decode(), back.faults) == ("".join(text for _, text in there), [])


def test_a_year_of_two_digits_is_written_only_if_it_is_read_as_the_same() -> None:
    for century in (0, 50, 99):
        f = spec("date", 6, century=century)
        days = [dt.date(year, month, 28) for year in range(1850, 2151) for month in (1, 12)]
        made = writing.write((f,), pa.array(days), codepage("iso8859-1"), {})
        refused = {row for fault in made.faults for row in fault.rows.tolist()}
        assert [row for row, day in enumerate(days) if row not in refused] == [
            row for row, day in enumerate(days) if 1900 + century <= day.year < 2000 + century
        ]


def test_plain_bytes_are_a_translation_that_can_be_undone() -> None:
    for encoding in SINGLE:
        page = codepage(encoding)
        assert sorted(page.back) == list(range(256))
        assert bytes(page.back[b] for b in page.home) == bytes(range(256))
        for b in range(256):
            point = int(page.letters[b])
            if point == UNDEFINED:
                assert page.plain[b] == page.special
            elif page.bytes[point] == b:
                assert page.back[page.coded[point]] == b
                assert page.plain[b] == (point if point < 256 else page.special)
