"""How long the steps took, as the run recorded them: no benchmark, and no page says that it is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from conformance.runfile.observed import Column, RecordedCell

KINDS = ("start", "train", "infer", "reload", "sgd")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """The seconds of one kind of step."""

    count: int
    least: float
    middle: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One column's seconds by kind of step."""

    column: Column
    took: Mapping[str, StepSeconds]


def timed(cells: Iterable[RecordedCell]) -> tuple[Timed, ...]:
    """Return the seconds of every column that recorded some."""
    columns: dict[str, Column] = {}
    seconds_by_column: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        columns[cell.column.name] = cell.column
        for step in cell.record.steps:
            if step.seconds is not None:
                seconds_by_column.setdefault(cell.column.name, {}).setdefault(step.kind, []).append(step.seconds)
    return tuple(
        Timed(column=columns[name], took={kind: _took(by_kind[kind]) for kind in KINDS if kind in by_kind})
        for name, by_kind in seconds_by_column.items()
    )


def _took(seconds: list[float]) -> StepSeconds:
    return StepSeconds(count=len(seconds), least=min(seconds), middle=median(seconds), largest=max(seconds))
