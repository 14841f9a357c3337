"""What a regression check found, as values, and what they say: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from conformance.compare.values import Comparison, Part
from conformance.regression.bisection import Answer, Found
from conformance.regression.environments import Built, Environment, Unbuilt
from conformance.regression.pins import Source
from conformance.runfile.results import Results
from conformance.runfile.run import Run

#: Cases by which a finding is followed through the versions: the worst of it.
_FOLLOWED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedVersion:
    """One version: its environments and what ran in them."""

    at: Source
    environments: tuple[Environment, ...]
    #: The run file; None where no cell was selected.
    file: Path | None
    #: What the run says; None likewise.
    results: Results | None
    #: How long running took.
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One version that a bisection tried."""

    side: CheckedVersion
    answer: Answer
    #: What it showed, in one line.
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisected:
    """How the version was found that changed something."""

    found: Found[Source]
    steps: tuple[Step, ...]
    #: What changed between the base and the first version that shows it; None where that was the head itself.
    comparison: Comparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Two versions of one package, compared."""

    package: str
    base: CheckedVersion
    head: CheckedVersion
    comparison: Comparison
    bisected: Bisected | None = None


def failures(side: CheckedVersion) -> tuple[str, ...]:
    """Return what of that version was not built or did not start, a line each."""
    unbuilt = [
        f"{environment.group}: not built: {_line(environment.reason)}"
        for environment in side.environments
        if isinstance(environment, Unbuilt)
    ]
    ran = side.results.environments if side.results else ()
    return (
        *unbuilt,
        *(
            f"{environment.id}: not started: {_line(environment.failed)}"
            for environment in ran
            if environment.fault == "not started"
        ),
    )


def moved(base: CheckedVersion, head: CheckedVersion) -> Mapping[str, Mapping[str, tuple[str, str]]]:
    """Return by group which packages differ between the environments: name, version in the base, in the head."""
    before = {
        environment.group: environment.versions for environment in base.environments if isinstance(environment, Built)
    }
    after = {
        environment.group: environment.versions for environment in head.environments if isinstance(environment, Built)
    }
    return {
        group: {
            name: (before[group].get(name, ""), after[group].get(name, ""))
            for name in sorted({*before[group], *after[group]}, key=str.lower)
            if before[group].get(name) != after[group].get(name)
        }
        for group in before
        if group in after
    }


def followed(comparison: Comparison) -> tuple[str, ...]:
    """Return the cases to follow through the versions: those that regressed, or where none did, those that changed."""
    cases = _regressed(comparison) if comparison.regression else _changed(comparison)
    return tuple(sorted(set(cases)))


def answer(comparison: Comparison, sought: Comparison) -> Answer:
    """Return whether a version, compared with the base, shows what was found between the base and the head."""
    if _failing(comparison) and not _failing(sought):
        return Answer.UNTESTABLE
    shows = comparison.regression if sought.regression else bool(_changed(comparison))
    return Answer.CHANGED if shows else Answer.SAME


def restricted(run: Run, cases: Sequence[str]) -> Run:
    """Return the run as if it had been asked for those cases alone."""
    wanted = set(cases)
    records = tuple(record for record in run.records if record.case in wanted)
    header = msgspec.structs.replace(run.header, planned=len(records), narrowed=True)
    return replace(run, header=header, records=records)


def _regressed(comparison: Comparison) -> Iterator[str]:
    for change in comparison.changes:
        if change.regression:
            yield from [cell.case for cell in change.cells if cell.regression][:_FOLLOWED]
    for gone in comparison.vanished:
        if gone.regression:
            yield from gone.cases[:_FOLLOWED]
    for new in comparison.appeared:
        if new.regression:
            yield from [cell.case for cell in new.disagreeing][:_FOLLOWED]
    yield from (grade.case for grade in comparison.grades if grade.regression)


def _changed(comparison: Comparison) -> list[str]:
    changed = [[cell.case for cell in change.cells if cell.base is not cell.new] for change in comparison.changes]
    return [case for cases in changed for case in cases[:_FOLLOWED]]


def _failing(comparison: Comparison) -> bool:
    return any(change.part is Part.FAULT and change.regression for change in comparison.environments)


def _line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
