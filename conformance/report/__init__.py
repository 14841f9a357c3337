"""The report: run files become a static site that opens from disk, with no network and no framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from conformance.errors import UsageError
from conformance.files.json_text import bytes_of
from conformance.files.whole import write_whole
from conformance.report.folder import Pieces, check, write_folder
from conformance.report.links import Home
from conformance.report.model import Report, report_of
from conformance.report.searched import Searched
from conformance.report.site import single, site
from conformance.runfile.gathering import observed
from conformance.runfile.results import Results, results_of_cells
from conformance.runfile.run import Run
from conformance.spec.locations import spec_folder

#: A single file holds so many cells in full: browsers and mail servers take no more.
SINGLE = 10_000
#: The schema of `results.json`, which lies beside it.
SCHEMA = "results.schema.json"


def write(
    runs: Sequence[Run],
    out: Path,
    *,
    partial: bool,
    single_file: bool = False,
    baseline: Results | None = None,
    searches: Mapping[str, Searched] | None = None,
) -> Path:
    """Write the report of `runs` to the folder `out`, or to the file `out`, whole or not at all.

    `baseline` is what its comparison page begins with, `searches` what searches found by implementation. A single file of more than `SINGLE` cells leaves out, and says so, the
    steps of cells that are right, the worst of the rest first, and what its comparison page compares. Returns the path of the
    page to open. Raises `UsageError` for runs that did not end, unless `partial`; for runs that do not belong together; where
    `out` holds something else; and where Jinja2 is absent.
    """
    if single_file:
        if out.is_dir():
            raise UsageError(f"{out}: is a folder; --single-file writes a file, such as {out / 'report.html'}")
        report, documents = _report_and_documents(runs, partial=partial, baseline=baseline, searches=searches)
        write_whole(out, single(report, documents, in_full=SINGLE))
        return out
    check(out)
    write_folder(out, files(runs, partial=partial, baseline=baseline, searches=searches))
    return out / "index.html"


def files(
    runs: Sequence[Run],
    *,
    partial: bool = False,
    baseline: Results | None = None,
    home: Home | None = None,
    searches: Mapping[str, Searched] | None = None,
) -> Iterator[tuple[str, Pieces]]:
    """Yield path and content of every file of the report of `runs`. Raises `UsageError` as `write` does.

    `home` is the site that it becomes part of.
    """
    report, documents = _report_and_documents(runs, partial=partial, baseline=baseline, searches=searches)
    yield from site(report, documents, home=home)
    yield "results.json", documents["results"]
    yield SCHEMA, (spec_folder() / SCHEMA).read_bytes()


def _report_and_documents(
    runs: Sequence[Run], *, partial: bool, baseline: Results | None, searches: Mapping[str, Searched] | None
) -> tuple[Report, dict[str, bytes]]:
    seen = observed(runs, partial=partial)
    documents = {"results": bytes_of(results_of_cells(seen))}
    if baseline is not None:
        documents["baseline"] = bytes_of(baseline)
    return report_of(seen, runs, searches or {}), documents
