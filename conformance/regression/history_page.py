"""The page of a history, in the look of the report: one row a finding, one column a version."""

from __future__ import annotations

from pathlib import Path

from conformance.regression.history import History, State
from conformance.regression.history_text import course, others_moved, sight_words, summary
from conformance.report.folder import check, write_folder
from conformance.report.site import templates_in

_FOLDER = Path(__file__).parent
_REPORT = _FOLDER.parent / "report"
#: Style sheets by the folder of the package that has them.
_STYLES = {"base.css": _REPORT, "marks.css": _REPORT, "history.css": _FOLDER}
#: By state: the class that the report gives to what means about the same, and a symbol, so that colour says nothing alone.
_MARKS = {
    State.SHOWN: ("deviates", "✗"),
    State.ABSENT: ("conforms", "✓"),
    State.UNTOLD: ("none", "·"),
    State.FAILED: ("failed", "!"),
}


def check_possible(folder: Path) -> None:
    """Raise `UsageError` where no page can be made, or none in that folder: asked before hours of work."""
    check(folder)
    templates_in(_FOLDER)


def page(history: History) -> bytes:
    """Return the page. Raises `UsageError` where Jinja2 is absent."""
    templates = templates_in(_FOLDER)
    text: str = templates.get_template("history.html.j2").render(
        history=history,
        styles=_STYLES,
        icon=(_REPORT / "templates" / "_icon.html.j2").read_text(encoding="utf-8"),
        marks=_MARKS,
        course=course,
        sight_words=sight_words,
        summary=summary(history),
        others_moved=others_moved,
        turned=[finding for finding in history.findings if finding.turns],
        always=[finding for finding in history.findings if not finding.turns],
    )
    return text.encode(errors="backslashreplace")


def write(history: History, folder: Path) -> Path:
    """Write the page with its styles to a folder, in place of an earlier one there, and return its path.

    Raises `UsageError`.
    """
    styles = [(f"assets/{name}", (package / "assets" / name).read_bytes()) for name, package in _STYLES.items()]
    write_folder(folder, [("index.html", page(history)), *styles])
    return folder / "index.html"
