"""A cluster as the performer of a run, with tasks that run at once in this process in place of a scheduler's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import SuiteError, UsageError
from conformance.execution.pool import Limits
from conformance.execution.time_profile import Stages
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.run.entries import Judging
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder
from tests.cluster.loopback import NUMPY, write_cases

connection = pytest.importorskip("conformance.cluster.connection")
cluster = pytest.importorskip("conformance.cluster.cluster")
tasks = pytest.importorskip("conformance.cluster.tasks")


class AtOnce:
    """A connection whose tasks are done when they are sent; `change` may put another answer, or None for a loss."""

    def __init__(self, bench: Any, change: Callable[[bytes], bytes | None], workers: dict[str, Any]) -> None:
        self.bench, self.change, self.there = bench, change, workers
        self.ended: deque[Any] = deque()
        self.cancelled = 0

    def check_suites(self) -> None: ...

    def workers(self) -> dict[str, Any]:
        return self.there

    def send(
        self, task: Any, raw: bytes, needs: Mapping[str, float], preferred: str | None = None, among: Any = None
    ) -> str:
        answer = {"describe": tasks.answer_to, "perform": tasks.reply_to}[task.__name__](raw, lambda: self.bench)
        name = f"{task.__name__}-{len(raw)}-{id(raw)}-{len(self.ended)}"
        changed = self.change(answer) if task.__name__ == "perform" else answer
        self.ended.append(connection.Arrived(name=name, answer=changed))
        return name

    def arrived(self) -> Any:
        return self.ended.popleft() if self.ended else None

    def cancel(self) -> None:
        self.cancelled += 1


@pytest.fixture(name="bench", scope="module")
def _bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    bench = tasks.Bench(tmp_path_factory.mktemp("bench"), tasks.workers_of({}))
    yield bench
    bench.close()


Ready = tuple[Any, list[Cell], Judging, AtOnce]


@pytest.fixture(name="ready")
def _ready(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ready]:
    """A cluster, the cells of three cases of which one is not supported, the judging of the run and the connection."""
    there = AtOnce(bench, lambda answer: answer, {"tcp://a:1": {"NUMPY": 1.0}})

    @contextmanager
    def connected(address: str) -> Iterator[AtOnce]:
        yield there

    monkeypatch.setattr(cluster, "connected", connected)
    spec = load(spec_folder(), [write_cases(tmp_path, rows=1)])
    with cluster.Cluster("tcp://there:1", Limits(cell=60.0)) as performer:
        keys, missing = performer.keys([NUMPY], Selection())
        (offer,) = performer.survey(keys, [entry.case.configuration for entry in spec.cases])
        assert missing == {}
        assert isinstance(offer, Offer)
        cells = list(plan(spec.cases, [offer], Selection(implementations=("numpy.BatchNorm",))))
        cells[0] = replace(cells[0], unsupported="is not meant")
        yield performer, cells, Judging([], {offer.key.name: offer.versions}, Stages()), there


def test_every_cell_is_performed_once_and_names_its_machine(ready: Ready) -> None:
    performer, cells, judging, _ = ready
    tried = {one.entry.cell.id: one for one in performer.perform(cells, judging)}
    assert sorted(tried) == sorted(cell.id for cell in cells)
    assert [tried[cell.id].entry.record.verdict.agrees for cell in cells] == [False, True, True]
    assert [bool(tried[cell.id].entry.record.machine) for cell in cells] == [False, True, True]


def test_a_second_try_that_gives_the_same_needs_no_entry(ready: Ready) -> None:
    performer, cells, judging, _ = ready
    doubts = {cell.id: cluster.Doubt(digest="something else", before=()) for cell in cells[1:]}
    again = dict(performer.again([cells[1:]], judging, doubts))
    assert [again[cell].record.cell for cell in cells[1:]] == [cell.id for cell in cells[1:]]


def test_cells_that_were_lost_with_their_workers_are_named_with_what_to_do(ready: Ready) -> None:
    performer, cells, judging, there = ready
    there.change = lambda answer: None
    with pytest.raises(SuiteError, match=r"lost 2 cells .* own\.row.*; --resume runs them"):
        list(performer.perform(cells, judging))


def test_when_no_worker_is_left_the_run_does_not_wait_for_ever(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    performer, cells, judging, there = ready
    monkeypatch.setattr(cluster, "PATIENCE", -1.0)
    there.there = {}
    with pytest.raises(SuiteError, match="lost 2 cells"):
        list(performer.perform(cells, judging))


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (b'{"refused": "has other sources"}', UsageError, "tcp://a:1: has other sources"),
        (b'{"cells": []}', SuiteError, "tcp://a:1: told of other cells than it was sent"),
        (b"no JSON", UsageError, "reply: "),
    ],
)
def test_an_answer_that_is_none_ends_the_run_in_one_line(
    ready: Ready, answer: bytes, error: type[Exception], told: str
) -> None:
    performer, cells, judging, there = ready
    there.change = lambda _: answer
    with pytest.raises(error) as ended:
        list(performer.perform(cells, judging))
    assert str(ended.value).startswith(told)
    assert "\n" not in str(ended.value)


def test_whoever_stops_early_cancels_what_was_sent(ready: Ready) -> None:
    performer, cells, judging, there = ready
    tried = performer.perform(cells[1:], judging)
    next(tried)
    tried.close()
    assert there.cancelled == 1


def test_a_group_without_a_worker_is_missing_only_where_it_is_selected(ready: Ready) -> None:
    performer, _, _, there = ready
    there.there = {"tcp://a:1": {"TORCH": 1.0}}
    asked, missing = performer.keys([], Selection())
    assert {key.group for key in asked} == {None, "torch"}
    assert missing["jax"] == "no worker of the cluster has the resource JAX"
    assert performer.keys([], Selection(implementations=("numpy.*",)))[1] == {}
    there.there = {}
    with pytest.raises(UsageError, match="--scheduler tcp://there:1: has no workers"):
        performer.keys([], Selection())
