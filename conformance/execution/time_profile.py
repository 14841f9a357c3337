"""Where the time of a run goes: to the frameworks, or to a stage of the suite while no framework was at work."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.execution.timeline import Lane, Span, Timeline, covered, drawn, spans_of

Array = np.ndarray[Any, np.dtype[np.float64]]

FRAMEWORK, IMPORT = "inside a framework's call", "importing a framework"
#: The stage in which this process has nothing to do.
WAITING = "waiting for workers"
REST = "the rest: pytest, loading"


class Stages:
    """The stages of the process that runs the suite, one at a time, and what its workers say of themselves."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, processor: Callable[[], float] = lambda: sum(os.times()[:4])
    ) -> None:
        self._clock, self._processor = clock, processor
        self._used_before = processor()
        self._current = REST
        self._since = self.began = clock()
        self._spans: dict[str, list[Span]] = {}
        #: What each worker process did.
        self.lanes: list[Lane] = []

    @contextlib.contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count the time spent inside as that stage's, and not as the time of the stage that surrounds it."""
        outer = self._turn(stage)
        try:
            yield
        finally:
            self._turn(outer)

    def profile(self) -> Profile:
        """Return where the time went so far; what the workers computed counts once they have ended."""
        self._turn(self._current)
        calls = [stretch for lane in self.lanes for stretch in lane.calls]
        imports = [stretch for lane in self.lanes for stretch in lane.imports]
        inside = sum(worked for _, _, worked in (*calls, *imports))
        parts = partition((self.began, self._since), self._spans, spans_of(calls), spans_of(imports))
        return dataclasses.replace(
            parts, processor=self._processor() - self._used_before, inside=inside, timeline=self._timeline()
        )

    def lane(self, name: str) -> Lane:
        """Return the lane of a process that begins now."""
        self.lanes.append(Lane(name=name, began=self._clock()))
        return self.lanes[-1]

    def timeline(self) -> Timeline:
        """Return what every process did so far, and when."""
        self._turn(self._current)
        return self._timeline()

    def _timeline(self) -> Timeline:
        own = [span for stage, spans in self._spans.items() if stage != WAITING for span in spans]
        return drawn((self.began, self._since), self.lanes, own)

    def _turn(self, stage: str) -> str:
        now, before = self._clock(), self._current
        self._spans.setdefault(before, []).append((self._since, now))
        self._since, self._current = now, stage
        return before


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The wall time of a run in seconds, and the parts that add up to it."""

    wall: float
    #: While at least one worker was inside a framework's call.
    framework: float
    #: While none was, and at least one was importing.
    importing: float
    #: By stage of the suite, while neither was.
    alone: Mapping[str, float] = field(default_factory=dict)
    #: By stage, whatever the workers did meanwhile.
    whole: Mapping[str, float] = field(default_factory=dict)
    #: The seconds of all cores that this process and its ended workers used, and those of them in calls and imports.
    processor: float = 0.0
    inside: float = 0.0
    timeline: Timeline | None = None

    @property
    def own(self) -> float:
        """The share of the wall time in which no worker was inside a framework's call."""
        return 1 - self.framework / self.wall if self.wall else 0.0

    def __str__(self) -> str:
        rows = [(FRAMEWORK, self.framework, ""), (IMPORT, self.importing, "")]
        longest = sorted(self.alone, key=lambda stage: -self.alone[stage])
        rows += [(stage, self.alone[stage], f"   {self.whole[stage]:.2f}") for stage in longest]
        text = [f"{'where the time went':<32}{'seconds':>9}{'share':>8}   in all, beside the frameworks too"]
        for stage, seconds, whole in rows:
            share = seconds / self.wall if self.wall else 0.0
            text.append(f"{stage:<32}{seconds:>9.2f}{share:>8.1%}{whole}")
        without = self.own - (self.importing / self.wall if self.wall else 0.0)
        text.append(f"{'wall time':<32}{self.wall:>9.2f}")
        text.append(f"the suite's own share: {self.own:.1%} ({without:.1%} without the frameworks' imports)")
        times = f", {self.processor / self.inside:.2f} times" if self.inside else ";"
        text.append(
            f"processor time: {self.processor:.2f} s{times} the frameworks' calls and imports: {self.inside:.2f} s"
        )
        if self.timeline is not None:
            text += ["", str(self.timeline)]
        return "\n".join(text)


def partition(
    wall: Span, stages: Mapping[str, Sequence[Span]], calls: Sequence[Span], imports: Sequence[Span]
) -> Profile:
    """Return the wall time in parts that add up to it.

    A moment in which several things go on is counted once: for the frameworks' calls first, then for an import, and
    for a stage of the suite only where neither goes on.
    """
    inside, either = covered(calls, wall), covered([*calls, *imports], wall)
    whole = {stage: float(sum(end - start for start, end in spans)) for stage, spans in stages.items()}
    alone = {stage: whole[stage] - _overlap(spans, either) for stage, spans in stages.items()}
    framework = _overlap([wall], inside)
    return Profile(
        wall=wall[1] - wall[0],
        framework=framework,
        importing=_overlap([wall], either) - framework,
        alone=alone,
        whole=whole,
    )


def _overlap(spans: Sequence[Span], going_on: tuple[Array, Array]) -> float:
    """Return for how many seconds of the spans something in `going_on` was going on as well."""
    edges = np.array(spans).reshape(-1, 2)
    lengths = np.interp(edges, *going_on)
    return float((lengths[:, 1] - lengths[:, 0]).sum())
