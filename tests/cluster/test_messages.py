"""What a cluster is sent is data, and is refused in one line where it is anything else."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.cluster.messages import Question, Reply, SentBatch, narrowed, taken, written
from conformance.cluster.suite import difference, digest_of_texts, suite
from conformance.errors import UsageError
from conformance.execution.kept_offers import Answered
from tests.cluster.loopback import NUMPY

tasks = pytest.importorskip("conformance.cluster.tasks")


@pytest.fixture(name="bench", scope="module")
def _bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    bench = tasks.Bench(tmp_path_factory.mktemp("bench"), tasks.workers_of({}))
    yield bench
    bench.close()


@pytest.fixture(name="described", scope="module")
def _described(bench: Any) -> dict[str, Any]:
    question = {
        "suite": suite(),
        "workers": [{"name": "numpy", "adapter": "numpy/batch_norm.py", "attribute": "ADAPTER"}],
        "configurations": [],
        "bounds": {"start": 60.0, "cell": 60.0, "memory": 2**33},
    }
    answers = taken(tasks.answer_to(json.dumps(question).encode(), lambda: bench), tasks.Answers)
    assert (answers.refused, answers.failures) == ("", {})
    offered = answers.offers["numpy"]
    assert isinstance(offered, Answered)
    described: dict[str, Any] = offered.offer
    return described


def batch_of(described: dict[str, Any]) -> dict[str, Any]:
    case = {
        "id": "own.row",
        "title": "One train step of a layer",
        "source": "none, it tests the runner",
        "clauses": ["1.1"],
        "op": "batch_norm",
        "shape": [4, 3],
        "feature_axes": [-1],
        "steps": [{"step": "train", "input": {"kind": "normal", "seed": 1}}],
    }
    return {
        "suite": suite(),
        "promise": {
            "worker": {"name": "numpy", "adapter": "numpy/batch_norm.py", "attribute": "ADAPTER"},
            "offer": narrowed(described, frozenset({"numpy.BatchNorm"})),
            "sources": digest_of_texts(described["sources"]),
        },
        "cases": [case],
        "cells": [{"case": 0, "implementation": "numpy.BatchNorm", "mode": "eager", "device": "cpu"}],
        "bounds": {"start": 60.0, "cell": 60.0, "memory": 2**33},
    }


def reply(bench: Any, raw: object) -> Reply:
    return taken(tasks.reply_to(raw, lambda: bench), Reply)


def test_a_batch_is_performed_and_judged(bench: Any, described: dict[str, Any]) -> None:
    answer = reply(bench, json.dumps(batch_of(described)).encode())
    assert answer.refused == ""
    (told,) = answer.cells
    assert told.cell == "own.row::numpy.BatchNorm-eager-cpu"
    assert told.entry is not None
    assert told.entry.record.verdict.agrees
    assert taken(written(answer), Reply) == answer


Change = Callable[[dict[str, Any]], Any]
HOSTILE: dict[str, tuple[Change, str]] = {
    "another key": (lambda batch: batch.update(code="import os"), "unknown field `code`"),
    "another suite": (lambda batch: batch.update(suite="0.0.1 0"), "and the run has 0.0.1"),
    "other sources": (lambda batch: batch.update(suite=suite()[:-1] + "~"), "has other sources, adapters or spec"),
    "a file": (
        lambda batch: batch["promise"]["worker"].update(adapter="/tmp/mine.py"),
        "has no worker 'numpy' of /tmp/mine.py",
    ),
    "another text": (lambda batch: batch["promise"].update(sources="0"), "another text of its adapter"),
    "another version": (
        lambda batch: batch["promise"]["offer"]["versions"].update(numpy="0.1"),
        "and the run was planned by 0.1",
    ),
    "no case": (lambda batch: batch["cells"][0].update(case=7), "is of no case"),
    "no number": (lambda batch: batch["cells"][0].update(case=-1), "`int` >= 0"),
    "no mode": (lambda batch: batch["cells"][0].update(mode="xla"), "offers no xla"),
    "twice": (lambda batch: batch["cells"].append(dict(batch["cells"][0])), "has a cell twice"),
    "a wrong case": (lambda batch: batch["cases"][0].update(epsilon="x"), "epsilon"),
    "a huge case": (lambda batch: batch["cases"][0].update(shape=[2**40, 3]), "over the budget"),
    "an id with a path": (lambda batch: batch["cases"][0].update(id="../own"), "id"),
    "no clause": (lambda batch: batch["cases"][0].update(clauses=["99.9"]), "no clause"),
    "for ever": (lambda batch: batch["bounds"].update(cell=1e300), "<= 86400.0"),
    "no offer": (lambda batch: batch["promise"].update(offer=[]), "Expected `object`, got `array`".lower()),
    "no cells": (lambda batch: batch.update(cells=[]), "length >= 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_mutated_batch_is_refused_in_one_line(name: str, bench: Any, described: dict[str, Any]) -> None:
    change, words = HOSTILE[name]
    batch = json.loads(json.dumps(batch_of(described)))
    change(batch)
    answer = reply(bench, json.dumps(batch).encode())
    assert answer.cells == ()
    assert words.lower() in answer.refused.lower()
    assert "\n" not in answer.refused


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff", b"[" * 100_000, pickle.dumps(print), b"null", "text", {"suite": 1}, print],
    ids=["empty", "no text", "deep", "pickled", "null", "a text", "an object", "a function"],
)
def test_what_is_no_batch_is_refused_in_one_line(raw: object, bench: Any) -> None:
    refused = reply(bench, raw).refused
    assert refused.startswith("sentbatch: ")
    assert "\n" not in refused


def test_an_answer_is_checked_too() -> None:
    with pytest.raises(UsageError, match="reply: "):
        taken(b'{"cells": [{"cell": 1}]}', Reply)
    with pytest.raises(UsageError, match="question: "):
        taken(b"{}", Question)


def test_a_request_has_a_limit() -> None:
    with pytest.raises(UsageError, match="over the limit"):
        taken(bytes(65 * 2**20), SentBatch)


def test_a_suite_differs_in_its_version_or_in_its_sources() -> None:
    assert difference("1.0 abc", "1.0 abc") == ""
    assert difference("1.1 abc", "1.0 abc") == "has suite 1.1, and the run has 1.0"
    assert difference("1.0 abd", "1.0 abc") == "has other sources, adapters or spec of suite 1.0 than the run"


def test_the_resources_of_a_dask_worker_name_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_CONFORMANCE__PYTHON", "{'torch': '/elsewhere/python'}")
    tasks.dask.config.refresh()
    try:
        listed = tasks.workers_of({"TORCH": 1.0, "GPU": 1.0})
    finally:
        monkeypatch.undo()
        tasks.dask.config.refresh()
    assert {key.group for key in listed} == {None, "torch"}
    assert {key.interpreter for key in listed if key.group == "torch"} == {"/elsewhere/python"}
    assert {key.interpreter for key in listed if key.group is None} == {sys.executable}
    assert Path(NUMPY.removesuffix(":ADAPTER")) in {Path(key.adapter) for key in listed}
