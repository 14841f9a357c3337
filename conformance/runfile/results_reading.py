"""Results from files: run files, or a `results.json` that is checked before anything relies on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from conformance.errors import UsageError
from conformance.runfile.compression import content
from conformance.runfile.reading import read_all
from conformance.runfile.results import READ, Results, results_of

_ADAPTER = TypeAdapter(Results)


def load(paths: Sequence[Path], *, partial: bool) -> Results:
    """Return the results in run files, in folders of them, or in one published file or a folder that holds it.

    Raises `UsageError` where they cannot be read, do not belong together, or did not end (unless `partial`).
    """
    published = [file for path in paths if (file := _published(path)) is not None]
    if not published:
        return results_of(read_all(paths), partial=partial)
    file = published[0]
    if len(paths) > 1:
        raise UsageError(f"{file}: published results stand alone: name no other beside them")
    results = read(file)
    if not results.complete and not partial:
        raise UsageError(f"{file}: holds a run that did not end; --partial takes it all the same")
    return results


def read(path: Path) -> Results:
    """Return the results in the file at `path`, which may be compressed by gzip. Raises `UsageError`."""
    return parse(content(path), str(path))


def parse(raw: bytes, name: str) -> Results:
    """Return the results in a document; `name` is what errors call it. Raises `UsageError`."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: not JSON: {error}") from error
    format_of_document = value.get("format") if isinstance(value, dict) else None
    if not isinstance(format_of_document, int) or "cell_fields" not in value:
        raise UsageError(f"{name}: no results of a conformance report: expected an object with format and cells")
    if format_of_document not in READ:
        formats = " and ".join(map(str, READ))
        raise UsageError(f"{name}: results of format {format_of_document}; this version reads formats {formats}")
    try:
        results = _ADAPTER.validate_json(raw, strict=True)
    except ValidationError as error:
        detail = error.errors()[0]
        place = ".".join(str(part) for part in detail["loc"])
        raise UsageError(f"{name}: {place}: {detail['msg'][0].lower()}{detail['msg'][1:]}") from error
    _check_positions(results, name)
    return results


def _published(path: Path) -> Path | None:
    """Return the published results that a path names; None where it names run files."""
    if path.is_dir():
        documents = [path / name for name in ("results.json", "results.json.gz") if (path / name).is_file()]
        return documents[0] if documents and not any(path.glob("*.jsonl")) else None
    return path if path.name.endswith((".json", ".json.gz")) else None


def _check_positions(results: Results, name: str) -> None:
    """Raise `UsageError` for a row or a grade that refers to nothing, and for a cell that is there twice."""
    if results.format > 1 and len(results.reasons) != len(results.texts):
        raise UsageError(f"{name}: reasons: expected as many as texts, {len(results.texts)}")
    limits = [len(results.cases), len(results.columns), len(results.environments), len(results.texts)]
    for row in results.cells:
        positions = [row.case, row.column, row.environment, row.diagnosis]
        if any(not 0 <= position < limit for position, limit in zip(positions, limits, strict=True)):
            raise UsageError(f"{name}: cells: {list(row)} refers to nothing")
    counts = Counter((row.case, row.column) for row in results.cells)
    for (case, column), count in counts.items():
        if count > 1:
            raise UsageError(
                f"{name}: the cell {results.cases[case].id}::{results.columns[column].name} is there twice"
            )
    runs, cases, columns = len(results.runs), len(results.cases), len(results.columns)
    if any(not 0 <= environment.run < runs for environment in results.environments):
        raise UsageError(f"{name}: environments: one is of no run")
    if any(not (0 <= grade.case < cases and 0 <= grade.column < columns) for grade in results.grades):
        raise UsageError(f"{name}: grades: one is of no case or column")
