"""The shapes that are timed follow the cache and the memory of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.errors import SpecErrors
from conformance.spec.case import Case
from conformance.throughput.limit import tensor_bytes
from conformance.throughput.running import load_timed, ordered
from conformance.throughput.sizing import Caches, Room, load_sizes, sized
from tests.cells import case, cell

MEBI = 2**20
SIZES = (Caches(caches=4, cases=("throughput.*/N*",)),)
#: Of two machines: a cache of 32 MiB and 64 GiB of memory, and one with so little memory that it bounds the tensors.
LARGE, SMALL = Room(cache=32 * MEBI, memory=65536 * MEBI), Room(cache=32 * MEBI, memory=8000 * MEBI)


def named(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Case:
    step = {"step": "infer", "input": {"kind": "uniform", "seed": 5, "low": -1.0, "high": 2.0}}
    return case(step, id=f"throughput.infer/{name}", shape=list(shape), dtype=dtype)


@pytest.mark.parametrize(("dtype", "length"), [("float32", 168), ("bfloat16", 336)])
def test_a_tensor_has_four_last_level_caches_within_a_multiple_of_eight(dtype: str, length: int) -> None:
    """128 MiB over 64·56·56 values of four bytes are 167.2 samples."""
    small = named("Nx64x56x56", (32, 64, 56, 56), dtype)
    assert small.configuration.shape == small.shape
    found = sized(small, SIZES, LARGE)
    assert found.shape == (length, 64, 56, 56)
    assert found.configuration.shape == found.shape
    assert tensor_bytes(found.configuration) == pytest.approx(128 * MEBI, rel=0.03)


def test_the_memory_bounds_a_tensor() -> None:
    """A hundred-and-sixtieth of 8000 MiB are 50."""
    found = sized(named("Nx256", (65536, 256)), SIZES, SMALL)
    assert tensor_bytes(found.configuration) == pytest.approx(50 * MEBI, rel=0.01)


def test_a_case_that_is_not_listed_keeps_its_shape() -> None:
    fixed = named("128x64", (128, 64))
    assert sized(fixed, SIZES, LARGE) is fixed


def test_the_timed_cases_of_a_machine_are_larger_than_its_cache_or_said_not_to_be() -> None:
    spec = load_timed(LARGE)
    sizes = {entry.case.id: tensor_bytes(entry.case.configuration) / LARGE.cache for entry in spec.cases}
    assert all(size > 2.9 for name, size in sizes.items() if "/N" in name)
    assert {name.split("/")[1] for name, size in sizes.items() if size < 2} == {"128x64", "8x56x56x64", "8x64x56x56"}


def test_the_smallest_come_first_and_of_equal_ones_what_trains() -> None:
    step = {"step": "train", "input": {"kind": "uniform", "seed": 5, "low": -1.0, "high": 2.0}}
    infer = named("Nx64x56x56", (168, 64, 56, 56))
    train = case(step, id="throughput.train/Nx256", shape=[131072, 256])
    small = named("128x64", (128, 64))
    groups = ordered([cell(each) for each in (infer, infer, train, small)])
    assert [[each.case.id for each in group] for group in groups] == [[small.id], [train.id], [infer.id, infer.id]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {caches: 0, cases: ['*']}", "sizes.yaml:1:4: caches: expected a positive number, got 0"),
        ("- {caches: 4, cases: ['nothing.*']}", "no case matches 'nothing.*'"),
        ("- {caches: 4, cases: all}", "expected a list of globs over case ids"),
        ("- {caches: 4}", "expected `caches` and `cases`"),
        ("caches: 4", "expected a list of `caches` with their `cases`"),
    ],
)
def test_a_mistake_in_the_sizes_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "sizes.yaml").write_text(text + "\n")
    with pytest.raises(SpecErrors) as caught:
        load_sizes(tmp_path / "sizes.yaml", ["throughput.one"])
    assert said in str(caught.value)
