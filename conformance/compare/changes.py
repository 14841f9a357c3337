"""How cells changed that both results have, and which of the changes are regressions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from conformance.compare.cells import ComparedCell
from conformance.compare.values import CellChange, Change, FailOn, Kind, Policy
from conformance.verdict import Standing, Verdict

#: The clause that demands exact results; elsewhere they are luck.
EXACT_DATA = "13.4"
#: Verdicts whose explanation changes only with the numbers; the message of an error may differ between equal runs.
_ACCOUNTED = (Verdict.DIALECT, Verdict.DEVIATES)
_KINDS = {kind: position for position, kind in enumerate(Kind)}

Pair = tuple[ComparedCell, ComparedCell]


class _Alike(NamedTuple):
    """What all cells of one reported change have in common."""

    kind: Kind
    regression: bool
    implementation: str
    base: Verdict
    new: Verdict
    base_status: Standing
    new_status: Standing
    what: str

    @property
    def order(self) -> tuple[object, ...]:
        """The sort key that puts the worst first; among equals the caller puts the larger group first."""
        return not self.regression, _KINDS[self.kind], -self.new.severity, self.base.severity


def changes_of(pairs: Iterable[Pair], policy: Policy) -> tuple[Change, ...]:
    """Return the cells that changed, those that changed alike as one change, worst first."""
    groups: dict[_Alike, list[Pair]] = {}
    for base, new in pairs:
        kind = _kind(base, new, policy)
        if kind is not None:
            groups.setdefault(_alike(kind, base, new, policy), []).append((base, new))
    ordered = sorted(groups.items(), key=lambda group: (group[0].order, -len(group[1]), group[0][2:]))
    return tuple(
        Change(
            **alike._asdict(),
            cells=tuple(_cell_change(alike.kind, *pair) for pair in sorted(alike_pairs, key=_pair_order)),
        )
        for alike, alike_pairs in ordered
    )


def _alike(kind: Kind, base: ComparedCell, new: ComparedCell, policy: Policy) -> _Alike:
    return _Alike(
        kind=kind,
        regression=_regressed(kind, base, new, policy),
        implementation=new.implementation,
        base=base.row.verdict,
        new=new.row.verdict,
        base_status=base.row.status,
        new_status=new.row.status,
        what=_account(kind, base, new),
    )


def _kind(base: ComparedCell, new: ComparedCell, policy: Policy) -> Kind | None:
    """Return how a cell changed; None where it did not."""
    agree = (Verdict.EXACT, Verdict.CONFORMS)
    if base.row.verdict in agree and new.row.verdict in agree and base.row.verdict is not new.row.verdict:
        return Kind.INEXACT if new.row.verdict is Verdict.CONFORMS else Kind.EXACT
    if new.stands < base.stands:
        return Kind.BETTER
    if new.stands > base.stands:
        # What could not be expressed had nothing to lose.
        return Kind.OTHERWISE if base.row.verdict is Verdict.UNSUPPORTED else Kind.WORSE
    if base.row.verdict is not new.row.verdict or (new.row.verdict in _ACCOUNTED and base.what != new.what):
        return Kind.OTHERWISE
    if base.row.status is not new.row.status:
        return Kind.STATUS
    if _grew(base.score, new.score, policy):
        return Kind.DRIFT
    return Kind.STEADIER if _grew(new.score, base.score, policy) else None


def _grew(low: float, high: float, policy: Policy) -> bool:
    return low >= 0 and high > low and high >= policy.drift_floor and high >= policy.drift_factor * low


def _regressed(kind: Kind, base: ComparedCell, new: ComparedCell, policy: Policy) -> bool:
    match kind:
        case Kind.WORSE:
            return True
        case Kind.INEXACT:
            return EXACT_DATA in new.case.clauses or FailOn.EXACTNESS in policy.fail_on
        case Kind.DRIFT:
            return FailOn.DRIFT in policy.fail_on
        case Kind.OTHERWISE:
            return base.row.verdict is Verdict.UNSUPPORTED and new.disagrees and FailOn.APPEARED in policy.fail_on
        case Kind.STATUS | Kind.STEADIER | Kind.EXACT | Kind.BETTER:
            return False


def _account(kind: Kind, base: ComparedCell, new: ComparedCell) -> str:
    """Return what to say of the change beside its verdicts."""
    if kind in (Kind.INEXACT, Kind.EXACT, Kind.DRIFT, Kind.STEADIER):
        return ""
    return base.what if kind is Kind.BETTER and not new.what else new.what


def _pair_order(pair: Pair) -> tuple[float, str, str]:
    return -pair[1].score, pair[1].case.id, pair[1].column


def _cell_change(kind: Kind, base: ComparedCell, new: ComparedCell) -> CellChange:
    drifted = kind in (Kind.DRIFT, Kind.STEADIER)
    factor = None if not drifted else math.inf if base.score == 0 else new.score / base.score
    return CellChange(
        case=new.case.id,
        column=new.column,
        base_score=base.row.score,
        new_score=new.row.score,
        factor="Infinity" if factor == math.inf else factor,
    )
