"""Charts as SVG that nothing but the style sheet colours, and addresses within the site."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from conformance.report.charts import Axis, chart
from conformance.report.links import Links
from conformance.report.scores import Curve

ACROSS = Axis(low=0.0, high=4.0, ticks=((0.0, "1"), (4.0, "2⁴")), limit=0.0)
UP = Axis(low=0.0, high=1.0, ticks=((0.0, "0 %"), (1.0, "100 %")))
CURVES = (
    Curve(implementation="one", points=((0.0, 0.0), (4.0, 1.0))),
    Curve(implementation="none", points=()),
    Curve(implementation="<two>", points=((2.0, 0.5),)),
)


def test_a_chart_holds_no_style_script_identifier_or_date() -> None:
    """It is safe within a page, and the same every day."""
    text = chart(CURVES, title='A "title" <b>', across=ACROSS, up=UP, dots=True)
    root = ET.fromstring(text)
    names = {name for each in root.iter() for name in each.attrib}
    assert not {"style", "id", "fill", "stroke", "onclick"} & names
    assert not {"style", "script", "defs", "desc", "title"} & {each.tag for each in root.iter()}
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A "title" <b>'
    assert "20" not in text.partition(">")[0].replace("280", "")
    assert text == chart(CURVES, title='A "title" <b>', across=ACROSS, up=UP, dots=True)


def test_each_curve_keeps_its_colour_and_place() -> None:
    """One without points takes its number all the same, so that a key fits every chart."""
    root = ET.fromstring(chart(CURVES, title="t", across=ACROSS, up=UP, dots=True))
    dots = {
        series: [
            each
            for group in root.iter("g")
            if f"serie-{series} " in group.get("class", "")
            for each in group.iter("circle")
        ]
        for series in range(3)
    }
    assert {series: len(of) for series, of in dots.items()} == {0: 2, 1: 0, 2: 1}
    (first, last), (middle,) = dots[0], dots[2]
    place = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in (first, middle, last)]
    assert place[1] == pytest.approx(((place[0][0] + place[2][0]) / 2, (place[0][1] + place[2][1]) / 2))
    assert place[0][0] < place[2][0]
    assert place[0][1] > place[2][1]


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
