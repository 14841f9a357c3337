"""Every row puts what it computes with where the device option says, rehearsed on machines without a GPU."""

from __future__ import annotations

import fnmatch
import tempfile
from pathlib import Path

import pytest

from conformance.contract.questions import scripts
from conformance.errors import WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.outcome import Produced
from conformance.planning.discovery import keys
from conformance.planning.plan import Cell, Offer, Selection, plan
from tests.adapters.test_contracts import REFUSED, asks_for_its_steps, interpreters

pytestmark = pytest.mark.frameworks

ADAPTER = f"{Path(__file__).with_name('rehearsal.py')}:ADAPTER"


def rehearsal(group: str) -> list[tuple[Cell, Outcomes]]:
    """Perform every kind of step of every row of a group on both devices."""
    cases = scripts()
    wanted = [key for key in keys(interpreters(), [ADAPTER]) if key.group == group]
    with tempfile.TemporaryDirectory() as folder, Workers(2, Path(folder)) as workers:
        answers = list(survey(wanted, [located.case.configuration for located in cases], workers))
        broken = [str(answer) for answer in answers if isinstance(answer, WorkerError)]
        assert not broken, broken
        offers = [answer for answer in answers if isinstance(answer, Offer)]
        return list(execute(filter(asks_for_its_steps, plan(cases, offers, Selection())), workers))


def is_listed(cell: Cell) -> bool:
    """Return whether the column is known to refuse such a question."""
    return any(
        fnmatch.fnmatchcase(cell.column, column) and fnmatch.fnmatchcase(cell.case.id.rpartition("/")[2], question)
        for column, question in REFUSED
    )


# Each device has programs of its own, which JAX compiles for every dtype: minutes.
@pytest.mark.parametrize("group", [pytest.param("jax", marks=pytest.mark.search), "tensorflow", "torch"])
def test_every_tensor_is_where_the_device_option_says(group: str) -> None:
    """No step and no timed pass leaves a tensor to the library's default, which is the other device."""
    if group not in interpreters():
        pytest.skip(f"of the group {group}")
    able = [(cell, outcomes) for cell, outcomes in rehearsal(group) if cell.unsupported is None]
    assert {cell.device for cell, _ in able} == {"cpu", "gpu"}
    failed = [
        f"{cell.column}, step {number}: {getattr(outcome, 'message', outcome)}"
        for cell, outcomes in able
        for number, outcome in enumerate(outcomes)
        if not isinstance(outcome, Produced) and not is_listed(cell)
    ]
    assert not failed, "\n".join(failed)
