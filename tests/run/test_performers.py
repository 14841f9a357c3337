"""Which processes of this machine stay alive for later cells."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import pytest

from conformance.run.performers import Processes
from tests.cells import case, cell, key, offer, offered


def test_a_process_that_reserves_an_accelerator_does_not_stay_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, reserving = key(name="plain"), key(name="reserving")
    answers = [offer(offered(devices=("cpu", "gpu")), key=reserving), offer(offered(), key=plain)]
    monkeypatch.setattr("conformance.run.performers.survey", lambda *_: iter(answers))
    workers = Mock(awaited=frozenset())
    processes = Processes(workers, {})
    list(processes.survey([plain, reserving], []))
    assert workers.awaited == {plain.process}
    further = key(name="further")
    processes.announce([replace(cell(case()), key=worker) for worker in (plain, reserving, further)])
    assert workers.awaited == {plain.process, further.process}


def test_a_process_whose_later_cells_are_unsupported_does_not_stay_alive() -> None:
    workers = Mock(awaited={key(name="before").process})
    Processes(workers, {}).announce([replace(cell(case()), unsupported="no such axes")])
    assert workers.awaited == set()


def test_processes_are_awaited_from_one_survey_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.run.performers.survey", lambda *_: iter(()))
    workers = Mock(awaited=frozenset())
    processes = Processes(workers, {})
    first, second = key(name="first"), key(name="second")
    list(processes.survey([first], []))
    list(processes.survey([second], []))
    assert workers.awaited == {first.process, second.process}
