"""The site over published runs in a real browser, opened from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.publish.site import write
from tests.publish.test_published_runs import FIRST, WRONG, publish, run_on
from tests.run_lines import environment_line, record_line

pytestmark = pytest.mark.browser

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the browser session installs it")

NAME = "keras.layers.BatchNormalization+jax"
PLUS = {"implementation": NAME, "environment": "torch"}


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    plain = {"name": NAME, "op": "batch_norm", "modes": ["eager"], "devices": ["cpu"], "profile": []}
    offers = environment_line()["implementations"]
    both = environment_line(implementations=[*offers, {**plain, "documentation": ""}])
    cell = record_line(of="a.two") | PLUS | {"cell": f"a.two::{NAME}-eager-cpu"}
    second = run_on(2, record_line(), WRONG, cell, environments=(both,))
    write(publish(folder, FIRST, second), folder / "site")
    return folder / "site"


@pytest.mark.parametrize("name", ["index.html", "history/torch.nn.BatchNorm.html"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (375, "dark")])
def test_no_page_has_a_fault_of_accessibility_or_is_wider_than_the_screen(
    site: Path, browser: Any, name: str, width: int, scheme: str
) -> None:
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: said.append(message.text))
    page.goto((site / name).as_uri())
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    found = axe.Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    assert [each["help"] for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert said == []


def test_a_cell_of_a_history_leads_to_that_cell_in_that_run_s_report(site: Path, browser: Any) -> None:
    """A name with a plus in it, which an address must not lose."""
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name=NAME, exact=True).click()
    page.locator("td a.mark").click()
    page.wait_for_selector(".target .detail")
    assert "2026-11-02-linux/case.html" in page.url
    assert NAME in page.locator(".target").inner_text()


def test_badges_are_drawn(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    sizes = page.evaluate("[...document.images].map(each => each.complete && each.naturalWidth)")
    assert len(sizes) == 2
    assert all(size > 100 for size in sizes)
