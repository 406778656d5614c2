"""Servers that nobody here wrote, out of Debian's packages: ``make interop`` unpacks them, installs nothing unasked.

The packages are laid out below ``.slussen/interop/root``; what can't be had is skipped by the tests with its reason.
Needs ``apt-get`` and ``dpkg``, no root (as root, the lists are brought up to date when a package isn't found).
Postfix and Dovecot run from where Debian installs them only: ``--install`` (``make interop INSTALL=1``) does that, as
root, where they aren't there. No command here is waited for longer than some minutes, and none asks anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / ".slussen" / "interop"
ROOT = HOME / "root"
PACKAGES = [
    "openssh-server", "openssh-sftp-server", "libwrap0", "vsftpd", "proftpd-core", "proftpd-mod-crypto",
    "nginx", "libhiredis0.14", "libmemcached11", "libmemcachedutil2", "libhashkit2", "libpcre2-posix3",
]  # fmt: skip
INSTALLED = {"postfix": "/usr/sbin/postfix", "dovecot-imapd": "/usr/lib/dovecot/imap"}
MINUTES = 3  # that one command may take
OPTIONS = [f"-o{o}" for o in ("DPkg::Lock::Timeout=60", "Acquire::Retries=0", "Acquire::http::Timeout=20")]


def unpack() -> list[str]:
    """Fetch and unpack what isn't there; the packages that couldn't be had."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return PACKAGES
    debs = HOME / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    missing = [p for p in PACKAGES if not list(debs.glob(f"{p}_*.deb")) and not _fetch(p, debs)]
    if missing and os.geteuid() == 0 and _apt(["update"]):
        missing = [p for p in missing if not _fetch(p, debs)]
    for deb in debs.glob("*.deb"):
        if subprocess.run(["dpkg", "-x", str(deb), str(ROOT)], check=False).returncode:
            missing.append(deb.name.partition("_")[0])  # cut off when it was fetched
            deb.unlink()
    return missing


def install() -> list[str]:
    """Install what runs only where it is installed; the packages that couldn't be."""
    missing = [package for package, path in INSTALLED.items() if not Path(path).exists()]
    if not missing:
        return []
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return missing
    command = ["install", "-y", "--no-install-recommends", *missing]
    if not _apt(command) and _apt(["update"]):
        _apt(command)
    return [package for package in missing if not Path(INSTALLED[package]).exists()]


def _fetch(package: str, folder: Path) -> bool:
    return _apt(["download", package], folder)


def _apt(command: list[str], folder: Path = HOME) -> bool:
    """Did it succeed, without asking anything, within its time?"""
    try:
        done = subprocess.run(
            ["apt-get", "-qq", *OPTIONS, *command],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=MINUTES * 60,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def libraries() -> str:
    """Where the loader finds what the servers need."""
    return ":".join(str(f) for f in (ROOT / "usr" / "lib").glob("*-linux-gnu*"))


def program(path: str) -> Path | None:
    """An unpacked program, if it is there and finds its libraries."""
    file = ROOT / path
    if not file.exists():
        return None
    told = subprocess.run(
        ["ldd", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": libraries()},
    )
    return None if "not found" in told.stdout else file


if __name__ == "__main__":
    if left := unpack() + (install() if "--install" in sys.argv else []):
        print(f"not to be had, their tests are skipped: {', '.join(left)}", file=sys.stderr)
