"""Overflow may be loud, never silent: a layer that overflows in float32 is made here, and loud or silent about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cause import because
from conformance.judging.judge import judge
from conformance.judging.judgement import Judged, Judgement
from conformance.outcome import Outcome, Produced, Refused
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.verdict import Verdict
from tests.cells import TRAIN, UPSTREAM, case, cell, declared
from tests.exact_layer import Array, ExactLayer, altered, outcomes

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

CORRECTED = (declared("moving_correction", 1),)


def sized(std: float, **fields: Any) -> Case:
    """One train step of data of that size."""
    return case({**TRAIN, "input": {"kind": "normal", "seed": 11, "std": std}}, **fields)


def beside_ordinary(*stds: float, **fields: Any) -> Case:
    """One train step in which the first features alone are of those sizes."""
    sizes = np.array([*stds, *[1] * (3 - len(stds))], np.float32)
    values = np.random.default_rng(4).standard_normal((8, 3)).astype(np.float32) * sizes
    step = {"step": "train", "input": {"kind": "literal", "values": values.tolist()}, "upstream": UPSTREAM}
    return case(step, **fields)


def judged(made: Case, given: Sequence[Outcome], **offered: Any) -> Judgement:
    return judge(cell(made, "eager", **offered), given, References())


def naive(made: Case, **options: Any) -> list[Produced]:
    """What a layer gives that computes in float32, with the squares and the cube of the root as they come."""
    return outcomes(ExactLayer(case=made, work="float32", **options))


def quantity(judgement: Judgement, name: str, step: int = 1) -> Judged:
    (judged_quantity,) = (judged for judged in judgement.steps[step].quantities if judged.quantity == name)
    return judged_quantity


def overflow(intermediate: str, dtype: str = "float32") -> Any:
    return because("intermediate-overflow", intermediate=intermediate, dtype=dtype)


def loud(array: Array) -> Array:
    return np.full_like(array, np.inf)


def test_an_output_that_is_silently_beta_deviates_by_the_squares() -> None:
    made = sized(1e20)
    output = quantity(judged(made, naive(made)), "output")
    assert output.verdict is Verdict.DEVIATES
    assert overflow("the sum of the squared deviations") in output.causes
    assert overflow("the square of a deviation") in output.causes


def test_a_sum_of_squares_is_told_from_a_square() -> None:
    """Of 3e18 no square leaves the range, and of 512 the sum does."""
    made = sized(3e18, shape=[512, 3])
    output = quantity(judged(made, naive(made)), "output")
    assert output.causes[0] == overflow("the sum of the squared deviations")
    assert overflow("the square of a deviation") not in output.causes


def test_a_sum_of_squares_of_one_pass_is_named_where_that_of_the_deviations_stays_in_range() -> None:
    """Of 0 and twice 2^63.9 the squares add up to 2^128.8, and those of the deviations to 2^127.2."""
    step = {**TRAIN, "input": {"kind": "literal", "values": [[0.0], [2.0**63.9], [2.0**63.9]]}}
    made = case(step, shape=[3, 1], initial={"beta": {"kind": "literal", "values": [0.75]}})
    right = outcomes(ExactLayer(case=made))
    assert judged(made, right).verdict is Verdict.CONFORMS
    silent = altered(right, 1, "output", lambda output: np.full_like(output, 0.75))
    assert quantity(judged(made, silent), "output").causes == (overflow("the sum of the squared values"),)


def test_float64_that_overflows_as_float32_is_named() -> None:
    made = sized(1e25, dtype="float64", initial={"beta": {"kind": "ramp", "start": 0.75}})
    right = outcomes(ExactLayer(case=made))
    beta = right[0].state["beta"]
    output = quantity(judged(made, altered(right, 1, "output", lambda output: output * 0 + beta)), "output")
    assert overflow("the sum of the squared deviations") in output.causes


def test_what_leaves_the_range_of_float64_is_not_named_float32() -> None:
    made = sized(1e200, dtype="float64", initial={"beta": {"kind": "ramp", "start": 0.75}})
    right = outcomes(ExactLayer(case=made))
    beta = right[0].state["beta"]
    output = quantity(judged(made, altered(right, 1, "output", lambda output: output * 0 + beta)), "output")
    named = [dict(cause.parameters).get("dtype") for cause in output.causes if cause.id == "intermediate-overflow"]
    assert set(named) == {"float64"}


def test_an_input_gradient_without_the_cube_of_the_root_deviates_by_it() -> None:
    made = beside_ordinary(1e14)
    judgement = judged(made, naive(made))
    assert quantity(judgement, "grad_input").verdict is Verdict.DEVIATES
    assert quantity(judgement, "grad_input").causes == (overflow("the cube of the root"),)
    assert quantity(judgement, "output").verdict is Verdict.CONFORMS


def test_two_intermediates_that_leave_the_range_in_two_features_are_both_named() -> None:
    """The squares of the first feature are infinite, and the cube of the second's root is 0."""
    made = beside_ordinary(1e20, 1e14)
    judgement = judged(made, naive(made))
    gradient = quantity(judgement, "grad_input")
    assert overflow("the cube of the root") in gradient.causes
    assert gradient.also[0] in quantity(judgement, "output").causes
    assert quantity(judgement, "output").causes == (
        overflow("the sum of the squared deviations"),
        overflow("the square of a deviation"),
    )


def test_a_cube_that_underflows_gradually_deviates_by_it() -> None:
    made = beside_ordinary(1e14)
    given = outcomes(ExactLayer(case=made))
    x = np.asarray(_input(made), np.float64)
    g = np.asarray(_upstream(made), np.float64)
    root = 1 / np.sqrt(x.var(axis=0) + made.epsilon)
    deviation = x - x.mean(axis=0)
    gamma = np.asarray(given[0].state["gamma"], np.float64)
    subnormal = (root**3).astype(np.float32).astype(np.float64)
    through = subnormal * (g * deviation).sum(axis=0) * deviation / len(x)
    gradient = gamma * (root * (g - g.mean(axis=0)) - through)
    wrong = altered(given, 1, "grad_input", lambda _: gradient.astype(np.float32))
    assert quantity(judged(made, wrong), "grad_input").causes == (overflow("the cube of the root"),)


@pytest.mark.parametrize("name", ["output", "grad_input", "grad_gamma"])
def test_a_number_that_is_not_finite_is_outside_the_domain(name: str) -> None:
    made = sized(1e20)
    given = altered(outcomes(ExactLayer(case=made)), 1, name, loud)
    assert quantity(judged(made, given), name).verdict is Verdict.OUTSIDE_DOMAIN


@pytest.mark.parametrize("name", ["grad_beta", "moving_mean"])
def test_what_no_overflow_can_reach_must_be_finite(name: str) -> None:
    made = sized(1e20)
    given = altered(outcomes(ExactLayer(case=made)), 1, name, loud, kept=name == "moving_mean")
    assert quantity(judged(made, given), name).verdict is Verdict.DEVIATES


def test_a_cube_out_of_range_excuses_the_gradients_alone() -> None:
    made = sized(1e14)
    right = outcomes(ExactLayer(case=made))
    for name, verdict in (("grad_input", Verdict.OUTSIDE_DOMAIN), ("output", Verdict.DEVIATES)):
        assert quantity(judged(made, altered(right, 1, name, loud)), name).verdict is verdict


def test_a_right_result_beyond_every_intermediate_conforms() -> None:
    made = sized(1e18)
    assert judged(made, outcomes(ExactLayer(case=made))).verdict is Verdict.CONFORMS


def test_a_statistic_beyond_its_dtype_is_outside_the_domain_only_as_infinity() -> None:
    made = sized(1e20)
    right = outcomes(ExactLayer(case=made))
    assert quantity(judged(made, right), "moving_variance").verdict is Verdict.OUTSIDE_DOMAIN
    clipped = altered(right, 1, "moving_variance", lambda v: np.full_like(v, np.finfo(v.dtype).max), kept=True)
    assert quantity(judged(made, clipped), "moving_variance").verdict is Verdict.DEVIATES


def test_other_features_are_judged_as_ever() -> None:
    made = beside_ordinary(1e20)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda y: _first_feature(y, np.inf))
    assert quantity(judged(made, given), "output").verdict is Verdict.OUTSIDE_DOMAIN
    wrong = altered(given, 1, "output", lambda y: y * np.array([1, 1.001, 1], np.float32))
    assert quantity(judged(made, wrong), "output").verdict is Verdict.DEVIATES
    lost = altered(given, 1, "output", loud)
    assert quantity(judged(made, lost), "output").verdict is Verdict.DEVIATES


def test_a_fault_beside_an_excused_infinity_is_named_by_itself() -> None:
    """No epsilon, which shows in the features of ordinary size beside one that left the range."""
    made = beside_ordinary(1e20, epsilon=0.25)
    given = outcomes(ExactLayer(case=made, epsilon=0.0))
    given = altered(given, 1, "output", lambda y: _first_feature(y, np.inf))
    given = altered(given, 1, "grad_input", lambda y: _first_feature(y, np.nan))
    judgement = judged(made, given)
    for name in ("output", "grad_input"):
        open_quantity = quantity(judgement, name)
        assert open_quantity.verdict is Verdict.DEVIATES
        assert open_quantity.score is not None
        assert np.isfinite(open_quantity.score)
        assert because("epsilon-dropped") in open_quantity.causes


@pytest.mark.parametrize(("correction", "profile"), [(0, ()), (1, CORRECTED)])
def test_the_same_infinity_has_the_same_verdict_in_every_dialect(correction: int, profile: Any) -> None:
    made = beside_ordinary(1e19)
    judgement = judged(made, naive(made, moving_correction=correction), profile=profile)
    assert quantity(judgement, "moving_variance").verdict is Verdict.OUTSIDE_DOMAIN


def test_an_infinity_does_not_excuse_a_wrong_dialect() -> None:
    made = beside_ordinary(1e19)
    judgement = judged(made, naive(made, moving_correction=1))
    assert quantity(judgement, "moving_variance").verdict is Verdict.DEVIATES


def test_a_refusal_where_the_squares_overflow_is_outside_the_domain() -> None:
    made = sized(1e20)
    start = outcomes(ExactLayer(case=made))[0]
    refusal = Refused(types=("ValueError",), message="too large", trace="", state=start.state, seconds=0.0)
    judgement = judged(made, [start, refusal])
    assert (judgement.verdict, judgement.expected) == (Verdict.OUTSIDE_DOMAIN, True)
    ordinary = sized(1.0)
    start = outcomes(ExactLayer(case=ordinary))[0]
    assert judged(ordinary, [start, replace(refusal, state=start.state)]).verdict is Verdict.REFUSED


def test_inference_by_an_infinite_variance_must_not_be_silently_beta() -> None:
    made = _stored_beyond("float16")
    given = naive(made)
    assert np.isposinf(given[1].state["moving_variance"]).all()
    judgement = judged(made, given)
    assert quantity(judgement, "moving_variance").verdict is Verdict.OUTSIDE_DOMAIN
    output = quantity(judgement, "output", step=2)
    assert (output.verdict, output.causes) == (
        Verdict.DEVIATES,
        (overflow("the moving variance", "float16"),),
    )
    assert quantity(judged(made, altered(given, 2, "output", loud)), "output", step=2).verdict.agrees


def test_float64_overflows_silently_too() -> None:
    made = sized(1e200, dtype="float64")
    given = outcomes(ExactLayer(case=made, work="float64"))
    assert quantity(judged(made, given), "output").verdict is Verdict.DEVIATES
    assert judged(made, outcomes(ExactLayer(case=made))).verdict is Verdict.OUTSIDE_DOMAIN


def test_float64_that_overflows_in_float32_deviates_by_its_arithmetic() -> None:
    made = sized(1e30, dtype="float64")
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", loud)
    output = quantity(judged(made, given), "output")
    assert (output.verdict, output.causes) == (
        Verdict.DEVIATES,
        (because("narrower-arithmetic", narrower="float32", wider="float64"),),
    )


def test_a_variance_that_is_cut_off_deviates_by_it() -> None:
    made = sized(1000.0, dtype="float16")
    start, right = outcomes(ExactLayer(case=made))
    x = np.asarray(_input(made), np.float64)
    output = (x - x.mean(axis=0)) / np.sqrt(65504.0 + made.epsilon)
    g = np.asarray(_upstream(made), np.float64)
    # The derivative of what is cut off is 0: nothing goes through the variance.
    gradient = (g - g.mean(axis=0)) / np.sqrt(65504.0 + made.epsilon)
    cut = {
        "batch_variance": np.full(3, 65504.0, np.float16),
        "output": output.astype(np.float16),
        "grad_input": gradient.astype(np.float16),
        "grad_gamma": (g * output).sum(axis=0).astype(np.float16),
    }
    given = [start, replace(right, quantities={**right.quantities, **cut})]
    judgement = judged(made, given)
    for name in cut:
        assert quantity(judgement, name).causes == (overflow("the batch variance, which is cut off,", "float16"),)


def test_half_arithmetic_that_overflows_silently_deviates() -> None:
    made = sized(1000.0, dtype="float16")
    given = outcomes(ExactLayer(case=made, work="float16"))
    output = quantity(judged(made, given), "output")
    assert output.verdict is Verdict.DEVIATES
    assert overflow("the sum of the squared deviations", "float16") in output.causes


def test_inference_that_casts_the_variance_to_a_narrower_dtype_deviates_by_it() -> None:
    infer = {"step": "infer", "input": {"kind": "normal", "seed": 13, "std": 1000.0}}
    made = case(infer, dtype="float16", parameter_dtype="float32", initial={"moving_variance": _constant(1e6)})
    given = outcomes(ExactLayer(case=made))
    silent = altered(given, 1, "output", np.zeros_like)
    assert quantity(judged(made, silent), "output").causes == (overflow("the moving variance", "float16"),)


def test_half_arithmetic_that_overflows_in_one_feature_is_named_by_that() -> None:
    made = beside_ordinary(1000.0, dtype="float16")
    output = quantity(judged(made, outcomes(ExactLayer(case=made, work="float16"))), "output")
    assert overflow("the sum of the squared deviations", "float16") in output.causes


def _constant(value: float) -> dict[str, Any]:
    return {"kind": "constant", "value": value}


def _stored_beyond(dtype: str) -> Case:
    train = {**TRAIN, "input": {"kind": "normal", "seed": 11, "std": 1000.0}}
    infer = {"step": "infer", "input": {"kind": "normal", "seed": 13, "std": 1000.0}}
    return case(train, infer, dtype=dtype, decay=0.5)


def _first_feature(array: Array, value: float) -> Array:
    result = np.array(array)
    result[:, 0] = value
    return result


def _input(made: Case) -> Array:
    array = inputs_of(made).steps[0].input
    assert array is not None
    return array


def _upstream(made: Case) -> Array:
    array = inputs_of(made).steps[0].upstream
    assert array is not None
    return array
