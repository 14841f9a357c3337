"""The page of throughput in a real browser: wide and narrow, light and dark, all of it reachable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.test_throughput import made, timed, unmeasured
from tests.run_lines import FLAX

pytestmark = pytest.mark.browser

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the browser session installs it")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (375, "light"), (375, "dark")])
def test_the_page_is_accessible_and_no_wider_than_its_window(
    browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    lines = [
        timed(),
        timed(FLAX, 0.02),
        timed(mode="compiled", standing="voided", why="it drifted"),
        unmeasured("none", **{"pass": "train"}),
    ]
    folder = made(tmp_path, *lines)
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page.goto((folder / "throughput.html").as_uri())
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    found = axe.Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    assert [each["id"] for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    charts = page.locator("figure:has(circle.dot)")
    assert [charts.nth(number).locator("circle.dot").count() for number in range(charts.count())] == [2, 1, 1]
    page.close()
