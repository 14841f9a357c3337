"""What a find leaves behind: a YAML case with the exact numbers, and beside it the script that reproduces it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from conformance.cause import text_of
from conformance.errors import UsageError
from conformance.planning.plan import Offer
from conformance.reproduce import Evidence, script
from conformance.runfile import lines
from conformance.search.finding import Suspicion, Trial
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.whole import write_whole

_UNSAFE = re.compile(r"[^a-z0-9]+")


def family_of(suspicion: Suspicion) -> str:
    """Return the family that a find is the one case of: `found-` with the implementation and the cause."""
    words = [suspicion.implementation, suspicion.cause, *suspicion.parameters]
    return f"found-{_UNSAFE.sub('-', '-'.join(words).lower()).strip('-')}"[:100].rstrip("-")


def named(case: Case, suspicion: Suspicion, trial: Trial) -> Case:
    """Return the case of a find under an id and a title of its own; the title says the fact."""
    words = next(
        text_of(alternatives, catalogue())
        for alternatives in trial.known.unlisted
        if alternatives[0].id == suspicion.cause
    )
    number, kind = _shown_at(trial)
    title = f"In step {number} ({kind}), {suspicion.implementation}: {words}."
    clause = catalogue()[suspicion.cause].clause
    update = {
        "id": f"{family_of(suspicion)}.{suspicion.cause}",
        "title": title,
        "source": f"Found by search; clause {clause}",
        "clauses": tuple(dict.fromkeys([clause, *case.clauses])),
    }
    return case.model_copy(update=update)


def _shown_at(trial: Trial) -> tuple[int, str]:
    """Return the number and the kind of the first step that is not as it should be."""
    steps = trial.judgement.steps
    first = next((step for step in steps if not step.expected or not step.verdict.agrees), steps[-1])
    return first.number, first.kind


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


def write_find(folder: Path, case: Case, trial: Trial, offer: Offer) -> tuple[Path, Path | str]:
    """Write the case and its script to `folder`; return both paths, or in place of the script why there is none.

    `trial` is one of the very `case`, under its own id.
    """
    path = folder / f"{case.family}.yaml"
    write_whole(path, yaml_of(case).encode())
    environment = lines.environment_line(offer)
    evidence = Evidence(
        record=lines.record_line(trial.cell, trial.judgement, trial.known),
        case=case,
        environment=environment,
        implementation=next(
            each for each in environment.implementations if each.name == trial.cell.implementation.name
        ),
        causes=lines.recorded_catalogue(),
    )
    try:
        text = script(evidence)
    except UsageError as error:
        return path, str(error)
    write_whole(path.with_suffix(".py"), text.encode())
    return path, path.with_suffix(".py")
