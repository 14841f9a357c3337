"""What a step would give under a hypothesis is the same whatever else is asked for, and whoever asked before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.dialect import CANONICAL
from conformance.judging.feature_chunks import Target
from conformance.judging.judge import judge
from conformance.operations.hypothesis import Hypothesis
from conformance.precision import working
from conformance.reference.computed import Request
from conformance.reference.expected import References, hypotheses
from conformance.reference.inputs import inputs_of, states_of
from tests.cells import INFER, SGD, TRAIN, UPSTREAM, case, cell
from tests.exact_layer import ExactLayer, outcomes

NAMES = ("output", "moving_mean", "moving_variance", "batch_variance", "grad_input", "grad_gamma")


def target(made: Any, *, frozen: bool) -> Target:
    inputs, worked = inputs_of(made), working("float32")
    request = Request(
        case=made, configuration=made.configuration, number=1, inputs=inputs.steps[0], dialect=CANONICAL,
        worked=worked, frozen=frozen, trained=0,
    )  # fmt: skip
    return Target(request=request, before=dict(states_of(made)[0]), gradients={}, references=References(), observed={})


def asked(of: Target, hypothesis: Hypothesis, *names: str) -> dict[str, list[str]]:
    supposed = of.under(hypothesis, working("float32"), names)
    return {
        name: [str(number) for array in (supposed[name].value, supposed[name].bound) for number in np.ravel(array)]
        for name in names
        if name in supposed and (not hypothesis.only or name in hypothesis.only)
    }


@pytest.mark.parametrize("frozen", [False, True], ids=["free", "frozen"])
@pytest.mark.parametrize("step", [TRAIN, {**INFER, "upstream": UPSTREAM}, SGD], ids=lambda step: step["step"])
def test_a_quantity_asked_for_alone_is_what_it_is_among_all(step: dict[str, Any], frozen: bool) -> None:
    """Of a state that the pass leaves alone too: what infers in training claims that the moving values stay."""
    made = case(step)
    whole, parts = target(made, frozen=frozen), target(made, frozen=frozen)
    for hypothesis in hypotheses(made.configuration, CANONICAL):
        among = asked(whole, hypothesis, *NAMES)
        alone = {name: value for one in NAMES for name, value in asked(parts, hypothesis, one).items()}
        assert alone == among, hypothesis.cause


def test_what_was_kept_for_one_implementation_judges_the_next_alike() -> None:
    made, references = case(TRAIN, TRAIN, INFER), References()
    layers = [ExactLayer(case=made, epsilon=epsilon, decay=0.5) for epsilon in (0.0, 0.5, 0.0)]
    given = [list(outcomes(layer)) for layer in layers]
    kept = [judge(cell(made), one, references) for one in given]
    assert kept == [judge(cell(made), one, References()) for one in given]
    assert kept[0].diagnosis
