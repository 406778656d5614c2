"""Damaged files, read in blocks of any size: what is wrong is told as a slow reader of the whole file tells it."""

from __future__ import annotations

import io
import re
from random import Random
from typing import Any

import pytest

from slussen.errors import Findings
from slussen.records import frames, source
from slussen.records import layout as layouts
from slussen.records.convert import Converted
from slussen.records.layout import Layout
from tests import formats

Told = list[tuple[Any, ...]]
SIZES = [1, 3, 10, 57, 4 << 20]


@pytest.fixture(params=SIZES)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks of so many bytes."""
    monkeypatch.setattr(frames, "BLOCK", request.param)
    monkeypatch.setattr(frames, "SLACK", 8)
    monkeypatch.setattr(source.Source.read, "__defaults__", (request.param,))
    return int(request.param)


# --- lines of known lengths

EVEN = formats.make(length=4, fields={"a": [1, 4, "text"]})
UNEVEN = formats.make(length=6, records={
    "a": {"when": {"k": "A"}, "length": 4, "fields": {"k": [1, 1, "text"], "x": [2, 3, "text"]}},
    "b": {"when": {"k": "B"}, "fields": {"k": [1, 1, "text"], "x": [2, 5, "text"]}},
})  # fmt: skip


def lines_slowly(data: bytes, allowed: tuple[int, ...], *, crlf: bool) -> tuple[list[tuple[int, int]], Told]:
    """Numbers and places of the lines that are records, and what is wrong with the others."""
    read, wrong, at = [], list[tuple[Any, ...]](), 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        last = number == len(lines)  # what stands after the last line end
        body = line.removesuffix(b"\r")
        at_end = last or (number + 1 == len(lines) and not lines[-1])
        if (last and not line) or (at_end and body == b"\x1a"):
            continue
        if len(body) not in allowed:
            what = f"{len(body)} bytes where a record has {' or '.join(map(str, allowed))}"
            cut = last and len(body) < max(allowed)
            wrong.append(("truncated_file" if cut else "record_length", number, None, at, None,
                          what + ", and there the file ends" * cut))  # fmt: skip
        else:
            read.append((number, at))
            if (body != line) != crlf and not last:
                said, found = ("CRLF", "LF") if crlf else ("LF", "CRLF")
                wrong.append(("line_end", number, len(body) + 1, at + len(body), "0d" if found == "CRLF" else "0a",
                              f"the record ends with {found} where the frame says {said}"))  # fmt: skip
        at += len(line) + 1
    return read, wrong


@pytest.mark.parametrize("frame", ["lf", "crlf"])
@pytest.mark.parametrize(("layout", "allowed"), [(EVEN, (4,)), (UNEVEN, (4, 6))], ids=["even", "uneven"])
def test_lines_that_are_no_records_are_told_with_their_number_place_and_length(
    layout: Layout, allowed: tuple[int, ...], frame: str, blocks: int
) -> None:
    random = Random(f"{frame} {allowed}")
    usual = b"\r\n" if frame == "crlf" else b"\n"
    good = [b"Abcd"] if layout is EVEN else [b"Abcd", b"Bcdefg"]
    odd = [b"", b"A", b"Abc", b"Abcde", b"Abcdef", b"Abcdefg", b"A" * 12, b"A" * 13, b"A" * 14, b"A" * 40, b"\x1a"]
    for _ in range(150):
        data = b"".join(
            random.choice([*good * 9, *odd]) + (usual if random.random() < 0.9 else random.choice([b"\n", b"\r\n"]))
            for _ in range(random.randrange(6))
        )
        data += random.choice([b"", *good, b"Abc", b"Abcde", b"\x1a", b"\x1a" + usual, b"A" * 30])
        rows, findings, parsed = formats.parse(layout, data, "iso8859-1", frame)
        read, wrong = lines_slowly(data, allowed, crlf=frame == "crlf")
        rules = ("record_length", "truncated_file", "line_end")
        told = [
            (f.rule, f.record, f.column, f.offset, f.byte, f.message)
            for f in findings
            if f.rule in rules and "this record type" not in f.message
        ]
        assert sorted(told, key=lambda t: t[1]) == wrong, data
        assert [(r["record_no"], r["byte_offset"]) for r in rows] == read, data
        assert parsed.records == len(read) + len([w for w in wrong if w[0] != "line_end"])


@pytest.mark.parametrize("tail", [b"", b"\x1a", b"\x1a\x1a\x1a", b"A", b"Abc", b"\x1aA"])
def test_what_is_left_after_the_last_record_is_a_piece_of_one_unless_it_is_an_end_mark(
    tail: bytes, blocks: int
) -> None:
    for n in range(4):
        rows, findings, parsed = formats.parse(EVEN, b"Abcd" * n + tail, "iso8859-1", "fixed")
        cut = bool(tail.strip(b"\x1a"))
        wanted = [("truncated_file", n + 1, 4 * n)] if cut else [("empty_file", None, 0)] if not n else []
        assert [(f.rule, f.record, f.offset) for f in findings] == wanted
        assert [(r["record_no"], r["byte_offset"]) for r in rows] == [(k + 1, 4 * k) for k in range(n)]
        assert parsed.records == n + cut


# --- fields between separators

PARTED = formats.make(kind="delimited", separator=";", fields={c: [k, 9, "text"] for k, c in enumerate("abc", 1)})
RIGHT = re.compile(rb'[^"]*|"([^"]|"")*"')


def parted_slowly(data: bytes, *, crlf: bool) -> tuple[dict[int, list[str | None]], Told]:
    """The values of each sound record, and what is wrong with the others: letter by letter."""
    values: dict[int, list[str | None]] = {}
    wrong: Told = []
    quoted, pieces, start, number, first = False, list[tuple[int, bytes]](), 0, 1, 0
    for place in range(len(data) + 1):
        letter = data[place : place + 1]
        quoted ^= letter == b'"'
        if letter and (quoted or letter not in b";\n"):
            continue
        pieces.append((start, data[start:place]))
        start = place + 1
        if letter == b";":
            continue
        at, last = pieces[-1]
        body = last.removesuffix(b"\r")
        pieces[-1] = at, body
        if not letter and (first == place or [p for _, p in pieces] == [b"\x1a"]):
            break
        before = len(wrong)
        for at, piece in pieces:
            if not RIGHT.fullmatch(piece):
                wrong.append(("quote", number, at - first + 1, at))
        if len(pieces) != 3:
            wrong.append(("field_count", number, 1, first))
        if letter and (body != last) != crlf:
            wrong.append(("line_end", number, None, place - (body != last)))
        if len(wrong) == before:
            found = [p[1:-1].replace(b'""', b'"') if p.startswith(b'"') else p for _, p in pieces]
            values[first] = [number, *(p.decode("cp1252") or None for p in found)]  # type: ignore[list-item]
        pieces, first, number = [], start, number + 1
    return values, sorted(wrong, key=lambda w: (w[3], w[0]))


@pytest.mark.parametrize("frame", ["lf", "crlf"])
def test_fields_in_quotes_and_lines_with_too_many_of_them_are_told_with_record_and_column(
    frame: str, blocks: int
) -> None:
    random = Random(frame)
    usual = "\r\n" if frame == "crlf" else "\n"
    good = ["", "a", "bé", '"x;y"', '"l\nm"', '"q""r"', '""', '";"', '""""']
    odd = ['"', 'a"', 'a"b"', '"a"b', '"""', '"a""', "a;b", '"a";"', "\x1a"]
    for n in range(200):
        lines = []
        for _ in range(random.randrange(1, 6)):
            fields = [random.choice(good * 4 + odd if n % 2 else good) for _ in range(3)]
            if random.random() < 0.1:
                fields = fields[: random.randrange(4)]
            lines.append(";".join(fields) + (usual if random.random() < 0.9 else random.choice(["\n", "\r\n"])))
        data = "".join(lines).encode("cp1252") + random.choice([b"", b"", b"a;b;c", b'a;"b";"c"', b"\x1a", b'"'])
        rows, findings, parsed = formats.parse(PARTED, data, "cp1252", frame)
        values, wrong = parted_slowly(data, crlf=frame == "crlf")
        told = [
            (f.rule, f.record, f.column, f.offset) for f in findings if f.rule in ("quote", "field_count", "line_end")
        ]
        assert sorted(told, key=lambda w: (w[3], w[0])) == wrong, data
        assert {
            r["byte_offset"]: [r["record_no"], r["a"], r["b"], r["c"]] for r in rows if r["byte_offset"] in values
        } == values, data
        ended = data.endswith((b"\n", b"\n\x1a")) and data.count(b'"') % 2 == 0
        assert parsed.totals.get("unended", 0) == (not ended), data


# --- tagged lines

HEAD = b"#INFO_START\n#FILTYP UTFIL\n#INFO_SLUT\n#DATA_START\n"
TAIL = b"#DATA_SLUT\n#AVST_START\n#ANTAL_POSTER 00000003\n#AVST_SLUT\n#FIL_SLUT\n"
POST = [b"#POST_START", b"#UP 01001 198911222399", b"#UP 01014 Berg", b"#POST_SLUT"]
GROUP = [b"#UP 02000", b"#UP 02003 B", b"#UP 02999"]
STRAY = [b"", b"hej", b"#UP 01012 Bo", b"#UP 01012Bo", b"#UP 02003 B", b"#UP 02999", b"#POST_SLUT x", b"#POST_SLUT  ",
         b"#DATA_SLUTA", b"#UP 01003 X", b"#UP 01034 123456", b"#UP 01012 B\x07o", b"#FILTYP UTFIL"]  # fmt: skip
NAVET = layouts.load("navet_utfil")


def test_what_is_wrong_with_posts_is_told_with_the_same_records_whatever_blocks_they_come_in(blocks: int) -> None:
    random = Random(8)
    for _ in range(60):
        lines = []
        for _ in range(random.randrange(4)):
            post = POST[:-1] + GROUP * random.randrange(3) + POST[-1:]
            if random.random() < 0.2:
                del post[random.randrange(len(post))]
            lines += post
        for _ in range(random.randrange(4)):
            lines.insert(random.randrange(len(lines) + 1), random.choice(STRAY))
        data = HEAD + b"".join(line + b"\n" for line in lines) + random.choice([TAIL, TAIL, b"", b"#DATA_SLUT"])
        if random.random() < 0.2:
            data = data.replace(b"\n", b"\r\n", random.randrange(9))
        rows, findings, parsed = formats.parse(NAVET, data, "cp1252")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source.Source.read, "__defaults__", (4 << 20,))
            at_once, wanted, whole = formats.parse(NAVET, data, "cp1252")
        assert list(findings) == list(wanted), data
        assert in_order(rows) == in_order(at_once), data
        assert parsed.totals == whole.totals


def in_order(rows: list[formats.Row]) -> list[formats.Row]:
    return sorted(rows, key=lambda r: r["byte_offset"])


@pytest.mark.parametrize("kind", ["fixed", "delimited"])
def test_the_first_record_after_the_trailer_is_told_once(kind: str, blocks: int) -> None:
    more: dict[str, Any] = {"length": 2} if kind == "fixed" else {"separator": ";"}
    layout = formats.make(kind=kind, records={
        "row": {"when": {"k": "R"}}, "end": {"when": {"k": "E"}, "place": "last"}
    }, fields={"k": [1, 1, "text"], "x": [2, 1, "text"]}, **more)  # fmt: skip
    for kinds, record in (("RRE", None), ("RRER", 4), ("RERRRR", 3), ("EE", 2), ("RERE", 3)):
        data = "".join(f"{k}{'' if kind == 'fixed' else ';'}x\n" for k in kinds).encode()
        _, findings, _ = formats.parse(layout, data, "cp1252")
        wanted = [("after_trailer", record, data.index(b"\n") * (record - 1) + record - 1)] if record else []
        assert [(f.rule, f.record, f.offset) for f in findings] == wanted


# --- from one encoding to another


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("source_name", "target"), [("cp437", "cp1252"), ("cp1252", "iso8859-1"), ("utf-8", "cp1252"),
                                                     ("utf-8-sig", "iso8859-1"), ("cp1252", "utf-8")])  # fmt: skip
def test_what_cannot_be_converted_is_told_with_its_line_and_column_in_chunks_of_any_size(
    source_name: str, target: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slussen.records import convert

    monkeypatch.setattr(convert, "CHUNK", size)
    random = Random(f"{source_name} {target}")
    wide = source_name.startswith("utf-8")
    lacks = {"cp437": "░", "cp1252": "€" if target == "iso8859-1" else "", "utf-8": "漢😀", "utf-8-sig": "漢–😀"}
    for n in range(40):
        pieces: list[tuple[bytes, str | None]] = []  # bytes, and what is wrong with them
        for _ in range(random.randrange(30)):
            letter = random.choice("aåäö\nb\n" + lacks[source_name] * 2)
            pieces.append((letter.encode(source_name.removesuffix("-sig")),
                           "unmappable" if letter in lacks[source_name] else None))  # fmt: skip
            if random.random() < 0.1 and (wide or source_name == "cp1252"):
                pieces.append((b"\xff" if wide else b"\x81", "undefined_byte"))
        mark = b"\xef\xbb\xbf" if source_name == "utf-8-sig" and n % 2 else b""
        data = mark + b"".join(piece for piece, _ in pieces)
        wanted, at = [], len(mark)
        for piece, wrong in pieces:
            if wrong:
                start = data.rfind(b"\n", 0, at) + 1 or len(mark)
                line = data.count(b"\n", 0, at) + 1
                shown = piece if wrong == "unmappable" else piece[:1]
                wanted.append((wrong, f"line {line}", at - start + 1, at, shown.hex(" ")))
            at += len(piece)
        findings = Findings()
        made = Converted(io.BytesIO(data), source_name, target, findings)
        out = b"".join(made)
        found = [(f.rule, f.message.split(":")[0], f.column, f.offset, f.byte) for f in findings
                 if f.rule != "wrong_encoding"]  # fmt: skip
        assert sorted(found, key=lambda f: f[3] or 0) == wanted, data
        text = "".join("?" if wrong else piece.decode(source_name.removesuffix("-sig")) for piece, wrong in pieces)
        assert (out, made.bytes, made.written) == (text.encode(target), len(data), len(text.encode(target)))
