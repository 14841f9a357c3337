"""The arrays of a case: made once, read-only, and following the canonical reference where they must."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from conformance.reference.inputs import inputs_of, states_of
from conformance.spec.case import Case


def case(steps: list[dict[str, Any]], **fields: Any) -> Case:
    values: dict[str, Any] = {
        "id": "inputs.case",
        "title": "A case made for a test of its arrays.",
        "source": "none: it tests the inputs",
        "clauses": ["1.1"],
        "op": "batch_norm",
        "shape": [2, 1],
        "feature_axes": [-1],
        "dtype": "float64",
        "decay": 0.75,
        "epsilon": 0.0,
        "steps": steps,
    }
    return Case.model_validate(values | fields)


def literal(*values: float) -> dict[str, Any]:
    return {"kind": "literal", "values": [[value] for value in values]}


TRAIN = {"step": "train", "input": literal(1.0, 5.0), "upstream": literal(1.0, 0.0)}


def test_states_follow_the_moving_average_by_hand() -> None:
    """From mean 0 and variance 1, the batch (1, 5) has mean 3 and variance 4: 3/4·0 + 1/4·3, 3/4·1 + 1/4·4."""
    before, after = states_of(case([TRAIN, TRAIN]))
    assert (before["moving_mean"][0], before["moving_variance"][0]) == (0.0, 1.0)
    assert Fraction(float(after["moving_mean"][0])) == Fraction(3, 4)
    assert Fraction(float(after["moving_variance"][0])) == Fraction(7, 4)


def test_an_optimizer_step_moves_gamma_and_beta_by_hand() -> None:
    """With x̂ = (-1, 1) and g = (1, 0): dγ = -1, dβ = 1; with rate 1/2 gamma is 3/2 and beta -1/2."""
    found = states_of(case([TRAIN, {"step": "sgd", "learning_rate": 0.5}, TRAIN]))
    assert (found[2]["gamma"][0], found[2]["beta"][0]) == (1.5, -0.5)


def test_a_frozen_layer_of_the_canonical_semantics_still_moves_its_statistics() -> None:
    """Freezing stops gamma and beta only."""
    found = states_of(case([{"step": "freeze"}, TRAIN, {"step": "sgd", "learning_rate": 0.5}, TRAIN]))
    assert (found[3]["gamma"][0], found[3]["moving_mean"][0]) == (1.0, 0.75)


def test_the_gradient_of_the_mean_squared_error_follows_the_reference() -> None:
    """With y = (-1, 1) against t = 3 over two values: 2(y - t)/2 = (-4, -2)."""
    upstream = {"kind": "mean_squared_error", "target": {"kind": "constant", "value": 3.0}}
    (found,) = inputs_of(case([{**TRAIN, "upstream": upstream}])).steps
    assert found.upstream is not None
    assert found.upstream.ravel().tolist() == [-4.0, -2.0]


def test_arrays_are_made_once_and_cannot_be_written() -> None:
    """Every implementation gets the same bits."""
    one = case([TRAIN])
    first, second = inputs_of(one), inputs_of(one)
    assert first is second
    assert first.steps[0].input is not None
    with pytest.raises(ValueError, match="read-only"):
        first.steps[0].input[0] = 9.0


def test_the_checksum_tells_other_bits_apart() -> None:
    """One bit of one value is another checksum; the same bits are the same one."""
    one = inputs_of(case([TRAIN])).steps[0]
    same = inputs_of(case([TRAIN])).steps[0]
    other = inputs_of(case([{**TRAIN, "input": literal(1.0, float(np.nextafter(5.0, 6.0)))}])).steps[0]
    assert one.checksum == same.checksum
    assert one.checksum != other.checksum


def test_the_initial_state_is_rounded_to_the_dtype_of_the_parameters() -> None:
    """0.1 in bfloat16 is 0.10009765625."""
    recipe = {"kind": "constant", "value": 0.1}
    found = inputs_of(
        case([TRAIN], dtype="bfloat16", parameter_dtype="bfloat16", initial={"moving_mean": recipe})
    ).initial
    assert (found["moving_mean"].dtype.name, float(found["moving_mean"][0])) == ("bfloat16", 0.10009765625)
