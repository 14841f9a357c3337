"""What else the machine did while something was timed: the kernel's counts before and after, of Linux alone.

Elsewhere only the involuntary switches are told, and what is not told is None.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PROC = Path("/proc")
#: Of the line `cpu` in /proc/stat, proc(5): user, nice, system, irq, softirq; and what a hypervisor took away.
_AT_WORK, _STOLEN = (1, 2, 3, 6, 7), 8


class Watch:
    """A context: what it notes while it is open stands in `noted` afterwards, as JSON values.

    seconds    that it was open
    cores      that this process may use
    busy       cores that this process did use, with all its threads
    elsewhere  cores that everything else used
    others     other threads running or ready to run, at the quieter of both ends
    switches   times that a thread of this process was made to leave its core, getrusage(2)
    waited     seconds for which its threads together were ready and had no core, `run_delay` of sched-stats
    stalled    seconds in which any thread of the machine was, pressure-stall information, `some`
    stolen     seconds of processor time that a hypervisor gave to others
    """

    def __init__(self) -> None:
        self.noted: dict[str, Any] = {}
        self._before: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._before = _counts()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.noted = between(self._before, _counts())


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `Watch` notes, from the counts before and after."""
    seconds = after["clock"] - before["clock"]
    own = after["own"] - before["own"]
    machine = _difference(before, after, "machine")
    ends = [counts["others"] for counts in (before, after) if counts["others"] is not None]
    delays = after["delays"]
    return {
        "seconds": seconds,
        "cores": cores(),
        "busy": own / seconds,
        "elsewhere": None if machine is None else max(0.0, machine - own) / seconds,
        "others": min(ends, default=None),
        "switches": _difference(before, after, "switches"),
        "waited": None
        if delays is None
        else sum(delay - (before["delays"] or {}).get(thread, 0.0) for thread, delay in delays.items()),
        "stalled": _difference(before, after, "stalled"),
        "stolen": _difference(before, after, "stolen"),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def others_ready() -> int | None:
    """Return how many threads other than this process's run or are ready to run; None where that is not told."""
    running = _running()
    return None if running is None else max(0, running - sum(state == "R" for state in _states()))


def _difference(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> Any:
    return None if before[name] is None or after[name] is None else after[name] - before[name]


def _counts() -> dict[str, Any]:
    machine, stolen = _processor_seconds()
    return {
        "others": others_ready(),
        "switches": _switches(),
        "delays": _delays(),
        "stalled": _stalled(),
        "machine": machine,
        "stolen": stolen,
        "own": time.process_time(),
        "clock": time.perf_counter(),
    }


def _switches() -> int | None:
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # of Windows
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


def _text(path: Path) -> str:
    """Return what the kernel says there; empty where it says nothing, or the thread has ended."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace")
    return ""


def _running() -> int | None:
    lines = (line.split() for line in _text(_PROC / "stat").splitlines())
    return next((int(words[1]) for words in lines if words[0] == "procs_running"), None)


def _states() -> Iterator[str]:
    for path in _threads():
        # After the name, which stands in parentheses and may hold any character.
        yield _text(path / "stat").rpartition(")")[2].strip()[:1]


def _threads() -> Iterator[Path]:
    return (_PROC / "self" / "task").glob("*")


def _delays() -> dict[str, float] | None:
    said = {path.name: _text(path / "schedstat").split() for path in _threads()}
    delays = {thread: int(words[1]) / 1e9 for thread, words in said.items() if len(words) > 1}
    return delays or None


def _stalled() -> float | None:
    for line in _text(_PROC / "pressure" / "cpu").splitlines():
        kind, *pairs = line.split()
        if kind == "some":
            return int(dict(pair.split("=") for pair in pairs)["total"]) / 1e6
    return None


def _processor_seconds() -> tuple[float | None, float | None]:
    """Return the seconds that all cores together worked, and those that were stolen from them."""
    words = _text(_PROC / "stat").partition("\n")[0].split()
    if len(words) <= _STOLEN:
        return None, None
    tick = 1 / os.sysconf("SC_CLK_TCK")
    return sum(int(words[place]) for place in _AT_WORK) * tick, int(words[_STOLEN]) * tick
