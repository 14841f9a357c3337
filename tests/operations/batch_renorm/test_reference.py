"""Batch renormalization: its reference against what it must be equal to, and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.errors import SpecErrors
from conformance.operations import batch_norm, batch_renorm
from conformance.operations.batch_norm import tolerance as plain_tolerance
from conformance.operations.batch_renorm import reference, tolerance
from conformance.operations.situation import Situation
from conformance.precision import precision
from conformance.spec.loader import load_file
from tests.situations import situation

Array = np.ndarray[Any, np.dtype[Any]]
DOUBLE = precision("float64")
RANDOM = np.random.default_rng(1702)
X, G = RANDOM.normal(1, 2, size=(8, 3)), RANDOM.normal(size=(8, 3))
STATE = {
    "gamma": [1.5, -0.5, 2.0],
    "beta": [0.25, 0.0, -1.0],
    "moving_deviation": [1.0, 2.0, 0.5],
    "renorm_mean": [0.0, 1.5, -1.0],
    "renorm_deviation": [1.0, 2.5, 1.75],
}
PLAIN: dict[str, Any] = {"rmin": 1.0, "rmax": 1.0, "dmax": 0.0}


def of(x: Any = X, upstream: Any = G, trained: int = 0, **options: Any) -> Situation:
    held = {"renorm_decay": 0.5, **options}
    return situation(x, upstream, state=STATE, op="batch_renorm", options=held, trained=trained)


def values(of: Situation) -> dict[str, Array]:
    return {name: each.value for name, each in batch_renorm.train(of, DOUBLE).items()}


def test_with_r_1_and_d_0_output_and_gradients_are_those_of_batch_normalization() -> None:
    found, plain = values(of(**PLAIN)), batch_norm.train(of(**PLAIN), DOUBLE)
    for name in ("output", "grad_input", "grad_gamma", "grad_beta", "moving_mean", "batch_variance"):
        np.testing.assert_allclose(found[name], plain[name].value, rtol=1e-17, atol=1e-17)


def test_without_limits_the_averages_normalize() -> None:
    """The batch's own statistics cancel: y = γ(x - R)/D + β."""
    average, deviation = np.array(STATE["renorm_mean"]), np.array(STATE["renorm_deviation"])
    expected = np.array(STATE["gamma"]) * (X - average) / deviation + np.array(STATE["beta"])
    np.testing.assert_allclose(values(of())["output"], expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("options", [{}, {"rmin": 0.9, "rmax": 1.1, "dmax": 0.25}], ids=["free", "clipped"])
def test_the_input_gradient_is_the_slope_of_the_loss_at_r_and_d_held(options: dict[str, Any]) -> None:
    by = reference.training(of(**options)).correction
    gamma, beta = np.array(STATE["gamma"]), np.array(STATE["beta"])

    def loss(x: Array) -> Any:
        normalized = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.125)
        return (G * (gamma * (normalized * by.r + by.d) + beta)).sum()

    slopes: Array = np.zeros(X.shape)
    step = 2.0**-20
    for index in np.ndindex(X.shape):
        nudge = np.zeros(X.shape, np.longdouble)
        nudge[index] = step
        slopes[index] = (loss(X + nudge) - loss(X - nudge)) / (2 * step)
    np.testing.assert_allclose(values(of(**options))["grad_input"], slopes, rtol=1e-8, atol=1e-9)


def test_the_limits_of_a_schedule_are_those_of_the_step_and_the_last_stay() -> None:
    steps = [reference.training(of(trained=trained, rmin=(1.0, 0.5), rmax=(1.0, 0.75))) for trained in range(4)]
    limits = [(each.correction.clipping.rmin, each.correction.clipping.rmax) for each in steps]
    assert limits == [(1.0, 1.0), (0.5, 0.75), (0.5, 0.75), (0.5, 0.75)]


def test_the_moving_variance_follows_the_moving_deviation_alone() -> None:
    """What it was before the step has no part in it."""
    s = of()
    other = {**s.state, "moving_variance": s.state["moving_variance"] * 7}
    again = situation(X, G, state=other, op="batch_renorm", options={"renorm_decay": 0.5})
    found = values(s)
    np.testing.assert_array_equal(found["moving_variance"], values(again)["moving_variance"])
    np.testing.assert_allclose(found["moving_variance"], found["moving_deviation"] ** 2 - 0.125, rtol=1e-15)


def test_an_empty_batch_changes_no_average() -> None:
    """What a step leaves out of its quantities stays as it was."""
    found = batch_renorm.train(of(np.zeros((0, 3)), np.zeros((0, 3))), DOUBLE)
    assert not found.keys() & {"moving_deviation", "renorm_mean", "renorm_deviation"}
    np.testing.assert_array_equal(found["moving_mean"].value, of().state["moving_mean"])


def test_of_an_r_far_beyond_its_limit_the_limit_s_rounding_is_all_that_is_bounded() -> None:
    s = of(rmin=16.0, rmax=16.0, dmax=0.0)
    step = reference.training(s)
    wrong = tolerance.correction_bound(s, step.correction, np.full(3, 1e-3), np.full(3, 1e-3), precision("float32"))
    assert (wrong.r.tolist(), wrong.d.tolist()) == ([16 * 2.0**-24] * 3, [0.0] * 3)


def test_the_deviation_of_a_constant_feature_errs_no_further_than_the_root_of_epsilon() -> None:
    """However wrong its variance may be from below: a sum of squares is never negative."""
    bound = plain_tolerance.StatisticsBound(mean=np.zeros(1), above=np.zeros(1), below=np.ones(1))
    found = tolerance.deviation_bound(np.zeros(1), 1e-3, bound, 2.0**-24)
    assert found[0] < 8 * 2.0**-24


HEAD = """\
- id: fam.one
  title: One fact in a sentence.
  source: here
  clauses: ["23.1"]
  op: batch_renorm
  shape: [4, 2]
  feature_axes: [-1]
  options: {options}
  steps:
    - {{step: train, input: {{kind: constant, value: 1.0}}, upstream: {{kind: constant, value: 1.0}}}}
"""


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("{renorm_decay: 0.5, rmax: 2.0}", ""),
        ("{rmax: 2.0}", "options: renorm_decay: is missing"),
        ("{renorm_decay: 0.5, r_max: 2.0}", "options.r_max: unknown key; did you mean rmax?"),
        (
            "{renorm_decay: 0.5, rmin: 2.0, rmax: [1.0, 3.0]}",
            "options: value error, rmin lies above rmax, got {'renorm_decay': 0.5, 'rmin': 2.0, 'rmax': [1.0, 3.0]}",
        ),
        ("{renorm_decay: 1.5}", "options.renorm_decay: input should be less than or equal to 1, got 1.5"),
    ],
)
def test_an_option_that_means_nothing_is_one_clear_line(tmp_path: Path, options: str, complaint: str) -> None:
    file = tmp_path / "fam.yaml"
    file.write_text(HEAD.format(options=options))
    try:
        load_file(file, {"23.1": "Training"})
        said = ""
    except SpecErrors as errors:
        (said,) = (str(each) for each in errors.errors)
    assert said.endswith(complaint)
    assert bool(said) is bool(complaint)
