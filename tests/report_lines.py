"""What the tests of the report share: run lines that they are about, and a report's HTML as a browser would see it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from conformance.report.folder import Pieces
from conformance.report.matrix import Field
from conformance.report.model import Report, build
from conformance.runfile.run import Run
from tests.run_lines import TORCH, case_line, environment_line, record_line, run_of

Line = dict[str, Any]

CLAUSES = {"1.1": "Scope", "3.1": "Mean", "8.1": "Correction 0"}
HOSTILE = '</script><script>alert(1)</script><!-- <b>"it\'s" & \u2028 \u202e\u05e9\u05dc\u05d5\u05dd'


def case(name: str = "a.one", *, title: str = "One fact.", clauses: tuple[str, ...] = ("3.1",), **other: Any) -> Line:
    """Return a case line."""
    return case_line(name, title=title, clauses=list(clauses), **other)


def quantity(verdict: str, score: float | str = 0.5) -> Line:
    """Return a judged quantity."""
    worst = {"index": [0, 0], "expected": 1.5, "observed": 1.25, "allowed": 1e-7}
    return {
        "quantity": "output",
        "verdict": verdict,
        "score": score,
        "by_grade": {"A": score, "D": score},
        "worst": worst,
        "dtype": "float32",
        "shape": [2, 1],
    }


def record(verdict: str, status: str = "passed", *, of: str = "a.one", mode: str = "eager", **other: Any) -> Line:
    """Return a record line of one step, of torch."""
    step = {"number": 1, "kind": "infer", "verdict": verdict, "expected": True, "seconds": 0.25}
    given = {"status": status, "expected": status != "failed", "steps": [{**step, "quantities": [quantity(verdict)]}]}
    return record_line(verdict, of=of, mode=mode, **{**given, **other})


def environment(profile: tuple[Line, ...] = (), **other: Any) -> Line:
    """Return the environment line of torch."""
    offered = {"name": TORCH, "op": "batch_norm", "modes": ["eager", "compiled"], "devices": ["cpu"]}
    documented = {"profile": list(profile), "documentation": "https://docs.example/bn"}
    return environment_line(**{"implementations": [{**offered, **documented}], **other})


def run(*records: Line, cases: tuple[Line, ...] = (), **other: Any) -> Run:
    """Return a run of those records, complete unless the header says otherwise."""
    return run_of(*records, cases=cases or (case(),), **{"clauses": CLAUSES, **other})


def whole(pieces: Pieces) -> bytes:
    """Return a file of a report that comes in pieces or is whole."""
    return pieces if isinstance(pieces, bytes) else b"".join(pieces)


def report_of(*runs: Run) -> Report:
    """Return the report of complete runs."""
    return build(runs, partial=False)


def field(report: Report, clause: str, column: str) -> Field:
    """Return one field of the matrix."""
    rows = [row for section in report.matrix.sections for row in section.rows if row.clause == clause]
    return next(each for each in rows[0].fields if each.column == column)


class Document(HTMLParser):
    """A page as a browser would see it: the text outside scripts, and the elements."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self._inside = ""
        #: Whether text that comes now goes on with the last: a link to the glossary divides none.
        self._goes_on = False
        self._in_word = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside
        self._in_word = (tag, dict(attrs).get("class")) == ("a", "word")
        self._goes_on = self._goes_on and self._in_word

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside
        self._goes_on, self._in_word = self._goes_on and self._in_word, False

    def handle_data(self, data: str) -> None:
        if self._inside:
            return
        if self._goes_on and self.parts:
            self.parts[-1] += data
        else:
            self.parts.append(data)
        self._goes_on = True

    @property
    def text(self) -> str:
        """The words, with single spaces."""
        return " ".join(" ".join(self.parts).replace("\u202f", "").split())

    def values(self, name: str) -> list[str]:
        """Return the values of an attribute, wherever it stands."""
        return [found for _, attributes in self.elements if (found := attributes.get(name)) is not None]


def page(folder: Path, name: str = "index.html") -> Document:
    """Return a page of the report in `folder`."""
    return Document((folder / name).read_text(encoding="utf-8"))
