"""Servers that nobody here wrote, out of Debian's packages: ``make interop`` unpacks them, installs nothing.

The packages are laid out below ``.slussen/interop/root``; what can't be had is skipped by the tests with its reason.
Needs ``apt-get`` and ``dpkg``, no root (as root, the lists are brought up to date when a package isn't found).
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


def unpack() -> list[str]:
    """Fetch and unpack what isn't there; the packages that couldn't be had."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return PACKAGES
    debs = HOME / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    missing = [p for p in PACKAGES if not list(debs.glob(f"{p}_*.deb")) and not _fetch(p, debs)]
    if missing and os.geteuid() == 0:
        subprocess.run(["apt-get", "-qq", "update"], check=False)
        missing = [p for p in missing if not _fetch(p, debs)]
    for deb in debs.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(deb), str(ROOT)], check=True)
    return missing


def _fetch(package: str, folder: Path) -> bool:
    done = subprocess.run(["apt-get", "-qq", "download", package], cwd=folder, capture_output=True, check=False)
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
    if left := unpack():
        print(f"not to be had, their tests are skipped: {', '.join(left)}", file=sys.stderr)
