"""How long the steps took, as the run recorded them: no benchmark, and no page says that it is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from conformance.runfile.gathering import SecondsByKind
from conformance.runfile.observed import Column

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


def timed(columns: Iterable[Column], step_seconds: SecondsByKind) -> tuple[Timed, ...]:
    """Return the seconds of every column that recorded some."""
    by_name = {column.name: column for column in columns}
    return tuple(
        Timed(column=by_name[name], took={kind: _took(by_kind[kind]) for kind in KINDS if kind in by_kind})
        for name, by_kind in step_seconds.items()
    )


def _took(seconds: Sequence[float]) -> StepSeconds:
    return StepSeconds(count=len(seconds), least=min(seconds), middle=median(seconds), largest=max(seconds))
