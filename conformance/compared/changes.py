"""How cells changed that both results have, and which of the changes are regressions."""

from __future__ import annotations

import math
from collections.abc import Iterable

from conformance.compared.cells import STANDS, Cell
from conformance.compared.values import CellChange, Change, FailOn, Kind, Policy
from conformance.verdict import Verdict

#: The clause that demands exact results; elsewhere they are luck.
EXACT_DATA = "13.4"
#: Whose account is the same whenever the numbers are; the words of an error may differ from run to run.
_ACCOUNTED = (Verdict.DIALECT, Verdict.DEVIATES)
_KINDS = {kind: position for position, kind in enumerate(Kind)}

Pair = tuple[Cell, Cell]


def changes_of(pairs: Iterable[Pair], policy: Policy) -> tuple[Change, ...]:
    """Return the cells that changed, gathered by what is the same about their change, worst first."""
    groups: dict[tuple[Kind, bool, str, Verdict, Verdict, str], list[Pair]] = {}
    for base, new in pairs:
        kind = _kind(base, new, policy)
        if kind is not None:
            what = _account(kind, base, new)
            key = (kind, _regressed(kind, new, policy), new.implementation, base.row.verdict, new.row.verdict, what)
            groups.setdefault(key, []).append((base, new))
    ordered = sorted(groups.items(), key=lambda each: _order(*each))
    return tuple(
        Change(
            kind=kind,
            regression=regression,
            implementation=implementation,
            base=before,
            new=after,
            what=what,
            cells=tuple(_cell_change(kind, *pair) for pair in sorted(found, key=_pair_order)),
        )
        for (kind, regression, implementation, before, after, what), found in ordered
    )


def _kind(base: Cell, new: Cell, policy: Policy) -> Kind | None:
    """Return how a cell changed; None where it did not."""
    agree = (Verdict.EXACT, Verdict.CONFORMS)
    if base.row.verdict in agree and new.row.verdict in agree and base.row.verdict is not new.row.verdict:
        return Kind.INEXACT if new.row.verdict is Verdict.CONFORMS else Kind.EXACT
    if base.stands != new.stands:
        return Kind.WORSE if new.stands > base.stands else Kind.BETTER
    if (base.row.verdict, base.row.status) != (new.row.verdict, new.row.status):
        return Kind.OTHERWISE
    if new.row.verdict in _ACCOUNTED and base.what != new.what:
        return Kind.OTHERWISE
    if _grew(base.score, new.score, policy):
        return Kind.DRIFT
    return Kind.STEADIER if _grew(new.score, base.score, policy) else None


def _grew(low: float, high: float, policy: Policy) -> bool:
    return low >= 0 and high > low and high >= policy.drift_floor and high >= policy.drift_factor * low


def _regressed(kind: Kind, new: Cell, policy: Policy) -> bool:
    match kind:
        case Kind.WORSE:
            return True
        case Kind.INEXACT:
            return EXACT_DATA in new.case.clauses or FailOn.EXACTNESS in policy.fail_on
        case Kind.DRIFT:
            return FailOn.DRIFT in policy.fail_on
        case Kind.OTHERWISE | Kind.STEADIER | Kind.EXACT | Kind.BETTER:
            return False


def _account(kind: Kind, base: Cell, new: Cell) -> str:
    """Return what to say of the change beside its verdicts."""
    if kind in (Kind.INEXACT, Kind.EXACT, Kind.DRIFT, Kind.STEADIER):
        return ""
    return base.what if kind is Kind.BETTER and not new.what else new.what


def _order(key: tuple[Kind, bool, str, Verdict, Verdict, str], pairs: list[Pair]) -> tuple[object, ...]:
    kind, regression, implementation, before, after, what = key
    stands = (-STANDS[after], STANDS[before])
    return (not regression, _KINDS[kind], *stands, -len(pairs), implementation, before, after, what)


def _pair_order(pair: Pair) -> tuple[float, str, str]:
    return -pair[1].score, pair[1].case.id, pair[1].column


def _cell_change(kind: Kind, base: Cell, new: Cell) -> CellChange:
    drifted = kind in (Kind.DRIFT, Kind.STEADIER)
    factor = None if not drifted else math.inf if base.score == 0 else new.score / base.score
    return CellChange(
        case=new.case.id,
        column=new.column,
        base_status=base.row.status,
        new_status=new.row.status,
        base_score=base.row.score,
        new_score=new.row.score,
        factor="Infinity" if factor == math.inf else factor,
    )
