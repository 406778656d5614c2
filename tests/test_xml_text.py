"""Personal numbers in XML, however it is written: what an XML reader reads is searched, and nothing is expanded."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as some

from slussen import zips
from slussen.errors import Findings
from slussen.records import layout as layouts
from slussen.records import xml_text
from slussen.records.zipped import Zipped

NUMBER = "198001019804"
REFERENCES = "".join(f"&#{ord(c)};" for c in NUMBER)


def read(content: bytes, name: str = "a.xml") -> tuple[set[object], list[str]]:
    """The numbers that are found in an archive with this member, and what is wrong with it."""
    findings, out = Findings(), io.BytesIO()
    zips.make([(name, content)], out)
    rows = [r for b in Zipped(out, layouts.load("fronter"), findings) for r in b.to_pylist()]
    return {r["number"] for r in rows if r["number"]}, [f"{f.rule}: {f.message}" for f in findings]


SPELLINGS = {
    "plain": f"<a>{NUMBER}</a>",
    "ten digits": f"<a>{NUMBER[2:]}</a>",
    "a blank": f"<a>{NUMBER[:8]} {NUMBER[8:]}</a>",
    "a blank that doesn't break": f"<a>{NUMBER[:8]}\u00a0{NUMBER[8:]}</a>",
    "a dash": f"<a>{NUMBER[:8]}\u2013{NUMBER[8:]}</a>",
    "a blank of no width": f"<a>{NUMBER[:8]}\u200b{NUMBER[8:]}</a>",
    "wide digits": "<a>" + "".join(chr(0xFF10 + int(c)) for c in NUMBER) + "</a>",
    "references": f"<a>{REFERENCES}</a>",
    "hexadecimal references": "<a>" + "".join(f"&#x{ord(c):x};" for c in NUMBER) + "</a>",
    "CDATA": f"<a><![CDATA[{NUMBER[:6]}]]>{NUMBER[6:]}</a>",
    "a comment inside": f"<a>{NUMBER[:6]}<!-- -->{NUMBER[6:]}</a>",
    "an instruction inside": f"<a>{NUMBER[:6]}<?x y?>{NUMBER[6:]}</a>",
    "an attribute": f"<a id='{NUMBER}'/>",
    "references in an attribute": f"<a id='{REFERENCES}'/>",
    "a comment": f"<a><!-- {NUMBER} --></a>",
    "an instruction": f"<a><?who {NUMBER}?></a>",
    "a DTD that is only named": f"<!DOCTYPE a SYSTEM 'ims_epv1p1.dtd'><a>{REFERENCES}</a>",
}


@pytest.mark.parametrize("encoding", ["", "utf-8", "utf-16", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_number_is_found_however_it_is_spelled(spelling: str, encoding: str) -> None:
    text = SPELLINGS[spelling]
    declared = f"<?xml version='1.0' encoding='{encoding}'?>" if encoding else ""
    content = (declared + text).encode(encoding or "utf-8", "xmlcharrefreplace")
    for name in ("a.xml", "a.dat"):  # the other begins like XML
        found, wrong = read(content, name)
        assert wrong == []
        assert NUMBER in found
        assert {number[2:] for number in map(str, found)} == {NUMBER[2:]}  # of ten digits, of any century


@pytest.mark.parametrize(
    "content", [f"<a><b>{NUMBER[:6]}</b><b>{NUMBER[6:]}</b></a>", f"<a b='{NUMBER[:6]}'>{NUMBER[6:]}</a>"]
)
def test_what_stands_apart_is_no_number(content: str) -> None:
    assert read(content.encode()) == (set(), [])


ENTITY = f"<!DOCTYPE a [<!ENTITY e '{NUMBER[:6]}'>]><a>&e;{NUMBER[6:]}</a>"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (ENTITY.encode(), "its XML has a DTD inside, line 1"),
        (b"<!DOCTYPE a SYSTEM 'x.dtd'>\n<a>&e;</a>", "its XML has entities of its own, line 2"),
        (b"<a>&e;</a>", "it is no well-formed XML: undefined entity, line 1, column 4"),
        (b"<a>\n<b></a>", "it is no well-formed XML: mismatched tag, line 2, column 6"),
        (b"<a>", "it is no well-formed XML: no element found, line 1, column 4"),
        (b"", "it is no well-formed XML: no element found, line 1, column 1"),
        (b"nothing like it", "it is no well-formed XML: syntax error, line 1, column 1"),
        (b"<?xml version='1.0' encoding='utf-7'?><a/>", "it is XML in an encoding that can't be read"),
        (b"<?xml version='1.0' encoding='x-none'?><a/>", "it is XML in an encoding that can't be read"),
        ("<a/>".encode("utf-32"), "it is no well-formed XML"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_finding(content: bytes, why: str) -> None:
    _, wrong = read(content)
    assert len(wrong) == 1
    assert wrong[0].startswith(f"no_xml: {why}"), wrong


def test_what_is_no_xml_and_is_not_called_so_is_searched_as_it_is() -> None:
    assert read(f"{NUMBER}\n".encode(), "a.txt") == ({NUMBER}, [])


def test_one_endless_comment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_text, "LONGEST", 1000)
    reader = xml_text.XmlText("a.xml", bytes, bytes)
    for n in range(9):
        reader(b"<!--" if n == 0 else b"- x " * 30)
    reader(b"- x " * 30)
    assert reader.end() == "its XML has a tag or a comment of more than 1,000 bytes"


@given(some.integers(1, 60))
def test_it_is_found_wherever_the_chunks_end(size: int) -> None:
    content = f"<a b='{REFERENCES}'>{NUMBER[:6]}<!-- x -->{NUMBER[6:]}<c/></a>".encode()
    text, aside = bytearray(), bytearray()
    reader = xml_text.XmlText("a.xml", text.extend, aside.extend)
    for first in range(0, len(content), size):
        reader(content[first : first + size])
    assert reader.end() == ""
    assert (NUMBER in text.decode(), NUMBER in aside.decode()) == (True, True)
