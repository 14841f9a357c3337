"""What adapters offered, kept from run to run: importing a framework to ask it again takes most of a short run.

An answer is given again while everything that it may depend on is as it was: the interpreter and what is installed
there, the adapters' and our own worker's sources, the questions, the processor, and the variables of the environment. Whether a worker that
then starts does offer the same is compared by `KeptOffers.check`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from conformance.errors import SuiteError
from conformance.execution.request import fields_of
from conformance.files.whole import write_whole
from conformance.planning.discovery import WorkerKey
from conformance.protocol import Configuration
from conformance.worker.adapter_file import library_of

#: Prints what is installed where an interpreter looks, and the packages that are somebody's working copy.
_INSTALLED = """
import json, os, sys
entries, edited = [], []
for folder in sys.path:
    try:
        listed = list(os.scandir(folder))
    except OSError:
        continue
    for entry in listed:
        if entry.name.endswith((".dist-info", ".egg-info", ".egg-link", ".pth")):
            entries.append((entry.path, entry.stat().st_mtime_ns))
        if entry.name.endswith(".egg-link"):
            edited.append(entry.name)
        try:
            with open(os.path.join(entry.path, "direct_url.json")) as file:
                if json.load(file).get("dir_info", {}).get("editable"):
                    edited.append(entry.name)
        except (OSError, ValueError):
            pass
print(json.dumps([sys.version, os.path.realpath(sys.executable), sorted(entries), edited]))
"""
#: What of an offer cannot depend on which adapters were in the process before; the settings can.
_LASTING = ("library", "versions", "host", "sources", "implementations")
#: Variables that say where a person is, or where bytecode goes, and not how anything is computed; or that no worker inherits.
_PASSING = {
    "COLUMNS",
    "LINES",
    "OLDPWD",
    "PWD",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "SHLVL",
    "TERM",
    "WINDOWID",
    "_",
}
_PASSING_PREFIXES = ("DBUS_", "NOX_", "PYTEST_", "SSH_", "XDG_")
_SECONDS = 30.0
#: Our own package, whose sources are compared by their text.
_OURS = "batchnorm_conformance-"
_PACKAGE = Path(__file__).resolve().parents[1]


class Answered(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker answered: its offer and its reasons, or else the package that its adapter lacks."""

    #: A digest of all that it may depend on.
    given: str = ""
    offer: Any = None
    reasons: Any = None
    missing: str | None = None
    trace: str = ""


class Offers(Protocol):
    """What is known of workers before they start: what they answered, and what they must offer again."""

    def get(self, key: WorkerKey) -> Answered | None:
        """Return what that worker answered; None where it has to be asked."""

    def keep(self, key: WorkerKey, answered: Answered) -> None:
        """Take in what that worker answered."""

    def check(self, key: WorkerKey, offer: Mapping[str, Any]) -> None:
        """Raise a `ConformanceError` where a worker that started offers something else than it must."""


class KeptOffers:
    """The answers kept in a folder: of each adapter and interpreter one file, and another where nothing is asked but rows."""

    def __init__(self, folder: Path, configurations: Sequence[Configuration]) -> None:
        self._folder = folder
        self._asked = _digest([fields_of(configuration) for configuration in configurations])
        self._kind = "configurations" if configurations else "rows"
        self._promised: dict[WorkerKey, Mapping[str, Any]] = {}
        self._installed, self._sources = functools.cache(_installed), functools.cache(_sources)

    def get(self, key: WorkerKey) -> Answered | None:
        """Return what that worker answered when it was asked last; None where it has to be asked."""
        given = self._given(key)
        try:
            answered = msgspec.json.decode(self._file(key).read_bytes(), type=Answered)
        except (OSError, msgspec.MsgspecError):
            return None
        if given is None or answered.given != given:
            return None
        if isinstance(answered.offer, dict):
            self._promised[key] = answered.offer
        return answered

    def keep(self, key: WorkerKey, answered: Answered) -> None:
        """Keep what that worker answered, unless a package there is somebody's working copy."""
        given = self._given(key)
        if given is not None:
            write_whole(self._file(key), msgspec.json.encode(msgspec.structs.replace(answered, given=given)))

    def check(self, key: WorkerKey, offer: Mapping[str, Any]) -> None:
        """Raise `SuiteError` where a worker that started offers something else than what was kept of it."""
        promised = self._promised.get(key, offer)
        other = [part for part in _LASTING if promised.get(part) != offer.get(part)]
        if other:
            self._file(key).unlink(missing_ok=True)
            raise SuiteError(
                f"{key.name}: has other {', '.join(other)} than when it was asked last, though nothing that is installed "
                "has changed: what was kept of it is removed, begin another run"
            )

    def _file(self, key: WorkerKey) -> Path:
        place = _digest([key.adapter, key.attribute, key.interpreter, key.environment, self._kind])
        return self._folder / f"{key.name}-{place[:16]}.json"

    def _given(self, key: WorkerKey) -> str | None:
        """Return a digest of everything that the answer may depend on; None where it cannot be known."""
        installed = self._installed(key.interpreter)
        if installed is None:
            return None
        return _digest([installed, self._sources(key.adapter), _worker(), self._asked, key.environment, _variables()])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _installed(interpreter: str) -> str | None:
    """Return what is installed there, as text; None where a package is a working copy or the interpreter fails."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [interpreter, "-P", "-c", _INSTALLED]
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        done = subprocess.run(command, env=variables, capture_output=True, check=True, timeout=_SECONDS)
        *_, edited = json.loads(done.stdout)
        if all(name.startswith(_OURS) for name in edited):
            return done.stdout.decode()
    return None


def _sources(adapter: str) -> str:
    """Return a digest of the adapter's file and, in a folder of adapters, of all that it may import there."""
    file = Path(adapter).absolute()
    return _texts(file.parent.parent.rglob("*.py") if library_of(file) else [file])


@functools.cache
def _worker() -> str:
    """Return a digest of our own sources that ask and answer."""
    return _texts([*_PACKAGE.glob("*.py"), *(_PACKAGE / "worker").glob("*.py")])


def _texts(files: Iterable[Path]) -> str:
    return _digest([(str(file), file.read_text(encoding="utf-8", errors="replace")) for file in sorted(files)])


def _variables() -> str:
    lasting = {
        name: value
        for name, value in os.environ.items()
        if name not in _PASSING and not name.startswith(_PASSING_PREFIXES)
    }
    return _digest([lasting, os.cpu_count(), len(getattr(os, "sched_getaffinity", lambda _: ())(0)), _instructions()])


@functools.cache
def _instructions() -> str:
    """Return what the processor can do, as Linux lists it: what a library supports may depend on that."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()
