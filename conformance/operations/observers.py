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
    found = [
        _refusal(each) or _explained(each, {name: _under(train, dialect) for name, dialect in readings.items()}, worked)
        for each in _training(passes)
        if _count(each) == 1
    ]
    return _field("single_value", found)


def empty_batch(passes: Sequence[Pass]) -> dict[str, str]:
    """Return what a train step makes of no values: an error, or the state as it was, which must have been finite."""
    found = [
        _refusal(each) or ("changes the state" if _moved(each.situation.state, each.after) else "keep")
        for each in _training(passes)
        if _count(each) == 0 and (each.refused or each.after) and _finite(each.situation.state)
    ]
    return _field("empty_batch", found)


def frozen_implies_inference(
    passes: Sequence[Pass], train: Reference, infer: Reference, worked: Precision
) -> dict[str, str]:
    """Return whether a train step of a frozen layer infers."""
    words = meanings()["frozen_implies_inference"].shown
    readings = {words[False]: train, words[True]: infer}
    found = [
        _explained(each, readings, worked)
        for each in passes
        if each.kind == "train" and each.frozen and not each.refused and _count(each) > 1
    ]
    return _field("frozen_implies_inference", found)


def statistics_dtype(passes: Sequence[Pass]) -> dict[str, str]:
    """Return the dtype of the moving values as they are stored."""
    return _field(
        "statistics_dtype", [each.after["moving_mean"].dtype.name for each in passes if "moving_mean" in each.after]
    )


def state(passes: Sequence[Pass], infer: Reference, worked: Precision) -> dict[str, str]:
    """Return who keeps the moving values: the layer, whose train steps move them, or its caller.

    Where nothing moves them, inference by the values that the caller gave tells the one from none at all.
    """
    trains = [each for each in _training(passes) if _count(each) > 1 and not each.refused]
    if not trains or trains[0].situation.configuration.decay == 1:
        return {}
    if any(_moved(each.situation.state, each.reported) for each in trains):
        return {"state": "layer"}
    given = [each for each in passes if each.kind == "infer" and _count(each) and not each.refused]
    found = ["none" if _explained(each, {"caller": infer}, worked) == UNKNOWN else "caller" for each in given]
    return _field("state", found)


def later_update(passes: Sequence[Pass], train: Reference, worked: Precision) -> dict[str, str]:
    """Return by which update the moving values of later steps follow, each from the state reported before it.

    Updates that the steps do not tell apart say nothing; a first batch that replaces is exponential from then on.
    """
    later = [
        each
        for each in _training(passes)
        if each.situation.trained >= _LATER and _count(each) > 1 and "moving_mean" in each.after
    ][-_ENOUGH:]
    if not later or not all(np.isfinite(each.situation.x).all() for each in later):
        return {}
    fitting = [
        update for update in _UPDATES if any(_follows(later, dialect, train, worked) for dialect in _updating(update))
    ]
    return {"later_update": fitting[0] if fitting else UNKNOWN} if len(fitting) < 2 else {}


def _updating(update: Any) -> Iterator[Dialect]:
    for correction in (0, 1):
        yield replace(CANONICAL, update=update, moving_correction=correction)


def _follows(passes: Iterable[Pass], dialect: Dialect, train: Reference, worked: Precision) -> bool:
    return all(_leads(each, dialect, train, worked) for each in passes)


def _leads(each: Pass, dialect: Dialect, train: Reference, worked: Precision) -> bool:
    """Return whether the dialect leads to the moving values after the step from those before it."""
    expected = _under(train, dialect)(each.situation, worked)
    moving = {name: each.after[name].reshape(-1) for name in _MOVING if name in expected and name in each.after}
    return all(
        value.shape == expected[name].value.shape and fit(value, expected[name], worked).within
        for name, value in moving.items()
    )


def _under(reference: Reference, dialect: Dialect) -> Reference:
    return lambda situation, worked: reference(replace(situation, dialect=dialect), worked)


def _training(passes: Iterable[Pass]) -> Iterator[Pass]:
    return (each for each in passes if each.kind == "train" and not each.frozen)


def _count(each: Pass) -> int:
    return int(each.situation.x.shape[0])


def _refusal(each: Pass) -> str:
    """Return the error with the names of its class and of that class's bases; empty where there is none."""
    return f"error: {', '.join(each.refused)}" if each.refused else ""


def _finite(moving: Mapping[str, Array]) -> bool:
    return all(np.isfinite(moving[name]).all() for name in _MOVING if name in moving)


def _moved(before: Mapping[str, Array], after: Mapping[str, Array]) -> bool:
    return any(
        not np.array_equal(after[name].reshape(-1).astype(before[name].dtype), before[name], equal_nan=True)
        for name in _MOVING
        if name in before and name in after
    )


def _explained(each: Pass, readings: Mapping[str, Reference], worked: Precision) -> str:
    """Return the one reading whose output fits, by sound arithmetic or where none does by the input's own."""
    if each.output is None:
        return UNKNOWN
    for arithmetic in (worked, precision(each.situation.configuration.dtype)):
        fitting = [
            name
            for name, reference in readings.items()
            if fit(each.output, reference(each.situation, arithmetic)["output"], arithmetic).within
        ]
        if len(fitting) == 1:
            return fitting[0]
    return UNKNOWN


def _field(name: str, found: Iterable[str]) -> dict[str, str]:
    """Return the field with all that was found of it, each once; nothing where nothing was."""
    values = " and ".join(dict.fromkeys(found))
    return {name: values} if values else {}
