"""Two results, compared: a pure function, and the policy by which a change is a regression.

A cell has regressed where its verdict stands worse in `compare.cells.STANDS` than it did, whether or not that was
expected: a listed divergence excuses a verdict and not the loss of one. A cell has moved where it agrees as before and
follows a documented convention that it did not, or no longer one: whoever relied on its numbers has others now. Of
exact and conforming, which both agree, the step from the first to the second counts only where the clause on exact data
is tested.
"""

from __future__ import annotations

from conformance.compare.cells import Joined
from conformance.compare.changes import changes_of
from conformance.compare.environments import environments_of
from conformance.compare.grades import grades_of
from conformance.compare.presence import appeared_of, narrowed, tiers_of, vanished_of
from conformance.compare.values import (
    Appeared,
    Change,
    Comparison,
    EnvironmentChange,
    GradeChange,
    Policy,
    Side,
    Vanished,
)
from conformance.errors import UsageError
from conformance.runfile.results import Results


def compare(base: Results, new: Results, policy: Policy | None = None) -> Comparison:
    """Return what changed from `base` to `new`. Raises `UsageError` where they have nothing in common."""
    policy = policy or Policy()
    definitions = {case.id: case.definition for case in base.cases}
    redefined = {case.id for case in new.cases if definitions.get(case.id, case.definition) != case.definition}
    joined = Joined(base, new, redefined)
    compared = sum(1 for _ in joined.pairs())
    changes = changes_of(joined.pairs(), policy)
    grades = tuple(
        sorted(grades_of(joined.pairs()), key=lambda grade: (not grade.regression, grade.column, grade.dtype))
    )
    environments = environments_of(base, new)
    vanished = vanished_of(joined.gone(), base, new, policy)
    appeared = appeared_of(joined.come(), policy)
    differences: list[Change | GradeChange | EnvironmentChange | Vanished | Appeared]
    differences = [*changes, *grades, *environments, *vanished, *appeared]
    regression = any(difference.regression for difference in differences)
    if not compared and not regression:
        raise UsageError(
            f"nothing to compare: of {len(base.cells)} and {len(new.cells)} cells none is of the same implementation,"
            " mode, device and case"
        )
    return Comparison(
        policy=policy,
        regression=regression,
        base=_side(base),
        new=_side(new),
        compared=compared,
        same=compared - sum(len(change.cells) for change in changes),
        changes=changes,
        grades=grades,
        environments=environments,
        vanished=vanished,
        appeared=appeared,
        redefined=tuple(sorted(redefined)),
    )


def _side(results: Results) -> Side:
    return Side(
        suite=results.suite,
        spec=results.spec,
        files=tuple(run.file for run in results.runs),
        cells=len(results.cells),
        complete=results.complete,
        narrowed=narrowed(results),
        tiers=tiers_of(results),
    )
