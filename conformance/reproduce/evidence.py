"""What is known of one cell: its record, its case and the process that ran it, as lines of a run file."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from conformance.errors import UsageError, WorkerError
from conformance.execution.execute import execute
from conformance.execution.pool import Workers, usual_count
from conformance.execution.survey import survey
from conformance.judging.judge import judge
from conformance.operations import OPERATIONS
from conformance.planning.discovery import holding, keys
from conformance.planning.plan import Offer, Selection, plan, thread_keys
from conformance.reference.expected import References
from conformance.runfile import lines
from conformance.runfile.cause_text import Catalogue
from conformance.runfile.reading import read_all
from conformance.runfile.run import Run
from conformance.runfile.structs import EnvironmentLine, Record, RecordedOffer
from conformance.spec.case import Case
from conformance.spec.divergences import Known
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One cell as a run recorded it."""

    record: Record
    case: Case
    environment: EnvironmentLine
    implementation: RecordedOffer
    #: The words of the causes that the record names.
    causes: Catalogue
    #: The name of the run file; empty where the cell was performed for this alone.
    file: str = ""


def recorded(cell: str, paths: Iterable[Path]) -> Evidence:
    """Return what the run files at `paths` tell of a cell. Raises `UsageError`."""
    runs = read_all(paths)
    for run in runs:
        for record in run.records:
            if record.cell == cell:
                return evidence_of(record, run)
    cells = [record.cell for run in runs for record in run.records]
    raise UsageError(f"{cell}: no such cell in {', '.join(str(run.path) for run in runs)}{_near(cell, cells)}")


def evidence_of(record: Record, run: Run) -> Evidence:
    """Return what a run tells of one of its cells. Raises `UsageError` where that makes no script."""
    environment = next(line for line in run.environments if line.id == record.environment)
    if not environment.sources:
        raise UsageError(f"{run.path}: an older run, which does not hold the source of its adapters")
    offers = [offer for offer in environment.implementations if offer.name == record.implementation]
    if not offers:
        raise UsageError(f"{run.path}: {environment.id} does not offer {record.implementation}")
    try:
        for text in environment.sources.values():
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{run.path}: the source of {environment.id} is no Python: {error}") from error
    try:
        case = lines.case_from(run.cases[record.case])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{run.path}: the case {record.case}: {place}: {first['msg']}") from error
    if case.op not in OPERATIONS:
        raise UsageError(
            f"{run.path}: the case {record.case}: op: expected one of {', '.join(OPERATIONS)}; got {case.op!r}"
        )
    kinds = ["start", *(step.step for step in case.performed)]
    steps = [(step.number, step.kind) for step in record.steps]
    if not steps or steps != list(enumerate(kinds))[: len(steps)]:
        raise UsageError(f"{run.path}: the cell {record.cell}: its steps are not those of its case")
    return Evidence(
        record=record,
        case=case,
        environment=environment,
        implementation=offers[0],
        causes=run.header.causes,
        file=run.path.name,
    )


def performed(cell: str, interpreters: Mapping[str, str], adapters: Sequence[str], folder: Path) -> Evidence:
    """Return what performing the cell now tells of it. Raises `UsageError`, `WorkerError`."""
    spec = load(spec_folder())
    name, separator, _ = cell.partition("::")
    located = [entry for entry in spec.cases if entry.case.id == name]
    if not separator or not located:
        near = _near(name, [entry.case.id for entry in spec.cases])
        form = "CASE::IMPLEMENTATION-MODE-DEVICE, as a failure prints it, of a shipped case (of another, --run names the run)"
        raise UsageError(f"{cell}: expected {form}{near}")
    with Workers(usual_count(), folder) as workers:
        offered = keys(interpreters, adapters)
        # Of a name that nobody has, all are asked, so that the nearest can be told.
        asked = holding(offered, [cell.partition("::")[2].rsplit("-", 2)[0]], adapters) or offered
        answers = list(survey(asked, [located[0].case.configuration], workers))
        offers = [answer for answer in answers if isinstance(answer, Offer)]
        further = thread_keys(located, offers, Selection())
        answers += survey(further, [located[0].case.configuration], workers)
        offers = [answer for answer in answers if isinstance(answer, Offer)]
        cells = {candidate.id: candidate for candidate in plan(located, offers, Selection())}
        if cell not in cells:
            failed = "".join(
                f"; {answer.worker} did not start" for answer in answers if isinstance(answer, WorkerError)
            )
            raise UsageError(f"{cell}: not offered here{_near(cell, cells)}{failed}")
        chosen = cells[cell]
        ((_, outcomes),) = execute([chosen], workers)
    record = lines.record_line(chosen, judge(chosen, outcomes, References()), Known())
    environment = lines.environment_line(next(offer for offer in offers if offer.key == chosen.key))
    return Evidence(
        record=record,
        case=located[0].case,
        environment=environment,
        implementation=next(
            offered for offered in environment.implementations if offered.name == record.implementation
        ),
        causes=lines.recorded_catalogue(),
    )


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]}?" if near else ""
