"""HANNA's two FTP faces on loopback: plain files, and z/OS datasets.

The z/OS face keeps a dataset in a file of its name; it knows quoted names, SITE RECFM/LRECL/CONDDISP, refuses a
rename onto an existing dataset, and rejects a fixed-block dataset whose bytes are no whole records.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS, FilesystemError
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

USER, PASSWORD = "slussen", "sandbox"
DATASET = re.compile(r"'([A-Z#@$][A-Z0-9#@$-]{0,7}(?:\.[A-Z#@$][A-Z0-9#@$-]{0,7})*)'")


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


class Mainframe(FTPHandler):  # type: ignore[misc]
    """z/OS datasets."""

    banner = "FTPSERVE HANNA"
    abstracted_fs = Datasets
    record_length = 80
    delete_stumps = False

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd.startswith("SITE"):
            for option in arg.upper().split():
                name, _, value = option.partition("=")
                if name == "LRECL" and value.isdigit():
                    self.record_length = int(value)
                elif name == "CONDDISP":
                    self.delete_stumps = value == "DELETE"
                elif name not in ("RECFM", "BLKSIZE"):
                    self.respond("200-Unrecognized parameter ignored")
            self.respond("200 SITE command was accepted")
            return
        if cmd in ("MLSD", "SIZE", "MDTM"):
            self.respond("502 not implemented for data sets")
            return
        if cmd == "NLST" and arg:
            self._names(arg)
            return
        super().pre_process_command(line, cmd, arg)

    def _names(self, arg: str) -> None:
        path = Path(self.fs.ftp2fs(arg))
        if not path.is_file():
            self.respond("550 NLST fails: no data sets found")
        else:
            self.push_dtp_data(f"'{path.name}'\r\n".encode(), isproducer=False, cmd="NLST")

    def on_file_received(self, file: str) -> None:
        if Path(file).stat().st_size % self.record_length:
            Path(file).unlink()

    def on_incomplete_file_received(self, file: str) -> None:
        if self.delete_stumps:
            Path(file).unlink(missing_ok=True)


def server(handler: type[FTPHandler], root: Path, port: int = 0) -> FTPServer:
    """A server of this face on loopback; port 0 takes a free one."""
    root.mkdir(parents=True, exist_ok=True)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(root), perm="elradfmw")
    kind: Any = type(handler.__name__, (handler,), {"authorizer": authorizer, "timeout": 60})
    return FTPServer(("127.0.0.1", port), kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder with files/ and datasets/ below it")
    parser.add_argument("--ports", type=Path, required=True, help="file to write the two ports to")
    options = parser.parse_args()
    files = server(Files, options.root / "files")
    mainframe = server(Mainframe, options.root / "datasets")
    written = options.ports.with_suffix(".part")
    written.write_text(f"{files.address[1]} {mainframe.address[1]}\n")
    written.rename(options.ports)
    files.serve_forever()  # one loop serves both


if __name__ == "__main__":
    main()
