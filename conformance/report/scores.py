"""How scores are spread: the share of cells at or below each score, and the score along the stability ladder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.report.model import framework_of
from conformance.runfile.ladder import DTYPES
from conformance.runfile.numbers import number_from
from conformance.runfile.observed import Column, RecordedCell

#: Scores are drawn between these powers of ten; what lies beyond is drawn at the edge.
LOWEST, HIGHEST = -6, 10
_POINTS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One implementation's points, both coordinates as they are drawn."""

    implementation: str
    points: tuple[tuple[float, float], ...]
    #: What is written beside its last point; empty: nothing.
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The scores of one implementation in numbers."""

    implementation: str
    cells: int
    median: float
    ninetieth: float
    largest: float
    #: Cells with a score above 1.
    beyond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One implementation's worst score at one ratio of mean and standard deviation, with the cell that has it."""

    implementation: str
    dtype: str
    ratio: float
    score: float
    cell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of one framework."""

    framework: str
    implementations: tuple[str, ...]
    spreads: tuple[Spread, ...]
    #: x: the power of ten of a score; y: the share of the judged cells at or below it.
    shares: tuple[Curve, ...]
    #: Dtype -> curves; x: the power of two of |mean|/std; y: the power of ten of the score.
    ladders: Mapping[str, tuple[Curve, ...]]
    rungs: tuple[Rung, ...]


def scores(columns: Iterable[Column], cells: Iterable[RecordedCell]) -> tuple[Scores, ...]:
    """Return the scores by framework, in the order of the columns."""
    frameworks: dict[str, list[RecordedCell]] = {framework_of(column): [] for column in columns}
    for cell in cells:
        if cell.verdict.judged and cell.score is not None:
            frameworks[framework_of(cell.column)].append(cell)
    return tuple(
        _scores(framework, framework_cells) for framework, framework_cells in frameworks.items() if framework_cells
    )


def drawn(score: float) -> float:
    """Return the power of ten at which a score is drawn."""
    return float(LOWEST if score <= 0 else min(HIGHEST, max(LOWEST, math.log10(score))))


def _scores(framework: str, cells: Sequence[RecordedCell]) -> Scores:
    by_name: dict[str, list[float]] = {}
    for cell in cells:
        by_name.setdefault(cell.column.implementation, []).append(_score(cell))
    names = tuple(sorted(by_name))
    rungs = tuple(_rungs(cells))
    return Scores(
        framework=framework,
        implementations=names,
        spreads=tuple(_spread(name, sorted(by_name[name])) for name in names),
        shares=tuple(Curve(implementation=name, points=_shares(sorted(by_name[name]))) for name in names),
        ladders={
            dtype: tuple(_curve(name, [rung for rung in rungs if rung.dtype == dtype]) for name in names)
            for dtype in DTYPES
            if any(rung.dtype == dtype for rung in rungs)
        },
        rungs=rungs,
    )


def _score(cell: RecordedCell) -> float:
    score = number_from(cell.score)
    return math.inf if score is None or math.isnan(score) else score


def _spread(name: str, ordered: Sequence[float]) -> Spread:
    return Spread(
        implementation=name,
        cells=len(ordered),
        median=_quantile(ordered, 0.5),
        ninetieth=_quantile(ordered, 0.9),
        largest=ordered[-1],
        beyond=sum(score > 1 for score in ordered),
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least value that so large a share of the values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _shares(ordered: Sequence[float]) -> tuple[tuple[float, float], ...]:
    steps = sorted({max(1, round(position * len(ordered) / _POINTS)) for position in range(1, _POINTS + 1)})
    return ((drawn(ordered[0]), 0.0), *((drawn(ordered[rank - 1]), rank / len(ordered)) for rank in steps))


def _rungs(cells: Iterable[RecordedCell]) -> Iterator[Rung]:
    worst: dict[tuple[str, str, float], tuple[float, str]] = {}
    for cell in cells:
        ratio = cell.case.ratio if cell.rung else 0.0
        if ratio:
            key = (cell.column.implementation, cell.case.configuration.dtype, ratio)
            worst[key] = max(worst.get(key, (-1.0, "")), (_score(cell), cell.id))
    for (implementation, dtype, ratio), (score, cell_id) in sorted(worst.items()):
        yield Rung(implementation=implementation, dtype=dtype, ratio=ratio, score=score, cell=cell_id)


def _curve(name: str, rungs: Iterable[Rung]) -> Curve:
    points = [(math.log2(rung.ratio), drawn(rung.score)) for rung in rungs if rung.implementation == name]
    return Curve(implementation=name, points=tuple(points))
