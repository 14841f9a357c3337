"""Charts as SVG that nothing but the style sheet colours, and addresses within the site."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from conformance.report.charts import COLORS, Axis, chart, dot, slots
from conformance.report.drawings import overview
from conformance.report.links import Links
from conformance.report.scores import Curve
from conformance.report.throughput import Shares

ACROSS = Axis(title="across", low=0.0, high=4.0, ticks=((0.0, "1"), (4.0, "2⁴")), limit=0.0)
UP = Axis(title="up & <on>", low=0.0, high=1.0, ticks=((0.0, "0 %"), (1.0, "100 %")))
CURVES = (
    Curve(implementation="one", points=((0.0, 0.0), (4.0, 1.0))),
    Curve(implementation="none", points=()),
    Curve(implementation="<two>", points=((2.0, 0.5),)),
)


SLOTS = {"one": 0, "none": 1, "<two>": 2 + COLORS}


def test_a_chart_holds_no_style_script_or_identifier() -> None:
    """It is safe within a page, whatever its names are."""
    text = chart(CURVES, SLOTS, title='A "title" <b>', across=ACROSS, up=UP, dots=True)
    root = ET.fromstring(text)
    names = {name for element in root.iter() for name in element.attrib}
    assert not {"style", "id", "fill", "stroke", "onclick"} & names
    assert not {"style", "script", "defs"} & {element.tag for element in root.iter()}
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A "title" <b>'


def test_the_axes_have_titles_and_every_mark_says_what_it_is() -> None:
    root = ET.fromstring(chart(CURVES, SLOTS, title="t", across=ACROSS, up=UP, dots=True))
    assert {"across", "up & <on>", "1", "2⁴", "0 %", "100 %"} == {element.text for element in root.iter("text")}
    assert [element.text for element in root.iter("title")] == ["one", "one: 0, 0", "one: 4, 1", "<two>: 2, 0.5"]


def test_each_curve_keeps_its_place() -> None:
    """A point halfway between two others is drawn there, and more is to the right and above."""
    root = ET.fromstring(chart(CURVES[:1], SLOTS, title="t", across=ACROSS, up=UP, dots=True))
    first, last = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter("circle")]
    middle = ET.fromstring(chart(CURVES[2:], {"<two>": 0}, title="t", across=ACROSS, up=UP, dots=True)).find(
        ".//circle"
    )
    assert middle is not None
    place = float(middle.attrib["cx"]), float(middle.attrib["cy"])
    assert place == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2))
    assert first[0] < last[0]
    assert first[1] > last[1]


def test_an_implementation_has_one_number_and_those_of_a_framework_have_different_ones() -> None:
    assert slots({"a.one": "a", "b.one": "b", "a.two": "a"}) == {"a.one": 0, "b.one": 0, "a.two": 1}


def test_marks_of_one_colour_differ_in_shape() -> None:
    assert len({dot(slot, 4, 4) for slot in (0, COLORS, 2 * COLORS)}) == 3


@pytest.mark.parametrize(
    ("page", "single", "to", "at"),
    [
        ("index.html", False, "case.html#cell=a.b/c::d+e-cpu", "deviations.html#known"),
        ("implementations/x.html", False, "../case.html#cell=a.b/c::d+e-cpu", "../deviations.html#known"),
        ("deviations.html", False, "case.html#cell=a.b/c::d+e-cpu", "#known"),
        ("index.html", True, "#page=case.html&cell=a.b/c::d+e-cpu", "#page=deviations.html&at=known"),
    ],
)
def test_addresses_are_relative_to_their_page(page: str, single: bool, to: str, at: str) -> None:
    links = Links(page=page, single=single)
    assert links.to("case.html", cell="a.b/c::d+e-cpu") == to
    assert links.at("deviations.html", "known") == at


def test_an_address_holds_any_text() -> None:
    """Nothing in it ends the attribute, the fragment or a part of it."""
    address = Links(page="index.html", single=False).to("index.html", text='a&b=c#"<é %')
    assert address == "index.html#text=a%26b%3Dc%23%22%3C%C3%A9%20%25"


def test_a_label_covers_no_mark_and_no_other_label() -> None:
    """Of nine points on one spot not all are named: what has no room keeps its title."""
    crowd = [
        Curve(implementation=name, points=((2.0 + number / 50, 0.5),), label=name)
        for number, name in enumerate(f"point-{number}" for number in range(9))
    ]
    slot_by_name = dict.fromkeys((curve.implementation for curve in crowd), 0)
    root = ET.fromstring(chart(crowd, slot_by_name, title="t", across=ACROSS, up=UP, dots=True, joined=False))
    labels = [element for element in root.iter("text") if element.get("class") == "label"]
    assert 1 <= len(labels) < len(crowd)
    assert labels[0].text == "point-0"
    places = [(float(label.attrib["x"]), float(label.attrib["y"])) for label in labels]
    assert all(
        abs(y - other_y) >= 10 or abs(x - other_x) >= 30
        for position, (x, y) in enumerate(places)
        for other_x, other_y in places[:position]
    )


def shares(name: str, score: float, speed: float) -> Shares:
    return Shares(
        implementation=name, column="eager cpu", dtype="float32", fractions={"infer": (speed, speed, 1)}, score=score
    )


def test_the_picture_names_the_best_the_wrong_and_the_fastest_of_each_framework() -> None:
    """What another beats in both, and is no framework's fastest, keeps its title alone."""
    shown = [
        shares("a.fast", 0.5, 0.9),
        shares("a.accurate", 0.125, 0.5),
        shares("a.neither", 0.6, 0.3),
        shares("b.slow", 0.7, 0.1),
        shares("b.wrong", 30.0, 0.05),
    ]
    text = overview(shown, {one.implementation: one.implementation.partition(".")[0] for one in shown})
    root = ET.fromstring(text)
    labels = {element.text for element in root.iter("text") if element.get("class") == "label"}
    assert labels == {"a.fast", "a.accurate", "b.slow", "b.wrong"}
    assert "a.neither, eager cpu: score 0.6, 30% of the limit" in {element.text for element in root.iter("title")}


@pytest.mark.parametrize(
    ("scores", "ticks"),
    [
        ((0.2, 0.6), ["0.1", "0.2", "0.5", "1", "2"]),
        ((0.001, 0.6), ["10⁻³", "10⁻²", "10⁻¹", "1", "10¹"]),
        ((0.2, 5.0), ["0.1", "0.2", "0.5", "1", "2", "5", "10"]),
    ],
)
def test_the_axis_of_errors_is_as_wide_as_its_numbers_and_holds_the_limit(
    scores: tuple[float, ...], ticks: list[str]
) -> None:
    shown = [shares(f"a.{number}", score, 0.5) for number, score in enumerate(scores)]
    root = ET.fromstring(overview(shown, {one.implementation: "a" for one in shown}))
    assert [element.text for element in root.iter("text") if element.get("class") == "below"] == ticks
