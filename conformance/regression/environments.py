"""Environments by version: built from the pins with one package replaced, kept by what was asked, and what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock

from conformance.files.whole import write_whole
from conformance.regression.installer import PIP, install_command, uv_variables
from conformance.regression.pins import Local, Nightly, Pins, Released, Rung, Source, rungs, with_nightly
from conformance.regression.wheels import digest_of
from conformance.run.programs import python_of

#: One attempt to resolve and install; a resolver that backtracks further finds nothing a person would want.
_SECONDS = 1800.0
_TAIL = 12
_READY = "ready.json"
#: How a line begins by which pip, or uv, says what went wrong; uv tells it in the indented lines that follow.
_ERROR = ("ERROR", "error:")
_NO_SOLUTION = "  × "


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An environment that can be used."""

    group: str
    python: Path
    #: How far the other pins were kept.
    kept: str
    #: Version by package: all that is installed.
    versions: Mapping[str, str]
    #: How long building took, at the time when it was built.
    seconds: float

    @property
    def name(self) -> str:
        """The name of its folder, by which a worker of a cluster finds it."""
        return self.python.parents[2].name


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbuilt:
    """One that could not be built: a result of its own."""

    group: str
    log: Path
    #: The installer's last words.
    reason: str


Environment: TypeAlias = Built | Unbuilt


def _going_on() -> bool:
    return False


def build(pins: Pins, package: str, at: Source, folder: Path, stopped: Callable[[], bool] = _going_on) -> Environment:
    """Return the environment of a group with the package replaced, from `folder` where it was built before.

    `stopped` is asked before each attempt: whether to begin none. Raises `UsageError` for a file that is no wheel.
    """
    match at:
        case Nightly(builds=builds):
            tried = rungs(with_nightly(pins, package, builds), builds.distribution, f"=={at.version}")
            identity, index = builds.index, builds.index
        case _:
            replacement, identity = _replacement(at)
            tried, index = rungs(pins, package, replacement), ""
    home = folder / f"{pins.group}-{package}-{at}-{_digest(tried[0], identity, pins.lock)}"
    home.parent.mkdir(parents=True, exist_ok=True)
    # Two checks at a time may ask for the same one.
    with FileLock(home.with_name(f".{home.name}.lock")):
        return _kept(pins.group, home) or _built(pins.group, tried, home, index, stopped)


def _kept(group: str, home: Path) -> Built | None:
    """Return the environment that was built there before."""
    ready = home / _READY
    return Built(group=group, python=python_of(home), **json.loads(ready.read_text())) if ready.is_file() else None


def _built(group: str, tried: Sequence[Rung], home: Path, index: str, stopped: Callable[[], bool]) -> Environment:
    """Build one: the first attempt that installs."""
    home.mkdir(exist_ok=True)
    ready, log = home / _READY, home / "install.log"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    for rung in tried:
        if stopped():
            return Unbuilt(group=group, log=log, reason="stopped")
        # Each attempt begins anew, so that what an earlier one left behind is in none.
        venv.create(home / "env", clear=True, with_pip=False)
        if _installed(rung, home, log, index):
            facts = {"kept": rung.kept, "versions": _versions(home), "seconds": round(time.monotonic() - started, 1)}
            write_whole(ready, (json.dumps(facts, indent=1) + "\n").encode())
            return Built(group=group, python=python_of(home), **facts)  # type: ignore[arg-type] # as written above
    return Unbuilt(group=group, log=log, reason=_reason(log))


def _replacement(at: Released | Local) -> tuple[str, str]:
    """Return how a requirement names that version or wheel, and what tells it from another of the same name."""
    match at:
        case Released(version=version):
            return f"=={version}", ""
        case Local(path=wheel):
            return f" @ {wheel.as_uri()}", digest_of(wheel)


def _installed(rung: Rung, home: Path, log: Path, index: str) -> bool:
    """Return whether the requirements could be installed; the installer's words join the log."""
    parts = [(rung.together, True)]
    if rung.alone:
        parts.append((rung.alone, False))
    with log.open("a") as output:
        for part, dependencies in parts:
            print(f"--- others {rung.kept}: {' '.join(part)}", file=output, flush=True)
            command = install_command(python_of(home), part, index, dependencies=dependencies)
            try:
                done = subprocess.run(
                    command,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_SECONDS,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **uv_variables()},
                )
            except subprocess.TimeoutExpired:
                print(f"ERROR: not resolved and installed within {_SECONDS:.0f} seconds", file=output)
                return False
            if done.returncode:
                return False
    return True


def _versions(home: Path) -> dict[str, str]:
    done = _pip("--python", str(python_of(home)), "list", "--format=json")
    return {installed["name"]: installed["version"] for installed in json.loads(done.stdout)}


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PIP, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SECONDS)


def _digest(rung: Rung, identity: str, lock: str) -> str:
    identifying = [asdict(rung), identity, lock, sys.version, sys.platform]
    return hashlib.sha256(json.dumps(identifying).encode()).hexdigest()[:12]


def _reason(log: Path) -> str:
    """Return what the installer said last, errors first where it named any."""
    lines = log.read_text(errors="replace").splitlines()
    for position, line in enumerate(lines):
        if line.startswith(_ERROR):
            return line
        if line.startswith(_NO_SOLUTION):
            return " ".join(text.strip(" ╰─▶×") for text in lines[position : position + _TAIL] if text[:1] == " ")
    return "\n".join(lines[-_TAIL:])
