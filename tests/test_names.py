"""Patterns of names: Swedish letters however they are written, wildcards that stay where they are."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slussen.transports import is_plain, matches

PATTERNS = ["??-F29*.txt", "ext*fil*", "AVLÄSNINGLIS*.TXT", "F03-PROCAPITA.txt", "SKV-INFIL*.TXT"]
FILL = st.text(st.sampled_from("ABCabc019-_ åäöÅÄÖ"), max_size=6)
LETTER = st.sampled_from("FDUBÄÅ")


@st.composite
def fitting(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern and a name that fits it."""
    pattern = draw(st.sampled_from(PATTERNS))
    name = "".join(draw(FILL) if c == "*" else draw(LETTER) if c == "?" else c for c in pattern)
    return pattern, name


def written(name: str, how: str) -> str:
    """The name as Python shows it when it was written so."""
    if how in ("NFC", "NFD"):
        return unicodedata.normalize(how, name)
    return os.fsdecode(name.encode(how))


@pytest.mark.parametrize("how", ["NFC", "NFD", "latin-1", "cp1252", "cp850"])
@given(fitting())
def test_a_name_fits_however_its_letters_are_written(how: str, case: tuple[str, str]) -> None:
    pattern, name = case
    assert matches(written(name, how), pattern)
    assert matches(written(name, how), unicodedata.normalize("NFD", pattern))


@given(fitting(), st.text(st.sampled_from("/\\\0\n\x7f."), min_size=1, max_size=3))
def test_what_fits_and_leads_elsewhere_is_never_plain(case: tuple[str, str], away: str) -> None:
    _, name = case
    for bad in (name[:3] + away + name[3:], away + name):
        if set(away) & set("/\\\0\n\x7f"):
            assert not is_plain(bad)


@given(fitting())
def test_hidden_names_and_temporary_ones_never_fit(case: tuple[str, str]) -> None:
    pattern, name = case
    assert not matches(f".{name}", pattern)
    assert not matches(f".{name}.f29-20260112T190000Z.1.tmp", pattern)
    assert not matches(f".{name}", "*")


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_pattern_the_answer_comes(name: str, pattern: str) -> None:
    assert matches(name, pattern) in (True, False)
