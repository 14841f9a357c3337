"""A page of a report in a browser: its address, what it shows, and waiting for it."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.many_cells import COLUMNS, name_of

CHROMIUM = os.environ.get("CONFORMANCE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ANY_CELL = f"{name_of(3)}::{COLUMNS[0][0]}-{COLUMNS[0][2]}-cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A report to open, and what addresses of its requests may begin with."""

    address: str
    single: bool = False

    def page(self, name: str, fragment: str = "") -> str:
        """The address of a page's view."""
        if self.single:
            return f"{self.address}#page={name}{'&' if fragment else ''}{fragment}"
        return f"{self.address}/{name}{'#' if fragment else ''}{fragment}"


def violations(page: Any) -> list[str]:
    """What axe-core finds, in words; it reads the style sheets as applied, where it would fetch them again."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the browser session installs it")
    faults = axe.Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    return [f"{fault['id']}: {fault['help']}: {fault['nodes'][0]['html'][:200]}" for fault in faults]


def until(page: Any, expression: str) -> None:
    """Wait until the expression is true; Playwright's own wait evaluates a text, which the policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


# A followed fragment is in the address before the page hears of it: one that was read between the two is not drawn yet.
# A timer that the event starts ends after every listener of the page.
NOTES_WHAT_IS_DRAWN = """addEventListener("hashchange", () => setTimeout(() => {
    document.documentElement.dataset.drawn = location.hash;
}));"""


def until_drawn(page: Any, expression: str) -> None:
    """Wait until a link led to an address for which the expression is true, and its view is drawn."""
    until(page, f"({expression}) && document.documentElement.dataset.drawn === location.hash")


def count(page: Any) -> str:
    """How many cells the filters found, as the page says it."""
    return str(page.locator("#found").inner_text()).replace("\u202f", "")


def fields(page: Any) -> list[str]:
    """What each field of the matrix says, in its words, verdict and stand."""
    found: list[str] = page.evaluate(
        """[...document.querySelectorAll('#matrix tr[data-clause] td')].map((td) =>
        [td.className, td.textContent, td.title || (td.firstElementChild || td).title || '',
         td.querySelector('a') ? td.querySelector('a').getAttribute('href') : ''].join('|'))"""
    )
    return found
