"""Zip archives made by hand to do harm, one by one; and the ones that are meant well."""

from __future__ import annotations

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.postgres import Server
from slussen import settings, zips
from slussen.database import migrate
from slussen.errors import ContentError, Finding, Findings
from slussen.integration import Integration, ftp, sftp
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.payloads import PayloadStore
from slussen.quality.gate import run_gate
from slussen.records import layout as layouts
from slussen.records.zipped import Numbers, Zipped
from slussen.staging import stage_payload

NUMBER = "198001019804"  # of the test series: birth numbers from 980


@dataclass(frozen=True)
class Entry:
    """A member as it is written, byte by byte; what isn't said is true."""

    name: bytes = b"a.xml"
    data: bytes = b"<x/>"
    method: int = 0
    flags: int = 0
    mode: int = stat.S_IFREG | 0o644
    extra: bytes = b""
    comment: bytes = b""
    local_name: bytes | None = None
    size: int | None = None  # as both headers say
    directory_size: int | None = None  # as the directory alone says
    own: tuple[int, int, int] | None = None  # checksum and sizes as its own header alone says
    crc: int | None = None
    packed: bytes | None = None
    system: int = 3
    at: int | None = None  # where the directory says that it begins
    descriptor: bytes = b""


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(tarfile.TarInfo("a.xml"))
    return out.getvalue()


def archive(*entries: Entry, before: bytes = b"", gap: bytes = b"", after: bytes = b"", disks: int = 0,
            comment: bytes = b"", counts: tuple[int, int] | None = None) -> bytes:  # fmt: skip
    """The archive of these; ``counts`` is how many members its end says that there are."""
    out, directory = io.BytesIO(), io.BytesIO()
    out.write(before)
    for e in entries:
        packed = e.packed
        if packed is None:
            engine = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = engine.compress(e.data) + engine.flush() if e.method == 8 else e.data
        crc = zlib.crc32(e.data) if e.crc is None else e.crc
        size = len(e.data) if e.size is None else e.size
        at = out.tell() if e.at is None else e.at
        later = bool(e.flags & 8)
        said = e.own or ((0, 0, 0) if later else (crc, len(packed), size))
        name = e.name if e.local_name is None else e.local_name
        out.write(
            struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, e.flags, e.method, 0, 0x21, *said, len(name), len(e.extra))
        )
        out.write(name + e.extra + packed + e.descriptor)
        shown = size if e.directory_size is None else e.directory_size
        directory.write(struct.pack(
            "<IBBHHHHHIIIHHHHHII", 0x02014B50, 20, e.system, 20, e.flags, e.method, 0, 0x21, crc, len(packed), shown,
            len(e.name), len(e.extra), len(e.comment), 0, 0, e.mode << 16, at,
        ) + e.name + e.extra + e.comment)  # fmt: skip
    out.write(gap)
    start = out.tell()
    out.write(directory.getvalue())
    out.write(struct.pack(
        "<IHHHHIIH", 0x06054B50, disks, disks, *(counts or (len(entries),) * 2), directory.tell(), start, len(comment)
    ))  # fmt: skip
    out.write(comment + after)
    return out.getvalue()


def made(*contents: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    zips.make(contents, out)
    return out.getvalue()


GOOD = Entry()
BOMB = zlib.compressobj(9, zlib.DEFLATED, -15)
ZEROS = BOMB.compress(bytes(30 << 20)) + BOMB.flush()
UNICODE_PATH = struct.pack("<HHBI", 0x7075, 10, 1, zlib.crc32(b"a.xml")) + b"../b"  # another name for some readers
OTHER_NAME = replace(GOOD, name=b"b.xml")
LARGE = struct.pack("<HHQQ", 0x0001, 16, 6, 6)  # a zip64 field: both sizes are 6

HOSTILE: dict[str, tuple[bytes, str]] = {
    # names that lead elsewhere
    "traversal": (archive(replace(GOOD, name=b"../a.xml")), "zip_name"),
    "traversal in the middle": (archive(replace(GOOD, name=b"x/../../a.xml")), "zip_name"),
    "traversal at the end": (archive(replace(GOOD, name=b"x/..")), "zip_name"),
    "a dot": (archive(replace(GOOD, name=b"./a.xml")), "zip_name"),
    "absolute": (archive(replace(GOOD, name=b"/etc/cron.d/a")), "zip_name"),
    "a network's root": (archive(replace(GOOD, name=b"//server/share/a")), "zip_name"),
    "backslash": (archive(replace(GOOD, name=b"..\\a.xml")), "zip_name"),
    "a folder by backslash": (archive(replace(GOOD, name=b"x\\a.xml")), "zip_name"),
    "drive": (archive(replace(GOOD, name=b"C:/a.xml")), "zip_name"),
    "drive without a root": (archive(replace(GOOD, name=b"c:a.xml")), "zip_name"),
    "a stream of a file": (archive(replace(GOOD, name=b"a.xml:hidden")), "zip_name"),
    "no name": (archive(replace(GOOD, name=b"")), "zip_name"),
    "an empty part": (archive(replace(GOOD, name=b"x//a.xml")), "zip_name"),
    "NUL": (archive(replace(GOOD, name=b"a.xml\0.exe")), "zip_name"),
    "a new line": (archive(replace(GOOD, name=b"a\n.xml")), "zip_name"),
    "escape": (archive(replace(GOOD, name=b"a\x1b[2J.xml")), "zip_name"),
    "a blank at the end": (archive(replace(GOOD, name=b"a.xml ")), "zip_name"),
    "a full stop at the end": (archive(replace(GOOD, name=b"x./a.xml")), "zip_name"),
    "300 bytes": (archive(replace(GOOD, name=b"a" * 300)), "zip_name"),
    "right to left": (archive(replace(GOOD, name="a\u202elmx.exe".encode(), flags=0x800)), "zip_name"),
    "a name of no width": (archive(replace(GOOD, name="a\u200b.xml".encode(), flags=0x800)), "zip_name"),
    "called UTF-8 and isn't": (archive(replace(GOOD, name=b"\xff\xfe.xml", flags=0x800)), "no_zip"),
    # what is no plain file
    "a link": (archive(replace(GOOD, mode=stat.S_IFLNK | 0o777, data=b"/etc/passwd")), "zip_link"),
    "a device": (archive(replace(GOOD, mode=stat.S_IFCHR | 0o666)), "zip_link"),
    "a pipe": (archive(replace(GOOD, mode=stat.S_IFIFO | 0o666)), "zip_link"),
    "a folder by its mode": (archive(replace(GOOD, mode=stat.S_IFDIR | 0o755)), "zip_link"),
    "a folder with content": (archive(replace(GOOD, name=b"x/", mode=0)), "zip_name"),
    # the same twice
    "the same name": (archive(GOOD, replace(GOOD, data=b"<y/>")), "zip_twice"),
    "a case clash": (archive(GOOD, replace(GOOD, name=b"A.XML")), "zip_twice"),
    "composed and decomposed": (
        archive(replace(GOOD, name="Å".encode(), flags=0x800), replace(GOOD, name="A\u030a".encode(), flags=0x800)),
        "zip_twice",
    ),
    "a file and a folder": (archive(replace(GOOD, name=b"x"), replace(GOOD, name=b"x/a.xml")), "zip_twice"),
    "CP437 and UTF-8": (
        archive(replace(GOOD, name="å".encode("cp437")), replace(GOOD, name="å".encode(), flags=0x800)),
        "zip_twice",
    ),
    # bombs
    "a bomb by its ratio": (archive(replace(GOOD, method=8, data=bytes(30 << 20))), "zip_bomb"),
    "a bomb that says it is small": (archive(replace(GOOD, method=8, packed=ZEROS, size=10)), "zip_lies"),
    "a bomb by its total": (
        archive(*(replace(GOOD, name=b"%d" % n, method=8, size=900 << 20, packed=bytes(5 << 20)) for n in range(5))),
        "zip_bomb",
    ),
    "too many members": (archive(*(replace(GOOD, name=b"%d" % n, data=b"") for n in range(10_001))), "zip_members"),
    "an archive inside": (archive(replace(GOOD, data=archive(GOOD))), "zip_nested"),
    "an archive inside, by another name": (archive(replace(GOOD, name=b"photo.jpg", data=archive(GOOD))), "zip_nested"),
    "an empty archive inside": (archive(replace(GOOD, data=archive())), "zip_nested"),
    "a program that unpacks itself inside": (
        archive(replace(GOOD, data=b"MZ" + bytes(300_000) + archive(GOOD))),
        "zip_nested",
    ),
    "a tar inside": (archive(replace(GOOD, data=tar())), "zip_nested"),
    "zstd inside": (archive(replace(GOOD, data=b"\x28\xb5\x2f\xfd" + bytes(30))), "zip_nested"),
    "lz4 inside": (archive(replace(GOOD, data=b"\x04\x22\x4d\x18" + bytes(30))), "zip_nested"),
    "compress inside": (archive(replace(GOOD, data=b"\x1f\x9d\x90" + bytes(30))), "zip_nested"),
    "lzma inside": (archive(replace(GOOD, data=lzma.compress(b"x", lzma.FORMAT_ALONE))), "zip_nested"),
    "gzip inside": (archive(replace(GOOD, data=b"\x1f\x8b\x08" + bytes(30))), "zip_nested"),
    # what nobody could look into, or look at the same
    "encrypted": (archive(replace(GOOD, flags=1)), "zip_encrypted"),
    "strongly encrypted": (archive(replace(GOOD, flags=0x41)), "zip_encrypted"),
    "packed by LZMA": (archive(replace(GOOD, method=14)), "zip_method"),
    "packed by Deflate64": (archive(replace(GOOD, method=9)), "zip_method"),
    "packed by nobody knows what": (archive(replace(GOOD, method=97)), "zip_method"),
    "a comment": (archive(GOOD, comment=NUMBER.encode()), "zip_end"),
    "a member's comment": (archive(replace(GOOD, comment=NUMBER.encode())), "zip_comment"),
    "another name in an extra field": (archive(replace(GOOD, extra=UNICODE_PATH)), "no_zip"),
    "an extra field of somebody's own": (
        archive(replace(GOOD, extra=struct.pack("<HH", 0xBEEF, 12) + NUMBER.encode())),
        "zip_extra",
    ),
    "an extra field that isn't whole": (archive(replace(GOOD, extra=b"\x55\x54\xff\x00a")), "no_zip"),
    # places
    "two members in one place": (archive(replace(GOOD, data=b"x" * 100), replace(OTHER_NAME, at=0)), "zip_places"),
    "a member inside another": (
        archive(replace(GOOD, data=archive(OTHER_NAME)[:44]), replace(OTHER_NAME, at=35)),
        "zip_places",
    ),
    "bytes before": (archive(GOOD, before=b"#!/bin/sh\n"), "zip_places"),
    "bytes between members and directory": (archive(GOOD, gap=b"hidden"), "zip_places"),
    "bytes after": (archive(GOOD, after=b"hidden"), "zip_end"),
    "no member there": (archive(replace(GOOD, at=9)), "zip_places"),
    "one of several disks": (archive(GOOD, disks=1), "zip_disks"),
    # lies
    "another name in its own header": (archive(replace(GOOD, local_name=b"b.xml")), "zip_lies"),
    "another name of a folder in its own header": (
        archive(replace(GOOD, name=b"x/", data=b"", mode=0, local_name=b"y/")),
        "zip_lies",
    ),
    "other sizes where large ones stand": (
        archive(replace(GOOD, extra=LARGE, own=(zlib.crc32(GOOD.data), 0xFFFFFFFF, 0xFFFFFFFF))),
        "zip_lies",
    ),
    "other sizes, and true ones where large ones would stand": (
        archive(replace(GOOD, data=b"<xml/>", extra=LARGE, own=(zlib.crc32(b"<xml/>"), 3, 3))),
        "zip_lies",
    ),
    "another checksum beside large sizes": (
        archive(replace(GOOD, data=b"<xml/>", extra=LARGE, own=(1, 0xFFFFFFFF, 0xFFFFFFFF))),
        "zip_lies",
    ),
    "a large size that isn't there": (
        archive(replace(GOOD, own=(zlib.crc32(GOOD.data), 0xFFFFFFFF, 0xFFFFFFFF))),
        "zip_lies",
    ),
    "large sizes twice": (archive(replace(GOOD, data=b"<xml/>", extra=LARGE * 2)), "zip_extra"),
    "a checksum that isn't right": (archive(replace(GOOD, crc=1)), "zip_lies"),
    "a size in the directory alone": (archive(replace(GOOD, directory_size=9)), "zip_lies"),
    "longer than it says": (archive(replace(GOOD, method=8, size=2)), "zip_lies"),
    "shorter than it says": (archive(replace(GOOD, method=8, size=9)), "zip_lies"),
    "not deflated at all": (archive(replace(GOOD, method=8, packed=b"\xff\xff\xff\xff")), "zip_lies"),
    "deflated, cut off": (archive(replace(GOOD, method=8, packed=ZEROS[:100], size=30 << 20)), "zip_bomb"),
    "fewer members in the end": (archive(GOOD, OTHER_NAME, counts=(1, 1)), "zip_end"),
    "more members in the end": (archive(GOOD, OTHER_NAME, counts=(9, 9)), "zip_end"),
    "two counts": (archive(GOOD, OTHER_NAME, counts=(2, 1)), "zip_end"),
    "a count that stands nowhere": (archive(GOOD, counts=(0xFFFF, 0xFFFF)), "zip_end"),
    # no archive
    "nothing": (b"", "no_zip"),
    "text": (b"<xml>" * 20, "zip_end"),
    "cut off": (archive(GOOD)[:-5], "zip_end"),
    "a directory that begins nowhere": (archive(GOOD)[:-6] + b"\xff\xff\xff\x7f\0\0", "zip_places"),
}


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_by_its_rule_and_no_name_is_told(name: str) -> None:
    content, rule = HOSTILE[name]
    with pytest.raises(ContentError) as refused:
        zips.check(io.BytesIO(content))
    assert rule in {f.rule for f in refused.value.findings}
    assert all(f.next_step for f in refused.value.findings)
    assert NUMBER not in str(refused.value)
    assert "a.xml" not in str(refused.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_wrong_with_the_whole_lets_no_member_through(name: str) -> None:
    content, rule = HOSTILE[name]
    findings = Findings()
    found = list(zips.members(io.BytesIO(content), findings))
    assert findings
    assert not found or rule in ("zip_lies", "zip_nested")


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, *_: object) -> int:
        raise OSError


def python(content: bytes) -> bytes:
    """As Python writes it to a pipe: sizes come after the data."""

    out = Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as written:
        written.mkdir("persons")
        written.writestr("persons/å.xml", content)
    return out.getvalue()


def large(content: bytes, out: io.BytesIO) -> bytes:
    """As Python writes what may become large."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as written, written.open("å.xml", "w", force_zip64=True) as to:
        to.write(content)
    return out.getvalue()


def test_what_ordinary_programs_write_is_read(tmp_path: Path) -> None:
    content = b"<x>" * 5000
    (tmp_path / "plain.zip").touch()
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as written:
        written.writestr("a.xml", content)
        written.writestr("tom.xml", b"")
    ours = archive(replace(GOOD, name="å".encode("cp437"), data=content))
    for data in (python(content), large(content, io.BytesIO()), large(content, Pipe()), plain.getvalue(), ours):
        found = zips.check(io.BytesIO(data))
        assert found[0].bytes == len(content)
    assert zips.check(io.BytesIO(archive(replace(GOOD, name=b"\x86.xml"))))[0].name == "å.xml"
    assert zips.check(io.BytesIO(archive())) == []


NAMES = st.text(st.sampled_from("abcåäöÅ1-_ "), min_size=1, max_size=12).map(lambda n: f"x{n}x")


@given(st.dictionaries(NAMES, st.binary(max_size=200).map(lambda c: b"<" + c), max_size=8), st.randoms())
def test_the_same_members_give_the_same_bytes_in_whatever_order_they_come(
    members: dict[str, bytes], random: object
) -> None:
    if len({n.casefold() for n in members}) < len(members):
        return
    shuffled = list(members.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first = made(*members.items())
    assert made(*shuffled) == first
    assert [(m.name, m.bytes) for m in zips.check(io.BytesIO(first))] == sorted(
        ((n, len(c)) for n, c in members.items()), key=lambda m: m[0].encode()
    )


@pytest.mark.parametrize("names", [("../a",), ("a", "A"), ("a", "a/b")])
def test_no_hostile_archive_is_made(names: tuple[str, ...]) -> None:
    with pytest.raises(ContentError):
        made(*((n, b"") for n in names))


@given(st.binary(max_size=400), st.integers(0, 400))
def test_bytes_of_any_kind_are_refused_or_read_and_never_more(data: bytes, cut: int) -> None:
    whole = made(("a.xml", data), ("b.xml", b"<y/>"))
    for damaged in (data, whole[:cut] + data + whole[cut:], whole[: cut % len(whole)]):
        findings = Findings()
        found = list(zips.members(io.BytesIO(damaged), findings))
        assert findings or found or damaged == made()


def rows(content: bytes) -> tuple[list[dict[str, object]], Zipped, Findings]:
    findings = Findings()
    zipped = Zipped(io.BytesIO(content), layouts.load("fronter"), findings)
    return [row for batch in zipped for row in batch.to_pylist()], zipped, findings


def test_the_directory_and_who_is_inside_become_rows() -> None:
    content = made(
        ("bilder/8001019804.jpg", b"\xff\xd8"),
        ("personer.xml", f"<a><id>{NUMBER}</id><id>800101-9804</id><tel>08-5080 1234</tel></a>".encode()),
        ("utf16.xml", f"<id>{NUMBER}</id>".encode("utf-16")),
    )
    found, zipped, findings = rows(content)
    assert not findings
    assert [(r["record_no"], r["record_type"], r["member"]) for r in found][:1] == [(1, "member", 1)]
    assert zipped.records == 3
    assert zipped.totals["records.member"] == 3
    assert zipped.totals["records.person"] == len(found) - 3
    assert {r["member"] for r in found if r["number"] == NUMBER} == {1, 2, 3}
    assert {r["name"] for r in found if r["name"]} == {"bilder/8001019804.jpg", "personer.xml", "utf16.xml"}


@pytest.mark.parametrize("size", range(1, 40))
def test_a_number_is_found_wherever_the_chunks_end(size: int) -> None:
    text = f"<id>{NUMBER}</id> 800101-9804. 1{NUMBER} {NUMBER}7 {NUMBER}".encode()
    numbers = Numbers()
    for first, last in pairwise([*range(0, len(text), size), len(text)]):
        numbers(text[first:last])
    numbers.end()
    assert NUMBER in numbers.found
    whole = Numbers()
    whole(text)
    whole.end()
    assert list(numbers.found) == list(whole.found)


BIG = b"".join(b"%d " % n for n in range(100_000))
Looks = Callable[[bytes], object]


def test_every_member_goes_by_once() -> None:
    seen: dict[int, bytes] = {}

    def watch(number: int, name: str) -> Looks:
        def take(chunk: bytes) -> None:
            seen[number] = seen.get(number, b"") + chunk

        return take

    content = made(("a", BIG), ("b", b"2"))
    list(zips.members(io.BytesIO(content), Findings(), watch))
    assert seen == {1: BIG, 2: b"2"}


SUITE = """
version: 1
expectations:
  - {expect: ExpectColumnValuesToBeUnique, column: name, only: member, severity: critical}
"""


@pytest.mark.parametrize(
    ("inside", "verdict"), [(b"<id>nobody</id>", "pass"), (f"<id>{NUMBER}</id>".encode(), "hold"), (b"", "fail")]
)
def test_the_gate_holds_an_archive_with_a_protected_number_inside_and_fails_what_is_none(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bytes, verdict: str
) -> None:
    for name in ("slussen", "bosko"):
        migrate(postgres.dsn(f"zips_{name}"), settings.SQL / "migrations" / name)
    with psycopg.connect(postgres.dsn("zips_bosko")) as bosko:
        bosko.execute(
            "insert into bosko.person (personnr, fornamn, efternamn, sekretessmarkering, as_of, loaded_by, changed_at)"
            " values (%s, 'x', 'x', true, '2026-01-12', 'test', now()) on conflict do nothing",
            (NUMBER,),
        )
    (tmp_path / "zips.yaml").write_text(SUITE)
    monkeypatch.setattr(settings, "EXPECTATIONS", tmp_path)
    dsn = f"{postgres.dsn('zips_slussen')} user=slussen"
    ledger, store = Ledger(dsn), PayloadStore(tmp_path / "payloads")
    row = Integration(
        key="zips", title="", sender="", receiver="", source=ftp("hanna_ftp", "*.ZIP"),
        target=sftp("fronter", "{source}"),
        layout="fronter", persons="hold", persons_reason="a person decides",
    )  # fmt: skip
    with store.writer() as sink:
        sink.write(made(("a.xml", inside), ("b.xml", b"<x/>")) if inside else b"PK\x03\x04 and nothing else of a zip")
    manifest = Manifest(
        integration="zips", interchange=f"zips-{verdict}", name="A.ZIP", sha256=sink.sha256, bytes=sink.bytes
    )
    staged = stage_payload(row, manifest, ledger, store, dsn)
    event = ledger.events(manifest.interchange)[-1]
    report = run_gate(
        manifest=staged, layout=layouts.load("fronter"), policy="hold", kind="relay", stage_dsn=dsn,
        bosko_dsn=postgres.dsn("zips_bosko"), findings=[Finding(**f) for f in event.data["findings"]],
        counts=event.data["counts"],
    )  # fmt: skip
    assert report.verdict == verdict, report.table()
    assert staged.records == (2 if inside else 0)
