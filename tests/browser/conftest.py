"""A browser, and reports of made-up cells to open in it."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.report import write
from conformance.runfile.reading import read
from tests.browser.report_page import CHROMIUM, NOTES_WHAT_IS_DRAWN, Site, until
from tests.many_cells import write_many


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser session installs it")
    assert CHROMIUM, "no chromium: install it or name it in CONFORMANCE_CHROMIUM"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        yield browser
        browser.close()


@pytest.fixture(name="made", scope="session")
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
        page.add_init_script(NOTES_WHAT_IS_DRAWN)
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
