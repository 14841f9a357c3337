"""Cells of the faults under `tests/faults`, performed by a worker and judged here, as a run does without its command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.execution.execute import execute
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.judging.judge import judge
from conformance.planning.discovery import keys
from conformance.planning.plan import Offer, Selection, plan
from conformance.reference.expected import References
from conformance.runfile.lines import record_line, recorded_catalogue
from conformance.spec.divergences import Known
from tests import shipped
from tests.recorded import as_plain

FAULTS = Path(__file__).parent / "faults"

Record = Mapping[str, Any]
#: Told an implementation and a case, whether that cell is performed.
Takes = Callable[[str, str], bool]


def performed(module: str, takes: Takes, folder: Path) -> Mapping[str, Sequence[Record]]:
    """Return the records of the cells of `tests/faults/{module}.py` that are taken, by implementation."""
    by_implementation: dict[str, list[Record]] = {}
    for record in _records(module, takes, folder):
        by_implementation.setdefault(record["implementation"], []).append(record)
    return by_implementation


def _records(module: str, takes: Takes, folder: Path) -> Iterator[Record]:
    """Yield them in the order of a run; none of their divergences is known."""
    references, words = References(), recorded_catalogue()
    cases = shipped.spec().cases
    asked = keys({}, [f"{FAULTS / module}.py:ADAPTER"], grouped=False)
    with Workers(1, folder) as workers:
        offers = [_worked(offer) for offer in survey(asked, [entry.case.configuration for entry in cases], workers)]
        cells = [cell for cell in plan(cases, offers, Selection()) if takes(cell.implementation.name, cell.case.id)]
        for cell, outcomes in execute(cells, workers):
            yield as_plain(record_line(cell, judge(cell, outcomes, references), Known()), words)


def _worked(offer: Any) -> Offer:
    assert isinstance(offer, Offer), offer
    return offer
