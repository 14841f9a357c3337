"""What a find leaves behind: a YAML case with the exact numbers, and beside it the script that reproduces it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from conformance.errors import UsageError
from conformance.files.whole import write_whole
from conformance.reproduce import Evidence, script
from conformance.runfile import lines
from conformance.search.finding import Shows, Suspicion, Trial
from conformance.search.hunt import Find, Performs
from conformance.spec.case import Case
from conformance.spec.causes import catalogue

_UNSAFE = re.compile(r"[^a-z0-9]+")


def family_of(suspicion: Suspicion) -> str:
    """Return the family that a find is the one case of: `found-` with the implementation and the cause."""
    against = ["against", suspicion.against] if suspicion.against else []
    return _family(suspicion.implementation, *against, suspicion.cause, *suspicion.parameters)


def _family(*words: str) -> str:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that reproduces a find by one implementation, or why there can be none."""

    text: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reported:
    """A find as it is told and written: its case under an id of its own, and what reproduces it."""

    suspicion: Suspicion
    case: Case
    #: Whether it shows again where the case is performed as it is written.
    replays: bool
    #: A script for each implementation that it is about.
    scripts: tuple[Script, ...]
    #: Cases drawn, and seconds gone by, before it was first seen.
    examples: int
    seconds: float


def reported(find: Find, bench: Performs) -> Reported:
    """Return a find as it is written, performed once more like that."""
    suspicion = find.suspicion
    case = named(find.trial.cell.case, suspicion, find.trial)
    again = [trial for trial in bench.trials(case, suspicion.implementation) if suspicion in trial.suspicions]
    trial = again[0] if again else find.trial
    return Reported(
        suspicion=suspicion,
        case=case,
        replays=bool(again),
        scripts=tuple(_script(case, side) for side in trial.sides),
        examples=find.examples,
        seconds=find.seconds,
    )


def still_found(case: Case, bench: Performs) -> Iterator[Suspicion]:
    """Yield what an earlier search found, of which this is the case, and what is still so here."""
    if case.op not in bench.operations:
        return
    for name in bench.implementations:
        if not case.family.startswith(_family(name)):
            continue  # performing it again tells nothing
        for trial in bench.trials(case, name):
            yield from (suspicion for suspicion in trial.suspicions if case.family == family_of(suspicion))


def write_find(folder: Path, find: Reported) -> tuple[Path, tuple[str, ...]]:
    """Write the case to `folder` and its scripts beside it, and return its path and their names."""
    family = find.case.family
    path = folder / f"{family}.yaml"
    write_whole(path, yaml_of(find.case).encode())
    names = []
    for number, written in enumerate(find.scripts, 1):
        if written.text:
            names.append(f"{family}.py" if len(find.scripts) == 1 else f"{family}-{number}.py")
            write_whole(folder / names[-1], written.text.encode())
    return path, tuple(names)


def _script(case: Case, trial: Trial) -> Script:
    try:
        return Script(text=script(_evidence(case, trial)))
    except UsageError as error:
        return Script(why=str(error))


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
