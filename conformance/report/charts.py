"""Charts as SVG that the pages' own style sheet colours: no style, script or identifier of their own.

pygal draws them: its marks carry classes instead of colours, so that one chart serves light, dark and print under
a policy that forbids inline style, at some 15 ms and 4 KB each. matplotlib and Vega write colours into every mark,
take seconds to load and a hundred megabytes to install.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from conformance.errors import UsageError
from conformance.report.scores import Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: from where to where, the labels at some values, and the value whose line stands out."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    limit: float | None = None


def chart(curves: Sequence[Curve], *, title: str, across: Axis, up: Axis, dots: bool, joined: bool = True) -> str:
    """Return the curves, or points that are not `joined`, as an SVG element named `title`. Raises `UsageError` where pygal is absent."""
    try:
        import pygal
        from pygal.etree import etree
    except ImportError as error:
        raise UsageError("the report needs pygal: pip install 'batchnorm-conformance[report]'") from error
    etree.to_etree()  # not lxml, where that is installed: its trees are not the standard library's
    drawing = pygal.XY(
        width=280, height=180, margin=4, margin_right=14, css=[], js=[], no_prefix=True,
        show_legend=False, stroke=joined, show_dots=dots, dots_size=2.5, allow_interruptions=True,
        xrange=(across.low, across.high), range=(up.low, up.high),
        x_labels=[{"value": value, "label": label} for value, label in across.ticks],
        y_labels=[{"value": value, "label": label} for value, label in up.ticks],
        x_labels_major=[across.limit], y_labels_major=[up.limit], show_x_guides=True, truncate_label=-1,
    )  # fmt: skip
    for curve in curves:
        drawing.add(curve.implementation, curve.points)
    return _plain(drawing.render_tree(), title)


def _plain(tree: Any, title: str) -> str:
    """Return the drawing as text, without what the page provides itself: styles, titles, overlays, identifiers."""
    for parent in list(tree.iter()):
        for child in list(parent):
            if child.tag is ET.Comment or child.tag in ("defs", "desc", "title") or _overlay(child):
                parent.remove(child)
    for element in tree.iter():
        for name in ("id", "style", "xmlns", "xmlns:xlink"):
            element.attrib.pop(name, None)
    tree.set("role", "img")
    tree.set("aria-label", title)
    return ET.tostring(tree, encoding="unicode", short_empty_elements=True)


def _overlay(element: Any) -> bool:
    return element.get("class", "") in ("plot text-overlay", "plot tooltip-overlay")
