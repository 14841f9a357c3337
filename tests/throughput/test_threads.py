"""A library that takes another number of threads than there are cores is timed with as many too, and no other twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.execution.pool import Workers
from conformance.planning.discovery import keys
from conformance.planning.plan import Selection
from conformance.throughput import running
from conformance.throughput.running import load_timed, ordered, planned, planned_with_threads
from conformance.throughput.subject import Subject
from conformance.throughput.threads import threads_told, with_as_many_as_cores
from tests.cells import key, offer

THREADED = Path(__file__).parents[1] / "faults" / "threaded.py"
LIMITS = (("T", "{threads}"),)


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        ({"threads": "2"}, 2),
        ({"threads within an op": "4", "threads between ops": "1"}, 4),
        ({"threads within an op": "automatic"}, None),
        ({"oneDNN": "True"}, None),
    ],
)
def test_a_library_says_with_how_many_threads_it_computes(settings: dict[str, str], threads: int | None) -> None:
    assert threads_told(settings) == threads


def test_only_what_takes_another_number_and_can_be_limited_is_timed_with_as_many_as_cores() -> None:
    base = offer(settings={"threads": "2"})
    able = replace(base, key=key(limits=LIMITS))
    assert with_as_many_as_cores([replace(base, key=key())], 4) == ()
    assert with_as_many_as_cores([able], 2) == ()
    assert with_as_many_as_cores([replace(able, settings={})], 4) == ()
    (further,) = with_as_many_as_cores([able], 4)
    assert (further.threads, dict(further.environment)["T"]) == (4, "4")


def test_both_are_subjects_of_the_same_case_with_ids_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "cores", lambda: 3)
    selection = Selection(cases=("throughput.infer/128x64/float32",))
    spec = load_timed()
    with Workers(1, tmp_path) as workers:
        cells, offers, _ = planned(spec, keys({}, [str(THREADED)]), selection, workers)
        further, threaded, failures = planned_with_threads(spec, offers, selection, workers)
        on_gpu = replace(selection, devices=("gpu",))
        assert planned_with_threads(spec, offers, on_gpu, workers) == ([], [], [])
    assert failures == []
    assert [offer.settings["threads"] for offer in (*offers, *threaded)] == ["2", "3"]
    (group,) = ordered([*cells, *further])
    ids = [Subject(cell=cell, name="infer").id for cell in group]
    assert len(set(ids)) == len(ids) == 4
    assert sum(id_.endswith("::infer::3-threads") for id_ in ids) == 2
    assert len({Subject(cell=cell, name="infer").row for cell in group}) == 4
