"""The report in a real browser: read, filtered, drilled into, by mouse and keyboard, with nothing fetched from elsewhere."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.report import write
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from tests.many_cells import COLUMNS, HOSTILE, name_of, write_many
from tests.report_lines import case, environment, record, run

pytestmark = pytest.mark.browser

playwright = pytest.importorskip("playwright.sync_api", reason="the browser session installs it")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the browser session installs it")

CHROMIUM = os.environ.get("CONFORMANCE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
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


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Any]:
    assert CHROMIUM, "no chromium: install it or name it in CONFORMANCE_CHROMIUM"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        yield browser
        browser.close()


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Give the folder with a report of so many cells, and one of them in a single file beside it."""
    folder = tmp_path_factory.mktemp("reports")

    @functools.cache
    def make(cells: int) -> Path:
        run = read(write_many(folder / f"{cells}.jsonl", cells))
        write([run], folder / str(cells), partial=False)
        if cells <= 10_000:
            write([run], folder / f"{cells}.html", partial=False, single_file=True)
        return folder / str(cells)

    return make


@pytest.fixture(name="site", params=["disk", "server", "single"])
def _site(made: Callable[[int], Path], request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give a report of a thousand cells, opened in each of the ways that it may be."""
    folder = made(1000)
    if request.param == "disk":
        yield Site(address=folder.as_uri())
    elif request.param == "single":
        yield Site(address=folder.with_suffix(".html").as_uri(), single=True)
    else:
        handler = functools.partial(Quiet, directory=str(folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield Site(address=f"http://127.0.0.1:{server.server_port}")
            server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server of files alone, which says nothing."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(name="disk")
def _disk(made: Callable[[int], Path]) -> Site:
    return Site(address=made(1000).as_uri())


@pytest.fixture(name="open_page")
def _open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address; errors of scripts, dialogs and requests to elsewhere fail the test in the end."""
    faults: list[str] = []
    pages: list[Any] = []

    def open_page(
        site: Site, name: str = "matrix.html", fragment: str = "", *, width: int = 1440, scheme: str = "light"
    ) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda sent: None if sent.url.startswith(site.address) else faults.append(sent.url))
        page.goto(site.page(name, fragment))
        if name == "matrix.html":
            page.wait_for_selector("#filters:not([hidden])", state="attached")
            until(page, "document.querySelector('#list').childElementCount > 0")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []


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


def violations(page: Any) -> list[str]:
    """What axe-core finds, in words; it reads the style sheets as applied, where it would fetch them again."""
    found = axe.Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    return [f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}" for each in found]


def until(page: Any, expression: str) -> None:
    """Wait until the expression is true; Playwright's own wait evaluates a text, which the policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


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


# What is on the pages


def test_the_front_page_says_what_was_found(site: Site, open_page: Callable[..., Any]) -> None:
    """The first sentence counts the judged cells, a row of each framework leads to its findings."""
    page = open_page(site, "index.html")
    assert "judged cells of 1000 planned" in page.locator(".lead").first.inner_text().replace("\u202f", "")
    assert page.locator(".frameworks tbody tr").count() == 5
    page.get_by_role("link", name="alpha 1.0").click()
    assert page.locator("main h1:visible").inner_text() == "alpha 1.0"
    assert page.locator("article.finding:visible").count() > 0


def test_an_address_of_the_matrix_that_began_with_the_front_page_still_leads_there(
    disk: Site, open_page: Callable[..., Any]
) -> None:
    page = open_page(disk, "index.html", "dtype=float16")
    until(page, "location.pathname.endsWith('matrix.html')")
    until(page, "document.querySelector('[name=dtype]').value === 'float16'")


def test_a_pair_is_named_by_the_address_and_turned_around(site: Site, open_page: Callable[..., Any]) -> None:
    page = open_page(site, "porting.html", "from=alpha.nn.Layer&to=beta.nn.Layer")
    until(page, "document.querySelectorAll('#port table').length > 0")
    assert page.locator("#port thead th").all_inner_texts()[:2] == ["alpha.nn.Layer", "beta.nn.Layer"]
    page.locator("#swap").click()
    until(page, "document.querySelector('#port thead th').innerText === 'beta.nn.Layer'")
    assert "from=beta.nn.Layer&to=alpha.nn.Layer" in page.evaluate("location.hash")


def test_from_the_front_page_a_finding_is_two_clicks_away(site: Site, open_page: Callable[..., Any]) -> None:
    """Front page, framework, the case that shows it worst: with the command that reproduces it on the way."""
    page = open_page(site, "index.html")
    page.locator(".frameworks tbody tr td:last-child a").first.click()
    finding = page.locator("article.finding:visible").first
    finding.locator("summary", has_text="Reproduce it").click()
    assert finding.locator("code.command").inner_text().startswith("conformance reproduce ")
    finding.locator("p a[href*='case.html']").first.click()
    until(page, "location.hash.includes('cell=') && document.querySelector('#case h1') !== null")


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
    assert {each.partition(":")[0] for each in violations(page)} == {"color-contrast", "svg-img-alt"}


def test_without_scripts_the_matrix_is_there(disk: Site, browser: Any) -> None:
    """And the page says what is not."""
    page = browser.new_page(java_script_enabled=False)
    page.goto(disk.page("matrix.html"))
    assert page.locator("#matrix td a").count() > 500
    assert page.locator("noscript").first.inner_text().startswith("Filters, lists of cells and single cases")
    assert not page.locator("#filters").is_visible()
    page.close()


def test_on_paper_there_are_the_tables_alone(disk: Site, open_page: Callable[..., Any]) -> None:
    """What asks for a click is not printed, and nothing is cut off."""
    page = open_page(disk)
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.matrix')).maxHeight") == "none"
    assert page.locator("#matrix").is_visible()


@pytest.mark.parametrize("single", [False, True], ids=["folder", "single"])
def test_operations_are_tabs_for_pointer_keyboard_and_paper(
    single: bool, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """One panel at a time, which the arrow keys change without a script; on paper there are all of them."""
    cases = tuple({**case(f"a.{op}"), "op": op} for op in ("batch_norm", "layer_norm", "rms_norm"))
    made = run(*(record("exact", of=str(one["id"])) for one in cases), cases=cases)
    place = tmp_path / ("site.html" if single else "site")
    write([made], place, partial=False, single_file=single)
    page = open_page(Site(address=place.as_uri(), single=single), "index.html")
    tabs = page.locator(".tabs")
    assert tabs.locator(".panel:visible").count() == 1
    tabs.locator("label", has_text="layer norm").click()
    assert tabs.locator(".panel:visible h3").inner_text().startswith("Layer norm")
    page.keyboard.press("ArrowRight")
    assert tabs.locator(".panel:visible h3").inner_text().startswith("Rms norm")
    assert violations(page) == []
    page.emulate_media(media="print")
    assert tabs.locator(".panel:visible").count() == len(cases) + 1


def test_hostile_text_is_shown_as_text(site: Site, open_page: Callable[..., Any]) -> None:
    """Markup, quotes, right-to-left text and ten thousand characters: as a title, and as a message."""
    for position, text in enumerate(HOSTILE):
        named = name_of(46 + position)
        page = open_page(site, "case.html", f"case={named}", width=375)
        page.wait_for_selector("h1[tabindex]")
        assert page.locator("#case h1").text_content() == text
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if position >= 2:
            page.locator("#case details").first.click()
            assert page.locator("#case pre").first.text_content() in HOSTILE


# Filters and addresses


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
        page.wait_for_timeout(50)
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
    until(page, "location.hash.includes('field=')")
    assert "framework=gamma" in page.evaluate("location.hash")
    until(page, "document.querySelector('#cells-heading').textContent.startsWith('Cells of')")
    rows = page.locator("#list tbody tr").count()
    assert rows == sum(int(part.split()[0]) for part in title.partition(" (")[0].split(", "))
    assert page.locator("#matrix td.listed").count() == 1
    page.click("#cells-heading a")
    until(page, "!location.hash.includes('field=')")
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
    until(page, "location.hash === '#clause=3.1'")
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


# One case


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
    until(page, "location.hash.includes('field=')")
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


# Keyboard


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


# In number


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


# A real run


def test_a_real_run_opens(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """NumPy's layer, judged and shown by the command line."""
    words = ["run", "--implementation", "numpy.*", "--case", "axes.*", "--case", "edges.*", "--out", "run.jsonl"]
    for line in (words, ["report", "run.jsonl", "--out", "pages"]):
        command = [sys.executable, "-P", "-m", "conformance", *line]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    site = Site(address=(tmp_path / "pages").as_uri())
    page = open_page(site, "case.html", "cell=axes.rank-2/float32::numpy.BatchNorm-eager-cpu")
    page.wait_for_selector(".target .detail")
    assert "moving_mean" in page.locator("#case").inner_text()
    assert violations(page) == []
