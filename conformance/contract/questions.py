"""The questions that every implementation is asked: cases of a few steps, apart from the spec's, for every operation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.errors import Place
from conformance.operations import OPERATIONS
from conformance.spec.case import Case
from conformance.spec.loader import Located

_NORMAL: dict[str, Any] = {"kind": "normal", "mean": 1.5, "std": 2.0}
_TRAIN = {"step": "train", "input": _NORMAL | {"seed": 1}, "upstream": _NORMAL | {"seed": 2}}
_INFER = {"step": "infer", "input": _NORMAL | {"seed": 3}, "upstream": _NORMAL | {"seed": 4}}
_STATE: dict[str, Any] = {
    "moving_mean": {"kind": "ramp", "start": 0.25},
    "moving_variance": {"kind": "constant", "value": 2.0},
}
#: Every kind of step, of which an implementation performs those it has.
_SCRIPT: list[dict[str, Any]] = [
    _TRAIN,
    {"step": "freeze"},
    _TRAIN,
    {"step": "unfreeze"},
    _TRAIN,
    {"step": "sgd", "learning_rate": 0.25},
    _INFER,
    {"step": "reload"},
    _INFER,
]
_KINDS = sorted({str(step["step"]) for step in _SCRIPT})
_SCRIPTS = [kinds for size in range(1, len(_KINDS) + 1) for kinds in itertools.combinations(_KINDS, size)]
#: The operations, with what their cases must say beside the rest.
_OPTIONS: dict[str, dict[str, Any]] = {
    "batch_norm": {},
    "batch_renorm": {"renorm_decay": 0.5},
    "centering": {},
    "differentiated_batch_norm": {},
    "differentiated_moments": {},
    "masked_batch_norm": {},
    "masked_synchronized_batch_norm": {"shards": [4, 4]},
    "partly_differentiated_batch_norm": {"differentiated": ["input", "gamma"]},
    "replicated_batch_norm": {"shards": [4, 4]},
    "replicated_centering": {"shards": [4, 4]},
    "synchronized_batch_norm": {"shards": [4, 4]},
    "transformed_batch_norm": {},
    "untracked_batch_norm": {},
    "virtual_batch_norm": {"virtual_batch": 2},
}
#: What their steps need beside input and upstream gradient.
_ARRAYS: dict[tuple[str, str], dict[str, Any]] = {
    ("differentiated_batch_norm", "train"): {"tangent": _NORMAL | {"seed": 5}},
    ("differentiated_batch_norm", "infer"): {"tangent": _NORMAL | {"seed": 6}},
    ("masked_batch_norm", "train"): {"mask": {"kind": "constant", "value": 1}},
}
#: Where it is not (8, 3): masks are of positions within a sample.
_SHAPES = {"masked_batch_norm": {"shape": [2, 4, 3], "feature_axes": [2]}}
#: Configurations that few APIs can express, by name.
_RARE: dict[str, dict[str, Any]] = {
    "features-first": {"shape": [3, 8], "feature_axes": [0]},
    "rank-1": {"shape": [3], "feature_axes": [0]},
    "rank-6": {"shape": [2, 2, 2, 2, 2, 3], "feature_axes": [-1]},
    "two-axes": {"shape": [4, 3, 5], "feature_axes": [1, 2]},
    "wide-parameters": {"dtype": "float32", "parameter_dtype": "float64"},
    "mixed": {"dtype": "bfloat16", "parameter_dtype": "float32"},
}
DTYPES = ("float64", "float16", "bfloat16")


def questions() -> list[Located]:
    """Return the cases, of every operation in which they have a meaning: two shards want two rows."""
    asked = [located for op in _OPTIONS for located in _of(op)]
    return [
        located
        for located in asked
        if not OPERATIONS[located.case.op].misfit(located.case.configuration, "train", located.case.shape)
    ]


def scripts() -> list[Located]:
    """Return cases of every combination of kinds of steps: an implementation is asked that of the very kinds it has."""
    return [
        _question(op, f"script-{'-'.join(kinds)}", [step for step in _SCRIPT if step["step"] in kinds])
        for op in _OPTIONS
        for kinds in _SCRIPTS
    ]


def _of(op: str) -> Iterator[Located]:
    yield _question(op, "steps", [_TRAIN, _INFER, _INFER])
    yield _question(op, "reload", [_TRAIN, _INFER, {"step": "reload"}, _INFER])
    for dtype in DTYPES:
        yield _question(op, dtype, [_TRAIN, _INFER], dtype=dtype)
    for name, fields in _RARE.items():
        yield _question(op, name, [_TRAIN, _INFER], **fields)


def _question(op: str, name: str, steps: list[Any], **fields: Any) -> Located:
    values = {
        "id": f"contract.{op}/{name}",
        "title": "A question to every implementation.",
        "source": "the adapter protocol",
        "clauses": ["1.1"],
        "op": op,
        "shape": [8, 3],
        "feature_axes": [1],
        "options": _OPTIONS[op],
        "steps": [{**step, **_ARRAYS.get((op, step["step"]), {})} for step in steps],
        **_SHAPES.get(op, {}),
        **fields,
    }
    names = OPERATIONS[op].state(Case.model_validate(values).configuration)
    values["initial"] = {name: recipe for name, recipe in _STATE.items() if name in names}
    place = Place(file=str(Path(__file__)))
    return Located(case=Case.model_validate(values), file=Path(__file__), place=place)
