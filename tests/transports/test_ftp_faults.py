"""Servers that lie, refuse, cut off or trickle: each a real server with one fault, on loopback."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pyftpdlib.ioloop import IOLoop

from sandbox.ftp_server import PASSWORD, USER, Files, Mainframe, server
from slussen.archiving import archive, archiving
from slussen.delivery import Delivery, deliver, drive
from slussen.errors import TechnicalError, TransportError, TransportRefused
from slussen.payloads import PayloadStore
from slussen.transports import Entry, Exists, Missing, ftp, ftp_client, ftp_looking, remote
from slussen.transports.ftp import Ftp
from slussen.transports.mvs import Mvs
from tests.model.world import Book

CONTENT = b"x" * 100_000


@contextmanager
def serving(handler: type, root: Path) -> Iterator[int]:
    """The port of a server in a thread of its own."""
    face = server(handler, root, loop=IOLoop())
    going = True

    def serve() -> None:
        while going:
            face.serve_forever(timeout=0.01, blocking=False)
        face.close_all()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield face.address[1]
    finally:
        going = False
        thread.join()


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Callable[..., Ftp]]:
    """Opens an FTP client of a server with this fault."""
    from contextlib import ExitStack

    with ExitStack() as open_:

        def start(handler: type, kind: type[Ftp] = Ftp, **more: Any) -> Ftp:
            port = open_.enter_context(serving(handler, tmp_path))
            return open_.enter_context(kind("127.0.0.1", port, USER, PASSWORD, **more))

        yield start


class RefusesRenames(Files):
    def ftp_RNFR(self, path: str) -> None:
        self.respond("550 Permission denied.")


class RefusesDatasetRenames(Mainframe):
    def ftp_RNTO(self, path: str) -> None:
        self.respond("550 Not authorized.")


class HidesSizes(RefusesRenames):
    """And refuses to tell a size: two 550 that don't mean that there is no file."""

    def ftp_SIZE(self, path: str) -> None:
        self.respond("550 Permission denied.")


@pytest.mark.parametrize("handler", [RefusesRenames, HidesSizes])
def test_a_refusal_is_never_taken_for_a_missing_file(faulty: Callable[..., Ftp], tmp_path: Path, handler: type) -> None:
    """A delivery would infer that its file has gone through."""
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(TransportRefused) as caught:
        faulty(handler).rename("a", "b", replace=False)
    assert not isinstance(caught.value, Exists)


def test_nor_is_a_mainframes(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    (tmp_path / "A.B").write_bytes(b"x" * 80)
    with pytest.raises(TransportRefused) as caught:
        faulty(RefusesDatasetRenames, Mvs).rename("A.B", "A.C", replace=False)
    assert not isinstance(caught.value, Exists)
    with pytest.raises(Missing):
        faulty(Mainframe, Mvs).rename("A.X", "A.C", replace=False)


class Silent(Mainframe):
    """Refuses to rename, and is too busy to list."""

    listing = "450 Busy."

    def ftp_RNFR(self, path: str) -> None:
        self.respond("550 Not authorized.")

    def _names(self, cmd: str, arg: str) -> None:
        self.respond(self.listing)


@pytest.mark.parametrize(
    ("listing", "kind"), [("450 Busy.", TransportError), ("550 Not authorized.", TransportRefused)]
)
def test_nor_is_a_listing_that_is_refused_an_empty_one(
    faulty: Callable[..., Ftp], tmp_path: Path, listing: str, kind: type[Exception]
) -> None:
    (tmp_path / "A.B").write_bytes(b"x" * 80)
    client = faulty(type("Silent", (Silent,), {"listing": listing}), Mvs)
    for act in (lambda: client.rename("A.B", "A.C", replace=False), lambda: client.entries("A.*")):
        with pytest.raises(kind) as caught:
            act()
        assert not isinstance(caught.value, Missing)


class LooksAway(Files):
    """Renames, sizes and facts are refused; its listing hides what begins with a dot, as vsftpd's does."""

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd in ("RNFR", "SIZE", "MLST", "RETR") or (cmd == "NLST" and arg):
            self.respond("550 Could not.")
        else:
            super().pre_process_command(line, cmd, arg)


def test_a_listing_that_hides_hidden_names_makes_none_of_them_missing(
    faulty: Callable[..., Ftp], tmp_path: Path
) -> None:
    (tmp_path / ".a.tmp").write_bytes(b"x")
    client = faulty(LooksAway)
    with pytest.raises(TransportRefused):
        client.rename(".a.tmp", "a", replace=False)
    with pytest.raises(Missing):  # the listing shows what isn't hidden, and lacks it
        client.rename("b", "c", replace=False)


class BreaksOffLooking(Files):
    """Refuses the file, and goes when it is asked whether there is one."""

    asked = 0

    def ftp_RETR(self, file: str) -> None:
        self.asked = 1
        self.respond("550 Could not.")

    def ftp_SIZE(self, path: str) -> None:
        if self.asked:
            self.respond("421 Elin Exempel is at home.")
            self.close_when_done()
        else:
            super().ftp_SIZE(path)


def test_a_connection_that_breaks_while_it_is_looked_is_a_passing_fault(
    faulty: Callable[..., Ftp], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(TransportError) as caught:
        faulty(BreaksOffLooking).fetch("a", io.BytesIO())
    assert "Elin" not in str(caught.value)


class BusyArchive(Files):
    def ftp_NLST(self, path: str) -> None:
        self.respond("450 Busy.")


def test_nothing_is_archived_over_what_a_busy_listing_does_not_tell(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a").write_bytes(b"first")
    (tmp_path / "a").write_bytes(b"second")
    client = faulty(BusyArchive)
    with pytest.raises(TransportError):
        archive(client, Entry("a", 6, ""))
    assert (tmp_path / "archive" / "a").read_bytes() == b"first"


def test_a_dataset_that_takes_the_name_before_the_archive_is_put_back(
    faulty: Callable[..., Ftp], tmp_path: Path
) -> None:
    (tmp_path / "A.B").write_bytes(b"x" * 80)
    client = faulty(Mainframe, Mvs)
    seen = client.stat("A.B")
    (tmp_path / "A.B").write_bytes(b"y" * 80)
    with pytest.raises(TransportError, match="has taken the name"):
        archive(client, seen)
    assert {f.name: f.read_bytes()[:1] for f in tmp_path.iterdir()} == {"A.B": b"y"}


class Garbled(Files):
    def ftp_MLSD(self, path: str) -> None:
        lines = b"type=file;size=5;modify=20260101000000; a.txt\r\ngarbage\r\nsize=7; b.txt\r\n"
        self.push_dtp_data(lines, cmd="MLSD")


def test_a_line_of_mlsd_that_cannot_be_read_is_told(faulty: Callable[..., Ftp]) -> None:
    names = [e.name for e in faulty(Garbled).entries("*.txt")]
    assert names == ["a.txt", *(f"line {n} of the server's listing, which can't be read/" for n in (2, 3))]


class Busy(Files):
    reply = "450 Busy."

    def ftp_STOR(self, file: str, mode: str = "w") -> None:
        self.respond(self.reply)

    def ftp_DELE(self, path: str) -> None:
        self.respond(self.reply)


@pytest.mark.parametrize(
    ("reply", "passing"),
    [
        ("450 Busy.", True), ("450 Locked, access denied.", True), ("451 Write error: Permission denied", False),
        ("421 Too many.", True), ("452 No space.", True), ("552 Quota.", True),
        ("550 Data set in use by another job.", True), ("550 Denied.", False), ("553 Not allowed.", False),
        ("532 Need account.", False),
    ],
)  # fmt: skip
def test_the_reply_code_says_whether_it_passes(faulty: Callable[..., Ftp], reply: str, passing: bool) -> None:
    client = faulty(type("Busy", (Busy,), {"reply": reply}))
    with pytest.raises(TransportError if passing else TransportRefused) as caught:
        client.put("a", io.BytesIO(CONTENT), len(CONTENT))
    if reply.startswith("45"):
        assert any(words in str(caught.value) for words in ("busy", "full disk", "no room"))


class LosesTheReply(Files):
    """The rename is done, and the connection gone."""

    def ftp_RNTO(self, path: str) -> None:
        self.fs.rename(self._rnfr, path)
        self.close()


def test_a_lost_reply_passes_and_the_connection_is_not_used_again(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    client = faulty(LosesTheReply)
    with pytest.raises(TransportError, match="connection failed"):
        client.rename("a", "b", replace=False)
    assert (tmp_path / "b").exists()
    with pytest.raises(TransportError, match="closed"):
        client.exists("b")


class Shortens(Files):
    """Says a file is longer than what it sends, and that all is well."""

    def ftp_SIZE(self, path: str) -> None:
        self.respond("213 200000")


class Lengthens(Files):
    def ftp_SIZE(self, path: str) -> None:
        self.respond("213 10")


@pytest.mark.parametrize("handler", [Shortens, Lengthens])
def test_what_is_not_as_long_as_it_was_said_to_be_is_not_taken(
    faulty: Callable[..., Ftp], tmp_path: Path, handler: type
) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    with pytest.raises(TransportError, match="the server says 200000" if handler is Shortens else "more came"):
        faulty(handler).fetch("a", io.BytesIO())


class Drops(Files):
    """Keeps half of what it gets, and says that all is well."""

    def on_file_received(self, file: str) -> None:
        with Path(file).open("r+b") as stored:
            stored.truncate(len(CONTENT) // 2)


class Garbles(Files):
    """As many bytes, other ones."""

    def on_file_received(self, file: str) -> None:
        Path(file).write_bytes(b"y" * len(CONTENT))


class Hashes(Garbles):
    """And tells the truth about it."""

    proto_cmds = Files.proto_cmds | {
        "XSHA256": {"perm": "r", "auth": True, "arg": True, "help": "hash"},
    }

    def ftp_FEAT(self, line: str) -> None:
        self.push("211-Features supported:\r\n SIZE\r\n MDTM\r\n XSHA256\r\n")
        self.respond("211 End FEAT.")

    def ftp_XSHA256(self, path: str) -> None:
        self.respond(f"250 {sha256(Path(path).read_bytes()).hexdigest().upper()}")


@pytest.mark.parametrize(
    ("handler", "read_back", "whole"),
    [
        (Files, False, True),
        (Drops, False, False),
        (Garbles, False, True),  # nobody can know
        (Garbles, True, False),
        (Hashes, False, False),
    ],
)
def test_size_hash_or_reading_back_decide_whether_it_arrived(
    faulty: Callable[..., Ftp], handler: type, read_back: bool, whole: bool
) -> None:
    client = faulty(handler, read_back=read_back)
    client.put("a", io.BytesIO(CONTENT), len(CONTENT))
    assert client.verify("a", len(CONTENT), sha256(CONTENT).hexdigest()) is whole


class HashesSlowly(Hashes):
    def ftp_XSHA256(self, path: str) -> None:
        time.sleep(1)
        super().ftp_XSHA256(path)


def test_the_servers_hash_of_a_large_file_is_waited_for(
    faulty: Callable[..., Ftp], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (ftp, remote):
        monkeypatch.setattr(module, "TIMEOUT", 0.5)
    monkeypatch.setattr(remote, "HASHED", len(CONTENT) // 10)
    client = faulty(HashesSlowly)
    client.put("a", io.BytesIO(CONTENT), len(CONTENT))
    assert client.verify("a", len(CONTENT), sha256(b"y" * len(CONTENT)).hexdigest())
    assert client._ftp.sock.gettimeout() == 0.5  # and nothing else


class SaysLess(Files):
    """A large file is half as long again as it is said to be."""

    fetched = 0

    def ftp_SIZE(self, path: str) -> None:
        self.respond(f"213 {remote.LARGE}")

    def ftp_RETR(self, path: str) -> None:
        SaysLess.fetched += 1
        super().ftp_RETR(path)


def test_what_brings_more_than_there_should_be_is_not_begun_again(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(remote.LARGE * 3 // 2))
    with pytest.raises(TransportError, match="more came"):
        faulty(SaysLess).fetch("a", io.BytesIO())
    assert SaysLess.fetched == 1


def test_where_there_is_no_memory_for_what_comes_nothing_is_waited_for(
    faulty: Callable[..., Ftp], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    client = faulty(Files)
    monkeypatch.setattr(ftp_client, "CHUNK", 1 << 60)
    with pytest.raises(MemoryError):
        client.fetch("a", io.BytesIO())


class OnlySaysThatItListsFacts(Files):
    """As a firewall's proxy that passes FEAT on."""

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd in ("MLSD", "MLST"):
            self.respond("500 Unknown command.")
        else:
            super().pre_process_command(line, cmd, arg)


def test_a_server_that_has_no_mlsd_whatever_it_says_is_listed_by_names(
    faulty: Callable[..., Ftp], tmp_path: Path
) -> None:
    client = faulty(OnlySaysThatItListsFacts)
    (tmp_path / "a.txt").write_bytes(b"x")
    for _ in range(2):
        [entry] = client.entries("*.txt")
        assert (entry.name, entry.size, bool(entry.modified)) == ("a.txt", 1, True)


class ShowsLinks(Files):
    """As ProFTPD does."""

    def ftp_MLSD(self, path: str) -> None:
        kinds = {"a.txt": "file", "link.txt": "OS.unix=symlink", "folder.txt": "dir", ".": "cdir"}
        lines = "".join(f"type={kind};size=1;modify=20260101000000; {name}\r\n" for name, kind in kinds.items())
        self.push_dtp_data(lines.encode(), cmd="MLSD")


def test_a_link_is_listed_as_refused(faulty: Callable[..., Ftp]) -> None:
    client = faulty(ShowsLinks)
    file, link = client.entries("*.txt")
    assert (file.name, link.name) == ("a.txt", "link.txt, which is no regular file/")
    with pytest.raises(TransportRefused, match="no regular file"):
        client.fetch(link.name, io.BytesIO())


class NoListings(Files):
    """An old server: no MLSD, no MDTM, an empty folder is an error."""

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd in ("MLSD", "MLST", "MDTM", "FEAT", "OPTS"):
            self.respond("500 Unknown command.")
        elif cmd == "NLST" and not any(Path(self.fs.root).iterdir()):
            self.respond("550 No files found.")
        else:
            super().pre_process_command(line, cmd, arg)


def test_an_old_server_is_listed_by_names(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    client = faulty(NoListings)
    assert client.entries("*") == []
    (tmp_path / "folder").mkdir()
    for name in ("b.txt", "a.txt", "c.dat"):
        (tmp_path / name).write_bytes(name.encode())
    assert [(e.name, e.size) for e in client.entries("*.txt")] == [("a.txt", 5), ("b.txt", 5)]
    assert archive(client, client.stat("a.txt")) == "archive/a.txt"


def test_a_name_that_no_command_can_hold_is_refused_and_the_others_come(
    faulty: Callable[..., Ftp], tmp_path: Path
) -> None:
    for name in ("good.txt", "a\rb.txt", "bell\a.txt"):
        (tmp_path / name).write_bytes(b"x")
    client = faulty(NoListings)
    good, *bad = client.entries("*.txt")
    assert (good.name, [e.name for e in bad]) == ("good.txt", ["a\rb.txt", "bell\a.txt"])
    with pytest.raises(TransportRefused, match="no plain file name"):
        client.fetch("a\rb.txt", io.BytesIO())


class HidesAllSizes(NoListings):
    """As ProFTPD with ``<Limit SIZE> DenyAll``."""

    reply = "550 SIZE: Operation not permitted"
    hidden = ".txt"

    def ftp_SIZE(self, path: str) -> None:
        if path.endswith(self.hidden):
            self.respond(self.reply)
        else:
            super().ftp_SIZE(path)


@pytest.mark.parametrize("reply", [HidesAllSizes.reply, "550 Could not get file size.", "553 Denied."])
@pytest.mark.parametrize("hidden", [".txt", "a.txt"])
def test_a_size_that_is_refused_hides_no_file(
    faulty: Callable[..., Ftp], tmp_path: Path, reply: str, hidden: str
) -> None:
    (tmp_path / "folder.txt").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(CONTENT)
    client = faulty(type("Hides", (HidesAllSizes,), {"reply": reply, "hidden": hidden}))
    assert [(e.name, e.size) for e in client.entries("*")] == [("a.txt", len(CONTENT)), ("b.txt", len(CONTENT))]
    if reply.startswith("550"):
        client.fetch("a.txt", sink := io.BytesIO())
        assert sink.getvalue() == CONTENT
        assert archive(client, client.stat("a.txt")) == "archive/a.txt"


@pytest.mark.parametrize("reply", [HidesAllSizes.reply, "502 Not implemented."])
def test_where_sizes_are_not_told_what_was_moved_by_mistake_is_put_back_all_the_same(
    faulty: Callable[..., Ftp], tmp_path: Path, reply: str
) -> None:
    (tmp_path / "a.txt").write_bytes(b"first")
    client = faulty(type("Hides", (HidesAllSizes,), {"reply": reply}))
    with pytest.raises(TransportError, match="has taken the name"):
        for step in archiving(client, client.fetch("a.txt", io.BytesIO()), lambda _: None):
            if step == "archive":
                (tmp_path / "a.txt").write_bytes(b"the second")
    assert (tmp_path / "a.txt").read_bytes() == b"the second"


class CountsListings(Files):
    listings = 0

    def ftp_NLST(self, path: str) -> None:
        CountsListings.listings += 1
        super().ftp_NLST(path)


def test_an_archive_is_listed_only_for_a_name_that_is_taken_there(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    client, listings = faulty(CountsListings), []
    for name in ("a.txt", "b.txt", "a.txt"):
        (tmp_path / name).write_bytes(b"x")
        archive(client, client.fetch(name, io.BytesIO()))
        listings.append(CountsListings.listings)
    assert listings == [0, 0, 1]
    assert {f.name for f in (tmp_path / "archive").iterdir()} == {"a.txt", "a.txt.2", "b.txt"}


class AnyCase(Files):
    """As Windows: a name is found whatever its case, and listed as it was made."""

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd in ("SIZE", "MLST", "MDTM", "RNTO"):
            path = Path(self.fs.root, arg.lstrip("/"))
            alike = [f for f in path.parent.glob("*") if f.name.lower() == path.name.lower()]
            if alike and cmd == "RNTO":
                self.respond("550 The file exists.")
                return
            arg = f"/{alike[0].relative_to(self.fs.root)}" if alike else arg
        super().pre_process_command(line, cmd, arg)


def test_where_a_name_is_found_in_any_case_another_place_is_looked_for(
    faulty: Callable[..., Ftp], tmp_path: Path
) -> None:
    client, notes = faulty(AnyCase), list[str]()
    for name in ("export.txt", "EXPORT.TXT"):
        (tmp_path / name).write_bytes(name.encode())
        for _ in archiving(client, client.fetch(name, io.BytesIO()), notes.append):
            assert len(notes) < 5
    assert {f.name: f.read_bytes() for f in (tmp_path / "archive").iterdir()} == {
        "export.txt": b"export.txt", "EXPORT.TXT.2": b"EXPORT.TXT",
    }  # fmt: skip


class OnlyNames(NoListings):
    """An old server that tells times, though."""

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd == "MDTM":
            Files.pre_process_command(self, line, cmd, arg)
        else:
            super().pre_process_command(line, cmd, arg)


@pytest.mark.parametrize("many", [2, 1000])
def test_a_file_of_the_same_size_that_takes_the_name_is_not_archived_however_many_there_are(
    faulty: Callable[..., Ftp], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(ftp_looking, "MANY", many)
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_bytes(b"old")
    client = faulty(OnlyNames)
    a, b, _ = client.entries("*.txt")
    assert all(e.modified for e in (a, b)), "what a file that is being filled is known by"
    a, b = (client.fetch(entry.name, io.BytesIO()) for entry in (a, b))
    (tmp_path / "a.txt").write_bytes(b"new")
    os.utime(tmp_path / "a.txt", (2_000_000_000, 2_000_000_000))
    with pytest.raises(TransportError, match="has taken the name"):
        archive(client, a)
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert archive(client, b) == "archive/b.txt"


class Elsewhere(Files):
    """Sends its clients' data connections to another host."""

    masquerade_address = "192.0.2.1"

    def ftp_EPSV(self, line: str) -> None:
        self.respond("500 Unknown command.")


def test_data_goes_to_the_control_connections_peer_only(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    client = faulty(Elsewhere)
    client.put("a", io.BytesIO(CONTENT), len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_trickle_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp, "TIMEOUT", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        control, _ = listener.accept()
        data = socket.create_server(("127.0.0.1", 0))
        replies = {
            "USER": "230 in", "FEAT": "500 no", "TYPE": "200 ok", "SIZE": "213 1000", "EPSV": "500 no",
            "PASV": f"227 (127,0,0,1,{data.getsockname()[1] >> 8},{data.getsockname()[1] & 255})", "RETR": "150 here",
        }  # fmt: skip
        control.sendall(b"220 hello\r\n")
        with control, control.makefile("r") as lines:
            for line in lines:
                control.sendall((replies.get(line[:4].strip(), "500 no") + "\r\n").encode())
                if line.startswith("RETR"):
                    sink, _ = data.accept()
                    with sink:
                        for _ in range(40):
                            threading.Event().wait(0.1)
                            try:
                                sink.sendall(b"x")
                            except OSError:
                                return

    threading.Thread(target=speak, daemon=True).start()
    client = Ftp("127.0.0.1", listener.getsockname()[1], "u", "p")
    with pytest.raises(TransportError, match="connection failed"):
        client.fetch("a", io.BytesIO())
    listener.close()


def test_a_command_cannot_be_put_into_a_name(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    from slussen.errors import CallError

    (tmp_path / "a").write_bytes(b"x")
    client = faulty(Files)
    for name in ("x\r\nDELE a", "x\nDELE a"):
        with pytest.raises(CallError):
            client.rename(name, "b", replace=False)
        with pytest.raises(TransportRefused):
            client.fetch(name, io.BytesIO())
    assert (tmp_path / "a").exists()


def test_a_broken_upload_leaves_no_dataset(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    """z/OS keeps the stump unless CONDDISP=DELETE was said."""

    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 800:
                raise ConnectionResetError
            return super().read(800)

    client = faulty(Mainframe, Mvs, record_length=80)
    client.put("A.WHOLE", io.BytesIO(b"x" * 1600), 1600)
    with pytest.raises(TransportError):
        client.put("A.BROKEN", Breaks(b"x" * 1600), 1600)
    deadline = threading.Event()
    for _ in range(50):
        if not (tmp_path / "A.BROKEN").exists():
            break
        deadline.wait(0.05)
    assert [f.name for f in tmp_path.iterdir()] == ["A.WHOLE"]


def test_a_reply_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp, "TIMEOUT", 0.5)

    def speak() -> None:
        control, _ = listener.accept()
        with control, suppress(OSError):
            for _ in range(100):
                control.sendall(b"2")
                threading.Event().wait(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=speak, daemon=True).start()
        with pytest.raises(TransportError, match="TimeoutError"):
            Ftp("127.0.0.1", listener.getsockname()[1], "u", "p")


@pytest.mark.parametrize("cut", ["F29-å-0000", ".F29-å-00001.txt.f29-1.1", "F"])
def test_what_a_server_gave_the_mere_beginning_of_its_name_is_delivered_under_the_whole(
    faulty: Callable[..., Ftp], tmp_path: Path, cut: str
) -> None:
    """The connection ended within a RNTO, and the server carried out what had come of it."""
    book, store = Book(), PayloadStore(tmp_path.parent / f"{tmp_path.name}-payloads")
    with store.writer() as sink:
        sink.write(CONTENT)
    d = Delivery(interchange="f29-1", integration="f29", name="F29-å-00001.txt", sha256=sink.sha256, bytes=sink.bytes)
    (tmp_path / "F29").write_bytes(b"y" * sink.bytes)  # somebody else's
    client = faulty(Files)
    steps = deliver(d, store, client, book)  # type: ignore[arg-type]
    for step in steps:
        if step == "rename":
            break
    steps.close()
    temporary = client.temporary(d.name, d.interchange, 1)
    (tmp_path / temporary).rename(tmp_path / cut)
    assert drive(deliver(d, store, client, book)).state == "delivered"  # type: ignore[arg-type]
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == {d.name: CONTENT, "F29": b"y" * sink.bytes}


class Halved(Files):
    """Gets only a part of one command, answers that, and ends the connection, as ProFTPD does."""

    half = "RNFR"

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd == self.half:
            self.respond("501 RN: Invalid number of parameters")
            self.close_when_done()
        else:
            super().pre_process_command(line, cmd, arg)


@pytest.mark.parametrize("half", ["RNFR", "SIZE", "USER", "STOR"])
def test_a_command_of_which_only_a_part_came_is_a_connection_that_failed(
    faulty: Callable[..., Ftp], tmp_path: Path, half: str
) -> None:
    with pytest.raises(TransportError, match="connection"):
        client = faulty(type("Halved", (Halved,), {"half": half}))
        client.put("a", io.BytesIO(CONTENT), len(CONTENT))
        client.stat("a")
        client.rename("a", "b", replace=False)


class HalfOfAName(Files):
    """Carries out what has come of a RNTO, and says so, as ProFTPD does when the connection has ended within it."""

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd == "RNTO" and not arg.startswith("."):
            super().pre_process_command(line[:-4], cmd, arg[:-4])
            self.close_when_done()
        else:
            super().pre_process_command(line, cmd, arg)


def test_a_rename_is_done_when_the_connection_goes_on_after_it(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    client = faulty(HalfOfAName)
    client.put(".a", io.BytesIO(CONTENT), len(CONTENT))
    with pytest.raises(TransportError, match="the connection failed"):
        client.rename(".a", "F29.txt", replace=False)
    assert [f.name for f in tmp_path.iterdir()] == ["F29"]


def test_a_fetch_that_we_break_off_ends_the_connection(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    """What the server says of it would be taken for the next reply."""
    (tmp_path / "a.txt").write_bytes(bytes(5 << 20))

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise TechnicalError("no space left")

    client = faulty(Files)
    with pytest.raises(TechnicalError):
        client.fetch("a.txt", Full())
    with pytest.raises(TransportError, match="the connection is closed"):
        client.stat("a.txt")


def test_a_name_that_no_two_servers_read_alike_is_refused(faulty: Callable[..., Ftp], tmp_path: Path) -> None:
    """The byte ff is Telnet's escape: ProFTPD takes two of them for one."""
    (tmp_path / "\udcff\udcff.txt").write_bytes(CONTENT)
    client = faulty(Files, encoding="latin-1")
    assert [e.name for e in client.entries("*")] == ["ÿÿ.txt"]
    with pytest.raises(TransportRefused, match="the byte ff"):
        client.fetch("ÿÿ.txt", io.BytesIO())
