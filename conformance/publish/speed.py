"""How fast the suite itself ran, over the published runs: what their own timelines say, and its charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from conformance.publish.history import Edition
from conformance.report.charts import Axis, chart
from conformance.report.scores import Curve
from conformance.runfile.run import Run
from conformance.runfile.timeline_structs import RecordedLane, RecordedTimeline

#: An axis of runs names so many of them at most.
_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast one published run was made."""

    edition: str
    machine: str
    #: Cells that a process performed: those that an API cannot express cost next to nothing.
    cells: int
    #: Wall time.
    seconds: float
    #: The part of it in which no process was inside its library or imported it, at most: 0 to 1.
    alone: float
    #: Cores that the libraries kept busy on average.
    busy: float

    @property
    def milliseconds_a_cell(self) -> float:
        """Wall time by the cell."""
        return 1000 * self.seconds / self.cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One measure of every run as a chart."""

    title: str
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """The speed of the suite over the published runs."""

    #: Oldest first.
    speeds: tuple[Speed, ...]
    #: Machines in the order of their colours.
    machines: tuple[str, ...]
    charts: tuple[Drawn, ...]
    #: Published runs that do not say what their processes did.
    untold: int


def timelines_of(runs: Iterable[Run]) -> tuple[RecordedTimeline, ...]:
    """Return the timelines of runs that judged; none where one of them has none."""
    timelines = [run.footer.timeline if run.footer else None for run in runs if not run.times]
    return tuple(timeline for timeline in timelines if timeline) if all(timelines) else ()


def speeds(editions: Sequence[Edition]) -> Speeds:
    """Return how fast the suite was in every run that says so. `editions` are oldest first."""
    told = [_speed(edition) for edition in editions if any(lane.cells for lane in _lanes(edition.timelines))]
    machines = tuple(dict.fromkeys(speed.machine for speed in told))
    measures: tuple[tuple[str, str, Callable[[Speed], float]], ...] = (
        ("Time a cell", "milliseconds", lambda speed: speed.milliseconds_a_cell),
        ("The suite alone, at most", "% of the time", lambda speed: 100 * speed.alone),
        ("Cores that the libraries kept busy", "cores", lambda speed: speed.busy),
    )
    return Speeds(
        speeds=tuple(told),
        machines=machines,
        charts=tuple(_drawn(told, machines, *measure) for measure in measures) if told else (),
        untold=len(editions) - len(told),
    )


def _lanes(timelines: Iterable[RecordedTimeline]) -> Iterable[RecordedLane]:
    return (lane for timeline in timelines for lane in timeline.lanes)


def _speed(edition: Edition) -> Speed:
    seconds = sum(timeline.seconds for timeline in edition.timelines)
    alone = sum(timeline.seconds * _alone(timeline) for timeline in edition.timelines)
    processor = sum(lane.processor for lane in _lanes(edition.timelines))
    return Speed(
        edition=edition.name,
        machine=edition.machine,
        cells=sum(lane.cells for lane in _lanes(edition.timelines)),
        seconds=seconds,
        alone=alone / seconds if seconds else 0.0,
        busy=processor / seconds if seconds else 0.0,
    )


def _alone(timeline: RecordedTimeline) -> float:
    """Return in which part of the time no library was at work: in each moment, of the process that was most at work."""
    moments = zip(*(lane.parts for lane in timeline.lanes if lane.parts), strict=False)
    at_work = [max(moment) for moment in moments]
    return 1 - sum(at_work) / (100 * len(at_work)) if at_work else 1.0


def _drawn(
    told: Sequence[Speed], machines: Sequence[str], title: str, unit: str, measure: Callable[[Speed], float]
) -> Drawn:
    """Return the chart of one measure: a line a machine, from the oldest run to the newest."""
    values = [measure(speed) for speed in told]
    svg = chart(
        [
            Curve(
                implementation=machine,
                points=tuple((float(at), values[at]) for at, speed in enumerate(told) if speed.machine == machine),
            )
            for machine in machines
        ],
        {machine: slot for slot, machine in enumerate(machines)},
        title=f"{title}, over the published runs",
        across=_runs(told),
        up=_from_zero(unit, max(values)),
        dots=True,
        size=(360, 220),
    )
    return Drawn(title=title, svg=svg)


def _runs(told: Sequence[Speed]) -> Axis:
    """Return the axis of the runs, one beside the other: they were not made at equal intervals."""
    last = len(told) - 1
    named = sorted({round(last * part / (_NAMED - 1)) for part in range(_NAMED)})
    return Axis(
        title="published runs, oldest first",
        low=-0.5,
        high=last + 0.5,
        ticks=tuple((float(at), told[at].edition[:10]) for at in named),
        told=lambda at: told[round(at)].edition,
    )


def _from_zero(unit: str, largest: float) -> Axis:
    """Return an axis that begins at zero, with a line at each step of 1, 2 or 5."""
    power = 10.0 ** math.floor(math.log10(largest)) if largest > 0 else 1.0
    step = next(step for step in (power / 5, power / 2, power, 2 * power) if largest <= 6 * step)
    steps = max(1, math.ceil(largest / step - 1e-9))
    return Axis(
        title=unit,
        low=0.0,
        high=steps * step,
        ticks=tuple((number * step, f"{number * step:.3g}") for number in range(steps + 1)),
        told=lambda value: f"{value:.3g} {unit}",
    )
