"""Which Dask workers count for a group whose environment is named: those that have it, of those with its resource."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

pytest.importorskip("distributed")

from conformance.cluster.environments import Environments

NAME = "torch-torch-2.9.0-0a1b"


class Connection:
    """Workers with the resources of two groups, of whom some have the environment."""

    def __init__(self, *having: str) -> None:
        self.having = frozenset(having)
        self.asked: list[list[str]] = []
        self.there = {address: {"TORCH": 1.0, "JAX": 1.0} for address in ("tcp://a:1", "tcp://b:1")}

    def workers(self) -> dict[str, dict[str, float]]:
        return self.there

    def environments(self, names: Sequence[str], addresses: Iterable[str]) -> dict[str, frozenset[str]]:
        self.asked.append(sorted(addresses))
        return {address: frozenset(names if address in self.having else ()) for address in self.asked[-1]}


def of(connection: Any, named: dict[str, str] | None) -> Environments:
    return Environments(named, connection)


def test_a_worker_without_the_environment_has_no_resource_of_its_group() -> None:
    connection = Connection("tcp://b:1")
    environments = of(connection, {"torch": NAME})
    assert environments.workers() == {"tcp://a:1": {"JAX": 1.0}, "tcp://b:1": {"TORCH": 1.0, "JAX": 1.0}}
    assert environments.of("torch") == NAME


def test_each_worker_is_asked_once_and_one_that_comes_later_too() -> None:
    connection = Connection("tcp://a:1", "tcp://c:1")
    environments = of(connection, {"torch": NAME})
    environments.workers()
    connection.there["tcp://c:1"] = {"TORCH": 1.0}
    assert environments.workers()["tcp://c:1"] == {"TORCH": 1.0}
    environments.workers()
    assert connection.asked == [["tcp://a:1", "tcp://b:1"], ["tcp://c:1"]]


def test_where_none_is_named_nobody_is_asked_and_every_group_takes_part() -> None:
    connection = Connection()
    environments = of(connection, None)
    assert environments.workers() == connection.there
    assert (connection.asked, environments.takes("jax"), environments.takes(None)) == ([], True, True)


def test_of_groups_that_are_not_named_none_takes_part() -> None:
    assert [of(Connection(), {"torch": NAME}).takes(group) for group in ("torch", "jax", None)] == [True, False, False]
    assert not of(Connection(), {}).takes("torch")


def test_why_no_worker_can_run_a_group_says_what_is_lacking() -> None:
    environments = of(Connection(), {"torch": NAME, "portable": "portable-1"})
    assert environments.lacking("portable") == "no worker of the cluster has the resource PORTABLE"
    assert environments.lacking("torch").startswith(
        f"no worker of the cluster with the resource TORCH has the environment {NAME}: conformance.environments"
    )
