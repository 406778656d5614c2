"""Tables of records (``parse`` and ``render``) where they are odd: kept bytes, changed rows, broken tables."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from slussen.errors import CallError
from slussen.tools import tables
from tests.commands import runner, spoiled, written

BLOCKS = """format: vb
title: Made up
version: 1
status: assumed
source: made up for a test
kind: fixed
usual: {encoding: cp278, frame: vb}
records:
  h: {when: {kind: H}, length: 6, place: first, fields: {kind: [1, 1, text], name: [2, 5, text, {align: right}]}}
  d: {when: {kind: D}, length: 4, fields: {kind: [1, 1, text], amount: [2, 3, integer]}}
  t: {when: {kind: T}, length: 3, place: last, fields: {kind: [1, 1, text], n: [2, 2, integer]}}
totals:
  t.n: {count: d}
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    return runner(monkeypatch, capfdbinary)


def layout(folder: Path, text: str) -> Path:
    file = folder / f"{text.split()[1]}.yaml"
    file.write_text(text)
    return file


def described(*records: bytes) -> bytes:
    return b"".join((len(r) + 4).to_bytes(2, "big") + b"\0\0" + r for r in records)


def changed(table: Path, change: Callable[[list[Any]], Any]) -> Path:
    """The table with its rows changed."""
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    change(rows)
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


# --- records' own bytes

LINES = ("HAnna ", "D001", "D 02", "T02")  # the name to the left, an amount with a blank: not as we would write them


@pytest.fixture(params=["rdw", "vb", "lf"])
def kept(run: Any, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path, Path, str]:
    """A layout, a file by it, the table of it with each record's own bytes, and how its records are divided."""
    by, file, table = layout(tmp_path, BLOCKS), tmp_path / "file", tmp_path / "t.jsonl"
    records = [line.encode("cp037") for line in LINES]
    data = described(*records)
    if request.param == "vb":
        data = described(data)
    if request.param == "lf":
        data = b"".join(r + b"\x25" for r in records)
    file.write_bytes(data)
    ran = run("parse", file, "-l", by, "--frame", request.param, "--raw", "-o", table)
    assert ran.code == 0, ran.err
    assert "not canonical" in ran.err
    return by, file, table, request.param


def test_records_that_were_kept_are_written_divided_as_the_frame_says(run: Any, tmp_path: Path, kept: Any) -> None:
    by, file, table, frame = kept
    ran = run("render", table, "-l", by, "--frame", frame, "-o", tmp_path / "back")
    assert ran.code == 0, ran.err
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_a_row_without_its_bytes_is_written_anew_among_those_that_were_kept(
    run: Any, tmp_path: Path, kept: Any
) -> None:
    by, file, table, frame = kept
    changed(table, lambda rows: rows[2].pop("raw"))
    assert run("render", table, "-l", by, "--frame", frame, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back").read_bytes() == file.read_bytes().replace(b"\xc4\x40\xf0\xf2", b"\xc4\xf0\xf0\xf2")


def test_a_kept_total_that_no_longer_holds_is_found(run: Any, tmp_path: Path, kept: Any) -> None:
    by, _, table, frame = kept
    changed(table, lambda rows: rows.pop(1))
    ran = run("render", table, "-l", by, "--frame", frame, "-o", tmp_path / "back", "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"control_total": 1})
    assert not (tmp_path / "back").exists()
    changed(table, lambda rows: [row.pop("raw") for row in rows])
    assert run("render", table, "-l", by, "--frame", frame, "-o", tmp_path / "back").code == 0, "and is computed anew"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("amount", 7, "raw"),
        ("raw", "zz", "raw"),
        ("raw", "c4f0f0", "record_length"),
        ("raw", "c4f0f0c1", "not_a_number"),
    ],
)
def test_kept_bytes_that_say_something_else_or_nothing_are_refused(
    run: Any, tmp_path: Path, kept: Any, name: str, value: Any, rule: str
) -> None:
    by, _, table, frame = kept
    changed(table, lambda rows: rows[1].update({name: value}))
    ran = run("render", table, "-l", by, "--frame", frame, "-o", tmp_path / "back", "--json")
    assert ran.code == 1, ran.err
    assert ran.json["counts"][rule] == 1
    assert all(f["record"] == 2 for f in ran.json["findings"])


def test_rows_that_have_nothing_but_their_bytes_are_written(run: Any, tmp_path: Path, kept: Any) -> None:
    by, file, table, frame = kept
    changed(table, lambda rows: [row.pop(k) for row in rows for k in set(row) - {"record_type", "raw"}])
    assert run("render", table, "-l", by, "--frame", frame, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_delimited_rows_keep_their_lines_and_bad_hex_is_found(run: Any, tmp_path: Path) -> None:
    file, table = written("ergo", tmp_path), tmp_path / "t.jsonl"
    assert run("parse", file, "-l", "ergo", "--raw", "-o", table).code == 0
    assert run("render", table, "-l", "ergo", "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    changed(table, lambda rows: rows[0].update(raw="x"))
    ran = run("render", table, "-l", "ergo", "-o", tmp_path / "back", "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"raw": 1})


# --- where a record's type has no field


def heads(file: Path) -> list[int]:
    """Where LG04's H lines begin."""
    data = file.read_bytes()
    return [at for at in range(0, len(data), 1906) if data[at : at + 1] == b"1"]


@pytest.mark.parametrize("more", [False, True], ids=["alone", "beside a field that is not canonical"])
def test_what_stands_in_another_line_types_field_is_counted_by_its_place(run: Any, tmp_path: Path, more: bool) -> None:
    file = written("agresso_lg04", tmp_path)
    first, second = heads(file)[:2]
    odd = [(first + 1, b"JUNKACCT"), (first + 204, b"9999"), (second + 1, b"X")]
    if more:
        odd.append((first + 209, b"       1"))  # the customer's number with blanks before it
    ran = run("parse", spoiled(file, *odd), "-l", "agresso_lg04", "--json", "-o", tmp_path / "t.jsonl")
    assert ran.code == 0
    told = json.loads(ran.err)["uncanonical"]
    assert told == {"account (not on H)": 2, "amount (not on H)": 1} | ({"apar_id": 1} if more else {})


def test_a_filler_that_is_not_blank_is_counted(run: Any, tmp_path: Path) -> None:
    file = written("a02", tmp_path)
    bad = spoiled(file, (199, b"0"))
    ran = run("parse", bad, "-l", "a02", "--json", "-o", tmp_path / "t.jsonl")
    assert (ran.code, json.loads(ran.err)["uncanonical"]) == (0, {"filler": 1})


@pytest.mark.parametrize(
    ("byte", "encoding", "rule"),
    [(b"\x81", "cp1252", "undefined_byte"), (b"\x81", "iso8859-1", "control_character"),
     (b"\x00", "iso8859-1", "control_character"), (b"\xff", "utf-8", "undefined_byte")],
)  # fmt: skip
def test_what_is_no_letter_is_a_fault_where_there_is_no_field_too(
    run: Any, tmp_path: Path, byte: bytes, encoding: str, rule: str
) -> None:
    (tmp_path / "gap.yaml").write_text(GAP)
    (tmp_path / "file").write_bytes(b"Habc  xyz\nD   12xyz\nH" + b"abc" + byte + b" xyz\n")
    ran = run("parse", tmp_path / "file", "-l", tmp_path / "gap.yaml", "-e", encoding, "--json")
    [found] = [f for f in json.loads(ran.err)["findings"] if f["rule"] != "wrong_encoding"]
    assert ran.code == 1
    assert (found["rule"], found["record"], found["field"], found["column"], found["offset"], found["byte"]) == (
        rule, 3, "amount", 5, 24, byte.hex())  # fmt: skip


GAP = """format: gap
title: Made up
version: 1
status: assumed
source: made up for a test
kind: fixed
usual: {encoding: iso8859-1, frame: lf}
length: 9
records:
  H: {when: {kind: H}}
  D: {when: {kind: D}}
fields:
  kind: [1, 1, text]
  name: [2, 3, text, {only: H}]
  amount: [5, 2, text, {only: D}]
  rest: [7, 3, text]
"""


def test_what_is_wrong_is_not_said_to_read_well(run: Any, tmp_path: Path) -> None:
    (tmp_path / "gap.yaml").write_text(GAP.replace("[5, 2, text", "[5, 2, integer"))
    (tmp_path / "file").write_bytes(b"D   1xxyz\nD    2xyz\nD   03xyz\n")
    ran = run("parse", tmp_path / "file", "-l", tmp_path / "gap.yaml", "--json")
    told = json.loads(ran.err)
    assert (ran.code, told["counts"], told["uncanonical"]) == (1, {"not_a_number": 1}, {"amount": 1})


# --- from where, and to where


def test_a_table_may_take_the_place_of_the_file_that_it_was_read_from(run: Any, tmp_path: Path) -> None:
    file, table = written("a02", tmp_path), tmp_path / "t.jsonl"
    assert run("parse", file, "-l", "a02", "-o", table).code == 0
    ran = run("parse", file, "-l", "a02", "-o", file)
    assert ran.code == 0, ran.err
    assert "not canonical" not in ran.err
    assert file.read_bytes() == table.read_bytes()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a02.txt", "t.jsonl"]


def test_a_parse_that_fails_leaves_what_was_there(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, table = written("a02", tmp_path), tmp_path / "t.csv"
    table.write_text("before")

    def breaks(*_: Any) -> Any:
        raise CallError("broken")

    monkeypatch.setattr(tables.Table, "_compare", breaks)
    assert run("parse", file, "-l", "a02", "--to", "csv", "-o", table).code == 2
    assert table.read_text() == "before"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a02.txt", "t.csv"]


@pytest.fixture
def slussen() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """The command in a shell, with what the words are called in it."""

    def runs(script: str, **names: object) -> subprocess.CompletedProcess[bytes]:
        words = {name: str(value) for name, value in names.items()}
        slussen = f'slussen() {{ "{sys.executable}" -m slussen.cli "$@"; }}\n'
        return subprocess.run(
            ["bash", "-c", slussen + script], env=os.environ | words, capture_output=True, timeout=120
        )

    return runs


def test_streams_are_read_and_written(slussen: Any, tmp_path: Path) -> None:
    file = written("a02", tmp_path)
    ran = slussen(
        'cat "$F" | slussen parse - -l a02 -q | slussen render - -l a02 -o - |'
        ' slussen convert /dev/stdin - --from cp1252 --to utf-8 | tee "$O" |'
        ' slussen convert - "$O.back" --from utf-8 --to cp1252',
        F=file, O=tmp_path / "out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out").read_bytes() == file.read_bytes().decode("cp1252").encode()
    assert (tmp_path / "out.back").read_bytes() == file.read_bytes()
    ran = slussen(
        'slussen diff <(cat "$F") "$F" -l a02 &&'
        ' slussen render <(slussen parse <(cat "$F") -l a02 --to parquet) -l a02 -o /dev/stdout | cmp - "$F"',
        F=file,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_directory_is_called_one(run: Any, tmp_path: Path) -> None:
    for words in (
        ("parse", tmp_path, "-l", "a02"),
        ("peek", tmp_path),
        ("convert", tmp_path, "x", "--from", "cp437", "--to", "cp1252"),
        ("render", tmp_path, "-l", "a02", "-o", tmp_path / "x"),
    ):
        ran = run(*words)
        assert (ran.code, "is a directory" in ran.err) == (2, True), ran.err


# --- tables that are none


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("t.parquet", b"PAR1 and nothing else", "no sound parquet"),
        ("t.parquet", b"", "no sound parquet"),
        ("t.csv", b"kind,name\nH,abc\nH,abc,def\n", "row 3: 3 columns where the first line has 2"),
        ("t.csv", b"kind,name\nH,abc\nH,\xe5bc\n", "row 3: it is not UTF-8"),
        ("t.csv", b'kind,name\nH,"abc\n', "line 2: a quote that is not closed"),
        ("t.csv", b'kind,name\nH,"a\nb"\nH,"abc"d\n', "line 4: a quote that is not closed, or stands in the middle"),
        ("t.csv", b'kind,name\nH,a"bc\n', "line 2: a quote that"),
        ("t.jsonl", b'{"kind": "H", "name": "abc", "kind": "D"}\n', "line 1 has a field twice"),
        ("t.jsonl", b'{"kind": "H", "name": ["abc"]}\n', "line 1 has a value within another"),
        ("t.jsonl", b'{"kind": "H", "name": NaN}\n', "line 1 has NaN, which JSON has not"),
        (
            "t.jsonl",
            b'{"record_type": "H", "kind": "H"}\n{"kind": "H", "name": "\xe5"}\n',
            "line 2 has byte e5 at 24",
        ),
        ("t.jsonl", b'{"kind": "H", "name": "\\ud800"}\n', "line 1 has half a letter"),
        ("t.jsonl", b"[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_what_is_no_table_is_told_in_a_line(run: Any, tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "gap.yaml").write_text(GAP)
    ran = run("render", tmp_path / name, "-l", tmp_path / "gap.yaml", "-o", tmp_path / "out")
    assert ran.code == 1
    assert says in ran.err
    assert ran.err.count("\n") == 2
    assert "abc" not in ran.err
    assert not (tmp_path / "out").exists()


def test_a_table_of_other_columns_is_no_table_of_the_layouts(run: Any, tmp_path: Path) -> None:
    by = layout(tmp_path, GAP)
    for data, says in ((b"kind,kind\nH,abc\n", "there twice: kind"), (b"kind,other\nH,abc\n", "doesn't have: other")):
        (tmp_path / "t.csv").write_bytes(data)
        ran = run("render", tmp_path / "t.csv", "-l", by, "-o", tmp_path / "out")
        assert (ran.code, says in ran.err, ran.err.count("\n")) == (2, True, 1)


# --- values that are none

TYPED = """format: typed
title: Made up
version: 1
status: assumed
source: made up for a test
kind: delimited
usual: {encoding: cp1252, frame: lf}
separator: ";"
records:
  r: {}
fields:
  i: [1, 19, integer, {empty: spaces}]
  d: [2, 9, decimal, {decimals: 2, empty: spaces}]
  dt: [3, 8, date]
  t: [4, 6, time]
  ts: [5, 14, timestamp]
  b: [6, 1, boolean, {values: [J, "N"]}]
  x: [7, 20, text]
"""
GOOD = {
    "i": ["5", "-7", "007", "9223372036854775807"], "d": ["12.34", "-1.5", "1.500", "1e2", "1e-2", ".5"],
    "dt": ["2024-02-29"], "t": ["23:59:59", "00:00:00"],
    "ts": ["2024-02-29T23:59:59", "2024-02-29 23:59:59", "2024-02-29"], "b": ["true", "false"], "x": ["0x10", "NaN"],
}  # fmt: skip
BAD = {
    "i": ["0x10", " 5", "1.5", "1e3", "9223372036854775808", "5.0"], "d": ["12.345", "0x1", "NaN", "99999999999999999"],
    "dt": ["2024-02-30", "20240229", "2024-02-29T10:00:00"], "t": ["23:59:60", "24:00:00", "1:02:03", "10:00:00.5"],
    "ts": ["2024-02-29T10:00:00Z", "2024-02-29T10:00:00.5", "2024-02-29T24:00:00", "2024-02-29T10:00:60"],
    "b": ["yes", "2"],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_all_values_of_a_table_that_are_none_of_their_fields_are_found(run: Any, tmp_path: Path, kind: str) -> None:
    by, table = layout(tmp_path, TYPED), tmp_path / f"t.{kind}"

    def render(rows: list[tuple[str, str]]) -> Any:
        if kind == "jsonl":
            table.write_text("".join(json.dumps({name: value}) + "\n" for name, value in rows))
        else:
            names = list(GOOD)
            lines = [",".join(value if n == name else "" for n in names) for name, value in rows]
            table.write_text("\n".join([",".join(names), *lines]) + "\n")
        return run("render", table, "-l", by, "-o", tmp_path / "out", "--json")

    ran = render([(name, value) for name, values in GOOD.items() for value in values])
    assert (ran.code, ran.json["findings"]) == (0, [])
    bad = [(name, value) for name, values in BAD.items() for value in values]
    ran = render([("x", "fine"), *bad])
    told = sorted((f["record"], f["field"]) for f in ran.json["findings"])
    assert (ran.code, told) == (1, [(k, name) for k, (name, _) in enumerate(bad, 2)])
    assert not [value for _, value in bad if len(value) > 3 and value in ran.out]


def test_numbers_of_json_are_read_as_they_are_written(run: Any, tmp_path: Path) -> None:
    by, table = layout(tmp_path, TYPED), tmp_path / "t.jsonl"
    table.write_text(
        '{"i": 5, "d": 12.34, "b": true}\n{"d": 1.0000000000000000000001}\n{"i": 5.0}\nbroken\n{"i": 1e1}\n'
    )
    found = run("render", table, "-l", by, "-o", tmp_path / "out", "--json").json["findings"]
    told = sorted((f.get("record", 0), f.get("field", ""), f["rule"]) for f in found)
    assert told == [(0, "", "table"), (2, "d", "not_a_number"), (3, "i", "not_a_number"), (5, "i", "not_a_number")]


@pytest.mark.parametrize(
    ("name", "values", "wrong"),
    [
        ("d", pa.array([12.34, 12.345, 1.005, 5.0, None]), [2, 3]),
        ("i", pa.array([5.0, 5.5, None]), [2]),
        ("i", pa.array([Decimal("5"), Decimal("-7")], pa.decimal128(9, 0)), []),
        ("d", pa.array([Decimal("1.2300"), Decimal("1.2340")]), [2]),
        ("dt", pa.array(["2024-01-02", "2024-01-02 23:59"]).cast(pa.timestamp("us")), [2]),
        ("dt", pa.array([20240101], pa.int32()), [1]),
        ("t", pa.array([3_600_000_000, 3_600_500_000], pa.time64("us")), [2]),
        ("ts", pa.array([dt.datetime(2024, 1, 2, tzinfo=dt.UTC)], pa.timestamp("s", "UTC")), [1]),
        ("ts", pa.array([0], pa.int64()), [1]),
        ("x", pa.array([["a"], None]), [1]),
        ("x", pa.array(["a", "b"]).dictionary_encode(), []),
    ],
)
def test_a_parquet_column_of_another_type_is_read_exactly_or_not_at_all(
    run: Any, tmp_path: Path, name: str, values: pa.Array, wrong: list[int]
) -> None:
    by, table = layout(tmp_path, TYPED), tmp_path / "t.parquet"
    parquet.write_table(pa.table({name: values}), table)
    ran = run("render", table, "-l", by, "-o", tmp_path / "out", "--json")
    assert [(f["record"], f["field"]) for f in ran.json["findings"]] == [(n, name) for n in wrong]


def test_rows_without_a_column_are_findings_too(run: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n{}\n")
    ran = run("render", tmp_path / "rows.jsonl", "--layout", "a02", "-o", tmp_path / "out", "--json")
    assert ran.code == 1
    assert "record_type" in ran.out + ran.err


def test_rows_of_unknown_types_only_are_findings(run: Any, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"record_type": "zzz"}\n' * 3)
    ran = run("render", tmp_path / "t.jsonl", "-l", layout(tmp_path, BLOCKS), "-o", tmp_path / "out", "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"record_type": 3})
    assert not (tmp_path / "out").exists()


# --- delimited records' own lines

LINES_OF = """format: lines_of
title: Made up
version: 1
status: assumed
source: made up for a test
kind: delimited
usual: {encoding: cp1252, frame: lf}
separator: ";"
records:
  r: {}
fields:
  a: [1, 20, text]
  b: [2, 20, text, {personal: true}]
"""
WITHIN = 'Åsa;"x\ny"\nb;"y;""z"\nc;\n'


def encoded(text: str, encoding: str) -> bytes:
    """In EBCDIC a line ends with 25."""
    return text.encode(encoding).replace(b"\x15", b"\x25") if encoding == "cp278" else text.encode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "cp437", "cp278"])
def test_delimited_records_keep_their_own_bytes_in_any_encoding(run: Any, tmp_path: Path, encoding: str) -> None:
    by, file, table, back = layout(tmp_path, LINES_OF), tmp_path / "file", tmp_path / "t.jsonl", tmp_path / "back"
    file.write_bytes(encoded(WITHIN, encoding))
    ran = run("parse", file, "-l", by, "-e", encoding, "--raw", "-o", table)
    assert (ran.code, "nothing is wrong" in ran.err, "canonical" in ran.err) == (0, True, False), ran.err
    own = [bytes.fromhex(json.loads(line)["raw"]) for line in table.read_text().splitlines()]
    assert own == [encoded(line, encoding) for line in ('Åsa;"x\ny"', 'b;"y;""z"', "c;")]
    assert run("render", table, "-l", by, "-e", encoding, "-o", back).code == 0
    assert back.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (lambda r: r.update(b="other"), {"raw": 1}),
        (lambda r: r.update(raw=b"b;c\nd;e".hex()), {"raw": 1}),
        (lambda r: r.update(raw=b"b;c\n".hex()), {"raw": 1}),
        (lambda r: r.update(raw=b"b;c;d".hex()), {"field_count": 1}),
        (lambda r: r.update(raw=b'b;"y;""z"'.hex()), {}),
        (lambda r: (r.pop("a"), r.pop("b")), {}),
    ],
)
def test_a_delimited_row_says_what_its_kept_bytes_say(
    run: Any, tmp_path: Path, change: Any, rules: dict[str, int]
) -> None:
    by, file, table = layout(tmp_path, LINES_OF), tmp_path / "file", tmp_path / "t.jsonl"
    file.write_bytes(encoded(WITHIN, "cp1252"))
    assert run("parse", file, "-l", by, "--raw", "-o", table).code == 0
    changed(table, lambda rows: change(rows[1]))
    ran = run("render", table, "-l", by, "-o", tmp_path / "back", "--json")
    assert (ran.code, ran.json["counts"]) == (1 if rules else 0, rules), ran.err
    assert all(f["record"] == 2 for f in ran.json["findings"])


def test_kept_lines_stand_in_their_sections_and_without_the_line_of_names(run: Any, tmp_path: Path) -> None:
    for name in ("novaschem", "statistics"):
        file, table = written(name, tmp_path), tmp_path / "t.jsonl"
        assert run("parse", file, "-l", name, "--raw", "-o", table).code == 0
        ran = run("render", table, "-l", name, "-o", tmp_path / "back")
        assert ran.code == 0, ran.err
        assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_a_value_that_its_record_type_has_no_field_for_is_refused(run: Any, tmp_path: Path) -> None:
    by = layout(tmp_path, GAP)
    rows = [
        {"record_type": "H", "kind": "H", "name": "abc", "rest": "xyz"},
        {"record_type": "D", "kind": "D", "amount": "12"},
        {"record_type": "D", "kind": "D", "name": "abc", "amount": "12"},
        {"record_type": "H", "kind": "H", "amount": "12"},
    ]
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    ran = run("render", tmp_path / "t.jsonl", "-l", by, "-o", tmp_path / "out", "--json")
    told = [(f["rule"], f["record"], f["field"]) for f in ran.json["findings"]]
    assert (ran.code, told) == (1, [("no_field", 3, "name"), ("no_field", 4, "amount")])
