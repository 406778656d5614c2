"""Child processes that never outlive their parent: each a group of its own, stopped as a group.

A child gets a signal from the kernel when its parent dies, however that happens, and its process id is on file, so
that the next start cleans up what a killed run left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
GRACE = 10.0  # seconds between asking and killing


def start(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: int | None = None,
    pids: Path | None = None,
    when_orphaned: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, its output appended to ``log``, its process id added to ``pids``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid(), when_orphaned),
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
        )
    if pids is not None:
        with pids.open("a") as file:
            file.write(f"{process.pid} {psutil.Process(process.pid).create_time()}\n")
    return process


def stop(
    processes: Sequence[subprocess.Popen[bytes]], ask: signal.Signals = signal.SIGTERM, grace: float = GRACE
) -> None:
    """Ask every process to end, then kill what is left of their groups and descendants."""
    family = {p.pid: p for root in processes for p in _family(root.pid)}
    for process in processes:
        _signal_group(process.pid, ask)
    _, alive = psutil.wait_procs(list(family.values()), timeout=grace)
    for process in processes:
        _signal_group(process.pid, signal.SIGKILL)
    for left in alive:
        _kill(left)
    for process in processes:
        process.wait()


def memory(pid: int, what: str) -> float:
    """A process's memory in MB as ``/proc`` tells it: ``VmHWM`` is the highest ever, ``RssAnon`` what it shares with
    nobody. 0 when the process is gone, or there is no ``/proc``.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{what}:")), 0.0)


def clean_up(pids: Path) -> int:
    """End what an earlier run left behind, by its file of process ids; the number of processes."""
    left: list[psutil.Process] = []
    for line in pids.read_text().splitlines() if pids.exists() else ():
        pid, created = line.split()
        try:
            process = psutil.Process(int(pid))
            if abs(process.create_time() - float(created)) > 1:
                continue  # the number has been given to another process since
        except psutil.NoSuchProcess:
            continue
        left += _family(int(pid))
    # They were told when their parent died: those that are about to end do so better by themselves.
    _, alive = psutil.wait_procs(left, timeout=3)
    for process in alive:
        _kill(process)
    psutil.wait_procs(alive, timeout=GRACE)
    pids.unlink(missing_ok=True)
    return len(left)


def _family(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _die_with(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


def wait_until(true: Callable[[], bool], *, seconds: float, what: str, every: float = 0.1) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: it didn't, in that time.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
