"""Two cores for one file: blocks are worked on side by side and come out in order; hashes run beside them.

NumPy, Arrow and hashlib release the interpreter's lock, so threads are enough. What is read ahead is bounded.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Lock
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
Chunk = bytes | bytearray | memoryview
AHEAD = 3  # blocks that are worked on or wait to be taken
GATHERED = 3 << 20  # bytes that are hashed at a time
_pools: dict[str, ThreadPoolExecutor] = {}


def pool(of: str) -> ThreadPoolExecutor:
    """Two of this process's threads for each kind of work: a third at blocks would only take the others' turns."""
    if not _pools:
        import pyarrow as pa

        # Arrow's own allocator keeps for each thread what it gave back; with the system's a task needs a fifth less.
        pa.set_memory_pool(pa.system_memory_pool())
    if of not in _pools:
        _pools[of] = ThreadPoolExecutor(2, of)
    return _pools[of]


os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads


def ordered(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """The work's results in the order of the items. A single one is worked on at once, without a thread."""
    waiting: deque[Future[B]] = deque()
    coming = iter(items)
    first = list(islice(coming, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    try:
        for item in chain(first, coming):
            waiting.append(pool("blocks").submit(work, item))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class Hash:
    """A SHA-256 beside the work: chunks are hashed in the order in which they are given, some megabytes at a time.

    (Each handing over to another thread costs some tens of microseconds on both sides.)
    """

    def __init__(self) -> None:
        self._hash, self._lock = hashlib.sha256(), Lock()
        self._gathered: list[Chunk] = []
        self._size = 0
        self._given: deque[list[Chunk]] = deque()
        self._running: deque[Future[None]] = deque()

    def update(self, chunk: Chunk) -> None:
        self._gathered.append(chunk)
        self._size += len(chunk)
        if self._size < GATHERED:
            return
        self._given.append(self._gathered)
        self._gathered, self._size = [], 0
        self._running.append(pool("hashes").submit(self._next))
        if len(self._running) > AHEAD:
            self._running.popleft().result()

    def _next(self) -> None:
        with self._lock:
            self._take(self._given.popleft())

    def _take(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            self._hash.update(chunk)

    def hexdigest(self) -> str:
        while self._running:
            self._running.popleft().result()
        self._take(self._gathered)
        self._gathered, self._size = [], 0
        return self._hash.hexdigest()
