"""Each single change of batch normalization that later joined the list is named, by a layer that has it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from conformance.judging.judge import judge
from conformance.judging.judgement import Judgement
from conformance.operations.batch_norm.diagnosis import hypotheses
from conformance.outcome import Produced
from conformance.precision import rounded
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from tests.cells import INFER, TRAIN, case, cell, declared
from tests.exact_layer import Array, ExactLayer, altered, outcomes
from tests.situations import situation
from tests.told import diagnosed

EMPTY = {**TRAIN, "shape": [0, 3]}
LATER = {**TRAIN, "input": {"kind": "normal", "seed": 21, "mean": -1.0}}


def judged(made: Any, given: list[Produced], *profile: Any) -> Judgement:
    return judge(cell(made, profile=profile), given, References())


@pytest.mark.parametrize("lost", [("moving_mean", "moving_variance", "grad_gamma"), ("grad_gamma",), ("moving_mean",)])
def test_the_mean_of_an_empty_batch_is_named(lost: tuple[str, ...]) -> None:
    made = case(TRAIN, EMPTY)
    given = outcomes(ExactLayer(case=made))
    for name in lost:
        given = altered(given, 2, name, lambda value: np.full_like(value, np.nan), kept=name.startswith("moving"))
    assert diagnosed(judged(made, given)) == "an empty batch is averaged"


def test_what_an_empty_batch_spoiled_before_is_not_taken_for_a_gradient_of_the_step_before() -> None:
    made = case(EMPTY, EMPTY, epsilon=0.25)
    given = outcomes(ExactLayer(case=made))
    for step in (1, 2):
        given = altered(given, step, "grad_gamma", lambda value: np.full_like(value, np.nan))
    assert diagnosed(judged(made, given)) == "an empty batch is averaged"


def test_an_empty_batch_that_counts_as_a_step_is_named() -> None:
    made = case(EMPTY, EMPTY, TRAIN, LATER)
    layer = ExactLayer(case=made, cumulative=True)
    start, first, second, *_ = outcomes(layer)
    counting = ExactLayer(case=made, cumulative=True, trained=2)
    given = [start, first, second, *outcomes(counting)[3:]]
    text = diagnosed(judged(made, given, declared("update", "cumulative")))
    assert text.startswith("an empty batch counts as a train step"), text


def test_a_refused_step_that_counts_is_named() -> None:
    made = case(TRAIN, LATER)
    given = outcomes(ExactLayer(case=made, cumulative=True, trained=1))
    assert diagnosed(judged(made, given, declared("update", "cumulative"))).startswith("train steps counted from one")


def test_a_correction_for_a_beginning_at_zero_of_another_beginning_is_named() -> None:
    made = case(TRAIN, decay=0.75, initial={"moving_mean": {"kind": "ramp", "start": 1.0}})
    given = outcomes(ExactLayer(case=made))
    for name in ("moving_mean", "moving_variance"):
        given = altered(given, 1, name, lambda value: (value.astype(float) / 0.25).astype(value.dtype), kept=True)
    profile = declared("update", "zero_debiased", source="observed")
    assert diagnosed(judged(made, given, profile)).startswith("correction for a beginning at zero of an average")


@pytest.mark.parametrize(("part", "text"), [("decay", "decay rounded to"), ("weight", "weight of the batch rounded")])
def test_a_decay_of_float32_in_float64_is_named(part: str, text: str) -> None:
    made = case(TRAIN, dtype="float64", decay=0.9)
    decay = float(np.float32(0.9)) if part == "decay" else 1 - float(np.float32(1 - 0.9))
    assert diagnosed(judged(made, outcomes(ExactLayer(case=made, decay=decay)))).startswith(text)


def test_an_input_that_was_rounded_is_named() -> None:
    made = case(TRAIN, dtype="float32")

    class Rounding(ExactLayer):
        def train(self, x: Any, upstream: Any) -> dict[str, Any]:
            return super().train(rounded(x, "bfloat16").astype(x.dtype), upstream)

    assert diagnosed(judged(made, outcomes(Rounding(case=made)))) == "input rounded to bfloat16"


def test_a_returned_variance_with_correction_1_is_named_in_half_precision_too() -> None:
    for dtype in ("float32", "float16"):
        made = case(TRAIN, shape=[16, 3], dtype=dtype, parameter_dtype="float32")
        given = outcomes(ExactLayer(case=made))
        batch = inputs_of(made).steps[0].input
        assert batch is not None
        variance = batch.astype(np.float64).var(axis=0, ddof=1).astype(np.float32)
        quantities = {**given[1].quantities, "batch_variance": variance}
        given[1] = Produced(quantities=quantities, state=given[1].state, seconds=0.0, compilations=None)
        assert diagnosed(judged(made, given)) == "batch variance returned with correction 1"


def test_an_inverse_root_returned_for_the_variance_is_named() -> None:
    of_one_value = {**TRAIN, "input": {"kind": "literal", "values": [[0, 3], [0, 5]]}}
    made = case(of_one_value, shape=[2, 2], dtype="float32", epsilon=0.5)
    given = outcomes(ExactLayer(case=made))
    batch = inputs_of(made).steps[0].input
    assert batch is not None
    saved = (1 / np.sqrt(batch.astype(np.float64).var(axis=0) + 0.5)).astype(np.float32)
    quantities = {**given[1].quantities, "batch_variance": saved}
    given[1] = Produced(quantities=quantities, state=given[1].state, seconds=0.0, compilations=None)
    assert diagnosed(judged(made, given)) == "inverse root of variance and epsilon returned as the batch variance"


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_nan_from_a_negative_variance_is_traced_to_the_one_pass_variance() -> None:
    steep = {**TRAIN, "input": {"kind": "ill_conditioned", "seed": 5, "ratio": 2.0**13}}
    made = case(steep, shape=[64, 8], epsilon=1e-3)
    judgement = judged(made, outcomes(ExactLayer(case=made, one_pass=True, work="float32")))
    output = next(each for each in judgement.steps[1].quantities if each.quantity == "output")
    assert output.worst is not None
    assert np.isnan(output.worst.observed)
    assert diagnosed(judgement) == "one-pass variance"


def test_a_nan_beside_a_right_variance_is_not_blamed_on_it() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda value: np.full_like(value, np.nan))
    assert "one-pass" not in diagnosed(judged(made, given))


def test_two_faults_in_different_quantities_are_both_named() -> None:
    made = case(TRAIN, INFER)
    right = outcomes(ExactLayer(case=made, decay=1 - made.decay))
    given = altered(right, 1, "grad_beta", lambda value: value / np.float32(8))
    assert diagnosed(judged(made, given)) == "decay inverted; beta gradient averaged"


def test_two_faults_in_one_quantity_are_both_named_where_one_shows_elsewhere() -> None:
    """The decay shows alone in the moving mean; in the moving variance Bessel's correction acts as well."""
    made = case(TRAIN)
    judgement = judged(made, outcomes(ExactLayer(case=made, decay=1 - made.decay, moving_correction=1)))
    assert set(diagnosed(judgement).split("; ")) == {"decay inverted", "moving correction 1"}
    (variance,) = (each for each in judgement.steps[1].quantities if each.quantity == "moving_variance")
    assert {cause.id for cause in (*variance.causes, *variance.also)} == {"decay-inverted", "moving-correction"}


def test_a_fault_in_narrower_arithmetic_is_named_beside_it() -> None:
    made = case(TRAIN, dtype="float64")
    given = outcomes(ExactLayer(case=made, decay=1 - made.decay, work="float32"))
    assert {"decay inverted", "computed in float32: outside the bound of float64 arithmetic"} <= set(
        diagnosed(judged(made, given)).split("; ")
    )


def test_a_change_whose_bound_would_admit_the_right_numbers_too_is_not_named() -> None:
    """Of the moving values after the step the gradient would be 93.7 ± 85: so it may be 83.01, which is right, and 82.94."""
    step = {
        "step": "train",
        "input": {"kind": "constant", "value": 300.0},
        "upstream": {"kind": "literal", "values": [[0.0, 0.0]] * 3 + [[1.0, 0.0]] + [[0.0, 0.0]] * 4},
    }
    initial: dict[str, Any] = {"gamma": {"kind": "literal", "values": [3.0, 0.0]}}
    initial |= {name: {"kind": "constant", "value": 0.0} for name in ("beta", "moving_mean", "moving_variance")}
    made = case(step, shape=[8, 2], dtype="float16", epsilon=0.001, decay=0.9, initial=initial)
    rounded_twice = np.array([[-11.86] * 3 + [82.9375] + [-11.86] * 4, [0] * 8], np.float16).T
    given = altered(outcomes(ExactLayer(case=made)), 1, "grad_input", lambda _: rounded_twice)
    assert "undecided whether arithmetic in float16" in diagnosed(judged(made, given))


def test_statistics_that_are_cut_off_at_the_range_of_float16_are_named() -> None:
    """Of 2^18 and 3·2^17 the mean is 327,680 and the variance 2^32; 65,536 takes the place of both, being 65,504 in bfloat16."""
    values = np.array([[2.0**18]] * 4 + [[3 * 2.0**17]] * 4)
    upstream = np.arange(8.0)[:, np.newaxis]
    step = {**TRAIN, "input": {"kind": "literal", "values": values.tolist()}}
    step["upstream"] = {"kind": "literal", "values": upstream.tolist()}
    made = case(step, shape=[8, 1], dtype="bfloat16", parameter_dtype="float32", decay=0.5, epsilon=0.25)
    given = outcomes(ExactLayer(case=made))
    limit, deviation = 2.0**16, values - 2.0**16
    root = np.sqrt(limit + 0.25)
    wrong = {
        "batch_mean": np.full(1, limit),
        "batch_variance": np.full(1, limit),
        "output": deviation / root,
        # Nothing comes back through what is cut off.
        "grad_input": upstream / root,
        "grad_gamma": (upstream * deviation / root).sum(axis=0),
    }
    for name, value in wrong.items():
        if name in given[1].quantities:
            stored = value.astype(given[1].quantities[name].dtype)
            given = altered(given, 1, name, functools.partial(_put, stored))
    for name, number in {"moving_mean": limit / 2, "moving_variance": limit / 2 + 0.5}.items():
        given = altered(given, 1, name, functools.partial(_put, np.full(1, number, np.float32)), kept=True)
    text = diagnosed(judged(made, given))
    assert text.startswith("mean and variance cut off at the range of float16"), text


@pytest.mark.parametrize(("rows", "applies"), [(2, False), (3, False), (4, True)])
def test_halves_are_merged_only_where_each_has_a_variance(rows: int, applies: bool) -> None:
    """A half of one value has none, and whatever loses the variance would look like this."""
    made = situation(np.arange(rows, dtype=np.float64)[:, np.newaxis])
    (halves,) = (
        hypothesis
        for hypothesis in hypotheses(made.configuration, made.dialect)
        if hypothesis.cause.id == "halves-merged-without-means"
    )
    assert halves.substitute is not None
    assert (halves.substitute(made) is not None) is applies


def _put(instead: Array, value: Array) -> Array:
    del value
    return instead
