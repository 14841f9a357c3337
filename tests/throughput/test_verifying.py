"""What a timed call gave is judged by the input whose turn it was, which is another for each implementation."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.throughput.verifying import accuracy, features_judged
from conformance.verdict import Verdict
from tests.cells import case, cell

INFER: dict[str, Any] = {"step": "infer", "input": {"kind": "uniform", "seed": 5, "low": -1.0, "high": 2.0}}
STATE: dict[str, Any] = {
    "gamma": {"kind": "constant", "value": 1.25},
    "beta": {"kind": "constant", "value": -0.5},
    "moving_mean": {"kind": "constant", "value": 0.25},
    "moving_variance": {"kind": "constant", "value": 0.75},
}


def test_calls_on_inputs_in_other_turns_are_each_judged_by_their_own() -> None:
    made = case(INFER, id="throughput.infer", shape=[16, 8], initial=STATE)
    (step,) = inputs_of(made).steps
    assert step.input is not None
    features = features_judged(8)
    references: dict[int, References] = {}
    for turn in (1, 5, 1):
        x = np.roll(step.input, turn, 0)[:, features].astype(np.float64)
        output = 1.25 * (x - 0.25) / np.sqrt(0.75 + made.epsilon) - 0.5
        state = {name: np.full(4, recipe["value"], np.float32) for name, recipe in STATE.items()}
        settled = {
            "turn": turn, "trained": 0, "before": state, "after": state, "quantities": {"output": output.astype(np.float32)}
        }  # fmt: skip
        judged = accuracy(cell(made), "infer", (step.input, None), settled, features, references)
        assert judged.verdict in {Verdict.CONFORMS, Verdict.EXACT}, judged
    assert sorted(references) == [1, 5]
