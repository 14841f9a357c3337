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
_PASSES = {"train": _TRAIN, "infer": _INFER}
#: None of them what a layer begins with.
_STATE: dict[str, Any] = {
    "gamma": {"kind": "ramp", "start": 0.5},
    "beta": {"kind": "ramp", "start": -1.0},
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
_SHARDS = {"options": {"shards": [4, 4]}}
_NO_STATE = {"scale": False, "center": False}
_CHANNELS = {"shape": [4, 6, 5], "feature_axes": [1]}
_CHANNELS_LAST = {"shape": [4, 5, 6], "feature_axes": [2]}
#: The operations, with what their cases must say beside the rest; after a +, in another way that other layers have.
_SUBJECTS: dict[str, dict[str, Any]] = {
    "batch_norm": {},
    "batch_renorm": {"options": {"renorm_decay": 0.5}},
    "centering": {},
    "differentiated_batch_norm": {},
    "differentiated_moments": {},
    "differentiated_moments+images": {"shape": [2, 3, 2, 3], "feature_axes": [3]},
    "group_norm": {"options": {"groups": 3}, **_CHANNELS},
    "group_norm+last": {"options": {"groups": 3}, **_CHANNELS_LAST},
    "instance_norm": _CHANNELS,
    "instance_norm+last": _CHANNELS_LAST,
    "instance_norm+tracked": {"options": {"tracked": True}, **_CHANNELS},
    "layer_norm": {},
    # Masks are of positions within a sample.
    "masked_batch_norm": {"shape": [2, 4, 3], "feature_axes": [2]},
    "masked_synchronized_batch_norm": _SHARDS,
    "moments": {"input_dtype": "int32", **_NO_STATE},
    "partly_differentiated_batch_norm": {"options": {"differentiated": ["input", "gamma"]}},
    "replicated_batch_norm": _SHARDS,
    "replicated_centering": _SHARDS,
    # Most layers have no beta, and each way of computing it has layers of its own.
    "rms_norm": {"center": False},
    "rms_norm+cast-before-gamma": {"center": False, "options": {"cast": "before_gamma"}},
    "rms_norm+epsilon-outside": {"center": False, "options": {"epsilon": "outside"}},
    "rms_norm+unit-offset": {"center": False, "options": {"unit_offset": True}},
    "synchronized_batch_norm": _SHARDS,
    "transformed_batch_norm": {},
    "untracked_batch_norm": {},
    "virtual_batch_norm": {"options": {"virtual_batch": 2}},
    "weighted_moments": _NO_STATE,
    "weighted_moments+samples": {"shape": [8, 1], **_NO_STATE},
}
_WEIGHTS = {"weights": {"kind": "uniform", "seed": 7, "low": 0.5, "high": 2.0}}
#: What their steps need beside input and upstream gradient, or in the place of them.
_ARRAYS: dict[tuple[str, str], dict[str, Any]] = {
    ("differentiated_batch_norm", "train"): {"tangent": _NORMAL | {"seed": 5}},
    ("differentiated_batch_norm", "infer"): {"tangent": _NORMAL | {"seed": 6}},
    ("masked_batch_norm", "train"): {"mask": {"kind": "constant", "value": 1}},
    ("moments", "infer"): {"input": {"kind": "integers", "seed": 3, "low": -9, "high": 9}},
    ("weighted_moments", "infer"): _WEIGHTS,
}
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
    asked = [located for subject in _SUBJECTS for located in _of(subject)]
    return [located for located in asked if not _misfit(located.case)]


def scripts() -> list[Located]:
    """Return cases of every combination of kinds of steps: an implementation is asked that of the very kinds it has."""
    return [
        _question(subject, f"script-{'-'.join(kinds)}", [step for step in _SCRIPT if step["step"] in kinds])
        for subject in _SUBJECTS
        for kinds in _SCRIPTS
        if OPERATIONS[_operation(subject)].formulas.keys() >= set(kinds)
    ]


def _of(subject: str) -> Iterator[Located]:
    yield _question(subject, "steps", [_TRAIN, _INFER, _INFER])
    yield _question(subject, "reload", [_TRAIN, _INFER, {"step": "reload"}, _INFER])
    for dtype in DTYPES:
        yield _question(subject, dtype, [_TRAIN, _INFER], dtype=dtype)
    for name, fields in _RARE.items():
        yield _question(subject, name, [_TRAIN, _INFER], **fields)


def _question(subject: str, name: str, steps: list[Any], **fields: Any) -> Located:
    op = _operation(subject)
    values = {
        "id": f"contract.{subject}/{name}",
        "title": "A question to every implementation.",
        "source": "the adapter protocol",
        "clauses": ["1.1"],
        "op": op,
        "shape": [8, 3],
        "feature_axes": [1],
        "steps": [{**step, **_ARRAYS.get((op, step["step"]), {})} for step in _performed(op, steps)],
        **_SUBJECTS[subject],
        **fields,
    }
    names = OPERATIONS[op].state(Case.model_validate(values).configuration)
    values["initial"] = {name: recipe for name, recipe in _STATE.items() if name in names}
    place = Place(file=str(Path(__file__)))
    return Located(case=Case.model_validate(values), file=Path(__file__), place=place)


def _operation(subject: str) -> str:
    return subject.partition("+")[0]


def _performed(op: str, steps: list[Any]) -> list[Any]:
    """Return the steps with passes that the operation has: one that has no training, say, is asked for inference instead."""
    passes = [step for kind, step in _PASSES.items() if kind in OPERATIONS[op].formulas]
    return [passes[0] if step in (_TRAIN, _INFER) and step not in passes else step for step in steps]


def _misfit(case: Case) -> str:
    """Return why the question has no meaning."""
    return OPERATIONS[case.op].misfit(case.configuration, case.performed[0].step, case.shape)
