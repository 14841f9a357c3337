"""What the numbers of a cell say of the dialect, field by field, whatever the profile declares.

Each function reads one field from the passes that can tell it, and says nothing where none can. "unknown" is said
where a pass could tell and no known reading explains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.dialect import CANONICAL, Dialect, meanings
from conformance.operations.operation import Pass, Reference
from conformance.operations.score import fit
from conformance.precision import Precision, precision

Array = np.ndarray[Any, np.dtype[Any]]

UNKNOWN = "unknown"
#: From this many train steps on the initial values weigh little, and an update may turn into another one.
_LATER = 3
#: So many of the last passes tell as much as all.
_ENOUGH = 4
_MOVING = ("moving_mean", "moving_variance")
_UPDATES = ("exponential", "zero_debiased", "cumulative", "merge", "none")


def single_value(passes: Sequence[Pass], train: Reference, worked: Precision) -> dict[str, str]:
    """Return what becomes of a feature with one value in the batch."""
    readings = {name: replace(CANONICAL, single_value=name) for name in ("zero_variance", "identity")}
    observations = [
        _refusal(step) or _explained(step, {name: _under(train, dialect) for name, dialect in readings.items()}, worked)
        for step in _training(passes)
        if _count(step) == 1
    ]
    return _field("single_value", observations)


def empty_batch(passes: Sequence[Pass]) -> dict[str, str]:
    """Return what a train step makes of no values: an error, or the state as it was, which must have been finite."""
    observations = [
        _refusal(step) or ("changes the state" if _moved(step.situation.state, step.after) else "keep")
        for step in _training(passes)
        if _count(step) == 0 and (step.refused or step.after) and _finite(step.situation.state)
    ]
    return _field("empty_batch", observations)


def frozen_implies_inference(
    passes: Sequence[Pass], train: Reference, infer: Reference, worked: Precision
) -> dict[str, str]:
    """Return whether a train step of a frozen layer infers."""
    words = meanings()["frozen_implies_inference"].shown
    readings = {words[False]: train, words[True]: infer}
    observations = [
        _explained(step, readings, worked)
        for step in passes
        if step.kind == "train" and step.frozen and not step.refused and _count(step) > 1
    ]
    return _field("frozen_implies_inference", observations)


def statistics_dtype(passes: Sequence[Pass]) -> dict[str, str]:
    """Return the dtype of the moving values as they are stored."""
    return _field(
        "statistics_dtype", [step.after["moving_mean"].dtype.name for step in passes if "moving_mean" in step.after]
    )


def state(passes: Sequence[Pass], infer: Reference, worked: Precision) -> dict[str, str]:
    """Return who keeps the moving values: the layer, whose train steps move them, or its caller.

    Where nothing moves them, inference by the values that the caller gave tells the one from none at all.
    """
    trains = [step for step in _training(passes) if _count(step) > 1 and not step.refused]
    if not trains or trains[0].situation.configuration.decay == 1:
        return {}
    if any(_moved(step.situation.state, step.reported) for step in trains):
        return {"state": "layer"}
    inferences = [step for step in passes if step.kind == "infer" and _count(step) and not step.refused]
    observations = [
        "none" if _explained(step, {"caller": infer}, worked) == UNKNOWN else "caller" for step in inferences
    ]
    return _field("state", observations)


def later_update(passes: Sequence[Pass], train: Reference, worked: Precision) -> dict[str, str]:
    """Return by which update the moving values of later steps follow, each from the state reported before it.

    Updates that the steps do not tell apart say nothing; a first batch that replaces is exponential from then on.
    """
    later = [
        step
        for step in _training(passes)
        if step.situation.trained >= _LATER and _count(step) > 1 and "moving_mean" in step.after
    ][-_ENOUGH:]
    if not later or not all(np.isfinite(step.situation.x).all() for step in later):
        return {}
    fitting = [
        update for update in _UPDATES if any(_follows(later, dialect, train, worked) for dialect in _updating(update))
    ]
    return {"later_update": fitting[0] if fitting else UNKNOWN} if len(fitting) < 2 else {}


def _updating(update: Any) -> Iterator[Dialect]:
    for correction in (0, 1):
        yield replace(CANONICAL, update=update, moving_correction=correction)


def _follows(passes: Iterable[Pass], dialect: Dialect, train: Reference, worked: Precision) -> bool:
    return all(_leads(step, dialect, train, worked) for step in passes)


def _leads(step: Pass, dialect: Dialect, train: Reference, worked: Precision) -> bool:
    """Return whether the dialect leads to the moving values after the step from those before it."""
    expected = _under(train, dialect)(step.situation, worked)
    moving = {name: step.after[name].reshape(-1) for name in _MOVING if name in expected and name in step.after}
    return all(
        value.shape == expected[name].value.shape and fit(value, expected[name], worked).within
        for name, value in moving.items()
    )


def _under(reference: Reference, dialect: Dialect) -> Reference:
    return lambda situation, worked: reference(replace(situation, dialect=dialect), worked)


def _training(passes: Iterable[Pass]) -> Iterator[Pass]:
    return (step for step in passes if step.kind == "train" and not step.frozen)


def _count(step: Pass) -> int:
    return int(step.situation.x.shape[0])


def _refusal(step: Pass) -> str:
    """Return the error with the names of its class and of that class's bases; empty where there is none."""
    return f"error: {', '.join(step.refused)}" if step.refused else ""


def _finite(moving: Mapping[str, Array]) -> bool:
    return all(np.isfinite(moving[name]).all() for name in _MOVING if name in moving)


def _moved(before: Mapping[str, Array], after: Mapping[str, Array]) -> bool:
    return any(
        not np.array_equal(after[name].reshape(-1).astype(before[name].dtype), before[name], equal_nan=True)
        for name in _MOVING
        if name in before and name in after
    )


def _explained(step: Pass, readings: Mapping[str, Reference], worked: Precision) -> str:
    """Return the one reading whose output fits, by sound arithmetic or where none does by the input's own."""
    if step.output is None:
        return UNKNOWN
    for arithmetic in (worked, precision(step.situation.configuration.dtype)):
        fitting = [
            name
            for name, reference in readings.items()
            if fit(step.output, reference(step.situation, arithmetic)["output"], arithmetic).within
        ]
        if len(fitting) == 1:
            return fitting[0]
    return UNKNOWN


def _field(name: str, observations: Iterable[str]) -> dict[str, str]:
    """Return the field with all its observed values, each once; nothing where none was observed."""
    values = " and ".join(dict.fromkeys(observations))
    return {name: values} if values else {}
