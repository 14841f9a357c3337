"""The charts of the pages: what each shows, on which axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.report.charts import Axis, chart
from conformance.report.scores import HIGHEST, LOWEST, Curve, Scores
from conformance.report.throughput import HIGH, LOW, Scattered, Shares
from conformance.report.throughput import drawn as drawn_score

#: Fractions of the memory bandwidth: no call can exceed 1.
_LIMIT = Axis(
    title="speed, in % of what memory allows",
    low=0.0,
    high=1.1,
    ticks=((0.0, "0"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")),
    limit=1.0,
    told="{:.0%} of the limit".format,
)
#: Of an axis of errors, and of how many powers of ten it may be to have lines between them.
_ERRORS, _FEW_POWERS = "largest error ÷ its bound, on a logarithmic axis", 2
_SHARES = Axis(
    title="share of cells",
    low=0.0,
    high=1.0,
    ticks=((0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (1.0, "100 %")),
    told="{:.1%}".format,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One framework's charts as SVG."""

    shares: str
    #: By dtype.
    ladders: Mapping[str, str]


def drawn(scores: Sequence[Scores], slot_by_name: Mapping[str, int]) -> Mapping[str, Drawn]:
    """Return the charts by framework, the ladders on one scale."""
    heights = [
        y
        for framework_scores in scores
        for curves in framework_scores.ladders.values()
        for curve in curves
        for _, y in curve.points
    ]
    low, high = math.floor(min([-1.0, *heights])), math.ceil(max([1.0, *heights]))
    up = _scores(low, high, [power for power in range(low, high + 1) if power % 2 == 0])
    return {framework_scores.framework: _drawn(framework_scores, slot_by_name, up) for framework_scores in scores}


def overview(shares: Sequence[Shares], frameworks: Mapping[str, str]) -> str:
    """Return the chart of accuracy against speed of every implementation in float32; empty where none was timed so.

    Those of one framework are of one colour; `frameworks` are the implementations' by name. Named are those that no other
    beats in both, those beyond the limit, and the fastest of each framework.
    """
    order = list(dict.fromkeys(frameworks.values()))
    points = {
        f"{share.implementation}, {share.column}": (
            share.implementation,
            drawn_score(share.score),
            share.fractions["infer"][0],
        )
        for share in shares
        if share.dtype == "float32" and "infer" in share.fractions and share.score is not None
    }
    if not points:
        return ""
    named = _named(points, frameworks)
    return chart(
        [
            Curve(implementation=name, points=(points[name][1:],), label=points[name][0] if name in named else "")
            for name in [*named, *(name for name in points if name not in named)]
        ],
        {name: order.index(frameworks[implementation]) for name, (implementation, _, _) in points.items()},
        title="Every implementation: its largest error and its speed in inference, in float32",
        across=_errors([error for _, error, _ in points.values()]),
        up=_LIMIT,
        dots=True,
        joined=False,
        size=(640, 380),
    )


def _errors(powers: Iterable[float]) -> Axis:
    """Return an axis as wide as these powers of ten, and the limit, with lines between the powers where there are few."""
    powers = list(powers)
    low, high = math.floor(min([*powers, -1.0])), max([0.3, *map(math.ceil, powers)])
    if high - low > _FEW_POWERS:
        return _scores(low, math.ceil(high), range(low, math.ceil(high) + 1), title=_ERRORS)
    lines = [math.log10(first) + power for power in range(low, math.ceil(high) + 1) for first in (1, 2, 5)]
    ticks = tuple((line, f"{10**line:.3g}") for line in lines if low <= line <= high + 0.01)
    return Axis(title=_ERRORS, low=float(low), high=high + 0.01, ticks=ticks, limit=0.0, told=_told_score)


def _told_score(power: float) -> str:
    return f"score {10**power:.2g}"


def _named(points: Mapping[str, tuple[str, float, float]], frameworks: Mapping[str, str]) -> list[str]:
    """Return the points to name, the most important first."""
    fastest_first = sorted(points, key=lambda name: -points[name][2])
    best = [
        name
        for name in fastest_first
        if not any(
            other != points[name][1:] and other[0] <= points[name][1] and other[1] >= points[name][2]
            for other in (point[1:] for point in points.values())
        )
    ]
    beyond = [name for name in fastest_first if points[name][1] > 0]
    own: dict[str, str] = {}
    for name in fastest_first:
        own.setdefault(frameworks[points[name][0]], name)
    return list(dict.fromkeys([*best, *beyond, *own.values()]))


def scattered(plots: Sequence[Scattered], slot_by_name: Mapping[str, int]) -> Mapping[str, Mapping[str, str]]:
    """Return the charts of throughput by framework and by title, on one scale."""
    across = _scores(LOW, HIGH, range(LOW, HIGH + 1, 2))
    return {
        plot.framework: {
            title: chart(
                curves,
                slot_by_name,
                title=f"Fraction of the limit by score, {plot.framework}: {title}",
                across=across,
                up=_LIMIT,
                dots=True,
                joined=False,
            )
            for title, curves in plot.curves.items()
        }
        for plot in plots
    }


def _drawn(scores: Scores, slot_by_name: Mapping[str, int], up: Axis) -> Drawn:
    return Drawn(
        shares=chart(
            scores.shares,
            slot_by_name,
            title=f"Share of {scores.framework}'s judged cells at or below each score",
            across=_scores(LOWEST, HIGHEST, (LOWEST, -3, 0, 3, 6, HIGHEST)),
            up=_SHARES,
            dots=False,
        ),
        ladders={
            dtype: _ladder(scores.framework, dtype, curves, slot_by_name, up)
            for dtype, curves in scores.ladders.items()
        },
    )


def _ladder(framework: str, dtype: str, curves: Sequence[Curve], slot_by_name: Mapping[str, int], up: Axis) -> str:
    ratios = sorted({x for curve in curves for x, _ in curve.points})
    return chart(
        curves,
        slot_by_name,
        title=f"Score of {framework} along the stability ladder in {dtype}",
        across=Axis(
            title="|mean| / std",
            low=0.0,
            high=max(ratios) + 1,
            ticks=tuple((x, f"2{_raised(x)}") for x in ratios),
            told=lambda power: f"|mean| / std {2**power:g}",
        ),
        up=up,
        dots=True,
    )


def _scores(low: int, high: int, powers: Iterable[int], title: str = "error, in units of its bound") -> Axis:
    """Return an axis of scores between two powers of ten, labelled at those powers; the limit stands out."""
    ticks = tuple((float(power), _score(power)) for power in powers)
    return Axis(
        title=title,
        low=float(low),
        high=float(high),
        ticks=ticks,
        limit=0.0,
        told=_told_score,
    )


def _score(power: int) -> str:
    sign = {LOWEST: "≤", HIGHEST: "≥"}.get(power, "")
    return "1" if power == 0 else f"{sign}10{_raised(power)}"


def _raised(exponent: float) -> str:
    return str(round(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
