"""Zip archives: read as if they were meant to do harm, made so that the same members give the same bytes.

Source of the format: PKWARE's APPNOTE 6.3.10. Nothing is ever unpacked to a disk: members are streamed once, each to
whoever looks at it. What a careful sender's archive has no need for is refused: names that lead elsewhere, links,
encryption, archives inside, bytes that belong to no member (another reader might see another archive there), comments
and sizes that aren't true. Findings name the member by its number: a name may be a person's.
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from slussen.errors import ContentError, Finding, Findings

CHUNK = 1 << 18
MEMBERS = 10_000
TOTAL = 4 << 30  # bytes of all members together
RATIO = 200  # times that a member may be larger than its bytes in the archive; text has 5 to 20
SMALL = 1 << 16  # bytes under which a ratio says nothing
NAME = 255  # bytes of a part of a name
LOCAL, END = b"PK\x03\x04", b"PK\x05\x06"
ENCRYPTED = 0x1 | 0x40 | 0x2000  # APPNOTE 4.4.4: encrypted, strongly so, and with a masked directory
DESCRIPTOR = 0x8  # sizes come after the data
UTF8 = 0x800
SIZES = 0x0001  # the extra field of sizes that are ``FULL`` in the header
FULL = 0xFFFFFFFF
ZIP64 = 0xFFFF  # a count that stands elsewhere
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
EXTRA = {SIZES, 0x000A, 0x5455, 0x5855, 0x7855, 0x7875}  # zip64, NTFS and Unix times and owners: no other name inside
ARCHIVES = (
    LOCAL, END, b"PK\x07\x08", b"\x1f\x8b", b"\x1f\x9d", b"\x1f\xa0", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ",
    b"]\0\0", b"LZIP", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"MSCF", b"!<arch>", b"0707", b"xar!",
)  # fmt: skip
TAR = 257  # where a tar says what it is
ONE_DISK = END + bytes(4)  # where a zip ends, whatever stands before it: a program that unpacks itself, say
DRIVE = re.compile(r"^[A-Za-z]:")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
EPOCH = (1980, 1, 1, 0, 0, 0)

Watcher = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Member:
    """One member as it was read: its number in the archive from 1, its size in bytes, where its local header is."""

    number: int
    name: str
    bytes: int
    sha256: str
    offset: int


def members(
    stream: BinaryIO, findings: Findings, watch: Callable[[int, str], Watcher] | None = None
) -> Iterator[Member]:
    """Read an archive: each member streamed once, through the watcher that ``watch(number, name)`` gives for it.

    What is wrong becomes findings; a member with one isn't yielded, and with a fault of the whole nothing is.
    """
    archive = _opened(stream, findings)
    if archive is None:
        return
    with archive:
        entries = archive.infolist()
        before = findings.total
        _whole(stream, archive, entries, findings)
        if findings.total > before:
            return
        for number, entry in enumerate(entries, 1):
            if entry.orig_filename.endswith("/"):
                continue
            made = _read(archive, entry, number, findings, watch)
            if made is not None:
                yield made


def check(stream: BinaryIO) -> list[Member]:
    """Read an archive whole.

    Raises:
        ContentError: anything is wrong with it.
    """
    findings = Findings()
    found = list(members(stream, findings))
    if findings:
        raise ContentError(findings)
    return found


def make(contents: Iterable[tuple[str, bytes]], out: BinaryIO) -> None:
    """Write an archive: members by name, one time, one mode, deflated; the same members give the same bytes.

    Raises:
        ContentError: a name that ``members`` would refuse, or the same one twice.
    """
    findings = Findings()
    ordered = sorted(contents, key=lambda c: c[0].encode())
    _names([name for name, _ in ordered], [0] * len(ordered), findings)
    if findings:
        raise ContentError(findings)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in ordered:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def _opened(stream: BinaryIO, findings: Findings) -> zipfile.ZipFile | None:
    size = stream.seek(0, 2)
    if size < 22:
        _find(findings, "no_zip", "the file is no zip archive", next_step="ask the sender what it is")
        return None
    stream.seek(size - 22)
    end = stream.read(22)
    if end[:4] != END or end[20:] != b"\0\0":
        _find(
            findings, "zip_end", "the archive doesn't end where its directory ends: it has a comment, or is cut off",
            offset=size - 22, next_step="ask the sender for the archive again, without a comment",
        )  # fmt: skip
        return None
    if any(end[4:8]):
        _find(findings, "zip_disks", "the archive is one of several", offset=size - 18, next_step="ask for one archive")
        return None
    told = [n for n in struct.unpack("<HH", end[8:12]) if n != ZIP64] + _told_by_zip64(stream, size)
    stream.seek(0)
    try:
        archive = zipfile.ZipFile(stream)
        if told and set(told) == {len(archive.infolist())}:
            return archive
        message = "its end counts other members than its directory has"
        _find(findings, "zip_end", message, offset=size - 14, next_step="ask the sender for the archive again")
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, OverflowError, struct.error):
        _find(findings, "no_zip", "the archive's directory can't be read", next_step="ask the sender for it again")
    return None


def _told_by_zip64(stream: BinaryIO, size: int) -> list[int]:
    """The two counts of members in the record for large archives (APPNOTE 4.3.14), where zipfile looks for it."""
    if size < 98:
        return []
    stream.seek(size - 98)
    record = stream.read(76)
    if record[:4] != b"PK\x06\x06" or record[56:60] != b"PK\x06\x07":
        return []
    return list(struct.unpack("<QQ", record[24:40]))


def _whole(stream: BinaryIO, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], findings: Findings) -> None:
    """What can be said of the archive before a member is read."""
    if len(entries) > MEMBERS:
        _find(findings, "zip_members", f"{len(entries)} members, at most {MEMBERS} are read")
        return
    if (total := sum(e.file_size for e in entries)) > TOTAL:
        _find(findings, "zip_bomb", f"the members say that they are {total} bytes together, at most {TOTAL} are read")
    _names([e.orig_filename for e in entries], [e.header_offset for e in entries], findings)
    for number, entry in enumerate(entries, 1):
        _entry(entry, number, findings)
    _places(stream, archive, entries, findings)


def _names(names: list[str], offsets: list[int], findings: Findings) -> None:
    seen: dict[str, int] = {}
    for number, (name, offset) in enumerate(zip(names, offsets, strict=True), 1):
        if reason := _wrong_name(name):
            _find(findings, "zip_name", f"its name {reason}", number, offset, "ask the sender for plain names")
            continue
        key = unicodedata.normalize("NFC", name.rstrip("/")).casefold()
        if first := seen.get(key):
            message = f"its name is member {first}'s too, or differs by capitals or composition only"
            _find(findings, "zip_twice", message, number, offset, "ask the sender which of them counts")
        seen.setdefault(key, number)
    for key, number in seen.items():
        parents = [key[:at] for at, letter in enumerate(key) if letter == "/"]
        for parent in parents:
            if parent in seen and not names[seen[parent] - 1].endswith("/"):
                message = f"member {seen[parent]} is a file where this one needs a folder"
                _find(findings, "zip_twice", message, number, offsets[number - 1], "ask the sender which counts")


def _wrong_name(name: str) -> str:
    parts = name.removesuffix("/").split("/")
    if CONTROL.search(name):
        return "has control characters"
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/") or DRIVE.match(name) or ":" in name:
        return "begins at a root or a drive, or has a stream's colon"
    if any(p in ("", ".", "..") for p in parts):
        return "leads elsewhere, or is empty"
    if any(p != p.rstrip(" .") or len(p.encode("utf-8", "surrogatepass")) > NAME for p in parts):
        return "ends in a blank or a full stop, or is too long"
    if "\ufffd" in name or any(unicodedata.category(c) in ("Cf", "Cs", "Co", "Cn") for c in name):
        return "has letters that can't be seen, or turn the direction"
    return ""


def _entry(entry: zipfile.ZipInfo, number: int, findings: Findings) -> None:
    def find(rule: str, message: str, next_step: str = "ask the sender for the archive without it") -> None:
        _find(findings, rule, message, number, entry.header_offset, next_step)

    mode = entry.external_attr >> 16
    folder = entry.orig_filename.endswith("/")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR) or (stat.S_ISDIR(mode) and not folder):
        find("zip_link", "it is no plain file: a link, a device or a pipe")
    if entry.flag_bits & ENCRYPTED:
        find("zip_encrypted", "it is encrypted: nobody could look into it", "ask for it unencrypted, over this channel")
    if entry.compress_type not in METHODS:
        find("zip_method", f"it is packed by method {entry.compress_type}", "ask for it stored or deflated")
    if folder and (entry.file_size or entry.compress_size > 2):
        find("zip_name", "it is called a folder and has content")
    if entry.file_size > SMALL and entry.file_size > RATIO * entry.compress_size:
        find("zip_bomb", f"it says that it grows more than {RATIO} times as large")
    if entry.comment:
        find("zip_comment", "it has a comment: the gate doesn't look there")
    if (fields := _extra(entry.extra)) is None or fields.keys() - EXTRA:
        find("zip_extra", "it has an extra field that isn't known to be harmless")


def _extra(extra: bytes) -> dict[int, bytes] | None:
    """Extra fields by their ids; none for what can't be taken apart, or has one twice."""
    found: dict[int, bytes] = {}
    while extra:
        if len(extra) < 4:
            return None
        kind, length = struct.unpack_from("<HH", extra)
        if len(extra) < 4 + length or kind in found:
            return None
        found[kind] = extra[4 : 4 + length]
        extra = extra[4 + length :]
    return found


def _sizes(packed: int, size: int, large: bytes) -> tuple[int, int]:
    """A local header's packed and plain size: those that have no room in it stand in its zip64 field, plain first."""
    wanted = [n == FULL for n in (size, packed)]
    if not any(wanted) or len(large) < 8 * sum(wanted):
        return packed, size
    there = iter(struct.unpack_from(f"<{sum(wanted)}Q", large))
    size, packed = (next(there) if want else n for want, n in zip(wanted, (size, packed), strict=True))
    return packed, size


def _places(stream: BinaryIO, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], findings: Findings) -> None:
    """Local headers agree with the directory, and the members fill the file: no overlap, no gap, nothing before."""
    after = 0
    for number, entry in sorted(enumerate(entries, 1), key=lambda e: e[1].header_offset):
        if entry.header_offset != after:
            message = (
                "it begins inside another member" if entry.header_offset < after else "bytes before it are nobody's"
            )
            _find(findings, "zip_places", message, number, entry.header_offset, "ask the sender for the archive again")
            return
        stream.seek(entry.header_offset)
        local = stream.read(30)
        if len(local) < 30 or local[:4] != LOCAL:
            _find(findings, "zip_places", "there is no member where the directory says", number, entry.header_offset)
            return
        flags, method, crc, packed, size, name, extra = struct.unpack("<6xHH4xIIIHH", local)
        rest = stream.read(name + extra)
        fields = _extra(rest[name:])
        if fields is None or fields.keys() - EXTRA:
            _find(
                findings,
                "zip_extra",
                "it has an extra field that isn't known to be harmless",
                number,
                entry.header_offset,
            )
        later = bool(flags & DESCRIPTOR)
        said = (entry.CRC, entry.compress_size, entry.file_size)
        packed, size = _sizes(packed, size, (fields or {}).get(SIZES, b""))
        if (
            not ((crc, packed, size) == said or (later and (crc, packed, size) == (0, 0, 0)))
            or rest[:name] != entry.orig_filename.encode("utf-8" if flags & UTF8 else "cp437")
            or method != entry.compress_type
            or flags & (ENCRYPTED | UTF8) != entry.flag_bits & (ENCRYPTED | UTF8)
        ):
            message = "its own header and the directory say different things"
            _find(findings, "zip_lies", message, number, entry.header_offset, "ask the sender for the archive again")
        after = entry.header_offset + 30 + name + extra + entry.compress_size
        if later:
            after += _descriptor(stream, after, said)
    if after != archive.start_dir:
        _find(findings, "zip_places", "between members and directory are bytes that are nobody's", offset=after)


def _descriptor(stream: BinaryIO, at: int, said: tuple[int, int, int]) -> int:
    """The length of the data descriptor that stands there; 0 for none that agrees."""
    stream.seek(at)
    found = stream.read(24)
    for form in ("<III", "<IQQ"):
        plain = struct.pack(form, *said) if max(said) < 1 << (32 if form == "<III" else 63) else b"?"
        for whole in (b"PK\x07\x08" + plain, plain):
            if found.startswith(whole):
                return len(whole)
    return 0


def _read(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, number: int, findings: Findings,
    watch: Callable[[int, str], Watcher] | None,
) -> Member | None:  # fmt: skip
    digest, size, watcher = sha256(), 0, watch(number, entry.filename) if watch else None
    last = b""
    most = max(entry.file_size, RATIO * entry.compress_size, SMALL)
    try:
        with archive.open(entry) as member:
            while chunk := member.read(CHUNK):
                looked = last + chunk
                last = looked[-len(ONE_DISK) :]
                begins = not size and (chunk.startswith(ARCHIVES) or chunk.startswith(b"ustar", TAR))
                if begins or ONE_DISK in looked:
                    message = "it is an archive itself: the gate doesn't look there"
                    _find(findings, "zip_nested", message, number, entry.header_offset, "ask for its content instead")
                    return None
                size += len(chunk)
                if size > most:
                    break
                digest.update(chunk)
                if watcher is not None:
                    watcher(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        size = -1
    if size != entry.file_size:
        message = "what is in it isn't what the directory says: another size or checksum, or it is cut off"
        _find(findings, "zip_lies", message, number, entry.header_offset, "ask the sender for the archive again")
        return None
    return Member(number, entry.filename, size, digest.hexdigest(), entry.header_offset)


def _find(
    findings: Findings, rule: str, message: str, number: int | None = None, offset: int | None = None,
    next_step: str = "ask the sender for the archive again",
) -> None:  # fmt: skip
    findings.add(
        Finding(rule, message, next_step, record=number, record_type="member" if number else "", offset=offset)
    )
