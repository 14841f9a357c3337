"""An operation is one folder: one whose state and statistics have a value per sample needs no change elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import precision
from conformance.errors import Place, SpecErrors
from conformance.judging.judge import judge
from conformance.operations import OPERATIONS
from conformance.outcome import Produced
from conformance.planning.plan import Selection, plan
from conformance.precision import Extended
from conformance.reference import crosscheck
from conformance.reference.comparison import disagreements
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of, states_of
from conformance.reference.published import contradictions
from conformance.runfile.lines import case_line, record_line
from conformance.spec.case import Case, Infer, Train
from conformance.spec.divergences import Known
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder
from conformance.verdict import Verdict
from tests.cells import FREEZE, INFER, TRAIN, UPSTREAM, case, cell, located, offer, offered
from tests.operations.per_sample import PER_SAMPLE
from tests.told import diagnosed, reason

STEPS = (TRAIN, {**INFER, "upstream": UPSTREAM}, FREEZE, TRAIN)
ROWS, FEATURES = 5, 3


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, PER_SAMPLE.name, PER_SAMPLE)


def made(*steps: dict[str, Any], **fields: Any) -> Case:
    return case(*(steps or STEPS), op="per_sample", shape=[ROWS, FEATURES], initial={}, **fields)


def given(of: Case, decay: float = 0.9) -> list[Produced]:
    """What a right layer gives, with that decay."""
    state = dict(inputs_of(of).initial)
    outcomes = [Produced(quantities={}, state=state, seconds=0.0, compilations=None)]
    for step in inputs_of(of).steps:
        quantities: dict[str, Any] = {}
        if isinstance(step.step, Train | Infer):
            assert step.input is not None
            trains = isinstance(step.step, Train)
            x = step.input.astype(np.longdouble)
            level = x.mean(axis=1) if trains else state["moving_level"].astype(np.longdouble)
            quantities["output"] = (x - level[:, np.newaxis]).astype(step.input.dtype)
            if step.upstream is not None:
                g = step.upstream.astype(np.longdouble)
                pulled = g - g.mean(axis=1, keepdims=True) if trains else g
                quantities["grad_input"] = pulled.astype(step.input.dtype)
            if trains:
                quantities["sample_level"] = level.astype(step.input.dtype)
                moved = np.longdouble(decay) * state["moving_level"] + (1 - np.longdouble(decay)) * level
                state = {"moving_level": moved.astype(step.input.dtype)}
        outcomes.append(Produced(quantities=quantities, state=state, seconds=0.0, compilations=None))
    return outcomes


def judged(of: Case, outcomes: Sequence[Produced]) -> Any:
    return judge(cell(of, op="per_sample"), outcomes, References())


def test_its_state_has_the_shape_of_the_samples() -> None:
    assert {value.shape for state in states_of(made()) for value in state.values()} == {(ROWS,)}


def test_it_is_planned() -> None:
    cells = plan([located(made())], [offer(offered(op="per_sample"))], Selection())
    assert [planned.id for planned in cells] == ["fake.case::fake.BatchNorm-eager-cpu"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_layer_conforms_and_shows_its_decay(dtype: str) -> None:
    judgement = judged(made(dtype=dtype), given(made(dtype=dtype)))
    assert judgement.verdict is Verdict.CONFORMS
    assert judgement.observed == {"decay": "as configured"}
    names = {quantity.quantity for quantity in judgement.steps[1].quantities}
    assert names == {"moving_level", "output", "sample_level", "grad_input"}


def test_a_state_that_stands_still_is_told_with_its_sample() -> None:
    of = made(TRAIN)
    judgement = judged(of, given(of, decay=1.0))
    assert (judgement.verdict, diagnosed(judgement)) == (Verdict.DEVIATES, "moving values not updated")
    line = record_line(cell(of, op="per_sample"), judgement, Known())
    (level,) = [quantity for quantity in line.steps[1].quantities if quantity.quantity == "moving_level"]
    assert level.worst is not None
    (sample,) = level.worst.index
    assert 0 <= sample < ROWS
    assert level.shape == (ROWS,)


def test_a_state_of_one_value_per_feature_has_the_wrong_shape() -> None:
    of = made(TRAIN)
    start, train = given(of)
    short = replace(train, state={"moving_level": np.zeros(FEATURES, np.float32)})
    (quantity,) = [each for each in judged(of, [start, short]).steps[1].quantities if each.quantity == "moving_level"]
    assert reason(quantity) == "has shape (3,), expected (5,)"


def test_its_case_has_a_line_in_a_run_file() -> None:
    assert case_line(located(made())).formulas["train"] == "y = x - μ"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bits", [64, 53])
def test_its_references_agree(dtype: str, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if bits == 53:
        for module in (precision, crosscheck):
            monkeypatch.setattr(module, "extended", lambda: Extended(bits=53))
    comparisons = list(crosscheck.compare(made(dtype=dtype)))
    assert {each.quantity for each in comparisons} == {"moving_level", "output", "sample_level", "grad_input"}
    assert disagreements(comparisons) == []


def test_a_wrong_first_reference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(
        PER_SAMPLE, train=lambda situation, worked: PER_SAMPLE.train(replace(situation, x=situation.x * 2), worked)
    )
    monkeypatch.setitem(OPERATIONS, PER_SAMPLE.name, wrong)
    red = {each.comparison.quantity for each in crosscheck.crosscheck(made(TRAIN))}
    assert red == {"moving_level", "output", "sample_level"}


@pytest.mark.parametrize(("digits", "complaints"), [(["1", "2", "3", "4", "5"], 0), (["1", "2", "3", "4", "6"], 1)])
def test_a_published_number_is_one_of_a_sample(digits: list[str], complaints: int) -> None:
    values = [[float(row)] * FEATURES for row in range(1, ROWS + 1)]
    step = {**TRAIN, "input": {"kind": "literal", "values": values}}
    published = {"step": 1, "quantity": "sample_level", "values": digits}
    errors = list(contradictions(made(step, expected=[published]), Place(file="f", line=1)))
    assert len(errors) == complaints
    assert all("published sample_level at (4,)" in str(error) for error in errors)


@pytest.mark.parametrize(("values", "said"), [("[1, 2, 3, 4, 5]", ""), ("[1, 2, 3]", "initial.moving_level")])
def test_its_initial_state_is_checked_by_its_own_shape(values: str, said: str, tmp_path: Path) -> None:
    text = f"""- id: fake.one
  title: A case made for a test.
  source: a test
  clauses: ["1.1"]
  op: per_sample
  shape: [{ROWS}, {FEATURES}]
  feature_axes: [-1]
  initial: {{moving_level: {{kind: literal, values: {values}}}}}
  steps:
    - {{step: infer, input: {{kind: constant, value: 1.0}}}}
"""
    file = tmp_path / "fake.yaml"
    file.write_text(text)
    if said:
        with pytest.raises(SpecErrors, match=said):
            load(spec_folder(), [file])
    else:
        assert len(load(spec_folder(), [file]).cases) == 1
