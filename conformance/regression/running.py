"""The cells of one version, run by `conformance run` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from conformance.errors import SuiteError, UsageError
from conformance.regression.environments import Built, Environment, Unbuilt

_TAIL = 3_000
#: So often, in seconds, a run is asked how far it is.
_OFTEN = 1.0
#: How a line of a run file begins that holds a cell.
_RECORD = b'{"kind":"record"'


class _Planned(msgspec.Struct):
    """What the header of a run file says of its length."""

    planned: int


def run_cells(
    file: Path,
    environments: Sequence[Environment],
    selection: Sequence[str],
    reached: Callable[[int, int], None],
    scheduler: str | None = None,
) -> bool:
    """Run the cells, here or on the workers of a scheduler, and return whether there is a run file.

    A run that selects nothing has none. `reached` is called while it runs, with the cells recorded and planned.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    words = ["--grouped", "--out", str(file), *selection, *(["--scheduler", scheduler] if scheduler else [])]
    for environment in environments:
        match environment:
            case Built(group=group) if scheduler:
                words += ["--environment", f"{group}={environment.name}"]
            case Built(group=group, python=python):
                words += ["--python", f"{group}={python}"]
            case Unbuilt(group=group, log=install):
                words += ["--unbuilt", f"{group}={install}"]
    log = file.with_suffix(".log")
    with log.open("w") as output:
        # A run is a process of its own, so that pytest begins anew in each.
        command = [sys.executable, "-P", "-m", "conformance", "run", *words, "--", "-q"]
        code = _watched(command, output.fileno(), file, reached)
    if code == 130:
        raise KeyboardInterrupt
    said = log.read_text(errors="replace")[-_TAIL:].strip()
    if code == 2:
        if "nothing selected" in said:
            return False
        raise UsageError(said.splitlines()[-1].removeprefix("error: "))
    if code not in (0, 1):
        raise SuiteError(f"the run of {file} ended with code {code}: {said}")
    return True


def recorded(file: Path) -> Iterator[tuple[int, int]]:
    """Yield, each time it is asked, how many cells a run file holds that is being written, and how many it will."""
    position = count = planned = 0
    while True:
        if file.is_file():
            with file.open("rb") as stream:
                stream.seek(position)
                lines = b"".join(stream.read().rpartition(b"\n")[:2])
            if position == 0 and lines:
                planned = msgspec.json.decode(lines.partition(b"\n")[0], type=_Planned).planned
            position += len(lines)
            count += sum(line.startswith(_RECORD) for line in lines.splitlines())
        yield count, planned


def _watched(command: Sequence[str], output: int, file: Path, reached: Callable[[int, int], None]) -> int:
    """Run a command to its end and return its exit code."""
    so_far = recorded(file)
    with subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    return process.wait(_OFTEN)
                except subprocess.TimeoutExpired:
                    reached(*next(so_far))
        except BaseException:
            process.kill()
            raise
