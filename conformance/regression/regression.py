"""A regression check: two versions of one package, each in an environment of its own, the same cells, what changed."""

from __future__ import annotations

import hashlib
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from conformance.compare.comparison import compare
from conformance.compare.telling import headline
from conformance.compare.values import Comparison, FailOn, Policy
from conformance.errors import UsageError
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
from conformance.regression.pins import Pins, Released, Source, holding, pinned_version, pins
from conformance.regression.releases import released
from conformance.regression.version import Asked, checked_version, wheel_of
from conformance.regression.wheels import check_asked, check_different
from conformance.runfile.reading import read
from conformance.runfile.results import Results, results_of
from conformance.spec.locations import root


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked of two versions."""

    cells: Asked
    base: Source
    head: Source
    policy: Policy

    @property
    def package(self) -> str:
        """The package whose versions they are."""
        return self.cells.package


def asked_pins(package: str, groups: Sequence[str], known: Sequence[str], *, gpu: bool) -> tuple[Pins, ...]:
    """Return the pins of the groups named, or of all that hold the package. Raises `UsageError`."""
    for group in groups:
        if group not in known:
            raise UsageError(f"--group {group}: expected one of {', '.join(known)}")
    asked = pins(project(), groups or known, gpu=gpu, locks=_locks(known))
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
    """Return what changed from the base to the head. Raises `UsageError` where there is nothing to compare.

    What can be told without an environment is told first: that a wheel is of another package, or both are the same.
    """
    request = _wheels(replace(request, policy=_policy(request.policy)))
    base = checked_version(request.cells, request.base, "base")
    before = _comparable(request, base)
    if not before.cells:
        why = "; ".join(failures(base)) or "no cell was selected"
        raise UsageError(f"{request.package} {base.at}: nothing to compare with: {why}")
    head = checked_version(request.cells, request.head, "head")
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


def project() -> dict[str, Any]:
    """Return `pyproject.toml` as parsed. Raises `UsageError` where there is none, outside a checkout."""
    file = root() / "pyproject.toml"
    if not file.is_file():
        raise UsageError("the pinned versions are in the pyproject.toml of a checkout, and this is none")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _locks(groups: Sequence[str]) -> dict[str, str]:
    """Return a digest of the lock of each group that has one."""
    files = [(group, root() / "locks" / f"{group}.txt") for group in groups]
    return {group: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for group, file in files if file.is_file()}


def _comparable(request: Request, side: CheckedVersion) -> Results:
    if side.results is None:
        raise UsageError(f"{request.package} {side.at}: nothing was selected there")
    return side.results


def _step(request: Request, version: Source, base: Results, cases: Sequence[str], sought: Comparison) -> Step:
    side = checked_version(request.cells, version, f"bisect-{version}", cases)
    if side.results is None:
        return Step(side=side, answer=Answer.UNTESTABLE, said="nothing was selected there")
    comparison = compare(base, side.results, request.policy)
    shown = answer(comparison, sought)
    line = "; ".join(failures(side)) if shown is Answer.UNTESTABLE else headline(comparison)
    _say(f"{request.package} {version}: {shown}: {line}")
    return Step(side=side, answer=shown, said=line)


def _wheels(request: Request) -> Request:
    """Return the request with a wheel in place of each checkout. Raises `UsageError` where both sides are the same."""
    check_asked(request.package, request.base, request.head)
    base, head = (wheel_of(request.cells, source) for source in (request.base, request.head))
    check_different(request.package, base, head)
    return replace(request, base=base, head=head)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
