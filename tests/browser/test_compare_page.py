"""The comparison in a report: made with a baseline, or with older results that a person gives to an open page."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.files.json_text import text_of
from conformance.report import write
from conformance.runfile.results import results_of
from conformance.runfile.run import Run
from tests.run_lines import FLAX, record_line, run_of
from tests.run_pairs import BOTH, DEVIATES, NOT_STARTED

pytestmark = pytest.mark.browser

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the browser session installs it")

HOSTILE = '</script><img src=x onerror=alert(1)> "quoted" \u202e\u05e9'
BEFORE = run_of(
    record_line(),
    record_line(of="a.two", score=0.125),
    record_line(of="a.three", implementation=FLAX),
    record_line(of="stability.x", grade="D"),
    DEVIATES | {"case": "a.four", "cell": "a.four::torch.nn.BatchNorm-eager-cpu"},
    environments=BOTH,
)
AFTER = run_of(
    record_line("deviates", 12.5, diagnosis=HOSTILE),
    record_line(of="a.two", score=0.5),
    record_line(of="stability.x", grade="W"),
    record_line(of="a.four"),
    record_line("crashed", None, of="a.five"),
    environments=(BOTH[0], NOT_STARTED),
    narrowed=True,
)
LEAD = "Regression: 1 cell, 1 grade, 1 environment, 1 vanished cell. 4 cells compared, 1 as before."


@pytest.fixture(name="older", scope="module")
def _older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the older results, plain and compressed, and files that are none; return their folder."""
    folder = tmp_path_factory.mktemp("older")
    content = text_of(results_of([BEFORE])).encode()
    (folder / "results.json").write_bytes(content)
    (folder / "results.json.gz").write_bytes(gzip.compress(content))
    (folder / "cut.json.gz").write_bytes(gzip.compress(content)[:-30])
    (folder / "newer.json").write_bytes(content.replace(b'"format":2', b'"format":3', 1))
    (folder / "other.json").write_bytes(b'{"a": 1}')
    (folder / "page.json").write_bytes(b"<html>")
    (folder / "broken.json").write_bytes(content.replace(b"[0,0,0,", b"[0,99,0,", 1))
    return folder


def report(folder: Path, run: Run, **options: Any) -> str:
    return write([run], folder, partial=False, **options).absolute().as_uri()


@pytest.fixture(name="page", params=[(1440, "light"), (375, "dark")], ids=["wide-light", "narrow-dark"])
def _page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give a page that fails the test on any error of its script and on any request beyond the disk."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda sent: None if sent.url.startswith("file:") else faults.append(sent.url))
    yield page
    page.close()
    assert faults == []


def drop(page: Any, file: Path) -> None:
    """Drop a file onto the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    page.evaluate(
        """([name, data]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], name));
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        [file.name, data],
    )


@pytest.mark.parametrize("single_file", [False, True], ids=["site", "single-file"])
def test_a_report_with_a_baseline_shows_what_changed(page: Any, tmp_path: Path, single_file: bool) -> None:
    """Worst first, each cell a link to its case; nothing of a diagnosis becomes markup."""
    baseline = results_of([BEFORE])
    if single_file:
        address = f"{report(tmp_path / 'one.html', AFTER, baseline=baseline, single_file=True)}#page=compare.html"
    else:
        address = report(tmp_path / "out", AFTER, baseline=baseline).replace("index.html", "compare.html")
    page.goto(address)
    comparison = page.locator("#comparison")
    comparison.locator(".lead").wait_for()
    assert comparison.locator(".lead").inner_text() == LEAD
    headings = [each.split()[0] for each in comparison.locator("h2").all_inner_texts()]
    assert headings == ["Regressions", "Other", "Improvements", "Cells"]
    assert HOSTILE in comparison.locator(".changes").first.inner_text()
    comparison.locator("summary").first.click()
    comparison.locator("details a").first.click()
    page.wait_for_selector("#case:not([hidden]) >> text=torch.nn.BatchNorm")
    assert "a.one" in page.locator("#case").inner_text()


@pytest.mark.parametrize("name", ["results.json", "results.json.gz"])
def test_older_results_can_be_chosen(page: Any, tmp_path: Path, older: Path, name: str) -> None:
    """On the comparison page, by keyboard and pointer, plain and compressed."""
    page.goto(report(tmp_path / "out", AFTER).replace("index.html", "compare.html"))
    assert page.locator("#comparison").inner_text() == ""
    page.get_by_label("Older results").set_input_files(older / name)
    assert page.locator("#comparison .lead").inner_text() == LEAD


@pytest.mark.parametrize("name", ["results.json", "results.json.gz"])
def test_older_results_can_be_dropped_onto_any_page(page: Any, tmp_path: Path, older: Path, name: str) -> None:
    """The comparison stands before what the page shows, has the focus, and can be closed."""
    page.goto(report(tmp_path / "out", AFTER))
    drop(page, older / name)
    page.locator("#dropped .lead").wait_for()
    assert page.locator("#dropped .lead").inner_text() == LEAD
    assert page.evaluate("document.activeElement.textContent") == "What changed"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    drop(page, older / name)
    assert page.locator("#dropped").count() == 1
    page.get_by_role("button", name="Close the comparison").click()
    assert page.locator("#dropped").count() == 0


def test_older_results_can_be_dropped_onto_a_single_file(page: Any, tmp_path: Path, older: Path) -> None:
    """Nothing is loaded."""
    page.goto(report(tmp_path / "one.html", AFTER, single_file=True))
    drop(page, older / "results.json.gz")
    page.locator("#dropped .lead").wait_for()
    assert page.locator("#dropped .lead").inner_text() == LEAD


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("newer.json", "newer.json: results of format 3; this page reads formats 1 and 2."),
        ("other.json", "other.json: no results of a conformance report."),
        ("page.json", "page.json: not JSON."),
        ("cut.json.gz", "cut.json.gz: not whole."),
        ("broken.json", "broken.json: not whole."),
    ],
)
def test_what_is_no_results_is_told_in_one_line(
    page: Any, tmp_path: Path, older: Path, name: str, message: str
) -> None:
    """And nothing else is shown."""
    page.goto(report(tmp_path / "out", AFTER).replace("index.html", "compare.html"))
    page.get_by_label("Older results").set_input_files(older / name)
    page.get_by_role("alert").wait_for()
    assert page.locator("#comparison").inner_text() == message


def test_the_same_results_change_nothing(page: Any, tmp_path: Path) -> None:
    """And it says so."""
    page.goto(report(tmp_path / "out", AFTER))
    drop(page, tmp_path / "out" / "results.json")
    page.locator("#dropped .lead").wait_for()
    assert page.locator("#dropped .lead").inner_text() == "Nothing changed: 5 cells compared."


def test_the_comparison_has_no_axe_violation(page: Any, tmp_path: Path) -> None:
    """With everything folded out."""
    page.goto(report(tmp_path / "out", AFTER, baseline=results_of([BEFORE])).replace("index.html", "compare.html"))
    page.locator("#comparison .lead").wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
