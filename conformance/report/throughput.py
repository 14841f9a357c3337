"""What was timed, as the page of throughput shows it: fractions of the limit beside the error, and case by case."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeAlias

from conformance.report.model import TimedLine
from conformance.report.scores import Curve
from conformance.report.warm_up import apart, bandwidth_of, calls_until_warm, held_ratio
from conformance.runfile.ladder import DTYPES
from conformance.runfile.numbers import Number, number_from
from conformance.runfile.throughput_structs import Measurement, PassName, ThroughputLine

#: In the order of the tables; what `infer_into` writes to is a buffer that it reuses.
PASSES: Mapping[PassName, str] = {
    "infer": "inference",
    "infer_into": "inference into a reused buffer",
    "train_forward": "training, forward",
    "train": "training, forward and backward",
}
STANDINGS = {
    "scored": "",
    "launch_bound": "launch-bound",
    "cached": "in cache",
    "invalid": "invalid",
    "voided": "void",
    "unmeasured": "not measured",
}
#: What voids a sample, as `conformance.throughput.contention` has it, in words.
DISTURBANCES = {
    "preempted": "made to leave a core",
    "waited": "kept waiting for a core",
    "pressure": "while anything waited for a core",
    "queue": "beside more at work than there are cores",
    "stolen": "while another virtual machine had the cores",
    "uneven": "with a median far above the quickest round",
    "drift": "beside a bandwidth that drifted",
}
#: A case in one shape.
_Sized: TypeAlias = tuple[str, tuple[int, ...]]
#: Scores are drawn between these powers of ten.
LOW, HIGH = -6, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One pass of one cell, as measured."""

    line: ThroughputLine
    measurement: Measurement
    framework: str
    #: Its seconds over those of the fastest of the same case, pass and device; None where it does not compare.
    ratio: float | None = None
    #: By which part its bandwidth differs from the median of its table; None where that is no more than noise.
    apart: float | None = None

    @property
    def place(self) -> str:
        """The device, and the number of threads where it is not the library's own."""
        threads = self.line.threads
        return self.line.device if threads is None else f"{self.line.device}, {threads} threads"

    @property
    def column(self) -> str:
        """Mode and device."""
        return f"{self.line.mode} {self.place}"

    @property
    def cold(self) -> int | None:
        """How many calls come before the first warm one; None where none of those that are told is, or none is told."""
        return calls_until_warm(self.measurement.warmed.calls, self.measurement.seconds)

    @property
    def warming(self) -> float | None:
        """The seconds of the calls before the first warm one."""
        return None if self.cold is None else sum(self.measurement.warmed.calls[: self.cold])

    @property
    def held(self) -> float | None:
        """How many times as long a call takes whose caller still holds the results before."""
        return held_ratio(self.measurement.warmed)

    @property
    def bandwidth(self) -> float | None:
        """The bytes a second that its fractions are parts of."""
        return bandwidth_of(self.measurement)

    @property
    def score(self) -> float | None:
        """Its error in units of its bound."""
        return number_from(self.measurement.score)

    @property
    def spread(self) -> tuple[float, float] | None:
        """The quartiles of its rounds, in seconds a call: the lowest and the highest of its batches; None: not recorded."""
        batches = self.measurement.statistics
        return (min(batch.q1 for batch in batches), max(batch.q3 for batch in batches)) if batches else None

    @property
    def claim(self) -> tuple[int, float, float]:
        """How it is sorted among those of its case and pass: scores by the limit, the others by their seconds."""
        if self.line.standing == "scored":
            return 0, -self.measurement.fractions.compulsory, self.measurement.seconds
        return 1 if self.compares else 2, 0.0, self.measurement.seconds

    @property
    def compares(self) -> bool:
        """Whether it compares with others on its case, whether or not the memory is what limits it."""
        return self.line.standing in ("scored", "launch_bound", "cached")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCase:
    """One case in one shape with all that was timed of it, by pass and what claims most first."""

    name: str
    shape: str
    dtype: str
    timings: tuple[Timing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scattered:
    """The scored timings of one framework: fraction of the limit against score, by implementation."""

    framework: str
    implementations: tuple[str, ...]
    #: Mode, device and dtype -> curves; x: the power of ten of the score; y: the compulsory fraction.
    curves: Mapping[str, tuple[Curve, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The fractions of one implementation in one mode, device and dtype: medians over its scored cases, by pass."""

    implementation: str
    column: str
    dtype: str
    #: Pass -> compulsory and streaming fraction, and the number of cases.
    fractions: Mapping[str, tuple[float, float, int]]
    #: The largest score of all that it gave, scored or not.
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """All that the page shows."""

    cases: tuple[TimedCase, ...]
    scattered: tuple[Scattered, ...]
    shares: tuple[Shares, ...]
    #: Implementation and reason -> how many of its passes were not measured for it.
    unmeasured: Mapping[tuple[str, str], int]
    standings: Mapping[str, int]
    contention: Contention


@dataclass(frozen=True, slots=True, kw_only=True)
class Contention:
    """How often something else used the machine."""

    #: Samples that were taken, and those that were void.
    samples: int
    void: int
    #: What disturbed them -> how many of the void ones.
    reasons: Mapping[str, int]
    #: The passes that were never quiet, and have no number.
    never: tuple[ThroughputLine, ...]


def throughput(timed: Sequence[TimedLine]) -> Throughput:
    """Return what the page shows of those lines."""
    timings = [
        Timing(line=timed_line.line, measurement=timed_line.line.measurement, framework=timed_line.framework)
        for timed_line in timed
        if timed_line.line.measurement is not None
    ]
    scored = [timing for timing in timings if timing.line.standing == "scored"]
    lines = [timed_line.line for timed_line in timed]
    missed = [line for line in lines if line.measurement is None and line.standing != "voided"]
    return Throughput(
        cases=tuple(_cases(timings)),
        scattered=tuple(
            _scattered(framework, [timing for timing in scored if timing.framework == framework])
            for framework in dict.fromkeys(timing.framework for timing in scored)
        ),
        shares=tuple(_shares(timings)),
        unmeasured=Counter((line.implementation, line.why) for line in missed),
        standings=Counter(line.standing for line in lines),
        contention=_contention(lines),
    )


def _contention(lines: Sequence[ThroughputLine]) -> Contention:
    voids = [reasons for line in lines for reasons in line.voided]
    counted = sum(len(line.measurement.batches) for line in lines if line.measurement is not None)
    return Contention(
        samples=counted + len(voids),
        void=len(voids),
        reasons=Counter(reason for reasons in voids for reason in reasons),
        never=tuple(line for line in lines if line.standing == "voided" and line.measurement is None),
    )


def _cases(timings: Sequence[Timing]) -> Iterator[TimedCase]:
    fastest: dict[tuple[_Sized, str, str], float] = {}
    for timing in timings:
        if timing.compares:
            key = _rivals(timing)
            fastest[key] = min(fastest.get(key, math.inf), timing.measurement.seconds)
    order = list(PASSES)
    # Runs of machines with other caches have other shapes, which compare with none but their own.
    for sized in dict.fromkeys(_sized(timing) for timing in timings):
        of_case = sorted(
            (timing for timing in timings if _sized(timing) == sized),
            key=lambda timing: (order.index(timing.line.pass_), timing.claim),
        )
        bandwidths = _bandwidths(of_case)
        yield TimedCase(
            name=sized[0],
            shape="×".join(str(size) for size in of_case[0].line.shape),
            dtype=of_case[0].line.dtype,
            timings=tuple(
                replace(
                    timing,
                    ratio=_ratio(timing, fastest),
                    apart=apart(timing.bandwidth, bandwidths.get(timing.line.device)),
                )
                for timing in of_case
            ),
        )


def _bandwidths(timings: Iterable[Timing]) -> dict[str, float]:
    """Return by device the median of the bandwidths of a table."""
    by_device: dict[str, list[float]] = {}
    for timing in timings:
        if timing.bandwidth is not None:
            by_device.setdefault(timing.line.device, []).append(timing.bandwidth)
    return {device: median(told) for device, told in by_device.items()}


def _sized(timing: Timing) -> _Sized:
    return timing.line.case, timing.line.shape


def _rivals(timing: Timing) -> tuple[_Sized, str, str]:
    return _sized(timing), timing.line.pass_, timing.line.device


def _ratio(timing: Timing, fastest: Mapping[tuple[_Sized, str, str], float]) -> float | None:
    least = fastest[_rivals(timing)] if timing.compares else 0.0
    return timing.measurement.seconds / least if least else None


def _scattered(framework: str, timings: Sequence[Timing]) -> Scattered:
    names = _names(timings)
    return Scattered(
        framework=framework,
        implementations=tuple(names),
        curves={
            ", ".join(group): tuple(
                Curve(
                    implementation=name,
                    points=tuple(_point(timing) for timing in alike if timing.line.implementation == name),
                )
                for name in names
            )
            for group, alike in _grouped(timings)
        },
    )


def _point(timing: Timing) -> tuple[float, float]:
    return drawn(timing.measurement.score), timing.measurement.fractions.compulsory


def drawn(recorded: Number | None) -> float:
    """Return the power of ten at which a score is drawn; what is beyond the axis, at its end."""
    score = number_from(recorded)
    if score is None or math.isnan(score) or score == math.inf:
        return float(HIGH)
    return float(LOW) if score <= 0 else min(float(HIGH), max(float(LOW), math.log10(score)))


def _grouped(timings: Iterable[Timing]) -> Iterator[tuple[tuple[str, str, str], list[Timing]]]:
    """Yield the timings by mode, device and dtype, the widest dtype first."""
    groups: dict[tuple[str, str, str], list[Timing]] = {}
    for timing in timings:
        groups.setdefault((timing.line.mode, timing.place, timing.line.dtype), []).append(timing)
    yield from sorted(groups.items(), key=lambda item: (item[0][1], item[0][0] != "eager", DTYPES.index(item[0][2])))


def _shares(timings: Sequence[Timing]) -> Iterator[Shares]:
    for name in _names(timings):
        of_name = [timing for timing in timings if timing.line.implementation == name]
        for (mode, device, dtype), alike in _grouped(of_name):
            scores = [timing.score for timing in alike if timing.score is not None]
            yield Shares(
                implementation=name,
                column=f"{mode} {device}",
                dtype=dtype,
                fractions={pass_name: share for pass_name in PASSES if (share := _share(alike, pass_name)) is not None},
                score=max(scores, default=None),
            )


def _names(timings: Iterable[Timing]) -> list[str]:
    return sorted({timing.line.implementation for timing in timings})


def _share(timings: Iterable[Timing], name: PassName) -> tuple[float, float, int] | None:
    fractions = [
        timing.measurement.fractions
        for timing in timings
        if timing.line.pass_ == name and timing.line.standing == "scored"
    ]
    if not fractions:
        return None
    compulsory, streaming = (
        median(getattr(fraction, part) for fraction in fractions) for part in ("compulsory", "streaming")
    )
    return compulsory, streaming, len(fractions)
