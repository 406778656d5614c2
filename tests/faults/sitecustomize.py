"""Faults for the tests, from outside: Python loads this by itself when its folder is on PYTHONPATH.

The real code runs unchanged. A file ``<integration>.<step>`` in ``$SLUSSEN_TEST_FAULTS`` makes the process that comes
to this step do what the file says, once: ``kill`` (SIGKILL itself) or ``stop`` (SIGSTOP itself and its parent,
the supervisor, as a machine does that hangs; their process ids are left in ``<integration>.<step>.stopped``).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def at(integration: str, step: str) -> None:
    """Is a fault set for this step? Then it happens here."""
    fault = Path(os.environ["SLUSSEN_TEST_FAULTS"]) / f"{integration}.{step}"
    try:
        what = fault.read_text()
        fault.unlink()
    except FileNotFoundError:
        return
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    stopped = fault.with_name(f"{fault.name}.stopped")
    stopped.with_suffix(".part").write_text(f"{os.getpid()} {os.getppid()}")
    stopped.with_suffix(".part").rename(stopped)
    os.kill(os.getppid(), signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)


def delivery(module: ModuleType) -> None:
    """Every step of a delivery is a place for a fault: it strikes before the step is done."""
    drive = module.drive
    deliver = module.deliver

    def watched(d: Any, *args: Any, **kwargs: Any) -> Generator[str, None, Any]:
        steps = deliver(d, *args, **kwargs)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            at(d.integration, step)
            yield step

    module.deliver, module.drive = watched, drive


def rendering(module: ModuleType) -> None:
    """In the middle of rendering: after the first chunk of bytes."""
    chunks = module.Rendered.__iter__

    def interrupted(self: Any) -> Iterator[bytes]:
        for n, chunk in enumerate(chunks(self)):
            yield chunk
            if n == 0:
                at("f29" if "cs15" in self.layout.name else self.layout.name, "render")

    module.Rendered.__iter__ = interrupted


PLACES: dict[str, Callable[[ModuleType], None]] = {
    "slussen.delivery": delivery,
    "slussen.records.render": rendering,
}


class Place(importlib.abc.MetaPathFinder):
    """Lets the real module load, then sets its places for faults."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in PLACES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            PLACES[fullname](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "SLUSSEN_TEST_FAULTS" in os.environ:
    sys.meta_path.insert(0, Place())
