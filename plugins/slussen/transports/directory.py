"""A shared directory. Everything happens relative to an open folder, and no link is followed out of it."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self

from slussen.errors import TransportError, TransportRefused
from slussen.transports import Entry, Exists, Missing, Sink, plain, temporary_name

CHUNK = 1 << 20
ARCHIVE = "archive"
RENAME_NOREPLACE = 1
FINAL = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}


class Directory:
    """Files in one folder; collected ones go to ``archive`` in it."""

    replaces = True

    def __init__(self, folder: str | Path) -> None:
        with _said(f"opening {folder}"):
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._path = Path(folder)

    def entries(self, pattern: str) -> list[Entry]:
        found = []
        with _said(f"listing {self._path}"):
            for name in sorted(os.listdir(self._folder)):  # noqa: PTH208 (of an open folder)
                if name.startswith(".") or not fnmatchcase(name, plain(pattern)):
                    continue
                try:
                    s = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(s.st_mode):
                    found.append(Entry(name, s.st_size, f"{s.st_mtime_ns}.{s.st_ino}"))
        return found

    def fetch(self, name: str, sink: Sink) -> None:
        with _said(f"reading {name}"), self._open(name) as file:
            while chunk := file.read(CHUNK):
                sink.write(chunk)

    def put(self, name: str, source: BinaryIO) -> None:
        with _said(f"writing {name}"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(plain(name), flags, 0o640, dir_fd=self._folder), "wb") as file:
                while chunk := source.read(CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(self._folder)

    def exists(self, name: str) -> bool:
        with _said(f"looking for {name}"):
            try:
                os.stat(plain(name), dir_fd=self._folder, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def digest(self, name: str) -> str:
        with _said(f"reading {name}"), self._open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def verify(self, name: str, size: int, sha256: str) -> bool:
        return self.digest(name) == sha256

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        with _said(f"renaming to {new}"):
            if replace:
                os.rename(plain(old), plain(new), src_dir_fd=self._folder, dst_dir_fd=self._folder)
            else:
                _rename_new(self._folder, plain(old), self._folder, plain(new))
            os.fsync(self._folder)

    def remove(self, name: str) -> None:
        with _said(f"removing {name}"):
            try:
                os.unlink(plain(name), dir_fd=self._folder)
            except FileNotFoundError:
                return
            os.fsync(self._folder)

    def archive(self, name: str) -> str:
        with _said(f"archiving {name}"):
            with suppress(FileExistsError):
                os.mkdir(ARCHIVE, 0o750, dir_fd=self._folder)
            folder = os.open(ARCHIVE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._folder)
            try:
                for archived in _versions(name):
                    try:
                        _rename_new(self._folder, plain(name), folder, archived)
                    except FileExistsError:
                        continue
                    os.fsync(folder)
                    os.fsync(self._folder)
                    return f"{ARCHIVE}/{archived}"
            finally:
                os.close(folder)
        raise AssertionError("unreachable")

    def temporary(self, name: str, interchange: str, attempt: int) -> str:
        return temporary_name(name, interchange, attempt)

    def aside(self, name: str, interchange: str) -> str:
        return f".{name}.{interchange}.old"

    def close(self) -> None:
        os.close(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _open(self, name: str) -> Iterator[BufferedReader]:
        # Not following links, and not waiting for the writer of a named pipe.
        descriptor = os.open(plain(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise TransportRefused(f"{name} is no regular file")
            yield file


def _versions(name: str) -> Iterator[str]:
    yield name
    n = 1
    while True:
        n += 1
        yield f"{name}.{n}"


def _rename_new(old_folder: int, old: str, new_folder: int, new: str) -> None:
    """Rename, refusing an existing target in the same step: Linux's renameat2, else a link and an unlink.

    The second way is two steps: a crash between them leaves both names on the one file.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        done = libc.renameat2(old_folder, os.fsencode(old), new_folder, os.fsencode(new), RENAME_NOREPLACE)
        if done == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number))
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
