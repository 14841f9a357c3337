"""What each process of a run did, and when: which of them were at work at once, and which waited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
#: From when to when, in seconds of the clock that every process of a machine shares.
Span = tuple[float, float]
#: A span, and the seconds of all cores that its process used meanwhile.
Stretch = tuple[float, float, float]

#: Into how many parts of one length the time of a run is divided.
PARTS = 200
_SHADES = " ░▒▓█"
_COLUMNS = 50


@dataclass(slots=True, kw_only=True)
class Lane:
    """One worker process while it lives and is not asleep: its stretches inside calls of its library, and those of importing it."""

    name: str
    began: float
    ended: float | None = None
    calls: list[Stretch] = field(default_factory=list)
    imports: list[Stretch] = field(default_factory=list)
    cells: int = 0
    #: Seconds of tracing and compiling, among those inside calls; None where the library does not tell.
    compiling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnLane:
    """What one process did: seconds from the start of the run, and by part of the run the percent that it was at work."""

    name: str
    began: float
    ended: float
    cells: int
    #: Seconds inside calls, of importing, and of processor time in either.
    calls: float
    importing: float
    processor: float
    compiling: float | None
    #: Inside a call or importing.
    parts: tuple[int, ...]

    @property
    def waiting(self) -> float:
        """Seconds in which it lived and did neither: starting, converting, or waiting for its next cell."""
        return max(0.0, self.ended - self.began - self.calls - self.importing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What every process did in a run of so many seconds, the one that judges first in `own`."""

    seconds: float
    #: By part, the percent in which the judging process did anything but wait.
    own: tuple[int, ...]
    lanes: tuple[DrawnLane, ...]

    @property
    def busy(self) -> float:
        """How many cores the libraries kept busy on average."""
        return sum(lane.processor for lane in self.lanes) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        head = f"{'what each process did':<32}{'cells':>7}{'calls':>8}{'compile':>8}{'import':>8}{'waits':>8}  when"
        rows = [_row("this process", self.own, ())]
        for lane in self.lanes:
            compiling = "" if lane.compiling is None else f"{lane.compiling:.1f}"
            numbers = (str(lane.cells), f"{lane.calls:.1f}", compiling, f"{lane.importing:.1f}", f"{lane.waiting:.1f}")
            rows.append(_row(lane.name, lane.parts, numbers))
        return "\n".join([head, *rows, f"cores that the libraries kept busy: {self.busy:.2f}"])


def drawn(wall: Span, lanes: Iterable[Lane], own: Sequence[Span]) -> Timeline:
    """Return the timeline of a run from `wall[0]` to `wall[1]`, in which this process worked in the spans `own`."""
    return Timeline(
        seconds=wall[1] - wall[0],
        own=_parts(wall, own),
        lanes=tuple(_drawn(wall, lane) for lane in lanes if lane.began < wall[1]),
    )


def covered(spans: Sequence[Span], wall: Span) -> tuple[Array, Array]:
    """Return moments and how much of the time before each is covered by at least one span, linear between them."""
    merged: list[list[float]] = [[wall[0], wall[0]]]
    for start, end in sorted((max(start, wall[0]), min(end, wall[1])) for start, end in spans):
        if start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        elif start < end:
            merged.append([start, end])
    moments = np.array(merged)
    lengths = np.cumsum(moments[:, 1] - moments[:, 0])
    before = np.concatenate([[0.0], lengths[:-1]])
    return moments.reshape(-1), np.stack([before, lengths], axis=1).reshape(-1)


def spans_of(stretches: Iterable[Stretch]) -> list[Span]:
    """Return the stretches without their processor time."""
    return [(began, ended) for began, ended, _ in stretches]


def _drawn(wall: Span, lane: Lane) -> DrawnLane:
    stretches = (*lane.calls, *lane.imports)
    return DrawnLane(
        name=lane.name,
        began=lane.began - wall[0],
        ended=(wall[1] if lane.ended is None else lane.ended) - wall[0],
        cells=lane.cells,
        calls=sum(ended - began for began, ended, _ in lane.calls),
        importing=sum(ended - began for began, ended, _ in lane.imports),
        processor=sum(used for _, _, used in stretches),
        compiling=lane.compiling,
        parts=_parts(wall, spans_of(stretches)),
    )


def _parts(wall: Span, spans: Sequence[Span]) -> tuple[int, ...]:
    """Return for each part of the wall time the percent of it that the spans cover."""
    if wall[1] <= wall[0]:
        return (0,) * PARTS
    lengths = np.diff(np.interp(np.linspace(*wall, PARTS + 1), *covered(spans, wall)))
    return tuple(np.rint(100 * lengths * PARTS / (wall[1] - wall[0])).astype(int).tolist())


def _row(name: str, parts: Sequence[int], numbers: Sequence[str]) -> str:
    cells = "".join(f"{number:>{width}}" for number, width in zip(numbers, (7, 8, 8, 8, 8), strict=False))
    means = np.array_split(np.array(parts), _COLUMNS)
    picture = "".join(_SHADES[int(np.ceil(part.mean() / 100 * (len(_SHADES) - 1)))] for part in means)
    return f"{name:<32}{cells:<39}  {picture}"
