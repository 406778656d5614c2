"""HANNA's two FTP faces on loopback: plain files, and z/OS datasets.

The z/OS face keeps a dataset in a file of its name. Like z/OS it knows quoted names only, lists them by pattern, gives
their attributes but no size in bytes, has neither MLSD nor SIZE nor MDTM, takes SITE RECFM, LRECL, CONDDISP and space,
fills the last record of a fixed-block dataset, keeps the stump of a broken STOR unless told otherwise, and refuses a
rename onto an existing dataset.

A face is a handler class: a fault is a subclass of it, given to ``server``.
"""

from __future__ import annotations

import argparse
import re
from fnmatch import translate
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS, FilesystemError
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

USER, PASSWORD = "slussen", "sandbox"
DATASET = re.compile(r"'([A-Z#@$][A-Z0-9#@$-]{0,7}(?:\.[A-Z#@$][A-Z0-9#@$-]{0,7})*)'")
SITE = {"FILETYPE", "RECFM", "LRECL", "BLKSIZE", "CONDDISP", "CYLINDERS", "TRACKS", "PRIMARY", "SECONDARY"}
TRACK = 56_664  # bytes of a track of a 3390


class Datasets(AbstractedFS):  # type: ignore[misc]
    """A folder whose files are datasets."""

    def ftp2fs(self, ftppath: str) -> str:
        match = DATASET.fullmatch(ftppath)
        if match is None or len(match[1]) > 44:
            if ftppath in ("/", "", "*"):
                return str(self.root)
            raise FilesystemError("invalid data set name")
        return str(Path(self.root) / match[1])

    def validpath(self, path: str) -> bool:
        return True

    def rename(self, src: str, dst: str) -> None:
        if Path(dst).exists():
            raise FilesystemError("data set already exists")
        super().rename(src, dst)


class Files(FTPHandler):  # type: ignore[misc]
    """Plain files."""

    banner = "HANNA files"
    unicode_errors = "surrogateescape"  # names are bytes


class Mainframe(FTPHandler):  # type: ignore[misc]
    """z/OS datasets."""

    banner = "FTPSERVE HANNA"
    abstracted_fs = Datasets
    record_length = 80
    delete_stumps = False

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd == "SITE":
            self._site(arg)
        elif cmd in ("MLSD", "MLST", "SIZE", "MDTM"):
            self.respond("502 not implemented for data sets")
        elif cmd == "FEAT":
            self.respond("211 no extensions")
        elif cmd in ("NLST", "LIST") and arg:
            self._names(cmd, arg)
        else:
            try:
                super().pre_process_command(line, cmd, arg)
            except FilesystemError:
                self.respond("501 A qualifier in the data set name is not valid")

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
        if short := Path(file).stat().st_size % self.record_length:
            with Path(file).open("ab") as dataset:
                dataset.write(bytes(self.record_length - short))

    def on_incomplete_file_received(self, file: str) -> None:
        if self.delete_stumps:
            Path(file).unlink(missing_ok=True)


def server(handler: type[FTPHandler], root: Path, port: int = 0, loop: IOLoop | None = None) -> FTPServer:
    """A server of this face on loopback; port 0 takes a free one. Servers of one ``loop`` are served together."""
    root.mkdir(parents=True, exist_ok=True)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(root), perm="elradfmw")
    kind: Any = type(handler.__name__, (handler,), {"authorizer": authorizer, "timeout": 60})
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
