"""The examples of a cluster are what Dask, its operator and its job queues take."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.cluster.suite import resource_of
from conformance.planning.discovery import keys

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
#: https://jobqueue.dask.org/en/latest/generated/dask_jobqueue.SLURMCluster.html
SLURM = {"queue", "cores", "processes", "memory", "walltime", "job_script_prologue", "worker_extra_args"}
GROUPS = {key.group for key in keys({}) if key.group is not None}


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


def resources(words: list[str]) -> set[str]:
    text = words[words.index("--resources") + 1]
    return {word.removesuffix("=1") for word in text.strip('"').split()}


def test_the_tls_example_has_keys_that_dask_has() -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")  # which brings their defaults
    (document,) = documents("cluster-tls.yaml")
    known = dask.config.get("distributed")

    def check(given: Any, defaults: Any) -> None:
        assert given.keys() <= defaults.keys()
        for name, value in given.items():
            if isinstance(value, dict):
                check(value, defaults[name])

    check(document["distributed"], known)


def test_the_kubernetes_example_has_workers_with_resources_that_groups_have() -> None:
    cluster, group = documents("cluster-kubernetes.yaml")
    assert (cluster["kind"], group["kind"]) == ("DaskCluster", "DaskWorkerGroup")
    assert {cluster["apiVersion"], group["apiVersion"]} == {"kubernetes.dask.org/v1"}
    assert group["spec"]["cluster"] == cluster["metadata"]["name"]
    assert cluster["spec"].keys() == {"scheduler", "worker"}
    assert cluster["spec"]["scheduler"].keys() == {"spec", "service"}
    for worker in (cluster["spec"]["worker"], group["spec"]["worker"]):
        assert worker.keys() == {"replicas", "spec"}
        (container,) = worker["spec"]["containers"]
        assert resources(container["args"]) <= set(map(resource_of, GROUPS))


def test_the_slurm_example_is_a_program_with_options_that_dask_jobqueue_has() -> None:
    text = (EXAMPLES / "cluster_slurm.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    compile(tree, "cluster_slurm.py", "exec")
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SLURMCluster"
    ]
    assert {keyword.arg for keyword in call.keywords} <= SLURM
    (groups,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and _names(node) == ["GROUPS"]
    ]
    assert set(groups) == GROUPS


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]
