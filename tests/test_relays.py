"""Relayed files and protected persons: what each policy does to the bytes, and that nothing else changes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from itertools import product

import ebcdic  # noqa: F401 (registers cp278)
import pytest

from sandbox.hanna import accounts_file, profdoc_file, usk_file
from sandbox.hanna_datasets import csn_report
from sandbox.pupils import Pupil, Pupils
from slussen.canaries import Canaries
from slussen.errors import CallError, Findings
from slussen.integration import Endpoint, Integration, directory
from slussen.records import layout as layouts
from slussen.relaying import Relayed

TODAY = date(2026, 1, 12)
PUPILS = Pupils.of(7, 60, TODAY).young
POLICIES = ("mask", "block", "pass", "hold", "none")


# --- rows: the same pupils in each layout, and what an independent hand does to a record of them


@dataclass(frozen=True)
class Row:
    """A layout: how its file is made and cut into records, and what is left of one that is masked."""

    layout: str
    encoding: str
    made: Callable[[list[Pupil]], bytes]
    masked: Callable[[bytes], bytes] | None
    flags: bool
    relatives: bool = False
    outer: int = 0  # records before the first pupil's, and as many after the last one's
    counted: tuple[int, int] = (0, 0)  # where the trailer's count is


def usk_masked(record: bytes) -> bytes:
    return record[:15] + b" " * 36 + b"0" * 8 + b" " * 30 + record[89:90] + b" " * 10 + record[100:]


def profdoc_masked(record: bytes) -> bytes:
    fields = record.split(b";")
    fields[8:21] = [b""] * 13
    return b";".join(fields)


ROWS = {
    "usk": Row("usk", "cp437", lambda p: usk_file(p, TODAY, 1), usk_masked, True, outer=1, counted=(2, 11)),
    "profdoc": Row("profdoc", "cp437", profdoc_file, profdoc_masked, True, relatives=True),
    "accounts": Row("accounts", "cp1252", accounts_file, None, False),
}


# --- who is protected, and how that is known


@dataclass(frozen=True)
class Case:
    """Pupils, and what the register says, so that these of them (by place) are protected."""

    pupils: list[Pupil]
    register: set[str]
    by_flag: set[int]
    by_register: set[int]
    by_relative: frozenset[int] = frozenset()


def plain() -> list[Pupil]:
    return [replace(p, flagged=False) for p in PUPILS[:9]]


def flagged(at: int) -> Case:
    """HANNA has the flag, the register doesn't know yet."""
    p = plain()
    p[at] = replace(p[at], flagged=True)
    return Case(p, set(), {at}, set())


def by_register_only(at: int) -> Case:
    p = plain()
    return Case(p, {p[at].personnr}, set(), {at})


def by_both(at: int) -> Case:
    p = plain()
    p[at] = replace(p[at], flagged=True)
    return Case(p, {p[at].personnr}, {at}, {at})


def flag_removed(at: int) -> Case:
    """Neither has it any more: the record goes as any other."""
    return Case(plain(), {PUPILS[20].personnr}, set(), set())


def flagged_in_another_record(at: int) -> Case:
    """The same person twice, flagged once: protected in both."""
    p = plain()
    other = (at + 4) % len(p)
    p[at] = replace(p[at], flagged=True)
    p[other] = replace(p[at], flagged=False, programme="SA")
    return Case(p, set(), {at, other}, set())


def guardian_by_register(at: int) -> Case:
    p = plain()
    return Case(p, {p[at].guardians[0].personnr}, set(), set(), frozenset({at}))


def guardian_flagged_in_a_record_of_their_own(at: int) -> Case:
    p = plain()
    other = (at + 4) % len(p)
    p[other] = replace(p[other], personnr=p[at].guardians[0].personnr, flagged=True)
    return Case(p, set(), {other}, set(), frozenset({at}))


def everybody(at: int) -> Case:
    p = [replace(x, flagged=True) for x in plain()]
    return Case(p, {x.personnr for x in p}, set(range(9)), set(range(9)))


def two_of_many(at: int) -> Case:
    p = plain()
    other = (at + 1) % len(p)
    p[other] = replace(p[other], flagged=True)
    return Case(p, {p[at].personnr, *(x.personnr for x in PUPILS[30:])}, {other}, {at})


SCENARIOS = (flagged, by_register_only, by_both, flag_removed, flagged_in_another_record, guardian_by_register,
             guardian_flagged_in_a_record_of_their_own, everybody, two_of_many)  # fmt: skip
PLACES = {"first": 0, "middle": 4, "last": 8}


def protected(row: Row, case: Case) -> set[int]:
    """Which pupils' records are a protected person's, in this layout."""
    found = set(case.by_register)
    if row.flags:
        found |= case.by_flag
    if row.relatives:
        found |= case.by_relative
    return found


def relay(row: Row, policy: str, data: bytes, register: Iterable[str]) -> tuple[bytes, Relayed]:
    """The file through the relay, from an end of its encoding to another of the same."""
    end = directory("here", "*", encoding=row.encoding, frame="crlf")
    findings = Findings()
    passed = Relayed(integration(row.layout, policy, end, end), lambda: io.BytesIO(data), findings, register)
    out = b"".join(passed)
    assert not findings
    return out, passed


def integration(layout: str, policy: str, source: Endpoint, target: Endpoint) -> Integration:
    return Integration(key="x", title="x", sender="x", receiver="x", source=source, target=target, layout=layout,
                       persons=policy, persons_reason="x")  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "policy", "scenario", "place"),
    [
        (name, policy, scenario, place)
        for name, policy, scenario, place in product(ROWS, POLICIES, SCENARIOS, PLACES)
        if (name, policy) != ("accounts", "mask")
    ],
)
def test_a_policy_does_to_protected_persons_records_what_it_says_and_to_others_nothing(
    name: str, policy: str, scenario: Callable[[int], Case], place: str
) -> None:
    row, case = ROWS[name], scenario(PLACES[place])
    data = row.made(case.pupils)
    whose = protected(row, case)
    records = data.split(b"\r\n")[:-1]
    expected = []
    for n, record in enumerate(records):
        pupil = n - row.outer
        if pupil in whose and policy in ("mask", "block"):
            if policy == "block":
                continue
            assert row.masked is not None
            record = row.masked(record)
        if n == len(records) - 1 and row.outer and policy == "block":
            start, stop = row.counted
            record = record[:start] + b"%0*d" % (stop - start, len(case.pupils) - len(whose)) + record[stop:]
        expected.append(record)
    out, passed = relay(row, policy, data, case.register)
    assert out == b"".join(r + b"\r\n" for r in expected)
    if policy in ("mask", "block"):
        n = len(whose)
        assert passed.persons.conserved
        assert passed.persons.as_dict() == {"protected": n, "blocked": n if policy == "block" else 0,
                                            "masked": n if policy == "mask" else 0, "passed": 0}  # fmt: skip
        assert passed.records == len(expected)
        anew = {"trailer.antal": ("9", str(9 - n))} if policy == "block" and row.outer and n else {}
        assert passed.totals == anew


def test_between_two_encodings_what_is_left_is_converted() -> None:
    case = by_both(3)
    data = profdoc_file(case.pupils)
    ends = [directory("x", "*", encoding=e, frame="crlf") for e in ("cp437", "cp1252")]
    out = b"".join(Relayed(integration("profdoc", "mask", *ends), lambda: io.BytesIO(data), Findings(), case.register))
    records = profdoc_file(case.pupils, "cp1252").split(b"\r\n")
    records[3] = profdoc_masked(records[3])
    assert out == b"\r\n".join(records)


def test_a_fixed_block_dataset_keeps_its_length_and_its_totals_when_records_are_left_out() -> None:
    pupils = [replace(p, flagged=n == 2) for n, p in enumerate(PUPILS)]
    data = csn_report(pupils, "GYM", TODAY, 1, 3)
    end = directory("x", "*", encoding="cp278", frame="fixed")
    passed = Relayed(integration("csn_report", "block", end, end), lambda: io.BytesIO(data), Findings(), [])
    out = b"".join(passed)
    whose = pupils[2].personnr.encode("cp278")
    records = [data[k : k + 150] for k in range(0, len(data), 150)]
    kept = [r for r in records if r[10:22] != whose]
    assert [out[k : k + 150] for k in range(0, len(out), 150)][:-1] == kept[:-1]
    counts = [sum(r[:2] == kind.encode("cp278") for r in kept) for kind in ("20", "30", "40")]
    assert out[-150:].decode("cp278") == "90" + "".join(f"{n:07}" for n in (*counts, len(kept))) + " " * 120
    assert passed.totals["trailer.antal_20"] == (str(len(pupils)), str(len(pupils) - 1))


def test_fields_in_quotes_are_emptied_quotes_and_all_and_others_keep_theirs() -> None:
    pupil = replace(PUPILS[0], flagged=True, street='Gatan "Ö"; 3', family="Ängsvik; Berg")
    data = profdoc_file([pupil, replace(PUPILS[1], flagged=False, street="A;B")])
    out, _ = relay(ROWS["profdoc"], "mask", data, [])
    one, other, rest = out.split(b"\r\n")
    assert one.startswith(f'{pupil.personnr};"Ängsvik; Berg";'.encode("cp437"))
    assert one.count(b";") == 23  # 22, and the one in the name
    assert b"Gatan" not in one
    assert (other, rest) == (data.split(b"\r\n")[1], b"")


@pytest.mark.parametrize("size", [211, 4_099, 100_003, 5_000_011])
def test_however_the_file_is_read_the_bytes_are_the_same(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    from slussen.records import frames, source

    monkeypatch.setattr(frames, "BLOCK", size)
    monkeypatch.setattr(source.Source.read, "__defaults__", (size,))
    case = two_of_many(4)
    for row in ROWS.values():
        pupils = case.pupils * 30
        data = row.made(pupils)
        out, passed = relay(row, "block", data, case.register)
        kept = [p for n, p in enumerate(pupils) if n % 9 not in protected(row, case)]
        if row.layout != "accounts":
            assert out == row.made(kept)
        assert passed.persons.blocked == len(pupils) - len(kept)


def test_a_relay_that_masks_or_blocks_cannot_do_without_the_register() -> None:
    end = directory("x", "*", encoding="cp437", frame="crlf")
    with pytest.raises(CallError, match="needs to know whom the register protects"):
        Relayed(integration("usk", "mask", end, end), lambda: io.BytesIO(b""), Findings())


@pytest.mark.parametrize(
    ("layout", "policy", "complaint"),
    [("navet_infil", "block", "passed on as they are"), ("novaschem", "block", "known by the lines between them"),
     ("accounts", "mask", "marks no field as protected")],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(layout: str, policy: str, complaint: str) -> None:
    end = directory("x", "*", encoding="cp1252", frame="lf")
    with pytest.raises(CallError, match=complaint):
        list(Relayed(integration(layout, policy, end, end), lambda: io.BytesIO(b"x\n"), Findings(), []))


def test_a_layout_that_masks_a_school_masks_its_code_too() -> None:
    usk = layouts.load("usk")
    blank = {f.name for f in usk.fields if f.protected is not None}
    assert blank == {"namn", "skola", "skolenhetskod", "klass"}


@pytest.mark.parametrize(("name", "policy"), [("profdoc", "mask"), ("accounts", "block")])
def test_the_canaries_are_in_hannas_files_and_not_in_what_leaves(name: str, policy: str) -> None:
    row = ROWS[name]
    everybody = Pupils.of(3, 80, TODAY).all
    register = [p["personnr"] for p in Canaries.load().people]

    def hits(data: bytes) -> int:
        scan = Canaries.load().scan(policy, row.encoding)
        assert scan is not None
        scan.feed(data)
        return len(scan.hits)

    data = row.made(everybody)
    assert hits(data) >= 2
    assert hits(relay(row, policy, data, register)[0]) == 0
