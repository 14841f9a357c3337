"""The site over all published runs: a report of each, the history of every cell, a feed, badges."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from conformance.compare.xml_text import legal
from conformance.errors import UsageError
from conformance.publish import card
from conformance.publish.archive import published
from conformance.publish.history import Clauses, Edition, before, changes, clauses, histories
from conformance.publish.speed import speeds, timelines_of
from conformance.report import files
from conformance.report.folder import Pieces, check, write_folder
from conformance.report.glossary import PAGE as GLOSSARY
from conformance.report.glossary import linked
from conformance.report.links import Home, slugs
from conformance.report.site import templates_in
from conformance.runfile.reading import read_all
from conformance.runfile.results import Results, results_of
from conformance.verdict import Standing, Verdict

_FOLDER = Path(__file__).parent
_REPORT = _FOLDER.parent / "report"
#: Style sheets by the folder of the package that has them.
_STYLES = {"base.css": _REPORT, "marks.css": _REPORT, "pages.css": _REPORT, "published.css": _FOLDER}
#: What a web server shows where there is no page.
_ABSENT = "404.html"
#: The folder of the documentation.
_DOCUMENTATION = "docs"
#: The picture that a link to the site brings along.
_CARD = "card.png"
#: Two colours, each with white letters at more than 4.5 : 1; the numbers say the same.
_ALL, _SOME = "#0a58a8", "#7a2e00"
#: Of the badge's font at its size, on the average; `textLength` fits what a browser draws.
_LETTER = 6.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the index and the feed say of one published run."""

    edition: Edition
    page: str
    counts: Mapping[Verdict, int]
    unexpected: int
    #: What changed since the run before on that machine, in one line and in full; empty for the first.
    since: str
    content: str

    @property
    def title(self) -> str:
        """The run's name and its number of cells."""
        return f"{self.edition.name}: {len(self.edition.results.cells)} cells"

    @property
    def summary(self) -> str:
        """What was judged and what changed."""
        return f"{', '.join(self.edition.libraries)}. {self.since}".strip()

    @property
    def id(self) -> str:
        """The same whenever the site is built, wherever it stands."""
        return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'batchnorm-conformance:{self.edition.name}')}"

    @property
    def updated(self) -> str:
        """When the run ended, as Atom writes it."""
        return datetime.fromisoformat(self.edition.finished).isoformat()


def write(
    reports: Path,
    out: Path,
    *,
    address: str = "",
    documentation: Path | None = None,
    new: Path | None = None,
    browser: str | None = None,
) -> Path:
    """Write the site over the runs published in `reports` to `out`, whole or not at all; return its first page.

    `address` is where the site will stand, which links in a feed and a list of pages need to be absolute; `documentation` a
    built site that becomes part of it; `new` the folder of a run that is about to be published; `browser` what makes the
    picture that a link to the site brings along, None for none. Raises `UsageError`.
    """
    if documentation is not None and not (documentation / "index.html").is_file():
        raise UsageError(f"{documentation}: no site is there: expected index.html in it")
    folders = sorted([*published(reports), *([new] if new else [])], key=lambda folder: folder.name)
    if not folders:
        raise UsageError(f"{reports}: holds no published run")
    check(out)
    home = f"{address.rstrip('/')}/" if address else ""
    write_folder(out, site(folders, address=home, documentation=documentation, browser=browser))
    return out / "index.html"


def site(
    folders: Sequence[Path], *, address: str = "", documentation: Path | None = None, browser: str | None = None
) -> Iterator[tuple[str, Pieces]]:
    """Yield path and bytes of every file; one run at a time is held in full."""
    paths: list[str] = []
    for path, content in _contents(folders, address, documentation, browser):
        paths += [path] if path.endswith(".html") and path != _ABSENT else []
        yield path, content
    if address:
        values = {"address": address, "paths": sorted(paths)}
        text: str = templates_in(_FOLDER).get_template("sitemap.xml.j2").render(**values)
        yield "sitemap.xml", legal(text).encode()


def _contents(
    folders: Sequence[Path], address: str, documentation: Path | None, browser: str | None
) -> Iterator[tuple[str, Pieces]]:
    """Yield path and bytes of every file but the list of the pages."""
    editions: list[Edition] = []
    docs = f"{_DOCUMENTATION}/index.html" if documentation else ""
    for folder in folders:
        runs = read_all([folder])
        editions.append(Edition(name=folder.name, results=results_of(runs), timelines=timelines_of(runs)))
        base = before(editions, len(editions) - 1)
        home = Home(name=folder.name, index="../index.html", documentation=f"../{docs}" if docs else "")
        for path, content in files(runs, baseline=base.results if base else None, home=home):
            yield f"{folder.name}/{path}", content
    templates = templates_in(_FOLDER)
    icon = (_REPORT / "templates" / "_icon.html.j2").read_text()
    # A service that shows a link takes a picture by its whole address alone.
    shown = f"{address}{_CARD}" if browser and address else ""
    glossary = f"{editions[-1].name}/{GLOSSARY}"
    templates.globals |= {"documentation": docs, "icon": icon, "card": shown, "glossary": glossary}
    if browser is not None:
        yield _CARD, card.picture(card.drawing(templates, editions[-1]), browser)
    entries = [_entry(editions, position) for position in reversed(range(len(editions)))]
    kept = clauses(editions)
    named = slugs(sorted({column.implementation for edition in editions for column in edition.results.columns}))
    yield "feed.xml", _feed(templates, entries, address)
    for clauses_kept in kept:
        yield f"badges/{named[clauses_kept.implementation]}.svg", _badge(templates, clauses_kept)
    yield from _pages(templates, editions, entries, kept, named)
    # It is shown at whatever address has no page, so its links begin where the site does.
    yield _ABSENT, _rendered(templates, f"{_ABSENT}.j2", address)
    for name, package in _STYLES.items():
        yield f"assets/{name}", (package / "assets" / name).read_bytes()
    if documentation is not None:
        for file in sorted(documentation.rglob("*")):
            if file.is_file():
                yield f"{_DOCUMENTATION}/{file.relative_to(documentation).as_posix()}", file.read_bytes()


def _pages(
    templates: Any,
    editions: Sequence[Edition],
    entries: Sequence[Entry],
    kept: Sequence[Clauses],
    named: Mapping[str, str],
) -> Iterator[tuple[str, bytes]]:
    all_histories = histories(editions)
    reported = {edition.name: _slugs(edition.results) for edition in editions}
    by_name = {clauses_kept.implementation: clauses_kept for clauses_kept in kept}
    yield (
        "index.html",
        _rendered(
            templates, "index.html.j2", "", entries=entries, histories=all_histories, clauses=by_name, slugs=named
        ),
    )
    yield "speed.html", _rendered(templates, "speed.html.j2", "", speeds=speeds(editions))
    for history in all_histories:
        values = {
            "history": history,
            "changed": [line for line in history.lines if line.changed],
            "same": [line for line in history.lines if not line.changed],
            "reported": {name: reported[name][history.implementation] for name, _ in history.editions},
        }
        yield f"history/{named[history.implementation]}.html", _rendered(templates, "history.html.j2", "../", **values)


def _rendered(templates: Any, template: str, root: str, **values: Any) -> bytes:
    text: str = templates.get_template(template).render(root=root, styles=_STYLES, **values)
    glossary = f"{root}{templates.globals['glossary']}"
    return linked(text, lambda entry: f"{glossary}#{entry.anchor}").encode(errors="backslashreplace")


def _slugs(results: Results) -> Mapping[str, str]:
    """Return the names of the pages in that run's own report."""
    return slugs(list(dict.fromkeys(column.implementation for column in results.columns)))


def _entry(editions: Sequence[Edition], position: int) -> Entry:
    edition = editions[position]
    base = before(editions, position)
    line, content = changes(edition, base) if base else ("", "")
    counted = Counter(row.verdict for row in edition.results.cells)
    return Entry(
        edition=edition,
        page=f"{edition.name}/index.html",
        counts={verdict: counted[verdict] for verdict in Verdict if verdict.judged and counted[verdict]},
        unexpected=sum(row.status is Standing.UNEXPECTED for row in edition.results.cells),
        since=f"Since {base.name}: {line}" if base else "",
        content=content,
    )


def _feed(templates: Any, entries: Sequence[Entry], address: str) -> bytes:
    values = {"entries": entries, "address": address, "updated": max(entry.updated for entry in entries)}
    text: str = templates.get_template("feed.xml.j2").render(id=f"urn:uuid:{_FEED}", **values)
    return legal(text).encode()


_FEED = uuid.uuid5(uuid.NAMESPACE_URL, "batchnorm-conformance")


def _badge(templates: Any, kept: Clauses) -> bytes:
    value = f"{kept.cells.percent} % right" if kept.cells.judged else "nothing judged"
    text: str = templates.get_template("badge.svg.j2").render(
        label=kept.implementation,
        value=value,
        title=f"{kept.implementation} of {kept.library}: {kept.cells.right} of {kept.cells.judged} judged cells agree,"
        f" documented dialects included, and every one of {kept.conforming} of {kept.applicable} clauses ({kept.edition})",
        left=round(len(kept.implementation) * _LETTER) + 12,
        right=round(len(value) * _LETTER) + 12,
        colour=_ALL if kept.cells.right == kept.cells.judged else _SOME,
    )
    return text.encode()
