"""What a sandbox partner can be told to do wrong: one vocabulary for all of them, switched while they run.

A partner's switches are a JSON file beside its folder, which tests, the demo and on-call's drills write and the server
looks at before each operation:

    python -m sandbox.faults PARTNER/faults.json '{"kind": "drop", "on": "put", "bytes": 1000, "times": 1}'
    python -m sandbox.faults PARTNER/faults.json            (none any more)

Operations are the transports' own, whatever a protocol calls them: ``connect login list stat get put rename remove``
for files, ``send list get receipt`` for messages.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args

Kind = Literal[
    "drop",  # cut the connection after `bytes` of content; where there is none, before anything is done
    "swallow",  # do it, and cut the connection instead of answering
    "refuse",  # say no for good
    "busy",  # say no for now
    "delay",  # wait `seconds` first; an hour is a partner that hangs
    "trickle",  # `bytes` a second
    "full",  # the disk is full after `bytes`
    "short",  # keep only `bytes` of what comes, and say that all is well
    "size",  # tell a size that is `bytes` too long
    "consume",  # take what stands under its final name at once
]
Operation = Literal["*", "connect", "login", "list", "stat", "get", "put", "rename", "remove", "send", "receipt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One switch: what goes wrong, in which operation, with which names, how many times (0: until it is cleared)."""

    kind: Kind
    on: Operation = "*"
    name: str = "*"
    bytes: int = 0
    seconds: float = 0
    times: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.on not in get_args(Operation):
            raise ValueError(f"no such fault: {self.kind} on {self.on}")


class Switches:
    """The faults of one partner, in a file that another process may write."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: tuple[int, int] = (0, 0)
        self._faults: Sequence[Fault] = ()
        self._fired: Counter[Fault] = Counter()

    def set(self, *faults: Fault) -> None:
        """Throw these switches, and no others; each counts its times from here."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        written = self.file.with_suffix(f".{os.getpid()}.part")
        written.write_text(json.dumps([asdict(f) for f in faults]))
        written.rename(self.file)  # a new file: the server sees that it is another

    def find(self, on: str, *kinds: Kind, name: str = "") -> Fault | None:
        """The fault of one of these kinds that this operation has now, counted as done."""
        self._look()
        for fault in self._faults:
            if (
                fault.kind in kinds
                and fault.on in ("*", on)
                and fnmatchcase(name, fault.name)
                and (not fault.times or self._fired[fault] < fault.times)
            ):
                self._fired[fault] += 1
                return fault
        return None

    def _look(self) -> None:
        try:
            s = self.file.stat()
        except FileNotFoundError:
            self._faults, self._seen = (), (0, 0)
            return
        if (s.st_mtime_ns, s.st_ino) != self._seen:
            self._seen = (s.st_mtime_ns, s.st_ino)
            self._faults = [Fault(**f) for f in json.loads(self.file.read_text())]
            self._fired.clear()


def consume(switches: Switches, file: Path, on: str) -> None:
    """What an eager receiver does: takes a file as soon as it stands there; into ``taken`` beside the switches."""
    if not file.name.startswith(".") and switches.find(on, "consume", name=file.name):
        taken = switches.file.parent / "taken"
        taken.mkdir(exist_ok=True)
        file.rename(taken / f"{len(list(taken.iterdir())):06d}-{file.name}")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Switches(Path(sys.argv[1])).set(*(Fault(**json.loads(text)) for text in sys.argv[2:]))


if __name__ == "__main__":
    main()
