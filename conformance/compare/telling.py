"""A comparison as sections of entries, from which the text, Markdown and JUnit forms are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from conformance.compare.values import (
    Appeared,
    CellChange,
    Change,
    Comparison,
    EnvironmentChange,
    GradeChange,
    Kind,
    Part,
    Side,
    Vanished,
)
from conformance.runfile.numbers import Number, number_from
from conformance.verdict import Standing, Verdict

_Difference: TypeAlias = Change | GradeChange | EnvironmentChange | Vanished | Appeared

_REASONS = {
    "": "though the new run has these cases",
    "failed": "their environment failed",
    "absent": "their environment took no part",
    "partial": "the new run is partial",
    "narrowed": "the new run was narrowed",
    "tier": "the new run is of another tier",
    "case": "the new run has no such cases",
}
#: The sections of what is exit code 1.
FAILING = ("Regressions", "Moved")
#: Worst first.
_TITLES = (*FAILING, "Environments", "Other changes", "Improvements", "Cells of one run alone")
_PLACES = {Part.VERSIONS: "version", Part.SETTINGS: "setting", Part.PROCESS: "variable", Part.HOST: "host"}
#: A setting may be a page of text.
_LONG = 80
#: Verdicts of cells that stopped early: their score covers the steps before alone.
_CUT = (Verdict.REFUSED, Verdict.TIMED_OUT, Verdict.CRASHED)
_IMPROVEMENTS = (Kind.STEADIER, Kind.EXACT, Kind.BETTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that changed."""

    #: Names of an implementation, a column, environments.
    who: str
    said: str
    #: Words that are not ours: a diagnosis, a message.
    what: str = ""
    #: The cases concerned, worst first, each with a remark.
    rows: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Entries under one heading, worst first."""

    title: str
    entries: tuple[Entry, ...]


def headline(comparison: Comparison) -> str:
    """Return in one line whether anything regressed, and how much changed."""
    compared = f"{counted(comparison.compared, 'cell')} compared"
    if not sections(comparison) and not notes(comparison):
        return f"Nothing changed: {compared}."
    moved = sum(len(change.cells) for change in comparison.changes if change.kind is Kind.MOVED)
    regressed = _regressed(comparison)
    outcomes = [
        *([f"Regression: {', '.join(regressed)}."] if regressed else []),
        *([f"Moved: {counted(moved, 'cell')}."] if moved else []),
    ]
    return f"{' '.join(outcomes) or 'No regression.'} {compared}, {comparison.same:,} as before."


def notes(comparison: Comparison) -> list[str]:
    """Return what makes the two less than fully comparable, a sentence each."""
    base, new = comparison.base, comparison.new
    redefined = f"{counted(len(comparison.redefined), 'case')} defined differently and not compared"
    sentences = []
    if base.spec != new.spec:
        sentences.append(f"The specs differ ({base.spec}, {new.spec}): {redefined}.")
    elif comparison.redefined:
        sentences.append(f"The suites write their cases differently: {redefined}.")
    if base.suite != new.suite:
        sentences.append(
            f"Different versions of the suite judged ({base.suite}, {new.suite}), which can move a verdict."
        )
    sentences.extend(
        f"The {name} run is partial." for name, side in (("base", base), ("new", new)) if not side.complete
    )
    return sentences


def side_line(side: Side) -> str:
    """Return how much one side holds, and by what it was judged."""
    asked = [*(f"tier {tier}" for tier in side.tiers if tier), *(["narrowed"] if side.narrowed else [])]
    cells = ", ".join([counted(side.cells, "cell"), *asked])
    return f"{cells}, suite {side.suite}, spec {side.spec}"


def sections(comparison: Comparison) -> tuple[Section, ...]:
    """Return everything that changed, by section; a section without entries is left out."""
    differences: list[_Difference]
    differences = [
        *comparison.environments,
        *comparison.changes,
        *comparison.grades,
        *(gone for gone in comparison.vanished if gone.regression),
        *comparison.appeared,
    ]
    by_title: dict[str, list[Entry]] = {title: [] for title in _TITLES}
    for difference in differences:
        by_title[_title(difference)].append(entry(difference))
    by_title["Cells of one run alone"].extend(_explained(comparison.vanished))
    return tuple(Section(title=title, entries=tuple(entries)) for title, entries in by_title.items() if entries)


def _title(difference: _Difference) -> str:
    if isinstance(difference, Change) and difference.kind is Kind.MOVED:
        return "Moved"
    if difference.regression:
        return "Regressions"
    match difference:
        case Change(kind=kind):
            return "Improvements" if kind in _IMPROVEMENTS else "Other changes"
        case GradeChange():
            return "Improvements"
        case Vanished() | Appeared():
            return "Cells of one run alone"
        case EnvironmentChange():
            return "Environments"


def entry(difference: _Difference) -> Entry:
    """Return what is said of one change."""
    match difference:
        case Change():
            return _of_change(difference)
        case GradeChange():
            grades = f"stability in {difference.dtype} {difference.base} → {difference.new}"
            return Entry(
                who=difference.column,
                said=grades,
                rows=((difference.case, "sets it" if difference.regression else "set it"),),
            )
        case Vanished():
            count = counted(len(difference.cases), "cell")
            summary = f"{f'all {count}' if difference.whole else count} vanished: {_REASONS[difference.reason]}"
            gone = tuple((case, "") for case in difference.cases) if not difference.reason else ()
            return Entry(who=difference.column, said=summary, rows=gone)
        case Appeared():
            counts = ", ".join(f"{count} {_word(verdict)}" for verdict, count in difference.verdicts.items())
            rows = tuple((cell.case, f"{_word(cell.verdict)}, {cell.status}") for cell in difference.disagreeing)
            return Entry(
                who=difference.column,
                said=f"{counted(sum(difference.verdicts.values()), 'new cell')}: {counts}",
                rows=rows,
            )
        case EnvironmentChange():
            return _of_environment(difference)


def _explained(vanished: Iterable[Vanished]) -> list[Entry]:
    """Return the cells that vanished for a reason, one entry for each reason."""
    reasons: dict[str, list[Vanished]] = {}
    for gone in vanished:
        if not gone.regression:
            reasons.setdefault(gone.reason, []).append(gone)
    return [
        Entry(
            who=alike[0].column if len(alike) == 1 else counted(len(alike), "column"),
            said=f"{counted(sum(len(gone.cases) for gone in alike), 'cell')} vanished: {_REASONS[reason]}",
        )
        for reason, alike in sorted(reasons.items())
    ]


def _of_change(change: Change) -> Entry:
    counts = Counter(_said(change, cell) for cell in change.cells)
    summary = "; ".join(f"{said}, {counted(count, 'cell')}" for said, count in counts.most_common())
    return Entry(who=change.implementation, said=summary, what=change.what, rows=_by_case(change))


def _said(change: Change, cell: CellChange) -> str:
    """Return how a cell changed."""
    base, new = _word(cell.base), _word(cell.new)
    match cell.kind:
        case Kind.STATUS:
            return f"{new} as before, {cell.base_status} → {cell.new_status}"
        case Kind.DRIFT | Kind.STEADIER:
            summary = f"{new}, with scores {_factors(change.cells)}"
        case Kind.OTHERWISE if base == new:
            summary = f"{new} otherwise than before"
        case _:
            summary = f"{base} → {new}"
    listed = cell.new_status in (Standing.KNOWN, Standing.DOCUMENTED)
    return f"{summary} ({cell.new_status})" if listed else summary


def _by_case(change: Change) -> tuple[tuple[str, str], ...]:
    """Return the cells case by case: the worst column's scores, and in which modes and on which devices."""
    cases: dict[str, list[CellChange]] = {}
    for cell in change.cells:
        cases.setdefault(cell.case, []).append(cell)
    columns = {
        case: ", ".join(cell.column.removeprefix(f"{change.implementation}-") for cell in case_cells)
        for case, case_cells in cases.items()
    }
    return tuple((case, f"{_numbers(case_cells[0])} ({columns[case]})".lstrip()) for case, case_cells in cases.items())


def _of_environment(change: EnvironmentChange) -> Entry:
    who = ", ".join(change.environments)
    match change.part:
        case Part.FAULT:
            return Entry(who=who, said=f"{change.base or 'worked'} → {change.new or 'works'}")
        case Part.ENVIRONMENT:
            return Entry(who=who, said="took no part before" if change.new else "takes no part now")
        case part:
            what = f"{change.name} {_short(change.base) or 'none'} → {_short(change.new) or 'none'}"
            return Entry(who=who, said=_PLACES[part], what=what)


def counted(count: int, word: str) -> str:
    """Return a number with its noun."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _regressed(comparison: Comparison) -> list[str]:
    """Return how much regressed, each with its noun."""
    counts = [
        (sum(_regressed_cells(change) for change in comparison.changes), "cell"),
        (sum(change.regression for change in comparison.grades), "grade"),
        (sum(len(change.environments) for change in comparison.environments if change.regression), "environment"),
        (sum(len(change.cases) for change in comparison.vanished if change.regression), "vanished cell"),
        (sum(len(change.disagreeing) for change in comparison.appeared if change.regression), "new disagreeing cell"),
    ]
    return [counted(count, word) for count, word in counts if count]


def _regressed_cells(change: Change) -> int:
    return 0 if change.kind is Kind.MOVED else sum(cell.regression for cell in change.cells)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[: _LONG - 1]}…"


def _word(verdict: str) -> str:
    return verdict.replace("_", " ")


def _numbers(cell: CellChange) -> str:
    """Return both scores, or that of the side which ran to its end; a part of the steps gives no score to compare."""
    ended = [(cell.base, cell.base_score), (cell.new, cell.new_score)]
    shown = [_shown(score) for verdict, score in ended if verdict not in _CUT and score is not None]
    return " → ".join(dict.fromkeys(shown))


def _shown(score: Number) -> str:
    return f"{number_from(score):.3g}".replace("inf", "∞")


def _factors(cells: Iterable[CellChange]) -> str:
    """Return by how much the scores grew or shrank."""
    factors = sorted(number_from(cell.factor) or 0.0 for cell in cells)
    low, high = (f"{factor:.2g}".replace("inf", "∞") for factor in (factors[0], factors[-1]))
    return f"×{low}" if low == high else f"×{low} to ×{high}"
