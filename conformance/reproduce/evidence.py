"""What is known of one cell: its record, its case and the process that ran it, as lines of a run file."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.errors import UsageError, WorkerError
from conformance.execution.execute import execute
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.judging.judge import judge
from conformance.planning.discovery import keys
from conformance.planning.plan import Offer, Selection, plan, thread_keys
from conformance.reference.expected import References
from conformance.reproduce.sources import has_sources
from conformance.runfile import lines, run_file
from conformance.runfile.run_file import Line
from conformance.spec.case import Case
from conformance.spec.divergences import Known
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One cell as a run recorded it."""

    record: Line
    case: Case
    environment: Line
    #: The name of the run file; empty where the cell was performed for this alone.
    file: str = ""

    @property
    def implementation(self) -> Line:
        """What the process offered under the name of the cell's implementation."""
        name = self.record["implementation"]
        found: Line = next(each for each in self.environment["implementations"] if each["name"] == name)
        return found

    @property
    def keeps_state(self) -> bool:
        """Whether the implementation keeps the moving values itself; else its caller does."""
        profile = self.implementation["profile"]
        return all(each["value"] == "layer" for each in profile if each["field"] == "state")


def recorded(cell: str, paths: Iterable[Path]) -> Evidence:
    """Return what the run files at `paths` tell of a cell. Raises `UsageError`."""
    runs = run_file.read_all(paths)
    for run in runs:
        for line in run.records:
            if line["cell"] == cell:
                environment = next(each for each in run.environments if each["id"] == line["environment"])
                if not has_sources(environment):
                    raise UsageError(f"{run.path}: an older run, which does not hold the source of its adapters")
                case = case_from(run.cases[line["case"]])
                return Evidence(record=line, case=case, environment=environment, file=run.path.name)
    known = [line["cell"] for run in runs for line in run.records]
    raise UsageError(f"{cell}: no such cell in {', '.join(str(run.path) for run in runs)}{_near(cell, known)}")


def performed(cell: str, interpreters: Mapping[str, str], adapters: Iterable[str], folder: Path) -> Evidence:
    """Return what performing the cell now tells of it. Raises `UsageError`, `WorkerError`."""
    spec = load(spec_folder())
    name, separator, _ = cell.partition("::")
    located = [each for each in spec.cases if each.case.id == name]
    if not separator or not located:
        near = _near(name, [each.case.id for each in spec.cases])
        raise UsageError(f"{cell}: expected CASE::IMPLEMENTATION-MODE-DEVICE, as a failure prints it{near}")
    with Workers(os.cpu_count() or 1, folder) as workers:
        answers = list(survey(keys(interpreters, adapters), [located[0].case.configuration], workers))
        offers = [each for each in answers if isinstance(each, Offer)]
        further = thread_keys(located, offers, Selection())
        answers += survey(further, [located[0].case.configuration], workers)
        offers = [each for each in answers if isinstance(each, Offer)]
        cells = {each.id: each for each in plan(located, offers, Selection())}
        if cell not in cells:
            failed = "".join(f"; {each.worker} did not start" for each in answers if isinstance(each, WorkerError))
            raise UsageError(f"{cell}: not offered here{_near(cell, cells)}{failed}")
        found = cells[cell]
        ((_, outcomes),) = execute([found], workers)
    line = lines.record_line(found, judge(found, outcomes, References()), Known())
    offer = next(each for each in offers if each.key == found.key)
    return Evidence(
        record=_as_read(line),
        case=located[0].case,
        environment=_as_read(lines.environment_line(offer)),
    )


def case_from(line: Line) -> Case:
    """Return the case that a run file's line describes, whatever the spec says by now."""
    configuration = line["configuration"]
    return Case.model_validate(
        {
            **{name: line[name] for name in ("id", "title", "source", "clauses", "op")},
            **configuration,
            "initial": _numbers(line["initial"]),
            "steps": _numbers(line["steps"]),
        }
    )


def _numbers(value: Any) -> Any:
    """Return the values with the numbers that a run file writes as text."""
    match value:
        case "NaN" | "Infinity" | "-Infinity":
            return float(value)
        case dict():
            return {key: _numbers(item) for key, item in value.items()}
        case list():
            return [_numbers(item) for item in value]
        case _:
            return value


def _as_read(line: Mapping[str, Any]) -> Line:
    """Return the line as it would be read from a run file."""
    found: Line = json.loads(run_file.dumped(line))
    return found


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""
