"""What judging remembers of the steps behind it."""

from __future__ import annotations

import sys

import numpy as np

from conformance.judging.walk import Walk


def test_an_inference_is_remembered_by_digests_whatever_its_size() -> None:
    """A hundred of a MiB each leave some kilobytes."""
    walk = Walk(state={})
    output = np.zeros(2**18, np.float32)
    for number in range(100):
        walk.first_with(f"{number}", {"moving_mean": output}, output, number)
    assert sum(sys.getsizeof(start) + sys.getsizeof(bits) for start, (_, bits) in walk.outputs.items()) < 20_000


def test_another_output_of_the_same_inference_is_that_of_the_first() -> None:
    walk = Walk(state={})
    one, other = np.zeros(3), np.array([0.0, 0.0, -0.0])
    assert walk.first_with("x", {"m": one}, one, 1) == 1
    assert walk.first_with("x", {"m": one}, one, 2) == 2
    assert walk.first_with("x", {"m": one}, other, 3) == 1
    assert walk.first_with("y", {"m": one}, other, 4) == 4
    assert walk.first_with("x", {"m": other}, other, 5) == 5
