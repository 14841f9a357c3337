"""Axes of size zero in every operation: what loads is judged, right or wrong, recorded, and cross-checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.operations import OPERATIONS
from conformance.operations.layout import shape_of, unflatten
from conformance.outcome import Produced
from conformance.precision import dtype_named, working
from conformance.reference.computed import Request
from conformance.reference.crosscheck import crosscheck
from conformance.reference.expected import References
from conformance.reference.inputs import beginnings_of, inputs_of
from conformance.runfile.lines import record_line
from conformance.spec.case import Case
from conformance.spec.divergences import Known
from tests.cells import case, cell

OPTIONS: Mapping[str, Any] = {
    "virtual_batch_norm": {"virtual_batch": 1},
    "batch_renorm": {"renorm_decay": 0.5, "rmax": 2.0, "dmax": 1.0},
    "synchronized_batch_norm": {"shards": [0, 2]},
    "masked_synchronized_batch_norm": {"shards": [0, 2]},
    "partly_differentiated_batch_norm": {"differentiated": ["input", "beta"]},
    "replicated_batch_norm": {"shards": [0, 2]},
    "replicated_centering": {"shards": [0, 2]},
    "group_norm": {"groups": 1},
    "instance_norm": {"tracked": True},
}
#: Their cases are refused where they have no values, or a train step.
REFUSED = frozenset({"moments", "differentiated_moments", "weighted_moments"})
#: Shape and feature axis; the first axis, along which shards lie, is never the features' and never empty for those.
SHAPES = [([2, 0], 1), ([2, 3, 0], 1), ([2, 0, 3], 1), ([2, 0, 0], 1), ([2, 0, 3], 2)]
MORE = [([0, 3], 1), ([0, 0], 1), ([0], 0), ([3], 0), ([0, 2], 0)]


def made(op: str, shape: list[int], axis: int) -> Case:
    """Return a case of two train steps and an inference on nothing."""
    nothing = {"kind": "ramp"}
    step: dict[str, Any] = {"step": "train", "input": nothing, "upstream": nothing}
    further = {name: nothing for name, kind in OPERATIONS[op].arrays.items() if kind == "input"}
    mask = {name: nothing for name, kind in OPERATIONS[op].arrays.items() if kind == "mask"}
    options = OPTIONS.get(op, {})
    steps = ({**step, **further, **mask}, {**step, **further}, {**step, **further, "step": "infer"})
    return case(*steps, op=op, shape=shape, feature_axes=[axis], options=options)


def answered(of: Case, off: float) -> Iterator[Produced]:
    """Yield what a layer gives that is right, or off by so much in every number."""
    operation, configuration, inputs = OPERATIONS[of.op], of.configuration, inputs_of(of)
    kept = {name: np.array(value) for name, value in inputs.initial.items()}
    yield Produced(quantities={}, state=kept, seconds=0.0)
    for number, (step, beginning) in enumerate(zip(inputs.steps, beginnings_of(of), strict=True), start=1):
        request = Request(
            case=of, configuration=configuration, number=number, inputs=step, dialect=operation.dialect,
            worked=working(of.dtype), frozen=False, trained=beginning.steps.trained,
        )  # fmt: skip
        assert step.input is not None
        arrays = {}
        for name, expected in References().expected(request, beginning.state, {}).items():
            kind = operation.quantities[name].shape
            like_input = kind == "input"
            value = np.asarray(expected.value)
            array = (
                unflatten(value, configuration, step.input.shape)
                if like_input
                else value.reshape(shape_of(kind, configuration, step.input.shape))
            )
            arrays[name] = (array + off).astype(dtype_named(of.dtype))
        state = {name: arrays.pop(name) for name in kept}
        yield Produced(quantities=arrays, state=state, seconds=0.0)


@pytest.mark.parametrize(
    ("op", "shape", "axis"),
    [
        (op, shape, axis)
        for op in sorted(OPERATIONS)
        if op not in REFUSED
        for shape, axis in [*SHAPES, *([] if op in OPTIONS and op != "batch_renorm" else MORE)]
    ],
    ids=str,
)
def test_nothing_is_judged_like_anything_else(op: str, shape: list[int], axis: int) -> None:
    made_case = made(op, shape, axis)
    with np.errstate(all="ignore"):
        right = judge(cell(made_case, op=op), list(answered(made_case, 0.0)), References())
        wrong = judge(cell(made_case, op=op), list(answered(made_case, 1.0)), References())
    assert right.verdict.agrees or not right.verdict.judged
    # Without values and without features there is no number that could be wrong.
    assert wrong.verdict.agrees is (0 in made_case.configuration.features)
    assert record_line(cell(made_case, op=op), wrong, Known()).steps
    assert crosscheck(made_case) == []
