"""What is said of deviating cells: the fewest changes that explain them, alternatives, and weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cause import Cause, because
from conformance.judging.diagnosis import diagnosis, settled
from conformance.judging.evidence import StepEvidence
from conformance.judging.explaining import explained
from conformance.judging.judge import judge
from conformance.judging.judgement import Judged, Judgement, StepJudgement
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.precision import Precision, working
from conformance.reference.expected import References
from conformance.verdict import Verdict
from tests.cells import INFER, SGD, TRAIN, UPSTREAM, case, cell
from tests.exact_layer import ExactLayer, altered, outcomes
from tests.told import diagnosed

LATER = {**TRAIN, "input": {"kind": "normal", "seed": 21, "mean": -1.0}}


def step(number: int, *explanations: str, last: tuple[str, ...] = ()) -> StepJudgement:
    first, others = ((tuple(Cause(id=id_) for id_ in ids)) for ids in (explanations, last))
    judged = Judged(quantity="output", verdict=Verdict.DEVIATES, explanations=first, last_resorts=others)
    return StepJudgement(number=number, kind="train", verdict=Verdict.DEVIATES, expected=False, quantities=(judged,))


def no_evidence(step: StepJudgement) -> StepEvidence:
    raise AssertionError(f"step {step.number} deviates, and contradicts nothing")


def told(*steps: StepJudgement) -> list[list[str]]:
    """Return the ids of the alternatives of each explanation."""
    return [[cause.id for cause in each.alternatives] for each in diagnosis(settled(steps, no_evidence))]


def judged(made: Any, given: Any) -> Judgement:
    return judge(cell(made), given, References())


def test_one_change_that_explains_every_step_is_named_alone() -> None:
    assert told(step(1, "a", "b"), step(2, "b", "c"), step(3, "b")) == [["b"]]


def test_changes_that_explain_the_same_steps_are_alternatives() -> None:
    assert told(step(1, "a", "b"), step(2, "a", "b", "c")) == [["a", "b"]]


def test_where_none_explains_all_the_fewest_are_named() -> None:
    assert told(step(1, "a", "b"), step(2, "b"), step(3, "c")) == [["b"], ["c"]]


def test_what_explains_nearly_anything_is_named_only_where_it_explains_more() -> None:
    assert told(step(1, "a", last=("z",)), step(2, "a", last=("z",))) == [["a"]]
    assert told(step(1, "a", last=("z",)), step(2, "b", last=("z",))) == [["z"]]


def test_every_quantity_says_what_the_cell_says() -> None:
    steps = settled((step(1, "a", "b"), step(2, "b")), no_evidence)
    assert {each.quantities[0].causes for each in steps} == {(Cause(id="b"),)}


def test_what_nothing_explains_is_one_explanation_with_the_first_weights() -> None:
    bare, weighed = because("unexplained"), because("unexplained", quantity="grad_input", left=0.5)
    one, other = (
        replace(step(number), quantities=(replace(step(1).quantities[0], quantity=name, causes=(cause,)),))
        for number, (name, cause) in enumerate((("output", bare), ("grad_input", weighed)), 1)
    )
    (explanation,) = diagnosis((one, other))
    assert explanation.alternatives == (replace(weighed, quantities=("output", "grad_input")),)


def test_an_alternative_is_dropped_that_steps_which_conform_speak_against() -> None:
    """In the first step a first batch that replaces the moving values is also a decay of 0, or a cumulative average."""
    made = case(TRAIN, LATER, TRAIN)
    judgement = judged(made, outcomes(ExactLayer(case=made, first_batch=True)))
    (deviating,) = (each for each in judgement.steps if each.verdict is Verdict.DEVIATES)
    assert max(len(each.explanations) for each in deviating.quantities) > 1
    assert diagnosed(judgement) == "first batch replaces the moving values"


def test_a_change_that_the_other_quantities_speak_against_is_dropped() -> None:
    """Without gamma the output would be off as well."""
    made = case(TRAIN, initial={"gamma": {"kind": "ramp", "start": 2.0}})
    gamma = np.array([2.0, 3.0, 4.0])
    given = altered(outcomes(ExactLayer(case=made)), 1, "grad_input", lambda each: (each / gamma).astype(each.dtype))
    assert diagnosed(judged(made, given)) == "gamma missing from the input gradient"


def test_a_difference_of_squares_is_told_beside_arithmetic_in_half() -> None:
    steep = {**TRAIN, "input": {"kind": "ill_conditioned", "seed": 5, "ratio": 128.0}}
    made = case(steep, dtype="float16", parameter_dtype="float32")
    given = outcomes(ExactLayer(case=made, one_pass=True, work="float32"))
    coarse = altered(given, 1, "grad_input", lambda each: each * np.float16(1 + 2**-4))
    assert diagnosed(judged(made, coarse)).split("; ")[0] == "one-pass variance"
    assert "float16" in diagnosed(judged(made, coarse))


@pytest.mark.parametrize("scale", [1.5, 0.5])
def test_an_output_of_another_scale_tells_its_weights(scale: float) -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float32(scale))
    text = f"unexplained: output is {scale}·γ·r·x - {scale}·γ·r·μ, where 1·γ·r·x - 1·γ·r·μ is right"
    assert diagnosed(judged(made, given)) == text


def test_a_gradient_step_of_half_the_rate_tells_its_weights() -> None:
    made = case(TRAIN, SGD)
    right = outcomes(ExactLayer(case=made))
    before, after = right[1].state["gamma"], right[2].state["gamma"]
    given = altered(right, 2, "gamma", lambda _: (before + after) / 2, kept=True)
    assert (
        diagnosed(judged(made, given))
        == "unexplained: gamma is 1·old - 0.25·gradient, where 1·old - 0.5·gradient is right"
    )


def test_numbers_that_conform_have_no_explanation() -> None:
    made = case(TRAIN, {**INFER, "upstream": UPSTREAM}, TRAIN)
    judgement = judged(made, outcomes(ExactLayer(case=made)))
    assert not judgement.diagnosis
    assert not any(each.explanations or each.causes for one in judgement.steps for each in one.quantities)


def test_an_output_of_another_shape_leaves_the_others_to_be_explained() -> None:
    made = case(TRAIN, shape=[2, 4, 3])
    given = altered(outcomes(ExactLayer(case=made, decay=0.1)), 1, "output", lambda output: output[0])
    assert diagnosed(judged(made, given)) == "decay inverted; has shape (4, 3), expected (2, 4, 3)"


def tried(fits: str, fitted: dict[frozenset[str], tuple[Hypothesis, ...]], *, narrowed: bool = False) -> list[str]:
    """Return the names of the changes that were tried on a step which the one named, if any, explains."""
    names: list[str] = []
    of = frozenset({"output"})

    def under(hypothesis: Hypothesis, worked: Precision, quantities: frozenset[str]) -> dict[str, Expected]:
        names.append(hypothesis.cause.id)
        value = np.full(3, 1.0 if hypothesis.cause.id == fits else 2.0)
        return {
            "output": Expected(value=value, bound=value * 1e-6, magnitude=value * 9, in_domain=np.ones(3, dtype=bool))
        }

    evidence = StepEvidence(
        observed={"output": np.ones(3, np.float32)}, deviating=of, base=CHANGES[0], narrowed=of if narrowed else frozenset(), agreeing=frozenset(),
        worked=working("float32"), hypotheses=CHANGES, under=under, expected={}, terms=dict, fitted=fitted,
    )  # fmt: skip
    explained([Judged(quantity="output", verdict=Verdict.DEVIATES)], evidence)
    return names


def test_a_change_that_leaves_the_right_numbers_explains_none_that_are_wrong() -> None:
    """However wide its bound about them is: a decay of 0.999 has a wider one in a first step that takes the batch alone."""
    right, wide = (
        Expected(value=np.ones(3), bound=np.full(3, bound), magnitude=np.full(3, 9.0), in_domain=np.ones(3, dtype=bool))
        for bound in (1e-6, 1.0)
    )
    evidence = StepEvidence(
        observed={"output": np.full(3, 1.5, np.float32)}, deviating=frozenset({"output"}), narrowed=frozenset(),
        agreeing=frozenset(), worked=working("float32"), base=CHANGES[0], hypotheses=CHANGES,
        under=lambda hypothesis, worked, names: {"output": wide},
        expected={"output": right}, terms=dict,
    )  # fmt: skip
    assert evidence.score(CHANGES[1], ("output",)) == np.inf


CHANGES = tuple(
    Hypothesis(cause=because(name), configuration=case(TRAIN).configuration, dialect=OPERATIONS["batch_norm"].dialect)
    for name in ("one", "two", "three")
)


def test_what_explained_an_earlier_step_is_tried_first_and_the_others_where_it_fails() -> None:
    fitted: dict[frozenset[str], tuple[Hypothesis, ...]] = {}
    assert tried("two", fitted) == ["one", "two", "three"]
    assert tried("two", fitted) == ["two"]
    assert tried("three", fitted) == ["two", "one", "three"]


def test_where_narrower_arithmetic_explains_all_a_vain_search_is_not_repeated() -> None:
    """But one that found something once is, whatever came between."""
    fitted: dict[frozenset[str], tuple[Hypothesis, ...]] = {}
    assert len(tried("", fitted, narrowed=True)) == 3
    assert tried("", fitted, narrowed=True) == []
    fitted.clear()
    tried("two", fitted, narrowed=True)
    tried("", fitted, narrowed=True)
    assert "two" in tried("two", fitted, narrowed=True)
