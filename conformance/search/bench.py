"""The bench of a search: one process with the implementations in it, which performs drawn cases and keeps running."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from conformance.errors import Place, WorkerError
from conformance.execution.conversation import converse
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Workers
from conformance.judging.judge import judge_by_step
from conformance.judging.step import StepJudge
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.reference.expected import References
from conformance.search.finding import Trial, anywhere, known_of
from conformance.spec.case import Case
from conformance.spec.divergences import Listed, of_implementation
from conformance.spec.loader import Located

#: Answers of `supports` that are kept: configurations repeat, since shapes and constants are drawn from few.
_KEPT_ANSWERS = 4096
#: Cells after which what is known of earlier ones is dropped.
_REMEMBERED = 500

_NOWHERE = Place(file="drawn")


@dataclass(slots=True, kw_only=True)
class Bench:
    """What one worker offers, as far as it is selected, ready to perform case after case."""

    offer: Offer
    selection: Selection
    workers: Workers
    divergences: Sequence[Listed]
    _answers: OrderedDict[str, Mapping[str, str | None]] = field(default_factory=OrderedDict)
    _since: int = 0
    #: By implementation.
    _entries: dict[str, Sequence[Listed]] = field(init=False)

    def __post_init__(self) -> None:
        self._entries = {name: anywhere(of_implementation(self.divergences, name)) for name in self.implementations}

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations of the selected implementations, by name."""
        return tuple(sorted({offered.op for offered in self.offer.implementations if self._takes(offered.name)}))

    @property
    def implementations(self) -> tuple[str, ...]:
        """The names of the selected implementations."""
        return tuple(offered.name for offered in self.offer.implementations if self._takes(offered.name))

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that at least one of them takes in this process."""
        offered = {
            dtype
            for implementation in self.offer.implementations
            if self._takes(implementation.name)
            for dtype in implementation.dtypes
        }
        serves = self.offer.key.dtypes
        order = ("float32", "float64", "float16", "bfloat16")
        return tuple(dtype for dtype in order if dtype in offered and (serves is None or dtype in serves))

    def _takes(self, name: str) -> bool:
        return self.selection.takes(name, self.selection.modes[0], self.selection.devices[0])

    def trials(self, case: Case, only: str | None = None) -> list[Trial]:
        """Perform a case by every implementation that supports it, or by the one named, and judge what happened.

        What cannot express the case is left out. Raises `WorkerError` where the process does not start again.
        """
        return [trial for trial, _ in self.judged(case, References(), only)]

    def judged(
        self, case: Case, references: References, only: str | None = None
    ) -> Iterator[tuple[Trial, Mapping[int, StepJudge]]]:
        """Yield the same one by one, each with the judges of its steps."""
        for cell, outcomes in self.performed(case, only):
            judgement, judges = judge_by_step(cell, outcomes, references)
            known = known_of(cell, judgement, self._entries[cell.implementation.name], self.offer.versions)
            yield Trial(cell=cell, outcomes=outcomes, judgement=judgement, known=known, offer=self.offer), judges

    def performed(self, case: Case, only: str | None = None) -> Iterator[tuple[Cell, Outcomes]]:
        """Yield the cells of a case, or the one of the implementation named, with what happened in each."""
        cells = [cell for cell in self.cells(case) if only is None or cell.implementation.name == only]
        able = [cell for cell in cells if cell.unsupported is None]
        yield from execute(able, self.workers)
        self._since += len(able)
        if self._since > _REMEMBERED:
            self._since = 0
            self.workers.forget()

    def cells(self, case: Case) -> list[Cell]:
        """Return the cells of a case, those that are unsupported among them."""
        answers = self._supports(case)
        reasons = {name: [reason] for name, reason in answers.items()}
        located = Located(case=case, file=Path(_NOWHERE.file), place=_NOWHERE)
        return list(plan([located], [replace(self.offer, reasons=reasons)], self.selection))

    def _supports(self, case: Case) -> Mapping[str, str | None]:
        configuration = asdict(case.configuration)
        key = json.dumps(configuration, sort_keys=True)
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        answers = {name: reasons[0] for name, reasons in self._ask(configuration).items()}
        self._answers[key] = answers
        if len(self._answers) > _KEPT_ANSWERS:
            self._answers.popitem(last=False)
        return answers

    def _ask(self, configuration: Mapping[str, Any]) -> Mapping[str, Sequence[str | None]]:
        key, limits = self.offer.key, self.workers.limits
        if key not in self.workers.live:
            started = converse(self.workers.start(key), None, self.workers, limits.start)
            if not isinstance(started, dict) or "offer" not in started:
                raise WorkerError(worker=key.name, message=f"did not start again: {started}")
        request = {"do": "support", "configurations": [configuration]}
        answer = converse(self.workers.live[key], request, self.workers, limits.start)
        match answer:
            case {"support": dict(reasons)}:
                return reasons
            case _:
                raise WorkerError(worker=key.name, message=f"did not say what it supports: {answer}")
