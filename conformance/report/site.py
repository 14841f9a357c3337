"""The site: every file of it by path, from a report. A pure function; nothing is written here."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from conformance.dialect import OBSERVED
from conformance.errors import UsageError
from conformance.report import charts, drawings
from conformance.report.folder import Pieces
from conformance.report.frameworks import Framework, frameworks
from conformance.report.glossary import PAGE as GLOSSARY
from conformance.report.glossary import linked, sections, shipped
from conformance.report.implementations import Implementation, implementations
from conformance.report.index import index, words
from conformance.report.links import Home, Links
from conformance.report.model import Report, framework_of
from conformance.report.naming import READINGS, named
from conformance.report.operations import operations
from conformance.report.pairs import pairs
from conformance.report.porting import porting
from conformance.report.questions import trained_layers
from conformance.report.ranked import SharedFinding, causes
from conformance.report.scores import scores
from conformance.report.script_data import bytes_of, json_of, safe
from conformance.report.seconds import KINDS, timed
from conformance.report.shards import shards
from conformance.report.throughput import DISTURBANCES, PASSES, STANDINGS, throughput
from conformance.report.wording import STANDS, VERDICTS, stand
from conformance.runfile.observed import shown

_FOLDER = Path(__file__).parent
#: In the order in which a page loads them; each names what it needs of those before it.
SCRIPTS = (
    "site.js",
    "marks.js",
    "walking.js",
    "filters.js",
    "matrix.js",
    "cells.js",
    "explorer.js",
    "case.js",
    "pairs.js",
    "porting.js",
    "compare.js",
    "changes.js",
    "older.js",
    "search.js",
    "tables.js",
)
STYLES = ("base.css", "marks.css", "matrix.css", "pages.css", "tabs.css", "print.css")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: its path in the site, its template, and what the template shows beside the report."""

    path: str
    title: str
    template: str
    #: The name in the navigation; empty: it is not there.
    menu: str = ""
    values: Mapping[str, Any]
    #: What the page's script asks for, by name.
    data: Mapping[str, Any] = field(default_factory=dict)
    #: Templates of further sections, which end the page and take what they show from `values` too.
    partials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A page's own content as HTML, without the head, navigation and scripts around it."""

    page: Page
    html: str


def pages(report: Report, *, compared: bool = False) -> tuple[Page, ...]:
    """Return the pages in the order of the navigation. A new page is one more entry here and its template.

    `compared` says that there is a baseline to compare with.
    """
    columns = report.matrix.columns
    names = named(columns, report.cells)
    spread = scores(columns, report.cells)
    measured = throughput(report.timed)
    libraries = frameworks(columns, report.cells, report.grades, measured.shares, report.ranked, report.dtypes)
    implementation_values = implementations(report, names, libraries)
    by_cause = causes(report.ranked)
    layers = trained_layers(report.cases, report.cells)
    of_framework = {column.implementation: framework_of(column) for column in columns} | {
        timed_line.line.implementation: timed_line.framework for timed_line in report.timed
    }
    slot_by_name = charts.slots(of_framework)
    picture = {
        "overview": drawings.overview(measured.shares, of_framework),
        "colored": {name: charts.dot(slot, 4, 4) for slot, name in enumerate(dict.fromkeys(of_framework.values()))},
    }
    return (
        Page(
            path="index.html",
            title="What was found",
            template="index.html.j2",
            menu="Overview",
            values={
                "frameworks": libraries,
                "operations": operations(report.cells, libraries),
                "causes": by_cause,
                "layers": layers,
                **picture,
            },
        ),
        Page(
            path="causes.html",
            title="Findings",
            template="causes.html.j2",
            menu="Findings",
            values={"causes": by_cause},
        ),
        Page(
            path="matrix.html", title="Clauses × implementations", template="matrix.html.j2", menu="Matrix", values={}
        ),
        Page(
            path="porting.html",
            title="From A to B",
            template="porting.html.j2",
            menu="From A to B",
            values={},
            data={"porting": porting(report, names, libraries, pairs(columns, report.cells))},
        ),
        Page(
            path="deviations.html",
            title="Deviations",
            template="deviations.html.j2",
            menu="Deviations",
            values={
                "scores": spread,
                "drawn": drawings.drawn(spread, slot_by_name),
                "slots": slot_by_name,
            },
        ),
        Page(
            path="dialects.html",
            title="Dialects",
            template="dialects.html.j2",
            menu="Dialects",
            values={"named": names, "things": READINGS},
        ),
        Page(
            path="determinism.html",
            title="Determinism",
            template="determinism.html.j2",
            menu="Determinism",
            values={},
        ),
        Page(
            path="throughput.html",
            title="Throughput",
            template="throughput.html.j2",
            menu="Throughput",
            values={
                "timed": measured,
                "scatters": drawings.scattered(measured.scattered, slot_by_name),
                "slots": slot_by_name,
                **picture,
                "passes": PASSES,
                "standings": STANDINGS,
                "disturbances": DISTURBANCES,
                "took": timed(columns, report.step_seconds),
                "kinds": KINDS,
            },
        ),
        Page(
            path="environments.html",
            title="Environments",
            template="environments.html.j2",
            menu="Environments",
            values={},
        ),
        Page(
            path="compare.html",
            title="What changed",
            template="compare.html.j2",
            menu="Compare",
            values={"baseline": compared},
        ),
        Page(
            path="search.html",
            title="Search",
            template="search.html.j2",
            menu="Search",
            values={},
            data={
                "causes": [
                    [cause.page, cause.sentence, cause.id, " ".join(cause.implementations)] for cause in by_cause
                ]
            },
        ),
        Page(
            path=GLOSSARY,
            title="Glossary",
            template="glossary.html.j2",
            menu="Glossary",
            values={"sections": sections(shipped())},
        ),
        Page(path="case.html", title="Case", template="case.html.j2", values={}),
        Page(path="why.html", title="Why not the batch's own mean?", template="why.html.j2", values={"layers": layers}),
        *(_framework_page(framework) for framework in libraries),
        *(_cause_page(cause) for cause in by_cause),
        *(_implementation_page(implementation) for implementation in implementation_values),
    )


def _framework_page(framework: Framework) -> Page:
    return Page(
        path=f"frameworks/{framework.slug}.html",
        title=framework.library,
        template="framework.html.j2",
        values={"framework": framework},
    )


def _cause_page(cause: SharedFinding) -> Page:
    return Page(
        path=f"causes/{cause.page}.html", title=cause.sentence, template="cause.html.j2", values={"cause": cause}
    )


def _implementation_page(implementation: Implementation) -> Page:
    return Page(
        path=f"implementations/{implementation.slug}.html",
        title=implementation.name,
        template="implementation.html.j2",
        values={"implementation": implementation, "things": READINGS},
    )


def site(report: Report, documents: Mapping[str, bytes], *, home: Home | None = None) -> Iterator[tuple[str, Pieces]]:
    """Yield the path and the content of every file. Raises `UsageError` where Jinja2 is absent.

    `documents` are JSON texts by name that scripts ask for beside their own data: `results`, and `baseline`
    where there is one.
    """
    templates = templates_in(_FOLDER)
    all_pages = pages(report, compared="baseline" in documents)
    for page in all_pages:
        links = Links(page=page.path, single=False)
        content = _content(templates, page, report, links)
        text = _layout(templates, "page.html.j2", report, all_pages, [content], links, home=home)
        yield page.path, bytes_of(text)
    for name in (*SCRIPTS, *STYLES):
        yield f"assets/{name}", (_FOLDER / "assets" / name).read_bytes()
    for name, pieces in _data(report, all_pages, documents):
        yield f"data/{name}.js", itertools.chain([f'conformance.receive("{name}", '.encode()], pieces, [b");\n"])


def single(report: Report, documents: Mapping[str, bytes], *, in_full: int) -> bytes:
    """Return the whole site as one HTML file, with the steps of the `in_full` worst cells. Raises `UsageError` where Jinja2 is absent."""
    templates = templates_in(_FOLDER)
    all_pages = pages(report, compared="baseline" in documents)
    contents = [_content(templates, page, report, Links(page=page.path, single=True)) for page in all_pages]
    data = [(name, b"".join(pieces).decode()) for name, pieces in _data(report, all_pages, documents, in_full=in_full)]
    script, style = ("\n".join(map(_asset, names)) for names in (SCRIPTS, STYLES))
    text = _layout(
        templates,
        "single.html.j2",
        report,
        all_pages,
        contents,
        Links(page="index.html", single=True),
        data=data,
        script=script,
        style=style,
        script_digest=_digest(script),
        style_digest=_digest(style),
        brief=max(0, len(report.cells) - in_full),
    )
    return bytes_of(text)


def _data(
    report: Report, all_pages: Sequence[Page], documents: Mapping[str, bytes], *, in_full: int | None = None
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield names, and JSON that is safe in a script in pieces."""
    firsts = []
    for number, shard in enumerate(shards(report, in_full=in_full)):
        firsts.append(shard.first)
        yield f"cases-{number}", [json_of(shard.value)]
    yield "index", [json_of(index(report))]
    yield "words", [json_of(words(report, firsts))]
    for page in all_pages:
        for name, value in page.data.items():
            yield name, [json_of(value)]
    for name, text in documents.items():
        yield name, map(safe, BytesIO(text))


def _content(templates: Any, page: Page, report: Report, links: Links) -> Content:
    values = {"report": report, "page": page, "links": links, "partials": page.partials, **page.values}
    html = templates.get_template(page.template).render(values)
    if page.path != GLOSSARY:
        html = linked(html, lambda entry: links.at(GLOSSARY, entry.anchor))
    return Content(page=page, html=html)


def _layout(
    templates: Any,
    template: str,
    report: Report,
    all_pages: Sequence[Page],
    contents: Sequence[Content],
    links: Links,
    **further: Any,
) -> str:
    return str(
        templates.get_template(template).render(
            report=report,
            menu=[page for page in all_pages if page.menu],
            contents=contents,
            links=links,
            scripts=SCRIPTS,
            styles=STYLES,
            **{"data": (), "brief": 0, "home": None, **further},
        )
    )


def templates_in(folder: Path) -> Any:
    """Return the templates beside a package's modules. Raises `UsageError` where Jinja2 is absent."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        message = "the report needs Jinja2: pip install 'batchnorm-conformance[report]'"
        raise UsageError(message) from error
    environment = Environment(
        loader=FileSystemLoader(folder / "templates"),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["real"] = _real
    environment.globals |= {
        "words": VERDICTS,
        "observables": OBSERVED,
        "stands": STANDS,
        "stand": stand,
        "score": shown,
        "plain": _number,
        "plain_number": shown,
        "broken": _broken,
        "dot": charts.dot,
    }
    return environment


@cache
def _asset(name: str) -> str:
    return (_FOLDER / "assets" / name).read_text(encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "∞"


def _real(value: float) -> str:
    """Return a number in up to six digits, with the minus sign of print."""
    return f"{value:.6g}".replace("-", "−")


def _broken(name: str) -> list[str]:
    """Return the parts of a dotted name between which a line may end: after a dot or underscore, before a plus."""
    return re.split(r"(?<=[._])|(?=\+)", name)


def _digest(text: str) -> str:
    """Return the hash by which a page's content security policy admits its own script or style alone."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
