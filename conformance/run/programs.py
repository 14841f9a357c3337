"""The programs that `--python` names: asked, before any work, whether a worker can run in them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from conformance.errors import UsageError
from conformance.planning.discovery import keys

#: What an interpreter is asked. Alone: its packages are for its worker to load.
_QUESTION = ("-I", "-S", "-c", "import sys; print('python', *sys.version_info[:2])")
#: The bytes and seconds that its answer may have; another program may print or wait for ever.
_LONGEST = 64
_SECONDS = 30.0
_OLDEST = (3, 11)
#: The name of a folder in which an environment was built: it is no path.
ENVIRONMENT = r"^[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,199}\Z"


def python_of(home: Path) -> Path:
    """Return the interpreter of the environment that was built in a folder."""
    return home / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def check_interpreters(
    interpreters: Mapping[str, str], adapters: Iterable[str] = (), unbuilt: Iterable[str] = ()
) -> None:
    """Raise `UsageError` where an interpreter is none, or no adapter runs in a group that is named."""
    groups = {key.group for key in keys({}, adapters)}
    for group in [*interpreters, *unbuilt]:
        if group not in groups:
            raise UsageError(
                f"no adapter runs in group {group!r}: expected one of {sorted(name for name in groups if name)}"
            )
    for group, path in interpreters.items():
        complaint = complaint_of(path)
        if complaint:
            raise UsageError(f"--python {group}={path}: {complaint}")


def complaint_of(path: str, seconds: float = _SECONDS) -> str:
    """Return why no worker can run in the program at that path; empty where one can."""
    if not (Path(path).is_file() and os.access(path, os.X_OK)):
        return "no interpreter there"
    try:
        answer = _answer(str(Path(path).absolute()), seconds)
    except OSError as error:
        return f"expected a Python interpreter; it cannot be run: {error.strerror or error}"
    match answer.split():
        case [b"python", major, minor] if major.isdigit() and minor.isdigit():
            version = (int(major), int(minor))
            return "" if version >= _OLDEST else f"is Python {version[0]}.{version[1]}, expected 3.11 or newer"
        case _:
            return "expected a Python interpreter; this program does not answer as one"


def _answer(program: str, seconds: float) -> bytes:
    """Return the beginning of what the program says to the question, until it ends or the time is up."""
    nowhere = subprocess.DEVNULL
    asked = subprocess.Popen(
        [program, *_QUESTION], stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere, start_new_session=True
    )

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(asked.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, stop)
    timer.start()
    with asked:
        assert asked.stdout is not None
        answer = asked.stdout.read(_LONGEST)
        timer.cancel()
        stop()
    return answer
