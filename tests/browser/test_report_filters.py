"""Filters, searches and sorting narrow what a report shows, and its address says how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.report_page import Site, count, fields, until, until_drawn
from tests.many_cells import name_of

pytestmark = pytest.mark.browser


def test_a_filter_narrows_matrix_and_list_and_is_in_the_address(site: Site, open_page: Callable[..., Any]) -> None:
    """Who gets the link sees the same."""
    page = open_page(site)
    page.select_option("[name=framework]", "beta")
    page.select_option("[name=dtype]", "float16")
    page.select_option("[name=verdict]", "deviates")
    until(page, "location.hash.includes('verdict=deviates')")
    shown = count(page)
    visible = "[...document.querySelectorAll('#matrix thead .mode')].filter((each) => !each.hidden).length"
    assert page.evaluate(visible) == 4
    assert {*page.locator("#list tbody td:nth-child(2) .quiet").all_inner_texts()} <= {
        f"{name_of(number)} · float16" for number in range(2, 50, 4)
    }
    again = open_page(
        site, "matrix.html", page.evaluate("location.hash").removeprefix("#").removeprefix("page=matrix.html&")
    )
    assert count(again) == shown != "1000 of 1000 cells"
    assert fields(again) == fields(page)
    assert again.locator("[name=dtype]").input_value() == "float16"


def test_every_filter_finds_what_it_names(disk: Site, open_page: Callable[..., Any]) -> None:
    """The number of cells is that of the records."""
    page = open_page(disk)
    expected = {
        "framework=alpha": 200,
        "column=alpha.nn.Layer": 100,
        "column=alpha.nn.Layer-eager-cpu": 50,
        "op=batch_norm": 1000,
        "dtype=float64": 13 * 20,
        "mode=compiled": 500,
        "device=cpu": 1000,
        "text=family3.case-17+alpha": 0,
        "text=family3.case-17%20alpha": 4,
        "text=no%20cell%20says%20this": 0,
    }
    found = {}
    for fragment in expected:
        page.goto(disk.page("matrix.html", fragment))
        until_drawn(page, "true")
        found[fragment] = int(count(page).split()[0])
    assert found == expected
    assert page.locator("#list").inner_text().startswith("No cell matches.")


def test_clearing_the_filters_draws_what_was_there_first(disk: Site, open_page: Callable[..., Any]) -> None:
    """The script's matrix is the one that was built, field by field."""
    page = open_page(disk)
    built = fields(page)
    assert len(built) == 60 * 20
    page.fill("[name=text]", "batches")
    until(page, "location.hash.includes('text=batches')")
    page.select_option("[name=mode]", "eager")
    until(page, "location.hash.includes('mode=eager')")
    assert fields(page) != built
    page.click("#filter [type=reset]")
    until(page, "!location.hash.includes('text')")
    assert count(page) == "1000 of 1000 cells"
    assert fields(page) == built


def test_a_field_leads_to_its_cells_and_keeps_the_filters(site: Site, open_page: Callable[..., Any]) -> None:
    """As many as it says, under a heading that names it, and back."""
    page = open_page(site)
    page.select_option("[name=framework]", "gamma")
    until(page, "location.hash.includes('framework=gamma')")
    field = page.locator("#matrix tr[data-clause] td:visible a").first
    title = field.get_attribute("title")
    field.click()
    until_drawn(page, "location.hash.includes('field=')")
    assert "framework=gamma" in page.evaluate("location.hash")
    assert page.locator("#cells-heading").inner_text().startswith("Cells of")
    rows = page.locator("#list tbody tr").count()
    assert rows == sum(int(part.split()[0]) for part in title.partition(" (")[0].split(", "))
    assert page.locator("#matrix td.listed").count() == 1
    page.click("#cells-heading a")
    until_drawn(page, "!location.hash.includes('field=')")
    assert page.locator("#matrix td.listed").count() == 0


def test_disagreements_alone_are_cells_that_most_of_their_case_speak_against(
    disk: Site, open_page: Callable[..., Any]
) -> None:
    """Fewer than half of the judged cells of each case, and none that was not judged."""
    page = open_page(disk)
    page.check("[name=differ]")
    until(page, "location.hash.includes('differ=1')")
    shares = page.evaluate(
        "Promise.all([conformance.load('words'), conformance.load('index')]).then(([words, index]) => {"
        " const cells = new conformance.filters.Cells(words, index), odd = index.cases.map(() => 0), all = odd.slice();"
        " cells.matching({}).forEach((at) => { all[index.case[at]] += 1; });"
        " cells.matching({differ: '1'}).forEach((at) => { odd[index.case[at]] += 1; });"
        " return odd.map((count, at) => count / all[at]); })"
    )
    assert 0 < int(count(page).split()[0]) < 500
    assert max(shares) < 1
    # One that differs as its documentation says disagrees with nobody.
    assert not page.locator("#list .mark.dialect").count()


def test_the_search_finds_every_kind_of_thing_by_words_in_any_order(disk: Site, open_page: Callable[..., Any]) -> None:
    """And leads to it."""
    page = open_page(disk, "search.html", "words=alpha%20layer")
    page.wait_for_selector("#search-found li")
    assert "alpha.nn.Layer" in page.locator("#search-found li").first.inner_text()
    page.fill("[name=words]", "case-17 family3")
    page.wait_for_selector("#search-found code")
    assert "family3.case-17" in page.locator("#search-found code").first.inner_text()
    page.click("#search-found li a")
    until(page, "document.body.innerText.includes('family3.case-17') && location.href.includes('case.html')")


def test_a_table_is_sorted_by_its_heads_and_filtered_by_words(disk: Site, open_page: Callable[..., Any]) -> None:
    page = open_page(disk, "deviations.html")
    rows = "[...document.querySelectorAll('#known-table-caption ~ tbody tr, #unexpected-table-caption ~ tbody tr')]"
    before = page.evaluate(f"{rows}.map((row) => row.cells[1].textContent)")
    page.locator("table.findings thead button", has_text="Implementation").first.click()
    names = page.evaluate(
        "[...document.querySelector('table.findings').tBodies[0].rows].map((row) => row.cells[1].textContent.trim())"
    )
    assert names == sorted(names, key=str.casefold)
    assert sorted(before) == sorted(page.evaluate(f"{rows}.map((row) => row.cells[1].textContent)"))


def test_the_back_button_returns_to_the_view_before(disk: Site, open_page: Callable[..., Any]) -> None:
    """Filters are in the history as far as links set them."""
    page = open_page(disk)
    page.click("#matrix tr[data-clause='3.1'] th a")
    until_drawn(page, "location.hash === '#clause=3.1'")
    narrowed = count(page)
    page.click("#list tbody tr:first-child td:nth-child(2) a")
    page.wait_for_selector("#case h1")
    page.go_back()
    page.wait_for_selector("#list tbody tr")
    assert count(page) == narrowed
    assert page.locator("[name=clause]").input_value() == "3.1"


def test_a_verdict_of_the_summary_leads_to_its_cells(site: Site, open_page: Callable[..., Any]) -> None:
    page = open_page(site, "index.html")
    named = page.locator(".counts a", has_text="deviates")
    number = named.locator("b").inner_text()
    named.click()
    until(page, "location.hash.includes('verdict=deviates') && document.querySelector('#found').textContent !== ''")
    assert count(page) == f"{number} of 1000 cells"
