"""HANNA's two FTP faces on loopback: plain files, and z/OS datasets.

The z/OS face keeps a dataset, or a member of a library, in a file of its name. Like z/OS it knows quoted names only,
lists them by pattern, gives their attributes but no size in bytes, has neither MLSD nor SIZE nor MDTM nor REST, takes
SITE RECFM, LRECL, CONDDISP and space, fills the last record of a fixed-block dataset, translates text to EBCDIC records
and back in TYPE A, keeps the stump of a broken STOR unless told otherwise, resolves relative generations, refuses a
rename onto an existing dataset, and says that a dataset is held by another job (the switch ``busy``).

Reply texts: IBM, z/OS Communications Server IP User's Guide and Commands, and APAR PM52007 for the dataset in use.
A face is a handler class; its switches are ``faults.json`` in the root of both.
"""

from __future__ import annotations

import argparse
import io
import re
from fnmatch import translate
from pathlib import Path
from typing import Any

import ebcdic  # noqa: F401 (registers cp278)
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS, FilesystemError
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from sandbox.faults import Switches
from sandbox.ftp_faults import Switched

USER, PASSWORD = "slussen", "sandbox"
QUALIFIED = r"[A-Z#@$][A-Z0-9#@$-]{0,7}(?:\.[A-Z#@$][A-Z0-9#@$-]{0,7})*"
DATASET = re.compile(rf"'({QUALIFIED}(?:\([A-Z#@$][A-Z0-9#@$]{{0,7}}\))?)'")
RELATIVE = re.compile(rf"'({QUALIFIED})\(([+-]?\d+)\)'")
GENERATION = re.compile(r"G(\d{4})V00")
SITE = {"FILETYPE", "RECFM", "LRECL", "BLKSIZE", "CONDDISP", "CYLINDERS", "TRACKS", "PRIMARY", "SECONDARY",
        "SBDATACONN", "TRAILINGBLANKS", "NOTRAILINGBLANKS"}  # fmt: skip
TRACK = 56_664  # bytes of a track of a 3390
EBCDIC, BLANK = "cp278", b"\x40"


class Text(io.BytesIO):
    """A dataset as lines."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(data)
        self.name = name


class Datasets(AbstractedFS):  # type: ignore[misc]
    """A folder whose files are datasets."""

    def ftp2fs(self, ftppath: str) -> str:
        if relative := RELATIVE.fullmatch(ftppath):
            return self._generation(relative[1], int(relative[2]))
        match = DATASET.fullmatch(ftppath)
        if match is None or len(match[1].partition("(")[0]) > 44:
            if ftppath in ("/", "", "*"):
                return str(self.root)
            raise FilesystemError("invalid data set name")
        return str(Path(self.root) / match[1])

    def _generation(self, base: str, relative: int) -> str:
        """0 is the newest, -1 the one before, +1 a new one."""
        found = sorted(f.name for f in Path(self.root).glob(f"{base}.G????V00") if GENERATION.fullmatch(f.suffix[1:]))
        if relative > 0:
            newest = int(found[-1][-7:-3]) if found else 0
            return str(Path(self.root) / f"{base}.G{newest + relative:04d}V00")
        if len(found) < 1 - relative:
            raise FilesystemError("data set not found")
        return str(Path(self.root) / found[relative - 1])

    def open(self, filename: str, mode: str) -> Any:
        """Text is translated on its way out: records to lines, without their trailing blanks."""
        file = super().open(filename, mode)
        if mode != "rb" or self.cmd_channel._current_type != "a":
            return file
        with file:
            data, length = file.read(), self.cmd_channel.record_length
        lines = (data[at : at + length].decode(EBCDIC).rstrip() for at in range(0, len(data), length))
        return Text(filename, "".join(f"{line}\r\n" for line in lines).encode("latin-1"))

    def validpath(self, path: str) -> bool:
        return True

    def rename(self, src: str, dst: str) -> None:
        if Path(dst).exists():
            raise FilesystemError("data set already exists")
        super().rename(src, dst)


class Files(Switched):
    """Plain files."""

    banner = "HANNA files"
    unicode_errors = "surrogateescape"  # names are bytes


class Mainframe(Switched):
    """z/OS datasets."""

    banner = "FTPSERVE HANNA"
    abstracted_fs = Datasets
    record_length = 80
    delete_stumps = False

    def go_on(self, line: str, cmd: str, arg: str) -> None:
        if cmd == "SITE":
            self._site(arg)
        elif cmd in ("MLSD", "MLST", "SIZE", "MDTM", "REST"):
            self.respond("502 not implemented for data sets")
        elif cmd == "FEAT":
            self.respond("211 no extensions")
        elif cmd in ("NLST", "LIST") and arg:
            self._names(cmd, arg)
        else:
            try:
                super().go_on(line, cmd, arg)
            except FilesystemError:
                self.respond("501 A qualifier in the data set name is not valid")

    def respond(self, resp: str, logfun: Any = None) -> None:
        if resp.startswith("450 "):
            resp = "450 Data set is allocated to another job and is unavailable for the command"
        super().respond(resp, logfun)

    def _site(self, arg: str) -> None:
        for option in arg.upper().split():
            name, _, value = option.partition("=")
            if name == "LRECL" and value.isdigit():
                self.record_length = int(value) or 80
            elif name == "CONDDISP":
                self.delete_stumps = value == "DELETE"
            elif name not in SITE:
                self.respond(f"200-Unrecognized parameter '{option}' on SITE command.")
        self.respond("200 SITE command was accepted")

    def _names(self, cmd: str, arg: str) -> None:
        """In a pattern ``*`` is any part of a qualifier, ``**`` of a name, ``%`` one letter."""
        pattern = translate(arg.strip("'").replace("%", "?")).replace(".*.*", "\0").replace(".*", "[^.]*")
        wanted = re.compile(pattern.replace("\0", ".*"))
        found = sorted(f for f in Path(self.fs.root).iterdir() if f.is_file() and wanted.fullmatch(f.name))
        if not found:
            self.respond("550 No data sets found.")
        elif cmd == "NLST":
            self._send(cmd, [f"'{f.name}'" for f in found])
        else:
            head = "Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname"
            self._send(cmd, [head, *(self._row(f) for f in found)])

    def _row(self, file: Path) -> str:
        tracks = file.stat().st_size // TRACK + 1
        return f"HAN001 3390   2026/01/12  1{tracks:5d}  FB {self.record_length:7d}     0  PS  '{file.name}'"

    def _send(self, cmd: str, lines: list[str]) -> None:
        self.push_dtp_data("".join(f"{line}\r\n" for line in lines).encode(), isproducer=False, cmd=cmd)

    def on_file_received(self, file: str) -> None:
        """A fixed-block dataset has whole records."""
        if self._current_type == "a":
            lines = Path(file).read_bytes().decode("latin-1").splitlines()
            Path(file).write_bytes(b"".join(
                line.encode(EBCDIC)[: self.record_length].ljust(self.record_length, BLANK) for line in lines
            ))  # fmt: skip
        elif short := Path(file).stat().st_size % self.record_length:
            with Path(file).open("ab") as dataset:
                dataset.write(bytes(self.record_length - short))
        super().on_file_received(file)

    def on_incomplete_file_received(self, file: str) -> None:
        if self.delete_stumps:
            Path(file).unlink(missing_ok=True)


def server(handler: type[FTPHandler], root: Path, port: int = 0, loop: IOLoop | None = None) -> FTPServer:
    """A server of this face on loopback; port 0 takes a free one. Servers of one ``loop`` are served together."""
    root.mkdir(parents=True, exist_ok=True)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(root), perm="elradfmw")
    switches = Switches(root.parent / "faults.json")
    kind: Any = type(handler.__name__, (handler,), {"authorizer": authorizer, "timeout": 60, "switches": switches})
    return FTPServer(("127.0.0.1", port), kind, ioloop=loop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder with files/ and datasets/ below it")
    parser.add_argument(
        "--ports", "--port-file", type=Path, required=True, help="file to write the two ports to: files, datasets"
    )
    parser.add_argument("--files-port", type=int, default=0, help="port of the plain files (default: a free one)")
    parser.add_argument("--datasets-port", type=int, default=0, help="port of the datasets (default: a free one)")
    options = parser.parse_args()
    files = server(Files, options.root / "files", options.files_port)
    mainframe = server(Mainframe, options.root / "datasets", options.datasets_port)
    written = options.ports.with_suffix(".part")
    written.write_text(f"{files.address[1]} {mainframe.address[1]}\n")
    written.rename(options.ports)
    files.serve_forever()  # one loop serves both


if __name__ == "__main__":
    main()
