"""The second reference is right: by hand, by identities that hold exactly, and in sixty digits."""

from __future__ import annotations

import ast
import math
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
from mpmath import mpf

from conformance.dialect import Dialect
from conformance.operations import rational
from conformance.operations.batch_norm import rational as batch_norm
from conformance.operations.batch_norm.rational import Moments, entered
from conformance.operations.centering import rational as centering
from conformance.operations.differentiated_batch_norm import rational as differentiated
from conformance.operations.rational import Beyond, Feature, Numbers, Quantities, Rule, Step, by_feature

#: What an inverse root cut at 256 bits leaves of an identity, with room: 2^-256 is 1e-77.
NOTHING = Fraction(1, 10**50)
F = Fraction


def numbers(*values: float | Fraction) -> Numbers:
    return [Fraction(value) for value in values]


def rule(epsilon: float | Fraction = 0, decay: float | Fraction = 0.25, trained: int = 0, **fields: Any) -> Rule:
    return Rule(dialect=Dialect(**fields), decay=F(decay), epsilon=F(epsilon), trained=trained)


def feature(x: Numbers, upstream: Numbers | None = None, **fields: Any) -> Feature:
    state = {"gamma": F(3), "beta": F(-1), "moving_mean": F(2), "moving_variance": F(8), **fields}
    return Feature(x=x, upstream=upstream, state={name: value for name, value in state.items() if value is not None})


def drawn(seed: int, count: int) -> Feature:
    """A feature of random dyadic numbers, some way from zero."""
    draw = random.Random(seed)

    def number() -> Fraction:
        return F(draw.randrange(-(2**20), 2**20), 2**17)

    x, g = ([number() for _ in range(count)] for _ in range(2))
    state = {"moving_mean": number(), "moving_variance": abs(number()) + 1, "gamma": number(), "beta": number()}
    return Feature(x=[each + 40 for each in x], upstream=g, state=state)


def plain(quantities: Quantities) -> dict[str, Any]:
    """The quantities as they compare with whole numbers."""
    return dict(quantities)


def of(quantities: Quantities, name: str) -> Numbers:
    found = quantities[name]
    assert found is not None
    return found


def total(values: Any) -> Fraction:
    return sum(values, Fraction())


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


# Old value 2, batch 6, decay 1/4. Zero-debiased, second step: the hidden average is 2·(1 - 1/4) = 3/2, then
# 3/8 + 9/2 = 39/8, shown as 39/8 / (1 - 1/16) = 26/5.
@pytest.mark.parametrize(
    ("update", "trained", "after"),
    [
        ("exponential", 0, 5),
        ("exponential", 3, 5),
        ("zero_debiased", 0, 6),
        ("zero_debiased", 1, F(26, 5)),
        ("first_batch", 0, 6),
        ("first_batch", 1, 5),
        ("cumulative", 0, 6),
        ("cumulative", 3, 3),
        ("merge", 3, 3),
        ("none", 0, 2),
    ],
)
def test_a_moving_value_by_hand(update: str, trained: int, after: Fraction) -> None:
    """Each way of updating, early and late."""
    assert rational.moved(rule(update=update, trained=trained), F(2), F(6)) == after


@pytest.mark.parametrize(
    ("update", "decay", "trained", "after"),
    [
        ("exponential", 1, 0, 2),
        ("first_batch", 1, 0, 6),
        ("first_batch", 1, 1, 2),
        ("zero_debiased", 1, 2, None),
        ("exponential", 0, 0, 6),
        ("zero_debiased", 0, 0, 6),
        ("zero_debiased", 0, 3, 6),
    ],
)
def test_a_decay_of_0_or_1_by_hand(update: str, decay: int, trained: int, after: Fraction | None) -> None:
    """Only the batch, or never the batch; a hidden average that never began gives no number."""
    assert rational.moved(rule(update=update, decay=decay, trained=trained), F(2), F(6)) == after


def test_identical_batches_leave_a_zero_debiased_average_at_their_value() -> None:
    """However many they are: the average shows no trace of its beginning."""
    value = F(0)
    for trained in range(5):
        found = rational.moved(rule(decay=F(9, 10), update="zero_debiased", trained=trained), value, F(7, 3))
        assert found == F(7, 3)
        value = found


def test_merged_batches_have_the_variance_of_all_their_values() -> None:
    """Three batches one after another, and their values together: the same mean and the same variance."""
    batches = [drawn(seed, 5) for seed in range(3)]
    held = Moments(mean=F(100), variance=F(1))
    for trained, each in enumerate(batches):
        found = batch_norm.train(entered(each, held), rule(1, update="merge", trained=trained))
        held = Moments(mean=of(found, "moving_mean")[0], variance=of(found, "moving_variance")[0])
    together = [value for each in batches for value in each.x]
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
    merged = [rule(1, moving_correction=each, update="merge", trained=1) for each in (0, 1)]
    first, second = (batch_norm.train(given, each)["moving_variance"] for each in merged)
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


def test_a_gradient_step_by_hand() -> None:
    """3 less a half of 5."""
    assert rational.descended(F(3), F(1, 2), F(5)) == F(1, 2)


@pytest.mark.parametrize(
    ("square", "root"), [(4, F(1, 2)), (F(9, 4), F(2, 3)), (F(1, 9), 3), (1, 1), (F(2) ** -2000, F(2) ** 1000)]
)
def test_the_inverse_root_of_a_square_is_exact(square: Fraction, root: Fraction) -> None:
    """Rational roots are given as they are."""
    assert rational.inverse_root(F(square)) == root


@pytest.mark.parametrize(
    "value", [F(2), F(1, 2), F(3, 7), F(10) ** 601, F(10) ** -601, 1 + F(2) ** -1000, 1 - F(2) ** -1000]
)
@pytest.mark.parametrize("bits", [200, rational.BITS])
def test_an_inverse_root_is_below_the_true_one_by_less_than_its_last_bit(value: Fraction, bits: int) -> None:
    """r²v <= 1 < (r + 2^-bits r)² v, in integers."""
    root = rational.inverse_root(value, bits)
    assert root is not None
    assert root**2 * value <= 1 < (root * (1 + F(1, 2**bits))) ** 2 * value


@pytest.mark.parametrize("value", [F(0), F(-1)])
def test_what_is_not_positive_has_no_inverse_root(value: Fraction) -> None:
    """Neither 0 nor a negative number."""
    assert rational.inverse_root(value) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    """No fraction is a NaN or an infinity."""
    with pytest.raises(rational.NotFiniteError, match="is no fraction"):
        rational.rationals([1.0, bad])


def test_a_value_is_taken_as_it_is_stored() -> None:
    """0.1 in float64 is not a tenth."""
    assert rational.rationals([0.1]) == [F(3602879701896397, 2**55)]


@pytest.mark.parametrize(
    ("axes", "found"),
    [
        ((0,), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]),
        ((1,), [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]),
        ((2,), [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]),
        ((0, 2), [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]),
    ],
)
def test_the_columns_of_an_array_are_those_of_its_feature_axes(axes: tuple[int, ...], found: list[list[int]]) -> None:
    """Two by three by two, each way of keeping axes written out."""
    assert rational.columns(np.arange(12.0).reshape(2, 3, 2), axes) == found


def test_columns_keep_every_bit_of_a_half_precision_array() -> None:
    """bfloat16's 0.1 is 0.10009765625; an empty batch has empty columns."""
    assert rational.columns(np.array([[0.1]], ml_dtypes.bfloat16), (1,)) == [[0.10009765625]]
    assert rational.columns(np.zeros((0, 2), np.float16), (1,)) == [[], []]


@pytest.mark.parametrize("seed", range(5))
def test_the_gradients_of_the_input_sum_to_zero(seed: int) -> None:
    """A shift of the batch changes no output."""
    found = batch_norm.train(drawn(seed, 7), rule(F(1, 1000)))
    assert abs(total(of(found, "grad_input"))) < NOTHING


@pytest.mark.parametrize("epsilon", [0, F(1, 1000), 1])
def test_the_moment_of_the_input_gradient_is_gamma_epsilon_r_squared_times_that_of_gamma(epsilon: Fraction) -> None:
    """Σ(x - μ)dx = γ ε r² dγ: Euler's identity for a scaling of the batch; zero for ε = 0 alone."""
    given = drawn(11, 6)
    found = batch_norm.train(given, rule(epsilon))
    moment = total((x - rational.mean(given.x)) * dx for x, dx in zip(given.x, of(found, "grad_input"), strict=True))
    share = given.state["gamma"] * epsilon / (of(found, "batch_variance")[0] + epsilon)
    assert abs(moment - share * of(found, "grad_gamma")[0]) < NOTHING


def test_outputs_sum_to_beta_times_their_count() -> None:
    """Exactly, whatever the root."""
    given = drawn(12, 9)
    assert total(of(batch_norm.train(given, rule(1)), "output")) == 9 * given.state["beta"]


def test_gamma_times_its_gradient_is_that_of_the_output_without_beta() -> None:
    """γ dγ = Σg(y - β), exactly."""
    given = drawn(13, 5)
    found = batch_norm.train(given, rule(1))
    assert given.upstream is not None
    pairs = zip(given.upstream, of(found, "output"), strict=True)
    assert given.state["gamma"] * of(found, "grad_gamma")[0] == total(g * (y - given.state["beta"]) for g, y in pairs)


@pytest.mark.parametrize("normalizes_with", ["moving_before", "batch"])
def test_training_is_inference_where_the_moving_values_are_those_of_the_batch(normalizes_with: str) -> None:
    """Output, dγ and dβ are the same numbers."""
    given = drawn(14, 8)
    moving = Moments(mean=rational.mean(given.x), variance=rational.variance(given.x))
    trained = batch_norm.train(entered(given, moving), rule(1, normalizes_with=normalizes_with))
    inferred = batch_norm.infer(entered(given, moving), rule(1))
    assert all(trained[name] == inferred[name] for name in ("output", "grad_gamma", "grad_beta"))


def test_the_moving_values_after_a_first_batch_normalize_as_the_batch_does() -> None:
    """Gradients too: the whole of them depends on the batch."""
    given = drawn(15, 6)
    after = batch_norm.train(given, rule(1, normalizes_with="moving_after", update="first_batch"))
    assert after == batch_norm.train(given, rule(1, update="first_batch"))


def test_moving_values_that_keep_none_of_the_batch_give_the_gradient_of_inference() -> None:
    """With a decay of 1 the batch has no share in what normalizes."""
    given = drawn(16, 6)
    after = batch_norm.train(given, rule(1, decay=1, normalizes_with="moving_after"))
    assert after["grad_input"] == batch_norm.infer(given, rule(1))["grad_input"]


@pytest.mark.parametrize("update", ["exponential", "zero_debiased", "first_batch", "cumulative", "merge", "none"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"normalizing_correction": 1},
        {"normalizes_with": "moving_before"},
        {"normalizes_with": "moving_after"},
        {"normalizes_with": "moving_after", "moving_correction": 1},
    ],
)
def test_the_input_gradient_is_the_slope_of_the_output(update: str, fields: dict[str, Any]) -> None:
    """A central difference of Σg·y with h = 2^-60, whose own error is of h²: 30 digits."""
    given, by, h = drawn(17, 4), rule(F(1, 10), decay=F(3, 5), trained=2, update=update, **fields), F(1, 2**60)

    def loss(x: Numbers) -> Fraction:
        assert given.upstream is not None
        outputs = of(batch_norm.train(replace(given, x=x, upstream=None), by), "output")
        return total(g * y for g, y in zip(given.upstream, outputs, strict=True))

    found = of(batch_norm.train(given, by), "grad_input")
    for index, slope in enumerate(found):
        up, down = ([*given.x[:index], given.x[index] + step, *given.x[index + 1 :]] for step in (h, -h))
        assert abs((loss(up) - loss(down)) / (2 * h) - slope) < F(1, 10**30)


def _high(value: Fraction) -> Any:
    return mpf(value.numerator) / value.denominator


def _sixty_digits(given: Feature, epsilon: Fraction) -> dict[str, list[Any]]:
    """The closed form of a canonical train step in mpmath."""
    assert given.upstream is not None
    x, g = [_high(each) for each in given.x], [_high(each) for each in given.upstream]
    count, gamma, beta = len(x), _high(given.state["gamma"]), _high(given.state["beta"])
    mean = mpmath.fsum(x) / count
    variance = mpmath.fsum([(each - mean) ** 2 for each in x]) / count
    root = mpmath.sqrt(variance + _high(epsilon))
    normal = [(each - mean) / root for each in x]
    to_gamma, to_beta = mpmath.fdot(g, normal), mpmath.fsum(g)
    pairs = list(zip(g, normal, strict=True))
    return {
        "batch_mean": [mean],
        "batch_variance": [variance],
        "output": [gamma * each + beta for each in normal],
        "grad_gamma": [to_gamma],
        "grad_beta": [to_beta],
        "grad_input": [gamma / root * (a - to_beta / count - b * to_gamma / count) for a, b in pairs],
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [2, 3, 17])
def test_a_train_step_agrees_with_sixty_digits(seed: int, count: int) -> None:
    """Random data, the closed form in mpmath: fifty digits of every number."""
    given, epsilon = drawn(100 + seed, count), F(1, 1000)
    found = batch_norm.train(given, rule(epsilon))
    with mpmath.workdps(60):
        for name, right in _sixty_digits(given, epsilon).items():
            for each, value in zip(of(found, name), right, strict=True):
                assert abs(_high(each) - value) < mpf(10) ** -50 * max(1, abs(value)), name


SECOND = [Path(rational.__file__), *sorted(Path(rational.__file__).parent.glob("*/rational.py"))]


@pytest.mark.parametrize("file", SECOND, ids=lambda file: file.parent.name)
def test_the_second_reference_shares_no_code_with_the_first(file: Path) -> None:
    """It imports the standard library, and of ours the names of the dialects and other second references alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=imported):
                names |= {f"{module}.{each.name}" if each.name == "rational" else module for each in imported}
            case ast.Import(names=imported):
                names |= {each.name for each in imported}
            case _:
                pass
    ours = {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}
    assert all(name == "conformance.dialect" or name.endswith(".rational") for name in ours), ours


def test_there_is_a_second_reference_in_the_folder_of_every_kind_of_operation() -> None:
    """Those that pass on another's have none."""
    assert len(SECOND) > 8


FUNCTIONS: list[Callable[[Feature, Rule], Quantities]] = [
    batch_norm.train,
    batch_norm.infer,
    centering.train,
    centering.infer,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: f"{each.__module__}.{each.__name__}")
def test_every_number_is_a_fraction(function: Callable[[Feature, Rule], Quantities]) -> None:
    """No float finds its way in."""
    found = function(drawn(18, 3), rule(F(1, 3)))
    assert {type(value) for each in found.values() if each is not None for value in each} == {Fraction}


def test_features_are_computed_apart_and_given_row_by_row() -> None:
    """Two features of two values: outputs in rows, statistics in one row."""
    step = Step(x=[[1.0, 5.0], [2.0, 4.0]], state={"moving_mean": [0.0, 0.0]}, samples=2)
    exact = by_feature(centering.train)(step, rule(decay=0))
    assert exact == {"moving_mean": [3, 3], "batch_mean": [3, 3], "output": [-2, -1, 2, 1]}


def test_a_feature_whose_data_are_not_finite_leaves_its_neighbour_exact() -> None:
    """What fractions cannot hold is said to be beyond them."""
    step = Step(x=[[1.0, math.inf], [2.0, 4.0]], state={"moving_mean": [0.0, 0.0]}, samples=2)
    exact = by_feature(centering.infer)(step, rule())
    assert exact["output"] == [Beyond.FRACTIONS, 2, Beyond.FRACTIONS, 4]
    assert exact["moving_mean"] == [Beyond.FRACTIONS, 0]


@pytest.mark.parametrize(
    "passes", [batch_norm, centering, differentiated], ids=lambda each: each.__name__.split(".")[-2]
)
def test_exact_arithmetic_takes_as_much_more_as_there_are_more_values(
    passes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean that is taken anew for each value takes the square of it: seconds for a thousand of them."""
    few, many = (additions(passes, count, monkeypatch) for count in (10, 80))
    assert 0 < many < 10 * few


def additions(passes: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often two fractions are added in a train step of that many values."""
    counted, add = [0], Fraction.__add__

    def counting(one: Fraction, other: Any) -> Any:
        counted[0] += 1
        return add(one, other)

    given = drawn(3, count)
    with monkeypatch.context() as patch:
        patch.setattr(Fraction, "__add__", counting)
        passes.train(replace(given, arrays={"tangent": given.x}), rule(1))
    return counted[0]
