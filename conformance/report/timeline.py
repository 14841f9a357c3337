"""What each process of a run did and when, as a drawing: one row a process, as dark as it was busy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from conformance.runfile.timeline_structs import RecordedTimeline

#: In units of the drawing: the names' column, the time's width, a row's height and the bars' in it.
_NAMES, _TIME, _ROW, _BAR = 150, 600, 16, 12


def timeline_drawing(timeline: RecordedTimeline) -> str:
    """Return the timeline as an SVG element; a bar is as high as the share of its part in which the process worked."""
    rows = [("judging", 0.0, timeline.seconds, timeline.own)]
    rows += [(lane.name, lane.began, lane.ended, lane.parts) for lane in timeline.lanes]
    height = len(rows) * _ROW + 28
    drawn = "".join(_row(number, *row, timeline.seconds) for number, row in enumerate(rows))
    axis = "".join(_axis(timeline.seconds, len(rows) * _ROW))
    return (
        f'<svg class="chart timeline" viewBox="0 0 {_NAMES + _TIME + 20} {height}" role="img" '
        f'aria-label="When each process of the run was at work">{drawn}{axis}</svg>'
    )


def _row(number: int, name: str, began: float, ended: float, parts: Sequence[int], seconds: float) -> str:
    top = number * _ROW + 2
    bottom = top + _BAR
    x, right = _place(began, seconds), _place(ended, seconds)
    width = _TIME / max(1, len(parts))
    bars = "".join(
        f"M{_NAMES + part * width:.1f} {bottom}v-{percent * _BAR / 100:.1f}h{width:.1f}V{bottom}z"
        for part, percent in enumerate(parts)
        if percent
    )
    busy = sum(parts) / 100 * seconds / max(1, len(parts))
    told = f"{name}: at work for {busy:.3g} s of the {ended - began:.3g} s that it lived"
    return (
        f'<g><title>{escape(told)}</title><text class="beside" x="{_NAMES - 6}" y="{bottom - 2}">{escape(name)}</text>'
        f'<path class="lived" d="M{x} {top}H{right}V{bottom}H{x}z"/><path class="worked" d="{bars}"/></g>'
    )


def _axis(seconds: float, bottom: int) -> Iterator[str]:
    step = next((step for step in (1, 5, 10, 30, 60, 120, 300, 600, 1800) if seconds / step <= 8), 3600)
    for number in range(int(seconds // step) + 1):
        x = _place(number * step, seconds)
        yield f'<path class="guide" d="M{x} 0V{bottom}"/><text class="below" x="{x}" y="{bottom + 11}">{number * step}</text>'
    yield f'<text class="below axis" x="{_NAMES + _TIME / 2:g}" y="{bottom + 24}">seconds from the start of the run</text>'


def _place(moment: float, seconds: float) -> float:
    part = min(1.0, max(0.0, moment / seconds)) if seconds else 0.0
    return round(_NAMES + part * _TIME, 1)
