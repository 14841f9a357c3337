"""Adapters that follow one another in one process, by what the processes say of themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.errors import WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Limits, Workers
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
