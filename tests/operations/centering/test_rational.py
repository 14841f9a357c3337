"""The second reference of centering, by hand."""

from __future__ import annotations

from conformance.operations.centering import rational as centering
from tests.operations.exact_features import F, feature, numbers, plain, rule


def test_centering_by_hand() -> None:
    """Training takes the mean away from values and gradients alike; inference the moving mean, from values alone."""
    given = feature(numbers(1, 5), numbers(1, 0))
    assert plain(centering.train(given, rule())) == {
        "batch_mean": [3],
        "moving_mean": [F(1, 4) * 2 + F(3, 4) * 3],
        "output": [-2, 2],
        "grad_input": [F(1, 2), F(-1, 2)],
    }
    assert plain(centering.infer(given, rule())) == {"output": [-1, 3], "grad_input": [1, 0]}


def test_centering_without_gradient_or_values() -> None:
    """What is not asked for is not given; an empty batch leaves the moving mean."""
    assert centering.train(feature(numbers(1, 5)), rule()).keys() == {"batch_mean", "moving_mean", "output"}
    assert centering.infer(feature(numbers(1, 5)), rule()).keys() == {"output"}
    assert plain(centering.train(feature([], []), rule())) == {
        "output": [],
        "grad_input": [],
        "moving_mean": [2],
    }
    assert plain(centering.train(feature([]), rule())) == {"output": [], "moving_mean": [2]}
