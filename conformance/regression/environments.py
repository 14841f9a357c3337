"""Environments by version: built from the pins with one package replaced, kept by what was asked, and what they hold."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from packaging.version import InvalidVersion, Version

from conformance.errors import UsageError
from conformance.regression.pins import Local, Pins, Released, Rung, Source, rungs
from conformance.regression.wheels import PIP, digest_of, last_line
from conformance.whole import write_whole

#: One attempt to resolve and install; a resolver that backtracks further finds nothing a person would want.
_SECONDS = 1800.0
_TAIL = 12
_READY = "ready.json"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbuilt:
    """One that could not be built: a result of its own."""

    group: str
    log: Path
    #: The installer's last words.
    reason: str


Environment: TypeAlias = Built | Unbuilt


def build(pins: Pins, package: str, at: Source, folder: Path) -> Environment:
    """Return the environment of a group with the package replaced, from `folder` where it was built before.

    Raises `UsageError` for a file that is no wheel.
    """
    replacement, identity = _replacement(at)
    tried = rungs(pins, package, replacement)
    home = folder / f"{pins.group}-{package}-{at}-{_digest(tried[0], identity)}"
    ready = home / _READY
    if ready.is_file():
        return Built(group=pins.group, python=_python(home), **json.loads(ready.read_text()))
    home.mkdir(parents=True, exist_ok=True)
    log = home / "install.log"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    for rung in tried:
        # Each attempt begins anew, so that what an earlier one left behind is in none.
        venv.create(home / "env", clear=True, with_pip=False)
        if _installed(rung, home, log):
            facts = {"kept": rung.kept, "versions": _versions(home), "seconds": round(time.monotonic() - started, 1)}
            write_whole(ready, (json.dumps(facts, indent=1) + "\n").encode())
            return Built(group=pins.group, python=_python(home), **facts)  # type: ignore[arg-type] # as written above
    return Unbuilt(group=pins.group, log=log, reason=_reason(log))


def released(package: str) -> tuple[Version, ...]:
    """Return the versions in the index that this Python can install, oldest first. Raises `UsageError`."""
    done = _pip("index", "versions", package)
    listed = [line.partition(":")[2] for line in done.stdout.splitlines() if line.startswith("Available versions:")]
    if done.returncode or not listed:
        raise UsageError(f"{package}: its versions cannot be listed: {last_line(done.stderr)}")
    versions = []
    for text in listed[0].split(","):
        try:
            versions.append(Version(text.strip()))
        except InvalidVersion:  # older than the rule for versions, and so than anything that is asked for
            continue
    return tuple(sorted(versions))


def _replacement(at: Source) -> tuple[str, str]:
    """Return how a requirement names that version or wheel, and what tells it from another of the same name."""
    match at:
        case Released(version=version):
            return f"=={version}", ""
        case Local(path=wheel):
            return f" @ {wheel.as_uri()}", digest_of(wheel)


def _installed(rung: Rung, home: Path, log: Path) -> bool:
    """Return whether the requirements could be installed; the installer's words join the log."""
    parts: list[Sequence[str]] = [rung.together]
    if rung.alone:
        parts.append(("--no-deps", *rung.alone))
    with log.open("a") as output:
        for part in parts:
            print(f"--- others {rung.kept}: {' '.join(part)}", file=output, flush=True)
            command = [*PIP, "--python", str(_python(home)), "install", "--no-input", "--prefer-binary", *part]
            try:
                done = subprocess.run(
                    command, stdout=output, stderr=subprocess.STDOUT, timeout=_SECONDS, stdin=subprocess.DEVNULL
                )
            except subprocess.TimeoutExpired:
                print(f"ERROR: not resolved and installed within {_SECONDS:.0f} seconds", file=output)
                return False
            if done.returncode:
                return False
    return True


def _versions(home: Path) -> dict[str, str]:
    done = _pip("--python", str(_python(home)), "list", "--format=json")
    return {installed["name"]: installed["version"] for installed in json.loads(done.stdout)}


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PIP, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SECONDS)


def _python(home: Path) -> Path:
    return home / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _digest(rung: Rung, identity: str) -> str:
    identifying = [asdict(rung), identity, sys.version, sys.platform]
    return hashlib.sha256(json.dumps(identifying).encode()).hexdigest()[:12]


def _reason(log: Path) -> str:
    """Return what the installer said last, errors first where it named any."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("ERROR")]
    return errors[0] if errors else "\n".join(lines[-_TAIL:])
