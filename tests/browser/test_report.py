"""The pages of a report in a real browser: what they say and where they lead, with nothing fetched from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.report import write
from tests.browser.report_page import Site, until, violations
from tests.many_cells import HOSTILE, name_of
from tests.report_lines import case, record, run

pytestmark = pytest.mark.browser


def test_the_front_page_says_what_was_found(site: Site, open_page: Callable[..., Any]) -> None:
    """The first sentence counts the judged cells, a row of each framework leads to its findings."""
    page = open_page(site, "index.html")
    assert "judged cells of 1000 planned" in page.locator(".lead").first.inner_text().replace("\u202f", "")
    assert page.locator(".frameworks tbody tr").count() == 5
    page.get_by_role("link", name="alpha 1.0").click()
    page.locator("main h1:visible", has_text="alpha 1.0").wait_for()
    assert page.locator("article.finding:visible").count() > 0


def test_an_address_of_the_matrix_that_began_with_the_front_page_still_leads_there(
    disk: Site, open_page: Callable[..., Any]
) -> None:
    page = open_page(disk, "index.html", "dtype=float16")
    until(page, "location.pathname.endsWith('matrix.html')")
    until(page, "document.querySelector('[name=dtype]').value === 'float16'")


def test_a_pair_is_named_by_the_address_and_turned_around(site: Site, open_page: Callable[..., Any]) -> None:
    page = open_page(site, "porting.html", "from=alpha.nn.Layer&to=beta.nn.Layer")
    until(page, "document.querySelectorAll('#port table').length > 0")
    assert page.locator("#port thead th").all_inner_texts()[:2] == ["alpha.nn.Layer", "beta.nn.Layer"]
    page.locator("#swap").click()
    until(page, "document.querySelector('#port thead th').innerText === 'beta.nn.Layer'")
    assert "from=beta.nn.Layer&to=alpha.nn.Layer" in page.evaluate("location.hash")


def test_from_the_front_page_a_finding_is_two_clicks_away(site: Site, open_page: Callable[..., Any]) -> None:
    """Front page, framework, the case that shows it worst: with the command that reproduces it on the way."""
    page = open_page(site, "index.html")
    page.locator(".frameworks tbody tr td:last-child a").first.click()
    finding = page.locator("article.finding:visible").first
    finding.locator("summary", has_text="Reproduce it").click()
    assert finding.locator("code.command").inner_text().startswith("conformance reproduce ")
    finding.locator("p a[href*='case.html']").first.click()
    until(page, "location.hash.includes('cell=') && document.querySelector('#case h1') !== null")


def test_without_scripts_the_matrix_is_there(disk: Site, browser: Any) -> None:
    """And the page says what is not."""
    page = browser.new_page(java_script_enabled=False)
    page.goto(disk.page("matrix.html"))
    assert page.locator("#matrix td a").count() > 500
    assert page.locator("noscript").first.inner_text().startswith("Filters, lists of cells and single cases")
    assert not page.locator("#filters").is_visible()
    page.close()


def test_on_paper_there_are_the_tables_alone(disk: Site, open_page: Callable[..., Any]) -> None:
    """What asks for a click is not printed, and nothing is cut off."""
    page = open_page(disk)
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.matrix')).maxHeight") == "none"
    assert page.locator("#matrix").is_visible()


@pytest.mark.parametrize("single", [False, True], ids=["folder", "single"])
def test_operations_are_tabs_for_pointer_keyboard_and_paper(
    single: bool, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """One panel at a time, which the arrow keys change without a script; on paper there are all of them."""
    cases = tuple({**case(f"a.{op}"), "op": op} for op in ("batch_norm", "layer_norm", "rms_norm"))
    made = run(*(record("exact", of=str(one["id"])) for one in cases), cases=cases)
    place = tmp_path / ("site.html" if single else "site")
    write([made], place, partial=False, single_file=single)
    page = open_page(Site(address=place.as_uri(), single=single), "index.html")
    tabs = page.locator(".tabs")
    assert tabs.locator(".panel:visible").count() == 1
    tabs.locator("label", has_text="layer norm").click()
    assert tabs.locator(".panel:visible h3").inner_text().startswith("Layer norm")
    page.keyboard.press("ArrowRight")
    assert tabs.locator(".panel:visible h3").inner_text().startswith("Rms norm")
    assert violations(page) == []
    page.emulate_media(media="print")
    assert tabs.locator(".panel:visible").count() == len(cases) + 1


def test_hostile_text_is_shown_as_text(site: Site, open_page: Callable[..., Any]) -> None:
    """Markup, quotes, right-to-left text and ten thousand characters: as a title, and as a message."""
    for position, text in enumerate(HOSTILE):
        named = name_of(46 + position)
        page = open_page(site, "case.html", f"case={named}", width=375)
        page.wait_for_selector("h1[tabindex]")
        assert page.locator("#case h1").text_content() == text
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if position >= 2:
            page.locator("#case details").first.click()
            assert page.locator("#case pre").first.text_content() in HOSTILE


def test_a_real_run_opens(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """NumPy's layer, judged and shown by the command line."""
    words = ["run", "--implementation", "numpy.*", "--case", "axes.*", "--case", "edges.*", "--out", "run.jsonl"]
    for line in (words, ["report", "run.jsonl", "--out", "pages"]):
        command = [sys.executable, "-P", "-m", "conformance", *line]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    site = Site(address=(tmp_path / "pages").as_uri())
    page = open_page(site, "case.html", "cell=axes.rank-2/float32::numpy.BatchNorm-eager-cpu")
    page.wait_for_selector(".target .detail")
    assert "moving_mean" in page.locator("#case").inner_text()
    assert violations(page) == []
