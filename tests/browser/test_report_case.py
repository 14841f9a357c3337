"""A case of a report: every cell has an address, and is drilled into down to its steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.report_page import ANY_CELL, Site, until, until_drawn
from tests.many_cells import COLUMNS

pytestmark = pytest.mark.browser


def test_a_cell_has_an_address_of_its_own(site: Site, open_page: Callable[..., Any]) -> None:
    """It opens its case with every implementation side by side and the cell's own steps open."""
    page = open_page(site, "case.html", f"cell={ANY_CELL}")
    page.wait_for_selector(".target .detail")
    assert page.locator("table.side > tbody").count() == len(COLUMNS)
    assert page.locator(".target th").first.inner_text().startswith("alpha.nn.Layer")
    assert "moving_variance" in page.locator(".target").inner_text()
    assert f"conformance reproduce {ANY_CELL} --run 1000.jsonl" in page.locator(".target .command").inner_text()
    assert page.evaluate("document.activeElement.tagName") == "TH"


def test_drilling_down_goes_from_the_matrix_to_a_step(site: Site, open_page: Callable[..., Any]) -> None:
    """Field, cell, case, steps, and on to the next case."""
    page = open_page(site)
    page.locator("#matrix td.deviates a").first.click()
    until_drawn(page, "location.hash.includes('field=')")
    page.locator("#list tbody a").first.click()
    page.wait_for_selector(".target .detail")
    assert page.locator("h2", has_text="Formulas").count() == 1
    before = page.locator("#case h1").inner_text()
    page.locator("#case a", has_text="next case").or_(page.locator("#case a", has_text="previous case")).first.click()
    until(page, f"document.querySelector('#case h1').innerText !== {json.dumps(before)}")
    assert page.locator("table.side > tbody").count() == len(COLUMNS)


@pytest.mark.parametrize(
    "asked", ["case=no.such", "cell=family3.case-3::no-such-cpu", "case=", "cell=%E0%A4%A", "case=0", "case=zzzz"]
)
def test_an_address_of_nothing_says_so(asked: str, site: Site, open_page: Callable[..., Any]) -> None:
    """A link that is old, or cut in a mail, is no blank page."""
    page = open_page(site, "case.html", asked)
    page.wait_for_selector("#case [role=status]")
    assert page.locator("#case h1").inner_text() == "Case"


def test_a_data_file_that_is_missing_is_named(made: Callable[[int], Path], tmp_path: Path, browser: Any) -> None:
    """A report that was copied in part does not look like an empty one."""
    shutil.copytree(made(1000), tmp_path / "copy")
    (tmp_path / "copy" / "data" / "index.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "copy" / "matrix.html").as_uri())
    page.wait_for_selector("[role=alert]")
    assert page.locator("[role=alert]").inner_text() == "data/index.js could not be read: the filters are off."
    page.close()
