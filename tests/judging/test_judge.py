"""From outcomes to verdicts: the outcomes are made here, by a layer in extended precision that is right or wrong in one way."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cause import text_of
from conformance.errors import SuiteError
from conformance.judging.judge import judge
from conformance.judging.judgement import Judged, Judgement
from conformance.outcome import Crashed, Outcome, Produced, Refused, TimedOut, Unsupported
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.verdict import Verdict
from tests.cells import DYADIC, FREEZE, INFER, NORMAL, RELOAD, SGD, TRAIN, UPSTREAM, case, cell, declared
from tests.exact_layer import Array, ExactLayer, altered, outcomes, produced
from tests.told import diagnosed, reason

#: Moving values near data of a large mean, so that their own rounding hides nothing.
FAR = {"moving_mean": {"kind": "constant", "value": 4096.0}}
UNFREEZE = {"step": "unfreeze"}
INFER_WITH_GRADIENT = {**INFER, "upstream": UPSTREAM}


def judged(made: Case, given: Sequence[Outcome] | None = None, mode: str = "eager", **offered: Any) -> Judgement:
    return judge(cell(made, mode, **offered), outcomes(ExactLayer(case=made)) if given is None else given, References())


def found(judgement: Judgement, step: int, quantity: str) -> Judged:
    (each,) = (each for each in judgement.steps[step].quantities if each.quantity == quantity)
    return each


def next_up(array: Array) -> Array:
    """The first value moved to the following number of its dtype."""
    result = np.array(array)
    result.flat[0] = np.nextafter(result.flat[0], result.dtype.type(np.inf))
    return result


def refused(state: Any, *types: str) -> Refused:
    return Refused(types=types or ("ValueError", "Exception"), message="no", trace="", state=state, seconds=0.0)


def test_a_right_layer_conforms_in_every_step() -> None:
    made = case(TRAIN, INFER, RELOAD, TRAIN, SGD, INFER_WITH_GRADIENT, FREEZE, UNFREEZE, TRAIN)
    judgement = judged(made)
    assert (judgement.verdict, judgement.expected) == (Verdict.CONFORMS, True)
    assert [step.kind for step in judgement.steps][:4] == ["start", "train", "infer", "reload"]


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": [4, 3, 5], "feature_axes": [1]},
        {"shape": [3, 16], "feature_axes": [0]},
        {"shape": [4, 2, 3, 5], "feature_axes": [-1, 1]},
        {"scale": False},
        {"center": False},
        {"dtype": "float64"},
        {"dtype": "float16"},
        {"dtype": "bfloat16", "parameter_dtype": "float32"},
        {"decay": 0.0},
        {"decay": 1.0},
    ],
)
def test_a_right_layer_conforms_in_every_configuration(fields: dict[str, Any]) -> None:
    assert judged(case(TRAIN, INFER_WITH_GRADIENT, SGD, **fields)).verdict in (Verdict.EXACT, Verdict.CONFORMS)


def test_dyadic_data_are_exact() -> None:
    judgement = judged(case(DYADIC, shape=[16, 3], epsilon=0.25, decay=0.75))
    assert judgement.verdict is Verdict.EXACT


def test_one_unit_in_the_last_place_is_not_exact() -> None:
    made = case(DYADIC, shape=[16, 3], epsilon=0.25, decay=0.75)
    assert judged(made, altered(outcomes(ExactLayer(case=made)), 1, "output", next_up)).verdict is Verdict.CONFORMS


def test_a_documented_difference_is_a_dialect_that_names_the_field() -> None:
    made = case(TRAIN, INFER)
    judgement = judged(
        made, outcomes(ExactLayer(case=made, moving_correction=1)), profile=(declared("moving_correction", 1),)
    )
    assert (judgement.verdict, judgement.expected) == (Verdict.DIALECT, True)
    assert found(judgement, 1, "moving_variance").fields == ("moving_correction",)
    assert found(judgement, 1, "output").verdict is Verdict.CONFORMS


def test_a_cumulative_average_counts_the_train_steps_that_had_values() -> None:
    made = case(TRAIN, {**TRAIN, "shape": [0, 3]}, INFER, {**TRAIN, "input": INFER["input"]}, TRAIN)
    profile = (declared("update", "cumulative"),)
    judgement = judged(made, outcomes(ExactLayer(case=made, cumulative=True)), profile=profile)
    assert [step.verdict for step in judgement.steps if step.kind == "train"] == [
        Verdict.DIALECT,
        Verdict.EXACT,
        Verdict.DIALECT,
        Verdict.DIALECT,
    ]


def test_only_the_fields_that_a_quantity_needs_are_named() -> None:
    made = case(TRAIN)
    profile = (declared("moving_correction", 1), declared("normalizing_correction", 1))
    given = outcomes(ExactLayer(case=made, moving_correction=1, normalizing_correction=1))
    judgement = judged(made, given, profile=profile)
    assert judgement.verdict is Verdict.DIALECT
    assert found(judgement, 1, "output").fields == ("normalizing_correction",)
    assert found(judgement, 1, "moving_variance").fields == ("moving_correction",)


def test_a_field_that_only_observation_states_spoils_the_quantities_that_need_it_alone() -> None:
    made = case(TRAIN)
    profile = (declared("moving_correction", 1), declared("normalizing_correction", 1, source="observed"))
    given = outcomes(ExactLayer(case=made, moving_correction=1, normalizing_correction=1))
    judgement = judged(made, given, profile=profile)
    assert found(judgement, 1, "moving_variance").verdict is Verdict.DIALECT
    assert found(judgement, 1, "output").verdict is Verdict.DEVIATES


def test_a_declaration_for_other_ranks_says_nothing() -> None:
    made = case(TRAIN)
    profile = (replace(declared("moving_correction", 1), ranks=(3, 4)),)
    given = outcomes(ExactLayer(case=made, moving_correction=1))
    assert judged(made, given, profile=profile).verdict is Verdict.DEVIATES
    profile = (replace(declared("moving_correction", 1), ranks=(2,)),)
    assert judged(made, given, profile=profile).verdict is Verdict.DIALECT


@pytest.mark.parametrize("source", ["observed", "source code"])
def test_a_difference_that_no_documentation_states_deviates(source: str) -> None:
    made = case(TRAIN)
    profile = (declared("moving_correction", 1, source=source),)
    judgement = judged(made, outcomes(ExactLayer(case=made, moving_correction=1)), profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.DEVIATES, False)
    assert "moving_correction, which no documentation states" in diagnosed(judgement)
    (moving,) = (each for each in judgement.steps[1].quantities if each.quantity == "moving_variance")
    assert moving.score is not None
    assert moving.score > 1


def test_a_documented_dialect_does_not_excuse_another_difference() -> None:
    made = case(TRAIN)
    wrong = ExactLayer(case=made, moving_correction=1, epsilon=0.0)
    assert judged(made, outcomes(wrong), profile=(declared("moving_correction", 1),)).verdict is Verdict.DEVIATES


def test_numbers_that_refute_the_documentation_deviate_though_they_are_the_canonical_ones() -> None:
    judgement = judged(case(TRAIN), profile=(declared("moving_correction", 1), declared("state", "layer")))
    assert judgement.verdict is Verdict.DEVIATES
    deviating = {each.quantity for each in judgement.steps[1].quantities if each.verdict is Verdict.DEVIATES}
    assert deviating == {"moving_variance"}
    text = "contradicts its documentation: moving_correction is 0, where a page says 1"
    assert diagnosed(judgement) == text
    moving = found(judgement, 1, "moving_variance")
    assert moving.score is not None
    assert moving.score > 1


def test_a_layer_that_is_frozen_after_its_gradients_were_computed_and_learns_from_them_is_named() -> None:
    """Rounded as a gradient step is, though the right values are those before, to the bit."""
    made = case(
        TRAIN, FREEZE, {"step": "sgd", "learning_rate": 0.125}, initial={"gamma": {"kind": "constant", "value": 0.7}}
    )
    given = outcomes(ExactLayer(case=made))
    gradients = {name: given[1].quantities[f"grad_{name}"] for name in ("gamma", "beta")}
    for name, gradient in gradients.items():
        change = functools.partial(_descended, gradient)
        given = altered(given, 3, name, change, kept=True)
    assert diagnosed(judged(made, given)) == "a frozen layer learns"


def _descended(gradient: Array, value: Array) -> Array:
    return np.asarray(value - np.float32(0.125) * gradient)


WEIGHTLESS = {
    "step": "train",
    "input": {"kind": "literal", "values": [[np.inf, 1.0], [0.5, 2.0], [1.0, -1.0], [-2.0, 4.0]]},
}


@pytest.mark.parametrize(
    ("moving", "verdict"),
    [(0.0, Verdict.EXACT), (np.nan, Verdict.OUTSIDE_DOMAIN), (0.5, Verdict.DEVIATES)],
    ids=["kept", "0 times infinity", "another number"],
)
def test_a_term_without_weight_that_is_not_finite_may_count_or_be_left_out(moving: float, verdict: Verdict) -> None:
    """Clause 7.4: with a decay of 1 the batch has the weight 0."""
    made = case(WEIGHTLESS, shape=[4, 2], decay=1.0)
    before = inputs_of(made).initial
    after = {**before, "moving_mean": np.array([moving, 0.0], np.float32)}
    output = np.array([[np.nan, value] for value in (-0.28, 0.28, -1.39, 1.39)], np.float32)
    start = Produced(quantities={}, state=dict(before), seconds=0.0)
    judgement = judged(made, [start, Produced(quantities={"output": output}, state=after, seconds=0.0)])
    assert found(judgement, 1, "moving_mean").verdict is verdict


def test_half_precision_that_fits_the_canonical_value_by_accident_refutes_no_documentation() -> None:
    """Of 100 values the correction is 1 %, which arithmetic in bfloat16 may add or take away."""
    profile = (declared("moving_correction", 1),)
    half, single = (case(TRAIN, shape=[100, 3], dtype=dtype) for dtype in ("bfloat16", "float32"))
    assert "contradicts" not in diagnosed(judged(half, profile=profile))
    assert "contradicts its documentation" in diagnosed(judged(single, profile=profile))


@pytest.mark.parametrize("source", ["observed", "source code"])
def test_numbers_that_refute_what_no_documentation_states_conform(source: str) -> None:
    assert judged(case(TRAIN), profile=(declared("moving_correction", 1, source=source),)).verdict is Verdict.CONFORMS


def test_numbers_of_a_third_convention_contradict_the_documentation_too() -> None:
    """The moving values are the plain average of all batches, where the page says a correction for a beginning at 0."""
    made = case(TRAIN, {**TRAIN, "input": INFER["input"]}, {**TRAIN, "input": {"kind": "normal", "seed": 9}})
    profile = (declared("update", "zero_debiased"),)
    judgement = judged(made, outcomes(ExactLayer(case=made, cumulative=True)), profile=profile)
    assert diagnosed(judgement) == (
        "cumulative average; contradicts its documentation: update is cumulative, where a page says zero_debiased"
    )


def test_a_nan_that_an_earlier_step_left_refutes_no_documentation() -> None:
    """Of an average that the first batch fills in, the NaN before it should have no weight, and has one."""
    made = case(
        TRAIN, initial={"moving_mean": {"kind": "literal", "values": [float("nan"), float("nan"), float("nan")]}}
    )
    right = outcomes(ExactLayer(case=made))
    given = altered(right, 1, "moving_mean", lambda value: np.full_like(value, np.nan), kept=True)
    judgement = judged(made, given, profile=(declared("update", "cumulative"),))
    assert not found(judgement, 1, "moving_mean").causes
    assert [cause.id for cause in found(judgement, 1, "moving_variance").causes] == ["contradicts-documentation"]


def test_numbers_that_fit_both_the_page_and_the_canonical_semantics_conform() -> None:
    """Of the first batch alone, a plain average and one corrected for a beginning at 0 have the same weights."""
    profile = (declared("update", "cumulative"),)
    made = case({**TRAIN, "shape": [0, 3]}, INFER)
    assert judged(made, profile=profile).verdict.agrees


@pytest.mark.parametrize(
    ("wrong", "diagnosis"),
    [
        ({"epsilon": 0.0}, "epsilon dropped or variance clamped to epsilon"),
        ({"decay": 0.1}, "decay inverted"),
        ({"moving_correction": 1}, "moving correction 1"),
        ({"normalizing_correction": 1}, "normalizing correction 1"),
    ],
)
def test_a_single_change_of_the_formula_deviates_and_is_diagnosed(wrong: dict[str, Any], diagnosis: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, outcomes(ExactLayer(case=made, **wrong)))
    assert (judgement.verdict, judgement.expected, diagnosed(judgement)) == (Verdict.DEVIATES, False, diagnosis)


def test_a_difference_of_squares_is_diagnosed() -> None:
    made = case({**TRAIN, "input": {"kind": "ill_conditioned", "seed": 5, "ratio": 4096.0}}, initial=FAR)
    judgement = judged(made, outcomes(ExactLayer(case=made, one_pass=True, work="float32")))
    assert found(judgement, 1, "moving_variance").verdict is Verdict.DEVIATES
    assert "one-pass variance" in diagnosed(judgement)


def test_what_no_hypothesis_explains_is_unexplained() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float32(1.5))
    assert diagnosed(judged(made, given)).startswith("unexplained: output is 1.5·")


@pytest.mark.parametrize("quantity", ["output", "grad_input", "grad_gamma", "grad_beta"])
def test_a_missing_quantity_deviates(quantity: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, quantity, lambda _: None))
    assert reason(found(judgement, 1, quantity)) == "was not given"
    assert judgement.verdict is Verdict.DEVIATES


@pytest.mark.parametrize("name", ["gamma", "beta", "moving_mean", "moving_variance"])
def test_state_that_is_missing_after_a_step_deviates(name: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, name, lambda _: None, kept=True))
    assert (reason(found(judgement, 1, name)), judgement.verdict) == ("was not given", Verdict.DEVIATES)


def test_a_quantity_that_the_api_lacks_is_not_missed() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "grad_input", lambda _: None)
    assert judged(made, given, lacks=("grad_input",)).verdict is Verdict.CONFORMS


@pytest.mark.parametrize(("quantity", "kept"), [("output", False), ("grad_gamma", False), ("moving_mean", True)])
def test_another_dtype_deviates_though_the_values_are_right(quantity: str, kept: bool) -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, quantity, lambda value: value.astype(np.float64), kept)
    judgement = judged(made, given)
    assert reason(found(judgement, 1, quantity)) == "has dtype float64, expected float32"
    assert judgement.verdict is Verdict.DEVIATES


def test_another_shape_deviates_though_the_values_are_right() -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output.reshape(3, 8)))
    assert reason(found(judgement, 1, "output")) == "has shape (3, 8), expected (8, 3)"


def test_an_axis_mixed_up_in_a_statistic_deviates() -> None:
    made = case(TRAIN, shape=[4, 2, 3], feature_axes=[1, 2])
    given = altered(outcomes(ExactLayer(case=made)), 1, "moving_mean", np.transpose, kept=True)
    assert found(judged(made, given), 1, "moving_mean").verdict is Verdict.DEVIATES


def test_a_statistic_may_keep_collapsed_axes_of_size_one() -> None:
    made = case(TRAIN, shape=[4, 3, 5], feature_axes=[1])
    given = altered(outcomes(ExactLayer(case=made)), 1, "moving_mean", lambda value: value.reshape(1, 3, 1), kept=True)
    judgement = judged(made, given)
    assert found(judgement, 1, "moving_mean").shape == (1, 3, 1)
    assert judgement.verdict is Verdict.CONFORMS


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_value_that_is_not_finite_deviates(bad: float) -> None:
    def spoil(output: Array) -> Array:
        spoilt = output.copy()
        spoilt[5, 1] = bad
        return spoilt

    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 1, "output", spoil))
    worst = found(judgement, 1, "output").worst
    assert judgement.verdict is Verdict.DEVIATES
    assert worst is not None
    assert worst.position == 5 * 3 + 1


@pytest.mark.parametrize("name", ["gamma", "beta", "moving_mean", "moving_variance"])
def test_state_changed_by_inference_deviates(name: str) -> None:
    made = case(TRAIN, INFER)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 2, name, next_up, kept=True))
    assert (judgement.steps[1].verdict, judgement.steps[2].verdict) == (Verdict.CONFORMS, Verdict.DEVIATES)
    assert found(judgement, 2, name).verdict is Verdict.DEVIATES


def test_parameters_changed_by_a_train_step_deviate() -> None:
    made = case(TRAIN)
    assert (
        judged(made, altered(outcomes(ExactLayer(case=made)), 1, "gamma", next_up, kept=True)).verdict
        is Verdict.DEVIATES
    )


@pytest.mark.parametrize("name", ["gamma", "moving_variance"])
def test_an_initial_state_that_is_not_kept_deviates(name: str) -> None:
    made = case(TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 0, name, next_up, kept=True))
    assert reason(found(judgement, 0, name)) == "the initial state is not what was put in"
    assert judgement.steps[0].verdict is Verdict.DEVIATES


def test_the_same_inference_twice_must_give_the_same_bits() -> None:
    made = case(TRAIN, INFER, INFER)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 3, "output", next_up))
    assert reason(judgement.steps[3].quantities[-1]) == "differs from step 2, which had the same input and state"
    assert judgement.verdict is Verdict.DEVIATES


def test_the_same_inference_from_another_state_may_give_other_bits() -> None:
    assert judged(case(TRAIN, INFER, TRAIN, INFER)).verdict is Verdict.CONFORMS


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_reload_that_changes_one_bit_deviates(dtype: str) -> None:
    made = case(TRAIN, RELOAD, dtype=dtype)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 2, "moving_variance", next_up, kept=True))
    assert (judgement.steps[1].verdict, judgement.steps[2].verdict) == (Verdict.CONFORMS, Verdict.DEVIATES)


@pytest.mark.parametrize(("follows", "verdict"), [(True, Verdict.CONFORMS), (False, Verdict.DEVIATES)])
def test_a_step_is_judged_from_the_state_reported_before_it(follows: bool, verdict: Verdict) -> None:
    made = case(TRAIN, INFER)
    start, train, infer = outcomes(ExactLayer(case=made))
    state = {**train.state, "moving_variance": train.state["moving_variance"] * np.float32(4)}
    layer = ExactLayer(case=made)
    layer.start(state)
    output = layer.infer(_input(made, 1), None) if follows else infer.quantities
    judgement = judged(made, [start, replace(train, state=state), produced(output, state)])
    assert [each.verdict for each in judgement.steps[1:]] == [Verdict.DEVIATES, verdict]


def _input(made: Case, step: int) -> Array:
    array = inputs_of(made).steps[step].input
    assert array is not None
    return array


def _upstream(made: Case, step: int) -> Array:
    array = inputs_of(made).steps[step].upstream
    assert array is not None
    return array


def test_a_refusal_that_the_profile_documents_is_expected() -> None:
    made = case({**TRAIN, "shape": [1, 3]}, TRAIN)
    start, _, last = _from_the_start(made)
    profile = (declared("single_value", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(start.state), last], profile=profile)
    assert [step.verdict for step in judgement.steps] == [Verdict.EXACT, Verdict.REFUSED, Verdict.CONFORMS]
    assert (judgement.verdict, judgement.expected) == (Verdict.REFUSED, True)


def _from_the_start(made: Case) -> tuple[Produced, Produced, Produced]:
    """The outcomes of two steps, the second from the initial state, as after a refused first."""
    layer = ExactLayer(case=made)
    start, first, _ = outcomes(layer)
    layer.start(start.state)
    upstream = _upstream(made, 1)
    results = layer.train(_input(made, 1), upstream)
    return start, first, produced(results, layer.state)


def test_an_expected_refusal_may_be_a_subclass_of_the_documented_error() -> None:
    made = case({**TRAIN, "shape": [0, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("empty_batch", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(start.state, "OwnError", "ValueError", "Exception")], profile=profile)
    assert judgement.expected


@pytest.mark.parametrize(
    ("shape", "profile"),
    [
        ([1, 3], ()),
        ([1, 3], (declared("single_value", "error", error="RuntimeError"),)),
        ([1, 3], (declared("empty_batch", "error", error="ValueError"),)),
        ([8, 3], (declared("single_value", "error", error="ValueError"),)),
    ],
)
def test_any_other_refusal_is_unexpected(shape: list[int], profile: Any) -> None:
    made = case({**TRAIN, "shape": shape})
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, refused(start.state)], profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.REFUSED, False)


def mistaken(state: Any) -> Refused:
    """Return what an adapter gives that calls something that there is not."""
    return replace(refused(state, "AttributeError"), mistake="torch/_native.py, line 7, in tensor")


def test_an_adapter_s_own_mistake_is_told_as_that() -> None:
    made = case(TRAIN)
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, mistaken(start.state)])
    (failure,) = judgement.failures
    assert text_of([failure], catalogue()) == "the adapter's own mistake: AttributeError in tensor of torch/_native.py"
    own = "the adapter's own mistake, torch/_native.py, line 7, in tensor: AttributeError: no"
    assert judgement.steps[1].message == own
    assert not judgement.expected


def test_a_refusal_is_told_as_the_library_s() -> None:
    made = case(TRAIN)
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, refused(start.state, "AttributeError")])
    assert [failure.id for failure in judgement.failures] == ["raises"]
    assert judgement.steps[1].message == "AttributeError: no"


def test_after_a_refusal_what_the_adapter_lacks_is_no_mistake_of_its_own() -> None:
    made = case(TRAIN, SGD)
    start = outcomes(ExactLayer(case=made))[0]
    judgement = judged(made, [start, refused(start.state), mistaken(start.state)])
    assert [failure.id for failure in judgement.failures] == ["raises", "raises"]


def test_a_documented_refusal_is_one_wherever_it_was_raised() -> None:
    """The adapter's file may hold the layer."""
    made = case({**TRAIN, "shape": [0, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("empty_batch", "error", error="AttributeError"),)
    judgement = judged(made, [start, mistaken(start.state)], profile=profile)
    assert (judgement.expected, judgement.steps[1].message) == (True, "AttributeError: no (documented: a page)")


def test_no_features_are_no_empty_batch() -> None:
    """An error that is documented for a batch without values excuses none for an input without features."""
    made = case(TRAIN, shape=[8, 0])
    start = produced({}, inputs_of(made).initial)
    profile = (declared("empty_batch", "error", error="ValueError"),)
    assert not judged(made, [start, refused(start.state)], profile=profile).expected


def test_a_refusal_in_inference_is_never_expected() -> None:
    made = case({**INFER, "shape": [1, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("single_value", "error", error="ValueError"),)
    assert not judged(made, [start, refused(start.state)], profile=profile).expected


def test_state_changed_by_a_refused_step_deviates_though_the_refusal_is_documented() -> None:
    made = case({**TRAIN, "shape": [1, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    changed = {**start.state, "moving_mean": next_up(start.state["moving_mean"])}
    profile = (declared("single_value", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(changed)], profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.DEVIATES, False)
    assert reason(found(judgement, 1, "moving_mean")) == "changed by a step that was refused"


def test_a_documented_refusal_whose_state_cannot_be_read_is_not_expected() -> None:
    """Nobody can tell whether it left the state as it was."""
    made = case({**TRAIN, "shape": [1, 3]})
    start = outcomes(ExactLayer(case=made))[0]
    profile = (declared("single_value", "error", error="ValueError"),)
    judgement = judged(made, [start, refused(None)], profile=profile)
    assert (judgement.verdict, judgement.expected) == (Verdict.REFUSED, False)


def test_a_refused_inference_from_the_caller_s_state_changes_nothing_of_its_own() -> None:
    """The state that an inference is given follows the train step before it; refusing leaves it with its caller."""
    made = case(TRAIN, INFER)
    given = outcomes(ExactLayer(case=made))
    handed = refused(given[1].state)
    judgement = judged(made, [*without_state(given[:2]), handed], profile=(declared("state", "caller"),))
    assert judgement.steps[2].verdict is Verdict.REFUSED


def test_a_refused_start_is_unexpected() -> None:
    judgement = judged(case(TRAIN), [refused(None)])
    assert (judgement.verdict, judgement.expected, judgement.steps[0].kind) == (Verdict.REFUSED, False, "start")


def test_running_where_an_error_is_documented_conforms() -> None:
    profile = (declared("single_value", "error", error="ValueError"),)
    assert judged(case({**TRAIN, "shape": [1, 3]}), profile=profile).verdict in (Verdict.EXACT, Verdict.CONFORMS)


def without_state(given: Sequence[Produced]) -> list[Produced]:
    return [replace(each, state={}) for each in given]


def test_a_function_whose_caller_keeps_the_state_is_judged_by_its_results_alone() -> None:
    made = case(TRAIN, INFER, TRAIN, INFER)
    profile = (declared("state", "caller"),)
    judgement = judged(made, without_state(outcomes(ExactLayer(case=made))), profile=profile)
    assert judgement.verdict is Verdict.CONFORMS
    assert {each.quantity for step in judgement.steps for each in step.quantities} == {
        "output",
        "grad_input",
        "grad_gamma",
        "grad_beta",
    }


def test_a_function_that_ignores_the_caller_s_state_deviates() -> None:
    made = case(TRAIN, INFER)
    given = without_state(outcomes(ExactLayer(case=made)))
    layer = ExactLayer(case=made)
    layer.start(outcomes(layer)[0].state)
    given[2] = produced(layer.infer(_input(made, 1), None), {})
    assert judged(made, given, profile=(declared("state", "caller"),)).steps[2].verdict is Verdict.DEVIATES


@pytest.mark.parametrize(
    ("mode", "compilations", "verdict"),
    [
        ("compiled", 0, Verdict.NOT_DECIDABLE),
        ("xla", 0, Verdict.NOT_DECIDABLE),
        ("compiled", 1, Verdict.CONFORMS),
        ("eager", 0, Verdict.CONFORMS),
        ("compiled", None, Verdict.NOT_DECIDABLE),
    ],
)
def test_a_compiled_mode_proves_that_it_compiled(mode: str, compilations: int | None, verdict: Verdict) -> None:
    made = case(TRAIN)
    given = [replace(each, compilations=compilations) for each in outcomes(ExactLayer(case=made))]
    judgement = judged(made, given, mode)
    assert judgement.verdict is verdict
    assert judgement.expected


def test_wrong_numbers_deviate_though_nothing_was_compiled() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output + 1)
    given[1] = replace(given[1], compilations=0)
    assert judged(made, given, "compiled").verdict is Verdict.DEVIATES


def test_a_frozen_layer_goes_on_training_and_need_not_give_gradients_of_parameters() -> None:
    made = case(FREEZE, TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 2, "grad_gamma", lambda _: None)
    assert judged(made, altered(given, 2, "grad_beta", lambda _: None)).verdict is Verdict.CONFORMS


def test_an_unfrozen_layer_gives_gradients_of_parameters_again() -> None:
    made = case(FREEZE, UNFREEZE, TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 3, "grad_gamma", lambda _: None)
    assert judged(made, given).verdict is Verdict.DEVIATES


@pytest.mark.parametrize(
    ("profile", "verdict"),
    [
        ((declared("frozen_implies_inference", value=True),), Verdict.DIALECT),
        ((declared("frozen_implies_inference", True, source="observed"),), Verdict.DEVIATES),
        ((), Verdict.DEVIATES),
    ],
)
def test_a_frozen_layer_that_infers_is_a_dialect_where_documented(profile: Any, verdict: Verdict) -> None:
    made = case(FREEZE, TRAIN, UNFREEZE, TRAIN)
    judgement = judged(made, outcomes(ExactLayer(case=made, frozen_infers=True)), profile=profile)
    assert [judgement.steps[2].verdict, judgement.steps[4].verdict] == [verdict, Verdict.CONFORMS]


def test_a_gradient_step_moves_gamma_and_beta() -> None:
    made = case(TRAIN, SGD)
    assert judged(made).verdict is Verdict.CONFORMS
    start, train, _ = outcomes(ExactLayer(case=made))
    assert judged(made, [start, train, produced({}, train.state)]).steps[2].verdict is Verdict.DEVIATES


@pytest.mark.parametrize(("wrong", "rate"), [("twice the rate", 1.0), ("uphill", -0.5)])
def test_a_gradient_step_of_another_size_deviates(wrong: str, rate: float) -> None:
    made = case(TRAIN, SGD)
    other = case(TRAIN, {"step": "sgd", "learning_rate": rate})
    judgement = judged(made, outcomes(ExactLayer(case=other)))
    assert found(judgement, 2, "gamma").verdict is Verdict.DEVIATES, wrong


def test_a_gradient_step_of_a_frozen_layer_leaves_gamma_and_beta() -> None:
    assert judged(case(TRAIN, FREEZE, SGD)).verdict is Verdict.CONFORMS
    assert judged(case(FREEZE, TRAIN, SGD)).verdict is Verdict.CONFORMS


def test_an_empty_batch_conforms_where_nothing_moves() -> None:
    assert judged(case({**TRAIN, "shape": [0, 3]}, TRAIN)).verdict is Verdict.CONFORMS


def test_an_empty_batch_that_moves_a_value_deviates() -> None:
    made = case({**TRAIN, "shape": [0, 3]})
    given = altered(outcomes(ExactLayer(case=made)), 1, "moving_variance", lambda value: value * np.float32(0.9), True)
    assert judged(made, given).verdict is Verdict.DEVIATES


def test_a_non_finite_value_spoils_its_feature_alone_and_conforms() -> None:
    values = [[1.0, float("nan"), 3.0], [2.0, 1.0, 5.0]]
    step = {"step": "train", "input": {"kind": "literal", "values": values}, "upstream": UPSTREAM}
    assert judged(case(step, TRAIN, shape=[2, 3], steps=[step, TRAIN])).verdict is Verdict.CONFORMS


def test_a_bound_that_says_nothing_is_not_decidable() -> None:
    step = {**TRAIN, "input": {"kind": "ill_conditioned", "seed": 5, "ratio": 1e7, "std": 0.125}}
    made = case(step, shape=[64, 3], epsilon=1e-12)
    judgement = judged(made)
    assert (judgement.verdict, judgement.expected) == (Verdict.NOT_DECIDABLE, True)


def test_beyond_the_range_of_float32_a_wrong_result_is_outside_the_domain() -> None:
    made = case({**TRAIN, "input": {**NORMAL, "std": 1e19, "mean": 0.0}})
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float32("nan"))
    judgement = judged(made, given)
    assert found(judgement, 1, "output").verdict is Verdict.OUTSIDE_DOMAIN


@pytest.mark.parametrize(
    ("profile", "verdict"),
    [
        ((declared("statistics_dtype", "float16"),), Verdict.DIALECT),
        ((declared("statistics_dtype", "float16", source="observed"),), Verdict.DEVIATES),
        ((), Verdict.DEVIATES),
    ],
)
def test_arithmetic_in_half_deviates_unless_documented(profile: Any, verdict: Verdict) -> None:
    made = case({**TRAIN, "input": {"kind": "normal", "seed": 3, "mean": 0.25}}, dtype="float16")
    judgement = judged(made, outcomes(ExactLayer(case=made, work="float16")), profile=profile)
    assert found(judgement, 1, "grad_input").verdict is verdict
    assert "computed in float16" in reason(found(judgement, 1, "grad_input"))


def test_float64_computed_in_float32_deviates() -> None:
    made = case(TRAIN, dtype="float64")
    judgement = judged(made, outcomes(ExactLayer(case=made, work="float32")))
    assert judgement.verdict is Verdict.DEVIATES
    assert reason(found(judgement, 1, "output")) == "computed in float32: outside the bound of float64 arithmetic"


def test_sums_of_squares_beyond_float16_are_outside_the_domain_of_its_own_arithmetic() -> None:
    made = case({**TRAIN, "input": {"kind": "normal", "seed": 3, "mean": 200.0}}, dtype="float16")
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float16("inf"))
    assert found(judged(made, given), 1, "output").verdict is Verdict.OUTSIDE_DOMAIN
    assert judged(made).verdict is Verdict.CONFORMS


def test_moving_values_have_the_dtype_that_the_profile_declares() -> None:
    made = case(TRAIN, dtype="float16")
    given = outcomes(ExactLayer(case=made, statistics_dtype="float32"))
    assert judged(made, given, profile=(declared("statistics_dtype", "float32"),)).verdict is Verdict.CONFORMS
    assert reason(found(judged(made, given), 1, "moving_mean")) == "has dtype float32, expected float16"


@pytest.mark.parametrize(("dtype", "verdict"), [("float32", Verdict.EXACT), ("float64", Verdict.DEVIATES)])
def test_batch_statistics_are_judged_where_an_api_returns_them(dtype: str, verdict: Verdict) -> None:
    made = case(TRAIN)
    start, train = outcomes(ExactLayer(case=made))
    mean = _input(made, 0).astype(np.longdouble).mean(axis=0).astype(dtype)
    right = replace(train, quantities={**train.quantities, "batch_mean": mean})
    assert found(judged(made, [start, right]), 1, "batch_mean").verdict is verdict
    wrong = replace(train, quantities={**train.quantities, "batch_mean": mean + mean.dtype.type(1)})
    assert found(judged(made, [start, wrong]), 1, "batch_mean").verdict is Verdict.DEVIATES


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 3), ""), ((3, 1), ""), ((2, 3), "has shape (2, 3), expected (3,)"), ((1,), "has shape (1,), expected (3,)")],
)
def test_batch_statistics_have_one_value_per_feature(shape: tuple[int, ...], words: str) -> None:
    """Axes of length one are the API's own affair."""
    made = case(TRAIN)
    start, train = outcomes(ExactLayer(case=made))
    mean = _input(made, 0).astype(np.longdouble).mean(axis=0).astype("float32")
    given = np.resize(mean, shape)
    told = replace(train, quantities={**train.quantities, "batch_mean": given})
    quantity = found(judged(made, [start, told]), 1, "batch_mean")
    assert (reason(quantity), quantity.verdict.agrees) == (words, not words)


def centering(made: Case, subtracted: float) -> list[Produced]:
    """The outcomes of a train step of centering that subtracts so many times the mean."""
    x, g = (_input(made, 0).astype(np.longdouble), _upstream(made, 0).astype(np.longdouble))
    state = {"moving_mean": inputs_of(made).initial["moving_mean"]}
    after = np.longdouble(made.decay) * state["moving_mean"] + (1 - np.longdouble(made.decay)) * x.mean(axis=0)
    results = {"output": x - subtracted * x.mean(axis=0), "grad_input": g - g.mean(axis=0)}
    return [
        produced({}, state),
        produced(
            {name: value.astype(np.float32) for name, value in results.items()},
            {"moving_mean": after.astype(np.float32)},
        ),
    ]


@pytest.mark.parametrize(("subtracted", "verdict"), [(1.0, Verdict.CONFORMS), (0.0, Verdict.DEVIATES)])
def test_centering_subtracts_the_mean(subtracted: float, verdict: Verdict) -> None:
    made = case(TRAIN, op="centering")
    assert judged(made, centering(made, subtracted), op="centering").verdict is verdict


@pytest.mark.parametrize(
    ("outcome", "verdict", "expected"),
    [
        (Crashed(how="killed by SIGSEGV", recurs=True, before=(), output=""), Verdict.CRASHED, False),
        (TimedOut(limit=5.0, output=""), Verdict.TIMED_OUT, False),
    ],
)
def test_a_process_that_does_not_answer_is_the_verdict_of_its_step(
    outcome: Outcome, verdict: Verdict, expected: bool
) -> None:
    made = case(TRAIN, INFER)
    judgement = judged(made, [*outcomes(ExactLayer(case=made))[:2], outcome])
    assert (judgement.verdict, judgement.expected, judgement.steps[2].kind) == (verdict, expected, "infer")
    assert judgement.steps[1].verdict is Verdict.CONFORMS


def test_a_crash_that_does_not_recur_names_the_cells_before_it() -> None:
    crash = Crashed(how="killed by SIGABRT", recurs=False, before=("a::b", "c::d"), output="last words")
    (step,) = judged(case(TRAIN), [crash]).steps
    assert step.message == "killed by SIGABRT (not when alone, after a::b, c::d); its output ends: last words"


def test_what_is_unsupported_is_expected() -> None:
    judgement = judged(case(TRAIN), [Unsupported(reason="has no such axis")])
    assert (judgement.verdict, judgement.expected) == (Verdict.UNSUPPORTED, True)
    assert judgement.steps[0].message == "has no such axis"


def test_a_cell_is_as_bad_as_its_worst_step() -> None:
    made = case(TRAIN, INFER, TRAIN)
    judgement = judged(made, altered(outcomes(ExactLayer(case=made)), 2, "output", lambda output: output + 1))
    assert [step.verdict for step in judgement.steps[1:]] == [Verdict.CONFORMS, Verdict.DEVIATES, Verdict.CONFORMS]
    assert (judgement.verdict, judgement.expected) == (Verdict.DEVIATES, False)


def test_a_quantity_that_nobody_knows_is_the_suite_s_own_fault() -> None:
    made = case(TRAIN)
    start, first = outcomes(ExactLayer(case=made))
    with pytest.raises(SuiteError, match="unknown quantities"):
        judged(made, [start, replace(first, quantities={**first.quantities, "loss": np.zeros(1)})])


def test_a_step_that_writes_to_its_caller_s_array_deviates() -> None:
    made = case(TRAIN)
    start, first = outcomes(ExactLayer(case=made))
    assert judged(made, [start, replace(first, overwritten=("input",))]).verdict is Verdict.DEVIATES


def test_a_passing_quantity_records_its_score() -> None:
    score = found(judged(case(TRAIN)), 1, "output").score
    assert score is not None
    assert 0 < score < 1


def test_the_same_outcomes_are_judged_alike_with_remembered_references() -> None:
    made, references = case(TRAIN, INFER), References()
    given = outcomes(ExactLayer(case=made))
    first, second = (judge(cell(made), given, references) for _ in range(2))
    assert first == second


def test_a_state_that_loses_a_name_deviates_and_does_not_end_the_run() -> None:
    """The missing value deviates at every step after; the others are judged on."""
    made = case(TRAIN, INFER)
    given = outcomes(ExactLayer(case=made))
    lost = [replace(each, state={k: v for k, v in each.state.items() if k != "moving_mean"}) for each in given]
    judgement = judged(made, lost)
    assert judgement.verdict is Verdict.DEVIATES
    assert {reason(each) for step in judgement.steps for each in step.quantities if each.quantity == "moving_mean"} == {
        "was not given"
    }
