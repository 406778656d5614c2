"""z/OS datasets: names, members, generations, text, and a dataset that another job holds."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import ebcdic  # noqa: F401 (registers cp278)
import pytest

from sandbox.faults import Fault
from slussen.archiving import archive
from slussen.errors import CallError, TransportError
from slussen.transports import Entry, Missing, differs
from slussen.transports.mvs import quoted
from tests.transports.places import CONTENT, Place
from tests.transports.places import mvs as mvs_place


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return mvs_place(request)


@pytest.mark.parametrize(
    "name",
    ["ads.n99", "ADS.TOOLONGNAME", "ADS..X", "A" * 45, "9ADS", "ADS.N99'", "A.B(TOOLONGNAME)", "A.B()", "A.B(1X)"],
)
def test_what_is_no_dataset_name_is_refused(name: str) -> None:
    with pytest.raises(CallError, match="no dataset name"):
        quoted(name)


def test_a_dataset_of_broken_records_is_not_sent(place: Place) -> None:
    with place.open(record_length=704) as to:
        with pytest.raises(CallError, match="no whole records of 704"):
            to.put("ADS.N99.X", io.BytesIO(b"x" * 705), 705)
        assert not to.exists("ADS.N99.X")


def test_a_member_is_delivered_beside_its_siblings_and_archived_in_its_library(place: Place) -> None:
    name = "ADS.N99.LIB(KIR)"
    place.bring("ADS.N99.LIB(OTHER)")
    with place.open() as to:
        temporary = to.temporary(name, "kir-1", 1)
        assert temporary.startswith("ADS.N99.LIB(T")
        to.put(temporary, io.BytesIO(CONTENT), len(CONTENT))
        assert to.verify(temporary, len(CONTENT), sha256(CONTENT).hexdigest())
        to.rename(temporary, name, replace=False)
        assert [e.name for e in to.entries("ADS.N99.LIB(*)")] == ["ADS.N99.LIB(KIR)", "ADS.N99.LIB(OTHER)"]
        [entry] = to.entries("ADS.N99.LIB(K*)")
        assert to.archive(entry, to.shelf(name)) == "ADS.N99.LIB(A0000001)"
    assert set(place.standing()) == {"ADS.N99.LIB(A0000001)", "ADS.N99.LIB(OTHER)"}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("ADS.N99.LIB(KIR)", "ADS.N99.LIB(*)"),
        ("ADS.N99.KIR", "ADS.N99.*.*"),
        ("ADS.N99.ABCDEFGH.ABCDEFGH.ABCDEFGH.KIR", "ADS.N99.ABCDEFGH.ABCDEFGH.ABCDEFGH.*"),  # no room for one more
    ],
)
def test_what_was_archived_is_not_listed_to_be_collected_again(place: Place, name: str, pattern: str) -> None:
    with place.open() as at:
        for n in (1, 2):
            place.bring(name, CONTENT * n)
            kept = archive(at, at.fetch(name, io.BytesIO()))
            assert at.stat(kept) is not None
            assert at.entries(pattern) == []


def test_each_delivery_to_a_group_is_its_next_generation_and_is_made_once(place: Place) -> None:
    with place.open() as to:
        for n in (1, 2, 3):
            temporary = to.temporary("ADS.N99.KIR(+1)", f"kir-{n}", 1)
            data = CONTENT * n
            to.put(temporary, io.BytesIO(data), len(data))
            assert not to.exists("ADS.N99.KIR(+1)")
            to.rename(temporary, "ADS.N99.KIR(+1)", replace=False)
            with pytest.raises(Missing):
                to.rename(temporary, "ADS.N99.KIR(+1)", replace=False)
        assert [(e.name, e.size) for e in to.entries("ADS.N99.KIR(0)")] == [("ADS.N99.KIR.G0003V00", 480)]
        to.fetch("ADS.N99.KIR(-1)", sink := io.BytesIO())
        assert sink.getvalue() == CONTENT * 2
        with pytest.raises(Missing):
            to.fetch("ADS.N99.KIR(-3)", io.BytesIO())
    assert sorted(place.standing()) == [f"ADS.N99.KIR.G000{n}V00" for n in (1, 2, 3)]


def test_two_generations_at_once_are_two(place: Place) -> None:
    """The other one takes the number between our look and our rename."""
    with place.open() as to:
        to.put("ADS.N99.TMINE", io.BytesIO(CONTENT), len(CONTENT))
        listed, names = [], to._names  # type: ignore[attr-defined]

        def slow(folder: str) -> list[str]:
            found: list[str] = names(folder)
            if not listed and folder.endswith(".G*'"):
                listed.append(folder)
                place.bring("ADS.N99.KIR.G0001V00", b"o" * 80)
            return found

        to._names = slow  # type: ignore[attr-defined]
        to.rename("ADS.N99.TMINE", "ADS.N99.KIR(+1)", replace=False)
    assert place.standing() == {"ADS.N99.KIR.G0001V00": b"o" * 80, "ADS.N99.KIR.G0002V00": CONTENT}


def test_text_becomes_records_and_comes_back_as_the_lines_that_it_was(place: Place) -> None:
    text = "Åsa;Öberg\r\nrad två\r\n\r\n".encode("latin-1")
    with place.open(text=True, record_length=20) as to:
        to.put("ADS.N99.TEXT", io.BytesIO(text), len(text))
        assert to.verify("ADS.N99.TEXT", len(text), sha256(text).hexdigest())
        to.fetch("ADS.N99.TEXT", sink := io.BytesIO())
    assert sink.getvalue() == text
    assert place.standing()["ADS.N99.TEXT"] == b"".join(
        line.ljust(20).encode("cp278") for line in ("Åsa;Öberg", "rad två", "")
    )


@pytest.mark.parametrize("line", [b"no end", b"far too long for it\r\n", b"zzz \r\n", b"only lf\n"])
def test_text_that_records_do_not_keep_is_refused_by_the_number_of_its_line(place: Place, line: bytes) -> None:
    refused = pytest.raises(CallError, match=r"line 2 has no CRLF.*deliver it binary")
    with place.open(text=True, record_length=10) as to, refused as caught:
        to.put("ADS.N99.TEXT", io.BytesIO(b"fine\r\n" + line), 6 + len(line))
    assert line.strip().decode() not in str(caught.value)


@pytest.mark.parametrize("on", ["get", "put", "rename"])
def test_a_dataset_that_another_job_holds_is_a_passing_fault(place: Place, on: str) -> None:
    assert place.switches is not None
    place.bring("ADS.N99.A")
    with place.open() as to:
        place.switches.set(Fault(kind="busy", on=on))  # type: ignore[arg-type]
        with pytest.raises(TransportError):
            match on:
                case "get":
                    to.fetch("ADS.N99.A", io.BytesIO())
                case "put":
                    to.put("ADS.N99.T", io.BytesIO(CONTENT), len(CONTENT))
                case "rename":
                    to.rename("ADS.N99.A", "ADS.N99.B", replace=False)
        place.switches.set()
        to.rename("ADS.N99.A", "ADS.N99.B", replace=False)
    assert place.standing()["ADS.N99.B"] == CONTENT


def test_a_work_dataset_is_no_longer_than_a_name_may_be(place: Place) -> None:
    name = ".".join(["ABCDEFGH"] * 4 + ["ABCDEFG"])
    assert len(name) <= 44
    with place.open() as to:
        assert all(len(n) <= 44 for n in (to.temporary(name, "f-1", 1), to.aside(name, "f-1")))
    assert not list(Path(place.folder).iterdir())


def test_a_hash_that_begins_as_a_time_is_another_than_one_that_does_not() -> None:
    """z/OS's datasets are told apart by their hashes, FTP's files by times in two forms that can't be compared."""
    one, other = ("20260112030000".ljust(64, "7"), "f" * 64)
    assert differs(Entry("A.B", 80, one), Entry("A.B", 80, other))
    assert not differs(Entry("a", 80, "20260112030000.123"), Entry("a", 80, "Jan 12 03:00"))
    assert differs(Entry("a", 80, "20260112030000"), Entry("a", 80, "20260112030001"))
