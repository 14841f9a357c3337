"""What a search has exercised, and what of all that it might draw it has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from conformance.operations import OPERATIONS
from conformance.search.cases import numbers_in
from conformance.search.finding import Shows
from conformance.search.shapes import LARGE, SMALL
from conformance.spec.case import Case


@dataclass(slots=True, kw_only=True)
class Exercised:
    """Counts over the cases drawn and the cells judged."""

    cases: int = 0
    cells: int = 0
    values: int = 0
    #: By what is counted, how often: operations, kinds of steps, dtypes, shapes, memory layouts, clauses.
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    #: By implementation, the verdicts of its cells.
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    #: By implementation, the fields of its dialect on which numbers depended.
    fields: dict[str, Counter[str]] = field(default_factory=dict)
    #: What is told of cases and is no find, how often.
    noted: Counter[str] = field(default_factory=Counter)
    #: By implementation, the largest score of a cell that agrees, with its case.
    worst: dict[str, tuple[float, Case]] = field(default_factory=dict)

    def add(self, case: Case, trials: Iterable[Shows]) -> None:
        """Count a case and its cells."""
        self.cases += 1
        self.values += numbers_in(case)
        shape = f"{'×'.join(map(str, case.shape))} keeps {', '.join(map(str, case.configuration.feature_axes))}"
        for kind, names in (
            ("operation", [case.op]),
            ("step", [step.step for step in case.performed]),
            ("dtype", [case.dtype]),
            ("shape", [shape]),
            ("memory", [case.memory]),
            ("clause", case.clauses),
        ):
            self.counts.setdefault(kind, Counter()).update(names)
        for trial in trials:
            self._count(case, trial)

    def _count(self, case: Case, trial: Shows) -> None:
        name = trial.cell.implementation.name
        self.cells += 1
        self.noted.update(trial.noted)
        self.verdicts.setdefault(name, Counter())[trial.judgement.verdict.value] += 1
        needed = (part for step in trial.judgement.steps for judged in step.quantities for part in judged.fields)
        self.fields.setdefault(name, Counter()).update(needed)
        if trial.score is not None and trial.score > self.worst.get(name, (-1.0, case))[0]:
            self.worst[name] = (trial.score, case)

    def join(self, other: Exercised) -> None:
        """Take in what another search of the same implementations has exercised."""
        self.cases += other.cases
        self.cells += other.cells
        self.values += other.values
        self.noted.update(other.noted)
        for mine, its in ((self.counts, other.counts), (self.verdicts, other.verdicts), (self.fields, other.fields)):
            for kind, counter in its.items():
                mine.setdefault(kind, Counter()).update(counter)
        for name, (score, case) in other.worst.items():
            if score > self.worst.get(name, (-1.0, case))[0]:
                self.worst[name] = (score, case)

    def not_exercised(self, declared: Mapping[str, Iterable[str]], clauses: Iterable[str]) -> dict[str, list[str]]:
        """Return what was never drawn or never mattered; `declared` are the dialect fields of each implementation."""
        drawn = {kind: set(counter) for kind, counter in self.counts.items()}
        steps = {kind for operation in drawn.get("operation", ()) for kind in OPERATIONS[operation].formulas}
        shapes = {
            f"{'×'.join(map(str, layout.shape))} keeps {', '.join(map(str, layout.feature_axes))}"
            for layout in (*SMALL, *LARGE)
        }
        idle = {
            f"{name}: {part}"
            for name, parts in declared.items()
            for part in parts
            if not self.fields.get(name, Counter())[part]
        }
        lacking = {
            "implementations": [name for name in declared if name not in self.verdicts],
            "steps": sorted(steps - drawn.get("step", set())),
            "shapes": sorted(shapes - drawn.get("shape", set())),
            "dialect fields": sorted(idle),
            "clauses": [clause for clause in clauses if clause not in drawn.get("clause", ())],
        }
        return {kind: names for kind, names in lacking.items() if names}
