"""Adapters that follow one another in one process, and processes kept for later cells, by what they say of themselves."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from conformance.errors import WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Died, Limits, Workers
from conformance.execution.survey import survey
from conformance.outcome import Crashed, Produced
from conformance.planning.discovery import WorkerKey, keys, limited
from conformance.planning.plan import Cell, Offer
from tests.fake_cells import cell

ADAPTER = """
import os
import sys

import numpy as np

from conformance.protocol import Adapter, Call, Implementation

PROCESSES = [{{"name": "{name}", "group": None, "environment": {environment}, "shared": "{shared}"}}]
{first}

def train(live, x, upstream):
    if {fatal} and x.shape[0] == 7:
        os.abort()
    return {{"output": np.array([os.getpid()])}}

ADAPTER = Adapter(library="{name}", versions={{}}, implementations=(Implementation(
    name="dying.{name}", op="batch_norm", profile=(), modes=("eager",), dtypes=("float32",),
    supports=lambda configuration: None, call=lambda configuration: Call(path="numpy.zeros", keywords={{"shape": 1}}),
    start=lambda native, configuration, state, mode, device: native, state=lambda live: {{}}, steps={{"train": train}}),))
"""
AFTER_ANOTHER = "if len([each for each in sys.modules if each.startswith('conformance_adapters.')]) > 1: "


def adapter(folder: Path, name: str, *, shared: str = "ours", first: str = "", fatal: bool = False, **also: str) -> str:
    """Write an adapter whose output is the process it runs in; return its file."""
    environment: Mapping[str, str] = also
    text = ADAPTER.format(name=name, shared=shared, first=first, fatal=fatal, environment=dict(environment))
    file = folder / f"{name}.py"
    file.write_text(text)
    return str(file)


def offers(files: list[str], folder: Path, count: int) -> tuple[list[Offer | WorkerError], dict[str, Outcomes]]:
    """Survey the adapters and perform two cells of each by `count` workers."""
    found = keys({}, files)
    with Workers(count, folder, Limits(start=20.0, cell=5.0)) as workers:
        surveyed = list(survey(found, [], workers))
        cells = [each for key in found for each in cells_of(key)]
        return surveyed, {each.id: outcomes for each, outcomes in execute(cells, workers)}


def cells_of(key: WorkerKey) -> list[Cell]:
    return [cell(key.name, str(index), worker=key) for index in range(2)]


def processes(outcomes: Mapping[str, Outcomes], name: str) -> set[int]:
    """Return the processes that performed the cells of that adapter."""
    found = set()
    for id_, each in outcomes.items():
        if f"::dying.{name}-" in id_:
            last = each[-1]
            assert isinstance(last, Produced), last
            found.add(int(last.quantities["output"][0]))
    return found


def test_adapters_that_share_run_in_one_process(tmp_path: Path) -> None:
    files = [adapter(tmp_path, name) for name in ("one", "two", "three")]
    surveyed, outcomes = offers(files, tmp_path, 1)
    assert [each.library for each in surveyed if isinstance(each, Offer)] == ["one", "two", "three"]
    assert processes(outcomes, "one") == processes(outcomes, "two") == processes(outcomes, "three")


def test_adapters_of_other_settings_never_do(tmp_path: Path) -> None:
    files = [adapter(tmp_path, "one", FAKE="1"), adapter(tmp_path, "two", FAKE="2"), adapter(tmp_path, "three")]
    _, outcomes = offers(files, tmp_path, 1)
    assert len(set.union(*(processes(outcomes, name) for name in ("one", "two", "three")))) == 3


def test_adapters_that_name_nothing_to_share_never_do(tmp_path: Path) -> None:
    _, outcomes = offers([adapter(tmp_path, name, shared="") for name in ("one", "two")], tmp_path, 1)
    assert not processes(outcomes, "one") & processes(outcomes, "two")


def test_with_workers_to_spare_adapters_that_share_run_side_by_side(tmp_path: Path) -> None:
    _, outcomes = offers([adapter(tmp_path, name) for name in ("one", "two")], tmp_path, 2)
    assert not processes(outcomes, "one") & processes(outcomes, "two")


@pytest.mark.parametrize("how", ["raise ImportError('not after another')", "os.abort()", "import time; time.sleep(60)"])
def test_an_adapter_that_does_not_start_after_another_gets_a_process_of_its_own(how: str, tmp_path: Path) -> None:
    files = [adapter(tmp_path, "one"), adapter(tmp_path, "two", first=AFTER_ANOTHER + how)]
    found = keys({}, files)
    with Workers(1, tmp_path, Limits(start=3.0, cell=5.0)) as workers:
        assert all(isinstance(each, Offer) for each in survey(found, [], workers))
    with Workers(1, tmp_path, Limits(start=3.0, cell=5.0)) as workers:
        outcomes = {each.id: done for each, done in execute([each for key in found for each in cells_of(key)], workers)}
    assert not processes(outcomes, "one") & processes(outcomes, "two")


def test_an_adapter_that_never_starts_is_told_of_once(tmp_path: Path) -> None:
    files = [adapter(tmp_path, "one"), adapter(tmp_path, "two", first="raise ImportError('never')")]
    with Workers(1, tmp_path, Limits(start=5.0, cell=5.0)) as workers:
        found = list(survey(keys({}, files), [], workers))
    assert [type(each) for each in found] == [Offer, WorkerError]
    assert "never" in str(found[1])


def test_a_crash_is_its_own_adapters_and_the_next_starts_afresh(tmp_path: Path) -> None:
    files = [adapter(tmp_path, "one", fatal=True), adapter(tmp_path, "two")]
    first, second = keys({}, files)
    fatal = cell("one", "fatal", worker=first)
    object.__setattr__(fatal.case, "shape", (7, 3))
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        outcomes = {each.id: done for each, done in execute([fatal, *cells_of(second)], workers)}
    (crashed,) = [done[-1] for id_, done in outcomes.items() if "dying.one" in id_]
    assert isinstance(crashed, Crashed)
    assert len(processes(outcomes, "two")) == 1


def test_processes_of_limited_threads_share_among_themselves(tmp_path: Path) -> None:
    (key,) = keys({}, [adapter(tmp_path, "one")])
    assert limited(key, 1).process != key.process
    assert limited(key, 1).process[1] == sys.executable


def twice(
    files: list[str], folder: Path, between: Callable[[Workers], None] = lambda _: None
) -> list[dict[str, Outcomes]]:
    """Perform two cells of each adapter and then two more, by one worker that awaits all of their processes."""
    found = keys({}, files)
    with Workers(1, folder, Limits(start=20.0, cell=5.0)) as workers:
        workers.awaited = {key.process for key in found}
        rounds = []
        for _ in range(2):
            cells = [each for key in found for each in cells_of(key)]
            rounds.append({each.id: outcomes for each, outcomes in execute(cells, workers)})
            between(workers)
        calls = sorted(stretch for lane in workers.stages.lanes for stretch in lane.calls)
        assert all(ended <= began for (_, ended, _), (began, _, _) in itertools.pairwise(calls))
        return rounds


NAMES = ("one", "two", "three")


@pytest.fixture(name="roomy")
def _roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.execution.pool.free_share", lambda: 0.9)


@pytest.mark.usefixtures("roomy")
def test_a_process_that_is_awaited_performs_its_later_cells(tmp_path: Path) -> None:
    before, after = twice([adapter(tmp_path, name, shared="") for name in NAMES], tmp_path)
    for name in NAMES:
        assert processes(before, name) == processes(after, name)
    assert len(set.union(*(processes(before, name) for name in NAMES))) == len(NAMES)


@pytest.mark.usefixtures("roomy")
def test_adapters_that_share_a_process_share_it_after_it_was_asleep(tmp_path: Path) -> None:
    before, after = twice([adapter(tmp_path, name) for name in NAMES], tmp_path)
    assert len(set.union(*(processes(each, name) for name in NAMES for each in (before, after)))) == 1


def test_where_memory_is_short_no_process_waits_for_later_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.execution.pool.free_share", lambda: 0.4)
    before, after = twice([adapter(tmp_path, name, shared="") for name in NAMES], tmp_path)
    for name in NAMES:
        assert not processes(before, name) & processes(after, name)


def test_when_memory_gets_short_processes_asleep_are_ended_until_it_suffices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[list[str]] = []

    def short(workers: Workers) -> None:
        shares = iter([0.3, 0.4, 0.6])
        monkeypatch.setattr("conformance.execution.pool.free_share", lambda: next(shares, 0.6))
        workers._room_looks = workers._looks = 0.0
        workers.wait()
        left.append([key.name for key in workers.asleep])

    monkeypatch.setattr("conformance.execution.pool.free_share", lambda: 0.9)
    twice([adapter(tmp_path, name, shared="") for name in NAMES], tmp_path, short)
    assert left[0] == [NAMES[-1]]


@pytest.mark.usefixtures("roomy")
def test_a_process_asleep_that_no_cell_needs_is_ended(tmp_path: Path) -> None:
    found = keys({}, [adapter(tmp_path, name, shared="") for name in ("one", "two")])
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        workers.awaited = {key.process for key in found}
        list(execute([each for key in found for each in cells_of(key)], workers))
        assert workers.asleep == set(found)
        workers.awaited = frozenset()
        list(execute(cells_of(found[1]), workers))
        assert not workers.live


@pytest.mark.usefixtures("roomy")
def test_the_end_of_a_process_asleep_is_told_at_once(tmp_path: Path) -> None:
    (key,) = keys({}, [adapter(tmp_path, "one", shared="")])
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        workers.awaited = {key.process}
        list(execute(cells_of(key), workers))
        process = workers.live[key]
        process.popen.kill()
        process.popen.wait()
        workers._looks = float("inf")
        assert [(ended, type(how)) for ended, how in workers.wait()] == [(process, Died)]


@pytest.mark.usefixtures("roomy")
def test_an_adapter_that_cannot_follow_tries_no_second_process_asleep(tmp_path: Path) -> None:
    """Two processes that it may share are asleep; after the first it gets one of its own."""
    files = [
        adapter(tmp_path, "one"),
        adapter(tmp_path, "two"),
        adapter(tmp_path, "three", first=AFTER_ANOTHER + "os.abort()"),
    ]
    one, two, three = keys({}, files)
    with Workers(2, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        workers.awaited = {one.process}
        list(execute([*cells_of(one), *cells_of(two)], workers))
        assert workers.asleep == {one, two}
        outcomes = {each.id: done for each, done in execute(cells_of(three), workers)}
        assert len(workers.asleep & {one, two}) == 1
    assert len(processes(outcomes, "three")) == 1


@pytest.mark.usefixtures("roomy")
def test_a_process_that_is_killed_asleep_is_to_blame_for_nothing(tmp_path: Path) -> None:
    def kill(workers: Workers) -> None:
        for key in workers.asleep:
            workers.live[key].popen.kill()
            workers.live[key].popen.wait()

    before, after = twice([adapter(tmp_path, name, shared="") for name in ("one", "two")], tmp_path, kill)
    for name in ("one", "two"):
        assert not processes(before, name) & processes(after, name)
        assert len(processes(after, name)) == 1


@pytest.mark.usefixtures("roomy")
def test_a_process_asleep_counts_as_none_and_waits_for_nobody(tmp_path: Path) -> None:
    found = keys({}, [adapter(tmp_path, "one", shared="")])
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        workers.awaited = {key.process for key in found}
        list(execute(cells_of(found[0]), workers))
        assert workers.asleep == set(found)
        assert workers.awake == []
        time.sleep(0.2)
        list(execute(cells_of(found[0]), workers))
        timeline = workers.stages.timeline()
    assert [lane.cells for lane in timeline.lanes] == [2, 2]
    assert sum(lane.ended - lane.began for lane in timeline.lanes) < timeline.seconds - 0.2
