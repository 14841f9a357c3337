"""One version of a package: its environments, and the cells that run in them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from conformance.regression.checked import CheckedVersion
from conformance.regression.environments import Built, Environment, Unbuilt, build
from conformance.regression.pins import Local, Pins, Source
from conformance.regression.progress import phase
from conformance.regression.running import run_cells
from conformance.regression.wheels import built_wheel
from conformance.runfile.reading import read
from conformance.runfile.results import results_of

#: Environments that are built at a time: most of it is waiting for the index and for the disk.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which cells are asked of every version, and where things are kept."""

    package: str
    pins: tuple[Pins, ...]
    #: Globs over case ids; empty: all that the tier has.
    cases: tuple[str, ...]
    #: Further options of `conformance run` that select cells.
    selection: tuple[str, ...]
    #: Where environments are kept.
    environments: Path
    #: Where run files and reports go.
    out: Path
    #: The scheduler of the cluster on which the cells run, whose workers see the environments; None: this machine.
    scheduler: str | None = None


def checked_version(asked: Asked, at: Source, name: str, cases: Sequence[str] = ()) -> CheckedVersion:
    """Build the environments of a version and run the cells in them; `cases` in place of those that were asked for."""
    environments = tuple(_environment(asked, at, group_pins) for group_pins in asked.pins)
    return ran(asked, at, environments, name, cases)


def ran(
    asked: Asked, at: Source, environments: tuple[Environment, ...], name: str, cases: Sequence[str] = ()
) -> CheckedVersion:
    """Run the cells of a version in its environments, into the run file of that name."""
    file = asked.out / f"{name}.jsonl"
    words = [*asked.selection, *(word for case in cases or asked.cases for word in ("--case", case))]
    started = time.monotonic()
    with phase(f"{asked.package} {at}, cells") as running:
        selected = run_cells(file, environments, words, running.reached, asked.scheduler)
        results = results_of([read(file)]) if selected else None
        running.outcome = f"{len(results.cells) if results else 0:,} run"
    seconds = round(time.monotonic() - started, 1)
    return CheckedVersion(
        at=at, environments=environments, file=file if selected else None, results=results, seconds=seconds
    )


def built_side_by_side(asked: Asked, versions: Sequence[Source]) -> list[tuple[Environment, ...]]:
    """Build the environments of all those versions, several at a time, and return them by version.

    Each is told of in a line as it is ready, which may take minutes: so a line says before what is built. When it is
    interrupted, none is begun any more.
    """
    named = (
        f"{asked.package} {', '.join(map(str, versions))}: environments {', '.join(pins.group for pins in asked.pins)}"
    )
    print(f"{named}, up to {_AT_ONCE} at a time", file=sys.stderr, flush=True)
    stop = threading.Event()
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        pending = [[pool.submit(_built, asked, at, pins, stop.is_set) for pins in asked.pins] for at in versions]
        return [tuple(future.result() for future in futures) for futures in pending]
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def wheel_of(asked: Asked, at: Source) -> Source:
    """Return the version as it is, and of a checkout a wheel. Raises `UsageError`."""
    match at:
        case Local(path=checkout) if checkout.is_dir():
            with phase(f"{asked.package} {at}, wheel") as building:
                wheel = built_wheel(asked.package, at, asked.environments)
                building.outcome = f"built {wheel}"
            return wheel
        case _:
            return at


def _built(asked: Asked, at: Source, pins: Pins, stopped: Callable[[], bool]) -> Environment:
    started = time.monotonic()
    environment = build(pins, asked.package, at, asked.environments, stopped)
    seconds = time.monotonic() - started
    line = f"{_named(asked, at, pins)}: {_outcome(environment)} ({seconds:.0f} s)\n"
    print(line, end="", file=sys.stderr, flush=True)
    return environment


def _environment(asked: Asked, at: Source, pins: Pins) -> Environment:
    """Build the environment of a group, or take the one that was built before."""
    with phase(_named(asked, at, pins)) as building:
        environment = build(pins, asked.package, at, asked.environments)
        building.outcome = _outcome(environment)
    return environment


def _named(asked: Asked, at: Source, pins: Pins) -> str:
    return f"{asked.package} {at}, environment {pins.group}"


def _outcome(environment: Environment) -> str:
    match environment:
        case Built(kept=kept):
            return f"ready, the other pins {kept}"
        case Unbuilt(reason=reason, log=log):
            return f"not built: {reason.splitlines()[0] if reason else log}"
