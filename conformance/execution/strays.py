"""What workers started and left behind: found by a mark in its environment, or as a child of what was, and ended.

A child that makes a session of its own, or whose parent died, is in no process group of a worker's. But it inherits the
environment, and with it the mark of the run; where it dropped that, it is still a child of what has it. Linux alone tells
both, in /proc; elsewhere nothing is found. A process that does neither, or that belongs to another user, is out of reach.

`python strays.py MARK FOLDER` keeps watch: it waits for the end of its input, which is the end of the run however that came
about, ends what is left then, and removes the folder, where libraries forget temporary files when they are killed. It imports
nothing of ours, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

#: The variable that holds the mark.
VARIABLE = "CONFORMANCE_RUN"
_PROC = Path("/proc")
#: What is ended may be starting something else at that moment.
_ROUNDS = 5
_MOMENT = 0.05


def strays(mark: str) -> list[int]:
    """Return the processes whose mark begins so, and their descendants."""
    parents = _parents()
    wanted = f"{VARIABLE}={mark}".encode()
    result = {pid for pid in parents if any(entry.startswith(wanted) for entry in _environment(pid))}
    while more := {pid for pid, parent in parents.items() if parent in result and pid not in result}:
        result |= more
    return sorted(result - {os.getpid()})


def end(mark: str, known: Iterable[int] = ()) -> list[str]:
    """Kill what `strays` finds, and the `known` ones that it found before; return the names of what is still there."""
    left = {*known, *strays(mark)}
    for _ in range(_ROUNDS):
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_MOMENT)
        left = (left & _parents().keys()) | set(strays(mark))
    return [f"process {pid} ({_name(pid)})" for pid in sorted(left)]


def _parents() -> dict[int, int]:
    """Return the parent of every process that runs, by its number; nothing where there is no /proc."""
    try:
        names = [folder.name for folder in _PROC.iterdir() if folder.name.isdigit()]
    except OSError:
        return {}
    result = {}
    for name in names:
        # The name in the second field may hold anything, a closing bracket too.
        state, _, rest = _read(int(name), "stat").rpartition(b")")[2].strip().partition(b" ")
        parent = rest.partition(b" ")[0]
        if state not in (b"", b"Z", b"X") and parent.isdigit():
            result[int(name)] = int(parent)
    return result


def _environment(pid: int) -> list[bytes]:
    return _read(pid, "environ").split(b"\0")


def _name(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()[:100] or "unknown"


def _read(pid: int, what: str) -> bytes:
    """Return what /proc tells of a process; nothing of one that has ended or is another user's."""
    try:
        return (_PROC / str(pid) / what).read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    # Ctrl-C at a terminal reaches all of its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end(sys.argv[1])
    shutil.rmtree(sys.argv[2], ignore_errors=True)
