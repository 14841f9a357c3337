"""Charts as SVG that the pages' own style sheet colours: no style, script or identifier of their own.

Marks carry classes in place of colours, so that one chart serves light, dark and print under a policy that forbids
inline style. What a mark stands for is its title, which a browser shows beside the pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from conformance.report.scores import Curve

#: Colours that the style sheet has; what has the same colour differs in the shape of its marks.
COLORS = 8
#: Around the plot: above, right, below, left, in units of the drawing.
_MARGINS = (8, 14, 34, 46)
#: Half the width of a mark with the space around it, and the width of a letter of a label.
_MARK, _LETTER = 4.0, 4.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: its title, from where to where, the labels at some values, and the value whose line stands out."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    limit: float | None = None
    #: A value as a person reads it.
    told: Callable[[float], str] = "{:.3g}".format

    def part(self, value: float) -> float:
        """Return how far along the axis a value is, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plot:
    """Where the axes are in the drawing."""

    across: Axis
    up: Axis
    width: int
    height: int

    def place(self, x: float, y: float) -> tuple[float, float]:
        top, right, bottom, left = _MARGINS
        wide, high = self.width - left - right, self.height - top - bottom
        return round(left + self.across.part(x) * wide, 1), round(top + (1 - self.up.part(y)) * high, 1)


def slots(frameworks: Mapping[str, str]) -> Mapping[str, int]:
    """Return a number for every implementation by which it is drawn on every page; `frameworks` are theirs by name.

    Those of one framework, which share charts, have different ones.
    """
    taken: dict[str, int] = {}
    result: dict[str, int] = {}
    for name, framework in frameworks.items():
        result[name] = taken.get(framework, 0)
        taken[framework] = result[name] + 1
    return result


def chart(
    curves: Sequence[Curve],
    slot_by_name: Mapping[str, int],
    *,
    title: str,
    across: Axis,
    up: Axis,
    dots: bool,
    joined: bool = True,
    size: tuple[int, int] = (280, 200),
) -> str:
    """Return the curves, or points that are not `joined`, as an SVG element named `title`.

    What a curve is to be labelled stands beside its last point where there is room, for the first curves first.
    """
    plot = _Plot(across=across, up=up, width=size[0], height=size[1])
    marks = "".join(
        _curve(curve, slot_by_name[curve.implementation], plot, dots=dots, joined=joined) for curve in curves
    )
    return (
        f'<svg class="chart" viewBox="0 0 {plot.width} {plot.height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(_guides(plot))}{marks}{''.join(_labels(curves, plot))}</svg>"
    )


def dot(slot: int, x: float, y: float, told: str = "") -> str:
    """Return the mark of that number at a place of the drawing."""
    r = 3.0
    shape = (
        f'<circle class="dot" cx="{x}" cy="{y}" r="{r}"/>',
        f'<path class="dot" d="M{x - r} {y - r}h{2 * r}v{2 * r}h{-2 * r}z"/>',
        f'<path class="dot" d="M{x} {y - 1.3 * r}l{1.3 * r} {2.2 * r}h{-2.6 * r}z"/>',
    )[slot // COLORS % 3]
    return f"<g>{f'<title>{escape(told)}</title>' if told else ''}{shape}</g>"


def _curve(curve: Curve, slot: int, plot: _Plot, *, dots: bool, joined: bool) -> str:
    places = [plot.place(x, y) for x, y in curve.points]
    name = escape(curve.implementation)
    line = " ".join(f"{x},{y}" for x, y in places)
    drawn = (
        f'<g><title>{name}</title><polyline class="line" points="{line}"/></g>' if joined and len(places) > 1 else ""
    )
    if dots:
        drawn += "".join(
            dot(slot, *place, f"{curve.implementation}: {plot.across.told(x)}, {plot.up.told(y)}")
            for place, (x, y) in zip(places, curve.points, strict=True)
        )
    return f'<g class="series color-{slot % COLORS}">{drawn}</g>'


def _labels(curves: Sequence[Curve], plot: _Plot) -> Iterator[str]:
    """Yield labels, each where it covers no mark and no other label; what has no such place stays with its title alone."""
    places = {curve.implementation: plot.place(*curve.points[-1]) for curve in curves if curve.points}
    covered = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in places.values()]
    for curve in curves:
        if not curve.label or not curve.points:
            continue
        x, y = places[curve.implementation]
        wide = _LETTER * len(curve.label)
        sides = (x + 6, x - 6 - wide)
        beside = [(left, y + down) for down in (0, -10, 10) for left in sides]
        for left, middle in (*beside, *((x - wide / 2, y + down) for down in (-10, 10, -20, 20))):
            box = (left, middle - 5, left + wide, middle + 5)
            inside = box[0] >= _MARGINS[3] and box[2] <= plot.width and box[1] >= 0
            if inside and not any(_overlap(box, other) for other in covered):
                covered.append(box)
                yield f'<text class="label" x="{round(left, 1)}" y="{round(middle + 3, 1)}">{escape(curve.label)}</text>'
                break


def _overlap(one: tuple[float, float, float, float], two: tuple[float, float, float, float]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def _guides(plot: _Plot) -> Iterator[str]:
    """Yield the lines behind the curves, the labels at them, and the titles of the axes."""
    across, up = plot.across, plot.up
    for value, label in across.ticks:
        (x, bottom), (_, top) = plot.place(value, up.low), plot.place(value, up.high)
        yield _guide(f"M{x} {bottom}V{top}", limit=value == across.limit)
        yield f'<text class="below" x="{x}" y="{bottom + 11}">{escape(label)}</text>'
    for value, label in up.ticks:
        (left, y), (right, _) = plot.place(across.low, value), plot.place(across.high, value)
        yield _guide(f"M{left} {y}H{right}", limit=value == up.limit)
        yield f'<text class="beside" x="{left - 5}" y="{y + 3}">{escape(label)}</text>'
    middle, low = plot.place((across.low + across.high) / 2, up.low)
    yield f'<text class="below axis" x="{middle}" y="{low + 25}">{escape(across.title)}</text>'
    left, halfway = plot.place(across.low, (up.low + up.high) / 2)
    yield f'<text class="below axis" transform="rotate(-90 9 {halfway})" x="9" y="{halfway}">{escape(up.title)}</text>'


def _guide(path: str, *, limit: bool) -> str:
    return f'<path class="guide{" limit" if limit else ""}" d="{path}"/>'
