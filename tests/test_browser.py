"""The report in a real browser: opened from disk, read, filtered, drilled into, with nothing fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

playwright = pytest.importorskip("playwright.sync_api", reason="the browser session installs it")

CHROMIUM = os.environ.get("CONFORMANCE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(name="page_file", scope="module")
def _page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a report of a real run of the NumPy adapter and of one that refuses."""
    folder = tmp_path_factory.mktemp("report")
    words = ["run", "--implementation", "numpy.*", "--case", "axes.*", "--case", "edges.*", "--out", "run.jsonl"]
    for line in (words, ["report", "run.jsonl", "--out", "pages"]):
        command = [sys.executable, "-P", "-m", "conformance", *line]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder / "pages" / "index.html"


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Any]:
    assert CHROMIUM, "no chromium: install it or name it in CONFORMANCE_CHROMIUM"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        yield browser
        browser.close()


@pytest.fixture(name="page", params=[(1440, "light"), (375, "dark")], ids=["wide-light", "narrow-dark"])
def _page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give a page that fails the test on any error of its script and on any request beyond the file itself."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda sent: None if sent.url.startswith("file:") else faults.append(sent.url))
    yield page
    page.close()
    assert faults == []


def test_the_page_says_what_was_found(page: Any, page_file: Path) -> None:
    """The first sentence counts the judged cells."""
    page.goto(page_file.as_uri())
    assert "judged cells" in page.locator("main .lead").first.inner_text()


def test_a_field_of_the_matrix_leads_to_its_cells(page: Any, page_file: Path) -> None:
    """Clicking filters the list to the clause and the column."""
    page.goto(page_file.as_uri())
    page.locator("#matrix td a").first.click()
    page.wait_for_function("location.hash.startsWith('#clause=')")
    assert page.locator("#list tr, #list li").count() > 0


def test_a_cell_has_an_address_of_its_own(page: Any, page_file: Path) -> None:
    """A link to a cell opens its case with every implementation side by side."""
    page.goto(f"{page_file.as_uri()}#cell=axes.rank-2/float32::numpy.BatchNorm-eager-cpu")
    page.wait_for_selector("#case:not([hidden]) >> text=numpy.BatchNorm")
    assert "moving_mean" in page.locator("#case").inner_text()


def test_the_text_filter_narrows_the_list(page: Any, page_file: Path) -> None:
    """A text that no cell has leaves none."""
    page.goto(page_file.as_uri())
    page.locator("#filter [name=text]").fill("no cell says this")
    page.wait_for_function("!document.querySelector('#list tbody tr, #list li')")


def test_nothing_is_wider_than_the_screen(page: Any, page_file: Path) -> None:
    """Wide tables scroll within themselves."""
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
