"""What was timed, as the page of throughput shows it: fractions of the limit beside the error, and case by case."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from conformance.report.scores import Curve
from conformance.runfile.ladder import DTYPES
from conformance.runfile.run_file import Line, number_from

#: In the order of the tables; what `infer_into` writes to is a buffer that it reuses.
PASSES = {
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
#: What compares with others on its case, whether or not the memory is what limits it.
_COMPARES = ("scored", "launch_bound", "cached")
#: Scores are drawn between these powers of ten.
LOW, HIGH = -6, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One pass of one cell, as measured."""

    line: Line
    #: Its seconds over those of the fastest of the same case, pass and device; None where it does not compare.
    ratio: float | None

    @property
    def column(self) -> str:
        """Mode and device."""
        return f"{self.line['mode']} {self.line['device']}"

    @property
    def score(self) -> float | None:
        """Its error in units of its bound."""
        return number_from(self.line["score"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCase:
    """One case with all that was timed of it, by pass and the fastest first."""

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


def throughput(lines: Sequence[Line]) -> Throughput:
    """Return what the page shows of those lines, which name their frameworks."""
    measured = [line for line in lines if line["standing"] != "unmeasured"]
    scored = [line for line in measured if line["standing"] == "scored"]
    missed = [line for line in lines if line["standing"] == "unmeasured"]
    return Throughput(
        cases=tuple(_cases(measured)),
        scattered=tuple(
            _scattered(framework, [line for line in scored if line["framework"] == framework])
            for framework in dict.fromkeys(line["framework"] for line in scored)
        ),
        shares=tuple(_shares(measured)),
        unmeasured=Counter((line["implementation"], line["why"]) for line in missed),
        standings=Counter(line["standing"] for line in lines),
    )


def _cases(lines: Sequence[Line]) -> Iterator[TimedCase]:
    fastest: dict[tuple[str, str, str], float] = {}
    for line in lines:
        if line["standing"] in _COMPARES:
            key = _rivals(line)
            fastest[key] = min(fastest.get(key, math.inf), line["seconds"])
    order = list(PASSES)
    for name in dict.fromkeys(line["case"] for line in lines):
        of_case = sorted(
            (line for line in lines if line["case"] == name),
            key=lambda line: (order.index(line["pass"]), line["standing"] not in _COMPARES, line["seconds"]),
        )
        yield TimedCase(
            name=name,
            shape="×".join(str(size) for size in of_case[0]["shape"]),
            dtype=of_case[0]["dtype"],
            timings=tuple(Timing(line=line, ratio=_ratio(line, fastest)) for line in of_case),
        )


def _rivals(line: Line) -> tuple[str, str, str]:
    return line["case"], line["pass"], line["device"]


def _ratio(line: Line, fastest: Mapping[tuple[str, str, str], float]) -> float | None:
    return line["seconds"] / fastest[_rivals(line)] if line["standing"] in _COMPARES else None


def _scattered(framework: str, lines: Sequence[Line]) -> Scattered:
    names = _names(lines)
    return Scattered(
        framework=framework,
        implementations=tuple(names),
        curves={
            ", ".join(group): tuple(
                Curve(
                    implementation=name, points=tuple(_point(line) for line in found if line["implementation"] == name)
                )
                for name in names
            )
            for group, found in _grouped(lines)
        },
    )


def _point(line: Line) -> tuple[float, float]:
    return drawn(line), line["fractions"]["compulsory"]


def drawn(line: Line) -> float:
    """Return the power of ten at which the score of a line is drawn; what is beyond the axis, at its end."""
    score = number_from(line["score"])
    if score is None or math.isnan(score) or score == math.inf:
        return float(HIGH)
    return float(LOW) if score <= 0 else min(float(HIGH), max(float(LOW), math.log10(score)))


def _grouped(lines: Iterable[Line]) -> Iterator[tuple[tuple[str, str, str], list[Line]]]:
    """Yield the lines by mode, device and dtype, the widest dtype first."""
    found: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line["mode"], line["device"], line["dtype"]), []).append(line)
    yield from sorted(found.items(), key=lambda each: (each[0][1], each[0][0] != "eager", DTYPES.index(each[0][2])))


def _shares(lines: Sequence[Line]) -> Iterator[Shares]:
    by_name = {name: [line for line in lines if line["implementation"] == name] for name in _names(lines)}
    for name, of_name in by_name.items():
        for (mode, device, dtype), found in _grouped(of_name):
            scores = [score for line in found if (score := number_from(line["score"])) is not None]
            yield Shares(
                implementation=name,
                column=f"{mode} {device}",
                dtype=dtype,
                fractions={each: share for each in PASSES if (share := _share(found, each)) is not None},
                score=max(scores, default=None),
            )


def _names(lines: Iterable[Line]) -> list[str]:
    return sorted({line["implementation"] for line in lines})


def _share(lines: Iterable[Line], name: str) -> tuple[float, float, int] | None:
    found = [line["fractions"] for line in lines if line["pass"] == name and line["standing"] == "scored"]
    if not found:
        return None
    return median(each["compulsory"] for each in found), median(each["streaming"] for each in found), len(found)
