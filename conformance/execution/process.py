"""One worker process as the run sees it: started, written to, read from, killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from conformance.execution import strays
from conformance.execution.timeline import Lane
from conformance.planning.discovery import WorkerKey

#: Loads our package from the place it is handed, so that the interpreter needs no installation of ours
#: and the other packages beside ours stay out of its sight.
_BOOT = (
    "import sys, importlib.util as u; p = sys.argv.pop(1); "
    "s = u.spec_from_file_location('conformance', p + '/__init__.py', submodule_search_locations=[p]); "
    "m = u.module_from_spec(s); sys.modules['conformance'] = m; s.loader.exec_module(m); "
    "from conformance.worker.main import main; main(sys.argv[1:])"
)
_PACKAGE = str(Path(__file__).resolve().parents[1])
#: Stands in a process's environment for the folder where it may keep what it compiled.
CACHES = "{caches}"
#: What would change where Python looks for packages, since the interpreter is the person's choice;
#: and the mark of a test run's parallel worker, by which pytest-benchmark would refuse to time.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTEST_XDIST_WORKER")
#: The variables that name the folder of temporary files, by any of which a library may look for it.
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
_CHUNK = 1 << 20
#: A worker's output file is emptied beyond this size: endless output must not fill the disk.
OUTPUT_LIMIT = 32 * 2**20
_TAIL = 4_000
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Process:
    """A running worker. Answers arrive through `answers`; nothing here ever waits for it."""

    def __init__(self, key: WorkerKey, log: Path, caches: Path, mark: str, lane: Lane, *, temporary: str) -> None:
        self.key = key
        #: By which what it starts is found, wherever that goes.
        self.mark = mark
        self.log = log
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.performed: list[str] = []
        #: What it did and when, as it says itself.
        self.lane = lane
        self.deadline = float("inf")
        #: The end of what was emptied from the output file since the last request.
        self.cut = b""
        log.parent.mkdir(parents=True, exist_ok=True)
        # Kept open, since what runs there may remove the folder. Appending, so that a file emptied while the worker writes
        # stays as small as it was made.
        with contextlib.ExitStack() as its_ends, contextlib.ExitStack() as our_ends:
            self._log = our_ends.enter_context(log.open("a+b"))
            self.printed = self._log.tell()
            requests_read, self.requests = _pipe(its_ends, our_ends)
            self.answers, answers_write = _pipe(our_ends, its_ends)
            self.popen = subprocess.Popen(
                self._command(requests_read, answers_write),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env={**_environment(key, caches), **dict.fromkeys(_TEMPORARY, temporary), strays.VARIABLE: mark},
                pass_fds=(requests_read, answers_write),
                start_new_session=True,
            )
            # Open beyond this block only where there is a process at the other ends.
            our_ends.pop_all()
        for end in (self.requests, self.answers):
            os.set_blocking(end, False)

    def _command(self, requests: int, answers: int) -> list[str]:
        place = [str(requests), str(answers), self.key.adapter, self.key.attribute]
        return [self.key.interpreter, "-P", "-c", _BOOT, _PACKAGE, str(os.getpid()), *place]

    def ask(self, frame: bytes, seconds: float) -> None:
        """Queue an encoded request; its answer is due in that many seconds."""
        self.outbox += frame
        self.deadline = time.monotonic() + seconds
        self.printed = self._output_size()
        self.cut = b""

    def write(self) -> None:
        """Send what the pipe takes now of what is queued; a closed pipe shows at its other end."""
        try:
            sent = os.write(self.requests, self.outbox[:_CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.outbox.clear()
            return
        del self.outbox[:sent]

    def read(self) -> bool:
        """Take in what has arrived; return False at the end of the pipe."""
        while True:
            try:
                part = os.read(self.answers, _CHUNK)
            except BlockingIOError:
                return True
            if not part:
                return False
            self.inbox += part
            if len(part) < _CHUNK:
                return True

    def kill(self) -> None:
        """End the worker and what is in its process group; what is in another is a stray."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        for end in (self.requests, self.answers):
            if end >= 0:
                os.close(end)
        self.requests = self.answers = -1
        self._log.close()

    def ending(self) -> str:
        """Return how the process ended, waiting a moment for one that closed its pipe first."""
        try:
            status = self.popen.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return "closed its pipe and went on running"
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"exited with status {status}"

    def output(self) -> str:
        """Return the last of what it printed since the last request."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _TAIL, min(self.printed, size)))
        return (self.cut + self._log.read())[-_TAIL:].decode(errors="replace")

    def memory(self) -> int:
        """Return the bytes of memory that it holds, where Linux tells; 0 elsewhere, and once it has ended."""
        try:
            return int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError, ValueError):
            return 0

    def bound_output(self) -> None:
        """Empty the output file where it has grown beyond its limit."""
        if self._output_size() > OUTPUT_LIMIT:
            self._log.seek(-_TAIL, os.SEEK_END)
            self.cut = self._log.read()
            os.ftruncate(self._log.fileno(), 0)
            self.printed = 0

    def _output_size(self) -> int:
        return os.fstat(self._log.fileno()).st_size


def _pipe(read: contextlib.ExitStack, write: contextlib.ExitStack) -> tuple[int, int]:
    """Return the two ends of a pipe, each closed with its stack."""
    ends = os.pipe()
    for stack, end in zip((read, write), ends, strict=True):
        stack.callback(os.close, end)
    return ends


def _environment(key: WorkerKey, caches: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    own = {name: value.replace(CACHES, str(caches.absolute())) for name, value in key.environment}
    return {**kept, "PYTHONUNBUFFERED": "1", **own}
