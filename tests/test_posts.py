"""Posts of a tagged file: what is wrong with how they are put together, each at its line."""

from __future__ import annotations

import pytest

from slussen.errors import CallError
from slussen.records import layout as layouts
from slussen.records.codepages import EBCDIC
from tests import formats

LAYOUT = layouts.load("navet_utfil")
HEAD = "#INFO_START\n#FILTYP UTFIL\n#INFO_SLUT\n#DATA_START\n"
ONE = "#POST_START\n#UP 01001 198911222399\n#UP 01014 Ängsvik\n"
RELATION = "#UP 02000\n#UP 02001 201204062390\n#UP 02003 B\n#UP 02999\n"
SHUT = "#POST_SLUT\n"


def file(data: str, posts: int) -> str:
    return f"{HEAD}{data}#DATA_SLUT\n#AVST_START\n#ANTAL_POSTER {posts:08}\n#AVST_SLUT\n#FIL_SLUT\n"


def read(data: str, posts: int = 1, encoding: str = "cp1252") -> tuple[list[formats.Row], list[tuple[str, str, int]]]:
    """The rows of the data, and each finding by rule, field and the line (from 1 in the data) where it stands."""
    whole = file(data, posts)
    rows, findings, _ = formats.parse(LAYOUT, whole.encode(encoding), encoding)
    found = []
    for f in findings:
        assert f.offset is not None
        found.append((f.rule, f.field, whole.encode(encoding)[len(HEAD) : f.offset].count(b"\n") + 1))
    return [r for r in rows if r["record_type"] in ("person", "relation", "medborgarskap")], found


@pytest.mark.parametrize("code", ["0\x00012", "0101x", "O1012", "0101/", "0101:", "/1012", ":1012"])
def test_a_code_that_is_no_number_is_told(code: str) -> None:
    _, found = read(ONE + f"#UP {code} Bo\n" + SHUT)
    assert found == [("unexpected_line", "", 4)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "cp437"])
def test_posts_and_their_groups_are_rows_in_any_encoding(end: str, encoding: str) -> None:
    data = ONE + RELATION + RELATION.replace(" B", " MO") + SHUT + ONE + SHUT + ONE + RELATION + SHUT
    rows, findings, _ = formats.parse(LAYOUT, file(data, 3).replace("\n", end).encode(encoding), encoding)
    assert not findings
    rows = [r for r in rows if r["record_type"] in ("person", "relation")]
    assert [(r["record_no"], r["record_type"], r["group_no"]) for r in rows] == [
        (1, "person", 0), (2, "person", 0), (3, "person", 0),
        (1, "relation", 1), (1, "relation", 2), (3, "relation", 1),
    ]  # fmt: skip
    assert [r["relationstyp"] for r in rows if r["record_type"] == "relation"] == ["B", "MO", "B"]
    assert {r["efternamn"] for r in rows if r["record_type"] == "person"} == {"Ängsvik"}


def test_a_byte_order_mark_stands_before_the_head_where_it_is_declared() -> None:
    data = file(ONE + SHUT, 1).encode("utf-8-sig")
    rows, findings, _ = formats.parse(LAYOUT, data, "utf-8-sig")
    assert not findings
    assert rows[0]["byte_offset"] == 3
    _, findings, _ = formats.parse(LAYOUT, data, "utf-8")
    assert [(f.rule, f.offset) for f in findings] == [("bom", 0)]


def test_a_term_that_few_posts_have_stands_in_its_own() -> None:
    rows, found = read(ONE + SHUT + ONE + "#UP 01012 Bo\n#UP 01081 G\n" + SHUT + ONE + "#UP 01081 OG\n" + SHUT, 3)
    assert not found
    assert [(r["fornamn"], r["civilstand"]) for r in rows] == [(None, None), ("Bo", "G"), (None, "OG")]


@pytest.mark.parametrize("nothing", [(), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", [f.name for f in LAYOUT.of("person") if f.type in ("text", "digits")])
def test_a_term_without_a_value_takes_none_from_another_person(name: str, nothing: tuple[int, ...]) -> None:
    """All posts have it, so that its values are a part of all terms' one after the other."""
    f = LAYOUT.field(name, "person")
    assert f is not None
    said = f.codes[0] if f.codes else f.length * "7"
    if f.check:
        said = "198911222399"
    elif f.like:
        said = f.like.replace("d", "7").replace("A", "K")
    base = "#POST_START\n" + "".join(
        f"#UP {code} {value}\n" for code, value in (("01001", "198911222399"), ("01014", "Berg")) if code != f.at
    )
    data = "".join(f"{base}#UP {f.at} {said if k not in nothing else ''}\n{SHUT}" for k in range(3))
    rows, findings = read(data, 3)
    assert [r[name] for r in rows] == [None if k in nothing else said for k in range(3)]
    assert {rule for rule, _, _ in findings} <= ({"required"} if f.required else set())
    others = {("personnummer", "198911222399"), ("efternamn", "Berg")}
    assert all(r[other] == value for r in rows for other, value in others if other != name and other in r)


@pytest.mark.parametrize(
    ("data", "posts", "wanted"),
    [
        (ONE + ONE + SHUT, 2, [("unclosed_record", "", 1)]),
        (ONE + SHUT + ONE, 2, [("unclosed_record", "", 5)]),
        (ONE + SHUT + SHUT, 1, [("unexpected_line", "", 5)]),
        (ONE + "#UP 02000\n#UP 02003 B\n" + SHUT, 1, [("unclosed_group", "", 6)]),
        (ONE + "#UP 02999\n" + SHUT, 1, [("unclosed_group", "", 4)]),
        (ONE + "#UP 02000\n#UP 03000\n#UP 03999\n" + SHUT, 1, [("unclosed_group", "", 5)]),
        (ONE + "#UP 02000\n#UP 03999\n" + SHUT, 1, [("unclosed_group", "", 5)]),
        (ONE + "#UP 01014 Berg\n" + SHUT, 1, [("twice", "efternamn", 4)]),
        (ONE + "hello\n" + SHUT, 1, [("unexpected_line", "", 4)]),
        (ONE + "#UP 010\n" + SHUT, 1, [("unexpected_line", "", 4)]),
        (ONE + "#UP 01012Tolvan\n" + SHUT, 1, [("unexpected_line", "", 4)]),
        (ONE + "#UP 01012\tTolvan\n" + SHUT, 1, [("unexpected_line", "", 4)]),
        (ONE + "#UP 010129 Tolvan\n" + SHUT, 1, [("unexpected_line", "", 4)]),
        (ONE + "#UP 010990Tolvan\n" + SHUT, 1, [("unexpected_line", "", 4)]),
        (ONE + "#UP 02000x\n" + SHUT, 1, [("unexpected_line", "", 4)]),
        (ONE + "#UP 01012\n" + SHUT, 1, []),
        (ONE + "#UP 01012 \n" + SHUT, 1, []),
        (ONE + "#UP 01099 x\n" + SHUT, 1, []),
        (ONE + "#DAG_START 20260101\n" + SHUT, 1, []),
        (ONE + "\n" + SHUT, 1, []),
        (ONE + SHUT.replace("\n", "  \n"), 1, []),
        (ONE + SHUT.replace("\n", " x\n"), 1, [("unclosed_record", "", 1), ("unexpected_line", "", 4)]),
        ("#UP 01014 Berg\n" + ONE + SHUT, 1, [("unexpected_line", "", 1)]),
        (ONE + SHUT + "#UP 01012 Bo\n" + ONE + SHUT, 2, [("unexpected_line", "", 5)]),
        (ONE + SHUT + RELATION + ONE + SHUT, 2, [("unexpected_line", "", n) for n in (5, 6, 7, 8)]),
        (ONE.replace("#UP 01001 198911222399\n", "") + SHUT, 1, [("required", "personnummer", 1)]),
        (ONE.replace("198911222399", "$") + SHUT, 1, [("required", "personnummer", 2)]),
        (ONE.replace("Ängsvik", "Ängs\x07vik") + SHUT, 1, [("control_character", "efternamn", 3)]),
        (ONE + "#UP 01003 X\n" + SHUT, 1, [("not_in_code_list", "sekretessmarkering", 4)]),
        (ONE + "#UP 01034 123456\n" + SHUT, 1, [("too_long", "fb_postnr", 4)]),
    ],
)
def test_what_is_wrong_with_a_post_is_found_at_its_line(
    data: str, posts: int, wanted: list[tuple[str, str, int]]
) -> None:
    assert read(data, posts)[1] == wanted


def test_a_terms_value_is_the_last_of_two_and_a_dollar_is_nothing() -> None:
    rows, _ = read(ONE + "#UP 01014 Berg\n#UP 01012 $\n" + SHUT)
    assert (rows[0]["efternamn"], rows[0]["fornamn"]) == ("Berg", None)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (ONE + "#UP 02003 B\n" + RELATION + SHUT, ("relationstyp", 4)),
        (ONE + RELATION.replace("02003 B", "01003 J") + SHUT, ("sekretessmarkering", 6)),
        (ONE + RELATION.replace("02003 B", "03001 SE") + SHUT, ("medborgarskap_land", 6)),
    ],
)
def test_a_term_outside_of_its_group_is_nobodys_and_told(data: str, wanted: tuple[str, int]) -> None:
    rows, found = read(data)
    assert found == [("unexpected_line", *wanted)]
    assert all(r.get("sekretessmarkering") is None for r in rows)
    rows, found = read(ONE + RELATION + "#UP 04000\n#UP 01003 J\n#UP 02003 X\n#UP 04999\n" + SHUT)
    assert not found, "what is passed over is"
    assert [r["relationstyp"] for r in rows if r["record_type"] == "relation"] == ["B"]
    assert all(r.get("relationstyp") is None for r in rows if r["record_type"] == "person")


@pytest.mark.parametrize("fault", ["\t", "\x81", "\x96", "Å" * 80])
def test_a_fault_in_one_post_changes_nothing_in_the_others(fault: str) -> None:
    """Terms are looked at quickly as long as the block is sound, and closely from its first odd letter on."""
    person = "#UP 01012 Åsa Ö\n#UP 01025 ÄNGEN 1:2\n#UP 01034 12557\n#UP 01081 Ä\n#UP 01082 $\n#UP 01101 20230302\n"
    data = ONE + person + RELATION + SHUT + ONE + RELATION + SHUT
    sound, found = read(data, 2)
    assert not found
    whole = file(data + ONE + "#UP 01013 ?\n" + SHUT, 3).encode("cp1252").replace(b"?", fault.encode("latin-1"))
    rows, _, _ = formats.parse(LAYOUT, whole, "cp1252")
    assert [r for r in rows if r["record_type"] in ("person", "relation") and r["record_no"] < 3] == sound
    assert (sound[0]["fornamn"], sound[0]["civilstand"], sound[0]["civilstand_datum"]) == ("Åsa Ö", "Ä", None)


INFIL = (
    "#INFO_START\n#FILTYP INFIL\n#BESTÄLLNINGSID 00000001-AA01-0001\n#INFO_SLUT\n#DATA_START\n#PNR 198911222399\n"
    "#PNR 201204062390\n#DATA_SLUT\n#AVST_START\n#ANTAL_POSTER 00000002\n#AVST_SLUT\n#FIL_SLUT\n"
)


def wrong(text: str | bytes, declared: str = "cp437") -> list[tuple[str, int | None]]:
    """What is wrong with a question file: rules and offsets."""
    data = text if isinstance(text, bytes) else text.encode("cp437")
    return [(f.rule, f.offset) for f in formats.parse(layouts.load("navet_infil"), data, declared)[1]]


def test_a_question_file_in_another_encoding_than_declared_says_so_and_names_the_keyword_that_it_lost() -> None:
    at = INFIL.index("#BEST")
    assert not wrong(INFIL)
    assert wrong(INFIL, "cp1252") == [("wrong_encoding", None), ("keyword", at)]
    assert wrong(INFIL.encode("cp1252"), "cp437") == [("wrong_encoding", None), ("keyword", at)]
    assert wrong(INFIL.replace("Ä", "?")) == [("keyword", at)]
    assert not wrong(INFIL.replace("#FILTYP", "#FORÄNDRAD 1\n#FILTYP")), "a keyword that may be new is passed over"


def test_a_question_is_a_record_of_one_line_with_its_number_and_place() -> None:
    rows, findings, parsed = formats.parse(layouts.load("navet_infil"), INFIL.encode("cp437"), "cp437")
    asked = [r for r in rows if r["record_type"] == layouts.load("navet_infil").counted]
    assert not findings
    assert [(r["record_no"], r["byte_offset"], r["group_no"]) for r in asked] == [
        (n, INFIL.index("#PNR " + number), 0) for n, number in ((1, "198911222399"), (2, "201204062390"))
    ]
    assert parsed.records == 2


@pytest.mark.parametrize("text", ["#UP 01014 ÄNGEL", "#UP 01014 ÖBERG", "#UP 01014 ÅKESSON ÄNGEL"])
def test_a_small_answer_file_in_pc8_declared_windows_is_told(text: str) -> None:
    whole = file(f"#POST_START\n#UP 01001 198911222399\n{text}\n{SHUT}", 1)
    _, findings, _ = formats.parse(LAYOUT, whole.encode("cp437"), "cp1252")
    assert "reads like cp437" in next(iter(findings)).message


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("before", [b"#FILTYP", b"198911222399", b"#UP 01014", b"#AVST_START", b"\n#POST_SLUT"])
def test_a_byte_order_mark_in_the_middle_is_found_at_its_place(before: bytes) -> None:
    data = file(ONE + SHUT, 1).encode("cp1252")
    at = data.index(before)
    _, findings, _ = formats.parse(LAYOUT, data[:at] + MARK + data[at:], "cp1252")
    assert ("bom", at) in [(f.rule, f.offset) for f in findings]


def test_a_byte_order_mark_among_questions_is_found() -> None:
    data = INFIL.encode("cp437")
    at = data.index(b"201204062390")
    assert ("bom", at) in wrong(data[:at] + MARK + data[at:])


@pytest.mark.parametrize("line", ["#FILTYP UTFIL", "#DATA_START", "#UP 01014 Ängsvik", "#POST_SLUT", "#AVST_SLUT"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_ends_otherwise_than_the_first_is_found(end: str, line: str) -> None:
    text = file(ONE + SHUT + ONE + SHUT, 2).replace("\n", end)
    other = "\r\n" if end == "\n" else "\n"
    at = text.index(line) + len(line)
    data = (text[:at] + other + text[at + len(end) :]).encode("cp1252")
    assert [(f.rule, f.offset) for f in formats.parse(LAYOUT, data, "cp1252")[1]] == [("line_end", at)]
    assert not formats.parse(LAYOUT, text.encode("cp1252").removesuffix(end.encode()), "cp1252")[1], "the last has none"


def test_what_is_missing_from_head_and_tail_is_told_once_and_where() -> None:
    size, tail = len(INFIL), INFIL.index("#DATA_SLUT")
    assert wrong(INFIL.replace("#INFO_START\n", "")) == [("missing_header", 0)]
    assert wrong(INFIL.replace("#INFO_SLUT\n", "")) == [("truncated_file", INFIL.index("#INFO_SLUT"))]
    assert wrong(INFIL.replace("#AVST_SLUT\n", "")) == [("truncated_file", size - len("#AVST_SLUT\n"))]
    assert wrong(INFIL.replace("#ANTAL_POSTER 00000002\n", "")) == [("record_count", tail)]
    assert ("truncated_file", tail) in wrong(INFIL[:tail])


def test_a_file_without_an_end_to_its_data_ends_at_its_last_byte_and_a_post_without_end_where_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from slussen.records import tagged

    monkeypatch.setattr(tagged, "LONGEST_POST", 1 << 10)
    monkeypatch.setattr(tagged, "CHUNK", 0)
    many = HEAD + (ONE + SHUT) * 80_000
    _, findings, _ = formats.parse(LAYOUT, many.encode("cp1252"), "cp1252")
    assert {f.offset for f in findings if f.rule == "truncated_file"} == {len(many)}
    endless = HEAD + ONE + SHUT + ONE + "#UP 01012 Bo\n" * 700_000
    _, findings, _ = formats.parse(LAYOUT, endless.encode("cp1252"), "cp1252")
    (found,) = [f for f in findings if "a post of more than" in f.message]
    assert found.offset == len(HEAD + ONE + SHUT)


@pytest.mark.parametrize("encoding", EBCDIC)
@pytest.mark.parametrize("name", ["navet_utfil", "navet_infil"])
def test_tagged_files_are_not_read_or_written_in_ebcdic(name: str, encoding: str) -> None:
    for do in (
        lambda: formats.parse(layouts.load(name), b"", encoding),
        lambda: formats.render(layouts.load(name), [], encoding),
    ):
        with pytest.raises(CallError, match=f"not read or written in {encoding}"):
            do()


@pytest.mark.parametrize("name", ["navet_utfil", "navet_infil"])
def test_an_empty_file_is_empty_and_no_more(name: str) -> None:
    _, findings, _ = formats.parse(layouts.load(name), b"", "cp1252")
    assert [(f.rule, f.offset) for f in findings] == [("empty_file", 0)]


@pytest.mark.parametrize("where", [0, 1, 4])
@pytest.mark.parametrize("name", ["Berg", "Ängsvik"])
@pytest.mark.parametrize("term", ["01014", "02003"])
def test_a_term_without_a_value_in_one_post_is_nothing_there_and_changes_no_other(
    term: str, name: str, where: int
) -> None:
    """Where all posts have the line, whether all of its values are ASCII or not."""
    terms = {"01012": "Anna", "01013": "Bea", "01014": name, "01015": f"{name}, Anna"}

    def post(empty: str = "") -> str:
        lines = [f"#UP {k} {'' if k == empty else v}".rstrip() for k, v in terms.items()]
        relation = RELATION.replace("02003 B", "02003" if empty == "02003" else "02003 B")
        return "\n".join(("#POST_START", "#UP 01001 198911222399", *lines, relation)) + SHUT

    def values(rows: list[formats.Row], n: int) -> list[formats.Row]:
        places = ("record_no", "byte_offset")
        return [{k: v for k, v in row.items() if k not in places} for row in rows if row["record_no"] == n]

    full, emptied = values(read(post())[0], 1), values(read(post(term))[0], 1)
    assert full != emptied
    together, _ = read("".join(post(term if n == where else "") for n in range(5)), 5)
    assert [values(together, n + 1) for n in range(5)] == [emptied if n == where else full for n in range(5)]
