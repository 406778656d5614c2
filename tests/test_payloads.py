"""The payload store: whole or not there, and never silently changed."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from slussen.errors import CallError, TechnicalError
from slussen.payloads import PayloadStore


def test_a_payload_is_found_by_its_hash(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path)
    with store.writer() as sink:
        sink.write("Åkers".encode())
        sink.write(b" styckebruk")
    assert (sink.sha256, sink.bytes) == (sha256("Åkers styckebruk".encode()).hexdigest(), 17)
    with store.open(sink.sha256) as payload:
        assert payload.read() == "Åkers styckebruk".encode()


def test_the_same_content_twice_is_one_payload(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path)
    for _ in range(2):
        with store.writer() as sink:
            sink.write(b"x")
    assert len([f for f in tmp_path.rglob("*") if f.is_file()]) == 1


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), PayloadStore(tmp_path).writer() as sink:
        sink.write(bytes(1 // 0))
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == []


def test_a_killed_write_leaves_no_payload(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from slussen.payloads import PayloadStore\n"
        "sink = PayloadStore(Path(sys.argv[1])).writer().__enter__(); sink.write(b'x' * 5_000_000)\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": "plugins"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, env=environment)
    assert [f.parent.name for f in tmp_path.rglob("*") if f.is_file()] == ["incoming"]


@pytest.mark.parametrize("damage", [b"", b"Y" * 4, b"X" * 3, b"X" * 5])
def test_a_changed_payload_is_never_handed_out(tmp_path: Path, damage: bytes) -> None:
    store = PayloadStore(tmp_path)
    with store.writer() as sink:
        sink.write(b"X" * 4)
    path = store.path(sink.sha256)
    path.chmod(0o640)
    path.write_bytes(damage)
    with pytest.raises(TechnicalError, match="restore"):
        store.open(sink.sha256)


def test_a_name_that_is_no_hash_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(CallError):
        PayloadStore(tmp_path).open("../../etc/passwd")


def test_durable_means_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the system calls is the promise: file, then name, then folder."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        calls.append("sync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "sync file")
        fsync(descriptor)

    def named(path: Path, target: Path) -> Path:
        calls.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named)
    with PayloadStore(tmp_path).writer() as sink:
        sink.write(b"x")
    assert calls == ["sync file", "name", "sync folder", "sync folder", "sync folder"]


def test_a_payload_that_rotted_is_healed_by_the_same_content(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path)
    for _ in range(2):
        with store.writer() as sink:
            sink.write(b"sound")
        with store.open(sink.sha256) as payload:
            assert payload.read() == b"sound"
        path = store.path(sink.sha256)
        path.chmod(0o640)
        path.write_bytes(b"rot")


def test_a_full_disk_is_our_fault_and_leaves_no_stump(tmp_path: Path) -> None:
    """The last bytes still in the buffer are refused when the file is closed."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from slussen.payloads import PayloadStore\n"
        "from slussen.errors import TechnicalError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with PayloadStore(Path(sys.argv[1])).writer() as sink: sink.write(b'x' * int(sys.argv[2]))\n"
        "except TechnicalError as error: assert 'errno 27' in str(error), error\n"
        "else: sys.exit('no error')\n"
    )
    environment = {**os.environ, "PYTHONPATH": "plugins"}
    for size in (1001, 3_000_000):
        subprocess.run([sys.executable, "-c", script, str(tmp_path), str(size)], check=True, env=environment)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == []
