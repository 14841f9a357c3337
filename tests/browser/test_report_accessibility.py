"""Every page, and every state of a cell, can be read by everybody: by axe-core, in the light and in the dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.report import write
from conformance.runfile.run import Run
from tests.browser.report_page import ANY_CELL, Site, violations
from tests.report_lines import case, environment, record, run

pytestmark = pytest.mark.browser


PAGES = (
    "index.html",
    "causes.html",
    "matrix.html",
    "deviations.html",
    "dialects.html",
    "determinism.html",
    "throughput.html",
    "environments.html",
    "search.html",
)
LOOKS = [(1440, "light"), (1440, "dark"), (375, "light"), (375, "dark")]
#: Verdict and status of a cell, and whether a known divergence covers it.
STATES = [
    *(("exact", "passed", False), ("conforms", "passed", False), ("dialect", "passed", False), ("refused", "passed", False)),
    *((verdict, "skipped", False) for verdict in ("unsupported", "not_decidable", "outside_domain")),
    *((verdict, status, status == "xfailed") for verdict in ("refused", "deviates", "timed_out", "crashed") for status in ("failed", "xfailed")),
    *(("exact", "failed", True), ("conforms", "failed", True), ("dialect", "failed", True), ("conforms", "failed", False)),
]  # fmt: skip


def every_state() -> Run:
    """A run with a clause for each state of a field, one that was not run, and an environment that failed."""
    clauses = {f"3.{number}": f"Clause {number}" for number in range(1, len(STATES) + 2)}
    listed = {"reason": "Listed.", "diagnosis": "Known.", "upstream": None}
    cases = [case(f"a.{number}", clauses=(number,)) for number in clauses]
    records = [
        record(verdict, status, of=of["id"], divergence=[listed] if known else [], diagnosis="a reason")
        for of, (verdict, status, known) in zip(cases, STATES, strict=False)
    ]
    elsewhere = record("exact", of=cases[-1]["id"], mode="compiled")
    unbuilt = {"id": "jax", "group": "jax", "adapter": None, "failed": "was not built"}
    both = (environment(), unbuilt)
    return run(*records, elsewhere, cases=tuple(cases), environments=both, clauses=clauses, planned=99)


@pytest.mark.parametrize(("width", "scheme"), LOOKS[::3])
@pytest.mark.parametrize("name", [*PAGES, "case.html", "implementations/alpha.nn.Layer.html"])
def test_no_page_has_a_fault_of_accessibility_or_is_wider_than_the_screen(
    name: str, width: int, scheme: str, made: Callable[[int], Path], open_page: Callable[..., Any]
) -> None:
    """Contrast, names, structure, by axe-core; wide tables scroll within themselves."""
    page = open_page(
        Site(address=made(200).as_uri()),
        name,
        f"cell={ANY_CELL}" if name == "case.html" else "",
        width=width,
        scheme=scheme,
    )
    if name == "case.html":
        page.wait_for_selector(".target .detail")
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_every_state_looks_unlike_every_other_and_can_be_read(
    width: int, scheme: str, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """Every verdict expected, known, documented, stale and unexpected; not run; an environment that failed."""
    write([every_state()], tmp_path / "states", partial=True)
    page = open_page(Site(address=(tmp_path / "states").as_uri()), width=width, scheme=scheme)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert violations(page) == []
    looks = page.evaluate(
        """[...document.querySelectorAll('#matrix tr[data-clause]')].map((row) => {
          const field = row.cells[1], style = getComputedStyle(field);
          const sign = (field.querySelector('i') || field).textContent;
          return [field.className, [sign, style.backgroundColor, style.backgroundImage, style.color, style.outlineStyle, style.boxShadow].join()];
        })"""
    )
    failed = "(() => { const each = document.querySelector('#matrix td.failed'); return each.querySelector('i').textContent; })()"
    assert len(looks) == len(STATES) + 1
    assert len({name for name, _ in looks}) == len(looks)
    assert len({look for _, look in looks}) == len(looks)
    assert page.evaluate(failed) == "∅"
    signs = [look.partition(",")[0] for _, look in looks]
    assert len(set(signs)) >= 13


def test_axe_would_find_a_fault(disk: Site, open_page: Callable[..., Any]) -> None:
    """Faint text and a picture without words, planted."""
    page = open_page(disk, "dialects.html")
    page.evaluate(
        """document.querySelector('h1').insertAdjacentHTML('afterend', '<svg role="img" width="9" height="9"></svg>');
        document.querySelector('main p').style.color = '#bbb'"""
    )
    assert {violation.partition(":")[0] for violation in violations(page)} == {"color-contrast", "svg-img-alt"}
