"""What three persons come for, each answered on a page that is at most three clicks from the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.report import write
from tests.report.published_layers import porters_run

pytestmark = pytest.mark.browser

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the browser session installs it")

MOST = 3
#: Milliseconds for a page of a machine that has other things to do.
_PATIENCE = 90_000


@dataclass(slots=True, kw_only=True)
class Visitor:
    """A person at the front page, whose clicks are counted."""

    page: Any
    clicks: int = 0

    def click(self, name: str) -> None:
        """Follow the link of that name, one that is in sight."""
        self.page.locator("a:visible", has_text=name).first.click()
        self.clicks += 1

    def reads(self, *sentences: str) -> None:
        """Each stands on the page, within so many clicks."""
        for sentence in sentences:
            self.page.get_by_text(sentence).locator("visible=true").first.wait_for()
        assert self.clicks <= MOST


@pytest.fixture(name="address", scope="module", params=["folder", "single"])
def _address(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> str:
    """Write the report, as a folder and as one file, and give the address of its first page."""
    out = tmp_path_factory.mktemp("three") / ("report" if request.param == "folder" else "report.html")
    return write([porters_run()], out, partial=False, single_file=request.param == "single").as_uri()


@pytest.fixture(name="visitor")
def _visitor(browser: Any, address: str) -> Iterator[Visitor]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(_PATIENCE)
    page.goto(address)
    yield Visitor(page=page)
    page.close()


def test_is_the_batch_norm_of_pytorch_all_right(visitor: Visitor) -> None:
    visitor.click("torch 2.13.0")
    visitor.click("torch.nn.BatchNorm")
    visitor.reads(
        "75.0 % right", "On ordinary data nothing is wrong; on demanding data and at the edges it does 1 thing wrong."
    )


def test_what_changes_from_keras_to_torch(visitor: Visitor) -> None:
    visitor.click("What changes from one layer to another?")
    visitor.page.locator("table.heat a[title^='keras.layers.BatchNormalization+jax → torch.nn.BatchNorm']").click()
    visitor.clicks += 1
    visitor.reads("1 choice differs", "momentum = 1 − decay")
    words = visitor.page.locator("table.port tr", has_text="momentum = decay").inner_text()
    assert words.split("\t")[1:] == ["momentum = decay", "momentum = 1 − decay"]
    choice = visitor.page.locator("table.port tr", has_text="moving_correction").last.inner_text()
    assert "as the spec has it" in choice
    assert "documented" in choice


def test_why_0_795_and_not_minus_1(visitor: Visitor) -> None:
    visitor.click("Why does a trained layer make 0.795 of 1, and not −1?")
    visitor.reads("0.79519051 and 4.17485714", "Nothing is wrong: the numbers are those of inference")
    row = visitor.page.locator("tr", has_text="y of 1").inner_text()
    assert row.split("\t")[1:] == ["0.806445·(1 − 0.0588534)/0.954467", "0.795191"]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (375, "light")])
@pytest.mark.parametrize("name", ["why.html", "porting.html", "implementations/torch.nn.BatchNorm.html"])
def test_the_pages_of_the_answers_are_accessible_and_no_wider_than_the_screen(
    name: str, width: int, scheme: str, browser: Any, tmp_path: Path
) -> None:
    write([porters_run()], tmp_path / "out", partial=False)
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page.goto((tmp_path / "out" / name).as_uri())
    page.wait_for_timeout(200)
    found = axe.Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_the_map_is_walked_with_the_arrow_keys(browser: Any, tmp_path: Path) -> None:
    """One stop of the Tab key; a field of the map leads where a click does."""
    write([porters_run()], tmp_path / "out", partial=False)
    page = browser.new_page()
    page.goto((tmp_path / "out" / "porting.html").as_uri())
    page.locator(".heat tbody a").first.wait_for()
    assert page.locator('.heat tbody a[tabindex="0"]').count() == 1
    page.locator('.heat tbody a[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "1+1"
    page.keyboard.press("Enter")
    page.locator("#port-summary").wait_for()
    page.close()
