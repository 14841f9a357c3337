"""The report: run files become one HTML page that opens from disk, with no network and no framework."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from conformance.errors import UsageError
from conformance.observed import shown
from conformance.record import Run
from conformance.report.model import Page, build
from conformance.report.payload import payload
from conformance.report.wording import VERDICTS

_FOLDER = Path(__file__).parent


def write(runs: Sequence[Run], out: Path, *, partial: bool) -> Path:
    """Write the report of `runs` to `out`/index.html, whole or not at all, and return its path.

    Raises `UsageError` for runs that did not end, unless `partial`; for runs that do not belong together;
    and where Jinja2 is absent.
    """
    text = render(build(runs, partial=partial))
    out.mkdir(parents=True, exist_ok=True)
    target = out / "index.html"
    temporary = out / "index.html.tmp"
    # A lone surrogate, which a log may hold, is no UTF-8: its escape is, in the page's data too.
    temporary.write_bytes(text.encode(errors="backslashreplace"))
    temporary.replace(target)
    return target


def render(page: Page) -> str:
    """Return the page as HTML. Raises `UsageError` where Jinja2 is absent."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        message = "the report needs Jinja2: pip install 'batchnorm-conformance[report]'"
        raise UsageError(message) from error
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html.j2").render(
        page=page,
        words=VERDICTS,
        score=shown,
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
        payload=payload(page),
    )


def _digest(text: str) -> str:
    """Return the hash by which the page's content security policy admits its own script or style alone."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
