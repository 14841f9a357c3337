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

Array = np.ndarray[Any, np.dtype[np.float64]]
#: From when to when, in seconds of the clock that every process of a machine shares.
Span = tuple[float, float]
#: A span, and the seconds of all cores that its process used meanwhile.
Stretch = tuple[float, float, float]

FRAMEWORK, IMPORT = "inside a framework's call", "importing a framework"
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
        #: While a worker was inside a call of its framework, or importing it.
        self.calls: list[Stretch] = []
        self.imports: list[Stretch] = []

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
        inside = sum(worked for _, _, worked in (*self.calls, *self.imports))
        parts = partition((self.began, self._since), self._spans, _spans(self.calls), _spans(self.imports))
        return dataclasses.replace(parts, processor=self._processor() - self._used_before, inside=inside)

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
        return "\n".join(text)


def partition(
    wall: Span, stages: Mapping[str, Sequence[Span]], calls: Sequence[Span], imports: Sequence[Span]
) -> Profile:
    """Return the wall time in parts that add up to it.

    A moment in which several things go on is counted once: for the frameworks' calls first, then for an import, and
    for a stage of the suite only where neither goes on.
    """
    inside, either = _covered(calls, wall), _covered([*calls, *imports], wall)
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


def _spans(stretches: Sequence[Stretch]) -> list[Span]:
    return [(began, ended) for began, ended, _ in stretches]


def _covered(spans: Sequence[Span], wall: Span) -> tuple[Array, Array]:
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


def _overlap(spans: Sequence[Span], covered: tuple[Array, Array]) -> float:
    """Return for how many seconds of the spans something in `covered` was going on as well."""
    edges = np.array(spans).reshape(-1, 2)
    lengths = np.interp(edges, *covered)
    return float((lengths[:, 1] - lengths[:, 0]).sum())
