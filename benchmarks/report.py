"""What a report costs: `python benchmarks/report.py [CELLS]...`, by default 10000 and 100000.

For each number of cells, made up: the seconds that `conformance report` takes, in wall and in processor time; the size
of the front page, and of the site without results.json and the files of cases; the seconds until the front page's
filters answer, in Chromium, opened from disk. Needs the dependency groups `tests` and `browser`.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.many_cells import write_many

ROOT = Path(__file__).parents[1]


def built(run_file: Path, folder: Path) -> str:
    """Make the report of a run file and return the time that the command took, in words."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-P", "-m", "conformance", "report", str(run_file), "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return f"{time.perf_counter() - wall:.1f} s ({processor:.1f} s of processor time)"


def counted(folder: Path) -> Iterator[Path]:
    """Yield the files whose size is limited: all but results.json and the files that a case's page asks for."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "results.json" and not path.name.startswith("cases-"):
            yield path


def opened(page_file: Path) -> str:
    """Return how long the front page takes until its filters answer, in words."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        found = []
        for _ in range(5):
            page.goto(page_file.as_uri(), wait_until="commit")
            page.wait_for_selector("#filters:not([hidden])")
            found.append(page.evaluate("performance.now()") / 1000)
        browser.close()
    return f"{min(found):.2f} to {max(found):.2f} s in five openings"


def main(cells: int) -> None:
    """Measure one number of cells and print what it takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_file = write_many(folder / "run.jsonl", cells)
        building = built(run_file, folder / "report")
        page = folder / "report" / "index.html"
        size = sum(each.stat().st_size for each in counted(page.parent))
        print(f"{cells} cells: built in {building}")
        print(
            f"  front page {page.stat().st_size / 1e6:.2f} MB; without results.json and case files {size / 1e6:.2f} MB"
        )
        print(f"  usable after {opened(page)}")


if __name__ == "__main__":
    for each in sys.argv[1:] or ["10000", "100000"]:
        main(int(each))
