"""The picture that a link to the site brings along: drawn from results, made by a browser, refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from conformance.errors import UsageError
from conformance.publish import card
from conformance.publish.history import Edition
from conformance.publish.site import write
from conformance.report.site import templates_in
from conformance.runfile.results import results_of
from tests.publish.test_published_runs import FIRST, publish
from tests.run_lines import FLAX, record_line, run_of

#: The eight bytes that a PNG begins with.
PNG = b"\x89PNG\r\n\x1a\n"
RUN = run_of(
    record_line(),
    record_line("deviates", of="a.two"),
    record_line("dialect", of="a.three"),
    record_line("unsupported", of="a.four"),
    record_line(implementation=FLAX),
)


def fake_browser(folder: Path, body: str) -> str:
    """Write a program in place of a browser, and give its path."""
    program = folder / "browser"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_a_bar_is_as_long_as_what_is_right_of_the_judged_cells() -> None:
    """Of torch two of three, of Flax all; what was not judged counts for nothing."""
    bars = {bar.library: bar for bar in card.bars(results_of([RUN]))}
    assert [(bar.agreement.right, bar.agreement.judged) for bar in bars.values()] == [(2, 3), (1, 1)]
    assert [bar.width for bar in bars.values()] == [373, 560]


def test_the_drawing_is_whole_and_names_every_library() -> None:
    drawn = card.drawing(
        templates_in(Path(card.__file__).parent), Edition(name="2026-11-01-<x>", results=results_of([RUN]))
    )
    root = ET.fromstring(drawn)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"torch 2.13.0", "66.7 %", "flax 2.13.0", "100 %", "Is it right? 4 judged cells, 2026-11-01-<x>"} <= set(
        texts
    )


def test_the_browser_makes_the_picture_and_the_pages_name_it(tmp_path: Path) -> None:
    made = "Path(next(word for word in sys.argv if word.startswith('--screenshot=')).partition('=')[2])"
    browser = fake_browser(tmp_path, f"{made}.write_bytes({PNG!r})")
    write(publish(tmp_path, FIRST), tmp_path / "site", address="https://example.org/x", browser=browser)
    assert (tmp_path / "site" / "card.png").read_bytes() == PNG
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert '<meta property="og:image" content="https://example.org/x/card.png">' in page


def test_without_a_browser_no_page_names_a_picture(tmp_path: Path) -> None:
    write(publish(tmp_path, FIRST), tmp_path / "site", address="https://example.org/x")
    assert not (tmp_path / "site" / "card.png").exists()
    assert "og:image" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("body", "says"), [("sys.exit('no display')", "no display"), ("pass", "exit code 0"), (None, "No such file")]
)
def test_a_browser_that_makes_none_is_one_line_that_says_how_to_go_on(
    tmp_path: Path, body: str | None, says: str
) -> None:
    browser = fake_browser(tmp_path, body) if body else str(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=says) as raised:
        card.picture("<svg/>", browser)
    assert "CONFORMANCE_CHROMIUM= leaves it out" in str(raised.value)


def test_the_environment_names_the_browser_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(card.BROWSER, "/some/browser")
    assert card.chromium() == "/some/browser"
    monkeypatch.setenv(card.BROWSER, "")
    assert card.chromium() is None
