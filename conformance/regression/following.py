"""Findings followed through the versions of a row: pure functions of what each version's run says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from packaging.utils import canonicalize_name

from conformance import __version__
from conformance.compare.comparison import compare
from conformance.compare.telling import headline
from conformance.compare.values import FailOn, Policy
from conformance.regression import history
from conformance.regression.checked import CheckedVersion, failures, moved
from conformance.regression.environments import Built
from conformance.regression.history import Followed, History, Sight, Since, State, Turn, TurnKind
from conformance.report.ranked import RankedFinding, ranked
from conformance.runfile.gathering import observed
from conformance.runfile.observed import RecordedCell
from conformance.runfile.run import Run
from conformance.verdict import Verdict

#: Implementation and cause: what a finding is of.
_Key: TypeAlias = tuple[str, str]
#: Case, implementation, mode and device.
_Place: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the run of one version says."""

    #: By implementation and cause; more than one where the sentences differ.
    findings: Mapping[_Key, tuple[RankedFinding, ...]]
    #: Cells that gave numbers: those alone tell that a finding is not shown.
    numbers: frozenset[_Place]
    #: Implementations of which anything ran.
    present: frozenset[str]
    #: Those of which a cell was judged.
    implementations: frozenset[str]


def judged(run: Run | None) -> Judged:
    """Return what a run says; None is a version of which nothing was selected."""
    cells = observed([run], partial=True).cells if run else ()
    findings: dict[_Key, tuple[RankedFinding, ...]] = {}
    for finding in ranked(cells, run.header.data_kinds if run else {}):
        key = (finding.implementation, finding.cause)
        findings[key] = (*findings.get(key, ()), finding)
    return Judged(
        findings=findings,
        numbers=frozenset(_place(cell) for cell in cells if cell.verdict.agrees or cell.verdict is Verdict.DEVIATES),
        present=frozenset(cell.column.implementation for cell in cells),
        implementations=frozenset(cell.column.implementation for cell in cells if cell.verdict.judged),
    )


def history_of(package: str, versions: Sequence[CheckedVersion], runs: Sequence[Judged], policy: Policy) -> History:
    """Return the history of those versions, oldest first, of each of which `runs` has what its run says."""
    keys = dict.fromkeys(key for run in runs for key in run.findings)
    followed = [(_followed(key, versions, runs), _harm(key, runs)) for key in keys]
    followed.sort(key=lambda pair: (bool(pair[0].turns), pair[1]), reverse=True)
    wrong = {implementation for implementation, _ in keys}
    results = [version.results for version in versions if version.results]
    return History(
        package=package,
        suite=results[0].suite if results else __version__,
        spec=results[0].spec if results else "",
        versions=tuple(_versions(package, versions, policy)),
        findings=tuple(finding for finding, _ in followed),
        flawless=tuple(sorted(frozenset().union(*(run.implementations for run in runs)) - wrong)),
    )


def turns(states: Sequence[State], versions: Sequence[str]) -> tuple[Turn, ...]:
    """Return where a finding began and ended, of its state in each of the versions."""
    found: list[Turn] = []
    last: int | None = None
    for position, state in enumerate(states):
        if state not in {State.SHOWN, State.ABSENT}:
            continue
        if last is not None and states[last] is not state:
            kind = TurnKind.BEGAN if state is State.SHOWN else TurnKind.ENDED
            between = tuple(versions[last + 1 : position])
            found.append(Turn(kind=kind, version=versions[position], after=versions[last], between=between))
        last = position
    return tuple(found)


def _followed(key: _Key, versions: Sequence[CheckedVersion], runs: Sequence[Judged]) -> Followed:
    names = [str(version.at) for version in versions]
    witnesses = frozenset().union(*(_places(run.findings.get(key, ())) for run in runs))
    sights = tuple(
        _sight(key, run, witnesses, failed=bool(failures(version))) for version, run in zip(versions, runs, strict=True)
    )
    newest = max(position for position, run in enumerate(runs) if key in run.findings)
    finding = runs[newest].findings[key][0]
    return Followed(
        implementation=key[0],
        cause=key[1],
        sentence=finding.sentence,
        example=finding.worst.cell.id,
        example_version=names[newest],
        turns=turns([sight.state for sight in sights], names),
        sights=sights,
    )


def _sight(key: _Key, run: Judged, witnesses: frozenset[_Place], *, failed: bool) -> Sight:
    findings = run.findings.get(key, ())
    showing = _places(findings)
    telling = (run.numbers & witnesses) | showing
    if showing:
        state = State.SHOWN
    elif telling:
        state = State.ABSENT
    elif failed and key[0] not in run.present:
        state = State.FAILED
    else:
        state = State.UNTOLD
    return Sight(state=state, cells=len(showing), asked=len(telling), new=any(finding.new for finding in findings))


def _places(findings: Sequence[RankedFinding]) -> frozenset[_Place]:
    return frozenset(_place(sighting.cell) for finding in findings for sighting in finding.sightings)


def _place(cell: RecordedCell) -> _Place:
    return cell.case.id, cell.column.name


def _harm(key: _Key, runs: Sequence[Judged]) -> tuple[int, float, tuple[int, int, float]]:
    """Return the key by which findings are sorted, what harms most people last: the worst over the versions."""
    return max(finding.worst.rank for run in runs for finding in run.findings.get(key, ()))


def _versions(package: str, versions: Sequence[CheckedVersion], policy: Policy) -> Iterator[history.Version]:
    # Every version was asked for the same cells: what one lacks is told.
    policy = replace(policy, fail_on=tuple(dict.fromkeys([*policy.fail_on, FailOn.VANISHED])))
    before: CheckedVersion | None = None
    for version in versions:
        cells = len(version.results.cells) if version.results else 0
        yield history.Version(
            version=str(version.at),
            file=version.file.name if version.file else "",
            cells=cells,
            kept={
                environment.group: environment.kept
                for environment in version.environments
                if isinstance(environment, Built)
            },
            failures=failures(version),
            since=_since(package, before, version, policy) if before else None,
        )
        before = version if cells else before


def _since(package: str, before: CheckedVersion, version: CheckedVersion, policy: Policy) -> Since | None:
    if before.results is None:
        return None
    if version.results is None:
        return Since(version=str(before.at), headline="No cell was selected there.", regression=True, moved={})
    comparison = compare(before.results, version.results, policy)
    others = {
        group: {name: pair for name, pair in packages.items() if canonicalize_name(name) != canonicalize_name(package)}
        for group, packages in moved(before, version).items()
    }
    return Since(
        version=str(before.at),
        headline=headline(comparison),
        regression=comparison.regression,
        moved={group: packages for group, packages in others.items() if packages},
    )
