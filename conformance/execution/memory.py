"""How much memory is left for further processes: of the machine, and of the control groups that a container confines them to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """Where a version of control groups says what a group may hold and what it holds, in bytes."""

    #: How a line of /proc/self/cgroup names the controllers of the hierarchy: all of them, or memory's.
    controllers: str
    folder: str
    limit: str
    used: str
    #: In `memory.stat`: the pages of files that nothing has used lately, which the kernel frees first.
    unused_files: str


_VERSIONS = (
    _Version(controllers="", folder="", limit="memory.max", used="memory.current", unused_files="inactive_file"),
    _Version(
        controllers="memory",
        folder="memory",
        limit="memory.limit_in_bytes",
        used="memory.usage_in_bytes",
        unused_files="total_inactive_file",
    ),
)


def free_share(system: Path = Path("/")) -> float:
    """Return the share of memory that is free, between 0 and 1, or that can be freed at once; 0 where Linux does not tell.

    It is the smallest of the machine's, `MemAvailable` over `MemTotal` (proc(5)), and of those of the control groups around
    this process that have a limit (Linux, "Control Group v2" and "Memory Resource Controller"). `system` is the root folder.
    """
    try:
        amounts = dict(line.split(":", 1) for line in (system / "proc/meminfo").read_text().splitlines())
        machine = _kibibytes(amounts["MemAvailable"]) / _kibibytes(amounts["MemTotal"])
    except (OSError, KeyError, ValueError, ZeroDivisionError):
        return 0.0
    return max(0.0, min(machine, *_of_groups(system)))


def _kibibytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0])


def _of_groups(system: Path) -> Iterator[float]:
    """Yield the free share of every control group around this process that has a limit; first 1, for where none has."""
    yield 1.0
    for version in _VERSIONS:
        top = system / "sys/fs/cgroup" / version.folder
        place = top / _own_group(system, version)
        for group in (place, *place.parents):
            if group.is_relative_to(top):
                with contextlib.suppress(OSError, KeyError, ValueError, ZeroDivisionError):
                    yield _of_group(group, version)


def _own_group(system: Path, version: _Version) -> str:
    """Return the path of this process's group below the top of its hierarchy; empty where there is none."""
    with contextlib.suppress(OSError, ValueError):
        for line in (system / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if version.controllers in controllers.split(","):
                return path.strip("/")
    return ""


def _of_group(group: Path, version: _Version) -> float:
    limit, used = (int((group / file).read_text()) for file in (version.limit, version.used))
    kinds = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return 1 - (used - int(kinds[version.unused_files])) / limit
