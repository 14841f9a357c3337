"""What a find leaves behind: a YAML case with the exact numbers, and beside it the script that reproduces it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from conformance.errors import UsageError
from conformance.reproduce import Evidence, script
from conformance.runfile import lines
from conformance.search.finding import Shows, Suspicion, Trial
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.whole import write_whole

_UNSAFE = re.compile(r"[^a-z0-9]+")


def family_of(suspicion: Suspicion) -> str:
    """Return the family that a find is the one case of: `found-` with the implementation and the cause."""
    against = ["against", suspicion.against] if suspicion.against else []
    words = [suspicion.implementation, *against, suspicion.cause, *suspicion.parameters]
    return f"found-{_UNSAFE.sub('-', '-'.join(words).lower()).strip('-')}"[:100].rstrip("-")


def named(case: Case, suspicion: Suspicion, trial: Shows) -> Case:
    """Return the case of a find under an id and a title of its own; the title says the fact."""
    words = catalogue().get(suspicion.cause)
    clauses = [] if words is None else [words.clause]
    update = {
        "id": f"{family_of(suspicion)}.{suspicion.cause}",
        "title": trial.fact(suspicion),
        "source": "; ".join(["Found by search", *(f"clause {clause}" for clause in clauses)]),
        "clauses": tuple(dict.fromkeys([*clauses, *case.clauses])),
    }
    return case.model_copy(update=update)


def yaml_of(*cases: Case) -> str:
    """Return the text of a case file."""
    entries = [_plain(case.model_dump(exclude_defaults=True, exclude_none=True)) for case in cases]
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _plain(part) for key, part in value.items() if part != {}}
        case tuple() | list():
            return [_plain(part) for part in value]
        case _:
            return value


def write_find(folder: Path, case: Case, trial: Shows) -> tuple[Path, dict[str, str]]:
    """Write the case, and for each implementation that it is about its script, to `folder`.

    Return the path of the case, and by implementation the name of its script, or in its place why there is none.
    `trial` is one of the very `case`, under its own id.
    """
    path = folder / f"{case.family}.yaml"
    write_whole(path, yaml_of(case).encode())
    scripts = {}
    for number, side in enumerate(trial.sides, 1):
        name = f"{case.family}.py" if len(trial.sides) == 1 else f"{case.family}-{number}.py"
        try:
            write_whole(folder / name, script(_evidence(case, side)).encode())
            scripts[side.cell.implementation.name] = name
        except UsageError as error:
            scripts[side.cell.implementation.name] = str(error)
    return path, scripts


def _evidence(case: Case, trial: Trial) -> Evidence:
    environment = lines.environment_line(trial.offer)
    name = trial.cell.implementation.name
    return Evidence(
        record=lines.record_line(replace(trial.cell, case=case), trial.judgement, trial.known),
        case=case,
        environment=environment,
        implementation=next(offered for offered in environment.implementations if offered.name == name),
        causes=lines.recorded_catalogue(),
    )
