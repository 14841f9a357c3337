"""How cells changed that both results have, and which of the changes are exit code 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.compare.accounts import accounts_of, moved_fields, moved_words
from conformance.compare.cells import ComparedCell, Pair
from conformance.compare.covering import covered
from conformance.compare.values import CellChange, Change, FailOn, Kind, Policy
from conformance.runfile.reasons import SharedCause
from conformance.verdict import Verdict

#: The clause that demands exact results; elsewhere they are luck.
EXACT_DATA = "13.4"
#: Verdicts whose explanation changes only with the numbers; the message of an error may differ between equal runs.
_ACCOUNTED = (Verdict.DIALECT, Verdict.DEVIATES)
_KINDS = {kind: position for position, kind in enumerate(Kind)}

_Group = tuple[str, Kind | None, bool, Verdict | None, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ChangedCell:
    """A cell that changed, with what may account for it."""

    kind: Kind
    regression: bool
    base: ComparedCell
    new: ComparedCell
    accounts: tuple[SharedCause, ...]

    @property
    def group(self) -> _Group:
        """What cells have in common that one account can stand for."""
        named = any(account.id for account in self.accounts)
        verdict = None if named or self.kind is Kind.MOVED else self.new.row.verdict
        match self.kind:
            case Kind.WORSE | Kind.OTHERWISE:
                return self.new.implementation, None, False, verdict, ""
            case Kind.MOVED | Kind.BETTER:
                return self.new.implementation, self.kind, False, verdict, ""
            case Kind.STATUS:
                statuses = f"{self.base.row.status} {self.new.row.status}"
                return self.new.implementation, self.kind, False, verdict, statuses
            case _:
                return self.new.implementation, self.kind, self.regression, verdict, ""

    @property
    def order(self) -> tuple[bool, float, str, str]:
        """The sort key that puts the worst first."""
        return not self.regression, -self.new.score, self.new.case.id, self.new.column


def changes_of(pairs: Iterable[Pair], policy: Policy) -> tuple[Change, ...]:
    """Return what changed, by implementation and cause, worst first."""
    groups: dict[_Group, list[_ChangedCell]] = {}
    for base, new in pairs:
        kind = _kind(base, new, policy)
        if kind is not None:
            cell = _ChangedCell(
                kind=kind,
                regression=_regressed(kind, base, new, policy),
                base=base,
                new=new,
                accounts=accounts_of(kind, base, new),
            )
            groups.setdefault(cell.group, []).append(cell)
    changes = [
        (cells, _change(account, cells))
        for group in groups.values()
        for account, cells in covered([(cell, cell.accounts) for cell in group])
    ]
    return tuple(change for _, change in sorted(changes, key=lambda pair: _order(*pair)))


def _order(cells: Sequence[_ChangedCell], change: Change) -> tuple[object, ...]:
    """Return the sort key that puts the worst change first."""
    severity = max(cell.new.row.verdict.severity for cell in cells)
    place = change.implementation, change.what, change.cells[0].case, change.cells[0].column
    return not change.regression, _KINDS[change.kind], -severity, -len(cells), *place


def _change(account: SharedCause, cells: Iterable[_ChangedCell]) -> Change:
    cells = sorted(cells, key=lambda cell: cell.order)
    kind = min((cell.kind for cell in cells), key=_KINDS.__getitem__)
    moved = {field for cell in cells for field in moved_fields(cell.base, cell.new)} if kind is Kind.MOVED else set()
    fields = sorted(moved, key=lambda field: (moved_words(field) != account.words, moved_words(field)))
    return Change(
        kind=kind,
        regression=any(cell.regression for cell in cells),
        implementation=cells[0].new.implementation,
        cause=account.id,
        what="; ".join(map(moved_words, fields)) or account.words,
        fields=tuple(fields),
        cells=tuple(_cell_change(cell) for cell in cells),
    )


def _kind(base: ComparedCell, new: ComparedCell, policy: Policy) -> Kind | None:
    """Return how a cell changed; None where it did not."""
    agree = (Verdict.EXACT, Verdict.CONFORMS)
    if base.row.verdict in agree and new.row.verdict in agree and base.row.verdict is not new.row.verdict:
        return Kind.INEXACT if new.row.verdict is Verdict.CONFORMS else Kind.EXACT
    if _moved(base, new):
        return Kind.MOVED
    if new.stands < base.stands:
        return Kind.BETTER
    if new.stands > base.stands:
        # What could not be expressed had nothing to lose.
        return Kind.OTHERWISE if base.row.verdict is Verdict.UNSUPPORTED else Kind.WORSE
    if base.row.verdict is not new.row.verdict or (new.row.verdict in _ACCOUNTED and _accounted_otherwise(base, new)):
        return Kind.OTHERWISE
    if base.row.status is not new.row.status:
        return Kind.STATUS
    if _grew(base.score, new.score, policy):
        return Kind.DRIFT
    return Kind.STEADIER if _grew(new.score, base.score, policy) else None


def _moved(base: ComparedCell, new: ComparedCell) -> bool:
    """Return whether numbers that agree follow a documented convention that they did not, or no longer one."""
    dialects = [cell.row.verdict is Verdict.DIALECT for cell in (base, new)]
    if not (base.row.verdict.agrees and new.row.verdict.agrees and any(dialects)):
        return False
    return not all(dialects) or bool(moved_fields(base, new))


def _accounted_otherwise(base: ComparedCell, new: ComparedCell) -> bool:
    """Return whether another thing decided the same verdict; of a dialect that is told by fields, its fields are it."""
    return base.what != new.what and not (base.reason.fields and new.reason.fields)


def _grew(low: float, high: float, policy: Policy) -> bool:
    return low >= 0 and high > low and high >= policy.drift_floor and high >= policy.drift_factor * low


def _regressed(kind: Kind, base: ComparedCell, new: ComparedCell, policy: Policy) -> bool:
    match kind:
        case Kind.WORSE | Kind.MOVED:
            return True
        case Kind.INEXACT:
            return EXACT_DATA in new.case.clauses or FailOn.EXACTNESS in policy.fail_on
        case Kind.DRIFT:
            return FailOn.DRIFT in policy.fail_on
        case Kind.OTHERWISE:
            return base.row.verdict is Verdict.UNSUPPORTED and new.disagrees and FailOn.APPEARED in policy.fail_on
        case Kind.STATUS | Kind.STEADIER | Kind.EXACT | Kind.BETTER:
            return False


def _cell_change(cell: _ChangedCell) -> CellChange:
    base, new = cell.base, cell.new
    drifted = cell.kind in (Kind.DRIFT, Kind.STEADIER)
    factor = None if not drifted else math.inf if base.score == 0 else new.score / base.score
    return CellChange(
        case=new.case.id,
        column=new.column,
        kind=cell.kind,
        regression=cell.regression,
        base=base.row.verdict,
        new=new.row.verdict,
        base_status=base.row.status,
        new_status=new.row.status,
        base_score=base.row.score,
        new_score=new.row.score,
        factor="Infinity" if factor == math.inf else factor,
        what=new.what or base.what,
    )
