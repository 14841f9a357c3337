"""Seconds in units of the limit: what is a score, and what is labelled instead."""

from __future__ import annotations

import pytest

from conformance.operations import OPERATIONS
from conformance.operations.operation import Traffic
from conformance.protocol import Configuration
from conformance.throughput.contention import Bandwidths, Batch
from conformance.throughput.limit import (
    Evidence,
    Fractions,
    Standing,
    fractions_of,
    is_lazy,
    standing_of,
    tensor_bytes,
)

GIGA = 1e9
#: One tensor of 100 MB, which no cache of 32 MB holds.
TENSOR, CACHE = 100_000_000, 32 * 2**20
INFER = Traffic(2, 2)


def batch(seconds: float, before: float = 10 * GIGA, after: float = 10 * GIGA) -> Batch:
    return Batch(seconds=seconds, bandwidths=Bandwidths(before=before, after=after))


def evidence(**other: object) -> Evidence:
    return Evidence(**{"tensor": TENSOR, "cache": CACHE, **other})  # type: ignore[arg-type]


def judged(*batches: Batch, traffic: Traffic = INFER, **other: object) -> tuple[Standing, str]:
    return standing_of(fractions_of(traffic, TENSOR, batches), batches, evidence(**other))


@pytest.mark.parametrize(
    ("op", "name", "compulsory", "streaming"),
    [
        ("batch_norm", "infer", 2, 2),
        ("batch_norm", "train_forward", 2, 3),
        ("batch_norm", "train", 2 + 3, 3 + 5),
        ("centering", "infer", 2, 2),
        ("centering", "train_forward", 2, 3),
        ("centering", "train", 4, 6),
    ],
)
def test_each_pass_moves_so_many_tensors(op: str, name: str, compulsory: int, streaming: int) -> None:
    assert OPERATIONS[op].traffic[name] == Traffic(compulsory, streaming)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("float16", 2), ("float64", 8)])
def test_a_tensor_has_the_bytes_of_its_dtype(dtype: str, size: int) -> None:
    configuration = Configuration(
        op="batch_norm", shape=(32, 56, 56, 256), feature_axes=(3,), dtype=dtype, parameter_dtype=dtype,
        decay=0.9, epsilon=1e-3, scale=True, center=True,
    )  # fmt: skip
    assert tensor_bytes(configuration) == 32 * 56 * 56 * 256 * size


def test_the_fraction_is_bytes_over_seconds_over_bandwidth() -> None:
    """Two tensors of 100 MB in 40 ms are 5 GB/s: half of 10; a train step of five compulsory tensors, 1.25."""
    assert fractions_of(INFER, TENSOR, [batch(0.04)]) == Fractions(compulsory=0.5, streaming=0.5)
    found = fractions_of(Traffic(5, 8), TENSOR, [batch(0.1)])
    assert found.compulsory == pytest.approx(0.5)
    assert found.streaming == pytest.approx(0.8)


def test_each_batch_counts_against_its_own_bandwidth() -> None:
    """The machine became half as fast, and the call with it: nothing changed."""
    batches = [batch(0.04), batch(0.08, 5 * GIGA, 5 * GIGA)]
    assert fractions_of(INFER, TENSOR, batches).compulsory == pytest.approx(0.5)


def test_a_measurement_beside_a_steady_bandwidth_is_a_score() -> None:
    assert judged(batch(0.04), batch(0.041)) == (Standing.SCORED, "")


def test_a_call_faster_than_the_memory_is_invalid_and_says_so() -> None:
    standing, why = judged(batch(2 * TENSOR / (1.2 * 10 * GIGA)))
    assert standing is Standing.INVALID
    assert "1.20 of the bandwidth" in why


def test_a_call_a_little_faster_than_the_copy_is_a_score() -> None:
    assert judged(batch(2 * TENSOR / (1.04 * 10 * GIGA)))[0] is Standing.SCORED


def test_a_call_whose_time_is_that_of_the_smallest_case_is_launch_bound() -> None:
    standing, why = judged(batch(0.04), launch=0.03)
    assert standing is Standing.LAUNCH_BOUND
    assert why.startswith("75%")
    assert judged(batch(0.04), launch=0.001)[0] is Standing.SCORED


def test_a_tensor_of_which_half_can_stay_in_the_cache_is_no_score() -> None:
    """Both tensors together are larger than the cache, and one of them is not twice as large."""
    standing, why = judged(batch(0.04), cache=TENSOR * 2 // 3)
    assert standing is Standing.CACHED
    assert why == "a tensor is 1.5 of the last-level cache"
    assert judged(batch(0.04), cache=TENSOR // 2)[0] is Standing.SCORED


def test_a_result_computed_when_it_is_read_is_invalid() -> None:
    """Reading took 50 ms the first time and 10 ms the second, of a call that was timed at 1 ms."""
    reads = [(0.050, 0.010), (0.052, 0.010), (0.049, 0.009)]
    assert judged(batch(0.04), reads=[(0.05, 0.01)])[0] is Standing.INVALID
    assert is_lazy(reads, 0.001)


def test_a_reading_that_was_interrupted_accuses_nobody() -> None:
    assert not is_lazy([(0.050, 0.010), (0.010, 0.010), (0.011, 0.010)], 0.001)
    assert not is_lazy([(1e-4, 1e-5)], 1e-6)
    assert not is_lazy([], 0.001)


def test_a_result_that_was_not_given_is_invalid() -> None:
    standing, why = judged(batch(0.04), missing=("grad_input (was not given)",))
    assert standing is Standing.INVALID
    assert "grad_input" in why
