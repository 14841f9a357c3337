"""A report of very many cells is filtered and drilled into like one of few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.report_page import Site, count, until
from tests.many_cells import COLUMNS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("cells", [10_000, 100_000])
def test_many_cells_are_filtered_and_drilled_into(
    cells: int, made: Callable[[int], Path], open_page: Callable[..., Any]
) -> None:
    """Ten thousand and a hundred thousand: the same page, the same answers."""
    site = Site(address=made(cells).as_uri())
    page = open_page(site)
    assert count(page) == f"{cells} of {cells} cells"
    page.select_option("[name=column]", "gamma.nn.Layer-eager-cpu")
    until(page, "location.hash.includes('column=')")
    assert count(page) == f"{cells // 20} of {cells} cells"
    page.locator("#list tbody a").first.click()
    page.wait_for_selector(".target .detail")
    assert page.locator("table.side > tbody").count() == len(COLUMNS)


def test_ten_thousand_cells_in_one_file(made: Callable[[int], Path], open_page: Callable[..., Any]) -> None:
    """The whole site, mailed."""
    page = open_page(Site(address=made(10_000).with_suffix(".html").as_uri(), single=True))
    assert count(page) == "10000 of 10000 cells"
    page.click("nav >> text=Deviations")
    page.wait_for_selector("h1:visible >> text=Deviations")
    assert page.locator("main > div:visible").count() == 1
    assert page.title().startswith("Deviations")
    page.locator(".findings a[href*='cell=']:visible").first.click()
    page.wait_for_selector(".target .detail")
