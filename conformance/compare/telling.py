"""A comparison as sections of entries: what text and Markdown both say, each in its own marks."""

from __future__ import annotations

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

_Told: TypeAlias = Change | GradeChange | EnvironmentChange | Vanished | Appeared

_REASONS = {
    "": "though the new run has these cases",
    "failed": "their environment failed",
    "absent": "their environment took no part",
    "partial": "the new run is partial",
    "narrowed": "the new run was narrowed",
    "tier": "the new run is of another tier",
    "case": "the new run has no such cases",
}
#: Worst first.
_TITLES = ("Regressions", "Environments", "Other changes", "Improvements", "Cells of one run alone")
_PLACES = {Part.VERSIONS: "version", Part.SETTINGS: "setting", Part.PROCESS: "variable", Part.HOST: "host"}
#: A setting may be a page of text.
_LONG = 80
#: A cell that was cut short has the scores of the steps before.
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
    #: Where, as a name and what is to be said of it, worst first.
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
    found = f"Regression: {', '.join(_regressed(comparison))}" if comparison.regression else "No regression"
    return f"{found}. {compared}, {comparison.same:,} as before."


def notes(comparison: Comparison) -> list[str]:
    """Return what makes the two less than fully comparable, a sentence each."""
    base, new = comparison.base, comparison.new
    redefined = f"{counted(len(comparison.redefined), 'case')} defined differently and not compared"
    found = []
    if base.spec != new.spec:
        found.append(f"The specs differ ({base.spec}, {new.spec}): {redefined}.")
    elif comparison.redefined:
        found.append(f"The suites write their cases differently: {redefined}.")
    if base.suite != new.suite:
        found.append(f"Different versions of the suite judged ({base.suite}, {new.suite}), which can move a verdict.")
    found.extend(f"The {name} run is partial." for name, side in (("base", base), ("new", new)) if not side.complete)
    return found


def side_line(side: Side) -> str:
    """Return how much one side holds, and by what it was judged."""
    asked = [*(f"tier {tier}" for tier in side.tiers if tier), *(["narrowed"] if side.narrowed else [])]
    cells = ", ".join([counted(side.cells, "cell"), *asked])
    return f"{cells}, suite {side.suite}, spec {side.spec}"


def sections(comparison: Comparison) -> tuple[Section, ...]:
    """Return all that changed; a section without entries is left out."""
    told: list[_Told]
    told = [
        *comparison.environments,
        *comparison.changes,
        *comparison.grades,
        *(each for each in comparison.vanished if each.regression),
        *comparison.appeared,
    ]
    by_title: dict[str, list[Entry]] = {title: [] for title in _TITLES}
    for each in told:
        by_title[_title(each)].append(entry(each))
    by_title["Cells of one run alone"].extend(_explained(comparison.vanished))
    return tuple(Section(title=title, entries=tuple(of)) for title, of in by_title.items() if of)


def _title(told: _Told) -> str:
    if told.regression:
        return "Regressions"
    match told:
        case Change(kind=kind):
            return "Improvements" if kind in _IMPROVEMENTS else "Other changes"
        case GradeChange():
            return "Improvements"
        case Vanished() | Appeared():
            return "Cells of one run alone"
        case EnvironmentChange():
            return "Environments"


def entry(told: _Told) -> Entry:
    """Return what is said of one change."""
    match told:
        case Change():
            return _of_change(told)
        case GradeChange():
            grades = f"stability in {told.dtype} {told.base} → {told.new}"
            return Entry(who=told.column, said=grades, rows=((told.case, "sets it" if told.regression else "set it"),))
        case Vanished():
            count = counted(len(told.cases), "cell")
            said = f"{f'all {count}' if told.whole else count} vanished: {_REASONS[told.reason]}"
            gone = tuple((case, "") for case in told.cases) if not told.reason else ()
            return Entry(who=told.column, said=said, rows=gone)
        case Appeared():
            counts = ", ".join(f"{count} {_word(verdict)}" for verdict, count in told.verdicts.items())
            rows = tuple((each.case, f"{_word(each.verdict)}, {each.status}") for each in told.disagreeing)
            return Entry(
                who=told.column, said=f"{counted(sum(told.verdicts.values()), 'new cell')}: {counts}", rows=rows
            )
        case EnvironmentChange():
            return _of_environment(told)


def _explained(vanished: Iterable[Vanished]) -> list[Entry]:
    """Return the cells that vanished for a reason, one entry for each reason."""
    reasons: dict[str, list[Vanished]] = {}
    for each in vanished:
        if not each.regression:
            reasons.setdefault(each.reason, []).append(each)
    return [
        Entry(
            who=found[0].column if len(found) == 1 else counted(len(found), "column"),
            said=f"{counted(sum(len(each.cases) for each in found), 'cell')} vanished: {_REASONS[reason]}",
        )
        for reason, found in sorted(reasons.items())
    ]


def _of_change(change: Change) -> Entry:
    base, new = _word(change.base), _word(change.new)
    match change.kind:
        case Kind.DRIFT | Kind.STEADIER:
            said = f"{new}, with scores {_factors(change.cells)}"
        case Kind.OTHERWISE if base == new:
            said = f"{new} otherwise than before"
        case Kind.STATUS:
            said = f"{new} as before, {change.base_status} → {change.new_status}"
        case _:
            said = f"{base} → {new}"
    if change.kind is not Kind.STATUS and change.new_status in (Standing.KNOWN, Standing.DOCUMENTED):
        said = f"{said} ({change.new_status})"
    said = f"{said}, {counted(len(change.cells), 'cell')}"
    return Entry(who=change.implementation, said=said, what=change.what, rows=_by_case(change))


def _by_case(change: Change) -> tuple[tuple[str, str], ...]:
    """Return the cells case by case: the worst column's scores, and in which modes and on which devices."""
    cases: dict[str, list[CellChange]] = {}
    for cell in change.cells:
        cases.setdefault(cell.case, []).append(cell)
    columns = {
        case: ", ".join(each.column.removeprefix(f"{change.implementation}-") for each in of)
        for case, of in cases.items()
    }
    return tuple((case, f"{_numbers(change, of[0])} ({columns[case]})".lstrip()) for case, of in cases.items())


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
        (sum(len(each.cells) for each in comparison.changes if each.regression), "cell"),
        (sum(each.regression for each in comparison.grades), "grade"),
        (sum(len(each.environments) for each in comparison.environments if each.regression), "environment"),
        (sum(len(each.cases) for each in comparison.vanished if each.regression), "vanished cell"),
        (sum(len(each.disagreeing) for each in comparison.appeared if each.regression), "new disagreeing cell"),
    ]
    return [counted(count, word) for count, word in counts if count]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[: _LONG - 1]}…"


def _word(verdict: str) -> str:
    return verdict.replace("_", " ")


def _numbers(change: Change, cell: CellChange) -> str:
    """Return both scores, or that of the side which ran to its end; a part of the steps gives no score to compare."""
    ended = [(change.base, cell.base_score), (change.new, cell.new_score)]
    shown = [_shown(score) for verdict, score in ended if verdict not in _CUT and score is not None]
    return " → ".join(dict.fromkeys(shown))


def _shown(score: Number) -> str:
    return f"{number_from(score):.3g}".replace("inf", "∞")


def _factors(cells: Iterable[CellChange]) -> str:
    """Return by how much the scores grew or shrank."""
    found = sorted(number_from(each.factor) or 0.0 for each in cells)
    low, high = (f"{each:.2g}".replace("inf", "∞") for each in (found[0], found[-1]))
    return f"×{low}" if low == high else f"×{low} to ×{high}"
