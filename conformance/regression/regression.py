"""A regression check: two versions of one package, each in an environment of its own, the same cells, what changed."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conformance.compare.comparison import compare
from conformance.compare.telling import headline
from conformance.compare.values import Comparison, FailOn, Policy
from conformance.errors import SuiteError, UsageError
from conformance.regression.bisection import Answer, bisect
from conformance.regression.checked import (
    Bisected,
    Checked,
    CheckedVersion,
    Step,
    answer,
    failures,
    followed,
    restricted,
)
from conformance.regression.environments import Built, Environment, Unbuilt, build, released
from conformance.regression.pins import Pins, Released, Source, holding, pinned_version, pins
from conformance.runfile.reading import read
from conformance.runfile.results import Results, results_of
from conformance.spec.locations import root

_TAIL = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked."""

    package: str
    base: Source
    head: Source
    pins: tuple[Pins, ...]
    #: Globs over case ids; empty: all that the tier has.
    cases: tuple[str, ...]
    #: Further options of `conformance run` that select cells.
    selection: tuple[str, ...]
    policy: Policy
    #: Where environments are kept.
    environments: Path
    #: Where run files and reports go.
    out: Path


def asked_pins(package: str, groups: Sequence[str], known: Sequence[str], *, gpu: bool) -> tuple[Pins, ...]:
    """Return the pins of the groups named, or of all that hold the package. Raises `UsageError`."""
    for group in groups:
        if group not in known:
            raise UsageError(f"--group {group}: expected one of {', '.join(known)}")
    asked = pins(_project(), groups or known, gpu=gpu)
    return asked if groups else holding(asked, package)


def pinned(package: str, groups: Sequence[Pins]) -> Source:
    """Return the version that is pinned. Raises `UsageError` where none is."""
    version = pinned_version(groups, package)
    if version is None:
        raise UsageError(
            f"--base: {package} is not pinned in {', '.join(group.group for group in groups)}: name a version"
        )
    return version


def check(request: Request) -> Checked:
    """Return what changed from the base to the head. Raises `UsageError` where there is nothing to compare."""
    request = replace(request, policy=_policy(request.policy))
    base = _side(request, request.base, "base")
    before = _comparable(request, base)
    if not before.cells:
        why = "; ".join(failures(base)) or "no cell was selected"
        raise UsageError(f"{request.package} {base.at}: nothing to compare with: {why}")
    head = _side(request, request.head, "head")
    comparison = compare(before, _comparable(request, head), request.policy)
    return Checked(package=request.package, base=base, head=head, comparison=comparison)


def located(request: Request, checked: Checked) -> Checked:
    """Return the check with the first released version that shows the change. Raises `UsageError`.

    Versions between the two are run on the cases that changed and on no others; where nothing changed, none is run.
    """
    request = replace(request, policy=_policy(request.policy))
    between = versions_between(request.package, request.base, request.head)
    cases = followed(checked.comparison)
    if not cases or checked.base.file is None:
        return checked
    base = results_of([restricted(read(checked.base.file), cases)])
    steps: list[Step] = []

    def probe(version: Source) -> Answer:
        steps.append(_step(request, version, base, cases, checked.comparison))
        return steps[-1].answer

    change = bisect((request.base, *between, request.head), probe)
    shown = next((step.side.results for step in steps if step.side.at == change.first), None)
    return replace(
        checked,
        bisected=Bisected(
            found=change, steps=tuple(steps), comparison=compare(base, shown, request.policy) if shown else None
        ),
    )


def versions_between(package: str, base: Source, head: Source) -> tuple[Source, ...]:
    """Return the released versions strictly between the two, in the direction from base to head."""
    match base, head:
        case Released(version=first), Released(version=last):
            pass
        case _:
            raise UsageError("--bisect: expected two released versions, not a wheel or a checkout")
    low, high = sorted([first, last])
    versions = [version for version in released(package) if low < version < high and not version.is_prerelease]
    return tuple(Released(version=version) for version in (versions if first < last else reversed(versions)))


def _policy(policy: Policy) -> Policy:
    """Return the policy with vanished cells among what fails: both sides were asked for the same ones."""
    return replace(policy, fail_on=tuple(dict.fromkeys([*policy.fail_on, FailOn.VANISHED])))


def _project() -> dict[str, Any]:
    file = root() / "pyproject.toml"
    if not file.is_file():
        raise UsageError("the pinned versions are in the pyproject.toml of a checkout, and this is none")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _comparable(request: Request, side: CheckedVersion) -> Results:
    if side.results is None:
        raise UsageError(f"{request.package} {side.at}: nothing was selected there")
    return side.results


def _step(request: Request, version: Source, base: Results, cases: Sequence[str], sought: Comparison) -> Step:
    side = _side(request, version, f"bisect-{version}", cases)
    if side.results is None:
        return Step(side=side, answer=Answer.UNTESTABLE, said="nothing was selected there")
    comparison = compare(base, side.results, request.policy)
    shown = answer(comparison, sought)
    line = "; ".join(failures(side)) if shown is Answer.UNTESTABLE else headline(comparison)
    _say(f"{request.package} {version}: {shown}: {line}")
    return Step(side=side, answer=shown, said=line)


def _side(request: Request, at: Source, name: str, cases: Sequence[str] = ()) -> CheckedVersion:
    """Build the environments of a version and run the cells in them."""
    environments = []
    for group_pins in request.pins:
        _say(f"{request.package} {at}: environment {group_pins.group}")
        environments.append(build(group_pins, request.package, at, request.environments))
        _say(f"{request.package} {at}: {_outcome(environments[-1])}")
    file = request.out / f"{name}.jsonl"
    started = time.monotonic()
    ran = _run(
        file,
        environments,
        [*request.selection, *(word for case in cases or request.cases for word in ("--case", case))],
    )
    seconds = time.monotonic() - started
    results = results_of([read(file)]) if ran else None
    _say(f"{request.package} {at}: {len(results.cells) if results else 0:,} cells in {seconds:.0f} s")
    return CheckedVersion(
        at=at, environments=tuple(environments), file=file if ran else None, results=results, seconds=round(seconds, 1)
    )


def _run(file: Path, environments: Sequence[Environment], selection: Sequence[str]) -> bool:
    """Return whether there is a run file: a run that selects nothing has none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    words = ["--grouped", "--out", str(file), *selection]
    for environment in environments:
        match environment:
            case Built(group=group, python=python):
                words += ["--python", f"{group}={python}"]
            case Unbuilt(group=group, log=install):
                words += ["--unbuilt", f"{group}={install}"]
    log = file.with_suffix(".log")
    with log.open("w") as output:
        # A run is a process of its own, so that pytest begins anew in each.
        done = subprocess.run(
            [sys.executable, "-P", "-m", "conformance", "run", *words, "--", "-q"],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode == 130:
        raise KeyboardInterrupt
    words_of_run = log.read_text(errors="replace")[-_TAIL:].strip()
    if done.returncode == 2:
        if "nothing selected" in words_of_run:
            return False
        raise UsageError(words_of_run.splitlines()[-1].removeprefix("error: "))
    if done.returncode not in (0, 1):
        raise SuiteError(f"the run of {file} ended with code {done.returncode}: {words_of_run}")
    return True


def _outcome(environment: Environment) -> str:
    match environment:
        case Built(kept=kept, seconds=seconds):
            return f"built in {seconds:.0f} s, the other pins {kept}"
        case unbuilt:
            return f"not built: {unbuilt.reason.splitlines()[0] if unbuilt.reason else unbuilt.log}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
