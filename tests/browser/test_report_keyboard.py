"""A report without a mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.report_page import Site, until

pytestmark = pytest.mark.browser


def test_the_matrix_is_one_stop_and_is_walked_by_arrows(site: Site, open_page: Callable[..., Any]) -> None:
    """From the filters on: one Tab to the region, one into it, arrows within, Enter to the cells."""
    page = open_page(site)
    assert page.locator('#matrix tbody a[tabindex="0"]').count() == 1
    page.locator("#matrix tr[data-clause='3.1'] th a").focus()
    where = "[document.activeElement.closest('tr').dataset.clause, document.activeElement.closest('td,th').cellIndex]"
    seen = []
    for key in ("ArrowRight", "ArrowDown", "End", "Home", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(page.evaluate(where))
    assert seen == [["3.1", 1], ["3.2", 1], ["3.2", 20], ["3.2", 0], ["3.1", 0]]
    assert page.locator('#matrix tbody a[tabindex="0"]').count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(page, "location.hash.includes('field=3.1@')")
    until(page, "document.activeElement.id === 'cells-heading'")


def test_a_slash_leads_to_the_search_and_the_skip_link_to_the_content(
    site: Site, open_page: Callable[..., Any]
) -> None:
    """The view stays what it was."""
    page = open_page(site, "matrix.html", "mode=eager")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert "mode=eager" in page.evaluate("location.hash")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "text"
    page.keyboard.type("a/b")
    assert page.locator("[name=text]").input_value() == "a/b"
