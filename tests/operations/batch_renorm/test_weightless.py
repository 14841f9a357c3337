"""Averages that are no number, and of which the next step keeps nothing: clause 7.4."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.outcome import Produced
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.verdict import Verdict
from tests.cells import case, cell

NAN = {"kind": "literal", "values": [float("nan")]}
STEP = {"step": "train", "input": {"kind": "literal", "values": [[1.0], [3.0]]}}


@pytest.mark.parametrize(
    ("renorm_mean", "verdict"),
    [(2.0, Verdict.EXACT), (np.nan, Verdict.OUTSIDE_DOMAIN)],
    ids=["left out", "0 times NaN"],
)
def test_renorm_averages_without_weight_may_count_or_be_left_out_by_their_own_decay(
    renorm_mean: float, verdict: Verdict
) -> None:
    """The decay of the moving values is another."""
    options = {"renorm_decay": 0.0, "rmin": 1.0, "rmax": 1.0, "dmax": 0.0}
    made = case(
        STEP, op="batch_renorm", shape=[2, 1], feature_axes=[1], decay=0.5, epsilon=0.0, scale=False, center=False,
        options=options, initial={"renorm_mean": NAN},
    )  # fmt: skip
    before = inputs_of(made).initial
    after = {
        "moving_mean": 1.0, "moving_deviation": 1.0, "moving_variance": 1.0, "renorm_deviation": 1.0,
        "renorm_mean": renorm_mean,
    }  # fmt: skip
    given = [
        Produced(quantities={}, state=dict(before), seconds=0.0),
        Produced(
            quantities={"output": np.array([[-1.0], [1.0]], np.float32)},
            state={name: np.array([value], np.float32) for name, value in after.items()},
            seconds=0.0,
        ),
    ]
    (judged,) = (
        one
        for one in judge(cell(made, op="batch_renorm"), given, References()).steps[1].quantities
        if one.quantity == "renorm_mean"
    )
    assert judged.verdict is verdict
