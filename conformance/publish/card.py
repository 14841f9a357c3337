"""The picture that a link to the published site brings along: drawn as SVG, and made a PNG by a Chromium where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.errors import UsageError
from conformance.publish.history import Edition
from conformance.report.frameworks import Agreement
from conformance.runfile.results import Results
from conformance.verdict import Standing

#: What services show a picture of a link in, in pixels.
WIDTH, HEIGHT = 1200, 630
#: The variable that names the browser; set and empty, there is none.
BROWSER = "CONFORMANCE_CHROMIUM"
_PROGRAMS = ("chromium", "google-chrome", "chromium-browser")
_SECONDS = 60
#: So many libraries are on it, those with the most judged cells.
_MOST = 8
#: The pixels of a bar that is full.
_BAR = 560


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One library of the card."""

    library: str
    agreement: Agreement

    @property
    def width(self) -> int:
        """Of the part that is right, in pixels."""
        return round(_BAR * self.agreement.right / self.agreement.judged)


def chromium() -> str | None:
    """Return the browser that makes the picture: the one that the environment names, else one on PATH; None without any."""
    if BROWSER in os.environ:
        return os.environ[BROWSER] or None
    return next((program for name in _PROGRAMS if (program := shutil.which(name))), None)


def bars(results: Results) -> tuple[Bar, ...]:
    """Return how much of each library's judged cells is right, the library with the most of them first."""
    judged: dict[str, int] = {}
    right: dict[str, int] = {}
    for row in results.cells:
        if row.verdict.judged:
            library = results.columns[row.column].library
            judged[library] = judged.get(library, 0) + 1
            right[library] = right.get(library, 0) + (row.verdict.agrees or row.status is Standing.DOCUMENTED)
    return tuple(
        Bar(library=name, agreement=Agreement(judged=judged[name], right=right[name], documented=0))
        for name in sorted(judged, key=lambda name: -judged[name])
    )


def drawing(templates: Any, edition: Edition) -> str:
    """Return the card of a run as SVG."""
    every = bars(edition.results)
    values: Mapping[str, Any] = {
        "bars": every[:_MOST],
        "further": max(0, len(every) - _MOST),
        "judged": sum(bar.agreement.judged for bar in every),
        "edition": edition.name,
        "width": WIDTH,
        "height": HEIGHT,
        "full": _BAR,
    }
    return str(templates.get_template("card.svg.j2").render(**values))


def picture(drawn: str, browser: str) -> bytes:
    """Return the drawing as PNG. Raises `UsageError` where the browser makes none."""
    with tempfile.TemporaryDirectory() as name:
        page, png = Path(name) / "card.html", Path(name) / "card.png"
        page.write_text(
            f'<!DOCTYPE html><meta charset="utf-8"><style>body{{margin:0}}</style>{drawn}', encoding="utf-8"
        )
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={WIDTH},{HEIGHT}",
        ]
        command = [browser, *options, f"--user-data-dir={name}/profile", f"--screenshot={png}", page.as_uri()]
        try:
            ran = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"{browser}: makes no card of the site: {error}; {BROWSER}= leaves it out") from error
        if ran.returncode or not png.is_file():
            said = (ran.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
            raise UsageError(f"{browser}: makes no card of the site: {said}; {BROWSER}= leaves it out")
        return png.read_bytes()
