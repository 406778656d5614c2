"""A shared directory. Everything happens relative to an open folder, and no link is followed out of it."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self

from slussen.errors import CallError, TransportError, TransportRefused
from slussen.transports import (
    Entry,
    Exists,
    Missing,
    Sink,
    aside_name,
    in_order,
    is_plain,
    matches,
    no_file,
    plain,
    temporary_name,
    unusable,
    versions,
)

CHUNK = 1 << 20
ARCHIVE = "archive"
RENAME_NOREPLACE = 1
FINAL = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR}


class Directory:
    """Files in one folder; collected ones go to ``archive`` in it. ``encoding`` is that of names.

    A name that is no text in that encoding is one with surrogate escapes; so is one that was listed: it is found again
    as it stands there.
    """

    replaces = True

    def __init__(self, folder: str | Path, encoding: str = "utf-8") -> None:
        self._encoding = encoding
        try:
            with _said(f"opening {folder}"):
                self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except Missing:
            raise TransportRefused(f"opening {folder}: there is no such directory") from None
        self._path = Path(folder)

    def entries(self, pattern: str) -> list[Entry]:
        with _said(f"listing {self._path}"):
            listed = [self._unwire(n) for n in os.listdir(self._folder)]  # noqa: PTH208 (of an open folder)
            return in_order(e for e in map(self._shown, (n for n in listed if matches(n, pattern))) if e is not None)

    def stat(self, name: str) -> Entry | None:
        with _said(f"looking for {name}"):
            return self._entry(plain(name))

    def _wire(self, name: str) -> bytes:
        try:
            return name.encode(self._encoding, "surrogateescape")
        except UnicodeEncodeError:
            raise CallError(f"{name!r} can't be written in the directory's {self._encoding}") from None

    def _unwire(self, listed: str) -> str:
        return os.fsencode(listed).decode(self._encoding, "surrogateescape")

    def _entry(self, name: str, folder: int | None = None) -> Entry | None:
        try:
            s = os.stat(self._wire(name), dir_fd=self._folder if folder is None else folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return _shown(name, s) if stat.S_ISREG(s.st_mode) else None

    def _shown(self, name: str) -> Entry | None:
        """A folder isn't meant for us; a link, a pipe or a device under a file's name is a fault."""
        if (entry := self._entry(name)) is not None:
            return entry
        with suppress(FileNotFoundError):
            s = os.stat(self._wire(name), dir_fd=self._folder, follow_symlinks=False)
            if not stat.S_ISDIR(s.st_mode):
                return no_file(name)
        return None

    def fetch(self, name: str, sink: Sink) -> Entry:
        with _said(f"reading {name}"), self._open(name) as file:
            before, got = os.fstat(file.fileno()), 0
            while got <= before.st_size and (chunk := file.read(CHUNK)):  # a writer that never ends isn't chased
                got += sink.write(chunk)
            after = os.fstat(file.fileno())
            if (got, after.st_size, after.st_mtime_ns) != (before.st_size, before.st_size, before.st_mtime_ns):
                raise TransportError(f"reading {name}: it is still being written")
            return _shown(name, after)

    def put(self, name: str, source: BinaryIO, size: int) -> None:
        with _said(f"writing {name}"):
            with os.fdopen(self._create(plain(name)), "wb") as file:
                while chunk := source.read(CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(self._folder)

    def _create(self, name: str) -> int:
        path = self._wire(name)
        # Always a new file: what somebody has put there (a pipe, a link to another file) is not written into.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with suppress(FileExistsError):
            return os.open(path, flags, 0o640, dir_fd=self._folder)
        os.unlink(path, dir_fd=self._folder)
        return os.open(path, flags, 0o640, dir_fd=self._folder)

    def exists(self, name: str) -> bool:
        with _said(f"looking for {name}"):
            return self._is_in(self._folder, plain(name))

    def digest(self, name: str) -> str:
        with _said(f"reading {name}"), self._open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def verify(self, name: str, size: int, sha256: str) -> bool:
        """By reading it back."""
        return self.digest(name) == sha256

    def space(self) -> int:
        """Free bytes, for us."""
        with _said(f"looking at {self._path}"):
            room = os.fstatvfs(self._folder)
            return room.f_bavail * room.f_frsize

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        """Refuses a name that is taken in the same step where the file system can, else by a look before.

        Not by a link and an unlink: an attempt killed between the two leaves its file under both names, and when a
        receiver takes the one, the next attempt delivers the other (``test_delivery.py`` finds that schedule).
        """
        with _said(f"renaming to {new}"):
            source, target = self._wire(plain(old)), self._wire(plain(new))
            if replace or not _rename_new(self._folder, source, self._folder, target):
                if not replace and self.exists(new):
                    os.stat(source, dir_fd=self._folder, follow_symlinks=False)  # missing goes before taken
                    raise FileExistsError
                os.rename(source, target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)

    def remove(self, name: str) -> None:
        with _said(f"removing {name}"), suppress(FileNotFoundError):
            os.unlink(self._wire(plain(name)), dir_fd=self._folder)
            os.fsync(self._folder)

    def shelf(self, name: str, taken: Collection[str] = ()) -> str:
        with _said(f"archiving {name}"), self._archive() as folder:
            free = (v for v in versions(plain(name)) if f"{ARCHIVE}/{v}" not in taken and not self._is_in(folder, v))
            return f"{ARCHIVE}/{next(free)}"

    def archive(self, seen: Entry, place: str) -> str:
        with _said(f"archiving {seen.name}"), self._archive() as folder:
            _move_new(self._folder, self._wire(plain(seen.name)), folder, self._wire(_shelved(place)))
            os.fsync(folder)
            os.fsync(self._folder)
        return place

    def shelved(self, place: str) -> Entry | None:
        with _said(f"looking for {place}"), self._archive() as folder:
            return self._entry(_shelved(place), folder)

    def shelved_digest(self, place: str) -> str:
        with _said(f"reading {place}"), self._archive() as folder, self._open(_shelved(place), folder) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def put_back(self, place: str, name: str) -> None:
        with _said(f"putting {place} back"), self._archive() as folder:
            _move_new(folder, self._wire(_shelved(place)), self._folder, self._wire(plain(name)))
            os.fsync(folder)
            os.fsync(self._folder)

    @contextmanager
    def _archive(self) -> Iterator[int]:
        """The archive's folder, open; made when there is none."""
        with suppress(FileExistsError):
            os.mkdir(ARCHIVE, 0o750, dir_fd=self._folder)
        folder = os.open(ARCHIVE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._folder)
        try:
            yield folder
        finally:
            os.close(folder)

    def _is_in(self, folder: int, name: str) -> bool:
        try:
            os.stat(self._wire(name), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def cut_short(self, names: Collection[str]) -> list[str]:
        return []  # a name comes whole, or not at all

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return temporary_name(name, interchange, attempt)

    def aside(self, name: str, interchange: str) -> str:
        return aside_name(name, interchange)

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
        self._folder = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _open(self, name: str, folder: int | None = None) -> Iterator[BufferedReader]:
        if not is_plain(name):
            raise unusable(name)
        # Not following links, and not waiting for the writer of a named pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._wire(name), flags, dir_fd=self._folder if folder is None else folder)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise TransportRefused(f"{name} is no regular file")
            yield file


def _shown(name: str, s: os.stat_result) -> Entry:
    return Entry(name, s.st_size, f"{s.st_mtime_ns}.{s.st_ino}")


def _shelved(place: str) -> str:
    """The name in the archive's folder."""
    return plain(place.removeprefix(f"{ARCHIVE}/"))


def _rename_new(old_folder: int, old: bytes, new_folder: int, new: bytes) -> bool:
    """Rename, refusing an existing target in the same step; False where the system or the file system can't."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if not libc.renameat2(old_folder, old, new_folder, new, RENAME_NOREPLACE):
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number))


def _move_new(old_folder: int, old: bytes, new_folder: int, new: bytes) -> None:
    """Move over nothing that is there; killed halfway, some file systems leave both names on the one file."""
    if not _rename_new(old_folder, old, new_folder, new):
        os.link(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder, follow_symlinks=False)
        os.unlink(old, dir_fd=old_folder)


@contextmanager
def _said(doing: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Missing(f"{doing}: there is none") from None
    except FileExistsError:
        raise Exists(f"{doing}: the name is taken") from None
    except OSError as error:
        kind = TransportRefused if error.errno in FINAL else TransportError
        raise kind(f"{doing}: {os.strerror(error.errno or 0)}") from None
