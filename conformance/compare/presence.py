"""Cells that one of two results has alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from conformance.compare.cells import ComparedCell
from conformance.compare.environments import stands_for
from conformance.compare.values import Absence, Appeared, Disagreeing, FailOn, Policy, Vanished
from conformance.runfile.results import Results
from conformance.verdict import Verdict


def narrowed(results: Results) -> bool:
    """Return whether a run was narrowed to some cells."""
    return any(run.narrowed for run in results.runs)


def tiers_of(results: Results) -> tuple[str, ...]:
    """Return the tiers that were asked for, by name."""
    return tuple(sorted({run.tier for run in results.runs}))


def vanished_of(cells: Iterable[ComparedCell], base: Results, new: Results, policy: Policy) -> tuple[Vanished, ...]:
    """Return those cells of the base by column and reason: unexplained ones first, whole columns first."""
    columns = {column.name for column in new.columns}
    reason_of = _reasons(base, new)
    groups: dict[tuple[str, Absence], list[str]] = {}
    for cell in cells:
        groups.setdefault((cell.column, reason_of(cell)), []).append(cell.case.id)
    vanished = [
        Vanished(
            regression=reason in ("", "failed") or FailOn.VANISHED in policy.fail_on,
            column=column,
            reason=reason,
            whole=column not in columns,
            cases=tuple(sorted(case_ids)),
        )
        for (column, reason), case_ids in groups.items()
    ]
    return tuple(
        sorted(vanished, key=lambda group: (not group.regression, not group.whole, group.column, group.reason))
    )


def _reasons(base: Results, new: Results) -> Callable[[ComparedCell], Absence]:
    """Return a function that says why the new results lack a cell of the base."""
    cases = {case.id for case in new.cases}
    present = {id_ for environment in new.environments for id_ in stands_for(environment, base)}
    failed = {id_ for environment in new.environments if environment.fault for id_ in stands_for(environment, base)}
    partial, selected, retiered = not new.complete, narrowed(new), tiers_of(base) != tiers_of(new)

    def reason(cell: ComparedCell) -> Absence:
        if cell.environment.id in failed:
            return "failed"
        if cell.environment.id not in present:
            return "absent"
        if partial:
            return "partial"
        if selected:
            return "narrowed"
        if retiered:
            return "tier"
        return "" if cell.case.id in cases else "case"

    return reason


def appeared_of(cells: Iterable[ComparedCell], policy: Policy) -> tuple[Appeared, ...]:
    """Return those cells of the new results by column, those that do not agree by name."""
    groups: dict[str, list[ComparedCell]] = {}
    for cell in cells:
        groups.setdefault(cell.column, []).append(cell)
    appeared = []
    for column, column_cells in groups.items():
        counts = Counter(cell.row.verdict for cell in column_cells)
        wrong = sorted((cell for cell in column_cells if cell.disagrees), key=lambda cell: (-cell.stands, cell.case.id))
        appeared.append(
            Appeared(
                regression=bool(wrong) and FailOn.APPEARED in policy.fail_on,
                column=column,
                verdicts={verdict: counts[verdict] for verdict in Verdict if counts[verdict]},
                disagreeing=tuple(
                    Disagreeing(case=cell.case.id, verdict=cell.row.verdict, status=cell.row.status, what=cell.what)
                    for cell in wrong
                ),
            )
        )
    return tuple(sorted(appeared, key=lambda group: (-len(group.disagreeing), group.column)))
