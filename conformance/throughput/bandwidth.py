"""What the memory of this machine can move: copy and add over arrays that no cache holds, by every core at once.

The kernels are STREAM's (McCalpin 1995, https://www.cs.virginia.edu/stream/), counted as there: bytes read plus bytes
written by the program. A triad, a = b + s·c, is two passes in NumPy; add, a = b + c, moves the same in one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from conformance.worker.conditions import cores

Array = np.ndarray[Any, np.dtype[np.float32]]

#: Each array is so many times the last-level cache, as STREAM demands.
_TIMES = 4
_REPEATS = 3
#: Of a machine that does not tell.
_CACHE = 32 * 2**20
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def last_level_cache() -> int:
    """Return the size in bytes of the largest cache that the first core has."""
    sizes = [_size(file.read_text(encoding="ascii").strip()) for file in _CACHES.glob("index*/size")]
    return max(sizes, default=_CACHE)


def _size(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


class Bandwidth:
    """Measures the bandwidth on call, in bytes a second; holds its arrays and threads meanwhile."""

    def __init__(self, bytes_each: int | None = None) -> None:
        count = cores()
        elements = (bytes_each or _TIMES * last_level_cache()) // 4 // count
        # Made by the thread that uses them, so that their pages lie near its core.
        self.pool = ThreadPoolExecutor(count)
        self.parts = list(
            self.pool.map(lambda _: tuple(np.full(elements, 1.0, np.float32) for _ in range(3)), range(count))
        )

    def __call__(self) -> float:
        """Return the better of copy and add, each the fastest of a few: other work only ever slows."""
        size = sum(parts[0].nbytes for parts in self.parts)
        return max(2 * size / self._fastest(_copy), 3 * size / self._fastest(_add))

    def _fastest(self, kernel: Callable[[tuple[Array, ...]], None]) -> float:
        return min(self._seconds(kernel) for _ in range(_REPEATS))

    def _seconds(self, kernel: Callable[[tuple[Array, ...]], None]) -> float:
        started = time.perf_counter()
        list(self.pool.map(kernel, self.parts))
        return time.perf_counter() - started


def _copy(parts: tuple[Array, ...]) -> None:
    np.copyto(parts[0], parts[1])


def _add(parts: tuple[Array, ...]) -> None:
    np.add(parts[1], parts[2], out=parts[0])
