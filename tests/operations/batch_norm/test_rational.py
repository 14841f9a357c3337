"""The second reference of batch normalization, by hand."""

from __future__ import annotations

from conformance.operations import rational
from conformance.operations.batch_norm import rational as batch_norm
from conformance.operations.batch_norm.rational import Moments, entered
from tests.operations.exact_features import F, drawn, feature, numbers, of, plain, rule

# By hand: x = (0, 0, 4, 4) has mean 2 and variance 4; with epsilon 5 the root is 3, and x̂ = (-2, -2, 2, 2)/3.
SQUARE = numbers(0, 0, 4, 4)
PULL = numbers(1, 0, 0, 0)


def test_a_train_step_by_hand() -> None:
    """Every quantity of four values, in fractions."""
    assert plain(batch_norm.train(feature(SQUARE, PULL), rule(5))) == {
        "batch_mean": [2],
        "batch_variance": [4],
        "moving_mean": [2],
        "moving_variance": [F(1, 4) * 8 + F(3, 4) * 4],
        "output": [-3, -3, 1, 1],
        "grad_beta": [1],
        "grad_gamma": [F(-2, 3)],
        "grad_input": [F(23, 36), F(-13, 36), F(-5, 36), F(-5, 36)],
    }


def test_an_inference_step_by_hand() -> None:
    """Mean 2 and variance 8 with epsilon 1: the root is 3, and the state is a constant."""
    assert plain(batch_norm.infer(feature(SQUARE, PULL), rule(1))) == {
        "output": [-3, -3, 1, 1],
        "grad_beta": [1],
        "grad_gamma": [F(-2, 3)],
        "grad_input": [1, 0, 0, 0],
    }


def test_no_gradient_is_given_where_none_is_asked_for() -> None:
    """Inference without an upstream gradient has an output alone."""
    assert batch_norm.infer(feature(SQUARE), rule(1)).keys() == {"output"}


def test_correction_1_normalizes_with_the_larger_variance_and_its_gradient() -> None:
    """16/3 + 11/3 is 9: x̂ as before, and the variance's share of the gradient 4/3 times as large."""
    found = batch_norm.train(feature(SQUARE, PULL), rule(F(11, 3), normalizing_correction=1))
    assert of(found, "output") == [-3, -3, 1, 1]
    assert of(found, "grad_input") == [1 - F(1, 4) - F(4, 27), *[-F(1, 4) - F(4, 27)], *[-F(1, 4) + F(4, 27)] * 2]
    assert of(found, "batch_variance") == [4]


def test_correction_1_of_the_moving_variance_changes_nothing_else() -> None:
    """16/3 enters the moving variance; output and gradients are those of variance 4."""
    canonical = batch_norm.train(feature(SQUARE, PULL), rule(5))
    found = batch_norm.train(feature(SQUARE, PULL), rule(5, moving_correction=1))
    assert found == {**canonical, "moving_variance": [F(1, 4) * 8 + F(3, 4) * F(16, 3)]}


def test_without_scale_or_center_there_is_no_gradient_of_it() -> None:
    """Gamma acts as 1 and beta as 0, clauses 6.2 and 6.3."""
    found = batch_norm.train(feature(SQUARE, PULL, gamma=None, beta=None), rule(5))
    assert of(found, "output") == [F(-2, 3), F(-2, 3), F(2, 3), F(2, 3)]
    assert {"grad_gamma", "grad_beta"} & found.keys() == set()


def test_a_gamma_of_zero_is_not_an_absent_one() -> None:
    """The output is beta, and gamma has its gradient."""
    found = batch_norm.train(feature(SQUARE, PULL, gamma=F(0)), rule(5))
    assert (of(found, "output"), of(found, "grad_gamma")) == (numbers(-1) * 4, [F(-2, 3)])


def test_merged_batches_have_the_variance_of_all_their_values() -> None:
    """Three batches one after another, and their values together: the same mean and the same variance."""
    batches = [drawn(seed, 5) for seed in range(3)]
    held = Moments(mean=F(100), variance=F(1))
    for trained, batch in enumerate(batches):
        found = batch_norm.train(entered(batch, held), rule(1, update="merge", trained=trained))
        held = Moments(mean=of(found, "moving_mean")[0], variance=of(found, "moving_variance")[0])
    together = [value for batch in batches for value in batch.x]
    assert held == Moments(mean=rational.mean(together), variance=rational.variance(together))


def test_one_value_has_no_variance_and_gives_beta() -> None:
    """Clause 17.1: y = β, no gradients but dβ, and the state moves."""
    assert plain(batch_norm.train(feature(numbers(6), numbers(5)), rule(1))) == {
        "batch_mean": [6],
        "batch_variance": [0],
        "moving_mean": [5],
        "moving_variance": [2],
        "output": [-1],
        "grad_beta": [5],
        "grad_gamma": [0],
        "grad_input": [0],
    }


def test_one_value_passes_as_it_is_where_the_dialect_says_so() -> None:
    """The value, its gradient and the state stay."""
    found = batch_norm.train(feature(numbers(6), numbers(5)), rule(1, single_value="identity"))
    assert plain(found) == {"output": [6], "grad_input": [5], "moving_mean": [2], "moving_variance": [8]}


def test_two_values_are_no_single_value() -> None:
    """The dialect of one value per feature says nothing of two."""
    given = feature(numbers(6, 8), numbers(5, 1))
    assert batch_norm.train(given, rule(1, single_value="identity")) == batch_norm.train(given, rule(1))


def test_one_value_with_correction_1_has_the_variance_zero() -> None:
    """Clause 8.2: 0/0 in the corrected variance is the 0 of clause 17.1, in what normalizes and in what moves."""
    given = feature(numbers(6), numbers(5))
    corrected = rule(1, normalizing_correction=1, moving_correction=1)
    assert batch_norm.train(given, corrected) == batch_norm.train(given, rule(1))


def test_merging_one_value_with_correction_1_adds_the_variance_zero() -> None:
    """Clause 8.2, in the update that pools."""
    given = feature(numbers(6), numbers(5))
    merged = [rule(1, moving_correction=correction, update="merge", trained=1) for correction in (0, 1)]
    first, second = (batch_norm.train(given, dialect)["moving_variance"] for dialect in merged)
    assert first == second


def test_an_empty_batch_gives_nothing_and_moves_nothing() -> None:
    """Clauses 16.1 and 16.2: gradients of zero, the state as it was."""
    assert plain(batch_norm.train(feature([], []), rule(1))) == {
        "output": [],
        "grad_input": [],
        "grad_gamma": [0],
        "grad_beta": [0],
        "moving_mean": [2],
        "moving_variance": [8],
    }
    assert batch_norm.train(feature([]), rule(1)).keys() == {"output", "moving_mean", "moving_variance"}


def test_an_empty_inference_gives_nothing() -> None:
    """An empty output, an empty gradient, and sums of nothing."""
    assert plain(batch_norm.infer(feature([], []), rule(1))) == {
        "output": [],
        "grad_input": [],
        "grad_gamma": [0],
        "grad_beta": [0],
    }


def test_a_constant_feature_without_epsilon_has_no_output() -> None:
    """0/0 is not beta."""
    found = batch_norm.train(feature(numbers(6, 6), numbers(5, 1)), rule(0))
    assert (found["output"], found["grad_input"], found["grad_gamma"]) == (None, None, None)
    assert of(found, "grad_beta") == [6]
