"""The lines of a run file, made from what they tell of: environments, cases, judged cells."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from conformance import __version__
from conformance.errors import WorkerError
from conformance.judging.judgement import Judged, Judgement, StepJudgement
from conformance.operations import OPERATIONS
from conformance.operations.operation import index_of
from conformance.operations.score import Worst
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell, Offer, Selection
from conformance.precision import extended
from conformance.protocol import Configuration
from conformance.reference.inputs import StepInputs, inputs_of
from conformance.runfile.run_file import FORMAT, number
from conformance.spec.causes import catalogue, diagnosis_text, text_of
from conformance.spec.divergences import Known, Listed
from conformance.spec.loader import Located, Spec

Line = dict[str, Any]


def header_line(spec: Spec, selection: Selection, arguments: Sequence[str], planned: int, narrowed: bool) -> Line:
    """Return what was run; `started` is added by the caller, so that this stays a function of its arguments."""
    return {
        "format": FORMAT,
        "suite": __version__,
        "spec": spec.hash,
        "planned": planned,
        "narrowed": narrowed,
        "tier": selection.tier.value,
        "selection": {
            "implementations": list(selection.implementations),
            "cases": list(selection.cases),
            "modes": list(selection.modes),
            "devices": list(selection.devices),
            "pytest": list(arguments),
        },
        "clauses": dict(spec.clauses),
        "sections": dict(spec.sections),
        "host": {
            "python": platform.python_version(),
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        },
        "dialects": {name: asdict(operation.dialect) for name, operation in OPERATIONS.items()},
        "reference": {"bits": extended().bits, "kind": extended().kind},
    }


def environment_line(offer: Offer) -> Line:
    """Return the process that ran an adapter: versions, settings, and what it offers, with its profiles."""
    return {
        **_process(offer.key),
        "library": offer.library,
        "versions": dict(offer.versions),
        "settings": dict(offer.settings),
        "host": dict(offer.host),
        "sources": dict(offer.sources),
        "implementations": [asdict(each) for each in offer.implementations],
    }


def failure_line(error: WorkerError, key: WorkerKey) -> Line:
    """Return an environment that did not start, with the reason."""
    return {**_process(key), "failed": error.message}


def unbuilt_line(group: str, log: str) -> Line:
    """Return a group whose environment was not built, with the installer's last lines."""
    return {"id": group, "group": group, "adapter": None, "failed": f"was not built; the installer's log ends:\n{log}"}


def _process(key: WorkerKey) -> Line:
    return {
        "id": key.name,
        "group": key.group,
        "adapter": key.file_name,
        "process": dict(key.environment),
        **({"threads": key.threads} if key.threads is not None else {}),
    }


def case_line(located: Located) -> Line:
    """Return a case with its formulas and its data's recipes."""
    case = located.case
    formulas = OPERATIONS[case.op].formulas
    kinds = dict.fromkeys(step.step for step in case.performed)
    return {
        "id": case.id,
        "family": case.family,
        "title": case.title,
        "source": case.source,
        "clauses": list(case.clauses),
        "op": case.op,
        "configuration": asdict(case.configuration),
        "initial": {name: each.model_dump(exclude_none=True) for name, each in case.initial.items()},
        "steps": [step.model_dump(exclude_none=True) for step in case.steps],
        "formulas": {kind: formulas[kind] for kind in kinds},
        "published": [each.model_dump(exclude_none=True) for each in case.expected],
        **({"threads": case.threads} if case.threads is not None else {}),
    }


def record_line(cell: Cell, judgement: Judgement, known: Known) -> Line:
    """Return a judged cell; `known` is what the divergences say of it."""
    inputs = inputs_of(cell.case).steps
    call = next((each.call for each in judgement.steps if each.call), "")
    return {
        "cell": cell.id,
        "case": cell.case.id,
        "implementation": cell.implementation.name,
        "mode": cell.mode,
        "device": cell.device,
        "environment": cell.key.name,
        "call": call,
        "verdict": judgement.verdict.value,
        "expected": judgement.expected,
        "diagnosis": diagnosis_text(judgement.diagnosis, catalogue()),
        "grade": judgement.grade,
        "observed": dict(judgement.observed),
        "again": judgement.again,
        "divergence": [_divergence(entry) for entry in known.entries],
        "score": number(_score(judgement)),
        "steps": [_step(each, inputs[each.number - 1] if each.number else None, cell) for each in judgement.steps],
    }


def _divergence(entry: Listed) -> Line:
    found = entry.divergence
    return {"reason": found.reason, "diagnosis": found.diagnosis, "upstream": found.upstream}


def _score(judgement: Judgement) -> float | None:
    scores = [each.score for step in judgement.steps for each in step.quantities if each.score is not None]
    return max(scores, default=None)


def _step(step: StepJudgement, inputs: StepInputs | None, cell: Cell) -> Line:
    line: Line = {"number": step.number, "kind": step.kind, "verdict": step.verdict.value, "expected": step.expected}
    if step.seconds is not None:
        line["seconds"] = round(step.seconds, 6)
    if step.message:
        line["message"] = step.message
    if inputs is not None and inputs.input is not None:
        line["inputs"] = inputs.checksum
        shape: tuple[int, ...] = inputs.input.shape
    else:
        shape = cell.case.shape
    line["quantities"] = [_quantity(each, cell.case.configuration, shape) for each in step.quantities]
    return line


def _quantity(judged: Judged, configuration: Configuration, shape: tuple[int, ...]) -> Line:
    line: Line = {"quantity": judged.quantity, "verdict": judged.verdict.value}
    if judged.score is not None:
        line["score"] = number(judged.score)
    if judged.narrower:
        line["by_grade"] = {grade: number(score) for grade, score in judged.narrower.items()}
    # Of state that must not change and did not, an element says nothing.
    kept = (
        judged.quantity in OPERATIONS[configuration.op].initial
        and judged.worst is not None
        and not judged.worst.allowed
    )
    if judged.worst is not None and judged.score is not None and (judged.score or not kept):
        line["worst"] = _worst(judged.worst, judged.quantity, configuration, shape)
    if judged.fields:
        line["fields"] = list(judged.fields)
    if judged.causes:
        line["reason"] = text_of(judged.causes, catalogue())
    if judged.bits:
        line["bits"] = judged.bits
    return {**line, "dtype": judged.dtype, "shape": list(judged.shape)}


def _worst(worst: Worst, quantity: str, configuration: Configuration, shape: tuple[int, ...]) -> Line:
    return {
        "index": list(
            index_of(worst.position, OPERATIONS[configuration.op].quantities[quantity].shape, configuration, shape)
        ),
        "expected": number(worst.expected),
        "observed": number(worst.observed),
        "allowed": number(worst.allowed),
    }
