"""The four public questions that the suite grew from: each is answered by one command, with the published numbers."""

from __future__ import annotations

import re

from tests.answers.explained import explain

#: The trained layer of the first question.
LAYER = [
    *("--data", "[[[[1],[5]]]]", "--feature-axes", "-1", "--epsilon", "1e-3", "--no-center", "--mode", "infer"),
    *("--moving-mean", "0.05885344", "--moving-variance", "0.91000736", "--gamma", "0.80644524"),
]


def numbers(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"(?<![\w.])-?\d+\.\d+(?:e-?\d+)?", text)]


def test_why_a_layer_makes_other_numbers_of_one_and_five_than_minus_one_and_one() -> None:
    """What was got is inference by the moving values; what was expected is training, without epsilon and gamma."""
    answer = explain(*LAYER, "--got", "0.79519051, 4.17485714", "--expected", "[-1, 1]")
    assert answer.code == 0
    got = "What you got, output 0.79519051, 4.17485714, is inference, by the moving values ("
    assert got in answer.out
    expected = "What you expected, output -1, 1, is training, by the batch's own statistics, in place of inference"
    assert f"{expected}, without epsilon, without gamma (output -1, 1)." in answer.out
    for published in (0.79519051, 4.17485714):
        assert any(abs(one - published) < 1e-6 for one in numbers(answer.out.partition("\nStep 1")[2]))


def test_the_same_layer_with_a_beta_by_the_formula_in_float64() -> None:
    """The published digits of NumPy, from parameters that were kept in float32."""
    answer = explain("published.formula-2017/features-last")
    assert "0.71096905498374263, 2.0949484904433255" in answer.out
    assert any(abs(one - 0.71096905498374263) < 1e-15 for one in numbers(answer.out.partition("gives   shape")[2]))


def test_which_axis_the_mean_of_a_table_is_taken_along() -> None:
    """With the last axis kept the mean is that of each column; with the first, that of each row."""
    answer = explain(
        "--data", "[[1,10,100,1000],[2,20,200,2000],[3,30,300,3000]]", "--feature-axes", "-1", "--mode", "train"
    )
    assert "Axes [0] are reduced: each statistic is over 3 values" in answer.out
    assert re.search(r"batch_mean +\[4\] +2, 20, 200, 2000$", answer.out, re.MULTILINE)
    assert re.search(
        r"axis 0 kept: each statistic over 4 values +batch_mean +277\.75, 555\.5, 833\.25$", answer.out, re.MULTILINE
    )


def test_how_many_values_the_mean_of_images_is_over() -> None:
    """(128, 3, 10, 10) with axis 1 kept: three means, each over 12800 values."""
    answer = explain("published.images-2019/features-first")
    assert "Axes [0, 2, 3] are reduced: each statistic is over 12800 values, and has shape [3]." in answer.out


def test_which_means_a_counting_batch_has() -> None:
    """12.5 five times with the last axis kept; 8.5, 12.5 and 16.5 with axis 1."""
    answer = explain("published.counting-2019/features-last")
    assert re.search(r"batch_mean +\[5\] +12\.5, 12\.5, 12\.5, 12\.5, 12\.5$", answer.out, re.MULTILINE)
    assert re.search(r"axis 1 kept: .* +batch_mean +8\.5, 12\.5, 16\.5$", answer.out, re.MULTILINE)


def test_a_wrong_loop_of_the_moving_values_is_named() -> None:
    """Momentum as the weight of the old value where it is that of the new one; and the variance that PyTorch keeps."""
    data = ("--data", "[[1], [2], [4], [7]]", "--feature-axes", "1", "--decay", "0.9", "--mode", "train")
    wrong = explain(*data, "--got", "moving_mean=3.15", "--got", "moving_variance=4.825")
    assert "0.9 taken for the weight of the new value" in wrong.out
    right = explain(*data, "--got", "moving_mean=0.35", "--got", "moving_variance=1.6")
    assert "the variance that enters the moving variance divided by m - 1, after 1 train step" in right.out


def test_how_to_remove_the_mean_and_leave_the_variance() -> None:
    """A layer without a scale still divides by the deviation; centering does not, whose published decay is 0.01."""
    answer = explain("--data", "[[1], [5]]", "--no-scale", "--no-center", "--mode", "train", "--decay", "0.01")
    assert re.search(r"the variance left, which is centering +output +-2, 2$", answer.out, re.MULTILINE)
    case = explain("centering.rank-2/float32")
    assert "y = x - μ;  M ← a·M + (1-a)·μ" in case.out
    assert "0.01·0.25 + 0.99·0.961418 = 0.954304" in case.out
