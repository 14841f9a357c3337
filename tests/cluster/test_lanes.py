"""Which Dask worker gets which batch."""

from __future__ import annotations

from dataclasses import replace

from conformance.cluster.lanes import AT_ONCE, Lanes, able, resources_of
from conformance.planning.batches import Batch
from conformance.planning.discovery import WorkerKey
from tests.fake_cells import cell, key

TORCH = replace(key("torch"), group="torch")
JAX = replace(key("jax"), group="jax")
BOTH = {"TORCH": 1.0, "JAX": 1.0}


def batch(worker: WorkerKey, name: str = "case", device: str = "cpu", cost: float = 1.0) -> Batch:
    return Batch(cells=(replace(cell("nothing", name, worker=worker), device=device),), cost=cost)


def test_a_batch_needs_the_resource_of_its_group_and_an_accelerator_where_it_is_for_one() -> None:
    assert resources_of(key()) == {}
    assert resources_of(replace(key(), group="my-group.2")) == {"MY_GROUP_2": 1.0}
    assert resources_of(TORCH, "gpu") == {"TORCH": 1.0, "GPU": 1.0}
    assert able({"TORCH": 1.0}, resources_of(TORCH))
    assert not able({"TORCH": 1.0}, resources_of(TORCH, "gpu"))


def test_each_worker_gets_a_process_of_its_own_as_long_as_there_are_enough() -> None:
    lanes = Lanes([batch(worker, f"{number}") for worker in (TORCH, JAX) for number in range(4)])
    given = [(address, one.key.name) for address, one in lanes.given({"a": BOTH, "b": BOTH})]
    assert len(given) == 2 * AT_ONCE
    assert {name for address, name in given if address == "a"} | {"jax"} == {"torch", "jax"}
    assert len(set(given)) == 2


def test_a_worker_that_has_nothing_left_helps_another() -> None:
    lanes = Lanes([batch(TORCH, f"{number}") for number in range(4)])
    given = list(lanes.given({"a": BOTH, "b": BOTH}))
    assert {address for address, _ in given} == {"a", "b"}
    assert not lanes


def test_no_worker_gets_more_before_what_it_has_ended() -> None:
    lanes = Lanes([batch(TORCH, f"{number}") for number in range(9)])
    assert len(list(lanes.given({"a": BOTH}))) == AT_ONCE
    assert list(lanes.given({"a": BOTH})) == []
    lanes.ended("a")
    assert len(list(lanes.given({"a": BOTH}))) == 1


def test_the_longest_row_is_begun_first() -> None:
    lanes = Lanes([batch(JAX, "short", cost=1.0), *(batch(TORCH, f"{number}", cost=2.0) for number in range(3))])
    assert next(iter(lanes.given({"a": BOTH})))[1].key is TORCH


def test_what_no_worker_can_perform_is_named_and_given_to_none() -> None:
    lanes = Lanes([batch(TORCH), batch(JAX), batch(TORCH, device="gpu")])
    given = list(lanes.given({"a": {"TORCH": 1.0}}))
    assert [one.key.name for _, one in given] == ["torch"]
    left = lanes.impossible([{"TORCH": 1.0}])
    assert sorted((one.key.name, one.device) for one in left) == [("jax", "cpu"), ("torch", "gpu")]


def test_the_processes_of_a_lost_worker_are_nobody_s() -> None:
    lanes = Lanes([batch(worker, f"{number}") for worker in (TORCH, JAX) for number in range(6)])
    first = {address: one.key.name for address, one in lanes.given({"a": BOTH, "b": BOTH})}
    lanes.left({"b"})
    (*_, (_, one)) = lanes.given({"b": BOTH, "c": BOTH})
    assert one.key.name == first["a"]
